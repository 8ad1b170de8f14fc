//! The table of contents: every path and its handler. The description is drawn from the same
//! rows.

use axum::Router;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::connections::all;
use super::connections::static_types::{STATIC_TYPES, collection, item};
use super::connections::typed;
use super::oauth::{account, clients, connections as authorized, flows, mcp};
use super::{
    ApiState, audit, ca, docs, events, explain, keys, providers, requests, stats, status, tokens,
};

/// Every path that is described.
fn described() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().merge(connections()).merge(oauth()).merge(administration()).merge(server())
}

/// `/api/services/zis`
fn connections() -> OpenApiRouter<ApiState> {
    STATIC_TYPES
        .into_iter()
        .fold(OpenApiRouter::new().routes(routes!(all::list)), |router, kind| {
            router.routes(collection(kind)).routes(item(kind))
        })
}

/// `/api/services/zis/connections`
fn oauth() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(clients::list, clients::create))
        .routes(routes!(clients::show, clients::update, clients::delete))
        .routes(routes!(flows::start))
        .routes(routes!(flows::redirect))
        .routes(routes!(flows::callback, flows::posted_callback))
        .routes(routes!(flows::exchange))
        .routes(routes!(account::tokens))
        .routes(routes!(authorized::refresh))
        .routes(routes!(authorized::show, authorized::bind, authorized::delete))
}

/// `/api/keyferry/v1`
fn administration() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(typed::list, typed::create))
        .routes(routes!(typed::show, typed::update, typed::delete))
        .routes(routes!(mcp::create))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(keys::list))
        .routes(routes!(keys::rotate))
        .routes(routes!(ca::rotate))
        .routes(routes!(explain::explain))
        .routes(routes!(audit::list))
        .routes(routes!(requests::list))
        .routes(routes!(requests::show))
        .routes(routes!(stats::list))
        .routes(routes!(stats::health))
        .routes(routes!(events::list))
        .routes(routes!(events::verify))
        .routes(routes!(status::server))
        .routes(routes!(providers::list))
        .routes(routes!(providers::show))
}

/// The paths that need no token.
fn server() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(status::health))
        .routes(routes!(status::ready))
        .routes(routes!(status::metrics))
        .routes(routes!(ca::certificate))
        .routes(routes!(mcp::metadata))
        .routes(routes!(docs::description))
        .routes(routes!(docs::page))
}

pub(super) fn router() -> Router<ApiState> {
    let (router, _described) = described().split_for_parts();
    router.merge(docs::assets())
}

pub(super) fn description() -> utoipa::openapi::OpenApi {
    described().into_openapi()
}
