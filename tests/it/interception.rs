//! CONNECT: tunnels that are looked into, what may be said inside them, and the CA.

mod abuse;
mod authority;
mod blind;
mod many;
mod standing;

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;

use crate::support::ask::{Ask, ask, stranger};
use crate::support::http2::Http2;
use crate::support::origin::Origin;
use crate::support::raw::{Raw, refused};
use crate::support::tunnel::API;
use crate::support::world::World;

/// A request inside a tunnel, which shows no token.
fn inner(line: &str) -> Ask {
    stranger(line).host(API)
}

#[tokio::test]
async fn requests_inside_a_tunnel_leave_with_their_credential() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut tunnel = world.tunnel().await;
    for number in 0..3 {
        let path = format!("/v1/{number}?q=1");
        let answer = tunnel.send(&inner(&format!("POST {path}")).body("hello")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = origin.last();
        assert_eq!(seen.field("authorization"), "Bearer bearer-secret");
        assert_eq!((seen.field("host"), seen.target.clone()), (API.to_owned(), path));
        assert!(!seen.names().iter().any(|name| name.starts_with("proxy-")));
    }
    let entry = world.log.entry_of("/v1/2").await;
    assert_eq!((&entry["form"], &entry["decision"]), (&"tunnel".into(), &"allow".into()));
    assert_eq!((&entry["caller"], &entry["connection"]), (&"runner".into(), &"api".into()));
    drop(tunnel);
    let opened = world.log.entry(|entry| entry["method"] == "CONNECT").await;
    assert_eq!((&opened["form"], &opened["status"]), (&"connect".into(), &200.into()));
    assert_eq!(opened["origin"], "https://api.example.test");
}

#[tokio::test]
async fn http2_works_inside_a_tunnel_and_outside_it() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut inside = world.http2_tunnel().await;
    let get = |path: &str| Request::get(format!("https://{API}{path}"));
    for number in 0..3 {
        assert_eq!(inside.send(get(&format!("/{number}"))).await.status, 200);
        assert_eq!(origin.last().field("authorization"), "Bearer bearer-secret");
    }
    let other = Request::get("https://other.example.test/v1");
    assert_eq!(inside.send(other).await.refusal(), refused(421, "MisdirectedRequest"));
    assert_eq!(inside.send(get("/again")).await.status, 200);
}

#[tokio::test]
async fn a_stream_of_http2_can_be_a_tunnel() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut outer = world.http2().await;
    let shown = format!("Bearer {}", crate::support::token("runner"));
    for alpn in ["http/1.1", "h2"] {
        let connect = Request::connect(format!("{API}:443")).header("proxy-authorization", &shown);
        let empty = Empty::new().boxed_unsync();
        let opened = outer.start(connect, empty).await.unwrap();
        assert_eq!(opened.status(), 200);
        let stream = TokioIo::new(hyper::upgrade::on(opened).await.unwrap());
        let mut tunnel = world.shake(Raw::over(stream), API, &[alpn]).await.unwrap();
        if alpn == "h2" {
            let get = Request::get(format!("https://{API}/v1"));
            assert_eq!(Http2::over(tunnel).await.send(get).await.status, 200);
        } else {
            assert_eq!(tunnel.send(&inner("GET /v1")).await.status, 200);
        }
        assert_eq!(origin.last().field("authorization"), "Bearer bearer-secret");
    }
    // Beside its tunnels the conn goes on as any other.
    let get = crate::support::http2::request("GET", &format!("https://{API}/beside"));
    assert_eq!(outer.send(get).await.status, 200);
    let refused_stream = Request::connect("nobody.example.test:443");
    let refused_stream = refused_stream.header("proxy-authorization", &shown);
    assert_eq!(outer.send(refused_stream).await.refusal(), refused(403, "ConnectionRequired"));
}

#[tokio::test]
async fn a_tunnel_is_for_one_origin() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .bearer("acme.other", "other.example.test", "other-secret")
        .pin("other.example.test", &origin)
        .run()
        .await;
    let mut tunnel = world.tunnel().await;
    for request in [
        stranger("GET /v1").host("other.example.test"),
        stranger("GET /v1").host("api.example.test:8443"),
        stranger("GET /v1").host("127.0.0.1"),
        stranger("GET https://other.example.test/v1").host("other.example.test"),
        stranger("GET https://other.example.test/v1").host(API),
        stranger("GET http://api.example.test/v1").host(API),
        inner("GET /v1").field("X-Zis-Host", "other.example.test"),
    ] {
        let answer = tunnel.send(&request).await;
        assert_eq!(answer.refusal(), refused(421, "MisdirectedRequest"), "{answer:?}");
    }
    assert_eq!(origin.conns(), 0);
    for request in [
        stranger("GET /v1").host("API.example.test:443"),
        stranger("GET https://api.example.test/v1").host(API),
        inner("GET /v1").field("X-Zis-Host", API),
    ] {
        assert_eq!(tunnel.send(&request).await.status, 200);
    }
}

