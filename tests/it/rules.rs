//! Rules of connections and of tokens (contract §8): what they refuse reaches no origin, in every
//! form and by every way in which they can be given.

use serde_json::{Value, json};

use crate::support::ask::{Ask, ask, stranger};
use crate::support::operator::CONNECTIONS;
use crate::support::origin::Origin;
use crate::support::raw::refused;
use crate::support::world::{Running, World};

const RULES: &str = "rules = [{ deny = true, paths = [\"/admin/**\"] }, \
                     { allow = true, methods = [\"GET\", \"COPY\"], paths = [\"/**\"] }]";

async fn world(origin: &Origin) -> Running {
    let bearer = |more: &str| format!("type = \"bearer_token\"\ntoken = \"s-secret\"\n{more}");
    World::new(origin)
        .connection("acme.ruled", "ruled.wild.example.test", &bearer(RULES))
        .connection("acme.reader", "reader.wild.example.test", &bearer("read_only = true"))
        .connection("acme.off", "off.wild.example.test", &bearer("enabled = false"))
        .token("narrow", "acme", "rules = [{ allow = true, paths = [\"/v1/**\"] }]")
        .pin("ruled.wild.example.test", origin)
        .pin("reader.wild.example.test", origin)
        .pin("off.wild.example.test", origin)
        .set("proxy.allowed_methods", "[\"GET\", \"HEAD\", \"POST\", \"DELETE\", \"COPY\"]")
        .run()
        .await
}

const NOT_ALLOWED: (u16, &str) = (403, "RequestNotAllowed");

#[tokio::test]
async fn what_rules_refuse_reaches_no_origin_in_any_form() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    let absolute =
        |method: &str, path: &str| ask(&format!("{method} https://ruled.wild.example.test{path}"));
    let refusals: Vec<Ask> = vec![
        absolute("POST", "/v1"),
        absolute("GET", "/admin"),
        absolute("GET", "/ADMIN/keys"),
        absolute("GET", "/v1/../admin/keys"),
        absolute("GET", "/v1/%2e%2e/admin"),
        absolute("GET", "/%61dmin?x"),
        absolute("GET", "//admin"),
        absolute("GET", "/v1;/admin"),
        absolute("GET", "/v1").field("X-HTTP-Method-Override", "DELETE"),
        absolute("GET", "/v1").field("X_Http-Method.Override", "DELETE"),
        absolute("GET", "/v1").field("X-Original-URL", "/admin"),
        absolute("COPY", "/v1").field("Destination", "https://ruled.wild.example.test/admin/x"),
        absolute("COPY", "/v1").field("Destination", "/admin/x"),
        absolute("GET", "/v1?_method=DELETE"),
        absolute("GET", "/v1").field("X-Amz-Copy-Source", "/admin/x"),
        absolute("GET", "/v1/..%20/admin"),
        absolute("COPY", "/v1").field("Destination", "/admin/x?u=://h/v1"),
        absolute("COPY", "/v1").field("Destination", "//h/v1"),
        absolute("COPY", "/v1").field("Destination", "https://h\\admin/v1"),
        ask("COPY /~/ruled/v1").field("Destination", "https://dav.example.com/admin/x"),
        ask("COPY /~/ruled/v1").field("Destination", "/~/ruled/admin/x?u=://h/~/ruled/v1"),
        ask("GET /~/ruled/admin/x"),
        ask("GET /~/ruled/%61dmin"),
        ask("POST /~/ruled/v1"),
        ask("COPY /~/ruled/v1").field("Destination", "/~/ruled/admin/x"),
        ask("GET /admin")
            .host("localhost")
            .field("X-Zis-Connection", "ruled")
            .field("X-Zis-Host", "ruled.wild.example.test"),
        ask("POST https://reader.wild.example.test/v1"),
        ask("GET https://reader.wild.example.test/v1").field("X-Method-Override", "PUT"),
        stranger("GET https://reader.wild.example.test/v2").by("narrow"),
        stranger("GET https://api.example.test/").by("narrow"),
        stranger("GET /~/reader/v2/v1").by("narrow"),
    ];
    for ask in &refusals {
        let answer = world.send(ask).await;
        assert_eq!(answer.refusal(), refused(NOT_ALLOWED.0, NOT_ALLOWED.1), "{ask:?}");
    }
    let off = world.send(&ask("GET https://off.wild.example.test/")).await;
    assert_eq!(off.refusal(), refused(403, "ConnectionForbidden"));
    assert!(off.text().contains("switched off"), "{}", off.text());
    assert_eq!(origin.conns(), 0);
    for ask in [
        absolute("GET", "/v1?/admin"),
        absolute("GET", "/administrator"),
        absolute("COPY", "/v1").field("Destination", "https://ruled.wild.example.test/v2"),
        ask("GET /~/ruled/v1/x"),
        ask("HEAD https://reader.wild.example.test/v1"),
        stranger("GET https://reader.wild.example.test/v1/x").by("narrow"),
        stranger("DELETE https://api.example.test/v1").by("narrow"),
    ] {
        assert_eq!(world.send(&ask).await.status, 200, "{ask:?}");
    }
}

