//! Connections of type `aws_sigv4`: what is stored of them, and the signer that is made of it
//! (contract §8).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::endpoint::{SigningScope, is_scope_name};
use super::role::{AssumeRole, RoleSession, RoleSessions};
use super::signer::{AwsKeys, Unsignable, is_access_key_id};
use crate::model::field::check_token;
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
    /// The role that the keys assume; without one they sign themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role: Option<AssumeRole>,
}

/// The secrets of a connection to AWS.
#[derive(Clone, Debug)]
pub struct AwsSecrets {
    /// The key that signs, or assumes the role.
    pub secret_access_key: Secret,
    /// The token of a session's keys.
    pub session_token: Option<Secret>,
    /// The sessions of its role.
    pub sessions: RoleSessions,
}

/// Signs the requests of one connection.
#[derive(Clone, Debug)]
pub struct RequestSigner {
    /// The keys of the connection.
    keys: AwsKeys,
    /// The role that they assume. Its session signs in their place, and never they.
    role: Option<(AssumeRole, Option<RoleSession>)>,
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
        self.region.iter().chain(&self.service).try_for_each(|name| check_scope_name(name))?;
        self.assume_role.as_ref().map_or(Ok(()), |role| role.check(self.region.as_deref()))
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
    /// The secrets of keys that have no session of a role yet.
    #[must_use]
    pub fn new(secret_access_key: Secret, session_token: Option<Secret>) -> Self {
        Self { secret_access_key, session_token, sessions: RoleSessions::default() }
    }

    /// Encodes the secrets as one.
    #[must_use]
    pub fn pack(&self) -> Secret {
        let has_sessions = self.sessions.generation > 0;
        let packer = Packer::new(if has_sessions { KIND_WITH_SESSIONS } else { KIND });
        let token = self.session_token.as_ref().map(Secret::expose);
        let packer = packer.text(self.secret_access_key.expose()).optional_text(token);
        let packer = if has_sessions { self.sessions.pack_into(packer) } else { packer };
        packer.finish()
    }

    /// Decodes the secrets; `None` for anything else.
    #[must_use]
    pub fn unpack(packed: &Secret) -> Option<Self> {
        let with_sessions = Unpacker::new(KIND_WITH_SESSIONS, packed);
        let has_sessions = with_sessions.is_some();
        let mut unpacking = with_sessions.or_else(|| Unpacker::new(KIND, packed))?;
        let secret_access_key = Secret::new(unpacking.text()?);
        let session_token = unpacking.optional_text()?.map(Secret::new);
        let sessions = if has_sessions {
            RoleSessions::unpack_from(&mut unpacking)?
        } else {
            RoleSessions::default()
        };
        unpacking.is_done().then_some(Self { secret_access_key, session_token, sessions })
    }

    /// The keys themselves.
    #[must_use]
    pub fn keys(&self, access: &AwsAccess) -> AwsKeys {
        AwsKeys {
            access_key_id: access.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
            session_token: self.session_token.clone(),
        }
    }

    /// Tells whether both have the same keys, whatever their sessions are.
    #[must_use]
    pub fn has_keys_of(&self, other: &Self) -> bool {
        let secret = |secrets: &Self| {
            Self::new(secrets.secret_access_key.clone(), secrets.session_token.clone()).pack()
        };
        verify_slices_are_equal(secret(self).expose(), secret(other).expose()).is_ok()
    }

    /// The keys that replace these. What has failed with the ones before says nothing of them, so
    /// that they count as another set, which has no session yet.
    #[must_use]
    pub fn replaced_by(&self, next: Self) -> Self {
        let generation = self.sessions.generation.saturating_add(1);
        let sessions = RoleSessions { generation, current: None };
        Self { sessions, ..next }
    }
}

