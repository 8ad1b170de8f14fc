//! Fields that go on, and those that stay behind, in both directions (contract §3, "To the origin go"; RFC 9110 §7.6).

use http::header::{self, Entry};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use smallvec::SmallVec;

use super::caller::carries_token;
use super::refusal::{Code, Refusal};
use crate::model::field::{is_same_to_servers, is_token, starts_the_same_to_servers};

/// The proxy's mark in `Via`, by which it knows a request that has passed here before.
#[derive(Clone, Debug)]
pub struct Via {
    pseudonym: Box<str>,
    http1: HeaderValue,
    http10: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    /// A mark with the name of this process.
    pub fn new(instance: &str) -> Self {
        let pseudonym = format!("keyferry-{instance}");
        let value = |version: &str| {
            HeaderValue::try_from(format!("{version} {pseudonym}"))
                .unwrap_or_else(|_never| HeaderValue::from_static("1.1 keyferry"))
        };
        Self {
            http1: value("1.1"),
            http10: value("1.0"),
            http2: value("2"),
            pseudonym: pseudonym.into(),
        }
    }

    /// Refuses a request that carries our own mark.
    pub(super) fn refuse_loop(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let marked = headers.get_all(header::VIA).iter().any(|value| {
            memchr::memmem::find(value.as_bytes(), self.pseudonym.as_bytes()).is_some()
        });
        if marked {
            return Err(Refusal::new(
                Code::LoopDetected,
                "The request has passed this proxy before; its host leads back here.",
            ));
        }
        Ok(())
    }

    fn mark(&self, headers: &mut HeaderMap, received: Version) {
        let value = match received {
            Version::HTTP_2 => &self.http2,
            Version::HTTP_10 => &self.http10,
            _ => &self.http1,
        };
        headers.append(header::VIA, value.clone());
    }
}

/// Takes out of a request what must not reach the origin: what belongs to the hop, to the proxy,
/// and every spelling of the fields that are about to be injected.
pub fn prepare_request(
    headers: &mut HeaderMap,
    received: Version,
    credential: &[HeaderName],
    token_field: Option<&HeaderName>,
    via: &Via,
) {
    let wants_trailers = headers.get_all(header::TE).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
        })
    });
    // 1. Cookies in one line (RFC 9113 §8.2.3), without the console's own.
    if received == Version::HTTP_2 {
        join_cookies(headers);
    }
    drop_own_cookies(headers);
    // 2. Nothing of the hop, nothing of ours, and no other spelling of the credential's fields.
    strip(headers, |name| {
        is_hop_by_hop(name)
            || is_ours(name)
            || is_alias(name, &header::CONTENT_LENGTH)
            || is_any_alias(name, credential)
            || token_field == Some(name)
    });
    // 3. Our own word to the next hop.
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    via.mark(headers, received);
}

/// Takes out every spelling of the fields that are to carry a credential.
pub(super) fn strip_credential(headers: &mut HeaderMap, credential: &[HeaderName]) {
    strip(headers, |name| is_any_alias(name, credential));
}

/// Takes out of a request's trailers what would not have passed as a field. A request with an
/// access token in a field is refused; when its trailers come its head has left, and only the
/// trailer with the token can be kept back.
pub fn prepare_trailers(trailers: &mut HeaderMap, credential: &[HeaderName]) {
    let strays: Vec<_> = trailers
        .iter()
        .filter(|(_, value)| carries_token(value))
        .map(|(name, _)| name.clone())
        .collect();
    strip(trailers, |name| {
        strays.contains(name)
            || !is_token(name.as_str())
            || is_hop_by_hop(name)
            || is_ours(name)
            || is_framing(name)
            || is_any_alias(name, credential)
    });
}

/// Takes out of a response what belongs to the hop, and our own name from its `Proxy-Status`.
pub fn prepare_response(headers: &mut HeaderMap, received: Version, via: &Via) {
    strip(headers, |name| is_hop_by_hop(name) || is_proxys_own(name) || *name == REQUEST_ID);
    remove_own_status(headers);
    via.mark(headers, received);
}

/// Takes out of a response's trailers what would not have passed as a field.
pub fn prepare_response_trailers(trailers: &mut HeaderMap) {
    strip(trailers, |name| {
        is_hop_by_hop(name) || is_framing(name) || is_proxys_own(name) || *name == REQUEST_ID
    });
    remove_own_status(trailers);
}

