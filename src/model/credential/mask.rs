//! Masks credentials in text that an origin has sent back, before the text is shown.
//!
//! An origin may repeat a secret escaped as in JSON, URLs or HTML, or in base64. All these forms
//! are searched in one pass over the text as it came. The asterisks are never searched again.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

use super::Credential;

/// Replaces each credential, and each secret part of one, with asterisks. Where the text was cut
/// off, an incomplete credential at its end is replaced too.
pub fn masked<'a>(
    credentials: impl IntoIterator<Item = &'a Credential>,
    text: &[u8],
    is_cut: bool,
) -> Vec<u8> {
    let mut needles: Vec<_> = credentials.into_iter().flat_map(needles).collect();
    needles.sort_unstable_by(|one, other| one.as_slice().cmp(other.as_slice()));
    needles.dedup_by(|one, other| one.as_slice() == other.as_slice());
    // At each position take the longest match, and write asterisks once for adjacent matches.
    let (mut shown, mut rest, mut is_masked) = (Vec::with_capacity(text.len()), text, false);
    while let Some((byte, after)) = rest.split_first() {
        let length =
            needles.iter().map(|needle| match_len(needle, rest, is_cut)).max().unwrap_or(0);
        if length == 0 {
            shown.push(*byte);
            (rest, is_masked) = (after, false);
            continue;
        }
        if !is_masked {
            shown.extend_from_slice(b"*****");
        }
        rest = rest.get(length..).unwrap_or_default();
        // Needles have no base64 padding, so it is skipped here.
        while let Some((_, padding)) = match_letter(b"=", rest) {
            rest = rest.get(padding..).unwrap_or_default();
        }
        is_masked = true;
    }
    shown
}

/// The texts to mask for a credential: its value, the secret parts of it, and the base64 of each,
/// all without padding, and all in lower case as well, because host names are commonly lower-cased.
fn needles(credential: &Credential) -> Vec<Zeroizing<Vec<u8>>> {
    // A constant beside the token is not secret, and may be a word of any text.
    let secret = credential.fields().filter(|(_, value)| value.is_sensitive());
    let parts = secret.flat_map(|(field, value)| secret_parts(field, value));
    let access_token = credential.access_token.iter();
    let access_token = access_token.map(|token| Zeroizing::new(token.expose().to_vec()));
    let parts: Vec<_> = parts.chain(access_token).collect();
    let encoded = parts.iter().flat_map(|part| {
        [STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| Zeroizing::new(engine.encode(part)))
    });
    let encoded: Vec<_> = encoded.map(|text| Zeroizing::new(text.as_bytes().to_vec())).collect();
    let all = parts.into_iter().chain(encoded);
    let bare = all.map(|mut needle| {
        let padding = needle.iter().rev().take_while(|byte| **byte == b'=').count();
        let bare = needle.len() - padding;
        needle.truncate(bare);
        needle
    });
    let bare: Vec<_> = bare.filter(|needle| !needle.is_empty()).collect();
    let lower = bare.iter().map(|needle| Zeroizing::new(needle.to_ascii_lowercase()));
    let lower: Vec<_> = lower.collect();
    bare.into_iter().chain(lower).collect()
}

fn secret_parts(field: &HeaderName, value: &HeaderValue) -> Vec<Zeroizing<Vec<u8>>> {
    let value = value.as_bytes();
    let mut parts = vec![Zeroizing::new(value.to_vec())];
    // The scheme is not secret.
    let space = value.iter().position(|byte| *byte == b' ');
    let Some((scheme, rest)) = space.and_then(|at| value.split_at_checked(at)) else {
        return parts;
    };
    let rest = rest.trim_ascii();
    parts.push(Zeroizing::new(rest.to_vec()));
    if *field == header::AUTHORIZATION
        && scheme == b"Basic"
        && let Ok(pair) = STANDARD.decode(rest).map(Zeroizing::new)
    {
        let colon = pair.iter().position(|byte| *byte == b':');
        let password = colon.and_then(|at| pair.get(at + 1..)).unwrap_or_default().to_vec();
        parts.extend([pair, Zeroizing::new(password)]);
    }
    parts
}