impl RequestSigner {
    /// A signer with the keys of a connection; `None` where a field can't carry its token.
    #[must_use]
    pub fn new(access: &AwsAccess, secrets: AwsSecrets) -> Option<Self> {
        let keys = secrets.keys(access);
        let AwsAccess { region, service, assume_role, .. } = access.clone();
        let role = assume_role.map(|role| (role, secrets.sessions.current));
        let signer = Self { keys, role, region, service };
        let token = signer.session_token();
        let can_be_sent = token.is_none_or(|token| check_token(token.expose()).is_ok());
        can_be_sent.then_some(signer)
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

    /// Tells whether a session's token goes with the signature.
    #[must_use]
    pub fn sends_session_token(&self) -> bool {
        self.role.is_some() || self.session_token().is_some()
    }

    /// Signs a request to `host`, as its last step.
    ///
    /// # Errors
    /// [`Unsignable`] when the host's region or service is not known, or the role has no session.
    pub fn sign(
        &self,
        host: &str,
        (method, target): (&str, &str),
        headers: &mut HeaderMap,
        time: Timestamp,
    ) -> Result<(), Unsignable> {
        let scope = self.scope(host).ok_or(Unsignable)?;
        self.signing_keys().ok_or(Unsignable)?.sign(&scope, method, target, headers, time)
    }

    /// The keys that sign: the connection's own, or those of its role's session.
    fn signing_keys(&self) -> Option<&AwsKeys> {
        match &self.role {
            None => Some(&self.keys),
            Some((_, session)) => session.as_ref().map(|session| &session.keys),
        }
    }

    /// The token of a session's keys, which is sent.
    #[must_use]
    pub fn session_token(&self) -> Option<&Secret> {
        self.signing_keys()?.session_token.as_ref()
    }

    /// The keys of the connection, which assume its role if it has one.
    #[must_use]
    pub fn own_keys(&self) -> &AwsKeys {
        &self.keys
    }

    /// The session of its role, if there is one.
    #[must_use]
    pub fn session(&self) -> Option<&RoleSession> {
        self.role.as_ref()?.1.as_ref()
    }

    /// The fields that it sets.
    #[must_use]
    pub fn fields() -> [HeaderName; 3] {
        super::signer::signature_fields()
    }

    /// Tells whether both sign alike.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let same_keys = match (self.signing_keys(), other.signing_keys()) {
            (Some(ours), Some(theirs)) => ours.same_as(theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        same_keys && self.has_source_of(other)
    }

    /// Tells whether both have the same keys and role, whatever its session is.
    #[must_use]
    pub fn has_source_of(&self, other: &Self) -> bool {
        let role = |signer: &Self| signer.role.as_ref().map(|(role, _)| role.clone());
        self.region == other.region
            && self.service == other.service
            && role(self) == role(other)
            && self.keys.same_as(&other.keys)
    }
}

/// The kind and version of encoded secrets.
const KIND: u8 = 1;

/// The same with the sessions of a role.
const KIND_WITH_SESSIONS: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn access(region: Option<&str>, service: Option<&str>) -> AwsAccess {
        let (region, service) = (region.map(Into::into), service.map(Into::into));
        AwsAccess { access_key_id: "AKIDEXAMPLE".into(), region, service, assume_role: None }
    }

    fn with_role() -> AwsAccess {
        let role_arn = "arn:aws:iam::123456789012:role/reader".into();
        let role = AssumeRole { role_arn, external_id: Some("ext".into()), duration: Some(900) };
        AwsAccess { assume_role: Some(role), ..access(None, None) }
    }

    fn session(token: &str) -> RoleSession {
        let keys = AwsKeys {
            access_key_id: "ASIAEXAMPLE".into(),
            secret_access_key: Secret::new("session secret"),
            session_token: Some(Secret::new(token)),
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        RoleSession { keys, issued_at: at(1_800_000_000), expires_at: at(1_800_003_600) }
    }

    fn secrets(token: Option<&str>) -> AwsSecrets {
        AwsSecrets::new(Secret::new("secret"), token.map(Secret::new))
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
        let json = r#"{"access_key_id":"AKIDEXAMPLE","assume_role":{"role_arn":"arn:aws:iam::123456789012:role/reader","external_id":"ext","duration":900}}"#;
        assert_eq!(with_role().encode(), json);
        assert_eq!(AwsAccess::decode(json), Some(with_role()));
        let elsewhere = json.replace("{\"access", r#"{"region":"cn-north-1","access"#);
        assert_eq!(AwsAccess::decode(&elsewhere), None);
    }

    #[test]
    fn a_session_signs_in_the_place_of_the_keys_and_they_never_do() {
        let host = "dynamodb.us-west-2.amazonaws.com";
        let sign = |signer: &RequestSigner| {
            let mut headers = HeaderMap::new();
            let time = Timestamp::from_second(1_800_000_000).unwrap();
            signer.sign(host, ("GET", "/"), &mut headers, time)?;
            Ok::<_, Unsignable>(format!("{:?}", headers.get("x-amz-security-token")))
        };
        let none = RequestSigner::new(&with_role(), secrets(Some("t"))).unwrap();
        assert_eq!(sign(&none), Err(Unsignable));
        assert!(none.session_token().is_none());
        let sessions = RoleSessions::default().followed_by(session("token"));
        let with_session = AwsSecrets { sessions, ..secrets(Some("t")) };
        let signer = RequestSigner::new(&with_role(), with_session).unwrap();
        assert!(sign(&signer).is_ok() && !none.same_as(&signer) && none.has_source_of(&signer));
        assert_eq!(signer.session_token().unwrap().expose(), b"token");
        assert!(!format!("{signer:?}").contains("session secret"));
    }

    #[test]
    fn sessions_come_out_as_they_went_in_and_go_with_other_keys() {
        let first = AwsSecrets {
            sessions: RoleSessions::default().followed_by(session("token")),
            ..secrets(None)
        };
        let packed = first.pack();
        let read = AwsSecrets::unpack(&packed).unwrap();
        assert_eq!(read.pack().expose(), packed.expose());
        assert!(read.sessions.are_newer_than(0) && !read.sessions.are_newer_than(1));
        let replaced = read.replaced_by(secrets(Some("other")));
        let replaced = AwsSecrets::unpack(&replaced.pack()).unwrap();
        assert_eq!((replaced.sessions.generation, replaced.sessions.current.is_none()), (2, true));
        assert!(!replaced.sessions.are_newer_than(0));
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
