//! The activity of the last hour and the last day, for the console: of this process alone, in a
//! bounded amount of memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::instant;

/// The histories of all integrations.
#[derive(Debug)]
pub(super) struct Histories {
    begun: Instant,
    by_integration: Mutex<HashMap<Box<str>, Arc<History>>>,
}

/// The history of one integration.
#[derive(Debug)]
pub struct History {
    begun: Instant,
    rings: Mutex<HistoryRings>,
}

#[derive(Debug)]
struct HistoryRings {
    hour: RingBuffer,
    day: RingBuffer,
}

/// The latest buckets, in a fixed number of slots. Each slot has the number of its bucket, so that
/// an old one is recognized.
#[derive(Debug)]
struct RingBuffer {
    seconds: u64,
    places: Vec<(u64, Bucket)>,
}

/// A period up to now, and its resolution.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TimeWindow {
    /// An hour in buckets of a minute.
    Hour,
    /// A day in buckets of 15 minutes.
    Day,
}

/// The counts of one bucket of time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Bucket {
    /// Requests that were sent.
    pub sent: u32,
    /// Requests that were refused, by code.
    pub refused: Vec<(&'static str, u32)>,
    /// A histogram of the time until an answer began: a count for each of [`LATENCY_BOUNDS_MS`],
    /// and one for all that took longer.
    pub took: [u32; LATENCY_BOUNDS_MS.len() + 1],
    /// Refreshes that brought tokens.
    pub refreshed: u32,
    /// Refreshes that did not.
    pub not_refreshed: u32,
}

impl Default for Histories {
    fn default() -> Self {
        Self { begun: instant(), by_integration: Mutex::default() }
    }
}

impl Histories {
    /// The history of an integration. `""` is that of requests without a known integration, and of
    /// all integrations beyond the limit.
    pub(super) fn of_integration(&self, integration: &str) -> Arc<History> {
        let mut all = self.by_integration.lock();
        if let Some(known) = all.get(integration) {
            return Arc::clone(known);
        }
        let name = if all.len() < MAX_INTEGRATIONS { integration } else { "" };
        let fresh = || Arc::new(History::starting_at(self.begun));
        Arc::clone(all.entry(name.into()).or_insert_with(fresh))
    }

    /// The buckets of an integration, or the sum over all, from the oldest to the current one.
    pub(super) fn look_back(&self, integration: Option<&str>, window: TimeWindow) -> Vec<Bucket> {
        let now = instant();
        let mut whole = vec![Bucket::default(); window.bucket_count()];
        let all = self.by_integration.lock();
        let wanted = all.iter().filter(|(name, _)| integration.is_none_or(|own| own == &***name));
        for (_, history) in wanted {
            for (bucket, more) in whole.iter_mut().zip(history.look_back(window, now)) {
                bucket.merge(&more);
            }
        }
        whole
    }
}

impl History {
    fn starting_at(begun: Instant) -> Self {
        let ring = |window: TimeWindow| RingBuffer {
            seconds: window.seconds(),
            places: vec![(0, Bucket::default()); window.bucket_count()],
        };
        let rings = HistoryRings { hour: ring(TimeWindow::Hour), day: ring(TimeWindow::Day) };
        Self { begun, rings: Mutex::new(rings) }
    }

    /// Counts a request that has ended at `now`. `took` is the time until its answer began, where
    /// an origin has answered.
    pub(super) fn note_request(
        &self,
        now: Instant,
        took: Option<Duration>,
        refused: Option<&'static str>,
    ) {
        let slot = took.map(|took| {
            let milliseconds = took.as_secs_f64() * 1000.0;
            let bound = LATENCY_BOUNDS_MS.iter().position(|bound| milliseconds <= *bound);
            bound.unwrap_or(LATENCY_BOUNDS_MS.len())
        });
        self.update(now, |bucket| match refused {
            None => {
                bucket.sent += 1;
                if let Some(count) = slot.and_then(|slot| bucket.took.get_mut(slot)) {
                    *count += 1;
                }
            }
            Some(code) => bucket.count_refusal(code, 1),
        });
    }

    /// Counts a refresh that has ended now.
    pub(super) fn note_refresh(&self, worked: bool) {
        self.update(instant(), |bucket| {
            let count = if worked { &mut bucket.refreshed } else { &mut bucket.not_refreshed };
            *count += 1;
        });
    }

    fn update(&self, now: Instant, change: impl Fn(&mut Bucket)) {
        let since = now.saturating_duration_since(self.begun).as_secs();
        let mut rings = self.rings.lock();
        rings.hour.update(since, &change);
        rings.day.update(since, &change);
    }

    fn look_back(&self, window: TimeWindow, now: Instant) -> Vec<Bucket> {
        let since = now.saturating_duration_since(self.begun).as_secs();
        let rings = self.rings.lock();
        match window {
            TimeWindow::Hour => rings.hour.look_back(since),
            TimeWindow::Day => rings.day.look_back(since),
        }
    }
}

impl RingBuffer {
    fn update(&mut self, since: u64, change: impl Fn(&mut Bucket)) {
        // Bucket numbers begin at one, so that zero marks a slot that was never used.
        let number = since / self.seconds + 1;
        let at = self.slot_of(number);
        let Some((known, bucket)) = self.places.get_mut(at) else { return };
        if *known != number {
            *known = number;
            bucket.reset();
        }
        change(bucket);
    }

