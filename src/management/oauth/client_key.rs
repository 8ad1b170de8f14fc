//! Clients whose secret is a private key: everything that is entered with the key, and the rules
//! that hold for such clients alone.

use crate::management::fault::About;
use crate::management::member_reader::{MemberReader, Named};
use crate::model::oauth::assertion::{AssertionProfile, SignatureAlgorithm};
use crate::model::oauth::client::{AuthMethod, ClientRecord};
use crate::model::oauth::endpoint::EndpointTemplate;
use crate::model::oauth::grant::GrantType;
use crate::model::oauth::profile::{JsonPointer, Profile};
use crate::oauth::{EnteredKey, KeyFault};
use crate::secret::Secret;
use crate::wire::{InstallationMembers, Member, NewOAuthClient, OAuthClientChange, ProfileMembers};

/// The key of a client, as far as a request enters one.
#[derive(Debug)]
pub(super) enum ClientKey {
    /// A secret that is no key, or none.
    Secret,
    /// A key, where the client's secret is something else.
    Stray,
    /// The client's secret is a key, and the request enters none.
    Kept,
    /// The client's secret is this key.
    Entered(Box<Result<EnteredKey, KeyFault>>),
}

/// A client as a request makes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientKind<'a> {
    pub(super) grant_type: GrantType,
    /// Its id at the provider, where that is right.
    pub(super) client_id: Option<&'a str>,
    /// Its token endpoint, where that is right.
    pub(super) token_url: Option<&'a EndpointTemplate>,
    /// Tells whether the request names the key's id.
    pub(super) names_key: bool,
    /// The assertions of another key, which this one replaces.
    pub(super) replaced: Option<&'a AssertionProfile>,
}

impl ClientKey {
    /// The key of a client that is to be made. What came along with it is filled in where the
    /// request leaves it out.
    pub(super) fn of_new(request: &mut NewOAuthClient, profile: &ProfileMembers) -> Self {
        // 1. The members decide whether the secret is a key.
        let grant_type = request.grant_type.filled();
        let is_app = grant_type == Some(GrantType::GithubApp.as_str());
        let auth_method = request.token_endpoint_auth_method.filled();
        let is_key = is_app
            || grant_type == Some(GrantType::JwtBearer.as_str())
            || auth_method == Some(AuthMethod::PrivateKeyJwt.as_str());
        let key = Self::of(&request.client_secret, is_key);
        // 2. The file of a service account, and an installation, say where tokens are asked for.
        if let Some(entered) = key.entered() {
            request.client_id.fill_blank(entered.client_email.as_deref());
            request.token_url.fill_blank(entered.token_uri.as_deref());
        }
        if is_app {
            let base = request.token_url.filled().unwrap_or(GITHUB).to_owned();
            let place = format!("{GITHUB}{INSTALLATIONS}{{subdomain}}{TOKENS}");
            let url = installation_url(&base, &profile.installation);
            let is_missing = request.token_url.filled().is_none();
            if let Some(url) = url.or_else(|| is_missing.then_some(place)) {
                request.token_url = url.into();
            }
        }
        key
    }

    /// The key that a change enters. Another installation has another token URL.
    pub(super) fn of_change(
        request: &mut OAuthClientChange,
        profile: &ProfileMembers,
        record: &ClientRecord,
    ) -> Self {
        let auth_method = request.token_endpoint_auth_method.filled();
        let auth_method = auth_method.unwrap_or(record.auth_method.as_str());
        let is_key =
            record.grant_type.is_signed() || auth_method == AuthMethod::PrivateKeyJwt.as_str();
        if record.grant_type == GrantType::GithubApp && request.token_url.is_absent() {
            let base = record.token_url.as_str().split(INSTALLATIONS).next().unwrap_or_default();
            if let Some(url) = installation_url(base, &profile.installation) {
                request.token_url = url.into();
            }
        }
        Self::of(&request.client_secret, is_key)
    }

    fn of(secret: &Member<Secret>, is_key: bool) -> Self {
        let entered = match secret {
            Member::Given(entered) if !secret.is_redacted() => Some(entered),
            _ => None,
        };
        match entered {
            Some(entered) if is_key => Self::Entered(Box::new(EnteredKey::read(entered))),
            Some(entered) if EnteredKey::is_meant(entered) => Self::Stray,
            _ if is_key => Self::Kept,
            _ => Self::Secret,
        }
    }

