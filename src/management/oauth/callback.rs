//! From the provider back (ZIS spec §7.4): its code becomes tokens, and the browser goes where the
//! flow ends.

use std::collections::HashMap;
use std::fmt;
use std::future::ready;

use super::issuer::is_issuer;
use super::one_time_token::{ConsumedFlow, digest_of, text_of};
use super::redirect::{UserAgent, flow_cookie_name};
use super::{CALLBACK, redirect_target};
use crate::management::connections::store_failed;
use crate::management::fault::Refused;
use crate::management::{Management, Storage};
use crate::model::name::ConnectionName;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::flow::FlowStep;
use crate::model::record::ConnectionRecord;
use crate::oauth::{Denial, ErrorCode, GrantParams, OAuthStep, TokenFailure, TokenRequest};
use crate::secret::Secret;

/// The end of a flow for the browser or program that went through it.
#[derive(Clone, Eq, PartialEq)]
pub enum FlowOutcome {
    /// There: with what has come of it in the URL.
    Redirect(String),
    /// Here, well, or not, and then why not.
    Page(Option<String>),
    /// Not yet: the flow waits for the browser or program that has begun it.
    Elsewhere,
}

impl fmt::Debug for FlowOutcome {
    /// Without the URL, which has a one-time token in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redirect(_) => f.debug_tuple("Redirect").finish_non_exhaustive(),
            Self::Page(words) => f.debug_tuple("Page").field(words).finish(),
            Self::Elsewhere => f.write_str("Elsewhere"),
        }
    }
}

/// A reason why there is no connection: a code of RFC 6749, and our own words for it.
struct CallbackError {
    code: &'static str,
    words: String,
}

impl Management {
    /// Takes up what the provider has sent the browser back with. The future must not be dropped
    /// before it ends: the code that it spends is of no use afterwards. A browser that has not
    /// begun the flow leaves it as it is.
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
        let waiting = self.look_at_flow(persistence, FlowStep::Redirected, state, None).await?;
        if !is_same_browser(&waiting, user_agent) {
            let words = "another browser than the one that began the flow came back";
            callback_step(&waiting, None).log(Some(words));
            return Ok(FlowOutcome::Elsewhere);
        }
        // 2. The code becomes tokens, this once.
        let mut taken = self.take_flow(persistence, FlowStep::Redirected, state, None).await?;
        let client = persistence.client(&taken.integration, taken.client).await;
        let client = client.map_err(|error| store_failed(&error))?.ok_or(Refused::Malformed)?;
        let come_back = self.come_back(storage, &taken, &client, &answer).await;
        let plan = taken.content.plan.clone();
        let failure = come_back.as_ref().err().map(|trouble| trouble.words.clone());
        callback_step(&taken, Some(client.name.as_str())).log(failure.as_deref());
        // 3. The browser goes where the flow ends.
        let redirect_to = plan.redirect_to.as_deref();
        let record = match come_back {
            Ok(record) => record,
            Err(CallbackError { code, words }) => {
                let said = [("error", code), ("error_description", words.as_str())];
                return Ok(match redirect_to {
                    Some(url) => FlowOutcome::Redirect(redirect_target::with(url, &said)),
                    None => FlowOutcome::Page(Some(words)),
                });
            }
        };
        taken.content.verifier = None;
        taken.content.connection = Some(record.uuid);
        taken.content.callback_params = Some(Secret::new(query));
        let of = (taken.id, &taken.integration, taken.client);
        let one_time_token =
            self.keep_flow(persistence, of, FlowStep::Granted, &taken.content).await?;
        let one_time_token = text_of(&one_time_token);
        Ok(match redirect_to {
            Some(url) => {
                let said = [
                    ("verification_token", &*one_time_token),
                    ("verification_code", &*one_time_token),
                ];
                FlowOutcome::Redirect(redirect_target::with(url, &said))
            }
            None => FlowOutcome::Page(None),
        })
    }

    async fn come_back(
        &self,
        storage: &Storage,
        taken: &ConsumedFlow,
        client: &ClientRecord,
        answer: &CallbackQuery,
    ) -> Result<ConnectionRecord, CallbackError> {
        let plan = &taken.content.plan;
        // 1. The operator may have lost the right since the flow began.
        if !self.may_go_on(taken) {
            let words = "Who began the flow may not go on with it any more.".to_owned();
            return Err(CallbackError { code: "access_denied", words });
        }
        // 2. The answer is the provider's, and has a code in it.
        answer.check_issuer(client, taken)?;
        if let Some(error) = answer.0.get("error") {
            return Err(CallbackError::said(error));
        }
        let Some(code) = answer.0.get("code") else {
            let words = "The provider sent neither a code nor an error.".to_owned();
            return Err(CallbackError { code: "invalid_request", words });
        };
        // 3. The code becomes tokens.
        let redirect_uri = format!("{}{CALLBACK}", self.settings().public_url);
        let code = Secret::new(code.as_str());
        let verifier = taken.content.verifier.as_ref();
        let grant_params =
            GrantParams::AuthorizationCode { code: &code, redirect_uri: &redirect_uri, verifier };
        let subdomain = plan.subdomain.as_ref();
        let token_request = TokenRequest { client, subdomain, grant_params, scopes: &plan.scopes };
        let asked = storage.provider.ask(token_request, ready(Ok(()))).await;
        let tokens = asked.map_err(|why| CallbackError::of(why.failure))?;
        self.settle_grant(&storage.persistence, client, plan, &tokens).await.map_err(|refused| {
            let words = match refused {
                Refused::Faulty(faults) => {
                    faults.into_iter().map(|fault| fault.title).collect::<Vec<_>>().join("; ")
                }
                Refused::Taken => "The name of the connection is taken.".to_owned(),
                _ => "The tokens could not be kept; the server's log says why.".to_owned(),
            };
            CallbackError { code: "server_error", words }
        })
    }
}

