//! Sessions at the console: who has signed in, and for how long that counts.

use std::fmt;

use aws_lc_rs::digest::{Context as DigestContext, SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::sealed::Mac;
use super::token::TokenDigest;

/// The digest of the cookie that shows a session. The cookie itself is never stored.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct SessionDigest([u8; 32]);

/// A person whom an OpenID provider has identified.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Person {
    /// The issuer identifier of the provider.
    pub issuer: Box<str>,
    /// The client by which the person was identified.
    pub client_id: Box<str>,
    /// The provider's identifier of the person, which it gives to nobody else.
    pub subject: Box<str>,
    /// The email address, where the provider vouches for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Box<str>>,
    /// The groups that the configuration knew when the session began.
    pub groups: Vec<Box<str>>,
}

/// The one who has signed in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SessionHolder {
    /// The holder of a caller token.
    Token(TokenDigest),
    /// A person.
    Person(Person),
}

/// The stored record of a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionRecord {
    /// The digest of its cookie.
    pub digest: SessionDigest,
    /// Its holder, as [`SessionHolder::encode`] writes it.
    pub holder: Box<str>,
    /// The time at which it began, in whole microseconds.
    pub begun_at: Timestamp,
    /// The time of the last page that was asked for, to the minute or so.
    pub seen_at: Timestamp,
    /// The proof that a holder of the master key has written the record.
    pub mac: Mac,
}

/// The claims of a session's record that its MAC covers: all.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the record has the same members")]
pub struct SessionClaims<'a> {
    pub digest: SessionDigest,
    pub holder: &'a str,
    pub begun_at: Timestamp,
    pub seen_at: Timestamp,
}

/// A holder as it is stored.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum StoredHolder {
    Token(String),
    Person(Person),
}

impl SessionDigest {
    /// The digest of a cookie's value.
    pub fn of(cookie: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, cookie.as_bytes()).as_ref());
        Self(bytes)
    }

    /// A digest that was stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest, to be stored.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Person {
    /// The name by which events and pages call the person: the email address, or the provider's
    /// identifier where there is none.
    pub fn name(&self) -> &str {
        self.email.as_deref().unwrap_or(&self.subject)
    }
}

impl SessionHolder {
    /// The digest by which the holder's sessions and requests are counted.
    pub fn principal(&self) -> TokenDigest {
        match self {
            Self::Token(token) => *token,
            Self::Person(Person { issuer, subject, .. }) => {
                let mut context = DigestContext::new(&SHA256);
                context.update(b"keyferry person");
                for part in [issuer, subject] {
                    context.update(&(part.len() as u64).to_be_bytes());
                    context.update(part.as_bytes());
                }
                let mut bytes = [0; 32];
                bytes.copy_from_slice(context.finish().as_ref());
                TokenDigest::from_bytes(bytes)
            }
        }
    }

    /// The holder as text, in JSON.
    pub fn encode(&self) -> Box<str> {
        let stored = match self {
            Self::Token(token) => StoredHolder::Token(URL_SAFE_NO_PAD.encode(token.as_bytes())),
            Self::Person(person) => StoredHolder::Person(person.clone()),
        };
        serde_json::to_string(&stored).unwrap_or_default().into()
    }

    /// Reads what [`Self::encode`] has written; `None` where it is anything else.
    pub fn decode(text: &str) -> Option<Self> {
        match serde_json::from_str(text).ok()? {
            StoredHolder::Token(digest) => {
                let bytes = URL_SAFE_NO_PAD.decode(digest).ok()?;
                Some(Self::Token(TokenDigest::from_bytes(bytes.try_into().ok()?)))
            }
            StoredHolder::Person(person) => Some(Self::Person(person)),
        }
    }
}

impl SessionRecord {
    /// The claims that the MAC covers.
    pub fn claims(&self) -> SessionClaims<'_> {
        let Self { digest, holder, begun_at, seen_at, .. } = self;
        SessionClaims { digest: *digest, holder, begun_at: *begun_at, seen_at: *seen_at }
    }
}

/// Tells whether a session that began and was last seen then still counts at `now`.
pub fn session_lasts(begun_at: Timestamp, seen_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(begun_at) < MAX_SESSION_AGE
        && now.duration_since(seen_at) < SESSION_IDLE_TIMEOUT
}

/// The longest life of a session: a working day.
pub const MAX_SESSION_AGE: SignedDuration = SignedDuration::from_hours(8);

/// The longest time without a page that is asked for.
pub const SESSION_IDLE_TIMEOUT: SignedDuration = SignedDuration::from_mins(30);

impl fmt::Debug for SessionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(issuer: &str, subject: &str) -> SessionHolder {
        SessionHolder::Person(Person {
            issuer: issuer.into(),
            client_id: "keyferry".into(),
            subject: subject.into(),
            email: Some("ada@example.com".into()),
            groups: vec!["operators".into()],
        })
    }

    #[test]
    fn a_holder_is_read_as_it_was_written() {
        let token = SessionHolder::Token(TokenDigest::from_bytes([7; 32]));
        for holder in [token, person("https://id.example.com", "1")] {
            assert_eq!(SessionHolder::decode(&holder.encode()).as_ref(), Some(&holder));
        }
        for text in ["", "{}", "{\"token\":\"AA\"}", "{\"person\":{\"issuer\":\"x\"}}", "null"] {
            assert_eq!(SessionHolder::decode(text), None, "{text}");
        }
    }

    #[test]
    fn people_are_told_apart_by_issuer_and_subject_together() {
        let principals = [
            person("https://id.example.com", "1").principal(),
            person("https://id.example.com", "2").principal(),
            person("https://id.example.com/1", "").principal(),
            person("https://id2.example.com", "1").principal(),
        ];
        for (index, one) in principals.iter().enumerate() {
            assert!(principals.iter().skip(index + 1).all(|other| other != one));
        }
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_after_a_day_of_work() {
        let begun = Timestamp::UNIX_EPOCH;
        let minutes = |count| begun + SignedDuration::from_mins(count);
        assert!(session_lasts(begun, begun, minutes(29)));
        assert!(!session_lasts(begun, begun, minutes(30)));
        assert!(session_lasts(begun, minutes(460), minutes(479)));
        assert!(!session_lasts(begun, minutes(479), minutes(480)));
    }
}
