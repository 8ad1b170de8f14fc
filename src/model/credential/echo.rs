//! Finds what an origin repeats of a credential, in a text that comes in pieces.

use std::ops::Range;

use smallvec::SmallVec;

use super::patterns::CredentialPatterns;

/// The echoes in a piece of a text.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Echoes {
    /// The places of the echoes, in order.
    pub found: SmallVec<[Range<usize>; 2]>,
    /// The end of what is settled: the rest may be the beginning of an echo.
    pub settled: usize,
}

/// The echo that begins at one place.
enum EchoHere {
    No,
    Whole(usize),
    Begun,
}

impl CredentialPatterns {
    /// The length of the shortest text that has an echo; `None` when nothing is looked for.
    pub fn shortest(&self) -> Option<usize> {
        Some(self.prefilter.window()).filter(|window| *window > 0)
    }

    /// The echoes in a text. `is_last` tells that no more of it follows.
    ///
    /// The result does not depend on the pieces in which a text comes, if what was not settled is
    /// looked through once more, with the next piece behind it.
    pub fn echoes(&self, text: &[u8], is_last: bool) -> Echoes {
        let mut echoes = Echoes { settled: text.len(), ..Echoes::default() };
        let Some(window) = self.shortest() else { return echoes };
        let mut from = 0;
        while let Some(places) = self.next_places(text, from, window, is_last) {
            let end = places.end;
            from = end;
            for place in places {
                match self.echo_at(text, place, is_last) {
                    EchoHere::No => {}
                    EchoHere::Whole(length) => {
                        echoes.found.push(place..place + length);
                        from = place + length;
                        break;
                    }
                    EchoHere::Begun => {
                        echoes.settled = place;
                        return echoes;
                    }
                }
            }
        }
        echoes
    }

    /// The next places where an echo may begin; `None` when none can begin any more.
    fn next_places(
        &self,
        text: &[u8],
        from: usize,
        window: usize,
        is_last: bool,
    ) -> Option<Range<usize>> {
        if let Some(near) = self.prefilter.next(text, from) {
            return Some(from.max((near + 1).saturating_sub(window))..near + 1);
        }
        // The end of a piece may be too short for the prefilter.
        let tail = from.max((text.len() + 1).saturating_sub(window))..text.len();
        (!is_last && !tail.is_empty()).then_some(tail)
    }

