//! Flows: begun, led to the provider, come back, exchanged (spec §7.2 to §7.5).

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};

use super::user_agent::{FromUserAgent, cookie};
use super::{Numbers, OnlyGet, Query, detached};
use crate::api::ApiState;
use crate::api::auth::AuthenticatedOperator;
use crate::api::body::{self, PathParam};
use crate::api::error::Numbered;
use crate::management::{FlowOutcome, Refused, UserAgent};
use crate::model::content_policy::ContentPolicy;
use crate::wire::{AccessCode, FlowAnswer, NewFlow, NumberedErrors};

/// Start an OAuth flow
///
/// A connection of the same name that is there already is authorized again, in place.
#[utoipa::path(
    post,
    path = "/api/services/zis/connections/oauth/start/{integration}",
    operation_id = "start_oauth_flow",
    tag = "oauth",
    params(("integration" = String, Path, description = "Name of the integration", example = "my_integration")),
    request_body = NewFlow,
    responses((status = 200, description = "It has begun", body = FlowAnswer))
)]
pub(in crate::api) async fn start(
    Numbers(operator): Numbers<AuthenticatedOperator>,
    Numbers(PathParam(integration)): Numbers<PathParam<String>>,
    request: Request,
) -> Result<Json<FlowAnswer>, Numbered> {
    let access = operator.write_access(&integration).map_err(Numbered::refused)?;
    let request = body::read::<NewFlow>(request).await?;
    let started = access.start(request).await.map_err(Numbered::refused)?;
    Ok(Json(FlowAnswer { redirect_url: started.redirect_url }))
}

/// Start an OAuth redirect
///
/// Leads a browser to the provider, this once. No access token is needed: the flow token is known
/// to the one who began the flow.
#[utoipa::path(
    get,
    path = "/api/services/zis/connections/oauth/start_redirect",
    operation_id = "start_oauth_redirect",
    tag = "oauth",
    params(("flow_token" = String, Query, description = "The token of redirect_url")),
    responses(
        (status = 307, description = "To the provider", headers(("Location" = String, description = "The provider's authorization endpoint"))),
        (status = 400, description = "No flow waits to be begun by this link: a browser gets a page, a program JSON", content((NumberedErrors = "application/json"), (String = "text/html")))
    )
)]
pub(in crate::api) async fn redirect(
    _only: OnlyGet,
    State(state): State<ApiState>,
    Numbers(query): Numbers<Query>,
    FromUserAgent(user_agent): FromUserAgent,
) -> Result<Response, Numbered> {
    let redirected = match query.value("flow_token") {
        Some(token) => {
            let redirected = state.management.redirect(token, &user_agent).await;
            redirected.map_err(|refused| Numbered::refused_pass("flow_token", refused))
        }
        None => Err(Numbered::missing("flow_token")),
    };
    let redirection = match redirected {
        Ok(redirection) => redirection,
        Err(error) => return for_people(error, &user_agent),
    };
    let mut response = leading(StatusCode::TEMPORARY_REDIRECT, &redirection.location)?;
    let kept = cookie(&redirection.flow_cookie, &redirection.callback, state.is_secure);
    let kept = HeaderValue::try_from(kept).map_err(|_never| internal())?;
    response.headers_mut().insert(header::SET_COOKIE, kept);
    Ok(response)
}

/// The provider's answer
///
/// Where providers send the browser back. What has come of it goes to where the flow ends:
/// `verification_token` and `verification_code`, which are the same, or `error` and
/// `error_description`.
#[utoipa::path(
    get,
    path = "/api/services/zis/connections/oauth/callback",
    operation_id = "oauth_callback",
    tag = "oauth",
    params(
        ("state" = String, Query, description = "As the provider was given it"),
        ("code" = Option<String>, Query, description = "The authorization code"),
        ("error" = Option<String>, Query, description = "Why there is none"),
    ),
    responses(
        (status = 200, description = "The flow has ended here", body = String, content_type = "text/html"),
        (status = 400, description = "No flow waits for this answer, or not from this browser: a browser gets a page, a program JSON", content((NumberedErrors = "application/json"), (String = "text/html"))),
        (status = 303, description = "To where the flow ends", headers(("Location" = String, description = "The flow's origin_oauth_redirect_url, with more")))
    )
)]
pub(in crate::api) async fn callback(
    _only: OnlyGet,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
    FromUserAgent(user_agent): FromUserAgent,
) -> Result<Response, Numbered> {
    let (management, browser) = (Arc::clone(&state.management), user_agent.clone());
    let ending = detached(&state.errands, async move {
        let query = query.unwrap_or_default();
        let ended = management.callback(&query, &user_agent).await;
        ended.map_err(|refused| Numbered::refused_pass("state", refused))
    });
    match ending.await {
        Ok(FlowOutcome::Redirect(url)) => leading(StatusCode::SEE_OTHER, &url),
        Ok(FlowOutcome::Page(None)) => Ok(page(StatusCode::OK, CONNECTED)),
        Ok(FlowOutcome::Page(Some(words))) => {
            Ok(page(StatusCode::OK, &FAILED.replace("{words}", &escaped(&words))))
        }
        Ok(FlowOutcome::Elsewhere) if browser.is_browser => {
            Ok(page(StatusCode::BAD_REQUEST, BEGUN_ELSEWHERE))
        }
        Ok(FlowOutcome::Elsewhere) => Err(Numbered::refused_pass("state", Refused::Malformed)),
        Err(error) => for_people(error, &browser),
    }
}

