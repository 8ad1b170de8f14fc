//! Letters of a secret, in the spellings that JSON, URLs and HTML have for them.

use smallvec::SmallVec;

/// The result of comparing the beginning of a text with the first letter of a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LetterMatch {
    No,
    /// The text ends within a spelling of the letter.
    Cut,
    /// The number of bytes that the letter has in the secret, and that of its spelling.
    Yes(usize, usize),
}

/// The bytes that count as the same letter.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Alphabet {
    /// Those of either case: host names are lower-cased, and hexadecimal digits come in both.
    Text,
    /// Those of base64's two alphabets too (RFC 4648 §4 and §5).
    Base64,
}

impl Alphabet {
    /// The byte that stands for all that count as the same letter.
    pub(super) fn fold(self, byte: u8) -> u8 {
        match (self, byte) {
            (Self::Base64, b'-') => b'+',
            (Self::Base64, b'_') => b'/',
            _ => byte.to_ascii_lowercase(),
        }
    }

    /// Compares the beginning of `text` with the first letter of `letters`, plain or escaped.
    pub(super) fn match_letter(self, letters: &[u8], text: &[u8]) -> LetterMatch {
        let Some(letter) = letters.first() else { return LetterMatch::No };
        let Some(first) = text.first() else { return LetterMatch::Cut };
        let escaped = match first {
            b'\\' => match_json_escape(letters, text),
            b'%' => match_percent_escape(*letter, text),
            b'&' => match_html_escape(letters, text),
            b'+' if *letter == b' ' => LetterMatch::Yes(1, 1),
            _ => LetterMatch::No,
        };
        let is_plain = self.fold(*letter) == self.fold(*first);
        if escaped == LetterMatch::No && is_plain { LetterMatch::Yes(1, 1) } else { escaped }
    }
}

/// Tells whether a spelling other than the plain one may begin with this byte.
pub(super) fn begins_escape(byte: u8) -> bool {
    matches!(byte, b'\\' | b'%' | b'&' | b'+')
}

/// RFC 8259 §7.
fn match_json_escape(letters: &[u8], text: &[u8]) -> LetterMatch {
    match text.get(1) {
        None => LetterMatch::Cut,
        Some(b'u') => {
            let Some(letter) = first_letter(letters) else { return LetterMatch::No };
            let mut spelling = Spelling::new();
            for unit in letter.encode_utf16(&mut [0; 2]) {
                spelling.extend_from_slice(b"\\u");
                push_number(&mut spelling, u32::from(*unit), 16, 4);
            }
            compare(text, &spelling, letter.len_utf8())
        }
        Some(byte) if byte.is_ascii_punctuation() && Some(byte) == letters.first() => {
            LetterMatch::Yes(1, 2)
        }
        Some(_) => LetterMatch::No,
    }
}

/// RFC 3986 §2.1.
fn match_percent_escape(byte: u8, text: &[u8]) -> LetterMatch {
    compare(text, &[b'%', hex_digit(byte >> 4), hex_digit(byte & 0xf)], 1)
}

/// A named character reference, or a numeric one, which may have zeros before it.
fn match_html_escape(letters: &[u8], text: &[u8]) -> LetterMatch {
    let Some(letter) = first_letter(letters) else { return LetterMatch::No };
    let Some(after) = text.strip_prefix(b"&#") else {
        let named: &[u8] = match letter {
            '&' => b"&amp;",
            '\'' => b"&apos;",
            '>' => b"&gt;",
            '<' => b"&lt;",
            '"' => b"&quot;",
            // Any letter has a numeric reference.
            _ => b"&#",
        };
        return compare(text, named, letter.len_utf8());
    };
    // 1. The number's beginning, and the zeros before its first digit.
    let (radix, digits) = match after {
        [b'x' | b'X', digits @ ..] => (16, digits),
        digits => (10, digits),
    };
    let mut number = Spelling::new();
    push_number(&mut number, u32::from(letter), radix, 1);
    number.push(b';');
    let zeros = digits.iter().take(MAX_ZEROS).take_while(|digit| **digit == b'0').count();
    let rest = digits.get(zeros..).unwrap_or_default();
    // 2. Its digits, and its end.
    match compare(rest, &number, letter.len_utf8()) {
        LetterMatch::Yes(letters, length) => {
            LetterMatch::Yes(letters, text.len() - rest.len() + length)
        }
        other => other,
    }
}

