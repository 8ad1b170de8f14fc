//! Backups of the embedded store, the way back, and the question that an empty store is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::support::ask::{Ask, ask};
use crate::support::origin::Origin;
use crate::support::postgres::Postgres;
use crate::support::world::World;

/// What a command has come to.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Runs a command with this world's configuration and this data directory.
fn run(world: &World, data_dir: &str, arguments: &[&str]) -> Ended {
    world.write();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(arguments).args(["--config", "k.toml", "--data-dir", data_dir]);
    command.env_clear().current_dir(&world.directory).output().unwrap().into()
}

/// Tries to start the server, which is not to come to anything.
fn refused(world: &World) -> String {
    let ended = Ended::from(world.command().output().unwrap());
    assert_eq!(ended.code, 1, "{ended:?}");
    ended.err
}

fn through(name: &str) -> Ask {
    ask("GET https://api.example.test/v1").field("X-Zis-Connection", name)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// What is in a directory.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn remove_store(world: &World) {
    for file in ["keyferry.db", "keyferry.db-wal", "keyferry.db-shm"] {
        let _is_not_there = fs::remove_file(world.path("data").join(file));
    }
}

#[tokio::test]
async fn a_backup_of_a_running_server_is_of_one_state_and_comes_back() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    server.keep_token("kept", &["proxy"]).await;
    let ended = run(&server.world, "data", &["backup", "one.db"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("1 connection and 1 token"), "{ended:?}");
    for needed in ["master.key", "elsewhere", "audit trail"] {
        assert!(ended.err.contains(needed), "{ended:?}");
    }
    let copy = server.world.path("one.db");
    assert_eq!(mode(&copy), 0o600);
    let before = fs::read(&copy).unwrap();
    let again = run(&server.world, "data", &["backup", "one.db"]);
    assert!(again.code == 1 && again.err.contains("nothing is overwritten"), "{again:?}");
    assert!(fs::read(&copy).unwrap() == before, "it is as it was");
    // What is written later is not in it, and the server goes on.
    server.keep_bearer("later", "api.example.test", "later-secret").await;
    let ended = run(&server.world, "new", &["restore", "one.db", "--output", "json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&told["connections"], &told["tokens"]), (&1.into(), &1.into()), "{told}");
    let missing = told["missing_master_keys"].as_array().unwrap();
    assert_eq!((missing.len(), &told["missing_master_keys"]), (1, &told["master_keys"]), "{told}");
    let world = server.killed().await;
    assert_eq!(mode(&world.path("new/keyferry.db")), 0o600);
    assert_eq!(names(&world.path("new")), ["keyferry.db", "lock"]);
    fs::copy(world.path("data/master.key"), world.path("new/master.key")).unwrap();
    fs::rename(world.path("data"), world.path("old")).unwrap();
    fs::rename(world.path("new"), world.path("data")).unwrap();
    let server = world.run().await;
    assert_eq!(server.send(&through("kept")).await.status, 200);
    assert_eq!(server.send(&through("later")).await.status, 403);
}

#[tokio::test]
async fn a_restore_takes_a_whole_backup_and_an_empty_directory_or_leaves_all_as_it_was() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    for number in 0..40 {
        server.keep_bearer(&format!("kept{number}"), "api.example.test", "kept-secret").await;
    }
    assert_eq!(run(&server.world, "data", &["backup", "good.db"]).code, 0);
    let busy = run(&server.world, "data", &["restore", "good.db"]);
    assert!(busy.code == 1 && busy.err.contains("another server uses"), "{busy:?}");
    let world = server.killed().await;
    let occupied = run(&world, "data", &["restore", "good.db"]);
    assert!(occupied.code == 1 && occupied.err.contains("has a store"), "{occupied:?}");
    let good = fs::read(world.path("good.db")).unwrap();
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 4096].fill(0xa5);
    for (name, content, complaint) in [
        ("damaged.db", damaged.as_slice(), "damaged"),
        ("half.db", &good[..good.len() / 2], "damaged"),
        ("letter.db", b"this is a letter to my aunt, and nothing else", "not a database"),
        ("empty.db", b"", "or only a part of one: name another file"),
    ] {
        fs::write(world.path(name), content).unwrap();
        let ended = run(&world, "new", &["restore", name]);
        assert!(ended.code == 1 && ended.err.contains(complaint), "{name}: {ended:?}");
        assert_eq!(names(&world.path("new")), ["lock"], "{name}");
    }
    for (arguments, complaint) in [
        (["restore", "nowhere.db"], "there is no file nowhere.db: name one that"),
        (["restore", "old"], "old is a directory: name the file in it"),
        (["backup", "x.db"], "there is no store at new/keyferry.db, so there is nothing to back"),
    ] {
        fs::create_dir_all(world.path("old")).unwrap();
        let ended = run(&world, "new", &arguments);
        assert!(ended.code == 1 && ended.err.contains(complaint), "{ended:?}");
        assert!(!ended.err.contains("os error") && !ended.err.contains("code:"), "{ended:?}");
    }
    assert_eq!(run(&world, "new", &["restore", "good.db"]).code, 0);
}

