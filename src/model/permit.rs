//! The permit: proof that a caller may use a connection at an origin.
//!
//! Only [`Permit::check`] makes one, and no request can be sent upstream without one.

use std::sync::Arc;

use jiff::Timestamp;

use super::caller::Caller;
use super::connection::Connection;
use super::credential::Credential;
use super::origin::{Authority, Host, Origin};
use super::rules::{RuleDenied, RuleSubject};

/// Proof that this connection's credential may be sent to this origin for this caller.
///
/// Checking the rules makes one:
///
/// ```
/// use std::sync::Arc;
/// use keyferry::model::{caller::Caller, connection::Connection};
/// use keyferry::model::permit::{Denied, Permit, Target, Terms};
/// use keyferry::model::rules::RuleSubject;
///
/// fn obtain(
///     caller: &Caller,
///     connection: &Arc<Connection>,
///     target: &Target,
///     terms: &Terms,
///     line: RuleSubject<'_>,
/// ) -> Result<Permit, Denied> {
///     Permit::check(caller, connection, target, terms, || line)
/// }
/// ```
///
/// Other code can't (E0451: its fields are private):
///
/// ```compile_fail,E0451
/// use std::sync::Arc;
/// use keyferry::model::{connection::Connection, origin::Origin};
/// use keyferry::model::permit::Permit;
///
/// fn forge(connection: Arc<Connection>, origin: Origin) -> Permit {
///     Permit { connection, origin }
/// }
/// ```
///
/// The origin of a permit can't be changed (E0616):
///
/// ```compile_fail,E0616
/// use keyferry::model::{origin::Origin, permit::Permit};
///
/// fn redirect(mut permit: Permit, origin: Origin) -> Permit {
///     permit.origin = origin;
///     permit
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Permit {
    connection: Arc<Connection>,
    origin: Origin,
}

/// The scheme of a request's target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// `http://`: refused, or upgraded to `https://` where that is configured.
    Http,
    /// `https://`, or a form that implies it.
    Https,
}

/// The destination that a request names, before any rule was applied.
#[derive(Clone, Debug)]
pub struct Target {
    /// The scheme, written or implied.
    pub scheme: Scheme,
    /// The host and port as they were written.
    pub authority: Authority,
}

impl Target {
    /// Tells whether the scheme is `http`.
    pub fn is_plain_http(&self) -> bool {
        self.scheme == Scheme::Http
    }
}

/// The operator's rules for every connection.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Sends `http://` requests as `https://` instead of refusing them.
    pub upgrade_plain_http: bool,
    /// The ports that requests may name.
    pub allowed_ports: AllowedPorts,
    /// Allows an OAuth connection without an allowed domain for every host.
    pub unrestricted_oauth: bool,
}

/// The ports to which anything may be sent: requests, tunnels, and the program's own to token
/// endpoints. The list is private, so that no other code decides about a port.
#[derive(Clone, Debug, Default)]
pub struct AllowedPorts(Vec<u16>);

impl AllowedPorts {
    /// Tells whether anything may be sent to this port.
    pub fn allows(&self, port: u16) -> bool {
        self.0.contains(&port)
    }
}

impl From<Vec<u16>> for AllowedPorts {
    fn from(ports: Vec<u16>) -> Self {
        Self(ports)
    }
}

/// Tells whether a method is never sent to an origin, whatever the configuration allows: CONNECT
/// opens a tunnel, and the answers to the others repeat the credential (RFC 9110 §9.3.8).
pub fn is_never_passed_on(method: &str) -> bool {
    let mut never = ["CONNECT", "TRACE", "TRACK", "DEBUG"].iter();
    never.any(|never| method.eq_ignore_ascii_case(never))
}

/// The rule that denied a permit, in the order in which the rules are applied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denied {
    /// The caller's token does not reach the connection.
    Connection,
    /// The operator has switched the connection off.
    Disabled,
    /// The scheme is `http`, which is not upgraded.
    Https,
    /// The host is not covered by the connection's allowed domain.
    Domain,
    /// The connection has no allowed domain.
    NoDomain,
    /// The port is not one of the allowed ports.
    Port,
    /// The connection's rules refuse the request.
    ConnectionRules(RuleDenied),
    /// The token's rules refuse the request.
    TokenRules(RuleDenied),
}

