//! Endpoints of providers: URLs with a placeholder for the subdomain (ZIS spec §7.3).

use std::fmt;

use http::uri::PathAndQuery;

use super::client::ClientRecord;
use crate::model::aws::access::AwsAccess;
use crate::model::domain::is_registry_suffix;
use crate::model::name::IntegrationName;
use crate::model::origin::{Authority, Host, HostName, Origin};

/// The `https` URL of an endpoint, in which `{subdomain}` or `{{subdomain}}` is replaced by a
/// flow's value. The placeholder is the host's whole first label, or stands after the host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndpointTemplate(Box<str>);

/// The value of a placeholder: one label of letters, digits and hyphens.
#[derive(Clone, Eq, PartialEq)]
pub struct Subdomain(Box<str>);

/// The URL of an endpoint, without a placeholder.
#[derive(Clone, Debug)]
pub struct Endpoint {
    origin: Origin,
    target: PathAndQuery,
}

/// The token endpoint of a registered client, of the account itself, or of AWS for a role. Beside a
/// permit's origin requests are sent to token endpoints only.
#[derive(Clone, Debug)]
pub struct TokenEndpoint {
    endpoint: Endpoint,
    integration: IntegrationName,
}

/// A URL that was refused as an endpoint. The text states the rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EndpointError {
    /// The scheme is not `https`.
    #[error("must be a URL that begins with https://")]
    Scheme,
    /// The host is missing or an IP address, or there is user information.
    #[error("must name a host, by a name and without a user")]
    Host,
    /// There is a fragment.
    #[error("must have no fragment")]
    Fragment,
    /// There are characters that a URL can't have.
    #[error("is no URL")]
    Syntax,
    /// There are braces that are not the placeholder.
    #[error("has a placeholder that is not {{subdomain}}")]
    Placeholder,
    /// The placeholder is a part of the host other than its first label.
    #[error("may have its placeholder as the whole first label of the host, or after the host")]
    Place,
    /// The placeholder stands right before a public suffix, so it would choose the domain.
    #[error("can't have its placeholder right before a public suffix such as com or co.uk")]
    Suffix,
    /// The URL is too long.
    #[error("is longer than 2048 characters")]
    TooLong,
    /// There is a placeholder and no value for it.
    #[error("needs a subdomain in the place of its placeholder")]
    Missing,
}

/// A subdomain that is not one label.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be one label: 1 to 63 letters, digits and inner hyphens")]
pub struct SubdomainError(());

impl EndpointTemplate {
    /// Reads the URL of an endpoint.
    ///
    /// # Errors
    /// [`EndpointError`] names the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        if text.len() > MAX_URL_LEN {
            return Err(EndpointError::TooLong);
        }
        let rest = strip_scheme(text).ok_or(EndpointError::Scheme)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        check_place(authority)?;
        let template = Self(text.into());
        // Any value of the placeholder is one label, so one example stands for all.
        template.resolve(Some(&Subdomain("a".into())))?;
        Ok(template)
    }

    /// The URL as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether both are at the same origin, whatever stands for the placeholder.
    pub fn is_at_origin_of(&self, other: &Self) -> bool {
        let origin = |url: &Self, label: &str| {
            url.resolve(Some(&Subdomain(label.into()))).map(|endpoint| endpoint.origin)
        };
        // A host with a placeholder differs by it, and from every host that has none.
        ["a", "b"].iter().all(|label| {
            origin(self, label).is_ok_and(|ours| origin(other, label).is_ok_and(|it| it == ours))
        })
    }

    /// Tells whether it has a placeholder.
    #[must_use]
    pub fn needs_subdomain(&self) -> bool {
        self.0.contains(PLACEHOLDER)
    }

    /// Replaces the placeholder.
    ///
    /// # Errors
    /// [`EndpointError::Missing`] when there is a placeholder and no value.
    pub fn resolve(&self, subdomain: Option<&Subdomain>) -> Result<Endpoint, EndpointError> {
        Endpoint::parse(&self.fill(subdomain)?)
    }

    /// The URL as it was written, with its placeholder replaced.
    ///
    /// # Errors
    /// [`EndpointError::Missing`] when there is a placeholder and no value.
    pub fn fill(&self, subdomain: Option<&Subdomain>) -> Result<String, EndpointError> {
        let mut text = self.0.to_string();
        if self.needs_subdomain() {
            let label = subdomain.ok_or(EndpointError::Missing)?;
            text = text
                .replace(DOUBLE_PLACEHOLDER, label.as_str())
                .replace(PLACEHOLDER, label.as_str());
        }
        if text.contains(['{', '}']) {
            return Err(EndpointError::Placeholder);
        }
        Ok(text)
    }
}

