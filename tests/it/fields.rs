//! Which fields go on, in both directions (contract §3, "To the origin go").

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};

use crate::support::ask::{Ask, ask};
use crate::support::http2::request;
use crate::support::origin::{Conn, Origin, ok};
use crate::support::raw::{Answer, refused};
use crate::support::world::World;

fn get() -> Ask {
    ask("GET https://api.example.test/v1")
}

/// What a caller gets of an origin that says exactly this.
async fn relayed(said: &str, ask: &Ask) -> Answer {
    let origin = Origin::saying(said, true).await;
    let world = World::new(&origin).run().await;
    world.send(ask).await
}

#[tokio::test]
async fn what_belongs_to_the_hop_stays_with_it() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let ask = get()
        .field("Accept", "*/*")
        .field("Connection", "keep-alive, X-One")
        .field("connection", ", x-two ,close-not")
        .field("X-One", "1")
        .field("X-Two", "2")
        .field("x-two", "2 again")
        .field("Close-Not", "3")
        .field("Keep-Alive", "timeout=5")
        .field("Proxy-Connection", "keep-alive")
        .field("TE", "gzip")
        .field("Proxy-Foo", "bar")
        .field("Proxy_Foo", "bar")
        .field("X-Zis-Connection", "api")
        .field("X-Zis-Integration", "acme")
        .field("X-Zis-Anything", "x")
        .field("X-ZisFoo", "x")
        .field("X_Zis_Host", "x")
        .field("Trailer", "X-Sum")
        .field("Cookie", "a=b")
        .field("X-Kept", "yes");
    assert_eq!(world.send(&ask).await.status, 200);
    let seen = origin.only();
    assert_eq!(
        seen.names(),
        ["accept", "authorization", "cookie", "host", "trailer", "via", "x-kept"],
        "{seen:?}"
    );
}

#[tokio::test]
async fn the_credential_is_injected_last_and_alone() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .key("acme.key", "api.example.test", "X-Api-Key", "key-secret")
        .basic("acme.basic", "api.example.test", "user", "pass:\u{e9}")
        .run()
        .await;
    let named = |name: &str| get().field("X-Zis-Connection", name);
    let ask = named("key")
        .field("X-Api-Key", "forged")
        .field("x-api-key", "forged too")
        .field("X_Api_Key", "forged")
        .field("X-API_Key", "forged")
        .field("Connection", "x-api-key, authorization, host")
        .field("Authorization", "of the hop");
    assert_eq!(world.send(&ask).await.status, 200);
    let seen = origin.last();
    assert_eq!(seen.names(), ["host", "via", "x-api-key"]);
    assert_eq!(
        (seen.field("x-api-key").as_str(), seen.field("host").as_str()),
        ("key-secret", "api.example.test")
    );

    let ask = named("api")
        .field("Authorization", "Basic Zm9yZ2Vk")
        .field("authorization", "Bearer forged")
        .field("Connection", "Authorization");
    world.send(&ask).await;
    assert_eq!(origin.last().field("authorization"), "Bearer bearer-secret");

    world.send(&named("basic").field("Authorization", "forged")).await;
    assert_eq!(origin.last().field("authorization"), "Basic dXNlcjpwYXNzOsOp");

    world.send(&named("key").field("Authorization", "the caller's own")).await;
    assert_eq!(origin.last().field("authorization"), "the caller's own");
}

#[tokio::test]
async fn the_consoles_cookies_stay_here_and_others_go_on() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for (sent, arrives) in [
        ("a=b; keyferry-console=S; c=d", "a=b; c=d"),
        ("__Host-keyferry-console=S;a=b", "a=b"),
        ("keyferry_flow_0123=S; keyferry-console=T", ""),
        ("a=keyferry-console; b=c", "a=keyferry-console; b=c"),
    ] {
        world.send(&get().field("Cookie", sent)).await;
        assert_eq!(origin.last().field("cookie"), arrives, "{sent}");
        let crumbs =
            sent.split(';').fold(request("GET", "https://api.example.test/v1"), |it, crumb| {
                it.header("cookie", crumb.trim())
            });
        world.http2().await.send(crumbs).await;
        assert_eq!(origin.last().field("cookie"), arrives, "{sent}");
    }
}

#[tokio::test]
async fn over_http2_the_same_fields_stay_behind() {
    let origin = Origin::answering(&["h2"], |_seen| ok("ok")).await;
    let world = World::new(&origin).run().await;
    let mut http2 = world.http2().await;
    let request = request("GET", "https://api.example.test/v1")
        .header("authorization", "forged")
        .header("x-zis-connection", "api")
        .header("proxy-foo", "bar")
        .header("x-kept", "yes")
        .header("te", "trailers");
    assert_eq!(http2.send(request).await.status, 200);
    let seen = origin.only();
    assert_eq!(seen.names(), ["authorization", "te", "via", "x-kept"], "{seen:?}");
    assert_eq!(seen.field("authorization"), "Bearer bearer-secret");
    assert_eq!(seen.field("te"), "trailers");
}

