//! The sections of the configuration as plain typed data, with their defaults (contract §6).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use ipnet::IpNet;
use rustls_pki_types::CertificateDer;

use super::listener::Listener;
use super::pem::Tls;
use super::store_url::StoreUrl;
use crate::model::name::IntegrationName;
use crate::model::origin::HostName;

/// `[log]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// How a log line looks.
    pub format: LogFormat,
    /// Which lines are written: a level, or `target=level` pairs as in `RUST_LOG`.
    pub level: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// `[proxy]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proxy {
    /// Where callers are accepted.
    pub listen: Vec<Listener>,
    /// The permission bits of a unix socket.
    pub socket_mode: u32,
    /// Whether a caller must show a token.
    pub caller_auth: CallerAuth,
    /// The integration of an anonymous caller.
    pub default_integration: Option<IntegrationName>,
    /// What happens to `http://` requests.
    pub plain_http: PlainHttp,
    /// What happens to a CONNECT to a host that no connection covers.
    pub untagged: Untagged,
    /// The names by which callers reach the proxy itself, lower-case, without a port.
    pub allowed_hosts: Vec<String>,
    /// The ports of origins.
    pub allowed_ports: Vec<u16>,
    /// The methods that may reach an origin.
    pub allowed_methods: Vec<Method>,
    /// How many caller connections are held at once.
    pub max_connections: usize,
    /// The number of them that one caller may hold; 0: half of them.
    pub max_connections_per_caller: usize,
    /// The largest head of a request, in bytes.
    pub max_head_bytes: usize,
    /// The largest body of a request, in bytes; `None`: no limit.
    pub max_body_bytes: Option<u64>,
    /// How long a head, a TLS handshake or a tunnel's first byte may take.
    pub head_timeout: Duration,
    /// How long a caller connection may rest between requests.
    pub idle_timeout: Duration,
    /// How long a WebSocket may be silent.
    pub websocket_idle_timeout: Duration,
    /// Requests per minute and token; `None`: no limit.
    pub requests_per_minute: Option<u32>,
    /// The certificate shown to callers that use `https://` as the proxy's scheme.
    pub tls: Option<Tls>,
}

/// Whether a caller must show a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallerAuth {
    /// Every request carries an access token.
    Token,
    /// Whoever reaches the listener is the anonymous caller.
    None,
}

/// What happens to `http://` requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlainHttp {
    /// They are refused.
    Refuse,
    /// They go out as `https://`.
    Upgrade,
}

/// What happens to a CONNECT to a host that no connection covers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Untagged {
    /// It is refused.
    Refuse,
    /// It passes blind.
    Tunnel,
}

/// `[upstream]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// How long a name's resolution may take.
    pub resolve_timeout: Duration,
    /// How long a connect and its TLS handshake may take.
    pub connect_timeout: Duration,
    /// How long the response's head may take.
    pub response_timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// How many idle connections are kept per origin.
    pub max_idle_per_origin: usize,
    /// Whether HTTP/2 is offered to origins.
    pub http2: bool,
    /// Certificates of private CAs that are trusted beside the public ones.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Networks allowed beyond the public internet.
    pub allow_networks: Vec<IpNet>,
    /// Pinned addresses, by name and port.
    pub resolve: HashMap<(HostName, u16), SocketAddr>,
}

/// `[api]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Api {
    /// Where the management API and the console listen.
    pub listen: SocketAddr,
    /// The base of redirect URLs and of the OAuth callback, without a trailing slash.
    pub public_url: String,
    /// Names beside `public_url`'s and loopback ones, lower-case, without a port.
    pub allowed_hosts: Vec<String>,
    /// Requests per minute and token; `None`: no limit.
    pub requests_per_minute: Option<u32>,
    /// The API's certificate.
    pub tls: Option<Tls>,
}

/// `[store]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Store {
    /// Where connections and tokens are kept.
    pub url: StoreUrl,
    /// How long an instance goes on without hearing from its store.
    pub max_staleness: Duration,
}

/// `[seal]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seal {
    /// The master keys; relative to the data directory.
    pub master_key_file: PathBuf,
}

/// `[ca]`: both, or neither.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ca {
    /// The CA's certificate.
    pub cert: Option<PathBuf>,
    /// The CA's key.
    pub key: Option<PathBuf>,
}

/// `[oauth]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OAuth {
    /// Whether every response hides tokens, whatever the scope.
    pub redact_tokens: bool,
    /// Whether a connection without an allowed domain may be used.
    pub unrestricted: bool,
    /// How long before its end a token is refreshed, at most.
    pub refresh_before: Duration,
    /// Where a flow may send the browser at its end: `scheme://host[:port]`.
    pub allowed_redirect_origins: Vec<String>,
    /// Whether a 401 leads to one refresh and one more try.
    pub retry_on_401: bool,
    /// The largest request body kept for that, in bytes.
    pub replay_body_bytes: usize,
    /// The most bytes of all kept request bodies together.
    pub replay_memory: u64,
    /// The time that a refresher may be silent before it has asked the provider.
    pub lease: Duration,
    /// The time that a refresher may be silent after it has asked the provider.
    pub takeover: Duration,
}

/// `[zis]`
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Zis {
    /// The account's own host is `{subdomain}.zendesk.com`.
    pub subdomain: Option<String>,
    /// The account's number; 0 where it was not given.
    pub account_id: u64,
    /// Whether a static connection may take the reserved name.
    pub allow_static_zendesk: bool,
}

/// `[audit]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Audit {
    /// How long audit records are kept.
    pub retention: Duration,
    /// The number of bytes that all audit records together may take in the store.
    pub max_bytes: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".to_owned() }
    }
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            listen: vec![Listener::Tcp(loopback(8080))],
            socket_mode: 0o600,
            caller_auth: CallerAuth::Token,
            default_integration: None,
            plain_http: PlainHttp::Refuse,
            untagged: Untagged::Refuse,
            allowed_hosts: ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into(),
            allowed_ports: vec![443],
            allowed_methods: default_methods(),
            max_connections: 10_000,
            max_connections_per_caller: 0,
            max_head_bytes: 65_536,
            max_body_bytes: None,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(1),
            websocket_idle_timeout: Duration::from_mins(10),
            requests_per_minute: None,
            tls: None,
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            resolve_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_secs(90),
            max_idle_per_origin: 256,
            http2: true,
            extra_roots: Vec::new(),
            allow_networks: Vec::new(),
            resolve: HashMap::new(),
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: loopback(8081),
            public_url: "http://127.0.0.1:8081".to_owned(),
            allowed_hosts: Vec::new(),
            requests_per_minute: Some(600),
            tls: None,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: StoreUrl::Sqlite(PathBuf::from("keyferry.db")),
            max_staleness: Duration::from_mins(5),
        }
    }
}

impl Default for Seal {
    fn default() -> Self {
        Self { master_key_file: PathBuf::from("master.key") }
    }
}

impl Default for OAuth {
    fn default() -> Self {
        Self {
            redact_tokens: false,
            unrestricted: false,
            refresh_before: Duration::from_mins(1),
            allowed_redirect_origins: Vec::new(),
            retry_on_401: true,
            replay_body_bytes: 1_048_576,
            replay_memory: 64 << 20,
            lease: Duration::from_secs(6),
            takeover: Duration::from_secs(30),
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self { retention: Duration::from_hours(7 * 24), max_bytes: 1 << 30 }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn default_methods() -> Vec<Method> {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let extensions =
        ["QUERY", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT"];
    let extensions = extensions.iter().filter_map(|name| Method::from_bytes(name.as_bytes()).ok());
    known.into_iter().chain(extensions).collect()
}
