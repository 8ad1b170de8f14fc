//! The credential: the one header field that is injected into a request (ZIS spec §8.2).

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

use super::field::CredentialField;
use super::record::Detail;
use crate::secret::Secret;

/// A field name and its secret value, ready for the wire.
///
/// The value's bytes are shared by reference count and wiped when the last handle goes; the
/// value is marked sensitive, so that HTTP/2 never puts it into a compression table.
#[derive(Clone)]
pub struct Credential {
    field: HeaderName,
    value: HeaderValue,
}

/// The secret can't stand in a header field; [`super::field`] says which can.
#[derive(Debug, thiserror::Error)]
#[error("the secret can't stand in a header field")]
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
    #[must_use]
    pub fn field(&self) -> &HeaderName {
        &self.field
    }

    /// Whether `other` is the same field with the same value, compared in constant time.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.value.as_bytes(), other.value.as_bytes());
        self.field == other.field && verify_slices_are_equal(ours, theirs).is_ok()
    }

    /// The secret value, marked sensitive.
    #[must_use]
    pub fn expose(&self) -> &HeaderValue {
        &self.value
    }
}

impl Credential {
    /// The text with asterisks wherever the secret stands in it, or what it is made of, as it is or
    /// as JSON, URLs and base64 spell it: for what an origin has sent back, before it is shown.
    #[must_use]
    pub fn mask(&self, text: &[u8]) -> Vec<u8> {
        let mut masked = text.to_vec();
        for part in self.parts() {
            for spelling in spellings(&part) {
                masked = replaced(&masked, &spelling);
            }
        }
        masked
    }

    /// The masked text, with asterisks too where it ends in the midst of the secret.
    #[must_use]
    pub fn mask_end(&self, mut text: Vec<u8>) -> Vec<u8> {
        for spelling in self.parts().iter().flat_map(|part| spellings(part)) {
            let begun = (1..spelling.len()).rev().find(|length| {
                spelling.get(..*length).is_some_and(|beginning| text.ends_with(beginning))
            });
            if let Some(length) = begun {
                text.truncate(text.len() - length);
                text.extend_from_slice(b"*****");
            }
        }
        text
    }

    /// The value, and what it is made of, the longest first.
    fn parts(&self) -> Vec<Zeroizing<Vec<u8>>> {
        let value = self.value.as_bytes();
        let mut parts = vec![Zeroizing::new(value.to_vec())];
        if self.field != header::AUTHORIZATION {
            return parts;
        }
        let space = value.iter().position(|byte| *byte == b' ');
        let Some((scheme, rest)) = space.and_then(|at| value.split_at_checked(at)) else {
            return parts;
        };
        let rest = rest.trim_ascii();
        parts.push(Zeroizing::new(rest.to_vec()));
        if scheme == b"Basic"
            && let Ok(pair) = STANDARD.decode(rest).map(Zeroizing::new)
        {
            let password = pair.iter().position(|byte| *byte == b':');
            let password = password.and_then(|at| pair.get(at + 1..)).unwrap_or_default().to_vec();
            parts.extend([pair, Zeroizing::new(password)]);
        }
        parts
    }
}

/// How a secret may be spelled in an answer.
fn spellings(part: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    if part.is_empty() {
        return Vec::new();
    }
    let mut spelled = vec![Zeroizing::new(part.to_vec())];
    let text = String::from_utf8_lossy(part);
    if let Ok(json) = serde_json::to_string(&text) {
        spelled.push(Zeroizing::new(json.trim_matches('"').as_bytes().to_vec()));
    }
    let url: String = form_urlencoded::byte_serialize(part).collect();
    spelled.push(Zeroizing::new(url.replace('+', "%20").into_bytes()));
    spelled.push(Zeroizing::new(url.into_bytes()));
    spelled.push(Zeroizing::new(STANDARD.encode(part).into_bytes()));
    spelled
}

fn replaced(text: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut masked = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in memchr::memmem::find_iter(text, secret) {
        masked.extend_from_slice(text.get(from..at).unwrap_or_default());
        masked.extend_from_slice(b"*****");
        from = at + secret.len();
    }
    masked.extend_from_slice(text.get(from..).unwrap_or_default());
    masked
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}: *****)", self.field)
    }
}

/// RFC 7617 §2, with UTF-8 as its charset.
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

/// RFC 6750 §2.1.
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
    fn a_secret_is_masked_however_it_is_spelled() {
        let secret = "s3cr\"t +/";
        let basic = Detail::BasicAuth { username: "Zoë".into() };
        let key = Detail::ApiKey { header_name: "X-Api-Key".into() };
        for detail in [&Detail::BearerToken, &basic, &key] {
            let credential = Credential::build(detail, &Secret::new(secret)).unwrap();
            let value = credential.expose().as_bytes();
            for spelling in [
                secret.as_bytes(),
                br#"s3cr\"t +/"#,
                b"s3cr%22t%20%2B%2F",
                b"s3cr%22t+%2B%2F",
                STANDARD.encode(secret).as_bytes(),
                value,
            ] {
                let text = [b"a ", spelling, b" b ", spelling].concat();
                assert_eq!(credential.mask(&text), b"a ***** b *****", "{detail:?}");
            }
            assert_eq!(credential.mask(b"nothing"), b"nothing");
            let cut = credential.mask_end(b"it is s3cr".to_vec());
            assert_eq!(cut, b"it is *****", "{detail:?}");
        }
    }

    #[test]
    fn a_field_that_may_carry_no_credential_gets_none() {
        let detail = Detail::ApiKey { header_name: "Cookie".into() };
        assert!(Credential::build(&detail, &Secret::new("abc")).is_err());
    }
}
