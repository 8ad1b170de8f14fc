//! Fields of an answer that lead somewhere: they lead the caller back to the same connection, or
//! past the proxy to another origin, and never to another connection (contract §3, "Base URL").

use std::sync::Arc;

use http::header::{self, Entry};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use smallvec::SmallVec;

use super::reference::{Base, ReferenceTarget};
use super::{PREFIX, link, segment, strip};
use crate::model::origin::Origin;
use crate::model::target::decode_unparsable;
use crate::proxy::Settings;
use crate::proxy::refusal::own_status;

/// The rewriting of the answer to a request in base-URL form.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct ResponseRewrite {
    /// `/~/NAME`, as the caller wrote it.
    prefix: Box<str>,
    base: Base,
    settings: Arc<Settings>,
    /// Tells whether the caller's token stood in a field that clients send to other origins too
    /// when they follow a redirect.
    token_travels: bool,
}

/// A reference of an answer, as the caller is told it.
enum Rewritten {
    /// It leads here.
    To(String),
    /// It may not be told, for this reason.
    Nowhere(&'static str),
}

impl ResponseRewrite {
    /// For the answer to a request for `uri`, whose connection is at `origin`; `token_field`
    /// carried the caller's token.
    pub(in crate::proxy) fn new(
        uri: &Uri,
        origin: &Origin,
        token_field: Option<&HeaderName>,
        settings: &Arc<Settings>,
    ) -> Self {
        let target = strip(uri).ok();
        let path = decode_unparsable(target.as_ref().map_or("/", |target| target.path()));
        let query = target.as_ref().and_then(|target| target.query()).map(decode_unparsable);
        Self {
            prefix: format!("{PREFIX}{}", segment(uri.path())).into(),
            base: Base { origin: origin.clone(), path: path.into(), query: query.map(Into::into) },
            settings: Arc::clone(settings),
            // Every client that follows redirects keeps `Authorization` from other origins; what
            // else carries a token is a field like any other to it.
            token_travels: token_field.is_some_and(|field| *field != header::AUTHORIZATION),
        }
    }

    /// Rewrites what leads somewhere, and takes out what an origin says about its own host: the
    /// caller would take it for the proxy's.
    pub(in crate::proxy) fn rewrite(&self, headers: &mut HeaderMap) {
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            let stays = name == header::LOCATION && self.token_travels;
            rewrite_field(headers, &name, |value| self.lead(value, stays));
        }
        rewrite_field(headers, &header::REFRESH, |value| self.refresh(value));
        rewrite_field(headers, &header::LINK, |value| self.links(value));
        for name in ABOUT_ITS_HOST {
            if let Entry::Occupied(field) = headers.entry(name) {
                field.remove_entry_mult();
            }
        }
    }

    /// The reference that leads the caller where this one leads; `stays` where it must not leave
    /// the origin.
    fn lead(&self, reference: &[u8], stays: bool) -> Rewritten {
        match self.base.resolve(reference, &self.settings.own_hosts) {
            ReferenceTarget::Same(path) => Rewritten::To(format!("{}{path}", self.prefix)),
            ReferenceTarget::Elsewhere(_) if stays => Rewritten::Nowhere(TOKEN_TRAVELS),
            ReferenceTarget::Elsewhere(url) => Rewritten::To(url),
            ReferenceTarget::Proxy => Rewritten::Nowhere("it leads to the proxy itself"),
            ReferenceTarget::Unclear => Rewritten::Nowhere("it can be read in more than one way"),
        }
    }

    /// A time alone, or a time and a reference (WHATWG HTML, "shared declarative refresh steps").
    fn refresh(&self, value: &[u8]) -> Rewritten {
        let is_time = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
        let value = value.trim_ascii();
        let end = value.iter().position(|byte| !is_time(byte)).unwrap_or(value.len());
        let Some((time, rest)) = value.split_at_checked(end) else {
            return Rewritten::To(String::new());
        };
        let time = String::from_utf8_lossy(time).into_owned();
        let rest = rest.trim_ascii_start();
        let rest = rest.strip_prefix(b";").or_else(|| rest.strip_prefix(b",")).unwrap_or(rest);
        let reference = refresh_reference(rest.trim_ascii_start());
        if reference.is_empty() {
            return Rewritten::To(time);
        }
        match self.lead(reference, false) {
            Rewritten::To(url) => Rewritten::To(format!("{time}; url={url}")),
            nowhere @ Rewritten::Nowhere(_) => nowhere,
        }
    }

