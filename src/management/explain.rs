//! Explains to operators the data plane's decision about a request.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;
use jiff::Timestamp;

use super::Management;
use super::fault::{About, Refused, Scope};
use super::member_reader::{MemberReader, named};
use super::operator::Operator;
use crate::model::caller::Reach;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::state::{Holder, Registry};
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
    /// Tells whether it names a caller, whose token is then judged too: an operator's own need not
    /// be good for the data plane.
    pub names_caller: bool,
}

/// A name by which no one caller can be meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CallerNameError {
    /// No token within reach has the name.
    #[error("no token has this name, or none that your own reaches")]
    Unknown,
    /// Several tokens within reach have it.
    #[error(
        "several tokens have this name: name the integration of the one that is meant, or give \
         them different names"
    )]
    Ambiguous,
}

/// The caller of this name whose token reaches no further than `reach`. A token that has expired
/// counts only where none of the name is live. Of several, it is the one that is bound to
/// `integration`, or else the one that is bound to none.
///
/// # Errors
/// When there is none, or more than one.
pub fn find_caller(
    registry: &Registry,
    name: &str,
    integration: Option<&IntegrationName>,
    (reach, now): (&Reach, Timestamp),
) -> Result<Arc<Holder>, CallerNameError> {
    // 1. Those of the name, the live ones before those that have ended.
    let named = registry.holders().filter(|holder| *holder.caller.name == *name);
    let within = named.filter(|holder| reach.includes(&holder.caller.reach));
    let (ended, live): (Vec<_>, Vec<_>) = within.partition(|holder| holder.caller.has_expired(now));
    if live.is_empty() {
        let last = ended.into_iter().max_by_key(|holder| holder.caller.expires_at);
        return last.cloned().ok_or(CallerNameError::Unknown);
    }
    // 2. The one that the integration tells apart.
    let of = |bound| live.iter().filter(move |holder| holder.caller.bound_to() == bound);
    let meant: Vec<_> = match integration {
        Some(_) if live.len() > 1 && of(integration).count() > 0 => of(integration).collect(),
        Some(_) if live.len() > 1 => of(None).collect(),
        _ => live.iter().collect(),
    };
    match meant.as_slice() {
        [holder] => Ok(Arc::clone(holder)),
        _ => Err(CallerNameError::Ambiguous),
    }
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
    /// Says what the data plane would do with a request of this operator's token, or of the caller
    /// that it names.
    ///
    /// # Errors
    /// What is wrong with the question, or that no one caller of that name is within reach.
    pub fn explain(
        &self,
        request: impl Into<Document<ExplainRequest>>,
    ) -> Result<ExplainAnswer, Refused> {
        // 1. The request that is asked about.
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
        // 2. The caller, and the answer.
        let own = self.operator.caller();
        let (registry, now) = (self.management.registry(), self.management.now());
        let named = reader.take(named!(request.caller), About::Request, |name| {
            find_caller(&registry, name, integration.as_ref(), (&own.reach, now))
        });
        let read = method.zip(url).map(|(method, url)| {
            let names_caller = named.is_some();
            Question { method, url, integration, connection, names_caller }
        });
        let question = reader.close(read)?;
        let caller = named.as_ref().map_or(own, |holder| &holder.caller);
        Ok(self.management.data_plane.explain(caller, &question))
    }

    /// The names of the callers that can be asked about, in order: their tokens have the scope
    /// `proxy`, and reach no further than the operator's own.
    pub fn callers(&self, most: usize) -> Vec<String> {
        let reach = &self.operator.caller().reach;
        let registry = self.management.registry();
        let callers = registry.holders().map(|holder| &holder.caller);
        let within =
            callers.filter(|caller| caller.scopes.allows_proxy() && reach.includes(&caller.reach));
        let names: BTreeSet<_> = within.map(|caller| caller.name.to_string()).collect();
        names.into_iter().take(most).collect()
    }
}
