//! Zendesk's tokens end all the time under a steady load of large bodies, at two instances: no caller
//! may be answered with 401. `make soak` runs it at full size, with a release build.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::{join_all, select};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::providers::consent;
use super::providers::specs::zendesk_with;
use crate::support::ask::ask;
use crate::support::authorized::{END, OAUTH, parameter};
use crate::support::postgres::Postgres;
use crate::support::soon;
use crate::support::strict::{ID, SECRET, Strict};
use crate::support::world::{Running, World};

const HOST: &str = "acme.zendesk.com";

/// The seconds that a token lives, the number of lives, and the requests in a second; other numbers
/// stand in `LIFETIMES`, with commas. The usual rate is what two debug builds carry.
fn size() -> [u32; 3] {
    let text = std::env::var("LIFETIMES").unwrap_or_default();
    let numbers: Vec<u32> = text.split(',').filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().unwrap_or([3, 10, 8])
}

/// A twentieth of such a life is enough for a request under way to end before the next refresh: none
/// need be sent again.
fn may_end_in_time(life: u32) -> bool {
    life >= 20
}

#[expect(clippy::print_stdout, reason = "the figures are what somebody runs it for")]
#[tokio::test]
async fn ten_lives_of_zendesks_tokens_pass_without_a_401() {
    let [life, lives, rate] = size();
    let (strict, postgres) = (zendesk(life).await, Postgres::start().await);
    let servers = [server(&strict, &postgres, life).await, server(&strict, &postgres, life).await];
    connect(&servers[0], &strict, life).await;
    let get = ask(&format!("GET https://{HOST}/api/v2/users")).field("X-Zis-Connection", "mine");
    soon(async { while servers[1].send(&get).await.status != 200 {} }).await;
    // 1. Requests leave at their times, each by the next caller that is free.
    let upload = ask(&format!("POST https://{HOST}/api/v2/uploads?filename=a"))
        .field("X-Zis-Connection", "mine")
        .body(vec![b'a'; BODY_LEN]);
    let upload = upload.bytes();
    let (next, sent, failed) = (AtomicU32::new(0), AtomicU32::new(0), Mutex::new(Vec::new()));
    let begin = Instant::now();
    let end = begin + Duration::from_secs((life * lives).into());
    let callers = (0..CALLERS).map(|number| {
        let (server, upload, next) = (&servers[number % 2], &upload, &next);
        let (sent, failed) = (&sent, &failed);
        async move {
            let mut raw = server.raw().await;
            loop {
                let at = begin + Duration::from_secs(1) * next.fetch_add(1, Relaxed) / rate;
                if at.max(Instant::now()) >= end {
                    return;
                }
                sleep_until(at).await;
                raw.write(upload).await;
                let answer = raw.answer_to("POST").await;
                sent.fetch_add(1, Relaxed);
                if answer.status != 200 {
                    failed.lock().push((begin.elapsed(), answer.status, answer.text()));
                }
            }
        }
    });
    // 2. Meanwhile the origin forgets what it was sent, which would not fit into memory.
    let forgetting = async {
        loop {
            sleep(Duration::from_millis(100)).await;
            strict.origin.forget();
        }
    };
    let (callers, forgetting) = (Box::pin(join_all(callers)), Box::pin(forgetting));
    select(callers, forgetting).await;
    // 3. None has failed, and the tokens were refreshed about once in a life.
    let (sent, failed) = (sent.into_inner(), failed.into_inner());
    let (taken, asked) = (begin.elapsed().as_secs(), strict.asked());
    println!("{sent} requests of 2 MiB in {taken} s; the provider was asked {asked} times");
    assert!(failed.is_empty(), "{} of {sent}: {:?}", failed.len(), failed.first());
    assert_eq!(strict.complaints(), Vec::<String>::new());
    let lives = usize::try_from(lives).unwrap();
    assert!((lives..=2 * lives + 2).contains(&asked), "{asked}");
    assert!(sent >= rate, "{sent}");
}

/// Zendesk, where these lives are asked for. The one of refresh tokens is not as short.
async fn zendesk(life: u32) -> Strict {
    let text = life.to_string();
    let lives = [("expires_in", &*text), ("refresh_token_expires_in", REFRESH_TOKEN_LIFE)];
    Strict::start(zendesk_with(&lives)).await
}

/// An instance, with the defaults. Where lives are too short for these, bodies are kept and a
/// request whose token has ended under way is sent again.
async fn server(strict: &Strict, postgres: &Postgres, life: u32) -> Running {
    let mut world = World::empty()
        .token("runner", "acme", "")
        .pin(HOST, &strict.origin)
        .keeping_in(postgres)
        .set("oauth.allowed_redirect_origins", "[\"https://client.int\"]")
        .set("api.requests_per_minute", "0");
    if !may_end_in_time(life) {
        world = world.set("oauth.replay_body_bytes", &BODY_LEN.to_string());
    }
    world.run().await
}

/// Makes the client of the catalogue's entry, with these lives, and its connection `acme.mine`.
async fn connect(server: &Running, strict: &Strict, life: u32) {
    let lives = json!({
        "expires_in": life.to_string(), "refresh_token_expires_in": REFRESH_TOKEN_LIFE,
    });
    let client = json!({
        "name": "zendesk_client", "provider": "zendesk", "client_id": ID, "client_secret": SECRET,
        "token_params": lives, "refresh_params": lives,
    });
    let made = server.manage(&format!("POST {OAUTH}/oauth/clients/acme"), Some(client)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let flow = json!({
        "name": "mine", "oauth_client_name": "zendesk_client", "oauth_url_subdomain": "acme",
        "origin_oauth_redirect_url": END,
    });
    let redirect_url = server.start_flow(flow).await;
    let end = consent(server, strict, &redirect_url).await;
    assert!(parameter(&end, "verification_code").is_some(), "{end} {:?}", strict.complaints());
}

/// The seconds that a refresh token lives.
const REFRESH_TOKEN_LIFE: &str = "3600";

/// 2 MiB.
const BODY_LEN: usize = 2 << 20;

/// The callers, half of them at each instance.
const CALLERS: usize = 16;