#[tokio::test]
async fn rules_hold_inside_a_tunnel_too() {
    let origin = Origin::start().await;
    let bearer = format!("type = \"bearer_token\"\ntoken = \"s-secret\"\n{RULES}");
    let world = World::new(&origin).without("type = \"bearer_token\"").connection(
        "acme.api",
        "api.example.test",
        &bearer,
    );
    let world = world.run().await;
    let mut tunnel = world.tunnel().await;
    let inside = |line: &str| stranger(line).host("api.example.test");
    let refusal = tunnel.send(&inside("GET /admin/x")).await;
    assert_eq!(refusal.refusal(), refused(NOT_ALLOWED.0, NOT_ALLOWED.1));
    assert_eq!(tunnel.send(&inside("GET /v1")).await.status, 200);
}

#[tokio::test]
async fn rules_choose_among_connections_that_cover_a_host() {
    let origin = Origin::start().await;
    let bearer = |secret: &str, rule: &str| {
        format!("type = \"bearer_token\"\ntoken = {secret:?}\nrules = [{{ allow = true, {rule} }}]")
    };
    let world = World::new(&origin)
        .connection("acme.reads", "git.wild.example.test", &bearer("r", "methods = [\"GET\"]"))
        .connection(
            "acme.issues",
            "git.wild.example.test",
            &bearer("i", "methods = [\"POST\"], paths = [\"/issues/**\"]"),
        )
        .connection(
            "acme.hooks",
            "git.wild.example.test",
            &bearer("h", "methods = [\"POST\"], paths = [\"/hooks\", \"/issues/7\"]"),
        )
        .pin("git.wild.example.test", &origin)
        .run()
        .await;
    for (line, secret) in [("GET", "r"), ("POST", "i")] {
        let answer =
            world.send(&ask(&format!("{line} https://git.wild.example.test/issues/1"))).await;
        assert_eq!(
            (answer.status, origin.last().field("authorization")),
            (200, format!("Bearer {secret}"))
        );
    }
    let sent = origin.seen().len();
    let ambiguous = world.send(&ask("POST https://git.wild.example.test/issues/7")).await;
    assert_eq!(ambiguous.refusal(), refused(409, "AmbiguousConnection"));
    assert!(ambiguous.text().contains("hooks, issues"), "{}", ambiguous.text());
    let none = world.send(&ask("PUT https://git.wild.example.test/issues/7")).await;
    assert_eq!(none.refusal(), refused(NOT_ALLOWED.0, NOT_ALLOWED.1));
    assert_eq!(origin.seen().len(), sent);
}

