//! Requests of connections that sign (contract §8, `aws_sigv4`): what the caller says of its
//! request is read and completed before it is signed.

use http::HeaderValue;
use http::request::Parts;

use super::refusal::{Code, Refusal, malformed};
use crate::model::aws::access::RequestSigner;
use crate::model::aws::payload::{CONTENT_SHA256, EMPTY_SHA256, UNSIGNED_PAYLOAD, check_declared};
use crate::model::aws::query::QueryAuth;
use crate::model::connection::Connection;
use crate::model::credential::Credential;
use crate::model::origin::Origin;
use crate::model::permit::Permit;

/// The step that a request needs before it can be signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BeforeSigning {
    /// None: the head says what is signed of the body, or nothing is signed.
    Nothing,
    /// The body is read to its end, so that its hash is known.
    HashBody,
}

/// Refuses a host whose region and service are not known, for a connection that signs.
pub(super) fn check_scope(connection: &Connection, origin: &Origin) -> Result<(), Refusal> {
    match signer(connection) {
        Some(signer) if signer.scope(origin.host()).is_none() => Err(Refusal::new(
            Code::DomainNotAllowed,
            format!(
                "The host {} does not say which AWS region and service to sign for: the operator \
                 sets region and service of the connection {}.",
                origin.host(),
                connection.name()
            ),
        )),
        _ => Ok(()),
    }
}

/// Reads what the caller says of its request, and completes it where that needs no look at the
/// body.
///
/// # Errors
/// A refusal of what can't be signed again, or can be read in two ways.
pub(super) fn prepare(
    head: &mut Parts,
    permit: &Permit,
    has_body: bool,
) -> Result<BeforeSigning, Refusal> {
    let Some(signer) = signer(permit.connection()) else { return Ok(BeforeSigning::Nothing) };
    // 1. A presigned URL passes as it is.
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    match QueryAuth::read(target) {
        Ok(QueryAuth::Presigned) => return Ok(BeforeSigning::Nothing),
        Ok(QueryAuth::Absent) => {}
        Err(fault) => return Err(Refusal::new(Code::MalformedRequest, fault.to_string())),
    }
    // 2. The caller has said what is signed of the body.
    let declared = check_declared(&head.headers);
    if declared.map_err(|fault| Refusal::new(Code::MalformedRequest, fault.to_string()))? {
        return Ok(BeforeSigning::Nothing);
    }
    // 3. S3 takes a body unsigned, over TLS; other services want its hash.
    let is_s3 = signer.scope(permit.origin().host()).is_some_and(|scope| scope.is_s3());
    let value = match (has_body, is_s3) {
        (false, _) => EMPTY_SHA256,
        (true, true) => UNSIGNED_PAYLOAD,
        (true, false) => return Ok(BeforeSigning::HashBody),
    };
    head.headers.insert(CONTENT_SHA256, HeaderValue::from_static(value));
    Ok(BeforeSigning::Nothing)
}

/// Notes the hash of a body that was read to its end.
pub(super) fn note_hash(head: &mut Parts, hash: &str) -> Result<(), Refusal> {
    let value = HeaderValue::from_str(hash).map_err(|_never| malformed("The body has no hash."))?;
    head.headers.insert(CONTENT_SHA256, value);
    Ok(())
}

fn signer(connection: &Connection) -> Option<&RequestSigner> {
    connection.credential().and_then(Credential::signer)
}
