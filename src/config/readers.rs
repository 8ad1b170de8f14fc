//! The readers of values: each gives the typed value or reports the fault, and says in JSON Schema
//! which values it accepts.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use http::{Method, Uri};
use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Value, json};
use toml::de::DeValue;
use tracing::level_filters::LevelFilter;

use super::fault::SourcePlace;
use super::item::{Item, Mark};
use super::source::RUST_LOG;
use super::store_url::StoreUrl;
use crate::listener::ListenAddr;
use crate::model::name::IntegrationName;
use crate::model::origin::{Authority, Host, HostName};
use crate::model::permit::is_never_passed_on;

/// Reads values of one type.
pub(super) struct Reader<T> {
    /// The values that it accepts, in JSON Schema; `title` says what they are.
    pub(super) schema: Value,
    read: Box<dyn Fn(Item<'_>) -> Option<T>>,
}

impl<T: 'static> Reader<T> {
    /// A reader of values that are `what` and follow a JSON Schema.
    pub(super) fn new(
        what: &str,
        schema: Value,
        read: impl Fn(Item<'_>) -> Option<T> + 'static,
    ) -> Self {
        Self { schema: with(schema, "title", json!(what)), read: Box::new(read) }
    }

    /// Gives the value, or reports the fault and gives nothing.
    pub(super) fn read(&self, item: Item<'_>) -> Option<T> {
        (self.read)(item)
    }

    /// Makes another value of what is read.
    pub(super) fn map<U: 'static>(self, to: impl Fn(T) -> U + 'static) -> Reader<U> {
        Reader { schema: self.schema, read: Box::new(move |item| (self.read)(item).map(&to)) }
    }

    /// Goes on with what is read, and with the mark at which more may be said of it.
    pub(super) fn then<U: 'static>(
        self,
        to: impl Fn(T, Mark<'_>) -> Option<U> + 'static,
    ) -> Reader<U> {
        let read = self.read;
        let then = move |item: Item<'_>| {
            let mark = item.mark();
            to(read(item)?, mark)
        };
        Reader { schema: self.schema, read: Box::new(then) }
    }
}

/// A string that follows a rule, which `parse` names. `pattern` accepts every string that `parse`
/// does.
pub(super) fn text<T: 'static, E: ToString>(
    what: &str,
    pattern: &str,
    parse: impl Fn(&str) -> Result<T, E> + 'static,
) -> Reader<T> {
    let schema = json!({ "type": "string", "pattern": pattern });
    Reader::new(what, schema, move |item| item.parse(&parse))
}

/// A string of which `parse` makes something, or else it must be `what`.
fn parsed<T: 'static>(
    what: &'static str,
    pattern: &str,
    parse: impl Fn(&str) -> Option<T> + 'static,
) -> Reader<T> {
    text(what, pattern, move |text| parse(text).ok_or_else(|| format!("must be {what}")))
}

/// The same as `reader`, but an empty string stands for nothing.
pub(super) fn or_empty<T: 'static>(reader: Reader<T>) -> Reader<Option<T>> {
    let pattern = reader.schema.get("pattern").and_then(Value::as_str).unwrap_or_default();
    let schema = with(reader.schema.clone(), "pattern", json!(format!("^$|{pattern}")));
    let read = move |item: Item<'_>| {
        if item.is_empty_text() { Some(None) } else { reader.read(item).map(Some) }
    };
    Reader { schema, read: Box::new(read) }
}

/// One of a few words.
pub(super) fn choice<T: Clone + 'static>(choices: &[(&'static str, T)]) -> Reader<T> {
    let choices = choices.to_vec();
    let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let what = words.join(" or ");
    let schema = json!({ "enum": choices.iter().map(|(word, _)| *word).collect::<Vec<_>>() });
    Reader::new(&what.clone(), schema, move |item| {
        item.parse(|text| {
            let found = choices.iter().find(|(word, _)| *word == text);
            found.map(|(_, choice)| choice.clone()).ok_or_else(|| format!("must be {what}"))
        })
    })
}

