//! A request as it is written: its form, its destination, and the connection that it names
//! (contract §3). Never who sends it.

mod rule_subject;

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Uri, Version, header};

use self::rule_subject::JudgedParts;
use super::refusal::{Code, Refusal, malformed};
use super::{Settings, base_url};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::named_enum;
use crate::model::origin::{Authority, Host, Origin};
use crate::model::own_hosts::addressee;
use crate::model::permit::{Scheme, Target};
use crate::model::target::encode_unparsable;
use crate::model::token::occurs_in;

named_enum! {
    /// The form of a request.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum RequestForm {
        /// `GET https://api.example.com/v1`
        Absolute = "absolute",
        /// `CONNECT api.example.com:443`
        Authority = "connect",
        /// `GET /~/NAME/v1`
        BaseUrl = "base_url",
        /// `GET /v1` with `X-Zis-Host` or `Host`
        Gateway = "gateway",
        /// Inside a tunnel
        Tunnel = "tunnel",
    }
}

/// A request, read as far as it can be without asking anyone.
#[derive(Clone, Debug)]
pub struct ProxyRequest {
    /// The method.
    pub method: Method,
    /// The form.
    pub form: RequestForm,
    /// The place that it wants to reach.
    pub destination: Destination,
    /// Tells whether a field names the host, rather than the request's own `Host`.
    pub names_host: bool,
    /// The connection that it names.
    pub tags: Tags,
    /// The length of the body, if it is known beforehand.
    pub body_length: Option<u64>,
    /// The parts that rules are about. They are boxed, because most requests are judged by none.
    judged: Box<JudgedParts>,
}

/// The place that a request wants to reach.
#[derive(Clone, Debug)]
pub enum Destination {
    /// The one host that the connection's allowed domain names.
    ConnectionsOwn,
    /// The one that the request states.
    Stated(Target),
}

/// The integration and connection that a request names, in up to three places.
#[derive(Clone, Debug, Default)]
pub struct Tags {
    /// Integrations: of the path, of the field, of the proxy URL's user.
    pub integrations: [Option<IntegrationName>; 3],
    /// Connections, in the same order.
    pub connections: [Option<ConnectionName>; 3],
}

impl Tags {
    /// Returns whether the request names its connection.
    pub fn is_named(&self) -> bool {
        self.connections.iter().any(Option::is_some)
    }
}

impl RequestForm {
    /// Returns whether the caller speaks to the proxy as to an origin (contract §3, "Caller").
    pub fn is_origin_form(self) -> bool {
        matches!(self, Self::BaseUrl | Self::Gateway)
    }
}

impl ProxyRequest {
    /// Reads a request's head.
    pub fn read(head: &Parts, settings: &Settings) -> Result<Self, Refusal> {
        Self::read_as(recognize(head, settings)?, head, settings)
    }

    pub(super) fn read_as(
        form: RequestForm,
        head: &Parts,
        settings: &Settings,
    ) -> Result<Self, Refusal> {
        // 1. The connection, by its path and by its fields.
        let (path_integration, path_connection) = match form {
            RequestForm::BaseUrl => base_url::tags(head.uri.path())?,
            _ => (None, None),
        };
        let (integration, connection) = named(&head.headers)?;
        // 2. The destination, which only a base URL may leave to the connection.
        let destination = match form {
            RequestForm::Absolute => Destination::Stated(absolute(head)?),
            RequestForm::Authority | RequestForm::Tunnel => Destination::Stated(tunnelled(head)?),
            RequestForm::BaseUrl => match one_field(&head.headers, &X_ZIS_HOST)? {
                Some(host) => Destination::Stated(stated(Scheme::Https, host)?),
                None => Destination::ConnectionsOwn,
            },
            RequestForm::Gateway => {
                Destination::Stated(stated(Scheme::Https, gateway_host(head)?)?)
            }
        };
        // 3. Where the proxy is spoken to as an origin, `Host` must be one of its names.
        if form != RequestForm::Absolute && form != RequestForm::Authority {
            refuse_foreign_host(head, form, settings)?;
        }
        let tags = Tags {
            integrations: [path_integration, integration, None],
            connections: [path_connection, connection, None],
        };
        Ok(Self::of_head(head, form, destination, tags))
    }

    /// The request with what of its head is read in one way in every form.
    pub(super) fn of_head(
        head: &Parts,
        form: RequestForm,
        destination: Destination,
        tags: Tags,
    ) -> Self {
        Self {
            method: head.method.clone(),
            form,
            destination,
            names_host: head.headers.contains_key(&X_ZIS_HOST),
            tags,
            body_length: body_length(&head.headers),
            judged: Box::new(JudgedParts::of(&head.uri)),
        }
    }

