//! Tokens are refreshed before anybody has to wait, once for all who wait, and never lost.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::authorized::{OAUTH, parameter, prepared, through, world};
use crate::support::provider::{Manner, Provider, Refreshing, origin_speaking};
use crate::support::raw::refused;
use crate::support::soon;

/// A server with the connection `acme.mine`, whose first token lives so long.
macro_rules! scene {
    ($provider:ident, $server:ident, $seconds:expr) => {
        let $provider = Provider::start().await;
        let (_origin, $server) = world(&$provider, |world| world).await;
        $server.register(&$provider).await;
        $provider.set_expires_in(json!($seconds));
        $server.authorize(&$provider, "mine").await;
    };
}

#[tokio::test]
async fn a_request_goes_out_with_the_access_token() {
    scene!(provider, server, 3600);
    let answer = server.send(&through("mine")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(provider.asked(), 1, "one question, for the code");
}

#[tokio::test]
async fn many_who_need_a_token_wait_for_one_refresh() {
    scene!(provider, server, 1);
    server.has_expired("mine").await;
    provider.set_expires_in(json!(3600));
    let asks = (0..100).map(|_| async { server.send(&through("mine")).await.status });
    assert_eq!(join_all(asks).await, vec![200; 100]);
    assert_eq!((provider.asked(), provider.reused()), (2, 0));
}

#[tokio::test]
async fn tokens_in_use_are_refreshed_before_they_end() {
    scene!(provider, server, 2);
    assert_eq!(server.send(&through("mine")).await.status, 200);
    provider.set_expires_in(json!(3600));
    provider.has_been_asked(2).await;
    let background = "keyferry_oauth_refreshes_total{outcome=\"refreshed\",cause=\"background\"}";
    soon(async { while server.metric(background).await < 1.0 {} }).await;
    assert_eq!(server.send(&through("mine")).await.status, 200);
    assert_eq!((provider.asked(), provider.reused()), (2, 0));
}

#[tokio::test]
async fn tokens_that_nobody_uses_are_left_alone_until_somebody_does() {
    scene!(provider, server, 1);
    server.has_expired("mine").await;
    assert_eq!(provider.asked(), 1);
    assert_eq!(server.send(&through("mine")).await.status, 200);
    let in_use = "keyferry_oauth_refreshes_total{outcome=\"refreshed\",cause=\"use\"}";
    assert!(server.metric(in_use).await >= 1.0);
}

#[tokio::test]
async fn a_refresh_goes_on_when_whoever_caused_it_has_gone() {
    scene!(provider, server, 1);
    server.has_expired("mine").await;
    provider.set_expires_in(json!(3600));
    provider.hold();
    let mut raw = server.raw().await;
    raw.write(through("mine").bytes()).await;
    provider.has_been_asked(2).await;
    drop(raw);
    provider.release();
    server.log.message("tokens were refreshed").await;
    assert_eq!(server.send(&through("mine")).await.status, 200);
    assert_eq!((provider.asked(), provider.reused()), (2, 0));
}

#[tokio::test]
async fn a_refresh_is_finished_before_the_server_goes() {
    scene!(provider, server, 1);
    server.has_expired("mine").await;
    provider.hold();
    let mut raw = server.raw().await;
    raw.write(through("mine").bytes()).await;
    provider.has_been_asked(2).await;
    drop(raw);
    let mut server = server;
    server.signal(rustix::process::Signal::TERM);
    server.log.message("shutting down: requests in flight are finished first").await;
    provider.release();
    assert!(server.ended().await.success());
    provider.set_expires_in(json!(3600));
    let server = std::mem::replace(&mut server.world, crate::support::world::World::empty());
    let server = server.run().await;
    assert_eq!(server.send(&through("mine")).await.status, 200);
    assert_eq!(provider.reused(), 0);
}

#[tokio::test]
async fn a_provider_that_fails_costs_no_request_while_the_token_is_good() {
    // A second passes between the first question and the end.
    scene!(provider, server, 10);
    provider.always(Manner::Saying(503, "text/html", "<html>secret words".to_owned()));
    assert_eq!(server.send(&through("mine")).await.status, 200);
    provider.has_been_asked(2).await;
    assert_eq!(server.send(&through("mine")).await.status, 200);
    server.has_expired("mine").await;
    let answer = server.send(&through("mine")).await;
    assert_eq!(answer.refusal(), refused(502, "TokenEndpointFailed"));
    let asked = provider.asked();
    for _again in 0..20 {
        let answer = server.send(&through("mine")).await;
        assert_eq!(answer.refusal(), refused(502, "TokenEndpointFailed"));
    }
    assert!(provider.asked() <= asked + 1, "it was hammered");
    assert!(!server.log.text().contains("secret words"));
    provider.always(Manner::Well);
    provider.set_expires_in(json!(3600));
    let answer = soon(async {
        loop {
            let answer = server.send(&through("mine")).await;
            if answer.status == 200 {
                return answer;
            }
        }
    });
    assert_eq!(answer.await.text(), "ok");
    assert_eq!(provider.reused(), 0);
}

#[tokio::test]
async fn a_grant_that_was_revoked_needs_a_new_flow_and_says_so() {
    scene!(provider, server, 1);
    server.has_expired("mine").await;
    let question = json!({
        "method": "GET", "url": "https://api.example.test/v1", "integration": "acme",
        "connection": "mine",
    });
    let explain = async || {
        let line = "POST /api/keyferry/v1/explain";
        server.manage(line, Some(question.clone())).await.json()
    };
    let told = explain().await.to_string();
    assert!(told.contains("once the provider has given another token"), "{told}");
    provider.revoke_grants();
    for _again in 0..5 {
        let answer = server.send(&through("mine")).await;
        assert_eq!(answer.refusal(), refused(502, "ReauthorizationNeeded"));
    }
    assert_eq!(provider.asked(), 2, "it was hammered");
    let told = explain().await;
    assert_eq!(
        (&told["decision"], &told["code"]),
        (&"refuse".into(), &"ReauthorizationNeeded".into())
    );
    let shown = server.authorized("mine").await;
    assert_eq!(shown["needs_reauthorization"], true);
    assert_eq!(shown["reauthorization_reason"], "invalid_grant");
    assert!(server.metric("keyferry_oauth_reauthorizations_needed").await >= 1.0);
    let lapse = server.log.find(|line| line.contains("needs to be authorized again").then_some(()));
    lapse.await;
    // The same name is authorized again in place.
    provider.set_expires_in(json!(3600));
    let uuid = shown["uuid"].clone();
    server.authorize(&provider, "mine").await;
    let again = server.authorized("mine").await;
    assert_eq!((&again["uuid"], again.get("needs_reauthorization")), (&uuid, None));
    assert_eq!(server.send(&through("mine")).await.status, 200);
}

#[tokio::test]
async fn client_credentials_get_new_tokens_at_their_end() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    provider.set_expires_in(json!(1));
    let body = json!({
        "name": "own", "oauth_client_name": "example_client", "grant_type": "client_credentials",
        "allowed_domain": "api.example.test",
    });
    let redirect_url = server.start_flow(body).await;
    assert_eq!(provider.asked(), 0);
    let code = parameter(&redirect_url, "verification_code").unwrap();
    let line = format!("GET {OAUTH}/oauth/access_codes/acme?verification_code={code}");
    let exchanged = server.manage(&line, None).await;
    assert_eq!(exchanged.status, 200, "{exchanged:?}");
    assert_eq!(exchanged.json()["refresh_token"], "");
    server.has_expired("own").await;
    provider.set_expires_in(json!(3600));
    assert_eq!(server.send(&through("own")).await.status, 200);
    assert_eq!(provider.asked(), 2);
    assert_eq!(provider.questions()[1].said("grant_type"), "client_credentials");
}