/// The length of the needle's match at the beginning of the text; 0 without a match.
fn match_len(needle: &[u8], text: &[u8], is_cut: bool) -> usize {
    if text.starts_with(needle) {
        return needle.len();
    }
    let (mut wanted, mut rest) = (needle, text);
    while !wanted.is_empty() {
        let Some((of_needle, of_text)) = match_letter(wanted, rest) else { break };
        wanted = wanted.get(of_needle..).unwrap_or_default();
        rest = rest.get(of_text..).unwrap_or_default();
    }
    let (found, length) = (needle.len() - wanted.len(), text.len() - rest.len());
    let is_begun =
        rest.first().is_none_or(|byte| b"\\%&".contains(byte)) && rest.len() < MAX_ESCAPE_LEN;
    let at_the_end = is_cut && found > 0 && is_begun;
    match () {
        () if at_the_end => text.len(),
        () if wanted.is_empty() || found >= MAX_MATCH_LEN => length,
        () => 0,
    }
}

/// Matches the needle's first letter, plain or escaped, at the beginning of the text. Gives its
/// length in the needle and in the text.
fn match_letter(needle: &[u8], text: &[u8]) -> Option<(usize, usize)> {
    let (byte, first) = (*needle.first()?, *text.first()?);
    let escaped = match first {
        b'\\' => match_json_escape(needle, text),
        b'%' => match_percent_escape(byte, text),
        b'&' => match_html_escape(needle, text),
        b'+' if byte == b' ' => Some((1, 1)),
        _ => None,
    };
    escaped.or_else(|| (first == byte).then_some((1, 1)))
}

fn match_json_escape(needle: &[u8], text: &[u8]) -> Option<(usize, usize)> {
    if text.get(1) == needle.first() && text.get(1) != Some(&b'u') {
        return Some((1, 2));
    }
    let letter = first_letter(needle)?;
    let (mut units, mut at) = ([0; 2], 0);
    for unit in letter.encode_utf16(&mut units) {
        let spelled = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        (parse_number(spelled, 16)? == u32::from(*unit)).then_some(())?;
        at += 6;
    }
    Some((letter.len_utf8(), at))
}

fn match_percent_escape(byte: u8, text: &[u8]) -> Option<(usize, usize)> {
    (parse_number(text.get(1..3)?, 16)? == u32::from(byte)).then_some((1, 3))
}

fn match_html_escape(needle: &[u8], text: &[u8]) -> Option<(usize, usize)> {
    let letter = first_letter(needle)?;
    let end = text.iter().take(MAX_ESCAPE_LEN).position(|byte| *byte == b';')?;
    let spelled = match text.get(1..end)? {
        b"amp" => '&',
        b"apos" => '\'',
        b"gt" => '>',
        b"lt" => '<',
        b"quot" => '"',
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(parse_number(digits, 16)?)?,
        [b'#', digits @ ..] => char::from_u32(parse_number(digits, 10)?)?,
        _ => return None,
    };
    (spelled == letter).then_some((letter.len_utf8(), end + 1))
}

fn parse_number(digits: &[u8], radix: u32) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// The first letter of a needle, if it is text.
fn first_letter(needle: &[u8]) -> Option<char> {
    let most = needle.get(..needle.len().min(4))?;
    let valid = match std::str::from_utf8(most) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(most.get(..error.valid_up_to())?).ok()?,
    };
    valid.chars().next()
}

/// A match of this many bytes counts as a whole needle: comparing all of a long needle at each
/// position would take long.
const MAX_MATCH_LEN: usize = 64;

/// The longest escape of one letter.
const MAX_ESCAPE_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::oauth::grant::Injection;
    use crate::model::oauth::profile::InjectedField;
    use crate::model::record::Detail;
    use crate::secret::Secret;

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
        let field =
            |name: &str, value: &str| InjectedField { name: name.into(), value: value.into() };
        let injection = Injection {
            fields: vec![
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
