//! Tells the operator's webhook which connections begin to need attention, and which no longer do.
//! One instance does so for all; what it has told is in the store.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::oneshot;

use super::log_pace::LogPace;
use crate::clock::{Clock, instant};
use crate::error::chain;
use crate::ledger::{Metrics, WebhookOutcome};
use crate::management::{AttentionState, Management};
use crate::model::name::IntegrationName;
use crate::model::record::whole_microseconds;
use crate::model::webhook::WebhookSettings;
use crate::random;
use crate::state::{Live, Persistence};
use crate::store::{self, WebhookNotice};
use crate::tasks::Tasks;
use crate::upstream::{Departure, Outgoing, Upstream, UpstreamGauges};

/// The sender of the webhook's messages, where there is a store.
#[derive(Debug)]
pub(super) struct Webhook(pub(super) Option<Arc<WebhookSender>>);

/// Tells the webhook.
#[derive(Debug)]
pub(super) struct WebhookSender {
    persistence: Arc<Persistence>,
    management: Arc<Management>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    upstream: Upstream,
    /// The look that goes on.
    task: Tasks,
    clock: Clock,
    instance: Box<str>,
    /// The pace at which the log is told that the store fails.
    said: Mutex<LogPace>,
}

/// A connection by integration and name.
type NoticeKey = (Box<str>, Box<str>);

