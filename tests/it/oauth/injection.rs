//! The place of an access token: the fields that its client names, and the statuses that call for
//! another token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::ask::{ask, stranger};
use crate::support::authorized::{prepared, through};
use crate::support::origin::Origin;
use crate::support::provider::{CLIENT_SECRET, Provider};
use crate::support::token;
use crate::support::world::Running;

const CLIENTS: &str = "/api/services/zis/connections/oauth/clients/acme";

/// Registers the provider's client with these members beside its own.
async fn register_with(server: &Running, provider: &Provider, members: Value) -> String {
    let mut registration = provider.registration();
    registration.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let made = server.manage(&format!("POST {CLIENTS}"), Some(registration)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["uuid"].as_str().unwrap().to_owned()
}

/// A change, with the client's secret entered again.
fn with_secret(change: &Value) -> Value {
    let mut change = change.clone();
    change["client_secret"] = CLIENT_SECRET.into();
    change
}

/// An origin that answers well, and a server that leads to it.
async fn scene(provider: &Provider) -> (Origin, Running) {
    let origin = Origin::answering(&["http/1.1"], |_seen| {
        http::Response::builder().status(200).body("ok".into()).unwrap()
    })
    .await;
    let server = prepared(provider, &origin).keeping().run().await;
    (origin, server)
}

#[tokio::test]
async fn the_token_goes_into_the_fields_that_the_client_names_and_no_other() {
    let provider = Provider::start().await;
    let (origin, server) = scene(&provider).await;
    let inject = json!([
        {"in": "header", "name": "X-Shop-Token", "value": "{access_token}"},
        {"in": "header", "name": "X-Client", "value": "id {client_id}."},
        {"in": "header", "name": "X-Git", "value": "{basic:'x-access-token',access_token}"},
    ]);
    register_with(&server, &provider, json!({"inject": inject})).await;
    server.authorize(&provider, "mine").await;
    // 1. Every spelling of the fields goes, and the caller's own Authorization passes.
    let get = through("mine")
        .field("X-Shop-Token", "forged")
        .field("X_Client", "forged")
        .field("x-git", "forged")
        .field("Authorization", "Digest of-the-caller");
    assert_eq!(server.send(&get).await.status, 200);
    let seen = origin.seen().pop().unwrap();
    let access_token = seen.field("x-shop-token");
    assert!(provider.is_valid(&access_token), "{access_token}");
    assert_eq!(seen.field("x-client"), "id client:of acme.");
    assert!(seen.field("x-git").starts_with("Basic eC1hY2Nlc3MtdG9rZW46"));
    assert_eq!(seen.field("authorization"), "Digest of-the-caller");
    assert!(!format!("{seen:?}").contains("forged"), "{seen:?}");
    // 2. It is explained, and shown nowhere.
    let question = json!({"method": "GET", "url": "https://api.example.test/", "integration": "acme",
        "connection": "mine"});
    let explained = server.manage("POST /api/keyferry/v1/explain", Some(question)).await;
    assert_eq!(explained.json()["field"], "x-shop-token, x-client, x-git");
    assert!(!explained.text().contains(&access_token));
    // 3. A caller's token may stand in one of them in base-URL form.
    let get = stranger("GET /~/acme.mine/v1").field("X-Shop-Token", &token("runner"));
    assert_eq!(server.send(&get).await.status, 200);
    let seen = origin.seen().pop().unwrap();
    assert!(provider.is_valid(&seen.field("x-shop-token")));
}

#[tokio::test]
async fn another_place_is_taken_with_the_next_refresh() {
    let provider = Provider::start().await;
    let (origin, server) = scene(&provider).await;
    let uuid = register_with(&server, &provider, json!({})).await;
    server.authorize(&provider, "mine").await;
    let change =
        json!({"inject": [{"in": "header", "name": "X-Token", "value": "t {access_token}"}]});
    let path = format!("{CLIENTS}/{uuid}");
    let changed = server.manage(&format!("PATCH {path}"), Some(with_secret(&change))).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.json()["inject"], change["inject"]);
    let refresh = "GET /api/services/zis/connections/refresh/acme?name=mine";
    assert_eq!(server.manage(refresh, None).await.status, 200);
    assert_eq!(server.send(&through("mine")).await.status, 200);
    let seen = origin.seen().pop().unwrap();
    assert_eq!(seen.field("authorization"), "");
    assert!(provider.is_valid(seen.field("x-token").strip_prefix("t ").unwrap()));
    // It goes back to what every provider has.
    let changed =
        server.manage(&format!("PATCH {path}"), Some(with_secret(&json!({"inject": null})))).await;
    assert_eq!((changed.status, changed.json().get("inject")), (200, None));
    assert_eq!(server.manage(refresh, None).await.status, 200);
    assert_eq!(server.send(&through("mine")).await.status, 200);
    let seen = origin.seen().pop().unwrap();
    assert!(seen.field("authorization").starts_with("Bearer ") && seen.field("x-token").is_empty());
}

