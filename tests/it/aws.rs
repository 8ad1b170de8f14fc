//! Connections to AWS: every request is signed as it leaves, and what can't be signed is refused.

mod kept;
mod roles;

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use crate::support::ask::{Ask, ask, stranger};
use crate::support::aws::{KEY_ID, SECRET_KEY, Verified, verify};
use crate::support::http2::request;
use crate::support::origin::{Conn, Origin, Seen, ok};
use crate::support::raw::refused;
use crate::support::tls;
use crate::support::token;
use crate::support::world::{Running, World};

const DYNAMODB: &str = "dynamodb.us-west-2.amazonaws.com";
const S3: &str = "bucket.s3.eu-west-1.amazonaws.com";
const OTHER: &str = "api.example.test";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A field that a client with placeholder keys sends.
const PLACEHOLDER: &str = "AWS4-HMAC-SHA256 \
    Credential=AKIAPLACEHOLDER/20150830/eu-central-1/iam/aws4_request, \
    SignedHeaders=host;x-amz-date, Signature=0000";

fn keys(more: &str) -> String {
    let keys = format!("access_key_id = {KEY_ID:?}\nsecret_access_key = {SECRET_KEY:?}");
    format!("type = \"aws_sigv4\"\n{keys}\n{more}")
}

fn world(origin: &Origin) -> World {
    World::empty()
        .connection("acme.dynamo", DYNAMODB, &keys(""))
        .connection("acme.bucket", S3, &keys(""))
        .connection("acme.other", OTHER, &keys("region = \"us-east-1\"\nservice = \"lambda\""))
        .token("runner", "acme", "")
        .pin(DYNAMODB, origin)
        .pin(S3, origin)
        .pin(OTHER, origin)
}

async fn scene(alpn: &[&str]) -> (Origin, Running) {
    let origin = Origin::answering(alpn, |_seen| ok("ok")).await;
    let server = world(&origin).run().await;
    (origin, server)
}

/// The request as a client with placeholder keys sends it.
fn signed_by_caller(line: &str) -> Ask {
    ask(line)
        .field("Authorization", PLACEHOLDER)
        .field("X-Amz-Date", "20150830T123600Z")
        .field("X-Amz-Security-Token", "placeholder")
}

fn verified(seen: &Seen, host: &str) -> Verified {
    verify(seen, host, SECRET_KEY).unwrap_or_else(|wrong| panic!("{wrong}: {seen:?}"))
}

#[tokio::test]
async fn what_a_caller_has_signed_is_taken_off_and_the_request_signed_again() {
    let (origin, server) = scene(&["http/1.1"]).await;
    let put = signed_by_caller(&format!("PUT https://{DYNAMODB}/a%20b//c?x=1&b=%2F&a"))
        .field("x_amz_date", "forged")
        .field("X-Amz.Security-Token", "forged")
        .field("X-Amz-Target", "DynamoDB_20120810.PutItem")
        .field("Content-Type", "application/x-amz-json-1.0")
        .body("{}");
    assert_eq!(server.send(&put).await.status, 200);
    let seen = origin.only();
    let signature = verified(&seen, DYNAMODB);
    assert_eq!((&*signature.key_id, &*signature.scope), (KEY_ID, "us-west-2/dynamodb"));
    assert_eq!(
        signature.signed,
        ["content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-target"]
    );
    let text = format!("{seen:?}");
    assert!(!text.contains("placeholder") && !text.contains("PLACEHOLDER"), "{text}");
    assert!(!text.contains("forged") && !text.contains("kf_"), "{text}");
    assert_eq!((&*seen.target, &*seen.body), ("/a%20b//c?x=1&b=%2F&a", &b"{}"[..]));
}

