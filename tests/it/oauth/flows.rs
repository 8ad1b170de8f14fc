//! Flows, in the shapes of the reference.

use serde_json::{Value, json};

use crate::support::ask::{ask, stranger};
use crate::support::authorized::{END, OAUTH, parameter, target, through, world};
use crate::support::origin::Origin;
use crate::support::provider::{Provider, challenge_of};
use crate::support::raw::{Raw, refused};
use crate::support::world::{Running, World, authority};

/// The members of an object, in the order of their names.
fn members(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A server that has been through the flow of the reference.
struct Scene {
    server: Running,
    origin: Origin,
    provider: Provider,
    client: String,
    callback: String,
    end: String,
}

impl Scene {
    async fn new() -> Self {
        let provider = Provider::start().await;
        let account = |world: World| world.set("zis.account_id", "123456");
        let (origin, server) = world(&provider, account).await;
        let client = server.register(&provider).await;
        let body = json!({
            "allow_offline_access": true, "grant_type": "authorization_code",
            "name": "my_connection_name", "oauth_client_name": "example_client",
            "oauth_client_uuid": client, "oauth_url_subdomain": "foobar",
            "origin_oauth_redirect_url": END, "permission_scopes": "read write",
        });
        let begun = server.start_flow(body).await;
        let callback = server.consent(&provider, &begun).await;
        let ended = server.stroll(target(&callback)).await;
        assert_eq!(ended.status, 303, "{ended:?}");
        let end = ended.location();
        Self { server, origin, provider, client, callback, end }
    }
}

/// What all three shapes of a connection have.
const COMMON: [&str; 8] = [
    "access_token",
    "created_by",
    "oauth_access_token_response_body",
    "permission_scope",
    "refresh_token",
    "token_expiry",
    "token_type",
    "uuid",
];

/// Whether an object has these members beside the common ones, and no others.
fn has_also(object: &Value, more: &[&str]) -> bool {
    let mut expected: Vec<_> = COMMON.iter().chain(more).copied().collect();
    expected.sort_unstable();
    members(object) == expected
}

#[tokio::test]
async fn the_provider_is_asked_as_the_standards_say() {
    let Scene { provider, callback, end, .. } = Scene::new().await;
    let invitation = provider.invitations().pop().unwrap();
    assert_eq!(invitation["response_type"], "code");
    assert_eq!((&*invitation["scope"], &*invitation["access_type"]), ("read write", "offline"));
    assert_eq!(invitation["code_challenge_method"], "S256");
    assert_eq!(invitation["state"].len(), 43);
    let back = format!("http://127.0.0.1:8081{OAUTH}/oauth/callback");
    assert_eq!(invitation["redirect_uri"], back);
    assert!(callback.starts_with(&back), "{callback}");
    let verifier = provider.questions().pop().unwrap().said("code_verifier").to_owned();
    assert_eq!(challenge_of(&verifier), invitation["code_challenge"]);
    assert!(end.starts_with(&format!("{END}?")), "{end}");
    let code = parameter(&end, "verification_code");
    assert!(code.is_some() && parameter(&end, "verification_token") == code, "{end}");
}

#[tokio::test]
async fn what_a_flow_has_brought_is_shown_as_the_reference_says() {
    let Scene { server, client, callback, end, .. } = Scene::new().await;
    let code = parameter(&end, "verification_code").unwrap();
    let line = format!("GET {OAUTH}/oauth/access_codes/acme?verification_code={code}");
    let exchanged = server.manage(&line, None).await;
    assert_eq!((exchanged.status, exchanged.field("cache-control")), (200, "no-store"));
    let exchanged = exchanged.json();
    let of_flow =
        ["integration", "origin_oauth_redirect_url", "raw_callback_params", "zendesk_account_id"];
    assert!(has_also(&exchanged, &of_flow), "{exchanged}");
    assert_eq!(exchanged["origin_oauth_redirect_url"], END);
    assert_eq!(exchanged["raw_callback_params"], callback.split_once('?').unwrap().1);
    let by = (&exchanged["zendesk_account_id"], &exchanged["created_by"]);
    assert_eq!(by, (&json!(123_456), &json!("admin")));
    let shown = server.authorized("my_connection_name").await;
    let whole =
        ["integration", "name", "oauth_client_uuid", "oauth_url_subdomain", "zendesk_account_id"];
    assert!(has_also(&shown, &whole), "{shown}");
    let known = (&shown["oauth_client_uuid"], &shown["oauth_url_subdomain"]);
    assert_eq!(known, (&json!(client), &json!("foobar")));
    let expiry = shown["token_expiry"].as_str().unwrap();
    assert!(expiry.len() == 20 && expiry.ends_with('Z'), "{expiry}");
    let said = shown["oauth_access_token_response_body"].as_str().unwrap();
    let said: Value = serde_json::from_str(said).unwrap();
    assert_eq!(said["access_token"], shown["access_token"]);
    let by_uuid = format!("GET {OAUTH}/acme?uuid={}", shown["uuid"].as_str().unwrap());
    assert_eq!(server.manage(&by_uuid, None).await.json(), shown);
    let list = "GET /api/services/zis/integrations/acme/connections/all";
    let list = server.manage(list, None).await.json();
    assert!(has_also(&list["oauth"][0], &["name", "oauth_url_subdomain"]), "{list}");
}

#[tokio::test]
async fn a_connection_without_a_domain_can_be_given_one_once() {
    let Scene { server, origin, .. } = Scene::new().await;
    let base_url = ask("GET /~/my_connection_name/v1");
    for ask in [&through("my_connection_name"), &base_url] {
        let refusal = server.send(ask).await;
        assert_eq!(refusal.refusal(), refused(403, "DomainNotAllowed"));
        assert!(refusal.text().contains("PATCH"), "{}", refusal.text());
    }
    let bind = format!("PATCH {OAUTH}/acme?name=my_connection_name");
    let domain = json!({"allowed_domain": "api.example.test"});
    let bound = server.manage(&bind, Some(domain.clone())).await;
    assert_eq!((bound.status, &bound.json()["allowed_domain"]), (200, &domain["allowed_domain"]));
    for ask in [&through("my_connection_name"), &base_url] {
        assert_eq!(server.send(ask).await.status, 200);
    }
    assert_eq!(origin.seen().len(), 2);
    let other = json!({"allowed_domain": "other.example.test"});
    let set = server.manage(&bind, Some(other)).await;
    assert_eq!((set.status, set.json()["errors"][0]["code"].as_str()), (422, Some("1303")));
    assert_eq!(server.manage(&bind, Some(domain)).await.status, 200);
}

#[tokio::test]
async fn what_was_deleted_is_gone() {
    let Scene { server, .. } = Scene::new().await;
    let delete = format!("DELETE {OAUTH}/acme?name=my_connection_name");
    assert_eq!(server.manage(&delete, None).await.status, 204);
    assert_eq!(server.manage(&delete, None).await.status, 404);
    let gone = server.send(&through("my_connection_name")).await;
    assert_eq!(gone.refusal(), refused(403, "ConnectionNotFound"));
}

#[tokio::test]
async fn tokens_are_shown_to_those_who_may_write_and_to_nobody_where_the_operator_says_so() {
    let provider = Provider::start().await;
    let (_origin, mut server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    server.authorize(&provider, "mine").await;
    let (_id, reader) = server.keep_token("reader", &["read"]).await;
    let shown = server.manage_by(&reader, &format!("GET {OAUTH}/acme?name=mine"), None).await;
    let secrets = ["access_token", "refresh_token", "oauth_access_token_response_body"];
    for member in secrets {
        assert_eq!(shown.json()[member], "*****", "{member}");
        assert_ne!(server.authorized("mine").await[member], "*****", "{member}");
    }
    let refresh = format!("GET {OAUTH}/refresh/acme?name=mine");
    let forbidden = server.manage_by(&reader, &refresh, None).await;
    let expected = json!({"errors": [{"code": "1200", "detail": "Forbidden", "status": "403"}]});
    assert_eq!((forbidden.status, forbidden.json()), (403, expected));
    server.reload(|world| world.set("oauth.redact_tokens", "true")).await;
    for member in secrets {
        assert_eq!(server.authorized("mine").await[member], "*****", "{member}");
    }
}

#[tokio::test]
async fn a_connection_without_a_name_is_called_by_its_uuid() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    let mut body = Running::flow("mine");
    body.as_object_mut().unwrap().remove("name");
    server.flow_through(&provider, body).await;
    let list = "GET /api/services/zis/integrations/acme/connections/all";
    let list = server.manage(list, None).await.json();
    let item = &list["oauth"][0];
    assert_eq!(item["name"], item["uuid"]);
    assert_eq!(server.send(&through(item["uuid"].as_str().unwrap())).await.status, 200);
}

#[tokio::test]
async fn an_unrestricted_connection_is_for_every_host_where_the_operator_says_so() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world.set("oauth.unrestricted", "true")).await;
    server.register(&provider).await;
    let mut body = Running::flow("mine");
    body.as_object_mut().unwrap().remove("allowed_domain");
    server.flow_through(&provider, body).await;
    assert_eq!(server.send(&through("mine")).await.status, 200);
    // Named it must be: it covers nothing by itself.
    let untagged = ask("GET https://other.example.test/");
    assert_eq!(server.send(&untagged).await.refusal(), refused(403, "ConnectionRequired"));
}

