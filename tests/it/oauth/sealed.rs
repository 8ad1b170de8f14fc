//! Who can write to the database can aim neither a client's secret nor a refresh token elsewhere.

use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};

use crate::support::authorized::{OAUTH, target, through, world};
use crate::support::provider::Provider;
use crate::support::raw::refused;
use crate::support::soon;
use crate::support::world::{Running, World};

pub(super) async fn database(world: &World) -> SqliteConnection {
    let file = world.path("data/keyferry.db");
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

/// Each of these aims tokens elsewhere.
const EDITS: [&str; 4] = [
    "UPDATE connections SET allowed_domain = '*.example.test' WHERE name = 'mine'",
    "UPDATE connections SET allowed_domain = NULL WHERE name = 'mine'",
    "UPDATE connections SET client = '00000000-0000-4000-8000-000000000000' WHERE name = 'mine'",
    "UPDATE connections SET detail = json_set(detail, '$.subdomain', 'evil') WHERE name = 'mine'",
];

#[tokio::test]
async fn tokens_open_only_for_what_they_were_sealed_for() {
    let provider = Provider::start().await;
    for edit in EDITS {
        let (origin, server) =
            world(&provider, |world| world.set("oauth.unrestricted", "true")).await;
        server.register(&provider).await;
        server.authorize(&provider, "mine").await;
        let world = server.killed().await;
        sqlx::query(edit).execute(&mut database(&world).await).await.unwrap();
        let server = world.run().await;
        let answer = server.send(&through("mine")).await;
        assert_eq!(answer.refusal(), refused(500, "SealBroken"), "{edit}");
        assert!(origin.seen().is_empty(), "{edit}");
    }
}

#[tokio::test]
async fn a_client_that_was_aimed_elsewhere_sends_nothing() {
    let provider = Provider::start().await;
    for edit in [
        "UPDATE oauth_clients SET token_url = 'https://id2.example.test/token'",
        "UPDATE oauth_clients SET auth_url = 'https://id2.example.test/authorize'",
        "UPDATE oauth_clients SET client_id = 'another'",
        "UPDATE oauth_clients SET auth_method = 'client_secret_basic'",
    ] {
        let (_origin, server) = world(&provider, |world| world).await;
        server.register(&provider).await;
        let world = server.killed().await;
        sqlx::query(edit).execute(&mut database(&world).await).await.unwrap();
        let server = world.run().await;
        let body = json!({
            "name": "own", "oauth_client_name": "example_client",
            "grant_type": "client_credentials",
        });
        let redirect_url = server.start_flow(body).await;
        let exchanged = server.manage(&format!("GET {}", target(&redirect_url)), None).await;
        assert_eq!(exchanged.status, 500, "{edit}: {exchanged:?}");
        assert!(server.metric("keyferry_seal_failures_total").await >= 1.0, "{edit}");
        let said = server.log.find(|line| line.contains("example_client of").then_some(()));
        soon(said).await;
        assert_eq!(provider.asked(), 0, "{edit}");
    }
}

#[tokio::test]
async fn a_flow_that_was_edited_is_none() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    let begun = server.start_flow(Running::flow("mine")).await;
    let edit = "UPDATE oauth_flows SET integration = 'globex'";
    sqlx::query(edit).execute(&mut database(&server.world).await).await.unwrap();
    let answer = server.stroll(target(&begun)).await;
    assert!(answer.status >= 400, "{answer:?}");
    assert!(server.metric("keyferry_seal_failures_total").await >= 1.0);
}

#[tokio::test]
async fn another_master_key_takes_clients_flows_and_tokens_along() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    server.authorize(&provider, "mine").await;
    let begun = server.start_flow(Running::flow("other")).await;
    // A new first line in the key file, and everything comes under it.
    let file = server.world.path("data/master.key");
    let old = std::fs::read_to_string(&file).unwrap();
    let new = format!("new:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n{old}");
    std::fs::write(&file, new).unwrap();
    let rotated = server.manage("POST /api/keyferry/v1/keys/rotate", None).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    std::fs::write(&file, "new:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    let keys = server.manage("GET /api/keyferry/v1/keys", None).await.json();
    let others = keys["keys"].as_array().unwrap().iter().filter(|key| key["id"] != "new");
    assert!(others.into_iter().all(|key| key["records"] == 0), "{keys}");
    let server = server.killed().await.run().await;
    let callback = server.consent(&provider, &begun).await;
    assert_eq!(server.stroll(target(&callback)).await.status, 303);
    let line = format!("GET {OAUTH}/refresh/acme?name=mine");
    assert_eq!(server.manage(&line, None).await.status, 200);
    assert_eq!(server.send(&through("mine")).await.status, 200);
}
