//! Tokens that end soon, many connections, two instances, requests all the time: none may fail.
//! `make soak` runs it at length.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::json;

use crate::support::authorized::{prepared, through};
use crate::support::postgres::Postgres;
use crate::support::provider::{Provider, origin_accepting};
use crate::support::soon;

/// How long the tokens live, how many connections there are, and how long it goes on; other numbers
/// of seconds, connections and seconds stand in `SOAK`, with commas.
fn size() -> [u64; 3] {
    let text = std::env::var("SOAK").unwrap_or_default();
    let numbers: Vec<u64> = text.split(',').filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().unwrap_or([3, 20, 8])
}

#[tokio::test]
async fn no_request_fails_while_tokens_come_and_go() {
    let [life, connections, seconds] = size();
    let (provider, postgres) = (Provider::start().await, Postgres::start().await);
    let origin = origin_accepting(&provider).await;
    let world =
        || prepared(&provider, &origin).keeping_in(&postgres).set("api.requests_per_minute", "0");
    let servers = [world().run().await, world().run().await];
    servers[0].register(&provider).await;
    provider.set_expires_in(json!(life));
    let names: Vec<String> = (0..connections).map(|number| format!("soaked-{number}")).collect();
    for name in &names {
        servers[0].authorize(&provider, name).await;
    }
    for name in &names {
        soon(async { while servers[1].send(&through(name)).await.status != 200 {} }).await;
    }
    let (sent, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let end = Instant::now() + Duration::from_secs(seconds);
    let callers = names.iter().enumerate().map(|(number, name)| {
        let (server, sent, failed) = (&servers[number % 2], &sent, &failed);
        async move {
            let mut raw = server.raw().await;
            while Instant::now() < end {
                let answer = raw.send(&through(name)).await;
                sent.fetch_add(1, Relaxed);
                if answer.status != 200 {
                    failed.lock().push((name, answer));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    join_all(callers).await;
    let asked = provider.asked();
    let (sent, failed) = (sent.into_inner(), failed.into_inner());
    assert!(failed.is_empty(), "{} of {sent}: {:?}", failed.len(), failed.first());
    assert_eq!(provider.reused(), 0);
    // Each token was refreshed about once in its life, and no more.
    let lives = seconds / life + 2;
    assert!(asked as u64 <= connections * (lives + 1), "{asked}");
    assert!(asked as u64 > connections, "{asked}");
    // None had to be sent twice: no token was refused.
    assert!(origin.seen().len() as u64 <= sent + connections * 2, "{sent} requests");
}
