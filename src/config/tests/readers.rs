use bytesize::ByteSize;

use super::super::item::{Item, Mark};
use super::super::readers::*;
use super::*;
use crate::listener::ListenAddr;

/// Reads a string, and tells whether it is at fault.
fn read<T: 'static>(reader: &Reader<T>, text: &str) -> (Option<T>, bool) {
    let environment = Environment::default();
    let source = Source::of_text(None, String::new().into(), &environment);
    let report = Report::new(&source);
    let mark = Mark { place: SourcePlace::Default, key: "key".to_owned(), report: &report };
    let value = toml::de::DeValue::String(text.into());
    let value = reader.read(Item::new(value, &(0..0), mark));
    (value, report.verdict(|_key| true).is_err())
}

fn accepts<T: 'static>(reader: &Reader<T>, text: &str) -> bool {
    let (value, is_faulty) = read(reader, text);
    assert_eq!(value.is_none(), is_faulty, "{text}");
    value.is_some()
}

#[test]
fn durations_are_read_by_their_unit() {
    for (text, milliseconds) in [
        ("500ms", 500),
        ("5s", 5_000),
        ("10m", 600_000),
        ("2h", 7_200_000),
        ("7d", 604_800_000),
        ("1m 30s", 90_000),
    ] {
        let expected = Some(Duration::from_millis(milliseconds));
        assert_eq!(read(&duration(), text), (expected, false), "{text}");
    }
    for text in ["", "5", "s", "-5s", "5 parsecs", "0s", "36501d", "99999999999999999999d"] {
        assert_eq!(read(&duration(), text), (None, true), "{text}");
    }
}

#[test]
fn sizes_are_read_by_their_unit() {
    let reader = size(ByteSize::kib(1), ByteSize::tib(1));
    for (text, bytes) in [
        ("1KiB", 1 << 10),
        ("64MiB", 64 << 20),
        ("1.5 GiB", 3 << 29),
        ("1TiB", 1 << 40),
        ("10kB", 10_000),
        ("2000B", 2000),
    ] {
        assert_eq!(read(&reader, text), (Some(bytes), false), "{text}");
    }
    for text in ["", "5000", "MiB", "-5MiB", "5 parsecs", "1023B", "1.1TiB", "9e99GiB", "NaNB"] {
        assert_eq!(read(&reader, text), (None, true), "{text}");
    }
}

#[test]
fn texts_are_read_by_their_rules() {
    assert_eq!(read(&mode(), "0660").0, Some(0o660));
    assert_eq!(read(&host(), "LocalHost").0.unwrap(), "localhost");
    assert_eq!(read(&host(), "[::1]").0.unwrap(), "[::1]");
    let url = read(&public_url(), "https://k.example.com/base/").0;
    assert_eq!(url.unwrap(), "https://k.example.com/base");
    let app = read(&origin(), "https://App.example.com:8443").0;
    assert_eq!(app.unwrap(), "https://app.example.com:8443");
    assert_eq!(read(&label(), "Acme").0.unwrap(), "acme");
    assert_eq!(read(&or_empty(label()), "").0, Some(None));
    assert_eq!(read(&method(), "REPORT").0.unwrap().as_str(), "REPORT");
    let (name, port) = name_and_port("api.example.test:443").unwrap();
    assert_eq!((name.as_str(), port), ("api.example.test", 443));
}

#[test]
fn texts_that_break_a_rule_are_refused() {
    for text in ["", "8", "+600", "07777", "rw", "600 "] {
        assert!(!accepts(&mode(), text), "{text}");
    }
    for text in ["", "a:80", "https://a", "a/b", "*.a.com", "u@a"] {
        assert!(!accepts(&host(), text), "{text}");
    }
    for text in ["", "a.com", "ftp://a.com", "https://u:p@a.com", "https://a.com?q", "/a"] {
        assert!(!accepts(&public_url(), text), "{text}");
    }
    for text in ["https://a.com/", "https://a.com/x", "a.com", "https://u@a.com"] {
        assert!(!accepts(&origin(), text), "{text}");
    }
    for text in ["a.b", "-a", "a-", "a_b", "é"] {
        assert!(!accepts(&label(), text), "{text}");
    }
    for text in ["", "GET POST", "trace", "TRACK", "Debug", "CONNECT"] {
        assert!(!accepts(&method(), text), "{text}");
    }
    for text in ["api.example.test", "1.2.3.4:443", "a:0", ":443", "https://a:443"] {
        assert!(name_and_port(text).is_none(), "{text}");
    }
}

#[test]
fn a_listener_prints_as_it_reads() {
    for text in ["127.0.0.1:8080", "[::1]:0", "unix:/run/keyferry/proxy.sock"] {
        assert_eq!(read(&listen_address(), text).0.unwrap().to_string(), text);
    }
    for text in ["", "8080", ":8080", "localhost:8080", "127.0.0.1", "::1:80", "unix:"] {
        assert!(!accepts(&listen_address(), text), "{text}");
    }
}

#[test]
fn loopback_and_unix_sockets_are_local_and_nothing_else_is() {
    let local = |text| read(&listen_address(), text).0.as_ref().is_some_and(ListenAddr::is_local);
    for text in ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/s"] {
        assert!(local(text), "{text}");
    }
    for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fe80::1]:1"] {
        assert!(!local(text), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_at_all_gives_a_size_or_a_fault(text in "\\PC{0,20}") {
        let (value, is_faulty) = read(&size(ByteSize::kib(1), ByteSize::tib(1)), &text);
        prop_assert_eq!(value.is_none(), is_faulty);
    }

    #[test]
    fn a_duration_reads_as_it_prints(milliseconds in 1_u64..3_153_600_000_000) {
        let expected = Duration::from_millis(milliseconds);
        let printed = humantime::format_duration(expected).to_string();
        prop_assert_eq!(read(&duration(), &printed), (Some(expected), false));
    }

    #[test]
    fn any_text_at_all_gives_a_duration_or_a_fault(text in "\\PC{0,20}") {
        let (value, is_faulty) = read(&duration(), &text);
        prop_assert_eq!(value.is_none(), is_faulty);
    }
}
