//! Where a secret leaves no trace.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::{Duration, Instant};

use super::{through, with_token};
use crate::support::origin::Origin;
use crate::support::postgres::Postgres;
use crate::support::world::{World, files_below};

const SECRET: &str = "planted-secret-5f1c7a";

#[tokio::test]
async fn the_database_and_everything_beside_it_hold_no_secret() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", SECRET).await;
    server.replace_bearer("kept", &format!("{SECRET}-2")).await;
    let (_id, token) = server.keep_token("fresh", &["proxy"]).await;
    assert_eq!(server.send(&with_token(&token, "kept")).await.status, 200);
    let files = files_below(&server.world.path("data"));
    assert!(
        files.iter().any(|(path, _)| path.ends_with("keyferry.db-wal")),
        "the WAL is looked at"
    );
    for (path, content) in files {
        for planted in [SECRET, &token] {
            let found = memchr::memmem::find(&content, planted.as_bytes());
            assert_eq!(found, None, "{planted} in {}", path.display());
        }
    }
}

#[tokio::test]
async fn a_dump_of_the_database_holds_no_secret() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    let server = World::new(&origin).keeping_in(&postgres).run().await;
    server.keep_bearer("kept", "api.example.test", SECRET).await;
    let (_id, token) = server.keep_token("fresh", &["proxy"]).await;
    let dump = postgres.dump();
    assert!(memchr::memmem::find(&dump, b"api.example.test").is_some());
    for planted in [SECRET, &token] {
        assert_eq!(memchr::memmem::find(&dump, planted.as_bytes()), None, "{planted}");
    }
}

/// Ten seconds after a connection was deleted, its secret is nowhere in the process.
#[tokio::test]
async fn a_secret_that_was_deleted_is_gone_from_memory() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", SECRET).await;
    assert_eq!(server.send(&through("kept")).await.status, 200);
    assert!(in_memory(server.pid(), SECRET) > 0, "it is found while it is in use");
    server.delete_bearer("kept").await;
    // Other requests go on, and use again what the deleted one's has used.
    let begun = Instant::now();
    loop {
        assert_eq!(server.send(&through("api")).await.status, 200);
        match in_memory(server.pid(), SECRET) {
            0 => break,
            copies => assert!(begun.elapsed() < Duration::from_secs(10), "{copies} copies"),
        }
    }
}

/// How often `secret` stands in what the process can write to.
fn in_memory(process: u32, secret: &str) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let writable = maps.lines().filter(|line| line.contains(" rw"));
    let mut copies = 0;
    for line in writable {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let bound = |text| u64::from_str_radix(text, 16).unwrap();
        let mut bytes = vec![0; usize::try_from(bound(end) - bound(start)).unwrap()];
        let read = memory.seek(SeekFrom::Start(bound(start))).and_then(|_| memory.read(&mut bytes));
        // Some regions, such as the kernel's own, can't be read.
        let length = read.unwrap_or(0);
        copies += memchr::memmem::find_iter(&bytes[..length], secret.as_bytes()).count();
    }
    copies
}
