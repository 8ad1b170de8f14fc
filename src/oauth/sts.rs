//! The sessions of roles: AWS's Security Token Service is asked for one, by a request that the
//! connection's own keys sign (`AssumeRole`, version 2011-06-15).

mod answer;
mod document;

use form_urlencoded::Serializer;
use http::{HeaderValue, Request, header};

use self::answer::read;
use super::failure::TokenFailure;
use super::provider::{Provider, Unsuccessful};
use super::request::{EncodedRequest, FORM};
use crate::model::aws::access::AwsAccess;
use crate::model::aws::payload::{CONTENT_SHA256, sha256};
use crate::model::aws::role::{RoleSession, session_name};
use crate::model::aws::signer::AwsKeys;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::oauth::endpoint::TokenEndpoint;
use crate::secret::Secret;
use crate::upstream::Outgoing;

/// A question for a session of a connection's role.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoleQuestion<'a> {
    /// The connection's integration.
    pub(super) integration: &'a IntegrationName,
    /// Its name.
    pub(super) name: &'a ConnectionName,
    /// Its role, and the region whose STS is asked.
    pub(super) access: &'a AwsAccess,
    /// The keys that assume the role.
    pub(super) keys: &'a AwsKeys,
}

impl Provider {
    /// Asks for a session of a role. That spends nothing: it may be asked for again at any time.
    ///
    /// # Errors
    /// [`Unsuccessful`] says why there is none.
    pub(super) async fn assume_role(
        &self,
        question: &RoleQuestion<'_>,
    ) -> Result<RoleSession, Unsuccessful> {
        let endpoint = TokenEndpoint::of_role(question.access, question.integration);
        let endpoint = endpoint.ok_or(TokenFailure::Unfit(ELSEWHERE))?;
        // 1. The request is signed as it is then, and sent at once.
        let asked_at = self.clock.now();
        let request = question.request(&endpoint, asked_at)?;
        let nothing_before = std::future::ready(Ok(()));
        let answer = self.exchange_request(endpoint, request, nothing_before).await?;
        // 2. The answer has a session, or says why not.
        read(answer.status, answer.body.expose(), asked_at).map_err(|failure| {
            let AwsKeys { secret_access_key, session_token, .. } = question.keys;
            let failure = failure.without([Some(secret_access_key), session_token.as_ref(), None]);
            Unsuccessful { failure, retry_after: answer.retry_after }
        })
    }
}

impl RoleQuestion<'_> {
    fn request(
        &self,
        endpoint: &TokenEndpoint,
        now: jiff::Timestamp,
    ) -> Result<Request<Outgoing>, TokenFailure> {
        // 1. The question.
        let role = self.access.assume_role.as_ref().ok_or(TokenFailure::Gone)?;
        let scope = role.sts_scope(self.access.region.as_deref());
        let scope = scope.ok_or(TokenFailure::Unfit(ELSEWHERE))?;
        let mut form = Serializer::new(String::new());
        form.append_pair("Action", "AssumeRole").append_pair("Version", VERSION);
        form.append_pair("RoleArn", &role.role_arn);
        form.append_pair("RoleSessionName", &session_name(self.integration, self.name));
        if let Some(id) = &role.external_id {
            form.append_pair("ExternalId", id);
        }
        if let Some(seconds) = role.duration {
            form.append_pair("DurationSeconds", &seconds.to_string());
        }
        let body = form.finish();
        let hash = sha256(body.as_bytes());
        // 2. Its fields, and the signature last.
        let content = EncodedRequest { body: Secret::new(body), kind: FORM, authorization: None };
        let mut request = content.into_request();
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, XML);
        headers.insert(header::HOST, endpoint.origin().host_field());
        let hash = HeaderValue::try_from(hash).map_err(|_never| TokenFailure::Seal)?;
        headers.insert(CONTENT_SHA256, hash);
        let signed = self.keys.sign(&scope, "POST", "/", headers, now);
        signed.map_err(|_unsignable| TokenFailure::Unfit("its keys can't sign a request"))?;
        Ok(request)
    }
}

/// The version of the interface.
const VERSION: &str = "2011-06-15";

/// Its documents have this type; another one may have another shape.
const XML: HeaderValue = HeaderValue::from_static("text/xml");

const ELSEWHERE: &str = "the role is of another part of AWS than the connection's region";