/// Returns whether the caller holds its body back until it is asked for (RFC 9110 §10.1.1).
pub(super) fn expects_continue(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Counts `Max-Forwards` of an OPTIONS request down; returns whether the request ends here
/// (RFC 9110 §7.6.2).
pub(super) fn ends_here(method: &Method, headers: &mut HeaderMap) -> bool {
    if *method != Method::OPTIONS {
        return false;
    }
    let Some(value) = headers.get_mut(header::MAX_FORWARDS) else { return false };
    let left: Option<u32> = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    match left {
        Some(0) => true,
        Some(left) => {
            *value = HeaderValue::from(left - 1);
            false
        }
        None => false,
    }
}

/// Every value of each field that `unwanted` names, or that a `Connection` line names, goes.
fn strip(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let mut names: SmallVec<[HeaderName; 8]> = SmallVec::new();
    for name in headers.keys() {
        if unwanted(name) {
            names.push(name.clone());
        }
    }
    for value in headers.get_all(header::CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(option.trim_ascii()) {
                names.push(name);
            }
        }
    }
    for name in names {
        if let Entry::Occupied(entry) = headers.entry(name) {
            entry.remove_entry_mult();
        }
    }
}

/// RFC 9110 §7.6.1, and the older names; also in the spellings that servers read alike.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    let names =
        ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];
    names.into_iter().any(|other| is_same_to_servers(name.as_str(), other))
}

/// HTTP/2 may carry a cookie in crumbs; HTTP/1.1 knows one line alone (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut whole = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(whole) = HeaderValue::from_bytes(&whole) {
        headers.insert(header::COOKIE, whole);
    }
}

/// Cookies know no ports (RFC 6265 §8.5): a browser that has signed in at our console shows it to
/// our proxy on the same host too, and no origin is to see it.
fn drop_own_cookies(headers: &mut HeaderMap) {
    let is_own = |pair: &[u8]| {
        let name = pair.trim_ascii_start();
        let name = name.strip_prefix(b"__Host-").unwrap_or(name);
        name.starts_with(b"keyferry-") || name.starts_with(b"keyferry_")
    };
    let has_own = |line: &HeaderValue| line.as_bytes().split(|byte| *byte == b';').any(is_own);
    if !headers.get_all(header::COOKIE).iter().any(has_own) {
        return;
    }
    let Entry::Occupied(cookies) = headers.entry(header::COOKIE) else { return };
    let (name, lines) = cookies.remove_entry_mult();
    let rest = |line: HeaderValue| {
        let foreign = line.as_bytes().split(|byte| *byte == b';').filter(|pair| !is_own(pair));
        let rest = foreign.map(<[u8]>::trim_ascii).collect::<Vec<_>>().join(&b"; "[..]);
        HeaderValue::from_bytes(&rest).ok().filter(|rest| !rest.is_empty())
    };
    let left: SmallVec<[HeaderValue; 2]> = lines.filter_map(rest).collect();
    for line in left {
        headers.append(&name, line);
    }
}

fn is_framing(name: &HeaderName) -> bool {
    let names = ["content-length", "host", "trailer"];
    names.into_iter().any(|other| is_same_to_servers(name.as_str(), other))
}

/// `Proxy-*` and `X-Zis*`, also in the spellings that servers read alike.
fn is_ours(name: &HeaderName) -> bool {
    let starts_with = |prefix| starts_the_same_to_servers(name.as_str(), prefix);
    starts_with("x-zis") || starts_with("proxy-")
}

/// `Proxy-*` of a response, but for the one that is meant for every recipient (RFC 9209).
fn is_proxys_own(name: &HeaderName) -> bool {
    name.as_str().starts_with("proxy-") && *name != PROXY_STATUS
}

fn is_any_alias(name: &HeaderName, others: &[HeaderName]) -> bool {
    others.iter().any(|other| is_alias(name, other))
}

fn is_alias(name: &HeaderName, other: &HeaderName) -> bool {
    is_same_to_servers(name.as_str(), other.as_str())
}