/// Compares the beginning of a text with the spelling of a letter of `length` bytes.
fn compare(text: &[u8], spelling: &[u8], length: usize) -> LetterMatch {
    match spelling.iter().zip(text).position(|(one, other)| !one.eq_ignore_ascii_case(other)) {
        Some(_) => LetterMatch::No,
        None if text.len() < spelling.len() => LetterMatch::Cut,
        None => LetterMatch::Yes(length, spelling.len()),
    }
}

/// The spelling of a letter.
type Spelling = SmallVec<[u8; 16]>;

/// Adds a number of at least `width` digits.
fn push_number(spelling: &mut Spelling, mut number: u32, radix: u32, width: usize) {
    let mut digits = SmallVec::<[u8; 8]>::new();
    while number > 0 || digits.len() < width {
        digits.push(hex_digit(u8::try_from(number % radix).unwrap_or(0)));
        number /= radix;
    }
    spelling.extend(digits.into_iter().rev());
}

/// The hexadecimal digit of a number below 16.
pub(super) fn hex_digit(number: u8) -> u8 {
    if number < 10 { b'0' + number } else { b'a' + number.wrapping_sub(10) }
}

/// The first letter of a secret, if it is text.
fn first_letter(letters: &[u8]) -> Option<char> {
    let most = letters.get(..letters.len().min(4))?;
    let valid = match std::str::from_utf8(most) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(most.get(..error.valid_up_to())?).ok()?,
    };
    valid.chars().next()
}

/// The most zeros before the digits of a numeric character reference.
const MAX_ZEROS: usize = 6;

#[cfg(test)]
mod tests {
    use super::LetterMatch::{Cut, No, Yes};
    use super::*;

    fn matched(letters: &str, text: &str) -> LetterMatch {
        in_bytes(letters, text.as_bytes())
    }

    fn in_bytes(letters: &str, text: &[u8]) -> LetterMatch {
        Alphabet::Text.match_letter(letters.as_bytes(), text)
    }

    #[test]
    fn each_spelling_of_a_letter_is_known() {
        for (letters, spelling) in [
            ("a", "a"),
            ("a", "A"),
            ("a", "%61"),
            ("a", "\\u0061"),
            ("a", "&#97;"),
            ("a", "&#x61;"),
            ("/", "/"),
            ("/", "\\/"),
            ("/", "%2F"),
            ("/", "%2f"),
            ("/", "&#x2F;"),
            ("'", "&#039;"),
            ("'", "&apos;"),
            ("\"", "&quot;"),
            ("\"", "\\\""),
            ("\\", "\\\\"),
            ("&", "&amp;"),
            ("&", "&"),
            ("%", "%"),
            ("%", "%25"),
            (" ", "+"),
            ("é", "\\u00E9"),
            ("é", "&#xe9;"),
            ("😀", "\\ud83d\\ude00"),
            ("😀", "&#x0001F600;"),
        ] {
            let first = letters.chars().next().unwrap().len_utf8();
            assert_eq!(matched(letters, &format!("{spelling}x")), Yes(first, spelling.len()));
            for cut in 1..spelling.len() {
                let begun = in_bytes(letters, &spelling.as_bytes()[..cut]);
                assert!(begun == Cut || letters == "%" || letters == "\\", "{spelling} {cut}");
            }
        }
    }

    #[test]
    fn other_letters_are_told_apart() {
        for text in ["b", "%62", "\\u0062", "&#98;", "&amp;", "\\a", "%6", "\\u00620", "&#x610;"] {
            let found = matched("a", text);
            assert!(found == No || (text == "%6" && found == Cut), "{text}");
        }
        assert_eq!(Alphabet::Base64.match_letter(b"+", b"-"), Yes(1, 1));
        assert_eq!(matched("+", "-"), No);
    }
}
