//! The console: who gets in, what pages say and do, and what they never show.

mod list;
mod requests;

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use serde_json::json;

use crate::support::ask::{ask, stranger};
use crate::support::aws::verify;
use crate::support::console::form;
use crate::support::operator::CONNECTIONS;
use crate::support::origin::{Origin, ok};
use crate::support::soon;
use crate::support::token;
use crate::support::world::{Running, World};

const LIST: &str = "/console/i/acme/connections";

async fn kept() -> Running {
    World::empty().keeping().run().await
}

async fn admin(running: &Running) -> String {
    let path = running.world.path("data/admin.token");
    tokio::fs::read_to_string(path).await.unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_token_opens_a_session_and_with_its_end_the_session_ends() {
    let running = kept().await;
    let (id, secret) = running.keep_token("an operator", &["read", "write"]).await;
    let answer = running.try_to_sign_in(&secret).await;
    let cookie = answer.field("set-cookie");
    assert!(!cookie.contains(&secret), "{cookie}");
    for attribute in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=28800"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let visitor = running.sign_in(&secret).await;
    let page = visitor.get(LIST).await;
    assert!(page.status == 200 && page.text().contains("no connections yet"), "{page:?}");
    running.revoke(&id).await;
    let answer = visitor.get(LIST).await;
    let sign_in = "/console/sign-in?next=%2Fconsole%2Fi%2Facme%2Fconnections";
    assert_eq!((answer.status, answer.field("location")), (303, sign_in));
}

#[tokio::test]
async fn who_signs_out_is_out() {
    let running = kept().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let answer = visitor.post("/console/sign-out", &[]).await;
    assert!(answer.status == 303 && answer.field("set-cookie").contains("Max-Age=0"), "{answer:?}");
    assert_eq!(visitor.get(LIST).await.status, 303);
}

#[tokio::test]
async fn who_signs_in_again_ends_the_older_session_of_that_browser() {
    let running = kept().await;
    let token = admin(&running).await;
    let (first, other) = (running.sign_in(&token).await, running.sign_in(&token).await);
    let again = form("POST /console/sign-in", &[("token", "kf_none"), ("next", "")]);
    assert_eq!(first.send(again).await.status, 401);
    assert_eq!(first.get(LIST).await.status, 200, "a token that is none ends nothing");
    let again = form("POST /console/sign-in", &[("token", &token), ("next", "")]);
    let answer = first.send(again).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    assert_eq!(first.get(LIST).await.status, 303, "its cookie is worth nothing any more");
    assert_eq!(other.get(LIST).await.status, 200, "another browser's session goes on");
}

#[tokio::test]
async fn the_fault_of_a_tokens_name_stands_beside_it_and_warnings_beside_the_token() {
    let running = kept().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let path = "/console/i/acme/tokens";
    let fields =
        [("name", "ci"), ("integration", "acme"), ("scopes", "proxy"), ("connections", "later")];
    let made = visitor.post(path, &fields).await;
    assert!(made.status == 201, "{made:?}");
    assert!(made.text().contains("Warning: connections: acme has no connection later"), "{made:?}");
    let taken = visitor.post(path, &fields).await;
    assert_eq!(taken.status, 400, "{taken:?}");
    let said = "Another live token of the integration has it";
    assert!(taken.text().contains(said) && !taken.text().contains("kf_"), "{taken:?}");
}

#[tokio::test]
async fn a_token_that_is_none_opens_nothing_and_may_be_tried_only_so_often() {
    let running = kept().await;
    for text in ["", "kf_", &token("nobody"), "Bearer x"] {
        let answer = running.try_to_sign_in(text).await;
        assert_eq!((answer.status, answer.field("set-cookie")), (401, ""), "{answer:?}");
    }
    let mut last = 401;
    for _ in 0..60 {
        last = running.try_to_sign_in(&token("nobody")).await.status;
    }
    assert_eq!(last, 429);
    assert_eq!(running.try_to_sign_in(&admin(&running).await).await.status, 303);
}

#[tokio::test]
async fn every_answer_confines_what_a_browser_may_do() {
    let running = kept().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    for path in PAGES {
        let answer = visitor.get(path).await;
        let policy = answer.field("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {answer:?}");
        assert!(policy.contains("form-action 'self'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.field("cache-control"), "no-store", "{path}");
        assert_eq!(answer.field("x-content-type-options"), "nosniff", "{path}");
        let text = answer.text();
        for inline in ["<script>", " style=", "<style", " onclick", "javascript:", "http-equiv"] {
            assert!(!text.contains(inline), "{path} has {inline}");
        }
    }
}

#[tokio::test]
async fn a_page_is_served_by_the_consoles_own_names_only() {
    let running = kept().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let answer = visitor.send(stranger(&format!("GET {LIST}")).host("rebound.example")).await;
    assert_eq!(answer.status, 421);
}

#[tokio::test]
async fn a_form_from_elsewhere_changes_nothing() {
    let running = kept().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let other = running.sign_in(&admin(&running).await).await;
    let path = format!("{LIST}/new/bearer_token");
    let filled = [("name", "forged"), ("allowed_domain", "api.example.test"), ("token", "t0k3n")];
    let line = format!("POST {path}");
    let with = |mark: &str| form(&line, &[filled.as_slice(), &[("mark", mark)]].concat());
    for (what, ask) in [
        ("no mark", form(&line, &filled)),
        ("another's mark", with(&other.mark)),
        ("another origin", with(&visitor.mark).field("Origin", "https://evil.example")),
        ("no origin to speak of", with(&visitor.mark).field("Origin", "null")),
        ("another site", with(&visitor.mark).field("Sec-Fetch-Site", "cross-site")),
        ("another port", with(&visitor.mark).field("Sec-Fetch-Site", "same-site")),
    ] {
        let answer = visitor.send(ask).await;
        assert_eq!(answer.status, 403, "{what}: {answer:?}");
    }
    let text = stranger(&line).field("Content-Type", "text/plain").body("name=forged");
    assert_eq!(visitor.send(text).await.status, 400);
    let listed = running.manage(&format!("GET {CONNECTIONS}/all"), None).await;
    assert!(!listed.text().contains("forged"), "{listed:?}");
    let made = visitor.send(with(&visitor.mark).field("Origin", "http://127.0.0.1")).await;
    assert_eq!(made.field("location"), format!("{LIST}/bearer_token/forged?done=created"));
    let deletion =
        form(&format!("POST {LIST}/bearer_token/forged/delete"), &[("typed_name", "forged")]);
    assert_eq!(visitor.send(deletion).await.status, 403);
    assert_eq!(visitor.get(&format!("{LIST}/bearer_token/forged")).await.status, 200);
}

#[tokio::test]
async fn the_desks_sentences_stand_beside_their_fields_and_no_secret_comes_back() {
    let running = kept().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let fields = [("name", "a"), ("allowed_domain", "*.com"), ("token", "canary-of-a-form")];
    let page = visitor.post(&format!("{LIST}/new/bearer_token"), &fields).await;
    assert_eq!(page.status, 400);
    let text = page.text();
    assert!(text.contains("id=\"f-name-fault\"") && text.contains("public suffix"), "{text}");
    assert!(!text.contains("canary-of-a-form"), "{text}");
    let fields = [("name", "mine"), ("allowed_domain", "api.example.test"), ("token", "t0k3n")];
    assert_eq!(visitor.post(&format!("{LIST}/new/bearer_token"), &fields).await.status, 303);
    let fields = [fields[0], fields[1], ("username", "u"), ("password", "p")];
    let page = visitor.post(&format!("{LIST}/new/basic_auth"), &fields).await;
    assert!(page.text().contains("Is taken by a connection of the type Bearer token"), "{page:?}");
}

#[tokio::test]
async fn stored_markup_shows_as_text() {
    let running = kept().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let markup = "\"><script>alert(1)</script>";
    let body = json!({
        "name": "odd", "allowed_domain": "api.example.test", "username": markup, "password": "p",
    });
    let made = running.manage(&format!("POST {CONNECTIONS}/basic_auth"), Some(body)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let token = json!({"name": markup, "integration": "acme", "scopes": ["read"]});
    assert_eq!(running.manage("POST /api/keyferry/v1/tokens", Some(token)).await.status, 201);
    let client = json!({
        "name": "odd_client", "client_id": markup, "client_secret": "s", "default_scopes": "<b>",
        "token_url": "https://id.example.test/?a=%22%3E<script>", "grant_type": "client_credentials",
    });
    let clients = "POST /api/services/zis/connections/oauth/clients/acme";
    let client = running.manage(clients, Some(client)).await;
    let uuid = client.json()["uuid"].as_str().unwrap_or_default().to_owned();
    for path in [
        format!("{LIST}/basic_auth/odd"),
        "/console/i/acme/tokens".to_owned(),
        format!("/console/i/acme/clients/{uuid}"),
        format!("{LIST}?q=%3Cscript%3E"),
        "/console/go?integration=%3Cscript%3E".to_owned(),
        "/console/connected?integration=acme&connection=odd&error=%3Cscript%3E".to_owned(),
    ] {
        let text = visitor.get(&path).await.text();
        assert!(!text.contains("<script>") && !text.contains("<b>"), "{path}: {text}");
    }
    let text = visitor.get(&format!("{LIST}/basic_auth/odd")).await.text();
    assert!(text.contains("&lt;script&gt;alert(1)"), "{text}");
}

#[tokio::test]
async fn a_token_sees_and_does_here_what_it_may_elsewhere() {
    let running = kept().await;
    running.keep_bearer("tickets", "api.example.test", "canary-of-tickets").await;
    let (_, reader) = running.keep_token("reader", &["read"]).await;
    let visitor = running.sign_in(&reader).await;
    let page = visitor.get(LIST).await.text();
    assert!(page.contains("tickets") && !page.contains("Create connection"), "{page}");
    let page = visitor.get(&format!("{LIST}/bearer_token/tickets")).await.text();
    assert!(!page.contains("Delete") && !page.contains("canary"), "{page}");
    let delete = format!("{LIST}/bearer_token/tickets/delete");
    assert_eq!(visitor.post(&delete, &[("typed_name", "tickets")]).await.status, 403);
    let page = visitor.get("/console/i/acme/tokens").await;
    assert!(page.status == 403 && page.text().contains("lacks the scope admin"), "{page:?}");
    assert_eq!(visitor.get("/console/i/other/connections").await.status, 403);
    let (_, program) = running.keep_token("program", &["proxy"]).await;
    let visitor = running.sign_in(&program).await;
    assert_eq!(visitor.get(LIST).await.status, 403);
    assert!(visitor.get(&format!("{LIST}/bearer_token/tickets")).await.status == 403);
}

#[tokio::test]
async fn nobody_sends_a_request_by_a_token_that_may_not() {
    let origin = Origin::start().await;
    let world = World::new(&origin).keeping().set("proxy.caller_auth", "\"none\"");
    let running = world.set("proxy.default_integration", "\"acme\"").run().await;
    let (_, reader) = running.keep_token("reader", &["read"]).await;
    let visitor = running.sign_in(&reader).await;
    let fields = [
        ("connection", "api"),
        ("method", "DELETE"),
        ("url", "https://api.example.test/v1"),
        ("act", "send"),
    ];
    let page = visitor.post("/console/i/acme/try", &fields).await;
    assert!(page.status == 403 && page.text().contains("lacks the scope proxy"), "{page:?}");
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn a_token_ends_when_it_is_said_to() {
    let running = kept().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let create = async |name: &str, days: &str| {
        let fields =
            [("name", name), ("integration", "acme"), ("scopes", "proxy"), ("expires_at", days)];
        visitor.post("/console/i/acme/tokens", &fields).await.status
    };
    assert_eq!(create("endless", "").await, 201);
    assert_eq!(create("week", "7").await, 201);
    for days in ["-1", "soon", "99999999999"] {
        assert_eq!(create("none", days).await, 400, "{days}");
    }
    let tokens = running.manage("GET /api/keyferry/v1/tokens", None).await.json();
    let end = |name: &str| {
        let tokens = tokens["tokens"].as_array().unwrap().iter();
        let mut found = tokens.filter(|token| token["name"] == name);
        found.next().map(|token| token["expires_at"].is_string())
    };
    assert_eq!((end("endless"), end("week"), end("none")), (Some(false), Some(true), None));
}

#[tokio::test]
async fn what_can_be_no_integration_leads_nowhere() {
    let running = kept().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let page = visitor.get("/console/i/y%2Ftokens%2F1%2Frevoke%3Fx=/tokens").await;
    assert!(page.status == 404 && !page.text().contains("revoke"), "{page:?}");
}

#[tokio::test]
async fn what_is_declared_can_be_seen_and_not_changed() {
    let running = World::empty()
        .keeping()
        .bearer("acme.fixed", "api.example.test", "canary-of-fixed")
        .run()
        .await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let path = format!("{LIST}/bearer_token/fixed");
    let page = visitor.get(&path).await.text();
    assert!(page.contains("The configuration declares this connection"), "{page}");
    assert!(!page.contains("canary") && !page.contains("Replace"), "{page}");
    let answer = visitor.post(&format!("{path}/secret"), &[("token", "other")]).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn what_an_origin_sends_back_of_the_secret_is_not_shown() {
    let secret = "canary+of/trial";
    let origin =
        Origin::answering(&["http/1.1"], move |_seen| {
            let mut answer = ok(&format!("you said {secret}, {}", STANDARD.encode(secret)));
            let fields = [("x-echo", secret), ("set-cookie", "session=canary")];
            answer.headers_mut().extend(fields.map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            }));
            answer
        })
        .await;
    let running = World::new(&origin).keeping().run().await;
    running.keep_bearer("trial", "api.example.test", secret).await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let form = |act, url| [("act", act), ("method", "GET"), ("connection", "trial"), ("url", url)];
    let url = "https://api.example.test/items?q=1";
    let page = visitor.post("/console/i/acme/try", &form("explain", url)).await.text();
    assert!(page.contains("It would be sent.") && !page.contains("The answer"), "{page}");
    let page = visitor.post("/console/i/acme/try", &form("send", url)).await.text();
    for part in ["to find the origin and connect to it", "for TLS with it", "the origin, until"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(page.contains("by the origin") && page.contains("you said *****, *****"), "{page}");
    assert!(!page.contains("canary"), "{page}");
    let page = visitor.get(&format!("{LIST}/bearer_token/trial")).await.text();
    assert!(page.contains("<dt>Echoes masked</dt><dd>1 since this server was started"), "{page}");
    let url = "https://other.example.test/";
    let page = visitor.post("/console/i/acme/try", &form("send", url)).await.text();
    assert!(
        page.contains("Not sent") && page.contains("The rules refuse it: DomainNotAllowed (403)."),
        "{page}"
    );
    let (_, reader) = running.keep_token("reader", &["read"]).await;
    let visitor = running.sign_in(&reader).await;
    let url = "https://api.example.test/";
    let page = visitor.post("/console/i/acme/try", &form("send", url)).await.text();
    assert!(page.contains("It lacks the scope proxy"), "{page}");
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn an_auditor_sees_activity_events_and_connections_and_is_shown_the_way_to_nothing_else() {
    let running = kept().await;
    running.keep_bearer("crm", "api.example.com", "canary-secret").await;
    running.replace_bearer("crm", "canary-other").await;
    let change = json!({"description": "for the sales team"});
    let line = format!("PATCH {CONNECTIONS}/bearer_token/crm");
    assert_eq!(running.manage(&line, Some(change)).await.status, 204);
    let (_, auditor) = running.keep_token("an auditor", &["audit"]).await;
    let visitor = running.sign_in(&auditor).await;
    let list = visitor.get(LIST).await.text();
    assert!(list.contains("crm") && list.contains("api.example.com"), "{list}");
    for absent in ["/clients", "/try", "/tokens", "/system", "/connections/new", "/bearer_token/"] {
        assert!(!list.contains(&format!("href=\"/console/i/acme{absent}")), "{absent}: {list}");
    }
    for path in ["/activity", "/events"] {
        assert!(list.contains(&format!("href=\"/console/i/acme{path}\"")), "{path}: {list}");
        assert_eq!(visitor.get(&format!("/console/i/acme{path}")).await.status, 200, "{path}");
    }
    for path in ["/connections/bearer_token/crm", "/connections/new", "/clients", "/tokens"] {
        assert_eq!(visitor.get(&format!("/console/i/acme{path}")).await.status, 403, "{path}");
    }
    let page = visitor.get("/console/i/acme/events?connection=crm").await.text();
    for said in ["connection.create", "with a new secret", "<ins>for the sales team</ins>"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(!page.contains("canary") && !page.contains("<td>token.create"), "{page}");
    // Who may look at the connection finds them there too.
    let visitor = running.sign_in(&admin(&running).await).await;
    let page = visitor.get("/console/i/acme/connections/bearer_token/crm").await.text();
    assert!(page.contains("<ins>for the sales team</ins>"), "{page}");
}

#[tokio::test]
async fn activity_is_told_to_those_who_may_read_the_trail() {
    let origin = Origin::start().await;
    let running = World::new(&origin).keeping().set("api.requests_per_minute", "0").run().await;
    let sent =
        ask("GET https://api.example.test/some/path?q=canary").field("X-Zis-Connection", "api");
    assert_eq!(running.send(&sent).await.status, 200);
    let visitor = running.sign_in(&admin(&running).await).await;
    let page = soon(async {
        loop {
            let page = visitor.get("/console/i/acme/activity").await.text();
            let is_counted = page.contains("1 answered well");
            if is_counted && page.replace("<wbr>", "").contains("/some/path") {
                return page;
            }
        }
    });
    let page = page.await;
    assert!(!page.contains("canary"), "{page}");
    let rows = visitor.get("/console/i/acme/activity/rows?connection=other").await;
    assert_eq!((rows.status, rows.text()), (200, String::new()));
    let (_, reader) = running.keep_token("reader", &["read", "write", "proxy"]).await;
    let visitor = running.sign_in(&reader).await;
    assert_eq!(visitor.get("/console/i/acme/activity").await.status, 403);
    let some = json!({
        "name": "some", "integration": "acme", "scopes": ["admin"], "connections": ["other"],
    });
    let some = running.manage("POST /api/keyferry/v1/tokens", Some(some)).await.json();
    let visitor = running.sign_in(some["token"]["secret"].as_str().unwrap()).await;
    let page = visitor.get("/console/i/acme/activity").await.text();
    assert!(!page.contains("/some/path") && !page.contains("<svg"), "{page}");
}

#[tokio::test]
async fn who_watches_for_something_rare_sees_it_come() {
    let origin = Origin::start().await;
    let running = World::new(&origin).keeping().set("api.requests_per_minute", "0").run().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let page = visitor.get("/console/i/acme/activity?decision=refuse").await.text();
    assert!(page.contains("data-live=\"/console/i/acme/activity/rows?decision=refuse\""), "{page}");
    let one = ask("GET https://api.example.test/").field("X-Zis-Connection", "api");
    for _ in 0..450 {
        assert_eq!(running.send(&one).await.status, 200);
    }
    let refused = ask("GET https://other.example.test/").field("X-Zis-Connection", "api");
    assert_eq!(running.send(&refused).await.status, 403);
    let mut newest = String::new();
    soon(async {
        loop {
            let rows = format!("/console/i/acme/activity/rows?decision=refuse&newer={newest}");
            let answer = visitor.get(&rows).await;
            answer.field("x-keyferry-until").clone_into(&mut newest);
            let rows = answer.text();
            assert!(!rows.contains("GET</strong> <span class=\"origin-of\">api."), "{rows}");
            if rows.contains("DomainNotAllowed") {
                return;
            }
        }
    })
    .await;
    // What was told once is not told again.
    let rows = format!("/console/i/acme/activity/rows?decision=refuse&newer={newest}");
    assert_eq!(visitor.get(&rows).await.text(), "");
}

/// How long it takes is told; how much there is to load is a promise.
#[expect(clippy::print_stdout, reason = "a figure, for whoever looks")]
#[tokio::test]
async fn ten_thousand_connections_are_listed_and_searched() {
    let mut world = World::empty().keeping();
    for number in 0..10_000 {
        let name = format!("acme.connection_{number:05}");
        world = world.bearer(&name, &format!("c{}.example.test", number % 97), "t0k3n");
    }
    let running = world.run().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    for query in [
        "",
        "?q=c42.EXAMPLE",
        "?q=connection_099&state=unused",
        "?after=connection_05000",
        "?sort=-failed",
        "?sort=state&after=4:connection_05000",
    ] {
        let begun = Instant::now();
        let page = visitor.get(&format!("{LIST}{query}")).await;
        let (took, bytes) = (begun.elapsed().as_millis(), page.body.len());
        println!("the list by {query}: {took} ms, {bytes} bytes");
        assert!(page.status == 200 && page.body.len() < 150 << 10, "{query}");
    }
    let page = visitor.get(&format!("{LIST}?sort=state&after=4:connection_05000")).await.text();
    assert!(page.contains(">connection_05001<") && page.contains("sort=state&amp;before=4%3A"));
    let page = visitor.get(&format!("{LIST}?after=connection_05000")).await.text();
    assert!(page.contains(">connection_05001<") && page.contains("10000 in all"), "{page}");
    let back = visitor.get(&format!("{LIST}?before=connection_05001")).await.text();
    assert!(back.contains(">connection_05000<") && !back.contains(">connection_05001<"), "{back}");
}

const PAGES: [&str; 22] = [
    "/console",
    "/console/sign-in",
    "/console/nowhere",
    "/console/connected",
    LIST,
    "/console/i/acme/connections/new",
    "/console/i/acme/connections/new/api_key",
    "/console/i/acme/connections/new/aws_sigv4",
    "/console/i/acme/connections/new/aws_sigv4?preset=aws",
    "/console/i/acme/connections/new/custom",
    "/console/i/acme/connections/new/mcp",
    "/console/i/acme/clients/new",
    "/console/i/acme/clients",
    "/console/i/acme/tokens",
    "/console/i/acme/system",
    "/console/i/acme/try",
    "/console/i/acme/activity",
    "/console/i/acme/activity?status=4xx&since=2026-01-01T00:00",
    "/console/i/acme/requests/00000000-1",
    "/console/i/acme/events",
    "/console/i/acme/events?since=2026-01-01T00:00&until=2036-01-01T00:00",
    "/console/i/acme/events/check",
];

#[tokio::test]
async fn a_custom_connection_is_made_and_its_secrets_are_replaced() {
    let origin = Origin::start().await;
    let running = World::new(&origin).keeping().run().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let filled = [
        ("name", "datadog"),
        ("secret_name_1", "api"),
        ("secret_1", "canary-api"),
        ("secret_name_2", "app"),
        ("secret_2", "canary-app"),
        ("allowed_domains", "api.example.test\n*.wild.example.test"),
        ("inject", "DD-API-KEY: {api}\n?app={app}"),
        ("own_places", "*.wild.example.test /KEYFERRY={api}"),
    ];
    // 1. What is wrong is told at its field, and no secret comes back.
    let path = format!("{LIST}/new/custom");
    let mut wrong = filled;
    wrong[6].1 = "Cookie: {api}\n?app={app}";
    let page = visitor.post(&path, &wrong).await;
    assert_eq!(page.status, 400);
    assert!(page.text().contains("f-inject-fault") && !page.text().contains("canary"));
    let made = visitor.post(&path, &filled).await;
    assert_eq!(
        (made.status, made.field("location")),
        (303, "/console/i/acme/connections/custom/datadog?done=created")
    );
    // A well-known API of that type has its title, its documentation and its hints, also after a
    // fault.
    let preset = format!("{path}?preset=telegram");
    for page in [visitor.get(&preset).await, visitor.post(&preset, &[("name", "a b")]).await] {
        let text = page.text();
        for said in [
            "<h1>Create a connection: Telegram, Bot API</h1>",
            "https://core.telegram.org/bots/api#authorizing-your-bot",
            "The program writes bot-KEYFERRY",
            "Token of the bot",
            "action=\"/console/i/acme/connections/new/custom?preset=telegram\"",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
    let preset = visitor.get(&format!("{path}?preset=datadog")).await.text();
    assert!(preset.contains("Secret application_key") && preset.contains("api.datadoghq.eu"));
    // 2. It is shown with its places, and in the list with its domains.
    let at = format!("{LIST}/custom/datadog");
    let page = visitor.get(&at).await.text();
    for shown in [
        "api.example.test, *.wild.example.test",
        "DD-API-KEY: {api}",
        "/KEYFERRY={api}",
        "New secret app",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    assert!(!page.contains("canary"));
    let list = visitor.get(LIST).await.text().replace("<wbr>", "");
    assert!(list.contains("*.wild.example.test"));
    // 3. One secret is replaced, an option changed, and the connection deleted.
    let replaced = visitor.post(&format!("{at}/secret"), &[("secret-app", "canary-next")]).await;
    assert_eq!(replaced.status, 303, "{}", replaced.text());
    let request = ask("GET https://api.example.test/v1").field("X-Zis-Connection", "datadog");
    assert_eq!(running.send(&request).await.status, 200);
    let seen = origin.last();
    assert_eq!(
        (seen.target.as_str(), seen.field("dd-api-key").as_str()),
        ("/v1?app=canary-next", "canary-api")
    );
    let options = [("enabled", "yes"), ("read_only", "yes"), ("mask_echo", "no"), ("rules", "")];
    assert_eq!(visitor.post(&format!("{at}/options"), &options).await.status, 303);
    assert!(visitor.get(&at).await.text().contains("GET, HEAD and OPTIONS alone"));
    let deleted = visitor.post(&format!("{at}/delete"), &[("typed_name", "datadog")]).await;
    assert_eq!(deleted.status, 303);
    assert_eq!(visitor.get(&at).await.status, 404);
}

/// Tells whether a field of a page has this value.
fn has_value(page: &str, value: &str) -> bool {
    page.contains(&format!("value=\"{value}\""))
}

#[tokio::test]
async fn a_connection_to_aws_is_made_and_its_key_is_replaced() {
    const ROLE: &str = "arn:aws:iam::123456789012:role/reader";
    let origin = Origin::start().await;
    let running = World::new(&origin).keeping().run().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let filled = [
        ("name", "aws"),
        ("allowed_domain", "api.example.test"),
        ("access_key_id", "AKIDONE"),
        ("secret_access_key", "canary-aws-one"),
        ("session_token", "canary-session"),
        ("region", "us-east-1"),
        ("service", "lambda"),
        ("role_arn", ""),
        ("external_id", ""),
        ("duration", ""),
    ];
    // 1. The form says what each field is for, and a preset what to give.
    let path = format!("{LIST}/new/aws_sigv4");
    let blank = visitor.get(&path).await.text();
    assert!(blank.contains("f-role_arn-hint") && blank.contains("placeholder keys"), "{blank}");
    assert!(visitor.get(&format!("{LIST}/new")).await.text().contains("?preset=aws"));
    let preset = visitor.get(&format!("{path}?preset=aws")).await.text();
    assert!(preset.contains("dynamodb.eu-central-1.amazonaws.com"), "{preset}");
    // 2. What is wrong is told at its field, that of a role too, and no secret comes back.
    let mut wrong = filled;
    wrong[5].1 = "us east";
    wrong[8].1 = "x";
    let page = visitor.post(&path, &wrong).await;
    assert_eq!(page.status, 400);
    for field in ["region", "role_arn", "external_id"] {
        assert!(page.text().contains(&format!("f-{field}-fault")), "{field}");
    }
    assert!(!page.text().contains("canary") && !page.text().contains("assume_role"));
    let made = visitor.post(&path, &filled).await;
    assert_eq!(
        (made.status, made.field("location")),
        (303, "/console/i/acme/connections/aws_sigv4/aws?done=created")
    );
    // 3. It signs, and its page shows all but the secrets.
    let signed = async |key: &str| {
        let request = ask("GET https://api.example.test/v1").field("X-Zis-Connection", "aws");
        assert_eq!(running.send(&request).await.status, 200);
        verify(&origin.last(), "api.example.test", key).unwrap()
    };
    assert_eq!(signed("canary-aws-one").await.key_id, "AKIDONE");
    assert_eq!(origin.last().field("x-amz-security-token"), "canary-session");
    let at = format!("{LIST}/aws_sigv4/aws");
    let page = visitor.get(&at).await.text();
    assert!(page.contains("AKIDONE") && page.contains("lambda") && !page.contains("canary"));
    // 4. The key is entered again with whatever changes; what is emptied is taken away.
    let change = [("access_key_id", "AKIDTWO"), ("region", "us-east-1"), ("service", "lambda")];
    let page = visitor.post(&format!("{at}/secret"), &change).await.text();
    assert!(page.contains("f-secret_access_key-fault"), "{page}");
    let secret = ("secret_access_key", "canary-aws-two");
    let change = [&change[..], &[secret]].concat();
    let changed = visitor.post(&format!("{at}/secret"), &change).await;
    assert_eq!(changed.status, 303, "{}", changed.text());
    assert_eq!(signed("canary-aws-two").await.key_id, "AKIDTWO");
    assert_eq!(origin.last().field("x-amz-security-token"), "");
    // The host's name says neither of the two.
    let role = [secret, ("access_key_id", "AKIDTWO"), ("role_arn", ROLE), ("duration", "15m")];
    let emptied = [&role[..], &[("region", ""), ("service", "")]].concat();
    let page = visitor.post(&format!("{at}/secret"), &emptied).await.text();
    assert!(page.contains("f-region-fault") && !has_value(&page, "lambda"), "{page}");
    let of_role = [&role[..], &[("region", "us-east-1"), ("service", "sqs")]].concat();
    assert_eq!(visitor.post(&format!("{at}/secret"), &of_role).await.status, 303);
    // What it was before is among its events, and not in its form.
    let page = visitor.get(&at).await.text();
    let (has, lacks) = ([ROLE, "15m", "sqs"], "lambda");
    assert!(has.iter().all(|it| has_value(&page, it)) && !has_value(&page, lacks), "{page}");
    assert_eq!(visitor.post(&format!("{at}/secret"), &change).await.status, 303);
    let page = visitor.get(&at).await.text();
    assert!(!has_value(&page, ROLE) && has_value(&page, "lambda"), "{page}");
    // 5. Its options change as those of others.
    let options = [("enabled", "no"), ("read_only", "no"), ("mask_echo", "no"), ("rules", "")];
    assert_eq!(visitor.post(&format!("{at}/options"), &options).await.status, 303);
    assert!(visitor.get(&at).await.text().contains("every request is refused"));
}

#[tokio::test]
async fn a_fault_stands_in_the_form_that_was_sent_and_in_no_other() {
    let origin = Origin::start().await;
    let running = World::new(&origin).keeping().run().await;
    running.keep_bearer("shop", "api.example.test", "first-secret").await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let at = format!("{LIST}/bearer_token/shop");
    let yes = [("enabled", "yes"), ("read_only", "no"), ("mask_echo", "no")];
    let options = [&yes[..], &[("rules", "allow"), ("expires_on", "soon")]].concat();
    for (form, fields) in [
        ("options", &options[..]),
        ("secret", &[("token", "")]),
        ("delete", &[("typed_name", "x")]),
    ] {
        let page = visitor.post(&format!("{at}/{form}"), fields).await.text();
        let boxes = page.matches("class=\"fault-box\"").count();
        assert_eq!(boxes, usize::from(form != "delete"), "{form}");
        let begun = page.find("class=\"fault").unwrap();
        let section = &page[..begun];
        let heading = match form {
            "options" => "id=\"options\"",
            "secret" => "id=\"replace\"",
            _ => "id=\"delete\"",
        };
        assert!(section.contains(heading), "{form}");
    }
    // What is over is said, whatever was accepted.
    let options = [&yes[..], &[("rules", ""), ("expires_on", "2020-01-31")]].concat();
    assert_eq!(visitor.post(&format!("{at}/options"), &options).await.status, 303);
    let page = visitor.get(&at).await.text();
    assert!(page.contains("The secret expired on 2020-01-31, as expires_on says"), "{page}");
    // An old secret that is kept can be forgotten.
    let change = [("token", "second-secret"), ("keep_old_for", "10m")];
    assert_eq!(visitor.post(&format!("{at}/secret"), &change).await.status, 303);
    assert!(visitor.get(&at).await.text().contains("Forget the old one now"));
    let forgotten = visitor.post(&format!("{at}/forget"), &[]).await;
    assert_eq!(forgotten.field("location"), format!("{at}?done=forgotten"));
    assert!(!visitor.get(&at).await.text().contains("Old secret"));
}