    /// A list of links (RFC 8288 §3); those that may lead nowhere go, and the others stay.
    fn links(&self, value: &[u8]) -> Rewritten {
        let links = link::split(value).filter_map(|link| {
            // Some clients look for `<` alone, and would find a link within a parameter.
            let is_one = !link.parameters.contains(&b'<');
            match self.lead(link.target, false) {
                Rewritten::To(url) if is_one => {
                    let parameters = String::from_utf8_lossy(link.parameters);
                    let url = url.replace('<', "%3C").replace('>', "%3E");
                    Some(format!("<{url}>{parameters}"))
                }
                _ => None,
            }
        });
        Rewritten::To(links.collect::<Vec<_>>().join(", "))
    }
}

/// Rewrites each line of a field; a `Location` that may lead nowhere is told in `Proxy-Status`.
fn rewrite_field(headers: &mut HeaderMap, name: &HeaderName, rewrite: impl Fn(&[u8]) -> Rewritten) {
    let Entry::Occupied(field) = headers.entry(name) else { return };
    let lines: SmallVec<[HeaderValue; 2]> = field.remove_entry_mult().1.collect();
    for line in lines {
        match rewrite(line.as_bytes()) {
            Rewritten::To(text) if text.is_empty() => {}
            Rewritten::To(text) => {
                if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                    headers.append(name, value);
                }
            }
            // A client waits for a redirect, and shows what came instead of it.
            Rewritten::Nowhere(why) if *name == header::LOCATION => {
                headers.append("proxy-status", own_status(&format!("{name} removed: {why}")));
            }
            Rewritten::Nowhere(_) => {}
        }
    }
}

/// The text after `url=` and within quotes, or all of it.
fn refresh_reference(text: &[u8]) -> &[u8] {
    let after_url = text
        .get(..3)
        .filter(|name| name.eq_ignore_ascii_case(b"url"))
        .and_then(|_name| text.get(3..)?.trim_ascii_start().strip_prefix(b"="));
    let text = after_url.map_or(text, <[u8]>::trim_ascii_start);
    let (Some(quote @ (b'"' | b'\'')), Some(quoted)) = (text.first(), text.get(1..)) else {
        return text;
    };
    quoted.split(|byte| byte == quote).next().unwrap_or_default()
}

/// Fields by which an origin speaks of its host for longer than one answer.
const ABOUT_ITS_HOST: [HeaderName; 4] = [
    header::SET_COOKIE,
    header::ALT_SVC,
    header::STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("clear-site-data"),
];

