//! A token endpoint's response (RFC 6749 §5). A stranger's bytes: all of it is checked, and none of
//! its words are repeated to anybody.

use http::StatusCode;
use jiff::fmt::rfc2822;
use jiff::{Timestamp, civil, tz};
use serde_json::{Map, Value};

use super::failure::TokenFailure;
use super::refusal::{classify, is_quiet_refusal, is_refusal};
use crate::model::field::check_token;
use crate::model::oauth::profile::{JsonPointer, Profile};
use crate::secret::Secret;

/// Tokens, as a response gives them.
#[derive(Clone, Debug)]
pub struct GrantedTokens {
    /// The access token, which a header field can carry.
    pub access_token: Secret,
    /// The refresh token, if there is one.
    pub refresh_token: Option<Secret>,
    /// The type of the access token, as it is called; empty where nobody says.
    pub token_type: Box<str>,
    /// The scope, if one is named: at most 255 characters.
    pub scope: Option<Box<str>>,
    /// The lifetime of the access token in seconds, if that is said.
    pub expires_in: Option<i64>,
    /// The lifetime of the refresh token in seconds, if that is said.
    pub refresh_token_expires_in: Option<i64>,
}

/// The shape of an answer, as the client's profile has it.
#[derive(Clone, Copy, Debug)]
pub struct AnswerShape<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// The time of the request, from which lifetimes count.
    pub asked_at: Timestamp,
    /// Tells whether it answers a refresh. Some providers have the tokens of a refresh in another
    /// place than the first ones, where RFC 6749 has them.
    pub is_refresh: bool,
}

/// Reads an answer of this shape. Some providers say an error with 200.
///
/// # Errors
/// [`TokenFailure`] says why there are no tokens.
pub fn read(
    status: StatusCode,
    body: &[u8],
    shape: &AnswerShape<'_>,
) -> Result<GrantedTokens, TokenFailure> {
    // 1. Where the provider has failed, or leads elsewhere, what it says beside that does not count.
    if status.is_server_error() {
        return Err(TokenFailure::of_server_error(status));
    }
    if status.is_redirection() {
        return Err(TokenFailure::Unfit("it redirects, which is not followed"));
    }
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    let answer = answer.as_ref().and_then(|answer| Some((answer, answer.as_object()?)));
    let (answer, members) = match answer {
        Some(answer) => answer,
        None if status.is_success() => return Err(TokenFailure::Unanswered(NOT_JSON)),
        None => return Err(TokenFailure::Unreadable(status.as_u16())),
    };
    // 2. A refusal.
    if wants_proofs(members) {
        return Err(TokenFailure::Unfit(DPOP));
    }
    let codes = &shape.profile.dead_grant_codes;
    let denial = || TokenFailure::Denied(classify(status, members, codes));
    if !status.is_success() || is_refusal(members) {
        return Err(denial());
    }
    // 3. Tokens. Where a refresh token can't be kept, the one that it replaces would be taken for
    // good.
    match shape.granted(answer) {
        Some(granted) if granted.token_type.eq_ignore_ascii_case("DPoP") => {
            Err(TokenFailure::Unusable(DPOP))
        }
        Some(granted) => Ok(granted),
        None if is_quiet_refusal(members) => Err(denial()),
        None => Err(TokenFailure::Unanswered(NO_TOKEN)),
    }
}