#[tokio::test]
async fn a_request_is_signed_in_every_form_and_over_http2() {
    for alpn in [["http/1.1"], ["h2"]] {
        let (origin, server) = scene(&alpn).await;
        let mut signed = 0;
        let mut is_signed = |form: &str| {
            let seen = origin.last();
            assert_eq!(verified(&seen, DYNAMODB).scope, "us-west-2/dynamodb", "{form} {alpn:?}");
            assert_eq!(&*seen.body, b"{}", "{form}");
            signed += 1;
            assert_eq!(origin.seen().len(), signed, "{form}");
        };
        let post = ask(&format!("POST https://{DYNAMODB}/")).body("{}");
        assert_eq!(server.send(&post).await.status, 200);
        is_signed("absolute-form");
        let post = ask("POST /").field("X-Zis-Host", DYNAMODB).body("{}");
        assert_eq!(server.send(&post).await.status, 200);
        is_signed("gateway");
        let post = stranger("POST /~/acme.dynamo/").by("runner").body("{}");
        assert_eq!(server.send(&post).await.status, 200);
        is_signed("base URL");
        // There the caller's token is the id of the placeholder key.
        let placeholder = PLACEHOLDER.replace("AKIAPLACEHOLDER", &token("runner"));
        let post = stranger("POST /~/dynamo/").field("Authorization", &placeholder).body("{}");
        assert_eq!(server.send(&post).await.status, 200);
        is_signed("base URL with the token as a key");
        let tunnel = server.connect(&ask(&format!("CONNECT {DYNAMODB}:443"))).await;
        let mut inside = server.shake(tunnel, DYNAMODB, &["http/1.1"]).await.unwrap();
        let post = stranger("POST /").host(DYNAMODB).chunks("2\r\n{}\r\n0\r\n\r\n");
        assert_eq!(inside.send(&post).await.status, 200);
        is_signed("tunnel");
        let mut caller = server.http2().await;
        let answer = caller.send_body(request("POST", &format!("https://{DYNAMODB}/")), "{}").await;
        assert_eq!(answer.status, 200);
        is_signed("HTTP/2");
    }
}

#[tokio::test]
async fn what_is_said_of_the_body_is_kept_or_completed() {
    let (origin, server) = scene(&["http/1.1"]).await;
    let unsigned = "UNSIGNED-PAYLOAD";
    let trailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    for (host, declared, body, payload, scope) in [
        (S3, None, "", EMPTY, "eu-west-1/s3"),
        (S3, None, "hello", unsigned, "eu-west-1/s3"),
        (S3, Some(hash), "hello", hash, "eu-west-1/s3"),
        (S3, Some(unsigned), "hello", unsigned, "eu-west-1/s3"),
        (S3, Some(trailer), "5\r\nhello\r\n0\r\n\r\n", trailer, "eu-west-1/s3"),
        (OTHER, None, "hello", hash, "us-east-1/lambda"),
        (OTHER, Some(hash), "hello", hash, "us-east-1/lambda"),
        (OTHER, None, "", EMPTY, "us-east-1/lambda"),
    ] {
        let put = signed_by_caller(&format!("PUT https://{host}/a%2Bb/c"));
        let put = if let Some(declared) = declared {
            put.field("X-Amz-Content-Sha256", declared)
        } else {
            put
        };
        let put = if body.is_empty() { put } else { put.body(body) };
        assert_eq!(server.send(&put).await.status, 200, "{host} {declared:?}");
        let seen = origin.last();
        let signature = verified(&seen, host);
        assert_eq!((&*signature.payload, &*signature.scope), (payload, scope), "{declared:?}");
        assert_eq!(&*seen.body, body.as_bytes());
    }
}

