//! The audit trail: kept within its bytes, and nothing that anything else depends on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use keyferry::store::{Error, Store};
use sqlx::Connection as _;

use super::home::BACK_TO_4;
use super::{Home, connection, of_both};

of_both!(the_trail_stays_within_its_bytes_and_the_oldest_go_first);

const LIMIT: u64 = 16 << 20;

/// Half a mebibyte that can't be made smaller, and the number that it has.
fn batch(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = format!("{number}:");
    while text.len() < 512 << 10 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(char::from(b'!' + u8::try_from(state % 90).unwrap()));
    }
    text
}

fn file(home: &Home) -> PathBuf {
    home.file().with_file_name("keyferry-audit.db")
}

fn taken(file: &Path) -> u64 {
    let wal = file.with_extension("db-wal");
    [file, &wal].into_iter().map(|path| fs::metadata(path).map_or(0, |found| found.len())).sum()
}

async fn numbers(store: &Store) -> Vec<u64> {
    let batches = store.audit_after(0, 1000).await.unwrap();
    batches.iter().map(|batch| batch.lines.split(':').next().unwrap().parse().unwrap()).collect()
}

async fn the_trail_stays_within_its_bytes_and_the_oldest_go_first(home: Home) {
    let store = home.open().await;
    store.limit_audit(LIMIT);
    for number in 0..50 {
        store.append_audit(&batch(number), Timestamp::now()).await.unwrap();
        store.trim_audit().await.unwrap();
        if let Home::Sqlite(_) = home {
            assert!(taken(&file(&home)) <= LIMIT, "{}", taken(&file(&home)));
        }
    }
    let numbers = numbers(&store).await;
    let first = *numbers.first().unwrap();
    assert_eq!(numbers, (first..50).collect::<Vec<_>>());
    assert!((20..=32).contains(&numbers.len()), "{}", numbers.len());
}

#[tokio::test]
async fn a_trail_with_less_in_it_gives_its_room_back() {
    let home = Home::sqlite();
    let store = home.open().await;
    for number in 0..24 {
        store.append_audit(&batch(number), Timestamp::now()).await.unwrap();
    }
    let file = file(&home);
    assert!(taken(&file) > 12 << 20);
    store.limit_audit(6 << 20);
    store.append_audit(&batch(24), Timestamp::now()).await.unwrap();
    assert!(taken(&file) < 5 << 20, "{}", taken(&file));
    assert_eq!(numbers(&store).await.last(), Some(&24));
    store.prune_audit(Timestamp::MAX).await.unwrap();
    assert!(taken(&file) < 3 << 20, "{}", taken(&file));
    let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!((numbers(&store).await, mode), (Vec::new(), 0o600));
}

#[tokio::test]
async fn a_damaged_trail_stops_nothing_else() {
    let home = Home::sqlite();
    let file = file(&home);
    fs::write(&file, "this is a letter to my aunt, and nothing else".repeat(100)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let store = home.open().await;
    let refusal = store.append_audit("{}\n", Timestamp::now()).await.unwrap_err();
    assert!(matches!(refusal, Error::Foreign) && !refusal.is_transient(), "{refusal:?}");
    store.create_connection(&connection("one")).await.unwrap();
    fs::remove_file(&file).unwrap();
    store.append_audit("{}\n", Timestamp::now()).await.unwrap();
    // Damaged while it is in use.
    store.close().await;
    let bytes = fs::read(&file).unwrap();
    let damaged: Vec<_> =
        bytes.iter().enumerate().map(|(at, byte)| if at < 100 { *byte } else { 0xff }).collect();
    fs::write(&file, damaged).unwrap();
    let store = home.open().await;
    let refusal = store.append_audit("{}\n", Timestamp::now()).await.unwrap_err();
    assert!(!refusal.is_transient(), "{refusal:?}");
    store.create_connection(&connection("two")).await.unwrap();
}

#[tokio::test]
async fn a_store_whose_file_held_the_trail_gives_the_room_back() {
    let home = Home::sqlite();
    let store = home.open().await;
    store.create_connection(&connection("one")).await.unwrap();
    store.close().await;
    home.by_hand(&format!(
        "{BACK_TO_4} DROP TABLE write_probe; PRAGMA user_version = 4; \
         CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, last INTEGER NOT NULL, \
         entries TEXT NOT NULL) STRICT; CREATE INDEX audit_by_time ON audit (last); \
         INSERT INTO audit (last, entries) VALUES (1, hex(zeroblob(4000000)))"
    ))
    .await;
    assert!(taken(&home.file()) > 8_000_000);
    let store = home.open().await;
    assert_eq!(store.snapshot().await.unwrap().connections.len(), 1);
    store.append_audit("{}\n", Timestamp::now()).await.unwrap();
    store.close().await;
    assert!(taken(&home.file()) < 1_000_000, "{}", taken(&home.file()));
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(home.file());
    let mut conn = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let left = "SELECT count(*) FROM sqlite_schema WHERE name = 'audit'";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&mut conn).await.unwrap(), 0);
}
