//! Traces: the spans that a collector is sent, and the trace that goes on to origins (contract §8).

use std::fs;

use http::HeaderMap;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use rustix::process::Signal;
use serde_json::json;

use crate::support::ask::{Ask, ask, stranger};
use crate::support::authorized;
use crate::support::collector::{Collector, facts, hex};
use crate::support::http2::request;
use crate::support::origin::{Origin, listen, ok};
use crate::support::provider::{HOST, Provider};
use crate::support::raw::Raw;
use crate::support::world::{Running, World};
use crate::support::{soon, token};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// The fields of a caller that records its trace.
fn traced(ask: Ask) -> Ask {
    ask.field("traceparent", &format!("00-{TRACE}-{CALLER}-01")).field("tracestate", "vendor=1")
}

fn traceparent(headers: &HeaderMap) -> String {
    let mut values = headers.get_all("traceparent").iter();
    let only = values.next().unwrap().to_str().unwrap().to_owned();
    assert_eq!(values.next(), None);
    only
}

async fn world(origin: &Origin, collector: &Collector) -> Running {
    World::new(origin).set("telemetry.otlp_endpoint", &collector.url()).run().await
}

/// Ends the program, which sends its last spans.
async fn end(world: &mut Running) {
    world.signal(Signal::TERM);
    assert!(world.ended().await.success());
}