/// The reason why a message was not taken.
#[derive(Debug, thiserror::Error)]
enum NotTold {
    #[error("its URL can't be asked")]
    Url,
    #[error("its port is not one of proxy.allowed_ports")]
    Port,
    #[error("it can't be asked")]
    Unanswered(#[source] crate::upstream::Error),
    #[error("it did not answer within 8 s")]
    Late,
    #[error("it answered {0}")]
    Status(StatusCode),
}

impl Webhook {
    /// Tells what is to be told, until it is dropped.
    pub(super) async fn run(&self) {
        match &self.0 {
            Some(sender) => sender.run().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until what is being sent is written down, for no longer than `grace`; then another
    /// instance may send.
    pub(super) async fn finish(&self, grace: Duration) {
        if let Some(sender) = &self.0 {
            sender.finish(grace.min(LAST_LOOK_TIMEOUT)).await;
        }
    }
}

impl WebhookSender {
    pub(super) fn new(
        persistence: &Arc<Persistence>,
        management: &Arc<Management>,
        live: &Arc<Live>,
        (metrics, gauges): (&Arc<Metrics>, &Arc<UpstreamGauges>),
        (clock, instance): (&Clock, &str),
    ) -> Self {
        Self {
            persistence: Arc::clone(persistence),
            management: Arc::clone(management),
            live: Arc::clone(live),
            metrics: Arc::clone(metrics),
            upstream: Upstream::new(Arc::clone(gauges), Tasks::default(), 1),
            task: Tasks::default(),
            clock: clock.clone(),
            instance: instance.into(),
            said: Mutex::default(),
        }
    }

    /// Looks every few seconds. A look that has begun goes on when this is dropped, so that what is
    /// sent is written down.
    async fn run(self: &Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let settings = self.management.settings().webhook.clone();
            let Some(settings) = settings else { continue };
            let (sender, (end, ended)) = (Arc::clone(self), oneshot::channel::<()>());
            self.task.spawn(async move {
                if let Err(error) = Box::pin(sender.look(&settings)).await {
                    sender.say(&error);
                }
                drop(end);
            });
            // The other end is dropped, and says nothing.
            drop(ended.await);
        }
    }

    async fn finish(&self, limit: Duration) {
        let _cut = tokio::time::timeout(limit, self.task.finished()).await;
        if self.management.settings().webhook.is_some() {
            // A lease that is not given back ends by itself.
            drop(self.persistence.store().release_lease(LEASE, &self.instance).await);
        }
    }

    /// Sends what is to be told, if this is the instance that does.
    async fn look(&self, settings: &WebhookSettings) -> Result<(), store::Error> {
        let store = self.persistence.store();
        if !store.take_lease(LEASE, &self.instance, LEASE_LENGTH).await? {
            return Ok(());
        }
        // 1. What has changed since it was written down.
        let mut known = store.webhook_notices().await?;
        let told = known.iter().map(key_of).collect();
        let states = self.management.attention(&told).await?;
        let now = self.clock.now();
        let changed = update(&mut known, &states, now);
        if !changed.is_empty() {
            store.store_webhook_notices(&changed).await?;
        }
        // 2. What is due, a few at once.
        let mut due: Vec<_> = known.into_iter().filter(|notice| notice.is_due(now)).collect();
        due.sort_by_key(|notice| notice.next_at);
        due.truncate(MAX_AT_ONCE);
        let states: HashMap<_, _> = states.iter().map(|state| (state_key(state), state)).collect();
        let sending = due.into_iter().map(|notice| {
            let state = states.get(&key_of(&notice)).copied();
            self.tell(settings, notice, state)
        });
        let sending = futures_util::stream::iter(sending).buffer_unordered(MAX_AT_ONCE);
        let (sent, outcomes): (Vec<_>, Vec<_>) = sending.unzip().await;
        // 3. What became of it.
        if !sent.is_empty() {
            store.store_webhook_notices(&sent).await?;
        }
        for outcome in outcomes {
            self.metrics.count_webhook(outcome);
        }
        Ok(())
    }

    /// Sends a message. Gives the notice as it is then, and the outcome.
    async fn tell(
        &self,
        settings: &WebhookSettings,
        mut notice: WebhookNotice,
        state: Option<&AttentionState>,
    ) -> (WebhookNotice, WebhookOutcome) {
        let (integration, connection) = (notice.integration.clone(), notice.connection.clone());
        let body = message(&notice, state, &self.management.public_url());
        let sent = tokio::time::timeout(POST_TIMEOUT, self.post(settings, &notice, body)).await;
        let Err(failure) = sent.unwrap_or(Err(NotTold::Late)) else {
            // 1. It is told.
            notice.told = notice.needs;
            return (notice, WebhookOutcome::Delivered);
        };
        // 2. It is sent again, or given up.
        let is_last = !notice.note_failure(&failure, self.clock.now());
        let outcome = if is_last { WebhookOutcome::GivenUp } else { WebhookOutcome::Failed };
        let (error, attempts) = (chain(&failure), notice.attempts);
        if is_last {
            tracing::error!(
                %integration, %connection, %error, attempts,
                "the webhook was not told of a connection, and is not asked again: see that \
                 webhook.url leads to it and that it answers with 2xx"
            );
        } else {
            let next_at = notice.next_at;
            tracing::warn!(
                %integration, %connection, %error, attempts, %next_at,
                "the webhook was not told of a connection, and is asked again"
            );
        }
        (notice, outcome)
    }

    async fn post(
        &self,
        settings: &WebhookSettings,
        notice: &WebhookNotice,
        body: String,
    ) -> Result<(), NotTold> {
        // 1. A signed request, to one of the ports that anything may be sent to.
        let integration = IntegrationName::parse(&notice.integration);
        let integration = integration.map_err(|_never| NotTold::Url)?;
        let endpoint = settings.url.endpoint(&integration).map_err(|_never| NotTold::Url)?;
        let in_force = self.live.load_full();
        if !in_force.settings.terms.allowed_ports.allows(endpoint.origin().port()) {
            return Err(NotTold::Port);
        }
        let request = signed_request(settings, &notice.id, self.clock.now(), body);
        let departure = Departure::to_discovery(endpoint, request.ok_or(NotTold::Url)?);
        // 2. It is sent on a conn of its own; nothing of the answer but the status counts.
        let rules = Arc::clone(&in_force.rules);
        let opened = Box::pin(self.upstream.open_dedicated(&rules, departure));
        let opened = opened.await.map_err(NotTold::Unanswered)?;
        let reply = Box::pin(self.upstream.send_on(&rules, opened)).await;
        let status = reply.map_err(NotTold::Unanswered)?.status();
        if status.is_success() { Ok(()) } else { Err(NotTold::Status(status)) }
    }

    /// Tells the log that the store fails, once a minute.
    fn say(&self, error: &store::Error) {
        if !self.said.lock().is_due(instant()) {
            return;
        }
        tracing::warn!(
            error = %chain(error),
            "it can't be seen which connections need attention, so that the webhook is told later"
        );
    }
}

impl WebhookNotice {
    fn is_due(&self, now: Timestamp) -> bool {
        self.told != self.needs && self.next_at <= now
    }

