//! From the provider back (ZIS spec §7.4): its code becomes tokens, and the browser goes where the
//! flow ends.

use std::collections::HashMap;
use std::fmt;
use std::future::ready;

use super::issuer::is_issuer;
use super::one_time_token::{ConsumedFlow, digest_of, text_of};
use super::redirect::{UserAgent, flow_cookie_name};
use super::redirect_target;
use crate::management::events::Actor;
use crate::management::fault::Refused;
use crate::management::{Management, Storage};
use crate::model::event::EventKind;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::flow::{FlowPayload, FlowStep};
use crate::model::record::{ConnectionRecord, new_id};
use crate::oauth::{Denial, ErrorCode, GrantParams, TokenFailure, TokenRequest};
use crate::secret::Secret;
use crate::state::Persistence;

/// The end of a flow for the browser or program that went through it.
#[derive(Clone, Eq, PartialEq)]
pub enum FlowOutcome {
    /// There: with what has come of it in the URL.
    Redirect(String),
    /// Here: the connection of this name is there.
    Connected(String),
    /// Here: there is no connection, for this reason.
    Failed(String),
    /// Not yet: the provider was not reached, for this reason, and the page can be loaded again.
    NotYet(String),
    /// Not yet: the flow waits for the browser or program that has begun it.
    Elsewhere,
}

impl fmt::Debug for FlowOutcome {
    /// Without the URL, which has a one-time token in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redirect(_) => f.debug_tuple("Redirect").finish_non_exhaustive(),
            Self::Connected(name) => f.debug_tuple("Connected").field(name).finish(),
            Self::Failed(words) => f.debug_tuple("Failed").field(words).finish(),
            Self::NotYet(words) => f.debug_tuple("NotYet").field(words).finish(),
            Self::Elsewhere => f.write_str("Elsewhere"),
        }
    }
}

/// A reason why there is no connection: a code of RFC 6749, and our own words for it.
struct CallbackError {
    code: &'static str,
    words: String,
    /// The code was not spent: the provider can be asked with it once more.
    is_unspent: bool,
}

impl Management {
    /// Takes up what the provider has sent the browser back with, as a query or a form. The future
    /// must not be dropped before it ends: the code that it spends is of no use afterwards. A
    /// browser that has not begun the flow leaves it as it is, and the one that has may load the
    /// page again.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when no flow waits for this answer; and when the store fails before
    /// it is known where the flow ends.
    pub async fn callback(
        &self,
        query: &str,
        user_agent: &UserAgent,
    ) -> Result<FlowOutcome, Refused> {
        let answer = CallbackQuery::read(query).ok_or(Refused::Malformed)?;
        let state = answer.0.get("state").ok_or(Refused::Malformed)?;
        let storage = self.storage()?;
        let persistence = &*storage.persistence;
        // 1. The flow stays where it is until its own browser comes back.
        let waiting = self.look_at_flow(persistence, FlowStep::Redirected, state, None).await;
        let waiting = match waiting {
            Err(Refused::Malformed) => {
                return self.seen_again(persistence, state, user_agent).await;
            }
            waiting => waiting?,
        };
        if !is_same_browser(&waiting, user_agent) {
            let words = "another browser than the one that began the flow came back";
            waiting.log_step("callback", None, Some(words));
            return Ok(FlowOutcome::Elsewhere);
        }
        // 2. The code becomes tokens, this once.
        let places = (persistence, &**persistence.store());
        let mut taken = self.take_flow(places, FlowStep::Redirected, state, None).await?;
        let client = taken.client_record(persistence).await?;
        let actor = taken.actor(user_agent);
        let come_back = self.come_back(storage, &taken, &client, (&answer, actor.clone())).await;
        let failure = come_back.as_ref().err().map(|trouble| trouble.words.clone());
        taken.log_step("callback", Some(&client), failure.as_deref());
        // 3. The browser goes where the flow ends.
        match come_back {
            Err(error) => {
                let event = taken.event(EventKind::FlowCallback, &client);
                let event = event.failure(error.words.as_str());
                self.note_afterwards(persistence, actor, event).await;
                self.fail(persistence, &taken, state, error).await
            }
            Ok(record) => {
                self.remember_end(persistence, &taken, state, Ok(&record)).await;
                taken.content.callback_params = Some(Secret::new(query));
                self.grant_code(persistence, taken, &record).await
            }
        }
    }

    /// Ends a flow without a connection; one whose code was not spent waits for the browser to load
    /// the page again.
    async fn fail(
        &self,
        persistence: &Persistence,
        taken: &ConsumedFlow,
        state: &str,
        error: CallbackError,
    ) -> Result<FlowOutcome, Refused> {
        let CallbackError { code, words, is_unspent } = error;
        let redirect_to = taken.content.plan.redirect_to.as_deref();
        if is_unspent && redirect_to.is_none() {
            let of = (taken.id, &taken.integration, taken.client);
            let (step, digest) = (FlowStep::Redirected, digest_of(state.as_bytes()));
            let places = (persistence, &**persistence.store());
            self.keep_flow_under(places, of, step, &taken.content, digest).await?;
            return Ok(FlowOutcome::NotYet(words));
        }
        self.remember_end(persistence, taken, state, Err(&words)).await;
        let said = [("error", code), ("error_description", words.as_str())];
        Ok(match redirect_to {
            Some(url) => FlowOutcome::Redirect(redirect_target::with(url, &said)),
            None => FlowOutcome::Failed(words),
        })
    }