impl Permit {
    /// Applies the rules in the order of contract §3. A permit proves that all of them hold. This
    /// is a pure function. `line` is asked for only where the connection or the token has rules.
    pub fn check<'a>(
        caller: &Caller,
        connection: &Arc<Connection>,
        target: &Target,
        terms: &Terms,
        line: impl FnOnce() -> RuleSubject<'a>,
    ) -> Result<Self, Denied> {
        let origin = Self::check_target(caller, connection, target, terms)?;
        check_rules(caller, connection, line)?;
        Ok(Self { connection: Arc::clone(connection), origin })
    }

    /// Applies the rules that are about the destination alone, as for a tunnel, whose requests are
    /// not known yet: gives the origin, and no permit.
    pub fn check_target(
        caller: &Caller,
        connection: &Connection,
        target: &Target,
        terms: &Terms,
    ) -> Result<Origin, Denied> {
        // 1. The caller's token reaches the connection.
        if !caller.may_use(connection) {
            return Err(Denied::Connection);
        }
        if connection.options().disabled {
            return Err(Denied::Disabled);
        }
        // 2. The request is for https.
        let port = https_port(target, terms).ok_or(Denied::Https)?;
        // 3. The allowed domain covers the host.
        let Host::Name(host) = &target.authority.host else {
            return Err(Denied::Domain);
        };
        match connection.allowed_domain() {
            Some(domain) if domain.covers(host) && connection.is_of_one_account() => {}
            Some(_) if connection.covers_beside(host) => {}
            Some(_) => return Err(Denied::Domain),
            // Only an OAuth connection can be without an allowed domain.
            None if terms.unrestricted_oauth => {}
            None => return Err(Denied::NoDomain),
        }
        // 4. The port is allowed.
        if !terms.allowed_ports.allows(port) {
            return Err(Denied::Port);
        }
        Ok(connection.origin(host, port))
    }

    /// The permit for the same connection with the secret that its present one has replaced, while
    /// that is kept at `now`: it may be sent wherever the present one may.
    #[must_use]
    pub fn with_former_secret(&self, now: Timestamp) -> Option<Self> {
        let former = Arc::clone(self.connection.former(now)?.connection());
        Some(Self { connection: former, origin: self.origin.clone() })
    }

    /// The connection whose credential may be sent.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The credential that may be sent there; `None` when its secret could not be opened.
    pub fn credential(&self) -> Option<&Credential> {
        self.connection.credential_at(&self.origin)
    }

    /// The origin it may be sent to.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// Applies the rules of the connection, and those of the token, which narrow them further.
fn check_rules<'a>(
    caller: &Caller,
    connection: &Connection,
    line: impl FnOnce() -> RuleSubject<'a>,
) -> Result<(), Denied> {
    let options = connection.options();
    if !options.restrict() && caller.rules.is_empty() {
        return Ok(());
    }
    let line = line();
    options.check(&line).map_err(Denied::ConnectionRules)?;
    caller.rules.check(&line).map_err(Denied::TokenRules)
}

