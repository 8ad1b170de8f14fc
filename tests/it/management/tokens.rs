//! Access tokens and master keys.

use std::fs;

use serde_json::{Value, json};

use super::stored;
use crate::support::ask::{Ask, stranger};
use crate::support::desk::Operator;
use crate::support::origin::Origin;

/// A connection to the origin of the tests.
fn conn() -> Value {
    json!({"name": "conn", "token": "MY_BEARER_TOKEN", "allowed_domain": "api.example.test"})
}

const TOKENS: &str = "/api/keyferry/v1/tokens";

fn request(token: &str) -> Ask {
    stranger("GET https://api.example.test/v1")
        .field("Proxy-Authorization", &format!("Bearer {token}"))
        .field("X-Zis-Connection", "conn")
}

#[tokio::test]
async fn a_token_is_shown_once_works_at_once_and_ends_at_once() {
    let origin = Origin::start().await;
    let world = stored().pin("api.example.test", &origin).run().await;
    let admin = world.admin();
    admin.post("acme/connections/bearer_token", &conn()).await;
    let body = json!({"name": "über runner", "integration": "acme", "scopes": ["proxy", "zis:read"],
        "connections": ["conn"], "expires_at": "2999-01-31T12:00:00+01:00"});
    let answer = admin.post(TOKENS, &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let token = answer.json()["token"].clone();
    let secret = token["secret"].as_str().unwrap();
    assert!(secret.starts_with("kf_") && secret.len() == 46, "{secret}");
    let id = token["id"].as_str().unwrap();
    assert_eq!(answer.field("location"), format!("{TOKENS}/{id}"));
    let members: Vec<_> = token.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        [
            "connections",
            "created_at",
            "expires_at",
            "id",
            "integration",
            "last_used_at",
            "name",
            "scopes",
            "secret"
        ]
    );
    assert_eq!(token["scopes"], json!(["read", "proxy"]));
    assert_eq!(token["expires_at"], "2999-01-31T11:00:00.000000Z");
    assert_eq!(token["last_used_at"], Value::Null);

    let listed = admin.get(TOKENS).await.json();
    let mut shown = token.clone();
    shown.as_object_mut().unwrap().remove("secret");
    assert_eq!(listed["tokens"], json!([shown]));
    assert_eq!(listed["meta"], json!({"after": id, "before": id, "has_more": false}));

    assert_eq!(world.send(&request(secret)).await.status, 200);
    assert_eq!(world.operator(secret).get("acme/connections/all").await.status, 200);
    let path = format!("{TOKENS}/{id}");
    let revoked = admin.delete(&path).await;
    assert_eq!((revoked.status, revoked.body.len()), (204, 0));
    assert_eq!(world.send(&request(secret)).await.status, 407);
    assert_eq!(world.operator(secret).get("acme/connections/all").await.status, 401);
    let gone = (404, "NotFound".to_owned(), "Token does not exist".to_owned());
    assert_eq!(admin.delete(&path).await.fault(), gone);
    assert_eq!(admin.delete(&format!("{TOKENS}/x")).await.fault(), gone);
    assert!(!world.log.text().contains(secret));
}

#[tokio::test]
async fn a_token_that_would_be_of_no_use_is_refused() {
    let world = stored().run().await;
    let admin = world.admin();
    for (body, faults) in [
        (json!({}), "InvalidRequest InvalidRequest InvalidRequest"),
        (
            json!({"name": "a\nb", "integration": "A", "scopes": []}),
            "InvalidName InvalidIntegration InvalidRequest",
        ),
        (json!({"name": "t", "integration": "acme", "scopes": ["root"]}), "InvalidRequest"),
        (json!({"name": "t", "integration": "acme", "scopes": "read"}), "InvalidRequest"),
        (
            json!({"name": "t", "integration": "acme", "scopes": ["read"], "connections": []}),
            "InvalidName",
        ),
        (
            json!({"name": "t", "integration": "*", "scopes": ["read"], "connections": ["one"]}),
            "InvalidName",
        ),
        (
            json!({"name": "t", "integration": "acme", "scopes": ["read"], "expires_at": "soon"}),
            "InvalidRequest",
        ),
        (
            json!({"name": "t", "integration": "acme", "scopes": ["read"],
            "expires_at": "2020-01-01T00:00:00Z"}),
            "InvalidRequest",
        ),
        (
            json!({"name": "t", "integration": "acme", "scopes": ["read"], "secret": "mine"}),
            "InvalidRequest",
        ),
        (json!({"name": "t", "integration": "acme", "scopes": [1]}), "InvalidRequest"),
    ] {
        let answer = admin.post(TOKENS, &body).await;
        let faults = faults.split(' ').map(str::to_owned).collect();
        assert_eq!(answer.faults(), (400, faults), "{body} {}", answer.text());
    }
}

