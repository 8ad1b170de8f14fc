//! WebSocket (RFC 6455) and other upgrades (RFC 9110 §7.8).

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, Version};
use jiff::Timestamp;

use super::InForce;
use super::Proxy;
use super::arrival::Arrival;
use super::body::AnswerBody;
use super::caller::still_known;
use super::fields::REQUEST_ID;
use super::refusal::{Refusal, malformed};
use super::splice::{Splice, SpliceTerms};
use crate::ledger::Entry;
use crate::listener::{InFlight, PendingSwitch};
use crate::model::caller::Caller;
use crate::model::connection::Connection;
use crate::model::permit::Permit;
use crate::model::token::TokenDigest;
use crate::state::Holder;
use crate::upstream::{self, Reply};

/// The protocol that a request wants to switch to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum UpgradeKind {
    /// Nothing else; an offer of h2c, which some clients always make, is passed over.
    Nothing,
    /// A WebSocket.
    WebSocket,
}

impl UpgradeKind {
    /// Reads the `Upgrade` fields.
    pub(super) fn read(head: &Parts) -> Result<Self, Refusal> {
        let mut upgrade = Self::Nothing;
        for value in head.headers.get_all(header::UPGRADE) {
            let text = value.to_str().map_err(|_text| malformed(NOT_SUPPORTED))?;
            for protocol in text.split(',').map(str::trim) {
                if protocol.eq_ignore_ascii_case("websocket") {
                    upgrade = Self::WebSocket;
                } else if !protocol.is_empty() && !protocol.eq_ignore_ascii_case("h2c") {
                    return Err(malformed(NOT_SUPPORTED));
                }
            }
        }
        if upgrade == Self::WebSocket {
            check_handshake(head)?;
        }
        Ok(upgrade)
    }
}

/// Asks the origin for a WebSocket; the hop's own fields were stripped before.
pub(super) fn ask_for_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Tells whether the origin has agreed to the WebSocket that `asked` waits for; anything else than
/// an answer or a right agreement is an error.
pub(super) fn is_agreed(
    reply: &Reply,
    asked: Option<&PendingUpgrade>,
) -> Result<bool, upstream::Error> {
    if reply.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(false);
    }
    let upgrade = reply.headers().get(header::UPGRADE);
    let to_websocket =
        upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let mut accepted = reply.headers().get_all(header::SEC_WEBSOCKET_ACCEPT).iter();
    let is_right = asked.is_some_and(|switch| {
        accepted.next().is_some_and(|value| value.as_bytes() == switch.accept.as_bytes())
            && accepted.next().is_none()
    });
    if to_websocket && is_right { Ok(true) } else { Err(upstream::Error::UpgradeFailed) }
}

/// The answer of an origin that has understood the handshake with this `Sec-WebSocket-Key`
/// (RFC 6455 §4.2.2).
fn accept(key: &HeaderValue) -> String {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes().trim_ascii());
    context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(context.finish())
}

/// A WebSocket that was asked for and that the origin may agree to.
pub(super) struct PendingUpgrade {
    /// The caller's end, once its conn has been switched.
    pub(super) caller: PendingSwitch,
    /// The rights under which it stays open.
    pub(super) authorization: SpliceAuthorization,
    /// The origin's right answer to the key that the caller has chosen.
    accept: String,
}

/// The caller and the connection for which a WebSocket is open.
pub(super) struct SpliceAuthorization {
    holder: Arc<Holder>,
    digest: Option<TokenDigest>,
    permit: Permit,
}

impl PendingUpgrade {
    /// Takes the caller's end, if it asks for a WebSocket.
    pub(super) fn prepare(
        head: &mut Parts,
        arrival: &Arrival,
        holder: Arc<Holder>,
        permit: &Permit,
    ) -> Option<Box<Self>> {
        if arrival.upgrade != UpgradeKind::WebSocket {
            return None;
        }
        let accept = accept(head.headers.get(header::SEC_WEBSOCKET_KEY)?);
        let caller = head.extensions.remove()?;
        let digest = arrival.token.digest();
        let authorization = SpliceAuthorization { holder, digest, permit: permit.clone() };
        Some(Box::new(Self { caller, authorization, accept }))
    }
}

impl SpliceAuthorization {
    /// The time for which the caller's token still lives at `now`, if it ends at all.
    pub(super) fn ends_in(&self, now: Timestamp) -> Option<Duration> {
        let end = self.holder.caller.expires_at?;
        Some(Duration::try_from(end.duration_since(now)).unwrap_or_default())
    }

    /// Returns whether the same caller may still use the same connection.
    pub(super) fn holds(&self, in_force: &InForce) -> bool {
        let connection = self.permit.connection();
        let (integration, name) = (connection.integration(), connection.name().as_str());
        let end = self.holder.caller.expires_at;
        let holder = still_known(self.digest.as_ref(), end, in_force);
        let listing = in_force.registry.lookup(integration.as_str(), name);
        // The request that opened it was judged by these rules, and is not kept.
        let is_same_caller = |caller: &Caller| {
            caller.may_use(connection) && caller.rules == self.holder.caller.rules
        };
        let is_same_connection = |now: &Connection| {
            now.same_as(connection) && now.options().allow_as(connection.options())
        };
        holder.is_some_and(|holder| is_same_caller(&holder.caller))
            && listing.is_some_and(|listing| is_same_connection(&listing.connection))
    }
}

impl Proxy {
    /// Switches both conns to the WebSocket; its entry is written when it ends.
    pub(super) fn splice(
        &self,
        upgrade: PendingUpgrade,
        reply: Reply,
        mut entry: Entry,
        in_flight: InFlight,
    ) -> Response<AnswerBody> {
        entry.status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
        // Not marked as seen: a reload since the decision must be looked at too.
        let changes = self.changes.clone();
        let (mut head, origin) = reply.into_parts();
        head.headers.insert(REQUEST_ID, entry.request_id());
        ask_for_websocket(&mut head.headers);
        let idle_timeout = self.shared.live.load().settings.splice_idle_timeout;
        let splice = Splice {
            caller: upgrade.caller,
            origin: origin.into_switched(),
            terms: SpliceTerms {
                ends_in: upgrade.authorization.ends_in(self.shared.ledger.clock.now()),
                first_byte: idle_timeout,
                idle_timeout,
                changes,
            },
            stop: Some(self.shared.stop.clone()),
        };
        in_flight.conn().upgrade();
        let (authorization, in_force) = (upgrade.authorization, Arc::clone(&self.shared.live));
        self.tasks.spawn(async move {
            let spliced = splice.run(|| authorization.holds(&in_force.load())).await;
            spliced.note_in(&mut entry);
            drop((entry, in_flight));
        });
        let mut response = Response::new(AnswerBody::upgraded());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = head.headers;
        response
    }
}

/// RFC 6455 §4.1.
fn check_handshake(head: &Parts) -> Result<(), Refusal> {
    let has_body = head.headers.contains_key(header::TRANSFER_ENCODING)
        || head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    let named = head.headers.get_all(header::CONNECTION).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',').any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
        })
    });
    let good = head.method == Method::GET
        && head.version == Version::HTTP_11
        && !has_body
        && named
        && head.headers.get_all(header::SEC_WEBSOCKET_KEY).iter().count() == 1;
    if good { Ok(()) } else { Err(malformed("The WebSocket handshake is not well-formed.")) }
}

const NOT_SUPPORTED: &str = "The only upgrade that the proxy supports is websocket.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc_is_accepted_as_the_rfc_says() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
