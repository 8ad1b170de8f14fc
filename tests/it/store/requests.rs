//! The search of the audit trail: all that a filter selects is found, whatever the state of the
//! index, and nothing is found twice.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use keyferry::store::{AuditPosition, EntryFilter, EntryRange, Store};
use keyferry::wire::AuditEntry;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use super::{Home, of_both};

of_both!(
    every_filter_finds_what_a_look_at_each_entry_finds,
    an_index_goes_with_its_entries,
    a_million_entries_are_searched_in_time,
);

/// Numbers that look random, and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

const INTEGRATIONS: [&str; 3] = ["shop", "acme", ""];
const CONNECTIONS: [&str; 4] = ["api", "crm", "mail", ""];
const CALLERS: [&str; 4] = ["ci", "run\"ner\\", "", "ünï"];
const CODES: [&str; 3] = ["", "DomainNotAllowed", "CertificateInvalid"];
const METHODS: [&str; 3] = ["GET", "POST", "QUERY"];
const PATHS: [&str; 6] = ["/", "/v1", "/v1/charges/ch_1", "/v1/ch", "/~/api/v1/x", "/v2/\u{e9}\"a"];
const STATUSES: [u16; 5] = [0, 200, 204, 404, 502];

fn start() -> Timestamp {
    "2026-11-30T10:00:00Z".parse().unwrap()
}

/// An entry, `seconds` after the start.
fn line(number: usize, seconds: i64, dice: &mut Dice) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let time = start() + SignedDuration::from_secs(seconds);
    let origin = if dice.roll(5) == 0 { "" } else { "https://api.example.com" };
    let form = dice.pick(&["absolute", "base_url"]);
    format!(
        "{{\"time\":\"{}\",\"level\":\"INFO\",\"target\":\"keyferry::access\",\"request_id\":\
         \"inst-{number}\",\"caller\":{},\"integration\":\"{}\",\"connection\":\"{}\",\
         \"method\":\"{}\",\"origin\":\"{origin}\",\"path\":{},\"form\":\"{form}\",\
         \"decision\":\"allow\",\"code\":\"{}\",\"rule\":\"named\",\"status\":{},\
         \"request_bytes\":0,\"response_bytes\":0,\"total_ms\":1.000,\"upstream_ms\":0.500,\
         \"instance\":\"inst\"}}\n",
        time.strftime("%Y-%m-%dT%H:%M:%S.250Z"),
        quoted(dice.pick(&CALLERS)),
        dice.pick(&INTEGRATIONS),
        dice.pick(&CONNECTIONS),
        dice.pick(&METHODS),
        quoted(dice.pick(&PATHS)),
        dice.pick(&CODES),
        STATUSES[dice.roll(STATUSES.len())],
    )
}

fn some_filter(dice: &mut Dice) -> EntryFilter {
    let mut text = |of: &[&str]| (dice.roll(3) == 0).then(|| dice.pick(of).to_owned());
    let (caller, code, method) = (text(&CALLERS), text(&CODES), text(&METHODS));
    let path = text(&["/v1", "/v1/ch", "/v1/charges/ch_1", "/v2/\u{e9}", "/nowhere", "/~/api"]);
    let (integration, connection) = (text(&INTEGRATIONS), text(&CONNECTIONS));
    let reached = text(&INTEGRATIONS).zip(text(&CONNECTIONS)).into_iter();
    let reached = reached.chain(text(&INTEGRATIONS).zip(text(&CONNECTIONS))).collect();
    let statuses = match dice.roll(4) {
        0 => Some((200, 299)),
        1 => Some((404, 404)),
        _ => None,
    };
    let mut time = |sides| {
        let at = start() + SignedDuration::from_secs(i64::try_from(dice.roll(400)).unwrap());
        (dice.roll(sides) == 0).then_some(at)
    };
    let (since, until) = (time(4), time(4));
    let is_refused = (dice.roll(5) == 0).then(|| dice.roll(2) == 0);
    let request_id = (dice.roll(12) == 0).then(|| format!("inst-{}", dice.roll(700)));
    EntryFilter {
        since,
        until,
        integration,
        connection,
        reached,
        caller,
        code,
        is_refused,
        statuses,
        method,
        path,
        request_id,
    }
}