/// The callback as its audit line tells it.
fn callback_step<'a>(taken: &'a ConsumedFlow, client: Option<&'a str>) -> OAuthStep<'a> {
    let plan = &taken.content.plan;
    OAuthStep {
        step: "callback",
        operator: &plan.created_by,
        integration: &taken.integration,
        client,
        connection: plan.name.as_ref().map(ConnectionName::as_str),
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
        Err(CallbackError { code: "invalid_request", words: words.to_owned() })
    }
}

impl CallbackError {
    /// Takes over the provider's error, as far as it is a word of the protocol.
    fn said(error: &str) -> Self {
        let code = PASSED_ON.into_iter().find(|known| *known == error);
        match code {
            Some(code) => Self { code, words: format!("The provider said {code}.") },
            None => Self {
                code: "server_error",
                words: "The provider said an error of its own.".to_owned(),
            },
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
        Self { code, words: format!("There are no tokens: {failure}.") }
    }
}

/// A flow that a browser has begun comes back in the same one; and what began elsewhere does not
/// come back in a browser that knows nothing of it: somebody else may have sent it there.
fn is_same_browser(taken: &ConsumedFlow, user_agent: &UserAgent) -> bool {
    let name = flow_cookie_name(taken.id);
    let kept = user_agent.cookies.iter().find(|flow_cookie| flow_cookie.name == name);
    match (taken.content.browser, kept) {
        (Some(digest), Some(flow_cookie)) => {
            let shown = digest_of(flow_cookie.value.as_bytes());
            aws_lc_rs::constant_time::verify_slices_are_equal(&digest, &shown).is_ok()
        }
        (Some(_), None) => false,
        (None, _) => !user_agent.is_browser,
    }
}

/// Errors of RFC 6749 §4.1.2.1 and `OpenID` Connect, which mean the same to the one who began the flow.
const PASSED_ON: [&str; 11] = [
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