/// An answer without a member named `keyferry` in `Proxy-Status` is the origin's (contract §4).
/// What is left is read again as its reader will, who joins the lines: a field that is no list of
/// RFC 8941 counts for nothing, and goes.
fn remove_own_status(headers: &mut HeaderMap) {
    let Entry::Occupied(entry) = headers.entry(PROXY_STATUS.clone()) else { return };
    let lines: SmallVec<[HeaderValue; 2]> = entry.remove_entry_mult().1.collect();
    let mut kept: Vec<_> = lines.iter().flat_map(|line| members(line.as_bytes())).collect();
    kept.retain(|member| {
        let read = sfv::Parser::new(*member).parse::<sfv::List>();
        !read.is_ok_and(|list| list.iter().all(is_own_member))
    });
    let whole = kept.join(&b", "[..]);
    let read = sfv::Parser::new(&whole).parse::<sfv::List>();
    if read.is_ok_and(|list| !list.iter().any(is_own_member)) {
        for member in kept.into_iter().filter_map(|member| HeaderValue::from_bytes(member).ok()) {
            headers.append(PROXY_STATUS.clone(), member);
        }
    }
}

/// The members of a line: commas within strings do not separate.
fn members(line: &[u8]) -> Vec<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let members = line.split(|byte| {
        let separates = *byte == b',' && !quoted;
        quoted ^= *byte == b'"' && !escaped;
        escaped = quoted && *byte == b'\\' && !escaped;
        separates
    });
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()).collect()
}

fn is_own_member(member: &sfv::ListEntry) -> bool {
    let sfv::ListEntry::Item(item) = member else { return false };
    let name = match &item.bare_item {
        sfv::BareItem::Token(name) => name.as_str(),
        sfv::BareItem::String(name) => name.as_str(),
        _ => return false,
    };
    name.trim().eq_ignore_ascii_case("keyferry")
}

