//! A new master key, while servers run.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Executor as _, SqlitePool};

use super::{credential, secret_file, through, with_token};
use crate::support::origin::Origin;
use crate::support::postgres::Postgres;
use crate::support::raw::refused;
use crate::support::soon;
use crate::support::world::{Running, World};

const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const NEW: &str = "new:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n";

/// What a store has from the start: the key check and an interception CA.
const OTHERS: u64 = 2;

/// The chain of events, which the event of a rotation brings under the new key.
const CHAIN: u64 = 1;

async fn rotate(server: &Running) -> Value {
    let answer = server.manage("POST /api/keyferry/v1/keys/rotate", None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

/// How many records each key wraps.
async fn used(server: &Running, id: &str) -> u64 {
    let answer = server.manage("GET /api/keyferry/v1/keys", None).await;
    let keys: Value = serde_json::from_slice(&answer.body).unwrap();
    let keys = keys["keys"].as_array().unwrap().iter();
    keys.filter(|key| key["id"] == id).map(|key| key["records"].as_u64().unwrap()).sum()
}

async fn open(world: &World) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(world.path("data/keyferry.db"));
    SqlitePool::connect_with(options).await.unwrap()
}

/// A server of two over one database, with a key file of its own.
async fn with_file(origin: &Origin, postgres: &Postgres, key: &Path) -> Running {
    let url = String::from_utf8(postgres.url().expose().to_vec()).unwrap();
    let world = World::new(origin).set("store.url", &format!("{url:?}"));
    world.set("seal.master_key_file", &format!("\"{}\"", key.display())).run().await
}

#[tokio::test]
async fn everything_comes_under_a_new_key_at_every_instance_and_the_old_one_can_go() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    let keys = tempfile::TempDir::new().unwrap();
    let (one, two) = (keys.path().join("one"), keys.path().join("two"));
    for file in [&one, &two] {
        secret_file(file, OLD.as_bytes());
    }
    let here = with_file(&origin, &postgres, &one).await;
    let there = with_file(&origin, &postgres, &two).await;
    for number in 0..450 {
        here.keep_bearer(&format!("kept{number}"), "api.example.test", "a-secret").await;
    }
    let (_id, _token) = here.keep_token("fresh", &["proxy"]).await;
    for file in [&one, &two] {
        secret_file(file, format!("{NEW}{OLD}").as_bytes());
    }
    let told = rotate(&here).await;
    assert_eq!(
        (&told["key"], &told["rewrapped"], &told["failed"]),
        (&"new".into(), &(451 + OTHERS).into(), &0.into())
    );
    assert_eq!((used(&here, "old").await, used(&here, "new").await), (0, 451 + OTHERS + CHAIN));
    // The other one seals with the new key too, without having been told by anybody but the store.
    soon(async {
        loop {
            there.keep_bearer("later", "api.example.test", "later-secret").await;
            if used(&there, "old").await == 0 {
                return;
            }
            there.delete_bearer("later").await;
        }
    })
    .await;
    drop((here, there));
    for file in [&one, &two] {
        secret_file(file, NEW.as_bytes());
    }
    let here = with_file(&origin, &postgres, &one).await;
    assert_eq!(here.send(&through("kept0")).await.status, 200);
    assert_eq!(credential(&origin), "a-secret");
    assert_eq!(here.send(&through("later")).await.status, 200);
    assert_eq!(credential(&origin), "later-secret");
    assert!(here.metric("keyferry_seal_failures_total").await == 0.0);
}

