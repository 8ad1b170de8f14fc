//! A request with a credential in it.

use http::{HeaderValue, Method, Request, header, uri};
use http_body::Body as _;

use super::body::Outgoing;
use super::departure::SecretUnavailable;
use crate::clock::Clock;
use crate::model::credential::{Credential, UnfitTarget};
use crate::model::origin::Origin;
use crate::secret::Secret;

/// A request with its credential. Its target may be secret, so it has no `Debug`.
pub(super) struct PreparedRequest {
    pub(super) request: Request<Outgoing>,
    /// The target without the credential, where the request's own has it.
    plain_target: Option<uri::PathAndQuery>,
}

impl PreparedRequest {
    pub(super) fn new(request: Request<Outgoing>) -> Self {
        Self { request, plain_target: None }
    }

    /// The target without the credential.
    pub(super) fn plain_target(&self) -> Option<&uri::PathAndQuery> {
        self.plain_target.as_ref().or_else(|| self.request.uri().path_and_query())
    }

    /// Puts the values of a credential that stand in the target there, and takes out those of the
    /// credential before.
    ///
    /// # Errors
    /// [`UnfitTarget`] says why the values can't stand there; then nothing has changed.
    pub(super) fn set_target(&mut self, credential: &Credential) -> Result<(), UnfitTarget> {
        if credential.target().is_none() && self.plain_target.is_none() {
            return Ok(());
        }
        let plain = self.plain_target().cloned();
        let plain = plain.unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
        let (target, plain_target) = match credential.target() {
            Some(values) => {
                let filled = Secret::new(values.fill(plain.as_str())?.as_bytes()).into_shared();
                let filled = uri::PathAndQuery::from_maybe_shared(filled);
                (filled.map_err(|_too_long| UnfitTarget::TooLong)?, Some(plain))
            }
            None => (plain, None),
        };
        let mut parts = uri::Parts::default();
        parts.path_and_query = Some(target);
        *self.request.uri_mut() =
            uri::Uri::from_parts(parts).map_err(|_refused_before| UnfitTarget::NoPath)?;
        self.plain_target = plain_target;
        Ok(())
    }

    /// Sets the fields of a credential. Each replaces every value that the field had.
    pub(super) fn set_fields(&mut self, credential: &Credential) {
        for (name, value) in credential.fields() {
            self.request.headers_mut().insert(name, value.clone());
        }
    }

    /// Signs the request as its last step, where the credential is a key that signs.
    pub(super) fn sign(
        &mut self,
        origin: &Origin,
        credential: &Credential,
        clock: &Clock,
    ) -> Result<(), SecretUnavailable> {
        let Some(signer) = credential.signer() else { return Ok(()) };
        let (method, uri) = (self.request.method().clone(), self.request.uri().clone());
        let target = uri.path_and_query().map_or("/", uri::PathAndQuery::as_str);
        let line = (method.as_str(), target);
        let outcome = signer.sign(origin.host(), line, self.request.headers_mut(), clock.now());
        outcome.map_err(|_unsignable| SecretUnavailable)
    }

    /// Makes the head for HTTP/2: the authority is part of the target, instead of `Host`
    /// (RFC 9113 §8.3.1). The departure keeps its own head, so that it can be sent again.
    pub(super) fn http2_head(&self, origin: &Origin) -> Result<Request<()>, http::Error> {
        // 1. The target, with the authority of the right, never of the caller.
        let mut head = Request::new(());
        *head.method_mut() = self.request.method().clone();
        *head.version_mut() = http::Version::HTTP_2;
        let mut parts = uri::Parts::default();
        parts.scheme = Some(uri::Scheme::HTTPS);
        parts.authority = Some(origin.authority().parse()?);
        parts.path_and_query = Some(match self.request.uri().path_and_query() {
            Some(target) if target.as_str().starts_with(['/', '*']) => target.clone(),
            // A query without a path follows the root path.
            Some(target) => format!("/{}", target.as_str()).parse()?,
            None => uri::PathAndQuery::from_static("/"),
        });
        *head.uri_mut() = uri::Uri::from_parts(parts)?;
        // 2. The fields, without those that HTTP/2 replaces.
        let headers = head.headers_mut();
        headers.clone_from(self.request.headers());
        for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH] {
            if let header::Entry::Occupied(field) = headers.entry(name) {
                field.remove_entry_mult();
            }
        }
        let usual = matches!(*self.request.method(), Method::POST | Method::PUT | Method::PATCH);
        let length = self.request.body().size_hint().exact();
        // 3. The length, which these methods state even for an empty body (RFC 9110 §8.6).
        if let Some(length) = length.filter(|length| *length > 0 || usual) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok(head)
    }
}
