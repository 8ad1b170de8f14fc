//! Signing in by an OpenID provider: authorization code with PKCE, state and nonce (OpenID Connect
//! Core §3.1, RFC 9700 §2.1). A session begins when everything is checked, and at no time before.

use std::fmt;

use super::pending::PendingSignIn;
use crate::management::oauth::{PASSED_ON, challenge_of, with_parameters, without_parameters};
use crate::management::{ClientAddr, Management, Operator, RateLimits, Refused, Storage};
use crate::model::openid::OpenIdSettings;
use crate::model::session::{Person, SessionHolder};
use crate::oauth::{
    DiscoveryError, DiscoveryFailure, IdentificationError, MetadataError, OpenIdProvider,
    SignInCode,
};
use crate::rate_limit::RateExceeded;
use crate::secret::Secret;
use crate::store;

/// The way of the browser to the OpenID provider.
#[derive(Clone)]
pub struct OpenIdRedirect {
    /// The provider's authorization endpoint, with the question.
    pub location: String,
    /// The value of the cookie by which the browser is known when it comes back.
    pub cookie: String,
}

/// A person who has signed in.
#[derive(Clone)]
pub struct PersonSignedIn {
    /// The value of the session's cookie.
    pub cookie: String,
    /// The path to go on to.
    pub next: String,
    /// The person's name.
    pub name: Box<str>,
}

/// The reason why nobody is signed in. None of the provider's own words are in it.
#[derive(Debug, thiserror::Error)]
pub enum SignInFault {
    /// The configuration has no OpenID provider.
    #[error("the configuration has no [oidc]")]
    NotConfigured,
    /// The browser comes back from no sign-in that was begun in it, or too late.
    #[error(
        "the browser has no cookie of a sign-in, or of another one than the provider answers, or it \
         took longer than ten minutes"
    )]
    Unknown,
    /// A code was exchanged for this sign-in before.
    #[error("the provider's answer, or another one to the same question, was shown before")]
    Spent,
    /// The provider was asked too often for somebody at this address.
    #[error("the provider was asked too often for this address: {0}")]
    TooMany(#[from] RateExceeded),
    /// The provider has said no.
    #[error("the provider said no: {0}")]
    Denied(&'static str),
    /// The provider's answer is not one.
    #[error("the provider's answer has no code, or names another issuer")]
    Answer,
    /// Nobody was identified.
    #[error(transparent)]
    Unidentified(#[from] IdentificationError),
    /// No group of the person has rights.
    #[error(
        "{0} was identified, but [oidc.groups] has none of the groups that the ID token lists for \
         them"
    )]
    NoGroup(Box<str>),
    /// The session could not be begun.
    #[error("the session could not be begun: {0}")]
    Session(Refused),
}

impl From<DiscoveryError> for SignInFault {
    fn from(error: DiscoveryError) -> Self {
        Self::Unidentified(error.into())
    }
}

impl Management {
    /// The host of the OpenID provider, where people can sign in by one.
    pub fn open_id_host(&self) -> Option<String> {
        let settings = self.settings();
        let issuer = settings.open_id.as_ref().filter(|_| self.keeps())?.issuer.as_str();
        let rest = issuer.split_once("://")?.1;
        rest.split('/').next().map(str::to_owned)
    }

    /// Leads a browser at this address to the OpenID provider; at the end it goes on to `next`.
    ///
    /// # Errors
    /// [`SignInFault`] when there is no provider, or it can't be used.
    pub async fn begin_open_id(
        &self,
        next: &str,
        rate_limits: &RateLimits,
        address: ClientAddr,
    ) -> Result<OpenIdRedirect, SignInFault> {
        // 1. The provider, as it describes itself. It is asked for that only so often.
        let settings = self.settings();
        let settings = settings.open_id.as_ref().ok_or(SignInFault::NotConfigured)?;
        let Storage { provider, persistence, .. } =
            self.storage().map_err(|_none| SignInFault::NotConfigured)?;
        let known = provider.known_open_id(&self.open_id, &settings.issuer);
        let found = if let Some(known) = known {
            known
        } else {
            rate_limits.count_open_id(address)?;
            provider.open_id(&self.open_id, &settings.issuer).await?
        };
        let endpoint = endpoint_of(&found, settings)?;
        // 2. The browser keeps the sign-in.
        let pending = PendingSignIn::begin(next, self.clock.now())
            .map_err(|error| SignInFault::Session(crate::management::no_randomness(&error)))?;
        let cookie = pending.seal(&persistence.vault());
        // 3. The provider is asked by way of the browser.
        let (state, nonce) = (pending.state(), pending.nonce());
        let (redirect_uri, challenge) =
            (self.open_id_callback(), challenge_of(&pending.verifier()));
        let question = [
            ("response_type", "code"),
            ("client_id", &*settings.client_id),
            ("redirect_uri", &*redirect_uri),
            ("scope", &*settings.scopes),
            ("state", &*state),
            ("nonce", &*nonce),
            ("code_challenge", &*challenge),
            ("code_challenge_method", "S256"),
        ];
        let location = with_parameters(&without_parameters(&endpoint, &question), &question);
        Ok(OpenIdRedirect { location, cookie })
    }

