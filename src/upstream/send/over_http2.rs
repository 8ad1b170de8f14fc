//! Sends departures on HTTP/2 streams.

use std::io;

use super::waiting::{await_response, wait_for_recheck};
use super::{Attempt, Upstream};
use crate::clock::instant;
use crate::upstream::UpstreamRules;
use crate::upstream::conn_auth::is_bound_to_conn;
use crate::upstream::departure::{Departure, FinalCheck};
use crate::upstream::error::{Error, ResponsePhase};
use crate::upstream::http2::{Http2Stream, SendFailure, StreamExchange};
use crate::upstream::pool::OriginPool;
use crate::upstream::reply::ReplyBody;

impl Upstream {
    /// Sends a departure on an HTTP/2 stream and waits for its answer. Not cancel-safe: dropping the
    /// future resets the stream.
    pub(super) async fn try_http2(
        &self,
        rules: &UpstreamRules,
        stream: Http2Stream,
        origin_pool: &OriginPool,
        mut departure: Departure,
        check: &dyn FinalCheck,
    ) -> Result<Attempt, Error> {
        // 1. Hand the request to the library.
        let head = departure.http2_head();
        let head = head.map_err(|unwritable| Error::RequestBody(unwritable.into()))?;
        let mut body = departure.take_body();
        // The wait for 100 (Continue) is left out: most origins never send it over HTTP/2.
        body.release();
        let (progress, begun) = (body.progress(), instant());
        let conn = stream.conn();
        let failed = match StreamExchange::begin(stream, head, body, &self.replay_budget) {
            Err(unanswered) => unanswered,
            Ok(mut exchange) => {
                // 2. Wait for the answer. Until the request is written, a change of what is in
                // force withdraws it, or takes it back to be sent with the new credential.
                let limit = rules.settings.response_timeout;
                let written = exchange.progress();
                let answered = tokio::select! {
                    biased;
                    answered = await_response(limit, progress.as_deref(), exchange.answer()) => answered,
                    checked = wait_for_recheck(check, &mut departure, written) => {
                        let body = exchange.withdraw();
                        checked.map_err(Error::Withdrawn)?;
                        let error = credential_replaced();
                        let Some(body) = body else { return Err(error) };
                        departure.put_body(body);
                        return Ok(Attempt::Unprocessed(departure, error, Some(conn)));
                    }
                };
                match answered {
                    Ok(Ok(response)) => {
                        if is_bound_to_conn(departure.headers(), &response) {
                            exchange.close_conn();
                        }
                        let reply = exchange.reply(response, &self.tasks);
                        return Ok(Attempt::Answered(reply.map(ReplyBody::http2)));
                    }
                    Ok(Err(fault)) => exchange.into_failure(fault),
                    Err(late) => {
                        exchange.note_timeout(begun);
                        return Err(late);
                    }
                }
            }
        };
        // 3. Give the departure back where the origin has not processed it.
        let SendFailure { error, unprocessed, needs_http1 } = failed;
        if needs_http1 {
            origin_pool.require_http1();
        }
        let Some(body) = unprocessed else { return Err(error) };
        departure.put_body(body);
        Ok(Attempt::Unprocessed(departure, error, Some(conn)))
    }
}

/// The error of a request that was taken back from its conn and can't be sent on another.
fn credential_replaced() -> Error {
    let cause = io::Error::other("the connection's credential was replaced meanwhile");
    Error::closed(ResponsePhase::BeforeResponse, cause)
}
