//! Flows: begun, led to the provider, come back, exchanged (spec §7.2 to §7.5).

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use zeroize::Zeroizing;

use super::flow_page;
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
    let answer = Zeroizing::new(query.unwrap_or_default());
    match come_back(&state, answer, user_agent.clone()).await {
        Ok(FlowOutcome::Elsewhere) => elsewhere(&user_agent),
        Ok(outcome) => shown(outcome),
        Err(error) => for_people(error, &user_agent),
    }
}

/// The provider's answer as a form
///
/// The same where the provider has the browser send its answer (`response_mode=form_post`). Without
/// TLS at `api.public_url`, browsers send no cookie along, and are led to the same by GET.
#[utoipa::path(
    post,
    path = "/api/services/zis/connections/oauth/callback",
    operation_id = "posted_oauth_callback",
    tag = "oauth",
    request_body(content = String, content_type = "application/x-www-form-urlencoded", description = "state, and code or error"),
    responses(
        (status = 200, description = "The flow has ended here", body = String, content_type = "text/html"),
        (status = 400, description = "No flow waits for this answer, or not from this browser: a browser gets a page, a program JSON", content((NumberedErrors = "application/json"), (String = "text/html"))),
        (status = 303, description = "To where the flow ends, or to the same by GET", headers(("Location" = String, description = "The flow's origin_oauth_redirect_url, with more, or this path")))
    )
)]
pub(in crate::api) async fn posted_callback(
    State(state): State<ApiState>,
    FromUserAgent(user_agent): FromUserAgent,
    request: Request,
) -> Result<Response, Numbered> {
    let path = request.uri().path().to_owned();
    let form = body::read_form(request).await?;
    let text = std::str::from_utf8(&form).map_err(|_bytes| Numbered::missing("state"))?;
    let answer = Zeroizing::new(text.to_owned());
    match come_back(&state, answer.clone(), user_agent.clone()).await {
        // A cookie for links alone comes along when the browser follows one.
        Ok(FlowOutcome::Elsewhere) if user_agent.is_browser && !state.is_secure => {
            leading(StatusCode::SEE_OTHER, &format!("{path}?{}", one_line(&answer)))
        }
        Ok(FlowOutcome::Elsewhere) => elsewhere(&user_agent),
        Ok(outcome) => shown(outcome),
        Err(error) => for_people(error, &user_agent),
    }
}

/// Takes up the provider's answer; that goes on when its caller is gone.
async fn come_back(
    state: &ApiState,
    answer: Zeroizing<String>,
    user_agent: UserAgent,
) -> Result<FlowOutcome, Numbered> {
    let management = Arc::clone(&state.management);
    let ending = detached(&state.errands, async move {
        let ended = management.callback(&answer, &user_agent).await;
        ended.map_err(|refused| Numbered::refused_pass("state", refused))
    });
    ending.await
}

/// The outcome as the browser sees it.
fn shown(outcome: FlowOutcome) -> Result<Response, Numbered> {
    match outcome {
        FlowOutcome::Redirect(url) => leading(StatusCode::SEE_OTHER, &url),
        FlowOutcome::Connected(name) => Ok(flow_page::connected(&name)),
        FlowOutcome::Failed(words) => Ok(flow_page::failed(&words)),
        FlowOutcome::NotYet(words) => Ok(flow_page::not_yet(&words)),
        FlowOutcome::Elsewhere => Ok(flow_page::begun_elsewhere()),
    }
}

/// The flow was begun elsewhere, which people are told.
fn elsewhere(user_agent: &UserAgent) -> Result<Response, Numbered> {
    if user_agent.is_browser {
        return Ok(flow_page::begun_elsewhere());
    }
    Err(Numbered::refused_pass("state", Refused::Malformed))
}

/// An error as a page, where a browser shows it to a person.
fn for_people(error: Numbered, user_agent: &UserAgent) -> Result<Response, Numbered> {
    if user_agent.is_browser { Ok(flow_page::of_error(error.status())) } else { Err(error) }
}

/// A form as a query: the same pairs, encoded afresh.
fn one_line(form: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(form_urlencoded::parse(form.as_bytes())).finish()
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

fn internal() -> Numbered {
    Numbered::refused(Refused::Internal)
}
