//! A credential: the header fields, and the parts of the target, that are injected into a request
//! (ZIS spec §8.2, contract §8).

mod echo;
mod letters;
mod mask;
mod patterns;
mod prefilter;
mod target;
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
pub use self::target::{TargetValues, UnfitTarget};
pub use self::template::{Template, TemplateError};
use super::aws::access::{AwsAccess, AwsSecrets, RequestSigner};
use super::custom::{CustomAccess, CustomSecrets};
use super::field::{CredentialField, check_password};
use super::oauth::grant::Injection;
use super::oauth::profile::{ACCESS_TOKEN, CLIENT_ID};
use super::parameter::ParameterName;
use super::placement::{ParsedPlacement, Place, Placement};
use super::record::Detail;
use crate::secret::Secret;

/// Field names and their secret values as they are sent, one or as many as an injection has, and
/// the values that stand in the target.
///
/// A value's bytes are shared by reference count and wiped when the last handle is dropped. Secret
/// values are marked sensitive, so HPACK never indexes them (RFC 7541 §7.1.3).
#[derive(Clone)]
pub struct Credential {
    fields: SmallVec<[(HeaderName, HeaderValue); 1]>,
    /// The values that stand in the target, where there are any.
    target: Option<Arc<TargetValues>>,
    /// The secrets that may stand anywhere in a value: the access token of an injection, those of
    /// a custom connection, and the token of a session whose keys sign.
    secrets: Vec<Secret>,
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
            Detail::BasicAuth { username } => {
                // Base64 would carry anything.
                check_password(secret.expose()).map_err(|_rule| NotAFieldValue(()))?;
                (header::AUTHORIZATION, basic(username, secret))
            }
            Detail::BearerToken => (header::AUTHORIZATION, bearer(secret)),
            Detail::AwsSigV4(access) => return Self::signing(access, secret),
            Detail::Custom(access) => return Self::of_first_domain(access, secret),
            Detail::OAuth(grant) => match &grant.injection {
                Some(injection) => return Self::injected(injection, secret),
                None => (header::AUTHORIZATION, bearer(secret)),
            },
        };
        Ok(Self::with_fields(smallvec![(field, sensitive(&text)?)], Vec::new()))
    }

    /// The keys of a connection to AWS.
    fn signing(access: &AwsAccess, secret: &Secret) -> Result<Self, NotAFieldValue> {
        let secrets = AwsSecrets::unpack(secret).ok_or(NotAFieldValue(()))?;
        let signer = RequestSigner::new(access, secrets).ok_or(NotAFieldValue(()))?;
        let session_token = signer.session_token().into_iter().cloned().collect();
        let mut credential = Self::with_fields(SmallVec::new(), session_token);
        credential.signer = Some(Arc::new(signer));
        Ok(credential)
    }

    /// The places of an injection, with the access token and the client's id in them.
    fn injected(injection: &Injection, access_token: &Secret) -> Result<Self, NotAFieldValue> {
        let filler = Filler {
            names: &[ACCESS_TOKEN, CLIENT_ID],
            secret_of: &|name| match name {
                ACCESS_TOKEN => Some(access_token.expose()),
                CLIENT_ID => Some(injection.client_id.as_bytes()),
                _ => None,
            },
            is_secret: &|template| template.has(ACCESS_TOKEN),
        };
        let taken_out = parameters_of(&injection.placements);
        let mut credential = filler.fill(&injection.placements, taken_out)?;
        credential.secrets.push(access_token.clone());
        Ok(credential)
    }

    /// The credential of the first of the domains of a custom connection.
    fn of_first_domain(access: &CustomAccess, secret: &Secret) -> Result<Self, NotAFieldValue> {
        let all = Self::of_domains(access, secret)?;
        all.into_iter().next().ok_or(NotAFieldValue(()))
    }

    /// The credentials of a custom connection, one for each of its domains, in their order.
    ///
    /// # Errors
    /// [`NotAFieldValue`] when the secrets are others than its templates name, or can't stand where
    /// these have them.
    pub fn of_domains(access: &CustomAccess, secret: &Secret) -> Result<Vec<Self>, NotAFieldValue> {
        let secrets = CustomSecrets::unpack(secret).ok_or(NotAFieldValue(()))?;
        let names = access.secret_names();
        let filler = Filler {
            names: &names,
            secret_of: &|name| secrets.get(name).map(Secret::expose),
            is_secret: &Template::has_secret,
        };
        // A parameter that is set at one domain is taken out at all.
        let taken_out: Arc<[ParameterName]> = parameters_of(access.placements());
        let credentials = access.domains.iter().map(|domain| {
            let placements = access.inject_of(domain);
            let mut credential = filler.fill(placements, Arc::clone(&taken_out))?;
            let used = names.iter().filter(|name| {
                let parsed = placements.iter().filter_map(|it| it.parse(&names).ok());
                parsed.into_iter().any(|it| it.template().has(name))
            });
            credential.secrets = used.filter_map(|name| secrets.get(name).cloned()).collect();
            Ok(credential)
        });
        credentials.collect()
    }

    fn with_fields(fields: SmallVec<[(HeaderName, HeaderValue); 1]>, secrets: Vec<Secret>) -> Self {
        Self { fields, target: None, secrets, patterns: OnceLock::new(), signer: None }
    }

    /// The patterns by which it is known where an origin repeats it.
    pub fn patterns(&self) -> &Arc<CredentialPatterns> {
        self.patterns.get_or_init(|| Arc::new(CredentialPatterns::of([self])))
    }

    /// The fields' names, which are not secret, and their values, marked sensitive where they are.
    pub fn fields(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.fields.iter().map(|(name, value)| (name, value))
    }

    /// The values that stand in the request's target; `None` where it stays as it is.
    pub fn target(&self) -> Option<&TargetValues> {
        self.target.as_deref()
    }

    /// The names of its places as one text, for people.
    pub fn places(&self) -> String {
        let fields = self.fields().map(|(name, _)| name.to_string());
        let target = self.target().into_iter().flat_map(TargetValues::places);
        fields.chain(target).collect::<Vec<_>>().join(", ")
    }

    /// The keys that sign each request; `None` where fields carry the secret.
    pub fn signer(&self) -> Option<&RequestSigner> {
        self.signer.as_deref()
    }

    /// Tells whether both are the same, or sign with sessions of the same role by the same keys.
    #[must_use]
    pub fn has_source_of(&self, other: &Self) -> bool {
        match (self.signer(), other.signer()) {
            (Some(ours), Some(theirs)) => ours.has_source_of(theirs),
            _ => self.same_as(other),
        }
    }

    /// Tells whether both have the same places and values, or sign alike. Values are compared in
    /// constant time.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let sign_alike = match (self.signer(), other.signer()) {
            (Some(ours), Some(theirs)) => ours.same_as(theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        let same_target = match (self.target(), other.target()) {
            (Some(ours), Some(theirs)) => ours.same_as(theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        sign_alike
            && same_target
            && self.fields.len() == other.fields.len()
            && self.fields().zip(other.fields()).all(|((name, ours), (other_name, theirs))| {
                let (ours, theirs) = (ours.as_bytes(), theirs.as_bytes());
                name == other_name && verify_slices_are_equal(ours, theirs).is_ok()
            })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}: *****)", self.places())
    }
}

