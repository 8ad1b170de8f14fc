//! All connections of an integration, page by page.

use axum::Json;

use super::refused;
use crate::api::auth::AuthenticatedOperator;
use crate::api::body::PathParam;
use crate::api::error::Error;
use crate::api::page::{PageQuery, Parameters};
use crate::management::AnyConnection;
use crate::model::connection::ConnectionType;
use crate::wire::{ConnectionPage, PageMeta};

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
    responses((status = 200, description = "A page of connections", body = ConnectionPage))
)]
pub(in crate::api) async fn list(
    operator: AuthenticatedOperator,
    PathParam(integration): PathParam<String>,
    PageQuery(window): PageQuery,
) -> Result<Json<ConnectionPage>, Error> {
    let access = operator.read_access(&integration).map_err(refused)?;
    let listing = access.list(&window).await.map_err(refused)?;
    let names = listing.items.iter().map(|connection| connection.name().as_str());
    let meta = PageMeta::of(names, listing.has_more);
    let mut page = ConnectionPage { meta, ..ConnectionPage::default() };
    for connection in listing.items {
        match connection {
            AnyConnection::OAuth(view) => page.oauth.push((*view).into()),
            AnyConnection::Static(view) => {
                let array = match view.detail.kind() {
                    ConnectionType::ApiKey => &mut page.api_key,
                    ConnectionType::BasicAuth => &mut page.basic_auth,
                    ConnectionType::BearerToken | ConnectionType::OAuth => &mut page.bearer_token,
                    // ZIS has four types, and its clients know no others.
                    ConnectionType::AwsSigV4 | ConnectionType::Custom => continue,
                };
                array.push(view.into());
            }
        }
    }
    Ok(Json(page))
}
