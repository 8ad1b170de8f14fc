//! Every key of the configuration (contract §6): its default, its reader, its sentence, and the
//! setting that it becomes. The reader, `config/default.toml`, the JSON Schema and the reference
//! page come from here.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use bytesize::ByteSize;
use http::HeaderValue;

use super::commanded::Commanded;
use super::fault::SourcePlace;
use super::openid::open_id;
use super::pem::{ca, pem_pair, roots};
use super::readers::{
    address, boolean, choice, duration, duration_or_zero, host, integration, label, limit, list,
    listen_address, log_level, method, mode, network, number, or_empty, origin, path, pins,
    public_url, size, some, store_url,
};
use super::report::Report;
use super::rules::on_this_machine;
use super::secrets::account_client;
use super::section::{Section, keys, row, section};
use super::telemetry::telemetry;
use super::webhook::webhook;
use super::{
    ApiConfig, AuditConfig, Config, LogConfig, Options, ProxyConfig, StoreConfig, Whereabouts,
    declared,
};
use crate::ledger::LineFormat;
use crate::model::origin::HostName;
use crate::model::permit::{AllowedPorts, Terms};
use crate::state::{self, ManagementSettings, Renewal};
use crate::store::RefreshLease;
use crate::upstream;

/// Reads the whole configuration; a faulty value is replaced by its default. Gives nothing, and
/// reports it, where a default is at fault.
pub(super) fn config(report: &Report<'_>, options: &Options) -> Option<Config> {
    let mut root = Section::root(report);
    let data_dir = data_dir(&mut root, options)?;
    keys! { root;
        /// The longest time that requests in flight may take to finish after SIGTERM or SIGINT,
        /// and refreshes of tokens once more after them; "0s" waits for nothing.
        shutdown_grace = "10s" => duration_or_zero(), at_start;
    }
    // 1. The planes and what they keep.
    let log = log(&mut root)?;
    let mut proxy = proxy(&mut root)?;
    let upstream = upstream(&mut root)?;
    let api = api(&mut root)?;
    let store = store(&mut root)?;
    section! { root, "seal", "The keys with which secrets are sealed in the store.";
        /// The master keys, in data_dir; KEYFERRY_MASTER_KEY wins.
        master_key_file = "master.key" => path(), at_start;
    }
    let ca = ca(&mut root);
    // 2. What several sections say of the management plane.
    let mut management = ManagementSettings {
        requests_per_minute: api.requests_per_minute,
        has_own_authority: ca.is_some(),
        public_url: api.public_url.clone(),
        allowed_ports: proxy.settings.terms.allowed_ports.clone(),
        ..ManagementSettings::default()
    };
    oauth(&mut root, &mut proxy.settings, &mut management)?;
    let mut commanded = Commanded::default();
    open_id(&mut root, &mut management, &mut commanded)?;
    webhook(&mut root, &mut management, &mut commanded)?;
    zis(&mut root, &mut management, &mut commanded)?;
    let audit = audit(&mut root)?;
    let telemetry = telemetry(&mut root)?;
    // 3. What is declared; then any other key is unknown.
    let allow_zendesk = management.allow_static_zendesk;
    let connections = declared::connections(&mut root, allow_zendesk, &mut commanded);
    let tokens = declared::tokens::tokens(&mut root, &mut commanded);
    root.close();
    Some(Config {
        data_dir,
        shutdown_grace,
        log,
        management,
        proxy,
        upstream,
        api,
        store,
        master_key_file,
        ca,
        audit,
        telemetry,
        connections,
        tokens,
        commanded,
        bound: report.bound.take(),
    })
}

/// Reads where a server of this configuration is found, and nothing else.
pub(super) fn whereabouts(report: &Report<'_>, options: &Options) -> Option<Whereabouts> {
    let mut root = Section::root(report);
    Some(Whereabouts {
        data_dir: data_dir(&mut root, options)?,
        proxy: proxy(&mut root)?,
        api: api(&mut root)?,
        store: store(&mut root)?.url,
    })
}

