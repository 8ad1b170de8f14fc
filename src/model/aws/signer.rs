//! Signatures of requests by AWS Signature Version 4 ("Create a signed AWS API request" in AWS's
//! documentation).

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::canonical::{CanonicalRequest, PathRule, SignedParts};
use super::endpoint::SigningScope;
use super::payload::{CONTENT_SHA256, EMPTY_SHA256, sha256, to_hexadecimal};
use super::query::QueryAuth;
use crate::model::target::decode_unparsable;
use crate::secret::Secret;

/// The keys of an account, or of a session.
#[derive(Clone)]
pub struct AwsKeys {
    /// The id, which is not secret and is sent with every request.
    pub access_key_id: Box<str>,
    /// The key that signs, which is never sent.
    pub secret_access_key: Secret,
    /// The token of a session's keys, which is sent with every request.
    pub session_token: Option<Secret>,
}

/// A request that could not be signed: a field can't carry what belongs in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the request can't be signed")]
pub struct Unsignable;

/// The time of a signature, in the two formats that it is written in.
struct SigningTime {
    /// `20150830T123600Z`
    full: String,
}

impl AwsKeys {
    /// Signs a request to `origin`'s host as its last step, whose body is what
    /// `x-amz-content-sha256` says. A presigned URL stays as it is.
    ///
    /// # Errors
    /// [`Unsignable`] when a field can't carry the keys.
    pub fn sign(
        &self,
        scope: &SigningScope,
        method: &str,
        target: &str,
        headers: &mut HeaderMap,
        time: Timestamp,
    ) -> Result<(), Unsignable> {
        // 1. The target as it is sent, which may have its own signature.
        let target = decode_unparsable(target);
        if QueryAuth::read(&target) == Ok(QueryAuth::Presigned) {
            return Ok(());
        }
        // 2. The fields that belong to a signature.
        let time = SigningTime::of(time);
        headers.insert(X_AMZ_DATE, HeaderValue::try_from(&time.full).map_err(|_never| Unsignable)?);
        if let Some(token) = &self.session_token {
            headers.insert(X_AMZ_SECURITY_TOKEN, sensitive(token.expose())?);
        }
        // 3. The signature itself.
        let payload = headers.get(CONTENT_SHA256).map(|value| value.to_str().unwrap_or_default());
        let payload = payload.unwrap_or(EMPTY_SHA256);
        let parts = SignedParts { method, target: &target, headers, payload };
        let value = self.authorization(scope, &parts, &time, is_signed);
        headers.insert(header::AUTHORIZATION, sensitive(value.as_bytes())?);
        Ok(())
    }

    /// The value of `Authorization`.
    fn authorization(
        &self,
        scope: &SigningScope,
        parts: &SignedParts<'_>,
        time: &SigningTime,
        is_signed: impl Fn(&HeaderName) -> bool,
    ) -> String {
        // 1. The text that is signed.
        let rule = if scope.is_s3() { PathRule::Once } else { PathRule::Twice };
        let request = CanonicalRequest::of(parts, rule, is_signed);
        let SigningScope { region, service } = scope;
        let credential_scope = format!("{}/{region}/{service}/aws4_request", time.date());
        let hash = sha256(&request.text);
        let text = format!("{ALGORITHM}\n{}\n{credential_scope}\n{hash}", time.full);
        // 2. The key of that day, region and service.
        let secret = self.secret_access_key.expose();
        let mut first = Zeroizing::new(Vec::with_capacity(KEY_PREFIX.len() + secret.len()));
        first.extend_from_slice(KEY_PREFIX);
        first.extend_from_slice(secret);
        let key = hmac_sha256(&first, time.date().as_bytes());
        let key = hmac_sha256(&*key, region.as_bytes());
        let key = hmac_sha256(&*key, service.as_bytes());
        let key = hmac_sha256(&*key, b"aws4_request");
        // 3. The signature.
        let signature = to_hexadecimal(&*hmac_sha256(&*key, text.as_bytes()));
        let (id, names) = (&self.access_key_id, request.signed_headers);
        format!(
            "{ALGORITHM} Credential={id}/{credential_scope}, SignedHeaders={names}, \
             Signature={signature}"
        )
    }

    /// Tells whether both are the same keys. They are compared in constant time.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let is_same = |ours: &Secret, theirs: &Secret| {
            verify_slices_are_equal(ours.expose(), theirs.expose())
        };
        let is_same_token = match (&self.session_token, &other.session_token) {
            (Some(ours), Some(theirs)) => is_same(ours, theirs).is_ok(),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        self.access_key_id == other.access_key_id
            && is_same(&self.secret_access_key, &other.secret_access_key).is_ok()
            && is_same_token
    }
}

impl SigningTime {
    fn of(time: Timestamp) -> Self {
        Self { full: time.strftime("%Y%m%dT%H%M%SZ").to_string() }
    }

    /// `20150830`
    fn date(&self) -> &str {
        self.full.split('T').next().unwrap_or_default()
    }
}

impl fmt::Debug for AwsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsKeys({}: *****)", self.access_key_id)
    }
}

/// The names of the fields that a signature consists of. The caller's own are taken out.
#[must_use]
pub fn signature_fields() -> [HeaderName; 3] {
    [header::AUTHORIZATION, X_AMZ_DATE, X_AMZ_SECURITY_TOKEN]
}

/// Tells whether a text can be the id of an access key. Other services than AWS choose their own.
#[must_use]
pub fn is_access_key_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.+:@".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Tells whether a field is signed: those that AWS requires. Others may change on their way within
/// AWS.
fn is_signed(name: &HeaderName) -> bool {
    [header::HOST, header::CONTENT_TYPE].contains(name)
        || name == CONTENT_MD5
        || name.as_str().starts_with("x-amz-")
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut code = Zeroizing::new([0; 32]);
    for (byte, of_tag) in code.iter_mut().zip(tag.as_ref()) {
        *byte = *of_tag;
    }
    code
}

/// A value that HPACK never indexes, and whose bytes are wiped when it is dropped.
fn sensitive(text: &[u8]) -> Result<HeaderValue, Unsignable> {
    let shared = Secret::new(text).into_shared();
    let mut value = HeaderValue::from_maybe_shared(shared).map_err(|_silent| Unsignable)?;
    value.set_sensitive(true);
    Ok(value)
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const KEY_PREFIX: &[u8] = b"AWS4";
const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// The field of the token of a session.
pub(in crate::model) const X_AMZ_SECURITY_TOKEN: HeaderName =
    HeaderName::from_static("x-amz-security-token");
const CONTENT_MD5: &str = "content-md5";

#[cfg(test)]
mod tests;