#[tokio::test]
async fn a_span_has_the_names_of_the_conventions_and_no_secret() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let mut world = world(&origin, &collector).await;
    let post = ask("POST https://api.example.test/v1/x?query=kept-out").body("content");
    let answer = world.send(&traced(post)).await;
    let entry = world.log.entry_of("/v1/x").await;
    end(&mut world).await;
    // 1. One message, by OTLP over HTTP.
    assert_eq!(collector.lines(), ["POST /v1/traces application/x-protobuf"]);
    let message = collector.messages().remove(0);
    let resource = &message.resource_spans[0];
    let process = facts(&resource.resource.as_ref().unwrap().attributes);
    assert_eq!(process["service.name"], "keyferry");
    assert_eq!(process["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(process["service.instance.id"], entry["instance"].as_str().unwrap());
    // 2. The span, in the caller's trace.
    let span = collector.span_of("/v1/x");
    assert_eq!((span.name.as_str(), span.kind), ("POST", SpanKind::Server.into()));
    assert_eq!((hex(&span.trace_id).as_str(), hex(&span.parent_span_id).as_str()), (TRACE, CALLER));
    assert_eq!(span.flags, 0x301, "sampled, and the parent is remote");
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    assert_eq!(span.status, None);
    // 3. Its facts.
    let facts = facts(&span.attributes);
    let id = answer.field("x-keyferry-request-id");
    for (name, value) in [
        ("http.request.method", "POST"),
        ("url.scheme", "https"),
        ("url.path", "/v1/x"),
        ("server.address", "api.example.test"),
        ("server.port", "443"),
        ("http.response.status_code", "200"),
        ("http.request.body.size", "7"),
        ("http.response.body.size", "2"),
        ("keyferry.integration", "acme"),
        ("keyferry.connection", "api"),
        ("keyferry.caller", "runner"),
        ("keyferry.form", "absolute"),
        ("keyferry.rule", "covers"),
        ("keyferry.request_id", id),
    ] {
        assert_eq!(facts[name], value, "{name}");
    }
    for name in ["keyferry.own_ms", "keyferry.upstream_ms"] {
        assert!(facts[name].parse::<f64>().unwrap() > 0.0, "{facts:?}");
    }
    assert_eq!(facts.len(), 16, "{facts:?}");
    // 4. The log leads to it, and no secret does.
    assert_eq!(entry["trace_id"], TRACE);
    let bytes = collector.bytes();
    for secret in ["kept-out", "bearer-secret", &token("runner")] {
        assert_eq!(memchr::memmem::find(&bytes, secret.as_bytes()), None, "{secret}");
    }
}

#[tokio::test]
async fn in_each_form_the_origins_parent_is_the_requests_span() {
    let origin = Origin::answering(&["h2", "http/1.1"], |_seen| ok("ok")).await;
    let collector = Collector::start().await;
    let mut world = world(&origin, &collector).await;
    // 1. A request in each form.
    let bearer = format!("Bearer {}", token("runner"));
    for ask in [
        ask("GET https://api.example.test/absolute"),
        ask("GET /gateway").field("X-Zis-Host", "api.example.test"),
        stranger("GET /~/api/base").field("Authorization", &bearer),
    ] {
        assert_eq!(world.send(&traced(ask)).await.status, 200);
    }
    let inside = stranger("GET /inside").host("api.example.test");
    assert_eq!(world.tunnel().await.send(&traced(inside)).await.status, 200);
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let asked = request("GET", "https://api.example.test/h2").header("traceparent", &parent);
    assert_eq!(world.http2().await.send(asked.header("tracestate", "vendor=1")).await.status, 200);
    let asked = http::Request::get("https://api.example.test/h2-inside");
    let asked = asked.header("traceparent", &parent).header("tracestate", "vendor=1");
    assert_eq!(world.http2_tunnel().await.send(asked).await.status, 200);
    end(&mut world).await;
    // 2. Each was sent on with its own span as the parent, in the same trace and with its state.
    let seen = origin.seen();
    assert_eq!(seen.len(), 6);
    for seen in seen {
        let path = seen.target.parse::<http::Uri>().unwrap().path().to_owned();
        let path = if path == "/base" { "/~/api/base" } else { &path };
        let span = collector.span_of(path);
        let sent = format!("00-{TRACE}-{}-01", hex(&span.span_id));
        assert_eq!(traceparent(&seen.headers), sent, "{path}");
        assert_eq!(seen.headers["tracestate"], "vendor=1", "{path}");
        assert_eq!(hex(&span.parent_span_id), CALLER, "{path}");
    }
    // 3. The tunnels have spans too, each in a trace of its own.
    let spans = collector.spans();
    let tunnels = spans.iter().filter(|span| span.name == "CONNECT");
    assert!(tunnels.clone().all(|span| span.parent_span_id.is_empty()));
    assert_eq!((tunnels.count(), spans.len()), (2, 8));
}

#[tokio::test]
async fn a_traceparent_that_is_not_valid_begins_a_trace() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let mut world = world(&origin, &collector).await;
    let zeros = format!("00-{}-{CALLER}-01", "0".repeat(32));
    let upper = format!("00-{}-{CALLER}-01", TRACE.to_uppercase());
    let values = ["", "00-1-1-01", &zeros, &upper, "ff-0af7651916cd43dd8448eb211c80319c-01-01"];
    for value in values {
        let asked = ask("GET https://api.example.test/v1").field("traceparent", value);
        assert_eq!(world.send(&asked.field("tracestate", "vendor=1")).await.status, 200);
    }
    let twice = traced(traced(ask("GET https://api.example.test/v1")));
    assert_eq!(world.send(&twice).await.status, 200);
    assert_eq!(world.send(&ask("GET https://api.example.test/v1")).await.status, 200);
    end(&mut world).await;
    let (seen, spans) = (origin.seen(), collector.spans());
    assert_eq!((seen.len(), spans.len()), (7, 7));
    for (seen, span) in seen.iter().zip(&spans) {
        let trace = hex(&span.trace_id);
        assert!(trace != TRACE && span.parent_span_id.is_empty(), "{span:?}");
        assert_eq!(traceparent(&seen.headers), format!("00-{trace}-{}-01", hex(&span.span_id)));
        assert!(!seen.headers.contains_key("tracestate"), "it is of another trace");
    }
}

#[tokio::test]
async fn only_sampled_traces_are_recorded_and_all_go_on() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let world = World::new(&origin).set("telemetry.otlp_endpoint", &collector.url());
    let mut world = world.set("telemetry.sample", "0.0").run().await;
    let plain = || ask("GET https://api.example.test/none");
    assert_eq!(world.send(&plain()).await.status, 200);
    let unsampled = format!("00-{TRACE}-{CALLER}-00");
    let asked = ask("GET https://api.example.test/unsampled").field("traceparent", &unsampled);
    assert_eq!(world.send(&asked).await.status, 200);
    // The caller's choice counts.
    let sampled = traced(ask("GET https://api.example.test/sampled"));
    assert_eq!(world.send(&sampled).await.status, 200);
    let entry = world.log.entry_of("/unsampled").await;
    assert_eq!(entry["trace_id"], TRACE, "the id joins what is recorded elsewhere");
    end(&mut world).await;
    let seen = origin.seen();
    assert!(traceparent(&seen[0].headers).ends_with("-00"));
    let sent = traceparent(&seen[1].headers);
    assert!(sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with("-00"), "{sent}");
    assert!(!sent.contains(CALLER));
    assert!(traceparent(&seen[2].headers).ends_with("-01"));
    let spans = collector.spans();
    assert_eq!(spans.len(), 1);
    assert_eq!(facts(&spans[0].attributes)["url.path"], "/sampled");
}