#[tokio::test]
async fn the_accounts_own_connection_is_for_the_accounts_own_host() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    let body = json!({"name": "zendesk", "oauth_client_name": "example_client"});
    let line = format!("POST {OAUTH}/oauth/start/acme");
    let refused = server.manage(&line, Some(body.clone())).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("zis.subdomain"), "{}", refused.text());
    let (_origin, server) = world(&provider, |world| world.set("zis.subdomain", "\"acme\"")).await;
    server.register(&provider).await;
    let mut elsewhere = body.clone();
    elsewhere["allowed_domain"] = "api.example.test".into();
    assert_eq!(server.manage(&line, Some(elsewhere)).await.status, 422);
    let redirect_url = server.start_flow(body).await;
    let callback = server.consent(&provider, &redirect_url).await;
    let page = server.stroll(target(&callback)).await;
    assert_eq!((page.status, page.field("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(server.authorized("zendesk").await["allowed_domain"], "acme.zendesk.com");
}

#[tokio::test]
async fn the_accounts_own_connection_has_tokens_of_the_account_alone() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world.set("zis.subdomain", "\"acme\"")).await;
    let register = async |name: &str, host: &str| {
        let mut client = provider.registration();
        client["name"] = name.into();
        client["auth_url"] = format!("https://{host}/oauth/authorizations/new").into();
        client["token_url"] = format!("https://{host}/oauth/tokens").into();
        let made = server.manage(&format!("POST {OAUTH}/oauth/clients/acme"), Some(client)).await;
        assert_eq!(made.status, 201, "{made:?}");
    };
    register("any_account", "{subdomain}.zendesk.com").await;
    register("foobars", "foobar.zendesk.com").await;
    let start = async |client: &str, subdomain: Option<&str>| {
        let mut body = json!({"name": "zendesk", "oauth_client_name": client});
        if let Some(subdomain) = subdomain {
            body["oauth_url_subdomain"] = subdomain.into();
        }
        server.manage(&format!("POST {OAUTH}/oauth/start/acme"), Some(body)).await
    };
    let refused = start("any_account", Some("foobar")).await;
    assert_eq!((refused.status, refused.faults().1), (422, vec!["1303".to_owned()]));
    assert!(refused.text().contains("account acme alone"), "{}", refused.text());
    let refused = start("foobars", None).await;
    assert_eq!((refused.status, refused.faults().1), (422, vec!["1303".to_owned()]));
    assert!(refused.text().contains("another account's"), "{}", refused.text());
    for subdomain in [None, Some("acme"), Some("ACME")] {
        let started = start("any_account", subdomain).await;
        assert_eq!(started.status, 200, "{started:?}");
        let url = started.json()["redirect_url"].as_str().unwrap().to_owned();
        let led = server.stroll(target(&url)).await.location();
        assert!(led.starts_with("https://acme.zendesk.com/oauth/authorizations/new?"), "{led}");
    }
}

