//! The collector that spans are sent to: an endpoint of the operator's own.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;

use super::origin::{Authority, HostName};

/// The URL of an OTLP collector. Nothing secret is sent there, so that it may be `http`; only the
/// configuration can name one, so that it may have any address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CollectorUrl {
    is_https: bool,
    /// Host and port as they were written.
    authority: Box<str>,
    /// The host without brackets.
    host: Box<str>,
    port: u16,
    path: PathAndQuery,
}

impl CollectorUrl {
    /// Reads the base URL of a collector, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it: spans go to
    /// `v1/traces` below it.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        // 1. Scheme, host and port.
        let url: Uri = text.parse().map_err(|_vague| A_BASE_URL)?;
        let is_https = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(A_BASE_URL),
        };
        let authority = url.authority().ok_or(A_BASE_URL)?.as_str();
        let Authority { host, port } = Authority::parse(authority).map_err(|_vague| A_BASE_URL)?;
        let host = host.to_string();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // 2. The path, to which that of traces is added.
        if url.query().is_some() || text.contains('#') {
            return Err(A_BASE_URL);
        }
        let base = url.path().trim_end_matches('/');
        if base.ends_with(TRACES_PATH) {
            return Err("must be without /v1/traces, which is added to it");
        }
        let path = format!("{base}{TRACES_PATH}").parse().map_err(|_never| A_BASE_URL)?;
        let port = port.unwrap_or(if is_https { 443 } else { 80 });
        Ok(Self { is_https, authority: authority.into(), host: host.into(), port, path })
    }

    /// Tells whether it is asked by TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The value of the `Host` field.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host and the port to dial.
    #[must_use]
    pub fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// The host, where it is a name.
    #[must_use]
    pub fn host_name(&self) -> Option<HostName> {
        HostName::parse(&self.host).ok()
    }

    /// The path that spans are posted to.
    #[must_use]
    pub fn path(&self) -> &PathAndQuery {
        &self.path
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

const TRACES_PATH: &str = "/v1/traces";

const A_BASE_URL: &str =
    "must be the URL of a collector such as \"http://127.0.0.1:4318\", without user or query";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added() {
        for (text, url, host) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces", ("127.0.0.1", 4318)),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/traces", ("::1", 4318)),
            ("https://otel.test/a/", "https://otel.test/a/v1/traces", ("otel.test", 443)),
            ("http://otel", "http://otel/v1/traces", ("otel", 80)),
        ] {
            let parsed = CollectorUrl::parse(text).unwrap();
            assert_eq!((parsed.to_string().as_str(), parsed.host_and_port()), (url, host));
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for text in [
            "",
            "127.0.0.1:4318",
            "grpc://127.0.0.1:4317",
            "http://user:password@otel",
            "http://otel?key=1",
            "http://otel#x",
            "http://otel/v1/traces",
            "http://otel/v1/traces/",
            "/v1",
        ] {
            assert!(CollectorUrl::parse(text).is_err(), "{text}");
        }
    }
}
