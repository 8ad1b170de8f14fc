//! The lines of a `Link` field (RFC 8288 §3).

/// A link of the list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Link<'a> {
    /// The text between `<` and `>`.
    pub(super) target: &'a [u8],
    /// The text up to the next link, with its first semicolon.
    pub(super) parameters: &'a [u8],
}

/// The links of a line, in order, up to the first that is not well-formed.
pub(super) fn split(line: &[u8]) -> impl Iterator<Item = Link<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
        let start = rest.iter().position(|byte| !is_between(byte))?;
        let after = rest.get(start..)?.strip_prefix(b"<")?;
        let end = after.iter().position(|byte| *byte == b'>')?;
        let (target, after) = (after.get(..end)?, after.get(end + 1..)?);
        let end = end_of_parameters(after);
        rest = after.get(end..)?;
        Some(Link { target, parameters: after.get(..end)?.trim_ascii_end() })
    })
}

/// The position of the comma after a link, or of the line's end; commas within strings do not count.
fn end_of_parameters(text: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b',' if !quoted => return at,
            b'"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && *byte == b'\\' && !escaped;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn links(line: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        split(line.as_bytes()).map(|link| (text(link.target), text(link.parameters))).collect()
    }

    #[test]
    fn commas_and_quotes_within_strings_do_not_separate_links() {
        let line = "<a>; rel=\"next\"; title=\"one, \\\"<two>\\\"\" , ,<b,c>;rel=prev,<d>";
        let expected = [
            ("a", "; rel=\"next\"; title=\"one, \\\"<two>\\\"\""),
            ("b,c", ";rel=prev"),
            ("d", ""),
        ];
        assert_eq!(links(line), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn what_is_not_well_formed_ends_the_list() {
        assert_eq!(links("<a>, b; rel=next, <c>").len(), 1);
        assert_eq!(links("a"), []);
        assert_eq!(links("<a"), []);
    }

    proptest! {
        #[test]
        fn anything_at_all_is_split_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..80)) {
            for link in split(&line) {
                prop_assert!(!link.target.contains(&b'>'));
            }
        }
    }
}