/// `true` or `false`.
pub(super) fn boolean() -> Reader<bool> {
    Reader::new("true or false", json!({ "type": "boolean" }), |item| {
        match item.typed("true or false")? {
            Item { value: DeValue::Boolean(value), .. } => Some(value),
            item => item.expected("true or false"),
        }
    })
}

/// A whole number between both bounds, inclusive.
pub(super) fn number<N>(least: N, most: N) -> Reader<N>
where
    N: TryFrom<i64> + PartialOrd + Copy + Display + Serialize + 'static,
{
    let what = format!("a whole number from {least} to {most}");
    let schema = json!({ "type": "integer", "minimum": least, "maximum": most });
    Reader::new(&what.clone(), schema, move |item| {
        let mark = item.mark();
        let number = N::try_from(item.integer()?).ok();
        let number = number.filter(|number| *number >= least && *number <= most);
        number.or_else(|| mark.refuse(format!("must be {what}")))
    })
}

/// A whole number, where 0 stands for no limit.
pub(super) fn limit() -> Reader<Option<u32>> {
    number(0, u32::MAX).map(|limit| (limit > 0).then_some(limit))
}

/// A duration longer than nothing.
pub(super) fn duration() -> Reader<Duration> {
    duration_or_zero().then(|duration, mark| {
        if duration.is_zero() { mark.refuse("must be longer than zero") } else { Some(duration) }
    })
}

/// A duration, which may be nothing.
pub(super) fn duration_or_zero() -> Reader<Duration> {
    let schema = json!({ "type": "string", "pattern": DURATION });
    Reader::new(A_DURATION, schema, |item| {
        if !item.is_text() {
            return item.expected(A_DURATION);
        }
        item.parse(|text| match humantime::parse_duration(text) {
            Ok(duration) if duration <= MAX_DURATION => Ok(duration),
            Ok(_) => Err("must be at most \"36500d\"".to_owned()),
            Err(_) => Err(format!("must be {A_DURATION}")),
        })
    })
}

/// A number of bytes with its unit, between both bounds, inclusive.
pub(super) fn size(least: ByteSize, most: ByteSize) -> Reader<u64> {
    let schema = json!({ "type": "string", "pattern": SIZE });
    let what = format!("a size from \"{least}\" to \"{most}\"");
    Reader::new(&what, schema, move |item| {
        if !item.is_text() {
            return item.expected(A_SIZE);
        }
        item.parse(|text| match text.parse::<ByteSize>() {
            // A number without a unit could be meant as anything.
            Ok(_) if text.trim_end().ends_with(|last: char| last.is_ascii_digit()) => {
                Err(format!("must be {A_SIZE}"))
            }
            Ok(size) if least <= size && size <= most => Ok(size.as_u64()),
            Ok(_) => Err(format!("must be from \"{least}\" to \"{most}\"")),
            Err(_) => Err(format!("must be {A_SIZE}")),
        })
    })
}

pub(super) fn list<T: 'static>(each: Reader<T>) -> Reader<Vec<T>> {
    let what = each.schema.get("title").and_then(Value::as_str).unwrap_or_default();
    let schema = json!({ "type": "array", "items": each.schema });
    Reader::new(&format!("a list, each {what}"), schema, move |item| {
        let items = item.items()?;
        let length = items.len();
        // All are read before the verdict, so that each fault is reported.
        let values: Vec<T> = items.into_iter().filter_map(|item| each.read(item)).collect();
        (values.len() == length).then_some(values)
    })
}

/// A list with at least one value.
pub(super) fn some<T: 'static>(each: Reader<T>) -> Reader<Vec<T>> {
    let mut reader = list(each).then(|values, mark| {
        if values.is_empty() { mark.refuse("must not be empty") } else { Some(values) }
    });
    reader.schema = with(reader.schema, "minItems", json!(1));
    reader
}

