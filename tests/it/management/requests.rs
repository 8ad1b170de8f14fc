//! Requests that are found by what they did, counts of them, and the health of connections.

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::stored;
use crate::support::ask::{ask, stranger};
use crate::support::desk::Operator;
use crate::support::origin::{Origin, Seen, json_answer, ok};
use crate::support::postgres::Postgres;
use crate::support::soon;
use crate::support::world::{Running, World};

/// A look at an entry: whether a filter should find it.
type Look<'a> = &'a dyn Fn(&Value) -> bool;

const V1: &str = "/api/keyferry/v1";

async fn get(operator: &Operator, path: &str) -> Value {
    let answer = operator.get(&format!("{V1}{path}")).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// The entries that a filter finds, read page by page.
async fn find(operator: &Operator, filter: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page =
            get(operator, &format!("/requests?page[size]=2&page[after]={after}&{filter}")).await;
        all.extend(page["entries"].as_array().unwrap().iter().cloned());
        if page["meta"]["has_more"] == false {
            return all;
        }
        page["meta"]["after"].as_str().unwrap().clone_into(&mut after);
    }
}

fn world(origin: &Origin) -> World {
    over(stored(), origin)
}

/// A server with two connections, of which the token `runner` may use one.
fn over(base: World, origin: &Origin) -> World {
    base.set("api.requests_per_minute", "0")
        .bearer("acme.api", "api.example.test", "bearer-secret")
        .bearer("acme.crm", "crm.example.test", "other-secret")
        .token("runner", "acme", "connections = [\"api\"]")
        .token("other", "other", "")
        .pin("api.example.test", origin)
        .pin("crm.example.test", origin)
}

/// Sends requests of many kinds, and waits until they are entered.
async fn send_some(world: &Running) {
    let asked = "https://api.example.test";
    for ask in [
        ask(&format!("GET {asked}/v1/charges/ch_1?q=kept-out")),
        ask(&format!("POST {asked}/v1/charges")),
        ask(&format!("GET {asked}/v2/%C3%A4")),
        ask(&format!("GET {asked}/no/more")),
        ask(&format!("TRACE {asked}/v1")),
        ask("GET https://evil.test/v1").field("X-Zis-Connection", "api"),
        ask("GET https://crm.example.test/v1").field("X-Zis-Connection", "crm"),
        ask("GET https://crm.example.test/v1").field("X-Zis-Connection", "nothing"),
        stranger("GET https://api.example.test/v1").by("other"),
        stranger("GET https://api.example.test/v1").field("X-Zis-Connection", "api"),
    ] {
        world.send(&ask).await;
    }
    let admin = world.admin();
    soon(async { while find(&admin, "").await.len() < 10 {} }).await;
}

/// An origin that answers 401 below `/no`, and 200 elsewhere.
async fn origin() -> Origin {
    let answer = |seen: &Seen| {
        if seen.target.starts_with("/no") { json_answer(401, &json!({})) } else { ok("ok") }
    };
    Origin::answering(&["http/1.1"], answer).await
}

