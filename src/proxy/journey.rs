//! A request's journey, from the front door to the ledger. Read this first.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::request::Parts;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use jiff::Timestamp;
use rustls::ServerConfig;
use tokio::sync::watch;

use super::InForce;
use super::admit::{admit, admit_tunnel, caller_overloaded, shutting_down, store_unavailable};
use super::arrival::{Arrival, RequestForm};
use super::base_url::ResponseRewrite;
use super::body::{AnswerBody, CallerBody};
use super::caller::{name_sender, shown_digest};
use super::decide::too_large;
use super::fields::{self, Via};
use super::idle::{ExchangeActivity, Idle, IdleTimer};
use super::inject::inject;
use super::recheck::NotSent;
use super::refusal::{Code, Refusal, is_grpc};
use super::relay;
use super::renewal::{AwaitingTokens, Readiness, Replay, ReplayBuffer, ReplayGuard, readiness};
use super::tunnel::{TunnelContext, TunnelSetup};
use super::upgrade::{self, PendingUpgrade};
use crate::ledger::{self, Entry, Ledger};
use crate::listener::{ConnState, ConnTracker, EarlyRefusal, Handler, InFlight};
use crate::model::permit::Permit;
use crate::oauth::RefreshHandle;
use crate::rate_limit::MemoryBudget;
use crate::state::{Holder, Live};
use crate::tasks::Tasks;
use crate::upstream::{self, Departure, Outgoing, Reply, Upstream};

/// The data plane of one worker.
#[derive(Debug)]
pub struct Proxy {
    /// What a reload replaces.
    pub in_force: Arc<Live>,
    /// Changes with it.
    pub changes: watch::Receiver<u64>,
    /// Turns true when the server goes down.
    pub stop: watch::Receiver<bool>,
    /// The way out.
    pub upstream: Upstream,
    /// Where requests are written down.
    pub ledger: Arc<Ledger>,
    /// Our mark.
    pub via: Via,
    /// Where WebSockets and tunnels run.
    pub tasks: Tasks,
    /// Where conns inside tunnels are counted.
    pub conn_tracker: Arc<ConnTracker>,
    /// What a caller is shown inside a tunnel.
    pub tunnel_tls: Arc<ServerConfig>,
    /// Where other tokens of OAuth connections are asked for; where nothing is kept there are no
    /// such connections.
    pub tokens: Option<RefreshHandle>,
    /// What request bodies that are kept for a second attempt hold, on all workers together.
    pub replay_memory: Arc<MemoryBudget>,
}

impl Handler for Proxy {
    type Body = AnswerBody;

    /// Every journey is written down once, refused or not. Before the network and after it nothing
    /// waits, so that one request's decision never holds up another's.
    fn handle(
        self: Arc<Self>,
        in_flight: InFlight,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send {
        self.handle(in_flight, request, None)
    }

    fn early_refusal(&self, reason: EarlyRefusal) -> Vec<u8> {
        self.early_refusal_in(None, reason)
    }
}

impl Proxy {
    /// The last words to a conn that is not served; `tunnel` is the one that it came through.
    pub(super) fn early_refusal_in(
        &self,
        tunnel: Option<&TunnelContext>,
        reason: EarlyRefusal,
    ) -> Vec<u8> {
        let mut entry = self.ledger.open_entry(None);
        if let Some(tunnel) = tunnel {
            entry.form = RequestForm::Tunnel.as_str();
            tunnel.name_sender(&mut entry, &self.in_force.load());
        }
        relay::refuse_early(reason, entry)
    }

