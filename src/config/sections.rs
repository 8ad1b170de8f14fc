//! Every key of contract §6, in its order, and the reader that it goes through.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytesize::ByteSize;
use http::Method;
use tracing::level_filters::LevelFilter;

use super::environment::Environment;
use super::fault::Place;
use super::item::{Item, Mark};
use super::pem::{self, Tls};
use super::reference::{self, Sources};
use super::report::Report;
use super::section::Section;
use super::store_url::StoreUrl;
use super::text;
use super::tree::Node;
use super::{
    Api, Audit, Ca, CallerAuth, Config, Log, LogFormat, OAuth, Options, PlainHttp, Proxy, Seal,
    Store, Untagged, Upstream, Whereabouts, Zis, connections, layers, tokens,
};
use crate::model::name::IntegrationName;

/// Reads the whole configuration; what is faulty keeps its default.
pub(super) fn config(
    tree: Node<'_>,
    options: &Options,
    environment: &Environment,
    report: &Report,
) -> Config {
    let mut config = Config::default();
    let mut root = Section::root(tree, report);
    root.set("data_dir", &mut config.data_dir, Item::path);
    if let Some(directory) = &options.data_dir {
        if directory.as_os_str().is_empty() {
            report.fault(&Place::Argument("--data-dir"), "data_dir", "must not be empty");
        }
        config.data_dir.clone_from(directory);
    }
    root.set("shutdown_grace", &mut config.shutdown_grace, Item::duration_or_zero);
    let data_dir = config.data_dir.clone();
    let sources = Sources { environment, data_dir: &data_dir };
    log(root.section("log"), &mut config.log);
    proxy(root.section("proxy"), &mut config.proxy, sources);
    upstream(root.section("upstream"), &mut config.upstream);
    api(root.section("api"), &mut config.api, sources);
    store(root.section("store"), &mut config.store);
    seal(root.section("seal"), &mut config.seal);
    ca(root.section("ca"), &mut config.ca, sources);
    oauth(root.section("oauth"), &mut config.oauth);
    zis(root.section("zis"), &mut config.zis);
    audit(root.section("audit"), &mut config.audit);
    if let Some(list) = root.take("connections") {
        let declarations = connections::Declarations::new(sources, config.zis.allow_static_zendesk);
        config.connections = declarations.read(list);
    }
    if let Some(list) = root.take("tokens") {
        config.tokens = tokens::Declarations::new(sources).read(list);
    }
    root.close();
    config
}

/// Reads `data_dir` and `[api]` and nothing else.
pub(super) fn whereabouts(
    tree: Node<'_>,
    options: &Options,
    environment: &Environment,
    report: &Report,
) -> Whereabouts {
    let Config { api: listener, data_dir, proxy, store, .. } = Config::default();
    let mut found = Whereabouts { api: listener, data_dir, proxy, store: store.url };
    let mut root = Section::root(tree, report);
    root.set("data_dir", &mut found.data_dir, Item::path);
    if let Some(directory) = &options.data_dir {
        found.data_dir.clone_from(directory);
    }
    let sources = Sources { environment, data_dir: &found.data_dir };
    api(root.section("api"), &mut found.api, sources);
    found
}

/// Reads what else leads to the server, as far as it can be read.
pub(super) fn surroundings(
    tree: Node<'_>,
    environment: &Environment,
    report: &Report,
    found: &mut Whereabouts,
) {
    let mut root = Section::root(tree, report);
    let data_dir = found.data_dir.clone();
    proxy(root.section("proxy"), &mut found.proxy, Sources { environment, data_dir: &data_dir });
    let mut kept = Store { url: found.store.clone(), ..Config::default().store };
    store(root.section("store"), &mut kept);
    found.store = kept.url;
}

fn log(mut section: Section<'_, '_>, log: &mut Log) {
    section.set("format", &mut log.format, |item| {
        item.choice(&[
            ("auto", LogFormat::Auto),
            ("pretty", LogFormat::Pretty),
            ("json", LogFormat::Json),
        ])
    });
    section.set("level", &mut log.level, level);
    section.close();
}

fn proxy(mut section: Section<'_, '_>, proxy: &mut Proxy, sources: Sources<'_>) {
    section.set("listen", &mut proxy.listen, |item| item.some(|item| item.parse(text::listener)));
    section.set("socket_mode", &mut proxy.socket_mode, |item| item.parse(text::mode));
    section.set("caller_auth", &mut proxy.caller_auth, |item| {
        item.choice(&[("token", CallerAuth::Token), ("none", CallerAuth::None)])
    });
    section.set("default_integration", &mut proxy.default_integration, |item| {
        item.parse(|name| text::unless_empty(name, IntegrationName::parse))
    });
    section.set("plain_http", &mut proxy.plain_http, |item| {
        item.choice(&[("refuse", PlainHttp::Refuse), ("upgrade", PlainHttp::Upgrade)])
    });
    section.set("untagged", &mut proxy.untagged, |item| {
        item.choice(&[("refuse", Untagged::Refuse), ("tunnel", Untagged::Tunnel)])
    });
    section.set("allowed_hosts", &mut proxy.allowed_hosts, hosts);
    section.set("allowed_ports", &mut proxy.allowed_ports, |item| {
        item.some(|item| item.number(1, u16::MAX))
    });
    section.set("allowed_methods", &mut proxy.allowed_methods, |item| item.some(method));
    proxy_limits(&mut section, proxy);
    section.set("tls", &mut proxy.tls, |item| tls(item, sources).map(Some));
    section.close();
}

