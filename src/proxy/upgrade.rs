//! WebSocket (RFC 6455) and other upgrades (RFC 9110 §7.8).

use std::time::Duration;

use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::arrival::malformed;
use super::refusal::Refusal;
use crate::upstream::{self, Reply};

/// What a request wants to become.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wish {
    /// Nothing else; an offer of h2c, which some clients always make, is passed over.
    Nothing,
    /// A WebSocket.
    WebSocket,
}

impl Wish {
    /// Reads the `Upgrade` fields.
    pub(super) fn read(head: &Parts) -> Result<Self, Refusal> {
        let mut wish = Self::Nothing;
        for value in head.headers.get_all(header::UPGRADE) {
            let text = value.to_str().map_err(|_text| malformed(NOT_UNDERSTOOD))?;
            for protocol in text.split(',').map(str::trim) {
                if protocol.eq_ignore_ascii_case("websocket") {
                    wish = Self::WebSocket;
                } else if !protocol.is_empty() && !protocol.eq_ignore_ascii_case("h2c") {
                    return Err(malformed(NOT_UNDERSTOOD));
                }
            }
        }
        if wish == Self::WebSocket {
            check_handshake(head)?;
        }
        Ok(wish)
    }
}

/// Asks the origin for a WebSocket; the hop's own fields were stripped before.
pub(super) fn ask_for_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Whether the origin has agreed to the WebSocket; anything else than an answer or a right
/// agreement is an error.
pub(super) fn is_agreed(reply: &Reply, wish: Wish) -> Result<bool, upstream::Error> {
    if reply.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(false);
    }
    let upgrade = reply.headers().get(header::UPGRADE);
    let to_websocket =
        upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let accepted = reply.headers().contains_key(header::SEC_WEBSOCKET_ACCEPT);
    if wish == Wish::WebSocket && to_websocket && accepted {
        Ok(true)
    } else {
        Err(upstream::Error::UpgradeFailed)
    }
}

/// Both ends of a WebSocket.
pub(super) struct Splice {
    /// The caller's end, once its conn has been switched.
    pub(super) caller: OnUpgrade,
    /// The origin's end.
    pub(super) origin: OnUpgrade,
    /// How long neither end may say anything.
    pub(super) idle_timeout: Duration,
    /// Changes when another set of connections and callers is in force.
    pub(super) changes: watch::Receiver<u64>,
}

/// How a splice has ended.
#[derive(Debug, Default)]
pub(super) struct Spliced {
    pub(super) from_caller: u64,
    pub(super) from_origin: u64,
    pub(super) cause: Option<&'static str>,
}

impl Splice {
    /// Passes bytes both ways until both ends have ended, one of them fails, both are silent for
    /// too long, or `still_allowed` no longer holds.
    pub(super) async fn run(mut self, still_allowed: impl Fn() -> bool) -> Spliced {
        let mut spliced = Spliced::default();
        let Ok((caller, origin)) = tokio::try_join!(self.caller, self.origin) else {
            spliced.cause = Some("the conn ended before it was switched");
            return spliced;
        };
        let (mut caller_reads, mut caller_writes) = tokio::io::split(TokioIo::new(caller));
        let (mut origin_reads, mut origin_writes) = tokio::io::split(TokioIo::new(origin));
        let (mut up, mut down) = (vec![0; BUFFER], vec![0; BUFFER]);
        let (mut up_open, mut down_open) = (true, true);
        while up_open || down_open {
            let step = tokio::select! {
                step = pass(&mut caller_reads, &mut origin_writes, &mut up), if up_open => {
                    step.map(|count| { up_open = count > 0; spliced.from_caller += count; })
                }
                step = pass(&mut origin_reads, &mut caller_writes, &mut down), if down_open => {
                    step.map(|count| { down_open = count > 0; spliced.from_origin += count; })
                }
                changed = self.changes.changed() => {
                    if changed.is_err() || !still_allowed() {
                        spliced.cause = Some("the token or the connection is no longer in force");
                        return spliced;
                    }
                    Ok(())
                }
                () = tokio::time::sleep(self.idle_timeout) => {
                    spliced.cause = Some("neither end said anything for too long");
                    return spliced;
                }
            };
            if step.is_err() {
                spliced.cause = Some("one end failed");
                return spliced;
            }
        }
        spliced
    }
}

/// Passes one piece on; 0 when the reading end has ended, which the writing end is told.
///
/// Not cancel-safe once something has been read: the write may be cut short. Its callers cancel
/// it only before, because reading is where it waits; see [`Splice::run`].
async fn pass(
    from: &mut ReadHalf<TokioIo<Upgraded>>,
    to: &mut WriteHalf<TokioIo<Upgraded>>,
    buffer: &mut [u8],
) -> std::io::Result<u64> {
    let count = from.read(buffer).await?;
    if count == 0 {
        to.shutdown().await?;
        return Ok(0);
    }
    to.write_all(buffer.get(..count).unwrap_or_default()).await?;
    to.flush().await?;
    Ok(u64::try_from(count).unwrap_or(0))
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
        && head.headers.contains_key(header::SEC_WEBSOCKET_KEY);
    if good { Ok(()) } else { Err(malformed("The WebSocket handshake is not well-formed.")) }
}

const NOT_UNDERSTOOD: &str = "The only upgrade that is understood is websocket.";
const BUFFER: usize = 16 * 1024;