const TOKEN_TRAVELS: &str = "it leads to another origin, to which clients send the access token on; send the token in \
     Authorization to be told of it";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::origin::HostName;
    use crate::proxy::request::settings_of;
    use proptest::prelude::*;
    use url::Url;

    const TARGET: &str = "/~/shop.example/v1/items?page=1";

    fn rewriting(token_field: Option<&HeaderName>) -> ResponseRewrite {
        let settings = settings_of(&["localhost", "127.0.0.1", "[::1]", "proxy.test"]);
        let origin = Origin::new(&HostName::parse("api.example.com").unwrap(), 443);
        let uri = TARGET.parse().unwrap();
        ResponseRewrite::new(&uri, &origin, token_field, &Arc::new(settings))
    }

    fn rewritten(name: &HeaderName, value: &[u8]) -> (Option<String>, bool) {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value).unwrap());
        rewriting(None).rewrite(&mut headers);
        let value = headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (value, headers.contains_key("proxy-status"))
    }

    #[test]
    fn references_to_the_origin_stay_below_the_base_url() {
        for (location, path) in [
            ("https://api.example.com/v2?x=1#y", "/v2?x=1#y"),
            ("HTTPS://API.example.com:0443/v2", "/v2"),
            ("wss://user:pw@api.example.com./v2", "/v2"),
            ("https://api.example.com", "/"),
            ("https://api.example.com?x=1", "/?x=1"),
            ("//api.example.com/v2", "/v2"),
            ("/v2", "/v2"),
            ("\\v2", "/v2"),
            ("v2", "/v1/v2"),
            ("./v2/", "/v1/v2/"),
            ("?page=2", "/v1/items?page=2"),
            ("#top", "/v1/items?page=1#top"),
            ("", "/v1/items?page=1"),
            ("1:2", "/v1/1:2"),
            ("..", "/"),
            ("../../evil/x", "/evil/x"),
            ("/../~/evil/x", "/~/evil/x"),
            ("/%2e%2E/evil/x", "/evil/x"),
            ("/a/.%2e/%2e./%2e/b", "/b"),
            ("/..\\evil", "/evil"),
            ("https://api.example.com/../evil/x", "/evil/x"),
            ("/.\t./evil\t", "/evil"),
            ("/a b/\u{e9}?\u{e9}", "/a%20b/%C3%A9?%C3%A9"),
            ("/...//..%2f/", "/...//..%2f/"),
        ] {
            let expected = (Some(format!("/~/shop.example{path}")), false);
            assert_eq!(rewritten(&header::LOCATION, location.as_bytes()), expected, "{location:?}");
        }
    }

    #[test]
    fn references_to_the_proxy_and_those_of_two_meanings_are_removed() {
        for location in [
            "http://localhost:8080/~/evil/x",
            "http://localhost/",
            "//LOCALHOST:1/~/evil/x",
            "https://user@proxy.test./~/evil",
            "ws://127.0.0.1/~/evil",
            "localhosthttp://localhost/~/evil/x",
            "http://127.1/",
            "http://2130706433/~/evil",
            "http://0x7f.0.0.1/",
            "http://127.0.0.2/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://[0:0::1]:8080/~/evil",
            "http://[::ffff:127.0.0.1]/",
            "http://x.localhost/",
            "http://%6cocalhost/",
            "http://\u{ff4c}ocalhost/",
            "http://\u{2460}27.0.0.1/",
            "ht\ttp://local\thost/~/evil",
            "https:/~/evil/x",
            "http:~/evil",
            "HTTPS:\\\\localhost\\~\\evil",
            "///localhost/~/evil",
            "/\\localhost/~/evil",
            "\\\\localhost/~/evil",
            "https://elsewhere.test\\@localhost/~/evil",
            "https://a@b@localhost/~/evil",
            "https://elsewhere.test:1:2/",
            "https:///~/evil",
            "https://el sewhere.test/",
        ] {
            assert_eq!(
                rewritten(&header::LOCATION, location.as_bytes()),
                (None, true),
                "{location}"
            );
        }
    }

    #[test]
    fn references_to_other_origins_are_left_as_they_are() {
        for url in [
            "http://api.example.com/v2",
            "https://api.example.com:8443/v2",
            "https://other.example.com/v2?#x",
            "https://api.example.com@evil.test/v2",
            "https://api.example.com.evil.test/v2",
            "https://localhost@evil.test/v2",
            "app:callback?code=1",
        ] {
            let expected = (Some(url.to_owned()), false);
            assert_eq!(rewritten(&header::LOCATION, url.as_bytes()), expected, "{url}");
        }
        let secure = rewritten(&header::LOCATION, b"//cdn.test/x").0;
        assert_eq!(secure.as_deref(), Some("https://cdn.test/x"), "as the origin meant it");
    }

    #[test]
    fn a_token_that_clients_send_on_keeps_the_caller_at_the_origin() {
        let location = |field: Option<HeaderName>, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_static(value));
            headers.insert(header::CONTENT_LOCATION, HeaderValue::from_static(value));
            rewriting(field.as_ref()).rewrite(&mut headers);
            assert!(headers.contains_key(header::CONTENT_LOCATION), "nobody follows that one");
            headers.contains_key(header::LOCATION)
        };
        let key = || Some(HeaderName::from_static("x-api-key"));
        assert!(!location(key(), "https://elsewhere.test/"));
        assert!(!location(Some(header::PROXY_AUTHORIZATION), "https://elsewhere.test/"));
        assert!(location(key(), "https://api.example.com/v2"));
        assert!(location(Some(header::AUTHORIZATION), "https://elsewhere.test/"));
        assert!(location(None, "https://elsewhere.test/"));
    }

    #[test]
    fn refreshes_and_links_are_led_back_too() {
        for (name, value, expected) in [
            (header::REFRESH, "5", "5"),
            (header::REFRESH, "5; url=/v2", "5; url=/~/shop.example/v2"),
            (header::REFRESH, "0.5,URL = 'v2' x", "0.5; url=/~/shop.example/v1/v2"),
            (header::REFRESH, "1; https://api.example.com/v2", "1; url=/~/shop.example/v2"),
            (header::REFRESH, "1; url=https://other.test/", "1; url=https://other.test/"),
            (
                header::LINK,
                "<https://api.example.com/p?page=2>; rel=\"next\"; title=\"a, b\", <?page=9>; rel=last",
                "</~/shop.example/p?page=2>; rel=\"next\"; title=\"a, b\", \
                 </~/shop.example/v1/items?page=9>; rel=last",
            ),
            (
                header::LINK,
                "<http://localhost/~/evil>; rel=next, <https://other.test/>; rel=help",
                "<https://other.test/>; rel=help",
            ),
            (
                header::LINK,
                "</a>; title=\"x, <http://localhost/~/evil>; rel=next\", </b>; rel=prev",
                "</~/shop.example/b>; rel=prev",
            ),
        ] {
            let found = rewritten(&name, value.as_bytes());
            assert_eq!(found, (Some(expected.to_owned()), false), "{value}");
        }
        assert_eq!(rewritten(&header::REFRESH, b"5; url=http://localhost/~/evil").0, None);
        assert_eq!(rewritten(&header::LINK, b"<//localhost/~/evil>; rel=next").0, None);
    }

    /// RFC 3986 §5.2 to the letter, for a reader that knows nothing of browsers: the authority and
    /// the path.
    fn resolved_by_rfc_3986(base: &Url, reference: &str) -> (String, String) {
        let (scheme, rest) = match reference.split_once(':') {
            Some((scheme, rest))
                if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) =>
            {
                (Some(scheme), rest)
            }
            _ => (None, reference),
        };
        let rest = rest.split('#').next().unwrap();
        let end_of_path = |text: &str| text.split('?').next().unwrap().to_owned();
        if let Some(rest) = rest.strip_prefix("//") {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            return (
                rest.get(..end).unwrap().to_owned(),
                removed(&end_of_path(rest.get(end..).unwrap())),
            );
        }
        let path = end_of_path(rest);
        let authority = match scheme {
            Some(_) => String::new(),
            None => format!("{}:{}", base.host_str().unwrap(), base.port().unwrap()),
        };
        let path = match path.as_str() {
            "" => base.path().to_owned(),
            rooted if rooted.starts_with('/') => removed(rooted),
            below => removed(&format!(
                "{}{below}",
                base.path().get(..=base.path().rfind('/').unwrap()).unwrap()
            )),
        };
        (authority, path)
    }

    /// §5.2.4 by its own steps.
    fn removed(path: &str) -> String {
        let (mut input, mut output) = (path.to_owned(), String::new());
        while !input.is_empty() {
            let cut = |output: &mut String| output.truncate(output.rfind('/').unwrap_or(0));
            if let Some(rest) = input.strip_prefix("../").or_else(|| input.strip_prefix("./")) {
                input = rest.to_owned();
            } else if input.starts_with("/./") || input == "/." {
                input = format!("/{}", input.get(3..).unwrap_or_default());
            } else if input.starts_with("/../") || input == "/.." {
                input = format!("/{}", input.get(4..).unwrap_or_default());
                cut(&mut output);
            } else if input == "." || input == ".." {
                input.clear();
            } else {
                let end = input.get(1..).unwrap().find('/').map_or(input.len(), |at| at + 1);
                output.push_str(input.get(..end).unwrap());
                input.drain(..end);
            }
        }
        output
    }

    fn assert_harmless(base: &Url, value: &str) -> Result<(), TestCaseError> {
        let below = |path: &str| path == "/~/shop.example" || path.starts_with("/~/shop.example/");
        let is_own = |host: &str| {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            let names = ["localhost", "127.0.0.1", "[::1]", "[::ffff:7f00:1]", "proxy.test"];
            names.contains(&host.as_str())
        };
        if let Ok(url) = base.join(value)
            && ["http", "https", "ws", "wss"].contains(&url.scheme())
            && url.host_str().is_some_and(is_own)
        {
            prop_assert!(below(url.path()), "a browser goes to {}", url);
        }
        let (authority, path) = resolved_by_rfc_3986(base, value);
        let host = authority.rsplit('@').next().unwrap();
        let host =
            host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |(h, _)| h);
        if is_own(host) {
            prop_assert!(below(&path), "a library goes to {} {}", authority, path);
        }
        Ok(())
    }

    fn references() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "https?:|HTTPS:|wss?:|ftp:|//|/|\\\\|\\.\\.|\\.|%2e|%2E|\\?|#|@|:|:8080|~|/~/evil/x| |\t",
            "localhost|LOCALHOST\\.|127\\.0\\.0\\.1|127\\.1|0x7f\\.1|2130706433|\\[::1\\]|\\[::ffff:127\\.0\\.0\\.1\\]",
            "proxy\\.test|%6cocalhost|api\\.example\\.com|evil\\.test|shop\\.example|~/shop\\.example",
            "[a-z.%/\\\\ -]{0,4}|\u{2460}27\\.0\\.0\\.1|\u{ff0e}\u{ff0e}|\u{e9}",
        ];
        prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn no_reference_of_an_origin_leads_to_another_connection(
            reference in references(),
            secure in any::<bool>(),
            host in "localhost|127\\.0\\.0\\.1|proxy\\.test",
        ) {
            let scheme = if secure { "https" } else { "http" };
            let base = Url::parse(&format!("{scheme}://{host}:8080{TARGET}")).unwrap();
            let mut headers = HeaderMap::new();
            let value = |text: String| HeaderValue::from_bytes(text.as_bytes()).unwrap();
            headers.insert(header::LOCATION, value(reference.clone()));
            headers.insert(header::CONTENT_LOCATION, value(reference.clone()));
            headers.insert(header::REFRESH, value(format!("1; url={reference}")));
            headers.insert(header::LINK, value(format!("<{reference}>; rel=\"next\"")));
            rewriting(None).rewrite(&mut headers);
            for name in [header::LOCATION, header::CONTENT_LOCATION] {
                let Some(value) = headers.get(&name) else { continue };
                assert_harmless(&base, std::str::from_utf8(value.as_bytes()).unwrap())?;
            }
            if let Some(value) = headers.get(header::REFRESH) {
                let value = std::str::from_utf8(value.as_bytes()).unwrap();
                if let Some((_, url)) = value.split_once("url=") {
                    assert_harmless(&base, url)?;
                }
            }
            for value in headers.get_all(header::LINK) {
                let value = std::str::from_utf8(value.as_bytes()).unwrap();
                for after in value.split('<').skip(1) {
                    assert_harmless(&base, after.split('>').next().unwrap())?;
                }
            }
        }

        #[test]
        fn no_value_at_all_leads_to_another_connection(
            value in "(https?:)?//(localhost|127\\.0\\.0\\.1)[ -~]{0,20}|\\PC{0,40}",
        ) {
            let base = Url::parse(&format!("http://localhost:8080{TARGET}")).unwrap();
            let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            for name in [header::LOCATION, header::REFRESH, header::LINK] {
                headers.insert(name, value.clone());
            }
            rewriting(Some(&HeaderName::from_static("x-key"))).rewrite(&mut headers);
            if let Some(value) = headers.get(header::LOCATION) {
                assert_harmless(&base, std::str::from_utf8(value.as_bytes()).unwrap())?;
            }
        }
    }
}
