//! Who may ask what: tokens, scopes, integrations, and how often.

use serde_json::json;

use super::{bearer, stored};
use crate::support::ask::stranger;
use crate::support::raw::Raw;
use crate::support::token;

const ALL: &str = "acme/connections/all";

#[tokio::test]
async fn who_has_no_good_token_is_told_why() {
    let world = stored()
        .scoped_token("over", "acme", "read", "expires_at = \"2020-01-01T00:00:00Z\"")
        .run()
        .await;
    let path = format!("GET /api/services/zis/integrations/{ALL}");
    let unknown = token("unknown");
    for (value, status, code, title) in [
        ("", 401, "InvalidCredentials", "Authentication failed"),
        ("Bearer", 401, "InvalidCredentials", "Token length is invalid"),
        ("Bearer abc", 401, "InvalidCredentials", "Token length is invalid"),
        (&format!("Bearer {unknown}x"), 401, "InvalidCredentials", "Token length is invalid"),
        (&format!("Bearer {unknown}"), 401, "InvalidCredentials", "Authentication failed"),
        (&format!("Bearer {}", token("over")), 401, "InvalidCredentials", "Authentication failed"),
        (&format!("Token {unknown}"), 401, "InvalidCredentials", "Authentication failed"),
        ("Basic dXNlcjpwYXNz", 403, "Forbidden", "API token is not supported"),
    ] {
        let mut ask = stranger(&path);
        if !value.is_empty() {
            ask = ask.field("Authorization", value);
        }
        let answer = Raw::tcp(world.api_address()).await.send(&ask).await;
        assert_eq!(answer.fault(), (status, code.to_owned(), title.to_owned()), "{value}");
        assert_eq!(answer.field("www-authenticate"), if status == 401 { "Bearer" } else { "" });
    }
    let twice = stranger(&path).field("Authorization", "Bearer x");
    assert_eq!(world.admin().send(twice).await.status, 401);
}

#[tokio::test]
async fn each_scope_opens_what_is_its_own() {
    let world = stored().run().await;
    let admin = world.admin();
    admin.post("acme/connections/bearer_token", &bearer("conn")).await;
    let named = "acme/connections/bearer_token/conn";
    let explain = json!({"method": "GET", "url": "https://api.example.com/"});
    for (scope, get, patch, tokens) in [
        ("read", 200, 403, 403),
        ("zis:read", 200, 403, 403),
        ("write", 403, 204, 403),
        ("zis:write", 403, 204, 403),
        ("proxy", 403, 403, 403),
        ("admin", 200, 204, 200),
    ] {
        let body = json!({"name": scope, "integration": "acme", "scopes": [scope]});
        let (holder, _) = admin.grant(&body).await;
        assert_eq!(holder.get(ALL).await.status, get, "{scope}");
        assert_eq!(holder.get(named).await.status, get, "{scope}");
        let explained = holder.post("/api/keyferry/v1/explain", &explain).await;
        assert_eq!(explained.status, get, "{scope}");
        assert_eq!(holder.patch(named, &json!({"token": "t"})).await.status, patch, "{scope}");
        assert_eq!(holder.get("/api/keyferry/v1/tokens").await.status, tokens, "{scope}");
        let needed = if get == 403 { holder.get(ALL).await } else { holder.delete(named).await };
        if needed.status == 403 {
            let missing = if get == 403 { "read" } else { "write" };
            let title = format!("Cannot access this resource. Missing scope {missing}");
            assert_eq!(needed.fault(), (403, "Forbidden".to_owned(), title));
        } else {
            assert_eq!(needed.status, 204);
        }
    }
}

#[tokio::test]
async fn a_token_opens_its_own_integration_alone() {
    let world = stored().run().await;
    let admin = world.admin();
    admin.post("acme/connections/bearer_token", &bearer("conn")).await;
    let body = json!({"name": "t", "integration": "other", "scopes": ["read", "write"]});
    let (holder, _) = admin.grant(&body).await;
    let title = "Authorization failed due to integration mismatch".to_owned();
    let mismatch = (401, "InvalidCredentials".to_owned(), title);
    for path in [ALL, "Other/connections/all", "acme/connections/bearer_token/conn"] {
        assert_eq!(holder.get(path).await.fault(), mismatch, "{path}");
    }
    let made = holder.post("acme/connections/bearer_token", &bearer("mine")).await;
    assert_eq!(made.fault(), mismatch);
    assert_eq!(holder.get("other/connections/all").await.status, 200);
}

#[tokio::test]
async fn a_token_with_a_list_sees_and_changes_what_is_on_it_alone() {
    let world = stored().bearer("acme.declared", "api.example.com", "s").run().await;
    let admin = world.admin();
    for name in ["one", "two"] {
        admin.post("acme/connections/bearer_token", &bearer(name)).await;
    }
    for (integration, list) in [
        ("acme", json!(["one", "new", "declared"])),
        ("*", json!(["acme.one", "acme.new", "acme.declared"])),
    ] {
        let body = json!({"name": "t", "integration": integration, "scopes": ["read", "write"],
            "connections": list});
        let (holder, _) = admin.grant(&body).await;
        let all = holder.get(ALL).await.json();
        let names: Vec<_> =
            all["bearer_token"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["declared", "one"]);
        let two = "acme/connections/bearer_token/two";
        assert_eq!(holder.get(two).await.status, 404);
        assert_eq!(holder.patch(two, &json!({"token": "t"})).await.status, 404);
        assert_eq!(holder.delete(two).await.status, 404);
        let path = "acme/connections/bearer_token";
        assert_eq!(holder.post(path, &bearer("other")).await.fault().1, "Forbidden");
        assert_eq!(holder.post(path, &bearer("new")).await.status, 201);
        assert_eq!(holder.delete("acme/connections/bearer_token/new").await.status, 204);
    }
    let body = json!({"name": "reader", "integration": "*", "scopes": ["read"],
        "connections": ["other.one"]});
    let (holder, _) = admin.grant(&body).await;
    assert_eq!(holder.get(ALL).await.json()["bearer_token"], json!([]));
}

#[tokio::test]
async fn a_token_may_ask_so_often_and_others_are_not_held_up_by_it() {
    let world = stored().set("api.requests_per_minute", "3").run().await;
    let admin = world.admin();
    let body = json!({"name": "other", "integration": "acme", "scopes": ["read"]});
    let (holder, _) = admin.grant(&body).await;
    for _ in 0..3 {
        assert_eq!(holder.get(ALL).await.status, 200);
    }
    let answer = holder.get(ALL).await;
    let title = "Too many requests".to_owned();
    assert_eq!(answer.fault(), (429, "TooManyRequests".to_owned(), title));
    let wait: u32 = answer.field("retry-after").parse().unwrap();
    assert!((1..=21).contains(&wait), "{wait}");
    assert_eq!(admin.get(ALL).await.status, 200);
}

#[tokio::test]
async fn who_fails_again_and_again_must_wait_and_a_good_token_need_not() {
    let world = stored().run().await;
    let stranger = world.operator(&token("unknown"));
    let mut statuses = Vec::new();
    for _ in 0..70 {
        statuses.push(stranger.get(ALL).await.status);
    }
    assert_eq!(statuses[..60], [401; 60]);
    assert_eq!(*statuses.last().unwrap(), 429);
    assert_eq!(world.admin().get(ALL).await.status, 200);
}
