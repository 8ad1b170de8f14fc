//! An origin that repeats the credential: it is masked in its answer (contract §3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use http_body_util::Full;

use crate::support::ask::{Ask, ask};
use crate::support::http2::request;
use crate::support::origin::{Origin, Seen, ok};
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
        ("x-echo", sent.clone()),
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
