//! The catalogue of OAuth providers (contract §8).

use axum::Json;

use super::auth::AuthenticatedOperator;
use super::body::PathParam;
use super::error::Error;
use super::oauth::Query;
use super::page::NoQuery;
use crate::management::Refused;
use crate::wire::{ProviderAnswer, ProviderList, ProviderSummary};

/// List OAuth providers
///
/// The catalogue, from which a client is filled by `provider`. In the order of their names.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/providers",
    operation_id = "list_providers",
    tag = "oauth",
    params(("search" = Option<String>, Query, description = "Words, each of which must occur in the name, the title or an allowed domain", example = "google")),
    responses((status = 200, description = "Providers", body = ProviderList))
)]
pub(super) async fn list(
    operator: AuthenticatedOperator,
    query: Query,
) -> Result<Json<ProviderList>, Error> {
    let catalogue = operator.management.catalogue(&operator.operator).map_err(refused)?;
    query.refuse_others(&["search"])?;
    let found = catalogue.search(query.value("search").unwrap_or_default());
    Ok(Json(ProviderList { providers: found.map(ProviderSummary::from).collect() }))
}

/// Show an OAuth provider
///
/// In its members, `{name}` stands for a value that the operator is asked for.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/providers/{name}",
    operation_id = "show_provider",
    tag = "oauth",
    params(("name" = String, Path, description = "Name of the provider", example = "zendesk")),
    responses((status = 200, description = "The provider", body = ProviderAnswer))
)]
pub(super) async fn show(
    operator: AuthenticatedOperator,
    PathParam(name): PathParam<String>,
    _none: NoQuery,
) -> Result<Json<ProviderAnswer>, Error> {
    let catalogue = operator.management.catalogue(&operator.operator).map_err(refused)?;
    let provider = catalogue.find(&name).ok_or_else(|| refused(Refused::NotFound))?.clone();
    Ok(Json(ProviderAnswer { provider }))
}

fn refused(refused: Refused) -> Error {
    Error::refused(refused, "Provider")
}
