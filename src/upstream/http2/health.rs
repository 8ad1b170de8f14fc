//! Finds conns whose peer is gone without a FIN. When nothing is received while requests wait, a
//! PING is sent. Until its answer other requests use other conns; without an answer the conn is
//! closed.

use std::time::{Duration, Instant};

use super::conn_facts::ConnFacts;

/// The state of the health check of one conn.
#[derive(Debug)]
pub(super) struct Health {
    /// The time of the first request since something was last received.
    unheard_since: Option<Instant>,
    /// The time of the unanswered PING.
    asked: Option<Instant>,
    /// The time of the last PING.
    last_asked: Option<Instant>,
    /// The length of silence before the next PING.
    silence: Duration,
}

/// The action that the state of a conn asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HealthAction {
    Nothing,
    SendPing,
    /// A PING is not answered yet, so new requests use other conns.
    Avoid,
    /// A PING was not answered in time.
    Close,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { unheard_since: None, asked: None, last_asked: None, silence: FIRST_SILENCE }
    }

    /// Notes that a request is sent. `heard` is the time at which something was last received.
    pub(super) fn note_request(&mut self, now: Instant, heard: Instant) {
        if self.unheard_since.is_none_or(|since| since <= heard) {
            self.unheard_since = Some(now);
        }
    }

    /// Decides the next action; called about once a second.
    pub(super) fn next_action(
        &mut self,
        now: Instant,
        streams: usize,
        facts: &ConnFacts,
    ) -> HealthAction {
        let (heard, passed) = (facts.last_received(), |since| now.saturating_duration_since(since));
        // 1. An unanswered PING decides alone.
        if let Some(asked) = self.asked {
            if heard <= asked {
                let late = passed(asked) >= PING_TIMEOUT;
                return if late { HealthAction::Close } else { HealthAction::Avoid };
            }
            self.asked = None;
        }
        // 2. Only frames other than PING reset the length of silence: some servers count PINGs for
        // as long as they send no other frame, and close the conn after too many.
        if self.last_asked.is_some_and(|asked| facts.last_active() > asked) {
            self.silence = FIRST_SILENCE;
        }
        // 3. Silence counts from the first unanswered request.
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

/// The length of silence before the first PING.
const FIRST_SILENCE: Duration = Duration::from_secs(2);
/// The factor by which the next silence is longer. gRPC servers close a conn after more than two
/// PINGs within five minutes in which they send nothing.
const SILENCE_FACTOR: u32 = 6;
/// The longest time for a peer to answer a PING, or to send anything else.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::instant;

    /// The actions of `seconds` seconds, with the second in which each came first.
    fn steps(
        health: &mut Health,
        facts: &ConnFacts,
        streams: usize,
        seconds: u64,
    ) -> Vec<(u64, HealthAction)> {
        let (begun, mut steps) = (instant(), Vec::new());
        for second in 0..seconds {
            let step = health.next_action(begun + Duration::from_secs(second), streams, facts);
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
        health.note_request(instant() + Duration::from_millis(1), facts.last_received());
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
        facts.mark_suspect();
        assert_eq!(health.next_action(instant(), 0, &facts), HealthAction::SendPing);
        assert_eq!(health.next_action(instant(), 0, &facts), HealthAction::Avoid);
    }
}
