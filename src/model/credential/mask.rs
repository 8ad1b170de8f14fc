//! Masks credentials in text that an origin has sent back, before the text is shown.
//!
//! All patterns are searched in one pass over the text as it came, the short ones too: nobody
//! needs the text byte for byte. The asterisks are never searched again.

use super::letters::{Alphabet, LetterMatch};
use super::patterns::{CredentialPatterns, PatternMatch};

/// Replaces each credential, and each secret part of one, with asterisks. Where the text was cut
/// off, an incomplete credential at its end is replaced too.
pub fn masked(patterns: &CredentialPatterns, text: &[u8], is_cut: bool) -> Vec<u8> {
    // At each position take the longest match, and write asterisks once for adjacent matches.
    let (mut shown, mut rest, mut is_masked) = (Vec::with_capacity(text.len()), text, false);
    while let Some((byte, after)) = rest.split_first() {
        let matches = patterns.all().iter().map(|pattern| pattern.match_text(rest));
        let lengths = matches.map(|found| shown_as_match(found, rest, is_cut));
        let length = lengths.max().unwrap_or(0);
        if length == 0 {
            shown.push(*byte);
            (rest, is_masked) = (after, false);
            continue;
        }
        if !is_masked {
            shown.extend_from_slice(b"*****");
        }
        rest = rest.get(length..).unwrap_or_default();
        // Patterns have no base64 padding, so it is skipped here.
        while let LetterMatch::Yes(_, padding) = Alphabet::Text.match_letter(b"=", rest) {
            rest = rest.get(padding..).unwrap_or_default();
        }
        is_masked = true;
    }
    shown
}

/// The bytes of a match that are masked; 0 without a match.
fn shown_as_match(found: PatternMatch, text: &[u8], text_is_cut: bool) -> usize {
    let is_begun = text_is_cut && found.is_cut && found.letters > 0;
    match () {
        () if is_begun => text.len(),
        () if found.whole > 0 => found.whole,
        () if found.letters >= MAX_MATCH_LEN => found.bytes,
        () => 0,
    }
}

/// A match of this many letters counts as a whole one: comparing all of a long pattern at each
/// position would take long.
const MAX_MATCH_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

    use super::*;
    use crate::model::credential::Credential;
    use crate::model::oauth::grant::Injection;
    use crate::model::placement::{Place, Placement};
    use crate::model::record::Detail;
    use crate::secret::Secret;

    fn masked<'a>(
        credentials: impl IntoIterator<Item = &'a Credential>,
        text: &[u8],
        is_cut: bool,
    ) -> Vec<u8> {
        super::masked(&CredentialPatterns::of(credentials), text, is_cut)
    }

    fn credential(detail: &Detail, secret: &str) -> Credential {
        Credential::build(detail, &Secret::new(secret)).unwrap()
    }

    fn all(secret: &str) -> [Credential; 3] {
        let basic = Detail::BasicAuth { username: "Zoë".into() };
        let key = Detail::ApiKey { header_name: "X-Api-Key".into() };
        [&Detail::BearerToken, &basic, &key].map(|detail| credential(detail, secret))
    }

    #[test]
    fn a_secret_is_masked_however_it_is_spelled() {
        let secret = "s3cr\"t +/é<";
        for credential in all(secret) {
            for spelling in [
                secret,
                r#"s3cr\"t +\/é<"#,
                r"s3cr\u0022t \u002B/\u00e9\u003c",
                "s3cr%22t%20%2B%2F%C3%A9%3C",
                "s3cr%22t+%2b%2f%c3%a9%3c",
                "s3cr&quot;t &#43;/&#xe9;&lt;",
                &STANDARD.encode(secret),
                &STANDARD_NO_PAD.encode(secret),
                &URL_SAFE_NO_PAD.encode(secret),
                &String::from_utf8_lossy(credential.fields().next().unwrap().1.as_bytes()),
            ] {
                let text = format!("a {spelling} b {spelling}");
                let shown = masked([&credential], text.as_bytes(), false);
                assert_eq!(String::from_utf8_lossy(&shown), "a ***** b *****", "{spelling}");
            }
            assert_eq!(masked([&credential], b"nothing", false), b"nothing");
        }
    }

    #[test]
    fn of_an_injection_the_token_alone_is_masked_wherever_it_stands() {
        let field = |name: &str, value: &str| Placement {
            place: Place::Header,
            name: name.into(),
            value: value.into(),
        };
        let injection = Injection {
            placements: vec![
                field("X-Version", "2"),
                field("X-Token", "token=<{access_token}>;"),
                field("X-Git", "{basic:'x',access_token}"),
            ],
            client_id: "id".into(),
        };
        let credential = Credential::injected(&injection, &Secret::new("t0k3n")).unwrap();
        let basic = STANDARD.encode("x:t0k3n");
        let text = format!("2 of t0k3n, {basic}, token=<t0k3n>; and {}", STANDARD.encode("t0k3n"));
        let shown = masked([&credential], text.as_bytes(), false);
        assert_eq!(String::from_utf8_lossy(&shown), "2 of *****, *****, ***** and *****");
    }

    #[test]
    fn padding_that_is_escaped_does_not_show_a_pair() {
        let basic = Detail::BasicAuth { username: "admin".into() };
        let value = credential(&basic, "p").fields().next().unwrap().1.to_str().unwrap().to_owned();
        assert!(value.ends_with("=="));
        let text = format!("{{\"a\":\"{}\"}}", value.replace('=', "\\u003d"));
        assert_eq!(
            masked([&credential(&basic, "p")], text.as_bytes(), false),
            b"{\"a\":\"*****\"}"
        );
    }

    #[test]
    fn the_end_of_a_text_that_was_cut_shows_no_beginning_of_a_secret() {
        for credential in all("ghp_abc/defgB") {
            for cut in ["it is ghp_abc", "it is ghp_abc%2", "it is g", "it is ghp_abc\\u00"] {
                let shown = masked([&credential], cut.as_bytes(), true);
                assert_eq!(String::from_utf8_lossy(&shown), "it is *****", "{cut}");
                assert_ne!(masked([&credential], cut.as_bytes(), false), shown);
            }
        }
    }

    #[test]
    fn what_is_shown_is_never_much_longer_than_what_came() {
        for secret in ["*", "**", "*****", "a", "="] {
            let credentials = all(secret);
            for text in ["*".repeat(10_000), "a".repeat(10_000), "a*=".repeat(3000)] {
                let shown = masked(&credentials, text.as_bytes(), true);
                assert!(shown.len() <= text.len() * 5, "{secret}");
            }
        }
    }

    #[test]
    fn a_long_secret_that_nearly_stands_everywhere_takes_no_long() {
        let credentials = all(&"a".repeat(8000));
        let text = format!("{}b", "a".repeat(40)).repeat(2000);
        let shown = masked(&credentials, text.as_bytes(), false);
        assert_eq!(shown, text.as_bytes());
    }
}