#[tokio::test]
async fn via_says_how_the_message_came_and_finds_a_loop() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let answer = world.send(&get().field("Via", "1.0 fred, 1.1 other")).await;
    let seen = origin.last().field("via");
    let ours = seen.strip_prefix("1.0 fred, 1.1 other | 1.1 keyferry-").unwrap();
    assert_eq!(answer.field("via"), format!("1.1 keyferry-{ours}"));
    world.http2().await.send(request("GET", "https://api.example.test/v1")).await;
    assert_eq!(origin.last().field("via"), format!("2 keyferry-{ours}"));
    let sent = origin.seen().len();
    for via in [format!("1.1 keyferry-{ours}"), format!("1.0 a, 2 keyferry-{ours} (x), 1.1 b")] {
        let answer = world.send(&get().field("Via", "1.1 c").field("Via", &via)).await;
        assert_eq!(answer.refusal(), refused(502, "LoopDetected"));
    }
    assert_eq!(origin.seen().len(), sent);
    assert_eq!(world.send(&get().field("Via", "1.1 keyferry-00000000")).await.status, 200);
}

#[tokio::test]
async fn te_trailers_and_trailers_reach_the_origin_filtered() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let ask = ask("POST https://api.example.test/v1")
        .field("TE", "trailers, deflate")
        .field("Trailer", "X-Sum")
        .chunks(
            "3\r\nabc\r\n0\r\nX-Sum: 1\r\nAuthorization: forged\r\nContent-Length: 9\r\n\
             Host: evil.test\r\nTransfer-Encoding: chunked\r\nProxy-Foo: x\r\nX-Zis-Host: x\r\n\
             Connection: x\r\n\r\n",
        );
    assert_eq!(world.send(&ask).await.status, 200);
    let seen = origin.only();
    assert_eq!((seen.field("te").as_str(), seen.field("trailer").as_str()), ("trailers", "X-Sum"));
    let mut trailers: Vec<_> = seen.trailers.keys().map(http::HeaderName::as_str).collect();
    trailers.sort_unstable();
    assert_eq!(trailers, ["x-sum"]);
}

#[tokio::test]
async fn trailers_come_back_filtered() {
    let said = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
    let answer = relayed(said, &get().field("TE", "trailers")).await;
    assert_eq!((answer.text().as_str(), answer.whole), ("abc", true));
    assert_eq!(answer.trailers.get("x-sum").unwrap(), "1");
    assert_eq!(answer.trailers.len(), 1);
    // They need not be announced, and go only to callers that take them.
    let unannounced = said.replace("Trailer: X-Sum\r\n", "");
    for (coding, count) in [("gzip, trailers", 1), ("gzip", 0)] {
        let answer = relayed(&unannounced, &get().field("TE", coding)).await;
        assert_eq!((answer.text().as_str(), answer.whole), ("abc", true));
        assert_eq!(answer.trailers.len(), count, "{coding}");
    }
}

#[tokio::test]
async fn what_belongs_to_the_origins_hop_stays_with_it() {
    let said = "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nConnection: X-One, keep-alive\r\n\
                connection: x-two\r\nX-One: 1\r\nX-Two: 2\r\nKeep-Alive: timeout=5\r\n\
                Proxy-Authenticate: Basic\r\nProxy-Connection: x\r\nX-Kept: yes\r\n\
                Set-Cookie: a=b\r\nset-cookie: c=d\r\nWWW-Authenticate: Bearer\r\n\r\nok";
    let answer = relayed(said, &get()).await;
    let mut names: Vec<_> = answer.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    names.retain(|name| *name != "date");
    names.retain(|name| *name != "x-keyferry-request-id");
    assert_eq!(names, ["content-length", "set-cookie", "via", "www-authenticate", "x-kept"]);
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
}

#[tokio::test]
async fn only_the_proxys_own_answers_bear_its_proxy_status() {
    let said = "HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\
                Proxy-Status: keyferry; error=x, cdn; error=\"a, keyferry\"\r\n\
                Proxy-Status: \"keyferry\"\r\nproxy-status: KeyFerry;a, edge\r\n\r\n";
    let answer = relayed(said, &get()).await;
    let members: Vec<_> = answer.headers.get_all("proxy-status").iter().collect();
    assert_eq!(members, ["cdn; error=\"a, keyferry\"", "edge"]);
}