#[tokio::test]
async fn a_rotation_that_is_killed_goes_on_where_it_was() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().set("api.requests_per_minute", "0").run().await;
    for number in 0..1000 {
        server.keep_bearer(&format!("kept{number}"), "api.example.test", "a-secret").await;
    }
    let file = server.world.path("data/master.key");
    let old = std::fs::read_to_string(&file).unwrap();
    secret_file(&file, format!("{NEW}{old}").as_bytes());
    let mut world = {
        let rotating = rotate(&server);
        tokio::select! {
            told = rotating => panic!("it was not to come to an end: {told}"),
            () = soon(async { while used(&server, "new").await <= CHAIN {} }) => {}
        }
        server.killed().await
    };
    for _again in 0..2 {
        let server = world.run().await;
        assert_eq!(server.send(&through("kept999")).await.status, 200);
        world = server.killed().await;
    }
    let server = world.run().await;
    let rewrapped = rotate(&server).await["rewrapped"].as_u64().unwrap();
    assert!(rewrapped < 1000, "{rewrapped} were left");
    assert_eq!(used(&server, "new").await, 1000 + OTHERS + CHAIN);
    secret_file(&file, NEW.as_bytes());
    let server = server.killed().await.run().await;
    assert_eq!(server.send(&through("kept0")).await.status, 200);
}

#[tokio::test]
async fn keys_of_the_environment_are_not_rotated() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    let server = World::new(&origin).keeping_in(&postgres).run().await;
    let answer = server.manage("POST /api/keyferry/v1/keys/rotate", None).await;
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert!(answer.text().contains("KEYFERRY_MASTER_KEY"), "{answer:?}");
}

#[tokio::test]
async fn a_key_that_comes_back_opens_what_was_refused_without_it() {
    let origin = Origin::start().await;
    let keys = tempfile::TempDir::new().unwrap();
    let file = keys.path().join("key");
    secret_file(&file, format!("{OLD}{NEW}").as_bytes());
    let world = World::new(&origin)
        .set("store.url", "\"sqlite:keyferry.db\"")
        .set("seal.master_key_file", &format!("\"{}\"", file.display()));
    let server = world.run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    let (_id, token) = server.keep_token("fresh", &["proxy"]).await;
    let world = server.killed().await;
    let database = open(&world).await;
    let check = "SELECT key_id, wrapped FROM key_check";
    let check: (String, Vec<u8>) = sqlx::query_as(check).fetch_one(&database).await.unwrap();
    secret_file(&file, format!("{NEW}{OLD}").as_bytes());
    let server = world.run().await;
    rotate(&server).await;
    let world = server.killed().await;
    // As where a rotation was killed before its end, and the new key then got lost.
    let back = "UPDATE key_check SET key_id = $1, wrapped = $2";
    sqlx::query(back).bind(check.0).bind(check.1).execute(&database).await.unwrap();
    database.close().await;
    secret_file(&file, OLD.as_bytes());
    let server = world.run().await;
    assert_eq!(server.send(&through("kept")).await.refusal(), refused(500, "SealBroken"));
    let unknown = server.send(&with_token(&token, "kept")).await;
    assert_eq!(unknown.refusal(), refused(407, "CallerUnknown"));
    secret_file(&file, format!("{OLD}{NEW}").as_bytes());
    rotate(&server).await;
    soon(async { while server.send(&with_token(&token, "kept")).await.status != 200 {} }).await;
    assert_eq!(credential(&origin), "kept-secret");
}

#[tokio::test]
async fn no_new_key_is_made_over_old_data_nor_a_wrong_one_taken_where_the_check_is_gone() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    let world = server.killed().await;
    let database = open(&world).await;
    sqlx::query("DELETE FROM key_check").execute(&database).await.unwrap();
    database.close().await;
    let (key, away) = (world.path("data/master.key"), world.path("away"));
    std::fs::rename(&key, &away).unwrap();
    for (content, complaint) in [(None, "no master key"), (Some(NEW), "other master keys")] {
        if let Some(content) = content {
            secret_file(&key, content.as_bytes());
        }
        let failed = world.command().output().unwrap();
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(!failed.status.success() && said.contains(complaint), "{said}");
        assert_eq!(key.exists(), content.is_some());
    }
    std::fs::rename(&away, &key).unwrap();
    let server = world.run().await;
    assert_eq!(server.send(&through("kept")).await.status, 200);
}

