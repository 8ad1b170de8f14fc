//! What is lost when everything goes wrong at once: instances killed and paused, a database that
//! fails over and loses its last writes. Nothing that was acknowledged may be, unless the database
//! has lost it; no grant dies, and no request goes without its credential meanwhile.
//!
//! `make chaos` runs it at length. Each run says its seed; `CHAOS_SEED` runs it once more.

mod books;
mod dice;
mod failover;
mod fleet;
mod full_disk;
mod grants;
mod kills;

use std::time::Duration;

/// The time that each scenario goes on; another number of seconds stands in `CHAOS`.
fn length() -> Duration {
    let seconds = std::env::var("CHAOS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// Says something on standard output, which `make chaos` shows.
#[expect(clippy::print_stdout, reason = "the seed and the losses are for whoever runs it")]
fn report(scenario: &str, said: &str) {
    println!("chaos: {scenario}: {said}");
}
