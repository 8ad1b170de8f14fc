//! Changes: told in their order, to everybody, or else as a whole.

use keyferry::model::record::ConnectionRecord;
use keyferry::store::{Changes, RecordChange, Revision, Store};

use super::home::BACK_TO_4;
use super::{Home, connection, of_both, token};
use crate::support::soon;

of_both!(
    what_has_happened_is_told_in_its_order,
    who_is_behind_what_is_remembered_takes_a_snapshot,
    who_is_just_there_when_the_history_is_forgotten_needs_no_snapshot,
    who_has_seen_a_write_that_the_store_has_lost_is_told,
    a_database_of_an_older_version_tells_its_writes_apart_too,
    two_stores_on_one_database_see_each_others_writes,
    revisions_become_visible_in_their_order,
    what_a_newer_version_writes_is_passed_over,
);

/// A change in a few words.
fn told(change: &RecordChange) -> String {
    match change {
        RecordChange::Connection { name, now: Ok(now), .. } => {
            format!("{name} {}", if now.is_some() { "is" } else { "is gone" })
        }
        RecordChange::Token { now: Ok(now), .. } => {
            format!("token {}", now.as_ref().map_or("is gone", |now| &*now.name))
        }
        unreadable => format!("{unreadable:?}"),
    }
}

async fn since(store: &Store, revision: Revision) -> (Revision, Vec<String>) {
    match store.changes_since(revision).await.unwrap() {
        Changes::Since { revision, changes } => (revision, changes.iter().map(told).collect()),
        other => panic!("{other:?} since {revision}"),
    }
}

async fn what_has_happened_is_told_in_its_order(home: Home) {
    let store = home.open().await;
    assert_eq!(since(&store, Revision::ZERO).await, (Revision::ZERO, vec![]));
    let (one, two, ci) = (connection("one"), connection("two"), token("ci"));
    let first = store.create_connection(&one).await.unwrap();
    store.create_token(&ci).await.unwrap();
    store.create_connection(&two).await.unwrap();
    let told = since(&store, Revision::ZERO).await.1;
    assert_eq!(told, ["one is", "token ci", "two is"]);
    let after = ConnectionRecord { sealed: connection("xxx").sealed, ..one.clone() };
    store.replace_connection(&one, &after).await.unwrap();
    let last = store.delete_token(ci.id).await.unwrap().unwrap();
    let told = since(&store, first).await;
    assert_eq!(told, (last, ["two is", "one is", "token is gone"].map(Into::into).to_vec()));
    let Ok(Changes::Since { changes, .. }) = store.changes_since(first).await else { panic!() };
    let now = changes.iter().find_map(|change| match change {
        RecordChange::Connection { name, now: Ok(now), .. } if *name == one.name => now.clone(),
        _ => None,
    });
    assert_eq!(now, Some(after));
    assert_eq!(since(&store, last).await, (last, vec![]));
}

async fn who_is_behind_what_is_remembered_takes_a_snapshot(home: Home) {
    let store = home.open().await;
    let mut revisions = vec![Revision::ZERO];
    for number in 0..6 {
        let record = connection(&format!("con{number}"));
        revisions.push(store.create_connection(&record).await.unwrap());
    }
    store.prune_changes(100).await.unwrap();
    assert_eq!(since(&store, Revision::ZERO).await.1.len(), 6);
    store.prune_changes(2).await.unwrap();
    assert!(matches!(store.changes_since(revisions[3]).await, Ok(Changes::Behind)));
    assert!(matches!(store.changes_since(Revision::ZERO).await, Ok(Changes::Behind)));
    assert_eq!(since(&store, revisions[4]).await.1, ["con4 is", "con5 is"]);
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!((snapshot.revision, snapshot.connections.len()), (revisions[6], 6));
    let other = Home::sqlite();
    let ahead = other.open().await.changes_since(revisions[1]).await;
    assert!(matches!(ahead, Ok(Changes::Diverged { found: Revision::ZERO })), "{ahead:?}");
}

async fn who_is_just_there_when_the_history_is_forgotten_needs_no_snapshot(home: Home) {
    let store = home.open().await;
    let first = store.create_connection(&connection("one")).await.unwrap();
    let last = store.create_connection(&connection("two")).await.unwrap();
    store.prune_changes(0).await.unwrap();
    assert_eq!(since(&store, last).await, (last, vec![]));
    assert!(matches!(store.changes_since(first).await, Ok(Changes::Behind)));
}

