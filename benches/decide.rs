//! What the proxy itself costs a request, piece by piece: time, and how often memory is asked
//! for. `cargo bench --bench decide`; the figures are in docs/reference/benchmarks.md.
#![expect(clippy::unwrap_used, reason = "a benchmark that can't go on has failed")]
#![expect(clippy::print_stdout, reason = "that is how a benchmark reports")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use criterion::{BatchSize, BenchmarkId, Criterion};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Version, header};
use keyferry::ca::{CaRotation, CertificateAuthority, LeafCache};
use keyferry::clock::Clock;
use keyferry::http1::{HeadLimits, HeadScan};
use keyferry::ledger::{
    ConnectionUsage, Decision, Entry, Ledger, LineFormat, LogBuffer, Metrics, RequestLine, install,
};
use keyferry::model::caller::{Caller, Reach};
use keyferry::model::connection::Connection;
use keyferry::model::domain::AllowedDomain;
use keyferry::model::name::{ConnectionName, IntegrationName};
use keyferry::model::options::ConnectionOptions;
use keyferry::model::origin::{HostName, Origin};
use keyferry::model::permit::Terms;
use keyferry::model::record::Detail;
use keyferry::model::rules::{Rules, WrittenRule};
use keyferry::model::token::{Scopes, TokenDigest};
use keyferry::proxy::{ProxyRequest, Via, decide, prepare_request};
use keyferry::secret::Secret;
use keyferry::state::{
    ConnectionSource, InForce, RegisteredConnection, Registry, Renewal, Settings,
};
use keyferry::upstream::{
    self, Guard, NameLookups, OwnListeners, SystemResolver, TlsClients, UpstreamRules,
};

const TOKEN: &[u8] = b"kf_0123456789012345678901234567890123456789abc";
const SIZES: [usize; 3] = [10, 100, 100_000];
const LIMITS: HeadLimits = HeadLimits { max_bytes: 65536, max_fields: 100 };

/// What curl sends.
const CURL: &[(&str, &str)] = &[
    ("host", "api7.example.com"),
    ("proxy-authorization", "Bearer kf_0123456789012345678901234567890123456789abc"),
    ("x-zis-connection", "conn7"),
    ("user-agent", "curl/8.14.1"),
    ("accept", "*/*"),
    ("proxy-connection", "Keep-Alive"),
];

/// What a browser, or a client that looks like one, sends.
const BROWSER: &[(&str, &str)] = &[
    ("host", "api7.example.com"),
    ("proxy-authorization", "Bearer kf_0123456789012345678901234567890123456789abc"),
    ("x-zis-connection", "conn7"),
    ("connection", "keep-alive"),
    ("sec-ch-ua", "\"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decisions(&mut criterion);
    ruled_decisions(&mut criterion);
    heads(&mut criterion);
    callers(&mut criterion);
    entries(&mut criterion);
    leaves(&mut criterion);
    criterion.final_summary();
}

/// The whole decision, with the connection named, and with it to be found by the host.
fn decisions(criterion: &mut Criterion) {
    let caller = caller();
    let mut group = criterion.benchmark_group("decide");
    for size in SIZES {
        let in_force = in_force(size);
        let named = ask(&parts(CURL), &in_force);
        let unnamed: Vec<_> =
            CURL.iter().copied().filter(|(name, _)| *name != "x-zis-connection").collect();
        let unnamed = ask(&parts(&unnamed), &in_force);
        for (way, ask) in [("named", &named), ("covering", &unnamed)] {
            let once = || decide(&in_force, &caller, ask).unwrap();
            report(&format!("decide/{way}/{size}"), once);
            group.bench_function(BenchmarkId::new(way, size), |bencher| bencher.iter(once));
        }
        let host = HostName::parse("api7.example.com").unwrap();
        let covering = || in_force.registry.covering("shop", &host, &caller);
        report(&format!("Registry::covering/{size}"), covering);
        group.bench_function(BenchmarkId::new("Registry::covering", size), |bencher| {
            bencher.iter(covering);
        });
    }
}

/// The decision for a connection with 50 rules, of which the last one matches, beside one without.
fn ruled_decisions(criterion: &mut Criterion) {
    let caller = caller();
    let lines = (0..49).map(|number| format!("deny GET,POST /admin{number}/*/settings/**"));
    let lines = lines.chain(["allow GET /v1/**".to_owned()]);
    let rules = lines.map(|line| WrittenRule::parse(&line).unwrap()).collect();
    let rules = Rules::parse(rules).unwrap();
    let options = ConnectionOptions { rules, ..ConnectionOptions::default() };
    let mut group = criterion.benchmark_group("decide/rules");
    for (count, options) in [(0, ConnectionOptions::default()), (50, options)] {
        let in_force = in_force_with(100, &options);
        let ask = ask(&parts(CURL), &in_force);
        let once = || decide(&in_force, &caller, &ask).unwrap();
        report(&format!("decide/rules/{count}"), once);
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| bencher.iter(once));
    }
}