    /// Notes an attempt that has failed; `false` when it was the last.
    fn note_failure(&mut self, failure: &NotTold, now: Timestamp) -> bool {
        self.attempts = self.attempts.saturating_add(1);
        let is_gone = matches!(failure, NotTold::Status(StatusCode::GONE));
        let pause = usize::try_from(self.attempts - 1).ok();
        let pause = pause.and_then(|attempt| PAUSES_SECONDS.get(attempt)).filter(|_| !is_gone);
        let Some(seconds) = pause else {
            // It counts as told, so that the next change is.
            self.told = self.needs;
            return false;
        };
        let next = now.checked_add(SignedDuration::from_secs(*seconds));
        self.next_at = next.unwrap_or(Timestamp::MAX);
        true
    }

    /// Begins a message of its own. Without randomness it is tried again with the next look.
    fn renew(&mut self, now: Timestamp) {
        let random = random::bytes::<16>().unwrap_or_default();
        let id = random.iter().fold("msg_".to_owned(), |id, byte| id + &format!("{byte:02x}"));
        self.id = id.into();
        // The store keeps no more: the same message must be the same later.
        let now = whole_microseconds(now);
        (self.changed_at, self.attempts, self.next_at) = (now, 0, now);
    }
}

fn key_of(notice: &WebhookNotice) -> NoticeKey {
    (notice.integration.clone(), notice.connection.clone())
}

fn state_key(state: &AttentionState) -> NoticeKey {
    (state.integration.as_str().into(), state.health.name.as_str().into())
}

/// Brings the notices up to the states, and gives those that have changed. A change that is taken
/// back before the webhook was told of it is none.
fn update(
    known: &mut Vec<WebhookNotice>,
    states: &[AttentionState],
    now: Timestamp,
) -> Vec<WebhookNotice> {
    let mut needing: HashSet<_> =
        states.iter().filter(|state| state.needs).map(state_key).collect();
    let mut changed = Vec::new();
    // 1. Those that are known.
    for notice in &mut *known {
        let needs = needing.remove(&key_of(notice));
        if notice.needs == needs {
            continue;
        }
        notice.needs = needs;
        notice.renew(now);
        changed.push(notice.clone());
    }
    // 2. Others that need attention.
    for (integration, connection) in needing {
        let (told, needs, id) = (false, true, Box::default());
        let (attempts, changed_at, next_at) = (0, now, now);
        let mut notice = WebhookNotice {
            integration,
            connection,
            told,
            needs,
            id,
            changed_at,
            attempts,
            next_at,
        };
        notice.renew(now);
        changed.push(notice.clone());
        known.push(notice);
    }
    changed
}

/// The message about a connection. There is no secret in it, and no word of an origin.
fn message(notice: &WebhookNotice, state: Option<&AttentionState>, public_url: &str) -> String {
    let (integration, connection) = (&notice.integration, &notice.connection);
    let health = state.map(|state| &state.health);
    let since = health.and_then(|health| health.failing_since.clone());
    let since = since.filter(|_| notice.needs).unwrap_or_else(|| notice.changed_at.to_string());
    let kind = if notice.needs { "connection.needs_attention" } else { "connection.recovered" };
    let message = json!({
        "type": kind,
        "timestamp": notice.changed_at.to_string(),
        "data": {
            "integration": integration,
            "connection": connection,
            "state": health.map_or("deleted", |health| health.state.as_str()),
            "summary": health.map_or("deleted", |health| health.summary.as_str()),
            "who": health.map_or("", |health| health.who.as_str()),
            "advice": health.map_or("", |health| health.advice.as_str()),
            "since": since,
            "url": format!("{public_url}/console/i/{integration}/connections?q={connection}"),
        },
    });
    message.to_string()
}

/// A message as it is sent (Standard Webhooks); `None` for what no field can carry.
fn signed_request(
    settings: &WebhookSettings,
    id: &str,
    now: Timestamp,
    body: String,
) -> Option<Request<Outgoing>> {
    let second = now.as_second();
    let signature = settings.sign(id, second, body.as_bytes())?;
    let length = body.len();
    let mut request = Request::new(Outgoing::stream(http_body_util::BodyExt::map_err(
        Full::from(body),
        |never| match never {},
    )));
    *request.method_mut() = Method::POST;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert("webhook-id", HeaderValue::try_from(id).ok()?);
    headers.insert("webhook-timestamp", second.into());
    headers.insert("webhook-signature", HeaderValue::try_from(signature).ok()?);
    Some(request)
}

const AGENT: &str = concat!("keyferry/", env!("CARGO_PKG_VERSION"));

/// The name of the lease.
const LEASE: &str = "webhook";

/// The time for which an instance sends alone; longer than a look takes.
const LEASE_LENGTH: Duration = Duration::from_secs(20);

/// The interval at which the states are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The time that the last look may take at the end of the server.
const LAST_LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// The number of messages that are sent at once, and in one look.
const MAX_AT_ONCE: usize = 16;

/// The longest time of one attempt.
const POST_TIMEOUT: Duration = Duration::from_secs(8);

/// The pauses after attempts that have failed. After one more the message is given up.
const PAUSES_SECONDS: [i64; 7] = [5, 30, 120, 600, 1800, 3600, 10_800];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::HealthView;

