//! Several servers over one database see one truth.

use std::time::{Duration, Instant};

use super::{credential, through, two, with_token};
use crate::support::ask::Ask;
use crate::support::origin::Origin;
use crate::support::postgres::Postgres;
use crate::support::raw::{Answer, Raw};

/// Sends it again and again until the answer is as wanted; how long that took.
async fn until(raw: &mut Raw, ask: &Ask, wanted: impl Fn(&Answer) -> bool) -> Duration {
    let begun = Instant::now();
    loop {
        if wanted(&raw.send(ask).await) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "it never came to that");
    }
}

#[tokio::test]
async fn what_changes_at_one_instance_counts_at_the_other_within_a_second() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    let (here, there) = two(&origin, &postgres).await;
    // One conn that is kept alive sees all of it.
    let mut raw = there.raw().await;
    let second = Duration::from_secs(1);
    here.keep_bearer("kept", "api.example.test", "first-secret").await;
    assert!(until(&mut raw, &through("kept"), |answer| answer.status == 200).await < second);
    here.replace_bearer("kept", "second-secret").await;
    let replaced = |_: &Answer| credential(&origin) == "second-secret";
    assert!(until(&mut raw, &through("kept"), replaced).await < second);
    let (id, token) = here.keep_token("fresh", &["proxy"]).await;
    let known = with_token(&token, "kept");
    assert!(until(&mut raw, &known, |answer| answer.status == 200).await < second);
    here.revoke(&id).await;
    assert!(until(&mut raw, &known, |answer| answer.status == 407).await < second);
    here.delete_bearer("kept").await;
    assert!(until(&mut raw, &through("kept"), |answer| answer.status == 403).await < second);
}

#[tokio::test]
async fn a_notification_that_was_missed_heals() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    let (here, there) = two(&origin, &postgres).await;
    let mut raw = there.raw().await;
    let mut database = postgres.connect().await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    sqlx::query(cut).execute(&mut database).await.unwrap();
    here.keep_bearer("kept", "api.example.test", "first-secret").await;
    let took = until(&mut raw, &through("kept"), |answer| answer.status == 200).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn of_many_who_make_one_name_at_two_instances_one_succeeds() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    let (here, there) = two(&origin, &postgres).await;
    let body = |number: usize| {
        let token = format!("secret-{number}");
        serde_json::json!({"name": "kept", "allowed_domain": "api.example.test", "token": token})
    };
    let line = format!("POST {}/bearer_token", crate::support::operator::CONNECTIONS);
    let attempts = (0..20).map(|number| {
        let server = if number % 2 == 0 { &here } else { &there };
        server.manage(&line, Some(body(number)))
    });
    let answers = futures_util::future::join_all(attempts).await;
    let of = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((of(201), of(409)), (1, 19), "{answers:?}");
}