#[tokio::test]
async fn names_and_scopes_may_have_spaces_and_flows_end_at_a_fragment() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    let mut client = provider.registration();
    client["default_scopes"] = "read  write ".into();
    client["name"] = "My example client".into();
    let made = server.manage(&format!("POST {OAUTH}/oauth/clients/acme"), Some(client)).await;
    assert_eq!((made.status, &made.json()["default_scopes"]), (201, &json!("read write")));
    let mut body = Running::flow("mine");
    body["origin_oauth_redirect_url"] = "https://client.int/app?x=1#/connected".into();
    body["permission_scopes"] = "  write   read".into();
    body["oauth_client_name"] = "My example client".into();
    let end = server.flow_through(&provider, body).await;
    let invitation = provider.invitations().pop().unwrap();
    assert_eq!(invitation["scope"], "write read");
    let (url, fragment) = end.split_once('#').unwrap();
    assert!(url.starts_with("https://client.int/app?x=1&verification_token="), "{end}");
    assert_eq!(fragment, "/connected");
    let code = parameter(url, "verification_code").unwrap();
    let line = format!("GET {OAUTH}/oauth/access_codes/acme?verification_code={code}");
    assert_eq!(server.manage(&line, None).await.status, 200);
    // Each step names the client as its operator does.
    let step = server.log.find(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["step"] == "exchange").then_some(line)
    });
    assert_eq!(step.await["client"], "My example client");
}

