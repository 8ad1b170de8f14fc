//! The queue by a clock of whole milliseconds, with providers that answer as a test wants.

use super::*;
use crate::model::domain::AllowedDomain;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::oauth::grant::{Grant, GrantType};
use crate::model::oauth::life::GrantLife;
use crate::model::oauth::profile::RefreshStatuses;
use crate::model::oauth::tokens::TokenSet;
use crate::model::record::{ConnectionRecord, Detail};
use crate::model::sealed::Sealed;
use crate::secret::Secret;

const DAY_LENGTH: Duration = Duration::from_hours(24);

/// Seconds after the start.
fn at(seconds: f64) -> Timestamp {
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    start + SignedDuration::from_secs_f64(seconds)
}

/// A connection whose tokens were got at this time.
struct Sample {
    number: u128,
    provider: &'static str,
    issued: Timestamp,
    life: Option<GrantLife>,
    generation: i64,
    grant_type: GrantType,
    has_refresh_token: bool,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            number: 1,
            provider: "https://id.example.com",
            issued: at(0.0),
            life: None,
            generation: 1,
            grant_type: GrantType::AuthorizationCode,
            has_refresh_token: true,
        }
    }
}

impl Sample {
    fn connection(&self) -> Arc<Connection> {
        let grant = Grant {
            client: Uuid::nil(),
            subdomain: None,
            grant_type: self.grant_type,
            created_by: "runner".into(),
            scopes: "".into(),
            authorized_at: at(0.0),
            generation: self.generation,
            refresh_token_life: self.life,
            lapse: None,
            injection: None,
            refresh_on_status: RefreshStatuses::default(),
        };
        let record = ConnectionRecord {
            options: Arc::default(),
            uuid: Uuid::from_u128(self.number),
            integration: IntegrationName::parse("acme").unwrap(),
            name: ConnectionName::parse(&format!("grant-{}", self.number)).unwrap(),
            allowed_domain: AllowedDomain::parse("api.example.com").ok(),
            detail: Detail::OAuth(Box::new(grant)),
            sealed: Sealed::default(),
            created_at: at(0.0),
            updated_at: at(0.0),
        };
        let tokens = TokenSet {
            access_token: Secret::new("a"),
            refresh_token: self.has_refresh_token.then(|| Secret::new("r")),
            response_body: Secret::new("{}"),
            token_type: "".into(),
            scope: "".into(),
            issuer: self.provider.into(),
            issued_at: self.issued,
            expires_at: Some(self.issued + SignedDuration::from_mins(1)),
        };
        Arc::new(Connection::from_record(record, Some(&tokens.pack())))
    }
}

/// The refreshes that begin within these seconds, with the second at which each did. Each takes
/// `length` seconds and ends with `outcome`; a connection whose refresh has succeeded is not due
/// any more.
fn run(
    queue: &mut KeepAliveQueue,
    connections: &[Arc<Connection>],
    (from, to): (f64, f64),
    length: f64,
    outcome: impl Fn(&DueRefresh) -> Result<(), Unsuccessful>,
) -> Vec<(f64, DueRefresh)> {
    let (mut begun, mut done) = (Vec::new(), HashSet::new());
    let mut in_flight: Vec<(f64, DueRefresh)> = Vec::new();
    let mut now = from;
    while now < to {
        while let Some(place) = in_flight.iter().position(|(end, _)| *end <= now) {
            let (_, due) = in_flight.remove(place);
            let outcome = outcome(&due);
            if outcome.is_ok() {
                done.insert(due.request.uuid);
            }
            queue.finish(&due, Some(outcome), at(now));
        }
        if queue.wants_look(at(now)) {
            let is_left = |connection: &&Arc<Connection>| {
                connection.token_status().is_none_or(|status| !done.contains(&status.uuid))
            };
            queue.look(connections.iter().filter(is_left), DAY_LENGTH, at(now));
        }
        while let Some(due) = queue.begin(at(now)) {
            in_flight.push((now + length, due.clone()));
            begun.push((now, due));
        }
        // Nothing happens before the queue says so, or a refresh ends.
        let wakes = queue.wakes_at().duration_since(at(0.0)).as_secs_f64();
        let next = in_flight.iter().map(|(end, _)| *end).fold(wakes, f64::min);
        now = next.max(now + 0.001);
    }
    begun
}

fn failing(failure: TokenFailure) -> Result<(), Unsuccessful> {
    Err(failure.into())
}