fn proxy_limits(section: &mut Section<'_, '_>, proxy: &mut Proxy) {
    section.set("max_connections", &mut proxy.max_connections, |item| item.number(1, MANY));
    section.set("max_connections_per_caller", &mut proxy.max_connections_per_caller, |item| {
        item.number(0, MANY)
    });
    section.set("max_head_bytes", &mut proxy.max_head_bytes, |item| {
        item.number(SMALLEST_HEAD, LARGEST_HEAD)
    });
    section.set("max_body_bytes", &mut proxy.max_body_bytes, |item| {
        item.number(0, i64::MAX.unsigned_abs()).map(|bytes| (bytes > 0).then_some(bytes))
    });
    section.set("head_timeout", &mut proxy.head_timeout, Item::duration);
    section.set("idle_timeout", &mut proxy.idle_timeout, Item::duration);
    section.set("websocket_idle_timeout", &mut proxy.websocket_idle_timeout, Item::duration);
    section.set("requests_per_minute", &mut proxy.requests_per_minute, |item| {
        item.number(0, u32::MAX).map(|limit| (limit > 0).then_some(limit))
    });
}

fn upstream(mut section: Section<'_, '_>, upstream: &mut Upstream) {
    section.set("resolve_timeout", &mut upstream.resolve_timeout, Item::duration);
    section.set("connect_timeout", &mut upstream.connect_timeout, Item::duration);
    section.set("response_timeout", &mut upstream.response_timeout, Item::duration);
    section.set("idle_timeout", &mut upstream.idle_timeout, Item::duration);
    section
        .set("max_idle_per_origin", &mut upstream.max_idle_per_origin, |item| item.number(0, MANY));
    section.set("http2", &mut upstream.http2, Item::boolean);
    section.set("extra_roots", &mut upstream.extra_roots, |item| {
        item.list(roots).map(|files| files.into_iter().flatten().collect())
    });
    section.set("allow_networks", &mut upstream.allow_networks, |item| {
        item.list(|item| item.parse(text::network))
    });
    for (name, item) in section.section("resolve").entries() {
        let mark = item.mark();
        let key = text::name_and_port(&name).map_err(|rule| mark.fault(rule)).ok();
        let address = item.parse(text::address);
        if let Some((key, address)) = key.zip(address)
            && upstream.resolve.insert(key, address).is_some()
        {
            mark.fault("is pinned twice");
        }
    }
    section.close();
}

fn api(mut section: Section<'_, '_>, api: &mut Api, sources: Sources<'_>) {
    let public_url = section.take("public_url");
    let is_told = public_url.is_some();
    if let Some(url) = public_url.and_then(|item| item.parse(text::public_url)) {
        api.public_url = url;
    }
    section.set("listen", &mut api.listen, |item| {
        let mark = item.mark();
        let address = item.parse(text::address)?;
        let is_usual = [0, Api::default().listen.port()].contains(&address.port());
        if !is_told && !is_usual && here(address).is_none() {
            mark.warning(NO_PUBLIC_URL);
        }
        Some(address)
    });
    section.set("allowed_hosts", &mut api.allowed_hosts, hosts);
    section.set("requests_per_minute", &mut api.requests_per_minute, |item| {
        item.number(0, u32::MAX).map(|limit| (limit > 0).then_some(limit))
    });
    section.set("tls", &mut api.tls, |item| tls(item, sources).map(Some));
    if let (false, Some(address)) = (is_told, here(api.listen)) {
        let scheme = if api.tls.is_some() { "https" } else { "http" };
        api.public_url = format!("{scheme}://{address}");
    }
    section.close();
}

fn store(mut section: Section<'_, '_>, store: &mut Store) {
    section
        .set("url", &mut store.url, |item| item.parse(|url| StoreUrl::parse(url).ok_or(STORE_URL)));
    section.set("max_staleness", &mut store.max_staleness, Item::duration);
    section.close();
}

fn seal(mut section: Section<'_, '_>, seal: &mut Seal) {
    section.set("master_key_file", &mut seal.master_key_file, Item::path);
    section.close();
}

fn ca(mut section: Section<'_, '_>, ca: &mut Ca, sources: Sources<'_>) {
    let mark = section.mark().clone();
    let cert = section.take("cert");
    let key = section.take("key");
    if cert.is_some() != key.is_some() {
        mark.consequence("needs both cert and key, or neither");
    }
    if let Some((cert, key)) = cert.zip(key) {
        let pair = cert.file().zip(key.file()).map(|(cert, key)| Tls { cert, key });
        if let Some(Tls { cert, key }) = pair.and_then(|pair| usable(pair, sources, &mark)) {
            *ca = Ca { cert: Some(cert), key: Some(key) };
        }
    }
    section.close();
}