/// What a host costs that nobody has opened a tunnel to before, and one that somebody has.
fn leaves(criterion: &mut Criterion) {
    let clock = Clock::system();
    let authority = CertificateAuthority::generate(clock.now()).unwrap();
    let leaves = LeafCache::new(CaRotation::single(authority), clock);
    let known = || leaves.get_or_mint("api.example.com").unwrap();
    report("LeafCache::get_or_mint/known", known);
    criterion.bench_function("LeafCache::get_or_mint/known", |bencher| bencher.iter(known));
    let mut number = 0_u64;
    let mut cold = || {
        number += 1;
        leaves.get_or_mint(&format!("host{number}.example.com")).unwrap()
    };
    criterion.bench_function("LeafCache::get_or_mint/cold", |bencher| bencher.iter(&mut cold));
}

/// The work on a head: it is recognized, read and rewritten.
fn heads(criterion: &mut Criterion) {
    let in_force = in_force(100);
    let (via, field) = (Via::new("bench"), header::AUTHORIZATION);
    for (kind, fields) in [("curl", CURL), ("browser", BROWSER)] {
        let (bytes, head) = (bytes(fields), parts(fields));
        let bytes = Bytes::from(bytes);
        let scan = || {
            let mut scan = HeadScan::default();
            scan.scan(black_box(&bytes), LIMITS).unwrap();
            scan.read(&bytes, LIMITS).unwrap()
        };
        report(&format!("HeadScan::read/{kind}"), scan);
        criterion.bench_function(&format!("HeadScan::read/{kind}"), |bencher| bencher.iter(scan));

        let read = || ProxyRequest::read(&head, &in_force.settings).unwrap();
        report(&format!("ProxyRequest::read/{kind}"), read);
        criterion
            .bench_function(&format!("ProxyRequest::read/{kind}"), |bencher| bencher.iter(read));

        let prepare = |headers: &mut http::HeaderMap| {
            let token = Some(&header::PROXY_AUTHORIZATION);
            prepare_request(headers, Version::HTTP_11, std::slice::from_ref(&field), token, &via);
        };
        let mut once = head.headers.clone();
        report(&format!("prepare_request/{kind}"), || prepare(&mut once));
        criterion.bench_function(&format!("prepare_request/{kind}"), |bencher| {
            bencher.iter_batched_ref(|| head.headers.clone(), prepare, BatchSize::SmallInput);
        });
    }
}

/// From a token to its holder.
fn callers(criterion: &mut Criterion) {
    let in_force = in_force(100);
    let of = || TokenDigest::of(black_box(TOKEN)).unwrap();
    report("TokenDigest::of", of);
    criterion.bench_function("TokenDigest::of", |bencher| bencher.iter(of));
    let digest = of();
    let holder = || in_force.registry.holder(black_box(&digest)).unwrap();
    report("Registry::holder", holder);
    criterion.bench_function("Registry::holder", |bencher| bencher.iter(holder));
}

/// An entry from its opening to its line, figures included; the writer throws lines away.
fn entries(criterion: &mut Criterion) {
    let sink = Arc::new(LogBuffer::default());
    let writer = sink.write_to(std::io::sink()).unwrap();
    let clock = Clock::system();
    install(Arc::clone(&sink), LineFormat::Json, clock.clone(), "info").unwrap();
    let metrics = Arc::new(Metrics::new());
    let ledger =
        Arc::new(Ledger::new(sink, Arc::clone(&metrics), clock, LineFormat::Json, "bench"));
    let head = parts(CURL);
    let connection = connection(7, &ConnectionOptions::default());
    let counters = metrics.counters_of(&connection);
    let listing = Arc::new(RegisteredConnection {
        connection,
        counters,
        usage: ConnectionUsage::new(metrics.stats_of("", "")),
        source: ConnectionSource::Stored,
    });
    let name: Arc<str> = "runner".into();
    let origin = Origin::new(&HostName::parse("api7.example.com").unwrap(), 443);
    let once = || drop(entry(&ledger, &head, &listing, &name, &origin));
    once();
    report("ledger entry", once);
    criterion.bench_function("ledger entry", |bencher| bencher.iter(once));
    drop(writer);
}

