//! The figures of the last hour and the last day, for whoever looks at them: bounded, in memory,
//! of this process alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock::instant;

/// What happened by integration.
#[derive(Debug)]
pub(super) struct Pulses {
    begun: Instant,
    by_integration: Mutex<HashMap<Box<str>, Arc<Pulse>>>,
}

/// What happened in one integration.
#[derive(Debug)]
pub struct Pulse {
    begun: Instant,
    rings: Mutex<Rings>,
}

#[derive(Debug)]
struct Rings {
    hour: Ring,
    day: Ring,
}

/// The last stretches of time, in a fixed number of places.
#[derive(Debug)]
struct Ring {
    seconds: u64,
    places: Vec<(u64, Beat)>,
}

/// How far to look back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lookback {
    /// An hour, minute by minute.
    Hour,
    /// A day, quarter of an hour by quarter of an hour.
    Day,
}

/// What happened in one stretch of time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Beat {
    /// Requests that were sent.
    pub sent: u32,
    /// Requests that were refused, by the refusal's code.
    pub refused: Vec<(&'static str, u32)>,
    /// How many answers began within the time that [`BOUNDS`] says, and after the bound before; the
    /// last one those that took longer than all.
    pub took: [u32; BOUNDS.len() + 1],
    /// Refreshes that brought other tokens.
    pub refreshed: u32,
    /// Refreshes that did not.
    pub not_refreshed: u32,
}

impl Default for Pulses {
    fn default() -> Self {
        Self { begun: instant(), by_integration: Mutex::default() }
    }
}

impl Pulses {
    /// The pulse of an integration; `""` is that of what belongs to none that is known. Of very many
    /// integrations, those that came last share that one.
    pub(super) fn of(&self, integration: &str) -> Arc<Pulse> {
        let mut all = self.by_integration.lock();
        if let Some(known) = all.get(integration) {
            return Arc::clone(known);
        }
        let name = if all.len() < MOST { integration } else { "" };
        let fresh = || Arc::new(Pulse::since(self.begun));
        Arc::clone(all.entry(name.into()).or_insert_with(fresh))
    }

    /// What happened in an integration, or in all of them, from the oldest stretch to this one.
    pub(super) fn look_back(&self, integration: Option<&str>, how_far: Lookback) -> Vec<Beat> {
        let now = instant();
        let mut whole = vec![Beat::default(); how_far.places()];
        let all = self.by_integration.lock();
        let wanted = all.iter().filter(|(name, _)| integration.is_none_or(|own| own == &***name));
        for (_, pulse) in wanted {
            for (beat, more) in whole.iter_mut().zip(pulse.look_back(how_far, now)) {
                beat.add(&more);
            }
        }
        whole
    }
}

impl Pulse {
    fn since(begun: Instant) -> Self {
        let ring = |how_far: Lookback| Ring {
            seconds: how_far.seconds(),
            places: vec![(0, Beat::default()); how_far.places()],
        };
        let rings = Rings { hour: ring(Lookback::Hour), day: ring(Lookback::Day) };
        Self { begun, rings: Mutex::new(rings) }
    }

    /// Notes a request that has ended at this time, and how long it was until its answer began, if
    /// an origin has answered.
    pub(super) fn note(&self, now: Instant, took: Option<Duration>, refused: Option<&'static str>) {
        let slot = took.map(|took| {
            let milliseconds = took.as_secs_f64() * 1000.0;
            let bound = BOUNDS.iter().position(|bound| milliseconds <= *bound);
            bound.unwrap_or(BOUNDS.len())
        });
        self.change(now, |beat| match refused {
            None => {
                beat.sent += 1;
                if let Some(count) = slot.and_then(|slot| beat.took.get_mut(slot)) {
                    *count += 1;
                }
            }
            Some(code) => beat.count_refusal(code, 1),
        });
    }

    /// Notes a refresh that has ended now.
    pub(super) fn note_refresh(&self, worked: bool) {
        self.change(instant(), |beat| {
            let count = if worked { &mut beat.refreshed } else { &mut beat.not_refreshed };
            *count += 1;
        });
    }

    fn change(&self, now: Instant, change: impl Fn(&mut Beat)) {
        let since = now.saturating_duration_since(self.begun).as_secs();
        let mut rings = self.rings.lock();
        rings.hour.change(since, &change);
        rings.day.change(since, &change);
    }

    fn look_back(&self, how_far: Lookback, now: Instant) -> Vec<Beat> {
        let since = now.saturating_duration_since(self.begun).as_secs();
        let rings = self.rings.lock();
        match how_far {
            Lookback::Hour => rings.hour.look_back(since),
            Lookback::Day => rings.day.look_back(since),
        }
    }
}

