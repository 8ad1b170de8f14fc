//! Revocation: a provider is told when its tokens are deleted here (RFC 7009).

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::authorized::{OAUTH, through, world};
use crate::support::documents::{Documents, ISSUER_HOST};
use crate::support::operator::as_sent;
use crate::support::origin::Origin;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, OTHER_HOST, Provider};
use crate::support::raw::{Answer, Raw, refused};
use crate::support::soon;
use crate::support::world::Running;

struct Scene {
    server: Running,
    provider: Provider,
    documents: Documents,
    client: String,
    _origin: Origin,
}

impl Scene {
    async fn new() -> Self {
        let (provider, documents) = (Provider::start().await, Documents::start().await);
        let world = world(&provider, |world| world.pin(ISSUER_HOST, &documents.origin));
        let (origin, server) = world.await;
        let mut client = provider.registration();
        client["revocation_url"] = format!("https://{ISSUER_HOST}/revoke").into();
        let made = server.manage(&format!("POST {OAUTH}/oauth/clients/acme"), Some(client)).await;
        assert_eq!(made.status, 201, "{made:?}");
        let client = made.json()["uuid"].as_str().unwrap().to_owned();
        Self { server, provider, documents, client, _origin: origin }
    }

    async fn delete(&self, name: &str) -> Answer {
        let deleted = self.server.manage(&format!("DELETE {OAUTH}/acme?name={name}"), None).await;
        assert_eq!(deleted.status, 204, "{deleted:?}");
        deleted
    }

    /// The line that says how the provider has taken it.
    async fn step(&self) -> Value {
        let step = self.server.log.find(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["step"] == "revoke").then_some(line)
        });
        step.await
    }
}

#[tokio::test]
async fn a_deleted_connections_tokens_are_revoked() {
    let scene = Scene::new().await;
    scene.documents.set("POST /revoke", 200, &json!({}));
    scene.server.authorize(&scene.provider, "mine").await;
    let shown = scene.server.authorized("mine").await;
    let deleted = scene.delete("mine").await;
    assert_eq!(deleted.field("x-keyferry-revocation"), "revoked");
    let asked: Vec<_> = scene.documents.origin.seen().iter().map(|seen| seen.form().0).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    for (form, hint) in asked.iter().zip(["refresh_token", "access_token"]) {
        assert_eq!(
            (&*form["token_type_hint"], &form["token"]),
            (hint, &shown[hint].as_str().unwrap().to_owned())
        );
        assert_eq!((&*form["client_id"], &*form["client_secret"]), (CLIENT_ID, CLIENT_SECRET));
    }
    let step = scene.step().await;
    assert_eq!((&step["outcome"], &step["connection"]), (&json!("done"), &json!("mine")));
}