fn entry(
    ledger: &Arc<Ledger>,
    head: &Parts,
    listing: &Arc<RegisteredConnection>,
    name: &Arc<str>,
    origin: &Origin,
) -> Entry {
    let opening = RequestLine { method: head.method.clone(), target: head.uri.clone() };
    let mut entry = ledger.open_entry(Some(opening));
    entry.form = "absolute";
    entry.caller = Some(Arc::clone(name));
    entry.integration = Some(listing.connection.integration().clone());
    entry.set_connection(Arc::clone(listing) as _);
    entry.origin = Some(origin.clone());
    entry.rule = "named";
    entry.mark_departed();
    entry.mark_answered();
    entry.decision = Decision::Allow;
    entry.status = 200;
    entry
}

/// Says how often `once` asks for memory.
fn report<T>(what: &str, once: impl FnOnce() -> T) {
    let counted = allocation_counter::measure(|| drop(black_box(once())));
    println!("{what}: {} allocations, {} bytes", counted.count_total, counted.bytes_total);
}

fn bytes(fields: &[(&str, &str)]) -> Vec<u8> {
    let lines = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let lines: String = lines.collect();
    let line = "GET https://api7.example.com/v1/things?page=2 HTTP/1.1";
    format!("{line}\r\n{lines}\r\n").into_bytes()
}

fn parts(fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::new(());
    *request.uri_mut() = "https://api7.example.com/v1/things?page=2".parse().unwrap();
    for (name, value) in fields {
        let name = HeaderName::try_from(*name).unwrap();
        request.headers_mut().append(name, HeaderValue::try_from(*value).unwrap());
    }
    request.into_parts().0
}

fn ask(head: &Parts, in_force: &InForce) -> ProxyRequest {
    ProxyRequest::read(head, &in_force.settings).unwrap()
}

fn caller() -> Caller {
    Caller {
        name: "runner".into(),
        reach: Reach::One(IntegrationName::parse("shop").unwrap(), None),
        scopes: Scopes { proxy: true, ..Scopes::default() },
        expires_at: None,
        rules: Rules::default(),
    }
}

fn connection(number: usize, options: &ConnectionOptions) -> Arc<Connection> {
    let connection = Connection::new(
        IntegrationName::parse("shop").unwrap(),
        ConnectionName::parse(&format!("conn{number}")).unwrap(),
        AllowedDomain::parse(&format!("api{number}.example.com")).unwrap(),
        Detail::BearerToken,
        &Secret::new("s3cr3t"),
    );
    Arc::new(connection.unwrap().with_options(options.clone()))
}

fn in_force(connections: usize) -> InForce {
    in_force_with(connections, &ConnectionOptions::default())
}

fn in_force_with(connections: usize, options: &ConnectionOptions) -> InForce {
    let way_out = upstream::Settings {
        resolve_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_mins(1),
        idle_timeout: Duration::from_mins(1),
        max_idle_per_origin: 8,
        http2: true,
        extra_roots: Vec::new(),
        allow_networks: Vec::new(),
        pins: HashMap::new(),
    };
    let callers = vec![(TokenDigest::of(TOKEN).unwrap(), caller())];
    InForce {
        registry: Registry::default()
            .declare(
                &(0..connections).map(|number| connection(number, options)).collect::<Vec<_>>(),
                callers,
                None,
                &Metrics::new(),
            )
            .unwrap(),
        stale: Arc::default(),
        management: Arc::default(),
        settings: Arc::new(Settings {
            anonymous: None,
            own_hosts: ["localhost"].into_iter().collect(),
            allowed_methods: vec![Method::GET, Method::POST],
            allow: HeaderValue::from_static("GET, POST"),
            terms: Terms {
                upgrade_plain_http: false,
                allowed_ports: vec![443].into(),
                unrestricted_oauth: false,
            },
            blind_tunnels: false,
            max_body_bytes: 0,
            exchange_idle_timeout: Duration::from_mins(1),
            splice_idle_timeout: Duration::from_mins(1),
            tunnel_first_byte_timeout: Duration::from_mins(1),
            renewal: Renewal::default(),
        }),
        rules: Arc::new(UpstreamRules {
            generation: 0,
            guard: Guard::new(Vec::new(), OwnListeners::default()),
            tls: TlsClients::new(&way_out).unwrap(),
            names: Arc::new(NameLookups::new(Arc::new(SystemResolver))),
            settings: way_out,
        }),
    }
}
