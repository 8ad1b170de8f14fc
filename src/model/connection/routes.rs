//! The domains of a custom connection, and the credential at each of them.

use std::cmp::Reverse;

use http::HeaderName;

use super::Connection;
use crate::model::aws::access::RequestSigner;
use crate::model::aws::signer::X_AMZ_SECURITY_TOKEN;
use crate::model::credential::{Credential, NotAFieldValue};
use crate::model::domain::AllowedDomain;
use crate::model::origin::{HostName, Origin};
use crate::model::record::Detail;
use crate::secret::Secret;

/// A domain of a custom connection, and the credential that may be sent there.
#[derive(Debug)]
pub(super) struct DomainRoute {
    domain: AllowedDomain,
    /// `None` where the sealed secrets could not be opened.
    credential: Option<Credential>,
}

impl DomainRoute {
    /// The domains of a custom connection, the most specific first; none of another type.
    pub(super) fn all(
        detail: &Detail,
        secret: Option<&Secret>,
    ) -> Result<Box<[Self]>, NotAFieldValue> {
        let Detail::Custom(access) = detail else { return Ok(Box::default()) };
        let credentials = match secret {
            Some(secret) => Credential::of_domains(access, secret)?,
            None => Vec::new(),
        };
        let mut credentials = credentials.into_iter();
        let routes = access
            .domains
            .iter()
            .map(|named| Self { domain: named.domain.clone(), credential: credentials.next() });
        let mut routes: Vec<_> = routes.collect();
        // An exact name wins over a wildcard, and a longer one over a shorter.
        routes.sort_by_key(|it| (it.domain.is_wildcard(), Reverse(it.domain.base().len())));
        Ok(routes.into())
    }

    pub(super) fn same_as(&self, other: &Self) -> bool {
        let same_credential = match (&self.credential, &other.credential) {
            (Some(ours), Some(theirs)) => ours.same_as(theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        self.domain == other.domain && same_credential
    }
}

impl Connection {
    /// The domains to which its credentials may be sent: one, or of a custom connection all.
    pub fn domains(&self) -> impl Iterator<Item = &AllowedDomain> {
        let own = self.allowed_domain.iter().filter(|_| self.routes.is_empty());
        own.chain(self.routes.iter().map(|route| &route.domain))
    }

    /// The domains as one text, for people.
    pub fn domain_names(&self) -> String {
        self.domains().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// The domain that covers an origin; its first one where that is not known.
    pub fn domain_of(&self, origin: Option<&Origin>) -> Option<&AllowedDomain> {
        let host = origin.map(Origin::host_name);
        self.domains().find(|domain| host.as_ref().is_none_or(|host| domain.covers(host)))
    }

    /// Tells whether one of its domains covers a host.
    pub fn covers(&self, host: &HostName) -> bool {
        self.allowed_domain.as_ref().is_some_and(|domain| domain.covers(host))
            || self.covers_beside(host)
    }

    /// Tells whether a domain beside its own one covers a host.
    pub(in crate::model) fn covers_beside(&self, host: &HostName) -> bool {
        self.routes.iter().any(|route| route.domain.covers(host))
    }

    /// The one host that all its domains cover; `None` where they cover several.
    pub fn only_host(&self) -> Option<HostName> {
        let mut domains = self.domains();
        domains.next().filter(|_| domains.next().is_none())?.exact()
    }

    /// The credential that it injects at an origin; `None` when its secret could not be opened.
    pub fn credential_at(&self, origin: &Origin) -> Option<&Credential> {
        if self.routes.is_empty() {
            return self.credential.as_ref();
        }
        self.credential_for(&origin.host_name())
    }

    /// The credential that it injects at a host.
    pub fn credential_for(&self, host: &HostName) -> Option<&Credential> {
        if self.routes.is_empty() {
            return self.credential.as_ref();
        }
        self.routes.iter().find(|route| route.domain.covers(host))?.credential.as_ref()
    }

    /// The credentials that it injects, without the secret before.
    pub(super) fn own_credentials(&self) -> impl Iterator<Item = &Credential> {
        let only = self.credential.iter().filter(|_| self.routes.is_empty());
        only.chain(self.routes.iter().filter_map(|route| route.credential.as_ref()))
    }

    /// The names of the places of its credentials as one text, for people: of that at `origin`,
    /// where this is known.
    pub fn places(&self, origin: Option<&Origin>) -> String {
        let credential = origin.and_then(|origin| self.credential_at(origin));
        let signer = credential.and_then(Credential::signer);
        if let (Some(credential), None) = (credential, signer) {
            return credential.places();
        }
        let has_token = signer.is_none_or(RequestSigner::sends_session_token);
        let names = self.fields.iter().map(HeaderName::as_str);
        let sent = names.filter(|name| has_token || *name != X_AMZ_SECURITY_TOKEN.as_str());
        sent.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::custom::{CustomAccess, CustomDomain, CustomSecrets};
    use crate::model::name::{ConnectionName, IntegrationName};
    use crate::model::placement::{Place, Placement};

    fn custom(secret: &str) -> Connection {
        let header = |name: &str| {
            let (name, value) = (name.into(), "{key}".into());
            vec![Placement { place: Place::Header, name, value }]
        };
        let domain = |text: &str, inject| CustomDomain {
            domain: AllowedDomain::parse(text).unwrap(),
            inject,
        };
        let access = CustomAccess {
            secrets: vec!["key".into()],
            inject: header("X-Common"),
            domains: vec![
                domain("*.example.com", vec![]),
                domain("*.api.example.com", header("X-Deep")),
                domain("v1.api.example.com", header("X-Exact")),
            ],
        };
        let mut secrets = CustomSecrets::default();
        secrets.insert("key", Secret::new(secret));
        let (integration, name) =
            (IntegrationName::parse("shop").unwrap(), ConnectionName::parse("custom").unwrap());
        let first = access.domains[0].domain.clone();
        let detail = Detail::Custom(Box::new(access));
        Connection::new(integration, name, first, detail, &secrets.pack()).unwrap()
    }

    #[test]
    fn the_most_specific_domain_that_covers_a_host_says_what_is_sent_there() {
        let connection = custom("s3cr3t");
        let field = |host: &str| {
            let host = HostName::parse(host).unwrap();
            assert!(connection.covers(&host));
            let credential = connection.credential_at(&Origin::new(&host, 443)).unwrap();
            credential.fields().map(|(name, _)| name.to_string()).collect::<Vec<_>>().concat()
        };
        assert_eq!(field("example.com"), "x-common");
        assert_eq!(field("other.example.com"), "x-common");
        assert_eq!(field("v2.api.example.com"), "x-deep");
        assert_eq!(field("a.v1.api.example.com"), "x-deep");
        assert_eq!(field("v1.api.example.com"), "x-exact");
        let elsewhere = HostName::parse("example.org").unwrap();
        assert!(!connection.covers(&elsewhere));
        assert!(connection.credential_at(&Origin::new(&elsewhere, 443)).is_none());
        assert_eq!(connection.fields().len(), 3);
        assert_eq!(connection.places(None), "x-common, x-deep, x-exact");
        assert_eq!(connection.only_host(), None);
    }

    #[test]
    fn connections_are_the_same_by_the_secrets_of_every_domain() {
        assert!(custom("s3cr3t").same_as(&custom("s3cr3t")));
        assert!(!custom("s3cr3t").same_as(&custom("other")));
    }
}
