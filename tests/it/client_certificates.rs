//! Connections with a client certificate: TLS to their origins presents it (contract §8).

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use keyferry::ledger::Metrics;
use keyferry::model::client_identity::{ClientCertificate, ClientIdentity};
use keyferry::model::connection::Connection;
use keyferry::model::domain::AllowedDomain;
use keyferry::model::name::{ConnectionName, IntegrationName};
use keyferry::model::record::Detail;
use keyferry::secret::Secret;
use rustls::SupportedProtocolVersion;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::support::ask::{Ask, ask};
use crate::support::inside::{Stuck, serve_changed};
use crate::support::origin::{Origin, listen, ok};
use crate::support::raw::{Answer, Raw, refused};
use crate::support::tls::{Authority, Leaf, NAMES, TRUSTED, demanding};
use crate::support::world::World;

fn get(connection: &str) -> Ask {
    ask("GET https://api.example.test/v1").field("X-Zis-Connection", connection)
}

fn identity(leaf: &Leaf) -> Arc<ClientIdentity> {
    let certificate = ClientCertificate::parse(&leaf.pem).unwrap();
    Arc::new(certificate.with_key(&Secret::new(leaf.key.serialize_pem())).unwrap())
}

/// A proxy whose connections present these certificates; gives its address.
fn proxy(world: &World, certificates: &[(&str, Option<&Leaf>)]) -> String {
    serve_changed(world, Arc::new(Stuck), false, |in_force| {
        for (name, leaf) in certificates {
            let connection = Connection::new(
                IntegrationName::parse("acme").unwrap(),
                ConnectionName::parse(name).unwrap(),
                AllowedDomain::parse("api.example.test").unwrap(),
                Detail::BearerToken,
                &Secret::new("bearer-secret"),
            );
            let connection = connection.unwrap().with_identity(leaf.map(identity));
            in_force.registry.insert_connection(connection, &Metrics::new()).unwrap();
        }
    })
}

fn world(origin: &str) -> World {
    World::empty().token("runner", "acme", "").pin_to("api.example.test:443", origin)
}

async fn send(proxy: &str, ask: &Ask) -> Answer {
    Raw::tcp(proxy).await.send(ask).await
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[tokio::test]
async fn an_origin_that_demands_a_certificate_gets_the_connections_own() {
    let (one, two) = (TRUSTED.leaf(&["one.test"]), TRUSTED.leaf(&["two.test"]));
    for version in VERSIONS {
        for alpn in ["http/1.1", "h2"] {
            let config = demanding(&TRUSTED, &[alpn], version);
            let origin = Origin::answering_as(config, |_seen| ok("ok")).await;
            let world = world(&origin.address.to_string());
            let proxy = proxy(&world, &[("one", Some(&one)), ("two", Some(&two))]);
            // Each certificate has conns of its own, which are used again.
            for (name, conn) in [("one", 0), ("two", 1), ("one", 0), ("two", 1)] {
                assert_eq!(send(&proxy, &get(name)).await.status, 200, "{version:?} {alpn}");
                assert_eq!(origin.last().conn, conn, "{version:?} {alpn}");
            }
            assert_eq!(origin.conns(), 2);
        }
    }
}

#[tokio::test]
async fn a_websocket_presents_the_certificate_too() {
    let leaf = TRUSTED.leaf(&["one.test"]);
    let config = demanding(&TRUSTED, &["http/1.1"], VERSIONS[1]);
    let origin = Origin::answering_as(config, |_seen| ok("no websocket here")).await;
    let world = world(&origin.address.to_string());
    let proxy = proxy(&world, &[("one", Some(&leaf))]);
    let ask = get("one")
        .field("Connection", "Upgrade")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Version", "13")
        .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(send(&proxy, &ask).await.status, 200);
    assert_eq!(origin.only().field("upgrade"), "websocket");
}

#[tokio::test]
async fn a_certificate_that_is_missing_or_refused_is_the_operators_to_give() {
    let stranger = Authority::new().leaf(&["stranger.test"]);
    for version in VERSIONS {
        for alpn in ["http/1.1", "h2"] {
            let acceptor = TlsAcceptor::from(demanding(&TRUSTED, &[alpn], version));
            let origin = Origin::on(listen(), move |io, _, _| refuse(acceptor.clone(), io)).await;
            let world = world(&origin.address.to_string());
            let proxy = proxy(&world, &[("none", None), ("stranger", Some(&stranger))]);
            for (name, words) in [("none", "must give the connection one"), ("stranger", "refuses")]
            {
                let answer = send(&proxy, &get(name)).await;
                assert_eq!(answer.refusal(), refused(502, "TlsFailed"), "{version:?} {alpn}");
                assert!(answer.title().contains(words), "{version:?} {alpn}: {}", answer.title());
            }
        }
    }
}

/// Shakes hands, and reads to the end so that a reset does not overtake the alert.
async fn refuse(acceptor: TlsAcceptor, io: TcpStream) {
    if let Err((_refused, io)) = acceptor.accept(io).into_fallible().await {
        Raw::over(io).rest().await;
    }
}

#[tokio::test]
async fn openssls_server_verifies_the_certificate() {
    let leaf = TRUSTED.leaf(&["client.example.test"]);
    let (openssl, address) = OpenSsl::start();
    let world = world(&address);
    let proxy = proxy(&world, &[("one", Some(&leaf)), ("none", None)]);
    let answer = send(&proxy, &get("one")).await;
    assert_eq!(answer.status, 200);
    let page = answer.text();
    assert!(page.contains("Client certificate") && page.contains("client.example.test"), "{page}");
    let answer = send(&proxy, &get("none")).await;
    assert_eq!(answer.refusal(), refused(502, "TlsFailed"));
    drop(openssl);
}

/// OpenSSL's own server, which demands a certificate of the tests' authority, and shows it.
struct OpenSsl {
    server: Child,
    _directory: tempfile::TempDir,
}

impl OpenSsl {
    fn start() -> (Self, String) {
        let directory = tempfile::TempDir::new().unwrap();
        let leaf = TRUSTED.leaf(NAMES);
        for (name, content) in [
            ("ca.pem", &TRUSTED.pem),
            ("cert.pem", &leaf.pem),
            ("key.pem", &leaf.key.serialize_pem()),
        ] {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        let mut server = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www", "-Verify", "1"])
            .args(["-verify_return_error", "-CAfile", "ca.pem", "-cert", "cert.pem"])
            .args(["-key", "key.pem"])
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(server.stdout.take().unwrap()).lines();
        let address = said
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned))
            .unwrap();
        (Self { server, _directory: directory }, address)
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ended = self.server.kill();
        let _status = self.server.wait();
    }
}