    /// Returns whether the request asks for a tunnel.
    pub(super) fn is_connect(&self) -> bool {
        self.form == RequestForm::Authority
    }

    /// The https origin that the request names, for the entry of one that is refused.
    pub(super) fn stated_origin(&self) -> Option<Origin> {
        let Destination::Stated(target) = &self.destination else { return None };
        match &target.authority.host {
            Host::Name(host) if !target.is_plain_http() => {
                Some(Origin::new(host, target.authority.port.unwrap_or(443)))
            }
            _ => None,
        }
    }

    /// The request that a caller would make for `url` in absolute-form, with these tags.
    ///
    /// # Errors
    /// A refusal when the URL can't be read, or is not one that a proxy is asked for.
    pub fn for_url(method: Method, url: &str, tags: Tags) -> Result<Self, Refusal> {
        let url = encode_unparsable(url).map_or(Cow::Borrowed(url), Cow::Owned);
        let uri = url.parse::<Uri>().ok().filter(|uri| uri.scheme().is_some());
        let uri = uri.ok_or_else(|| not_absolute(&url))?;
        let destination = Destination::Stated(stated(scheme(&uri)?, authority(&uri)?)?);
        let form = RequestForm::Absolute;
        let judged = Box::new(JudgedParts::of(&uri));
        Ok(Self { method, form, destination, names_host: false, tags, body_length: None, judged })
    }

    /// The same, where `url` may also be of base-URL form below a name of this proxy, as its callers
    /// write it.
    ///
    /// # Errors
    /// As of [`Self::for_url`]; and when its first segment names no connection.
    pub(super) fn for_callers_url(
        method: Method,
        url: &str,
        tags: Tags,
        settings: &Settings,
    ) -> Result<Self, Refusal> {
        let request = Self::for_url(method, url, tags)?;
        let is_ours = |uri: &Uri| {
            let host = uri.authority().map(http::uri::Authority::as_str);
            base_url::is_one(uri.path())
                && host.is_some_and(|host| settings.own_hosts.contains(host))
        };
        let Some(uri) = url.parse::<Uri>().ok().filter(is_ours) else { return Ok(request) };
        let (of_path, named) = base_url::tags(uri.path())?;
        let Tags { integrations: [_, integration, _], connections: [_, connection, _] } =
            request.tags;
        let tags = Tags {
            integrations: [of_path, integration, None],
            connections: [named, connection, None],
        };
        let (form, destination) = (RequestForm::BaseUrl, Destination::ConnectionsOwn);
        Ok(Self { form, destination, tags, ..request })
    }
}

/// The refusal of a URL that is not whole. Where it lacks its scheme alone, the title says how to
/// write it; what may be secret of it is not repeated.
fn not_absolute(url: &str) -> Refusal {
    let stated = url.split(['?', '#']).next().unwrap_or_default();
    let whole = format!("https://{stated}");
    let uri = whole.parse::<Uri>().ok().filter(|_| stated.len() <= MAX_REPEATED_URL);
    let names_host =
        uri.is_some_and(|uri| authority(&uri).is_ok_and(|host| Authority::parse(host).is_ok()));
    if names_host && !stated.contains("//") && !occurs_in(stated.as_bytes()) {
        let title = format!("{stated} is not an absolute URL: write {whole}.");
        return Refusal::new(Code::MalformedRequest, title);
    }
    malformed("The URL can't be read: write it whole, as https://api.example.com/v1.")
}

/// The forms in the order of contract §3.
pub(super) fn recognize(head: &Parts, settings: &Settings) -> Result<RequestForm, Refusal> {
    if head.method == Method::CONNECT {
        // RFC 9110 §9.3.6: the target is host and port alone; the library reads a URL as well.
        return match head.uri.scheme() {
            None => Ok(RequestForm::Authority),
            Some(_) => Err(malformed("CONNECT takes host:port alone, not a URL.")),
        };
    }
    let is_http2 = head.version == Version::HTTP_2;
    let is_absolute = head.uri.scheme().is_some();
    if is_absolute && !is_http2 {
        return Ok(RequestForm::Absolute);
    }
    if !head.uri.path().starts_with('/') {
        return Err(malformed("The request's target is not one that a proxy can forward."));
    }
    let to_ourselves = !is_http2 || is_to_ourselves(head, settings);
    if base_url::is_one(head.uri.path()) && to_ourselves {
        return Ok(RequestForm::BaseUrl);
    }
    let names_something = |name| head.headers.contains_key(name);
    if is_http2 {
        return match (names_something(&X_ZIS_HOST), is_absolute) {
            (true, _) => Ok(RequestForm::Gateway),
            (false, true) => Ok(RequestForm::Absolute),
            (false, false) => Err(malformed("The request has no :authority.")),
        };
    }
    let tagged =
        [&X_ZIS_HOST, &X_ZIS_CONNECTION, &X_ZIS_INTEGRATION].into_iter().any(names_something);
    if tagged || names_something(&header::PROXY_AUTHORIZATION) {
        return Ok(RequestForm::Gateway);
    }
    Err(malformed(
        "This is a proxy: send https:// requests through it, name a connection with X-Zis-Connection, or use the base URL /~/CONNECTION/.",
    ))
}

