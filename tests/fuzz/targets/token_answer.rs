//! What a token endpoint answers. Input: a byte of choices, then the body.
//!
//! Whatever it is, it is read or refused; what is read can be sent, and no refusal repeats a word of
//! it.
#![no_main]

use keyferry::model::field::check_secret;
use keyferry::oauth::read_response;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else { return };
    match read_response(choice & 1 == 0, body) {
        Ok(granted) => {
            assert!(choice & 1 == 0, "an answer of failure gave tokens");
            assert!(check_secret(granted.access_token.expose()).is_ok());
            assert!(granted.refresh_token.is_none_or(|token| !token.is_empty()));
            assert!(granted.scope.is_none_or(|scope| scope.chars().count() <= 255));
            assert!(granted.expires_in.is_none_or(|seconds| (1..=315_360_000).contains(&seconds)));
        }
        Err(denial) => assert!(denial.to_string().len() < 100, "{denial}"),
    }
});