    /// The journey of one request; `tunnel` is the one that it came through, if it did.
    pub(super) fn handle(
        self: Arc<Self>,
        in_flight: InFlight,
        request: Request<Incoming>,
        tunnel: Option<&TunnelContext>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send + use<> {
        let opening =
            ledger::RequestLine { method: request.method().clone(), target: request.uri().clone() };
        let mut entry = self.ledger.open_entry(Some(opening));
        entry.is_grpc = is_grpc(request.version(), request.headers().get(header::CONTENT_TYPE));
        let in_force = self.in_force.load_full();
        let from = (in_flight.conn().as_ref(), tunnel);
        // What an async block captures has room in its future once, what it takes apart twice; and
        // this future is moved and wiped with every conn. What is rare is in a box.
        let response = match self.decide_and_inject(&in_force, &mut entry, request, from) {
            Ok(Outcome::Leaves(departure, mut context)) => {
                return Either::Left(async move {
                    context.attach(&in_flight);
                    entry.mark_departed();
                    let sent = self.send(&in_force, departure, &mut context, &mut entry).await;
                    entry.mark_answered();
                    Ok(self.finish_response(sent, context, entry, in_flight))
                });
            }
            Ok(Outcome::Opens(setup)) => {
                let opened = self.open(setup, in_force, entry, in_flight);
                return Either::Right(Either::Left(opened.boxed()));
            }
            Ok(Outcome::Waits(waiting)) => {
                let sent = self.wait(*waiting, entry, in_flight);
                return Either::Right(Either::Left(sent.map(Ok).boxed()));
            }
            Ok(Outcome::Ends(response)) => relay::end(response, entry, in_flight),
            Err(refusal) => relay::refuse(refusal, entry, in_flight),
        };
        Either::Right(Either::Right(ready(Ok(response))))
    }

    /// The journey of a request that has to wait for its connection's tokens.
    async fn wait(
        self: Arc<Self>,
        waiting: AwaitingTokens,
        mut entry: Entry,
        in_flight: InFlight,
    ) -> Response<AnswerBody> {
        let (in_force, departure, mut context) = match self.renew(waiting, &mut entry).await {
            Ok((in_force, Outcome::Leaves(departure, context))) => (in_force, departure, context),
            Ok(_) => {
                let lost = Refusal::new(Code::Internal, "The request was lost on its way.");
                return relay::refuse(lost, entry, in_flight);
            }
            Err(refusal) => return relay::refuse(refusal, entry, in_flight),
        };
        context.attach(&in_flight);
        entry.mark_departed();
        let sent = self.send(&in_force, departure, &mut context, &mut entry).await;
        entry.mark_answered();
        self.finish_response(sent, context, entry, in_flight)
    }
}

/// A request for which there is a permit.
#[derive(Debug)]
pub(super) struct DecidedRequest {
    pub(super) head: Parts,
    pub(super) body: Incoming,
    pub(super) arrival: Arrival,
    pub(super) holder: Arc<Holder>,
    pub(super) permit: Permit,
}

/// Where a request goes once everything is decided.
#[expect(
    clippy::large_enum_variant,
    reason = "the largest is the usual one; a box would cost each request an allocation"
)]
pub(super) enum Outcome {
    /// To its origin.
    Leaves(Departure, ResponseContext),
    /// No further than here, with this answer.
    Ends(Response<Full<Bytes>>),
    /// Into a tunnel.
    Opens(Box<TunnelSetup>),
    /// Nowhere until its connection has other tokens.
    Waits(Box<AwaitingTokens>),
}

/// What the way home needs to know.
pub(super) struct ResponseContext {
    /// What was asked, by which it may have to be decided once more.
    pub(super) arrival: Arrival,
    /// The time when the caller's token ends, if it does.
    pub(super) token_end: Option<Timestamp>,
    /// The largest body that was allowed.
    most: u64,
    /// In base-URL form: how the answer is kept from leading the caller elsewhere.
    base_url: Option<Box<ResponseRewrite>>,
    /// If a WebSocket was asked for: what it takes to become one.
    switch: Option<Box<PendingUpgrade>>,
    /// If the origin may refuse tokens that have not ended: what it takes to ask once more.
    pub(super) replay: Option<Box<Replay>>,
    /// Ends an answer that stops coming.
    idle: IdleTimer,
}