    /// The longest echo that begins at a place. One that may become longer has only begun.
    fn echo_at(&self, text: &[u8], place: usize, is_last: bool) -> EchoHere {
        let Some(rest) = text.get(place..) else { return EchoHere::No };
        if !rest.first().is_some_and(|byte| self.prefilter.begins(*byte)) {
            return EchoHere::No;
        }
        let mut longest = 0;
        for pattern in self.searched() {
            let matched = pattern.match_text(rest);
            if matched.is_cut && !is_last {
                return EchoHere::Begun;
            }
            longest = longest.max(matched.whole);
        }
        if longest > 0 { EchoHere::Whole(longest) } else { EchoHere::No }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;
    use crate::model::credential::Credential;
    use crate::model::credential::letters::hex_digit;
    use crate::model::record::Detail;
    use crate::secret::Secret;

    fn patterns(detail: &Detail, secret: &str) -> CredentialPatterns {
        CredentialPatterns::of([&Credential::build(detail, &Secret::new(secret)).unwrap()])
    }

    fn bearer(secret: &str) -> CredentialPatterns {
        patterns(&Detail::BearerToken, secret)
    }

    fn basic(secret: &str) -> CredentialPatterns {
        patterns(&Detail::BasicAuth { username: "zoë".into() }, secret)
    }

    /// A text with asterisks for its echoes.
    fn masked(patterns: &CredentialPatterns, text: &[u8]) -> Vec<u8> {
        let mut shown = text.to_vec();
        for place in patterns.echoes(text, true).found {
            shown[place].fill(b'*');
        }
        shown
    }

    /// The same of a text that comes in pieces.
    fn masked_in_pieces(patterns: &CredentialPatterns, pieces: &[&[u8]]) -> Vec<u8> {
        let (mut shown, mut held) = (Vec::new(), Vec::new());
        for (number, piece) in pieces.iter().enumerate() {
            held.extend_from_slice(piece);
            let echoes = patterns.echoes(&held, number + 1 == pieces.len());
            let rest = held.split_off(echoes.settled);
            for place in echoes.found {
                held[place].fill(b'*');
            }
            shown.append(&mut held);
            held = rest;
        }
        shown
    }

    /// The same, by comparing every pattern at every place.
    fn masked_plainly(patterns: &CredentialPatterns, text: &[u8]) -> Vec<u8> {
        let (mut shown, mut place) = (text.to_vec(), 0);
        while place < text.len() {
            let rest = &text[place..];
            let lengths = patterns.searched().iter().map(|pattern| pattern.match_text(rest).whole);
            let length = lengths.max().unwrap_or(0);
            shown[place..place + length].fill(b'*');
            place += length.max(1);
        }
        shown
    }

    fn percent(text: &str, keeps: fn(u8) -> bool, hex: fn(String) -> String) -> String {
        let spelled = |byte: u8| {
            let kept = keeps(byte).then(|| char::from(byte).to_string());
            kept.unwrap_or_else(|| hex(format!("%{byte:02x}")))
        };
        text.bytes().map(spelled).collect()
    }

    /// Every spelling that is promised to be masked.
    fn spellings(secret: &str) -> Vec<String> {
        let upper = |text: String| text.to_ascii_uppercase();
        let alphanumeric = |byte: u8| byte.is_ascii_alphanumeric();
        let html = |letter: char| match letter {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".into(),
            '>' => "&gt;".into(),
            '"' => "&quot;".into(),
            '\'' => "&#039;".into(),
            letter => letter.into(),
        };
        let numeric = |letter: char| format!("&#x{:X};", u32::from(letter));
        let json = |letter: char| {
            let units = letter.encode_utf16(&mut [0; 2]).to_vec();
            units.iter().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat()
        };
        let mut spellings = vec![
            secret.to_owned(),
            secret.to_ascii_lowercase(),
            percent(secret, alphanumeric, upper),
            percent(secret, alphanumeric, |text| text),
            percent(secret, |_| false, upper),
            form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
            serde_json::to_string(secret).unwrap().trim_matches('"').to_owned(),
            serde_json::to_string(secret).unwrap().trim_matches('"').replace('/', "\\/"),
            secret.chars().map(json).collect(),
            secret.chars().map(html).collect(),
            secret.chars().map(numeric).collect(),
            secret
                .bytes()
                .flat_map(|byte| [byte >> 4, byte & 15])
                .map(|it| char::from(hex_digit(it)))
                .collect(),
            STANDARD.encode(secret),
            URL_SAFE.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
        ];
        spellings.push(spellings[11].to_ascii_uppercase());
        spellings.push(percent(&STANDARD.encode(secret), alphanumeric, upper));
        spellings
    }

    const SECRETS: [&str; 4] =
        ["sk-live-0a1B2c3D4e5F", "wJalr/XU+tn=FEMI&K7\"M'D<E>N", "pä ss\\wörd 😀", "12345678"];

    #[test]
    fn each_promised_spelling_is_masked_and_nothing_beside_it() {
        for secret in SECRETS {
            for spelling in spellings(secret) {
                let text = format!("{{\"a\": \"{spelling}\", \"b\": 1}}");
                for patterns in [bearer(secret), basic(secret)] {
                    let shown = String::from_utf8(masked(&patterns, text.as_bytes())).unwrap();
                    assert_eq!(shown.len(), text.len());
                    let kept = shown.replace('*', "");
                    let padding =
                        kept.trim_start_matches("{\"a\": \"").trim_end_matches("\", \"b\": 1}");
                    assert!(
                        ["", "=", "==", "%3D", "%3D%3D"].contains(&padding),
                        "{shown} of {text}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_value_of_the_field_is_masked_as_it_was_sent() {
        let value = format!("Basic {}", STANDARD.encode("zoë:long-password"));
        let text = format!("you sent Authorization: {value}!");
        let shown = String::from_utf8(masked(&basic("long-password"), text.as_bytes())).unwrap();
        let padding = value.len() - value.trim_end_matches('=').len();
        let stars = "*".repeat(value.len() - padding) + &"=".repeat(padding);
        assert_eq!(shown, format!("you sent Authorization: {stars}!"));
    }

    #[test]
    fn within_a_longer_text_in_base64_no_whole_letter_of_the_secret_is_left() {
        let secret = "sk-live-0a1B2c3D4e5F";
        for before in ["", "x", "xy", "xyz", "user:"] {
            for after in ["", "x", "xy", "xyz"] {
                let text = STANDARD.encode(format!("{before}{secret}{after}"));
                let shown = masked(&bearer(secret), text.as_bytes());
                let clear = shown.iter().map(|byte| if *byte == b'*' { b'A' } else { *byte });
                let left = STANDARD.decode(clear.collect::<Vec<_>>());
                let left = left.unwrap();
                let left = &left[before.len()..before.len() + secret.len()];
                let same = left.iter().zip(secret.bytes()).filter(|(one, other)| **one == *other);
                assert_eq!(same.count(), 0, "{before} {after}");
            }
        }
    }

    #[test]
    fn a_short_secret_is_not_looked_for() {
        let patterns = bearer("hunter2");
        for text in ["hunter2 is a word", "Bearer of hunter2", "a hunter2"] {
            assert_eq!(masked(&patterns, text.as_bytes()), text.as_bytes());
        }
        assert_eq!(masked(&patterns, b"Bearer hunter2."), b"**************.");
        assert_eq!(patterns.shortest(), Some(10));
        assert_eq!(patterns_of_nothing().shortest(), None);
        assert_eq!(masked(&patterns_of_nothing(), b"any text"), b"any text");
    }

    fn patterns_of_nothing() -> CredentialPatterns {
        CredentialPatterns::of([])
    }

    #[test]
    fn only_a_beginning_is_held_back() {
        let patterns = bearer("sk-live-0a1B2c3D4e5F");
        for (text, settled) in [
            ("data: {\"a\": 1}\n\n", 16),
            ("no secret", 9),
            ("a sk-live", 2),
            ("a sk-lively", 11),
            ("the bearer", 4),
            ("the bearers", 10),
            ("50%", 2),
            ("50%7", 2),
            ("50%71", 5),
            ("a \\", 2),
            ("a \\u00", 2),
            ("a \\x", 4),
        ] {
            assert_eq!(patterns.echoes(text.as_bytes(), false).settled, settled, "{text}");
            assert_eq!(patterns.echoes(text.as_bytes(), true).settled, text.len(), "{text}");
        }
    }

    #[test]
    fn a_secret_of_one_letter_many_times_takes_no_long() {
        let patterns = bearer(&"a".repeat(4000));
        let text = format!("{}b", "a".repeat(400)).repeat(100);
        assert_eq!(masked(&patterns, text.as_bytes()), text.as_bytes());
    }

    /// Texts full of whole and broken echoes.
    fn texts() -> impl Strategy<Value = (usize, Vec<u8>)> {
        let piece = |secret: &'static str| {
            let spelled = prop::sample::select(spellings(secret));
            prop_oneof![
                3 => spelled.clone(),
                2 => (spelled, 0..40_usize).prop_map(|(text, cut)| {
                    text.chars().take(cut).collect()
                }),
                2 => "[ -~]{0,12}",
                1 => "[sk%\\\\&+w1-9=]{0,8}",
                1 => "\\PC{0,80}",
            ]
        };
        (0..SECRETS.len()).prop_flat_map(move |secret| {
            let pieces = prop::collection::vec(piece(SECRETS[secret]), 0..8);
            (Just(secret), pieces.prop_map(|pieces| pieces.concat().into_bytes()))
        })
    }

    proptest! {
        #[test]
        fn the_prefilter_hides_no_echo((secret, text) in texts()) {
            let patterns = basic(SECRETS[secret]);
            prop_assert_eq!(masked(&patterns, &text), masked_plainly(&patterns, &text));
        }

        #[test]
        fn however_a_text_is_cut_the_same_is_masked(
            (secret, text) in texts(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            for patterns in [bearer(SECRETS[secret]), basic(SECRETS[secret])] {
                prop_assert_eq!(masked_in_pieces(&patterns, &pieces), masked(&patterns, &text));
            }
        }

        #[test]
        fn cut_at_every_byte_the_same_is_masked((secret, text) in texts()) {
            let patterns = bearer(SECRETS[secret]);
            let pieces: Vec<_> = text.chunks(1).chain([&[][..]]).collect();
            prop_assert_eq!(masked_in_pieces(&patterns, &pieces), masked(&patterns, &text));
        }
    }
}