impl AnswerShape<'_> {
    fn granted(&self, answer: &Value) -> Option<GrantedTokens> {
        // 1. The tokens, which can be kept and sent.
        let places = TokenPlaces::of(self, answer);
        let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str);
        let token = text(places.access_token);
        let token = token.filter(|token| check_token(token.as_bytes()).is_ok())?;
        let refresh_token = text(places.refresh_token).filter(|token| !token.is_empty());
        if refresh_token.is_some_and(|token| token.len() > MAX_REFRESH_TOKEN_LEN) {
            return None;
        }
        // 2. The words beside them.
        let token_type = beside(answer, places.access_token, "token_type").and_then(Value::as_str);
        let scope = beside(answer, places.access_token, "scope").and_then(scope);
        let expires_in = answer.pointer(places.expires_in).and_then(|value| self.lifetime(value));
        let mut refresh_lifetimes = REFRESH_LIFETIMES
            .iter()
            .filter_map(|name| beside(answer, places.refresh_token, name).and_then(seconds));
        Some(GrantedTokens {
            access_token: Secret::new(token),
            refresh_token: refresh_token.map(Secret::new),
            token_type: cut(token_type.unwrap_or_default(), 64),
            scope: scope.map(|scope| cut(&scope, 255)),
            expires_in: expires_in.or_else(|| self.default_lifetime()),
            refresh_token_expires_in: refresh_lifetimes.next(),
        })
    }

    /// The lifetime that a value stands for. Where the profile names its place, it may be the end.
    fn lifetime(&self, value: &Value) -> Option<i64> {
        let is_end_allowed = self.profile.expires_in_path.is_some();
        let end = is_end_allowed.then(|| seconds_until_end(value, self.asked_at)).flatten();
        end.unwrap_or_else(|| seconds(value))
    }

    fn default_lifetime(&self) -> Option<i64> {
        let length = self.profile.default_lifetime?.length();
        i64::try_from(length.as_secs()).ok()
    }
}

/// The JSON Pointers to the tokens of an answer.
#[derive(Clone, Copy)]
struct TokenPlaces<'a> {
    access_token: &'a str,
    refresh_token: &'a str,
    expires_in: &'a str,
}

impl<'a> TokenPlaces<'a> {
    fn of(shape: &AnswerShape<'a>, answer: &Value) -> Self {
        let place = |path: &'a Option<JsonPointer>, default| {
            path.as_ref().map_or(default, JsonPointer::as_str)
        };
        let profile = shape.profile;
        let wanted = Self {
            access_token: place(&profile.token_path, DEFAULT_PLACES.access_token),
            refresh_token: place(&profile.refresh_token_path, DEFAULT_PLACES.refresh_token),
            expires_in: place(&profile.expires_in_path, DEFAULT_PLACES.expires_in),
        };
        let is_elsewhere = shape.is_refresh && answer.pointer(wanted.access_token).is_none();
        if is_elsewhere { DEFAULT_PLACES } else { wanted }
    }
}

/// The member of this name beside the one that is pointed at, or at the top.
fn beside<'a>(answer: &'a Value, pointer: &str, name: &str) -> Option<&'a Value> {
    let parent = pointer.rsplit_once('/').and_then(|(parent, _)| answer.pointer(parent));
    parent.and_then(|parent| parent.get(name)).or_else(|| answer.get(name))
}

/// Tells whether the provider refuses for want of a proof of possession (RFC 9449 §5, §8).
fn wants_proofs(answer: &Map<String, Value>) -> bool {
    let error = answer.get("error").and_then(Value::as_str);
    error.is_some_and(|error| ["use_dpop_nonce", "invalid_dpop_proof"].contains(&error))
}

/// A text, or a list of texts, which some providers make of it.
fn scope(value: &Value) -> Option<String> {
    match value {
        Value::String(scope) => Some(scope.clone()),
        Value::Array(scopes) => {
            let scopes: Option<Vec<_>> = scopes.iter().map(Value::as_str).collect();
            scopes.map(|scopes| scopes.join(" "))
        }
        _ => None,
    }
}

/// A number, or a text that is one. Nothing that has ended already, or never would, is said so.
fn seconds(value: &Value) -> Option<i64> {
    whole_seconds(number(value)?)
}

/// The seconds until an end, where a value is one and no lifetime: a number of seconds or
/// milliseconds since 1970, or a date. Inner `None` of an end that has passed.
#[expect(clippy::option_option, reason = "no end is said, or one that has passed")]
fn seconds_until_end(value: &Value, asked_at: Timestamp) -> Option<Option<i64>> {
    #[expect(clippy::cast_possible_truncation, reason = "out of range, it is no timestamp")]
    let end = match number(value) {
        Some(number) if number < MIN_END_SECONDS => return None,
        Some(number) if number < MIN_END_MILLISECONDS => Timestamp::from_second(number as i64),
        Some(number) => Timestamp::from_millisecond(number as i64),
        None => return Some(whole_seconds_until(date(value.as_str()?.trim())?, asked_at)),
    };
    Some(whole_seconds_until(end.ok()?, asked_at))
}