#[tokio::test]
async fn who_administers_one_integration_reaches_no_further() {
    let world = stored().run().await;
    let admin = world.admin();
    let of = |integration: &str, scope: &str| json!({"name": scope, "integration": integration, "scopes": [scope]});
    let (local, _) = admin.grant(&of("acme", "admin")).await;
    let (_, foreign) = admin.grant(&of("other", "read")).await;
    let (_, own) = local.grant(&of("acme", "write")).await;
    for integration in ["other", "*"] {
        let refused = local.post(TOKENS, &of(integration, "read")).await;
        assert_eq!(refused.faults(), (403, vec!["Forbidden".to_owned()]));
    }
    let listed = local.get(TOKENS).await.json();
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 2);
    assert_eq!(admin.get(TOKENS).await.json()["tokens"].as_array().unwrap().len(), 3);
    assert_eq!(local.delete(&format!("{TOKENS}/{foreign}")).await.status, 404);
    assert_eq!(local.delete(&format!("{TOKENS}/{own}")).await.status, 204);
    assert_eq!(local.get("/api/keyferry/v1/keys").await.status, 403);
    assert_eq!(local.post("/api/keyferry/v1/keys/rotate", &json!({})).await.status, 403);
}

#[tokio::test]
async fn two_live_tokens_of_an_integration_never_have_one_name() {
    let world = stored().scoped_token("declared", "acme", "proxy", "").run().await;
    let admin = world.admin();
    let of = |name: &str, integration: &str| json!({"name": name, "integration": integration, "scopes": ["proxy"]});
    let (_, id) = admin.grant(&of("runner", "acme")).await;
    admin.grant(&of("runner", "other")).await;
    admin.grant(&of("runner", "*")).await;
    // The last is the operator's own.
    for (name, integration) in [("runner", "acme"), ("declared", "acme"), ("admin", "*")] {
        let (status, code, title) = admin.post(TOKENS, &of(name, integration)).await.fault();
        assert_eq!((status, code.as_str()), (409, "Conflict"), "{name}");
        assert!(title.starts_with("name: another live token"), "{title}");
        assert_eq!(title.contains(&id), (name, integration) == ("runner", "acme"), "{title}");
    }
    assert_eq!(admin.delete(&format!("{TOKENS}/{id}")).await.status, 204);
    admin.grant(&of("runner", "acme")).await;
}

#[tokio::test]
async fn a_token_for_an_integration_without_connections_is_warned_of() {
    let world = stored().run().await;
    let admin = world.admin();
    admin.post("acme/connections/bearer_token", &conn()).await;
    let warnings = async |name: &str, integration: &str| {
        let body = json!({"name": name, "integration": integration, "scopes": ["proxy"]});
        admin.post(TOKENS, &body).await.json()["warnings"].clone()
    };
    let said = "integration: acmee has no connection: see that its name is right, or make one";
    assert_eq!(warnings("mistyped", "acmee").await, json!([said]));
    assert_eq!(warnings("right", "acme").await, Value::Null);
    assert_eq!(warnings("of all", "*").await, Value::Null);
}