#[tokio::test]
async fn the_token_proxy_leads_to_the_account_and_nowhere_else() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    let body = json!({
        "client_id": "my_client_id", "client_secret": "my_client_secret", "code": "LgwEzL8CA3a",
        "grant_type": "authorization_code", "redirect_uri": "https://client.int/callback",
        "scope": "read write",
    });
    let question = |body: &Value| {
        let line = format!("POST {OAUTH}/oauth/tokens/acme");
        stranger(&line).field("Content-Type", "application/json").body(body.to_string())
    };
    let api = |server: &Running| authority(&server.api).to_owned();
    let no_account = Raw::tcp(&api(&server)).await.send(&question(&body)).await;
    assert_eq!((no_account.status, no_account.faults().1), (422, vec!["1303".to_owned()]));
    let zendesk = Origin::scripted_with(
        crate::support::tls::TRUSTED.leaf(&["acme.zendesk.com"]).serve(&["http/1.1"]),
        |mut conn| async move {
            let head = conn.head().await.unwrap();
            let answer = if head.contains("/oauth/tokens ") {
                "{\"access_token\":\"at\",\"scope\":\"read write\",\"token_type\":\"bearer\",\"x\":1}"
            } else {
                "{}"
            };
            let length = answer.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{answer}");
            conn.raw.write(head).await;
        },
    )
    .await;
    let (_origin, server) = world(&provider, |world| {
        world.set("zis.subdomain", "\"acme\"").pin("acme.zendesk.com", &zendesk)
    })
    .await;
    let tokens = Raw::tcp(&api(&server)).await.send(&question(&body)).await;
    let expected = json!({"access_token": "at", "scope": "read write", "token_type": "bearer"});
    assert_eq!((tokens.status, tokens.json()), (200, expected));
    assert_eq!(zendesk.seen().len(), 1);
    let mut aimed = body.clone();
    aimed["token_url"] = "https://evil.example.test/".into();
    let refused = Raw::tcp(&api(&server)).await.send(&question(&aimed)).await;
    assert_eq!(refused.status, 422, "{refused:?}");
}

#[tokio::test]
async fn a_provider_that_says_no_is_heard_and_not_quoted() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    provider.set_denial("access_denied", "hunter2 said no");
    let redirect_url = server.start_flow(Running::flow("mine")).await;
    let callback = server.consent(&provider, &redirect_url).await;
    let ended = server.stroll(target(&callback)).await;
    assert_eq!(parameter(&ended.location(), "error").as_deref(), Some("access_denied"));
    assert!(!ended.location().contains("hunter2") && !server.log.text().contains("hunter2"));
    assert_eq!(server.manage(&format!("GET {OAUTH}/acme?name=mine"), None).await.status, 404);
    assert_eq!(provider.asked(), 0);
    let step = server.log.find(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["step"] == "callback").then_some(line)
    });
    assert_eq!(step.await["outcome"], "failed");
}