    /// Signs in the person whom the OpenID provider sends back with this query, in the browser that
    /// shows the cookie of the sign-in. The provider is asked for tokens once for each sign-in that
    /// was begun.
    ///
    /// # Errors
    /// [`SignInFault`] says why nobody is signed in.
    pub async fn finish_open_id(
        &self,
        cookie: &str,
        answer: &[(String, String)],
        rate_limits: &RateLimits,
        address: ClientAddr,
    ) -> Result<PersonSignedIn, SignInFault> {
        let settings = self.settings();
        let settings = settings.open_id.as_ref().ok_or(SignInFault::NotConfigured)?;
        let Storage { provider, persistence, .. } =
            self.storage().map_err(|_none| SignInFault::NotConfigured)?;
        // 1. The answer belongs to a sign-in that was begun in this browser.
        let pending = PendingSignIn::open(cookie, &persistence.vault(), self.clock.now());
        let pending = pending.ok_or(SignInFault::Unknown)?;
        let answer = Answer(answer);
        if !answer.once("state").is_some_and(|state| pending.is_of(state)) {
            return Err(SignInFault::Unknown);
        }
        // 2. It is the provider's that was asked (RFC 9207), and no refusal. Who isn't known yet can
        // have come by a cookie and a state as well, and has the provider asked only so often.
        rate_limits.count_open_id(address)?;
        let found = provider.open_id(&self.open_id, &settings.issuer).await?;
        let is_silent = !answer.has("iss") && !found.metadata.names_issuer;
        if !is_silent && answer.once("iss") != Some(settings.issuer.as_str()) {
            return Err(SignInFault::Answer);
        }
        if answer.has("error") {
            return Err(SignInFault::Denied(denial(answer.once("error").unwrap_or_default())));
        }
        let code = answer.once("code").filter(|code| !code.is_empty());
        let code = Secret::new(code.ok_or(SignInFault::Answer)?);
        // 3. The sign-in is spent, and then the code is worth an ID token that counts, or not.
        let spent = persistence.store().spend_sign_in(pending.spent()).await;
        spent.map_err(|error| match error {
            store::Error::Conflict => SignInFault::Spent,
            other => SignInFault::Session(other.into()),
        })?;
        let (redirect_uri, verifier) = (self.open_id_callback(), pending.verifier());
        let code = SignInCode { code: &code, redirect_uri: &redirect_uri, verifier: &verifier };
        let identified =
            Box::pin(provider.identify(&self.open_id, settings, code, &pending.nonce())).await?;
        // 4. The person is one of a group that has rights.
        let person = Person {
            issuer: settings.issuer.as_str().into(),
            client_id: settings.client_id.clone(),
            groups: settings.known_groups(&identified.claims),
            subject: identified.subject,
            email: identified.email,
        };
        let caller = settings.caller(&person, None);
        let caller = caller.ok_or_else(|| SignInFault::NoGroup(person.name().into()))?;
        // 5. The session.
        let name = person.name().into();
        let operator = Operator::of_person(caller, person.clone()).at(address);
        let holder = SessionHolder::Person(person);
        let cookie = self.begin_session(holder, &operator).await.map_err(SignInFault::Session)?;
        Ok(PersonSignedIn { cookie, next: pending.next().to_owned(), name })
    }

    /// The URL to which the OpenID provider sends the browser back.
    fn open_id_callback(&self) -> String {
        format!("{}/console/sign-in/callback", self.public_url())
    }
}

/// The parameters of the answer by which the provider sends the browser back.
struct Answer<'a>(&'a [(String, String)]);

impl<'a> Answer<'a> {
    /// The value of a parameter that is there once (RFC 6749 §3.1).
    fn once(&self, name: &str) -> Option<&'a str> {
        let mut all = self.0.iter().filter(|(known, _)| known == name);
        match (all.next(), all.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
}

/// The authorization endpoint of a provider that can sign people in.
fn endpoint_of(
    provider: &OpenIdProvider,
    settings: &OpenIdSettings,
) -> Result<String, DiscoveryError> {
    let missing = || {
        let cause = MetadataError::Endpoint("authorization_endpoint");
        DiscoveryError::new(settings.issuer.as_str(), DiscoveryFailure::Metadata(cause))
    };
    let url = provider.metadata.auth_url.as_ref().ok_or_else(missing)?;
    Ok(url.as_str().to_owned())
}

/// A code of RFC 6749 §4.1.2.1 or OpenID Connect Core §3.1.2.6; another one is not repeated.
fn denial(code: &str) -> &'static str {
    PASSED_ON.into_iter().find(|known| *known == code).unwrap_or("by a code of its own")
}

/// Without the question, of which the state is worth a session.
impl fmt::Debug for OpenIdRedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenIdRedirect(…)")
    }
}

/// Without the cookie.
impl fmt::Debug for PersonSignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersonSignedIn").field("name", &self.name).finish_non_exhaustive()
    }
}
