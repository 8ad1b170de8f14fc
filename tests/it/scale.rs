//! The time that pages of the console and answers of the API take with 10,000 connections, as many
//! of them in use as not, and 1,000,000 entries of requests.

use std::fmt::Write as _;
use std::time::Instant;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use keyferry::model::connection_health::ConnectionHealth;
use keyferry::model::request_counts::RequestCounts;
use keyferry::store::{CountKey, CountSpan, CountSubject, HealthRow, Store};
use serde_json::json;
use sqlx::Executor as _;

use crate::support::console::Visitor;
use crate::support::desk::Operator;
use crate::support::operator::{CONNECTIONS, TOKENS};
use crate::support::postgres::Postgres;
use crate::support::world::{Running, World};

/// The longest time that a page may take, in milliseconds of the server.
const LIMIT_MS: f64 = 200.0;

const CONNECTION_COUNT: usize = 10_000;

const ENTRY_COUNT: usize = 1_000_000;

/// The number of entries in a batch, as a server with some ten requests a second has them.
const ENTRIES_IN_BATCH: usize = 10;

/// The seconds over which the entries are spread: three days.
const ENTRY_SECONDS: i64 = 3 * 86_400;

/// The instances that have stored health and counts.
const OTHERS: [&str; 2] = ["aaaaaaaa", "bbbbbbbb"];

#[tokio::test]
async fn every_page_is_there_in_time_in_sqlite() {
    if !is_wanted() {
        return;
    }
    let running = world().keeping().run().await;
    let file = running.data("keyferry.db");
    measure("SQLite", running, Store::open_sqlite(&file).await.unwrap(), None).await;
}

#[tokio::test]
async fn every_page_is_there_in_time_in_postgres() {
    if !is_wanted() {
        return;
    }
    let server = Postgres::start().await;
    let running = world().keeping_in(&server).run().await;
    let store = Store::open_postgres(&server.url()).await.unwrap();
    measure("PostgreSQL", running, store, Some(&server)).await;
}

/// It takes minutes, so that it runs where `KEYFERRY_MILLION` is set.
fn is_wanted() -> bool {
    std::env::var_os("KEYFERRY_MILLION").is_some()
}

fn world() -> World {
    World::empty().set("api.requests_per_minute", "0").set("audit.max_bytes", "\"4GiB\"")
}

/// Prints how long each takes, and holds the limit where the program is optimized.
#[expect(clippy::print_stdout, reason = "somebody wants to see it")]
async fn measure(kind: &str, running: Running, store: Store, server: Option<&Postgres>) {
    // 1. The connections, the entries, and what is known of both.
    let began = Instant::now();
    connect(&running).await;
    println!("{kind}: connections made in {} s", began.elapsed().as_secs());
    fill(&store).await;
    if let Some(server) = server {
        // Elsewhere autovacuum does so within a minute.
        server.connect().await.execute("VACUUM ANALYZE").await.unwrap();
    }
    println!("{kind}: filled in {} s", began.elapsed().as_secs());
    // 2. Started again, the program has what it keeps by itself.
    let running = running.killed().await.run().await;
    let admin = running.admin();
    let visitor = running.sign_in(&admin.token).await;
    let page = visitor.get("/console/i/acme/connections").await.text();
    assert!(page.contains("10000 in all") && page.contains("need attention"), "{page}");
    // 3. Each page, and each answer.
    let mut slow = Vec::new();
    for path in PAGES.iter().chain(&ANSWERS) {
        let time = time(&visitor, &admin, path).await;
        println!("{kind}: {time:>4.0} ms {path}");
        if time > LIMIT_MS {
            slow.push(format!("{path}: {time:.0} ms"));
        }
    }
    assert!(cfg!(debug_assertions) || slow.is_empty(), "{kind}: {slow:#?}");
}

/// The middle one of five times, in milliseconds.
async fn time(visitor: &Visitor, admin: &Operator, path: &str) -> f64 {
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let is_page = path.starts_with("/console");
        let answer = if is_page { visitor.get(path).await } else { admin.get(path).await };
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        assert!(answer.status < 400, "{path}: {answer:?}");
    }
    times.sort_by(f64::total_cmp);
    times[2]
}

fn name(number: usize) -> String {
    format!("c{number:05}")
}

