//! An entry as a line of comma-separated values.

use super::AuditEntry;

impl AuditEntry {
    /// The line of RFC 4180 that names the values of the others.
    pub fn csv_head() -> String {
        COLUMNS.join(",") + "\r\n"
    }

    /// The entry as a line of RFC 4180.
    pub fn csv_line(&self) -> String {
        // In the order of the columns.
        let numbers = [
            self.status.to_string(),
            self.request_bytes.to_string(),
            self.response_bytes.to_string(),
            self.total_ms.to_string(),
            self.upstream_ms.to_string(),
        ];
        let [status, request_bytes, response_bytes, total_ms, upstream_ms] = &numbers;
        let values = [
            &self.time,
            &self.request_id,
            &self.caller,
            &self.integration,
            &self.connection,
            &self.method,
            &self.origin,
            &self.path,
            &self.form,
            &self.decision,
            &self.code,
            &self.rule,
            status,
            request_bytes,
            response_bytes,
            total_ms,
            upstream_ms,
            &self.instance,
            &self.cause,
            &self.who,
            &self.trace_id,
        ];
        let mut line = values.map(|value| quoted(value)).join(",");
        line.push_str("\r\n");
        line
    }
}

/// A value, in quotes where it needs them: some spreadsheets separate by semicolons. A spreadsheet
/// takes one that begins like a formula for a text, and a terminal is told nothing.
fn quoted(value: &str) -> String {
    let is_told = |letter: char| letter.is_control() && !matches!(letter, '\t' | '\r' | '\n');
    let value = value.replace(is_told, "\u{fffd}");
    let value = match value.as_bytes().first() {
        Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r' | b'\n') => format!("'{value}"),
        _ => value,
    };
    if value.contains(['"', ',', ';', '\t', '\r', '\n']) {
        return format!("\"{}\"", value.replace('"', "\"\""));
    }
    value
}

const COLUMNS: [&str; 21] = [
    "time",
    "request_id",
    "caller",
    "integration",
    "connection",
    "method",
    "origin",
    "path",
    "form",
    "decision",
    "code",
    "rule",
    "status",
    "request_bytes",
    "response_bytes",
    "total_ms",
    "upstream_ms",
    "instance",
    "cause",
    "who",
    "trace_id",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_and_formulas_are_texts() {
        for (value, written) in [
            ("/v1", "/v1"),
            ("a,b", "\"a,b\""),
            ("say \"no\"\n", "\"say \"\"no\"\"\n\""),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
        ] {
            assert_eq!(quoted(value), written);
        }
        let entry = AuditEntry { path: "/a,b".into(), total_ms: 1.5, ..AuditEntry::default() };
        assert_eq!(entry.csv_line(), ",,,,,,,\"/a,b\",,,,,0,0,0,1.5,0,,,,\r\n");
        assert_eq!(entry.csv_line().matches(',').count(), COLUMNS.len());
    }
}
