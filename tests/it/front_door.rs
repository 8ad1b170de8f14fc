//! Every form of a request, over every way in (contract §3, "Request forms").

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Response, StatusCode};

use crate::support::ask::{Ask, ask, stranger};
use crate::support::http2::{Http2, request};
use crate::support::origin::{Origin, ok};
use crate::support::raw::{Raw, refused};
use crate::support::world::World;
use crate::support::{tls, token};

/// One request of each form of HTTP/1.1, all to `https://api.example.test/v1?a=b`.
fn forms() -> [(&'static str, Ask); 6] {
    [
        ("absolute", ask("GET https://api.example.test/v1?a=b")),
        ("absolute", ask("GET https://API.Example.test:443/v1?a=b").host("elsewhere.test")),
        ("gateway", ask("GET /v1?a=b").field("X-Zis-Host", "api.example.test")),
        ("gateway", ask("GET /v1?a=b").host("api.example.test").field("X-Zis-Connection", "api")),
        ("base_url", ask("GET /~/api/v1?a=b")),
        ("base_url", ask("GET /~/acme.api/v1?a=b")),
    ]
}

#[tokio::test]
async fn every_form_reaches_the_origin_with_the_credential() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for (form, ask) in forms() {
        let answer = world.send(&ask).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{form}");
        let seen = origin.last();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/v1?a=b"), "{form}");
        assert_eq!(seen.field("host"), "api.example.test", "{form}");
        assert_eq!(seen.field("authorization"), "Bearer bearer-secret", "{form}");
    }
    assert_eq!(origin.seen().len(), forms().len());
    let expected = forms().map(|(form, _)| form);
    let logged = world.log.all_entries(expected.len()).await;
    let logged = logged.iter().map(|entry| entry["form"].clone()).collect::<Vec<_>>();
    assert_eq!(logged, expected);
}

#[tokio::test]
async fn every_form_works_over_a_unix_socket() {
    let origin = Origin::start().await;
    let world = World::new(&origin);
    let path = world.path("proxy.sock");
    let listen = format!("[\"unix:{}\"]", path.display());
    let world = world.set("proxy.listen", &listen).set("proxy.socket_mode", "\"0660\"");
    let _running = world.run().await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o660);
    for (form, ask) in forms() {
        assert_eq!(Raw::unix(&path).await.send(&ask).await.status, 200, "{form}");
    }
    assert_eq!(origin.seen().len(), forms().len());
}

#[tokio::test]
async fn callers_may_speak_tls_to_the_proxy_and_choose_http_by_alpn() {
    let origin = Origin::start().await;
    let leaf = tls::TRUSTED.leaf(&["localhost"]);
    let world = World::new(&origin)
        .file("proxy.pem", &leaf.pem)
        .file("proxy.key", &leaf.key.serialize_pem())
        .set("proxy.tls", "{ cert = \"proxy.pem\", key = \"proxy.key\" }")
        .run()
        .await;
    assert!(world.proxies[0].starts_with("https://127.0.0.1:"));
    for alpn in [&[][..], &["http/1.1"]] {
        for (form, ask) in forms() {
            let (mut raw, _) = Raw::tls(world.address(), alpn).await;
            assert_eq!(raw.send(&ask).await.status, 200, "{form}");
        }
    }
    let (raw, chosen) = Raw::tls(world.address(), &["h2", "http/1.1"]).await;
    assert_eq!(chosen.as_deref(), Some(&b"h2"[..]));
    let mut http2 = Http2::over(raw).await;
    let answer = http2.send(request("GET", "https://api.example.test/v1")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
}

#[tokio::test]
async fn over_http2_authority_path_and_fields_tell_the_form() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut http2 = world.http2().await;
    let own = format!("http://{}", world.address());
    for (form, request) in [
        ("absolute", request("GET", "https://api.example.test/v1")),
        ("base_url", request("GET", &format!("{own}/~/api/v1"))),
        ("gateway", request("GET", &format!("{own}/v1")).header("x-zis-host", "api.example.test")),
    ] {
        let answer = http2.send(request).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{form}");
        let seen = origin.last();
        assert_eq!(
            (seen.target.as_str(), seen.field("host").as_str()),
            ("/v1", "api.example.test")
        );
        assert_eq!(seen.field("authorization"), "Bearer bearer-secret");
        world.log.entry(|entry| entry["form"] == form).await;
    }
    let plain = http2.send(request("GET", "http://api.example.test/v1")).await;
    assert_eq!(plain.refusal(), refused(403, "HttpsRequired"));
    let foreign = http2
        .send(request("GET", "https://evil.test/v1").header("x-zis-host", "api.example.test"))
        .await;
    assert_eq!(foreign.refusal(), refused(421, "MisdirectedRequest"));
    let second = http2
        .send(request("GET", "https://api.example.test/v1").header("host", "other.example.test"))
        .await;
    assert_eq!(second.refusal(), refused(400, "MalformedRequest"));
    assert_eq!(origin.seen().len(), 3);
}