/// Fills the templates of placements with secrets.
struct Filler<'a> {
    /// The names that the templates may have.
    names: &'a [&'a str],
    secret_of: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    is_secret: &'a dyn Fn(&Template) -> bool,
}

impl Filler<'_> {
    fn fill(
        &self,
        placements: &[Placement],
        taken_out: Arc<[ParameterName]>,
    ) -> Result<Credential, NotAFieldValue> {
        let mut fields = SmallVec::new();
        let mut target = TargetValues::new(taken_out);
        // 1. Each value, in its place.
        for placement in placements {
            let parsed = placement.parse(self.names).map_err(|_rule| NotAFieldValue(()))?;
            let template = parsed.template();
            let value = template.fill(self.secret_of).ok_or(NotAFieldValue(()))?;
            let is_secret = (self.is_secret)(template);
            match parsed {
                ParsedPlacement::Field(name, _) => {
                    let mut value = sensitive(&value)?;
                    value.set_sensitive(is_secret);
                    fields.push((name, value));
                }
                ParsedPlacement::Parameter(name, _) => {
                    target.add_parameter(name, &value, is_secret)?;
                }
                ParsedPlacement::Segment(placeholder, _) => {
                    target.add_segment(placeholder, &value, is_secret)?;
                }
            }
        }
        // 2. The target alone where anything changes it.
        let mut credential = Credential::with_fields(fields, Vec::new());
        credential.target = (!target.is_empty()).then(|| Arc::new(target));
        Ok(credential)
    }
}

/// The names of the parameters among placements.
fn parameters_of<'a>(placements: impl IntoIterator<Item = &'a Placement>) -> Arc<[ParameterName]> {
    let parameters = placements.into_iter().filter(|placement| placement.place == Place::Query);
    parameters.filter_map(|placement| ParameterName::parse(&placement.name).ok()).collect()
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
