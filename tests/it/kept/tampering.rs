//! Who can write to the database can still not aim a secret elsewhere, nor make a token.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};

use super::{through, with_token};
use crate::support::origin::Origin;
use crate::support::raw::refused;
use crate::support::world::World;
use crate::support::{soon, token};

pub(crate) async fn database(world: &World) -> SqliteConnection {
    let file = world.path("data/keyferry.db");
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

/// The server's world with a connection `acme.kept` and one `acme.other`, stopped.
async fn stopped(origin: &Origin) -> World {
    let world = World::new(origin).pin("evil.example.test", origin);
    let server = world.keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    server.keep_bearer("other", "other.example.test", "other-secret").await;
    server.killed().await
}

/// Each of these aims a secret elsewhere, or takes another's.
const EDITS: [(&str, &str); 6] = [
    (
        "another domain",
        "UPDATE connections SET allowed_domain = '*.example.test' WHERE name = 'kept'",
    ),
    ("another name", "UPDATE connections SET name = 'moved' WHERE name = 'kept'"),
    ("another integration", "UPDATE connections SET integration = 'globex' WHERE name = 'kept'"),
    (
        "another's secret",
        "UPDATE connections SET (key_id, wrapped, payload) = \
         (SELECT key_id, wrapped, payload FROM connections WHERE name = 'other') WHERE name = 'kept'",
    ),
    (
        "another's payload",
        "UPDATE connections SET payload = \
         (SELECT payload FROM connections WHERE name = 'other') WHERE name = 'kept'",
    ),
    (
        "another uuid",
        "UPDATE connections SET uuid = '00000000-0000-4000-8000-000000000000' WHERE name = 'kept'",
    ),
];

#[tokio::test]
async fn a_record_that_was_edited_or_moved_can_not_be_opened_and_raises_an_alarm() {
    let origin = Origin::start().await;
    for (what, edit) in EDITS {
        let world = stopped(&origin).await;
        let mut connection = database(&world).await;
        sqlx::query(edit).execute(&mut connection).await.unwrap();
        drop(connection);
        origin.forget();
        let world = world.token("everywhere", "*", "");
        let server = world.run().await;
        let name = if what == "another name" { "moved" } else { "kept" };
        let integration = if what == "another integration" { "globex" } else { "acme" };
        let ask = with_token(&token("everywhere"), name).field("X-Zis-Integration", integration);
        let answer = server.send(&ask).await;
        assert_eq!(answer.refusal(), refused(500, "SealBroken"), "{what}");
        assert!(origin.seen().is_empty(), "{what}");
        assert!(server.metric("keyferry_seal_failures_total").await > 0.0, "{what}");
        let alarm = |line: &str| line.contains("secret can't be opened").then(|| line.to_owned());
        let said = soon(server.log.find(alarm)).await;
        assert!(said.contains(&format!("{integration}.{name}")), "{what}: {said}");
        assert!(!server.log.text().contains("-secret"), "{what}");
    }
}

#[tokio::test]
async fn a_token_that_was_written_into_the_database_is_none() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    let (_id, weak) = server.keep_token("weak", &["read"]).await;
    let answer = server.send(&with_token(&weak, "kept")).await;
    assert_eq!(answer.refusal(), refused(403, "ConnectionForbidden"));
    let world = server.killed().await;
    let mut connection = database(&world).await;
    for edit in ["UPDATE tokens SET scopes = 'proxy'", "UPDATE tokens SET integration = '*'"] {
        sqlx::query(edit).execute(&mut connection).await.unwrap();
    }
    drop(connection);
    let server = world.run().await;
    let answer = server.send(&with_token(&weak, "kept")).await;
    assert_eq!(answer.refusal(), refused(407, "CallerUnknown"));
    assert!(server.metric("keyferry_seal_failures_total").await > 0.0);
    assert_eq!(server.send(&through("kept")).await.status, 200);
}

#[tokio::test]
async fn an_edited_record_takes_no_new_secret_announced_or_not() {
    let origin = Origin::start().await;
    let world = World::new(&origin).pin("evil.example.test", &origin);
    let server = world.keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    let mut connection = database(&server.world).await;
    let edit = "UPDATE connections SET allowed_domain = 'evil.example.test'";
    sqlx::query(edit).execute(&mut connection).await.unwrap();
    let line = format!("PATCH {}/bearer_token/kept", crate::support::operator::CONNECTIONS);
    let answer = server.manage(&line, Some(serde_json::json!({"token": "another"}))).await;
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(answer.text().contains("SealBroken"));
    assert!(server.metric("keyferry_seal_failures_total").await >= 1.0);
    let aimed = crate::support::ask::ask("GET https://evil.example.test/v1");
    let aimed = server.send(&aimed.field("X-Zis-Connection", "kept")).await;
    assert_eq!(aimed.refusal(), refused(403, "DomainNotAllowed"));
}

#[tokio::test]
async fn a_list_goes_on_behind_rows_that_can_not_be_read() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    for name in ["aaa", "bbb", "ccc"] {
        server.keep_bearer(name, "api.example.test", "kept-secret").await;
    }
    let mut connection = database(&server.world).await;
    let edit = "UPDATE connections SET detail = '[]' WHERE name = 'bbb'";
    sqlx::query(edit).execute(&mut connection).await.unwrap();
    let connections = crate::support::operator::CONNECTIONS;
    for query in ["page[size]=1&page[after]=api", "page[size]=1&page[before]=zzz"] {
        let answer = server.manage(&format!("GET {connections}/all?{query}"), None).await;
        let page: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(page["bearer_token"][0]["name"], "ccc", "{page}");
    }
    // The declared one comes before the row that can't be read.
    let backwards = format!("GET {connections}/all?page[size]=1&page[before]=ccc");
    let answer = server.manage(&backwards, None).await;
    let page: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(page["bearer_token"][0]["name"], "api", "{page}");
    let few = serde_json::json!({
        "name": "few", "integration": "acme", "scopes": ["read"], "connections": ["bbb", "ccc"],
    });
    let made = server.manage("POST /api/keyferry/v1/tokens", Some(few)).await;
    let made: serde_json::Value = serde_json::from_slice(&made.body).unwrap();
    let secret = made["token"]["secret"].as_str().unwrap();
    let answer = server.manage_by(secret, &format!("GET {connections}/all"), None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}
