//! A credential: the header fields that are injected into a request (ZIS spec §8.2, contract §8).

mod echo;
mod letters;
mod mask;
mod patterns;
mod prefilter;
mod template;

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use smallvec::{SmallVec, smallvec};
use zeroize::Zeroizing;

pub use self::echo::Echoes;
pub use self::mask::masked;
pub use self::patterns::CredentialPatterns;
pub use self::template::{Template, TemplateError};
use super::aws::access::{AwsAccess, AwsSecrets, RequestSigner};
use super::field::CredentialField;
use super::oauth::grant::Injection;
use super::oauth::profile::{ACCESS_TOKEN, CLIENT_ID};
use super::record::Detail;
use crate::secret::Secret;

/// Field names and their secret values as they are sent: one, or as many as an injection has.
///
/// A value's bytes are shared by reference count and wiped when the last handle is dropped. Secret
/// values are marked sensitive, so HPACK never indexes them (RFC 7541 §7.1.3).
#[derive(Clone)]
pub struct Credential {
    fields: SmallVec<[(HeaderName, HeaderValue); 1]>,
    /// The access token of an injection, which may stand anywhere in a value; the token of a
    /// session whose keys sign.
    access_token: Option<Secret>,
    /// The patterns by which it is known in an answer, made when they are first needed.
    patterns: OnceLock<Arc<CredentialPatterns>>,
    /// The keys that sign each request, in the place of fields.
    signer: Option<Arc<RequestSigner>>,
}

/// A secret or a field name that breaks a rule of [`super::field`].
#[derive(Debug, thiserror::Error)]
#[error("a header field can't carry the secret")]
pub struct NotAFieldValue(());

impl Credential {
    /// Builds the fields that a connection of this type injects.
    ///
    /// # Errors
    /// [`NotAFieldValue`] when a secret contains a control character, or `detail` names a field
    /// that may carry none.
    pub fn build(detail: &Detail, secret: &Secret) -> Result<Self, NotAFieldValue> {
        let (field, text) = match detail {
            Detail::ApiKey { header_name } => {
                let field = CredentialField::parse(header_name);
                let field = field.map_err(|_rule| NotAFieldValue(()))?.name().clone();
                (field, Zeroizing::new(secret.expose().to_vec()))
            }
            Detail::BasicAuth { username } => (header::AUTHORIZATION, basic(username, secret)),
            Detail::BearerToken => (header::AUTHORIZATION, bearer(secret)),
            Detail::AwsSigV4(access) => return Self::signing(access, secret),
            Detail::OAuth(grant) => match &grant.injection {
                Some(injection) => return Self::injected(injection, secret),
                None => (header::AUTHORIZATION, bearer(secret)),
            },
        };
        Ok(Self::with_fields(smallvec![(field, sensitive(&text)?)], None))
    }

    /// The keys of a connection to AWS.
    fn signing(access: &AwsAccess, secret: &Secret) -> Result<Self, NotAFieldValue> {
        let secrets = AwsSecrets::unpack(secret).ok_or(NotAFieldValue(()))?;
        let access_token = secrets.session_token.clone();
        let signer = RequestSigner::new(access, secrets).ok_or(NotAFieldValue(()))?;
        let mut credential = Self::with_fields(SmallVec::new(), access_token);
        credential.signer = Some(Arc::new(signer));
        Ok(credential)
    }

    /// The fields of an injection, with the access token and the client's id in them.
    fn injected(injection: &Injection, access_token: &Secret) -> Result<Self, NotAFieldValue> {
        let secret_of = |name: &str| match name {
            ACCESS_TOKEN => Some(access_token.expose()),
            CLIENT_ID => Some(injection.client_id.as_bytes()),
            _ => None,
        };
        let fields = injection.fields.iter().map(|field| {
            let (name, template) = field.parse().map_err(|_rule| NotAFieldValue(()))?;
            let value = template.fill(secret_of).ok_or(NotAFieldValue(()))?;
            let mut value = sensitive(&value)?;
            value.set_sensitive(template.has(ACCESS_TOKEN));
            Ok((name, value))
        });
        let fields = fields.collect::<Result<_, _>>()?;
        Ok(Self::with_fields(fields, Some(access_token.clone())))
    }

    fn with_fields(
        fields: SmallVec<[(HeaderName, HeaderValue); 1]>,
        access_token: Option<Secret>,
    ) -> Self {
        Self { fields, access_token, patterns: OnceLock::new(), signer: None }
    }

    /// The patterns by which it is known where an origin repeats it.
    pub fn patterns(&self) -> &Arc<CredentialPatterns> {
        self.patterns.get_or_init(|| Arc::new(CredentialPatterns::of([self])))
    }

    /// The fields' names, which are not secret, and their values, marked sensitive where they are.
    pub fn fields(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.fields.iter().map(|(name, value)| (name, value))
    }

    /// The keys that sign each request; `None` where fields carry the secret.
    pub fn signer(&self) -> Option<&RequestSigner> {
        self.signer.as_deref()
    }

    /// Tells whether both have the same fields and values, or sign alike. Values are compared in
    /// constant time.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let sign_alike = match (self.signer(), other.signer()) {
            (Some(ours), Some(theirs)) => ours.same_as(theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        sign_alike
            && self.fields.len() == other.fields.len()
            && self.fields().zip(other.fields()).all(|((name, ours), (other_name, theirs))| {
                let (ours, theirs) = (ours.as_bytes(), theirs.as_bytes());
                name == other_name && verify_slices_are_equal(ours, theirs).is_ok()
            })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.fields().map(|(name, _)| name.as_str()).collect();
        write!(f, "Credential({}: *****)", names.join(", "))
    }
}

/// A value whose bytes are wiped when it is dropped.
fn sensitive(text: &[u8]) -> Result<HeaderValue, NotAFieldValue> {
    let shared = Secret::new(text).into_shared();
    let mut value = HeaderValue::from_maybe_shared(shared).map_err(|_silent| NotAFieldValue(()))?;
    value.set_sensitive(true);
    Ok(value)
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
        let (field, value) = credential.fields().next().unwrap();
        (field.to_string(), value.as_bytes().to_vec())
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
