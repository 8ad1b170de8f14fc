//! The classification of what a token endpoint says where it gives no tokens.
//!
//! **The rule.** Each answer without tokens has one remedy ([`Remedy`]), and what is not known to be
//! a death is none:
//!
//! 1. *retry*: no answer, or one that says nothing of the grant. The network, time-outs, 5xx, 429
//!    and other statuses of "not now", whatever their body says: during outages providers say
//!    `invalid_grant` to grants that live. What is no JSON object, or is cut. Codes and words by
//!    which a provider says that it is asked too often, or fails.
//! 2. *user*: the client's own `dead_grant_codes`.
//! 3. *operator*: the codes that say that the client is not known by its secret. They look the same
//!    for every connection of the client, and end none.
//! 4. *user*: the codes by which RFC 6749 and known providers say that a refresh token is dead, in
//!    any of the places where they put them; and, where a code can mean anything
//!    (`unauthorized_client`, `invalid_request`, `access_denied`, none at all), the sentences of
//!    known providers that say so.
//! 5. *operator*: every other refusal, and every endpoint that can't be used. The same refusal again
//!    and again, while the provider refreshes other connections of the client, is a death too
//!    ([`RefusalRow::means_dead`]).
//!
//! Codes are compared without regard to case. A provider's sentences are compared, and never kept.

use http::StatusCode;
use serde_json::{Map, Value};

use crate::model::named_enum;
use crate::model::oauth::refusal::{ProviderCode, RefusalRow, Remedy};
use crate::secret::Secret;

/// A token endpoint's refusal. None of the provider's words are kept but its code, for operators.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Denial {
    /// The status of the answer.
    pub status: u16,
    /// The remedy.
    pub remedy: Remedy,
    /// The error in the terms of RFC 6749; `None` where the answer names none.
    pub error: Option<ErrorCode>,
    /// The provider's own code, for operators alone.
    pub code: Option<ProviderCode>,
}

named_enum! {
    /// An error in the terms of RFC 6749 (§4.1.2.1, §5.2).
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum ErrorCode {
        /// `access_denied`
        AccessDenied = "access_denied",
        /// `invalid_client`
        InvalidClient = "invalid_client",
        /// `invalid_grant`, in whatever words.
        InvalidGrant = "invalid_grant",
        /// `invalid_request`
        InvalidRequest = "invalid_request",
        /// `invalid_scope`
        InvalidScope = "invalid_scope",
        /// `server_error`
        ServerError = "server_error",
        /// `temporarily_unavailable`
        TemporarilyUnavailable = "temporarily_unavailable",
        /// `unauthorized_client`
        UnauthorizedClient = "unauthorized_client",
        /// `unsupported_grant_type`
        UnsupportedGrantType = "unsupported_grant_type",
        /// `unsupported_response_type`
        UnsupportedResponseType = "unsupported_response_type",
        /// Anything else.
        Unknown = "an error of another name",
    }
}

impl Denial {
    /// The refusal that all of a row were.
    pub(super) fn of_row(row: RefusalRow) -> Self {
        let RefusalRow { status, code, .. } = row;
        let error = code.map(|code| ErrorCode::read(code.as_str()));
        Self { status, remedy: Remedy::Operator, error, code }
    }

    /// The refusal of a client that asks for itself: no user can do anything about it.
    #[must_use]
    pub(super) fn of_client_itself(self) -> Self {
        match self.remedy {
            Remedy::User => Self { remedy: Remedy::Operator, ..self },
            _ => self,
        }
    }

    /// The refusal without a code that repeats one of these secrets, or a part of one.
    #[must_use]
    pub(super) fn without(self, secrets: &[Option<&Secret>]) -> Self {
        let repeats = |code: ProviderCode| {
            let code = code.as_str().as_bytes();
            let holds = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|it| it == part);
            secrets.iter().flatten().map(|secret| secret.expose()).any(|secret| {
                let whole = !secret.is_empty() && holds(code, secret);
                whole || code.windows(MIN_REPEATED).any(|part| holds(secret, part))
            })
        };
        Self { code: self.code.filter(|code| !repeats(*code)), ..self }
    }

    /// The refusal as operators are told it: with its status and the provider's code.
    #[must_use]
    pub fn for_operators(self) -> String {
        let code = self.code.map(|code| format!(", code {code}")).unwrap_or_default();
        format!("{self} (status {}{code})", self.status)
    }
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.error {
            Some(error) => write!(f, "the provider said {error}"),
            None => write!(f, "the provider refused with status {}", self.status),
        }
    }
}