    fn look_back(&self, since: u64) -> Vec<Bucket> {
        let (last, length) = (since / self.seconds + 1, self.places.len() as u64);
        let bucket = |number: u64| {
            let place = self.places.get(self.slot_of(number));
            place
                .filter(|(known, _)| *known == number && number > 0)
                .map(|(_, bucket)| bucket.clone())
        };
        (0..length)
            .rev()
            .map(|back| last.checked_sub(back).and_then(bucket).unwrap_or_default())
            .collect()
    }

    fn slot_of(&self, number: u64) -> usize {
        usize::try_from(number % (self.places.len().max(1) as u64)).unwrap_or(0)
    }
}

impl Bucket {
    /// The number of refused requests.
    pub fn refused_total(&self) -> u32 {
        self.refused.iter().map(|(_, count)| count).sum()
    }

    /// The upper bound, in milliseconds, of the time within which this percentage of answers began;
    /// `None` without answers.
    pub fn percentile(&self, hundredths: u32) -> Option<f64> {
        let all: u64 = self.took.iter().map(|count| u64::from(*count)).sum();
        let wanted = (all * u64::from(hundredths)).div_ceil(100);
        let mut so_far = 0;
        let at = self.took.iter().position(|count| {
            so_far += u64::from(*count);
            all > 0 && so_far >= wanted
        })?;
        LATENCY_BOUNDS_MS.get(at).or(LATENCY_BOUNDS_MS.last()).copied()
    }

    /// Adds the counts of the same time in another history.
    pub fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        for (code, count) in &other.refused {
            self.count_refusal(code, *count);
        }
        for (count, more) in self.took.iter_mut().zip(other.took) {
            *count += more;
        }
        self.refreshed += other.refreshed;
        self.not_refreshed += other.not_refreshed;
    }

    fn count_refusal(&mut self, code: &'static str, count: u32) {
        match self.refused.iter_mut().find(|(known, _)| *known == code) {
            Some((_, known)) => *known += count,
            None => self.refused.push((code, count)),
        }
    }

    /// Sets all counts to zero and keeps the memory.
    fn reset(&mut self) {
        let mut refused = std::mem::take(&mut self.refused);
        refused.clear();
        *self = Self { refused, ..Self::default() };
    }
}

impl TimeWindow {
    /// The length of a bucket in seconds.
    pub fn seconds(self) -> u64 {
        match self {
            Self::Hour => 60,
            Self::Day => 900,
        }
    }

    fn bucket_count(self) -> usize {
        match self {
            Self::Hour => 60,
            Self::Day => 96,
        }
    }
}

/// The upper bounds of the latency histogram, in milliseconds.
pub const LATENCY_BOUNDS_MS: [f64; 16] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1000.0, 2500.0,
    10_000.0, 60_000.0,
];

/// The number of integrations with a history of their own, about 40 KiB each.
const MAX_INTEGRATIONS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_an_hour_is_gone() {
        let mut ring = RingBuffer { seconds: 60, places: vec![(0, Bucket::default()); 60] };
        ring.update(30, |bucket| bucket.sent += 1);
        ring.update(59, |bucket| bucket.sent += 1);
        ring.update(3_000, |bucket| bucket.sent += 5);
        let sent =
            |since| ring.look_back(since).iter().map(|bucket| bucket.sent).collect::<Vec<_>>();
        assert_eq!((sent(3_000)[59], sent(3_000)[9], sent(3_000)[0]), (5, 2, 0));
        assert_eq!(sent(3_600).iter().sum::<u32>(), 5);
        assert_eq!(sent(3_000 + 59 * 60)[0], 5);
        assert_eq!(sent(3_000 + 60 * 60).iter().sum::<u32>(), 0);
    }

    #[test]
    fn integrations_are_apart_and_together() {
        let (histories, now) = (Histories::default(), instant());
        histories.of_integration("a").note_request(now, Some(Duration::from_millis(3)), None);
        histories.of_integration("b").note_request(now, Some(Duration::from_millis(30)), None);
        histories.of_integration("b").note_request(now, None, Some("CallerUnknown"));
        let of = |integration| histories.look_back(integration, TimeWindow::Hour).pop().unwrap();
        assert_eq!((of(Some("a")).sent, of(Some("b")).sent, of(None).sent), (1, 1, 2));
        assert_eq!((of(None).refused_total(), of(Some("a")).refused_total()), (1, 0));
        assert_eq!((of(None).percentile(50), of(None).percentile(99)), (Some(5.0), Some(35.0)));
        assert_eq!(Bucket::default().percentile(50), None);
    }

    #[test]
    fn of_many_integrations_the_last_share_one() {
        let histories = Histories::default();
        for number in 0..2 * MAX_INTEGRATIONS {
            histories.of_integration(&number.to_string()).note_request(instant(), None, None);
        }
        assert!(histories.by_integration.lock().len() <= MAX_INTEGRATIONS + 1);
        let all: u32 =
            histories.look_back(None, TimeWindow::Day).iter().map(|bucket| bucket.sent).sum();
        assert_eq!(all as usize, 2 * MAX_INTEGRATIONS);
    }
}
