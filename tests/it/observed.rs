//! What operators see: entries, figures, and whether the program is well (contract §7).

use rustix::process::Signal;

use crate::support::ask::{ask, stranger};
use crate::support::origin::{Conn, Origin};
use crate::support::raw::Raw;
use crate::support::token;
use crate::support::world::World;

const URL: &str = "GET https://api.example.test/v1";

/// Contract §7, with what frames every line.
const FIELDS: [&str; 20] = [
    "caller",
    "code",
    "connection",
    "decision",
    "form",
    "instance",
    "integration",
    "level",
    "method",
    "origin",
    "path",
    "request_bytes",
    "request_id",
    "response_bytes",
    "rule",
    "status",
    "target",
    "time",
    "total_ms",
    "upstream_ms",
];

#[tokio::test]
async fn an_entry_has_the_fields_of_the_contract_and_no_others() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let post = ask("POST https://api.example.test:443/v1/x?query=kept-out").body("content");
    assert_eq!(world.send(&post).await.status, 200);
    let entry = world.log.entry_of("/v1/x").await;
    let mut names: Vec<_> = entry.as_object().unwrap().keys().cloned().collect();
    names.sort_unstable();
    assert_eq!(names, FIELDS);
    for (name, value) in [
        ("caller", "runner"),
        ("code", ""),
        ("connection", "api"),
        ("decision", "allow"),
        ("form", "absolute"),
        ("integration", "acme"),
        ("method", "POST"),
        ("origin", "https://api.example.test"),
        ("rule", "covers"),
    ] {
        assert_eq!(entry[name], value, "{name}");
    }
    for (name, value) in [("status", 200), ("request_bytes", 7), ("response_bytes", 2)] {
        assert_eq!(entry[name], value, "{name}");
    }
    let (total, upstream) =
        (entry["total_ms"].as_f64().unwrap(), entry["upstream_ms"].as_f64().unwrap());
    assert!(total >= upstream && upstream > 0.0, "{entry}");
    assert!(entry["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert!(!world.log.text().contains("kept-out"));
}

#[tokio::test]
async fn a_refused_request_is_written_down_with_what_is_known_of_it() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let asked = "https://api.example.test";
    for (ask, path, code, rule, caller, connection) in [
        (stranger("GET https://api.example.test/a"), "/a", "CallerUnknown", "caller", "", ""),
        (ask("TRACE https://api.example.test/b"), "/b", "MethodNotAllowed", "method", "runner", ""),
        (ask("GET http://api.example.test/c"), "/c", "HttpsRequired", "https", "runner", "api"),
        (
            ask("GET https://evil.test/d").field("X-Zis-Connection", "api"),
            "/d",
            "DomainNotAllowed",
            "domain",
            "runner",
            "api",
        ),
    ] {
        let status = world.send(&ask).await.status;
        let entry = world.log.entry_of(path).await;
        assert_eq!(entry["decision"], "refuse", "{path}");
        assert_eq!((&entry["code"], &entry["rule"]), (&code.into(), &rule.into()), "{path}");
        assert_eq!((&entry["caller"], &entry["connection"]), (&caller.into(), &connection.into()));
        // What was asked for, where it was an https origin at all.
        let origin = match path {
            "/c" => "",
            "/d" => "https://evil.test",
            _ => asked,
        };
        assert_eq!((&entry["status"], &entry["origin"]), (&status.into(), &origin.into()));
    }
}

#[tokio::test]
async fn a_refused_request_keeps_the_connection_that_it_names() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let name = "X-Zis-Connection";
    for (ask, path, integration, connection) in [
        (ask("GET https://api.example.test/a").field(name, "nothing"), "/a", "acme", "nothing"),
        (stranger("GET https://api.example.test/b").field(name, "api"), "/b", "", "api"),
        (ask("TRACE https://api.example.test/c").field(name, "api"), "/c", "acme", "api"),
        (
            ask("GET https://api.example.test/d")
                .field(name, "api")
                .field("X-Zis-Integration", "other"),
            "/d",
            "acme",
            "",
        ),
    ] {
        world.send(&ask).await;
        let entry = world.log.entry_of(path).await;
        let expected = (&integration.into(), &connection.into());
        assert_eq!((&entry["integration"], &entry["connection"]), expected, "{path}");
    }
    // Whoever calls can't make labels.
    let metrics = world.api("/metrics").await.text();
    assert!(metrics.contains("ConnectionNotFound") && !metrics.contains("nothing"), "{metrics}");
}

