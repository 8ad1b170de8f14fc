//! URL references of an answer, resolved as its caller will (RFC 3986 §5.2, WHATWG URL).
//!
//! Clients read references in two ways: libraries by RFC 3986, browsers and `fetch` by WHATWG,
//! which takes backslashes for slashes, drops tabs and sees dots in `%2e`. A reference that the two
//! read differently leads nowhere that can be told, and is not handed on.

use url::Host;

use crate::model::origin::Origin;
use crate::model::own_hosts::{OwnHosts, one_spelling};
use crate::model::target::push_escaped;

/// The URL of a request at its origin, to which the references of its answer are relative.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// The origin that was asked.
    pub(super) origin: Origin,
    /// The path at the origin; begins with a slash.
    pub(super) path: Box<str>,
    /// The query, without its question mark.
    pub(super) query: Option<Box<str>>,
}

/// The place to which a reference leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ReferenceTarget {
    /// Below the origin's root: an absolute path without dot segments, with query and fragment.
    Same(String),
    /// To another origin, or by another scheme than HTTP's and WebSocket's.
    Elsewhere(String),
    /// To the proxy itself.
    Proxy,
    /// Different readers see different places, or none.
    Unclear,
}

impl Base {
    /// Resolves a reference of the origin's answer; `own` are the names of the proxy.
    pub(super) fn resolve(&self, reference: &[u8], own: &OwnHosts) -> ReferenceTarget {
        let text = clean(reference);
        if let Some((scheme, rest)) = split_scheme(&text) {
            return match (UrlScheme::of(scheme), rest.strip_prefix("//")) {
                (Some(scheme), Some(rest)) => self.absolute(scheme, rest, own),
                // `https:x` and `https:/x` are relative here and absolute there.
                (Some(_), None) => ReferenceTarget::Unclear,
                // A client may take a scheme that it does not know for HTTP's.
                (None, Some(rest)) if names_proxy(rest, own) => ReferenceTarget::Proxy,
                (None, _) => ReferenceTarget::Elsewhere(text),
            };
        }
        let is_slash = |at: usize| matches!(text.as_bytes().get(at), Some(b'/' | b'\\'));
        match text.strip_prefix("//") {
            Some(rest) => self.absolute(UrlScheme::Https, rest, own),
            None if is_slash(0) && is_slash(1) => ReferenceTarget::Unclear,
            None => ReferenceTarget::Same(self.relative(&text)),
        }
    }

    fn absolute(&self, scheme: UrlScheme, text: &str, own: &OwnHosts) -> ReferenceTarget {
        let end = text.find(['/', '?', '#', '\\']).unwrap_or(text.len());
        let Some((authority, rest)) = text.split_at_checked(end) else {
            return ReferenceTarget::Unclear;
        };
        let Some((host, port)) = read_authority(authority) else { return ReferenceTarget::Unclear };
        // Browsers end the authority at a backslash; libraries go on to an `@` behind it.
        if rest.starts_with('\\') {
            return ReferenceTarget::Unclear;
        }
        if own.may_include(&host) {
            return ReferenceTarget::Proxy;
        }
        let same_host = host == Host::Domain(self.origin.host().to_owned());
        let same_port = port.unwrap_or_else(|| scheme.port()) == self.origin.port();
        if scheme.is_secure() && same_host && same_port {
            let rooted = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
            return ReferenceTarget::Same(self.relative(&rooted));
        }
        ReferenceTarget::Elsewhere(format!("{}://{authority}{rest}", scheme.as_str()))
    }

    /// RFC 3986 §5.2.2 for a reference without scheme and authority.
    fn relative(&self, text: &str) -> String {
        let (text, fragment) = split_at_mark(text, '#');
        let (path, query) = split_at_mark(text, '?');
        let path = path.replace('\\', "/");
        let mut query = query.map(str::to_owned);
        let whole = if path.is_empty() {
            query = query.or_else(|| self.query.as_deref().map(|query| format!("?{query}")));
            without_dots(&self.path)
        } else if path.starts_with('/') {
            without_dots(&path)
        } else {
            let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            without_dots(&format!("{folder}/{path}"))
        };
        let rest = format!("{}{}", query.unwrap_or_default(), fragment.unwrap_or_default());
        escaped(&format!("{whole}{rest}"))
    }
}

