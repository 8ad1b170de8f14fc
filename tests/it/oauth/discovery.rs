//! Clients that are filled in from their issuer's metadata (RFC 8414, OpenID Connect Discovery).

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::authorized::{OAUTH, parameter, world};
use crate::support::documents::{Documents, ISSUER_HOST, server_metadata};
use crate::support::origin::Origin;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::raw::Answer;
use crate::support::soon;
use crate::support::world::{Running, World};

/// A server, the provider, and an authorization server that describes it.
struct Scene {
    server: Running,
    provider: Provider,
    documents: Documents,
    _origin: Origin,
}

impl Scene {
    async fn new(more: impl FnOnce(World) -> World) -> Self {
        let (provider, documents) = (Provider::start().await, Documents::start().await);
        let world = world(&provider, |world| more(world.pin(ISSUER_HOST, &documents.origin)));
        let (origin, server) = world.await;
        Self { server, provider, documents, _origin: origin }
    }

    /// Asks for a client of this issuer that names no endpoint.
    async fn create(&self, issuer: &str, more: Value) -> Answer {
        let mut client = json!({
            "name": "example_client", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
            "issuer": issuer,
        });
        client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.server.manage(&format!("POST {OAUTH}/oauth/clients/acme"), Some(client)).await
    }

    /// The one reason why there is no client.
    async fn refused(&self, issuer: &str) -> String {
        let answer = self.create(issuer, json!({})).await;
        assert_eq!(
            (answer.status, answer.faults().1),
            (422, vec!["1303".to_owned()]),
            "{answer:?}"
        );
        answer.json()["errors"][0]["detail"].as_str().unwrap().to_owned()
    }
}

fn issuer(path: &str) -> String {
    format!("https://{ISSUER_HOST}{path}")
}