impl ResponseContext {
    /// Tells the caller's conn of what comes of the request.
    fn attach(&self, in_flight: &InFlight) {
        if let Some(exchange) = self.idle.exchange() {
            exchange.attach(in_flight.conn());
        }
    }
}

impl Proxy {
    /// The journey up to the network, in the order of contract §3. Each step takes what the last
    /// one gave.
    fn decide_and_inject(
        &self,
        in_force: &InForce,
        entry: &mut Entry,
        request: Request<Incoming>,
        (conn, tunnel): (&ConnState, Option<&TunnelContext>),
    ) -> Result<Outcome, Refusal> {
        if *self.stop.borrow() {
            return Err(shutting_down());
        }
        if in_force.stale.load(Relaxed) {
            return Err(store_unavailable());
        }
        let (mut head, body) = request.into_parts();
        // 1. What is asked, can it be read in one way only, and has it not been here before?
        entry.form =
            RequestForm::of(&head, &in_force.settings, tunnel).map_or("", RequestForm::as_str);
        let arrival = Arrival::read(&head, &in_force.settings, &self.via, tunnel).inspect_err(
            |_refusal| match tunnel {
                Some(tunnel) => tunnel.name_sender(entry, in_force),
                None => name_sender(entry, shown_digest(&head).as_ref(), in_force),
            },
        )?;
        // 2. Who asks?
        let now = entry.time();
        let identified = arrival.token.identify(&head, &arrival.request, in_force, now, |known| {
            entry.caller = Some(Arc::clone(&known.name));
            entry.integration = known.reach.only().cloned();
        });
        if entry.caller.is_some() {
            conn.mark_authenticated(arrival.token.digest()).map_err(|_full| caller_overloaded())?;
        }
        let holder =
            identified.inspect_err(|_refusal| entry.origin = arrival.request.stated_origin())?;
        holder.mark_used(now);
        if arrival.request.form == RequestForm::Authority {
            let mode = admit_tunnel(in_force, &holder, &arrival, entry)
                .inspect_err(|_refusal| entry.origin = arrival.request.stated_origin())?;
            return TunnelSetup::prepare(&mut head, arrival, mode).map(Outcome::Opens);
        }
        // 3. May they use which connection, there, now? From here on there is a permit.
        let permit = admit(in_force, &holder, &arrival, entry)
            .inspect_err(|_refusal| entry.origin = arrival.request.stated_origin())?;
        if fields::ends_here(&head.method, &mut head.headers) {
            return Ok(Outcome::Ends(options(&in_force.settings.allow)));
        }
        let decided = DecidedRequest { head, body, arrival, holder, permit };
        if let Some(tokens) = &self.tokens {
            let (connection, now) = (decided.permit.connection(), entry.time());
            let renewal = &in_force.settings.renewal;
            if let Readiness::First(wanted) = readiness(connection, tokens, renewal, now)? {
                return Ok(Outcome::Waits(Box::new(AwaitingTokens { decided, wanted })));
            }
        }
        self.depart(in_force, decided, entry)
    }

