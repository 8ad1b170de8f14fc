//! Discovery: the places at which an authorization server and a protected resource describe
//! themselves (RFC 8414 §3, OpenID Connect Discovery §4, RFC 9728 §3).

use http::uri::PathAndQuery;

use super::endpoint::{Endpoint, EndpointError, EndpointTemplate};
use super::profile::Issuer;
use crate::model::name::IntegrationName;
use crate::model::origin::Origin;

/// An endpoint that is asked for public metadata or to register a client, or that the operator's
/// webhook is at. A request to it carries nothing secret.
#[derive(Clone, Debug)]
pub struct DiscoveryEndpoint {
    endpoint: Endpoint,
    integration: IntegrationName,
}

/// The URL of a protected resource, such as an MCP server: an `https` URL without a fragment.
#[derive(Clone, Debug)]
pub struct ResourceUrl(Endpoint);

impl DiscoveryEndpoint {
    /// Reads the URL of an endpoint, which is asked for `integration`.
    ///
    /// # Errors
    /// [`EndpointError`] names the rule that it breaks.
    pub fn parse(url: &str, integration: &IntegrationName) -> Result<Self, EndpointError> {
        let endpoint = EndpointTemplate::parse(url)?.resolve(None)?;
        Ok(Self { endpoint, integration: integration.clone() })
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.endpoint.origin()
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &PathAndQuery {
        self.endpoint.target()
    }

    /// The integration for which it is asked.
    #[must_use]
    pub fn integration(&self) -> &IntegrationName {
        &self.integration
    }
}

impl ResourceUrl {
    /// Reads the URL of a resource.
    ///
    /// # Errors
    /// [`EndpointError`] names the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        EndpointTemplate::parse(text)?.resolve(None).map(Self)
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.0.origin()
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &PathAndQuery {
        self.0.target()
    }

    /// The identifier of the resource where it names none itself (RFC 8707 §2): no slash stands for
    /// an empty path.
    #[must_use]
    pub fn identifier(&self) -> String {
        let text = self.0.to_string();
        if self.target() == "/" { text.trim_end_matches('/').to_owned() } else { text }
    }