/// An error as a page, where a browser shows it to a person.
fn for_people(error: Numbered, user_agent: &UserAgent) -> Result<Response, Numbered> {
    if !user_agent.is_browser {
        return Err(error);
    }
    let status = error.status();
    let body = match status {
        StatusCode::BAD_REQUEST => USED,
        StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        _ => BROKEN,
    };
    Ok(page(status, body))
}

/// Exchange a verification code
///
/// What the flow has brought, this once. Client credentials get their first tokens here.
#[utoipa::path(
    get,
    path = "/api/services/zis/connections/oauth/access_codes/{integration}",
    operation_id = "exchange_verification_code",
    tag = "oauth",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        ("verification_code" = String, Query, description = "The code that the flow has ended with"),
    ),
    responses((status = 200, description = "The connection", body = AccessCode))
)]
pub(in crate::api) async fn exchange(
    _only: OnlyGet,
    State(state): State<ApiState>,
    Numbers(operator): Numbers<AuthenticatedOperator>,
    Numbers(PathParam(integration)): Numbers<PathParam<String>>,
    Numbers(query): Numbers<Query>,
) -> Result<Json<AccessCode>, Numbered> {
    let refused = operator.write_access(&integration).err();
    if let Some(refused) = refused {
        return Err(Numbered::refused(refused));
    }
    let code = query.value(CODE).ok_or_else(|| Numbered::missing(CODE))?.to_owned();
    let exchanged = detached(&state.errands, async move {
        let access = operator.write_access(&integration).map_err(Numbered::refused)?;
        let exchanged = access.exchange(&code).await;
        exchanged.map_err(|refused| Numbered::refused_pass(CODE, refused))
    });
    Ok(Json(exchanged.await?.into()))
}

const CODE: &str = "verification_code";

fn leading(status: StatusCode, url: &str) -> Result<Response, Numbered> {
    let location = HeaderValue::try_from(url).map_err(|_never| internal())?;
    let mut response = (status, [(header::LOCATION, location)]).into_response();
    // What the URL has in it is nobody else's.
    let policy = HeaderValue::from_static(ContentPolicy::Inert.referrer());
    response.headers_mut().insert(header::REFERRER_POLICY, policy);
    Ok(response)
}

/// A page of our own, on which nothing can be done.
fn page(status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Keyferry</title><body>{body}</body></html>"
    );
    let fields = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(ContentPolicy::Inert.as_str())),
        (header::REFERRER_POLICY, HeaderValue::from_static(ContentPolicy::Inert.referrer())),
    ];
    (status, fields, html).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn internal() -> Numbered {
    Numbered::refused(Refused::Internal)
}

const CONNECTED: &str =
    "<h1>Connected</h1><p>The connection is there. You can close this window.</p>";
const BEGUN_ELSEWHERE: &str = "<h1>Not connected</h1><p>This sign-in was started in another \
    browser or program. Go back there and finish it: it still works.</p>";
const USED: &str = "<h1>Nothing left to do</h1><p>This link was used already, or is older than ten \
    minutes. If the connection was made, it stays, and you can close this window. If not, start \
    the flow again.</p>";
const UNAVAILABLE: &str = "<h1>Not connected</h1><p>The server can't reach its store. Load this \
    page again in a moment; if it says that the link was used, start the flow again.</p>";
const BROKEN: &str = "<h1>Not connected</h1><p>The server failed; its log says why. Tell your \
    administrator, and start the flow again.</p>";
const FAILED: &str = "<h1>Not connected</h1><p>{words} Start the flow again.</p>";