impl ErrorCode {
    /// Reads a code.
    fn read(text: &str) -> Self {
        Self::ALL.into_iter().find(|known| known.as_str() == text).unwrap_or(Self::Unknown)
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Classifies an answer that gives no tokens, by the rule above. Its status is neither 3xx nor 5xx.
pub(super) fn classify(
    status: StatusCode,
    answer: &Map<String, Value>,
    dead_grant_codes: &[Box<str>],
) -> Denial {
    let status = status.as_u16();
    let said = ErrorTexts::read(status, answer);
    let own: Vec<&str> = dead_grant_codes.iter().map(AsRef::as_ref).collect();
    // 1. The remedy, and the code that has decided it.
    let decided = [
        (Remedy::Retry, said.one_of(&NOT_NOW)),
        (Remedy::User, said.one_of(&own)),
        (Remedy::Operator, said.one_of(&CLIENT_UNKNOWN)),
        (Remedy::User, said.one_of(&GRANT_DEAD)),
    ];
    let decided = decided.into_iter().find_map(|(remedy, code)| Some((remedy, code?)));
    let remedy = match decided {
        _ if NOT_NOW_STATUSES.contains(&status) => Remedy::Retry,
        Some((remedy, _)) => remedy,
        None if said.has_sentence(&NOT_NOW_WORDS) => Remedy::Retry,
        None if said.has_sentence(&GRANT_DEAD_WORDS) => Remedy::User,
        None => Remedy::Operator,
    };
    // 2. Where none has, the first of all.
    let code = decided.map(|(_, code)| code).or_else(|| said.codes.first().map(String::as_str));
    let error = match (remedy, code) {
        (Remedy::User, _) => Some(ErrorCode::InvalidGrant),
        (_, code) => code.map(ErrorCode::read),
    };
    Denial { status, remedy, error, code: code.and_then(|code| said.code_for_operators(code)) }
}

/// Tells whether an answer says that it is a refusal, whatever its status.
pub(super) fn is_refusal(answer: &Map<String, Value>) -> bool {
    match answer.get("error") {
        Some(Value::String(code)) => !code.is_empty(),
        Some(Value::Object(_)) => true,
        _ => false,
    }
}

/// Tells whether an answer of success, in which there are no tokens, says that it is a refusal.
pub(super) fn is_quiet_refusal(answer: &Map<String, Value>) -> bool {
    let says_no = |name: &str| answer.get(name) == Some(&Value::Bool(false));
    let counts = |name: &str| answer.get(name).and_then(Value::as_i64).is_some_and(|it| it != 0);
    let has_errors = answer.get("errors").is_some_and(|list| list.get(0).is_some());
    says_no("ok") || says_no("success") || has_errors || counts("status") || counts("error")
}

/// Everything that an answer says in the places where providers put their errors.
struct ErrorTexts {
    /// Codes, in the order of their places.
    codes: Vec<String>,
    /// Sentences that are codes at some providers.
    phrases: Vec<String>,
    /// All sentences, in lower case and with spaces for underscores.
    words: String,
    /// Entra's number beside the code.
    number: Option<u64>,
}

impl ErrorTexts {
    fn read(status: u16, answer: &Map<String, Value>) -> Self {
        let error = answer.get("error").and_then(Value::as_object);
        let first = answer.get("errors").and_then(|list| list.get(0));
        let first_object = first.and_then(Value::as_object);
        let all = Some(answer);
        // 1. Codes. A number that repeats the status is none.
        let code = |value: &Value| match value {
            Value::String(code) if !code.is_empty() => Some(code.clone()),
            Value::Number(number) if number.as_u64() != Some(status.into()) => {
                Some(number.to_string())
            }
            _ => None,
        };
        let places = [
            (all, "error"),
            (error, "code"),
            (error, "type"),
            (error, "status"),
            (first_object, "code"),
            (first_object, "errorType"),
            (first_object, "type"),
            (all, "code"),
            (all, "error_code"),
            (all, "errorCode"),
            (all, "status"),
            (all, "error_subtype"),
            (all, "suberror"),
            (all, "type"),
            (all, "errorType"),
        ];
        let mut codes: Vec<_> =
            places.into_iter().filter_map(|(it, name)| code(it?.get(name)?)).collect();
        codes.extend(first.and_then(code));
        // Meta's numbers mean something beside this type alone.
        if let [number, kind, ..] = &*codes
            && kind == META
        {
            codes.insert(0, format!("{META}/{number}"));
        }
        // 2. Sentences.
        let places = [
            (all, "message"),
            (all, "reason"),
            (all, "error_description"),
            (all, "error_message"),
            (error, "message"),
            (first_object, "message"),
        ];
        let sentences = places.into_iter().filter_map(|(it, name)| it?.get(name)?.as_str());
        let phrases: Vec<String> =
            sentences.map(|text| text.chars().take(MAX_SENTENCE_LEN).collect()).collect();
        let words = phrases.join("\n").to_lowercase().replace('_', " ");
        let number = answer.get("error_codes").and_then(|list| list.get(0)?.as_u64());
        Self { codes, phrases, words, number }
    }

    /// The first code that is one of these. Some providers have theirs where others have sentences.
    fn one_of(&self, known: &[&str]) -> Option<&str> {
        let is_known = |code: &&str| known.iter().any(|one| code.eq_ignore_ascii_case(one));
        self.codes.iter().chain(&self.phrases).map(String::as_str).find(is_known)
    }

    fn has_sentence(&self, known: &[&str]) -> bool {
        known.iter().any(|sentence| self.words.contains(sentence))
    }

    /// The code as operators are shown it.
    fn code_for_operators(&self, code: &str) -> Option<ProviderCode> {
        let number = self.number.map(|number| format!("{code} AADSTS{number}"));
        number.and_then(|code| ProviderCode::parse(&code)).or_else(|| ProviderCode::parse(code))
    }
}

/// Statuses of "not now": a time-out, a lock, and HubSpot's "moving".
const NOT_NOW_STATUSES: [u16; 5] = [408, 423, 425, 429, 477];

/// Codes of "not now" (RFC 6749 §4.1.2.1, RFC 8628 §3.5; Slack, Salesforce, HubSpot, Meta).
const NOT_NOW: [&str; 15] = [
    "fatal_error",
    "internal_error",
    "OAuthException/1",
    "OAuthException/17",
    "OAuthException/2",
    "OAuthException/32",
    "OAuthException/4",
    "rate_limit",
    "rate_limit_exceeded",
    "rate_limited",
    "ratelimited",
    "server_error",
    "slow_down",
    "temporarily_unavailable",
    "too_many_requests",
];

/// Sentences of "not now" (Zoho).
const NOT_NOW_WORDS: [&str; 2] = ["too many requests", "try again after some time"];

/// Codes of a client that is not known by its id and secret (RFC 6749 §5.2; GitHub, HubSpot,
/// Salesforce, Slack).
const CLIENT_UNKNOWN: [&str; 7] = [
    "bad_client_id",
    "bad_client_secret",
    "incorrect_client_credentials",
    "invalid_client",
    "invalid_client_id",
    "invalid_client_secret",
    "token_rotation_not_enabled",
];

/// Codes of a grant that is dead (RFC 6749 §5.2, `OpenID` Connect; GitHub, HubSpot, Meta, Monzo,
/// Salesforce, Slack, Zoho).
const GRANT_DEAD: [&str; 14] = [
    "bad_hub",
    "bad_refresh_token",
    "bad_verification_code",
    "consent_required",
    "inactive_user",
    "interaction_required",
    "invalid_code",
    "invalid_grant",
    "invalid_refresh_token",
    "login_required",
    "OAuthException/190",
    "token_expired",
    "token_revoked",
    "unauthorized.bad_refresh_token",
];

/// Sentences of a grant that is dead, beside a code that can mean anything (Atlassian, Dwolla,
/// Gitea, Square, Twitch, X, Zoom).
const GRANT_DEAD_WORDS: [&str; 9] = [
    "invalid refresh token",
    "invalid token!",
    "refresh token expired",
    "refresh token has expired",
    "refresh token is expired",
    "refresh token is invalid",
    "refresh token revoked",
    "unable to parse refresh token",
    "value passed for the token was invalid",
];

/// The type of Meta's errors.
const META: &str = "OAuthException";

/// The characters of a sentence that are looked at.
const MAX_SENTENCE_LEN: usize = 512;

/// The shortest part of a secret, in bytes, that counts as one that is repeated.
const MIN_REPEATED: usize = 8;

#[cfg(test)]
mod tests;