/// Two instances, of which the first alone has the key under which everything is.
async fn one_lacks_the_key(
    there: World,
    origin: &Origin,
    postgres: &Postgres,
    key: &Path,
) -> (Running, Running) {
    let here = with_file(origin, postgres, key).await;
    let there = there.run().await;
    let old = std::fs::read_to_string(key).unwrap();
    secret_file(key, format!("{NEW}{old}").as_bytes());
    rotate(&here).await;
    here.keep_bearer("kept", "api.example.test", "kept-secret").await;
    let broken = async { while there.send(&through("kept")).await.status != 500 {} };
    soon(broken).await;
    (here, there)
}

/// The key files of two instances over one database, and the world of the second.
fn with_two_files(origin: &Origin, postgres: &Postgres, keys: &Path) -> (PathBuf, PathBuf, World) {
    let (one, two) = (keys.join("one"), keys.join("two"));
    for file in [&one, &two] {
        secret_file(file, OLD.as_bytes());
    }
    let url = String::from_utf8(postgres.url().expose().to_vec()).unwrap();
    let world = World::new(origin).set("store.url", &format!("{url:?}"));
    let world = world.set("seal.master_key_file", &format!("\"{}\"", two.display()));
    (one, two, world)
}

#[tokio::test]
async fn a_missing_key_is_named_and_what_it_opens_is_in_force_within_a_second_of_it() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    let keys = tempfile::TempDir::new().unwrap();
    let (one, two, world) = with_two_files(&origin, &postgres, keys.path());
    let (here, there) = one_lacks_the_key(world, &origin, &postgres, &one).await;
    let (_id, token) = here.keep_token("fresh", &["proxy"]).await;
    let answer = there.send(&through("kept")).await;
    assert_eq!(answer.refusal(), refused(500, "SealBroken"));
    assert!(answer.text().contains("lacks its master key, new"), "{answer:?}");
    let line = format!("PATCH {}/bearer_token/kept", crate::support::operator::CONNECTIONS);
    let told = there.manage(&line, Some(serde_json::json!({"token": "another"}))).await;
    assert_eq!(told.status, 500, "{told:?}");
    assert!(told.text().contains("lacks its master key, new"), "{told:?}");
    for told in [answer.text(), told.text()] {
        assert!(!told.contains("delete") && !told.contains("by hand"), "{told}");
    }
    let advice = format!("put the line of the master key new into {}", two.display());
    let named = |line: &str| (line.contains("acme.kept") && line.contains(&advice)).then_some(());
    soon(there.log.find(named)).await;
    // Something else that is wrong with the file is no reason to stop looking.
    secret_file(&two, b"no key at all");
    there.log.message("the master key file has changed and can't be used").await;
    let begun = std::time::Instant::now();
    secret_file(&two, format!("{NEW}{OLD}").as_bytes());
    soon(async { while there.send(&through("kept")).await.status != 200 {} }).await;
    soon(async { while there.send(&with_token(&token, "kept")).await.status != 200 {} }).await;
    let took = begun.elapsed();
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
    assert_eq!(credential(&origin), "kept-secret");
}

#[tokio::test]
async fn a_key_that_comes_back_while_the_store_fails_opens_everything_once_it_is_well() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    let keys = tempfile::TempDir::new().unwrap();
    let (one, two, world) = with_two_files(&origin, &postgres, keys.path());
    let (_here, there) = one_lacks_the_key(world, &origin, &postgres, &one).await;
    // The changes and the keys can be read, but not all that is kept.
    let mut database = postgres.connect().await;
    database.execute("ALTER TABLE tokens RENAME COLUMN id TO hidden").await.unwrap();
    secret_file(&two, format!("{NEW}{OLD}").as_bytes());
    there.log.message("a master key that was missing is there: everything is opened again").await;
    let said = "the store can't be read: requests go on with what was read last, for at most \
                store.max_staleness";
    there.log.message(said).await;
    database.execute("ALTER TABLE tokens RENAME COLUMN hidden TO id").await.unwrap();
    soon(async { while there.send(&through("kept")).await.status != 200 {} }).await;
    assert_eq!(credential(&origin), "kept-secret");
}