fn oauth(mut section: Section<'_, '_>, oauth: &mut OAuth) {
    section.set("redact_tokens", &mut oauth.redact_tokens, Item::boolean);
    section.set("unrestricted", &mut oauth.unrestricted, Item::boolean);
    section.set("refresh_before", &mut oauth.refresh_before, Item::duration_or_zero);
    section.set("allowed_redirect_origins", &mut oauth.allowed_redirect_origins, |item| {
        item.list(|item| item.parse(text::origin))
    });
    section.set("retry_on_401", &mut oauth.retry_on_401, Item::boolean);
    section.set("replay_body_bytes", &mut oauth.replay_body_bytes, |item| {
        item.number(0, LARGEST_REPLAY)
    });
    section.set("replay_memory", &mut oauth.replay_memory, |item| {
        item.size(ByteSize::b(0), LARGEST_REPLAY_MEMORY)
    });
    section.set("lease", &mut oauth.lease, Item::duration);
    section.set("takeover", &mut oauth.takeover, Item::duration);
    section.close();
}

fn zis(mut section: Section<'_, '_>, zis: &mut Zis) {
    section.set("subdomain", &mut zis.subdomain, |item| {
        item.parse(|name| text::unless_empty(name, text::label))
    });
    section.set("account_id", &mut zis.account_id, |item| item.number(0, i64::MAX.unsigned_abs()));
    section.set("allow_static_zendesk", &mut zis.allow_static_zendesk, Item::boolean);
    section.close();
}

fn audit(mut section: Section<'_, '_>, audit: &mut Audit) {
    section.set("retention", &mut audit.retention, Item::duration);
    section.set("max_bytes", &mut audit.max_bytes, |item| item.size(SMALLEST_TRAIL, LARGEST_TRAIL));
    section.close();
}

/// What `RUST_LOG` says is taken as it is: it is written for other programs too.
fn level(item: Item<'_, '_>) -> Option<String> {
    let ambient = matches!(&item.mark().place, Place::Variable(name) if name == layers::RUST_LOG);
    item.parse(|directives| {
        let level = |part: &str| {
            part.rsplit('=').next().is_some_and(|level| level.parse::<LevelFilter>().is_ok())
        };
        if ambient || directives.split(',').all(|part| level(part.trim())) {
            Ok(directives.to_owned())
        } else {
            Err(LEVEL)
        }
    })
}

fn hosts(item: Item<'_, '_>) -> Option<Vec<String>> {
    item.list(|item| item.parse(text::host))
}

fn method(item: Item<'_, '_>) -> Option<Method> {
    let mark = item.mark();
    let method = item.parse(text::method)?;
    if method.as_str().bytes().any(|byte| byte.is_ascii_lowercase()) {
        mark.warning("methods are case-sensitive, and the known ones are in capitals");
    }
    Some(method)
}

fn roots(item: Item<'_, '_>) -> Option<Vec<rustls_pki_types::CertificateDer<'static>>> {
    let mark = item.mark();
    pem::roots(&item.file()?).map_err(|why| mark.fault(why.to_string())).ok()
}

fn tls(item: Item<'_, '_>, sources: Sources<'_>) -> Option<Tls> {
    let mark = item.mark();
    let mut section = item.section()?;
    let cert = section.require("cert", Item::file);
    let key = section.require("key", Item::file);
    section.close();
    usable(Tls { cert: cert?, key: key? }, sources, &mark)
}

/// Proves that both files can be used together.
fn usable(tls: Tls, sources: Sources<'_>, mark: &Mark<'_>) -> Option<Tls> {
    reference::check_mode(&tls.key, sources, mark);
    match tls.load() {
        Ok(_pair) => Some(tls),
        Err(why) => {
            mark.fault(why.to_string());
            None
        }
    }
}

/// Where a browser on this machine finds what listens there, if it does; the port must be known.
fn here(listen: SocketAddr) -> Option<SocketAddr> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    (ip.is_loopback() && listen.port() != 0).then(|| SocketAddr::new(ip, listen.port()))
}

const NO_PUBLIC_URL: &str = "set api.public_url too: what is sent to browsers and OAuth providers \
                             still leads to http://127.0.0.1:8081";

const STORE_URL: &str = "must be \"memory:\" or \"sqlite:FILE\" or \"postgres://…\"";

const LEVEL: &str = "must be off, error, warn, info, debug or trace, or a list such as \
                     \"info,keyferry=debug\"";

/// More than any machine has file descriptors.
const MANY: usize = 10_000_000;

/// The HTTP library reads at least this much at once.
const SMALLEST_HEAD: usize = 8_192;

const LARGEST_HEAD: usize = 16_777_216;

const LARGEST_REPLAY: usize = 1_073_741_824;

const LARGEST_REPLAY_MEMORY: ByteSize = ByteSize::tib(1);

/// Room for several batches of entries and what the database needs beside them.
const SMALLEST_TRAIL: ByteSize = ByteSize::mib(16);

const LARGEST_TRAIL: ByteSize = ByteSize::tib(100);
