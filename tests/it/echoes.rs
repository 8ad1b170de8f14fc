//! An origin that repeats the credential: it is masked in its answer (contract §3).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use http_body_util::Full;
use tokio::sync::{Mutex, mpsc};

use crate::support::ask::{Ask, ask};
use crate::support::http2::request;
use crate::support::origin::{Conn, Origin, Seen, ok};
use crate::support::raw::Answer;
use crate::support::world::World;

const SECRET: &str = "bearer-secret";
const WARNING: &str =
    "an origin repeats the connection's credential in its answers; it is masked there";

fn get() -> Ask {
    ask("GET https://api.example.test/v1")
}

/// Repeats what it was sent in fields, in several spellings, and in the body.
fn echo(seen: &Seen) -> Response<Full<Bytes>> {
    let sent = seen.field("authorization");
    let token = sent.strip_prefix("Bearer ").unwrap().to_owned();
    let mut response = ok(&format!("you are {token}"));
    for (name, value) in [
        ("x-echo", sent),
        ("x-echo", format!("a={token}; b=\"{token}\"")),
        ("x-base64", STANDARD.encode(format!("user:{token}"))),
        ("x-url", format!("/path?key={}", token.replace('-', "%2D"))),
        ("location", format!("https://api.example.test/next?key={token}#end")),
        ("set-cookie", format!("session={token}; Path=/")),
        ("x-innocent", "bearer-secre or bearer secret".to_owned()),
    ] {
        let value = HeaderValue::try_from(value).unwrap();
        response.headers_mut().append(HeaderName::from_static(name), value);
    }
    response
}

/// Nothing of the secret is in the fields, and all else is as it was.
fn assert_masked(answer: &Answer) {
    let fields = format!("{:?}", answer.headers);
    let encoded = STANDARD.encode(format!("user:{SECRET}"));
    for spelling in [SECRET, "bearer%2Dsecret", &encoded[8..16]] {
        assert!(!fields.contains(spelling), "{fields}");
    }
    let stars = "*".repeat(SECRET.len());
    let values: Vec<_> = answer.headers.get_all("x-echo").iter().collect();
    assert_eq!(values, ["*".repeat(20).as_str(), &format!("a={stars}; b=\"{stars}\"")]);
    assert_eq!(answer.field("x-url"), format!("/path?key={}", "*".repeat(15)));
    assert_eq!(answer.field("x-base64").len(), encoded.len());
    assert_eq!(answer.field("x-innocent"), "bearer-secre or bearer secret");
}

#[tokio::test]
async fn in_every_form_the_fields_of_an_answer_are_masked_and_its_body_is_not() {
    for alpn in ["http/1.1", "h2"] {
        let origin = Origin::answering(&[alpn], echo).await;
        let world = World::new(&origin).run().await;
        // 1. Absolute-form, base URL, a tunnel, and HTTP/2.
        let base = ask("GET /~/api/v1");
        let (absolute, base) = (world.send(&get()).await, world.send(&base).await);
        let inside = world.tunnel().await.send(&ask("GET /v1").host("api.example.test")).await;
        let head = request("GET", "https://api.example.test/v1");
        let http2 = world.http2().await.send(head).await;
        for answer in [&absolute, &base, &inside, &http2] {
            assert_masked(answer);
            assert_eq!(answer.text(), format!("you are {SECRET}"));
        }
        // 2. A reference is masked before it is led back.
        let stars = "*".repeat(SECRET.len());
        let location = format!("https://api.example.test/next?key={stars}#end");
        assert_eq!(absolute.field("location"), location);
        assert_eq!(base.field("location"), format!("/~/api/next?key={stars}#end"));
        assert_eq!(absolute.field("set-cookie"), format!("session={stars}; Path=/"));
        // 3. It is counted, and said once.
        let counted =
            "keyferry_echoes_masked_total{integration=\"acme\",connection=\"api\",place=\"field\"}";
        assert!(world.metric(counted).await >= 24.0);
        let said = world.log.message(WARNING).await;
        assert_eq!((&said["connection"], &said["integration"]), (&"api".into(), &"acme".into()));
        assert!(!world.log.text().contains(SECRET));
    }
}