#[tokio::test]
async fn requests_are_found_by_what_they_did() {
    let origin = origin().await;
    let world = world(&origin).run().await;
    send_some(&world).await;
    let admin = world.admin();
    let all = find(&admin, "").await;
    // 1. Each filter finds what a look at each entry does.
    let member = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let filters: [(&str, Look<'_>); 14] = [
        ("connection=api", &|it: &Value| it["connection"] == "api"),
        ("connection=crm", &|it: &Value| it["connection"] == "crm"),
        ("connection=nothing", &|it: &Value| it["connection"] == "nothing"),
        ("caller=other", &|it: &Value| it["caller"] == "other"),
        ("integration=acme&decision=refuse", &|it: &Value| {
            it["integration"] == "acme" && it["decision"] == "refuse"
        }),
        ("decision=allow", &|it: &Value| it["decision"] == "allow"),
        ("code=DomainNotAllowed", &|it: &Value| it["code"] == "DomainNotAllowed"),
        ("status=401", &|it: &Value| it["status"] == 401),
        ("status=4xx", &|it: &Value| (400..500).contains(&it["status"].as_u64().unwrap())),
        ("method=POST", &|it: &Value| it["method"] == "POST"),
        ("path=/v1/ch", &|it: &Value| member(it, "path").starts_with("/v1/ch")),
        ("path=/v2/%25C3", &|it: &Value| member(it, "path").starts_with("/v2/")),
        ("status=200&path=/v1&method=GET", &|it: &Value| {
            it["status"] == 200 && it["method"] == "GET" && member(it, "path").starts_with("/v1")
        }),
        ("since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z", &|_: &Value| false),
    ];
    for (filter, wanted) in filters {
        let expected: Vec<_> = all.iter().filter(|entry| wanted(entry)).cloned().collect();
        assert_eq!(find(&admin, filter).await, expected, "{filter}");
        assert_eq!(expected.is_empty(), filter.starts_with("since"), "{filter}");
    }
    // 2. They are the entries of the trail, which has no filters.
    let trail = get(&admin, "/audit").await;
    assert_eq!(trail["entries"].as_array().unwrap(), &all);
    // 3. One is found by its id, which its answer has.
    let answer = world.send(&ask("GET https://evil.test/x").field("X-Zis-Connection", "api")).await;
    let id = answer.field("x-keyferry-request-id").to_owned();
    soon(async { while admin.get(&format!("{V1}/requests/{id}")).await.status != 200 {} }).await;
    let request = get(&admin, &format!("/requests/{id}")).await["request"].clone();
    for (name, value) in [
        ("request_id", id.as_str()),
        ("connection", "api"),
        ("code", "DomainNotAllowed"),
        ("who", "caller_or_operator"),
        ("docs", "docs/reference/errors.md#domainnotallowed"),
        ("reason", "the host is not in its allowed domain"),
    ] {
        assert_eq!(request[name], value, "{name}");
    }
    assert!(request["cause"].as_str().unwrap().contains("is for api.example.test"));
    assert_eq!(admin.get(&format!("{V1}/requests/nobody-1")).await.fault().0, 404);
}

#[tokio::test]
async fn requests_are_found_as_far_as_a_token_reaches() {
    let origin = origin().await;
    let world = world(&origin).run().await;
    send_some(&world).await;
    let admin = world.admin();
    let body = json!({"name": "auditor", "integration": "acme", "scopes": ["audit"]});
    let (auditor, _) = admin.grant(&body).await;
    let seen = find(&auditor, "").await;
    assert!(seen.iter().all(|entry| entry["integration"] == "acme") && seen.len() == 8, "{seen:?}");
    let body = json!({"name": "narrow", "integration": "acme", "scopes": ["audit"],
        "connections": ["crm"]});
    let (narrow, _) = admin.grant(&body).await;
    let seen = find(&narrow, "").await;
    assert!(seen.iter().all(|entry| entry["connection"] == "crm") && seen.len() == 1, "{seen:?}");
    let body = json!({"name": "pairs", "integration": "*", "scopes": ["audit"],
        "connections": ["acme.crm", "other.api"]});
    let (pairs, _) = admin.grant(&body).await;
    assert_eq!(find(&pairs, "").await.len(), 1);
    // What is out of reach is not even looked through.
    for operator in [&narrow, &pairs] {
        assert_eq!(find(operator, "connection=crm").await.len(), 1);
        let path = format!("{V1}/requests?integration=acme&connection=api");
        assert_eq!(operator.get(&path).await.status, 403);
    }
    let foreign = find(&admin, "caller=other").await[0]["request_id"].clone();
    let path = format!("{V1}/requests/{}", foreign.as_str().unwrap());
    assert_eq!(auditor.get(&path).await.status, 404);
    assert_eq!(narrow.get(&format!("{V1}/stats")).await.status, 403);
    assert_eq!(narrow.get(&format!("{V1}/stats?connection=crm")).await.status, 200);
    let body = json!({"name": "reader", "integration": "acme", "scopes": ["read"]});
    let (reader, _) = admin.grant(&body).await;
    for path in ["requests", "requests/x-1", "stats"] {
        assert_eq!(reader.get(&format!("{V1}/{path}")).await.status, 403, "{path}");
    }
    assert_eq!(reader.get(&format!("{V1}/health")).await.status, 200);
}

#[tokio::test]
async fn a_token_that_is_not_for_the_data_plane_says_nothing_of_a_connection() {
    let origin = origin().await;
    let world = world(&origin).scoped_token("reader", "*", "read", "").run().await;
    for integration in ["acme", "made-up", "another"] {
        let ask = stranger("GET https://api.example.test/v1").by("reader");
        let ask = ask.field("X-Zis-Integration", integration).field("X-Zis-Connection", "api");
        assert_eq!(world.send(&ask).await.status, 403);
    }
    let admin = world.admin();
    soon(async { while sums(&admin, "").await != json!([3, 0, 0, 3]) {} }).await;
    for (filter, refused) in [("integration=acme", 1), ("integration=made-up", 0)] {
        assert_eq!(sums(&admin, filter).await, json!([refused, 0, 0, refused]), "{filter}");
    }
    assert_eq!(health(&admin).await["requests"], 0);
    assert_eq!(find(&admin, "integration=made-up&connection=api").await.len(), 1);
}

#[tokio::test]
async fn a_faulty_filter_is_refused() {
    let world = stored().run().await;
    let admin = world.admin();
    for (query, word) in [
        ("requests?status=6xx", "status: must be"),
        ("requests?status=abc", "status: must be"),
        ("requests?code=Nothing", "code: must be"),
        ("requests?path=v1", "path: must begin"),
        ("requests?decision=no", "decision: must be"),
        ("requests?since=yesterday", "since: must be a time"),
        ("requests?form=absolute", "form: is unknown; there are page[size]"),
        ("stats?by=day", "by: must be minute or hour"),
        ("stats?connection=api", "connection: goes with integration"),
        ("stats?page[size]=1", "there are no pages"),
        ("stats?since=2026-01-01T00:00:00Z&until=2025-01-01T00:00:00Z", "since: must be before"),
        ("stats?since=2020-01-01T00:00:00Z", "since: must be before until, by at most 1500"),
        ("health?state=odd", "state: must be"),
    ] {
        let (status, code, title) = admin.get(&format!("{V1}/{query}")).await.fault();
        assert_eq!((status, code.as_str()), (400, "InvalidRequest"), "{query}");
        assert!(title.contains(word), "{query}: {title}");
    }
}

/// The sums of the counts of the last hour.
async fn sums(operator: &Operator, filter: &str) -> Value {
    let answer = get(operator, &format!("/stats?{filter}")).await;
    let parts = answer["stats"].as_array().unwrap();
    let sum = |of: &dyn Fn(&Value) -> u64| parts.iter().map(of).sum::<u64>();
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    json!([
        sum(&|part| number(&part["requests"])),
        sum(&|part| number(&part["answered"]["2xx"])),
        sum(&|part| number(&part["answered"]["4xx"])),
        sum(&|part| part["refused"].as_object().unwrap().values().map(number).sum()),
    ])
}

#[tokio::test]
async fn requests_are_counted_and_a_failing_connection_says_why() {
    let origin = origin().await;
    let world = world(&origin).run().await;
    send_some(&world).await;
    let admin = world.admin();
    let counted = async { while sums(&admin, "").await != json!([10, 3, 1, 6]) {} };
    soon(counted).await;
    for (filter, expected) in [
        ("by=hour", json!([10, 3, 1, 6])),
        ("integration=acme", json!([8, 3, 1, 4])),
        ("integration=acme&connection=api", json!([5, 3, 1, 1])),
        ("integration=acme&connection=crm", json!([1, 0, 0, 1])),
        ("integration=acme&connection=api&caller=runner", json!([5, 3, 1, 1])),
        ("integration=acme&connection=api&caller=other", json!([0, 0, 0, 0])),
        ("caller=other", json!([1, 0, 0, 1])),
    ] {
        assert_eq!(sums(&admin, filter).await, expected, "{filter}");
    }
    // What is said to be before all counts has a time that RFC 3339 knows, or is refused.
    let early = get(&admin, "/stats?until=1970-01-01T00:10:00Z").await;
    assert_eq!(early["stats"][0]["time"], "1970-01-01T00:00:00.000000Z", "{early}");
    let before = admin.get(&format!("{V1}/stats?until=0000-01-01T00:00:05Z")).await;
    assert_eq!(before.status, 400, "{before:?}");
    let callers = get(&admin, "/stats?integration=acme&per=caller").await["callers"].clone();
    assert_eq!((&callers[0]["caller"], &callers[0]["requests"]), (&json!("runner"), &json!(8)));
    assert_eq!(callers[0]["answered"]["2xx"], 3, "{callers}");
    let of_crm = get(&admin, "/stats?integration=acme&connection=crm&per=caller").await;
    assert_eq!(of_crm["callers"].as_array().unwrap().len(), 1, "{of_crm}");
    let answer = get(&admin, "/stats?integration=acme").await;
    assert_eq!(answer.get("callers"), None);
    let parts = answer["stats"].as_array().unwrap();
    assert_eq!((&answer["by"], parts.len()), (&json!("minute"), 60));
    assert!(parts.iter().any(|part| part["latency_ms"]["p99"].as_f64() > Some(0.0)));
    // The connection that was named without a right to it needs attention too.
    let health = get(&admin, "/health?state=attention").await;
    let names: Vec<_> = health["connections"].as_array().unwrap().iter().collect();
    let [api, crm] = names[..] else { panic!("{health}") };
    assert_eq!((&api["name"], &crm["name"]), (&json!("api"), &json!("crm")));
    assert_eq!((&api["requests"], &api["failed"]), (&json!(4), &json!(1)));
    assert_eq!(api["refusals"], 1);
    let summary = api["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("failing since ") && summary.contains("25 % of 4 requests, mostly")
    );
    assert_eq!(crm["who"], "operator");
    assert!(
        crm["summary"]
            .as_str()
            .unwrap()
            .ends_with("the only request, ConnectionForbidden: the token may not use it")
    );
    assert_eq!((&crm["last_used_at"], &crm["requests_today"]), (&Value::Null, &json!(0)));
    let id = crm["last_failure"]["request_id"].as_str().unwrap();
    assert_eq!(get(&admin, &format!("/requests/{id}")).await["request"]["connection"], "crm");
    // It has recovered once as many requests work.
    for _ in 0..2 {
        world.send(&ask("GET https://api.example.test/v1")).await;
    }
    let recovered = async {
        while get(&admin, "/health?connection=api").await["connections"][0]["state"] != "works" {}
    };
    soon(recovered).await;
}

#[tokio::test]
async fn three_instances_and_one_that_was_started_again_tell_the_same() {
    let (origin, postgres) = (origin().await, Postgres::start().await);
    let start = async || over(World::empty().keeping_in(&postgres), &origin).run().await;
    let (one, two, three) = (start().await, start().await, start().await);
    let asked = "https://api.example.test";
    for (world, paths) in [(&one, ["/v1", "/no"]), (&two, ["/v1", "/no"]), (&three, ["/v1", "/v1"])]
    {
        for path in paths {
            world.send(&ask(&format!("GET {asked}{path}"))).await;
        }
    }
    let begun = Timestamp::now();
    let expected = json!([6, 4, 2, 0]);
    let admins = [one.admin(), two.admin(), three.admin()];
    let same = async {
        for admin in &admins {
            while sums(admin, "integration=acme&connection=api").await != expected {}
            while health(admin).await["failed"] != 2 {}
        }
    };
    soon(same).await;
    let took = Timestamp::now().duration_since(begun);
    assert!(took.as_secs() < 2, "{took}");
    let healths = [health(&admins[0]).await, health(&admins[1]).await, health(&admins[2]).await];
    assert!(healths.iter().all(|health| *health == healths[0]), "{healths:?}");
    assert_eq!((&healths[0]["state"], &healths[0]["requests"]), (&json!("failing"), &json!(6)));
    // All of them end, one by a signal, and another starts.
    let mut ending = one;
    ending.signal(Signal::TERM);
    ending.ended().await;
    drop((two, three));
    let again = start().await;
    let admin = again.admin();
    assert_eq!(sums(&admin, "integration=acme&connection=api").await, expected);
    assert_eq!(health(&admin).await, healths[0]);
    assert_eq!(find(&admin, "status=401").await.len(), 2);
}

#[tokio::test]
async fn a_connection_has_nothing_of_a_deleted_one_of_its_name_in_sqlite() {
    next_of_a_name(World::empty().keeping()).await;
}

#[tokio::test]
async fn a_connection_has_nothing_of_a_deleted_one_of_its_name_in_postgresql() {
    let postgres = Postgres::start().await;
    next_of_a_name(World::empty().keeping_in(&postgres)).await;
}

/// A connection fails, is deleted, and is created for another domain; then the server starts again.
async fn next_of_a_name(world: World) {
    let origin = origin().await;
    let mut server = over(world, &origin).run().await;
    let rec = "/health?integration=acme&connection=rec";
    let state = async |server: &Running| {
        get(&server.admin(), rec).await["connections"][0]["state"].as_str().unwrap().to_owned()
    };
    // 1. It fails, and so the store says.
    let (_, token) = server.keep_token("all", &["proxy"]).await;
    server.keep_bearer("rec", "api.example.test", "old-secret").await;
    let failing = stranger("GET https://api.example.test/no").field("X-Zis-Connection", "rec");
    server.send(&failing.field("Proxy-Authorization", &format!("Bearer {token}"))).await;
    soon(async { while state(&server).await != "failing" {} }).await;
    server = again(server).await;
    assert_eq!(state(&server).await, "failing");
    // 2. The next of its name is another one, and stays so.
    server.delete_bearer("rec").await;
    server.keep_bearer("rec", "crm.example.test", "new-secret").await;
    soon(async { while state(&server).await != "unused" {} }).await;
    server = again(server).await;
    assert_eq!(state(&server).await, "unused");
    let health = &get(&server.admin(), rec).await["connections"][0];
    assert_eq!((&health["last_failure"], &health["requests"]), (&Value::Null, &json!(0)));
}

/// The same server, ended by a signal and started again.
async fn again(mut server: Running) -> Running {
    server.signal(Signal::TERM);
    server.ended().await;
    std::mem::replace(&mut server.world, World::empty()).run().await
}

async fn health(admin: &Operator) -> Value {
    get(admin, "/health?integration=acme&connection=api").await["connections"][0].clone()
}

#[tokio::test]
async fn what_callers_must_change_makes_no_connection_fail_and_is_told_apart() {
    let origin = origin().await;
    let world = world(&origin).run().await;
    let admin = world.admin();
    // 1. One request works; others are for a host that is not allowed.
    world.send(&ask("GET https://api.example.test/v1").field("X-Zis-Connection", "api")).await;
    let astray = ask("GET https://elsewhere.example.org/v1").field("X-Zis-Connection", "api");
    for _ in 0..3 {
        assert_eq!(world.send(&astray).await.status, 403);
    }
    let told =
        async { while get(&admin, "/health?state=refused").await["connections"] == json!([]) {} };
    soon(told).await;
    let counted = async {
        while get(&admin, "/health?connection=api").await["connections"][0]["refusals"] != 3 {}
    };
    soon(counted).await;
    // 2. The connection works, and the refusals have their last.
    let health = get(&admin, "/health?connection=api").await["connections"][0].clone();
    assert_eq!((&health["state"], &health["who"]), (&json!("works"), &json!("")));
    assert_eq!((&health["requests"], &health["failed"]), (&json!(1), &json!(0)));
    assert_eq!(health["last_failure"], Value::Null);
    let last = &health["last_refusal"];
    assert_eq!(last["cause"], "DomainNotAllowed", "{health}");
    let path = format!("/requests/{}", last["request_id"].as_str().unwrap());
    let whole = format!("{V1}{path}");
    soon(async { while admin.get(&whole).await.status != 200 {} }).await;
    assert_eq!(get(&admin, &path).await["request"]["who"], "caller_or_operator");
}

#[tokio::test]
async fn the_entries_of_a_revoked_token_name_its_caller() {
    let origin = origin().await;
    let world = world(&origin).run().await;
    let admin = world.admin();
    let (id, token) = world.keep_token("nightly", &["proxy"]).await;
    let line = "GET https://api.example.test/v1";
    let send = async || {
        world.send(&stranger(line).field("Proxy-Authorization", &format!("Bearer {token}"))).await
    };
    assert_ne!(send().await.status, 407);
    world.revoke(&id).await;
    let refused = send().await;
    assert_eq!(refused.code(), "CallerUnknown");
    assert!(!refused.text().contains("nightly"), "{refused:?}");
    let path = format!("/requests/{}", refused.field("x-keyferry-request-id"));
    let whole = format!("/api/keyferry/v1{path}");
    soon(async { while admin.get(&whole).await.status != 200 {} }).await;
    let entry = get(&admin, &path).await["request"].clone();
    assert_eq!((&entry["caller"], &entry["code"]), (&json!("nightly"), &json!("CallerUnknown")));
    assert_eq!(entry["cause"], "the caller's token was revoked");
}