impl Ring {
    fn change(&mut self, since: u64, change: impl Fn(&mut Beat)) {
        // Numbers begin at one: a place with zero was never written to.
        let number = since / self.seconds + 1;
        let at = self.place(number);
        let Some((known, beat)) = self.places.get_mut(at) else { return };
        if *known != number {
            *known = number;
            beat.clear();
        }
        change(beat);
    }

    fn look_back(&self, since: u64) -> Vec<Beat> {
        let (last, length) = (since / self.seconds + 1, self.places.len() as u64);
        let beat = |number: u64| {
            let place = self.places.get(self.place(number));
            place.filter(|(known, _)| *known == number && number > 0).map(|(_, beat)| beat.clone())
        };
        (0..length)
            .rev()
            .map(|back| last.checked_sub(back).and_then(beat).unwrap_or_default())
            .collect()
    }

    fn place(&self, number: u64) -> usize {
        usize::try_from(number % (self.places.len().max(1) as u64)).unwrap_or(0)
    }
}

impl Beat {
    /// How many requests were refused.
    #[must_use]
    pub fn all_refused(&self) -> u32 {
        self.refused.iter().map(|(_, count)| count).sum()
    }

    /// In which time, in milliseconds, so many hundredths of the answers had begun; `None` where
    /// there were none.
    #[must_use]
    pub fn percentile(&self, hundredths: u32) -> Option<f64> {
        let all: u64 = self.took.iter().map(|count| u64::from(*count)).sum();
        let wanted = (all * u64::from(hundredths)).div_ceil(100);
        let mut so_far = 0;
        let at = self.took.iter().position(|count| {
            so_far += u64::from(*count);
            all > 0 && so_far >= wanted
        })?;
        BOUNDS.get(at).or(BOUNDS.last()).copied()
    }

    /// Adds what happened elsewhere in the same time.
    pub fn add(&mut self, other: &Self) {
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

    /// Everything at zero; what memory there is stays.
    fn clear(&mut self) {
        let mut refused = std::mem::take(&mut self.refused);
        refused.clear();
        *self = Self { refused, ..Self::default() };
    }
}

impl Lookback {
    /// How long a stretch is, in seconds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Self::Hour => 60,
            Self::Day => 900,
        }
    }

    fn places(self) -> usize {
        match self {
            Self::Hour => 60,
            Self::Day => 96,
        }
    }
}

/// Up to how many milliseconds, place by place.
pub const BOUNDS: [f64; 16] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1000.0, 2500.0,
    10_000.0, 60_000.0,
];

/// Some 40 KiB each.
const MOST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_an_hour_is_gone() {
        let mut ring = Ring { seconds: 60, places: vec![(0, Beat::default()); 60] };
        ring.change(30, |beat| beat.sent += 1);
        ring.change(59, |beat| beat.sent += 1);
        ring.change(3_000, |beat| beat.sent += 5);
        let sent = |since| ring.look_back(since).iter().map(|beat| beat.sent).collect::<Vec<_>>();
        assert_eq!((sent(3_000)[59], sent(3_000)[9], sent(3_000)[0]), (5, 2, 0));
        assert_eq!(sent(3_600).iter().sum::<u32>(), 5);
        assert_eq!(sent(3_000 + 59 * 60)[0], 5);
        assert_eq!(sent(3_000 + 60 * 60).iter().sum::<u32>(), 0);
    }

    #[test]
    fn integrations_are_apart_and_together() {
        let (pulses, now) = (Pulses::default(), instant());
        pulses.of("a").note(now, Some(Duration::from_millis(3)), None);
        pulses.of("b").note(now, Some(Duration::from_millis(30)), None);
        pulses.of("b").note(now, None, Some("CallerUnknown"));
        let of = |integration| pulses.look_back(integration, Lookback::Hour).pop().unwrap();
        assert_eq!((of(Some("a")).sent, of(Some("b")).sent, of(None).sent), (1, 1, 2));
        assert_eq!((of(None).all_refused(), of(Some("a")).all_refused()), (1, 0));
        assert_eq!((of(None).percentile(50), of(None).percentile(99)), (Some(5.0), Some(35.0)));
        assert_eq!(Beat::default().percentile(50), None);
    }

    #[test]
    fn of_many_integrations_the_last_share_one() {
        let pulses = Pulses::default();
        for number in 0..2 * MOST {
            pulses.of(&number.to_string()).note(instant(), None, None);
        }
        assert!(pulses.by_integration.lock().len() <= MOST + 1);
        let all: u32 = pulses.look_back(None, Lookback::Day).iter().map(|beat| beat.sent).sum();
        assert_eq!(all as usize, 2 * MOST);
    }
}