#[tokio::test]
async fn a_request_that_is_kept_leads_to_its_trace() {
    let (origin, collector) = (Origin::start().await, Collector::start().await);
    let world = World::new(&origin).set("telemetry.otlp_endpoint", &collector.url());
    let world = world.keeping().set("api.requests_per_minute", "0").run().await;
    let answer = world.send(&traced(ask("GET https://api.example.test/v1"))).await;
    let id = answer.field("x-keyferry-request-id");
    let (admin, path) = (world.admin(), format!("/api/keyferry/v1/requests/{id}"));
    let shown = soon(async {
        loop {
            let shown = admin.get(&path).await;
            if shown.status == 200 {
                return shown;
            }
        }
    });
    let shown = shown.await;
    assert_eq!(shown.json()["request"]["trace_id"], TRACE);
    let token = fs::read_to_string(world.data("admin.token")).unwrap();
    let visitor = world.sign_in(token.trim()).await;
    let page = visitor.get(&format!("/console/i/acme/requests/{id}")).await.text();
    assert!(page.contains(&format!("<dt>Trace id</dt><dd class=\"copy\"><code>{TRACE}")), "{page}");
}

#[tokio::test]
async fn without_a_collector_the_fields_pass_as_they_came() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let odd = ask("GET https://api.example.test/v1")
        .field("traceparent", "what?")
        .field("tracestate", "vendor=1");
    assert_eq!(world.send(&odd).await.status, 200);
    let seen = origin.only();
    assert_eq!(
        (seen.field("traceparent"), seen.field("tracestate")),
        ("what?".into(), "vendor=1".into())
    );
    let entry = world.log.entry_of("/v1").await;
    assert!(entry.get("trace_id").is_none());
}

#[tokio::test]
async fn a_failure_has_its_type() {
    let origin = Origin::answering(&["http/1.1"], |seen| {
        let status = if seen.target == "/broken" { 503 } else { 404 };
        http::Response::builder().status(status).body(ok("").into_body()).unwrap()
    })
    .await;
    let collector = Collector::start().await;
    let dead = listen().await.local_addr().unwrap().to_string();
    let world = World::new(&origin).bearer("acme.dead", "other.example.test", "next-secret");
    let world = world.pin_to("other.example.test:443", &dead);
    let mut world = world.set("telemetry.otlp_endpoint", &collector.url()).run().await;
    for ask in [
        ask("GET https://api.example.test/broken"),
        ask("GET https://api.example.test/absent"),
        ask("GET https://evil.test/refused").field("X-Zis-Connection", "api"),
        ask("GET https://other.example.test/dead"),
        ask(&format!("GET https://api.example.test/{}", token("runner"))),
        stranger("GET https://api.example.test/stranger"),
        ask("BREW https://api.example.test/method"),
    ] {
        world.send(&ask).await;
    }
    end(&mut world).await;
    let error = StatusCode::Error.into();
    for (path, name, status, kind) in [
        ("/broken", "GET", Some(error), Some("503")),
        ("/absent", "GET", None, None),
        ("/refused", "GET", None, Some("DomainNotAllowed")),
        ("/dead", "GET", Some(error), Some("ConnectRefused")),
        ("*****", "GET", None, Some("MalformedRequest")),
        ("/stranger", "GET", None, Some("CallerUnknown")),
        ("/method", "HTTP", None, Some("MethodNotAllowed")),
    ] {
        let span = collector.span_of(path);
        let facts = facts(&span.attributes);
        assert_eq!(span.name, name, "{path}");
        assert_eq!(span.status.map(|status| status.code), status, "{path}");
        let found = facts.get("error.type").map(String::as_str);
        assert_eq!(found, kind, "{path}");
    }
    let odd = collector.span_of("/method");
    let odd = facts(&odd.attributes);
    assert_eq!(odd["http.request.method"], "_OTHER");
    assert_eq!(odd["http.request.method_original"], "BREW");
}

