//! The ways out of a failure: who must act, and what they do, by the code of a refusal or by the
//! status of an origin's answer.

mod refusals;

use FailureSubject::{Caller, Connection};

use self::refusals::REFUSALS;
use super::named_enum;
use super::oauth::refusal::Remedy;

named_enum! {
    /// Those who can end a failure.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum RemedyActor {
        /// The program that sends the request.
        Caller = "caller",
        /// The operator of the proxy.
        Operator = "operator",
        /// Either of these.
        Either = "caller_or_operator",
        /// The operator of the API.
        Api = "api",
        /// A user with an account at the provider of tokens.
        User = "user",
        /// Nobody: it is tried again by itself.
        Retry = "retry",
    }
}

/// The one of whom a failure says that something is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailureSubject {
    /// The connection: the next request would fail in the same way.
    Connection,
    /// The caller, who has asked for what can't be had.
    Caller,
    /// This server.
    Server,
}

/// A way out of a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FailureRemedy {
    /// A few words for what went wrong, to be read behind "mostly".
    pub reason: &'static str,
    /// The one who must act.
    pub who: RemedyActor,
    /// A sentence that says what they do.
    pub advice: &'static str,
    /// The one of whom it says that something is wrong.
    pub subject: FailureSubject,
}

impl FailureRemedy {
    /// The way out of a refusal with this code, or of this kind ([`Self::kind`]); `None` for one
    /// that is not known here.
    pub fn of_refusal(kind: &str) -> Option<Self> {
        let found = REFUSALS.iter().find(|(known, ..)| *known == kind);
        found.map(|(_, subject, who, reason, advice)| Self {
            reason,
            who: *who,
            advice,
            subject: *subject,
        })
    }

    /// The kind of a refusal with this code where this one must act: the code itself, unless the
    /// code does not tell who must.
    pub fn kind(code: &'static str, who: Option<RemedyActor>) -> &'static str {
        let is_kind = |kind: &str| code_of(kind) == code && kind != code;
        let other = REFUSALS.iter().find(|row| Some(row.2) == who && is_kind(row.0));
        other.map_or(code, |row| row.0)
    }

    /// The kind of this name, if it is one.
    pub fn known_kind(name: &str) -> Option<&'static str> {
        REFUSALS.iter().map(|(kind, ..)| *kind).find(|kind| *kind == name)
    }

    /// The codes of refusals.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        REFUSALS.iter().map(|(code, ..)| *code).filter(|kind| code_of(kind) == *kind)
    }

    /// The way out of an answer of the origin with this status; `None` for one that is no error.
    pub fn of_status(status: u16) -> Option<Self> {
        let (subject, who, reason, advice) = match status {
            401 => (
                Connection,
                RemedyActor::Operator,
                "the API refuses the key",
                "Replace the secret, or authorize again: the API says that it is not good.",
            ),
            403 => (
                Connection,
                RemedyActor::Operator,
                "the API forbids it",
                "Have the account's rights checked at the API, or replace the secret.",
            ),
            407 => (
                Connection,
                RemedyActor::Operator,
                "a proxy before the API wants a login",
                "See what stands between Keyferry and the API.",
            ),
            429 => (
                Connection,
                RemedyActor::Caller,
                "the API limits the rate",
                "Send fewer requests, or have the API's limit raised.",
            ),
            500.. => (
                Connection,
                RemedyActor::Api,
                "the API fails",
                "Wait, or ask the operator of the API: its server answers with an error.",
            ),
            400..500 => (
                Caller,
                RemedyActor::Caller,
                "the API refuses the request",
                "Read the API's answer, and change the request.",
            ),
            _ => return None,
        };
        Some(Self { reason, who, advice, subject })
    }
}

/// The code of a kind of refusal.
pub fn code_of(kind: &str) -> &str {
    kind.split_once(' ').map_or(kind, |(code, _)| code)
}

impl From<Remedy> for RemedyActor {
    fn from(remedy: Remedy) -> Self {
        match remedy {
            Remedy::Retry => Self::Retry,
            Remedy::Operator => Self::Operator,
            Remedy::User => Self::User,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_an_origin_has_a_way_out() {
        for status in 0..700 {
            assert_eq!(FailureRemedy::of_status(status).is_some(), status >= 400, "{status}");
        }
        assert_eq!(FailureRemedy::of_status(404).unwrap().subject, Caller);
        assert_eq!(FailureRemedy::of_status(401).unwrap().who, RemedyActor::Operator);
    }

    #[test]
    fn a_kind_of_refusal_is_a_code_and_the_one_who_must_act() {
        let code = "TokenEndpointFailed";
        for (who, kind) in [
            (None, code),
            (Some(RemedyActor::Operator), code),
            (Some(RemedyActor::Retry), "TokenEndpointFailed retry"),
        ] {
            assert_eq!(FailureRemedy::kind(code, who), kind);
            assert_eq!(code_of(kind), code);
        }
        assert_eq!(FailureRemedy::kind("RateLimited", Some(RemedyActor::Retry)), "RateLimited");
        for (kind, _, who, ..) in REFUSALS {
            let named = kind.split_once(' ').map(|(_, name)| name);
            assert!(named.is_none_or(|name| name == who.as_str()), "{kind}");
        }
    }

    /// A failure that only a caller can end says nothing of the connection.
    #[test]
    fn what_the_caller_must_change_is_no_failure_of_the_connection() {
        for (kind, subject, who, ..) in REFUSALS {
            let is_callers = who == RemedyActor::Caller;
            assert!(!is_callers || subject != Connection, "{kind}");
        }
    }

    #[test]
    fn a_way_out_is_a_sentence() {
        for (code, _, _, reason, advice) in REFUSALS {
            assert!(advice.ends_with('.') && !reason.ends_with('.'), "{code}");
        }
    }
}