#[tokio::test]
async fn a_base_url_path_on_an_absolute_target_is_the_origins_own() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    world.send(&ask("GET https://api.example.test/~/api/v1")).await;
    assert_eq!(origin.last().target, "/~/api/v1");
    let mut http2 = world.http2().await;
    http2.send(request("GET", "https://api.example.test/~/api/v2")).await;
    assert_eq!(origin.last().target, "/~/api/v2");
}

#[tokio::test]
async fn cleartext_is_refused_unless_it_is_upgraded() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let answer = world.send(&ask("GET http://api.example.test/v1")).await;
    assert_eq!(answer.refusal(), refused(403, "HttpsRequired"));
    assert_eq!(origin.conns(), 0);

    let world = World::new(&origin)
        .pin_to("api.example.test:8443", &origin.address.to_string())
        .set("proxy.plain_http", "\"upgrade\"")
        .set("proxy.allowed_ports", "[443, 8443]")
        .run()
        .await;
    for (url, host) in [
        ("http://api.example.test/v1", "api.example.test"),
        ("http://api.example.test:80/v1", "api.example.test"),
        ("http://api.example.test:443/v1", "api.example.test"),
        ("http://api.example.test:8443/v1", "api.example.test:8443"),
    ] {
        assert_eq!(world.send(&ask(&format!("GET {url}"))).await.status, 200, "{url}");
        assert_eq!(origin.last().field("host"), host, "{url}");
    }
    let answer = world.send(&ask("GET http://api.example.test:8080/v1")).await;
    assert_eq!(answer.refusal(), refused(403, "PortNotAllowed"));
}

#[tokio::test]
async fn an_origin_on_another_port_is_named_with_it() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .pin_to("api.example.test:8443", &origin.address.to_string())
        .set("proxy.allowed_ports", "[443, 8443]")
        .run()
        .await;
    assert_eq!(world.send(&ask("GET https://api.example.test:8443/v1")).await.status, 200);
    assert_eq!(origin.only().field("host"), "api.example.test:8443");
    let entry = world.log.entry_of("/v1").await;
    assert_eq!(entry["origin"], "https://api.example.test:8443");
}

#[tokio::test]
async fn a_wildcard_connection_needs_its_host_in_base_url_form() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .bearer("acme.wild", "*.wild.example.test", "wild-secret")
        .pin("wild.example.test", &origin)
        .pin("deep.wild.example.test", &origin)
        .run()
        .await;
    let answer = world.send(&ask("GET /~/wild/v1")).await;
    assert_eq!(answer.refusal(), refused(400, "MalformedRequest"));
    assert!(answer.title().contains("X-Zis-Host"));
    for host in ["wild.example.test", "deep.wild.example.test"] {
        let answer = world.send(&ask("GET /~/wild/v1").field("X-Zis-Host", host)).await;
        assert_eq!(answer.status, 200, "{host}");
        assert_eq!(origin.last().field("host"), host);
        assert_eq!(origin.last().field("authorization"), "Bearer wild-secret");
    }
    for host in ["notwild.example.test", "api.example.test"] {
        let answer = world.send(&ask("GET /~/wild/v1").field("X-Zis-Host", host)).await;
        assert_eq!(answer.refusal(), refused(403, "DomainNotAllowed"), "{host}");
    }
}

#[tokio::test]
async fn in_base_url_form_the_token_may_stand_where_the_key_goes() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .key("acme.key", "api.example.test", "X-Api-Key", "key-secret")
        .run()
        .await;
    let token = token("runner");
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    for (path, name, value) in [
        ("api", "Authorization", format!("Bearer {token}")),
        ("api", "authorization", format!("bearer {token}")),
        ("api", "Authorization", basic(&format!("any:{token}"))),
        ("api", "Authorization", basic(&format!(":{token}"))),
        ("api", "Authorization", basic(&format!("{token}:"))),
        ("key", "X-Api-Key", token.clone()),
        ("key", "Authorization", format!("Bearer {token}")),
    ] {
        let ask = stranger(&format!("GET /~/{path}/v1")).field(name, &value);
        assert_eq!(world.send(&ask).await.status, 200, "{path} {name}");
        let seen = origin.last();
        assert!(!format!("{:?}", seen.headers).contains("kf_"), "{seen:?}");
        match path {
            "key" => {
                assert_eq!(seen.field("x-api-key"), "key-secret");
                assert_eq!(seen.field("authorization"), "");
            }
            _ => assert_eq!(seen.field("authorization"), "Bearer bearer-secret"),
        }
    }
    let sent = origin.seen().len();
    for (path, name) in [("api", "X-Api-Key"), ("key", "X-Other")] {
        let ask = stranger(&format!("GET /~/{path}/v1")).field(name, &token);
        assert_eq!(world.send(&ask).await.refusal(), refused(400, "MalformedRequest"), "{name}");
    }
    assert_eq!(origin.seen().len(), sent);
}

