//! The account's own client, which the configuration declares for every integration.

use serde_json::{Value, json};

use crate::support::ask::{ask, stranger};
use crate::support::authorized::{OAUTH, parameter, target};
use crate::support::origin::Origin;
use crate::support::provider::{self, CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::raw::Raw;
use crate::support::world::{Running, World, authority};

const ACCOUNT: &str = "acme.zendesk.com";

/// A server whose operator has named the account and its client, with the account as provider.
async fn world(provider: &Provider, more: impl FnOnce(World) -> World) -> (Origin, Running) {
    let origin = provider::origin_accepting(provider).await;
    let client = format!("{{ id = {CLIENT_ID:?}, secret = {CLIENT_SECRET:?} }}");
    let world = World::new(&origin)
        .pin(ACCOUNT, &provider.origin)
        .set("oauth.allowed_redirect_origins", "[\"https://client.int\"]")
        .set("zis.subdomain", "\"acme\"")
        .set("zis.client", &client)
        .keeping();
    (origin, more(world).run().await)
}

/// The request that begins a flow by the account's own client.
fn flow(name: &str) -> Value {
    json!({
        "name": name, "oauth_client_name": "zendesk", "permission_scopes": "read write",
        "origin_oauth_redirect_url": "https://client.int/callback",
    })
}

#[tokio::test]
async fn every_integration_has_the_accounts_own_client() {
    let provider = Provider::named(ACCOUNT).await;
    let (_origin, server) = world(&provider, |world| world).await;
    let redirect_url = server.start_flow(flow("zendesk")).await;
    let callback = server.consent(&provider, &redirect_url).await;
    let ended = server.stroll(target(&callback)).await;
    assert!(parameter(&ended.location(), "verification_code").is_some(), "{ended:?}");
    // It is asked for the lifetimes, which it would not tell otherwise.
    let lifetimes = || {
        let question = provider.questions().pop().unwrap();
        ["expires_in", "refresh_token_expires_in"].map(|name| question.said(name).to_owned())
    };
    assert_eq!(lifetimes(), ["1800", "2592000"]);
    let shown = server.authorized("zendesk").await;
    assert_eq!(shown["allowed_domain"], ACCOUNT);
    assert_eq!(shown["oauth_url_subdomain"], "acme");
    let refreshed = server.manage(&format!("GET {OAUTH}/refresh/acme?name=zendesk"), None).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert_eq!(lifetimes(), ["1800", "2592000"]);
    assert_ne!(refreshed.json()["access_token"], shown["access_token"]);
    let through =
        ask(&format!("GET https://{ACCOUNT}/api/v2/users/me")).field("X-Zis-Connection", "zendesk");
    // The account itself answers, which knows no such path here.
    assert_eq!(server.send(&through).await.status, 404);
    let sent = provider.origin.seen().pop().unwrap().field("authorization");
    assert_eq!(sent, format!("Bearer {}", refreshed.json()["access_token"].as_str().unwrap()));
    // Another integration has it too.
    let line = format!("POST {OAUTH}/oauth/start/globex");
    assert_eq!(server.manage(&line, Some(flow("zendesk"))).await.status, 200);
}

#[tokio::test]
async fn the_accounts_own_client_is_for_the_account_alone() {
    let provider = Provider::named(ACCOUNT).await;
    let (_origin, server) = world(&provider, |world| world).await;
    let line = format!("POST {OAUTH}/oauth/start/acme");
    for name in ["zendesk", "another"] {
        for (member, value) in
            [("oauth_url_subdomain", "foobar"), ("allowed_domain", "api.example.test")]
        {
            let mut body = flow(name);
            body[member] = value.into();
            let refused = server.manage(&line, Some(body)).await;
            assert_eq!((refused.status, refused.faults().1.len()), (422, 1), "{name} {member}");
        }
        let mut body = flow(name);
        body["oauth_url_subdomain"] = "acme".into();
        let led = server.stroll(target(&server.start_flow(body).await)).await.location();
        assert!(led.starts_with("https://acme.zendesk.com/oauth/authorizations/new?"), "{led}");
    }
}

#[tokio::test]
async fn without_an_account_its_client_is_for_nobody() {
    let provider = Provider::named(ACCOUNT).await;
    let (_origin, server) = world(&provider, |world| world.set("zis.subdomain", "\"\"")).await;
    let mut flow = flow("other");
    flow["oauth_url_subdomain"] = "thief".into();
    let refused = server.manage(&format!("POST {OAUTH}/oauth/start/acme"), Some(flow)).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("zis.subdomain"), "{}", refused.text());
}

