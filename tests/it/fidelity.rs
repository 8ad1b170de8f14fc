//! What passes as it is, what is refused so that its sender can tell, and what never passes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::TlsAcceptor;

use crate::support::ask::{ask, stranger};
use crate::support::http2::{collect, request};
use crate::support::origin::{Conn, Origin, listen, ok};
use crate::support::raw::{Raw, refused};
use crate::support::tunnel::API;
use crate::support::world::World;
use crate::support::{tls, token};

/// Everything printable that clients are seen to send as it is, but the space and the fragment.
const RAW: &str = "\"<>|^`{}\\[]'";

#[tokio::test]
async fn proxy_authorization_inside_a_tunnel_is_ignored_whatever_it_carries() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut tunnel = world.tunnel().await;
    let pair = STANDARD.encode(format!("acme:{}", token("runner")));
    for value in [
        format!("Basic {pair}"),
        format!("Bearer {}", token("runner")),
        format!("Bearer {}", token("another")),
        "Basic other".to_owned(),
    ] {
        let inner = || stranger("GET /v1").host(API).field("Proxy-Authorization", &value);
        for ask in [inner(), inner().field("Proxy-Authorization", "Bearer twice")] {
            assert_eq!(tunnel.send(&ask).await.status, 200, "{value}");
            let seen = origin.last();
            assert_eq!(seen.field("authorization"), "Bearer bearer-secret");
            assert!(!format!("{:?}", seen.headers).contains("kf_"), "{seen:?}");
            assert_eq!(seen.field("proxy-authorization"), "");
        }
    }
    let stray = stranger("GET /v1").host(API).field("X-Other", &token("runner"));
    assert_eq!(tunnel.send(&stray).await.refusal(), refused(400, "MalformedRequest"));
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An origin that reads any target, which our library's server does not: over HTTP/1.1, and where
/// it is offered over HTTP/2, which it says.
async fn reading_raw() -> Origin {
    let acceptor = TlsAcceptor::from(tls::origin(&["h2", "http/1.1"]));
    Origin::on(listen(), move |io, number, memory| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(io) = acceptor.accept(io).await else { return };
            if io.get_ref().1.alpn_protocol() == Some(b"h2") {
                let service =
                    service_fn(|_request| async { Ok::<_, std::convert::Infallible>(ok("h2")) });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ended = builder.serve_connection(TokioIo::new(io), service).await;
                return;
            }
            let mut conn = Conn::new(number, Raw::over(io), memory);
            while conn.head().await.is_some() {
                conn.raw.write(OK).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn raw_characters_in_a_target_pass_byte_for_byte() {
    let origin = reading_raw().await;
    let world = World::new(&origin).run().await;
    let target = format!("/v1/{RAW}?query=up{{job=\"a\"}}>1&{RAW}&x=%22");
    let mut raw = world.raw().await;
    let mut tunnel = world.tunnel().await;
    for line in [format!("GET https://api.example.test{target}"), format!("POST /~/api{target}")] {
        // Together with the next request, and in pieces.
        let message = ask(&line).bytes();
        raw.write([message.as_slice(), &message].concat()).await;
        assert_eq!((raw.answer().await.status, raw.answer().await.status), (200, 200), "{line}");
        assert_eq!(origin.last().target, target);
        for piece in message.chunks(7) {
            raw.write(piece).await;
        }
        assert_eq!(raw.answer().await.status, 200, "{line}");
        assert_eq!(origin.last().target, target);
    }
    let inner = stranger(&format!("GET {target}")).host(API);
    assert_eq!(tunnel.send(&inner).await.status, 200);
    assert_eq!(origin.last().target, target);
    let entry = world.log.entry(|entry| entry["form"] == "tunnel").await;
    assert_eq!(entry["path"], format!("/v1/{RAW}"));
}

#[tokio::test]
async fn raw_characters_need_an_origin_that_speaks_http_1_1() {
    let both = reading_raw().await;
    let world = World::new(&both).run().await;
    let line = format!("GET https://api.example.test/v1?{RAW}");
    assert_eq!(world.send(&ask("GET https://api.example.test/v1")).await.text(), "h2");
    assert_eq!(world.send(&ask(&line)).await.text(), "ok");
    assert_eq!(both.only().target, format!("/v1?{RAW}"));

    let alone = Origin::answering(&["h2"], |_seen| ok("ok")).await;
    let world = World::new(&alone).run().await;
    let answer = world.send(&ask(&line)).await;
    assert_eq!(answer.refusal(), refused(400, "MalformedRequest"));
    assert!(answer.title().contains("%22"), "{}", answer.title());
    assert_eq!(world.log.entry_of("/v1").await["code"], "MalformedRequest");
    assert!(alone.seen().is_empty());
}

#[tokio::test]
async fn http2_callers_are_read_as_strictly_as_http_1_1() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut http2 = world.http2().await;
    let get = |target: &str| request("GET", &format!("https://api.example.test{target}"));
    for strange in [
        get("/v1/\u{e9}"),
        get("/v1?\u{e022}"),
        get("/v1").header(HeaderName::from_lowercase(b"a\"b").unwrap(), "x"),
        get("/v1").header("host", "other.example.test"),
        request("GET", "https://user@api.example.test/v1"),
        request("GET", &format!("http://user@{}/~/api/v1", world.address())),
        request("GET", &format!("http://{}/~/api/v1", world.address())).header("host", "x.test"),
    ] {
        let answer = http2.send(strange).await;
        assert_eq!(answer.refusal(), refused(400, "MalformedRequest"));
    }
    assert_eq!(http2.send(get("/v1").header("a!#$b", "x")).await.status, 200);
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn no_trailer_takes_a_token_or_a_second_framing_to_the_origin() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .key("acme.key", "other.example.test", "X-Api-Key", "key-secret")
        .pin("other.example.test", &origin)
        .run()
        .await;
    let pair = STANDARD.encode(format!("u:{}", token("runner")));
    let escaped = token("runner").replace('_', "%5F");
    let chunks = format!(
        "2\r\nhi\r\n0\r\nAuthorization: Basic {pair}\r\nX-Other: Basic {pair}\r\n\
         X-Url: https://x/?{escaped}\r\ncontent_length: 5\r\nTransfer.Encoding: chunked\r\n\
         X.Api.Key: forged\r\nX_Zis_Host: x\r\nX-Sum: 1\r\n\r\n"
    );
    let ask = ask("POST https://other.example.test/v1").field("TE", "trailers");
    assert_eq!(world.send(&ask.field("Trailer", "X-Sum").chunks(&chunks)).await.status, 200);
    let seen = origin.last();
    assert_eq!(seen.body, "hi");
    let names: Vec<_> = seen.trailers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-sum"]);

    let origin = Origin::answering(&["h2"], |_seen| ok("ok")).await;
    let world = World::new(&origin).run().await;
    let mut http2 = world.http2().await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("authorization", format!("Basic {pair}").parse().unwrap());
    trailers.insert(HeaderName::from_lowercase(b"a\"b").unwrap(), "x".parse().unwrap());
    trailers.insert("x-sum", "1".parse().unwrap());
    let body = Full::from("hi").with_trailers(std::future::ready(Some(Ok(trailers))));
    let post = request("POST", "https://api.example.test/v1").header("te", "trailers");
    let answer = http2.start(post, body.boxed_unsync()).await.unwrap();
    assert_eq!(collect(answer).await.status, 200);
    let names: Vec<_> = origin.last().trailers.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["x-sum"]);
}

#[tokio::test]
async fn a_token_in_a_url_is_refused_and_not_logged_in_every_spelling_of_its_escapes() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let token = token("runner");
    let body = &token[3..];
    for spelled in [format!("kf%5F{body}"), format!("%6b%66%5f{body}"), format!("kf%255f{body}")] {
        for line in [
            format!("GET https://api.example.test/v1/{spelled}/x"),
            format!("GET /~/api/v1?key={spelled}"),
        ] {
            let answer = world.send(&ask(&line)).await;
            assert_eq!(answer.refusal(), refused(400, "MalformedRequest"), "{line}");
        }
        let field = ask("GET https://api.example.test/v1").field("Referer", &format!("/{spelled}"));
        assert_eq!(world.send(&field).await.refusal(), refused(400, "MalformedRequest"));
    }
    assert_eq!(origin.conns(), 0);
    world.log.all_entries(9).await;
    assert!(!world.log.text().contains(body), "{}", world.log.text());
}