/// A database that was put back gives the numbers of the writes it has lost to others.
async fn who_has_seen_a_write_that_the_store_has_lost_is_told(home: Home) {
    let store = home.open().await;
    let kept = store.create_connection(&connection("kept")).await.unwrap();
    home.by_hand("CREATE TABLE copy_of_changes AS SELECT * FROM changes").await;
    let lost = store.create_connection(&connection("lost")).await.unwrap();
    home.by_hand(
        "DELETE FROM connections WHERE name = 'lost'; DELETE FROM changes; \
         INSERT INTO changes SELECT * FROM copy_of_changes; \
         UPDATE revision SET revision = revision - 1",
    )
    .await;
    let ahead = store.changes_since(lost).await.unwrap();
    assert!(matches!(ahead, Changes::Diverged { found } if found == kept), "{ahead:?}");
    let other = store.create_connection(&connection("other")).await.unwrap();
    assert_eq!(other.number(), lost.number());
    for _ in 0..2 {
        let parted = store.changes_since(lost).await.unwrap();
        assert!(matches!(parted, Changes::Diverged { .. }), "{parted:?}");
        store.create_connection(&connection(&format!("n{}", home_made()))).await.unwrap();
    }
    assert_eq!(since(&store, kept).await.1.len(), 3);
}

/// Text that no other call gives.
fn home_made() -> String {
    keyferry::model::record::new_id().unwrap().simple().to_string()
}

async fn a_database_of_an_older_version_tells_its_writes_apart_too(home: Home) {
    let store = home.open().await;
    let last = store.create_connection(&connection("one")).await.unwrap();
    store.close().await;
    let version = match home {
        Home::Postgres(_) => {
            "ALTER TABLE audit DROP COLUMN indexed; \
             DROP TABLE audit_index, request_counts, connection_health; \
             UPDATE keyferry_schema SET version = 4"
        }
        Home::Sqlite(_) => "PRAGMA user_version = 4",
    };
    home.by_hand(&format!("{BACK_TO_4}{version}")).await;
    let store = home.open().await;
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.revision.number(), last.number());
    assert_ne!(snapshot.revision, last, "the write has an identity of its own");
    let next = store.create_connection(&connection("two")).await.unwrap();
    assert_eq!(since(&store, snapshot.revision).await, (next, vec!["two is".into()]));
    assert_eq!(since(&store, Revision::ZERO).await.1, ["one is", "two is"]);
}

async fn two_stores_on_one_database_see_each_others_writes(home: Home) {
    let (one, two) = (home.open().await, home.open().await);
    let revision = one.create_connection(&connection("one")).await.unwrap();
    assert_eq!(since(&two, Revision::ZERO).await, (revision, vec!["one is".into()]));
    let next = two.create_connection(&connection("two")).await.unwrap();
    assert!(next > revision);
    assert_eq!(since(&one, revision).await, (next, vec!["two is".into()]));
}

/// Who has seen a revision has seen all before it, however many write at once.
async fn revisions_become_visible_in_their_order(home: Home) {
    let (reader, mut writers) = (home.open().await, Vec::new());
    for writer in 0..4 {
        let store = home.open().await;
        writers.push(tokio::spawn(async move {
            for number in 0..25 {
                let record = connection(&format!("w{writer}-{number:02}"));
                store.create_connection(&record).await.unwrap();
            }
        }));
    }
    let (mut seen, mut at) = (0, Revision::ZERO);
    let all = async {
        while seen < 100 {
            let (revision, told) = since(&reader, at).await;
            assert_eq!(revision.number() - at.number(), i64::try_from(told.len()).unwrap());
            (seen, at) = (seen + told.len(), revision);
            tokio::task::yield_now().await;
        }
    };
    soon(all).await;
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn what_a_newer_version_writes_is_passed_over(home: Home) {
    let store = home.open().await;
    store.create_connection(&connection("one")).await.unwrap();
    home.by_hand(
        "UPDATE revision SET revision = 2; INSERT INTO changes (revision, kind, integration, name) \
         VALUES (2, 'client', 'acme', 'x')",
    )
    .await;
    let (revision, told) = since(&store, Revision::ZERO).await;
    assert_eq!((revision.number(), told), (2, vec!["one is".into()]));
}
