//! What comes through a tunnel before there is TLS. Input: the bytes.
//!
//! Nobody can complete a handshake that he has not taken part in, so nothing of it may ever reach
//! the house, and nothing may come back but records of TLS.
#![no_main]

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use keyferry::ca::{CertificateAuthority, LeafCache, CaRotation};
use keyferry::clock::Clock;
use keyferry::http1::HeadLimits;
use keyferry::listener::{ConnLimits, ConnTracker, EarlyRefusal, Handler, InFlight, RequestBody, tunnel_config};
use keyferry::tasks::Tasks;
use libfuzzer_sys::fuzz_target;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;

/// Nobody comes to this house.
struct Empty;

impl Handler for Empty {
    type Body = Full<Bytes>;

    async fn handle(
        self: Arc<Self>,
        _visit: InFlight,
        _request: Request<RequestBody>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        panic!("a request came through");
    }

    fn early_refusal(&self, _reason: EarlyRefusal) -> Vec<u8> {
        panic!("HTTP came through");
    }
}

fuzz_target!(|input: &[u8]| {
    let (runtime, tls) = ground();
    let limits = ConnLimits {
        head: HeadLimits { max_bytes: 8192, max_fields: 64 },
        head_timeout: Duration::from_secs(1),
        idle_conn_timeout: Duration::from_secs(1),
        stalled_write_timeout: Duration::from_secs(1),
        max_conns: 1,
        max_conns_per_caller: 1,
        max_unauthenticated_conns: 1,
    };
    let answered = runtime.block_on(async {
        let conn_tracker = Arc::new(ConnTracker::new(Arc::default(), limits, 1));
        let tunnel = conn_tracker.admit_internal().expect("there is room");
        let (mut caller, proxy) = tokio::io::duplex(1 << 16);
        let tasks = Tasks::default();
        let serving =
            tunnel.serve(proxy, "api.example.com", Arc::clone(tls), Arc::new(Empty), tasks);
        let calling = async {
            caller.write_all(input).await.expect("there is room");
            caller.shutdown().await.expect("it is open");
            let mut answered = Vec::new();
            let _cut = caller.read_to_end(&mut answered).await;
            answered
        };
        let (served, answered) = tokio::join!(serving, calling);
        assert!(served.is_err(), "a handshake was completed");
        answered
    });
    check_records(&answered);
});

/// Records of TLS, one after the other: handshakes, changes of cipher, alerts, or ciphertext.
fn check_records(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        assert!(bytes.len() > 5 && (20..=23).contains(&bytes[0]) && bytes[1] == 3, "{bytes:?}");
        let length = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        bytes = bytes.get(5 + length..).expect("a whole record");
    }
}

fn ground() -> &'static (Runtime, Arc<ServerConfig>) {
    static GROUND: OnceLock<(Runtime, Arc<ServerConfig>)> = OnceLock::new();
    GROUND.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let clock = Clock::system();
        let authority = CertificateAuthority::generate(clock.now()).expect("a CA");
        let leaves = LeafCache::new(CaRotation::single(authority), clock);
        (runtime.expect("a runtime"), tunnel_config(Arc::new(leaves)).expect("TLS"))
    })
}
