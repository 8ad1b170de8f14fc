//! Patterns of paths, and the paths that can be held against them.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

/// A pattern of paths: `*` stands for one segment, or within one for any of its text, `**` for any
/// number of segments. A slash at the end makes no difference.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PathPattern(Box<[SegmentPattern]>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum SegmentPattern {
    /// `**`
    AnyNumber,
    /// One segment; in its text each `*` stands for any text.
    One { text: Box<str>, folded: Box<str>, has_star: bool },
}

/// A pattern that was refused. The text states the rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// It is no absolute path.
    #[error("must begin with a slash and be at most {MAX_PATTERN} characters long")]
    Form,
    /// A character stands for something else in a path, or is escaped.
    #[error("must be written as it is read: without % ? # ; \\ and control characters")]
    Character,
    /// A segment is empty or dots.
    #[error("must have no empty segment, and none of one or two dots")]
    Segment,
    /// `**` stands beside other text.
    #[error("must have ** as a segment of its own")]
    Stars,
}

/// The reason why a path could be read as another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnclearPath {
    /// It is no absolute path, as `*`.
    #[error("does not begin with a slash")]
    Form,
    /// It is too long to be judged.
    #[error("is longer than {MAX_PATH} bytes or {MAX_SEGMENTS} segments")]
    Long,
    /// It has an empty segment.
    #[error("has an empty segment (//), which some origins leave out")]
    EmptySegment,
    /// It has a segment of one or two dots, plain or escaped.
    #[error("has a segment of dots, which leads elsewhere")]
    Dots,
    /// It has a separator that only some origins take for one: `\`, `;`, or an escaped slash.
    #[error(
        "has a backslash, a semicolon or an escaped slash, which some origins take for a separator"
    )]
    Separator,
    /// It has an escape that is none, or one that some origins decode twice.
    #[error("has an escape that can be read in two ways")]
    Escape,
    /// It has a character that some origins drop or replace.
    #[error("has a character that some origins drop or take for another")]
    Character,
}

/// A path that can be read in one way only: its segments, decoded.
#[derive(Debug)]
pub(super) struct PlainPath<'a>(SmallVec<[PlainSegment<'a>; 8]>);

#[derive(Debug)]
struct PlainSegment<'a> {
    text: Cow<'a, str>,
    /// The text as lenient origins read it, where it differs.
    folded: Option<Box<str>>,
}

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').filter(|_| text.len() <= MAX_PATTERN);
        let rest = rest.ok_or(PatternError::Form)?;
        let is_unfit = |letter: char| {
            "%?#;\\".contains(letter) || letter.is_control() || is_look_alike(letter)
        };
        if rest.contains(is_unfit) {
            return Err(PatternError::Character);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let segments = rest.split('/').filter(|_| !rest.is_empty());
        segments.map(SegmentPattern::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Tells whether a path matches. With `any_case`, letters match in either case, and so do
    /// segments with dots and spaces at their end.
    pub(super) fn matches(&self, path: &PlainPath<'_>, any_case: bool) -> bool {
        let (patterns, segments) = (&*self.0, &*path.0);
        let (mut at, mut found) = (0, 0);
        // The last `**`, and the segment from which the search goes on when what follows it fails.
        let mut retry: Option<(usize, usize)> = None;
        while let Some(segment) = segments.get(found) {
            match patterns.get(at) {
                Some(SegmentPattern::AnyNumber) => {
                    retry = Some((at + 1, found));
                    at += 1;
                }
                Some(pattern) if pattern.matches(segment, any_case) => {
                    (at, found) = (at + 1, found + 1);
                }
                _ => {
                    let Some((after, from)) = retry else { return false };
                    retry = Some((after, from + 1));
                    (at, found) = (after, from + 1);
                }
            }
        }
        let rest = patterns.get(at..).unwrap_or_default();
        rest.iter().all(|pattern| *pattern == SegmentPattern::AnyNumber)
    }

    /// The first segment of every path that the pattern matches, folded: empty for the root, and
    /// `None` where the pattern matches paths with other first segments.
    pub(super) fn first_folded(&self) -> Option<&str> {
        match self.0.first() {
            None => Some(""),
            Some(SegmentPattern::One { folded, has_star: false, .. }) => Some(folded),
            Some(_) => None,
        }
    }
}

impl SegmentPattern {
    fn parse(text: &str) -> Result<Self, PatternError> {
        match text {
            "" | "." | ".." => Err(PatternError::Segment),
            "**" => Ok(Self::AnyNumber),
            text if text.contains("**") => Err(PatternError::Stars),
            text => Ok(Self::One {
                text: text.into(),
                folded: fold(text).into(),
                has_star: text.contains('*'),
            }),
        }
    }

    /// Tells whether a segment matches as it is, or with `any_case` as it is folded.
    fn matches(&self, segment: &PlainSegment<'_>, any_case: bool) -> bool {
        let Self::One { text, folded, has_star } = self else { return false };
        let (pattern, text) =
            if any_case { (folded, segment.folded()) } else { (text, &*segment.text) };
        if *has_star { matches_stars(pattern, text) } else { **pattern == *text }
    }
}

impl PlainSegment<'_> {
    fn folded(&self) -> &str {
        self.folded.as_deref().unwrap_or(&self.text)
    }
}

