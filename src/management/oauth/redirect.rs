//! From the beginning of a flow to the provider (ZIS spec §7.4).

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use super::one_time_token::{ConsumedFlow, challenge_of, digest_of, generate, text_of};
use super::redirect_target;
use crate::management::Management;
use crate::management::fault::Refused;
use crate::model::event::EventKind;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::flow::{FlowPlan, FlowStep};
use crate::model::oauth::params::ParamValues;
use crate::model::oauth::profile::Pkce;
use crate::state::Persistence;
use crate::store::Store;

/// The way of the browser to the provider.
#[derive(Clone)]
pub struct AuthorizationRedirect {
    /// The provider's authorization endpoint, with the question.
    pub location: String,
    /// The cookie by which the browser is known when it comes back.
    pub flow_cookie: FlowCookie,
    /// The path to show it at, as the browser sees it.
    pub callback: String,
}

/// Something for a browser to keep for as long as a flow lasts.
#[derive(Clone, Eq, PartialEq)]
pub struct FlowCookie {
    /// Its name, which no two flows share.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The user agent that goes through a flow (RFC 6749 §1.1): most often a browser.
#[derive(Clone, Debug, Default)]
pub struct UserAgent {
    /// The address that it comes from, where it has one.
    pub address: Option<IpAddr>,
    /// Tells whether it is a browser, as far as can be told.
    pub is_browser: bool,
    /// The cookies that it has.
    pub cookies: Vec<FlowCookie>,
}

impl fmt::Debug for AuthorizationRedirect {
    /// Without the question, which has a one-time token in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationRedirect")
            .field("callback", &self.callback)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FlowCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowCookie").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Management {
    /// Leads the bearer of the flow token to the provider: this once.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when no flow waits for the token; and when the store fails.
    pub async fn redirect(
        &self,
        flow_token: &str,
        user_agent: &UserAgent,
    ) -> Result<AuthorizationRedirect, Refused> {
        // 1. The flow is taken on, this once, if who began it could still begin it, and if its
        // client leads to the provider that it was begun for.
        let persistence = self.persistence()?;
        let places = (persistence, &**persistence.store());
        let mut taken = self.take_flow(places, FlowStep::Started, flow_token, None).await?;
        if !self.may_go_on(&taken) {
            return Err(Refused::Malformed);
        }
        let client = taken.client_record(persistence).await?;
        if taken.content.has_moved(&client) {
            return Err(Refused::Malformed);
        }
        let endpoint = client.auth_url.as_ref().ok_or(Refused::Malformed)?;
        let endpoint = endpoint.resolve(taken.content.plan.subdomain.as_ref());
        let endpoint = endpoint.map_err(|_rule| Refused::Malformed)?.to_string();
        // 2. It waits for the browser, which is known by its cookie.
        let flow_cookie = generate()?;
        let verifier = match client.profile.pkce {
            Pkce::S256 => Some(generate()?),
            Pkce::Off => None,
        };
        let challenge = verifier.as_ref().map(challenge_of);
        taken.content.verifier = verifier;
        taken.content.origins = client.origins(taken.content.plan.subdomain.as_ref());
        taken.content.browser = user_agent.is_browser.then(|| digest_of(flow_cookie.expose()));
        let of = (taken.id, &taken.integration, taken.client);
        let noting = self.noting_redirect(persistence, &taken, &client, user_agent).await?;
        let places = (persistence, &noting);
        let state = self.keep_flow(places, of, FlowStep::Redirected, &taken.content);
        let state = text_of(&state.await?);
        // 3. The provider is asked by way of the browser.
        let plan = &taken.content.plan;
        let redirect_uri = self.callback_url();
        let callback = redirect_uri.parse::<http::Uri>().map_err(|_never| Refused::Internal)?;
        let question = AuthorizationRequest {
            client: &client,
            plan,
            redirect_uri: &redirect_uri,
            state: &state,
            challenge: challenge.as_deref(),
        };
        let question = question.parameters()?;
        let question: Vec<_> = question.iter().map(|(name, value)| (*name, &**value)).collect();
        taken.log_step("redirect", Some(&client), None);
        Ok(AuthorizationRedirect {
            location: redirect_target::with(&without(&endpoint, &question), &question),
            flow_cookie: FlowCookie {
                name: flow_cookie_name(taken.id),
                value: text_of(&flow_cookie),
            },
            callback: callback.path().to_owned(),
        })
    }