    /// 4. Rewritten, with the credential, fit to leave.
    pub(super) fn depart(
        &self,
        in_force: &InForce,
        decided: DecidedRequest,
        entry: &mut Entry,
    ) -> Result<Outcome, Refusal> {
        let DecidedRequest { mut head, body, arrival, holder, permit } = decided;
        let most = in_force.settings.max_body_bytes;
        let idle_timeout = in_force.settings.exchange_idle_timeout;
        let exchange =
            (!body.is_end_stream()).then(|| Arc::new(ExchangeActivity::new(idle_timeout)));
        let idle = IdleTimer::new(idle_timeout, exchange.clone());
        let base_url = (arrival.request.form == RequestForm::BaseUrl).then(|| {
            let token_field = arrival.token.field.as_ref();
            let (origin, settings) = (permit.origin(), &in_force.settings);
            Box::new(ResponseRewrite::new(&head.uri, origin, token_field, settings))
        });
        let token_end = holder.caller.expires_at;
        let switch = PendingUpgrade::prepare(&mut head, &arrival, holder, &permit);
        let renewal = &in_force.settings.renewal;
        let standing = permit.connection().token_status();
        let may_retry = renewal.retry_on_401 && standing.is_some_and(|known| known.renewable);
        let kept = may_retry.then(|| {
            let (most, limit) = (renewal.replay_body_bytes, renewal.replay_memory);
            Arc::new(if body.is_end_stream() {
                ReplayBuffer::nothing()
            } else {
                ReplayBuffer::up_to(most, self.replay_memory.share(), limit)
            })
        });
        let again = kept
            .clone()
            .map(|kept| (head.clone(), ReplayGuard(kept), Arc::clone(permit.connection())));
        let mut body = match exchange {
            None => Outgoing::empty(),
            Some(exchange) => {
                let idle = IdleTimer::new(idle_timeout, Some(exchange));
                outgoing(body, idle, entry, most, (&permit, kept))
            }
        };
        if fields::expects_continue(&head.headers) {
            body = body.after_continue();
        }
        let departure = inject(head, body, &arrival, permit, &self.via)?;
        let replay = again.map(|(head, kept, used)| Box::new(Replay { head, kept, used }));
        let context = ResponseContext { arrival, token_end, most, base_url, switch, replay, idle };
        Ok(Outcome::Leaves(departure, context))
    }

    /// The journey from the network on: the origin's word, fit for the caller.
    fn finish_response(
        &self,
        sent: Result<Reply, NotSent>,
        context: ResponseContext,
        entry: Entry,
        in_flight: InFlight,
    ) -> Response<AnswerBody> {
        let reply = sent.and_then(|mut reply| {
            let agreed = upgrade::is_agreed(&reply, context.switch.as_deref());
            let agreed = agreed.map_err(NotSent::Failed)?;
            relay::prepare(&mut reply, &self.via);
            Ok((reply, agreed))
        });
        match reply {
            Err(NotSent::Refused(refusal)) => relay::refuse(refusal, entry, in_flight),
            Err(NotSent::Failed(error)) => {
                let refusal = blame(error, entry.request_bytes(), context.most);
                relay::refuse(refusal, entry, in_flight)
            }
            Ok((mut reply, agreed)) => {
                if let Some(rewriting) = context.base_url {
                    rewriting.rewrite(reply.headers_mut());
                }
                match context.switch.filter(|_| agreed) {
                    Some(switch) => self.splice(*switch, reply, entry, in_flight),
                    None => relay::relay(reply, context.idle, entry, in_flight),
                }
            }
        }
    }
}

/// The answer to an OPTIONS request that was to come no further than here, marked as ours.
fn options(allow: &HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, allow.clone());
    headers.insert("proxy-status", HeaderValue::from_static("keyferry"));
    response
}

/// The body on its way out.
fn outgoing(
    body: Incoming,
    idle: IdleTimer,
    entry: &mut Entry,
    most: u64,
    (permit, kept): (&Permit, Option<Arc<ReplayBuffer>>),
) -> Outgoing {
    let count = Arc::default();
    entry.request_count = Some(Arc::clone(&count));
    let credential = permit.connection().field().clone();
    Outgoing::stream(CallerBody { incoming: body, idle, count, most, credential, kept })
}

/// A request whose body is too large, or stops coming, is its caller's fault and not its origin's.
fn blame(error: upstream::Error, sent: u64, most: u64) -> Refusal {
    if most != 0 && sent > most {
        return too_large(most).closing();
    }
    match Idle::in_chain(&error) {
        Some(idle) => {
            let title = format!("The caller must send its request without such a pause: {idle}.");
            Refusal::new(Code::MalformedRequest, title).because(error.chain()).closing()
        }
        None => Refusal::from(error),
    }
}