    /// Has the flow wait for its verification code, which the browser is sent on with.
    async fn grant_code(
        &self,
        persistence: &Persistence,
        mut taken: ConsumedFlow,
        record: &ConnectionRecord,
    ) -> Result<FlowOutcome, Refused> {
        taken.content.verifier = None;
        taken.content.connection = Some(record.uuid);
        let of = (taken.id, &taken.integration, taken.client);
        let places = (persistence, &**persistence.store());
        let one_time_token = self.keep_flow(places, of, FlowStep::Granted, &taken.content).await?;
        let one_time_token = text_of(&one_time_token);
        Ok(match taken.content.plan.redirect_to.as_deref() {
            Some(url) => {
                let said = [
                    ("verification_token", &*one_time_token),
                    ("verification_code", &*one_time_token),
                ];
                FlowOutcome::Redirect(redirect_target::with(url, &said))
            }
            None => FlowOutcome::Connected(record.name.to_string()),
        })
    }

    /// Tells the browser that went through a flow how that has ended, for as long as it is
    /// remembered.
    async fn seen_again(
        &self,
        persistence: &Persistence,
        state: &str,
        user_agent: &UserAgent,
    ) -> Result<FlowOutcome, Refused> {
        let ended = self.look_at_flow(persistence, FlowStep::Ended, state, None).await?;
        let FlowPayload { plan, browser, connection, failure, .. } = ended.content;
        let is_same = browser.is_some_and(|digest| {
            user_agent.cookies.iter().any(|known| is_of(&digest, &known.value))
        });
        if !is_same {
            return Err(Refused::Malformed);
        }
        let name = plan.name.map(|name| name.to_string());
        let name = name.or_else(|| connection.map(|uuid| uuid.to_string()));
        Ok(match failure {
            Some(words) => FlowOutcome::Failed(words.into()),
            None => FlowOutcome::Connected(name.unwrap_or_default()),
        })
    }

    /// Remembers for ten minutes how a flow has ended. A page that can't be shown again is no reason
    /// to fail.
    async fn remember_end(
        &self,
        persistence: &Persistence,
        taken: &ConsumedFlow,
        state: &str,
        end: Result<&ConnectionRecord, &str>,
    ) {
        let (Ok(id), Some(browser)) = (new_id(), taken.content.browser) else { return };
        let content = FlowPayload {
            browser: Some(browser),
            connection: end.ok().map(|record| record.uuid),
            failure: end.err().map(Into::into),
            ..FlowPayload::new(taken.content.plan.clone())
        };
        let of = (id, &taken.integration, taken.client);
        let digest = digest_of(state.as_bytes());
        let places = (persistence, &**persistence.store());
        let kept = self.keep_flow_under(places, of, FlowStep::Ended, &content, digest).await;
        if kept.is_err() {
            tracing::warn!("the end of an OAuth flow can't be shown again: it was not kept");
        }
    }

    async fn come_back(
        &self,
        storage: &Storage,
        taken: &ConsumedFlow,
        client: &ClientRecord,
        (answer, actor): (&CallbackQuery, Actor),
    ) -> Result<ConnectionRecord, CallbackError> {
        let plan = &taken.content.plan;
        // 1. The operator may have lost the right since the flow began.
        if !self.may_go_on(taken) {
            let words = "Who began the flow may not go on with it any more.";
            return Err(CallbackError::new("access_denied", words));
        }
        // 2. The client is still one of the provider that has given the code.
        if taken.content.has_moved(client) {
            return Err(CallbackError::new("invalid_request", MOVED));
        }
        // 3. The answer is the provider's, and has a code in it.
        answer.check_issuer(client, taken)?;
        if let Some(error) = answer.0.get("error") {
            return Err(CallbackError::said(error));
        }
        let Some(code) = answer.0.get("code") else {
            let words = "The provider sent neither a code nor an error.";
            return Err(CallbackError::new("invalid_request", words));
        };
        // 4. The code becomes tokens.
        let redirect_uri = self.callback_url();
        let code = Secret::new(code.as_str());
        let verifier = taken.content.verifier.as_ref();
        let grant_params =
            GrantParams::AuthorizationCode { code: &code, redirect_uri: &redirect_uri, verifier };
        let subdomain = plan.subdomain.as_ref();
        let token_request = TokenRequest { client, subdomain, grant_params, scopes: &plan.scopes };
        let asked = storage.provider.ask(token_request, ready(Ok(()))).await;
        let tokens = asked.map_err(|why| CallbackError::of(why.failure))?;
        let by = (actor, EventKind::FlowCallback);
        let kept = self.settle_grant(&storage.persistence, client, plan, &tokens, by).await;
        kept.map_err(|refused| {
            let words = match refused {
                Refused::Faulty(faults) => {
                    faults.into_iter().map(|fault| fault.title).collect::<Vec<_>>().join("; ")
                }
                Refused::Taken => "The name of the connection is taken.".to_owned(),
                _ => "The tokens could not be kept; the server's log says why.".to_owned(),
            };
            CallbackError::new("server_error", words)
        })
    }
}