#[tokio::test]
async fn a_provider_that_gives_no_other_refresh_token_means_the_same_one() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    provider.set_refreshing(Refreshing::Keeps);
    provider.set_expires_in(json!("1"));
    server.authorize(&provider, "mine").await;
    let first = server.authorized("mine").await;
    server.has_expired("mine").await;
    assert_eq!(server.send(&through("mine")).await.status, 200);
    let second = server.authorized("mine").await;
    assert_ne!(first["access_token"], second["access_token"]);
    assert_eq!(first["refresh_token"], second["refresh_token"]);
}

#[tokio::test]
async fn a_token_without_a_refresh_token_ends_with_its_time() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    provider.set_refreshing(Refreshing::Never);
    provider.set_expires_in(json!(1));
    server.authorize(&provider, "mine").await;
    server.has_expired("mine").await;
    let answer = server.send(&through("mine")).await;
    assert_eq!(answer.refusal(), refused(502, "ReauthorizationNeeded"));
    assert_eq!(server.authorized("mine").await["reauthorization_reason"], "expired");
    // Where nobody says when it ends, it does not.
    provider.set_expires_in(json!(null));
    server.authorize(&provider, "lasting").await;
    assert_eq!(server.authorized("lasting").await["token_expiry"], json!(null));
    assert_eq!(server.send(&through("lasting")).await.status, 200);
    assert_eq!(provider.asked(), 2);
}

