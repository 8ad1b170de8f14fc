//! Signing in with an access token, and out.

use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use maud::{Markup, html};

use super::form_values::FormValues;
use super::page_context::{PageContext, PageError, PageResult, is_fetched, see};
use super::{ConsoleState, errors, layout};
use crate::management::{ClientAddr, Refused, SESSION_COOKIE_AGE};
use crate::model::token::TokenDigest;

/// A cookie of ours.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cookie {
    /// It shows a session, to pages of this site alone.
    Session,
    /// It shows a sign-in that is under way, also where the OpenID provider leads back.
    SignIn,
}

pub(super) async fn page(State(state): State<ConsoleState>, RawQuery(query): RawQuery) -> Response {
    layout::html(&shown(&state, &parameter(query.as_deref(), "next"), None))
}

/// Begins a session for a token that is good.
pub(super) async fn sign_in(State(state): State<ConsoleState>, request: Request) -> PageResult {
    let source = request.extensions().get::<ClientAddr>().and_then(|source| source.0);
    let (services, secure) = (&state.services, state.services.is_secure);
    let older = cookie_of(request.headers(), Cookie::Session, secure);
    let values = FormValues::read_of_stranger(request, &services.management.public_url())
        .await
        .map_err(|_unfit| PageError::from(errors::FOREIGN.bare()))?;
    // 1. The token is good, or the attempt counts against its address.
    let next = values.text("next").to_owned();
    let digest = TokenDigest::of(values.text("token").trim().as_bytes());
    let admitted = digest.and_then(|digest| Some((digest, services.management.admit(&digest)?)));
    let Some((digest, operator)) = admitted else {
        let counted = services.rate_limits.count_stranger(source);
        counted.map_err(|exceeded| PageError::from(errors::too_many(exceeded)))?;
        tracing::warn!("a sign-in at the console failed: the token is not known here");
        let page = layout::html(&shown(&state, &next, Some(UNKNOWN)));
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    let per_minute = services.management.settings().requests_per_minute;
    let counted = services.rate_limits.count_request(&digest, per_minute);
    counted.map_err(|exceeded| PageError::from(errors::too_many(exceeded)))?;
    // 2. A session begins.
    let operator = operator.at(ClientAddr(source));
    let begun = services.management.begin_token_session(digest, &operator).await;
    let begun = begun.map_err(|_logged: Refused| {
        let page = layout::html(&shown(&state, &next, Some(FAILED)));
        PageError::from((StatusCode::INTERNAL_SERVER_ERROR, page).into_response())
    })?;
    // The browser forgets the older cookie, and nobody could end that session any more.
    if let Some(older) = older {
        services.management.forget_session(&older).await;
    }
    tracing::info!(operator = operator.name(), "somebody has signed in at the console");
    Ok(with_session(see(local(&next)), &begun, secure))
}

/// Ends the session.
pub(super) async fn sign_out(context: PageContext, request: Request) -> PageResult {
    context.read(request).await?;
    context.management().sign_out(&context.session.known, &context.operator).await;
    let secure = context.state.services.is_secure;
    let gone = Cookie::Session.gone(secure);
    Ok(with_cookie(see("/console/sign-in"), &gone, secure))
}

/// The value of one of our cookies, if there is one; two of them could be read in two ways.
pub(super) fn cookie_of(headers: &HeaderMap, cookie: Cookie, secure: bool) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(known, _)| *known == cookie.name(secure));
    match (ours.next(), ours.next()) {
        (Some((_, value)), None) => Some(value.to_owned()),
        _ => None,
    }
}

/// The value of a parameter of a query; empty where there is none.
pub(super) fn parameter(query: Option<&str>, name: &str) -> String {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let found = pairs.find(|(known, _)| known == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
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

fn shown(state: &ConsoleState, next: &str, fault: Option<&str>) -> Markup {
    let provider = state.services.management.open_id_host();
    let query: String = form_urlencoded::byte_serialize(local(next).as_bytes()).collect();
    let markup = html! {
        h1 { "Sign in to Keyferry" }
        @if let Some(provider) = &provider {
            p { a.button href=(format!("/console/sign-in/openid?next={query}")) {
                "Sign in with " (provider)
            } }
            p.hint { "Or with an access token:" }
        }
        form.stack method="post" action="/console/sign-in" {
            input type="hidden" name="next" value=(local(next));
            // Password managers keep a secret with a name.
            input.unseen type="text" name="username" value="keyferry" autocomplete="username"
                tabindex="-1" aria-hidden="true" readonly;
            label for="token" { "Access token" }
            input #token name="token" type="password" required autocomplete="current-password"
                spellcheck="false" autofocus[provider.is_none()] placeholder="kf_…" aria-describedby="token-hint"
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
pub(super) fn local(next: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    let fits = next == "/console" || next.starts_with("/console/") || next.starts_with("/console?");
    let fits = fits && !next.starts_with("/console/sign-");
    if fits && next.len() < 2048 && next.bytes().all(plain) { next } else { "/console" }
}

/// The answer with the cookie of a session that has begun.
pub(super) fn with_session(response: Response, value: &str, secure: bool) -> Response {
    with_cookie(response, &Cookie::Session.pair(value, secure), secure)
}

/// The answer with a cookie, beside others.
pub(super) fn with_cookie(mut response: Response, pair: &str, secure: bool) -> Response {
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{pair}; Path=/; HttpOnly{secure}");
    // The value has no other characters than a cookie may have.
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

impl Cookie {
    /// Browsers hold the prefix to its promise: over TLS, for this host alone.
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Host-keyferry-console",
            (Self::Session, false) => "keyferry-console",
            (Self::SignIn, true) => "__Host-keyferry-sign-in",
            (Self::SignIn, false) => "keyferry-sign-in",
        }
    }

    /// Name and value, with how long they are kept and where they are shown.
    pub(super) fn pair(self, value: &str, secure: bool) -> String {
        let name = self.name(secure);
        match self {
            Self::Session => {
                format!("{name}={value}; Max-Age={SESSION_COOKIE_AGE}; SameSite=Strict")
            }
            Self::SignIn => format!("{name}={value}; Max-Age={SIGN_IN_COOKIE_AGE}; SameSite=Lax"),
        }
    }

    /// The same for a cookie that the browser is to forget.
    pub(super) fn gone(self, secure: bool) -> String {
        format!("{}=; Max-Age=0; SameSite=Strict", self.name(secure))
    }
}

/// In seconds; the server takes it no longer either.
const SIGN_IN_COOKIE_AGE: u32 = 600;

const FAILED: &str = "It failed; the server’s log says why.";
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
            "/console.evil.example",
            "/console@evil.example",
            "/console//evil example",
        ] {
            assert_eq!(local(next), "/console", "{next}");
        }
        assert_eq!(local("/console/i/acme/connections?q=a"), "/console/i/acme/connections?q=a");
    }

    #[test]
    fn a_cookie_counts_once() {
        let read = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| (header::COOKIE, HeaderValue::from_static(line)));
            cookie_of(&lines.collect(), Cookie::Session, false)
        };
        assert_eq!(read(&["a=b; keyferry-console=x"]).as_deref(), Some("x"));
        assert_eq!(read(&["keyferry-console=x; keyferry-console=y"]), None);
        assert_eq!(read(&["__Host-keyferry-console=x"]), None);
    }
}
