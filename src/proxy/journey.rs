//! A request's journey, from its arrival to its answer. Read this first: each step takes what the
//! last one gave, and has a file of its own.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::Full;

use super::admit::{admit, admit_tunnel};
use super::arrival::Arrival;
use super::body::AnswerBody;
use super::depart::{DecidedRequest, answers_itself};
use super::facts::RefusedRequest;
use super::renewal::AwaitingTokens;
use super::response::{Finished, FirstAttempt, ResponseContext};
use super::signing::{self, BeforeSigning};
use super::tunnel::{TunnelContext, TunnelSetup};
use super::whole_body::ArrivedBody;
use super::{InForce, Proxy, relay};
use crate::ledger::Entry;
use crate::listener::{ConnState, InFlight, RequestBody};
use crate::upstream::Departure;

/// The way that a request takes once all is decided that needs no wait.
#[expect(
    clippy::large_enum_variant,
    reason = "the largest is the usual one; a box would cost each request an allocation"
)]
enum Outcome {
    /// To its origin.
    Departs(Departure, ResponseContext),
    /// Nowhere until its body was read, whose hash is signed.
    ReadsBody(Box<DecidedRequest>),
    /// Nowhere until its connection has been given other tokens.
    AwaitsTokens(Box<AwaitingTokens>),
    /// Into a tunnel.
    OpensTunnel(Box<TunnelSetup>),
    /// No further than here, with this answer.
    EndsHere(Response<Full<Bytes>>),
}

