//! Clients with a profile: providers that want to be asked in a way of their own, and answer so.

use serde_json::{Value, json};

use crate::support::authorized::{OAUTH, parameter, target, through, world};
use crate::support::provider::{
    CLIENT_ID, HOST, Manner, OTHER_HOST, Provider, Question, Refreshing,
};
use crate::support::soon;
use crate::support::world::Running;

/// A server with the provider's client, which has this profile besides; gives its uuid.
async fn register(server: &Running, provider: &Provider, profile: Value) -> String {
    let mut client = provider.registration();
    client.as_object_mut().unwrap().extend(profile.as_object().unwrap().clone());
    let made = server.manage(&format!("POST {OAUTH}/oauth/clients/acme"), Some(client)).await;
    assert_eq!(made.status, 201, "{made:?}");
    // What was given is shown as it was given.
    let shown = made.json();
    for (name, value) in profile.as_object().unwrap() {
        assert_eq!(shown[name], *value, "{name}");
    }
    shown["uuid"].as_str().unwrap().to_owned()
}

/// A server with a client of this profile.
macro_rules! scene {
    ($provider:ident, $server:ident, $profile:tt) => {
        let $provider = Provider::start().await;
        let (_origin, $server) = world(&$provider, |world| world).await;
        register(&$server, &$provider, json!($profile)).await;
    };
}

/// The names of a question's parameters.
fn names(question: &Question) -> Vec<&str> {
    question.form.keys().map(String::as_str).collect()
}

