//! Writes that fail, or are broken off, leave nothing behind that the next one meets.

use std::time::Duration;

use keyferry::store::Error;

use super::{Home, connection, of_both, token};
use crate::support::soon;

of_both!(
    a_commit_that_fails_stands_in_nobodys_way,
    a_write_that_is_dropped_halfway_stands_in_nobodys_way,
    what_is_taken_stands_in_nobodys_way,
    it_is_known_whether_the_store_can_be_written,
);

/// The database rolls back by itself, as SQLite does when its disk is full.
#[tokio::test]
async fn a_writer_that_has_rolled_back_by_itself_is_made_anew() {
    let home = Home::sqlite();
    let store = home.open().await;
    home.by_hand(
        "CREATE TRIGGER back BEFORE INSERT ON tokens BEGIN SELECT RAISE(ROLLBACK, 'full'); END",
    )
    .await;
    for _ in 0..3 {
        store.create_token(&token("one")).await.unwrap_err();
        // Not only that which failed: all writes were refused from then on.
        store.create_connection(&connection(&format!("c{}", rand()))).await.unwrap();
    }
    home.by_hand("DROP TRIGGER back").await;
    store.create_token(&token("one")).await.unwrap();
}

async fn a_commit_that_fails_stands_in_nobodys_way(home: Home) {
    let store = home.open().await;
    home.by_hand(match home {
        Home::Postgres(_) => {
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN RAISE EXCEPTION ''not so''; END'; \
             CREATE CONSTRAINT TRIGGER late AFTER INSERT ON tokens DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION late()"
        }
        Home::Sqlite(_) => {
            "CREATE TABLE late (id TEXT REFERENCES connections (uuid) \
             DEFERRABLE INITIALLY DEFERRED); \
             CREATE TRIGGER late AFTER INSERT ON tokens BEGIN INSERT INTO late VALUES ('none'); END"
        }
    })
    .await;
    for name in ["one", "two"] {
        store.create_token(&token(name)).await.unwrap_err();
        store.create_connection(&connection(name)).await.unwrap();
    }
    assert_eq!(store.snapshot().await.unwrap().tokens.len(), 0);
}

async fn a_write_that_is_dropped_halfway_stands_in_nobodys_way(home: Home) {
    let store = home.open().await;
    for number in 0..40 {
        let record = connection(&format!("c{number:03}"));
        let time = Duration::from_micros(50 * number);
        drop(tokio::time::timeout(time, store.create_connection(&record)).await);
    }
    soon(store.create_connection(&connection("last"))).await.unwrap();
    store.snapshot().await.unwrap();
}

async fn what_is_taken_stands_in_nobodys_way(home: Home) {
    let store = home.open().await;
    store.create_connection(&connection("one")).await.unwrap();
    for _ in 0..3 {
        let taken = store.create_connection(&connection("one")).await.unwrap_err();
        assert!(matches!(taken, Error::Conflict), "{taken:?}");
    }
    store.create_connection(&connection("two")).await.unwrap();
    assert_eq!(*store.writability().borrow(), None);
}

async fn it_is_known_whether_the_store_can_be_written(home: Home) {
    let store = home.open().await;
    store.probe().await.unwrap();
    let mut state = store.writability();
    assert_eq!(*state.borrow_and_update(), None);
    home.by_hand("ALTER TABLE write_probe RENAME TO gone").await;
    store.probe().await.unwrap_err();
    soon(state.changed()).await.unwrap();
    let unwritable = state.borrow_and_update().clone().unwrap();
    assert!(unwritable.cause.contains("write_probe"), "{unwritable:?}");
    assert!(!unwritable.reason.contains("write_probe"), "{unwritable:?}");
    home.by_hand("ALTER TABLE gone RENAME TO write_probe").await;
    store.probe().await.unwrap();
    soon(state.changed()).await.unwrap();
    assert_eq!(*state.borrow(), None);
}

/// A part of a name that no other has.
fn rand() -> String {
    keyferry::model::record::new_id().unwrap().simple().to_string()
}
