//! A 401 forces one refresh and one replay; whatever stands in the way, the origin's own answer is
//! delivered as it is.

use serde_json::json;

use crate::support::ask::ask;
use crate::support::authorized::{through, world};
use crate::support::provider::{Manner, Provider};

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
    let origin = crate::support::origin::Origin::answering(&["http/1.1"], |_seen| {
        http::Response::builder().status(401).body("no".into()).unwrap()
    })
    .await;
    let world = crate::support::authorized::prepared(&provider, &origin).keeping();
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