/// A name of a file or directory, as it was written.
pub(super) fn path() -> Reader<PathBuf> {
    text("a path", ".", |text| match text {
        "" => Err("must not be empty"),
        path => Ok(PathBuf::from(path)),
    })
}

/// A name of a file that is read: relative to the directory of the file that names it.
pub(super) fn file() -> Reader<PathBuf> {
    path().then(|path, mark| Some(mark.place.directory().join(path)))
}

/// A level, or `target=level` pairs. What `RUST_LOG` says is taken as it is: it is written for
/// other programs too.
pub(super) fn log_level() -> Reader<String> {
    let what = "off, error, warn, info, debug or trace, or a list such as \"info,keyferry=debug\"";
    Reader::new(what, json!({ "type": "string", "pattern": "." }), move |item| {
        let place = item.mark().place;
        let is_ambient = matches!(place, SourcePlace::Variable(name) if name == RUST_LOG);
        item.parse(|directives| {
            let level = |part: &str| {
                part.rsplit('=').next().is_some_and(|level| level.parse::<LevelFilter>().is_ok())
            };
            let is_known = is_ambient || directives.split(',').all(|part| level(part.trim()));
            is_known.then(|| directives.to_owned()).ok_or_else(|| format!("must be {what}"))
        })
    })
}

/// `ADDRESS:PORT` or `unix:PATH`; a unix socket has no permissions yet.
pub(super) fn listen_address() -> Reader<ListenAddr> {
    let what = "an address and port such as \"127.0.0.1:8080\", or \"unix:PATH\"";
    parsed(what, "^(unix:.|.*:[0-9]+$)", |text| match text.strip_prefix("unix:") {
        Some("") => None,
        Some(path) => Some(ListenAddr::Unix(PathBuf::from(path), 0)),
        None => text.parse().ok().map(ListenAddr::Tcp),
    })
}

/// `ADDRESS:PORT`.
pub(super) fn address() -> Reader<SocketAddr> {
    let what = "an address and port such as \"127.0.0.1:9443\"";
    parsed(what, ":[0-9]+$", |text| text.parse().ok())
}