#[tokio::test]
async fn trailers_and_reason_phrases_are_masked() {
    let said = format!(
        "HTTP/1.1 403 no {SECRET} here\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\nx-sum: of {SECRET}\r\n\r\n"
    );
    let origin = Origin::saying(said, false).await;
    let world = World::new(&origin).run().await;
    let asked = get().field("TE", "trailers").field("Connection", "TE, close").bytes();
    let answer = String::from_utf8(world.exchange(asked).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    assert!(answer.contains("x-sum: of *************\r\n"), "{answer}");
    assert!(!answer.contains(SECRET), "{answer}");
}

#[tokio::test]
async fn an_answer_to_an_upgrade_is_masked() {
    let origin = Origin::answering(&["http/1.1"], echo).await;
    let world = World::new(&origin).run().await;
    let answer = world
        .send(
            &get()
                .field("Connection", "Upgrade")
                .field("Upgrade", "websocket")
                .field("Sec-WebSocket-Version", "13")
                .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        )
        .await;
    assert_eq!(answer.status, 200);
    assert_masked(&answer);
}

/// A world whose connection masks bodies too.
fn masking(origin: &Origin) -> World {
    let rest = format!("type = \"bearer_token\"\ntoken = {SECRET:?}\nmask_echo = true");
    World::empty()
        .connection("acme.api", "api.example.test", &rest)
        .token("runner", "acme", "")
        .pin("api.example.test", origin)
}

#[tokio::test]
async fn a_text_body_is_masked_where_the_connection_says_so() {
    for alpn in ["http/1.1", "h2"] {
        let origin = Origin::answering(&[alpn], |seen| {
            let sent = seen.field("authorization");
            let mut response = ok(&format!("{sent}, {}", STANDARD.encode(&sent)));
            let (name, value) = seen.target.split_once('?').unwrap().1.split_once('=').unwrap();
            let name = HeaderName::try_from(name).unwrap();
            response.headers_mut().insert(name, HeaderValue::try_from(value).unwrap());
            response
        })
        .await;
        let world = masking(&origin).run().await;
        let clear = format!("Bearer {SECRET}, {}", STANDARD.encode(format!("Bearer {SECRET}")));
        for (query, is_masked) in [
            ("content-type=text/plain;charset=utf-8", true),
            ("content-type=application/problem+json", true),
            ("x-other=none", true),
            ("content-encoding=identity", true),
            ("content-type=application/octet-stream", false),
            ("content-encoding=gzip", false),
        ] {
            let base = world.send(&ask(&format!("GET /~/api/v1?{query}"))).await;
            let inside = ask(&format!("GET /v1?{query}")).host("api.example.test");
            let inside = world.tunnel().await.send(&inside).await;
            let head = request("GET", &format!("https://api.example.test/v1?{query}"));
            let http2 = world.http2().await.send(head).await;
            for answer in [base, inside, http2] {
                let text = answer.text();
                assert_eq!((answer.whole, text.len()), (true, clear.len()), "{query}");
                assert_eq!(text == clear, !is_masked, "{query}: {text}");
                assert_eq!(text.contains(SECRET), !is_masked, "{query}: {text}");
            }
        }
        let counted =
            "keyferry_echoes_masked_total{integration=\"acme\",connection=\"api\",place=\"body\"}";
        assert!(world.metric(counted).await >= 24.0);
    }
}

#[tokio::test]
async fn a_stream_flows_on_and_only_the_beginning_of_an_echo_waits() {
    let (send, told) = mpsc::unbounded_channel::<String>();
    let told = Arc::new(Mutex::new(told));
    let origin = Origin::scripted(move |mut conn: Conn| {
        let told = Arc::clone(&told);
        async move {
            conn.head().await;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                        Transfer-Encoding: chunked\r\n\r\n";
            conn.raw.write(head).await;
            while let Some(text) = told.lock().await.recv().await {
                conn.raw.write(format!("{:x}\r\n{text}\r\n", text.len())).await;
            }
            conn.raw.write("0\r\n\r\n").await;
        }
    })
    .await;
    let world = masking(&origin).run().await;
    let mut raw = world.raw().await;
    raw.write(get().bytes()).await;
    raw.until(b"\r\n\r\n").await.unwrap();
    // 1. Each event comes before the next is sent, whole; of a broken one what can't be an echo.
    for (sent, seen) in [
        ("data: {\"a\": 1}\n\n", "data: {\"a\": 1}\n\n"),
        ("data: bearer-se", "data: "),
        ("cret\n\n", "*************\n\n"),
        ("data: bearer-se", "data: "),
        ("al\n\n", "bearer-seal\n\n"),
    ] {
        send.send(sent.to_owned()).unwrap();
        let chunk = format!("{:X}\r\n{seen}\r\n", seen.len());
        let came = raw.exact(chunk.len()).await.unwrap();
        assert_eq!(String::from_utf8(came).unwrap(), chunk, "{sent}");
    }
    // 2. What is held back at the end is no echo.
    send.send("bearer-s".to_owned()).unwrap();
    drop(send);
    assert_eq!(raw.exact(18).await.unwrap(), b"8\r\nbearer-s\r\n0\r\n\r\n");
}
