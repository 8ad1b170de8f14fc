//! What is in force while fuzzing.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderValue, Method};
use keyferry::ledger::Metrics;
use keyferry::model::caller::{Caller, Reach};
use keyferry::model::connection::Connection;
use keyferry::model::domain::AllowedDomain;
use keyferry::model::name::{ConnectionName, IntegrationName};
use keyferry::model::permit::Terms;
use keyferry::model::record::Detail;
use keyferry::model::token::Scopes;
use keyferry::state::{InForce, Registry, Renewal, Settings};
use keyferry::secret::Secret;
use keyferry::upstream::{self, Guard, NameLookups, OwnListeners, UpstreamRules, SystemResolver, TlsClients};

/// The ports that may be asked for.
pub const PORTS: [u16; 2] = [443, 8443];

/// A caller of the integration `shop`, or of all.
pub fn caller(everywhere: bool) -> Caller {
    let integration = IntegrationName::parse("shop").expect("a name");
    Caller {
        name: "fuzz".into(),
        reach: if everywhere { Reach::Every(None) } else { Reach::One(integration, None) },
        scopes: Scopes { proxy: true, ..Scopes::default() },
        expires_at: None,
        rules: keyferry::model::rules::Rules::default(),
    }
}

/// A few connections, of two integrations, and the rules.
pub fn in_force(upgrades: bool) -> &'static InForce {
    static PLAIN: OnceLock<InForce> = OnceLock::new();
    static UPGRADES: OnceLock<InForce> = OnceLock::new();
    if upgrades { UPGRADES.get_or_init(|| build(true)) } else { PLAIN.get_or_init(|| build(false)) }
}

fn build(upgrade_plain_http: bool) -> InForce {
    let connections = [
        ("shop", "one", "api.example.com"),
        ("shop", "two", "*.example.com"),
        ("shop", "three", "a.co"),
        ("desk", "one", "*.a.co"),
    ];
    let connections = connections.map(|(integration, name, domain)| {
        let connection = Connection::new(
            IntegrationName::parse(integration).expect("a name"),
            ConnectionName::parse(name).expect("a name"),
            AllowedDomain::parse(domain).expect("a domain"),
            Detail::BearerToken,
            &Secret::new("secret"),
        );
        Arc::new(connection.expect("a connection"))
    });
    let way_out = upstream::Settings {
        resolve_timeout: Duration::ZERO,
        connect_timeout: Duration::ZERO,
        response_timeout: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        max_idle_per_origin: 0,
        http2: true,
        extra_roots: Vec::new(),
        allow_networks: Vec::new(),
        pins: Default::default(),
    };
    InForce {
        registry: Registry::default()
            .declare(&connections, Vec::new(), None, &Metrics::new())
            .expect("a registry"),
        stale: Arc::default(),
        management: Arc::default(),
        settings: Arc::new(Settings {
            anonymous: None,
            own_hosts: ["localhost", "127.0.0.1", "[::1]"].into_iter().collect(),
            allowed_methods: vec![Method::GET, Method::POST, Method::OPTIONS],
            allow: HeaderValue::from_static("GET, POST, OPTIONS"),
            terms: Terms {
                upgrade_plain_http,
                allowed_ports: PORTS.to_vec().into(),
                unrestricted_oauth: false,
            },
            blind_tunnels: upgrade_plain_http,
            max_body_bytes: 1000,
            exchange_idle_timeout: Duration::ZERO,
            splice_idle_timeout: Duration::ZERO,
            tunnel_first_byte_timeout: Duration::ZERO,
            renewal: Renewal::default(),
        }),
        rules: Arc::new(UpstreamRules {
            generation: 0,
            guard: Guard::new(Vec::new(), OwnListeners::default()),
            tls: TlsClients::new(&way_out).expect("TLS"),
            names: Arc::new(NameLookups::new(Arc::new(SystemResolver))),
            settings: way_out,
        }),
    }
}