#[tokio::test]
async fn tokens_are_searched_sorted_and_shown_with_what_they_were_used_for() {
    let origin = Origin::start().await;
    let mut world = stored().pin("api.example.test", &origin).run().await;
    let admin = world.admin();
    admin.post("acme/connections/bearer_token", &conn()).await;
    let mut used = String::new();
    for (name, scope, year) in
        [("beta", "proxy", 2991), ("Alpha", "read", 2993), ("gamma", "audit", 2992)]
    {
        let end = format!("{year}-01-31T12:00:00Z");
        let body =
            json!({"name": name, "integration": "acme", "scopes": [scope], "expires_at": end});
        let made = admin.post(TOKENS, &body).await.json();
        if scope == "proxy" {
            made["token"]["secret"].as_str().unwrap().clone_into(&mut used);
        }
    }
    let names = async |admin: &Operator, query: &str| {
        let listed = admin.get(&format!("{TOKENS}?{query}")).await.json();
        let tokens = listed["tokens"].as_array().unwrap().clone();
        let name = |token: Value| token["name"].as_str().unwrap().to_owned();
        (tokens.into_iter().map(name).collect::<Vec<_>>(), listed["meta"].clone())
    };
    for (query, expected) in [
        ("sort=name", vec!["Alpha", "beta", "gamma"]),
        ("sort=-name", vec!["gamma", "beta", "Alpha"]),
        ("sort=created_at", vec!["beta", "Alpha", "gamma"]),
        ("sort=expires_at&search=a", vec!["beta", "gamma", "Alpha"]),
        ("search=ALP", vec!["Alpha"]),
        ("search=audit", vec!["gamma"]),
        ("search=nothing", vec![]),
    ] {
        assert_eq!(names(&admin, query).await.0, expected, "{query}");
    }
    // Pages go on in the order that was asked for.
    let (first, meta) = names(&admin, "sort=name&page[size]=2").await;
    assert_eq!((first, &meta["has_more"]), (vec!["Alpha".into(), "beta".into()], &json!(true)));
    let after = meta["after"].as_str().unwrap();
    let (rest, meta) = names(&admin, &format!("sort=name&page[size]=2&page[after]={after}")).await;
    assert_eq!((rest, &meta["has_more"]), (vec!["gamma".to_owned()], &json!(false)));
    let (status, _, title) = admin.get(&format!("{TOKENS}?sort=color")).await.fault();
    assert!(status == 400 && title.starts_with("sort: must be"), "{title}");
    // What a token was used for last is kept.
    assert_eq!(world.send(&request(&used)).await.status, 200);
    world.signal(rustix::process::Signal::TERM);
    assert!(world.ended().await.success());
    let world = std::mem::replace(&mut world.world, stored()).run().await;
    let admin = world.admin();
    let found = admin.get(&format!("{TOKENS}?search=acme.conn")).await.json();
    assert_eq!(found["tokens"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["tokens"][0]["last_used_for"], "acme.conn");
    assert_eq!(names(&admin, "sort=-last_used_at").await.0[0], "beta");
}

#[tokio::test]
async fn a_token_makes_none_that_is_good_for_longer_than_itself() {
    let world = stored().run().await;
    let of = |name: &str, end: Value| json!({"name": name, "integration": "acme", "scopes": ["admin"], "expires_at": end});
    let (maker, _) = world.admin().grant(&of("maker", json!("2999-01-31T12:00:00Z"))).await;
    for end in [json!("2999-01-31T12:00:01Z"), Value::Null] {
        let (status, code, title) = maker.post(TOKENS, &of("made", end.clone())).await.fault();
        assert_eq!((status, code.as_str()), (400, "InvalidRequest"), "{end}");
        assert!(
            title.starts_with("expires_at: must be 2999-01-31T12:00:00Z or earlier"),
            "{title}"
        );
    }
    let (made, _) = maker.grant(&of("made", json!("2999-01-31T12:00:00Z"))).await;
    let longer = of("longer", json!("2999-02-01T00:00:00Z"));
    assert_eq!(made.post(TOKENS, &longer).await.status, 400);
}

#[tokio::test]
async fn a_token_for_a_connection_that_does_not_exist_is_made_with_a_warning() {
    let world = stored().bearer("acme.declared", "api.example.test", "secret").run().await;
    let admin = world.admin();
    admin.post("acme/connections/bearer_token", &conn()).await;
    let of = |name: &str, connections: &[&str]| json!({"name": name, "integration": "acme", "scopes": ["proxy"], "connections": connections});
    let answer = admin.post(TOKENS, &of("all", &["conn", "declared"])).await;
    assert_eq!((answer.status, &answer.json()["warnings"]), (201, &Value::Null));
    let answer = admin.post(TOKENS, &of("some", &["conn", "later"])).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let warning = "connections: acme has no connection later: the token can use it once one of \
                   that name is made";
    assert_eq!(answer.json()["warnings"], json!([warning]));
}

#[tokio::test]
async fn tokens_are_listed_page_by_page_also_where_some_are_out_of_reach() {
    let world = stored().run().await;
    let admin = world.admin();
    let (local, _) =
        admin.grant(&json!({"name": "local", "integration": "acme", "scopes": ["admin"]})).await;
    for number in 0..12 {
        let integration = if number % 3 == 0 { "acme" } else { "other" };
        let name = format!("t{number}");
        admin.grant(&json!({"name": name, "integration": integration, "scopes": ["proxy"]})).await;
    }
    for (operator, count) in [(&admin, 13), (&local, 5)] {
        for size in [1, 2, 5, 20] {
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let path = format!("{TOKENS}?page[size]={size}&page[after]={after}");
                let page = operator.get(&path).await.json();
                let tokens = page["tokens"].as_array().unwrap();
                assert!(tokens.len() <= size);
                seen.extend(tokens.iter().map(|token| token["id"].as_str().unwrap().to_owned()));
                if page["meta"]["has_more"] == false {
                    break;
                }
                after = page["meta"]["after"].as_str().unwrap().to_owned();
            }
            assert_eq!(seen.len(), count, "by {size}");
            assert!(seen.is_sorted());
            let path = format!("{TOKENS}?page[before]={}&page[size]={size}", seen[count - 1]);
            let page = operator.get(&path).await.json();
            let last: Vec<_> = page["tokens"]
                .as_array()
                .unwrap()
                .iter()
                .map(|token| token["id"].as_str().unwrap())
                .collect();
            assert_eq!(last, seen[(count - 1).saturating_sub(size)..count - 1]);
        }
    }
}