/// Names the entry of the request that an answer is for.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-keyferry-request-id");
static PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    fn prepared(fields: &[(&str, &str)], credential: &'static str) -> HeaderMap {
        let mut headers = map(fields);
        let credential = HeaderName::from_static(credential);
        prepare_request(&mut headers, Version::HTTP_11, &[credential], None, &Via::new("test"));
        headers
    }

    #[test]
    fn every_connection_line_counts() {
        let headers = prepared(
            &[
                ("connection", "close, X-One"),
                ("Connection", "x-two,,TE"),
                ("x-one", "1"),
                ("x-two", "2"),
                ("x-two", "3"),
                ("x-three", "4"),
                ("keep-alive", "timeout=5"),
            ],
            "authorization",
        );
        assert_eq!(names(&headers), ["via", "x-three"]);
    }

    #[test]
    fn the_proxys_fields_and_every_alias_of_the_credential_go() {
        let headers = prepared(
            &[
                ("proxy-authorization", "x"),
                ("Proxy_Authorization", "x"),
                ("proxy-anything", "x"),
                ("x-zis-connection", "x"),
                ("X_ZIS_Host", "x"),
                ("x-zisfoo", "x"),
                ("x-api-key", "a"),
                ("X-API-Key", "b"),
                ("x_api_key", "c"),
                ("x_api-key", "d"),
                ("x-api-keys", "stays"),
                ("content-length", "5"),
                ("authorization", "stays"),
            ],
            "x-api-key",
        );
        assert_eq!(names(&headers), ["authorization", "via", "x-api-keys"]);
    }

    #[test]
    fn the_crumbs_of_a_cookie_are_joined() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        let credential = HeaderName::from_static("authorization");
        prepare_request(&mut headers, Version::HTTP_2, &[credential], None, &Via::new("test"));
        assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn framing_in_disguise_goes_too() {
        let fields = [("transfer_encoding", "chunked"), ("content_length", "5"), ("x_y", "stays")];
        assert_eq!(names(&prepared(&fields, "authorization")), ["via", "x_y"]);
    }

    #[test]
    fn te_trailers_stays_as_grpc_needs_it() {
        let headers = prepared(&[("te", "gzip, Trailers")], "authorization");
        assert_eq!(
            (&headers["te"], &headers["connection"]),
            (&HeaderValue::from_static("trailers"), &HeaderValue::from_static("te"))
        );
        assert!(!prepared(&[("te", "gzip")], "authorization").contains_key("te"));
    }

    #[test]
    fn an_origins_member_of_our_name_is_removed_from_proxy_status() {
        let mut headers = map(&[
            (
                "proxy-status",
                "cdn; details=\"a, \\\"keyferry; b\", keyferry; error=x, \"keyferry\"",
            ),
            ("proxy-status", "Keyferry"),
            ("proxy-authenticate", "Basic"),
        ]);
        prepare_response(&mut headers, Version::HTTP_11, &Via::new("test"));
        let left: Vec<_> = headers.get_all("proxy-status").iter().collect();
        assert_eq!(left, ["cdn; details=\"a, \\\"keyferry; b\""]);
        assert!(!headers.contains_key("proxy-authenticate"));
    }

    #[test]
    fn a_member_that_hides_in_a_string_across_lines_is_found() {
        for lines in [
            &["cdn; details=\"", "\", keyferry; error=x"][..],
            &["cdn; details=\"", "keyferry"],
            &["keyferry x"],
            &["\u{e9}, keyferry"],
            &["\"key\\\\ferry\", KEYFERRY;error=x"],
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("proxy-status", HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            prepare_response(&mut headers, Version::HTTP_11, &Via::new("test"));
            let left = headers.get("proxy-status").map(|value| value.to_str().unwrap());
            assert!(left.is_none_or(|left| !left.to_lowercase().contains("keyferry")), "{lines:?}");
        }
    }

    #[test]
    fn every_spelling_that_a_server_may_read_alike_goes() {
        let credential = HeaderName::from_static("x-api-key");
        for name in ["X.Api.Key", "x_api.key", "x~api|key", "X.Zis.Host", "proxy.authorization"] {
            assert_eq!(names(&prepared(&[(name, "x")], "x-api-key")), ["via"], "{name}");
            let mut trailers = map(&[(name, "x"), ("x-sum", "1")]);
            prepare_trailers(&mut trailers, std::slice::from_ref(&credential));
            assert_eq!(names(&trailers), ["x-sum"], "{name}");
        }
    }

    #[test]
    fn trailers_are_filtered_as_fields_are() {
        let token = format!("kf_{}", "a".repeat(43));
        let pair = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("u:{token}"));
        let escaped = token.replace('_', "%5F");
        let mut trailers = map(&[
            ("authorization", &format!("Basic {pair}")),
            ("x-auth", &format!("bAsIc\t {}", pair.trim_end_matches('='))),
            ("x-token", &token),
            ("x-url", &format!("https://x/?{escaped}")),
            ("content_length", "5"),
            ("transfer.encoding", "chunked"),
            ("trailer", "x"),
            ("x-sum", "1"),
        ]);
        prepare_trailers(&mut trailers, &[HeaderName::from_static("x-api-key")]);
        assert_eq!(names(&trailers), ["x-sum"]);
    }

    proptest! {
        #[test]
        fn no_copy_of_an_injected_field_passes(seed: u64) {
            let marks = b"-_.!~'*+|^`$%&#";
            let mut left = seed;
            let mut draw = |count: u64| { let drawn = left % count; left /= count; drawn };
            let spelled = "x-api-key".chars().map(|letter| match letter {
                '-' => char::from(marks[usize::try_from(draw(15)).unwrap()]),
                letter if draw(2) == 0 => letter,
                letter => letter.to_ascii_uppercase(),
            });
            let name: String = spelled.collect();
            let option = ["close", "X-Api-Key", "x_api_key", ""][usize::try_from(draw(4)).unwrap()];
            let mut headers = map(&[(&name, "forged"), ("connection", option), ("x-api-keys", "stays")]);
            let credential = HeaderName::from_static("x-api-key");
            prepare_request(&mut headers, Version::HTTP_11, &[credential], None, &Via::new("test"));
            prop_assert_eq!(names(&headers), ["via", "x-api-keys"]);
        }

        #[test]
        fn nothing_of_ours_and_nothing_of_the_hop_ever_passes(
            fields in prop::collection::vec(("[a-zA-Z_-]{1,12}|[Cc]onnection|[xX][-_]zis[a-z-]{0,4}|[Pp]roxy[-_][a-z]{1,4}|te|x[_-]key", "[a-z,_ -]{0,20}"), 0..12)
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.append(HeaderName::try_from(name.as_str()).unwrap(), value.parse().unwrap());
            }
            let nominated: Vec<String> = headers.get_all("connection").iter()
                .flat_map(|value| value.to_str().unwrap().split(',').map(|s| s.trim().to_owned()).collect::<Vec<_>>())
                .collect();
            let credential = HeaderName::from_static("x-key");
            prepare_request(&mut headers, Version::HTTP_11, &[credential], None, &Via::new("test"));
            for name in headers.keys() {
                let plain = name.as_str().replace('_', "-");
                prop_assert!(!plain.starts_with("x-zis") && !plain.starts_with("proxy-"));
                prop_assert!(plain != "x-key" && plain != "keep-alive" && plain != "upgrade");
                let by_us = ["te", "connection", "via"].contains(&name.as_str());
                prop_assert!(by_us || !nominated.iter().any(|n| n == name.as_str()));
            }
        }
    }
}
