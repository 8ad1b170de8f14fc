//! What the browser comes back with, read strictly: other programs of this machine can knock at
//! the same port, and so can any page that the browser shows.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A request for the place where a flow ends, or for something else.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Visit {
    /// The flow has ended well.
    Granted {
        /// What is exchanged for the connection.
        code: String,
    },
    /// The flow has ended without tokens.
    Denied {
        /// Why, in a word.
        error: String,
        /// Why, in a sentence; it may be empty.
        description: String,
    },
    /// It has nothing to do with the flow.
    Stray,
}

impl Visit {
    /// Reads a request's head; `place` is the path at which the flow ends.
    pub(super) fn read(head: &[u8], place: &str) -> Self {
        Self::parse(head, place).unwrap_or(Self::Stray)
    }

    fn parse(head: &[u8], place: &str) -> Option<Self> {
        let line = head.split(|byte| *byte == b'\n').next()?;
        let line = std::str::from_utf8(line).ok()?.strip_suffix('\r')?;
        let target = line.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
        let (path, query) = target.split_once('?')?;
        if path != place || !query.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let mut said = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            // What is said twice can be read in two ways.
            if said.insert(name, value).is_some() {
                return None;
            }
        }
        let mut take = |name| said.remove(name).filter(|value| !value.is_empty());
        match (take("verification_code"), take("error")) {
            (Some(code), None) => Some(Self::Granted { code: code.into_owned() }),
            (None, Some(error)) => Some(Self::Denied {
                error: error.into_owned(),
                description: take("error_description").map(Cow::into_owned).unwrap_or_default(),
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> Visit {
        Visit::read(format!("{line}\r\nHost: 127.0.0.1\r\n\r\n").as_bytes(), "/x")
    }

    #[test]
    fn a_browser_comes_back_with_a_code_or_a_reason() {
        let code = |code: &str| Visit::Granted { code: code.to_owned() };
        assert_eq!(read("GET /x?verification_code=s8fO%2D HTTP/1.1"), code("s8fO-"));
        let both = "GET /x?verification_token=abc&verification_code=abc HTTP/1.1";
        assert_eq!(read(both), code("abc"));
        let denied = |error: &str, description: &str| Visit::Denied {
            error: error.to_owned(),
            description: description.to_owned(),
        };
        assert_eq!(
            read("GET /x?error=access_denied&error_description=He+said+no. HTTP/1.1"),
            denied("access_denied", "He said no.")
        );
        assert_eq!(read("GET /x?error=access_denied HTTP/1.1"), denied("access_denied", ""));
    }

    #[test]
    fn nothing_else_ends_a_flow() {
        for line in [
            "GET /favicon.ico HTTP/1.1",
            "GET / HTTP/1.1",
            "GET /x HTTP/1.1",
            "GET /x? HTTP/1.1",
            "GET /x?verification_code= HTTP/1.1",
            "GET /y?verification_code=a HTTP/1.1",
            "GET /x/?verification_code=a HTTP/1.1",
            "GET /%78?verification_code=a HTTP/1.1",
            "GET http://127.0.0.1/x?verification_code=a HTTP/1.1",
            "GET /x?verification_code=a&verification_code=b HTTP/1.1",
            "GET /x?verification_code=a&error=b HTTP/1.1",
            "GET /x?verification_code=a\tb HTTP/1.1",
            "GET  /x?verification_code=a HTTP/1.1",
            "GET /x?verification_code=a HTTP/1.0",
            "GET /x?verification_code=a",
            "HEAD /x?verification_code=a HTTP/1.1",
            "POST /x?verification_code=a HTTP/1.1",
            "get /x?verification_code=a HTTP/1.1",
            "",
        ] {
            assert_eq!(read(line), Visit::Stray, "{line}");
        }
        assert_eq!(Visit::read(b"GET /x?verification_code=a HTTP/1.1\n\n", "/x"), Visit::Stray);
    }

    proptest! {
        #[test]
        fn anything_at_all_is_read_or_stray(head in any::<Vec<u8>>()) {
            Visit::read(&head, "/x");
        }

        #[test]
        fn a_code_comes_out_as_it_went_in(code in "\\PC{1,40}", junk in "[a-z]{1,8}") {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair(&junk, "1").append_pair("verification_code", &code);
            let line = format!("GET /x?{} HTTP/1.1", query.finish());
            prop_assume!(junk != "error");
            prop_assert_eq!(read(&line), Visit::Granted { code });
        }
    }
}
