//! A primary that dies, and an asynchronous standby that lacks its last writes: first asked as it
//! is, when it can't be written to, then promoted.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tempfile::TempDir;

use super::dice::Dice;
use super::fleet::Fleet;
use crate::support::postgres::Postgres;
use crate::support::world::World;

const SCENARIO: &str = "failover";

/// Has all instances find `postgres` from now on.
fn lead_to(link: &Path, postgres: &Postgres) {
    let fresh = link.with_extension("fresh");
    symlink(postgres.directory(), &fresh).unwrap();
    std::fs::rename(&fresh, link).unwrap();
}

#[tokio::test]
async fn a_failover_loses_what_the_database_has_lost_and_nothing_else() {
    let dice = Dice::seeded(SCENARIO);
    let (mut primary, links) = (Postgres::start().await, TempDir::new().unwrap());
    let link = Arc::new(links.path().join("now"));
    lead_to(&link, &primary);
    let followed = Arc::clone(&link);
    let fleet = Fleet::of(3, move |origin| {
        let host = followed.display();
        World::new(origin)
            .keeping_at(&format!("postgres://postgres@localhost/postgres?host={host}"))
            .set("api.requests_per_minute", "0")
    })
    .await;
    let third = super::length() / 3;
    fleet.work(&dice, Instant::now() + third).await;
    // The standby has all of that, and nothing of what comes now.
    let mut standby = primary.standby().await;
    standby.stop();
    let before: Vec<_> = fleet.pages.iter().map(|page| page.lock().clone()).collect();
    fleet.work(&dice, Instant::now() + third).await;
    primary.stop();
    standby.go_on().await;
    lead_to(&link, &standby);
    let mut lost = 0;
    for (page, before) in fleet.pages.iter().zip(&before) {
        lost += page.lock().go_back_to(before);
    }
    let acknowledged = || fleet.pages.iter().map(|page| page.lock().acknowledged).sum::<u64>();
    let counted = acknowledged();
    fleet.work(&dice, Instant::now() + third / 2).await;
    assert_eq!(acknowledged(), counted, "a standby can't be written to");
    standby.promote().await;
    fleet.all_can_write().await;
    fleet.work(&dice, Instant::now() + third).await;
    fleet.settles(SCENARIO, lost).await;
}