#[tokio::test]
async fn the_accounts_own_client_is_shown_and_not_changed() {
    let provider = Provider::named(ACCOUNT).await;
    let (_origin, mut server) = world(&provider, |world| world).await;
    let clients = format!("{OAUTH}/oauth/clients/acme");
    for name in ["aaa", "zzz"] {
        let mut client = provider.registration();
        client["name"] = name.into();
        assert_eq!(server.manage(&format!("POST {clients}"), Some(client)).await.status, 201);
    }
    let names = async |server: &Running, query: &str| {
        let list = server.manage(&format!("GET {clients}{query}"), None).await.json();
        let names = list["clients"].as_array().unwrap().iter();
        let names: Vec<_> =
            names.map(|client| client["name"].as_str().unwrap().to_owned()).collect();
        (names, list["meta"]["has_more"].as_bool().unwrap())
    };
    let all = vec!["aaa".to_owned(), "zendesk".to_owned(), "zzz".to_owned()];
    assert_eq!(names(&server, "").await, (all.clone(), false));
    assert_eq!(names(&server, "?page[size]=1").await, (all[..1].to_vec(), true));
    let second = "?page[size]=1&page[after]=";
    let list = server.manage(&format!("GET {clients}?page[size]=1"), None).await.json();
    let after = list["meta"]["after"].as_str().unwrap();
    assert_eq!(names(&server, &format!("{second}{after}")).await, (all[1..2].to_vec(), true));
    let list = server.manage(&format!("GET {clients}"), None).await.json();
    let own = &list["clients"][1];
    let said = (&own["declared"], &own["client_secret"], &own["provider"]);
    assert_eq!(said, (&json!(true), &json!("*****"), &json!("zendesk")));
    assert_eq!(list["clients"][0].get("declared"), None);
    let one = format!("{clients}/{}", own["uuid"].as_str().unwrap());
    assert_eq!(server.manage(&format!("GET {one}"), None).await.json(), *own);
    let change = json!({"client_secret": "another"});
    assert_eq!(server.manage(&format!("PATCH {one}"), Some(change)).await.status, 403);
    assert_eq!(server.manage(&format!("DELETE {one}"), None).await.status, 403);
    let mut taken = provider.registration();
    taken["name"] = "zendesk".into();
    assert_eq!(server.manage(&format!("POST {clients}"), Some(taken)).await.status, 422);
    // A reload takes up another one.
    server.reload(|world| world.set("zis.client", "{ id = \"other\", secret = \"other\" }")).await;
    assert_eq!(server.manage(&format!("GET {one}"), None).await.json()["client_id"], "other");
}

#[tokio::test]
async fn the_token_proxy_passes_lifetimes_on_and_back() {
    let provider = Provider::named(ACCOUNT).await;
    let (_origin, server) = world(&provider, |world| world).await;
    provider.set_shape(|answer| {
        let mut answer = answer;
        answer["refresh_token_expires_in"] = json!(2_592_000);
        answer
    });
    let question = |lifetime: Value| {
        let body = json!({
            "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "scope": "read",
            "grant_type": "client_credentials", "expires_in": lifetime,
            "refresh_token_expires_in": 2_592_000,
        });
        let line = format!("POST {OAUTH}/oauth/tokens/acme");
        stranger(&line).field("Content-Type", "application/json").body(body.to_string())
    };
    for lifetime in [json!(1800), json!("1800")] {
        let tokens = Raw::tcp(authority(&server.api)).await.send(&question(lifetime)).await;
        assert_eq!(tokens.status, 200, "{tokens:?}");
        let told = tokens.json();
        assert_eq!(
            (&told["expires_in"], &told["refresh_token_expires_in"]),
            (&json!(3600), &json!(2_592_000))
        );
        let sent: Value =
            serde_json::from_slice(&provider.origin.seen().pop().unwrap().body).unwrap();
        assert_eq!(
            (&sent["expires_in"], &sent["refresh_token_expires_in"]),
            (&json!(1800), &json!(2_592_000))
        );
    }
    let wrong = Raw::tcp(authority(&server.api)).await.send(&question(json!("soon"))).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
}