#[tokio::test]
async fn a_client_is_filled_in_from_its_issuer_and_works() {
    let Scene { server, provider, documents, .. } = &Scene::new(|world| world).await;
    let tenant = issuer("/t");
    let mut metadata = server_metadata(&tenant);
    metadata["revocation_endpoint"] = issuer("/t/revoke").into();
    metadata["token_endpoint_auth_methods_supported"] = json!(["client_secret_basic"]);
    documents.set("GET /t/.well-known/openid-configuration", 200, &metadata);
    let client = json!({
        "name": "example_client", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
        "issuer": tenant, "default_scopes": "read",
    });
    let line = format!("POST {OAUTH}/oauth/clients/acme");
    let made = server.manage(&line, Some(client)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    assert_eq!(made["auth_url"], metadata["authorization_endpoint"]);
    assert_eq!(made["token_url"], metadata["token_endpoint"]);
    assert_eq!(made["revocation_url"], metadata["revocation_endpoint"]);
    assert_eq!((&made["issuer"], &made["default_scopes"]), (&json!(tenant), &json!("read")));
    assert_eq!(made["token_endpoint_auth_method"], "client_secret_basic");
    let places = [
        "GET /.well-known/oauth-authorization-server/t",
        "GET /.well-known/openid-configuration/t",
        "GET /t/.well-known/openid-configuration",
    ];
    assert_eq!(documents.lines(), places);
    let asked = documents.origin.last();
    assert_eq!(
        (asked.field("accept"), asked.field("authorization")),
        ("application/json".to_owned(), String::new())
    );
    provider.set_issuer(&tenant);
    server.authorize(provider, "mine").await;
}

/// Runs `keyferry client create` for the provider's client and this issuer; gives its exit code and
/// both of its outputs.
async fn client_create(server: &Running, issuer: &str, more: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(["client", "create", "--name", "example_client", "--client-id", CLIENT_ID]);
    command.args(["--issuer", issuer, "--secret-stdin", "--data-dir", "data"]).args(more);
    command.env_clear().env("KEYFERRY_URL", &server.api).env("KEYFERRY_INTEGRATION", "acme");
    command.current_dir(&server.world.directory).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(CLIENT_SECRET.as_bytes()).await.unwrap();
    let ended = soon(child.wait_with_output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
}

#[tokio::test]
async fn one_line_makes_a_client_of_an_issuer() {
    let Scene { server, provider, documents, .. } = &Scene::new(|world| world).await;
    // Without metadata it says where it has looked, and which options help.
    let (code, out, err) = client_create(server, &issuer(""), &[]).await;
    assert_eq!((code, &*out), (1, ""), "{err}");
    let place = issuer("/.well-known/openid-configuration");
    assert!(err.contains(&place) && err.contains("status 404"), "{err}");
    assert!(err.contains("--issuer") && !err.contains(CLIENT_SECRET), "{err}");
    // With it, the client works as it is.
    let metadata = server_metadata(&issuer(""));
    documents.set("GET /.well-known/oauth-authorization-server", 200, &metadata);
    let (code, out, err) = client_create(server, &issuer(""), &["--scopes", "read"]).await;
    assert_eq!(code, 0, "{err}");
    for member in ["authorization_endpoint", "token_endpoint", "issuer"] {
        assert!(out.contains(metadata[member].as_str().unwrap()), "{member}: {out}");
    }
    assert!(out.contains("*****") && !out.contains(CLIENT_SECRET), "{out}");
    provider.set_issuer(&issuer(""));
    server.authorize(provider, "mine").await;
}

#[tokio::test]
async fn what_is_given_counts_before_what_is_found() {
    let scene = Scene::new(|world| world).await;
    scene.documents.set(
        "GET /.well-known/oauth-authorization-server",
        200,
        &server_metadata(&issuer("/")),
    );
    let own = json!({
        "auth_url": "https://id2.example.test/a", "token_endpoint_auth_method": "client_secret_basic",
    });
    // The server spells its issuer with a slash, which is the same.
    let made = scene.create(&issuer(""), own.clone()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    assert_eq!(made["auth_url"], own["auth_url"]);
    assert_eq!(made["token_endpoint_auth_method"], own["token_endpoint_auth_method"]);
    assert_eq!(made["issuer"], issuer("/"));
    // A client that names its token endpoint is looked up nowhere.
    let asked = scene.documents.lines().len();
    let named = json!({"name": "another", "token_url": scene.provider.url("/token")});
    let made = scene.create(&issuer("/elsewhere"), named).await;
    assert_eq!((made.status, scene.documents.lines().len()), (201, asked), "{made:?}");
}

#[tokio::test]
async fn metadata_of_no_use_makes_no_client_and_says_why() {
    let scene = Scene::new(|world| world).await;
    let documents = &scene.documents;
    let place = "GET /.well-known/oauth-authorization-server";
    let url = issuer("/.well-known/");
    let nowhere = scene.refused(&issuer("")).await;
    assert!(nowhere.contains(&format!("{url}openid-configuration: it answered with status 404")));
    assert!(nowhere.contains("give token_url and auth_url instead"), "{nowhere}");

    documents.set(place, 200, &server_metadata("https://evil.example.test"));
    assert!(scene.refused(&issuer("")).await.contains("another issuer's"));
    let mut plain = server_metadata(&issuer(""));
    plain["token_endpoint"] = "http://id.example.test/token".into();
    documents.set(place, 200, &plain);
    assert!(scene.refused(&issuer("")).await.contains("no token_endpoint that is an https:// URL"));
    let elsewhere = [("location", "https://id2.example.test/hunter2")];
    documents.set_raw(place, 302, &elsewhere, "");
    let redirects = scene.refused(&issuer("")).await;
    assert!(redirects.contains("it redirects, which is not followed"), "{redirects}");
    documents.set_raw(place, 200, &[], "<html>hunter2</html>");
    assert!(scene.refused(&issuer("")).await.contains("not a JSON object"));
    let long = format!("{{\"issuer\":\"{}\"}}", "a".repeat(300 << 10));
    documents.set_raw(place, 200, &[], &long);
    assert!(scene.refused(&issuer("")).await.contains("larger than 256 KiB"));
    let port = scene.refused(&format!("https://{ISSUER_HOST}:8443")).await;
    assert!(port.contains("proxy.allowed_ports"), "{port}");
    // Nothing of it is in the log, and each look-up is.
    assert!(!scene.server.log.text().contains("hunter2"));
    let step = scene.server.log.find(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["step"] == "discover").then_some(line)
    });
    assert_eq!(step.await["outcome"], "failed");
}

#[tokio::test]
async fn an_issuer_at_an_address_that_is_not_public_is_not_asked() {
    let public_only = |world: World| world.set("upstream.allow_networks", "[]");
    let scene = Scene::new(public_only).await;
    let refused = scene.refused(&issuer("")).await;
    assert!(refused.contains("not on the public internet"), "{refused}");
    assert_eq!(scene.documents.origin.conns(), 0);
}

#[tokio::test]
async fn a_client_without_a_secret_is_public_where_the_issuer_takes_one() {
    let scene = Scene::new(|world| world).await;
    let mut metadata = server_metadata(&issuer(""));
    metadata["token_endpoint_auth_methods_supported"] = json!(["none"]);
    scene.documents.set("GET /.well-known/openid-configuration", 200, &metadata);
    let public = json!({"client_secret": null});
    let made = scene.create(&issuer(""), public).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.json()["token_endpoint_auth_method"], "none");
    let end = scene.server.start_flow(Running::flow("mine")).await;
    assert!(parameter(&end, "flow_token").is_some(), "{end}");
}