impl Subdomain {
    /// Reads one label (RFC 952, RFC 1123 §2.1).
    ///
    /// # Errors
    /// [`SubdomainError`] when it is anything else.
    pub fn parse(text: &str) -> Result<Self, SubdomainError> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let outer = text.starts_with('-') || text.ends_with('-');
        if (1..=63).contains(&text.len()) && plain && !outer {
            Ok(Self(text.into()))
        } else {
            Err(SubdomainError(()))
        }
    }

    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Endpoint {
    fn parse(text: &str) -> Result<Self, EndpointError> {
        let rest = strip_scheme(text).ok_or(EndpointError::Scheme)?;
        if rest.contains('#') {
            return Err(EndpointError::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let authority = Authority::parse(authority).map_err(|_which| EndpointError::Host)?;
        let Host::Name(host) = authority.host else { return Err(EndpointError::Host) };
        let target = if target.starts_with('/') { target.into() } else { format!("/{target}") };
        if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(EndpointError::Syntax);
        }
        let target = PathAndQuery::try_from(target).map_err(|_why| EndpointError::Syntax)?;
        Ok(Self { origin: Origin::new(&host, authority.port.unwrap_or(443)), target })
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }
}

impl TokenEndpoint {
    /// The token endpoint of a client.
    ///
    /// # Errors
    /// [`EndpointError::Missing`] when the client's URL needs a subdomain and none is given.
    pub fn of_client(
        client: &ClientRecord,
        subdomain: Option<&Subdomain>,
    ) -> Result<Self, EndpointError> {
        let endpoint = client.token_url.resolve(subdomain)?;
        Ok(Self { endpoint, integration: client.integration.clone() })
    }

    /// The endpoint at which a client's tokens are refreshed: the token endpoint, unless the profile
    /// has another.
    ///
    /// # Errors
    /// [`EndpointError::Missing`] when the URL needs a subdomain and none is given.
    pub fn of_refresh(
        client: &ClientRecord,
        subdomain: Option<&Subdomain>,
    ) -> Result<Self, EndpointError> {
        let url = client.profile.refresh_url.as_ref().unwrap_or(&client.token_url);
        let endpoint = url.resolve(subdomain)?;
        Ok(Self { endpoint, integration: client.integration.clone() })
    }

    /// The revocation endpoint of a client (RFC 7009 §2), where it has one.
    #[must_use]
    pub fn of_revocation(
        client: &ClientRecord,
        subdomain: Option<&Subdomain>,
    ) -> Option<Result<Self, EndpointError>> {
        let url = client.profile.revocation_url.as_ref()?;
        let of = |endpoint| Self { endpoint, integration: client.integration.clone() };
        Some(url.resolve(subdomain).map(of))
    }

    /// The token endpoint of the account itself (ZIS spec §7.9).
    #[must_use]
    pub fn of_account(host: &HostName, integration: &IntegrationName) -> Self {
        let target = PathAndQuery::from_static("/oauth/tokens");
        let endpoint = Endpoint { origin: Origin::new(host, 443), target };
        Self { endpoint, integration: integration.clone() }
    }

    /// AWS's endpoint for the sessions of a role, in the region of the connection. `None` where the
    /// role is of another part of AWS than that.
    #[must_use]
    pub fn of_role(access: &AwsAccess, integration: &IntegrationName) -> Option<Self> {
        let host = access.assume_role.as_ref()?.sts_host(access.region.as_deref())?;
        let origin = Origin::new(&HostName::parse(&host).ok()?, 443);
        let endpoint = Endpoint { origin, target: PathAndQuery::from_static("/") };
        Some(Self { endpoint, integration: integration.clone() })
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.endpoint.origin
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &PathAndQuery {
        &self.endpoint.target
    }

    /// The integration of the client.
    #[must_use]
    pub fn integration(&self) -> &IntegrationName {
        &self.integration
    }
}

impl fmt::Debug for Subdomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.origin.authority(), self.target)
    }
}

fn strip_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(rest)
}

/// Checks that a placeholder in the host is its first label and stands below a registered domain.
/// Otherwise a flow's value could choose the domain to which the client's secret is sent.
fn check_place(authority: &str) -> Result<(), EndpointError> {
    if !authority.contains(['{', '}']) {
        return Ok(());
    }
    let below =
        authority.strip_prefix(DOUBLE_PLACEHOLDER).or_else(|| authority.strip_prefix(PLACEHOLDER));
    let below = below.and_then(|rest| rest.strip_prefix('.')).ok_or(EndpointError::Place)?;
    if below.contains(['{', '}']) {
        return Err(EndpointError::Place);
    }
    let host = below.split(':').next().unwrap_or_default();
    if is_registry_suffix(&host.to_ascii_lowercase()) { Err(EndpointError::Suffix) } else { Ok(()) }
}