#[tokio::test]
async fn an_operator_refreshes_at_any_time_but_not_what_cant_be() {
    scene!(provider, server, 3600);
    let before = server.authorized("mine").await;
    let line = format!("GET {OAUTH}/refresh/acme?name=mine");
    let refreshed = server.manage(&line, None).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let after = refreshed.json();
    assert_ne!(before["access_token"], after["access_token"]);
    assert_eq!(after, server.authorized("mine").await);
    assert!(provider.is_valid(after["access_token"].as_str().unwrap()));
    let other = server.manage(&format!("POST {OAUTH}/refresh/acme?name=mine"), None).await;
    assert_eq!((other.status, other.field("allow")), (405, "GET"), "{other:?}");
    provider.set_refreshing(Refreshing::Never);
    server.authorize(&provider, "lasting").await;
    let none = server.manage(&format!("GET {OAUTH}/refresh/acme?name=lasting"), None).await;
    assert_eq!(none.json()["errors"][0]["code"], "1301", "{none:?}");
    // What came to nothing says why.
    let line = "GET /api/keyferry/v1/events?kind=connection.refresh&connection=lasting";
    let noted = server.manage(line, None).await.json();
    let failures: Vec<_> =
        noted["events"].as_array().unwrap().iter().map(|event| &event["failure"]).collect();
    assert_eq!(
        failures,
        [&json!("there is no refresh token"), &serde_json::Value::Null],
        "{noted}"
    );
}