/// A deletion that has begun comes to its end, whenever its caller goes away.
#[tokio::test]
async fn tokens_are_revoked_though_the_caller_has_gone() {
    let scene = Scene::new().await;
    scene.documents.set("POST /revoke", 200, &json!({}));
    let names: Vec<_> = (0..16).map(|number| format!("mine{number}")).collect();
    let mut tokens = Vec::new();
    for (name, pause) in names.iter().zip(0..) {
        scene.server.authorize(&scene.provider, name).await;
        tokens.push(scene.server.authorized(name).await["refresh_token"].clone());
        let line = format!("DELETE {OAUTH}/acme?name={name}");
        let asked = as_sent(&scene.server.admin().token, &line, None);
        let conn = TcpStream::connect(scene.server.api_address()).await.unwrap();
        conn.set_zero_linger().unwrap();
        let mut raw = Raw::over(conn);
        raw.write(asked.bytes()).await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        // A socket without linger resets its conn.
        drop(raw);
    }
    let mut gone = 0;
    for (name, token) in names.iter().zip(tokens) {
        if scene.server.send(&through(name)).await.status != 403 {
            continue;
        }
        gone += 1;
        let is_revoked = || {
            let seen = scene.documents.origin.seen();
            seen.iter().any(|seen| seen.form().0["token"] == token.as_str().unwrap())
        };
        soon(async {
            while !is_revoked() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
    assert!(gone > 0, "no deletion was begun");
}

#[tokio::test]
async fn a_provider_that_does_not_revoke_keeps_no_connection_alive() {
    let scene = Scene::new().await;
    scene.server.authorize(&scene.provider, "mine").await;
    scene.documents.set("POST /revoke", 503, &json!({"error": "hunter2"}));
    assert_eq!(scene.delete("mine").await.field("x-keyferry-revocation"), "failed");
    let gone = scene.server.send(&through("mine")).await;
    assert_eq!(gone.refusal(), refused(403, "ConnectionNotFound"));
    let step = scene.step().await;
    assert_eq!(step["outcome"], "failed");
    assert!(step["why"].as_str().unwrap().contains("status 503"), "{step}");
    assert!(!scene.server.log.text().contains("hunter2"));
}

#[tokio::test]
async fn a_provider_that_hangs_holds_a_deletion_up_for_three_seconds() {
    let provider = Provider::start().await;
    let silent = Origin::scripted(|mut conn| async move {
        let _head = conn.head().await;
        std::future::pending::<()>().await;
    });
    let silent = silent.await;
    let (_origin, server) = world(&provider, |world| world.pin(OTHER_HOST, &silent)).await;
    let mut client = provider.registration();
    client["revocation_url"] = format!("https://{OTHER_HOST}/revoke").into();
    let made = server.manage(&format!("POST {OAUTH}/oauth/clients/acme"), Some(client)).await;
    assert_eq!(made.status, 201, "{made:?}");
    server.authorize(&provider, "mine").await;
    let line = format!("DELETE {OAUTH}/acme?name=mine");
    let begun = Instant::now();
    let deleting = server.manage(&line, None);
    let meanwhile = async {
        // It is out of force before the provider is asked.
        silent.has_seen(1).await;
        let gone = server.send(&through("mine")).await;
        assert_eq!(gone.refusal(), refused(403, "ConnectionNotFound"));
    };
    let (deleted, ()) = tokio::join!(deleting, meanwhile);
    assert_eq!((deleted.status, deleted.field("x-keyferry-revocation")), (204, "pending"));
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_deleted_clients_connections_are_all_revoked() {
    let scene = Scene::new().await;
    scene.documents.set("POST /revoke", 200, &json!({}));
    for number in 0..10 {
        scene.server.authorize(&scene.provider, &format!("mine{number}")).await;
    }
    let line = format!("DELETE {OAUTH}/oauth/clients/acme/{}", scene.client);
    let deleted = scene.server.manage(&line, None).await;
    assert_eq!((deleted.status, deleted.field("x-keyferry-revocation")), (204, "revoked"));
    assert_eq!(scene.documents.origin.seen().len(), 20);
}

#[tokio::test]
async fn tokens_are_not_sent_to_where_a_client_was_moved_since() {
    let scene = Scene::new().await;
    scene.documents.set("POST /revoke", 200, &json!({}));
    scene.server.authorize(&scene.provider, "mine").await;
    let line = format!("PATCH {OAUTH}/oauth/clients/acme/{}", scene.client);
    let moved = json!({
        "revocation_url": format!("https://{ISSUER_HOST}/steal"), "client_secret": "mine now",
    });
    assert_eq!(scene.server.manage(&line, Some(moved)).await.status, 200);
    assert_eq!(scene.delete("mine").await.field("x-keyferry-revocation"), "failed");
    assert!(scene.documents.origin.seen().is_empty());
    let why = scene.step().await["why"].as_str().unwrap().to_owned();
    assert!(why.contains("revoke them at the provider"), "{why}");
}

#[tokio::test]
async fn without_a_revocation_url_nobody_is_asked() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    server.authorize(&provider, "mine").await;
    let deleted = server.manage(&format!("DELETE {OAUTH}/acme?name=mine"), None).await;
    assert_eq!((deleted.status, deleted.field("x-keyferry-revocation")), (204, ""));
    assert_eq!(provider.origin.seen().len(), 2, "one authorization and one question");
}
