//! A process that writes is killed, again and again: what it has acknowledged is there, and
//! nothing is half there.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use keyferry::model::record::ConnectionRecord;
use keyferry::model::sealed::Sealed;
use keyferry::secret::Secret;
use keyferry::store::{Store, StoreSnapshot};
use uuid::Uuid;

use super::{Home, connection, of_both};

of_both!(no_acknowledged_write_is_lost_and_none_is_half_done);

const WRITES: usize = 10_000;

const ROUNDS: usize = 8;

/// How far the life of one record has got: made, changed, deleted. Not all go all the way.
type Steps = HashMap<String, usize>;

async fn no_acknowledged_write_is_lost_and_none_is_half_done(home: Home) {
    let (mut acknowledged, mut count) = (Steps::new(), 0);
    home.open().await.close().await;
    for round in 0..ROUNDS {
        let enough = count + (WRITES - count).div_ceil(ROUNDS - round);
        let mut writer = start(&home, round);
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let lines = lines.map(|line| line.unwrap());
        // What it still says after it was told to die was acknowledged too.
        for line in lines.filter(|line| line.starts_with(ACKNOWLEDGED)) {
            let words: Vec<_> = line.split(' ').collect();
            acknowledged.insert(words[1].into(), words[2].parse().unwrap());
            count += 1;
            if count == enough {
                writer.kill().unwrap();
            }
        }
        writer.wait().unwrap();
        let store = home.open().await;
        let snapshot = store.snapshot().await.unwrap();
        store.close().await;
        let done = snapshot.revision.number();
        let acknowledged_writes = i64::try_from(count).unwrap();
        let undecided = i64::try_from(round).unwrap() + 1;
        assert!((acknowledged_writes..=acknowledged_writes + undecided).contains(&done));
        compare(snapshot, &acknowledged, round);
    }
    assert!(count >= WRITES);
}

/// One write of each round may have been done without anybody being told.
fn compare(snapshot: StoreSnapshot, acknowledged: &Steps, round: usize) {
    let mut untold = 0;
    let found = snapshot.connections.into_iter().map(|item| {
        let record = item.unwrap();
        (record.name.to_string(), record)
    });
    let mut found: HashMap<_, _> = found.collect();
    for (name, &steps) in acknowledged {
        let record = found.remove(name);
        let is = |steps| record.as_ref() == life(name).get(steps - 1).and_then(Option::as_ref);
        assert!(is(steps) || is(steps + 1), "{name} after {steps}: {record:?}");
        untold += usize::from(!is(steps));
    }
    for (name, record) in found {
        assert_eq!(Some(&record), life(&name)[0].as_ref());
        untold += 1;
    }
    assert!(untold <= round + 1, "{untold}");
}

/// What a record is after each of its steps; `None` when it is deleted.
fn life(name: &str) -> Vec<Option<ConnectionRecord>> {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    let number: u128 = digits.parse().unwrap();
    let with = |step: u8| {
        let payload: Vec<u8> = name.bytes().cycle().map(|byte| byte ^ step).take(1500).collect();
        let sealed =
            Sealed { key_id: "k1".into(), wrapped: [step; 60].into(), payload: payload.into() };
        let uuid = Uuid::from_u128((1 << 120) | number);
        Some(ConnectionRecord { uuid, sealed, ..connection(name) })
    };
    match number % 4 {
        0 => vec![with(1), with(2), None],
        1 => vec![with(1), None],
        2 => vec![with(1), with(2)],
        _ => vec![with(1)],
    }
}

fn start(home: &Home, round: usize) -> Child {
    let mut writer = Command::new(std::env::current_exe().unwrap());
    writer.args([
        "--exact",
        "store::killed::writes_until_it_is_killed",
        "--ignored",
        "--nocapture",
    ]);
    let place = match home {
        Home::Postgres(server) => String::from_utf8(server.url().expose().to_vec()).unwrap(),
        Home::Sqlite(_) => home.file().to_str().unwrap().to_owned(),
    };
    writer.env(PLACE, place).env(ROUND, round.to_string());
    writer.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
#[ignore = "it is a part of the other tests here, which start and kill it"]
async fn writes_until_it_is_killed() {
    let (Ok(place), Ok(round)) = (std::env::var(PLACE), std::env::var(ROUND)) else { return };
    let store = match place.strip_prefix('/') {
        Some(_) => Store::open_sqlite(Path::new(&place)).await.unwrap(),
        None => Store::open_postgres(&Secret::new(place)).await.unwrap(),
    };
    let mut stdout = std::io::stdout();
    writeln!(stdout).unwrap();
    for number in 0.. {
        let name = format!("c{round}-{number:06}");
        let mut before: Option<ConnectionRecord> = None;
        for (step, now) in (1..).zip(life(&name)) {
            match (&before, &now) {
                (None, Some(now)) => drop(store.create_connection(now).await.unwrap()),
                (Some(before), Some(now)) => {
                    store.replace_connection(before, now).await.unwrap().unwrap();
                }
                (Some(before), None) => {
                    let (integration, kind) = (&before.integration, before.kind());
                    let deleted = store.delete_connection(integration, &before.name, kind).await;
                    deleted.unwrap().unwrap();
                }
                (None, None) => {}
            }
            writeln!(stdout, "{ACKNOWLEDGED} {name} {step}").unwrap();
            before = now;
        }
    }
}

const ACKNOWLEDGED: &str = "acknowledged";

const PLACE: &str = "KEYFERRY_TEST_PLACE";

const ROUND: &str = "KEYFERRY_TEST_ROUND";
