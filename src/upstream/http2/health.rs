//! Finds a conn whose peer has gone without a word: a PING is sent when nothing is received while
//! requests wait, other requests go elsewhere until it is answered, and a conn on which it is not
//! answered is closed.

use std::time::{Duration, Instant};

use super::conn_facts::ConnFacts;

/// What is known of a peer's silence.
#[derive(Debug)]
pub(super) struct Health {
    /// The time when the first request was sent since something was last received.
    unheard_since: Option<Instant>,
    /// The time when the PING was sent that has not been answered.
    asked: Option<Instant>,
    /// The time when any PING was last sent.
    last_asked: Option<Instant>,
    /// The time that a silence lasts before the next PING.
    silence: Duration,
}

/// The next step with a conn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HealthAction {
    Nothing,
    SendPing,
    /// A PING is not answered yet: other requests go elsewhere.
    Avoid,
    /// A PING was not answered in time.
    Close,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { unheard_since: None, asked: None, last_asked: None, silence: FIRST_SILENCE }
    }

    /// A request is being sent.
    pub(super) fn request(&mut self, now: Instant, heard: Instant) {
        if self.unheard_since.is_none_or(|since| since <= heard) {
            self.unheard_since = Some(now);
        }
    }

    /// Looks at a conn that has so many streams; called about once a second.
    pub(super) fn look(&mut self, now: Instant, streams: usize, facts: &ConnFacts) -> HealthAction {
        let (heard, passed) = (facts.heard(), |since| now.saturating_duration_since(since));
        // 1. A PING that was sent comes first.
        if let Some(asked) = self.asked {
            if heard <= asked {
                let late = passed(asked) >= PING_TIMEOUT;
                return if late { HealthAction::Close } else { HealthAction::Avoid };
            }
            self.asked = None;
        }
        // 2. Only what says more than a PING begins the series of silences anew: some servers
        // count PINGs against a peer for as long as they have nothing else to say.
        if self.last_asked.is_some_and(|asked| facts.busy() > asked) {
            self.silence = FIRST_SILENCE;
        }
        // 3. The silence runs from the first request that it covers.
        let since = match self.unheard_since {
            Some(since) if since > heard => Some(since),
            _ => (streams > 0).then_some(heard),
        };
        if facts.is_suspect() || since.is_some_and(|since| passed(since) >= self.silence) {
            (self.asked, self.last_asked) = (Some(now), Some(now));
            self.silence = self.silence.saturating_mul(SILENCE_FACTOR);
            return HealthAction::SendPing;
        }
        HealthAction::Nothing
    }
}

/// The time that nothing is received, while requests wait, before the first PING.
const FIRST_SILENCE: Duration = Duration::from_secs(2);
/// How many times longer each further silence is: gRPC servers close a conn on which more than two
/// PINGs come within five minutes in which they send nothing.
const SILENCE_FACTOR: u32 = 6;
/// The time that a peer may take to answer a PING, or to send anything else.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::instant;

    /// The steps taken in so many seconds, with the second in which each was taken first.
    fn steps(
        health: &mut Health,
        facts: &ConnFacts,
        streams: usize,
        seconds: u64,
    ) -> Vec<(u64, HealthAction)> {
        let (begun, mut steps) = (instant(), Vec::new());
        for second in 0..seconds {
            let step = health.look(begun + Duration::from_secs(second), streams, facts);
            if steps.last().is_none_or(|(_, last)| *last != step) {
                steps.push((second, step));
            }
        }
        steps
    }

    #[test]
    fn a_conn_that_is_silent_while_requests_wait_is_asked_avoided_and_closed() {
        let expected = [
            (0, HealthAction::Nothing),
            (2, HealthAction::SendPing),
            (3, HealthAction::Avoid),
            (12, HealthAction::Close),
        ];
        let (facts, mut health) = (ConnFacts::new(Arc::default()), Health::new());
        assert_eq!(steps(&mut health, &facts, 1, 13), expected);
        let mut health = Health::new();
        health.request(instant() + Duration::from_millis(1), facts.heard());
        let found = steps(&mut health, &facts, 0, 14);
        let kinds: Vec<_> = found.iter().map(|(_, step)| *step).collect();
        assert_eq!(kinds, expected.map(|(_, step)| step), "its request was given up");
    }

    #[test]
    fn a_conn_without_requests_is_left_alone() {
        let (facts, mut health) = (ConnFacts::new(Arc::default()), Health::new());
        assert_eq!(steps(&mut health, &facts, 0, 600), [(0, HealthAction::Nothing)]);
    }

    #[test]
    fn a_suspect_is_asked_at_once() {
        let (facts, mut health) = (ConnFacts::new(Arc::default()), Health::new());
        facts.suspect();
        assert_eq!(health.look(instant(), 0, &facts), HealthAction::SendPing);
        assert_eq!(health.look(instant(), 0, &facts), HealthAction::Avoid);
    }
}