fn data_dir(root: &mut Section<'_>, options: &Options) -> Option<PathBuf> {
    keys! { root;
        /// The directory of the database, the keys and admin.token; made on the first start with
        /// mode 0700.
        data_dir = "keyferry-data" => path();
    }
    let chosen = match &options.data_dir {
        None => data_dir,
        Some(given) => {
            if given.as_os_str().is_empty() {
                let place = SourcePlace::Argument("--data-dir");
                root.mark().report.fault(&place, "data_dir", "must not be empty");
            }
            given.clone()
        }
    };
    root.at_start("data_dir", &chosen);
    Some(chosen)
}

fn log(root: &mut Section<'_>) -> Option<LogConfig> {
    let formats =
        [("auto", None), ("pretty", Some(LineFormat::Pretty)), ("json", Some(LineFormat::Json))];
    section! { root, "log", "The form and the amount of log lines.";
        /// "auto" is pretty on a terminal, else "json"; "pretty" and "json" choose one.
        format = "auto" => choice(&formats), at_start;
        /// The lines that are written: a level, or pairs as in "info,keyferry=debug"; RUST_LOG
        /// wins.
        level = "info" => log_level(), at_start;
    }
    Some(LogConfig { format, level })
}

fn proxy(root: &mut Section<'_>) -> Option<ProxyConfig> {
    section! { root, "proxy", "The data plane.";
        /// The addresses where callers are accepted: "ADDRESS:PORT" or "unix:PATH".
        listen = ["127.0.0.1:8080"] => some(listen_address()), at_start;
        /// The permission bits of a unix socket.
        socket_mode = "0600" => mode(), at_start;
        /// "token": a caller shows an access token. "none": everyone who reaches the listener,
        /// which must be loopback or a unix socket, is the anonymous caller.
        caller_auth = "token" => choice(&[("token", false), ("none", true)]);
        /// The integration of the anonymous caller; must be set where caller_auth is "none".
        default_integration = "" => or_empty(integration());
        /// The answer to http:// requests: "refuse", or "upgrade" to https://.
        plain_http = "refuse" => choice(&[("refuse", false), ("upgrade", true)]);
        /// The answer to a CONNECT to a host that no connection covers: "refuse", or "tunnel" it
        /// blind.
        untagged = "refuse" => choice(&[("refuse", false), ("tunnel", true)]);
        /// The names by which callers reach the proxy itself in gateway and base-URL form.
        allowed_hosts = ["localhost", "127.0.0.1", "[::1]"] => list(host());
        /// The ports of origins that may be asked for.
        allowed_ports = [443] => some(number(1, u16::MAX)).map(AllowedPorts::from);
        /// The methods that may reach an origin; CONNECT, TRACE, TRACK and DEBUG never do.
        allowed_methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY",
            "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT"] =>
            some(method());
        /// The number of callers' conns (transport connections) that are held at once; beyond it
        /// 503.
        max_connections = 10000 => number(1, MAX_CONNS), at_start;
        /// The number of them that one caller's token may hold; 0: half of max_connections. An
        /// anonymous caller may hold all.
        max_connections_per_caller = 0 => number(0, MAX_CONNS), at_start;
        /// The largest head of a request, in bytes.
        max_head_bytes = 65536 => number(8_192, 16_777_216), at_start;
        /// The largest body of a request, in bytes; 0: no limit.
        max_body_bytes = 0 => number(0, i64::MAX.unsigned_abs());
        /// The longest time that a head, a TLS handshake or a tunnel's first byte may take.
        head_timeout = "10s" => duration(), at_start;
        /// The longest time that a caller's conn may rest between requests, or an exchange may not move.
        idle_timeout = "60s" => duration(), at_start;
        /// The longest time that a WebSocket may be silent.
        websocket_idle_timeout = "10m" => duration();
        /// The number of requests that a token may make in a minute; 0: no limit.
        requests_per_minute = 0 => limit();
        /// A certificate and its key (PEM); callers then use https:// as the proxy's scheme.
        tls? = { cert = "proxy.pem", key = "proxy.key" } => pem_pair(), at_start;
    }
    // The settings of the data plane, but for what `[oauth]` says of them.
    let methods: Vec<_> = allowed_methods.iter().map(http::Method::as_str).collect();
    let settings = state::Settings {
        anonymous: default_integration.clone().filter(|_integration| caller_auth),
        allow: HeaderValue::try_from(methods.join(", ")).ok()?,
        own_hosts: allowed_hosts.iter().map(String::as_str).collect(),
        allowed_methods,
        terms: Terms { upgrade_plain_http: plain_http, allowed_ports, unrestricted_oauth: false },
        blind_tunnels: untagged,
        max_body_bytes,
        exchange_idle_timeout: idle_timeout,
        splice_idle_timeout: websocket_idle_timeout,
        tunnel_first_byte_timeout: head_timeout,
        renewal: Renewal::default(),
    };
    Some(ProxyConfig {
        listen: listen.into_iter().map(|address| address.with_mode(socket_mode)).collect(),
        is_anonymous: caller_auth,
        allowed_hosts,
        default_integration,
        max_connections,
        max_connections_per_caller,
        max_head_bytes,
        requests_per_minute,
        tls,
        settings,
    })
}

