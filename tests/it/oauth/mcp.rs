//! MCP servers: found out about, registered with, authorized for, and spoken to (RFC 9728, RFC 7591,
//! RFC 8707).

use std::process::Stdio;
use std::sync::Arc;

use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::watch;

use crate::support::ask::ask;
use crate::support::authorized::{OAUTH, prepared, target};
use crate::support::documents::{Documents, ISSUER_HOST, MCP_HOST, registered, server_metadata};
use crate::support::log::Log;
use crate::support::origin::{Origin, ok};
use crate::support::provider::{CLIENT_ID, Provider, origin_accepting};
use crate::support::raw::Answer;
use crate::support::soon;
use crate::support::world::{Running, World};

/// A server, a provider, the documents of its authorization server, and an MCP server.
struct Scene {
    server: Running,
    provider: Arc<Provider>,
    documents: Documents,
    mcp: Origin,
}

const METADATA: &str = "GET /.well-known/oauth-authorization-server";

impl Scene {
    /// The MCP server's metadata is at a place that only its challenge names.
    async fn new(more: impl FnOnce(World) -> World) -> Self {
        let described = json!({
            "resource": format!("https://{MCP_HOST}"),
            "authorization_servers": [issuer()], "scopes_supported": ["tools", "files"],
        });
        let challenge = format!("Bearer resource_metadata=\"https://{MCP_HOST}/described\"");
        let scene = Self::with_mcp(
            move |provider, seen| match seen.target.as_str() {
                "/described" => ok(&described.to_string()),
                _ if provider.is_valid(bearer(&seen.field("authorization"))) => ok("{}"),
                _ => unauthorized(&challenge),
            },
            more,
        );
        let scene = scene.await;
        scene.documents.set(METADATA, 200, &server_metadata(&issuer()));
        scene.documents.set("POST /register", 201, &registered());
        scene
    }

    async fn with_mcp<F>(answer: F, more: impl FnOnce(World) -> World) -> Self
    where
        F: Fn(&Provider, &crate::support::origin::Seen) -> Response<Full<bytes::Bytes>>
            + Send
            + Sync
            + 'static,
    {
        let (provider, documents) = (Arc::new(Provider::start().await), Documents::start().await);
        let asked = Arc::clone(&provider);
        let mcp = Origin::answering(&["http/1.1"], move |seen| answer(&asked, seen)).await;
        let api = origin_accepting(&provider).await;
        let world = prepared(&provider, &api).keeping();
        let world = world.pin(ISSUER_HOST, &documents.origin).pin(MCP_HOST, &mcp);
        Self { server: more(world).run().await, provider, documents, mcp }
    }

    async fn create(&self, body: Value) -> Answer {
        let line = "POST /api/keyferry/v1/integrations/acme/mcp-clients";
        self.server.manage(line, Some(body)).await
    }

    async fn refused(&self) -> String {
        let answer = self.create(json!({"url": url()})).await;
        let (status, code, title) = answer.fault();
        assert_eq!((status, code.as_str()), (400, "InvalidRequest"), "{answer:?}");
        title
    }
}

fn issuer() -> String {
    format!("https://{ISSUER_HOST}")
}

fn url() -> String {
    format!("https://{MCP_HOST}/mcp")
}

fn bearer(field: &str) -> &str {
    field.strip_prefix("Bearer ").unwrap_or_default()
}

fn unauthorized(challenge: &str) -> Response<Full<bytes::Bytes>> {
    let head = Response::builder().status(401).header("www-authenticate", challenge);
    head.body(Full::from("no")).unwrap()
}

