//! A 401 forces one refresh and one replay; whatever stands in the way, the origin's own answer is
//! delivered as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::json;
use tokio::sync::watch;

use crate::support::ask::{Ask, ask};
use crate::support::authorized::{prepared, through, world};
use crate::support::http2::request;
use crate::support::origin::{Conn, Origin};
use crate::support::provider::{Manner, Provider};
use crate::support::raw::refused;
use crate::support::world::{Running, World};

/// A server with the connection `acme.mine`.
macro_rules! scene {
    ($provider:ident, $origin:ident, $server:ident, $more:expr) => {
        let $provider = Provider::start().await;
        let ($origin, $server) = world(&$provider, $more).await;
        $server.register(&$provider).await;
        $server.authorize(&$provider, "mine").await;
    };
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_request_sent_once_more() {
    scene!(provider, origin, server, |world| world);
    provider.revoke_access_tokens();
    let body = "a body that is sent twice";
    let post = ask("POST https://api.example.test/v1?x=1")
        .field("X-Zis-Connection", "mine")
        .field("X-Kept", "this")
        .body(body);
    let answer = server.send(&post).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    let seen = origin.seen();
    let [first, second] = seen.as_slice() else { panic!("{seen:?}") };
    assert_ne!(first.field("authorization"), second.field("authorization"));
    for seen in [first, second] {
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/v1?x=1"));
        assert_eq!((&seen.body[..], seen.field("x-kept")), (body.as_bytes(), "this".to_owned()));
        assert_eq!(seen.field("content-length"), body.len().to_string());
    }
    assert_eq!((provider.asked(), provider.reused()), (2, 0));
}

#[tokio::test]
async fn what_was_too_long_to_keep_is_not_sent_again_but_the_next_is_well() {
    scene!(provider, origin, server, |world| world.set("oauth.replay_body_bytes", "10"));
    provider.revoke_access_tokens();
    let post = ask("POST https://api.example.test/v1").field("X-Zis-Connection", "mine");
    let answer = server.send(&post.body("longer than ten bytes")).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.text(), "{\"message\":\"the token is not valid\"}");
    assert!(answer.field("www-authenticate").contains("invalid_token"));
    server.log.message("tokens were refreshed").await;
    assert_eq!(server.send(&through("mine")).await.status, 200);
    assert_eq!((origin.seen().len(), provider.asked()), (2, 2));
}

#[tokio::test]
async fn the_origins_own_401_is_delivered_where_a_refresh_is_of_no_use() {
    scene!(provider, origin, server, |world| world);
    // There are no other tokens.
    provider.revoke_access_tokens();
    provider.next(Manner::Saying(500, "text/plain", String::new()));
    let answer = server.send(&through("mine")).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.text(), "{\"message\":\"the token is not valid\"}");
    assert_eq!((origin.seen().len(), provider.asked()), (1, 2));
}

#[tokio::test]
async fn an_origin_that_always_says_401_does_not_wear_the_provider_out() {
    let provider = Provider::start().await;
    let origin = Origin::answering(&["http/1.1"], |_seen| {
        http::Response::builder().status(401).body("no".into()).unwrap()
    })
    .await;
    let world = prepared(&provider, &origin).keeping();
    let server = world.run().await;
    server.register(&provider).await;
    server.authorize(&provider, "mine").await;
    for _again in 0..10 {
        let answer = server.send(&through("mine")).await;
        assert_eq!((answer.status, answer.text().as_str()), (401, "no"));
    }
    assert_eq!(provider.asked(), 2, "one refresh for all of them");
    assert_eq!(origin.seen().len(), 11, "one replay");
}

#[tokio::test]
async fn nothing_is_replayed_where_the_operator_says_so() {
    scene!(provider, origin, server, |world| world.set("oauth.retry_on_401", "false"));
    provider.revoke_access_tokens();
    assert_eq!(server.send(&through("mine")).await.status, 401);
    assert_eq!((origin.seen().len(), provider.asked()), (1, 1));
}

#[tokio::test]
async fn many_refused_at_once_share_one_refresh() {
    scene!(provider, origin, server, |world| world);
    provider.revoke_access_tokens();
    provider.set_expires_in(json!(3600));
    let asks = (0..50).map(|_| async { server.send(&through("mine")).await.status });
    assert_eq!(futures_util::future::join_all(asks).await, vec![200; 50]);
    assert_eq!((provider.asked(), provider.reused()), (2, 0));
    assert!(origin.seen().len() <= 100);
}

/// A server with the connections `acme.mine` and `acme.other`, and behind `api.example.test` this
/// origin.
async fn before(provider: &Provider, origin: &Origin, more: fn(World) -> World) -> Running {
    let server = more(prepared(provider, origin).keeping()).run().await;
    server.register(provider).await;
    server.authorize(provider, "mine").await;
    server.authorize(provider, "other").await;
    server
}