/// A look at the entry itself.
fn selects(filter: &EntryFilter, entry: &AuditEntry) -> bool {
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|it| it == found);
    let time: Timestamp = entry.time.parse().unwrap();
    let path = match entry.path.strip_prefix("/~/api") {
        Some(below) if !entry.origin.is_empty() && entry.form == "base_url" => below,
        _ => &entry.path,
    };
    filter.since.is_none_or(|since| time >= since)
        && filter.until.is_none_or(|until| time < until)
        && is(&filter.integration, &entry.integration)
        && is(&filter.connection, &entry.connection)
        && (filter.reached.is_empty()
            || filter.reached.contains(&(entry.integration.clone(), entry.connection.clone())))
        && is(&filter.caller, &entry.caller)
        && is(&filter.code, &entry.code)
        && filter.is_refused.is_none_or(|wanted| wanted != entry.code.is_empty())
        && filter.statuses.is_none_or(|(low, high)| (low..=high).contains(&entry.status))
        && is(&filter.method, &entry.method)
        && filter.path.as_deref().is_none_or(|wanted| path.starts_with(wanted))
        && is(&filter.request_id, &entry.request_id)
}

fn id_of(line: &str, filter: &EntryFilter) -> Option<String> {
    let entry: AuditEntry = serde_json::from_str(line).unwrap();
    selects(filter, &entry).then_some(entry.request_id)
}

/// What a search finds page by page, in its order.
async fn found(store: &Store, filter: &EntryFilter, oldest_first: bool, by: usize) -> Vec<String> {
    let mut range = EntryRange { oldest_first, ..EntryRange::default() };
    let (mut all, mut last) = (Vec::new(), None);
    loop {
        let page = store.find_entries(filter, range, by).await.unwrap();
        for (position, line) in &page.lines {
            // In order, and none twice.
            assert!(last.is_none_or(|last: AuditPosition| (*position > last) == oldest_first));
            last = Some(*position);
            all.extend(id_of(line, filter));
        }
        let Some(until) = page.searched_until else { return all };
        if oldest_first {
            range.newer_than = Some(until);
        } else {
            range.older_than = Some(until);
        }
    }
}

/// Does something to the database that has the trail.
async fn by_hand(home: &Home, sql: &str) {
    match home {
        Home::Postgres(_) => home.by_hand(sql).await,
        Home::Sqlite(_) => {
            let file = home.file().with_file_name("keyferry-audit.db");
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
            let mut conn = options.connect().await.unwrap();
            conn.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
            conn.close().await.unwrap();
        }
    }
}

const FORGET_INDEX: &str = "DELETE FROM audit_index WHERE last_batch BETWEEN 20 AND 45; \
    UPDATE audit SET indexed = NULL WHERE id BETWEEN 20 AND 45";

async fn every_filter_finds_what_a_look_at_each_entry_finds(home: Home) {
    let store = home.open().await;
    let mut dice = Dice(7);
    // 1. Batches of one line and of many, of requests that took a while now and then.
    let mut lines = Vec::new();
    for batch in 0..90 {
        let count = if batch % 10 == 0 { 40 } else { 1 + dice.roll(5) };
        let mut text = String::new();
        for _ in 0..count {
            let late = if dice.roll(20) == 0 { 100 } else { 0 };
            let line = line(lines.len(), batch * 4 - late, &mut dice);
            text.push_str(&line);
            lines.push(line);
        }
        store.append_audit(&text, Timestamp::now()).await.unwrap();
    }
    // 2. Rows of the index as they are written, some of them missing, joined, and whole again.
    let later = Timestamp::now() + SignedDuration::from_mins(5);
    for step in 0..4 {
        match step {
            1 => by_hand(&home, FORGET_INDEX).await,
            2 => store.join_index_rows(later).await.unwrap(),
            3 => {
                while store.index_old_entries(Timestamp::now()).await.unwrap() {}
                store.join_index_rows(later).await.unwrap();
            }
            _ => {}
        }
        for number in 0..60 {
            let filter = some_filter(&mut dice);
            let mut expected: Vec<_> =
                lines.iter().filter_map(|line| id_of(line, &filter)).collect();
            let by = 1 + dice.roll(30);
            let oldest_first = number % 3 == 0;
            if !oldest_first {
                expected.reverse();
            }
            let seen = found(&store, &filter, oldest_first, by).await;
            assert_eq!(seen, expected, "step {step} by {by}: {filter:?}");
        }
    }
}

