//! What strangers try with flows and clients.

use serde_json::{Value, json};

use crate::support::ask::{Ask, stranger};
use crate::support::authorized::{OAUTH, parameter, target, world};
use crate::support::provider::{HOST, Manner, OTHER_HOST, Provider};
use crate::support::raw::{Answer, Raw};
use crate::support::world::{Running, authority};

/// A server with a client of the provider.
macro_rules! scene {
    ($provider:ident, $server:ident) => {
        let $provider = Provider::start().await;
        let (_origin, $server) = world(&$provider, |world| world).await;
        $server.register(&$provider).await;
    };
}

/// 400 in the words of ZIS, then the member that it is about and why, and nothing that leads
/// anywhere.
fn is_malformed(answer: &Answer) {
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    let pinned = json!({"code": "1301", "detail": "Invalid request", "status": "400"});
    assert_eq!((answer.status, errors.len(), &errors[0]), (400, 2, &pinned), "{answer:?}");
    let detail = errors[1]["detail"].as_str().unwrap();
    assert!(detail.starts_with("Invalid value for: ") && detail.contains(". Desc: "), "{detail}");
    assert_eq!((&errors[1]["code"], &errors[1]["status"]), (&pinned["code"], &pinned["status"]));
    assert_eq!(answer.field("location"), "");
}

#[tokio::test]
async fn what_is_malformed_names_the_member_and_the_reason() {
    scene!(provider, server);
    let over = "it is unknown, was used, has expired, or belongs to another browser: start the \
                flow again";
    let shown = "Name. Desc: is missing: give name or uuid";
    for (path, member_and_why) in [
        ("oauth/start_redirect", "Flow token. Desc: is missing".to_owned()),
        ("oauth/start_redirect?flow_token=xyz", format!("Flow token. Desc: {over}")),
        ("oauth/callback?code=a&state=b", format!("State. Desc: {over}")),
        ("oauth/access_codes/acme", "Verification code. Desc: is missing".to_owned()),
        ("oauth/access_codes/acme?verification_code=x", format!("Verification code. Desc: {over}")),
        ("acme", shown.to_owned()),
        ("refresh/acme", shown.to_owned()),
        ("acme?name=a&name=b", "The query. Desc: a parameter is given twice".to_owned()),
        (
            "oauth/clients/acme?page[size]=0",
            "Page[size]. Desc: must be a whole number from 1 to 100".to_owned(),
        ),
    ] {
        let answer = server.manage(&format!("GET {OAUTH}/{path}"), None).await;
        is_malformed(&answer);
        let detail = answer.json()["errors"][1]["detail"].clone();
        assert_eq!(detail, format!("Invalid value for: {member_and_why}"), "{path}");
    }
    assert_eq!(provider.asked(), 0);
}

async fn send(server: &Running, ask: Ask) -> Answer {
    Raw::tcp(authority(&server.api)).await.send(&ask).await
}

#[tokio::test]
async fn every_pass_of_a_flow_is_good_once_and_for_nothing_else() {
    scene!(provider, server);
    let redirect_url = server.start_flow(Running::flow("mine")).await;
    let callback = server.consent(&provider, &redirect_url).await;
    is_malformed(&server.stroll(target(&redirect_url)).await);
    let forged = callback.replace("state=", "state=A");
    is_malformed(&server.stroll(target(&forged)).await);
    let no_state = format!("{OAUTH}/oauth/callback?code=x");
    is_malformed(&server.stroll(&no_state).await);
    let twice = format!("{}&code=another", target(&callback));
    is_malformed(&server.stroll(&twice).await);
    // The flow token is no state, and the state no verification code.
    let token = parameter(&redirect_url, "flow_token").unwrap();
    is_malformed(&server.stroll(&format!("{OAUTH}/oauth/callback?code=x&state={token}")).await);
    let state = parameter(&callback, "state").unwrap();
    let line = format!("GET {OAUTH}/oauth/access_codes/acme?verification_code={state}");
    is_malformed(&server.manage(&line, None).await);
    let ended = server.stroll(target(&callback)).await;
    assert_eq!(ended.status, 303, "{ended:?}");
    is_malformed(&server.stroll(target(&callback)).await);
    // Another integration's code is nobody's, and stays good for its own.
    let code = parameter(&ended.location(), "verification_code").unwrap();
    let of = |integration: &str| {
        format!("GET {OAUTH}/oauth/access_codes/{integration}?verification_code={code}")
    };
    is_malformed(&server.manage(&of("globex"), None).await);
    assert_eq!(server.manage(&of("acme"), None).await.status, 200);
    is_malformed(&server.manage(&of("acme"), None).await);
}

