//! What a token endpoint answers. Input: a byte of choices, then the body.
//!
//! Any body is read or refused; what is read can be sent, and no refusal repeats a word of
//! it.
#![no_main]

use http::StatusCode;
use keyferry::model::field::check_token;
use keyferry::model::oauth::profile::Profile;
use keyferry::oauth::{AnswerShape, read_response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else { return };
    let profile = if choice & 2 == 0 { "{}" } else { PROFILE };
    let Some(profile) = &Profile::decode(profile) else { return };
    let is_refresh = choice & 4 != 0;
    let shape = AnswerShape { profile, asked_at: Default::default(), is_refresh };
    let status = if choice & 1 == 0 { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    match read_response(status, body, &shape) {
        Ok(granted) => {
            assert!(choice & 1 == 0, "an answer of failure gave tokens");
            assert!(check_token(granted.access_token.expose()).is_ok());
            assert!(granted.refresh_token.is_none_or(|token| !token.is_empty()));
            assert!(granted.scope.is_none_or(|scope| scope.chars().count() <= 255));
            assert!(granted.expires_in.is_none_or(|seconds| (1..=315_360_000).contains(&seconds)));
        }
        Err(failure) => assert!(failure.to_string().len() < 200, "{failure}"),
    }
});

/// Members that lead elsewhere in the answer.
const PROFILE: &str = r#"{"token_path":"/a/b","refresh_token_path":"/a/c","expires_in_path":"/a/d"}"#;