/// Tells whether the authority at the beginning of the text is one of the proxy's names.
fn names_proxy(text: &str, own: &OwnHosts) -> bool {
    let authority = text.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    read_authority(authority).is_some_and(|(host, _)| own.may_include(&host))
}

/// The schemes that lead to a server of HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum UrlScheme {
    Http,
    Https,
    Ws,
    Wss,
}

impl UrlScheme {
    fn of(text: &str) -> Option<Self> {
        let all = [Self::Http, Self::Https, Self::Ws, Self::Wss];
        all.into_iter().find(|scheme| scheme.as_str().eq_ignore_ascii_case(text))
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    fn is_secure(self) -> bool {
        matches!(self, Self::Https | Self::Wss)
    }

    fn port(self) -> u16 {
        if self.is_secure() { 443 } else { 80 }
    }
}

/// Splits an absolute URL of HTTP into its host and what follows the authority.
pub(in crate::proxy) fn split_absolute(url: &str) -> Option<(Host, &str)> {
    let (scheme, rest) = split_scheme(url)?;
    UrlScheme::of(scheme)?;
    let rest = rest.strip_prefix("//")?;
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end)?;
    Some((read_authority(authority)?.0, rest))
}

/// The text of a reference as a browser begins with it: no white space around it, no tabs in it.
fn clean(reference: &[u8]) -> String {
    let text = match std::str::from_utf8(reference) {
        Ok(text) => text.to_owned(),
        Err(_other_charset) => escaped_bytes(reference),
    };
    let text = text.trim_matches(|letter| letter <= ' ');
    text.chars().filter(|letter| !matches!(letter, '\t' | '\n' | '\r')).collect()
}

/// `scheme` of RFC 3986 §3.1, and what follows its colon.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some((scheme, rest))
}

/// The host and port of an authority that every reader splits alike.
fn read_authority(text: &str) -> Option<(Host, Option<u16>)> {
    let (user, host) = match text.split_once('@') {
        Some((user, host)) => (user, host),
        None => ("", text),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:".contains(&byte);
    if !user.bytes().all(is_plain) {
        return None;
    }
    let ends_host = |rest: &str| rest.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match host.get(ends_host(host)..).and_then(|rest| rest.rfind(':')) {
        Some(colon) => host.split_at_checked(ends_host(host) + colon)?,
        None => (host, ""),
    };
    let port = match port.strip_prefix(':').filter(|digits| !digits.is_empty()) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        Some(_) => return None,
        None => None,
    };
    Some((one_spelling(Host::parse(host).ok()?), port))
}

/// The text before a mark, and the rest with the mark.
fn split_at_mark(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.find(mark).and_then(|at| text.split_at_checked(at)) {
        Some((before, rest)) => (before, Some(rest)),
        None => (text, None),
    }
}

/// RFC 3986 §5.2.4, for dots that are escaped too.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match count_dots(segment) {
            Some(dots) => {
                if dots == 2 {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            None => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// 1 or 2 for a segment of that many dots and nothing else, as they are or escaped.
fn count_dots(segment: &str) -> Option<usize> {
    let (mut rest, mut dots) = (segment, 0);
    while !rest.is_empty() && dots <= 2 {
        let escaped = rest.get(..3).filter(|escape| escape.eq_ignore_ascii_case("%2e"));
        let length = if rest.starts_with('.') { 1 } else { escaped?.len() };
        rest = rest.get(length..)?;
        dots += 1;
    }
    (1..=2).contains(&dots).then_some(dots)
}

/// Escapes what may not stand in a URL, and leaves the rest as it is.
fn escaped(text: &str) -> String {
    escaped_bytes(text.as_bytes())
}

fn escaped_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_graphic() {
            text.push(char::from(*byte));
        } else {
            push_escaped(&mut text, *byte);
        }
    }
    text
}