/// The numbers of rows, of the index and of the trail.
async fn rows(home: &Home, what: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {what}");
    match home {
        Home::Postgres(server) => {
            let mut conn = server.connect().await;
            sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut conn).await.unwrap()
        }
        Home::Sqlite(_) => {
            let file = home.file().with_file_name("keyferry-audit.db");
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
            let mut conn = options.connect().await.unwrap();
            sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut conn).await.unwrap()
        }
    }
}

async fn an_index_goes_with_its_entries(home: Home) {
    let store = home.open().await;
    let mut dice = Dice(11);
    let now = Timestamp::now();
    for number in 0..80 {
        let at = now + SignedDuration::from_secs(number);
        let line = line(usize::try_from(number).unwrap(), number, &mut dice);
        store.append_audit(&line, at).await.unwrap();
    }
    assert_eq!((rows(&home, "audit").await, rows(&home, "audit_index").await), (80, 80));
    // Young rows are left, and old ones joined.
    store.join_index_rows(now).await.unwrap();
    assert_eq!(rows(&home, "audit_index").await, 80);
    store.join_index_rows(now + SignedDuration::from_mins(5)).await.unwrap();
    assert_eq!(rows(&home, "audit_index").await, 1);
    store.prune_audit(now + SignedDuration::from_secs(40)).await.unwrap();
    assert_eq!((rows(&home, "audit").await, rows(&home, "audit_index").await), (40, 1));
    let all = found(&store, &EntryFilter::default(), false, 7).await;
    assert_eq!((all.len(), all.last().unwrap().as_str()), (40, "inst-40"));
    store.prune_audit(Timestamp::MAX).await.unwrap();
    assert_eq!((rows(&home, "audit").await, rows(&home, "audit_index").await), (0, 0));
    // Rows that are long are stored as several.
    let long: String = (0..1000).map(|number| line(number, 0, &mut dice)).collect();
    store.append_audit(&long, now).await.unwrap();
    assert!(rows(&home, "audit").await > 3);
    assert_eq!(found(&store, &EntryFilter::default(), true, 300).await.len(), 1000);
}

/// Prints how long searches take in a million entries, in batches as a busy server makes, and as a
/// quiet one does. It takes minutes, so that it runs where `KEYFERRY_MILLION` is set.
#[expect(clippy::print_stdout, reason = "somebody wants to see it")]
async fn a_million_entries_are_searched_in_time(home: Home) {
    if std::env::var_os("KEYFERRY_MILLION").is_none() {
        return;
    }
    let store = home.open().await;
    store.limit_audit(4 << 30);
    for (name, lines_in_batch) in [("busy", 700), ("quiet", 10)] {
        fill(&store, lines_in_batch).await;
        let later = Timestamp::now() + SignedDuration::from_mins(5);
        store.join_index_rows(later).await.unwrap();
        let kind = if matches!(home, Home::Sqlite(_)) { "SQLite" } else { "PostgreSQL" };
        for (what, filter) in searches() {
            let mut best = f64::MAX;
            let mut number = 0;
            for _ in 0..3 {
                let began = Instant::now();
                let page = store.find_entries(&filter, EntryRange::default(), 101).await.unwrap();
                best = best.min(began.elapsed().as_secs_f64() * 1000.0);
                number = page.lines.len();
            }
            println!("{kind} {name}: {what}: {number} entries in {best:.0} ms");
            assert!(number > 0 || what.contains("nothing"), "{what}");
        }
        store.prune_audit(Timestamp::MAX).await.unwrap();
    }
}

