//! Step 4: a request that was admitted becomes one that is fit to leave.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, header};
use http_body::Body as _;
use http_body_util::Full;
use jiff::Timestamp;

use super::arrival::Arrival;
use super::base_url::ResponseRewrite;
use super::body::CallerBody;
use super::fields;
use super::idle::{ExchangeActivity, IdleTimer};
use super::inject::inject;
use super::refusal::Refusal;
use super::renewal::{Replay, ReplayBuffer};
use super::request::RequestForm;
use super::response::ResponseContext;
use super::upgrade::PendingUpgrade;
use super::whole_body::ArrivedBody;
use super::{InForce, Proxy, Settings, trace};
use crate::ledger::Entry;
use crate::model::permit::Permit;
use crate::state::Holder;
use crate::upstream::{Departure, Outgoing};

/// A request for which there is a permit.
#[derive(Debug)]
pub(super) struct DecidedRequest {
    pub(super) head: Parts,
    pub(super) body: ArrivedBody,
    pub(super) arrival: Arrival,
    pub(super) holder: Arc<Holder>,
    pub(super) permit: Permit,
}

/// The proxy's own answer to an OPTIONS request that was to come no further (RFC 9110 §7.6.2).
pub(super) fn answers_itself(
    head: &mut Parts,
    settings: &Settings,
) -> Option<Response<Full<Bytes>>> {
    if !fields::ends_here(&head.method, &mut head.headers) {
        return None;
    }
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, settings.allow.clone());
    headers.insert("proxy-status", HeaderValue::from_static("keyferry"));
    Some(response)
}

impl Proxy {
    /// Rewrites the request, adds the credential, and keeps what its answer will need.
    pub(super) fn depart(
        &self,
        in_force: &InForce,
        decided: DecidedRequest,
        entry: &mut Entry,
    ) -> Result<(Departure, ResponseContext), Refusal> {
        let DecidedRequest { mut head, body, arrival, holder, permit } = decided;
        if let Some(trace) = entry.trace() {
            trace::send_on(trace, &mut head.headers);
        }
        let settings = &in_force.settings;
        let max_body_bytes = settings.max_body_bytes;
        // 1. The answer of a request that has a body waits for both directions.
        let activity = || Arc::new(ExchangeActivity::new(settings.exchange_idle_timeout));
        let activity = (!body.is_end_stream()).then(activity);
        let timer = || IdleTimer::new(settings.exchange_idle_timeout, activity.clone());
        // 2. What the answer needs is taken of the head before it is rewritten.
        let base_url = (arrival.request.form == RequestForm::BaseUrl).then(|| {
            let token_field = arrival.token.field.as_ref();
            Box::new(ResponseRewrite::new(&head.uri, permit.origin(), token_field, settings))
        });
        let token_end = holder.caller.expires_at;
        let upgrade = PendingUpgrade::prepare(&mut head, &arrival, holder, &permit);
        let buffer = self.replay_buffer(in_force, &permit, &body, entry.time());
        let replay = buffer.clone().map(|buffer| Replay::new(&head, buffer, &permit));
        // 3. The body is counted, limited, and kept where it may have to be sent again.
        let (idle, conn) = (timer(), None);
        let mut body = if activity.is_some() {
            let count = Arc::default();
            entry.request_count = Some(Arc::clone(&count));
            let credential = Arc::clone(permit.connection().fields());
            Outgoing::stream(CallerBody {
                incoming: body,
                idle: timer(),
                count,
                max_body_bytes,
                credential,
                buffer,
            })
        } else {
            Outgoing::empty()
        };
        if fields::expects_continue(&head.headers) {
            body = body.after_continue();
        }
        // 4. The head is rewritten, and the credential set last.
        let (via, clock) = (&self.shared.via, &self.shared.ledger.clock);
        let departure = inject(head, body, &arrival, permit, (via, clock))?;
        let context = ResponseContext {
            arrival,
            token_end,
            max_body_bytes,
            base_url,
            upgrade,
            replay,
            idle,
            conn,
        };
        Ok((departure, context))
    }

    /// The place where the body is kept of a request that may have to be sent again, with other
    /// tokens or with the secret before the present one.
    fn replay_buffer(
        &self,
        in_force: &InForce,
        permit: &Permit,
        body: &ArrivedBody,
        now: Timestamp,
    ) -> Option<Arc<ReplayBuffer>> {
        let (renewal, connection) = (&in_force.settings.renewal, permit.connection());
        let may_retry = match connection.token_status() {
            Some(status) => renewal.retry_on_401 && status.renewable && !status.is_session(),
            None => connection.former(now).is_some(),
        };
        may_retry.then(|| {
            Arc::new(if body.is_end_stream() {
                ReplayBuffer::nothing()
            } else {
                let share = self.shared.replay_memory.share();
                ReplayBuffer::up_to(renewal.replay_body_bytes, share, renewal.replay_memory)
            })
        })
    }
}