    fn state(name: &str, needs: bool) -> AttentionState {
        let health = HealthView {
            integration: "acme".to_owned(),
            name: name.to_owned(),
            state: if needs { "failing" } else { "works" }.to_owned(),
            ..HealthView::default()
        };
        AttentionState { integration: IntegrationName::parse("acme").unwrap(), needs, health }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn each_change_is_told_once_and_what_is_taken_back_never() {
        let mut known = Vec::new();
        // 1. It begins to need attention.
        let changed = update(&mut known, &[state("api", true)], at(1));
        assert!(changed == known && known.len() == 1 && known[0].is_due(at(1)));
        let first = known[0].id.clone();
        // 2. The same says nothing.
        assert!(update(&mut known, &[state("api", true)], at(2)).is_empty());
        assert_eq!(known[0].id, first);
        // 3. It is taken back before it was told.
        update(&mut known, &[state("api", false)], at(3));
        assert!(!known[0].is_due(at(9)) && !known[0].told);
        // 4. Once it was told, the end is told too, with another id; a connection that is gone has
        // ended to need attention.
        let mut known = known[..0].to_vec();
        update(&mut known, &[state("api", true)], at(4));
        known[0].told = true;
        assert!(!known[0].is_due(at(9)));
        let first = known[0].id.clone();
        update(&mut known, &[], at(5));
        assert!(known[0].is_due(at(5)) && known[0].id != first);
    }

    #[test]
    fn a_message_is_given_up_in_the_end() {
        let mut known = Vec::new();
        update(&mut known, &[state("api", true)], at(0));
        let mut notice = known.remove(0);
        let (mut now, mut attempts) = (0, 1);
        while notice.note_failure(&NotTold::Late, at(now)) {
            assert!(!notice.is_due(at(now)) && notice.is_due(notice.next_at));
            (now, attempts) = (notice.next_at.as_second(), attempts + 1);
        }
        assert_eq!((attempts, now), (8, PAUSES_SECONDS.iter().sum()));
        assert!(!notice.is_due(Timestamp::MAX), "it counts as told");
        // Who is gone is not asked again.
        update(&mut known, &[state("api", true)], at(0));
        assert!(!known[0].note_failure(&NotTold::Status(StatusCode::GONE), at(0)));
    }
}
