//! Signing in by an OpenID provider: the way there, and back.

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use maud::html;

use super::page_context::{PageError, PageResult, see};
use super::sign_in::{Cookie, cookie_of, local, parameter, with_cookie, with_session};
use super::{ConsoleState, errors, layout};
use crate::error::chain;
use crate::management::{ClientAddr, SignInFault};
use crate::oauth::IdentificationError;

/// Leads the browser to the provider.
pub(super) async fn begin(State(state): State<ConsoleState>, request: Request) -> PageResult {
    let (services, is_secure) = (&state.services, state.services.is_secure);
    // 1. The browser goes to this page, and does not load it into another one.
    if !is_gone_to(request.headers()) {
        return Err(PageError::from(errors::LOADED_INTO_A_PAGE.bare()));
    }
    let source = request.extensions().get::<ClientAddr>().copied().unwrap_or(ClientAddr(None));
    // 2. The browser keeps the sign-in, and goes to the provider.
    let next = parameter(request.uri().query(), "next");
    let begun = services.management.begin_open_id(local(&next), &services.rate_limits, source);
    let begun = Box::pin(begun).await;
    let redirect = begun.map_err(|fault| PageError::from(refused(&fault, &next)))?;
    let kept = Cookie::SignIn.pair(&redirect.cookie, is_secure);
    Ok(with_cookie(see(&redirect.location), &kept, is_secure))
}

/// Signs in the person whom the provider sends back.
///
/// A browser shows no cookie of a session in what another site's page has led to. So this page
/// leads on, which is then our own site's doing.
pub(super) async fn finish(State(state): State<ConsoleState>, request: Request) -> PageResult {
    let (services, is_secure) = (&state.services, state.services.is_secure);
    let (parts, _no_body) = request.into_parts();
    let source = parts.extensions.get::<ClientAddr>().copied().unwrap_or(ClientAddr(None));
    let cookie = |of| cookie_of(&parts.headers, of, is_secure);
    let (older, pending) = (cookie(Cookie::Session), cookie(Cookie::SignIn).unwrap_or_default());
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let answer: Vec<_> = form_urlencoded::parse(query).into_owned().collect();
    // 1. Everything is checked, or the attempt counts against its address.
    let (management, rate_limits) = (&services.management, &services.rate_limits);
    let finished = management.finish_open_id(&pending, &answer, rate_limits, source);
    let signed_in = match Box::pin(finished).await {
        Ok(signed_in) => signed_in,
        // The sign-in is not spent: the page can be loaded again.
        Err(SignInFault::TooMany(exceeded)) => {
            return Err(PageError::from(errors::too_many(exceeded)));
        }
        Err(fault) => {
            let counted = services.rate_limits.count_stranger(source.0);
            counted.map_err(|exceeded| PageError::from(errors::too_many(exceeded)))?;
            let gone = Cookie::SignIn.gone(is_secure);
            return Ok(with_cookie(refused(&fault, ""), &gone, is_secure));
        }
    };
    // 2. The browser forgets an older session, and nobody could end that any more.
    if let Some(older) = older {
        services.management.forget_session(&older).await;
    }
    tracing::info!(operator = &*signed_in.name, "a person has signed in at the console");
    // 3. The page leads on.
    let next = local(&signed_in.next);
    let onwards = html! { meta http-equiv="refresh" content=(format!("0;url={next}")); };
    let body = html! { main.bare #main {
        h1 { "Signed in" }
        p { "You’ll be redirected to the console." }
        p { a.button href=(next) { "To the console" } }
    } };
    let page = layout::html(&layout::document_with("Signed in", &onwards, &body));
    let page = with_session(page, &signed_in.cookie, is_secure);
    Ok(with_cookie(page, &Cookie::SignIn.gone(is_secure), is_secure))
}

/// Tells whether a browser goes to a page, rather than loads it into another one (Fetch Metadata).
/// Other programs don't say.
fn is_gone_to(headers: &HeaderMap) -> bool {
    let all = |name: &str, value: &str| headers.get_all(name).iter().all(|it| it == value);
    all("sec-fetch-dest", "document") && all("sec-fetch-mode", "navigate")
}

/// The page that says why nobody is signed in, and who must act. The log says more.
fn refused(fault: &SignInFault, next: &str) -> Response {
    // 1. What operators are told. A flood does not fill the log.
    if !matches!(fault, SignInFault::TooMany(_)) {
        tracing::warn!(error = %chain(fault), "a sign-in at the console by OpenID Connect failed");
    }
    // 2. What the person is told: who must act, and no more of the provider than they know.
    let (status, words) = match fault {
        SignInFault::TooMany(exceeded) => return errors::too_many(*exceeded),
        SignInFault::NotConfigured => (
            StatusCode::NOT_FOUND,
            "This server has no OpenID provider. Sign in with an access token.".to_owned(),
        ),
        SignInFault::Unknown | SignInFault::Spent => (
            StatusCode::BAD_REQUEST,
            "This sign-in is over, or was begun in another browser. Begin again.".to_owned(),
        ),
        SignInFault::Denied(code) => (
            StatusCode::FORBIDDEN,
            format!("The provider said no: {code}. Begin again, or ask who runs the provider."),
        ),
        SignInFault::NoGroup(name) => (
            StatusCode::FORBIDDEN,
            format!(
                "You are {name}, and in no group that may use this console. The operator of the \
                 server names the groups in [oidc.groups]; whoever runs the provider puts you into \
                 one."
            ),
        ),
        SignInFault::Session(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The store can’t be used. Sign in with an access token, or try again in a moment."
                .to_owned(),
        ),
        SignInFault::Answer
        | SignInFault::Unidentified(
            IdentificationError::Provider(_)
            | IdentificationError::Tokens(_)
            | IdentificationError::IdToken(_),
        ) => (
            StatusCode::BAD_GATEWAY,
            "The provider could not be asked, or its answer does not count. The server’s log says \
             why; its operator must act, unless it was a moment’s failure."
                .to_owned(),
        ),
    };
    // 3. The way back.
    let query: String = form_urlencoded::byte_serialize(local(next).as_bytes()).collect();
    let markup = html! {
        h1 { "Not signed in" }
        p role="alert" { (words) }
        p { a.button href=(format!("/console/sign-in?next={query}")) { "To the sign-in page" } }
    };
    (status, layout::html(&layout::bare("Not signed in", &markup))).into_response()
}