/// Permission bits in octal.
pub(super) fn mode() -> Reader<u32> {
    parsed("permission bits in octal such as \"0600\"", "^[0-7]+$", |text| {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.filter(|_mode| text.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// A network in CIDR form.
pub(super) fn network() -> Reader<IpNet> {
    let what = "a network such as \"10.0.0.0/8\"";
    parsed(what, "^[0-9A-Fa-f:.]+/[0-9]+$", |text| text.parse().ok())
}

/// Names and ports with the addresses to which they are pinned.
pub(super) fn pins() -> Reader<HashMap<(HostName, u16), SocketAddr>> {
    let schema = json!({ "type": "object", "additionalProperties": address().schema });
    Reader::new("{ \"NAME:PORT\" = \"ADDRESS:PORT\" }", schema, |item| {
        let mut pins = HashMap::new();
        for (name, item) in item.section()?.entries() {
            let mark = item.mark();
            let key = name_and_port(&name).or_else(|| {
                mark.refuse(
                    "a pinned name is written with its port, such as \"api.example.test:443\"",
                )
            });
            if let Some((key, address)) = key.zip(address().read(item))
                && pins.insert(key, address).is_some()
            {
                mark.fault("is pinned twice");
            }
        }
        Some(pins)
    })
}

/// The name of a host without a port, lower-case; an address is one as well.
pub(super) fn host() -> Reader<String> {
    let what = "a host name or an address, without scheme and port";
    parsed(what, "^[^/@*]+$", |text| match Authority::parse(text) {
        Ok(Authority { host, port: None }) => Some(host.to_string()),
        _ => None,
    })
}

/// A method that may reach an origin.
pub(super) fn method() -> Reader<Method> {
    let method = text("a method", "^[!#-'*+.^_`|~0-9A-Za-z-]+$", |text| {
        let method = Method::from_bytes(text.as_bytes());
        let method = method.map_err(|_vague| "is not an HTTP method")?;
        let never = "CONNECT, TRACE, TRACK and DEBUG never reach an origin";
        if is_never_passed_on(text) { Err(never) } else { Ok(method) }
    });
    method.then(|method, mark| {
        if method.as_str().bytes().any(|byte| byte.is_ascii_lowercase()) {
            mark.warning("methods are case-sensitive, and the known ones are in capitals");
        }
        Some(method)
    })
}

/// An `http` or `https` URL without user, query and trailing slash.
pub(super) fn public_url() -> Reader<String> {
    let what = "a URL such as \"https://keyferry.example.com\", without user or query";
    parsed(what, "^[Hh][Tt][Tt][Pp][Ss]?://[^?#@]+$", |text| {
        let url = web_url(text).filter(|url| url.query().is_none() && !text.contains('#'));
        url.map(|_valid| text.trim_end_matches('/').to_owned())
    })
}

/// `scheme://host[:port]` and nothing more.
pub(super) fn origin() -> Reader<String> {
    let what = "an origin such as \"https://app.example.com\", without a path";
    parsed(what, "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+$", |text| {
        let url = web_url(text)?;
        let origin = format!("{}://{}", url.scheme_str()?, url.authority()?);
        text.eq_ignore_ascii_case(&origin).then(|| origin.to_ascii_lowercase())
    })
}

/// One label of a host name.
pub(super) fn label() -> Reader<String> {
    let what = "one label of a host name, such as \"acme\" of acme.zendesk.com";
    parsed(what, "^[0-9A-Za-z-]{1,63}$", |text| {
        let is_allowed = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_label = is_allowed && text.len() <= 63 && !text.starts_with('-');
        (is_label && !text.ends_with('-')).then(|| text.to_ascii_lowercase())
    })
}

/// The place of the store.
pub(super) fn store_url() -> Reader<StoreUrl> {
    let what = "\"memory:\" or \"sqlite:FILE\" or \"postgres://…\"";
    parsed(what, "^(memory:$|sqlite:.|postgres(ql)?://.)", StoreUrl::parse)
}

pub(super) fn integration() -> Reader<IntegrationName> {
    text("an integration's name", "^[a-z0-9_-]{1,64}$", IntegrationName::parse)
}

/// Adds a member to a schema.
pub(super) fn with(mut schema: Value, name: &str, value: Value) -> Value {
    if let Some(members) = schema.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    schema
}

pub(super) fn name_and_port(text: &str) -> Option<(HostName, u16)> {
    match Authority::parse(text) {
        Ok(Authority { host: Host::Name(name), port: Some(port) }) => Some((name, port)),
        _ => None,
    }
}

fn web_url(text: &str) -> Option<Uri> {
    let url: Uri = text.parse().ok()?;
    let is_known = matches!(url.scheme_str(), Some("http" | "https"));
    let authority = Authority::parse(url.authority()?.as_str());
    (is_known && authority.is_ok()).then_some(url)
}

const A_DURATION: &str = "a duration such as \"500ms\", \"5s\", \"10m\" or \"7d\"";

/// Numbers with the units that `humantime` knows; 0 alone needs none.
const DURATION: &str = "^0$|^\\s*[0-9][0-9A-Za-zµ.\\s]*[A-Za-zµ]\\s*$";

const A_SIZE: &str = "a number of bytes with its unit such as \"64MiB\" or \"1GiB\"";

const SIZE: &str = "^[0-9.]+\\s*([KkMmGgTtPpEe][Ii]?)?[Bb]?$";

/// A hundred years: beyond it, adding to a clock could overflow.
const MAX_DURATION: Duration = Duration::from_hours(36_500 * 24);