#[tokio::test]
async fn a_host_is_the_same_in_upper_and_in_lower_case() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let tunnel = world.connect(&ask("CONNECT API.Example.TEST:443")).await;
    let mut tunnel = world.shake(tunnel, "API.example.Test", &["http/1.1"]).await.unwrap();
    assert_eq!(tunnel.send(&stranger("GET /v1").host("Api.Example.Test")).await.status, 200);
    assert_eq!(origin.only().field("host"), API);
    assert!(world.metric("keyferry_leaf_cache_entries").await < 1.5);
}

#[tokio::test]
async fn a_request_inside_may_choose_among_the_connections_of_the_host() {
    let origin = Origin::start().await;
    let world = World::new(&origin).bearer("acme.second", "*.example.test", "second-secret");
    let world = world.run().await;
    let mut tunnel = world.tunnel().await;
    let unnamed = tunnel.send(&inner("GET /v1")).await;
    assert_eq!(unnamed.refusal(), refused(409, "AmbiguousConnection"));
    for (name, secret) in [("second", "second-secret"), ("api", "bearer-secret")] {
        let named = inner("GET /v1").field("X-Zis-Connection", name);
        assert_eq!(tunnel.send(&named).await.status, 200);
        assert_eq!(origin.last().field("authorization"), format!("Bearer {secret}"));
        assert!(!origin.last().names().contains(&"x-zis-connection"));
    }
    let missing = tunnel.send(&inner("GET /v1").field("X-Zis-Connection", "nobody")).await;
    assert_eq!(missing.refusal(), refused(403, "ConnectionNotFound"));
    let named = ask(&format!("CONNECT {API}:443")).field("X-Zis-Connection", "second");
    let tunnel = world.connect(&named).await;
    let mut tunnel = world.shake(tunnel, API, &["http/1.1"]).await.unwrap();
    assert_eq!(tunnel.send(&inner("GET /v1")).await.status, 200);
    assert_eq!(origin.last().field("authorization"), "Bearer second-secret");
    let other = tunnel.send(&inner("GET /v1").field("X-Zis-Connection", "api")).await;
    assert_eq!(other.refusal(), refused(400, "ConflictingTags"));
}

#[tokio::test]
async fn a_tunnel_may_be_asked_for_in_http_1_0_without_a_host() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let token = crate::support::token("runner");
    let shown = format!("Proxy-Authorization: Bearer {token}\r\n\r\n");
    let mut raw = world.raw().await;
    raw.write(format!("CONNECT {API}:443 HTTP/1.0\r\n{shown}")).await;
    let head = raw.until(b"\r\n\r\n").await.unwrap();
    assert!(head.starts_with(b"HTTP/1.0 200") || head.starts_with(b"HTTP/1.1 200"), "{head:?}");
    let mut tunnel = world.shake(raw, API, &["http/1.1"]).await.unwrap();
    assert_eq!(tunnel.send(&inner("GET /v1")).await.status, 200);
    for line in [format!("CONNECT {API}:443 HTTP/1.1"), format!("GET https://{API}/ HTTP/1.0")] {
        let answer = world.exchange(format!("{line}\r\n{shown}")).await;
        assert!(answer.starts_with(b"HTTP/1.1 400"), "{line}");
    }
}

#[tokio::test]
async fn what_can_be_decided_is_decided_before_the_tunnel_is_open() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .scoped_token("reader", "acme", "read", "")
        .token("limited", "acme", "connections = [\"second\"]")
        .bearer("acme.second", "second.example.test", "second-secret")
        .run()
        .await;
    let connect = |authority: &str| ask(&format!("CONNECT {authority}"));
    for (request, status, code) in [
        (stranger("CONNECT api.example.test:443"), 407, "CallerUnknown"),
        (stranger("CONNECT api.example.test:443").by("reader"), 403, "ConnectionForbidden"),
        (stranger("CONNECT api.example.test:443").by("limited"), 403, "ConnectionRequired"),
        (connect("nobody.example.test:443"), 403, "ConnectionRequired"),
        (connect("127.0.0.1:443"), 403, "ConnectionRequired"),
        (connect("api.example.test.:443"), 403, "ConnectionRequired"),
        (connect("api.example.test:8443"), 403, "PortNotAllowed"),
        (
            connect("api.example.test:443").field("X-Zis-Connection", "nope"),
            403,
            "ConnectionNotFound",
        ),
        (
            connect("api.example.test:443").field("X-Zis-Connection", "second"),
            403,
            "DomainNotAllowed",
        ),
        (
            connect("api.example.test:443").field("X-Zis-Integration", "other"),
            403,
            "ConnectionForbidden",
        ),
        (connect("api.example.test"), 400, "MalformedRequest"),
        (connect("api.example.test:443").body("x"), 400, "MalformedRequest"),
        (connect("api.example.test:443").chunks("0\r\n\r\n"), 400, "MalformedRequest"),
        (connect("user@api.example.test:443"), 400, "MalformedRequest"),
    ] {
        let answer = world.send(&request).await;
        assert_eq!(answer.refusal(), refused(status, code), "{}", answer.title());
    }
    let unknown = world.send(&stranger("CONNECT api.example.test:443")).await;
    let offered = unknown.headers.get_all("proxy-authenticate").iter().count();
    assert_eq!(offered, 2, "Basic and Bearer");
    assert_eq!(origin.conns(), 0);
}