#[tokio::test]
async fn a_rotation_brings_everything_under_the_new_key_without_a_pause() {
    let origin = Origin::start().await;
    let world = stored().pin("api.example.test", &origin).run().await;
    let admin = world.admin();
    admin.post("acme/connections/bearer_token", &conn()).await;
    let (holder, _) =
        admin.grant(&json!({"name": "t", "integration": "acme", "scopes": ["proxy"]})).await;
    let keys = admin.get("/api/keyferry/v1/keys").await.json();
    let old = keys["keys"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(keys, json!({"keys": [{"id": old, "active": true, "present": true, "records": 5}]}));

    let file = world.world.path("data/master.key");
    let kept = fs::read_to_string(&file).unwrap();
    let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    fs::write(&file, format!("new:{key}\n{kept}")).unwrap();
    let rotated = admin.post("/api/keyferry/v1/keys/rotate", &json!({})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    assert_eq!(rotated.json(), json!({"key": "new", "rewrapped": 4, "failed": 0}));
    let keys = admin.get("/api/keyferry/v1/keys").await.json();
    assert_eq!(
        keys,
        json!({"keys": [
            {"id": "new", "active": true, "present": true, "records": 5},
            {"id": old, "active": false, "present": true, "records": 0},
        ]})
    );
    assert_eq!(world.send(&request(&holder.token)).await.status, 200);
    let named = "acme/connections/bearer_token/conn";
    assert_eq!(admin.patch(named, &json!({"token": "t"})).await.status, 204);
    let (again, _) =
        admin.grant(&json!({"name": "again", "integration": "acme", "scopes": ["proxy"]})).await;
    assert_eq!(world.send(&request(&again.token)).await.status, 200);
}

#[tokio::test]
async fn keys_from_the_environment_are_not_the_servers_to_rotate() {
    let key = "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let world = stored().with("KEYFERRY_MASTER_KEY", key).run().await;
    let refused = world.admin().post("/api/keyferry/v1/keys/rotate", &json!({})).await;
    let (status, code, title) = refused.fault();
    assert_eq!((status, code.as_str()), (409, "Conflict"));
    assert!(title.contains("seal.master_key_file"), "{title}");
}

#[tokio::test]
async fn a_request_is_explained_for_another_caller() {
    let world = stored().run().await;
    let admin = world.admin();
    admin.post("acme/connections/bearer_token", &conn()).await;
    // 1. Callers that may and may not, and one of another integration.
    let (reader, _) =
        admin.grant(&json!({"name": "reader", "integration": "acme", "scopes": ["read"]})).await;
    for token in [
        json!({"name": "runner", "integration": "acme", "scopes": ["proxy"]}),
        json!({"name": "narrow", "integration": "acme", "scopes": ["proxy"],
               "rules": [{"allow": true, "paths": ["/v2/**"]}]}),
        json!({"name": "listed", "integration": "acme", "scopes": ["proxy"],
               "connections": ["other"]}),
        json!({"name": "foreign", "integration": "zeta", "scopes": ["proxy"]}),
        json!({"name": "twice", "integration": "acme", "scopes": ["proxy"]}),
        json!({"name": "twice", "integration": "*", "scopes": ["proxy"]}),
    ] {
        admin.grant(&token).await;
    }
    let explain = async |holder: &Operator, caller: &str| {
        let url = "https://api.example.test/v1";
        let body = json!({"method": "GET", "url": url, "caller": caller, "connection": "conn",
                          "integration": "acme"});
        holder.post("/api/keyferry/v1/explain", &body).await
    };
    // 2. The decision is that of the caller's own token.
    for (caller, code, rule) in [
        ("runner", Value::Null, Value::Null),
        ("narrow", json!("RequestNotAllowed"), json!("rules")),
        ("listed", json!("ConnectionForbidden"), json!("connection")),
        ("reader", json!("ConnectionForbidden"), json!("caller")),
        ("twice", Value::Null, Value::Null),
    ] {
        let told = explain(&reader, caller).await;
        assert_eq!(told.status, 200, "{}", told.text());
        let told = told.json();
        assert_eq!((&told["code"], &told["rule"]), (&code, &rule), "{caller}: {told}");
    }
    let told = explain(&reader, "reader").await.json();
    let outcome = |name: &str| {
        let steps = told["steps"].as_array().unwrap();
        steps.iter().find(|step| step["name"] == name).unwrap()["outcome"].clone()
    };
    assert_eq!((outcome("caller"), outcome("method")), (json!("refuse"), json!("not reached")));
    let told = explain(&admin, "runner").await.json();
    let step = told["steps"].as_array().unwrap().iter().find(|step| step["name"] == "caller");
    assert_eq!(step.unwrap()["outcome"], "pass");
    // 3. A token that the operator's own doesn't reach is none to it.
    for (holder, caller) in [(&reader, "foreign"), (&reader, "nobody"), (&admin, "nobody")] {
        let faults = explain(holder, caller).await.faults();
        assert_eq!(faults, (400, vec!["InvalidRequest".to_owned()]), "{caller}");
    }
    assert_eq!(explain(&admin, "foreign").await.json()["code"], "ConnectionForbidden");
}

#[tokio::test]
async fn a_request_is_explained_rule_by_rule() {
    let world = stored().run().await;
    let admin = world.admin();
    admin.post("acme/connections/bearer_token", &conn()).await;
    let (holder, _) =
        admin.grant(&json!({"name": "t", "integration": "acme", "scopes": ["read"]})).await;
    let explain = async |body: Value| {
        let answer = holder.post("/api/keyferry/v1/explain", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let told = explain(json!({"method": "GET", "url": "https://api.example.test/v1"})).await;
    assert_eq!(told["decision"], "allow");
    assert_eq!(told["connection"], "conn");
    assert_eq!(told["origin"], "https://api.example.test");
    assert_eq!(told["field"], "authorization");
    assert_eq!(told["code"], Value::Null);
    assert!(!told.to_string().contains("MY_BEARER_TOKEN"));
    let told =
        explain(json!({"method": "GET", "url": "https://evil.com/", "connection": "conn"})).await;
    assert_eq!(
        (&told["decision"], &told["code"], &told["status"]),
        (&json!("refuse"), &json!("DomainNotAllowed"), &json!(403))
    );
    assert_eq!(told["steps"].as_array().unwrap().last().unwrap()["outcome"], "not reached");
    for (body, faults) in [
        (json!({}), "InvalidRequest InvalidRequest"),
        (json!({"method": "G T", "url": ""}), "InvalidRequest InvalidRequest"),
        (
            json!({"method": "GET", "url": "x", "integration": "A", "connection": "b"}),
            "InvalidIntegration InvalidName",
        ),
    ] {
        let answer = holder.post("/api/keyferry/v1/explain", &body).await;
        let faults = faults.split(' ').map(str::to_owned).collect();
        assert_eq!(answer.faults(), (400, faults), "{body}");
    }
}
