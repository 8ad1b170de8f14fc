//! The members of an entry's line by which entries are found, read without reading the rest.

use std::borrow::Cow;

use jiff::Timestamp;
use memchr::{memchr2, memmem};

use crate::wire::AuditEntry;

/// The members of an entry by which it is found.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct EntryKeys<'a> {
    /// The second of its arrival.
    pub(super) second: i64,
    pub(super) request_id: Cow<'a, str>,
    pub(super) caller: Cow<'a, str>,
    pub(super) integration: Cow<'a, str>,
    pub(super) connection: Cow<'a, str>,
    pub(super) method: Cow<'a, str>,
    /// The path at the origin.
    pub(super) path: Cow<'a, str>,
    pub(super) code: Cow<'a, str>,
    pub(super) status: u16,
}

/// Reads a line from its beginning to its end.
struct LineReader<'a> {
    rest: &'a str,
}

impl<'a> EntryKeys<'a> {
    /// Reads a line. One that can't be read has no members, and is not found.
    pub(super) fn read(line: &'a str) -> Self {
        Self::scan(line).unwrap_or_else(|| Self::parse(line).unwrap_or_default())
    }

    /// Reads a line with its members in the order in which the ledger writes them.
    fn scan(line: &'a str) -> Option<Self> {
        // 1. The members, one behind the other.
        let mut reader = LineReader { rest: line };
        let time = reader.text("{\"time\":")?;
        let request_id = reader.text(",\"request_id\":")?;
        let caller = reader.text(",\"caller\":")?;
        let integration = reader.text(",\"integration\":")?;
        let connection = reader.text(",\"connection\":")?;
        let method = reader.text(",\"method\":")?;
        let origin = reader.text(",\"origin\":")?;
        let path = reader.text(",\"path\":")?;
        let form = reader.text(",\"form\":")?;
        let code = reader.text(",\"code\":")?;
        let status = reader.number(",\"status\":")?;
        // 2. The time in seconds, and the path without the connection's name.
        let second = time.parse::<Timestamp>().ok()?.as_second();
        let path = match path {
            Cow::Borrowed(path) => path_at_origin(path, &origin, &form).into(),
            Cow::Owned(path) => path_at_origin(&path, &origin, &form).to_owned().into(),
        };
        Some(Self {
            second,
            request_id,
            caller,
            integration,
            connection,
            method,
            path,
            code,
            status,
        })
    }

    /// Reads a line with its members in any order.
    fn parse(line: &str) -> Option<Self> {
        let entry: AuditEntry = serde_json::from_str(line).ok()?;
        let path = path_at_origin(&entry.path, &entry.origin, &entry.form).to_owned();
        Some(Self {
            second: entry.time.parse::<Timestamp>().ok()?.as_second(),
            request_id: entry.request_id.into(),
            caller: entry.caller.into(),
            integration: entry.integration.into(),
            connection: entry.connection.into(),
            method: entry.method.into(),
            path: path.into(),
            code: entry.code.into(),
            status: entry.status,
        })
    }
}

impl<'a> LineReader<'a> {
    /// Reads the string that follows `key`. No string has a key's characters in it, since its quotes
    /// are escaped.
    fn text(&mut self, key: &str) -> Option<Cow<'a, str>> {
        self.skip(key)?;
        let inside = self.rest.strip_prefix('"')?;
        let (mut end, mut is_plain) = (0, true);
        loop {
            let at = end + memchr2(b'"', b'\\', inside.as_bytes().get(end..)?)?;
            if inside.as_bytes().get(at) == Some(&b'"') {
                end = at;
                break;
            }
            (end, is_plain) = (at + 2, false);
        }
        let (text, rest) = (inside.get(..end)?, inside.get(end + 1..)?);
        let whole = self.rest.get(..end + 2)?;
        self.rest = rest;
        if is_plain {
            Some(text.into())
        } else {
            serde_json::from_str::<String>(whole).ok().map(Cow::Owned)
        }
    }

    fn number(&mut self, key: &str) -> Option<u16> {
        self.skip(key)?;
        let end = self.rest.find(|c: char| !c.is_ascii_digit())?;
        self.rest.get(..end)?.parse().ok()
    }

    fn skip(&mut self, key: &str) -> Option<()> {
        let at = memmem::find(self.rest.as_bytes(), key.as_bytes())?;
        self.rest = self.rest.get(at + key.len()..)?;
        Some(())
    }
}

/// The path as the origin has got it: of a base URL, what follows the connection's name.
pub fn path_at_origin<'p>(path: &'p str, origin: &str, form: &str) -> &'p str {
    let is_base_url = form == "base_url" && !origin.is_empty();
    let Some(below) = path.strip_prefix("/~/").filter(|_| is_base_url) else { return path };
    below.find('/').and_then(|at| below.get(at..)).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"time":"2026-11-30T19:00:01.250Z","level":"INFO","target":"keyferry::access","request_id":"1f45-7","caller":"c\"i","integration":"shop","connection":"api","method":"GET","origin":"https://api.example.com","path":"/~/api/v1/\u00e4,\\","form":"base_url","decision":"refuse","code":"RateLimited","rule":"rate","status":429,"request_bytes":0,"response_bytes":1,"total_ms":0.100,"upstream_ms":0.000,"instance":"1f45"}"#;

    #[test]
    fn a_line_is_scanned_as_it_is_parsed() {
        let keys = EntryKeys::read(LINE);
        assert_eq!(Some(&keys), EntryKeys::scan(LINE).as_ref());
        assert_eq!(Some(keys), EntryKeys::parse(LINE));
        let keys = EntryKeys::read(LINE);
        assert_eq!((&*keys.caller, &*keys.path, keys.status), ("c\"i", "/v1/\u{e4},\\", 429));
    }

    #[test]
    fn what_is_no_entry_has_no_members() {
        for line in ["", "x", "{}", "{\"time\":\"", "{\"time\":\"x\"}", "[1]"] {
            assert_eq!(EntryKeys::read(line), EntryKeys::default(), "{line}");
        }
        // Members in another order are read all the same.
        let other = LINE.replacen("{\"time\":\"2026-11-30T19:00:01.250Z\",", "{", 1);
        let other = other.replacen('}', ",\"time\":\"2026-11-30T19:00:01.250Z\"}", 1);
        assert_eq!(EntryKeys::read(&other), EntryKeys::read(LINE));
    }

    #[test]
    fn the_path_at_the_origin_lacks_the_connection() {
        for (path, origin, form, expected) in [
            ("/v1", "https://a", "absolute", "/v1"),
            ("/~/api/v1", "https://a", "base_url", "/v1"),
            ("/~/api", "https://a", "base_url", "/"),
            ("/~/api/v1", "", "base_url", "/~/api/v1"),
            ("/~/api/v1", "https://a", "tunnel", "/~/api/v1"),
        ] {
            assert_eq!(path_at_origin(path, origin, form), expected);
        }
    }
}
