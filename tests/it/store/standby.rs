//! An address that leads to a standby, and then to another server.

use std::os::unix::fs::symlink;
use std::path::Path;

use keyferry::secret::Secret;
use keyferry::store::{Error, Store};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

use super::{Home, connection};
use crate::support::postgres::Postgres;
use crate::support::soon;

/// Has the address lead to this server from now on; conns that there are stay where they are.
fn point(address: &Path, server: &Postgres) {
    let (socket, next) = (address.join(".s.PGSQL.5432"), address.join("next"));
    symlink(server.directory().join(".s.PGSQL.5432"), &next).unwrap();
    std::fs::rename(next, socket).unwrap();
}

/// How many conns of ours are at this server.
async fn conns(conn: &mut PgConnection) -> i64 {
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'keyferry'";
    sqlx::query_scalar(ours).fetch_one(conn).await.unwrap()
}

#[tokio::test]
async fn writes_work_as_soon_as_a_primary_answers_at_the_address() {
    let primary = Postgres::start().await;
    Store::open_postgres(&primary.url()).await.unwrap().close().await;
    let standby = primary.standby().await;
    let address = TempDir::new().unwrap();
    point(address.path(), &standby);
    let url = format!("postgres://postgres@localhost/postgres?host={}", address.path().display());
    // A standby will do to read.
    let store = Store::open_postgres(&Secret::new(url)).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().connections.len(), 0);
    let refusal = store.create_connection(&connection("one")).await.unwrap_err();
    assert!(matches!(refusal, Error::ReadOnly(_)) && refusal.is_transient(), "{refusal:?}");
    let unwritable = store.writability().borrow().clone().unwrap();
    assert_eq!(unwritable.reason, "it is read-only");
    let mut there = standby.connect().await;
    assert!(conns(&mut there).await > 0, "the reader is at the standby");

    point(address.path(), &primary);
    store.create_connection(&connection("one")).await.unwrap();
    assert_eq!(*store.writability().borrow(), None);
    // Readers go with it: what they were at may not have what was written.
    assert_eq!(store.snapshot().await.unwrap().connections.len(), 1);
    soon(async {
        while conns(&mut there).await > 0 {
            store.snapshot().await.unwrap();
        }
    })
    .await;
    there.close().await.unwrap();
}

#[tokio::test]
async fn nothing_is_written_to_a_server_that_was_made_read_only() {
    let home = Home::postgres().await;
    let store = home.open().await;
    store.create_connection(&connection("one")).await.unwrap();
    let Home::Postgres(server) = &home else { panic!() };
    let mut operator = server.connect().await;
    operator
        .execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        .await
        .unwrap();
    home.by_hand(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keyferry'",
    )
    .await;
    let refusal = store.create_connection(&connection("two")).await.unwrap_err();
    assert!(matches!(refusal, Error::ReadOnly(_)), "{refusal:?}");
    assert_eq!(store.snapshot().await.unwrap().connections.len(), 1);
    // Sessions that there are keep the setting; a new one is made.
    operator.execute("SET default_transaction_read_only = off").await.unwrap();
    operator.execute("ALTER DATABASE postgres RESET default_transaction_read_only").await.unwrap();
    store.create_connection(&connection("two")).await.unwrap();
}

#[tokio::test]
async fn a_privilege_that_was_revoked_does_not_pass_by_itself() {
    let home = Home::postgres().await;
    home.open().await.close().await;
    home.by_hand(
        "CREATE ROLE narrow LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO narrow; \
         GRANT UPDATE ON write_probe, revision TO narrow",
    )
    .await;
    let Home::Postgres(server) = &home else { panic!() };
    let url = format!("postgres://narrow@localhost/postgres?host={}", server.directory().display());
    let store = Store::open_postgres(&Secret::new(url)).await.unwrap();
    let refusal = store.create_connection(&connection("one")).await.unwrap_err();
    assert!(matches!(refusal, Error::Faulty(_)) && !refusal.is_transient(), "{refusal:?}");
    home.by_hand("GRANT ALL ON ALL TABLES IN SCHEMA public TO narrow").await;
    store.create_connection(&connection("one")).await.unwrap();
}