/// The parameters that the provider has sent along, each once.
struct CallbackQuery(HashMap<String, String>);

impl CallbackQuery {
    fn read(query: &str) -> Option<Self> {
        if query.len() > MAX_QUERY_LEN {
            return None;
        }
        let mut known = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            // Read in two ways, an answer could be taken for another.
            if known.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        Some(Self(known))
    }

    /// Checks that a provider that says who it is (RFC 9207) is the one that was asked.
    fn check_issuer(
        &self,
        client: &ClientRecord,
        taken: &ConsumedFlow,
    ) -> Result<(), CallbackError> {
        let Some(issuer) = self.0.get("iss") else { return Ok(()) };
        if is_issuer(issuer, client, taken.content.plan.subdomain.as_ref()) {
            return Ok(());
        }
        let words = if client.profile.issuer.is_some() {
            "The answer came from another issuer than the client's issuer."
        } else {
            "The answer came from another provider than the one that was asked. If it is the right \
             one, its operator sets the client's issuer."
        };
        Err(CallbackError::new("invalid_request", words))
    }
}

impl CallbackError {
    fn new(code: &'static str, words: impl Into<String>) -> Self {
        Self { code, words: words.into(), is_unspent: false }
    }

    /// Takes over the provider's error, as far as it is a word of the protocol.
    fn said(error: &str) -> Self {
        let code = PASSED_ON.into_iter().find(|known| *known == error);
        match code {
            Some(code) => Self::new(code, format!("The provider said {code}.")),
            None => Self::new("server_error", "The provider said an error of its own."),
        }
    }

    fn of(failure: TokenFailure) -> Self {
        let code = match failure {
            TokenFailure::Denied(Denial { error: Some(ErrorCode::Unknown) | None, .. }) => {
                "server_error"
            }
            TokenFailure::Denied(Denial { error: Some(error), .. }) => error.as_str(),
            TokenFailure::NotSent(_) | TokenFailure::Unanswered(_) => "temporarily_unavailable",
            _ => "server_error",
        };
        let is_unspent = matches!(failure, TokenFailure::NotSent(_));
        Self { is_unspent, ..Self::new(code, format!("There are no tokens: {failure}.")) }
    }
}

/// A flow that a browser has begun comes back in the same one; and what began elsewhere does not
/// come back in a browser that knows nothing of it: somebody else may have sent it there.
fn is_same_browser(taken: &ConsumedFlow, user_agent: &UserAgent) -> bool {
    let name = flow_cookie_name(taken.id);
    let kept = user_agent.cookies.iter().find(|flow_cookie| flow_cookie.name == name);
    match (taken.content.browser, kept) {
        (Some(digest), Some(flow_cookie)) => is_of(&digest, &flow_cookie.value),
        (Some(_), None) => false,
        (None, _) => !user_agent.is_browser,
    }
}

/// Tells whether a cookie's value is the one with this digest.
fn is_of(digest: &[u8; 32], value: &str) -> bool {
    let shown = digest_of(value.as_bytes());
    aws_lc_rs::constant_time::verify_slices_are_equal(digest, &shown).is_ok()
}

const MOVED: &str = "The URLs of the client were changed after the flow had begun, so that its code \
                     would go to another host. Begin the flow again.";

/// Errors of RFC 6749 §4.1.2.1 and `OpenID` Connect, which mean the same to the one who began it,
/// be it a flow or a sign-in.
pub(in crate::management) const PASSED_ON: [&str; 11] = [
    "access_denied",
    "account_selection_required",
    "consent_required",
    "interaction_required",
    "invalid_request",
    "invalid_scope",
    "login_required",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_response_type",
];

/// Longer than any provider's answer.
const MAX_QUERY_LEN: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_says_something_twice_is_none() {
        assert_eq!(CallbackQuery::read("code=a+b&state=c").unwrap().0["code"], "a b");
        assert!(CallbackQuery::read("code=a&state=c&code=b").is_none());
        assert!(CallbackQuery::read(&"a".repeat(20_000)).is_none());
    }

    #[test]
    fn what_a_provider_says_in_its_own_words_is_not_passed_on() {
        assert_eq!(CallbackError::said("access_denied").code, "access_denied");
        let odd = CallbackError::said("hunter2");
        assert!(odd.code == "server_error" && !odd.words.contains("hunter2"));
    }
}