/// The target of a tunnel: a host and a port, and nothing comes before the tunnel itself
/// (RFC 9110 §9.3.6).
fn tunnelled(head: &Parts) -> Result<Target, Refusal> {
    let target = stated(Scheme::Https, authority(&head.uri)?)?;
    if target.authority.port.is_none() {
        return Err(malformed("CONNECT takes host:port, with the port."));
    }
    let has_body = head.headers.contains_key(header::TRANSFER_ENCODING)
        || body_length(&head.headers).is_some_and(|length| length > 0);
    if has_body { Err(malformed("CONNECT takes no body.")) } else { Ok(target) }
}

/// Absolute-form: the URL says where, and `Host` is ignored (RFC 9112 §3.2.2).
fn absolute(head: &Parts) -> Result<Target, Refusal> {
    let scheme = scheme(&head.uri)?;
    let authority = authority(&head.uri)?;
    stated(scheme, authority)
}

/// Gateway form: `X-Zis-Host` says where, else `Host` — but then the connection must be named,
/// or any request that strays here would be carried on.
fn gateway_host(head: &Parts) -> Result<&str, Refusal> {
    if let Some(host) = one_field(&head.headers, &X_ZIS_HOST)? {
        return Ok(host);
    }
    Ok(addressee(&head.uri, &head.headers))
}

/// Web pages can make a browser send requests to a name that leads here (DNS rebinding): where
/// the proxy is spoken to as an origin, it must be by one of its own names.
fn refuse_foreign_host(
    head: &Parts,
    form: RequestForm,
    settings: &Settings,
) -> Result<(), Refusal> {
    // Without tokens, nothing else tells a program from such a page.
    let host_is_ours = form == RequestForm::BaseUrl
        || head.headers.contains_key(&X_ZIS_HOST)
        || settings.anonymous.is_some();
    if !host_is_ours || is_to_ourselves(head, settings) {
        return Ok(());
    }
    Err(Refusal::new(
        Code::MisdirectedRequest,
        "The Host field is none of the proxy's names: use one of proxy.allowed_hosts, and name the origin's host with X-Zis-Host.",
    ))
}

fn is_to_ourselves(head: &Parts, settings: &Settings) -> bool {
    settings.own_hosts.contains(addressee(&head.uri, &head.headers))
}

fn scheme(uri: &Uri) -> Result<Scheme, Refusal> {
    match uri.scheme_str() {
        Some("https") => Ok(Scheme::Https),
        Some("http") => Ok(Scheme::Http),
        _ => Err(malformed("The target's scheme is neither http nor https.")),
    }
}

fn authority(uri: &Uri) -> Result<&str, Refusal> {
    uri.authority()
        .map(http::uri::Authority::as_str)
        .ok_or_else(|| malformed("The request's target names no host."))
}

fn stated(scheme: Scheme, authority: &str) -> Result<Target, Refusal> {
    let authority = Authority::parse(authority)
        .map_err(|error| Refusal::new(Code::MalformedRequest, format!("The host: {error}.")))?;
    Ok(Target { scheme, authority })
}

/// The connection and integration of the `X-Zis-*` fields.
pub(super) fn named(
    headers: &HeaderMap,
) -> Result<(Option<IntegrationName>, Option<ConnectionName>), Refusal> {
    let wrong = |error| Refusal::new(Code::MalformedRequest, format!("{error}."));
    let integration = one_field(headers, &X_ZIS_INTEGRATION)?
        .map(IntegrationName::parse)
        .transpose()
        .map_err(wrong)?;
    let connection = one_field(headers, &X_ZIS_CONNECTION)?
        .map(ConnectionName::parse)
        .transpose()
        .map_err(wrong)?;
    Ok((integration, connection))
}

