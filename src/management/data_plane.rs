//! The data plane, as management and the console see it: it decides a request, and sends one.
//!
//! It is a trait because the data plane is of a layer above, and knows management.

use std::fmt;

use futures_util::future::BoxFuture;
use http::Method;

use super::Management;
use super::explain::Question;
use crate::model::caller::Caller;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::token::TokenDigest;
use crate::wire::ExplainAnswer;

/// Decides and sends requests, as those of its callers.
pub trait DataPlane: fmt::Debug + Send + Sync {
    /// Decides the request of a question as if `caller` had sent it, and sends nothing.
    fn explain(&self, caller: &Caller, question: &Question) -> ExplainAnswer;

    /// Sends a request as if its caller had. The response shows no secret of the connection that was
    /// used; where there is none, a sentence says why.
    fn probe(&self, request: ProbeRequest) -> BoxFuture<'static, Result<ProbeResponse, String>>;
}

/// A request that a person at the console has sent.
pub struct ProbeRequest {
    /// The digest of the token in whose name it is sent.
    pub caller: TokenDigest,
    /// The method.
    pub method: Method,
    /// The URL, as a caller would write it.
    pub url: String,
    /// The integration that it names.
    pub integration: IntegrationName,
    /// The connection that it names, if it names one.
    pub connection: Option<ConnectionName>,
    /// The type of its body, and the body, if it has one.
    pub body: Option<(String, String)>,
}

impl fmt::Debug for ProbeRequest {
    /// Leaves out the URL and the body, which may have secrets of the person who sends them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// The response to a probe, as it can be shown.
#[derive(Clone, Debug, Default)]
pub struct ProbeResponse {
    /// The status.
    pub status: u16,
    /// Tells whether it is the origin's, and not a refusal.
    pub is_the_origins: bool,
    /// The refusal that it is, if it is one.
    pub refusal: Option<ProbeRefusal>,
    /// The header fields, by name.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: BodyPreview,
    /// The times that its parts took.
    pub times: ProbeTimes,
}

/// A refusal by which a probe was answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProbeRefusal {
    /// The code.
    pub code: &'static str,
    /// The rule that refused.
    pub rule: &'static str,
    /// The whole cause, with credentials masked.
    pub cause: Option<String>,
}

/// The part of a body that can be shown.
#[derive(Clone, Debug, Default)]
pub struct BodyPreview {
    /// The text, as far as it is shown; `None` where the body is not text.
    pub text: Option<String>,
    /// The bytes that were read.
    pub bytes: usize,
    /// Tells whether there is more.
    pub is_cut: bool,
}

/// The times that the parts of a probe took, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProbeTimes {
    /// All of it.
    pub total: f64,
    /// The proxy's own part, until the request left.
    pub own: Option<f64>,
    /// The name look-up and the TCP handshake.
    pub connect: Option<f64>,
    /// The TLS handshake.
    pub tls: Option<f64>,
    /// The origin's part, from then until its response began.
    pub origin: Option<f64>,
}

impl Management {
    /// Sends a request as if its caller had, in the name of the token that it has.
    pub async fn probe(&self, request: ProbeRequest) -> Result<ProbeResponse, String> {
        self.data_plane.probe(request).await
    }
}