fn whole_seconds_until(end: Timestamp, asked_at: Timestamp) -> Option<i64> {
    whole_seconds(end.duration_since(asked_at).as_secs_f64())
}

/// A date with a time (RFC 3339, or RFC 9110 §5.6.7); without an offset it is in UTC.
fn date(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    if let Ok(time) = text.parse::<civil::DateTime>() {
        return time.to_zoned(tz::TimeZone::UTC).ok().map(|time| time.timestamp());
    }
    rfc2822::parse(text).ok().map(|time| time.timestamp())
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn whole_seconds(seconds: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "between one and ten years")]
    let whole = seconds.clamp(0.0, MAX_LIFETIME_SECONDS) as i64;
    (whole > 0).then_some(whole)
}

/// Cuts a text off after its first `most` characters.
fn cut(text: &str, most: usize) -> Box<str> {
    text.chars().take(most).collect()
}

const NOT_JSON: &str = "it said that all is well, and gave no JSON object";

const NO_TOKEN: &str = "it said that all is well, and gave no token that can be kept and sent";

const DPOP: &str = "it binds tokens to a key (DPoP), which is not supported: turn that off for \
                    this client at the provider";

/// The places of RFC 6749 §5.1.
const DEFAULT_PLACES: TokenPlaces<'static> = TokenPlaces {
    access_token: "/access_token",
    refresh_token: "/refresh_token",
    expires_in: "/expires_in",
};

/// The names under which providers say the lifetime of a refresh token.
const REFRESH_LIFETIMES: [&str; 3] =
    ["refresh_token_expires_in", "refresh_expires_in", "x_refresh_token_expires_in"];

/// A number that is as large is no lifetime, but an end in seconds since 1970: of 2001 or later.
const MIN_END_SECONDS: f64 = 1e9;

/// A number that is as large is an end in milliseconds since 1970: of 1973 or later.
const MIN_END_MILLISECONDS: f64 = 1e11;

/// Ten years, in seconds.
const MAX_LIFETIME_SECONDS: f64 = 315_360_000.0;

