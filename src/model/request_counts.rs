//! Counts of requests in a stretch of time, as they are kept and added up.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The counts of a stretch of time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RequestCounts {
    /// Requests that were sent, by the class of their answer, as [`STATUS_CLASSES`] names them.
    pub answered: [u32; STATUS_CLASSES.len()],
    /// Requests that were refused, by code.
    pub refused: Vec<(Cow<'static, str>, u32)>,
    /// A histogram of the time until an answer began: a count for each of [`LATENCY_BOUNDS_MS`],
    /// and one for all that took longer.
    pub took: [u32; LATENCY_BOUNDS_MS.len() + 1],
    /// Refreshes that brought tokens.
    pub refreshed: u32,
    /// Refreshes that did not.
    pub not_refreshed: u32,
}

/// Counts in the form in which they are stored, without zeros at an end.
#[derive(Deserialize, Serialize)]
struct StoredCounts<'a> {
    #[serde(default, skip_serializing_if = "<[u32]>::is_empty", borrow)]
    answered: Cow<'a, [u32]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refused: Vec<(Cow<'static, str>, u32)>,
    #[serde(default, skip_serializing_if = "<[u32]>::is_empty")]
    took: Cow<'a, [u32]>,
    #[serde(default, skip_serializing_if = "is_none")]
    refreshes: (u32, u32),
}

impl RequestCounts {
    /// Counts a request that has ended. `took` is the time until its answer began, where an origin
    /// has answered.
    pub fn count(&mut self, status: u16, refused: Option<&'static str>, took: Option<Duration>) {
        if let Some(code) = refused {
            self.add_refused(Cow::Borrowed(code), 1);
            return;
        }
        if let Some(count) = self.answered.get_mut(class_index(status)) {
            *count += 1;
        }
        let Some(took) = took else { return };
        let milliseconds = took.as_secs_f64() * 1000.0;
        let slot = LATENCY_BOUNDS_MS.iter().position(|bound| milliseconds <= *bound);
        if let Some(count) = self.took.get_mut(slot.unwrap_or(LATENCY_BOUNDS_MS.len())) {
            *count += 1;
        }
    }

    /// Counts a refresh.
    pub fn count_refresh(&mut self, worked: bool) {
        let count = if worked { &mut self.refreshed } else { &mut self.not_refreshed };
        *count += 1;
    }

    /// The number of requests that were sent.
    pub fn sent(&self) -> u32 {
        self.answered.iter().sum()
    }

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

    /// Adds other counts.
    pub fn merge(&mut self, other: &Self) {
        for (code, count) in &other.refused {
            self.add_refused(code.clone(), *count);
        }
        let counts = self.answered.iter_mut().zip(other.answered);
        let took = self.took.iter_mut().zip(other.took);
        for (count, more) in counts.chain(took) {
            *count = count.saturating_add(more);
        }
        self.refreshed = self.refreshed.saturating_add(other.refreshed);
        self.not_refreshed = self.not_refreshed.saturating_add(other.not_refreshed);
    }

    /// The counts as text.
    pub fn to_text(&self) -> String {
        let stored = StoredCounts {
            answered: without_zeros(&self.answered).into(),
            refused: self.refused.clone(),
            took: without_zeros(&self.took).into(),
            refreshes: (self.refreshed, self.not_refreshed),
        };
        // Numbers and texts can always be written as JSON.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Reads counts; `None` for a text that has none.
    pub fn of_text(text: &str) -> Option<Self> {
        let stored: StoredCounts<'_> = serde_json::from_str(text).ok()?;
        let mut counts = Self {
            refused: stored.refused,
            refreshed: stored.refreshes.0,
            not_refreshed: stored.refreshes.1,
            ..Self::default()
        };
        let fill = |counts: &mut [u32], stored: &[u32]| {
            counts.iter_mut().zip(stored).for_each(|(count, stored)| *count = *stored);
        };
        fill(&mut counts.answered, &stored.answered);
        fill(&mut counts.took, &stored.took);
        Some(counts)
    }

    fn add_refused(&mut self, code: Cow<'static, str>, more: u32) {
        match self.refused.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count = count.saturating_add(more),
            None => self.refused.push((code, more)),
        }
    }
}

fn class_index(status: u16) -> usize {
    let class = usize::from(status / 100);
    if (1..=5).contains(&class) { class - 1 } else { STATUS_CLASSES.len() - 1 }
}

fn without_zeros(counts: &[u32]) -> &[u32] {
    let length = counts.iter().rposition(|count| *count != 0).map_or(0, |last| last + 1);
    counts.get(..length).unwrap_or_default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(refreshes: &(u32, u32)) -> bool {
    *refreshes == (0, 0)
}

/// The classes of statuses. The last is for a caller that had gone before there was an answer.
pub const STATUS_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// The upper bounds of the latency histogram, in milliseconds.
pub const LATENCY_BOUNDS_MS: [f64; 16] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1000.0, 2500.0,
    10_000.0, 60_000.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> RequestCounts {
        let mut counts = RequestCounts::default();
        counts.count(200, None, Some(Duration::from_millis(3)));
        counts.count(404, None, Some(Duration::from_millis(30)));
        counts.count(0, None, None);
        counts.count(502, Some("CertificateInvalid"), None);
        counts.count_refresh(true);
        counts
    }

    #[test]
    fn counts_are_added_up() {
        let mut both = some();
        both.merge(&some());
        assert_eq!((both.sent(), both.refused_total(), both.refreshed), (6, 2, 2));
        assert_eq!((both.percentile(50), both.percentile(99)), (Some(5.0), Some(35.0)));
        assert_eq!(both.answered, [0, 2, 0, 2, 0, 2]);
        assert_eq!(RequestCounts::default().percentile(50), None);
    }

    #[test]
    fn counts_are_read_as_they_were_written() {
        let text = some().to_text();
        assert_eq!(
            text,
            r#"{"answered":[0,1,0,1,0,1],"refused":[["CertificateInvalid",1]],"took":[0,0,1,0,0,1],"refreshes":[1,0]}"#
        );
        assert_eq!(RequestCounts::of_text(&text), Some(some()));
        assert_eq!(RequestCounts::of_text("{}"), Some(RequestCounts::default()));
        assert_eq!(RequestCounts::of_text("x"), None);
    }
}