async fn refresh(server: &Running, name: &str) -> Value {
    let answer = server.manage(&format!("GET {OAUTH}/refresh/acme?name={name}"), None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The end of a flow of the connection `mine` whose callback is changed on its way.
async fn ended(server: &Running, provider: &Provider, change: impl Fn(String) -> String) -> String {
    let redirect_url = server.start_flow(Running::flow("mine")).await;
    let callback = change(server.consent(provider, &redirect_url).await);
    let ended = server.stroll(target(&callback)).await;
    assert_eq!(ended.status, 303, "{ended:?}");
    ended.location()
}

#[tokio::test]
async fn a_provider_is_asked_as_the_profile_says() {
    scene!(provider, server, {
        "auth_params": {"access_type": "online", "client_key": "{client_id}", "shop": "{subdomain}"},
        "token_params": {"expiring": "1", "shop": "{subdomain}"},
        "refresh_params": {"type": "refresh"},
        "refresh_url": "https://id.example.test/refresh",
        "token_request_format": "json", "token_endpoint_auth_method": "client_secret_basic",
        "pkce": "off", "scope_separator": ",", "scope_on_refresh": true,
    });
    provider.refuse_pkce();
    let mut flow = Running::flow("mine");
    flow["allow_offline_access"] = true.into();
    // What a parameter needs is asked for before the browser leaves.
    let line = format!("POST {OAUTH}/oauth/start/acme");
    let refused = server.manage(&line, Some(flow.clone())).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.text().contains("Oauth url subdomain"), "{}", refused.text());
    flow["oauth_url_subdomain"] = "foobar".into();
    let end = server.flow_through(&provider, flow).await;
    assert!(parameter(&end, "verification_code").is_some(), "{end}");
    let invitation = provider.invitations().pop().unwrap();
    let said = ["access_type", "client_key", "shop", "scope"].map(|name| &*invitation[name]);
    assert_eq!(said, ["online", CLIENT_ID, "foobar", "read,write"]);
    assert!(!invitation.keys().any(|name| name.starts_with("code_challenge")), "{invitation:?}");
    let first = provider.questions().pop().unwrap();
    assert_eq!(names(&first), ["code", "expiring", "grant_type", "redirect_uri", "shop"]);
    assert_eq!((first.path.as_str(), first.said("shop")), ("/token", "foobar"));
    refresh(&server, "mine").await;
    let second = provider.questions().pop().unwrap();
    assert_eq!(names(&second), ["grant_type", "refresh_token", "scope", "type"]);
    let said = (second.path.as_str(), second.said("scope"), second.said("type"));
    assert_eq!(said, ("/refresh", "read,write", "refresh"));
    assert_eq!(server.send(&through("mine")).await.status, 200);
}

#[tokio::test]
async fn a_provider_that_takes_no_challenge_refuses_one() {
    scene!(provider, server, {});
    provider.refuse_pkce();
    let redirect_url = server.start_flow(Running::flow("mine")).await;
    let led = server.stroll(target(&redirect_url)).await;
    assert!(led.location().contains("code_challenge="), "{led:?}");
}

#[tokio::test]
async fn tokens_and_their_end_are_read_where_the_profile_points() {
    scene!(provider, server, {
        "token_path": "/data/token", "refresh_token_path": "/data/refresh",
        "expires_in_path": "/data/expiresAt",
    });
    provider.set_shape(|answer| {
        json!({"access_token": "another", "data": {
            "token": answer["access_token"], "refresh": answer["refresh_token"],
            "expiresAt": "2099-01-01T00:00:00Z", "scope": answer["scope"],
        }})
    });
    server.authorize(&provider, "mine").await;
    for _each in 0..2 {
        let shown = server.authorized("mine").await;
        // Ten years are the longest that is believed.
        let expiry = shown["token_expiry"].as_str().unwrap().to_owned();
        assert!(expiry.starts_with("203"), "{expiry}");
        assert_eq!(shown["permission_scope"], "read write");
        assert_eq!(server.send(&through("mine")).await.status, 200);
        refresh(&server, "mine").await;
    }
    assert_eq!((provider.asked(), provider.reused()), (3, 0));
}

#[tokio::test]
async fn a_lifetime_that_the_provider_does_not_tell_is_the_profiles() {
    scene!(provider, server, {"default_lifetime": "2s"});
    provider.set_expires_in(Value::Null);
    server.authorize(&provider, "mine").await;
    assert_eq!(server.send(&through("mine")).await.status, 200);
    // It is refreshed before its end, because it is in use.
    provider.has_been_asked(2).await;
    let background = "keyferry_oauth_refreshes_total{outcome=\"refreshed\",cause=\"background\"}";
    soon(async { while server.metric(background).await < 1.0 {} }).await;
    // What it does tell counts.
    provider.set_expires_in(json!(3600));
    let shown = refresh(&server, "mine").await;
    let left = |shown: &Value| {
        let end: jiff::Timestamp = shown["token_expiry"].as_str().unwrap().parse().unwrap();
        end.duration_since(jiff::Timestamp::now()).as_secs()
    };
    assert!((3500..=3600).contains(&left(&shown)), "{shown}");
}

#[tokio::test]
async fn an_access_token_is_exchanged_for_the_next_one_without_a_refresh_token() {
    scene!(provider, server, {"refresh_params": {
        "grant_type": "exchange_token", "old_token": "{access_token}",
    }});
    provider.set_refreshing(Refreshing::Never);
    provider.set_expires_in(json!(2));
    server.authorize(&provider, "mine").await;
    let first = server.authorized("mine").await["access_token"].clone();
    assert_eq!(server.send(&through("mine")).await.status, 200);
    provider.set_expires_in(json!(3600));
    provider.has_been_asked(2).await;
    let question = provider.questions().pop().unwrap();
    assert_eq!(names(&question), ["client_id", "client_secret", "grant_type", "old_token"]);
    assert_eq!(json!(question.said("old_token")), first);
    // And so on: the one that came is exchanged for another.
    soon(async { while server.authorized("mine").await["access_token"] == first {} }).await;
    let second = server.authorized("mine").await["access_token"].clone();
    let third = refresh(&server, "mine").await;
    assert_eq!(json!(provider.questions().pop().unwrap().said("old_token")), second);
    assert_ne!(third["access_token"], second);
    assert_eq!(server.send(&through("mine")).await.status, 200);
    // Once the provider refuses, only a new flow helps.
    provider.revoke_grants();
    let line = format!("GET {OAUTH}/refresh/acme?name=mine");
    assert_eq!(server.manage(&line, None).await.status, 422);
    assert_eq!(server.authorized("mine").await["reauthorization_reason"], "invalid_grant");
}

#[tokio::test]
async fn an_issuer_is_compared_exactly_or_by_its_tenant() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    let uuid =
        register(&server, &provider, json!({"issuer": "https://sts.example.test/acme"})).await;
    let from = |issuer: &str| {
        let issuer: String = form_urlencoded::byte_serialize(issuer.as_bytes()).collect();
        move |callback: String| format!("{callback}&iss={issuer}")
    };
    let foreign = [
        format!("https://{HOST}"),
        "https://sts.example.test/acme/".to_owned(),
        "https://sts.example.test/globex".to_owned(),
    ];
    for issuer in &foreign {
        let end = ended(&server, &provider, from(issuer)).await;
        assert_eq!(parameter(&end, "error").as_deref(), Some("invalid_request"), "{issuer}");
        // Nor is its error believed to be the provider's.
        let denied = |callback: String| from(issuer)(callback.replace("code=", "error=denied"));
        let end = ended(&server, &provider, denied).await;
        assert_eq!(parameter(&end, "error").as_deref(), Some("invalid_request"), "{issuer}");
    }
    assert_eq!(provider.asked(), 0, "a code was spent");
    let end = ended(&server, &provider, from("https://sts.example.test/acme")).await;
    assert!(parameter(&end, "verification_code").is_some(), "{end}");
    // Without one, the tenant in the path counts.
    let line = format!("PATCH {OAUTH}/oauth/clients/acme/{uuid}");
    let tenant = json!({
        "issuer": null, "client_secret": crate::support::provider::CLIENT_SECRET,
        "auth_url": provider.url("/authorize?tenant=1"),
        "token_url": provider.url("/token"),
    });
    assert_eq!(server.manage(&line, Some(tenant)).await.status, 200);
    for (issuer, is_ours) in [
        (format!("https://{HOST}"), true),
        (format!("https://{HOST}/authorize"), true),
        (format!("https://{HOST}/globex"), false),
        (format!("https://{OTHER_HOST}"), false),
    ] {
        let end = ended(&server, &provider, from(&issuer)).await;
        assert_eq!(parameter(&end, "verification_code").is_some(), is_ours, "{issuer}");
        let words = parameter(&end, "error_description").unwrap_or_default();
        assert_eq!(words.contains("sets the client's issuer"), !is_ours, "{words}");
    }
}