#[tokio::test]
async fn where_the_keys_are_in_the_environment_a_missing_one_is_looked_for_there() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    let keys = tempfile::TempDir::new().unwrap();
    let file = keys.path().join("key");
    secret_file(&file, b"shared:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
    let there = World::new(&origin).keeping_in(&postgres);
    let (_here, there) = one_lacks_the_key(there, &origin, &postgres, &file).await;
    let advice = "add the line of the master key new to KEYFERRY_MASTER_KEY and restart";
    soon(there.log.find(|line| line.contains(advice).then_some(()))).await;
}

/// A server with the connection `kept` under the old key and all else under the new one, as a
/// rotation leaves it that was killed, and its key file, which has both.
async fn half_rotated(origin: &Origin) -> (Running, tempfile::TempDir) {
    let keys = tempfile::TempDir::new().unwrap();
    let file = keys.path().join("key");
    secret_file(&file, OLD.as_bytes());
    let world = World::new(origin)
        .set("store.url", "\"sqlite:keyferry.db\"")
        .set("seal.master_key_file", &format!("\"{}\"", file.display()));
    let server = world.run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    let database = open(&server.world).await;
    let row = "SELECT key_id, wrapped FROM connections";
    let row: (String, Vec<u8>) = sqlx::query_as(row).fetch_one(&database).await.unwrap();
    secret_file(&file, format!("{NEW}{OLD}").as_bytes());
    rotate(&server).await;
    let world = server.killed().await;
    let back = "UPDATE connections SET key_id = $1, wrapped = $2";
    sqlx::query(back).bind(row.0).bind(row.1).execute(&database).await.unwrap();
    database.close().await;
    (world.run().await, keys)
}

#[tokio::test]
async fn no_key_is_given_up_that_records_need() {
    let origin = Origin::start().await;
    let (server, keys) = half_rotated(&origin).await;
    let file = keys.path().join("key");
    // Another key under the id of the old one.
    let other = format!("{NEW}{}", NEW.replace("new", "old"));
    for (content, status, complaint) in [
        (Some(NEW), 409, "the master key old (1 record): put each such key back into the file"),
        (Some(&*other), 409, "the master key old (1 record)"),
        (Some("no key at all"), 500, "line 1"),
        (None, 500, "there is no key file"),
    ] {
        match content {
            Some(content) => secret_file(&file, content.as_bytes()),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let refused = server.manage("POST /api/keyferry/v1/keys/rotate", None).await;
        assert_eq!(refused.status, status, "{refused:?}");
        let title = refused.title();
        assert!(title.starts_with("The master keys were not rotated: "), "{title}");
        assert!(title.contains(complaint), "{title}");
    }
    // What it opens is still good, and stays so for whatever is read afresh.
    server.keep_bearer("later", "api.example.test", "later-secret").await;
    let line = format!("PATCH {}/bearer_token/kept", crate::support::operator::CONNECTIONS);
    let changed = server.manage(&line, Some(serde_json::json!({"token": "kept-secret"}))).await;
    assert_eq!(changed.status, 204, "{changed:?}");
    assert_eq!(server.send(&through("kept")).await.status, 200);
    assert_eq!(credential(&origin), "kept-secret");
}

#[tokio::test]
async fn a_key_that_was_taken_out_of_the_file_is_noticed_while_the_server_runs() {
    let origin = Origin::start().await;
    let (server, keys) = half_rotated(&origin).await;
    let file = keys.path().join("key");
    let other = "other:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n";
    secret_file(&file, format!("{NEW}{other}").as_bytes());
    let missed = "a master key that records need is not in the key file any more";
    let missed = |line: &str| line.contains(missed).then(|| line.to_owned());
    let said = soon(server.log.find(missed)).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["level"], &said["key"], &said["records"]),
        (&"WARN".into(), &"old".into(), &1.into())
    );
    let answer = server.manage("GET /api/keyferry/v1/keys", None).await;
    let listed = answer.json();
    let keys = listed["keys"].as_array().unwrap().iter();
    let keys: Vec<_> = keys.map(|key| (&key["id"], &key["present"], &key["in_file"])).collect();
    let (yes, no) = (&Value::from(true), &Value::from(false));
    assert_eq!(
        keys,
        [(&"new".into(), yes, &Value::Null), (&"old".into(), yes, no), (&"other".into(), no, yes)]
    );
}
