//! Signing in with an access token, and out.

use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use maud::{Markup, html};

use super::form_values::FormValues;
use super::page_context::{PageContext, PageError, PageResult, is_fetched, see};
use super::session::{Key, MAX_SESSION_AGE};
use super::{ConsoleState, errors, layout};
use crate::clock::instant;
use crate::error::chain;
use crate::management::ClientAddr;
use crate::model::event::EventKind;
use crate::model::token::TokenDigest;

pub(super) async fn page(RawQuery(query): RawQuery) -> Response {
    let next = form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes())
        .find(|(name, _)| name == "next")
        .map(|(_, next)| next.into_owned());
    layout::html(&shown(&next.unwrap_or_default(), None))
}

/// Begins a session for a token that is good.
pub(super) async fn sign_in(State(state): State<ConsoleState>, request: Request) -> PageResult {
    let source = request.extensions().get::<ClientAddr>().and_then(|source| source.0);
    let secure = state.services.is_secure;
    let older = cookie(request.headers(), secure);
    let values = FormValues::read_of_stranger(request, &state.services.management.public_url())
        .await
        .map_err(|_unfit| PageError::from(errors::FOREIGN.bare()))?;
    // 1. The token is good, or the attempt counts against its address.
    let next = values.text("next").to_owned();
    let digest = TokenDigest::of(values.text("token").trim().as_bytes());
    let admitted =
        digest.and_then(|digest| Some((digest, state.services.management.admit(&digest)?)));
    let Some((digest, operator)) = admitted else {
        let counted = state.services.rate_limits.count_stranger(source);
        counted.map_err(|exceeded| PageError::from(errors::too_many(exceeded)))?;
        tracing::warn!("a sign-in at the console failed: the token is not known here");
        let page = layout::html(&shown(&next, Some(UNKNOWN)));
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    let counted = state
        .services
        .rate_limits
        .count_request(&digest, state.services.management.settings().requests_per_minute);
    counted.map_err(|exceeded| PageError::from(errors::too_many(exceeded)))?;
    // 2. A session begins.
    let begun = state.sessions.begin(digest, instant());
    let begun = begun.map_err(|failed| {
        tracing::error!(error = %chain(&failed), "a sign-in at the console failed: the system gives no random bytes");
        let page = layout::html(&shown(&next, Some("It failed; the server’s log says why.")));
        PageError::from((StatusCode::INTERNAL_SERVER_ERROR, page).into_response())
    })?;
    // The browser forgets the older cookie, and nobody could end that session any more.
    if let Some(older) = older {
        state.sessions.end(Key::of(&older));
    }
    tracing::info!(operator = operator.name(), "somebody has signed in at the console");
    let operator = operator.at(ClientAddr(source));
    state.services.management.note_session(&operator, EventKind::SessionSignIn).await;
    let (name, age) = (name(secure), MAX_SESSION_AGE.as_secs());
    Ok(with_cookie(see(local(&next)), &format!("{name}={begun}; Max-Age={age}"), secure))
}

/// Ends the session.
pub(super) async fn sign_out(context: PageContext, request: Request) -> PageResult {
    context.read(request).await?;
    context.state.sessions.end(context.key);
    context.management().note_session(&context.operator, EventKind::SessionSignOut).await;
    let secure = context.state.services.is_secure;
    let gone = format!("{}=; Max-Age=0", name(secure));
    Ok(with_cookie(see("/console/sign-in"), &gone, secure))
}

/// The cookie of a session, if there is one; two of them could be read in two ways.
pub(super) fn cookie(headers: &HeaderMap, secure: bool) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(known, _)| *known == name(secure));
    match (ours.next(), ours.next()) {
        (Some((_, value)), None) => Some(value.to_owned()),
        _ => None,
    }
}

/// Leads somebody who has not signed in to the sign-in page.
pub(super) fn first(parts: &Parts, target: &str) -> Response {
    if is_fetched(parts) {
        return (StatusCode::UNAUTHORIZED, "The session is over; sign in again.\n").into_response();
    }
    let next = if parts.method == http::Method::GET { target } else { "" };
    let query: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    see(&format!("/console/sign-in?next={query}"))
}

fn shown(next: &str, fault: Option<&str>) -> Markup {
    let markup = html! {
        h1 { "Sign in to Keyferry" }
        form.stack method="post" action="/console/sign-in" {
            input type="hidden" name="next" value=(local(next));
            // Password managers keep a secret with a name.
            input.unseen type="text" name="username" value="keyferry" autocomplete="username"
                tabindex="-1" aria-hidden="true" readonly;
            label for="token" { "Access token" }
            input #token name="token" type="password" required autocomplete="current-password"
                spellcheck="false" autofocus placeholder="kf_…" aria-describedby="token-hint"
                aria-invalid=[fault.map(|_| "true")];
            @if let Some(fault) = fault { p.fault role="alert" { (fault) } }
            p.hint #token-hint {
                "The operator’s own stands in " code { "admin.token" } " in the server’s data directory; "
                "others are made with " code { "keyferry token create" } " or on the page Tokens."
            }
            button type="submit" { "Sign in" }
        }
    };
    layout::bare("Sign in", &markup)
}

/// A path of the console, and nothing that leads elsewhere.
fn local(next: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    let fits = next.starts_with("/console") && !next.starts_with("/console/sign-");
    if fits && next.len() < 2048 && next.bytes().all(plain) { next } else { "/console" }
}

fn with_cookie(mut response: Response, pair: &str, secure: bool) -> Response {
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{pair}; Path=/; HttpOnly; SameSite=Strict{secure}");
    // The value is base64url.
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

/// Browsers hold the prefix to its promise: over TLS, for this host alone.
fn name(secure: bool) -> &'static str {
    if secure { "__Host-keyferry-console" } else { "keyferry-console" }
}

const UNKNOWN: &str = "No such token is good here: it is mistyped, was revoked, or has ended.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for next in [
            "",
            "/",
            "//evil.example",
            "https://evil.example",
            "/console\\evil",
            "/console/sign-in",
        ] {
            assert_eq!(local(next), "/console", "{next}");
        }
        assert_eq!(local("/console/i/acme/connections?q=a"), "/console/i/acme/connections?q=a");
    }

    #[test]
    fn a_cookie_counts_once() {
        let read = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| (header::COOKIE, HeaderValue::from_static(line)));
            cookie(&lines.collect(), false)
        };
        assert_eq!(read(&["a=b; keyferry-console=x"]).as_deref(), Some("x"));
        assert_eq!(read(&["keyferry-console=x; keyferry-console=y"]), None);
        assert_eq!(read(&["__Host-keyferry-console=x"]), None);
    }
}