#[tokio::test]
async fn tokens_that_are_bound_to_a_key_are_refused_with_a_sentence() {
    scene!(provider, server, {});
    let bound = json!({"access_token": "at", "token_type": "DPoP", "expires_in": 60});
    let nonce = json!({"error": "use_dpop_nonce"});
    for (status, body) in [(200, bound), (400, nonce)] {
        provider.next(Manner::Saying(status, "application/json", body.to_string()));
        let end = ended(&server, &provider, |callback| callback).await;
        let words = parameter(&end, "error_description").unwrap();
        assert!(words.contains("(DPoP), which is not supported"), "{words}");
    }
}

#[tokio::test]
async fn a_refresh_token_goes_only_where_it_was_refreshed_when_it_came() {
    let (provider, thief) = (Provider::start().await, Provider::named(OTHER_HOST).await);
    let (_origin, server) = world(&provider, |world| world.pin(OTHER_HOST, &thief.origin)).await;
    let client = register(&server, &provider, json!({})).await;
    server.authorize(&provider, "mine").await;
    let line = format!("PATCH {OAUTH}/oauth/clients/acme/{client}");
    let moved = json!({"refresh_url": thief.url("/refresh")});
    assert_eq!(server.manage(&line, Some(moved.clone())).await.status, 422);
    let mut with_secret = moved;
    with_secret["client_secret"] = "made up".into();
    assert_eq!(server.manage(&line, Some(with_secret)).await.status, 200);
    let answer = server.manage(&format!("GET {OAUTH}/refresh/acme?name=mine"), None).await;
    assert!(answer.status == 422 && answer.text().contains("moved to another host"), "{answer:?}");
    assert_eq!((thief.asked(), provider.asked()), (0, 1));
    // At the URL of the provider itself, it is where it came from.
    let back = json!({
        "refresh_url": provider.url("/refresh"),
        "client_secret": crate::support::provider::CLIENT_SECRET,
    });
    assert_eq!(server.manage(&line, Some(back)).await.status, 200);
    server.authorize(&provider, "mine").await;
    refresh(&server, "mine").await;
    assert_eq!(provider.questions().pop().unwrap().path, "/refresh");
}

#[tokio::test]
async fn the_protocols_own_parameters_are_not_a_profiles() {
    scene!(provider, server, {});
    let line = format!("POST {OAUTH}/oauth/clients/acme");
    for (member, params) in [
        ("auth_params", json!({"redirect_uri": "https://evil.example/"})),
        ("auth_params", json!({"state": "a"})),
        ("auth_params", json!({"token": "{access_token}"})),
        ("token_params", json!({"grant_type": "password"})),
        ("token_params", json!({"client_secret": "x"})),
        ("token_params", json!({"token": "{access_token}"})),
        ("refresh_params", json!({"grant_type": "exchange_token"})),
        ("refresh_params", json!({"refresh_token": "{access_token}"})),
    ] {
        let mut client = provider.registration();
        client["name"] = "another".into();
        client[member] = params.clone();
        let refused = server.manage(&line, Some(client)).await;
        assert_eq!(
            (refused.status, refused.faults().1),
            (422, vec!["1303".to_owned()]),
            "{params}"
        );
        let text = refused.text().to_ascii_lowercase();
        assert!(text.contains(&member.replace('_', " ")), "{text}");
    }
}