#[tokio::test]
async fn each_request_has_one_entry_whatever_becomes_of_it() {
    let origin = Origin::scripted(|mut conn: Conn| async move {
        while let Some(head) = conn.head().await {
            let said = match head.split(' ').nth(1).unwrap() {
                "/cut" => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
                "/dead" => "",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            conn.raw.write(said).await;
            if !said.ends_with("ok") {
                return;
            }
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let paths = ["/fine", "/cut", "/dead", "/fine2"];
    for path in paths {
        world.send(&ask(&format!("GET https://api.example.test{path}"))).await;
    }
    world.send(&stranger("GET https://api.example.test/refused")).await;
    world.exchange("garbage\r\n\r\n").await;
    let mut http2 = world.http2().await;
    http2.send(crate::support::http2::request("GET", "https://api.example.test/h2")).await;
    let entries = world.log.all_entries(7).await;
    let mut ids: Vec<_> = entries.iter().map(|entry| entry["request_id"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 7);
    let paths: Vec<_> = entries.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/fine", "/cut", "/dead", "/fine2", "/refused", "", "/h2"]);
    let turned_away = &entries[5];
    assert_eq!(
        (&turned_away["code"], &turned_away["status"]),
        (&"MalformedRequest".into(), &400.into())
    );
}

#[tokio::test]
async fn an_entry_tells_whose_token_was_refused_and_what_it_asked_for() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .scoped_token("reader", "acme", "read", "")
        .token("late", "acme", "expires_at = \"2020-01-01T00:00:00Z\"")
        .token("everywhere", "*", "")
        .run()
        .await;
    let get = |path: &str| stranger(&format!("GET https://api.example.test{path}"));
    for (request, caller, integration, code) in [
        (get("/scope").by("reader"), "reader", "acme", "ConnectionForbidden"),
        (get("/late").by("late"), "late", "acme", "CallerUnknown"),
        (ask("GET https://elsewhere.example.net/none"), "runner", "acme", "ConnectionRequired"),
        (get("/any").by("everywhere"), "everywhere", "", "ConnectionRequired"),
        (get("/nobody").by("nobody"), "", "", "CallerUnknown"),
        (get("/tag").by("nobody").field("X-Zis-Connection", "a b"), "", "", "MalformedRequest"),
        (
            get("/tag").by("runner").field("X-Zis-Connection", "a b"),
            "runner",
            "acme",
            "MalformedRequest",
        ),
    ] {
        let answer = world.send(&request).await;
        assert_eq!(answer.json()["errors"][0]["code"], code);
        let entry = world.log.entry(|entry| entry["code"] == code && entry["form"] != "").await;
        assert_eq!(entry["form"], "absolute", "{entry}");
        let told = world.log.entry(|entry| {
            (&entry["code"], &entry["caller"], &entry["integration"])
                == (&code.into(), &caller.into(), &integration.into())
        });
        told.await;
    }
}

#[tokio::test]
async fn an_entry_names_the_caller_of_a_base_url_that_was_refused_early() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let by = format!("Bearer {}", token("runner"));
    let request = stranger("GET /~/api/early").field("Authorization", &by);
    let answer = world.send(&request.field("X-Zis-Connection", "!!")).await;
    assert_eq!(answer.json()["errors"][0]["code"], "MalformedRequest");
    let entry = world.log.entry(|entry| entry["code"] == "MalformedRequest").await;
    assert_eq!((&entry["caller"], &entry["integration"]), (&"runner".into(), &"acme".into()));
}

#[tokio::test]
async fn what_a_stranger_writes_can_not_forge_a_line() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let path = "/%0a{\"x\":\"y\\\"}";
    world.send(&ask(&format!("GET https://api.example.test{path}"))).await;
    world.log.entry_of(path).await;
    world.send(&stranger("G\"E,T https://api.example.test/m")).await;
    world.send(&stranger("G'{T https://api.example.test/n")).await;
    world.send(&ask(URL)).await;
    world.log.entry_of("/v1").await;
    for line in world.log.text().lines().filter(|line| line.starts_with('{')) {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

#[tokio::test]
async fn the_figures_have_their_names_and_count() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    for _ in 0..3 {
        raw.send(&ask(URL)).await;
    }
    raw.send(&ask("GET http://api.example.test/v1")).await;
    raw.send(&stranger(URL)).await;
    world.log.all_entries(5).await;
    let allowed = "keyferry_requests_total{integration=\"acme\",connection=\"api\",decision=\"allow\",code=\"\",status_class=\"2xx\"}";
    let insecure = "keyferry_requests_total{integration=\"acme\",connection=\"api\",decision=\"refuse\",code=\"HttpsRequired\",status_class=\"4xx\"}";
    let unknown = "keyferry_requests_total{integration=\"\",connection=\"\",decision=\"refuse\",code=\"CallerUnknown\",status_class=\"4xx\"}";
    for (line, expected) in [
        (allowed, 3.0),
        (insecure, 1.0),
        (unknown, 1.0),
        ("keyferry_request_duration_seconds_count{part=\"total\"}", 5.0),
        ("keyferry_request_duration_seconds_count{part=\"own\"}", 3.0),
        ("keyferry_request_duration_seconds_count{part=\"upstream\"}", 3.0),
        ("keyferry_caller_connections", 1.0),
        ("keyferry_upstream_connections{state=\"idle\"}", 1.0),
        ("keyferry_upstream_connections{state=\"active\"}", 0.0),
        ("keyferry_upstream_handshakes_total{outcome=\"completed\"}", 1.0),
        ("keyferry_log_lines_dropped_total", 0.0),
    ] {
        let found = world.metric(line).await;
        assert!((found - expected).abs() < f64::EPSILON, "{line} is {found}");
    }
    let metrics = world.api("/metrics").await;
    assert!(metrics.text().contains("keyferry_build_info{version=\""));
    assert!(metrics.text().ends_with("# EOF\n"));
    assert!(metrics.field("content-type").starts_with("application/openmetrics-text"));
}

#[tokio::test]
async fn the_program_says_that_it_lives_and_whether_it_is_ready() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for path in ["/healthz", "/readyz"] {
        let answer = world.api(path).await;
        assert!(answer.status == 200 && answer.text().ends_with('\n'), "{answer:?}");
    }
    let mut kept = Raw::tcp(world.api.strip_prefix("http://").unwrap()).await;
    assert_eq!(kept.send(&stranger("GET /readyz")).await.status, 200);
    for (line, status) in [("GET /nothing", 404), ("POST /healthz", 405), ("GET /healthz/x", 404)] {
        let answer = kept.send(&stranger(line)).await;
        assert_eq!((answer.status, answer.field("content-type")), (status, "application/json"));
    }
    world.signal(Signal::TERM);
    kept.rest().await;
}

#[tokio::test]
async fn the_api_answers_by_its_own_names_only() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .set("api.public_url", "\"https://keyferry.test/base\"")
        .set("api.allowed_hosts", "[\"internal.test\"]")
        .run()
        .await;
    let address = world.api.strip_prefix("http://").unwrap().to_owned();
    for path in ["/healthz", "/readyz", "/metrics", "/nothing"] {
        let line = format!("GET {path}");
        for host in ["localhost", "127.0.0.1:8081", "[::1]:1", "KEYFERRY.test", "internal.test:80"]
        {
            let answer = Raw::tcp(&address).await.send(&stranger(&line).host(host)).await;
            assert_ne!(answer.status, 421, "{path} {host}");
        }
        for host in ["evil.test", "localhost.evil.test", "127.0.0.2", ""] {
            let answer = Raw::tcp(&address).await.send(&stranger(&line).host(host)).await;
            assert_eq!(answer.status, 421, "{path} {host}");
            assert!(answer.text().contains("MisdirectedRequest"));
        }
    }
    let absolute = stranger("GET http://evil.test/metrics").host("localhost");
    assert_eq!(Raw::tcp(&address).await.send(&absolute).await.status, 421);
}

#[tokio::test]
async fn the_api_is_as_strict_a_door_as_the_proxy() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let address = world.api.strip_prefix("http://").unwrap();
    for (bytes, status) in [
        ("GET /healthz HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(70_000)), 431),
    ] {
        let mut raw = Raw::tcp(address).await;
        raw.write(bytes).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.field("content-type")), (status, "application/json"));
        raw.ends().await;
    }
}

#[tokio::test]
async fn entries_can_be_turned_off_and_levels_chosen() {
    let origin = Origin::start().await;
    let world = World::new(&origin).with("RUST_LOG", "info,keyferry::access=off").run().await;
    world.send(&ask(URL)).await;
    let status = "keyferry_request_duration_seconds_count{part=\"total\"}";
    crate::support::soon(async { while world.metric(status).await < 1.0 {} }).await;
    world.signal(Signal::TERM);
    world.log.message("stopped").await;
    assert!(world.log.entries().is_empty());
}