async fn connect(running: &Running) {
    let numbers: Vec<_> = (0..CONNECTION_COUNT).collect();
    for some in numbers.chunks(16) {
        join_all(some.iter().map(|number| async move {
            let domain = format!("api{}.example.com", number % 50);
            let body = json!({"name": name(*number), "allowed_domain": domain, "token": "s3cret"});
            let line = format!("POST {CONNECTIONS}/bearer_token");
            let answer = running.manage(&line, Some(body)).await;
            assert_eq!(answer.status, 201, "{answer:?}");
        }))
        .await;
    }
    for number in 0..200 {
        let scopes = ["read", "proxy"];
        let body = json!({"name": format!("ci-{number}"), "integration": "acme", "scopes": scopes});
        let answer = running.manage(&format!("POST {TOKENS}"), Some(body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

async fn fill(store: &Store) {
    let now = Timestamp::now();
    store.limit_audit(4 << 30);
    // 1. Entries, and their index as it is after a minute.
    for batch in 0..ENTRY_COUNT / ENTRIES_IN_BATCH {
        let mut text = String::new();
        for number in batch * ENTRIES_IN_BATCH..(batch + 1) * ENTRIES_IN_BATCH {
            entry(&mut text, number, now);
        }
        store.append_audit(&text, now).await.unwrap();
    }
    let later = now + SignedDuration::from_mins(5);
    store.join_index_rows(later).await.unwrap();
    // 2. Health, and counts by connection, by caller and of all.
    let second = now.as_second();
    for instance in OTHERS {
        let mut health: Vec<_> =
            (0..CONNECTION_COUNT).map(|number| health(number, second)).collect();
        health.truncate(CONNECTION_COUNT * 9 / 10);
        let mut counts = Vec::new();
        for span in [CountSpan::Minute, CountSpan::Hour] {
            let length = span.seconds();
            let parts = if span == CountSpan::Minute { 1440 } else { 168 };
            for part in 0..parts {
                let start = second.div_euclid(length) * length - part * length;
                let key = |subject, connection: String, caller: String| CountKey {
                    span,
                    subject,
                    integration: "acme".into(),
                    connection: connection.into(),
                    caller: caller.into(),
                    start,
                };
                counts.push(key(CountSubject::Integration, String::new(), String::new()));
                for number in 0..20_usize {
                    let at = usize::try_from(part).unwrap();
                    let connection = name((number * 499 + at * 7) % CONNECTION_COUNT);
                    let caller = format!("ci-{}", number % 20);
                    counts.push(key(CountSubject::Connection, connection, caller.clone()));
                    counts.push(key(CountSubject::Caller, String::new(), caller));
                }
            }
        }
        let counts: Vec<_> = counts.into_iter().map(|key| (key, counted())).collect();
        store.write_stats(instance, now, &counts, &health).await.unwrap();
    }
}

/// An entry, one of a million until now.
fn entry(text: &mut String, number: usize, now: Timestamp) {
    let behind = i64::try_from(ENTRY_COUNT - number).unwrap() * ENTRY_SECONDS
        / i64::try_from(ENTRY_COUNT).unwrap();
    let time = now - SignedDuration::from_secs(behind);
    // A connection in ten is used by itself for a while; a code in a thousand; the oldest is rare.
    let mixed = number.wrapping_mul(2_654_435_761) >> 7;
    let code = match mixed % 2000 {
        0 => "CertificateInvalid",
        1..=3 => "DomainNotAllowed",
        _ => "",
    };
    let status = match (code, mixed % 100) {
        ("CertificateInvalid", _) => 502,
        ("DomainNotAllowed", _) => 403,
        (_, 0..=1) => 401,
        (_, 2) => 503,
        _ => 200,
    };
    let decision = if code.is_empty() { "allow" } else { "refuse" };
    let (connection, caller) = match number {
        0 => ("rare".to_owned(), "rare".to_owned()),
        _ => (name(mixed % CONNECTION_COUNT), format!("ci-{}", mixed % 20)),
    };
    let method = ["GET", "GET", "GET", "POST"][mixed % 4];
    writeln!(
        text,
        "{{\"time\":\"{}\",\"level\":\"INFO\",\"target\":\"keyferry::access\",\"request_id\":\
         \"1f45d091-{number}\",\"caller\":\"{caller}\",\"integration\":\"acme\",\"connection\":\
         \"{connection}\",\"method\":\"{method}\",\"origin\":\"https://api{}.example.com\",\"path\":\
         \"/v1/customers/cus_{number}/cards\",\"form\":\"absolute\",\"decision\":\"{decision}\",\
         \"code\":\"{code}\",\"rule\":\"named\",\"status\":{status},\"request_bytes\":0,\
         \"response_bytes\":512,\"total_ms\":12.000,\"upstream_ms\":11.500,\"instance\":\
         \"1f45d091\"}}",
        time.strftime("%Y-%m-%dT%H:%M:%S.250Z"),
        mixed % 50,
    )
    .unwrap();
}

/// The health of a connection: of one in thirty requests fail.
fn health(number: usize, now: i64) -> HealthRow {
    let mut health = ConnectionHealth::default();
    for request in 0..20 {
        let status = if number.is_multiple_of(30) { 401 } else { 200 };
        health.note(now - 20 + request, status, None, || format!("1f45d091-{number}"));
    }
    HealthRow {
        integration: "acme".into(),
        connection: name(number).into(),
        health,
        is_afresh: false,
    }
}

fn counted() -> RequestCounts {
    let mut counts = RequestCounts::default();
    let took = Some(std::time::Duration::from_millis(12));
    (0..20).for_each(|_| counts.count(200, None, took));
    counts.count(401, None, took);
    counts.count(502, Some("CertificateInvalid"), None);
    counts
}

const PAGES: [&str; 46] = [
    "/console",
    "/console/go",
    "/console/i/acme/connections",
    "/console/i/acme/connections?q=c0999",
    "/console/i/acme/connections?state=attention",
    "/console/i/acme/connections?state=failing&sort=-failed",
    "/console/i/acme/connections?state=unused",
    "/console/i/acme/connections?type=bearer_token&sort=-used",
    "/console/i/acme/connections?sort=-requests",
    "/console/i/acme/connections?sort=-error",
    "/console/i/acme/connections?after=c09000",
    "/console/i/acme/connections/new",
    "/console/i/acme/connections/bearer_token/c00030",
    "/console/i/acme/connections/bearer_token/c00031",
    "/console/i/acme/connections/bearer_token/c09999",
    "/console/i/acme/clients",
    "/console/i/acme/clients/new",
    "/console/i/acme/activity",
    "/console/i/acme/activity?span=day",
    "/console/i/acme/activity?of=all",
    "/console/i/acme/activity?connection=c00030",
    "/console/i/acme/activity?connection=c00030&span=day",
    "/console/i/acme/activity?connection=c00030&decision=failed",
    "/console/i/acme/activity?connection=c00030&code=CertificateInvalid",
    "/console/i/acme/activity?caller=ci-7",
    "/console/i/acme/activity?caller=ci-7&span=day",
    "/console/i/acme/activity?caller=ci-7&span=day&of=all",
    "/console/i/acme/activity?caller=rare",
    "/console/i/acme/activity?decision=refuse&span=day",
    "/console/i/acme/activity?decision=failed&span=day&by=path",
    "/console/i/acme/activity?code=CertificateInvalid",
    "/console/i/acme/activity?status=5xx&span=day",
    "/console/i/acme/activity?method=POST&by=status&span=day",
    "/console/i/acme/activity?method=PATCH",
    "/console/i/acme/activity?path=/v1/customers/cus_7/",
    "/console/i/acme/activity?path=/v2",
    "/console/i/acme/activity?since=2020-01-01T00:00&connection=c00030",
    "/console/i/acme/activity?since=2020-01-01T00:00&connection=c00030&by=path",
    "/console/i/acme/activity/rows?connection=c00030&newer=99000-0",
    "/console/i/acme/requests/1f45d091-0",
    "/console/i/acme/requests/1f45d091-999999",
    "/console/i/acme/events",
    "/console/i/acme/events?connection=c00030",
    "/console/i/acme/events/check",
    "/console/i/acme/try?connection=c00030",
    "/console/i/acme/tokens",
];

const ANSWERS: [&str; 26] = [
    "/console/i/acme/system",
    "/api/services/zis/integrations/acme/connections/all",
    "/api/services/zis/integrations/acme/connections/all?page[size]=100&page[after]=c09000",
    "/api/services/zis/integrations/acme/connections/bearer_token/c00030",
    "/api/services/zis/connections/oauth/clients/acme",
    "/api/keyferry/v1/integrations/acme/connections",
    "/api/keyferry/v1/integrations/acme/connections/c00030",
    "/api/keyferry/v1/tokens",
    "/api/keyferry/v1/keys",
    "/api/keyferry/v1/audit",
    "/api/keyferry/v1/requests",
    "/api/keyferry/v1/requests?connection=c00030&status=5xx",
    "/api/keyferry/v1/requests?code=CertificateInvalid",
    "/api/keyferry/v1/requests?path=/v2",
    "/api/keyferry/v1/requests/1f45d091-0",
    "/api/keyferry/v1/stats",
    "/api/keyferry/v1/stats?by=hour&integration=acme&connection=c00030",
    "/api/keyferry/v1/stats?per=caller",
    "/api/keyferry/v1/health",
    "/api/keyferry/v1/health?state=attention",
    "/api/keyferry/v1/health?integration=acme&connection=c00030",
    "/api/keyferry/v1/events",
    "/api/keyferry/v1/events?connection=c00030",
    "/api/keyferry/v1/events/verify",
    "/api/keyferry/v1/server",
    "/metrics",
];