impl Proxy {
    /// Answers a request; `tunnel` is the one that it came through, if it did. Its one entry is
    /// written when the answer's last byte has gone, refused or not.
    pub(super) fn handle(
        self: Arc<Self>,
        in_flight: InFlight,
        request: Request<RequestBody>,
        tunnel: Option<&TunnelContext>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send + use<> {
        let mut entry = self.open_entry(&request);
        let in_force = self.shared.live.load_full();
        let outcome = self.decide(&in_force, &mut entry, request, (in_flight.conn(), tunnel));
        // The future is moved and wiped with every conn: what is rare is in a box.
        let later = |answer: BoxFuture<'static, _>| Either::Right(Either::Left(answer));
        let now = |answer| Either::Right(Either::Right(ready(Ok(answer))));
        match outcome {
            Ok(Outcome::Departs(departure, context)) => {
                Either::Left(self.exchange(in_force, (departure, context), entry, in_flight))
            }
            Ok(Outcome::AwaitsTokens(waiting)) => {
                later(self.await_tokens(*waiting, entry, in_flight).boxed())
            }
            Ok(Outcome::ReadsBody(decided)) => {
                later(self.read_body(in_force, decided, entry, in_flight).boxed())
            }
            Ok(Outcome::OpensTunnel(setup)) => {
                later(self.open_tunnel(*setup, in_force, entry, in_flight).map(Ok).boxed())
            }
            Ok(Outcome::EndsHere(response)) => now(relay::end(response, entry, in_flight)),
            Err(refused) => now(relay::refuse(refused, entry, in_flight)),
        }
    }

    /// Steps 1 to 4, which wait for nothing, in the order of contract §3.
    fn decide(
        &self,
        in_force: &InForce,
        entry: &mut Entry,
        request: Request<RequestBody>,
        (conn, tunnel): (&ConnState, Option<&TunnelContext>),
    ) -> Result<Outcome, RefusedRequest> {
        self.check_able(in_force)?;
        let (mut head, body) = request.into_parts();
        // 1. What is asked? It can be read in one way only, and has not passed here before.
        let arrival = Arrival::read(&head, in_force, &self.shared.via, (conn, tunnel))?;
        // 2. Who asks?
        let holder = arrival.identify(&head, in_force, conn, entry.time())?;
        if arrival.request.is_connect() {
            // Each request inside the tunnel will take this journey itself.
            let mode = admit_tunnel(in_force, &holder, &arrival)?.note_in(entry);
            return Ok(Outcome::OpensTunnel(TunnelSetup::prepare(&mut head, arrival, mode)?));
        }
        // 3. May they use which connection, there, now? From here on there is a permit.
        let permit = admit(in_force, &holder, &arrival)?.note_in(entry);
        holder.mark_used_for(permit.connection(), entry.time());
        if let Some(response) = answers_itself(&mut head, &in_force.settings) {
            return Ok(Outcome::EndsHere(response));
        }
        let before = signing::prepare(&mut head, &permit, !body.is_end_stream())?;
        let body = ArrivedBody::Left(body);
        let decided = DecidedRequest { head, body, arrival, holder, permit };
        if before == BeforeSigning::HashBody {
            return Ok(Outcome::ReadsBody(Box::new(decided)));
        }
        // 3b. A connection by OAuth, or with a role, may have to be given other tokens first.
        if let Some(wanted) = self.tokens_to_await(&decided, in_force, entry.time())? {
            return Ok(Outcome::AwaitsTokens(Box::new(AwaitingTokens { decided, wanted })));
        }
        // 4. Rewritten, with the credential, fit to leave.
        let (departure, context) = self.depart(in_force, decided, entry)?;
        Ok(Outcome::Departs(departure, context))
    }

    /// Step 3c: reads the request's body, whose hash is signed, and goes on from there, with step 3b
    /// if need be.
    async fn read_body(
        self: Arc<Self>,
        in_force: Arc<InForce>,
        mut decided: Box<DecidedRequest>,
        mut entry: Entry,
        in_flight: InFlight,
    ) -> Result<Response<AnswerBody>, Infallible> {
        let read = self.hash_body(&in_force, &mut decided, &mut entry).await;
        let now = self.shared.ledger.clock.now();
        let wanted = read.and_then(|()| self.tokens_to_await(&decided, &in_force, now));
        match wanted {
            Ok(Some(wanted)) => {
                let waiting = AwaitingTokens { decided: *decided, wanted };
                self.await_tokens(waiting, entry, in_flight).await
            }
            Ok(None) => match self.depart(&in_force, *decided, &mut entry) {
                Ok(departing) => self.exchange(in_force, departing, entry, in_flight).await,
                Err(refusal) => Ok(relay::refuse(refusal, entry, in_flight)),
            },
            Err(refusal) => Ok(relay::refuse(refusal, entry, in_flight)),
        }
    }

    /// Step 3b: waits until the connection has other tokens, and goes on from there.
    async fn await_tokens(
        self: Arc<Self>,
        waiting: AwaitingTokens,
        mut entry: Entry,
        in_flight: InFlight,
    ) -> Result<Response<AnswerBody>, Infallible> {
        match self.renew(waiting, &mut entry).await {
            Ok((in_force, departing)) => self.exchange(in_force, departing, entry, in_flight).await,
            Err(refused) => Ok(relay::refuse(refused, entry, in_flight)),
        }
    }

    /// Steps 5 and 6: to the origin and back.
    #[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice")]
    fn exchange(
        self: Arc<Self>,
        in_force: Arc<InForce>,
        (departure, mut context): (Departure, ResponseContext),
        mut entry: Entry,
        in_flight: InFlight,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send {
        async move {
            context.attach(&in_flight);
            entry.mark_departed();
            // 5. Sent, decided once more when there is a conn.
            let sent = self.send(&in_force, departure, &mut context, &mut entry).await;
            let sent = match context.judge_tokens(sent) {
                FirstAttempt::Counts(sent) => sent,
                // 5c. Sent again with other tokens, where the origin has refused these.
                FirstAttempt::TokensRefused(refused) => {
                    Box::pin(self.send_again(refused, &context.arrival, &mut entry)).await
                }
            };
            entry.mark_answered();
            // 6. The answer is made fit for the caller, or both conns become a WebSocket.
            Ok(match context.finish(sent, &entry, &self.shared.via) {
                Ok(Finished::Answer(reply, idle)) => relay::relay(reply, idle, entry, in_flight),
                Ok(Finished::Upgrade(reply, upgrade)) => {
                    self.splice(*upgrade, reply, entry, in_flight)
                }
                Err(refusal) => relay::refuse(refusal, entry, in_flight),
            })
        }
    }
}