const MAX_REFRESH_TOKEN_LEN: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::oauth::refusal::Remedy;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(status: StatusCode, body: &[u8]) -> Result<GrantedTokens, TokenFailure> {
        let profile = &Profile::default();
        let shape = AnswerShape { profile, asked_at: Timestamp::UNIX_EPOCH, is_refresh: false };
        super::read(status, body, &shape)
    }

    /// An answer to a client of this profile, asked on 2026-11-30 at 00:00.
    fn read_by(
        profile: &Value,
        is_refresh: bool,
        body: &Value,
    ) -> Result<GrantedTokens, TokenFailure> {
        let profile = &Profile::decode(&profile.to_string()).unwrap();
        let asked_at = "2026-11-30T00:00:00Z".parse().unwrap();
        let shape = AnswerShape { profile, asked_at, is_refresh };
        super::read(StatusCode::OK, body.to_string().as_bytes(), &shape)
    }

    fn granted(body: &str) -> (String, Option<String>, String, Option<String>, Option<i64>) {
        let GrantedTokens { access_token, refresh_token, token_type, scope, expires_in, .. } =
            read(StatusCode::OK, body.as_bytes()).unwrap();
        let text = |secret: &Secret| String::from_utf8(secret.expose().to_vec()).unwrap();
        let refresh_token = refresh_token.as_ref().map(text);
        let scope = scope.map(Into::into);
        (text(&access_token), refresh_token, token_type.into(), scope, expires_in)
    }

    #[test]
    fn answers_of_real_providers_are_read() {
        let full = r#"{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"read write","x":{}}"#;
        assert_eq!(
            granted(full),
            ("a".into(), Some("r".into()), "Bearer".into(), Some("read write".into()), Some(3600))
        );
        for (body, expires_in) in [
            (r#"{"access_token":"a","expires_in":"3600"}"#, Some(3600)),
            (r#"{"access_token":"a","expires_in":3599.9}"#, Some(3599)),
            (r#"{"access_token":"a","expires_in":0}"#, None),
            (r#"{"access_token":"a","expires_in":-5}"#, None),
            (r#"{"access_token":"a","expires_in":"soon"}"#, None),
            (r#"{"access_token":"a","expires_in":null}"#, None),
            (r#"{"access_token":"a","expires_in":1e300}"#, Some(315_360_000)),
            (r#"{"access_token":"a"}"#, None),
        ] {
            assert_eq!(granted(body).4, expires_in, "{body}");
        }
        let odd = r#"{"access_token":"a","token_type":"bot","refresh_token":"","scope":["r","w"],"error":""}"#;
        assert_eq!(granted(odd), ("a".into(), None, "bot".into(), Some("r w".into()), None));
        let long = format!(r#"{{"access_token":"a","scope":"{}"}}"#, "s".repeat(400));
        assert_eq!(granted(&long).3.unwrap().len(), 255);
    }

    #[test]
    fn tokens_are_read_where_the_profile_has_them() {
        let slack = json!({
            "token_path": "/authed_user/access_token",
            "refresh_token_path": "/authed_user/refresh_token",
            "expires_in_path": "/authed_user/expires_in",
        });
        let first = json!({
            "access_token": "bot", "token_type": "bot", "scope": "chat:write", "expires_in": 1,
            "authed_user": {
                "access_token": "user", "token_type": "user", "scope": "search:read",
                "refresh_token": "r", "expires_in": 43_200, "refresh_token_expires_in": 7,
            },
        });
        let granted = read_by(&slack, false, &first).unwrap();
        let said = (granted.access_token.expose(), &*granted.token_type, granted.scope.as_deref());
        assert_eq!(said, (&b"user"[..], "user", Some("search:read")));
        assert_eq!((granted.expires_in, granted.refresh_token_expires_in), (Some(43_200), Some(7)));
        assert_eq!(granted.refresh_token.unwrap().expose(), b"r");
        // A refresh's are where RFC 6749 has them; the first ones never are.
        let later = json!({"access_token": "user2", "refresh_token": "r2", "expires_in": 43_200});
        let granted = read_by(&slack, true, &later).unwrap();
        assert_eq!(granted.access_token.expose(), b"user2");
        assert_eq!(granted.refresh_token.unwrap().expose(), b"r2");
        assert_eq!(read_by(&slack, false, &later).unwrap_err(), TokenFailure::Unanswered(NO_TOKEN));
    }

    #[test]
    fn an_end_is_read_as_a_time_of_day_where_the_profile_names_its_place() {
        let profile = json!({"expires_in_path": "/expiresAt", "default_lifetime": "8h"});
        let day = Some(86_400);
        for (value, seconds) in [
            (json!(86_400), day),
            (json!("86400"), day),
            (json!(1_796_083_200), day),
            (json!("1796083200"), day),
            (json!(1_796_083_200_000_i64), day),
            (json!("2026-12-01T00:00:00.500Z"), day),
            (json!("2026-12-01T01:00:00+01:00"), day),
            (json!("2026-12-01 00:00:00"), day),
            (json!("Tue, 01 Dec 2026 00:00:00 GMT"), day),
            // What has passed, or is no time, has the default.
            (json!("2026-11-29T00:00:00Z"), Some(28_800)),
            (json!(1_700_000_000), Some(28_800)),
            (json!("soon"), Some(28_800)),
            (Value::Null, Some(28_800)),
        ] {
            let body = json!({"access_token": "a", "expires_in": 5, "expiresAt": value});
            let granted = read_by(&profile, false, &body).unwrap();
            assert_eq!(granted.expires_in, seconds, "{value}");
        }
    }

    #[test]
    fn tokens_that_are_bound_to_a_key_are_refused() {
        // Tokens have come, so that what was shown for them may be spent.
        let (unfit, unusable) = (TokenFailure::Unfit(DPOP), TokenFailure::Unusable(DPOP));
        for (status, body, failure) in [
            (StatusCode::OK, r#"{"access_token":"a","token_type":"DPoP"}"#, unusable),
            (StatusCode::BAD_REQUEST, r#"{"error":"use_dpop_nonce"}"#, unfit),
            (StatusCode::UNAUTHORIZED, r#"{"error":"invalid_dpop_proof"}"#, unfit),
        ] {
            let found = read(status, body.as_bytes()).unwrap_err();
            assert_eq!((found, found.remedy()), (failure, Remedy::Operator), "{body}");
            assert_eq!(found.may_have_spent(), status == StatusCode::OK, "{body}");
        }
    }

    #[test]
    fn the_refresh_tokens_lifetime_has_several_names() {
        for name in REFRESH_LIFETIMES {
            let body = json!({"access_token": "a", name: "2592000"});
            let granted = read_by(&json!({}), false, &body).unwrap();
            assert_eq!(granted.refresh_token_expires_in, Some(2_592_000), "{name}");
        }
    }

    #[test]
    fn what_gives_no_token_says_why_in_our_words() {
        let read = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            read(status, body.as_bytes()).unwrap_err()
        };
        for (status, body, code) in [
            (400, r#"{"error":"invalid_grant","error_description":"hunter2"}"#, "invalid_grant"),
            (200, r#"{"ok":false,"error":"invalid_code"}"#, "invalid_grant"),
            (200, r#"{"error":"bad_refresh_token"}"#, "invalid_grant"),
            (400, r#"{"error":"hunter2"}"#, "an error of another name"),
            (200, r#"{"error":"invalid_client","access_token":"a"}"#, "invalid_client"),
        ] {
            let found = read(status, body);
            assert!(matches!(found, TokenFailure::Denied(_)), "{body}: {found:?}");
            assert_eq!(found.to_string(), format!("the provider said {code}"), "{body}");
        }
        for (status, body) in
            [(400, r#"{"error":{"message":"hunter2"}}"#), (400, r#"{"access_token":"a"}"#)]
        {
            let found = read(status, body).to_string();
            assert_eq!(found, "the provider refused with status 400", "{body}");
        }
        for (status, body, failure) in [
            (200, "<html>hunter2</html>", TokenFailure::Unanswered(NOT_JSON)),
            (200, "", TokenFailure::Unanswered(NOT_JSON)),
            (200, "[]", TokenFailure::Unanswered(NOT_JSON)),
            (200, "{}", TokenFailure::Unanswered(NO_TOKEN)),
            (200, r#"{"access_token":""}"#, TokenFailure::Unanswered(NO_TOKEN)),
            (200, r#"{"access_token":7}"#, TokenFailure::Unanswered(NO_TOKEN)),
            (200, r#"{"access_token":"a\nb"}"#, TokenFailure::Unanswered(NO_TOKEN)),
            (400, "<html>hunter2</html>", TokenFailure::Unreadable(400)),
            (404, r#"{"error":"inval"#, TokenFailure::Unreadable(404)),
            (
                503,
                r#"{"error":"invalid_grant"}"#,
                TokenFailure::Unanswered("it failed, with status 503"),
            ),
        ] {
            let found = read(status, body);
            assert_eq!(found, failure, "{body}");
            assert!(!format!("{found} {found:?}").contains("hunter"), "{found}");
        }
    }

    proptest! {
        #[test]
        fn what_is_no_json_object_brings_no_tokens(
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "[{}\\[\\]\":, a-z0-9\\\\]{0,40}".prop_map(String::into_bytes),
            ],
        ) {
            let is_object = matches!(serde_json::from_slice(&body), Ok(Value::Object(_)));
            let found = read(StatusCode::OK, &body);
            let is_refused = matches!(found, Err(TokenFailure::Unanswered(NOT_JSON)));
            prop_assert_eq!(is_refused, !is_object);
        }

        #[test]
        fn a_token_that_is_given_can_be_sent(token in "\\PC{0,30}|[ -~]{1,30}") {
            let body = serde_json::json!({"access_token": token}).to_string();
            if let Ok(granted) = read(StatusCode::OK, body.as_bytes()) {
                prop_assert_eq!(granted.access_token.expose(), token.as_bytes());
                prop_assert!(check_token(token.as_bytes()).is_ok());
            }
        }
    }
}
