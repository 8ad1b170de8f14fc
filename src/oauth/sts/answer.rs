//! The answer of AWS's Security Token Service. A stranger's bytes: all of it is checked, and none of
//! its words are kept but its code.
//!
//! **The rule.** No user can help, since nobody has said yes in a browser: what is known to pass by
//! itself is *retry* (no answer, 5xx, 429, and the codes by which AWS says that it is asked too often
//! or fails), and every other refusal is the *operator's*: keys that are unknown, off or expired, a
//! role that may not be assumed, a clock that is wrong.

use http::StatusCode;
use jiff::Timestamp;

use super::document::XmlDocument;
use crate::model::aws::role::RoleSession;
use crate::model::aws::signer::{AwsKeys, is_access_key_id};
use crate::model::field::{check_secret, check_token};
use crate::model::oauth::refusal::{ProviderCode, Remedy};
use crate::model::record::whole_microseconds;
use crate::oauth::failure::TokenFailure;
use crate::oauth::refusal::Denial;
use crate::secret::Secret;

/// Reads an answer to a question of `asked_at`.
///
/// # Errors
/// [`TokenFailure`] says why there is no session.
pub(super) fn read(
    status: StatusCode,
    body: &[u8],
    asked_at: Timestamp,
) -> Result<RoleSession, TokenFailure> {
    // 1. Where it has failed, or leads elsewhere, what it says beside that does not count.
    if status.is_server_error() {
        return Err(TokenFailure::of_server_error(status));
    }
    if status.is_redirection() {
        return Err(TokenFailure::Unfit("it redirects, which is not followed"));
    }
    let document = std::str::from_utf8(body).ok().and_then(XmlDocument::read);
    let document = match document {
        Some(document) => document,
        None if status.is_success() => return Err(TokenFailure::Unanswered(NOT_XML)),
        None => return Err(TokenFailure::Unreadable(status.as_u16())),
    };
    // 2. A refusal.
    if !status.is_success() {
        let code = document.text("ErrorResponse/Error/Code").map(Secret::expose);
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        return Err(TokenFailure::Denied(denial(status, code.unwrap_or_default())));
    }
    // 3. A session.
    let session = session(&document, asked_at).ok_or(TokenFailure::Unanswered(NO_SESSION))?;
    if session.expires_at <= asked_at {
        return Err(TokenFailure::Unfit(ENDED));
    }
    Ok(session)
}

fn session(document: &XmlDocument, asked_at: Timestamp) -> Option<RoleSession> {
    let text = |name: &str| {
        document.text(&format!("AssumeRoleResponse/AssumeRoleResult/Credentials/{name}"))
    };
    let plain = |name: &str| std::str::from_utf8(text(name)?.expose()).ok();
    let access_key_id = plain("AccessKeyId").filter(|id| is_access_key_id(id))?;
    let secret = text("SecretAccessKey").filter(|key| check_secret(key.expose()).is_ok())?;
    let token = text("SessionToken").filter(|token| check_token(token.expose()).is_ok())?;
    let expires_at: Timestamp = plain("Expiration")?.parse().ok()?;
    let keys = AwsKeys {
        access_key_id: access_key_id.into(),
        secret_access_key: secret.clone(),
        session_token: Some(token.clone()),
    };
    let issued_at = whole_microseconds(asked_at);
    Some(RoleSession { keys, issued_at, expires_at: whole_microseconds(expires_at) })
}

/// Classifies a refusal by the rule above.
fn denial(status: StatusCode, code: &str) -> Denial {
    let is_not_now = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status)
        || NOT_NOW.contains(&code);
    let remedy = if is_not_now { Remedy::Retry } else { Remedy::Operator };
    Denial { status: status.as_u16(), remedy, error: None, code: ProviderCode::parse(code) }
}

/// Codes of "not now", as AWS's SDKs try again after them.
const NOT_NOW: [&str; 14] = [
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "InternalError",
    "InternalFailure",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

const NOT_XML: &str = "its answer is not the document that it should be";
const NO_SESSION: &str = "its answer has no credentials that can be used";
const ENDED: &str = "its session has ended already: this server's clock is wrong";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn answer(expiration: &str, token: &str) -> String {
        format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n \
             <AssumeRoleResult><AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/a/b</Arn>\
             </AssumedRoleUser><Credentials><AccessKeyId>ASIAEXAMPLE</AccessKeyId>\
             <SecretAccessKey>s/ecret+</SecretAccessKey><SessionToken>{token}</SessionToken>\
             <Expiration>{expiration}</Expiration></Credentials></AssumeRoleResult>\
             <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>"
        )
    }

    fn refusal(code: &str) -> String {
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
             <Type>Sender</Type><Code>{code}</Code><Message>no &amp; no</Message></Error>\
             <RequestId>1</RequestId></ErrorResponse>"
        )
    }

    #[test]
    fn a_session_is_read_whole_or_not_at_all() {
        let end = at(3600).to_string();
        let session = read(StatusCode::OK, answer(&end, "t&#61;=").as_bytes(), at(0)).unwrap();
        assert_eq!((session.issued_at, session.expires_at), (at(0), at(3600)));
        assert_eq!(&*session.keys.access_key_id, "ASIAEXAMPLE");
        assert_eq!(session.keys.secret_access_key.expose(), b"s/ecret+");
        assert_eq!(session.keys.session_token.unwrap().expose(), b"t==");
        for (body, failure) in [
            (answer("tomorrow", "t"), TokenFailure::Unanswered(NO_SESSION)),
            (answer(&end, ""), TokenFailure::Unanswered(NO_SESSION)),
            (answer(&end, "a\nb"), TokenFailure::Unanswered(NO_SESSION)),
            (answer(&end, "t").replace("ASIA", "A IA"), TokenFailure::Unanswered(NO_SESSION)),
            (answer(&at(-1).to_string(), "t"), TokenFailure::Unfit(ENDED)),
            (refusal("AccessDenied"), TokenFailure::Unanswered(NO_SESSION)),
            ("{}".to_owned(), TokenFailure::Unanswered(NOT_XML)),
            (answer(&end, "t").replace("</Credentials>", ""), TokenFailure::Unanswered(NOT_XML)),
        ] {
            let found = read(StatusCode::OK, body.as_bytes(), at(0)).unwrap_err();
            assert_eq!(found, failure, "{body}");
        }
    }

    #[test]
    fn each_refusal_says_who_must_act() {
        let found = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            read(status, body.as_bytes(), at(0)).unwrap_err()
        };
        for (status, code, remedy) in [
            (403, "AccessDenied", Remedy::Operator),
            (403, "InvalidClientTokenId", Remedy::Operator),
            (403, "ExpiredToken", Remedy::Operator),
            (403, "SignatureDoesNotMatch", Remedy::Operator),
            (403, "RegionDisabledException", Remedy::Operator),
            (400, "ValidationError", Remedy::Operator),
            (400, "Throttling", Remedy::Retry),
            (429, "Other", Remedy::Retry),
            (400, "RequestTimeout", Remedy::Retry),
        ] {
            let failure = found(status, &refusal(code));
            assert_eq!(failure.remedy(), remedy, "{code}");
            let words = failure.for_operators();
            assert!(words.contains(code), "{words}");
            assert!(!words.contains("no & no"), "{words}");
        }
        assert_eq!(
            found(503, &refusal("AccessDenied")),
            TokenFailure::of_server_error(StatusCode::SERVICE_UNAVAILABLE)
        );
        assert_eq!(found(403, "<html>"), TokenFailure::Unreadable(403));
        assert_eq!(found(302, "").remedy(), Remedy::Operator);
    }
}
