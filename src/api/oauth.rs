//! OAuth clients, flows and connections, in the shapes of ZIS (spec §4.5, §7), with errors of
//! family B.

pub(super) mod account;
pub(super) mod clients;
pub(super) mod connections;
mod flow_page;
pub(super) mod flows;
pub(super) mod mcp;
mod user_agent;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::oneshot;

use super::ApiState;
use super::error::{Error, Numbered};
use crate::management::RevocationOutcome;
use crate::tasks::Tasks;
use crate::wire::printable_name;

/// The prefix of OAuth's paths.
pub(super) const PATHS: &str = "/api/services/zis/connections/";

/// Reads the same as elsewhere, and refuses in family B.
pub(super) struct Numbers<T>(pub(super) T);

impl<T> FromRequestParts<ApiState> for Numbers<T>
where
    T: FromRequestParts<ApiState, Rejection = Error>,
{
    type Rejection = Numbered;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Numbered> {
        T::from_request_parts(parts, state).await.map(Self).map_err(Numbered::from)
    }
}

/// The parameters of a query. What is given twice could be read in two ways, so it is refused.
pub(super) struct Query(Vec<(String, String)>);

impl FromRequestParts<ApiState> for Query {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _rooms: &ApiState) -> Result<Self, Error> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        {
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Error::invalid("the query: a parameter is given twice"));
            }
            // Anybody may ask, and each is compared with all before it.
            if pairs.len() >= MAX_PARAMETERS {
                return Err(Error::invalid("the query: it has too many parameters"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }
}

impl Query {
    /// The value of a parameter, unless it is empty.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Refuses parameters of other names: an unknown filter would be taken for one that has found
    /// everything.
    pub(super) fn refuse_others(&self, known: &[&str]) -> Result<(), Error> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let name = printable_name(name, "a parameter");
                Err(Error::invalid(format!("{name}: is unknown; there is {}", known.join(", "))))
            }
        }
    }
}

/// More than anything takes.
const MAX_PARAMETERS: usize = 32;

/// A GET, and not the HEAD that is answered like one elsewhere: what such a request does is done
/// once, and a look must not do it (RFC 9110 §9.2.1).
pub(super) struct OnlyGet;

impl<S: Sync> FromRequestParts<S> for OnlyGet {
    type Rejection = Numbered;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Numbered> {
        if parts.method == Method::GET {
            return Ok(Self);
        }
        Err(Numbered::only(only_methods(parts.uri.path()).unwrap_or("GET")))
    }
}

/// The methods of a path on which a GET is not answered to HEAD too.
pub(super) fn only_methods(path: &str) -> Option<&'static str> {
    let below = path.strip_prefix(PATHS)?;
    let is_get = ["refresh/", "oauth/access_codes/"].iter().any(|start| below.starts_with(start))
        || below == "oauth/start_redirect";
    match below {
        "oauth/callback" => Some("GET, POST"),
        _ => is_get.then_some("GET"),
    }
}

/// The answer to a deletion, and how the provider has taken it.
fn deleted(revocation: Option<RevocationOutcome>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(outcome) = revocation {
        let outcome = HeaderValue::from_static(outcome.as_str());
        response.headers_mut().insert(X_KEYFERRY_REVOCATION, outcome);
    }
    response
}

const X_KEYFERRY_REVOCATION: HeaderName = HeaderName::from_static("x-keyferry-revocation");

/// Runs work that goes on when its caller is gone.
async fn detached<T: Send + 'static>(
    errands: &Tasks,
    work: impl Future<Output = Result<T, Numbered>> + Send + 'static,
) -> Result<T, Numbered> {
    let (done, result) = oneshot::channel();
    errands.spawn(async move {
        // Nobody may be waiting any more.
        drop(done.send(Box::pin(work).await));
    });
    let refused = crate::management::Refused::Internal;
    result.await.unwrap_or_else(|_gone| Err(Numbered::refused(refused)))
}