#[test]
fn only_grants_that_a_refresh_keeps_alive_are_due_and_never_by_zero() {
    let connections: Vec<_> = [
        Sample::default(),
        Sample { number: 2, has_refresh_token: false, ..Sample::default() },
        Sample { number: 3, grant_type: GrantType::ClientCredentials, ..Sample::default() },
    ]
    .iter()
    .map(Sample::connection)
    .collect();
    let mut queue = KeepAliveQueue::new(1);
    let begun = run(&mut queue, &connections, (0.0, 86_500.0), 1.0, |_due| Ok(()));
    assert!(!begun.is_empty());
    assert!(begun.iter().all(|(_, due)| due.request.uuid == Uuid::from_u128(1)));
    let first = begun[0].0 / 86_400.0;
    assert!((0.875..=1.0).contains(&first), "{first}");
    let mut queue = KeepAliveQueue::new(1);
    queue.look(connections.iter(), Duration::ZERO, at(1e9));
    assert!(queue.begin(at(2e9)).is_none());
}

#[test]
fn a_hundred_thousand_that_are_due_at_once_are_no_storm_and_all_have_their_turn() {
    let connections: Vec<_> = (0..100_000)
        .map(|number| {
            let provider =
                ["https://one.example", "https://two.example"][usize::from(number % 4 == 0)];
            Sample { number, provider, ..Sample::default() }.connection()
        })
        .collect();
    // The first look after an outage of a week.
    let mut queue = KeepAliveQueue::new(1);
    let start = 7.0 * 86_400.0;
    let begun = run(&mut queue, &connections, (start, start + 40.0), 0.3, |_due| Ok(()));
    for second in 0..40 {
        let since = start + f64::from(second);
        let within = |(time, _): &&(f64, DueRefresh)| (since..since + 1.0).contains(time);
        let count = begun.iter().filter(within).count();
        assert!(count <= 2 * 9, "{count} in second {second}");
    }
    assert!(begun.len() >= 40 * 14, "{}", begun.len());
    // All that are left are still to come, and none is twice.
    let known: HashSet<_> = begun.iter().map(|(_, due)| due.request.uuid).collect();
    assert_eq!(known.len(), begun.len());
    let waiting: usize = queue.providers.values().map(|queue| queue.waiting.len()).sum();
    assert_eq!(waiting + begun.len(), 100_000);
}

#[test]
fn what_is_not_due_takes_no_memory() {
    let connections: Vec<_> =
        (0..100_000).map(|number| Sample { number, ..Sample::default() }.connection()).collect();
    let mut queue = KeepAliveQueue::new(1);
    assert!(queue.look(connections.iter(), DAY_LENGTH, at(60.0)).is_empty());
    assert!(queue.soon.is_empty() && queue.ready.is_empty());
    assert_eq!((queue.pending.capacity(), queue.providers.capacity()), (0, 0));
    assert_eq!((queue.failed.capacity(), queue.warned.capacity()), (0, 0));
    assert_eq!(queue.wakes_at(), at(61.0));
}

#[test]
fn instances_ask_in_different_orders() {
    let connections: Vec<_> =
        (0..1000).map(|number| Sample { number, ..Sample::default() }.connection()).collect();
    let order = |seed| {
        let mut queue = KeepAliveQueue::new(seed);
        let start = 7.0 * 86_400.0;
        let begun = run(&mut queue, &connections, (start, start + 10.0), 0.3, |_due| Ok(()));
        begun.into_iter().map(|(_, due)| due.request.uuid).collect::<Vec<_>>()
    };
    let (here, there): (HashSet<_>, HashSet<_>) =
        (order(1).into_iter().collect(), order(2).into_iter().collect());
    assert!(here.len() > 60 && here.intersection(&there).count() < here.len() / 4);
}

#[test]
fn grants_that_end_first_come_first() {
    let ends = |days: i64| {
        Some(GrantLife { began: at(0.0), ends: at(0.0) + SignedDuration::from_hours(days * 24) })
    };
    let connections: Vec<_> = [(1, None), (2, ends(30)), (3, ends(10)), (4, ends(20))]
        .map(|(number, life)| Sample { number, life, ..Sample::default() }.connection())
        .into();
    let mut queue = KeepAliveQueue::new(1);
    let start = 9.0 * 86_400.0;
    let begun = run(&mut queue, &connections, (start, start + 2.0), 0.01, |_due| Ok(()));
    let order: Vec<_> = begun.iter().map(|(_, due)| due.request.uuid.as_u128()).collect();
    assert_eq!(order[..4], [3, 4, 2, 1]);
}

