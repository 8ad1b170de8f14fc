//! A reader of the small XML documents that AWS answers with: elements with text or with elements in
//! them. Whatever else XML has (documents' types, comments, sections, instructions) is refused, so
//! that a document can be read in one way only.

use zeroize::Zeroizing;

use crate::secret::Secret;

/// The texts of a document, by the names of the elements that lead to them.
#[derive(Debug)]
pub(super) struct XmlDocument(Vec<(String, Secret)>);

/// An element that has begun and not ended.
struct OpenElement<'a> {
    name: &'a str,
    /// Tells whether an element was found in it, so that it has no text of its own.
    has_elements: bool,
}

impl XmlDocument {
    /// Reads a document; `None` for anything that is not as plain.
    pub(super) fn read(text: &str) -> Option<Self> {
        // 1. The declaration.
        let mut rest = text.trim_start();
        if let Some(declared) = rest.strip_prefix("<?xml ") {
            rest = declared.split_once("?>")?.1;
        }
        // 2. Tag after tag, each with the text before it.
        let (mut open, mut texts) = (Vec::<OpenElement<'_>>::new(), Vec::new());
        loop {
            let (before, after) = rest.split_once('<')?;
            let (tag, after) = after.split_once('>')?;
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                let ended = open.pop().filter(|element| element.name == name.trim_end())?;
                if ended.has_elements {
                    is_blank(before)?;
                } else {
                    let path = open.iter().map(|element| element.name).chain([ended.name]);
                    texts.push((path.collect::<Vec<_>>().join("/"), plain(before)?));
                }
            } else {
                is_blank(before)?;
                let name = element_name(tag)?;
                if let Some(parent) = open.last_mut() {
                    parent.has_elements = true;
                }
                let is_empty = tag.ends_with('/');
                if !is_empty {
                    open.push(OpenElement { name, has_elements: false });
                }
            }
            if open.len() > MAX_DEPTH || texts.len() > MAX_TEXTS {
                return None;
            }
            if open.is_empty() {
                break;
            }
        }
        // 3. Nothing follows.
        is_blank(rest)?;
        Some(Self(texts))
    }

    /// The text at a path of names; `None` where there is none, or there are several.
    pub(super) fn text(&self, path: &str) -> Option<&Secret> {
        let mut found = self.0.iter().filter(|(name, _)| name == path).map(|(_, text)| text);
        found.next().filter(|_first| found.next().is_none())
    }
}

/// The name in a tag. What follows it are attributes, which say nothing here.
fn element_name(tag: &str) -> Option<&str> {
    let tag = tag.strip_suffix('/').unwrap_or(tag);
    let name = tag.split(|letter: char| letter.is_ascii_whitespace()).next()?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    // An attribute whose value has a `>` in it would end elsewhere.
    let is_whole = tag.bytes().filter(|byte| *byte == b'"').count() % 2 == 0 && !tag.contains('\'');
    (is_name && is_whole).then_some(name)
}

fn is_blank(text: &str) -> Option<()> {
    text.bytes().all(|byte| byte.is_ascii_whitespace()).then_some(())
}

/// A text without its escapes (XML 1.0 §4.1, §4.6).
fn plain(text: &str) -> Option<Secret> {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let (name, after) = after.split_once(';')?;
        plain.push(match name {
            "amp" => '&',
            "apos" => '\'',
            "gt" => '>',
            "lt" => '<',
            "quot" => '"',
            number => character(number.strip_prefix('#')?)?,
        });
        rest = after;
    }
    plain.push_str(rest);
    Some(Secret::new(plain.as_bytes()))
}

fn character(number: &str) -> Option<char> {
    let code = match number.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => number.parse().ok()?,
    };
    char::from_u32(code)
}

/// The most elements within each other.
const MAX_DEPTH: usize = 8;

/// The most texts.
const MAX_TEXTS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(document: &str, path: &str) -> Option<String> {
        let document = XmlDocument::read(document)?;
        Some(String::from_utf8(document.text(path)?.expose().to_vec()).unwrap())
    }

    #[test]
    fn texts_are_found_by_their_path() {
        let document = "<?xml version=\"1.0\"?>\n<A x=\"1\"><B>one</B> <C><B>t&lt;&#x6f;&#33;</B>\
                        <D/></C></A>\n";
        assert_eq!(text(document, "A/B").as_deref(), Some("one"));
        assert_eq!(text(document, "A/C/B").as_deref(), Some("t<o!"));
        assert_eq!(text(document, "A/C"), None);
        assert_eq!(text("<A><B>1</B><B>2</B></A>", "A/B"), None, "which?");
    }

    #[test]
    fn what_could_be_read_in_another_way_is_refused() {
        for document in [
            "",
            "text",
            "<A>",
            "<A></B>",
            "<A></A><B></B>",
            "<A></A>text",
            "<A>text<B></B></A>",
            "<A><B></B>text</A>",
            "<!DOCTYPE A [<!ENTITY x \"y\">]><A>&x;</A>",
            "<A><!-- --></A>",
            "<A><![CDATA[x]]></A>",
            "<A><?x?></A>",
            "<A>&x;</A>",
            "<A>&#xD800;</A>",
            "<A>&amp</A>",
            "<A b='>'></A>",
            "<A b=\">\"></A>",
            "<A:B></A:B>",
        ] {
            assert!(XmlDocument::read(document).is_none(), "{document}");
        }
        let deep = |depth: usize| format!("{}{}", "<A>".repeat(depth), "</A>".repeat(depth));
        assert!(XmlDocument::read(&deep(8)).is_some() && XmlDocument::read(&deep(9)).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(text in "[<>/a&;#x\"' !?-]{0,40}") {
            let _any = XmlDocument::read(&text);
        }
    }
}