    fn entered(&self) -> Option<&EnteredKey> {
        match self {
            Self::Entered(key) => key.as_ref().as_ref().ok(),
            _ => None,
        }
    }

    /// Tells whether another key is entered than the client's secret.
    pub(super) fn is_other(&self, secret: &Secret) -> bool {
        self.entered().is_some_and(|entered| !entered.is_key_of(secret))
    }

    /// Tells whether the client's secret is a key.
    pub(super) fn is_key(&self) -> bool {
        matches!(self, Self::Kept | Self::Entered(_))
    }

    /// Reads the secret: of what came along with a key, the key alone is kept.
    pub(super) fn take_secret(
        &self,
        reader: &mut MemberReader,
        named: Named<Secret>,
    ) -> Option<Secret> {
        let name = named.0;
        let secret = reader.take_secret(named, super::draft::check_client_secret)?;
        let fault = match self {
            Self::Entered(key) => match key.as_ref() {
                Ok(key) => return Some(key.secret.clone()),
                Err(fault) => fault.to_string(),
            },
            Self::Stray => STRAY.to_owned(),
            Self::Kept | Self::Secret => return Some(secret),
        };
        reader.fault(About::Credential, &format!("{name}: {fault}"));
        None
    }

    /// Notes in the profile what came along with the key, and tells what does not fit.
    pub(super) fn complete(
        &self,
        profile: &mut Profile,
        client: &ClientKind<'_>,
        reader: &mut MemberReader,
    ) {
        // 1. The members that count for other clients only.
        let is_app = client.grant_type == GrantType::GithubApp;
        if !self.is_key() && !profile.assertion.is_default() {
            reader.fault(About::Request, NO_KEY);
        }
        if !is_app && !profile.installation.is_default() {
            reader.fault(About::Request, "installation: is for clients of grant_type github_app");
        }
        if self.is_key() && !client.grant_type.is_signed() {
            let AssertionProfile { iss, sub, .. } = &profile.assertion;
            if iss.is_some() || sub.is_some() {
                reader.fault(About::Request, OWN_SUBJECT);
            }
        }
        // 2. A GitHub App.
        if is_app {
            complete_app(profile, client, reader);
        }
        // 3. The key. What is known of the one that it replaces is not true of it.
        let Some(entered) = self.entered() else { return };
        let assertion = &mut profile.assertion;
        if let Some(before) = client.replaced {
            forget(before, assertion, entered);
        }
        let is_named = client.names_key && assertion.key_id.is_some();
        if entered.key_id.is_some() && !is_named {
            assertion.key_id.clone_from(&entered.key_id);
        }
        if entered.certificate_thumbprint.is_some() {
            assertion.certificate_thumbprint.clone_from(&entered.certificate_thumbprint);
        }
        assertion.algorithm = assertion.algorithm.or(entered.algorithm);
        let wanted = if is_app { Some(SignatureAlgorithm::Rs256) } else { assertion.algorithm };
        if let Err(fault) = entered.key.algorithm(wanted) {
            reader.fault(About::Credential, &format!("client_secret: {fault}"));
        }
        let is_others = |email: &str| client.client_id.is_some_and(|client_id| client_id != email);
        if entered.client_email.as_deref().is_some_and(is_others) {
            reader.fault(About::Credential, OTHER_ACCOUNT);
        }
    }
}

/// Takes away what is as it was of the key before. An algorithm stays where the new key can sign by
/// it and names no other: a provider may have asked for it.
fn forget(before: &AssertionProfile, assertion: &mut AssertionProfile, entered: &EnteredKey) {
    if assertion.key_id == before.key_id {
        assertion.key_id = None;
    }
    if assertion.certificate_thumbprint == before.certificate_thumbprint {
        assertion.certificate_thumbprint = None;
    }
    let can_sign = entered.key.algorithm(assertion.algorithm).is_ok();
    if before.algorithm == assertion.algorithm && !(can_sign && entered.algorithm.is_none()) {
        assertion.algorithm = None;
    }
}