fn upstream(root: &mut Section<'_>) -> Option<upstream::Settings> {
    section! { root, "upstream", "The way out to origins.";
        /// The longest time that the resolution of a name may take.
        resolve_timeout = "5s" => duration();
        /// The longest time that a connect and its TLS handshake may take.
        connect_timeout = "5s" => duration();
        /// The longest time that the head of a response may take.
        response_timeout = "60s" => duration();
        /// The time that an idle conn to an origin is kept.
        idle_timeout = "90s" => duration();
        /// The number of idle conns that are kept per origin and integration, over all cores; 0
        /// keeps none.
        max_idle_per_origin = 256 => number(0, MAX_CONNS);
        /// Offers HTTP/2 to origins.
        http2 = true => boolean();
        /// PEM files with the certificates of private CAs to trust beside the public ones.
        extra_roots = [] => list(roots());
        /// Networks (CIDR) that may be reached beyond the public internet, as ["127.0.0.0/8"].
        allow_networks = [] => list(network());
        /// Pins names with their ports to addresses, as curl's --connect-to does; the address must
        /// be allowed.
        resolve? = { "api.example.test:443" = "127.0.0.1:9443" } => pins();
    }
    // A file of roots may hold several.
    Some(upstream::Settings {
        resolve_timeout,
        connect_timeout,
        response_timeout,
        idle_timeout,
        max_idle_per_origin,
        http2,
        extra_roots: extra_roots.into_iter().flatten().collect(),
        allow_networks,
        pins: resolve.unwrap_or_default(),
    })
}

fn api(root: &mut Section<'_>) -> Option<ApiConfig> {
    section! { root, "api", "The management API and the console.";
        /// The address where the management API and the console listen: "ADDRESS:PORT".
        listen = "127.0.0.1:8081" => address(), at_start;
        /// The base of redirect URLs and of the OAuth callback, as browsers reach it; without it,
        /// the address where the API listens on this machine.
        public_url? = "http://127.0.0.1:8081" => public_url();
        /// The names by which the API is reached, beside public_url's and loopback ones.
        allowed_hosts = [] => list(host()), at_start;
        /// The number of requests that a token may make in a minute; past it 429; 0: no limit.
        requests_per_minute = 600 => limit();
        /// A certificate and its key (PEM); the API then speaks https://.
        tls? = { cert = "api.pem", key = "api.key" } => pem_pair(), at_start;
    }
    // Without a URL, links lead to this machine, or to the usual address with a warning.
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, API_PORT));
    let reached = on_this_machine(listen);
    let is_usual = [0, API_PORT].contains(&listen.port());
    if public_url.is_none() && !is_usual && reached.is_none() {
        let rule = format!(
            "set api.public_url too: what is sent to browsers and OAuth providers still leads to \
             http://{usual}"
        );
        let report = root.mark().report;
        report.warning(&report.place_of("api.listen"), "api.listen", rule);
    }
    let public_url = public_url.unwrap_or_else(|| {
        let scheme = if reached.is_some() && tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", reached.unwrap_or(usual))
    });
    root.at_start("api.public_url", &public_url);
    Some(ApiConfig { listen, public_url, allowed_hosts, requests_per_minute, tls })
}

