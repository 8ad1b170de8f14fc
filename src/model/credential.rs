//! A credential: the header field that is injected into a request (ZIS spec §8.2).

mod mask;

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

pub use self::mask::masked;
use super::field::CredentialField;
use super::record::Detail;
use crate::secret::Secret;

/// A field name and its secret value as they are sent.
///
/// The value's bytes are shared by reference count and wiped when the last handle is dropped. The
/// value is marked sensitive, so HPACK never indexes it (RFC 7541 §7.1.3).
#[derive(Clone)]
pub struct Credential {
    field: HeaderName,
    value: HeaderValue,
}

/// A secret or a field name that breaks a rule of [`super::field`].
#[derive(Debug, thiserror::Error)]
#[error("a header field can't carry the secret")]
pub struct NotAFieldValue(());

impl Credential {
    /// Builds the field that a connection of this type injects.
    ///
    /// # Errors
    /// [`NotAFieldValue`] when the secret contains a control character, or `detail` names a field
    /// that may carry none.
    pub fn build(detail: &Detail, secret: &Secret) -> Result<Self, NotAFieldValue> {
        let (field, text) = match detail {
            Detail::ApiKey { header_name } => {
                let field = CredentialField::parse(header_name);
                let field = field.map_err(|_rule| NotAFieldValue(()))?.name().clone();
                (field, Zeroizing::new(secret.expose().to_vec()))
            }
            Detail::BasicAuth { username } => (header::AUTHORIZATION, basic(username, secret)),
            Detail::BearerToken | Detail::OAuth(_) => (header::AUTHORIZATION, bearer(secret)),
        };
        let shared = Secret::new(text.to_vec()).into_shared();
        let mut value =
            HeaderValue::from_maybe_shared(shared).map_err(|_silent| NotAFieldValue(()))?;
        value.set_sensitive(true);
        Ok(Self { field, value })
    }

    /// The field's name, which is not secret.
    pub fn field(&self) -> &HeaderName {
        &self.field
    }

    /// Tells whether both have the same field and value. Values are compared in constant time.
    pub fn same_as(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.value.as_bytes(), other.value.as_bytes());
        self.field == other.field && verify_slices_are_equal(ours, theirs).is_ok()
    }

    /// The secret value, marked sensitive.
    pub fn expose(&self) -> &HeaderValue {
        &self.value
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}: *****)", self.field)
    }
}

/// Credentials of the Basic scheme (RFC 7617 §2), in UTF-8.
fn basic(username: &str, password: &Secret) -> Zeroizing<Vec<u8>> {
    let mut pair = Zeroizing::new(Vec::with_capacity(username.len() + 1 + password.len()));
    pair.extend_from_slice(username.as_bytes());
    pair.push(b':');
    pair.extend_from_slice(password.expose());
    let mut text = Zeroizing::new(String::with_capacity(6 + pair.len().div_ceil(3) * 4));
    text.push_str("Basic ");
    STANDARD.encode_string(&*pair, &mut text);
    Zeroizing::new(text.as_bytes().to_vec())
}

/// Credentials of the Bearer scheme (RFC 6750 §2.1).
fn bearer(token: &Secret) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(7 + token.len()));
    text.extend_from_slice(b"Bearer ");
    text.extend_from_slice(token.expose());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(detail: &Detail, secret: &str) -> (String, Vec<u8>) {
        let credential = Credential::build(detail, &Secret::new(secret)).unwrap();
        (credential.field().to_string(), credential.expose().as_bytes().to_vec())
    }

    #[test]
    fn basic_authentication_follows_rfc_7617() {
        for (username, password, expected) in [
            ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("test", "123£", "Basic dGVzdDoxMjPCow=="),
        ] {
            let (field, value) = built(&Detail::BasicAuth { username: username.into() }, password);
            assert_eq!((field.as_str(), value.as_slice()), ("authorization", expected.as_bytes()));
        }
    }

    #[test]
    fn bearer_tokens_and_api_keys_are_verbatim() {
        let authorization = ("authorization".into(), b"Bearer t0k3n".to_vec());
        assert_eq!(built(&Detail::BearerToken, "t0k3n"), authorization);
        let detail = Detail::ApiKey { header_name: "X-Api-Key".into() };
        assert_eq!(built(&detail, "SSWS abc"), ("x-api-key".into(), b"SSWS abc".to_vec()));
    }

    #[test]
    fn a_field_that_may_carry_no_credential_gets_none() {
        let detail = Detail::ApiKey { header_name: "Cookie".into() };
        assert!(Credential::build(&detail, &Secret::new("abc")).is_err());
    }
}