async fn fill(store: &Store, lines_in_batch: usize) {
    let mut text = String::new();
    for number in 0..1_000_000_usize {
        // A thousand connections; one code of ten thousand; the oldest entry is one of a kind.
        let rare = number == 0;
        let code = if number % 10_000 == 1 { "CertificateInvalid" } else { "" };
        let (caller, connection) = if rare { ("rare", "rare") } else { ("ci", "c") };
        let time = start() + SignedDuration::from_secs(i64::try_from(number / 4).unwrap());
        let _infallible = writeln!(
            text,
            "{{\"time\":\"{}\",\"level\":\"INFO\",\"target\":\"keyferry::access\",\"request_id\":\
             \"1f45d091-{number}\",\"caller\":\"{caller}\",\"integration\":\"shop\",\"connection\":\
             \"{connection}{}\",\"method\":\"GET\",\"origin\":\"https://api.example.com\",\"path\":\
             \"/v1/customers/cus_{number}/cards\",\"form\":\"absolute\",\"decision\":\"allow\",\
             \"code\":\"{code}\",\"rule\":\"named\",\"status\":{},\"request_bytes\":0,\
             \"response_bytes\":512,\"total_ms\":12.000,\"upstream_ms\":11.500,\"instance\":\
             \"1f45d091\"}}",
            time.strftime("%Y-%m-%dT%H:%M:%S.250Z"),
            number % 1000,
            if code.is_empty() { 200 } else { 502 },
        );
        if number % lines_in_batch == lines_in_batch - 1 || number == 999_999 {
            store.append_audit(&text, Timestamp::now()).await.unwrap();
            text.clear();
        }
    }
}

fn searches() -> Vec<(&'static str, EntryFilter)> {
    let some = |text: &str| Some(text.to_owned());
    let all = EntryFilter::default;
    vec![
        ("all", all()),
        ("a connection", EntryFilter { connection: some("c7"), ..all() }),
        ("a code", EntryFilter { code: some("CertificateInvalid"), ..all() }),
        ("a class", EntryFilter { statuses: Some((500, 599)), ..all() }),
        ("the oldest, by its caller", EntryFilter { caller: some("rare"), ..all() }),
        ("the oldest, by its id", EntryFilter { request_id: some("1f45d091-0"), ..all() }),
        ("the oldest, by its path", EntryFilter { path: some("/v1/customers/cus_0/"), ..all() }),
        (
            "a connection with a code, of which each is common",
            EntryFilter { connection: some("c1"), code: some("CertificateInvalid"), ..all() },
        ),
        (
            "nothing, by a connection and a code",
            EntryFilter { connection: some("c2"), code: some("CertificateInvalid"), ..all() },
        ),
        (
            "an hour in the middle",
            EntryFilter {
                since: Some(start() + SignedDuration::from_hours(30)),
                until: Some(start() + SignedDuration::from_hours(31)),
                ..all()
            },
        ),
    ]
}

/// A trail of before there was an index is opened, searched, and indexed.
#[tokio::test]
async fn an_old_trail_is_searched_at_once() {
    let home = Home::sqlite();
    let file = home.file().with_file_name("keyferry-audit.db");
    old_trail(&file).await;
    let store = home.open().await;
    let filter = EntryFilter { caller: Some("ci".to_owned()), ..EntryFilter::default() };
    let before = found(&store, &filter, false, 5).await;
    assert_eq!(before.len(), 40);
    store.append_audit(&line(1000, 1, &mut Dice(3)), Timestamp::now()).await.unwrap();
    while store.index_old_entries(Timestamp::now()).await.unwrap() {}
    assert_eq!(rows(&home, "audit WHERE indexed IS NULL").await, 0);
    let after = found(&store, &filter, false, 5).await;
    assert!(after.ends_with(&before));
}

async fn old_trail(file: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut create = std::fs::OpenOptions::new();
    create.write(true).create_new(true).mode(0o600).open(file).unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let mut conn = options.connect().await.unwrap();
    let schema = include_str!("../../../src/store/migrations/sqlite/0002_audit.sql");
    conn.execute(schema).await.unwrap();
    conn.execute("PRAGMA application_id = 1265005153; PRAGMA user_version = 1").await.unwrap();
    for number in 0..40 {
        let line = line(number, 1, &mut Dice(number as u64));
        let entry: AuditEntry = serde_json::from_str(&line).unwrap();
        let caller = serde_json::to_string(&entry.caller).unwrap();
        let line = line.replacen(&caller, "\"ci\"", 1);
        let insert = "INSERT INTO audit (last, entries) VALUES (1, $1)";
        sqlx::query(insert).bind(line).execute(&mut conn).await.unwrap();
    }
    conn.close().await.unwrap();
}
