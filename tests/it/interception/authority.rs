//! The CA: one for all instances, or the operator's; and its successor.

use rcgen::{CertificateParams, IsCa, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::inner;
use crate::support::ask::ask;
use crate::support::origin::Origin;
use crate::support::postgres::Postgres;
use crate::support::soon;
use crate::support::tunnel::API;
use crate::support::world::World;

#[tokio::test]
async fn the_ca_outlives_the_process_and_is_where_the_greeting_says() {
    let origin = Origin::start().await;
    let world = World::new(&origin).keeping().run().await;
    let ca = world.ca().await;
    let file = world.world.path("data/ca/cert.pem");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), ca);
    assert!(world.greeting.text().contains("data/ca/cert.pem"));
    // Whoever runs programs needs no token for it.
    let mut export = tokio::process::Command::new(env!("CARGO_BIN_EXE_keyferry"));
    export.args(["ca", "export", "--output", "json"]).env_clear().env("KEYFERRY_URL", &world.api);
    let exported = export.current_dir("/").output().await.unwrap();
    let exported: serde_json::Value = serde_json::from_slice(&exported.stdout).unwrap();
    let kept = std::fs::read_to_string(world.world.path("data/ca/cert.pem")).unwrap();
    assert_eq!(exported["certificates"].as_str(), Some(kept.trim_end()));
    let world = world.killed().await.run().await;
    assert_eq!(world.ca().await, ca);
    assert_eq!(world.tunnel().await.send(&inner("GET /v1")).await.status, 200);
}

#[tokio::test]
async fn all_instances_have_the_same_ca() {
    let (origin, postgres) = (Origin::start().await, Postgres::start().await);
    let world = || World::new(&origin).keeping_in(&postgres);
    // Both begin at once, and one of them makes it.
    let (one, two) = tokio::join!(world().run(), world().run());
    let ca = one.ca().await;
    assert_eq!(two.ca().await, ca);

    let rotated = one.manage("POST /api/keyferry/v1/ca/rotate", Some(json!({"overlap": "7d"})));
    let rotated = rotated.await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    let new = rotated.json()["ca"]["certificate"].as_str().unwrap().to_owned();
    // Both are to be trusted, here at once and there soon; the old one signs.
    assert_eq!(one.ca().await, format!("{ca}{new}"));
    soon(async {
        while two.ca().await != format!("{ca}{new}") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(one.tunnel().await.send(&inner("GET /v1")).await.status, 200);
    let at_once = one.manage("POST /api/keyferry/v1/ca/rotate", Some(json!({"overlap": "0s"})));
    assert_eq!(at_once.await.status, 200);
    assert!(!one.ca().await.contains(&ca));
    assert_eq!(one.tunnel().await.send(&inner("GET /v1")).await.status, 200);
}

#[tokio::test]
async fn the_operators_own_ca_signs_where_it_is_configured() {
    let origin = Origin::start().await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Ours");
    let own = params.self_signed(&key).unwrap().pem();
    let world = World::new(&origin)
        .file("own.pem", &own)
        .file("own.key", &key.serialize_pem())
        .set("ca.cert", "\"own.pem\"")
        .set("ca.key", "\"own.key\"")
        .keeping()
        .run()
        .await;
    assert_eq!(world.ca().await, own);
    assert_eq!(world.tunnel().await.send(&inner("GET /v1")).await.status, 200);
    let rotated = world.manage("POST /api/keyferry/v1/ca/rotate", Some(json!({}))).await;
    assert_eq!(rotated.status, 409, "{}", rotated.text());
}

#[tokio::test]
async fn a_ca_whose_row_was_changed_signs_nothing() {
    let origin = Origin::start().await;
    let world = World::new(&origin).keeping().run().await;
    let path = world.world.path("data/keyferry.db");
    let world = world.killed().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let database = sqlx::sqlite::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("UPDATE authorities SET signs_from = signs_from - 1")
        .execute(&database)
        .await
        .unwrap();
    database.close().await;
    let world = world.run().await;
    assert_eq!(world.ca().await, "");
    assert!(world.metric("keyferry_seal_failures_total").await >= 1.0);
    let tunnel = world.connect(&ask(&format!("CONNECT {API}:443"))).await;
    assert!(world.shake(tunnel, API, &["http/1.1"]).await.is_err());
    assert_eq!(world.send(&ask("GET https://api.example.test/v1")).await.status, 200);
}

#[tokio::test]
async fn leaves_are_what_strict_verifiers_want_and_are_counted() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let ca = CertificateDer::from_pem_slice(world.ca().await.as_bytes()).unwrap();
    let (_, ca) = X509Certificate::from_der(&ca).unwrap();
    assert!(ca.is_ca() && ca.basic_constraints().unwrap().unwrap().critical);
    assert!(ca.key_usage().unwrap().unwrap().value.key_cert_sign());
    assert!(world.metric("keyferry_leaf_cache_entries").await < 0.5);
    let _tunnel = world.tunnel().await;
    assert!(world.metric("keyferry_leaf_cache_entries").await > 0.5);
}
