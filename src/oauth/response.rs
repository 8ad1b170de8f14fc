//! A token endpoint's response (RFC 6749 §5). A stranger's bytes: all of it is checked, and none of
//! its words are repeated to anybody.

use http::StatusCode;
use serde_json::{Map, Value};

use super::failure::TokenFailure;
use super::refusal::{classify, is_quiet_refusal, is_refusal};
use crate::model::field::check_token;
use crate::model::oauth::profile::Profile;
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
}

/// Reads an answer of the provider that has this profile. Some providers say an error with 200.
///
/// # Errors
/// [`TokenFailure`] says why there are no tokens.
pub fn read(
    status: StatusCode,
    body: &[u8],
    profile: &Profile,
) -> Result<GrantedTokens, TokenFailure> {
    // 1. Where the provider has failed, or leads elsewhere, what it says beside that does not count.
    if status.is_server_error() {
        return Err(TokenFailure::Unanswered("it failed"));
    }
    if status.is_redirection() {
        return Err(TokenFailure::Unfit("it redirects, which is not followed"));
    }
    let answer: Map<String, Value> = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(_where) if status.is_success() => return Err(TokenFailure::Unanswered(NOT_JSON)),
        Err(_where) => return Err(TokenFailure::Unreadable(status.as_u16())),
    };
    // 2. A refusal.
    let denial = || TokenFailure::Denied(classify(status, &answer, &profile.dead_grant_codes));
    if !status.is_success() || is_refusal(&answer) {
        return Err(denial());
    }
    // 3. Tokens. Where a refresh token can't be kept, the one that it replaces would be taken for
    // good.
    granted(&answer).ok_or_else(|| {
        if is_quiet_refusal(&answer) { denial() } else { TokenFailure::Unanswered(NO_TOKEN) }
    })
}

fn granted(answer: &Map<String, Value>) -> Option<GrantedTokens> {
    let token = text(answer, "access_token");
    let token = token.filter(|token| check_token(token.as_bytes()).is_ok())?;
    let refresh_token = text(answer, "refresh_token").filter(|token| !token.is_empty());
    if refresh_token.is_some_and(|token| token.len() > MAX_REFRESH_TOKEN_LEN) {
        return None;
    }
    Some(GrantedTokens {
        access_token: Secret::new(token),
        refresh_token: refresh_token.map(Secret::new),
        token_type: text(answer, "token_type").map(|kind| cut(kind, 64)).unwrap_or_default(),
        scope: scope(answer).map(|scope| cut(&scope, 255)),
        expires_in: answer.get("expires_in").and_then(seconds),
    })
}

fn text<'a>(answer: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    answer.get(member).and_then(Value::as_str)
}

/// A text, or a list of texts, which some providers make of it.
fn scope(answer: &Map<String, Value>) -> Option<String> {
    match answer.get("scope")? {
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
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
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

/// Ten years, in seconds.
const MAX_LIFETIME_SECONDS: f64 = 315_360_000.0;

const MAX_REFRESH_TOKEN_LEN: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn granted(body: &str) -> (String, Option<String>, String, Option<String>, Option<i64>) {
        let GrantedTokens { access_token, refresh_token, token_type, scope, expires_in } =
            read(StatusCode::OK, body.as_bytes(), &Profile::default()).unwrap();
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
    fn what_gives_no_token_says_why_in_our_words() {
        let read = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            read(status, body.as_bytes(), &Profile::default()).unwrap_err()
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
            (503, r#"{"error":"invalid_grant"}"#, TokenFailure::Unanswered("it failed")),
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
            let found = read(StatusCode::OK, &body, &Profile::default());
            let is_refused = matches!(found, Err(TokenFailure::Unanswered(NOT_JSON)));
            prop_assert_eq!(is_refused, !is_object);
        }

        #[test]
        fn a_token_that_is_given_can_be_sent(token in "\\PC{0,30}|[ -~]{1,30}") {
            let body = serde_json::json!({"access_token": token}).to_string();
            if let Ok(granted) = read(StatusCode::OK, body.as_bytes(), &Profile::default()) {
                prop_assert_eq!(granted.access_token.expose(), token.as_bytes());
                prop_assert!(check_token(token.as_bytes()).is_ok());
            }
        }
    }
}