#[tokio::test]
async fn max_forwards_is_counted_down_on_options_and_ends_here_at_zero() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let options = ask("OPTIONS https://api.example.test/v1");
    let ended = world.send(&options.clone().field("Max-Forwards", "0")).await;
    assert_eq!((ended.status, origin.conns()), (200, 0));
    assert!(ended.field("allow").contains("PROPFIND") && !ended.field("allow").contains("TRACE"));
    assert_eq!(ended.field("proxy-status"), "keyferry", "what lacks it is the origin's");
    world.send(&options.clone().field("Max-Forwards", "2")).await;
    assert_eq!(origin.last().field("max-forwards"), "1");
    world.send(&get().field("Max-Forwards", "0")).await;
    assert_eq!(origin.last().field("max-forwards"), "0", "other methods have no such rule");
    for method in ["TRACE", "TRACK", "DEBUG", "Get", "BREW"] {
        let ask = ask(&format!("{method} https://api.example.test/v1"));
        let answer = world.send(&ask.field("Max-Forwards", "0")).await;
        assert_eq!(answer.refusal(), refused(405, "MethodNotAllowed"), "{method}");
        let is_never_passed_on = ["TRACE", "TRACK", "DEBUG"].contains(&method);
        let advises_to_allow_it = answer.title().contains("proxy.allowed_methods");
        assert_ne!(is_never_passed_on, advises_to_allow_it, "{method}: {}", answer.title());
        assert!(answer.field("allow").starts_with("GET, HEAD, POST"), "{method}");
    }
}

#[tokio::test]
async fn options_of_a_whole_origin_becomes_a_slash_and_no_more() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for url in
        ["https://api.example.test", "https://api.example.test/", "https://api.example.test?a"]
    {
        assert_eq!(world.send(&ask(&format!("OPTIONS {url}"))).await.status, 200);
    }
    let seen: Vec<_> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(seen, ["/", "/", "/?a"]);
    assert_eq!(origin.last().field("authorization"), "Bearer bearer-secret");
}

#[tokio::test]
async fn the_target_goes_on_byte_for_byte() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for target in
        ["/a/../b", "/%2e%2E/x", "/a//b", "/%00", "/a%2Fb?x=%20+&y=[]{}|^`", "/;a=b/?", "/?a?b"]
    {
        let answer = world.send(&ask(&format!("GET https://api.example.test{target}"))).await;
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(origin.last().target, target);
        world.send(&ask(&format!("GET /~/api{target}"))).await;
        assert_eq!(origin.last().target, target, "base-URL form");
    }
}