/// The port for TLS; `None` where `http` is refused. An upgraded `http://` moves from port 80,
/// written or implied, to 443 (contract §3).
fn https_port(target: &Target, terms: &Terms) -> Option<u16> {
    match (target.scheme, target.authority.port) {
        (Scheme::Https, port) => Some(port.unwrap_or(443)),
        (Scheme::Http, _) if !terms.upgrade_plain_http => None,
        (Scheme::Http, None | Some(80)) => Some(443),
        (Scheme::Http, Some(port)) => Some(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::caller::Reach;
    use crate::model::domain::AllowedDomain;
    use crate::model::name::{ConnectionName, IntegrationName};
    use crate::model::oauth::endpoint::Subdomain;
    use crate::model::oauth::grant::{Grant, GrantType};
    use crate::model::oauth::profile::RefreshStatuses;
    use crate::model::record::Detail;
    use crate::model::rules::Rules;
    use crate::model::token::Scopes;
    use crate::secret::Secret;
    use http::Method;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn connection(domain: AllowedDomain) -> Arc<Connection> {
        let (detail, secret) = (Detail::BearerToken, Secret::new("s3cr3t"));
        let integration = IntegrationName::parse("shop").unwrap();
        let name = ConnectionName::parse("example").unwrap();
        Arc::new(Connection::new(integration, name, domain, detail, &secret).unwrap())
    }

    fn caller(integration: &str, listed: Option<&str>) -> Caller {
        let integration = IntegrationName::parse(integration).unwrap();
        let listed = listed.map(|name| vec![ConnectionName::parse(name).unwrap()]);
        Caller {
            name: "runner".into(),
            reach: Reach::One(integration, listed),
            scopes: Scopes { proxy: true, ..Scopes::default() },
            rules: Rules::default(),
            expires_at: None,
        }
    }

    fn get() -> RuleSubject<'static> {
        RuleSubject {
            method: &Method::GET,
            path: "/v1".into(),
            destination: None,
            override_field: None,
            source_field: None,
        }
    }

    /// The rules of contract §3 again, over the text of a target and label by label.
    fn oracle(domain: &str, host: &str, port: Option<u16>, terms: &Terms, plain: bool) -> bool {
        let labels = |text: &str| {
            text.to_ascii_lowercase().rsplit('.').map(str::to_owned).collect::<Vec<_>>()
        };
        let host = labels(host);
        let covered = match domain.strip_prefix("*.") {
            Some(base) => host.starts_with(&labels(base)),
            None => host == labels(domain),
        };
        let port = match port {
            None => 443,
            Some(80) if plain => 443,
            Some(port) => port,
        };
        covered && [443, 8443].contains(&port) && (terms.upgrade_plain_http || !plain)
    }

    /// Names that are near each other more often than chance would have it.
    fn names() -> impl Strategy<Value = String> {
        prop::collection::vec("a|b|A|ab|b-a|com|co|uk|1|0x1|example", 1..5)
            .prop_map(|labels| labels.join("."))
    }

    proptest! {
        #[test]
        fn a_permit_is_given_exactly_when_every_rule_holds(
            (star, domain, host) in (any::<bool>(), names(), names()),
            below in prop::option::of("[ab.]{0,3}"),
            port in prop::option::of(prop::sample::select(vec![80, 443, 444, 8443])),
            (plain, upgrade) in any::<(bool, bool)>(),
            (integration, listed) in ("shop|desk", prop::option::of("example|another")),
        ) {
            let domain = format!("{}{domain}", if star { "*." } else { "" });
            let Ok(parsed) = AllowedDomain::parse(&domain) else { return Ok(()) };
            // Half of the hosts end as the domain does.
            let host = below.map_or(host, |below| format!("{below}{}", parsed.base()));
            let Ok(read) = Authority::parse(&host) else { return Ok(()) };
            let by_name = matches!(read.host, Host::Name(_));
            let target = Target {
                scheme: if plain { Scheme::Http } else { Scheme::Https },
                authority: Authority { host: read.host, port },
            };
            let terms = Terms { upgrade_plain_http: upgrade, allowed_ports: vec![443, 8443].into(), unrestricted_oauth: false };
            let listed = listed.as_deref();
            let caller = caller(&integration, listed);
            let verdict = Permit::check(&caller, &connection(parsed), &target, &terms, get);
            let may_use = integration == "shop" && listed.is_none_or(|name| name == "example");
            let expected = may_use && by_name && oracle(&domain, &host, port, &terms, plain);
            prop_assert_eq!(verdict.is_ok(), expected, "{} {} {:?}", domain, host, port);
            if let Ok(permit) = verdict {
                prop_assert_eq!(permit.origin().host(), host.to_ascii_lowercase());
                prop_assert!([443, 8443].contains(&permit.origin().port()));
            }
        }
    }

    #[test]
    fn the_first_rule_that_does_not_hold_is_named() {
        let connection = connection(AllowedDomain::parse("api.example.com").unwrap());
        let terms = Terms { allowed_ports: vec![443].into(), ..Terms::default() };
        let check = |integration, url: (Scheme, &str)| {
            let authority = Authority::parse(url.1).unwrap();
            let target = Target { scheme: url.0, authority };
            Permit::check(&caller(integration, None), &connection, &target, &terms, get).map(|_| ())
        };
        assert_eq!(check("shop", (Scheme::Https, "api.example.com")), Ok(()));
        assert_eq!(check("desk", (Scheme::Http, "evil.com:1")), Err(Denied::Connection));
        assert_eq!(check("shop", (Scheme::Http, "evil.com:1")), Err(Denied::Https));
        assert_eq!(check("shop", (Scheme::Https, "evil.com:1")), Err(Denied::Domain));
        assert_eq!(check("shop", (Scheme::Https, "1.2.3.4:1")), Err(Denied::Domain));
        assert_eq!(check("shop", (Scheme::Https, "api.example.com:1")), Err(Denied::Port));
    }

    #[test]
    fn the_accounts_own_connection_sends_no_other_accounts_tokens() {
        let grant = |subdomain: Option<&str>| Grant {
            injection: None,
            refresh_on_status: RefreshStatuses::default(),
            client: Uuid::nil(),
            subdomain: subdomain.map(|label| Subdomain::parse(label).unwrap()),
            grant_type: GrantType::AuthorizationCode,
            created_by: "runner".into(),
            scopes: "read".into(),
            authorized_at: Timestamp::UNIX_EPOCH,
            generation: 1,
            refresh_token_life: None,
            lapse: None,
        };
        let connection = |name: &str, domain: &str, subdomain: Option<&str>| {
            let detail = Detail::OAuth(Box::new(grant(subdomain)));
            let (integration, name) =
                (IntegrationName::parse("shop").unwrap(), ConnectionName::parse(name).unwrap());
            let domain = AllowedDomain::parse(domain).unwrap();
            let secret = Secret::new("token");
            Arc::new(Connection::new(integration, name, domain, detail, &secret).unwrap())
        };
        let terms = Terms {
            upgrade_plain_http: false,
            allowed_ports: vec![443].into(),
            unrestricted_oauth: true,
        };
        let own = "acme.zendesk.com";
        for (name, domain, subdomain, verdict) in [
            ("zendesk", own, Some("acme"), Ok(())),
            ("zendesk", own, Some("ACME"), Ok(())),
            ("zendesk", own, None, Ok(())),
            ("zendesk", own, Some("foobar"), Err(Denied::Domain)),
            ("zendesk", "*.zendesk.com", Some("acme"), Err(Denied::Domain)),
            ("another", own, Some("foobar"), Ok(())),
        ] {
            let target =
                Target { scheme: Scheme::Https, authority: Authority::parse(own).unwrap() };
            let connection = connection(name, domain, subdomain);
            let found = Permit::check(&caller("shop", None), &connection, &target, &terms, get);
            assert_eq!(found.map(|_permit| ()), verdict, "{name} {domain} {subdomain:?}");
        }
    }
}
