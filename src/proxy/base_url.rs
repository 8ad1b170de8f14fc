//! The base-URL form: `/~/NAME/v1`, for SDKs that let one choose a base URL and a key.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri, header};

use super::refusal::{Code, Refusal};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::origin::{Authority, Host, Origin};

/// Whether a path is of this form.
pub(super) fn is_one(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// The integration and connection that the path names.
pub(super) fn tags(
    path: &str,
) -> Result<(Option<IntegrationName>, Option<ConnectionName>), Refusal> {
    let wrong = |error| {
        Refusal::new(
            Code::MalformedRequest,
            format!("The base URL is /~/CONNECTION/ or /~/INTEGRATION.CONNECTION/: {error}."),
        )
    };
    let segment = segment(path);
    let (integration, connection) = match segment.split_once('.') {
        Some((integration, connection)) => {
            (Some(IntegrationName::parse(integration).map_err(wrong)?), connection)
        }
        None => (None, segment),
    };
    Ok((integration, Some(ConnectionName::parse(connection).map_err(wrong)?)))
}

/// The target without the prefix.
///
/// # Errors
/// When what is left is no path; the library read it as part of one before.
pub fn strip(uri: &Uri) -> Result<PathAndQuery, http::uri::InvalidUri> {
    let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let start = PREFIX.len() + segment(uri.path()).len();
    let rest = whole.get(start..).unwrap_or_default();
    if rest.starts_with('/') { rest.parse() } else { format!("/{rest}").parse() }
}

/// Fields of the answer that would lead the caller past the proxy are led back to it
/// (contract §3, "Base URL").
pub(super) fn rewrite(headers: &mut HeaderMap, request_path: &str, origin: &Origin) {
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let Some(value) = headers.get(&name) else { continue };
        if let Some(ours) = value.to_str().ok().and_then(|url| local(url, request_path, origin)) {
            headers.insert(name, ours);
        }
    }
}

/// The same resource below our own prefix, when `url` is of the same origin.
fn local(url: &str, request_path: &str, origin: &Origin) -> Option<HeaderValue> {
    let rest = if url.starts_with('/') && !url.starts_with("//") {
        url
    } else {
        let after = url
            .get(..8)
            .filter(|scheme| scheme.eq_ignore_ascii_case("https://"))
            .and_then(|_| url.get(8..))
            .or_else(|| url.strip_prefix("//"))?;
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (authority, rest) = after.split_at_checked(end)?;
        let authority = Authority::parse(authority).ok()?;
        let Host::Name(host) = authority.host else { return None };
        if host.as_str() != origin.host() || authority.port.unwrap_or(443) != origin.port() {
            return None;
        }
        rest
    };
    let slash = if rest.starts_with('/') { "" } else { "/" };
    HeaderValue::try_from(format!("{PREFIX}{}{slash}{rest}", segment(request_path))).ok()
}

/// What stands between the prefix and the next slash.
fn segment(path: &str) -> &str {
    let rest = path.strip_prefix(PREFIX).unwrap_or_default();
    rest.split('/').next().unwrap_or_default()
}

const PREFIX: &str = "/~/";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::origin::HostName;
    use proptest::prelude::*;

    #[test]
    fn the_prefix_is_taken_off_and_the_rest_left_as_it_is() {
        for (target, rest) in [
            ("/~/example/v1/a%2Fb/../c?x=1&y=%20", "/v1/a%2Fb/../c?x=1&y=%20"),
            ("/~/shop.example/v1", "/v1"),
            ("/~/example", "/"),
            ("/~/example/", "/"),
            ("/~/example?x=1", "/?x=1"),
            ("/~/example//v1", "//v1"),
        ] {
            let uri: Uri = target.parse().unwrap();
            assert_eq!(strip(&uri).unwrap().as_str(), rest, "{target}");
        }
    }

    #[test]
    fn only_places_of_the_same_origin_are_led_back() {
        let origin = Origin::new(&HostName::parse("api.example.com").unwrap(), 443);
        for (url, ours) in [
            ("https://api.example.com/v2?x=1#y", Some("/~/example/v2?x=1#y")),
            ("HTTPS://API.example.com:443/v2", Some("/~/example/v2")),
            ("https://api.example.com", Some("/~/example/")),
            ("https://api.example.com?x=1", Some("/~/example/?x=1")),
            ("//api.example.com/v2", Some("/~/example/v2")),
            ("/v2", Some("/~/example/v2")),
            ("v2", None),
            ("http://api.example.com/v2", None),
            ("https://api.example.com:8443/v2", None),
            ("https://other.example.com/v2", None),
            ("https://api.example.com@evil.com/v2", None),
            ("https://api.example.com.evil.com/v2", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, url.parse().unwrap());
            rewrite(&mut headers, "/~/example/v1", &origin);
            assert_eq!(headers[header::LOCATION], ours.unwrap_or(url), "{url}");
        }
    }

    proptest! {
        #[test]
        fn what_is_left_of_a_target_is_a_path_and_the_end_of_it(
            name in "[A-Za-z0-9._-]{0,12}",
            rest in "(/[a-z0-9/.%2F~:@-]{0,16})?(\\?[a-z0-9/=&?%:@]{0,16})?",
        ) {
            let target = format!("/~/{name}{rest}");
            let uri: Uri = target.parse().unwrap();
            let left = strip(&uri).unwrap();
            let path = if rest.starts_with('/') { rest } else { format!("/{rest}") };
            prop_assert_eq!(left.as_str(), path);
        }

        #[test]
        fn a_place_is_led_back_to_the_same_path_or_left_alone(
            scheme in "https://|HTTPS://|http://|//|",
            host in "api\\.example\\.com|API\\.example\\.com|evil\\.com|api\\.example\\.com\\.evil\\.com|a@api\\.example\\.com|",
            port in "(:(443|0443|8443|80|))?",
            rest in "(/[a-z/~.]{0,8})?(\\?[a-z/]{0,4})?(#[a-z]{0,3})?",
        ) {
            let origin = Origin::new(&HostName::parse("api.example.com").unwrap(), 443);
            let url = format!("{scheme}{host}{port}{rest}");
            let ours = local(&url, "/~/shop.example/v1", &origin);
            let to_origin = scheme.ends_with("//")
                && scheme != "http://"
                && host.eq_ignore_ascii_case("api.example.com")
                && ["", ":443", ":0443"].contains(&port.as_str());
            let by_path = url.starts_with('/') && !url.starts_with("//");
            let slash = if rest.starts_with('/') { "" } else { "/" };
            let expected = (to_origin || by_path).then(|| format!("/~/shop.example{slash}{rest}"));
            prop_assert_eq!(ours.as_ref().map(|ours| ours.to_str().unwrap()), expected.as_deref());
        }
    }
}
