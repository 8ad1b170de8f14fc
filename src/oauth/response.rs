//! A token endpoint's response (RFC 6749 §5). A stranger's bytes: all of it is checked, and none of
//! its words are repeated to anybody.

use serde_json::{Map, Value};

use crate::model::field::check_token;
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

/// The reason why a response gives no tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denial {
    /// It says so, by this code.
    #[error("the provider said {0}")]
    Error(ErrorCode),
    /// It is not JSON, or no object.
    #[error("the provider's answer is not a JSON object")]
    NotJson,
    /// It is JSON, and has no tokens that could be used.
    #[error("the provider's answer has no tokens that can be kept and sent")]
    NoToken,
}

/// The provider's error. Words of its own are not kept: they may repeat what it was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorCode {
    /// `access_denied`
    AccessDenied,
    /// `invalid_client`
    InvalidClient,
    /// `invalid_grant`, in whatever words.
    InvalidGrant,
    /// `invalid_request`
    InvalidRequest,
    /// `invalid_scope`
    InvalidScope,
    /// `server_error`
    ServerError,
    /// `temporarily_unavailable`
    TemporarilyUnavailable,
    /// `unauthorized_client`
    UnauthorizedClient,
    /// `unsupported_grant_type`
    UnsupportedGrantType,
    /// `unsupported_response_type`
    UnsupportedResponseType,
    /// Anything else.
    Unknown,
}

impl ErrorCode {
    /// Reads a code of RFC 6749 §4.1.2.1 or §5.2, or what known providers say in its place.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match text {
            "access_denied" => Self::AccessDenied,
            "invalid_client" => Self::InvalidClient,
            "invalid_grant"
            | "bad_refresh_token"
            | "bad_verification_code"
            | "invalid_code"
            | "invalid_refresh_token" => Self::InvalidGrant,
            "invalid_request" => Self::InvalidRequest,
            "invalid_scope" => Self::InvalidScope,
            "server_error" => Self::ServerError,
            "temporarily_unavailable" => Self::TemporarilyUnavailable,
            "unauthorized_client" => Self::UnauthorizedClient,
            "unsupported_grant_type" => Self::UnsupportedGrantType,
            "unsupported_response_type" => Self::UnsupportedResponseType,
            _ => Self::Unknown,
        }
    }

    /// The code, or words that stand for one that is not known.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidScope => "invalid_scope",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::Unknown => "an error of another name",
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the body of an answer. Whether its status was one of success is all that counts of its
/// head: some providers say an error with 200.
///
/// # Errors
/// [`Denial`] says why there are no tokens.
pub fn read(succeeded: bool, body: &[u8]) -> Result<GrantedTokens, Denial> {
    let answer: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_where| Denial::NotJson)?;
    if let Some(error) = error(&answer) {
        return Err(Denial::Error(error));
    }
    let token = text(&answer, "access_token");
    let token = token.filter(|token| succeeded && check_token(token.as_bytes()).is_ok());
    let access_token = token.map(Secret::new).ok_or(Denial::NoToken)?;
    let refresh_token = text(&answer, "refresh_token").filter(|token| !token.is_empty());
    // Without it, the one that it replaces would be taken for good.
    if refresh_token.is_some_and(|token| token.len() > MAX_REFRESH_TOKEN_LEN) {
        return Err(Denial::NoToken);
    }
    Ok(GrantedTokens {
        access_token,
        refresh_token: refresh_token.map(Secret::new),
        token_type: text(&answer, "token_type").map(|kind| cut(kind, 64)).unwrap_or_default(),
        scope: scope(&answer).map(|scope| cut(&scope, 255)),
        expires_in: answer.get("expires_in").and_then(seconds),
    })
}

fn error(answer: &Map<String, Value>) -> Option<ErrorCode> {
    match answer.get("error") {
        Some(Value::String(code)) if !code.is_empty() => Some(ErrorCode::read(code)),
        // Some put an object there, whose words are their own.
        Some(Value::Object(_)) => Some(ErrorCode::Unknown),
        _ => None,
    }
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

/// Ten years, in seconds.
const MAX_LIFETIME_SECONDS: f64 = 315_360_000.0;

const MAX_REFRESH_TOKEN_LEN: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn granted(body: &str) -> (String, Option<String>, String, Option<String>, Option<i64>) {
        let GrantedTokens { access_token, refresh_token, token_type, scope, expires_in } =
            read(true, body.as_bytes()).unwrap();
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
        for (succeeded, body, denial) in [
            (
                false,
                r#"{"error":"invalid_grant","error_description":"hunter2"}"#,
                Denial::Error(ErrorCode::InvalidGrant),
            ),
            (
                true,
                r#"{"ok":false,"error":"invalid_code"}"#,
                Denial::Error(ErrorCode::InvalidGrant),
            ),
            (true, r#"{"error":"bad_refresh_token"}"#, Denial::Error(ErrorCode::InvalidGrant)),
            (false, r#"{"error":"hunter2"}"#, Denial::Error(ErrorCode::Unknown)),
            (false, r#"{"error":{"message":"hunter2"}}"#, Denial::Error(ErrorCode::Unknown)),
            (
                true,
                r#"{"error":"invalid_client","access_token":"a"}"#,
                Denial::Error(ErrorCode::InvalidClient),
            ),
            (true, "<html>hunter2</html>", Denial::NotJson),
            (true, "", Denial::NotJson),
            (true, "[]", Denial::NotJson),
            (true, "{}", Denial::NoToken),
            (true, r#"{"access_token":""}"#, Denial::NoToken),
            (true, r#"{"access_token":7}"#, Denial::NoToken),
            (true, r#"{"access_token":"a\nb"}"#, Denial::NoToken),
            (false, r#"{"access_token":"a"}"#, Denial::NoToken),
        ] {
            let found = read(succeeded, body.as_bytes()).unwrap_err();
            assert_eq!(found, denial, "{body}");
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
            let is_refused = matches!(read(true, &body), Err(Denial::NotJson));
            prop_assert_eq!(is_refused, !is_object);
        }

        #[test]
        fn a_token_that_is_given_can_be_sent(token in "\\PC{0,30}|[ -~]{1,30}") {
            let body = serde_json::json!({"access_token": token}).to_string();
            if let Ok(granted) = read(true, body.as_bytes()) {
                prop_assert_eq!(granted.access_token.expose(), token.as_bytes());
                prop_assert!(check_token(token.as_bytes()).is_ok());
            }
        }
    }
}