#[tokio::test]
async fn a_client_registers_itself_for_what_the_server_says() {
    let scene = Scene::new(|world| world).await;
    let made = scene.create(json!({"url": url()})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    assert_eq!((&made["allowed_domain"], &made["path"]), (&json!(MCP_HOST), &json!("/mcp")));
    let client = &made["client"];
    let resource = json!({"resource": format!("https://{MCP_HOST}")});
    for member in ["auth_params", "token_params", "refresh_params"] {
        assert_eq!(client[member], resource, "{member}");
    }
    assert_eq!((&client["client_id"], &client["issuer"]), (&json!(CLIENT_ID), &json!(issuer())));
    assert_eq!(client["client_secret"], "*****");
    assert_eq!(client["name"], "mcp-wild-example-test");
    assert_eq!(client["default_scopes"], "tools files");
    // The resource is asked as an MCP client would ask, without a token.
    let probe = &scene.mcp.seen()[0];
    let message: Value = serde_json::from_slice(&probe.body).unwrap();
    assert_eq!((probe.method.as_str(), &message["method"]), ("POST", &json!("initialize")));
    assert_eq!(probe.field("authorization"), "");
    let registration: Value = serde_json::from_slice(&scene.documents.origin.last().body).unwrap();
    let callback = format!("http://127.0.0.1:8081{OAUTH}/oauth/callback");
    let expected = json!({
        "application_type": "native", "client_name": "Keyferry",
        "grant_types": ["authorization_code", "refresh_token"], "redirect_uris": [callback],
        "response_types": ["code"], "scope": "tools files",
        "token_endpoint_auth_method": "client_secret_post",
    });
    assert_eq!(registration, expected);
    // Asked for once more, it is the same.
    let again = scene.create(json!({"url": url()})).await;
    assert_eq!((again.status, &again.json()["client"]["uuid"]), (200, &client["uuid"]));
    assert_eq!(scene.documents.lines().iter().filter(|line| *line == "POST /register").count(), 1);
}

#[tokio::test]
async fn a_client_that_leads_elsewhere_in_anything_is_not_taken_for_the_servers_own() {
    let scene = Scene::new(|world| world).await;
    let made = scene.create(json!({"url": url()})).await.json();
    let client = &made["client"];
    let path = format!("{OAUTH}/oauth/clients/acme");
    // Somebody makes one like it before, whose tokens are refreshed at a host of theirs.
    let line = format!("DELETE {path}/{}", client["uuid"].as_str().unwrap());
    assert_eq!(scene.server.manage(&line, None).await.status, 204);
    let mut planted = client.clone();
    for member in ["uuid", "created_at", "created_by", "updated_at", "integration"] {
        planted.as_object_mut().unwrap().remove(member);
    }
    planted["client_secret"] = "theirs".into();
    planted["refresh_url"] = "https://other.example.test/token".into();
    let line = format!("POST {path}");
    assert_eq!(scene.server.manage(&line, Some(planted.clone())).await.status, 201);
    let again = scene.create(json!({"url": url()})).await;
    assert_eq!(again.status, 201, "{}", again.text());
    let again = again.json();
    assert_ne!(again["client"]["name"], planted["name"]);
    assert_eq!(again["client"].get("refresh_url"), None);
}

#[tokio::test]
async fn one_line_connects_an_mcp_server_and_its_tokens_are_for_it_alone() {
    let scene = Scene::new(|world| world).await;
    let Scene { server, provider, mcp, .. } = &scene;
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(["connection", "create", "--type", "oauth", "--mcp", &url(), "--name", "tools"]);
    command.args(["--no-browser", "--data-dir", "data"]).env_clear();
    command.env("KEYFERRY_URL", &server.api).env("KEYFERRY_INTEGRATION", "acme");
    command.current_dir(&server.world.directory).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let said = child.stderr.take().unwrap().into_owned_fd().unwrap();
    let said = Log::follow(std::fs::File::from(said));
    let begin = said.find(|line| line.starts_with("http").then(|| line.to_owned())).await;
    let callback = server.consent(provider, &begin).await;
    let end = server.stroll(target(&callback)).await.location();
    // The browser goes to where the command waits for it.
    let landing = end.split_once("://").unwrap().1.split('/').next().unwrap().to_owned();
    let get = crate::support::ask::stranger(&format!("GET {}", target(&end)));
    crate::support::raw::Raw::tcp(&landing).await.send(&get).await;
    let output = soon(child.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{}", said.text());
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("tools") && shown.contains(MCP_HOST), "{shown}");
    let address = format!("{}/~/tools/mcp", server.proxies[0]);
    said.ended().await;
    assert!(said.text().contains(&address), "{}", said.text());

    let resource = format!("https://{MCP_HOST}");
    assert_eq!(provider.invitations()[0]["resource"], resource);
    assert_eq!(provider.questions()[0].said("resource"), resource);
    let refreshed = server.manage(&format!("GET {OAUTH}/refresh/acme?name=tools"), None).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let question = provider.questions().pop().unwrap();
    assert_eq!(
        (question.said("grant_type"), question.said("resource")),
        ("refresh_token", &*resource)
    );
    let post = ask("POST /~/tools/mcp").host("127.0.0.1").body("{}");
    assert_eq!(server.send(&post).await.status, 200);
    assert_eq!(mcp.last().target, "/mcp");
}

#[tokio::test]
async fn an_mcp_server_is_connected_in_the_console_by_its_url() {
    let scene = Scene::new(|world| world).await;
    let Scene { server, provider, mcp, .. } = &scene;
    let visitor = server.sign_in(&server.admin().token).await;
    let form = "/console/i/acme/connections/new/mcp";
    let choices = visitor.get("/console/i/acme/connections/new").await.text();
    assert!(choices.contains(&format!("href=\"{form}\"")), "{choices}");
    // What is wrong with the URL stands beside it, and nothing is registered.
    for url in ["http://mcp.wild.example.test", "x", ""] {
        let wrong = visitor.post(form, &[("url", url), ("name", "tools")]).await;
        assert_eq!(wrong.status, 400, "{url}: {wrong:?}");
        assert!(wrong.text().contains("f-url-fault") && wrong.text().contains("value=\"tools\""));
    }
    assert!(scene.documents.lines().is_empty());
    // Nor is a client made twice, where only the name is wrong.
    let wrong = visitor.post(form, &[("url", &url()), ("name", "a b")]).await;
    assert!(wrong.status == 400 && wrong.text().contains("f-name-fault"), "{wrong:?}");
    let begun = visitor.post(form, &[("url", &url()), ("name", ""), ("scopes", " files ")]).await;
    assert_eq!(begun.status, 200, "{begun:?}");
    let url = begun.text().split("0;url=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let callback = server.consent(provider, &url).await;
    let ended = server.stroll(target(&callback)).await;
    assert_eq!(ended.status, 303, "{ended:?}");
    let name = MCP_HOST.replace('.', "-");
    assert!(ended.location().contains(&format!("connection={name}")), "{}", ended.location());
    let invited = &provider.invitations()[0];
    assert_eq!(
        (&*invited["scope"], &invited["resource"]),
        ("files", &format!("https://{MCP_HOST}"))
    );
    let registrations = scene.documents.lines().into_iter().filter(|line| line == "POST /register");
    assert_eq!(registrations.count(), 1);
    let post = ask(&format!("POST /~/{name}/mcp")).host("127.0.0.1").body("{}");
    assert_eq!(server.send(&post).await.status, 200);
    assert_eq!(mcp.last().target, "/mcp");
}

#[tokio::test]
async fn events_of_an_mcp_server_pass_one_by_one() {
    let (next, wait) = watch::channel(0);
    let mcp = Origin::scripted(move |mut conn| {
        let mut wait = wait.clone();
        async move {
            conn.head().await.unwrap();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                Mcp-Session-Id: s-1\r\nTransfer-Encoding: chunked\r\n\r\n";
            conn.raw.write(head).await;
            for number in 1..=2 {
                let event = format!("id: {number}\ndata: {{}}\n\n");
                conn.raw.write(format!("{:x}\r\n{event}\r\n", event.len())).await;
                wait.wait_for(|seen| *seen >= number).await.unwrap();
            }
            conn.raw.write("0\r\n\r\n").await;
        }
    })
    .await;
    let world = World::empty().bearer("acme.tools", MCP_HOST, "secret").token("runner", "acme", "");
    let server = world.pin(MCP_HOST, &mcp).run().await;
    let post = ask("POST /~/tools/mcp").host("127.0.0.1");
    let post = post.field("Accept", "application/json, text/event-stream");
    let mut raw = server.raw().await;
    raw.write(post.body("{}").bytes()).await;
    let head = raw.head().await;
    assert_eq!((head.status, head.field("mcp-session-id")), (200, "s-1"));
    for number in 1..=2 {
        // The origin says no more before the caller has this one.
        raw.until(format!("id: {number}\ndata: {{}}\n\n").as_bytes()).await.unwrap();
        next.send_replace(number);
    }
}

#[tokio::test]
async fn a_server_that_registers_nobody_reads_the_clients_metadata() {
    let public = "\"https://keyferry.example.com\"";
    let scene = Scene::new(|world| world.set("api.public_url", public)).await;
    let mut metadata = server_metadata(&issuer());
    metadata.as_object_mut().unwrap().remove("registration_endpoint");
    metadata["token_endpoint_auth_methods_supported"] = json!(["none"]);
    scene.documents.set(METADATA, 200, &metadata);
    assert!(scene.refused().await.contains("register one with the provider by hand"));
    metadata["client_id_metadata_document_supported"] = true.into();
    scene.documents.set(METADATA, 200, &metadata);
    let made = scene.create(json!({"url": url(), "name": "tools", "scopes": "files"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let client = &made.json()["client"];
    let id = "https://keyferry.example.com/oauth-client.json";
    assert_eq!((&client["client_id"], &client["name"]), (&json!(id), &json!("tools")));
    assert_eq!(client["token_endpoint_auth_method"], "none");
    assert_eq!(client["default_scopes"], "files");
    let described = scene.server.api("/oauth-client.json").await;
    assert_eq!((described.status, described.field("content-type")), (200, "application/json"));
    let described = described.json();
    assert_eq!(described["client_id"], id);
    let callback = format!("https://keyferry.example.com{OAUTH}/oauth/callback");
    assert_eq!(described["redirect_uris"], json!([callback]));
    // Somebody else's name is not taken over.
    let other = json!({
        "name": "other", "client_id": "x", "client_secret": "y",
        "token_url": "https://id.example.test/token",
    });
    let line = format!("POST {OAUTH}/oauth/clients/acme");
    assert_eq!(scene.server.manage(&line, Some(other)).await.status, 201);
    assert_eq!(scene.create(json!({"url": url(), "name": "other"})).await.status, 409);
}

#[tokio::test]
async fn what_can_not_be_authorized_for_says_why() {
    let scene = Scene::new(|world| world).await;
    let with = |name: &str, value: Value| {
        let mut metadata = server_metadata(&issuer());
        metadata[name] = value;
        scene.documents.set(METADATA, 200, &metadata);
    };
    with("require_pushed_authorization_requests", true.into());
    assert!(scene.refused().await.contains("RFC 9126"));
    with("code_challenge_methods_supported", json!(["plain"]));
    assert!(scene.refused().await.contains("S256"));
    with("authorization_endpoint", Value::Null);
    assert!(scene.refused().await.contains("no authorization endpoint"));
    with("issuer", "https://evil.example.test".into());
    assert!(scene.refused().await.contains("another issuer's"));
    with("x", Value::Null);
    for (status, body, why) in [
        (401, json!({}), "by hand"),
        (400, json!({"error": "invalid_redirect_uri"}), "invalid_redirect_uri"),
        (400, json!({"error": "hunter2"}), "status 400"),
        (201, json!({"client_id": "a\nb"}), "no client that can be kept"),
    ] {
        scene.documents.set("POST /register", status, &body);
        let refused = scene.refused().await;
        assert!(refused.contains(why) && !refused.contains("hunter2"), "{refused}");
    }
    let clients = scene.server.manage(&format!("GET {OAUTH}/oauth/clients/acme"), None).await;
    assert_eq!(clients.json()["clients"], json!([]));
    for url in ["http://mcp.wild.example.test", "https://127.0.0.1/mcp", "x", "https://a.test:81"] {
        let refused = scene.create(json!({"url": url})).await;
        assert_eq!(refused.status, 400, "{url}: {refused:?}");
    }
}

#[tokio::test]
async fn a_server_without_metadata_is_its_own_issuer_and_an_open_one_needs_nothing() {
    let place = "/.well-known/oauth-authorization-server";
    let own = format!("https://{MCP_HOST}");
    let metadata = server_metadata(&own).to_string();
    let old = Scene::with_mcp(
        move |_provider, seen| match seen.target.as_str() {
            "/mcp" => unauthorized("Bearer"),
            target if target == place => ok(&metadata),
            _ => Response::builder().status(404).body(Full::default()).unwrap(),
        },
        |world| world,
    );
    let old = old.await;
    old.documents.set("POST /register", 201, &registered());
    let made = old.create(json!({"url": url()})).await;
    assert_eq!((made.status, &made.json()["client"]["issuer"]), (201, &json!(own)), "{made:?}");
    assert_eq!(made.json()["client"]["auth_params"]["resource"], url());

    let open = Scene::with_mcp(
        |_provider, seen| match seen.target.as_str() {
            "/mcp" => ok("{}"),
            _ => Response::builder().status(404).body(Full::default()).unwrap(),
        },
        |world| world,
    );
    assert!(open.await.refused().await.contains("asks for no authorization"));

    let bound = json!({
        "resource": format!("https://{MCP_HOST}/mcp"), "authorization_servers": [issuer()],
        "dpop_bound_access_tokens_required": true,
    });
    let dpop = Scene::with_mcp(
        move |_provider, seen| match seen.target.as_str() {
            "/.well-known/oauth-protected-resource/mcp" => ok(&bound.to_string()),
            _ => unauthorized("DPoP"),
        },
        |world| world,
    );
    assert!(dpop.await.refused().await.contains("DPoP-bound access tokens"));
}