/// A segment as lenient origins read it: in lower case, without dots and spaces at its end.
fn fold(segment: &str) -> String {
    segment.trim_end_matches(['.', ' ']).to_lowercase()
}

/// Tells whether folding changes nothing, for texts that need no table of letters to tell.
fn is_folded(segment: &str) -> bool {
    let is_changed = |byte: u8| byte.is_ascii_uppercase() || !byte.is_ascii();
    !segment.ends_with(['.', ' ']) && !segment.bytes().any(is_changed)
}

/// Matches a text against a pattern in which `*` stands for any text.
fn matches_stars(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        // The earliest place leaves most for the parts that follow.
        let Some(at) = text.find(part) else { return false };
        text = text.get(at + part.len()..).unwrap_or_default();
    }
    true
}

impl<'a> PlainPath<'a> {
    /// Reads a path.
    ///
    /// # Errors
    /// [`UnclearPath`] says why it could be read as another one.
    pub(super) fn read(path: &'a str) -> Result<Self, UnclearPath> {
        if path.len() > MAX_PATH {
            return Err(UnclearPath::Long);
        }
        let rest = path.strip_prefix('/').ok_or(UnclearPath::Form)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() && path != "/" {
            return Err(UnclearPath::EmptySegment);
        }
        let segments = rest.split('/').filter(|_| !rest.is_empty());
        let mut plain = SmallVec::new();
        for segment in segments {
            plain.push(PlainSegment::read(segment)?);
        }
        if plain.len() > MAX_SEGMENTS { Err(UnclearPath::Long) } else { Ok(Self(plain)) }
    }

    /// The first segment, folded: empty for the root.
    pub(super) fn first_folded(&self) -> &str {
        self.0.first().map_or("", PlainSegment::folded)
    }
}

impl<'a> PlainSegment<'a> {
    /// Decodes one segment.
    fn read(segment: &'a str) -> Result<Self, UnclearPath> {
        if segment.is_empty() {
            return Err(UnclearPath::EmptySegment);
        }
        // Most segments have only letters that mean themselves everywhere.
        let is_plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        };
        if segment.bytes().all(is_plain) {
            return Ok(Self { text: Cow::Borrowed(segment), folded: None });
        }
        // 1. Each escape is whole, and its text is no escape again.
        let text = if segment.contains('%') { decoded(segment)? } else { Cow::Borrowed(segment) };
        // 2. What remains means itself.
        if text.contains(['\\', ';', '/']) {
            return Err(UnclearPath::Separator);
        }
        // Some origins drop dots and spaces at the end.
        if text.trim_matches(['.', ' ']).is_empty() {
            return Err(UnclearPath::Dots);
        }
        let is_unclear = |letter: char| letter.is_control() || is_look_alike(letter);
        if text.contains(is_unclear) {
            return Err(UnclearPath::Character);
        }
        let folded = (!is_folded(&text)).then(|| fold(&text).into());
        Ok(Self { text, folded })
    }
}

