//! A request's journey, from the front door to the ledger. Read this first.

use std::error::Error as _;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use tokio::sync::watch;

use super::InForce;
use super::arrival::{Arrival, Form};
use super::body::{AnswerBody, CallerBody, TooLarge};
use super::decide::{decide, too_large};
use super::fields::{self, Via};
use super::inject::inject;
use super::refusal::{Code, Refusal};
use super::relay;
use super::upgrade::{self, Splice};
use crate::door::{Fault, House, TurnedAway, Visit};
use crate::ledger::{Decision, Entry, Ledger, Opening};
use crate::model::permit::Permit;
use crate::model::token::TokenDigest;
use crate::registry::Holder;
use crate::tasks::Tasks;
use crate::upstream::{self, Outgoing, Upstream};

/// The data plane of one worker.
#[derive(Debug)]
pub struct Proxy {
    /// What a reload replaces.
    pub in_force: Arc<ArcSwap<InForce>>,
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
    /// Where WebSockets are spliced.
    pub tasks: Tasks,
}

impl House for Proxy {
    type Body = AnswerBody;

    /// Every journey ends here, refused or not, and each is written down once.
    async fn answer(&self, visit: Visit, request: Request<Incoming>) -> Response<AnswerBody> {
        let opening = Opening { method: request.method().clone(), target: request.uri().clone() };
        let mut entry = self.ledger.open(Some(opening));
        match self.proceed(&mut entry, &visit, request).await {
            Ok(Outcome::Reply(reply)) => relay::relay(reply, entry, visit),
            Ok(Outcome::Own(response)) => {
                entry.status = response.status().as_u16();
                response.map(|body| AnswerBody::own(body, entry, visit))
            }
            Ok(Outcome::WebSocket(switch)) => self.splice(switch, entry, visit),
            Err(refusal) => relay::refuse(refusal, entry, visit),
        }
    }

    fn turn_away(&self, reason: TurnedAway) -> Vec<u8> {
        let refusal = match reason {
            TurnedAway::Fault(Fault::TooLarge) => {
                Refusal::new(Code::HeadTooLarge, "The request's head is too large.")
            }
            TurnedAway::Fault(fault) => {
                Refusal::new(Code::MalformedRequest, format!("Malformed: {fault}."))
            }
            TurnedAway::Full => {
                Refusal::new(Code::Overloaded, "The proxy has too many connections; try again.")
                    .retry_after(1)
            }
        };
        let mut entry = self.ledger.open(None);
        entry.status = refusal.status().as_u16();
        entry.decision = Decision::Refuse(refusal.code().as_str());
        entry.rule = refusal.code().rule().as_str();
        refusal.into_message()
    }
}

/// What comes home.
enum Outcome {
    Reply(upstream::Reply),
    Own(Response<Full<Bytes>>),
    WebSocket(Box<Switch>),
}

/// A WebSocket that the origin has agreed to.
struct Switch {
    reply: upstream::Reply,
    caller: hyper::upgrade::OnUpgrade,
    holder: Arc<Holder>,
    digest: Option<TokenDigest>,
    permit: Permit,
}

impl Proxy {
    /// The journey, in the order of contract §3. Each step takes what the last one gave.
    async fn proceed(
        &self,
        entry: &mut Entry,
        visit: &Visit,
        request: Request<Incoming>,
    ) -> Result<Outcome, Refusal> {
        if *self.stop.borrow() {
            return Err(shutting_down());
        }
        let in_force = self.in_force.load_full();
        let (mut head, body) = request.into_parts();
        // 1. What is asked, can it be read in one way only, and has it not been here before?
        let arrival = Arrival::read(&head, &in_force.settings, &self.via)?;
        entry.form = arrival.ask.form.as_str();
        // 2. Who asks?
        let now = self.ledger.clock.now();
        let holder = arrival.presented.identify(&head, &arrival.ask, &in_force, now)?;
        entry.caller = Some(Arc::clone(&holder.caller.name));
        // 3. May they use which connection, there, now? From here on there is a permit.
        let permit = admit(&in_force, &holder, &arrival, entry)?;
        if fields::ends_here(&head.method, &mut head.headers) {
            return Ok(Outcome::Own(options(&in_force.settings.allow)));
        }
        // 4. Rewritten, with the credential, fit to leave.
        let caller_end = head.extensions.remove::<hyper::upgrade::OnUpgrade>();
        let localise = arrival.ask.form == Form::BaseUrl;
        let path = localise.then(|| head.uri.path().to_owned());
        let most = in_force.settings.max_body_bytes;
        let mut body = outgoing(body, entry, visit, most, &permit);
        if fields::expects_continue(&head.headers) {
            body = body.after_continue();
        }
        let departure = inject(head, body, &arrival, permit.clone(), &self.via)?;
        // 5. The origin's word.
        entry.departs();
        let sent = self.upstream.send(&in_force.rules, departure).await;
        entry.returns();
        let mut reply = sent.map_err(|error| blame(error, most))?;
        let agreed = upgrade::is_agreed(&reply, arrival.wish)?;
        // 6. Home again.
        relay::prepare(&mut reply, &self.via)?;
        if let Some(path) = path {
            relay::localise(&mut reply, &path, permit.origin());
        }
        let digest = arrival.presented.digest();
        Ok(match caller_end.filter(|_| agreed) {
            Some(caller) => {
                Outcome::WebSocket(Box::new(Switch { reply, caller, holder, digest, permit }))
            }
            None => Outcome::Reply(reply),
        })
    }