const SCHEME: &str = "https://";
/// The placeholder of a flow's subdomain.
pub const PLACEHOLDER: &str = "{subdomain}";

/// The same, as some clients of ZIS spell it.
pub const DOUBLE_PLACEHOLDER: &str = "{{subdomain}}";

const MAX_URL_LEN: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resolved(template: &str, subdomain: Option<&str>) -> Result<String, EndpointError> {
        let subdomain = subdomain.map(|label| Subdomain::parse(label).unwrap());
        let endpoint = EndpointTemplate::parse(template)?.resolve(subdomain.as_ref())?;
        Ok(endpoint.to_string())
    }

    #[test]
    fn the_placeholder_is_filled_in() {
        for (template, url) in [
            (
                "https://{subdomain}.zendesk.com/oauth/tokens",
                "https://foo.zendesk.com/oauth/tokens",
            ),
            ("https://{{subdomain}}.myshopify.com/a", "https://foo.myshopify.com/a"),
            ("https://login.example.com/{subdomain}/t?x=1", "https://login.example.com/foo/t?x=1"),
            ("HTTPS://Id.Example.com", "https://id.example.com/"),
            ("https://id.example.com:8443?x", "https://id.example.com:8443/?x"),
        ] {
            assert_eq!(resolved(template, Some("foo")).as_deref(), Ok(url), "{template}");
        }
        let needs = "https://{subdomain}.zendesk.com/";
        assert_eq!(resolved(needs, None), Err(EndpointError::Missing));
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        use EndpointError as E;
        for (template, rule) in [
            ("http://id.example.com/", E::Scheme),
            ("id.example.com", E::Scheme),
            ("", E::Scheme),
            ("https://", E::Host),
            ("https:///x", E::Host),
            ("https://user@id.example.com/", E::Host),
            ("https://127.0.0.1/", E::Host),
            ("https://[::1]/", E::Host),
            ("https://0x7f.1/", E::Host),
            ("https://id.example.com./", E::Host),
            ("https://id.example.com:0/", E::Host),
            ("https://id.example.com/#x", E::Fragment),
            ("https://id.example.com/a b", E::Syntax),
            ("https://id.example.com/\n", E::Syntax),
            ("https://id.example.com/{tenant}", E::Placeholder),
            ("https://id.example.com/{subdomain", E::Placeholder),
            ("https://x{subdomain}.example.com/", E::Place),
            ("https://{subdomain}x.example.com/", E::Place),
            ("https://a.{subdomain}.example.com/", E::Place),
            ("https://{subdomain}/", E::Place),
            ("https://{subdomain}.com/", E::Suffix),
            ("https://{subdomain}.CO.uk:8443/", E::Suffix),
        ] {
            assert_eq!(resolved(template, Some("foo")), Err(rule), "{template}");
        }
        let long = format!("https://id.example.com/{}", "a".repeat(2048));
        assert_eq!(EndpointTemplate::parse(&long), Err(E::TooLong));
    }

    #[test]
    fn a_subdomain_is_one_label() {
        for text in ["foo", "F-0", "a", &"a".repeat(63)] {
            assert!(Subdomain::parse(text).is_ok(), "{text}");
        }
        for text in ["", "-a", "a-", "a.b", "evil.com/", "a@b", "a b", "é", &"a".repeat(64)] {
            assert!(Subdomain::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_label_leads_to_another_domain(label in "\\PC{0,12}|[a-z0-9-]{1,12}") {
            let Ok(subdomain) = Subdomain::parse(&label) else { return Ok(()) };
            let template = EndpointTemplate::parse("https://{subdomain}.zendesk.com/x").unwrap();
            let Ok(endpoint) = template.resolve(Some(&subdomain)) else { return Ok(()) };
            let host = format!("{}.zendesk.com", label.to_ascii_lowercase());
            prop_assert_eq!(endpoint.origin().host(), host);
        }

        #[test]
        fn anything_at_all_is_read_or_refused(text in "(https://)?\\PC{0,60}") {
            if let Ok(template) = EndpointTemplate::parse(&text) {
                prop_assert!(template.resolve(Some(&Subdomain("b".into()))).is_ok());
            }
        }
    }
}
