//! Events, which say what operators did. They are a chain: the hash of each covers the one before.

use std::fmt;

use aws_lc_rs::digest::{Context as DigestContext, SHA256};

use super::named_enum::{named_enum, parsed_by_name};
use super::sealed::Mac;

named_enum! {
    /// A kind of event: a thing, and a word for what was done to it.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum EventKind {
        /// A new interception CA.
        CaRotate = "ca.rotate",
        /// A new OAuth client.
        ClientCreate = "client.create",
        /// An OAuth client was deleted, and its connections with it.
        ClientDelete = "client.delete",
        /// An OAuth client was changed.
        ClientUpdate = "client.update",
        /// A new connection.
        ConnectionCreate = "connection.create",
        /// A connection was deleted.
        ConnectionDelete = "connection.delete",
        /// A provider was asked for new tokens.
        ConnectionRefresh = "connection.refresh",
        /// Provider tokens were shown in clear.
        ConnectionReveal = "connection.reveal",
        /// A connection was changed.
        ConnectionUpdate = "connection.update",
        /// The provider has sent the browser back.
        FlowCallback = "flow.callback",
        /// A verification code was exchanged.
        FlowExchange = "flow.exchange",
        /// The browser was sent to the provider.
        FlowRedirect = "flow.redirect",
        /// A flow was begun.
        FlowStart = "flow.start",
        /// Everything was brought under the first master key.
        KeyRotate = "key.rotate",
        /// Somebody has signed in at the console.
        SessionSignIn = "session.sign_in",
        /// Somebody has signed out.
        SessionSignOut = "session.sign_out",
        /// A new caller token.
        TokenCreate = "token.create",
        /// A caller token was revoked.
        TokenRevoke = "token.revoke",
    }
}

parsed_by_name!(EventKind);

impl EventKind {
    /// The kinds that begin with these words, such as `connection`, by which events are also found.
    pub const GROUPS: [&'static str; 7] =
        ["ca", "client", "connection", "flow", "key", "session", "token"];
}

/// The hash of an event, which covers its number, its content and the hash of the one before.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct EventHash([u8; 32]);

impl EventHash {
    /// The hash before the first event.
    pub const START: Self = Self([0; 32]);

    /// The hash before an event that follows a break in the chain. No event has it, so that the
    /// break is found however much later it is looked for.
    pub const BREAK: Self = Self([0xff; 32]);

    /// The hash of the event that follows.
    #[must_use]
    pub fn next(self, number: i64, content: &str) -> Self {
        let mut digest = DigestContext::new(&SHA256);
        digest.update(b"keyferry event 1");
        digest.update(&number.to_be_bytes());
        digest.update(&self.0);
        digest.update(content.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.finish().as_ref());
        Self(bytes)
    }

    /// A hash that was stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash, to be stored.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// In hexadecimal digits.
impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventHash({self})")
    }
}

/// The ends of the chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChainEnds {
    /// The last event that was deleted for its age: its number, or 0, and its hash.
    pub cut: (i64, EventHash),
    /// The last event: its number, or 0, and its hash.
    pub last: (i64, EventHash),
}

impl ChainEnds {
    /// The ends of a chain without events.
    pub const EMPTY: Self = Self { cut: (0, EventHash::START), last: (0, EventHash::START) };
}

/// The claims that a MAC under the master key covers.
#[derive(Clone, Copy, Debug)]
pub enum EventClaims {
    /// Those of one event: its hash covers the rest.
    Event(EventHash),
    /// Those of the chain.
    Chain(ChainEnds),
}

/// The outcome of a look at a MAC.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MacOutcome {
    /// A holder of the master key has written it.
    Genuine,
    /// It does not verify.
    Forged,
    /// Its master key is not known here.
    KeyMissing,
}

/// Signs events by the master key, and checks what was signed.
pub trait EventSigner: fmt::Debug + Send + Sync {
    /// Signs by the first master key.
    fn sign_event(&self, claims: EventClaims) -> Mac;

    /// Checks a MAC.
    fn check_event(&self, claims: EventClaims, mac: &Mac) -> MacOutcome;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_covers_number_content_and_the_one_before() {
        let first = EventHash::START.next(1, "a");
        let others = [
            EventHash::START.next(2, "a"),
            EventHash::START.next(1, "b"),
            EventHash::BREAK.next(1, "a"),
            first.next(1, "a"),
        ];
        assert!(others.iter().all(|other| *other != first), "{others:?}");
        assert_eq!(first, EventHash::START.next(1, "a"));
    }

    #[test]
    fn each_kind_belongs_to_a_group() {
        for kind in EventKind::ALL {
            let group = kind.as_str().split('.').next().unwrap();
            assert!(EventKind::GROUPS.contains(&group), "{group}");
        }
    }
}
