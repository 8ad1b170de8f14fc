//! Clients that are filled from the catalogue of providers, and what is asked for to do so.

use serde_json::{Value, json};

use crate::support::authorized::{OAUTH, through, world};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, HOST, Provider};
use crate::support::world::World;

const PROVIDERS: &str = "/api/keyferry/v1/providers";

/// A client of the fake provider, as the entry `auth0` describes it. The two URLs are its own.
fn registration(provider: &Provider) -> Value {
    json!({
        "name": "example_client", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
        "provider": "auth0", "auth_url": provider.url("/authorize"),
        "token_url": provider.url("/token"), "default_scopes": "read",
        "provider_values": {
            "domain": HOST, "audience": "https://api.example.test/", "api_host": "api.example.test",
        },
    })
}

fn clients() -> String {
    format!("{OAUTH}/oauth/clients/acme")
}

#[tokio::test]
async fn the_catalogue_is_listed_searched_and_shown() {
    let server = World::empty().keeping().run().await;
    let admin = server.admin();
    let all = admin.get(PROVIDERS).await.json();
    let names: Vec<_> =
        all["providers"].as_array().unwrap().iter().map(|item| item["name"].clone()).collect();
    assert!(names.len() >= 60 && names.is_sorted_by_key(Value::to_string), "{names:?}");
    let found = admin.get(&format!("{PROVIDERS}?search=zendesk")).await.json();
    let summary = json!({
        "name": "zendesk", "title": "Zendesk", "grant_type": "authorization_code",
        "asks": ["subdomain"], "allowed_domains": ["{subdomain}.zendesk.com"],
    });
    assert_eq!(found, json!({"providers": [summary]}));
    let none = admin.get(&format!("{PROVIDERS}?search=no+such+thing")).await.json();
    assert_eq!(none, json!({"providers": []}));

    let shown = admin.get(&format!("{PROVIDERS}/zendesk")).await.json();
    let entry = &shown["provider"];
    assert_eq!(entry["token_url"], "https://{subdomain}.zendesk.com/oauth/tokens");
    assert_eq!(entry["token_params"]["expires_in"], "1800");
    assert_eq!(
        (&entry["asks"][0]["name"], &entry["asks"][0]["optional"]),
        (&json!("subdomain"), &json!(true))
    );
    assert!(entry["sources"][0]["url"].as_str().unwrap().starts_with("https://"), "{entry}");
    assert_eq!(admin.get(&format!("{PROVIDERS}/nobody")).await.status, 404);
    for odd in ["?serach=x", "?search=a&search=b", "/zendesk?x=y"] {
        assert_eq!(admin.get(&format!("{PROVIDERS}{odd}")).await.status, 400, "{odd}");
    }

    let grant = |scope: &str| json!({"name": scope, "integration": "acme", "scopes": [scope]});
    let (reader, _) = admin.grant(&grant("read")).await;
    assert_eq!(reader.get(PROVIDERS).await.status, 200);
    let (runner, _) = admin.grant(&grant("proxy")).await;
    assert_eq!(runner.get(PROVIDERS).await.status, 403);
}