fn decoded(segment: &str) -> Result<Cow<'_, str>, UnclearPath> {
    let is_escape = |text: &str| {
        text.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if segment.split('%').skip(1).any(|after| !is_escape(after)) {
        return Err(UnclearPath::Escape);
    }
    let text = percent_decode_str(segment).decode_utf8().map_err(|_silent| UnclearPath::Escape)?;
    let is_encoded_twice = text.split('%').skip(1).any(is_escape);
    if is_encoded_twice { Err(UnclearPath::Escape) } else { Ok(text) }
}

/// Tells whether some origins take a letter for a dot, a slash, a backslash, a semicolon or a
/// percent sign, or for none: its compatibility mapping (UAX #15) has one, or it is invisible.
fn is_look_alike(letter: char) -> bool {
    matches!(letter,
        '\u{fe52}' | '\u{fe54}'
        | '\u{fe68}' | '\u{fe6a}' | '\u{2024}'..='\u{2026}' | '\u{2044}' | '\u{2215}' | '\u{2216}'
        | '\u{131}' | '\u{17f}' | '\u{ff01}'..='\u{ff5e}' | '\u{29f5}' | '\u{29f8}' | '\u{37e}' | '\u{ad}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffd}')
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        self.0.iter().try_for_each(|segment| match segment {
            SegmentPattern::AnyNumber => f.write_str("/**"),
            SegmentPattern::One { text, .. } => write!(f, "/{text}"),
        })
    }
}

impl Serialize for PathPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PathPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The longest path that is held against patterns, in bytes.
const MAX_PATH: usize = 8192;

/// The most segments of such a path.
const MAX_SEGMENTS: usize = 256;

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let path = PlainPath::read(path).unwrap();
        PathPattern::parse(pattern).unwrap().matches(&path, false)
    }

    #[test]
    fn stars_stand_for_segments_and_for_text_within_one() {
        for (pattern, path, expected) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/**", "/", true),
            ("/**", "/a/b", true),
            ("/a/**", "/a", true),
            ("/a/**", "/a/", true),
            ("/a/**", "/ab", false),
            ("/a/*", "/a", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/b/c", false),
            ("/**/c", "/a/b/c", true),
            ("/**/c", "/c", true),
            ("/**/c", "/a/c/b", false),
            ("/**/b/**/d", "/a/b/c/b/e/d", true),
            ("/a/**/b/*", "/a/b/b/c", true),
            ("/*/*.git/info/refs", "/me/repo.git/info/refs", true),
            ("/*/*.git/info/refs", "/me/repo/info/refs", false),
            ("/bot*/get*Me", "/bot7:x/getMe", true),
            ("/ü", "/%C3%BC", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_path_that_could_be_read_as_another_is_none() {
        for path in [
            "*",
            "a",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/a/../b",
            "/%2e%2E/a",
            "/a/.%2e",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a;b",
            "/a%3bb",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%252fb",
            "/a%c0%ae",
            "/a%00",
            "/a%0a",
            "/a%ef%bc%8f",
            "/a%e2%80%8b",
        ] {
            assert!(PlainPath::read(path).is_err(), "{path}");
        }
    }

    #[test]
    fn patterns_that_mean_something_else_are_refused() {
        for pattern in
            ["", "a", "/a//b", "/./a", "/a/..", "/a%20b", "/a?b", "/a#b", "/a;b", "/a**/b"]
        {
            assert!(PathPattern::parse(pattern).is_err(), "{pattern}");
        }
        for pattern in ["/", "/**", "/v1/*/x-*"] {
            assert_eq!(PathPattern::parse(pattern).unwrap().to_string(), pattern);
        }
    }
}