#[tokio::test]
async fn options_are_kept_sealed_shown_and_changed() {
    let origin = Origin::start().await;
    let world = World::new(&origin).keeping().pin("kept.wild.example.test", &origin).run().await;
    let path = format!("{CONNECTIONS}/bearer_token");
    // 1. They are made and shown with the connection.
    let made = json!({
        "name": "kept", "allowed_domain": "kept.wild.example.test", "token": "s-secret",
        "description": "the shop's key", "expires_on": "2030-01-31", "read_only": true,
        "rules": [{"deny": true, "paths": ["/admin/**"]}, {"allow": true}],
    });
    let answer = world.manage(&format!("POST {path}"), Some(made.clone())).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let shown: Value = answer.json();
    for member in ["description", "expires_on", "read_only", "rules"] {
        assert_eq!(shown["bearer_token"][member], made[member], "{member}");
    }
    let status = async |line: &str| world.send(&ask(line)).await.status;
    assert_eq!(status("GET https://kept.wild.example.test/v1").await, 200);
    assert_eq!(status("GET https://kept.wild.example.test/admin").await, 403);
    assert_eq!(status("POST https://kept.wild.example.test/v1").await, 403);
    // 2. One is changed, one taken away; the secret and the rest stay.
    let item = format!("PATCH {path}/kept");
    let change = json!({"read_only": null, "enabled": true, "description": ""});
    assert_eq!(world.manage(&item, Some(change)).await.status, 204);
    assert_eq!(status("POST https://kept.wild.example.test/v1").await, 200);
    assert_eq!(origin.last().field("authorization"), "Bearer s-secret");
    assert_eq!(status("POST https://kept.wild.example.test/admin").await, 403);
    let shown = world.manage(&format!("GET {path}/kept"), None).await.json();
    let shown = &shown["bearer_token"];
    assert!(shown.get("read_only").is_none() && shown.get("description").is_none(), "{shown}");
    assert_eq!(shown["rules"], made["rules"]);
    // 3. What is wrong is told, all of it, and changes nothing.
    let faulty =
        json!({"rules": [{"allow": true, "paths": ["v1"]}], "expires_on": "soon", "enabled": "no"});
    let answer = world.manage(&item, Some(faulty)).await;
    let text = answer.text();
    assert_eq!(answer.status, 400, "{text}");
    for words in [
        "rules: rule 1: the path must begin with a slash",
        "expires_on: must be a day",
        "enabled: must be true or false",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // 4. It is switched off, and on again.
    assert_eq!(world.manage(&item, Some(json!({"enabled": false}))).await.status, 204);
    assert_eq!(status("GET https://kept.wild.example.test/v1").await, 403);
    assert_eq!(world.manage(&item, Some(json!({"enabled": true}))).await.status, 204);
    assert_eq!(status("GET https://kept.wild.example.test/v1").await, 200);
}

#[tokio::test]
async fn a_token_with_rules_is_held_to_them_and_makes_none_that_may_more() {
    let origin = Origin::start().await;
    let world = World::new(&origin).keeping().run().await;
    let tokens = "POST /api/keyferry/v1/tokens";
    let rules = json!([{"allow": true, "methods": ["GET"], "paths": ["/v1/**"]}]);
    let form = |name: &str, rules: Value| json!({"name": name, "integration": "acme", "scopes": ["admin"], "rules": rules});
    let made = world.manage(tokens, Some(form("narrow", rules.clone()))).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made: Value = made.json();
    assert_eq!(made["token"]["rules"], rules);
    let secret = made["token"]["secret"].as_str().unwrap();
    let by = |line: &str| stranger(line).field("Proxy-Authorization", &format!("Bearer {secret}"));
    assert_eq!(world.send(&by("GET https://api.example.test/v1/x")).await.status, 200);
    let refusal = world.send(&by("POST https://api.example.test/v1/x")).await;
    assert_eq!(refusal.refusal(), refused(NOT_ALLOWED.0, NOT_ALLOWED.1));
    assert!(refusal.text().contains("The token may not be used"), "{}", refusal.text());
    // What it makes has its rules, whether they are said or not, and no others.
    let wider =
        world.manage_by(secret, tokens, Some(form("wider", json!([{"allow": true}])))).await;
    assert_eq!(wider.status, 400, "{}", wider.text());
    for (name, rules) in [("same", rules.clone()), ("silent", json!([]))] {
        let answer = world.manage_by(secret, tokens, Some(form(name, rules.clone()))).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(answer.json()["token"]["rules"], made["token"]["rules"]);
    }
}