#[tokio::test]
async fn what_can_not_be_signed_again_is_refused_before_anything_is_dialled() {
    let (origin, server) = scene(&["http/1.1"]).await;
    let (malformed, url) = (refused(400, "MalformedRequest"), format!("https://{S3}/key"));
    let put = |line: &str| signed_by_caller(line).body("x");
    for (asked, words) in [
        (
            put(&format!("PUT {url}"))
                .field("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            "chunkedEncodingEnabled(false)",
        ),
        (
            put(&format!("PUT {url}"))
                .field("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
            "AWS_REQUEST_CHECKSUM_CALCULATION=when_required",
        ),
        (
            put(&format!("PUT {url}"))
                .field("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-EVENTS"),
            "event stream",
        ),
        (
            put(&format!("PUT {url}"))
                .field("x-amz-content-sha256", EMPTY)
                .field("x-amz-content-sha256", EMPTY),
            "must stand once",
        ),
        (put(&format!("PUT {url}?X-Amz-Signature=00")), "a part of a signature"),
        (put(&format!("PUT {url}?AWSAccessKeyId=a&Signature=b")), "Signature Version 2"),
        (
            ask(&format!("PUT {url}"))
                .field("Authorization", "AWS4-ECDSA-P256-SHA256 Credential=x")
                .body("x"),
            "Signature Version 4A",
        ),
    ] {
        let answer = server.send(&asked).await;
        assert_eq!(answer.refusal(), malformed, "{words}");
        assert!(answer.text().contains(words), "{words}: {}", answer.text());
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn a_host_that_names_no_region_needs_one_of_the_connection() {
    let origin = Origin::start().await;
    let server = World::empty()
        .connection("acme.other", OTHER, &keys("service = \"s3\""))
        .token("runner", "acme", "")
        .scoped_token("reader", "acme", "read", "")
        .pin(OTHER, &origin)
        .run()
        .await;
    // What the caller has signed says nothing: it could choose a service of its own.
    let answer = server.send(&signed_by_caller(&format!("GET https://{OTHER}/"))).await;
    assert_eq!(answer.refusal(), refused(403, "DomainNotAllowed"));
    assert!(answer.text().contains("the operator sets region and service"), "{}", answer.text());
    assert_eq!(origin.conns(), 0);
    let question = serde_json::json!({"method": "GET", "url": format!("https://{OTHER}/"),
        "connection": "other", "integration": "acme"});
    let line = "POST /api/keyferry/v1/explain";
    let explained = server.manage_by(&token("reader"), line, Some(question)).await;
    assert_eq!(explained.json()["code"], "DomainNotAllowed", "{}", explained.text());
    let field = "authorization, x-amz-date, x-amz-security-token";
    assert_eq!(explained.json()["field"], field);
}

#[tokio::test]
async fn a_presigned_url_passes_as_it_is() {
    let (origin, server) = scene(&["http/1.1"]).await;
    let target = "/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k%2F20150830%2F\
                  eu-west-1%2Fs3%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&\
                  X-Amz-SignedHeaders=host&X-Amz-Signature=00";
    let get = ask(&format!("GET https://{S3}{target}")).field("Authorization", PLACEHOLDER);
    assert_eq!(server.send(&get).await.status, 200);
    let seen = origin.only();
    assert_eq!(seen.target, target);
    for name in ["authorization", "x-amz-date", "x-amz-content-sha256"] {
        assert_eq!(seen.field(name), "", "{name}");
    }
}

#[tokio::test]
async fn a_sessions_token_is_sent_and_signed() {
    let origin = Origin::start().await;
    let more = "session_token = \"session-token\"";
    let server = World::empty()
        .connection("acme.dynamo", DYNAMODB, &keys(more))
        .token("runner", "acme", "")
        .pin(DYNAMODB, &origin)
        .run()
        .await;
    let get = signed_by_caller(&format!("GET https://{DYNAMODB}/"));
    assert_eq!(server.send(&get).await.status, 200);
    let seen = origin.only();
    assert_eq!(seen.field("x-amz-security-token"), "session-token");
    let signed = verified(&seen, DYNAMODB).signed;
    assert!(signed.contains(&"x-amz-security-token".to_owned()), "{signed:?}");
    // What signs is in no log.
    let entry = server.log.entry_of("/").await;
    assert!(!entry.to_string().contains("session-token"));
    assert!(!server.log.text().contains(SECRET_KEY));
}

#[tokio::test]
async fn a_body_that_must_be_read_is_bounded() {
    let (origin, server) = scene(&["http/1.1"]).await;
    let whole = vec![b'x'; 8 << 20];
    let post = signed_by_caller(&format!("POST https://{DYNAMODB}/most")).body(whole.clone());
    assert_eq!(server.send(&post).await.status, 200);
    let seen = origin.only();
    verified(&seen, DYNAMODB);
    assert_eq!(seen.body.len(), whole.len());
    let entry = server.log.entry_of("/most").await;
    assert_eq!(entry["request_bytes"], Value::from(whole.len()));
    // One byte more is refused, and nothing of it has left: at once where its length is said.
    let post = signed_by_caller(&format!("POST https://{DYNAMODB}/more"));
    let mut raw = server.raw().await;
    let said = post.clone().field("Content-Length", &(whole.len() + 1).to_string());
    raw.write(said.bytes()).await;
    let answer = raw.answer().await;
    assert_eq!(answer.refusal(), refused(413, "BodyTooLarge"));
    assert!(answer.text().contains("x-amz-content-sha256"), "{}", answer.text());
    let mut raw = server.raw().await;
    raw.write(post.chunks(&format!("{:x}\r\n", whole.len() + 1)).bytes()).await;
    raw.write(&whole).await;
    raw.write(b"x").await;
    assert_eq!(raw.answer().await.refusal(), refused(413, "BodyTooLarge"));
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn bodies_that_must_be_read_share_a_budget() {
    let origin = Origin::start().await;
    let server = world(&origin).set("oauth.replay_memory", "\"1KiB\"").run().await;
    let post =
        |length| signed_by_caller(&format!("POST https://{DYNAMODB}/")).body(vec![b'x'; length]);
    let answer = server.send(&post(2000)).await;
    assert_eq!(answer.refusal(), refused(503, "Overloaded"));
    assert!(answer.text().contains("oauth.replay_memory"), "{}", answer.text());
    assert_eq!(origin.conns(), 0);
    // The memory was given back.
    assert_eq!(server.send(&post(1000)).await.status, 200);
    assert_eq!(server.send(&post(1000)).await.status, 200);
}

/// The most memory that the program has used, in KiB.
fn peak(server: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The length of a large object: 1 GiB, unless `LARGE_GIB` has another.
fn large() -> u64 {
    let gib = std::env::var("LARGE_GIB").ok().and_then(|text| text.parse::<u64>().ok());
    gib.unwrap_or(1) << 30
}

#[tokio::test]
async fn a_large_object_is_streamed_at_constant_memory() {
    let large = large();
    let origin = Origin::scripted(move |mut conn: Conn| async move {
        let piece = vec![b'x'; 1 << 16];
        while let Some(head) = conn.head().await {
            if head.starts_with("GET") {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {large}\r\n\r\n");
                conn.raw.write(head).await;
                for _each in 0..large >> 16 {
                    conn.raw.write(&piece).await;
                }
                continue;
            }
            let length = if head.contains("/large") { large } else { 2 };
            let taken = conn.raw.discard(length).await;
            assert_eq!(taken, length);
            conn.raw.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let server = world(&origin).run().await;
    let mut raw = server.raw().await;
    raw.send(&signed_by_caller(&format!("PUT https://{S3}/small")).body("ok")).await;
    let before = peak(&server);
    let put = signed_by_caller(&format!("PUT https://{S3}/large"))
        .field("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
        .field("Content-Length", &large.to_string());
    raw.write(put.bytes()).await;
    let piece = vec![b'x'; 1 << 16];
    for _each in 0..large >> 16 {
        raw.write(&piece).await;
    }
    assert_eq!(raw.answer().await.status, 200);
    verified(&origin.last(), S3);
    let after_put = peak(&server);
    assert!(after_put < before + (16 << 10), "{before} KiB, then {after_put} KiB");
    // The same on the way back.
    raw.write(signed_by_caller(&format!("GET https://{S3}/large")).bytes()).await;
    raw.until(b"\r\n\r\n").await.unwrap();
    assert_eq!(raw.discard(large).await, large);
    verified(&origin.last(), S3);
    let after_get = peak(&server);
    assert!(after_get < before + (16 << 10), "{before} KiB, then {after_get} KiB");
}

#[tokio::test]
async fn a_request_that_waited_is_signed_with_the_keys_of_then() {
    let (open, gate) = watch::channel(false);
    let origin = Origin::gated(&["http/1.1"], gate, |_seen| ok("ok")).await;
    let mut server = world(&origin).run().await;
    let mut raw = server.raw().await;
    let post = signed_by_caller(&format!("POST https://{DYNAMODB}/")).body("{}");
    raw.write(post.bytes()).await;
    origin.has_conns(1).await;
    // Other keys are in force before there is a conn.
    let replaced = keys("").replace(SECRET_KEY, "another/secret").replace(KEY_ID, "AKIDNEXT");
    server
        .reload(|world| {
            world.without("acme\"\nname = \"dynamo").connection("acme.dynamo", DYNAMODB, &replaced)
        })
        .await;
    open.send_replace(true);
    assert_eq!(raw.answer().await.status, 200);
    let seen = origin.only();
    let signature = verify(&seen, DYNAMODB, "another/secret").unwrap();
    assert_eq!(signature.key_id, "AKIDNEXT");
    assert_eq!(&*seen.body, b"{}");
}

#[tokio::test]
async fn a_request_that_was_not_processed_is_sent_again_with_its_signature() {
    // The first conn closes before a byte of an answer, the second one answers.
    let config = Arc::clone(&tls::origin(&["http/1.1"]));
    let origin = Origin::scripted_with(config, |mut conn: Conn| async move {
        let first = conn.number == 0;
        let mut served = 0;
        while conn.head().await.is_some() {
            if first && served == 1 {
                return;
            }
            served += 1;
            conn.raw.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let server = world(&origin).run().await;
    let mut raw = server.raw().await;
    for _each in 0..2 {
        let get = signed_by_caller(&format!("GET https://{S3}/key"));
        assert_eq!(raw.send(&get).await.status, 200);
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), 3);
    for seen in seen {
        verified(&seen, S3);
    }
}