#[test]
fn a_provider_that_fails_is_left_alone_and_the_others_are_not() {
    let provider = |number: u128| {
        ["https://up.example", "https://down.example"][usize::from(number.is_multiple_of(2))]
    };
    let connections: Vec<_> = (0..2000)
        .map(|number| Sample { number, provider: provider(number), ..Sample::default() })
        .map(|sample| sample.connection())
        .collect();
    let is_down = |due: &DueRefresh| due.request.uuid.as_u128().is_multiple_of(2);
    let mut queue = KeepAliveQueue::new(1);
    let start = 7.0 * 86_400.0;
    let begun = run(&mut queue, &connections, (start, start + 3600.0), 0.1, |due| {
        if is_down(due) { failing(TokenFailure::Unanswered("it failed")) } else { Ok(()) }
    });
    let down = begun.iter().filter(|(_, due)| is_down(due)).count();
    // Some before it is known, and then a few each time that it might be well again.
    assert!((6..=40).contains(&down), "{down}");
    assert!(begun.len() - down >= 1000);
    // A provider that says when to come back is not asked before.
    let mut queue = KeepAliveQueue::new(1);
    let begun = run(&mut queue, &connections, (start, start + 500.0), 0.1, |_due| {
        let retry_after = Some(Duration::from_mins(10));
        Err(Unsuccessful { failure: TokenFailure::Unanswered("it failed"), retry_after })
    });
    assert!(begun.len() <= 8, "{}", begun.len());
}

#[test]
fn while_the_store_fails_next_to_nothing_begins() {
    let connections: Vec<_> =
        (0..1000).map(|number| Sample { number, ..Sample::default() }.connection()).collect();
    let mut queue = KeepAliveQueue::new(1);
    let start = 7.0 * 86_400.0;
    let begun = run(&mut queue, &connections, (start, start + 300.0), 0.1, |_due| {
        failing(TokenFailure::Store)
    });
    assert!((2..=44).contains(&begun.len()), "{}", begun.len());
}

#[test]
fn a_connection_that_fails_is_tried_three_times_in_a_quarter_of_an_hour_and_then_less_often() {
    let connections = [Sample::default().connection()];
    let mut queue = KeepAliveQueue::new(1);
    let start = 7.0 * 86_400.0;
    let begun = run(&mut queue, &connections, (start, start + 86_400.0), 0.1, |_due| {
        failing(TokenFailure::Port)
    });
    let quarter = begun.iter().filter(|(time, _)| time - start < 900.0).count();
    assert_eq!(quarter, 3);
    assert!(begun.len() < 3 + 30, "{}", begun.len());
    // Other tokens are another matter.
    let other = [Sample { generation: 2, ..Sample::default() }.connection()];
    queue.look(other.iter(), DAY_LENGTH, at(start + 86_400.0));
    assert!(queue.begin(at(start + 86_402.0)).is_some());
}

#[test]
fn a_grant_with_a_short_life_is_tried_often_enough_to_live_on() {
    let life = Some(GrantLife { began: at(0.0), ends: at(60.0) });
    let connections = [Sample { life, ..Sample::default() }.connection()];
    let mut queue = KeepAliveQueue::new(1);
    let begun = run(&mut queue, &connections, (0.0, 60.0), 0.1, |_due| {
        failing(TokenFailure::NotSent("no conn could be opened"))
    });
    assert!(begun[0].0 < 40.0 && begun.len() >= 3, "{begun:?}");
}

#[test]
fn an_end_is_warned_of_once_a_day_by_each_instance() {
    let days = |days: i64| SignedDuration::from_hours(days * 24);
    let life = Some(GrantLife { began: at(0.0), ends: at(0.0) + days(30) });
    let connections = [
        Sample { life, ..Sample::default() }.connection(),
        Sample { number: 2, ..Sample::default() }.connection(),
    ];
    let mut queue = KeepAliveQueue::new(1);
    let mut warned = Vec::new();
    for hour in 0..31 * 24 {
        let now = at(f64::from(hour) * 3600.0);
        let ending = queue.look(connections.iter(), Duration::ZERO, now);
        assert!(ending.iter().all(|connection| connection.name().as_str() == "grant-1"));
        warned.extend(ending.iter().map(|_| hour / 24));
    }
    assert_eq!(warned, [27, 28, 29]);
    let many: Vec<_> =
        (0..250).map(|number| Sample { number, life, ..Sample::default() }.connection()).collect();
    let mut queue = KeepAliveQueue::new(1);
    let counts = [0.0, 15.0, 30.0, 45.0]
        .map(|more| queue.look(many.iter(), Duration::ZERO, at(28.0 * 86_400.0 + more)).len());
    assert_eq!(counts, [100, 100, 50, 0]);
}