#[tokio::test]
async fn a_status_that_the_client_names_calls_for_a_refresh() {
    let provider = Provider::start().await;
    let refuses = Arc::new(AtomicBool::new(false));
    let origin = Origin::answering(&["http/1.1"], {
        let refuses = Arc::clone(&refuses);
        move |_seen| {
            let status = if refuses.swap(false, SeqCst) { 403 } else { 200 };
            http::Response::builder().status(status).body("said".into()).unwrap()
        }
    })
    .await;
    let server = prepared(&provider, &origin).keeping().run().await;
    register_with(&server, &provider, json!({"refresh_on_status": [401, 403]})).await;
    server.authorize(&provider, "mine").await;
    refuses.store(true, SeqCst);
    assert_eq!(server.send(&through("mine")).await.status, 200);
    assert_eq!((origin.seen().len(), provider.asked()), (2, 2));
    let [first, second] = &origin.seen()[..] else { panic!() };
    assert_ne!(first.field("authorization"), second.field("authorization"));
}

#[tokio::test]
async fn a_token_in_the_query_and_the_path_is_renewed_like_any_other() {
    let provider = Provider::start().await;
    let refuses = Arc::new(AtomicBool::new(false));
    let origin = Origin::answering(&["http/1.1"], {
        let refuses = Arc::clone(&refuses);
        move |_seen| {
            let status = if refuses.swap(false, SeqCst) { 401 } else { 200 };
            http::Response::builder().status(status).body("said".into()).unwrap()
        }
    })
    .await;
    let server = prepared(&provider, &origin).keeping().run().await;
    let inject = json!([
        {"in": "query", "name": "access_token", "value": "{access_token}"},
        {"in": "path", "placeholder": "KEYFERRY"},
    ]);
    register_with(&server, &provider, json!({ "inject": inject })).await;
    server.authorize(&provider, "mine").await;
    refuses.store(true, SeqCst);
    let get = ask("GET https://api.example.test/a/KEYFERRY?access-token=forged&b=1")
        .field("X-Zis-Connection", "mine")
        .field("Authorization", "of the caller");
    assert_eq!(server.send(&get).await.status, 200);
    let tokens: Vec<_> = origin
        .seen()
        .iter()
        .map(|seen| {
            let (path, query) = seen.target.split_once("?b=1&access_token=").unwrap();
            assert_eq!(path, format!("/a/{query}"));
            assert_eq!(seen.field("authorization"), "of the caller");
            query.to_owned()
        })
        .collect();
    assert_eq!((tokens.len(), provider.asked()), (2, 2));
    assert!(tokens[0] != tokens[1] && provider.is_valid(&tokens[1]), "{tokens:?}");
    let log = server.log.text();
    assert!(tokens.iter().all(|token| !log.contains(token.as_str())));
}

