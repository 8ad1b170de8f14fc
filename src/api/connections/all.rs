//! All connections of an integration, page by page.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::api_key::ApiKey;
use super::basic_auth::BasicAuth;
use super::bearer_token::BearerToken;
use crate::api::auth::AuthenticatedOperator;
use crate::api::body::PathParam;
use crate::api::error::Error;
use crate::api::oauth::OAuthItem;
use crate::api::page::{Meta, PageQuery, Parameters};
use crate::management::AnyConnection;
use crate::model::connection::ConnectionType;

/// A page of connections. They are listed by their names across all types, then sorted into one
/// array for each type.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Page {
    api_key: Vec<ApiKey>,
    basic_auth: Vec<BasicAuth>,
    bearer_token: Vec<BearerToken>,
    meta: Meta,
    oauth: Vec<OAuthItem>,
}

/// Show connections
///
/// Connections of all types, in the order of their names.
#[utoipa::path(
    get,
    path = "/api/services/zis/integrations/{integration}/connections/all",
    operation_id = "list_connections",
    tag = "connections",
    params(
        ("integration" = String, Path, description = "Name of the integration", example = "my_integration"),
        Parameters,
    ),
    responses((status = 200, description = "A page of connections", body = Page))
)]
pub(in crate::api) async fn list(
    seat: AuthenticatedOperator,
    PathParam(integration): PathParam<String>,
    asked: PageQuery,
) -> Result<Json<Page>, Error> {
    let reading =
        seat.management.read_access(&seat.operator, &integration).map_err(super::refused)?;
    let PageQuery(window) = asked;
    let listing = reading.list(&window).await.map_err(super::refused)?;
    let names = listing.items.iter().map(|listed| listed.name().as_str());
    let meta = Meta::of(names, listing.has_more);
    let mut page = Page {
        api_key: Vec::new(),
        basic_auth: Vec::new(),
        bearer_token: Vec::new(),
        meta,
        oauth: Vec::new(),
    };
    for listed in listing.items {
        let shown = match listed {
            AnyConnection::OAuth(authorized) => {
                page.oauth.push((*authorized).into());
                continue;
            }
            AnyConnection::Static(shown) => shown,
        };
        match shown.detail.kind() {
            ConnectionType::ApiKey => page.api_key.push(shown.into()),
            ConnectionType::BasicAuth => page.basic_auth.push(shown.into()),
            ConnectionType::BearerToken | ConnectionType::OAuth => {
                page.bearer_token.push(shown.into());
            }
        }
    }
    Ok(Json(page))
}
