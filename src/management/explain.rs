//! Explains to operators the data plane's decision about a request.

use http::Method;

use super::Management;
use super::fault::{About, Refused, Scope};
use super::member_reader::{MemberReader, named};
use super::operator::Operator;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::wire::{Document, ExplainAnswer, ExplainRequest};

/// The request that is asked about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// The method.
    pub method: Method,
    /// The URL, as a caller would write it.
    pub url: String,
    /// The integration that it names, if it names one.
    pub integration: Option<IntegrationName>,
    /// The connection that it names, if it names one.
    pub connection: Option<ConnectionName>,
}

/// The right to ask what the data plane would do.
#[derive(Debug)]
pub struct Explainer<'a> {
    management: &'a Management,
    operator: &'a Operator,
}

impl Management {
    /// Lets an operator ask what the data plane would do.
    ///
    /// # Errors
    /// When the token lacks the scope `read`.
    pub fn explainer<'a>(&'a self, operator: &'a Operator) -> Result<Explainer<'a>, Refused> {
        operator.need(Scope::Read)?;
        Ok(Explainer { management: self, operator })
    }
}

impl Explainer<'_> {
    /// Says what the data plane would do with a request of this operator's token.
    pub fn explain(
        &self,
        request: impl Into<Document<ExplainRequest>>,
    ) -> Result<ExplainAnswer, Refused> {
        let (request, mut reader) = MemberReader::of(request.into());
        let method = reader.require(named!(request.method), About::Request, |text| {
            Method::from_bytes(text.as_bytes())
        });
        let url = reader
            .require(named!(request.url), About::Request, |text| Ok::<_, Refused>(text.to_owned()));
        let integration =
            reader.take(named!(request.integration), About::Integration, IntegrationName::parse);
        let connection =
            reader.take(named!(request.connection), About::Name, ConnectionName::parse);
        let read = method.zip(url);
        let read = read.map(|(method, url)| Question { method, url, integration, connection });
        let question = reader.close(read)?;
        Ok(self.management.data_plane.explain(self.operator.caller(), &question))
    }
}