#[tokio::test]
async fn one_grant_serves_git_and_rest_by_basic_authentication() {
    let provider = Provider::start().await;
    let (origin, server) = scene(&provider).await;
    let inject = json!([{"in": "header", "name": "Authorization",
        "value": "{basic:'x-access-token',access_token}"}]);
    register_with(&server, &provider, json!({ "inject": inject })).await;
    server.authorize(&provider, "mine").await;
    for path in ["/acme/site.git/git-receive-pack", "/repos/acme/site"] {
        let post = ask(&format!("POST https://api.example.test{path}"))
            .field("X-Zis-Connection", "mine")
            .field("Authorization", "Basic Zm9yZ2Vk");
        assert_eq!(server.send(&post.body("0000")).await.status, 200);
        let sent = origin.seen().pop().unwrap().field("authorization");
        let pair = STANDARD.decode(sent.strip_prefix("Basic ").unwrap()).unwrap();
        let pair = String::from_utf8(pair).unwrap();
        assert!(provider.is_valid(pair.strip_prefix("x-access-token:").unwrap()), "{path}");
    }
}

#[tokio::test]
async fn a_field_that_can_carry_no_token_is_refused_by_name() {
    let provider = Provider::start().await;
    let (_origin, server) = scene(&provider).await;
    for (inject, rule) in [
        (json!([{"in": "body", "name": "key", "value": "{access_token}"}]), "[0].in must be"),
        (json!([{"in": "query", "name": "a b", "value": "{access_token}"}]), "[0]: its name"),
        (json!([{"in": "path", "name": "KEYFERRY"}]), "[0].name does not go with in = path"),
        (json!([{"in": "header", "name": "Host", "value": "{access_token}"}]), "[0]: its name"),
        (json!([{"in": "header", "name": "X-A", "value": "{token}"}]), "[0]: its value"),
        (json!([{"in": "header", "name": "X-A", "value": "constant"}]), "one of them with"),
        (json!([{"name": "X-A", "value": "{access_token}"}]), "must be a list of objects"),
        (json!("X-A"), "must be a list of objects"),
    ] {
        let mut registration = provider.registration();
        registration["inject"] = inject;
        let refused = server.manage(&format!("POST {CLIENTS}"), Some(registration)).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        let detail = refused.json()["errors"][0]["detail"].to_string();
        assert!(detail.contains("Inject") && detail.contains(rule), "{rule}: {detail}");
    }
}

#[tokio::test]
async fn a_client_that_becomes_public_forgets_its_secret() {
    let provider = Provider::start().await;
    let (_origin, server) = scene(&provider).await;
    let path = format!("{CLIENTS}/{}", register_with(&server, &provider, json!({})).await);
    let change = async |members: Value| {
        let changed = server.manage(&format!("PATCH {path}"), Some(members)).await;
        (changed.status, changed.text())
    };
    // 1. Its URLs change only with the secret, the further ones too.
    for member in ["auth_url", "token_url", "refresh_url", "revocation_url"] {
        let (status, text) = change(json!({member: "https://other.example.test/x"})).await;
        assert!(status == 422 && text.contains("entered again"), "{member}: {text}");
    }
    // Nor does what reaches the API in its tokens' place, without the secret.
    for change_of_place in [
        json!({"token_path": "/refresh_token"}),
        json!({"refresh_token_path": "/id_token"}),
        json!({"inject": [{"in": "header", "name": "X-Echoed", "value": "{access_token}"}]}),
    ] {
        let (status, text) = change(change_of_place).await;
        assert!(status == 422 && text.contains("entered again"), "{text}");
    }
    // 2. Without one they stay at its origins, and no way leads back to the secret that it had.
    let public = json!({"token_endpoint_auth_method": "none"});
    assert_eq!(change(public).await.0, 200);
    assert_eq!(change(json!({"refresh_url": provider.url("/refresh")})).await.0, 200);
    for elsewhere in [
        json!({"token_url": "https://other.example.test/x"}),
        json!({"revocation_url": "https://{subdomain}.example.test/x"}),
        json!({"token_path": "/refresh_token"}),
    ] {
        let (status, text) = change(elsewhere).await;
        assert!(status == 422 && text.contains("make another client"), "{text}");
    }
    let back = json!({"token_endpoint_auth_method": "client_secret_post"});
    let (status, text) = change(back).await;
    assert!(status == 422 && text.contains("a public client has none"), "{text}");
}
