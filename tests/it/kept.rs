//! What is kept in the store: used by the very next request, by every instance, and by nobody who
//! has only the database.

mod custom;
mod defects;
mod full_disk;
mod history;
mod instances;
mod outage;
mod pooler;
mod rotation;
pub(crate) mod tampering;
mod traces;

use crate::support::ask::{Ask, ask, stranger};
use crate::support::origin::Origin;
use crate::support::postgres::Postgres;
use crate::support::raw::refused;
use crate::support::world::{Running, World};

/// A request through the connection `acme.{name}`.
fn through(name: &str) -> Ask {
    ask("GET https://api.example.test/v1").field("X-Zis-Connection", name)
}

/// A request with this token in place of `runner`'s.
fn with_token(token: &str, name: &str) -> Ask {
    stranger("GET https://api.example.test/v1")
        .field("Proxy-Authorization", &format!("Bearer {token}"))
        .field("X-Zis-Connection", name)
}

/// What the origin got the last time, after `Bearer`.
fn credential(origin: &Origin) -> String {
    origin.last().field("authorization").strip_prefix("Bearer ").unwrap().to_owned()
}

/// All that a connection and a token go through, each step in force for the next request.
async fn lives(world: World, origin: &Origin) {
    let server = world.run().await;
    let mut raw = server.raw().await;
    assert_eq!(raw.send(&through("kept")).await.refusal(), refused(403, "ConnectionNotFound"));
    server.keep_bearer("kept", "*.example.test", "first-secret").await;
    assert_eq!(raw.send(&through("kept")).await.status, 200);
    assert_eq!(credential(origin), "first-secret");
    server.replace_bearer("kept", "second-secret").await;
    assert_eq!(raw.send(&through("kept")).await.status, 200);
    assert_eq!(credential(origin), "second-secret");
    let (id, token) = server.keep_token("fresh", &["proxy"]).await;
    assert_eq!(raw.send(&with_token(&token, "kept")).await.status, 200);
    server.revoke(&id).await;
    let answer = raw.send(&with_token(&token, "kept")).await;
    assert_eq!(answer.refusal(), refused(407, "CallerUnknown"));
    server.delete_bearer("kept").await;
    assert_eq!(raw.send(&through("kept")).await.refusal(), refused(403, "ConnectionNotFound"));
}

#[tokio::test]
async fn in_sqlite_what_is_made_changed_and_deleted_counts_for_the_very_next_request() {
    let origin = Origin::start().await;
    lives(World::new(&origin).keeping(), &origin).await;
}

#[tokio::test]
async fn in_postgres_what_is_made_changed_and_deleted_counts_for_the_very_next_request() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    lives(World::new(&origin).keeping_in(&postgres), &origin).await;
}

/// A server that was stopped by force finds everything again.
async fn comes_back(world: World, origin: &Origin) {
    let server = world.run().await;
    server.keep_bearer("kept", "api.example.test", "first-secret").await;
    let (_id, token) = server.keep_token("fresh", &["proxy"]).await;
    let server = server.killed().await.run().await;
    assert_eq!(server.send(&with_token(&token, "kept")).await.status, 200);
    assert_eq!(credential(origin), "first-secret");
}

#[tokio::test]
async fn a_server_that_was_killed_comes_back_with_all_that_it_has_acknowledged() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    comes_back(World::new(&origin).keeping(), &origin).await;
    comes_back(World::new(&origin).keeping_in(&postgres), &origin).await;
}

#[tokio::test]
async fn a_name_that_is_declared_and_kept_stops_a_start_and_a_reload() {
    let origin = Origin::start().await;
    let mut server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    server.change(|world| world.bearer("acme.kept", "api.example.test", "declared-secret"));
    let said = server.log.message("the configuration was not reloaded").await;
    assert!(said["error"].as_str().unwrap().contains("acme.kept"), "{said}");
    assert_eq!(server.send(&through("kept")).await.status, 200);
    assert_eq!(credential(&origin), "kept-secret");
    let world = server.killed().await;
    let refused = world.command().output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("acme.kept"), "{said}");
}

#[tokio::test]
async fn the_log_names_a_token_that_is_made_or_revoked_or_has_a_declared_name() {
    let origin = Origin::start().await;
    let mut server = World::new(&origin).keeping().run().await;
    let (id, _token) = server.keep_token("twin", &["proxy"]).await;
    let said = server.log.message("a token was created").await;
    assert_eq!(
        (&said["token.name"], &said["integration"], &said["token.id"]),
        (&"twin".into(), &"acme".into(), &id.as_str().into())
    );
    // At a reload as at a start.
    server.reload(|world| world.token("twin", "acme", "")).await;
    let namesake = |line: &str| {
        (line.contains("has the name of one") && line.contains("WARN")).then(|| line.to_owned())
    };
    assert!(server.log.find(namesake).await.contains(&id));
    let server = server.killed().await.run().await;
    assert!(server.log.find(namesake).await.contains(&id));
    server.revoke(&id).await;
    let said = server.log.message("a token was revoked").await;
    assert_eq!((&said["token.name"], &said["integration"]), (&"twin".into(), &"acme".into()));
    let server = server.killed().await.run().await;
    assert!(!server.log.text().contains("has the name of one"), "{}", server.log.text());
}

#[tokio::test]
async fn a_store_is_never_opened_with_another_key_nor_with_a_new_one() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    let world = server.killed().await;
    let key = world.path("data/master.key");
    let right = std::fs::read(&key).unwrap();
    let fails = |why: &str| {
        let refused = world.command().output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(why) && !said.contains("kept-secret"), "{said}");
    };
    std::fs::remove_file(&key).unwrap();
    fails("no master key");
    assert!(!key.exists(), "no new key was made over old data");
    secret_file(&key, b"k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
    fails("other master keys");
    secret_file(&key, b"k1 AAECAwQFBgcI");
    fails("line 1");
    secret_file(&key, &right);
    let server = world.run().await;
    assert_eq!(server.send(&through("kept")).await.status, 200);
}

/// Puts a file there that its owner alone can read.
fn secret_file(path: &std::path::Path, content: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Two servers over one database.
async fn two(origin: &Origin, postgres: &Postgres) -> (Running, Running) {
    let world = || World::new(origin).keeping_in(postgres);
    (world().run().await, world().run().await)
}
