//! Providers as they really are: each connects, refreshes, dies and is authorized again, at a fake
//! that refuses what the real one refuses.

pub(super) mod specs;

use serde_json::{Value, json};

use crate::support::ask::{ask, stranger};
use crate::support::authorized::{END, OAUTH, parameter, target};
use crate::support::raw::Raw;
use crate::support::strict::{ID, Returns, SECRET, Spec, Strict};
use crate::support::world::{Running, World, authority};

/// A provider of the table: what it is strict about, and the client that fits it.
pub(super) struct Case {
    pub(super) spec: Spec,
    /// The client's members beside its id and secret.
    client: Value,
    subdomain: Option<&'static str>,
    /// Tells whether a refresh brings other tokens, and not a new flow alone.
    refreshes: bool,
}

/// Walks a case's whole life.
async fn live(case: Case) {
    let strict = Strict::start(case.spec.clone()).await;
    let mut world = World::empty()
        .token("runner", "acme", "")
        .set("oauth.allowed_redirect_origins", "[\"https://client.int\"]")
        .keeping();
    for host in &case.spec.hosts {
        world = world.pin(host, &strict.origin);
    }
    let server = world.run().await;
    make_client(&server, &case).await;
    // 1. It connects.
    authorize(&server, &strict, &case).await;
    assert_eq!(api(&server, &strict).await, 200, "{:?}", strict.complaints());
    // 2. It refreshes, and the tokens of before are of no more use.
    if case.refreshes {
        for again in 0..2 {
            let refreshed = refresh(&server).await;
            assert_eq!(refreshed.0, 200, "{again}: {} {:?}", refreshed.1, strict.complaints());
            assert_eq!(api(&server, &strict).await, 200);
        }
    }
    // 3. It dies, and says that a person must act.
    strict.end_grants();
    if case.refreshes {
        let (status, text) = refresh(&server).await;
        assert!(status >= 400, "{status}: {text}");
        let shown = server.authorized("mine").await;
        assert_eq!(shown["needs_reauthorization"], true, "{shown} {:?}", strict.complaints());
        // The token that there is goes on until it ends; the API says what it thinks of it.
        assert_eq!(api(&server, &strict).await, 401);
    }
    // 4. It is authorized again.
    strict.revive();
    authorize(&server, &strict, &case).await;
    assert_eq!(api(&server, &strict).await, 200, "{:?}", strict.complaints());
    assert!(server.authorized("mine").await.get("needs_reauthorization").is_none());
}

async fn make_client(server: &Running, case: &Case) {
    let mut client = json!({"name": "strict", "client_id": ID, "client_secret": SECRET});
    client.as_object_mut().unwrap().extend(case.client.as_object().unwrap().clone());
    if client["token_endpoint_auth_method"] == "none" {
        client.as_object_mut().unwrap().remove("client_secret");
    }
    let made = server.manage(&format!("POST {OAUTH}/oauth/clients/acme"), Some(client)).await;
    assert_eq!(made.status, 201, "{}", made.text());
}

/// A whole flow, in the place of a person.
async fn authorize(server: &Running, strict: &Strict, case: &Case) {
    let mut flow = json!({
        "name": "mine", "oauth_client_name": "strict", "origin_oauth_redirect_url": END,
        "allowed_domain": case.spec.hosts.last().unwrap(),
    });
    if let Some(subdomain) = case.subdomain {
        flow["oauth_url_subdomain"] = subdomain.into();
    }
    let redirect_url = server.start_flow(flow).await;
    let end = consent(server, strict, &redirect_url).await;
    let has_code = parameter(&end, "verification_code").is_some();
    assert!(has_code, "{end} {:?}", strict.complaints());
}

/// Goes where a flow leads, says yes at the provider, and comes back; gives where the flow ends.
pub(super) async fn consent(server: &Running, strict: &Strict, redirect_url: &str) -> String {
    let led = server.stroll(target(redirect_url)).await;
    assert_eq!(led.status, 307, "{led:?}");
    let location = url::Url::parse(&led.location()).unwrap();
    let host = location.host_str().unwrap().to_owned();
    assert!(strict.spec.hosts.contains(&host), "{location}");
    let address = strict.origin.address.to_string();
    let (mut raw, _alpn) = Raw::tls_as(&host, &address, &["http/1.1"]).await;
    let asked = stranger(&format!("GET {}", target(location.as_str()))).host(&host);
    let answered = raw.send(&asked).await;
    let ended = match strict.spec.returns {
        Returns::ByRedirect => {
            assert_eq!(answered.status, 302, "{answered:?} {:?}", strict.complaints());
            server.stroll(target(&answered.location())).await
        }
        Returns::ByForm => {
            assert_eq!(answered.status, 200, "{answered:?} {:?}", strict.complaints());
            let form = answered.json();
            let action = form["action"].as_str().unwrap();
            let post = stranger(&format!("POST {}", target(action)))
                .field("Content-Type", "application/x-www-form-urlencoded")
                .body(form["form"].as_str().unwrap());
            Raw::tcp(authority(&server.api)).await.send(&post).await
        }
    };
    assert_eq!(ended.status, 303, "{ended:?} {:?}", strict.complaints());
    ended.location()
}

/// A request to the API by the connection; gives its status.
async fn api(server: &Running, strict: &Strict) -> u16 {
    let host = strict.spec.hosts.last().unwrap();
    let get = ask(&format!("GET https://{host}/api/things")).field("X-Zis-Connection", "mine");
    server.send(&get).await.status
}

async fn refresh(server: &Running) -> (u16, String) {
    let answer = server.manage(&format!("GET {OAUTH}/refresh/acme?name=mine"), None).await;
    (answer.status, answer.text())
}

/// One test per provider.
macro_rules! providers {
    ($($name:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            live(specs::$name()).await;
        }
    )*};
}

providers! {
    apple_form_post,
    atlassian,
    auth0_with_an_audience,
    bamboohr,
    entra_with_a_custom_api,
    etsy,
    figma,
    github,
    github_app_for_a_user,
    google_with_consent,
    hubspot,
    linkedin,
    notion,
    shopify_with_expiring_tokens,
    slack_bot,
    slack_user,
    tiktok,
    xero,
    zendesk,
    zoho_in_europe,
    zoom,
}