    /// The store in which the flow is kept along with the event of this step.
    async fn noting_redirect(
        &self,
        persistence: &Persistence,
        taken: &ConsumedFlow,
        client: &ClientRecord,
        user_agent: &UserAgent,
    ) -> Result<Store, Refused> {
        let event = taken.event(EventKind::FlowRedirect, client);
        self.noting(persistence, taken.actor(user_agent), event).await
    }
}

/// The authorization request (RFC 6749 §4.1.1).
struct AuthorizationRequest<'a> {
    client: &'a ClientRecord,
    plan: &'a FlowPlan,
    redirect_uri: &'a str,
    state: &'a str,
    /// The code challenge (RFC 7636 §4.3), where the provider takes one.
    challenge: Option<&'a str>,
}

impl<'a> AuthorizationRequest<'a> {
    /// Its parameters: those of the protocol, then those of the client's profile.
    fn parameters(&self) -> Result<Vec<(&'a str, Cow<'a, str>)>, Refused> {
        let Self { client, plan, redirect_uri, state, challenge } = *self;
        let profile = &client.profile;
        // 1. The protocol's own.
        let mut parameters: Vec<(&str, Cow<'_, str>)> = vec![
            ("response_type", "code".into()),
            ("client_id", (&*client.client_id).into()),
            ("redirect_uri", redirect_uri.into()),
            ("state", state.into()),
        ];
        if let Some(challenge) = challenge {
            parameters.push(("code_challenge", challenge.into()));
            parameters.push(("code_challenge_method", "S256".into()));
        }
        if !plan.scopes.is_empty() {
            parameters.push(("scope", profile.scope_separator.join(&plan.scopes).into()));
        }
        // 2. The profile's own, which may say themselves what kind of access is wanted.
        let values = ParamValues {
            client_id: &client.client_id,
            subdomain: plan.subdomain.as_ref(),
            access_token: None,
        };
        let further = values.resolve(&profile.auth_params).map_err(|_rule| Refused::Malformed)?;
        if plan.offline && !profile.auth_params.contains_key(ACCESS_TYPE) {
            parameters.push((ACCESS_TYPE, "offline".into()));
        }
        parameters.extend(further.into_iter().map(|(name, value)| (name, value.into())));
        Ok(parameters)
    }
}

/// The name of this flow's cookie.
pub(super) fn flow_cookie_name(flow: uuid::Uuid) -> String {
    format!("keyferry_flow_{}", flow.simple())
}

/// The URL without what the question says: no parameter may be there twice (RFC 6749 §3.1).
pub(in crate::management) fn without(url: &str, question: &[(&str, &str)]) -> String {
    let Some((base, query)) = url.split_once('?') else { return url.to_owned() };
    let ours = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        question.iter().any(|(known, _)| *known == name)
    };
    let kept: Vec<_> = query.split('&').filter(|pair| !ours(pair)).collect();
    format!("{base}?{}", kept.join("&"))
}

/// The parameter by which some providers are asked for access while the user is away.
const ACCESS_TYPE: &str = "access_type";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameter_is_there_twice() {
        let question = [("scope", "a"), ("state", "b")];
        for (url, rest) in [
            ("https://id.example/a", "https://id.example/a"),
            ("https://id.example/a?tenant=1&scope=x&y", "https://id.example/a?tenant=1&y"),
            ("https://id.example/a?state", "https://id.example/a?"),
        ] {
            assert_eq!(without(url, &question), rest);
        }
    }
}