#[tokio::test]
async fn odd_answers_of_providers_do_no_harm() {
    scene!(provider, server, 1);
    for manner in [
        Manner::Saying(200, "text/html", "<html>no</html>".to_owned()),
        Manner::Saying(200, "application/json", r#"{"ok":false,"error":"rate"}"#.to_owned()),
        Manner::Saying(200, "application/json", r#"{"access_token":"a\nb"}"#.to_owned()),
        Manner::Saying(429, "application/json", "{}".to_owned()),
        Manner::Leading(307, "https://evil.example.test/token".to_owned()),
        Manner::Hanging,
    ] {
        provider.next(manner.clone());
        let line = format!("GET {OAUTH}/refresh/acme?name=mine");
        let refused = server.manage(&line, None).await;
        assert_eq!(refused.status, 422, "{manner:?}: {refused:?}");
        assert_eq!(refused.json()["errors"][0]["code"], "1303");
    }
    provider.next(Manner::Slowly(Duration::from_millis(1)));
    provider.set_expires_in(json!("3600"));
    let line = format!("GET {OAUTH}/refresh/acme?name=mine");
    let slow = server.manage(&line, None).await;
    assert_eq!(slow.status, 200, "{slow:?}");
    assert_eq!(server.send(&through("mine")).await.status, 200);
    assert_eq!(provider.reused(), 0);
}

#[tokio::test]
async fn an_answer_that_was_lost_is_named_as_the_reason_for_what_comes_of_it() {
    for manner in [Manner::Endlessly, Manner::Silently] {
        scene!(provider, server, 3600);
        let line = format!("GET {OAUTH}/refresh/acme?name=mine");
        // The provider has replaced the refresh token, and nobody knows by what.
        provider.next(manner);
        assert_eq!(server.manage(&line, None).await.status, 422);
        let lapsed = server.manage(&line, None).await;
        assert_eq!(lapsed.status, 422, "{lapsed:?}");
        let shown = server.authorized("mine").await;
        assert_eq!(shown["reauthorization_reason"], "answer_lost");
        // The access token that there is is good as long as it lives.
        assert_eq!(server.authorized("mine").await["needs_reauthorization"], true);
    }
}

#[tokio::test]
async fn tokens_that_are_bound_to_a_key_may_have_cost_the_refresh_token() {
    scene!(provider, server, 3600);
    let line = format!("GET {OAUTH}/refresh/acme?name=mine");
    provider.set_shape(|mut answer| {
        answer["token_type"] = "DPoP".into();
        answer
    });
    let refused = server.manage(&line, None).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.text().contains("(DPoP), which is not supported"), "{}", refused.text());
    let shown = server.authorized("mine").await;
    let who = &shown["refresh_failure"]["who_must_act"];
    assert_eq!((who, provider.asked()), (&json!("operator"), 2));
    // Once the operator has turned it off, the token that was spent for nothing is no good.
    provider.set_shape(|answer| answer);
    assert_eq!(server.manage(&line, None).await.status, 422);
    assert_eq!(server.authorized("mine").await["reauthorization_reason"], "answer_lost");
}

#[tokio::test]
async fn tokens_that_come_coded_and_are_long_are_kept_and_sent() {
    for protocol in ["http/1.1", "h2"] {
        let provider = Provider::start().await;
        let origin = origin_speaking(&[protocol], &provider).await;
        let server = prepared(&provider, &origin).keeping().run().await;
        server.register(&provider).await;
        provider.next(Manner::Coded("gzip"));
        server.authorize(&provider, "mine").await;
        assert_eq!(server.send(&through("mine")).await.status, 200);
        // As long as an access token may be.
        provider.set_mark(&"x".repeat((32 << 10) - "at-2".len()));
        for coding in ["deflate", "gzip"] {
            provider.next(Manner::Coded(coding));
            let line = format!("GET {OAUTH}/refresh/acme?name=mine");
            let refreshed = server.manage(&line, None).await;
            assert_eq!(refreshed.status, 200, "{}", refreshed.text());
            let token = refreshed.json()["access_token"].as_str().unwrap().to_owned();
            assert_eq!(token.len(), 32 << 10);
            assert_eq!(server.send(&through("mine")).await.status, 200, "over {protocol}");
            assert_eq!(origin.last().field("authorization"), format!("Bearer {token}"));
        }
        let questions = provider.questions();
        assert!(questions.iter().all(|asked| asked.headers["accept-encoding"] == "identity"));
        assert_eq!((provider.asked(), provider.reused()), (3, 0));
        // Who may only read sees nothing of it.
        let (_id, reader) = server.keep_token("reader", &["read"]).await;
        let shown = server.manage_by(&reader, &format!("GET {OAUTH}/acme?name=mine"), None).await;
        assert_eq!((shown.status, shown.text().contains("xxxx")), (200, false));
    }
}
