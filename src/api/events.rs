//! Events: what operators did (contract §8).

use std::convert::Infallible;

use axum::Json;
use axum::extract::FromRequestParts;
use http::request::Parts;

use super::auth::AuthenticatedOperator;
use super::error::Error;
use super::page::{EventParameters, Parameters, read_filtered};
use crate::management::EventQuery;
use crate::wire::{EventCheckAnswer, EventPage, PageMeta};

/// The query of a request, which is read once it is known who asks.
pub(super) struct RawParameters(pub(super) String);

impl<S: Sync> FromRequestParts<S> for RawParameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.uri.query().unwrap_or_default().to_owned()))
    }
}

/// List events
///
/// Lists what operators created, changed, deleted or were shown, newest first, as far as the token
/// reaches, with what there was before and after. Needs the scope `audit`. The audit trail has what
/// *requests* did.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/events",
    operation_id = "list_events",
    tag = "events",
    params(Parameters, EventParameters),
    responses((status = 200, description = "A page of events", body = EventPage))
)]
pub(super) async fn list(
    operator: AuthenticatedOperator,
    RawParameters(query): RawParameters,
) -> Result<Json<EventPage>, Error> {
    let reader = operator.management.event_reader(&operator.operator)?;
    let names = ["since", "until", "integration", "connection", "operator", "kind"];
    let (window, filters) = read_filtered::<true, 6>(&query, names)?;
    let [since, until, integration, connection, operator, kind] = filters;
    let query = EventQuery { since, until, integration, connection, operator, kind };
    let listing = reader.list(&query, &window).await?;
    let cursors = listing.items.iter().map(|event| event.id.as_str());
    let meta = PageMeta::of(cursors, listing.has_more);
    Ok(Json(EventPage { events: listing.items, meta }))
}

/// Check the chain of events
///
/// Each event is bound to the one before by its hash, and signed under the master key, so that one
/// that was removed, moved or edited in the database is found. Needs the scope `audit` and a token
/// that reaches all integrations. `head` is what an earlier check gave: the chain must have it still.
#[utoipa::path(
    get,
    path = "/api/keyferry/v1/events/verify",
    operation_id = "verify_events",
    tag = "events",
    params(("head" = Option<String>, Query, description = "The head of the chain at an earlier check")),
    responses((status = 200, description = "What was found", body = EventCheckAnswer))
)]
pub(super) async fn verify(
    operator: AuthenticatedOperator,
    RawParameters(query): RawParameters,
) -> Result<Json<EventCheckAnswer>, Error> {
    let reader = operator.management.event_reader(&operator.operator)?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let head = match (pairs.next(), pairs.next()) {
        (None, _) => None,
        (Some((name, head)), None) if name == "head" => Some(head.into_owned()),
        _ => return Err(Error::invalid("the query: there is head, once, and nothing else")),
    };
    Ok(Json(reader.verify(head.as_deref()).await?))
}