#[tokio::test]
async fn every_spelling_of_the_injected_field_is_taken_out() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .key("acme.key", "other.example.test", "X-Api-Key", "key-secret")
        .pin("other.example.test", &origin)
        .run()
        .await;
    let mut get = ask("GET https://other.example.test/v1");
    for name in ["X.Api.Key", "X_Api_Key", "x-api.key", "X~Api~Key", "X-API-KEY"] {
        get = get.field(name, "forged");
    }
    assert_eq!(world.send(&get).await.status, 200);
    let seen = format!("{:?}", origin.last().headers);
    assert!(seen.contains("key-secret") && !seen.contains("forged"), "{seen}");
}

#[tokio::test]
async fn every_answer_names_its_entry_and_no_origin_can_name_another() {
    let origin = Origin::answering(&["http/1.1"], |_seen| {
        let mut response = ok("ok");
        let headers = response.headers_mut();
        headers.insert("x-keyferry-request-id", "forged".parse().unwrap());
        headers.append("proxy-status", "cdn; details=\"".parse().unwrap());
        headers.append("proxy-status", "\", keyferry; error=http_request_denied".parse().unwrap());
        response
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    for (ask, status) in [
        (ask("GET https://api.example.test/relayed"), 200),
        (ask("GET https://other.example.test/refused"), 403),
        (ask("OPTIONS https://api.example.test/ended").field("Max-Forwards", "0"), 200),
        (stranger("GET /~/api/unknown"), 401),
    ] {
        let answer = raw.send(&ask).await;
        assert_eq!(answer.status, status);
        let id = answer.field("x-keyferry-request-id").to_owned();
        let entry = world.log.entry(|entry| entry["request_id"] == id.as_str()).await;
        assert_eq!(entry["status"], status, "{entry}");
        let names_us = answer.field("proxy-status").contains("keyferry");
        assert_eq!(names_us, answer.text() != "ok", "{answer:?}");
    }
    let malformed = world.exchange("GET / HTTP/9.9\r\n\r\n").await;
    let malformed = String::from_utf8_lossy(&malformed).into_owned();
    let (_, id) = malformed.split_once("x-keyferry-request-id: ").unwrap();
    let id = id.split("\r\n").next().unwrap().to_owned();
    world.log.entry(|entry| entry["request_id"] == id.as_str()).await;
    raw.write(ask(&format!("CONNECT {API}:443")).bytes()).await;
    assert!(!raw.head().await.field("x-keyferry-request-id").is_empty());
}

#[tokio::test]
async fn a_grpc_caller_is_refused_in_trailers_only() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut http2 = world.http2().await;
    let mut inside = world.http2_tunnel().await;
    let call = |url: &str| request("POST", url).header("content-type", "application/grpc+proto");
    let unknown = http::Request::post("https://api.example.test/pkg.Service/Call")
        .header("content-type", "application/grpc");
    let forbidden = http::Request::post("https://other.example.test/pkg.Service/Call")
        .header("content-type", "application/grpc");
    for (answer, status, error) in [
        (http2.send(call("https://other.example.test/x")).await, "7", "http_request_denied"),
        (http2.send(unknown).await, "16", "http_request_denied"),
        (
            http2.send(call("https://api.example.test/x").header("x-zis-host", "a b")).await,
            "3",
            "http_request_error",
        ),
        (inside.send(forbidden).await, "3", "http_request_denied"),
    ] {
        assert_eq!((answer.status, answer.field("grpc-status")), (200, status), "{answer:?}");
        assert_eq!(answer.field("content-type"), "application/grpc");
        assert!(!answer.field("grpc-message").is_empty() && answer.body.is_empty(), "{answer:?}");
        assert!(answer.field("proxy-status").contains(error), "{answer:?}");
        assert!(!answer.field("x-keyferry-request-id").is_empty());
    }
    let entry = world.log.entry(|entry| entry["code"] == "ConnectionRequired").await;
    assert_eq!((&entry["status"], &entry["decision"]), (&403.into(), &"refuse".into()));
    let plain = ask("POST https://other.example.test/x").field("Content-Type", "application/grpc");
    assert_eq!(world.send(&plain).await.refusal(), refused(403, "ConnectionRequired"));
}

#[tokio::test]
async fn a_limited_token_learns_of_no_other_connection() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .bearer("acme.other", "other.example.test", "other-secret")
        .bearer("acme.same", "api.example.test", "same-secret")
        .token("limited", "acme", "connections = [\"api\"]")
        .token("wide", "*", "connections = [\"acme.api\"]")
        .run()
        .await;
    let by = |name: &str, connection: &str| {
        let ask = stranger("GET https://api.example.test/v1").by(name);
        ask.field("X-Zis-Connection", connection).field("X-Zis-Integration", "acme")
    };
    for name in ["limited", "wide"] {
        assert_eq!(world.send(&by(name, "api")).await.status, 200);
        let mut said = Vec::new();
        for connection in ["other", "missing"] {
            let answer = world.send(&by(name, connection)).await;
            assert_eq!(answer.refusal(), refused(403, "ConnectionForbidden"), "{connection}");
            said.push(answer.title().replace(connection, "NAME"));
            let connect = stranger(&format!("CONNECT {API}:443")).by(name);
            let connect = connect.field("X-Zis-Connection", connection);
            let answer = world.send(&connect.field("X-Zis-Integration", "acme")).await;
            assert_eq!(answer.refusal(), refused(403, "ConnectionForbidden"), "{connection}");
            let base = stranger(&format!("GET /~/acme.{connection}/v1")).by(name);
            assert_eq!(world.send(&base).await.refusal(), refused(403, "ConnectionForbidden"));
        }
        assert_eq!(said[0], said[1]);
        // Another that covers the host is not spoken of.
        let unnamed = stranger("GET https://api.example.test/v1").by(name);
        assert_eq!(world.send(&unnamed.field("X-Zis-Integration", "acme")).await.status, 200);
    }
    let missing = ask("GET https://api.example.test/v1").field("X-Zis-Connection", "missing");
    assert_eq!(world.send(&missing).await.refusal(), refused(403, "ConnectionNotFound"));
}