#[tokio::test]
async fn a_store_that_is_not_embedded_is_left_to_its_own_tools() {
    let world = World::empty().set("store.url", "\"postgres://nobody@localhost/nothing\"");
    for command in ["backup", "restore"] {
        let ended = run(&world, "data", &[command, "x.db"]);
        assert!(ended.code == 1 && ended.err.contains("pg_dump"), "{ended:?}");
    }
    let ended = run(&World::empty(), "data", &["backup", "x.db"]);
    assert!(ended.code == 1 && ended.err.contains("nothing is kept"), "{ended:?}");
    assert_eq!(run(&world, "data", &["backup"]).code, 2);
}

#[tokio::test]
async fn an_empty_store_where_one_was_used_is_a_question_and_not_a_start() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    assert_eq!(run(&server.world, "data", &["backup", "one.db"]).code, 0);
    let world = server.killed().await;
    let mark = world.path("data/store.used");
    let meaning = fs::read(&mark).unwrap();
    // A data directory of an older version has no mark, but a key and a CA.
    for is_marked in [true, false] {
        remove_store(&world);
        if !is_marked {
            fs::remove_file(&mark).unwrap();
        }
        let said = refused(&world);
        assert!(said.contains("keyferry restore FILE"), "{said}");
        assert_eq!(said.contains("store.used"), is_marked, "{said}");
        assert!(said.contains("ca/cert.pem") && said.contains("delete"), "{said}");
        assert!(!world.path("data/keyferry.db").exists(), "nothing is begun");
    }
    // One answer: it is brought back.
    let ended = run(&world, "data", &["restore", "one.db"]);
    assert!(ended.code == 0 && ended.err.contains("keys are at hand"), "{ended:?}");
    let server = world.run().await;
    assert_eq!(server.send(&through("kept")).await.status, 200);
    let world = server.killed().await;
    assert_eq!(fs::read(mark_of(&world)).unwrap(), meaning);
    // The other: an empty one begins.
    remove_store(&world);
    let said = refused(&world);
    for file in ["store.used", "ca/cert.pem"] {
        assert!(said.contains(file), "{said}");
        fs::remove_file(world.path("data").join(file)).unwrap();
    }
    let server = world.run().await;
    assert_eq!(server.send(&through("kept")).await.status, 403);
}

fn mark_of(world: &World) -> PathBuf {
    world.path("data/store.used")
}

#[tokio::test]
async fn an_empty_database_of_postgresql_is_a_question_where_one_was_used() {
    let (origin, postgres, other) =
        (Origin::start().await, Postgres::start().await, Postgres::start().await);
    let server = World::new(&origin).keeping_in(&postgres).run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    let world = server.killed().await.keeping_in(&other);
    let said = refused(&world);
    assert!(said.contains("store.used") && said.contains("pg_restore"), "{said}");
    let world = world.keeping_in(&postgres);
    assert_eq!(world.run().await.send(&through("kept")).await.status, 200);
}

