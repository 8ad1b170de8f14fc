//! Every path of the console, and what goes with every answer.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, header};

use super::{
    ConsoleState, activity, assets, change, clients, connect, connection, create, events, home,
    landing, list, openid, options, request, sign_in, system, tokens, trial,
};
use crate::model::content_policy::ContentPolicy;

pub(super) fn router(state: ConsoleState) -> Router {
    Router::new()
        .route("/", get(home::root))
        .route("/console", get(home::enter))
        .route("/console/", get(home::enter))
        .route("/console/go", get(home::go))
        .route("/console/sign-in", get(sign_in::page).post(sign_in::sign_in))
        .route("/console/sign-in/openid", get(openid::begin))
        .route("/console/sign-in/callback", get(openid::finish))
        .route("/console/sign-out", post(sign_in::sign_out))
        .route("/console/connected", get(landing::page))
        .route("/console/assets/console.css", get(assets::style))
        .route("/console/assets/console.js", get(assets::script))
        .route("/console/assets/icon.svg", get(assets::icon))
        .merge(within())
        .route("/console/{*rest}", get(home::nowhere))
        .layer(from_fn(confine))
        .with_state(state)
}

/// The paths within an integration.
fn within() -> Router<ConsoleState> {
    let one = "/connections/{type}/{name}";
    let rows = [
        ("/connections".to_owned(), get(list::list)),
        ("/connections/bulk".to_owned(), post(list::act)),
        ("/connections/new".to_owned(), get(create::choose)),
        ("/connections/new/{type}".to_owned(), get(create::fields).post(create::create)),
        (one.to_owned(), get(connection::show)),
        (format!("{one}/secret"), post(change::replace)),
        (format!("{one}/forget"), post(change::forget)),
        (format!("{one}/options"), post(options::change)),
        (format!("{one}/delete"), post(change::delete)),
        (format!("{one}/refresh"), post(connect::refresh)),
        (format!("{one}/again"), post(connect::again)),
        (format!("{one}/domain"), post(connect::bind)),
        ("/domain".to_owned(), get(create::preview)),
        ("/clients".to_owned(), get(clients::list)),
        ("/clients/new".to_owned(), get(clients::fields).post(clients::create)),
        ("/clients/{uuid}".to_owned(), get(clients::show)),
        ("/clients/{uuid}/change".to_owned(), post(clients::change)),
        ("/clients/{uuid}/delete".to_owned(), post(clients::delete)),
        ("/activity".to_owned(), get(activity::page)),
        ("/activity/rows".to_owned(), get(activity::rows)),
        ("/activity/export".to_owned(), get(activity::export)),
        ("/requests/{id}".to_owned(), get(request::show)),
        ("/events".to_owned(), get(events::page)),
        ("/events/check".to_owned(), get(events::check)),
        ("/events/export".to_owned(), get(events::export)),
        ("/try".to_owned(), get(trial::fields).post(trial::attempt)),
        ("/tokens".to_owned(), get(tokens::list).post(tokens::create)),
        ("/tokens/{id}/revoke".to_owned(), post(tokens::revoke)),
        ("/system".to_owned(), get(system::page)),
    ];
    rows.into_iter().fold(Router::new(), |router, (below, handlers)| {
        router.route(&format!("/console/i/{{integration}}{below}"), handlers)
    })
}

/// Confines each page to this site.
async fn confine(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in FIELDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

const FIELDS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, ContentPolicy::Console.as_str()),
    (header::REFERRER_POLICY, ContentPolicy::Console.referrer()),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];