/// A POST by way of the connection `acme.{name}`, whose body ends with [`END`].
fn post(path: &str, name: &str, length: usize) -> Ask {
    let body = format!("{}{END}", "x".repeat(length - END.len()));
    ask(&format!("POST https://api.example.test{path}")).field("X-Zis-Connection", name).body(body)
}

const END: &str = "the end";

const REFUSED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";

/// What an origin does with the second request that it has read to its end.
#[derive(Clone, Copy)]
enum Then {
    Closes,
    IsSilent,
}

/// An origin that refuses the first request that it has read.
async fn refusing_once(then: Then) -> Origin {
    let count = Arc::new(AtomicUsize::new(0));
    Origin::scripted(move |mut conn| {
        let count = Arc::clone(&count);
        async move {
            while conn.head().await.is_some() {
                conn.raw.until(END.as_bytes()).await.unwrap();
                match (count.fetch_add(1, SeqCst), then) {
                    (0, _) => conn.raw.write(REFUSED).await,
                    (_, Then::Closes) => return,
                    (_, Then::IsSilent) => conn.raw.ends().await,
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_second_attempt_that_was_written_has_an_outcome_of_its_own() {
    for (then, status, code) in
        [(Then::Closes, 502, "UpstreamClosed"), (Then::IsSilent, 504, "ResponseTimeout")]
    {
        let (provider, origin) = (Provider::start().await, refusing_once(then).await);
        let server =
            before(&provider, &origin, |world| world.set("upstream.response_timeout", "\"1s\""));
        let server = server.await;
        let answer = server.send(&post("/", "mine", 20)).await;
        assert_eq!(answer.refusal(), refused(status, code));
        assert_eq!(origin.seen().len(), 2, "it may have done both");
    }
}

#[tokio::test]
async fn the_origins_own_401_is_delivered_where_nothing_was_written_again() {
    let provider = Provider::start().await;
    let mut origin = Origin::scripted(|mut conn: Conn| async move {
        conn.head().await;
        conn.raw.until(END.as_bytes()).await.unwrap();
        conn.raw.write(REFUSED).await;
        // What comes of it is read before it closes.
        conn.raw.ends().await;
    })
    .await;
    let server = before(&provider, &origin, |world| world).await;
    provider.hold();
    let mut raw = server.raw().await;
    raw.write(post("/", "mine", 20).bytes()).await;
    provider.has_been_asked(3).await;
    origin.kill().await;
    provider.release();
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.field("proxy-status")), (401, ""));
}

/// An origin that answers `/slow` when it may, and refuses the first tokens of both connections
/// elsewhere.
async fn slow_at_times(goes_on: watch::Receiver<bool>) -> Origin {
    Origin::scripted(move |mut conn| {
        let mut goes_on = goes_on.clone();
        async move {
            while let Some(head) = conn.head().await {
                conn.raw.until(END.as_bytes()).await.unwrap();
                let is_first =
                    ["Bearer at-1\r", "Bearer at-2\r"].iter().any(|at| head.contains(at));
                if head.starts_with("POST /slow") {
                    drop(goes_on.wait_for(|goes_on| *goes_on).await);
                } else if is_first {
                    conn.raw.write(REFUSED).await;
                    continue;
                }
                conn.raw.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn kept_bodies_share_their_memory_and_give_it_back() {
    let (may, goes_on) = watch::channel(false);
    let (provider, origin) = (Provider::start().await, slow_at_times(goes_on).await);
    let server =
        before(&provider, &origin, |world| world.set("oauth.replay_memory", "\"1500B\"")).await;
    // One is kept; there is no room for another one, whose 401 is passed on as it is.
    let mut first = server.raw().await;
    first.write(post("/slow", "mine", 1000).bytes()).await;
    origin.has_seen(1).await;
    assert_eq!(server.send(&post("/", "mine", 1000)).await.status, 401);
    assert_eq!(origin.seen().len(), 2);
    server.log.message("tokens were refreshed").await;
    // With the answer the memory is there again; and where the caller has gone.
    may.send_replace(true);
    assert_eq!(first.answer().await.status, 200);
    may.send_replace(false);
    let mut caller = server.http2().await;
    let url = "https://api.example.test/slow/gone";
    let asked = request("POST", url).header("x-zis-connection", "mine");
    let body = format!("{}{END}", "x".repeat(1000 - END.len()));
    let gone = tokio::spawn(async move { caller.send_body(asked, body).await });
    origin.has_seen(3).await;
    gone.abort();
    server.log.entry_of("/slow/gone").await;
    let before = origin.seen().len();
    assert_eq!(server.send(&post("/", "other", 1000)).await.status, 200);
    assert_eq!(origin.seen().len(), before + 2, "it was sent twice");
}