#[tokio::test]
async fn a_client_has_the_facts_of_its_provider_and_its_connections_the_domain() {
    let provider = Provider::start().await;
    provider.set_issuer(&format!("https://{HOST}/"));
    let (_origin, server) = world(&provider, |world| world).await;
    let admin = server.admin();
    let made = admin.post(&clients(), &registration(&provider)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.json();
    for (member, value) in [
        ("provider", json!("auth0")),
        ("token_url", json!(provider.url("/token"))),
        ("default_scopes", json!("read")),
        ("issuer", json!(format!("https://{HOST}/"))),
        ("revocation_url", json!(format!("https://{HOST}/oauth/revoke"))),
        ("auth_params", json!({"audience": "https://api.example.test/"})),
        ("allowed_domains", json!(["api.example.test"])),
        ("provider_values", Value::Null),
    ] {
        assert_eq!(made[member], value, "{member}: {made}");
    }
    let shown = admin.get(&format!("{}/{}", clients(), made["uuid"].as_str().unwrap())).await;
    assert_eq!(shown.json(), made);

    // Nobody says to which domain the connection's tokens may go.
    let flow = |name: &str| {
        json!({
            "name": name, "oauth_client_name": "example_client",
            "origin_oauth_redirect_url": "https://client.int/callback",
        })
    };
    server.flow_through(&provider, flow("offered")).await;
    assert_eq!(server.send(&through("offered")).await.status, 200);
    // Where somebody does, that counts; and to authorize again changes nothing.
    let mut narrow = flow("narrow");
    narrow["allowed_domain"] = "other.example.test".into();
    server.flow_through(&provider, narrow).await;
    server.flow_through(&provider, flow("narrow")).await;
    let refused = server.send(&through("narrow")).await;
    assert_eq!(refused.code(), "DomainNotAllowed", "{refused:?}");
}

#[tokio::test]
async fn an_offered_domain_has_the_subdomain_of_its_flow() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    let mut client = provider.registration();
    client["allowed_domains"] = json!(["{subdomain}.example.test"]);
    assert_eq!(server.admin().post(&clients(), &client).await.status, 201);
    let flow = |name: &str, subdomain: Value| {
        json!({
            "name": name, "oauth_client_name": "example_client", "oauth_url_subdomain": subdomain,
            "origin_oauth_redirect_url": "https://client.int/callback",
        })
    };
    server.flow_through(&provider, flow("filled", "api".into())).await;
    assert_eq!(server.send(&through("filled")).await.status, 200);
    server.flow_through(&provider, flow("open", Value::Null)).await;
    let refused = server.send(&through("open")).await;
    assert_eq!(refused.code(), "DomainNotAllowed", "{refused:?}");
}

#[tokio::test]
async fn members_that_are_given_win() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    let admin = server.admin();
    let mut client = registration(&provider);
    client["auth_params"] = json!({"prompt": "login"});
    client["issuer"] = Value::Null;
    client["allowed_domains"] = json!([]);
    let made = admin.post(&clients(), &client).await.json();
    let params = json!({"audience": "https://api.example.test/", "prompt": "login"});
    assert_eq!(made["auth_params"], params, "parameters stand beside each other");
    assert!(made["issuer"].is_null() && made["allowed_domains"].is_null(), "{made}");
    client["name"] = "other_client".into();
    client["auth_params"] = Value::Null;
    let made = admin.post(&clients(), &client).await.json();
    assert!(made["auth_params"].is_null(), "{made}");
    let path = format!("{}/{}", clients(), made["uuid"].as_str().unwrap());
    let changed = admin.patch(&path, &json!({"provider": "keycloak"})).await.json();
    assert_eq!(
        (&changed["provider"], &changed["scope_separator"]),
        (&json!("keycloak"), &Value::Null)
    );
    let refused = admin.patch(&path, &json!({"provider": "keycloack"})).await;
    assert!(refused.status == 422 && refused.text().contains("keycloak is"), "{refused:?}");
}

#[tokio::test]
async fn what_is_missing_is_asked_for_by_name() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    let admin = server.admin();
    for (change, titles) in [
        (
            json!({"provider": "auth"}),
            &["Provider. Desc: is not in the catalogue; auth0 is: leave it out"][..],
        ),
        (
            json!({"provider": "auth0", "provider_values": {"domain": "a b", "realm": "x"}}),
            &[
                "Provider values. Desc: api_host is missing: Host name of the API, such as",
                "Provider values. Desc: audience is missing: Identifier of the API, such as",
                "Provider values. Desc: domain must be",
                "Provider values. Desc: realm is not asked for: auth0 asks for domain, audience",
            ],
        ),
        (
            json!({"provider_values": {"domain": "a"}}),
            &["Provider values. Desc: goes with provider"],
        ),
        (
            json!({"provider": "zendesk", "provider_values": {"subdomain": "evil.example/x"}}),
            &["Provider values. Desc: subdomain stands in a URL or a domain"],
        ),
    ] {
        let mut client = json!({"name": "odd_client", "client_id": "a", "client_secret": "b"});
        client.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let refused = admin.post(&clients(), &client).await;
        assert_eq!(refused.status, 422, "{change}: {refused:?}");
        let said: Vec<_> = refused.json()["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["detail"].as_str().unwrap().to_owned())
            .collect();
        for title in titles {
            assert!(said.iter().any(|said| said.contains(title)), "{title}: {said:?}");
        }
    }
}