#[tokio::test]
async fn a_collector_that_refuses_costs_spans_and_no_request() {
    let (origin, collector) = (Origin::start().await, Collector::answering(400).await);
    let mut world = world(&origin, &collector).await;
    assert_eq!(world.send(&ask("GET https://api.example.test/v1")).await.status, 200);
    collector.has_seen(1).await;
    let dropped = "keyferry_telemetry_spans_dropped_total";
    soon(async { while world.metric(dropped).await < 1.0 {} }).await;
    let line = world.log.find(|line| line.contains("spans were not sent").then(|| line.to_owned()));
    let line = line.await;
    assert!(line.contains("it answered 400 Bad Request"), "{line}");
    // It is asked again with others, and on the conn that is kept.
    collector.answer(200);
    assert_eq!(world.send(&ask("GET https://api.example.test/v2")).await.status, 200);
    end(&mut world).await;
    assert_eq!(collector.messages().len(), 2);
    assert_eq!(facts(&collector.spans()[1].attributes)["url.path"], "/v2");
    assert!(world.log.text().contains("spans are sent to the collector again"));
}

#[tokio::test]
async fn a_collector_that_is_down_or_silent_holds_nothing_up() {
    let origin = Origin::start().await;
    // 1. One that is not there.
    let dead = listen().await.local_addr().unwrap();
    let world = World::new(&origin);
    let mut world = world.set("telemetry.otlp_endpoint", &format!("\"http://{dead}\"")).run().await;
    assert_eq!(world.send(&ask("GET https://api.example.test/v1")).await.status, 200);
    end(&mut world).await;
    let text = world.log.text();
    assert!(text.contains("it can't be connected to"), "{text}");
    // 2. One that takes a batch, and says nothing.
    let silent = Origin::on(listen(), |io, _number, _memory| async move {
        let mut raw = Raw::over(io);
        drop(raw.until(b"\r\n\r\n").await);
        std::future::pending::<()>().await;
    });
    let silent = silent.await;
    let url = format!("\"http://{}\"", silent.address);
    let mut world = World::new(&origin).set("telemetry.otlp_endpoint", &url).run().await;
    for _ in 0..3 {
        assert_eq!(world.send(&ask("GET https://api.example.test/v2")).await.status, 200);
    }
    end(&mut world).await;
    assert!(world.log.text().contains("the last spans are lost"));
}

#[tokio::test]
async fn a_collector_by_tls_is_verified() {
    let origin = Origin::start().await;
    let collector = Origin::answering(&["http/1.1"], |_seen| ok("")).await;
    let world = World::new(&origin).pin("api.other.example.test", &collector);
    let url = "\"https://api.other.example.test/otlp\"";
    let mut world = world.set("telemetry.otlp_endpoint", url).run().await;
    assert_eq!(world.send(&ask("GET https://api.example.test/v1")).await.status, 200);
    end(&mut world).await;
    let wrong = world.log.text();
    // The certificate of the tests' origins is for other names than this.
    assert!(wrong.contains("TLS with it failed"), "{wrong}");
    assert!(collector.seen().is_empty());
    let world = World::new(&origin).pin("id.example.test", &collector);
    let url = "\"https://id.example.test/otlp\"";
    let mut world = world.set("telemetry.otlp_endpoint", url).run().await;
    assert_eq!(world.send(&ask("GET https://api.example.test/v1")).await.status, 200);
    end(&mut world).await;
    assert_eq!(collector.only().target, "/otlp/v1/traces");
}

#[tokio::test]
async fn a_request_that_waits_for_tokens_has_a_span_of_that_below_its_own() {
    let (provider, collector) = (Provider::start().await, Collector::start().await);
    let endpoint = |world: World| world.set("telemetry.otlp_endpoint", &collector.url());
    let (_origin, mut world) = authorized::world(&provider, endpoint).await;
    world.register(&provider).await;
    provider.set_expires_in(json!(1));
    world.authorize(&provider, "mine").await;
    world.has_expired("mine").await;
    provider.set_expires_in(json!(3600));
    assert_eq!(world.send(&traced(authorized::through("mine"))).await.status, 200);
    end(&mut world).await;
    let spans = collector.spans();
    let wait = spans.iter().find(|span| span.name == "wait for tokens").unwrap();
    let whole = spans.iter().find(|span| span.span_id == wait.parent_span_id).unwrap();
    assert_eq!((wait.kind, hex(&wait.trace_id).as_str()), (SpanKind::Internal.into(), TRACE));
    assert!(whole.start_time_unix_nano <= wait.start_time_unix_nano);
    assert!(wait.end_time_unix_nano <= whole.end_time_unix_nano);
    let facts = facts(&wait.attributes);
    assert_eq!((&*facts["server.address"], &*facts["keyferry.connection"]), (HOST, "mine"));
    assert_eq!(wait.status, None);
}
