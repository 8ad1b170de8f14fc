//! The store of the first release opens: every secret in it, and the connections work on.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::support::ask::ask;
use crate::support::authorized::OAUTH;
use crate::support::origin::{Origin, ok};
use crate::support::world::World;

/// Makes the data directory as version 0.1 left it.
async fn restore(directory: &Path) {
    fs::create_dir(directory).unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
    for (name, content) in [
        ("master.key", include_str!("release_0_1/master.key")),
        ("admin.token", include_str!("release_0_1/admin.token")),
    ] {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).mode(0o600).open(directory.join(name));
        std::io::Write::write_all(file.as_mut().unwrap(), content.as_bytes()).unwrap();
    }
    let path = directory.join("keyferry.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut conn = options.connect().await.unwrap();
    let dump = include_str!("release_0_1/keyferry.sql");
    conn.execute(sqlx::raw_sql(dump)).await.unwrap();
    conn.close().await.unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_store_of_version_0_1_opens_and_its_connections_work_on() {
    let origin = Origin::start().await;
    let provider = Origin::answering(&["http/1.1"], |_seen| {
        ok(r#"{"access_token":"another","token_type":"bearer"}"#)
    })
    .await;
    let world = World::new(&origin).pin("id.example.test", &provider).keeping();
    restore(&world.path("data")).await;
    let server = world.run().await;
    let token_of = async |name: &str| {
        let get = ask("GET https://api.example.test/").field("X-Zis-Connection", name);
        assert_eq!(server.send(&get).await.status, 200, "{name}");
        origin.seen().pop().unwrap().field("authorization")
    };
    assert_eq!(token_of("old_static").await, "Bearer bearer-of-0-1");
    assert_eq!(token_of("old_oauth").await, "Bearer token-of-0-1");
    // The client's secret opens, and what was sealed for it then is sealed for more now.
    let line = format!("GET {OAUTH}/refresh/acme?name=old_oauth");
    let refreshed = server.manage(&line, None).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    let asked = String::from_utf8(provider.seen().pop().unwrap().body.to_vec()).unwrap();
    assert!(asked.contains("client_secret=client-secret-of-0-1"), "{asked}");
    assert_eq!(token_of("old_oauth").await, "Bearer another");
    let clients = server.manage(&format!("GET {OAUTH}/oauth/clients/acme"), None).await.json();
    let path =
        format!("{OAUTH}/oauth/clients/acme/{}", clients["clients"][0]["uuid"].as_str().unwrap());
    let change = json!({"scope_separator": ","});
    let changed = server.manage(&format!("PATCH {path}"), Some(change)).await;
    assert_eq!((changed.status, &changed.json()["scope_separator"]), (200, &json!(",")));
    assert_eq!(server.manage(&line, None).await.status, 200);
}
