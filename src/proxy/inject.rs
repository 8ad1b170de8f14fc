//! The departure: the caller's request, rewritten, with the credential and nothing of the hop.

use http::request::Parts;
use http::{Request, Version};

use super::arrival::Arrival;
use super::base_url;
use super::fields::{self, Via};
use super::refusal::{Code, Refusal};
use super::request::RequestForm;
use super::upgrade::{UpgradeKind, ask_for_websocket};
use crate::clock::Clock;
use crate::model::connection::Connection;
use crate::model::permit::Permit;
use crate::model::sealed::KeyId;
use crate::upstream::{Departure, Outgoing, SecretUnavailable};

/// Strips what must not leave, puts the target in origin-form, and has the departure inject the
/// permit's credential last.
pub(super) fn inject(
    mut head: Parts,
    body: Outgoing,
    arrival: &Arrival,
    permit: Permit,
    (via, clock): (&Via, &Clock),
) -> Result<Departure, Refusal> {
    let token_field = arrival.token.field.as_ref();
    let credential = permit.connection().fields();
    fields::prepare_request(&mut head.headers, head.version, credential, token_field, via);
    arrival.named_urls.write(&mut head.headers, permit.origin());
    let upgrades = arrival.upgrade == UpgradeKind::WebSocket;
    if upgrades {
        ask_for_websocket(&mut head.headers);
    }
    let mut parts = http::uri::Parts::default();
    // What was read as a target before is one still; if not, nothing is sent.
    let lost = || Refusal::new(Code::Internal, "The request could not be rewritten.");
    parts.path_and_query = match arrival.request.form {
        RequestForm::BaseUrl => Some(base_url::strip(&head.uri).map_err(|_never| lost())?),
        _ => head.uri.path_and_query().cloned(),
    };
    head.uri = http::Uri::from_parts(parts).map_err(|_never| lost())?;
    head.version = Version::HTTP_11;
    head.extensions.clear();
    // A connection without a credential is looked at before it is given away.
    if permit.connection().credential().is_none() {
        return Err(no_credential(permit.connection()));
    }
    let departure = Departure::new(permit, Request::from_parts(head, body), upgrades, clock);
    departure.map_err(|SecretUnavailable| seal_broken(None))
}

/// The refusal of a connection without a credential: its command has failed, or its secret can't be
/// opened.
pub(super) fn no_credential(connection: &Connection) -> Refusal {
    if connection.awaits_command() {
        return Refusal::new(
            Code::TokenEndpointFailed,
            format!(
                "The secret of the connection {} is not known: the command that prints it has \
                 failed for longer than its last one is good. The operator must see why, which \
                 the server's log says; nothing is wrong with the request.",
                connection.name()
            ),
        );
    }
    seal_broken(connection.missing_key())
}

/// The refusal of a connection whose secret can't be opened: its key is missing, or its record was
/// changed.
pub(super) fn seal_broken(missing: Option<KeyId>) -> Refusal {
    match missing {
        Some(id) => Refusal::new(
            Code::SealBroken,
            format!(
                "The connection's secret can't be opened: the server lacks its master key, {id}. \
                 The operator must add that key to the server's master keys; nothing else is \
                 wrong with the connection."
            ),
        ),
        None => Refusal::new(
            Code::SealBroken,
            "The connection's secret can't be opened: its record was changed by hand. The \
             operator must delete the connection and create it again.",
        ),
    }
}