    /// Tells whether `identifier`, by which a resource calls itself, covers this URL: it has the
    /// same origin, and its path is a prefix of this path, by whole segments.
    #[must_use]
    pub fn is_covered_by(&self, identifier: &str) -> bool {
        let Ok(other) = Self::parse(identifier) else { return false };
        let (ours, theirs) = (self.target().path(), other.target().path());
        let rest = ours.strip_prefix(theirs.trim_end_matches('/'));
        self.origin() == other.origin()
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The URLs at which the resource may describe itself: the one for its path first.
    #[must_use]
    pub fn metadata_urls(&self) -> Vec<String> {
        let base = format!("{}/.well-known/oauth-protected-resource", self.origin());
        match self.target().as_str() {
            "/" => vec![base],
            target => vec![format!("{base}{target}"), base],
        }
    }

    /// The issuer that a resource without metadata has: its own origin.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn own_issuer(&self) -> Result<Issuer, &'static str> {
        Issuer::parse(&self.origin().to_string())
    }
}

/// The URLs at which a server with this issuer identifier may describe itself, the most specific
/// first.
#[must_use]
pub fn server_metadata_urls(issuer: &Issuer) -> Vec<String> {
    let text = issuer.as_str();
    let begin = text.find("://").map_or(0, |at| at + 3);
    let end = text.get(begin..).and_then(|rest| rest.find('/')).map_or(text.len(), |at| begin + at);
    let (base, path) = text.split_at(end);
    let path = path.trim_end_matches('/');
    let oauth = format!("{base}/.well-known/oauth-authorization-server{path}");
    let openid = format!("{base}/.well-known/openid-configuration{path}");
    if path.is_empty() {
        return vec![oauth, openid];
    }
    // OpenID Connect appends what RFC 8414 inserts.
    vec![oauth, openid, format!("{base}{path}/.well-known/openid-configuration")]
}

/// Tells whether both texts are the same issuer identifier (RFC 8414 §3.3); an empty path and `/`
/// are the same (RFC 3986 §6.2.3).
#[must_use]
pub fn is_same_issuer(one: &Issuer, other: &Issuer) -> bool {
    let root = |issuer: &Issuer| {
        let text = issuer.as_str();
        let is_root = text.matches('/').count() == 3;
        if is_root { text.trim_end_matches('/').to_owned() } else { text.to_owned() }
    };
    root(one) == root(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn metadata_is_looked_for_where_the_standards_say() {
        let urls = |issuer: &str| server_metadata_urls(&Issuer::parse(issuer).unwrap());
        let root = [
            "https://id.example.com/.well-known/oauth-authorization-server",
            "https://id.example.com/.well-known/openid-configuration",
        ];
        assert_eq!(urls("https://id.example.com"), root);
        assert_eq!(urls("https://id.example.com/"), root);
        let tenant = [
            "https://id.example.com:8443/.well-known/oauth-authorization-server/a/b",
            "https://id.example.com:8443/.well-known/openid-configuration/a/b",
            "https://id.example.com:8443/a/b/.well-known/openid-configuration",
        ];
        assert_eq!(urls("https://id.example.com:8443/a/b"), tenant);
        assert_eq!(urls("https://id.example.com:8443/a/b/"), tenant);
        let resource = |url: &str| ResourceUrl::parse(url).unwrap().metadata_urls();
        let base = "https://mcp.example.com/.well-known/oauth-protected-resource";
        assert_eq!(resource("https://MCP.example.com"), [base]);
        assert_eq!(
            resource("https://mcp.example.com/a/mcp?x=1"),
            [&format!("{base}/a/mcp?x=1"), base]
        );
    }

    #[test]
    fn a_resource_covers_what_is_below_it() {
        let url = ResourceUrl::parse("https://mcp.example.com/a/mcp").unwrap();
        for identifier in [
            "https://mcp.example.com",
            "https://MCP.example.com:443/",
            "https://mcp.example.com/a",
            "https://mcp.example.com/a/",
            "https://mcp.example.com/a/mcp",
        ] {
            assert!(url.is_covered_by(identifier), "{identifier}");
        }
        for identifier in [
            "",
            "http://mcp.example.com",
            "https://mcp.example.com:8443",
            "https://example.com",
            "https://mcp.example.com/a/m",
            "https://mcp.example.com/a/mcp/x",
            "https://mcp.example.com/A",
            "https://mcp.example.com/#",
            "https://user@mcp.example.com/",
        ] {
            assert!(!url.is_covered_by(identifier), "{identifier}");
        }
        assert_eq!(url.identifier(), "https://mcp.example.com/a/mcp");
        let root = ResourceUrl::parse("https://mcp.example.com/").unwrap();
        assert_eq!(root.identifier(), "https://mcp.example.com");
        assert_eq!(root.own_issuer().unwrap().as_str(), "https://mcp.example.com");
    }

    #[test]
    fn issuers_are_compared_exactly_but_for_an_empty_path() {
        let same = |one: &str, other: &str| {
            is_same_issuer(&Issuer::parse(one).unwrap(), &Issuer::parse(other).unwrap())
        };
        assert!(same("https://id.example.com", "https://id.example.com/"));
        assert!(same("https://id.example.com/a", "https://id.example.com/a"));
        assert!(!same("https://id.example.com/a", "https://id.example.com/a/"));
        assert!(!same("https://id.example.com/a", "https://id.example.com/b"));
        assert!(!same("https://id.example.com", "https://ID.example.com"));
    }

    proptest! {
        #[test]
        fn every_place_is_at_the_issuers_own_origin(path in "(/[a-z.%]{0,5}){0,4}") {
            let issuer = format!("https://id.example.com{path}");
            let Ok(issuer) = Issuer::parse(&issuer) else { return Ok(()) };
            for url in server_metadata_urls(&issuer) {
                let url = EndpointTemplate::parse(&url).unwrap().resolve(None).unwrap();
                prop_assert_eq!(url.origin().host(), "id.example.com");
            }
        }
    }
}