/// 400, as a page that a person can read, and that leads nowhere.
fn is_page(answer: &Answer, heading: &str) {
    let kind = answer.field("content-type");
    assert_eq!((answer.status, kind), (400, "text/html; charset=utf-8"), "{answer:?}");
    assert!(answer.text().contains(&format!("<h1>{heading}</h1>")), "{}", answer.text());
    assert_eq!(answer.field("location"), "");
}

/// As a browser asks.
fn browser(url: &str) -> Ask {
    stranger(&format!("GET {}", target(url))).field("User-Agent", "Mozilla/5.0 (X11)")
}

/// What the provider sends a browser back to that was led to it.
async fn consented(provider: &Provider, led: &Answer) -> String {
    assert_eq!(led.status, 307, "{led:?}");
    let address = provider.origin.address.to_string();
    let (mut raw, _alpn) = Raw::tls_as(HOST, &address, &["http/1.1"]).await;
    raw.send(&stranger(&format!("GET {}", target(&led.location()))).host(HOST)).await.location()
}

#[tokio::test]
async fn a_flow_waits_for_the_browser_that_has_begun_it() {
    scene!(provider, server);
    let redirect_url = server.start_flow(Running::flow("mine")).await;
    let led = send(&server, browser(&redirect_url)).await;
    let cookie = led.field("set-cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Lax", "Max-Age=600"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let kept = cookie.split(';').next().unwrap();
    let callback = consented(&provider, &led).await;
    // Another browser, which somebody has led there, and a program.
    is_page(&send(&server, browser(&callback)).await, "Not connected");
    is_malformed(&server.stroll(target(&callback)).await);
    let foreign = kept.replace('=', "=x");
    is_page(&send(&server, browser(&callback).field("Cookie", &foreign)).await, "Not connected");
    assert_eq!(provider.asked(), 0, "a code was spent");
    // The same browser.
    let ended = send(&server, browser(&callback).field("Cookie", kept)).await;
    assert_eq!(ended.status, 303, "{ended:?}");
    assert_eq!(provider.asked(), 1);
    // Loaded again, both links say so to a person, and only its own browser is told the end.
    let again = send(&server, browser(&callback).field("Cookie", kept)).await;
    assert_eq!((again.status, again.field("content-type")), (200, "text/html; charset=utf-8"));
    assert!(again.text().contains("<h1>Connected</h1>"), "{}", again.text());
    assert_eq!(again.field("location"), "");
    is_page(&send(&server, browser(&callback)).await, "Nothing left to do");
    is_page(&send(&server, browser(&redirect_url)).await, "Nothing left to do");
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_flow_without_a_browser_does_not_end_in_one() {
    scene!(provider, server);
    let redirect_url = server.start_flow(Running::flow("mine")).await;
    let callback = server.consent(&provider, &redirect_url).await;
    is_page(&send(&server, browser(&callback)).await, "Not connected");
    assert_eq!(provider.asked(), 0);
    assert_eq!(server.stroll(target(&callback)).await.status, 303);
}

#[tokio::test]
async fn a_flow_ends_nowhere_but_where_it_may() {
    scene!(provider, server);
    for url in [
        "https://evil.example/",
        "https://client.int.evil.example/",
        "https://client.int@evil.example/",
        "https://evil.example\\@client.int/",
        "http://client.int/callback",
        "//client.int/",
        "javascript:alert(1)",
        "https://client.int:444/",
    ] {
        let mut body = Running::flow("mine");
        body["origin_oauth_redirect_url"] = url.into();
        let answer = server.manage(&format!("POST {OAUTH}/oauth/start/acme"), Some(body)).await;
        assert_eq!((answer.status, answer.faults().1), (422, vec!["1303".to_owned()]), "{url}");
    }
    assert_eq!(provider.asked(), 0);
}

#[tokio::test]
async fn a_code_of_one_provider_is_never_handed_to_another() {
    let (provider, other) = (Provider::start().await, Provider::named(OTHER_HOST).await);
    let (_origin, server) = world(&provider, |world| world.pin(OTHER_HOST, &other.origin)).await;
    server.register(&provider).await;
    let mut registration = other.registration();
    registration["name"] = "other_client".into();
    let line = format!("POST {OAUTH}/oauth/clients/acme");
    assert_eq!(server.manage(&line, Some(registration)).await.status, 201);
    // The browser was led to one provider, and comes back from the other.
    provider.set_issuer(&format!("https://{HOST}"));
    other.set_issuer(&format!("https://{OTHER_HOST}"));
    let redirect_url = server.start_flow(Running::flow("mine")).await;
    let callback = server.consent(&provider, &redirect_url).await;
    let issuer = |host: &str| {
        form_urlencoded::byte_serialize(format!("https://{host}").as_bytes()).collect::<String>()
    };
    assert!(callback.contains(&issuer(HOST)), "{callback}");
    let mixed = callback.replace(&issuer(HOST), &issuer(OTHER_HOST));
    let ended = server.stroll(target(&mixed)).await;
    assert_eq!(parameter(&ended.location(), "error").as_deref(), Some("invalid_request"));
    assert_eq!((provider.asked(), other.asked()), (0, 0));
    server.authorize(&provider, "mine").await;
}

#[tokio::test]
async fn a_code_that_was_injected_is_of_no_use() {
    scene!(provider, server);
    let theirs = server.start_flow(Running::flow("theirs")).await;
    let theirs = server.consent(&provider, &theirs).await;
    let mine = server.start_flow(Running::flow("mine")).await;
    let mine = server.consent(&provider, &mine).await;
    let (code, state) = (parameter(&theirs, "code").unwrap(), parameter(&mine, "state").unwrap());
    let injected = format!("{OAUTH}/oauth/callback?code={code}&state={state}");
    let ended = server.stroll(&injected).await;
    assert_eq!(parameter(&ended.location(), "error").as_deref(), Some("invalid_grant"));
    assert_eq!(server.manage(&format!("GET {OAUTH}/acme?name=mine"), None).await.status, 404);
}

#[tokio::test]
async fn a_clients_secret_goes_to_its_provider_over_https_and_nowhere_else() {
    let provider = Provider::start().await;
    let (origin, server) = world(&provider, |world| {
        // What the name leads to is not the public internet, nor a network that is allowed.
        world.pin_to("inside.example.test:443", "10.0.0.1:443")
    })
    .await;
    let line = format!("POST {OAUTH}/oauth/clients/acme");
    let with = |member: &str, value: &str| {
        let mut registration = provider.registration();
        registration[member] = value.into();
        registration
    };
    for url in [
        "http://id.example.test/token",
        "https://127.0.0.1/token",
        "https://user@id.example.test/token",
        "https://id.example.test:8443/token",
        "https://{subdomain}.com/token",
        "https://{tenant}.example.test/token",
        "file:///etc/passwd",
    ] {
        let answer = server.manage(&line, Some(with("token_url", url))).await;
        assert_eq!((answer.status, answer.faults().1), (422, vec!["1303".to_owned()]), "{url}");
    }
    let inside = with("token_url", "https://inside.example.test/token");
    assert_eq!(server.manage(&line, Some(inside)).await.status, 201);
    let body = json!({
        "name": "own", "oauth_client_name": "example_client", "grant_type": "client_credentials",
    });
    let redirect_url = server.start_flow(body).await;
    let exchanged = server.manage(&format!("GET {}", target(&redirect_url)), None).await;
    assert_eq!(exchanged.status, 422, "{exchanged:?}");
    assert!(exchanged.text().contains("allow_networks"), "{}", exchanged.text());
    assert!(!exchanged.text().contains("10.0.0.1"), "{}", exchanged.text());
    assert!(origin.seen().is_empty() && provider.asked() == 0);
}

#[tokio::test]
async fn a_clients_urls_change_only_along_with_its_secret() {
    scene!(provider, server);
    let clients = format!("{OAUTH}/oauth/clients/acme");
    let list = server.manage(&format!("GET {clients}"), None).await.json();
    let client = &list["clients"][0];
    assert_eq!(client["client_secret"], "*****");
    let line = format!("PATCH {clients}/{}", client["uuid"].as_str().unwrap());
    for member in ["token_url", "auth_url"] {
        let aimed = json!({member: "https://evil.example.test/token"});
        let refused = server.manage(&line, Some(aimed)).await;
        assert_eq!((refused.status, refused.faults().1), (422, vec!["1303".to_owned()]));
        let masked = json!({
            member: "https://evil.example.test/token", "client_secret": "*****",
        });
        assert_eq!(server.manage(&line, Some(masked)).await.status, 422);
    }
    // Sent back as it was shown it stays as it is, and so it does with another URL.
    let again = server.manage(&line, Some(client.clone())).await;
    assert_eq!(again.status, 200, "{again:?}");
    let mut aimed = client.clone();
    aimed["token_url"] = json!("https://evil.example.test/token");
    assert_eq!(server.manage(&line, Some(aimed)).await.status, 422);
    for (member, value) in [("name", "other_name"), ("grant_type", "client_credentials")] {
        assert_eq!(server.manage(&line, Some(json!({member: value}))).await.status, 422);
    }
    let whole = json!({"token_url": "https://id2.example.test/token", "client_secret": "new"});
    let changed = server.manage(&line, Some(whole)).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.json()["token_url"], "https://id2.example.test/token");
}

#[tokio::test]
async fn with_a_client_go_its_connections_and_its_flows() {
    scene!(provider, server);
    server.authorize(&provider, "mine").await;
    let begun = server.start_flow(Running::flow("other")).await;
    let clients = format!("{OAUTH}/oauth/clients/acme");
    let list = server.manage(&format!("GET {clients}"), None).await.json();
    let uuid = list["clients"][0]["uuid"].as_str().unwrap();
    let deleted = server.manage(&format!("DELETE {clients}/{uuid}"), None).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    let gone = server.send(&crate::support::authorized::through("mine")).await;
    assert_eq!(gone.status, 403);
    is_malformed(&server.stroll(target(&begun)).await);
    let again = server.manage(&format!("GET {clients}/{uuid}"), None).await;
    assert_eq!((again.status, again.faults().1), (404, vec!["1302".to_owned()]));
}

#[tokio::test]
async fn what_a_provider_echoes_reaches_nobody() {
    scene!(provider, server);
    server.authorize(&provider, "mine").await;
    let before = server.authorized("mine").await;
    let refresh_token = before["refresh_token"].as_str().unwrap().to_owned();
    let echo = format!(
        "{{\"error\":\"{refresh_token}\",\"error_description\":\"client secret hunter2 {refresh_token}\"}}"
    );
    let mut told = Vec::new();
    for status in [400, 401, 500, 302, 200] {
        provider.next(Manner::Saying(status, "application/json", echo.clone()));
        let line = format!("GET {OAUTH}/refresh/acme?name=mine");
        told.push(server.manage(&line, None).await.text());
    }
    provider.next(Manner::Saying(400, "application/json", echo.clone()));
    let redirect_url = server.start_flow(Running::flow("other")).await;
    let callback = server.consent(&provider, &redirect_url).await;
    let ended = server.stroll(target(&callback)).await;
    told.push(ended.location());
    told.push(server.log.text());
    for text in told {
        assert!(!text.contains("hunter2") && !text.contains(&refresh_token), "{text}");
    }
}

#[tokio::test]
async fn an_integration_has_no_part_in_anothers_clients_and_connections() {
    scene!(provider, server);
    server.authorize(&provider, "mine").await;
    let body = json!({"name": "stranger", "integration": "globex", "scopes": ["read", "write"]});
    let made = server.manage("POST /api/keyferry/v1/tokens", Some(body)).await.json();
    let token = made["token"]["secret"].as_str().unwrap();
    let unauthorized =
        json!({"errors": [{"code": "1200", "detail": "Unauthorized", "status": "401"}]});
    let uuid = server.authorized("mine").await["uuid"].as_str().unwrap().to_owned();
    for line in [
        format!("GET {OAUTH}/acme?name=mine"),
        format!("GET {OAUTH}/refresh/acme?uuid={uuid}"),
        format!("DELETE {OAUTH}/acme?uuid={uuid}"),
        format!("GET {OAUTH}/oauth/clients/acme"),
    ] {
        let answer = server.manage_by(token, &line, None).await;
        assert_eq!((answer.status, answer.json()), (401, unauthorized.clone()), "{line}");
    }
    // In its own integration the uuid is nobody's.
    let own = server.manage_by(token, &format!("GET {OAUTH}/globex?uuid={uuid}"), None).await;
    assert_eq!(own.status, 404);
    let start: Value = Running::flow("mine");
    let line = format!("POST {OAUTH}/oauth/start/globex");
    assert_eq!(server.manage_by(token, &line, Some(start)).await.status, 404);
}

#[tokio::test]
async fn a_token_of_listed_connections_has_no_part_in_other_integrations() {
    scene!(provider, server);
    let body = json!({
        "name": "listed", "integration": "*", "scopes": ["read", "write"],
        "connections": ["globex.api"],
    });
    let made = server.manage("POST /api/keyferry/v1/tokens", Some(body)).await.json();
    let token = made["token"]["secret"].as_str().unwrap();
    let clients = format!("GET {OAUTH}/oauth/clients/acme");
    let known = server.manage(&clients, None).await.json();
    let client = known["clients"][0]["uuid"].as_str().unwrap();
    let listed = server.manage_by(token, &clients, None).await.json();
    assert_eq!(listed["clients"], json!([]));
    let one = server.manage_by(token, &format!("{clients}/{client}"), None).await;
    assert_eq!(one.status, 404, "{one:?}");
}

#[tokio::test]
async fn a_query_of_strangers_has_few_parameters() {
    scene!(provider, server);
    let begun = server.start_flow(Running::flow("mine")).await;
    let names: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    let path = target(&begun);
    let answer = server.stroll(&format!("{path}&{}", names.join("&"))).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(server.stroll(path).await.status, 307);
    assert_eq!(provider.asked(), 0);
}

#[tokio::test]
async fn what_came_from_one_host_is_never_sent_to_another() {
    let (provider, thief) = (Provider::start().await, Provider::named(OTHER_HOST).await);
    let (_origin, server) = world(&provider, |world| world.pin(OTHER_HOST, &thief.origin)).await;
    let client = server.register(&provider).await;
    server.authorize(&provider, "mine").await;
    // Whoever may write can enter a secret of his own along with a URL of his own.
    let line = format!("PATCH {OAUTH}/oauth/clients/acme/{client}");
    let moved = json!({"client_secret": "made up", "token_url": thief.url("/token")});
    assert_eq!(server.manage(&line, Some(moved)).await.status, 200);
    let refresh = format!("GET {OAUTH}/refresh/acme?name=mine");
    let answer = server.manage(&refresh, None).await;
    assert!(answer.status == 422 && answer.text().contains("moved to another host"), "{answer:?}");
    assert_eq!((thief.asked(), provider.asked()), (0, 1));
    let shown = server.authorized("mine").await;
    assert_eq!(shown["reauthorization_reason"], "client_moved");
}

#[tokio::test]
async fn whoever_may_not_have_a_flow_does_not_spoil_it() {
    scene!(provider, server);
    let body = json!({
        "name": "limited", "integration": "acme", "scopes": ["read", "write"],
        "connections": ["another"],
    });
    let made = server.manage("POST /api/keyferry/v1/tokens", Some(body)).await.json();
    let token = made["token"]["secret"].as_str().unwrap();
    let mut own = Running::flow("own");
    own["grant_type"] = "client_credentials".into();
    let begun = server.start_flow(own).await;
    let line = format!("GET {}", target(&begun));
    let forbidden = server.manage_by(token, &line, None).await;
    assert_eq!((forbidden.status, provider.asked()), (403, 0), "{forbidden:?}");
    assert_eq!(server.manage(&line, None).await.status, 200);
}

#[tokio::test]
async fn a_look_at_what_is_done_once_does_not_do_it() {
    scene!(provider, server);
    let redirect_url = server.start_flow(Running::flow("mine")).await;
    let head = |target: &str, allow: &'static str| {
        let line = format!("HEAD {target}");
        let server = &server;
        async move {
            let answer = server.manage(&line, None).await;
            assert_eq!((answer.status, answer.field("allow")), (405, allow), "{line}");
        }
    };
    head(target(&redirect_url), "GET").await;
    let callback = server.consent(&provider, &redirect_url).await;
    head(target(&callback), "GET, POST").await;
    let ended = server.stroll(target(&callback)).await;
    let code = parameter(&ended.location(), "verification_code").unwrap();
    let exchange = format!("{OAUTH}/oauth/access_codes/acme?verification_code={code}");
    head(&exchange, "GET").await;
    assert_eq!(server.manage(&format!("GET {exchange}"), None).await.status, 200);
    head(&format!("{OAUTH}/refresh/acme?name=mine"), "GET").await;
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn an_integration_that_can_be_none_is_named_as_what_is_wrong() {
    scene!(_provider, server);
    let line = format!("POST {OAUTH}/oauth/start/ACME");
    let answer = server.manage(&line, Some(Running::flow("mine"))).await;
    let detail = answer.json()["errors"][0]["detail"].as_str().unwrap().to_owned();
    assert_eq!(answer.status, 422);
    assert!(detail.starts_with("Invalid value for: Integration. Desc: "), "{detail}");
}