fn store(root: &mut Section<'_>) -> Option<StoreConfig> {
    section! { root, "store", "The store of connections and tokens.";
        /// The store: "sqlite:FILE" in data_dir, "postgres://…", or "memory:", which knows only
        /// the connections and tokens of the configuration.
        url = "sqlite:keyferry.db" => store_url(), at_start;
        /// The time that an instance goes on without hearing from its store; after it
        /// StoreUnavailable.
        max_staleness = "5m" => duration(), at_start;
    }
    Some(StoreConfig { url, max_staleness })
}

fn audit(root: &mut Section<'_>) -> Option<AuditConfig> {
    section! { root, "audit", "The audit records.";
        /// The time that audit records are kept.
        retention = "7d" => duration(), at_start;
        /// The size that the trail may reach; the oldest records go first.
        max_bytes = "1GiB" => size(ByteSize::mib(16), ByteSize::tib(100)), at_start;
        /// The time that events are kept, which say what operators did.
        event_retention = "365d" => duration(), at_start;
    }
    Some(AuditConfig { retention, max_bytes, event_retention })
}

/// Reads `[oauth]` into the settings of both planes.
fn oauth(
    root: &mut Section<'_>,
    proxy: &mut state::Settings,
    management: &mut ManagementSettings,
) -> Option<()> {
    section! { root, "oauth", "OAuth connections.";
        /// Shows ***** for OAuth tokens in every response, whatever the scope.
        redact_tokens = false => boolean();
        /// Lets a connection without an allowed domain be used on the data plane.
        unrestricted = false => boolean();
        /// The time before its end at which a token is refreshed, at most; never more than a tenth
        /// of its lifetime.
        refresh_before = "60s" => duration_or_zero();
        /// The origins to which a flow may send the browser at its end, beside public_url's origin
        /// and loopback.
        allowed_redirect_origins = [] => list(origin());
        /// Answers a 401 of an origin with one refresh and one more try.
        retry_on_401 = true => boolean();
        /// The largest request body that is kept for that try, in bytes.
        replay_body_bytes = 1048576 => number(0, 1_073_741_824);
        /// The most that all kept request bodies may have together; past it a body is not kept.
        replay_memory = "64MiB" => size(ByteSize::b(0), ByteSize::tib(1));
        /// A grant that nobody uses is refreshed at least this often, and before a third of its
        /// refresh token's known life is left; "0s" for never.
        keep_alive = "24h" => duration_or_zero();
        /// The time that the instance that refreshes tokens may be silent before it has asked the
        /// provider.
        lease = "6s" => duration();
        /// The same after it has asked: until then no other instance asks with the same refresh
        /// token.
        takeover = "30s" => duration();
    }
    // Requests and refreshes go by these, flows and answers by the others.
    proxy.terms.unrestricted_oauth = unrestricted;
    proxy.renewal = Renewal {
        refresh_before,
        keep_alive,
        refresh_lease: RefreshLease { before_asking: lease, after_asking: takeover },
        retry_on_401,
        replay_body_bytes,
        replay_memory: usize::try_from(replay_memory).unwrap_or(usize::MAX),
    };
    management.redact_tokens = redact_tokens;
    management.allowed_redirect_origins = allowed_redirect_origins;
    Some(())
}

fn zis(
    root: &mut Section<'_>,
    management: &mut ManagementSettings,
    commanded: &mut Commanded,
) -> Option<()> {
    section! { root, "zis", "The Zendesk account.";
        /// The account's own host is {subdomain}.zendesk.com.
        subdomain = "" => or_empty(label());
        /// The account's number.
        account_id = 0 => number(0, i64::MAX.unsigned_abs());
        /// The account's OAuth client, which every integration then has by the name zendesk.
        client? = { id = "keyferry", secret = { env = "ZENDESK_CLIENT_SECRET" } } =>
            account_client();
        /// Lets a static connection take the reserved name zendesk.
        allow_static_zendesk = false => boolean();
    }
    let host = subdomain.map(|name| format!("{name}.zendesk.com"));
    management.account_host = host.and_then(|host| HostName::parse(&host).ok());
    management.account_client = commanded.account_client(client);
    management.account_id = account_id;
    management.allow_static_zendesk = allow_static_zendesk;
    Some(())
}

const API_PORT: u16 = 8081;

/// More than any machine has file descriptors.
const MAX_CONNS: usize = 10_000_000;
