//! Clients that somebody makes in the console: of a provider that was looked for, and of another.

use crate::support::authorized::{OAUTH, through, world};
use crate::support::console::Visitor;
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, HOST, Provider};
use crate::support::raw::Answer;
use crate::support::world::Running;

const NEW: &str = "/console/i/acme/clients/new";

async fn visitor(server: &Running) -> Visitor {
    server.sign_in(&server.admin().token).await
}

/// The path that an answer leads to, without its query.
fn led(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{answer:?}");
    answer.location().split('?').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_provider_is_looked_for_and_chosen_without_a_script() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    let visitor = visitor(&server).await;
    let all = visitor.get(NEW).await.text();
    assert!(all.contains("Zendesk") && all.contains("Another provider"), "{all}");
    let found = visitor.get(&format!("{NEW}?search=zendesk")).await.text();
    assert!(found.contains("provider=zendesk") && !found.contains("provider=spotify"), "{found}");
    let none = visitor.get(&format!("{NEW}?search=%3Cscript%3E")).await.text();
    assert!(none.contains("No provider is like that") && !none.contains("<script>\""), "{none}");
    let form = visitor.get(&format!("{NEW}?provider=auth0")).await.text();
    for part in ["name=\"ask_domain\"", "Such as acme.eu.auth0.com", "https://{domain}/authorize"] {
        assert!(form.contains(part), "{part}: {form}");
    }
    let other = visitor.get(&format!("{NEW}?provider=other")).await.text();
    assert!(other.contains("name=\"auth_url\"") && other.contains("name=\"pkce\""), "{other}");
}

#[tokio::test]
async fn a_client_of_a_provider_is_made_changed_and_connected() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    let visitor = visitor(&server).await;
    let (auth_url, token_url) = (provider.url("/authorize"), provider.url("/token"));
    let mut fields = vec![
        ("provider", "auth0"),
        ("name", "acme_id"),
        ("client_id", CLIENT_ID),
        ("client_secret", CLIENT_SECRET),
        ("default_scopes", "read"),
        ("ask_domain", HOST),
        ("ask_audience", "https://api.test/"),
        ("auth_url", &auth_url),
        ("token_url", &token_url),
        ("token_params", "a=1\r\nb=2"),
        ("issuer", ""),
    ];
    // What is missing, or can't be read, is told beside its field.
    let missing = visitor.post(NEW, &fields).await;
    assert!(missing.status == 400 && !missing.text().contains(CLIENT_SECRET), "{missing:?}");
    let said = missing.text();
    assert!(said.contains("f-ask_api_host-fault") && said.contains("value=\"acme_id\""), "{said}");
    fields.push(("ask_api_host", "api.example.test"));
    let odd = [&fields[..], &[("refresh_params", "a")]].concat();
    assert!(visitor.post(NEW, &odd).await.text().contains("f-refresh_params-fault"));
    let path = led(&visitor.post(NEW, &fields).await);
    let page = visitor.get(&path).await.text();
    for part in
        ["Auth0", "audience=https://api.test/", "a=1", "https://id.example.test/oauth/revoke"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }

    // A field that was emptied takes its member away; those that a form lacks stay.
    let revocation_url = ("revocation_url", "https://id.example.test/oauth/revoke");
    let change = [("profile", "yes"), ("pkce", "off"), ("default_lifetime", "30m"), revocation_url];
    assert_eq!(led(&visitor.post(&format!("{path}/change"), &change).await), path);
    let uuid = path.rsplit('/').next().unwrap();
    let shown = server.admin().get(&format!("{OAUTH}/oauth/clients/acme/{uuid}")).await.json();
    assert_eq!((&shown["pkce"], &shown["default_lifetime"]), (&"off".into(), &"30m".into()));
    assert!(shown["issuer"].is_null() && shown["auth_params"].is_null(), "{shown}");
    assert_eq!(shown["provider"], "auth0");
    // A URL goes only with the secret.
    let moved = visitor.post(&format!("{path}/change"), &[("profile", "yes")]).await.text();
    assert!(moved.contains("f-revocation_url-fault"), "{moved}");
    let domains = [("profile", "yes"), ("allowed_domains", "api.example.test"), revocation_url];
    assert_eq!(led(&visitor.post(&format!("{path}/change"), &domains).await), path);
    let kept = visitor.post(&format!("{path}/change"), &[("default_scopes", "read write")]).await;
    assert_eq!(led(&kept), path);

    // Its connection is offered the domain, and has it where none is entered.
    let connect = "/console/i/acme/connections/new/oauth";
    let form = visitor.get(&format!("{connect}?client=acme_id")).await.text();
    assert!(form.contains("value=\"api.example.test\""), "{form}");
    let flow = [("name", "calendar"), ("oauth_client_name", "acme_id")];
    let begun = visitor.post(connect, &flow).await;
    assert_eq!(begun.status, 200, "{begun:?}");
    let url = begun.text().split("0;url=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let callback = server.consent(&provider, &url).await;
    let ended = server.stroll(crate::support::authorized::target(&callback)).await;
    assert_eq!(ended.status, 303, "{ended:?}");
    assert_eq!(server.send(&through("calendar")).await.status, 200);
}

#[tokio::test]
async fn a_client_of_another_provider_needs_its_domain_to_be_entered() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    let visitor = visitor(&server).await;
    let (auth_url, token_url) = (provider.url("/authorize"), provider.url("/token"));
    let fields = [
        ("provider", ""),
        ("name", "plain"),
        ("client_id", CLIENT_ID),
        ("client_secret", ""),
        ("grant_type", "authorization_code"),
        ("token_endpoint_auth_method", "none"),
        ("auth_url", &*auth_url),
        ("token_url", &*token_url),
        ("default_scopes", ""),
        ("inject", "X-Token: {access_token}"),
    ];
    let path = led(&visitor.post(NEW, &fields).await);
    let page = visitor.get(&path).await.text();
    assert!(page.contains("X-Token: {access_token}") && page.contains("there is none"), "{page}");
    let connect = "/console/i/acme/connections/new/oauth";
    let flow = [("name", "calendar"), ("oauth_client_name", "plain")];
    let refused = visitor.post(connect, &flow).await;
    assert!(
        refused.status == 400 && refused.text().contains("f-allowed_domain-fault"),
        "{refused:?}"
    );
}