/// The method by which a client authenticates: what its secret is decides the usual one, and which
/// there may be.
pub(super) fn check_method(
    given: Option<AuthMethod>,
    grant_type: GrantType,
    reader: &mut MemberReader,
) -> AuthMethod {
    // 1. The rule of the grant type.
    let (usual, allowed, rule): (_, &[AuthMethod], _) = match grant_type {
        GrantType::AuthorizationCode | GrantType::ClientCredentials => {
            return given.unwrap_or(AuthMethod::ClientSecretPost);
        }
        GrantType::JwtBearer => (
            AuthMethod::None,
            &[AuthMethod::None, AuthMethod::PrivateKeyJwt],
            "must be none or private_key_jwt with jwt_bearer, whose key is never sent",
        ),
        GrantType::GithubApp => (
            AuthMethod::None,
            &[AuthMethod::None],
            "must be none with github_app, whose key is never sent",
        ),
    };
    // 2. The method keeps it.
    let method = given.unwrap_or(usual);
    if !allowed.contains(&method) {
        reader.fault(About::Request, &format!("token_endpoint_auth_method: {rule}"));
    }
    method
}

/// The rules of a GitHub App, and the places of its tokens in GitHub's answer.
fn complete_app(profile: &mut Profile, client: &ClientKind<'_>, reader: &mut MemberReader) {
    // 1. GitHub takes three claims, and one algorithm.
    let plain = AssertionProfile {
        iss: profile.assertion.iss.clone(),
        lifetime: profile.assertion.lifetime,
        algorithm: Some(SignatureAlgorithm::Rs256)
            .filter(|_| profile.assertion.algorithm.is_some()),
        key_id: profile.assertion.key_id.clone(),
        ..AssertionProfile::default()
    };
    let is_long = plain.lifetime.is_some_and(|lifetime| lifetime.length().as_secs() > 600);
    if profile.assertion != plain || is_long {
        reader.fault(About::Request, APP_CLAIMS);
    }
    // 2. The URL is that of the installation.
    if let Some(url) = client.token_url.map(EndpointTemplate::as_str) {
        let id = url.split_once(INSTALLATIONS).and_then(|(_base, id)| id.strip_suffix(TOKENS));
        match (id, profile.installation.id) {
            (None, _) => reader.fault(About::Request, APP_URL),
            (Some(id), Some(own)) if id != own.to_string() => {
                reader.fault(About::Request, "installation: its id is other than token_url's");
            }
            _ => {}
        }
    }
    // 3. The answer's places are GitHub's.
    let place = |given: &mut Option<JsonPointer>, path: &str| {
        *given = given.take().or_else(|| JsonPointer::parse(path).ok());
    };
    place(&mut profile.token_path, "/token");
    place(&mut profile.expires_in_path, "/expires_at");
}

/// The URL of an installation's tokens, where a request names its id; `base` is the API's URL, or the
/// one of an installation that is left open.
fn installation_url(base: &str, installation: &Member<InstallationMembers>) -> Option<String> {
    let Member::Given(InstallationMembers { id: Some(id), .. }) = installation else { return None };
    let open = format!("{INSTALLATIONS}{{subdomain}}{TOKENS}");
    let base = base.strip_suffix(&open).unwrap_or(base).trim_end_matches('/');
    (!base.contains(INSTALLATIONS)).then(|| format!("{base}{INSTALLATIONS}{id}{TOKENS}"))
}

const GITHUB: &str = "https://api.github.com";
const INSTALLATIONS: &str = "/app/installations/";
const TOKENS: &str = "/access_tokens";

const STRAY: &str = "is a private key, which must not be sent: set grant_type to jwt_bearer or \
                     github_app, or token_endpoint_auth_method to private_key_jwt";

const NO_KEY: &str = "assertion: is for clients with a key: of grant_type jwt_bearer or github_app, \
                      or with token_endpoint_auth_method private_key_jwt";

const OWN_SUBJECT: &str = "assertion: iss and sub are always client_id with private_key_jwt; they \
                           are for clients of grant_type jwt_bearer";

const APP_CLAIMS: &str = "assertion: may have only iss, lifetime (up to 10m) and algorithm RS256 \
                          with github_app";

const APP_URL: &str = "token_url: must be that of an installation's tokens, such as \
                       https://api.github.com/app/installations/ID/access_tokens, or the API's URL \
                       with installation.id";

const OTHER_ACCOUNT: &str = "client_id: is not the client_email of the service account's file: \
                             give that, or leave it out";
