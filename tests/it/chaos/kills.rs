//! Three instances over one database, killed and paused at random.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use super::dice::Dice;
use super::fleet::Fleet;
use crate::support::postgres::Postgres;
use crate::support::world::World;

const SCENARIO: &str = "kills and pauses";
const INSTANCES: u64 = 3;

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_with_instances_that_are_killed_or_paused() {
    let (dice, postgres) = (Dice::seeded(SCENARIO), Arc::new(Postgres::start().await));
    let database = Arc::clone(&postgres);
    let fleet = Fleet::of(3, move |origin| {
        World::new(origin).keeping_in(&database).set("api.requests_per_minute", "0")
    })
    .await;
    let end = Instant::now() + super::length();
    let trouble = async {
        let (mut kills, mut pauses) = (0, 0);
        while Instant::now() < end {
            sleep(Duration::from_millis(100 + dice.below(400))).await;
            let number = usize::try_from(dice.below(INSTANCES)).unwrap();
            let instance = Arc::clone(&fleet.all()[number]);
            if dice.below(2) == 0 {
                instance.signal(Signal::KILL);
                fleet.replace(number).await;
                kills += 1;
            } else {
                instance.signal(Signal::STOP);
                sleep(Duration::from_millis(dice.below(1500))).await;
                instance.signal(Signal::CONT);
                pauses += 1;
            }
        }
        super::report(SCENARIO, &format!("{kills} kills, {pauses} pauses"));
    };
    tokio::join!(fleet.work(&dice, end), trouble);
    fleet.settles(SCENARIO, 0).await;
}