#[tokio::test]
async fn answers_without_a_body_keep_the_conn_and_their_fields() {
    let origin = Origin::scripted(|mut conn| async move {
        while let Some(head) = conn.head().await {
            let status = &head[head.find('/').unwrap() + 1..][..3];
            let length = if status == "204" { "" } else { "Content-Length: 4\r\n" };
            let body = if status == "200" && head.starts_with("GET") { "body" } else { "" };
            conn.raw
                .write(format!("HTTP/1.1 {status} X\r\n{length}ETag: \"x\"\r\n\r\n{body}"))
                .await;
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    for (line, status, length) in [
        ("HEAD https://api.example.test/200", 200, "4"),
        ("GET https://api.example.test/204", 204, ""),
        ("GET https://api.example.test/304", 304, "4"),
        ("HEAD https://api.example.test/304", 304, "4"),
        ("GET https://api.example.test/200", 200, "4"),
    ] {
        let answer = raw.send(&ask(line)).await;
        assert_eq!((answer.status, answer.field("content-length")), (status, length), "{line}");
        assert_eq!(answer.field("etag"), "\"x\"", "{line}");
    }
    assert_eq!((origin.seen().len(), origin.conns()), (5, 1));
}

/// A 100, early hints that repeat the credential and have a field of the hop, a 102, and an answer.
fn hinting(head: &str) -> String {
    let credential = head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap();
    format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\
         Connection: X-Hop\r\nX-Hop: 1\r\nX-Echo: {credential}\r\n\r\n\
         HTTP/1.1 102 Working\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
}

#[tokio::test]
async fn interim_answers_pass_and_are_fit_for_the_caller() {
    let origin = Origin::scripted(|mut conn: Conn| async move {
        while let Some(head) = conn.head().await {
            conn.raw.write(hinting(&head)).await;
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let request = "GET /v1 HTTP/1.1\r\nHost: api.example.test\r\n\r\n";
    let mut tunnel = world.tunnel().await;
    let mut plain = world.raw().await;
    for (raw, bytes) in [(&mut plain, get().bytes()), (&mut tunnel, request.into())] {
        for _kept_conn in 0..2 {
            raw.write(&bytes).await;
            let hints = raw.head().await;
            assert_eq!((hints.status, hints.field("link")), (103, "</x>; rel=preload"));
            for gone in ["connection", "x-hop", "content-length", "date"] {
                assert_eq!(hints.field(gone), "", "{gone}");
            }
            let echo = hints.field("x-echo");
            assert!(echo.ends_with('*') && !echo.contains("secret"), "{echo}");
            assert_eq!(raw.head().await.status, 102);
            let answer = raw.answer().await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
            assert_eq!(answer.field("link"), "");
        }
    }
    // HTTP/1.0 has none.
    let mut old = world.raw().await;
    let request = String::from_utf8(get().bytes()).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    old.write(request).await;
    let text = old.until(b"ok").await.unwrap();
    assert!(text.starts_with(b"HTTP/1.0 200 OK\r\n"), "{:?}", String::from_utf8_lossy(&text));
}

#[tokio::test]
async fn a_caller_that_expects_100_is_told_to_continue() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    let ask =
        ask("POST https://api.example.test/v1").field("Expect", "100-continue").body("content");
    let bytes = ask.bytes();
    let (head, body) = bytes.split_at(bytes.len() - "content".len());
    raw.write(head).await;
    assert_eq!(raw.head().await.status, 100);
    raw.write(body).await;
    assert_eq!(raw.answer().await.status, 200);
    assert_eq!(&origin.only().body[..], b"content");

    let mut raw = world.raw().await;
    let refused = String::from_utf8(head.to_vec()).unwrap().replace("api.example", "no.example");
    raw.write(refused).await;
    assert_eq!(raw.head().await.status, 403, "what is refused is not asked for its body");
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_has_ended() {
    let origin = Origin::scripted(|mut conn| async move {
        while conn.head().await.is_some() {
            conn.raw.write("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nearly").await;
            conn.raw.rest().await;
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    let half = ask("POST https://api.example.test/v1").field("Content-Length", "6");
    raw.write(half.bytes()).await;
    raw.write("abc").await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (403, "early"));
    raw.write("def").await;
    assert_eq!(raw.send(&get()).await.text(), "early", "the next request is its own");
    assert_eq!(origin.conns(), 2, "a conn with half a request on it is not used again");
}

#[tokio::test]
async fn an_answer_with_contradictory_framing_is_refused() {
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: five",
    ] {
        let said = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n0\r\n\r\nhello");
        let answer = relayed(&said, &get()).await;
        assert_eq!(answer.refusal(), refused(502, "ResponseMalformed"), "{framing}");
    }
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(relayed(old, &get()).await.refusal(), refused(502, "ResponseMalformed"));
}

#[tokio::test]
async fn an_answer_that_is_cut_never_looks_whole() {
    for said in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ] {
        let origin = Origin::saying(said, true).await;
        let world = World::new(&origin).run().await;
        let mut raw = world.raw().await;
        let answer = raw.send(&get()).await;
        assert!(!answer.whole, "{said:?}");
        raw.ends().await;
        let cut = world.http2().await.send(request("GET", "https://api.example.test/v2")).await;
        assert!(!cut.whole, "over HTTP/2 {said:?}");
        let entry = world.log.entry_of("/v2").await;
        assert!(entry["cause"].as_str().unwrap().contains("ended early"), "{entry}");
    }
}

#[tokio::test]
async fn a_body_that_ends_with_the_conn_is_whole() {
    let answer = relayed("HTTP/1.1 200 OK\r\n\r\nto the end", &get()).await;
    assert_eq!((answer.text().as_str(), answer.whole), ("to the end", true));
    let old = relayed("HTTP/1.0 200 OK\r\n\r\nto the end", &get()).await;
    assert_eq!((old.text().as_str(), old.whole), ("to the end", true));
}

#[tokio::test]
async fn trailers_pass_from_http2_to_http2() {
    let origin = Origin::answering(&["h2"], |_seen| ok("ok")).await;
    let world = World::new(&origin).run().await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    trailers.insert("authorization", "forged".parse().unwrap());
    let body = Full::new(Bytes::from_static(b"abc"));
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
    let request = request("POST", "https://api.example.test/v1").header("te", "trailers");
    let mut http2 = world.http2().await;
    let answer = http2.start(request, body.boxed_unsync()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = origin.only();
    assert_eq!(&seen.body[..], b"abc");
    assert_eq!(seen.trailers.len(), 1);
    assert_eq!(seen.trailers["x-sum"], "1");
}
