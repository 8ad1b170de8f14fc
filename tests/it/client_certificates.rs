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
use serde_json::json;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::support::ask::{Ask, ask};
use crate::support::inside::{Stuck, serve_changed};
use crate::support::operator::CONNECTIONS;
use crate::support::origin::{Origin, listen, ok};
use crate::support::raw::{Answer, Raw, refused};
use crate::support::tls::{Authority, Leaf, NAMES, TRUSTED, demanding};
use crate::support::world::{World, files_below};

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

/// An origin over HTTP/1.1 that demands a certificate of the tests' authority.
async fn demanding_origin() -> Origin {
    let config = demanding(&TRUSTED, &["http/1.1"], VERSIONS[1]);
    Origin::answering_as(config, |_seen| ok("ok")).await
}

#[tokio::test]
async fn a_declared_connection_has_its_certificate_in_files() {
    let (leaf, other) = (TRUSTED.leaf(&["one.test"]), TRUSTED.leaf(&["other.test"]));
    let origin = demanding_origin().await;
    let world = |key: &Leaf| {
        World::empty()
            .file("client.pem", &leaf.pem)
            .file("client.key", &key.key.serialize_pem())
            .connection(
                "acme.api",
                "api.example.test",
                "type = \"bearer_token\"\ntoken = \"bearer-secret\"\n\
                 client_certificate = { file = \"client.pem\" }\n\
                 client_key = { file = \"client.key\" }",
            )
            .token("runner", "acme", "")
            .pin("api.example.test", &origin)
    };
    let running = world(&leaf).run().await;
    let answer = running.send(&ask("GET https://api.example.test/v1")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // A key of another certificate is a fault of the configuration.
    let faulty = world(&other);
    let checked = faulty.command().output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!checked.status.success() && said.contains("does not belong to"), "{said}");
    assert!(!said.contains("PRIVATE"), "{said}");
}

#[tokio::test]
async fn the_api_keeps_a_certificate_and_never_shows_its_key() {
    let (one, two) = (TRUSTED.leaf(&["one.test"]), TRUSTED.leaf_until(&["two.test"], 2031));
    let origin = demanding_origin().await;
    let world = World::empty().token("runner", "acme", "").pin("api.example.test", &origin);
    let server = world.keeping().run().await;
    let asks = async || server.send(&get("mine")).await;
    // 1. Both are needed, and must be a pair.
    let post = format!("POST {CONNECTIONS}/bearer_token");
    let body = |certificate: Option<&Leaf>, key: Option<&Leaf>| {
        json!({
            "name": "mine", "allowed_domain": "api.example.test", "token": "bearer-secret",
            "client_certificate": certificate.map(|leaf| leaf.pem.clone()),
            "client_key": key.map(|leaf| leaf.key.serialize_pem()),
        })
    };
    for (certificate, key, words) in [
        (Some(&one), Some(&two), "does not belong to client_certificate"),
        (Some(&one), None, "client_key: must have a private key"),
        (None, Some(&one), "client_certificate: must have a certificate"),
    ] {
        let answer = server.manage(&post, Some(body(certificate, key))).await;
        let said = answer.text();
        assert!(answer.status == 400 && said.contains(words), "{said}");
    }
    // 2. It is shown, its key is not; the origin gets it.
    let made = server.manage(&post, Some(body(Some(&one), Some(&one)))).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let shown = |answer: &Answer| -> serde_json::Value {
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        answer["bearer_token"].clone()
    };
    assert_eq!(shown(&made)["client_key"], "*****");
    assert_eq!(shown(&made)["client_certificate"], one.pem.replace("\r\n", "\n"));
    assert_eq!(asks().await.status, 200);
    // 3. Another takes its place, on a conn of its own; a change of the token keeps it.
    let path = format!("{CONNECTIONS}/bearer_token/mine");
    let change = json!({
        "client_certificate": two.pem.clone(), "client_key": two.key.serialize_pem(),
    });
    let alone = json!({"client_certificate": two.pem.clone()});
    assert_eq!(server.manage(&format!("PATCH {path}"), Some(alone)).await.status, 400);
    let changed = server.manage(&format!("PATCH {path}"), Some(change)).await;
    assert_eq!(changed.status, 204, "{}", changed.text());
    let changed = server.manage(&format!("GET {path}"), None).await;
    assert_eq!(shown(&changed)["not_after"], "2031-12-31T00:00:00.000000Z");
    assert_eq!((asks().await.status, origin.last().conn), (200, 1));
    let change = json!({"token": "another-secret"});
    assert_eq!(server.manage(&format!("PATCH {path}"), Some(change)).await.status, 204);
    assert_eq!(asks().await.status, 200);
    assert_eq!(origin.last().field("authorization"), "Bearer another-secret");
    // 4. The key is in no file, and a certificate that was edited does not open.
    let world = server.killed().await;
    let key = two.key.serialize_pem();
    let lines = key.lines().nth(1).unwrap();
    for (path, bytes) in files_below(&world.path("data")) {
        assert!(memchr::memmem::find(&bytes, lines.as_bytes()).is_none(), "{}", path.display());
    }
    let edit =
        "UPDATE connections SET options = replace(options, 'client_certificate', 'description')";
    let file = SqliteConnectOptions::new().filename(world.path("data/keyferry.db"));
    let mut connection = file.connect().await.unwrap();
    sqlx::query(edit).execute(&mut connection).await.unwrap();
    drop(connection);
    let server = world.run().await;
    assert_eq!(server.send(&get("mine")).await.refusal(), refused(500, "SealBroken"));
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
