//! Recorded answers of providers, and the remedy of each.

use super::*;
use crate::model::oauth::profile::Profile;
use crate::oauth::failure::TokenFailure;
use crate::oauth::response::{AnswerShape, read};
use Remedy::{Operator, Retry, User};

fn failure(status: u16, body: &str, dead_grant_codes: &[&str]) -> TokenFailure {
    let dead_grant_codes = dead_grant_codes.iter().map(|code| (*code).into()).collect();
    let profile = Profile { dead_grant_codes, ..Profile::default() };
    let asked_at = jiff::Timestamp::UNIX_EPOCH;
    let shape = AnswerShape { profile: &profile, asked_at, is_refresh: true };
    read(StatusCode::from_u16(status).unwrap(), body.as_bytes(), &shape).unwrap_err()
}

/// The remedy of an answer, and the code that operators are shown.
fn told(status: u16, body: &str, dead_grant_codes: &[&str]) -> (Remedy, Option<String>) {
    let failure = failure(status, body, dead_grant_codes);
    let code = match failure {
        TokenFailure::Denied(denial) => denial.code.map(|code| code.to_string()),
        _ => None,
    };
    (failure.remedy(), code)
}

/// Each with its provider, status, body, remedy and code; without codes of the client's own.
const RECORDED: &[(&str, u16, &str, Remedy, &str)] = &[
    ("airtable", 400, r#"{"error":"invalid_grant"}"#, User, "invalid_grant"),
    (
        "atlassian",
        403,
        r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#,
        User,
        "unauthorized_client",
    ),
    (
        "auth0",
        403,
        r#"{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}"#,
        User,
        "invalid_grant",
    ),
    (
        "dwolla",
        401,
        r#"{"error":"access_denied","error_description":"Invalid refresh token."}"#,
        User,
        "access_denied",
    ),
    (
        "entra",
        400,
        r#"{"error":"invalid_grant","error_description":"AADSTS700082: The refresh token has expired due to inactivity.","error_codes":[700082],"timestamp":"2026"}"#,
        User,
        "invalid_grant AADSTS700082",
    ),
    (
        "entra",
        400,
        r#"{"error":"interaction_required","error_codes":[50076],"suberror":"basic_action"}"#,
        User,
        "interaction_required AADSTS50076",
    ),
    (
        "fitbit",
        400,
        r#"{"errors":[{"errorType":"invalid_grant","message":"Refresh token invalid: abcdef. Visit https://dev.fitbit.com"}],"success":false}"#,
        User,
        "invalid_grant",
    ),
    (
        "gitea",
        400,
        r#"{"error":"unauthorized_client","error_description":"unable to parse refresh token"}"#,
        User,
        "unauthorized_client",
    ),
    (
        "github",
        200,
        r#"{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired.","error_uri":"https://docs.github.com/"}"#,
        User,
        "bad_refresh_token",
    ),
    (
        "google",
        400,
        r#"{"error":"invalid_grant","error_subtype":"rapt_required"}"#,
        User,
        "invalid_grant",
    ),
    (
        "hubspot",
        400,
        r#"{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}"#,
        User,
        "BAD_REFRESH_TOKEN",
    ),
    (
        "hubspot",
        400,
        r#"{"status":"BAD_REFRESH_TOKEN","error":"invalid_request"}"#,
        User,
        "BAD_REFRESH_TOKEN",
    ),
    (
        "hubspot",
        400,
        r#"{"status":"BAD_HUB","message":"missing or unknown hub id","error":"access_denied"}"#,
        User,
        "BAD_HUB",
    ),
    (
        "meta",
        400,
        r#"{"error":{"code":190,"type":"OAuthException","message":"x"}}"#,
        User,
        "OAuthException/190",
    ),
    (
        "monzo",
        401,
        r#"{"code":"unauthorized.bad_refresh_token","message":"Bad refresh token"}"#,
        User,
        "unauthorized.bad_refresh_token",
    ),
    ("salesforce", 400, r#"{"error":"inactive_user"}"#, User, "inactive_user"),
    (
        "slack",
        200,
        r#"{"ok":false,"error":"invalid_refresh_token"}"#,
        User,
        "invalid_refresh_token",
    ),
    (
        "square",
        401,
        r#"{"message":"Invalid refresh token","type":"service.not_authorized"}"#,
        User,
        "service.not_authorized",
    ),
    (
        "twitch",
        400,
        r#"{"error":"Bad Request","status":400,"message":"Invalid refresh token"}"#,
        User,
        "Bad Request",
    ),
    (
        "x",
        400,
        r#"{"error":"invalid_request","error_description":"Value passed for the token was invalid."}"#,
        User,
        "invalid_request",
    ),
    ("zoho", 200, r#"{"error":"invalid_code"}"#, User, "invalid_code"),
    (
        "zoom",
        400,
        r#"{"reason":"Invalid Token!","error":"invalid_request"}"#,
        User,
        "invalid_request",
    ),
    (
        "a code within an object",
        400,
        r#"{"error":{"code":"invalid_grant","message":"x"}}"#,
        User,
        "invalid_grant",
    ),
    (
        "a type within an object",
        400,
        r#"{"error":{"type":"invalid_grant","code":7}}"#,
        User,
        "invalid_grant",
    ),
    (
        "a code within a list",
        401,
        r#"{"errors":[{"code":"invalid_grant"}]}"#,
        User,
        "invalid_grant",
    ),
    ("a text within a list", 401, r#"{"errors":["invalid_grant"]}"#, User, "invalid_grant"),
    ("error_code", 401, r#"{"error_code":"invalid_grant"}"#, User, "invalid_grant"),
    ("a code as the message", 401, r#"{"message":"invalid_grant"}"#, User, "invalid_grant"),
    (
        "atlassian",
        401,
        r#"{"error":"access_denied","error_description":"Unauthorized"}"#,
        Operator,
        "access_denied",
    ),
    (
        "doorkeeper",
        401,
        r#"{"error":"invalid_client","error_description":"Client authentication failed due to unknown client"}"#,
        Operator,
        "invalid_client",
    ),
    (
        "entra",
        401,
        r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215]}"#,
        Operator,
        "invalid_client AADSTS7000215",
    ),
    (
        "github",
        200,
        r#"{"error":"incorrect_client_credentials"}"#,
        Operator,
        "incorrect_client_credentials",
    ),
    (
        "google",
        401,
        r#"{"error":"unauthorized_client","error_description":"Client is unauthorized to retrieve access tokens"}"#,
        Operator,
        "unauthorized_client",
    ),
    (
        "hubspot",
        400,
        r#"{"status":"BAD_CLIENT_ID","message":"refresh token is invalid"}"#,
        Operator,
        "BAD_CLIENT_ID",
    ),
    (
        "linkedin",
        400,
        r#"{"error":"invalid_request","error_description":"Unable to retrieve access token: appid/redirect uri/code verifier does not match"}"#,
        Operator,
        "invalid_request",
    ),
    ("reddit", 400, r#"{"message":"Bad Request","error":400}"#, Operator, ""),
    (
        "salesforce",
        400,
        r#"{"error":"invalid_client_id","error_description":"client identifier invalid"}"#,
        Operator,
        "invalid_client_id",
    ),
    ("slack", 200, r#"{"ok":false,"error":"bad_client_secret"}"#, Operator, "bad_client_secret"),
    (
        "x",
        401,
        r#"{"error":"unauthorized_client","error_description":"Missing valid authorization header"}"#,
        Operator,
        "unauthorized_client",
    ),
    (
        "a missing parameter",
        400,
        r#"{"error":"invalid_request","error_description":"The request lacks the parameter refresh_token"}"#,
        Operator,
        "invalid_request",
    ),
    ("nothing", 400, "{}", Operator, ""),
    ("withings", 200, r#"{"status":601,"body":{}}"#, Operator, "601"),
    ("words of its own", 400, "{\"error\":\"\\u001b[2Jhunter2\"}", Operator, ""),
    (
        "a long code",
        400,
        r#"{"error":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#,
        Operator,
        "",
    ),
    (
        "zoho",
        200,
        r#"{"error_description":"You have made too many requests continuously. Please try again after some time.","error":"Access Denied","status":"failure"}"#,
        Retry,
        "Access Denied",
    ),
    ("salesforce", 400, r#"{"error":"rate_limit_exceeded"}"#, Retry, "rate_limit_exceeded"),
    ("meta", 400, r#"{"error":{"code":4,"type":"OAuthException"}}"#, Retry, "OAuthException/4"),
    ("hubspot", 429, r#"{"status":"error","errorType":"RATE_LIMIT"}"#, Retry, "RATE_LIMIT"),
    ("hubspot", 477, r#"{"error":"invalid_grant"}"#, Retry, "invalid_grant"),
    ("slack", 200, r#"{"ok":false,"error":"internal_error"}"#, Retry, "internal_error"),
    ("entra", 400, r#"{"error":"temporarily_unavailable"}"#, Retry, "temporarily_unavailable"),
    ("entra", 400, r#"{"error":"server_error","suberror":"invalid_grant"}"#, Retry, "server_error"),
    (
        "too many",
        429,
        r#"{"error":"invalid_grant","error_description":"refresh token is invalid"}"#,
        Retry,
        "invalid_grant",
    ),
    ("salesforce", 503, r#"{"error":"invalid_grant"}"#, Retry, ""),
    ("a page", 400, "<html>invalid_grant</html>", Retry, ""),
    ("a page", 200, "<html>invalid_grant</html>", Retry, ""),
    ("cut", 400, r#"{"error":"invalid_grant""#, Retry, ""),
    ("nothing at all", 403, "", Retry, ""),
    ("no object", 400, r#"["invalid_grant"]"#, Retry, ""),
];

#[test]
fn each_recorded_answer_has_its_remedy() {
    for (provider, status, body, remedy, code) in RECORDED {
        let found = told(*status, body, &[]);
        let code = Some((*code).to_owned()).filter(|code| !code.is_empty());
        assert_eq!(found, (*remedy, code), "{provider}: {status} {body}");
    }
}

#[test]
fn whoever_must_act_is_the_same_whatever_else_is_said() {
    for status in [500, 502, 503, 504, 599, 408, 423, 425, 429, 477] {
        for (_, _, body, ..) in RECORDED {
            assert_eq!(
                failure(status, body, &["invalid_grant"]).remedy(),
                Retry,
                "{status} {body}"
            );
        }
    }
}

#[test]
fn a_clients_own_codes_say_that_a_grant_is_dead() {
    let odd = r#"{"error":"odd_one"}"#;
    assert_eq!(told(400, odd, &[]).0, Operator);
    assert_eq!(told(400, odd, &["other", "ODD_ONE"]), (User, Some("odd_one".to_owned())));
    let client = r#"{"error":"unauthorized_client"}"#;
    assert_eq!(told(400, client, &["unauthorized_client"]).0, User);
    let sentence = r#"{"error":"Bad Request","status":400,"message":"Gone for good"}"#;
    assert_eq!(told(400, sentence, &["gone for good"]), (User, Some("Gone for good".to_owned())));
    let later = r#"{"error":"temporarily_unavailable"}"#;
    assert_eq!(told(400, later, &["temporarily_unavailable"]).0, Retry);
}

#[test]
fn a_code_that_repeats_a_secret_is_not_kept() {
    let TokenFailure::Denied(denial) = failure(400, r#"{"error":"bad rt-12345678"}"#, &[]) else {
        panic!("it is a refusal");
    };
    let code = |secret: &str| denial.without(&[None, Some(&Secret::new(secret))]).code;
    for secret in ["rt-12345678", "rt-1", "xx bad rt-12345678 xx", "at-9999912345678"] {
        assert_eq!(code(secret), None, "{secret}");
    }
    assert!(code("").is_some() && code("rt-87654321").is_some());
}

#[test]
fn callers_are_told_the_protocols_words_and_operators_the_providers_code() {
    let denied = failure(403, RECORDED[1].2, &[]);
    assert_eq!(denied.to_string(), "the provider said invalid_grant");
    let whole = "the provider said invalid_grant (status 403, code unauthorized_client)";
    assert_eq!(denied.for_operators(), whole);
    let odd = failure(400, r#"{"error":"Hunter2"}"#, &[]);
    assert_eq!(odd.to_string(), "the provider said an error of another name");
    assert!(odd.for_operators().ends_with("(status 400, code Hunter2)"));
    let TokenFailure::Denied(denial) = denied else { panic!("it is a refusal") };
    assert_eq!(denial.of_client_itself().remedy, Operator, "no user can help a client");
}