/// The value of a field that may stand once.
pub(super) fn one_field<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if let (Ok(text), None) = (value.to_str(), values.next()) {
        return Ok(Some(text.trim()));
    }
    let title = format!("The field {name} must stand once, in plain text.");
    Err(Refusal::new(Code::MalformedRequest, title))
}

pub(super) fn body_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The longest URL that a refusal repeats, in bytes.
const MAX_REPEATED_URL: usize = 256;

pub(super) static X_ZIS_CONNECTION: HeaderName = HeaderName::from_static("x-zis-connection");
/// Names the integration, for a token that is bound to none.
pub(super) static X_ZIS_INTEGRATION: HeaderName = HeaderName::from_static("x-zis-integration");
/// Names the origin's host, in gateway and base-URL form.
pub(super) static X_ZIS_HOST: HeaderName = HeaderName::from_static("x-zis-host");

/// Settings of a test, with nothing allowed, of a proxy that has these names.
#[cfg(test)]
pub(super) fn settings_of(own_hosts: &[&str]) -> Settings {
    let none = std::time::Duration::ZERO;
    Settings {
        anonymous: None,
        own_hosts: own_hosts.iter().copied().collect(),
        allowed_methods: Vec::new(),
        allow: http::HeaderValue::from_static(""),
        renewal: super::Renewal::default(),
        terms: crate::model::permit::Terms::default(),
        blind_tunnels: false,
        max_body_bytes: 0,
        exchange_idle_timeout: none,
        splice_idle_timeout: none,
        tunnel_first_byte_timeout: none,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_lacks_its_scheme_is_told_how_to_be_written() {
        let told = |url: &str| {
            let refusal = ProxyRequest::for_url(Method::GET, url, Tags::default()).unwrap_err();
            assert_eq!(refusal.code(), Code::MalformedRequest, "{url}");
            refusal.title().to_owned()
        };
        for (url, title) in [
            (
                "api.example.com",
                "api.example.com is not an absolute URL: write https://api.example.com.",
            ),
            (
                "api.example.com:8443/v1?key=secret#x",
                "api.example.com:8443/v1 is not an absolute URL: write https://api.example.com:8443/v1.",
            ),
        ] {
            assert_eq!(told(url), title);
        }
        let token = format!("kf_{}", "a".repeat(43));
        for url in [
            "",
            "/v1",
            "//a.com/",
            "user:pass@a.com/x",
            "a b",
            "https:/a.com",
            "?x",
            "*",
            &format!("a.com/{token}"),
        ] {
            assert!(told(url).starts_with("The URL can't be read: write it whole"), "{url}");
        }
        assert!(told("ftp://a.com/").contains("neither http nor https"));
        assert!(ProxyRequest::for_url(Method::GET, "https://a.com/a\"b", Tags::default()).is_ok());
    }

    #[test]
    fn a_callers_url_may_be_of_base_url_form() {
        let settings = settings_of(&["localhost", "127.0.0.1"]);
        let read =
            |url: &str| ProxyRequest::for_callers_url(Method::GET, url, Tags::default(), &settings);
        for url in ["http://localhost:8080/~/crm/v1", "https://127.0.0.1/~/acme.crm/v1?q"] {
            let request = read(url).unwrap();
            assert_eq!(request.form, RequestForm::BaseUrl, "{url}");
            assert!(matches!(request.destination, Destination::ConnectionsOwn));
            let [connection, ..] = &request.tags.connections;
            assert_eq!(connection.as_ref().unwrap().as_str(), "crm");
        }
        for url in ["http://localhost:8080/v1", "https://api.example.com/~/crm/v1"] {
            assert_eq!(read(url).unwrap().form, RequestForm::Absolute, "{url}");
        }
        assert_eq!(read("http://localhost/~/x/v1").unwrap_err().code(), Code::MalformedRequest);
    }

    fn form(method: Method, target: &str, version: Version) -> Result<RequestForm, Code> {
        let mut request = http::Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().unwrap();
        *request.version_mut() = version;
        ProxyRequest::read(&request.into_parts().0, &settings_of(&["localhost"]))
            .map(|request| request.form)
            .map_err(|refusal| refusal.code())
    }

    #[test]
    fn connect_takes_an_authority_alone() {
        let (malformed, authority) = (Err(Code::MalformedRequest), Ok(RequestForm::Authority));
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for (target, expected) in [
                ("api.example.com:443", authority),
                ("https://api.example.com/", malformed),
                ("https://api.example.com:443", malformed),
                ("/v1", malformed),
                ("*", malformed),
            ] {
                assert_eq!(form(Method::CONNECT, target, version), expected, "{target}");
            }
        }
    }
}