#[tokio::test]
async fn a_server_that_kept_nothing_or_was_given_a_key_begins_with_an_empty_store() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await.killed().await;
    assert!(world.path("data/ca/cert.pem").exists());
    let world = world.keeping().run().await.killed().await;
    drop(world);
    let world = World::new(&origin).keeping();
    fs::create_dir(world.path("data")).unwrap();
    let key = world.path("data/master.key");
    fs::write(&key, "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
    for (path, mode) in [(world.path("data"), 0o700), (key, 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let server = world.run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    assert_eq!(server.send(&through("kept")).await.status, 200);
}

#[tokio::test]
async fn a_database_that_was_copied_without_its_log_is_no_empty_store() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    let copied = World::new(&origin).keeping();
    fs::create_dir(copied.path("data")).unwrap();
    let database = copied.path("data/keyferry.db");
    fs::copy(server.world.path("data/keyferry.db"), &database).unwrap();
    fs::set_permissions(copied.path("data"), fs::Permissions::from_mode(0o700)).unwrap();
    let said = refused(&copied);
    assert!(said.contains("keyferry.db-wal") && said.contains("keyferry restore"), "{said}");
    // A log without its database is one as well.
    let log = copied.path("data/keyferry.db-wal");
    fs::copy(server.world.path("data/keyferry.db-wal"), &log).unwrap();
    let whole = fs::read(&database).unwrap();
    fs::remove_file(&database).unwrap();
    let said = refused(&copied);
    assert!(said.contains("keyferry.db-wal"), "{said}");
    // With both it is what it was.
    fs::write(&database, whole).unwrap();
    fs::set_permissions(&database, fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(server.world.path("data/master.key"), copied.path("data/master.key")).unwrap();
    drop(server);
    let server = copied.run().await;
    assert_eq!(server.send(&through("kept")).await.status, 200);
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_start_is_said_once() {
    let world = World::empty().keeping();
    fs::create_dir(world.path("data")).unwrap();
    let (database, key) = (world.path("data/keyferry.db"), world.path("data/master.key"));
    let file = SqliteConnectOptions::new().filename(&database).create_if_missing(true);
    let mut conn = file.connect().await.unwrap();
    conn.execute("CREATE TABLE letters (text)").await.unwrap();
    conn.close().await.unwrap();
    for (path, mode) in [(&world.path("data"), 0o700), (&database, 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let said = refused(&world);
    assert_eq!(said.matches("holds something else").count(), 1, "{said}");
    fs::remove_file(&database).unwrap();
    fs::write(&key, "").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let said = refused(&world);
    assert_eq!(said.matches("no master key").count(), 1, "{said}");
    assert_eq!(said.matches("base64 of 32 bytes").count(), 1, "{said}");
}

#[tokio::test]
async fn a_copy_that_others_can_read_is_refused_with_what_to_do() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "kept-secret").await;
    let file = SqliteConnectOptions::new().filename(server.world.path("data/keyferry.db"));
    let mut conn = file.connect().await.unwrap();
    let copy = server.world.path("copy.db");
    let into = format!("VACUUM INTO '{}'", copy.display());
    conn.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(into))).await.unwrap();
    conn.close().await.unwrap();
    let world = server.killed().await;
    remove_store(&world);
    fs::copy(&copy, world.path("data/keyferry.db")).unwrap();
    fs::set_permissions(world.path("data/keyferry.db"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = refused(&world);
    assert!(said.contains("chmod 600"), "{said}");
    // A restore takes it as it is, and makes it the owner's.
    remove_store(&world);
    assert_eq!(run(&world, "data", &["restore", "copy.db"]).code, 0);
    assert_eq!(mode(&world.path("data/keyferry.db")), 0o600);
    assert_eq!(world.run().await.send(&through("kept")).await.status, 200);
}