#[tokio::test]
async fn in_base_url_form_redirects_lead_back_to_the_proxy_and_cookies_stay_out() {
    let origin = Origin::answering(&["http/1.1"], |seen| {
        Response::builder()
            .status(StatusCode::FOUND)
            .header("location", seen.field("x-to"))
            .header("content-location", seen.field("x-to"))
            .header("set-cookie", "a=b")
            .header("set-cookie", "c=d")
            .body(ok("").into_body())
            .unwrap()
    })
    .await;
    let world = World::new(&origin).run().await;
    for (to, back) in [
        ("https://api.example.test/v2?x=y#z", "/~/acme.api/v2?x=y#z"),
        ("https://API.example.test:443/v2", "/~/acme.api/v2"),
        ("//api.example.test/v2", "/~/acme.api/v2"),
        ("/v2", "/~/acme.api/v2"),
        ("https://api.example.test", "/~/acme.api/"),
        ("v2", "/~/acme.api/v2"),
        ("https://api.example.test:8443/v2", "https://api.example.test:8443/v2"),
        ("https://api.example.test.evil.test/v2", "https://api.example.test.evil.test/v2"),
        ("https://api.example.test@evil.test/", "https://api.example.test@evil.test/"),
        ("http://api.example.test/v2", "http://api.example.test/v2"),
    ] {
        let ask = stranger("GET /~/acme.api/v1").field("X-To", to);
        let answer = world.send(&ask.field("Authorization", &token("runner"))).await;
        assert_eq!(answer.field("location"), back, "{to}");
        assert_eq!(answer.field("content-location"), back, "{to}");
        assert!(!answer.headers.contains_key("set-cookie"), "{to}");
        let ask = crate::support::ask::ask("GET https://api.example.test/v1").field("X-To", to);
        let answer = world.send(&ask).await;
        assert_eq!(answer.field("location"), to, "only base-URL form is rewritten");
        assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    }
}

#[tokio::test]
async fn where_the_proxy_is_spoken_to_as_an_origin_it_is_by_one_of_its_names() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .set("proxy.allowed_hosts", "[\"localhost\", \"proxy.internal\", \"[::1]\"]")
        .run()
        .await;
    for line in ["GET /~/api/v1", "GET /v1"] {
        let ask = ask(line).field("X-Zis-Host", "api.example.test");
        for host in ["localhost", "LOCALHOST:8080", "proxy.internal", "[::1]:80", "[::1]"] {
            assert_eq!(world.send(&ask.clone().host(host)).await.status, 200, "{line} {host}");
        }
        let sent = origin.seen().len();
        for host in ["evil.test", "localhost.evil.test", "127.0.0.1", "", "localhost:8080:1"] {
            let answer = world.send(&ask.clone().host(host)).await;
            let expected = refused(421, "MisdirectedRequest");
            assert_eq!(answer.refusal(), expected, "{line} {host:?}");
        }
        assert_eq!(origin.seen().len(), sent);
    }
}

#[tokio::test]
async fn an_untagged_request_to_the_proxy_itself_goes_nowhere() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for line in ["GET /", "GET /v1", "OPTIONS *", "GET *"] {
        let answer = world.send(&stranger(line).host("api.example.test")).await;
        assert_eq!(answer.refusal(), refused(400, "MalformedRequest"), "{line}");
    }
    let unnamed = world.send(&ask("GET /v1").host("api.example.test")).await;
    assert_eq!(unnamed.refusal(), refused(403, "ConnectionRequired"));
    assert_eq!(origin.conns(), 0);
}

/// A caller whose request is refused before its body has come is told if its conn ends; what has
/// come already is passed over, and the conn serves the next request.
#[tokio::test]
async fn a_refusal_before_the_body_says_what_becomes_of_the_conn() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let post = ask("POST http://api.example.test/v1");
    let mut raw = world.raw().await;
    for _kept_conn in 0..2 {
        let answer = raw.send(&post.clone().body("all of it")).await;
        assert_eq!((answer.status, answer.field("connection")), (403, ""));
    }
    raw.write(post.clone().field("Content-Length", "9").bytes()).await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.field("connection")), (403, "close"));
    raw.ends().await;
}
