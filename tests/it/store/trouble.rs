//! Databases that are not ours, servers that go away, processes that are killed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use keyferry::store::{Error, Store};

use super::{Home, connection, of_both, whole};
use crate::support::soon;

of_both!(
    several_that_start_at_once_make_one_schema,
    a_database_from_a_newer_version_is_refused,
    a_database_that_holds_something_else_is_refused_and_left_alone,
);

async fn several_that_start_at_once_make_one_schema(home: Home) {
    let (one, two, three) = tokio::join!(home.open(), home.open(), home.open());
    one.create_connection(&connection("one")).await.unwrap();
    for store in [two, three] {
        assert_eq!(store.snapshot().await.unwrap().connections.len(), 1);
    }
}

async fn a_database_from_a_newer_version_is_refused(home: Home) {
    home.open().await.close().await;
    home.by_hand(match home {
        Home::Postgres(_) => "UPDATE keyferry_schema SET version = 999",
        Home::Sqlite(_) => "PRAGMA user_version = 999",
    })
    .await;
    let refusal = home.try_open().await.unwrap_err();
    assert!(matches!(refusal, Error::Newer { found: 999, .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("999"));
}

async fn a_database_that_holds_something_else_is_refused_and_left_alone(home: Home) {
    home.by_hand("CREATE TABLE tokens (id TEXT)").await;
    if let Home::Sqlite(_) = home {
        set_mode(&home, 0o600);
    }
    let refusal = home.try_open().await.unwrap_err();
    assert!(matches!(refusal, Error::Foreign), "{refusal:?}");
    home.by_hand("INSERT INTO tokens VALUES ('x'); DROP TABLE tokens").await;
    if let Home::Sqlite(directory) = &home {
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let home = Home::sqlite();
    fs::write(home.file(), "this is a letter to my aunt, and nothing else".repeat(100)).unwrap();
    set_mode(&home, 0o600);
    assert!(matches!(home.try_open().await, Err(Error::Foreign)));
    assert!(fs::read(home.file()).unwrap().starts_with(b"this is a letter"));
}

#[tokio::test]
async fn the_file_is_for_its_owner_alone() {
    let home = Home::sqlite();
    let store = home.open().await;
    store.create_connection(&connection("one")).await.unwrap();
    let Home::Sqlite(directory) = &home else { panic!() };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["keyferry.db", "keyferry.db-shm", "keyferry.db-wal"]);
    store.close().await;
    set_mode(&home, 0o640);
    let refusal = home.try_open().await.unwrap_err();
    assert!(matches!(refusal, Error::Open(_)), "{refusal:?}");
}

/// 3.51.3 is the first without the fault that could corrupt a WAL with several connections.
#[tokio::test]
async fn the_sqlite_library_is_new_enough() {
    use sqlx::ConnectOptions as _;
    let mut conn = sqlx::sqlite::SqliteConnectOptions::new().connect().await.unwrap();
    let version: String =
        sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut conn).await.unwrap();
    let version: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(version >= vec![3, 51, 3], "{version:?}");
}

#[tokio::test]
async fn a_url_of_something_else_is_refused_and_not_repeated() {
    for url in ["", "hunter2", "mysql://root:hunter2@db/x", "postgres://u:hunter2@db:port/x"] {
        let refusal = Store::open_postgres(&keyferry::secret::Secret::new(url)).await.unwrap_err();
        assert!(matches!(refusal, Error::Url), "{url}: {refusal:?}");
        assert!(!format!("{refusal} {refusal:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_notification_arrives_and_a_line_that_was_cut_heals() {
    let home = Home::postgres().await;
    let (one, two) = (home.open().await, home.open().await);
    let mut listener = two.listen();
    // The first time says that from now on it is listening.
    soon(listener.changed()).await;
    for name in ["one", "two"] {
        let record = connection(name);
        let heard = async { tokio::join!(listener.changed(), one.create_connection(&record)).1 };
        soon(heard).await.unwrap();
    }
    home.by_hand(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
         AND application_name = 'keyferry'",
    )
    .await;
    soon(listener.changed()).await;
    let heard = async {
        tokio::join!(listener.changed(), async {
            while one.create_connection(&connection("three")).await.is_err() {}
        })
    };
    soon(heard).await;
    assert_eq!(two.snapshot().await.unwrap().connections.len(), 3);
}

#[tokio::test]
async fn a_server_that_restarts_under_load_loses_nothing_it_has_acknowledged() {
    let mut home = Home::postgres().await;
    let store = std::sync::Arc::new(home.open().await);
    let writer = std::sync::Arc::clone(&store);
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let writing = tokio::spawn(async move {
        let (mut acknowledged, mut failed) = (Vec::new(), 0);
        for number in 0.. {
            let record = connection(&format!("c{number:06}"));
            match writer.create_connection(&record).await {
                Ok(_revision) => acknowledged.push(record),
                Err(error) => {
                    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
                    failed += 1;
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
            if *stopped.borrow_and_update() {
                break;
            }
        }
        (acknowledged, failed)
    });
    let Home::Postgres(server) = &mut home else { panic!() };
    for _ in 0..3 {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        server.crash().await;
    }
    soon(async { while store.key_check().await.is_err() {} }).await;
    stop.send(true).unwrap();
    let (acknowledged, failed) = soon(writing).await.unwrap();
    assert!(failed > 0 && acknowledged.len() > 10, "{failed} {}", acknowledged.len());
    for record in acknowledged {
        let found = store.connection(&record.integration, &record.name).await.unwrap();
        assert_eq!(found, Some(record));
    }
    let _page = store.tokens(&whole()).await.unwrap();
}

fn set_mode(home: &Home, mode: u32) {
    fs::set_permissions(home.file(), fs::Permissions::from_mode(mode)).unwrap();
}
