//! `untagged = "tunnel"`: what no connection covers passes as it is.

use crate::support::ask::{Ask, ask, stranger};
use crate::support::operator::until;
use crate::support::origin::Origin;
use crate::support::raw::refused;
use crate::support::world::World;
use crate::support::{soon, tls};
use rustls_pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

const OTHER: &str = "other.example.test";

fn blind(origin: &Origin) -> World {
    World::new(origin).set("proxy.untagged", "\"tunnel\"").pin(OTHER, origin)
}

#[tokio::test]
async fn what_no_connection_covers_passes_and_nothing_is_added() {
    let origin = Origin::start().await;
    let world = blind(&origin).run().await;
    let tunnel = world.connect(&ask(&format!("CONNECT {OTHER}:443"))).await;
    // The certificate is the origin's own: nobody has looked inside.
    let connector = TlsConnector::from(tls::caller(&["http/1.1"]));
    let name = ServerName::try_from(OTHER).unwrap();
    let io = soon(connector.connect(name, tunnel.io)).await.unwrap();
    let mut inside = crate::support::raw::Raw::over(io);
    assert_eq!(inside.send(&stranger("GET /v1").host(OTHER)).await.status, 200);
    let seen = origin.only();
    assert!(!seen.names().contains(&"authorization") && !seen.names().contains(&"via"));
    drop(inside);
    let entry = world.log.entry(|entry| entry["method"] == "CONNECT").await;
    assert_eq!((&entry["rule"], &entry["decision"]), (&"untagged".into(), &"allow".into()));
    assert!(entry["response_bytes"].as_u64().unwrap() > 100, "{entry}");
}

#[tokio::test]
async fn a_host_that_a_connection_covers_is_never_passed_blind() {
    let origin = Origin::start().await;
    let world = blind(&origin).run().await;
    let mut tunnel = world.tunnel().await;
    assert_eq!(tunnel.send(&super::inner("GET /v1")).await.status, 200);
    assert_eq!(origin.only().field("authorization"), "Bearer bearer-secret");
}

#[tokio::test]
async fn a_blind_tunnel_needs_a_token_a_port_and_an_address_that_may_be_dialled() {
    let origin = Origin::start().await;
    let world = blind(&origin)
        .pin_to("inside.example.test:443", "10.0.0.1:443")
        .pin_to("dead.example.test:443", "127.0.0.1:1")
        .run()
        .await;
    let connect = |authority: &str| ask(&format!("CONNECT {authority}"));
    for (request, status, code) in [
        (stranger(&format!("CONNECT {OTHER}:443")), 407, "CallerUnknown"),
        (connect("other.example.test:22"), 403, "PortNotAllowed"),
        (connect("inside.example.test:443"), 403, "AddressProhibited"),
        (connect("dead.example.test:443"), 502, "ConnectRefused"),
        (connect("127.0.0.1:443"), 403, "ConnectionRequired"),
    ] {
        let answer = world.send(&request).await;
        assert_eq!(answer.refusal(), refused(status, code), "{}", answer.title());
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn a_blind_tunnel_is_cut_with_its_token_or_when_a_connection_covers_the_host() {
    let origin = Origin::start().await;
    let mut world = blind(&origin).token("other", "acme", "").run().await;
    let connect = || ask(&format!("CONNECT {OTHER}:443"));
    let mut tunnel = world.connect(&connect()).await;
    let mut others = world.connect(&stranger(&format!("CONNECT {OTHER}:443")).by("other")).await;
    world.reload(|world| world.without("name = \"runner\"")).await;
    tunnel.ends().await;
    others.write([22]).await;
    world.reload(|world| world.bearer("acme.new", OTHER, "new-secret")).await;
    others.ends().await;
    assert!(world.log.text().contains("no longer in force"));
}

#[tokio::test]
async fn a_blind_tunnel_in_which_nothing_is_said_ends_and_is_counted() {
    let origin = Origin::start().await;
    let world = blind(&origin).set("proxy.head_timeout", "\"500ms\"").run().await;
    let mut silent = world.connect(&ask(&format!("CONNECT {OTHER}:443"))).await;
    silent.ends().await;
    let entry = world.log.entry(|entry| entry["method"] == "CONNECT").await;
    assert_eq!((&entry["rule"], &entry["integration"]), (&"untagged".into(), &"acme".into()));
    assert!(entry["cause"].as_str().unwrap().contains("neither end said anything"), "{entry}");
    let counted = "keyferry_requests_total{integration=\"\",connection=\"\",decision=\"allow\",code=\"\",status_class=\"2xx\"}";
    assert!((world.metric(counted).await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_blind_tunnel_is_decided_once_more_after_its_dial() {
    // A listener with room for one conn, which is taken: who dials it waits.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let first = TcpStream::connect(address).await.unwrap();
    let world = World::empty().bearer("acme.api", "api.example.test", "secret").keeping();
    let world = world.set("proxy.untagged", "\"tunnel\"");
    let server = world.pin_to(&format!("{OTHER}:443"), &address.to_string()).run().await;
    let connect = |token: &str| {
        let connect = stranger(&format!("CONNECT {OTHER}:443"));
        connect.field("Proxy-Authorization", &format!("Bearer {token}"))
    };
    let begun = async |connect: Ask| {
        let mut raw = server.raw().await;
        raw.write(connect.bytes()).await;
        raw
    };
    let (id, revoked) = server.keep_token("revoked", &["proxy"]).await;
    let (ending, end) = server.keep_token_that_ends("short").await;
    let mut callers = [begun(connect(&revoked)).await, begun(connect(&ending)).await];
    server.revoke(&id).await;
    until(end).await;
    let _conns = (first, listener.accept().await.unwrap());
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    for caller in &mut callers {
        assert_eq!(caller.head().await.status, 407);
    }
}
