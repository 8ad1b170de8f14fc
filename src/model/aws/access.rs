//! Connections of type `aws_sigv4`: what is stored of them, and the signer that is made of it
//! (contract §8).

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::endpoint::{SigningScope, is_scope_name};
use super::signer::{AwsKeys, Unsignable, is_access_key_id};
use crate::model::field::check_secret;
use crate::model::packer::{Packer, Unpacker};
use crate::secret::Secret;

/// Everything of a connection to AWS that is not secret.
///
/// Its encoding is stored, and part of the context for which its secret is sealed, so that it must
/// stay as it is in every later version.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AwsAccess {
    /// The id of the access key.
    pub access_key_id: Box<str>,
    /// The region to sign for; `None` for the one that the host names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Box<str>>,
    /// The service to sign for; `None` for the one that the host names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Box<str>>,
}

/// The secrets of a connection to AWS.
#[derive(Clone, Debug)]
pub struct AwsSecrets {
    /// The key that signs.
    pub secret_access_key: Secret,
    /// The token of a session's keys.
    pub session_token: Option<Secret>,
}

/// Signs the requests of one connection.
#[derive(Clone, Debug)]
pub struct RequestSigner {
    keys: AwsKeys,
    region: Option<Box<str>>,
    service: Option<Box<str>>,
}

impl AwsAccess {
    /// Checks its texts.
    ///
    /// # Errors
    /// The text states the rule that one breaks.
    pub fn check(&self) -> Result<(), &'static str> {
        check_access_key_id(&self.access_key_id)?;
        self.region.iter().chain(&self.service).try_for_each(|name| check_scope_name(name))
    }

    /// Reads an encoded one; `None` for anything else.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|read: &Self| read.check().is_ok())
    }

    /// The text that is stored and sealed.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Checks the id of an access key.
///
/// # Errors
/// The text states the rule.
pub fn check_access_key_id(text: &str) -> Result<(), &'static str> {
    let rule = "must be 1 to 128 letters, digits, or characters out of _ - . + : @";
    if is_access_key_id(text) { Ok(()) } else { Err(rule) }
}

/// Checks the name of a region or a service.
///
/// # Errors
/// The text states the rule.
pub fn check_scope_name(text: &str) -> Result<(), &'static str> {
    let rule = "must be 1 to 64 letters, digits and hyphens, as us-east-1 or s3";
    if is_scope_name(text) { Ok(()) } else { Err(rule) }
}

impl AwsSecrets {
    /// Encodes the secrets as one.
    #[must_use]
    pub fn pack(&self) -> Secret {
        let token = self.session_token.as_ref().map(Secret::expose);
        Packer::new(KIND).text(self.secret_access_key.expose()).optional_text(token).finish()
    }

    /// Decodes the secrets; `None` for anything else.
    #[must_use]
    pub fn unpack(packed: &Secret) -> Option<Self> {
        let mut unpacking = Unpacker::new(KIND, packed)?;
        let secret_access_key = Secret::new(unpacking.text()?);
        let session_token = unpacking.optional_text()?.map(Secret::new);
        unpacking.is_done().then_some(Self { secret_access_key, session_token })
    }
}

impl RequestSigner {
    /// A signer with the keys of a connection; `None` where a field can't carry its token.
    #[must_use]
    pub fn new(access: &AwsAccess, secrets: AwsSecrets) -> Option<Self> {
        let AwsSecrets { secret_access_key, session_token } = secrets;
        if session_token.as_ref().is_some_and(|token| check_secret(token.expose()).is_err()) {
            return None;
        }
        let AwsAccess { access_key_id, region, service } = access.clone();
        let keys = AwsKeys { access_key_id, secret_access_key, session_token };
        Some(Self { keys, region, service })
    }

    /// The region and service for which a request to `host` is signed: those of the connection,
    /// else those that the host's name says. Never the caller's, who could have a host of its own
    /// sent a signature that counts elsewhere. `None` where neither says both.
    #[must_use]
    pub fn scope(&self, host: &str) -> Option<SigningScope> {
        if let (Some(region), Some(service)) = (&self.region, &self.service) {
            return Some(SigningScope { region: region.clone(), service: service.clone() });
        }
        let of_host = SigningScope::of_host(host)?;
        Some(SigningScope {
            region: self.region.clone().unwrap_or(of_host.region),
            service: self.service.clone().unwrap_or(of_host.service),
        })
    }