    /// Switches both conns to the WebSocket; its entry is written when it ends.
    fn splice(&self, switch: Box<Switch>, mut entry: Entry, visit: Visit) -> Response<AnswerBody> {
        let Switch { mut reply, caller, holder, digest, permit } = *switch;
        entry.status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
        let origin = hyper::upgrade::on(&mut reply);
        let mut changes = self.changes.clone();
        changes.mark_unchanged();
        let idle_timeout = self.in_force.load().settings.websocket_idle_timeout;
        let splice = Splice { caller, origin, idle_timeout, changes };
        visit.presence().upgrade();
        let in_force = Arc::clone(&self.in_force);
        self.tasks.spawn(async move {
            let spliced = splice
                .run(|| is_still_allowed(&in_force.load(), digest.as_ref(), &holder, &permit))
                .await;
            entry.request_bytes = Some(Arc::new(spliced.from_caller.into()));
            entry.response_bytes = spliced.from_origin;
            entry.cause = spliced.cause.map(Into::into);
            drop((entry, visit));
        });
        let mut response = Response::new(AnswerBody::upgraded());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = std::mem::take(reply.headers_mut());
        upgrade::ask_for_websocket(response.headers_mut());
        response
    }
}

/// Applies the rules from the method to the rate; the entry learns what is known on the way.
fn admit(
    in_force: &InForce,
    holder: &Holder,
    arrival: &Arrival,
    entry: &mut Entry,
) -> Result<Permit, Refusal> {
    let decided = decide(in_force, &holder.caller, &arrival.ask, |listing| {
        entry.integration = Some(listing.connection.integration().clone());
        entry.choose(Arc::clone(listing) as _);
    })?;
    let field = decided.permit.connection().credential().field();
    arrival.presented.check_slot(&arrival.ask, field)?;
    take_turn(holder)?;
    entry.origin = Some(decided.permit.origin().clone());
    entry.rule = if arrival.ask.tags.is_named() { "named" } else { "covers" };
    Ok(decided.permit)
}

/// What has come too late to be carried.
fn shutting_down() -> Refusal {
    Refusal::new(Code::ShuttingDown, "The proxy is shutting down; try again on another.")
        .retry_after(1)
        .closing()
}

/// The same caller may still use the same connection.
fn is_still_allowed(
    in_force: &InForce,
    digest: Option<&TokenDigest>,
    holder: &Holder,
    permit: &Permit,
) -> bool {
    let caller = match digest {
        Some(digest) => in_force.registry.holder(digest).map(|holder| &holder.caller),
        None => in_force.settings.anonymous.is_some().then_some(&holder.caller),
    };
    let connection = permit.connection();
    let listing =
        in_force.registry.lookup(connection.integration().as_str(), connection.name().as_str());
    caller.zip(listing).is_some_and(|(caller, listing)| {
        caller.scopes.allows_proxy()
            && caller.may_use(&listing.connection)
            && listing.connection.same_as(connection)
    })
}

/// Counts the request against its caller's limit.
fn take_turn(holder: &Holder) -> Result<(), Refusal> {
    let Some(limit) = &holder.limit else { return Ok(()) };
    limit.take().map_err(|exceeded| {
        Refusal::new(Code::RateLimited, "The token has sent too many requests; wait a little.")
            .retry_after(exceeded.0.as_secs() + 1)
    })
}

/// The answer to an OPTIONS request that was to come no further than here.
fn options(allow: &HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    response.headers_mut().insert(header::ALLOW, allow.clone());
    response
}

/// The body on its way out.
fn outgoing(
    body: Incoming,
    entry: &mut Entry,
    visit: &Visit,
    most: u64,
    permit: &Permit,
) -> Outgoing {
    if body.is_end_stream() {
        return Outgoing::empty();
    }
    let count = Arc::default();
    entry.request_bytes = Some(Arc::clone(&count));
    Outgoing::stream(CallerBody {
        incoming: body,
        presence: Arc::clone(visit.presence()),
        count,
        most,
        credential: permit.connection().credential().field().clone(),
    })
}

/// A body that failed because it was too large is not the caller's malformed one.
fn blame(error: upstream::Error, most: u64) -> Refusal {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<TooLarge>() {
            return too_large(most).closing();
        }
        cause = inner.source();
    }
    Refusal::from(error)
}