    /// Signs a request to `host`, as its last step.
    ///
    /// # Errors
    /// [`Unsignable`] when the host's region or service is not known.
    pub fn sign(
        &self,
        host: &str,
        (method, target): (&str, &str),
        headers: &mut HeaderMap,
        time: Timestamp,
    ) -> Result<(), Unsignable> {
        let scope = self.scope(host).ok_or(Unsignable)?;
        self.keys.sign(&scope, method, target, headers, time)
    }

    /// The token of a session's keys, which is sent.
    #[must_use]
    pub fn session_token(&self) -> Option<&Secret> {
        self.keys.session_token.as_ref()
    }

    /// The fields that it sets.
    #[must_use]
    pub fn fields() -> [HeaderName; 3] {
        super::signer::signature_fields()
    }

    /// Tells whether both sign alike.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.region == other.region
            && self.service == other.service
            && self.keys.same_as(&other.keys)
    }
}

/// The kind and version of encoded secrets.
const KIND: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn access(region: Option<&str>, service: Option<&str>) -> AwsAccess {
        let (region, service) = (region.map(Into::into), service.map(Into::into));
        AwsAccess { access_key_id: "AKIDEXAMPLE".into(), region, service }
    }

    fn secrets(token: Option<&str>) -> AwsSecrets {
        let session_token = token.map(Secret::new);
        AwsSecrets { secret_access_key: Secret::new("secret"), session_token }
    }

    #[test]
    fn the_encoding_of_every_member_stays_as_it_is() {
        let json = r#"{"access_key_id":"AKIDEXAMPLE","region":"eu-west-1","service":"s3"}"#;
        let whole = access(Some("eu-west-1"), Some("s3"));
        assert_eq!(whole.encode(), json);
        assert_eq!(AwsAccess::decode(json), Some(whole));
        let json = r#"{"access_key_id":"AKIDEXAMPLE"}"#;
        assert_eq!(AwsAccess::decode(json).unwrap().encode(), json);
        for other in ["{}", r#"{"access_key_id":"a b"}"#, r#"{"access_key_id":"a","x":1}"#] {
            assert_eq!(AwsAccess::decode(other), None, "{other}");
        }
    }

    #[test]
    fn secrets_come_out_as_they_went_in() {
        for token in [None, Some("token")] {
            let packed = secrets(token).pack();
            assert_eq!(AwsSecrets::unpack(&packed).unwrap().pack().expose(), packed.expose());
        }
        assert!(AwsSecrets::unpack(&Secret::new("secret")).is_none());
    }

    #[test]
    fn the_connections_own_names_win_over_those_of_the_host() {
        let scope = |access: AwsAccess, host: &str| {
            let signer = RequestSigner::new(&access, secrets(None)).unwrap();
            signer.scope(host).map(|scope| format!("{}/{}", scope.region, scope.service))
        };
        let host = "dynamodb.us-west-2.amazonaws.com";
        assert_eq!(scope(access(None, None), host).as_deref(), Some("us-west-2/dynamodb"));
        let mine = access(Some("eu-west-1"), None);
        assert_eq!(scope(mine.clone(), host).as_deref(), Some("eu-west-1/dynamodb"));
        assert_eq!(scope(mine, "storage.example.com"), None);
        let whole = access(Some("auto"), Some("s3"));
        assert_eq!(scope(whole, "storage.example.com").as_deref(), Some("auto/s3"));
    }

    #[test]
    fn signers_are_the_same_by_everything_that_counts() {
        let signer =
            |region, token| RequestSigner::new(&access(region, None), secrets(token)).unwrap();
        assert!(signer(None, None).same_as(&signer(None, None)));
        assert!(!signer(None, None).same_as(&signer(Some("us-east-1"), None)));
        assert!(!signer(None, None).same_as(&signer(None, Some("t"))));
        assert!(!signer(None, Some("u")).same_as(&signer(None, Some("t"))));
        assert!(RequestSigner::new(&access(None, None), secrets(Some("a\nb"))).is_none());
        assert!(!format!("{:?}", signer(None, Some("token"))).contains("token\""));
    }
}
