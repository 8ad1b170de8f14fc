//! Static connections: their shapes, their life, and that the data plane follows at once.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::{bearer, of_each_type, stored};
use crate::support::ask::ask;
use crate::support::origin::Origin;
use crate::support::world::World;

/// The members of an answer, in order.
fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn each_type_is_made_shown_changed_and_deleted_in_the_shapes_of_the_reference() {
    let world = stored().run().await;
    let operator = world.admin();
    for (kind, body, change) in of_each_type() {
        let path = format!("my_integration/connections/{kind}");
        let named = format!("{path}/{}", body["name"].as_str().unwrap());

        let made = operator.post(&path, &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        assert_eq!(made.field("cache-control"), "no-store");
        let answer = made.json();
        assert_eq!(members(&answer), [kind]);
        judge(kind, &answer[kind], &body);
        let created = answer[kind]["created_at"].as_str().unwrap();
        assert!(created.ends_with('Z') && created.contains('.'), "{created}");
        assert_eq!(answer[kind]["updated_at"], created);
        assert_eq!(operator.get(&named).await.json(), answer);
        let listed = operator.get("my_integration/connections/all").await.json();
        assert_eq!(listed[kind], json!([answer[kind]]));

        let changed = operator.patch(&named, &change).await;
        assert_eq!((changed.status, changed.body.len()), (204, 0), "{}", changed.text());
        let shown = operator.get(&named).await.json();
        judge(kind, &shown[kind], &change);
        assert_eq!(shown[kind]["created_at"], created);
        assert!(shown[kind]["updated_at"].as_str().unwrap() > created);

        let deleted = operator.delete(&named).await;
        assert_eq!((deleted.status, deleted.body.len()), (204, 0));
        let gone = (404, "NotFound".to_owned(), "Connection does not exist".to_owned());
        assert_eq!(operator.get(&named).await.fault(), gone);
        assert_eq!(operator.patch(&named, &change).await.fault(), gone);
        assert_eq!(operator.delete(&named).await.fault(), gone);
    }
}

/// Whether what is shown has the members of the reference, and what was `entered`.
fn judge(kind: &str, shown: &Value, entered: &Value) {
    let expected = match kind {
        "bearer_token" => "allowed_domain created_at name token updated_at",
        "api_key" => "allowed_domain api_key created_at header_name name updated_at",
        _ => "allowed_domain created_at name password updated_at username",
    };
    assert_eq!(members(shown).join(" "), expected);
    for (member, value) in entered.as_object().unwrap() {
        match member.as_str() {
            "token" | "api_key" | "password" => assert_eq!(shown[member], "*****"),
            "allowed_domain" => {
                assert_eq!(shown[member], value.as_str().unwrap().to_lowercase());
            }
            _ => assert_eq!(&shown[member], value, "{member}"),
        }
    }
}

#[tokio::test]
async fn what_was_asked_is_in_force_when_it_is_answered() {
    let origin = Origin::start().await;
    let world = stored().pin("api.example.test", &origin).token("runner", "acme", "").run().await;
    let operator = world.admin();
    let request = ask("GET https://api.example.test/v1").field("X-Zis-Connection", "conn");
    let conn = json!({"name": "conn", "token": "MY_BEARER_TOKEN",
        "allowed_domain": "api.example.test"});
    let sent = async || {
        let answer = world.send(&request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        origin.last().field("authorization")
    };

    assert_eq!(world.send(&request).await.status, 403);
    assert_eq!(operator.post("acme/connections/bearer_token", &conn).await.status, 201);
    assert_eq!(sent().await, "Bearer MY_BEARER_TOKEN");
    let named = "acme/connections/bearer_token/conn";
    assert_eq!(operator.patch(named, &json!({"token": "NEW"})).await.status, 204);
    assert_eq!(sent().await, "Bearer NEW");
    assert_eq!(operator.delete(named).await.status, 204);
    assert_eq!(world.send(&request).await.status, 403);

    let basic = json!({"name": "conn", "username": "jane", "password": "a:b ",
        "allowed_domain": "*.example.test"});
    assert_eq!(operator.post("acme/connections/basic_auth", &basic).await.status, 201);
    assert_eq!(sent().await, format!("Basic {}", STANDARD.encode("jane:a:b ")));
    // The user name belongs to what the password is sealed for: it is sealed anew.
    let named = "acme/connections/basic_auth/conn";
    assert_eq!(operator.patch(named, &json!({"username": "john"})).await.status, 204);
    assert_eq!(sent().await, format!("Basic {}", STANDARD.encode("john:a:b ")));
}

#[tokio::test]
async fn a_name_is_unique_across_types_and_what_is_declared() {
    let world = stored().bearer("acme.declared", "api.example.com", "s").run().await;
    let operator = world.admin();
    let taken = (409, "Conflict".to_owned(), "Resource conflict".to_owned());
    assert_eq!(operator.post("acme/connections/bearer_token", &bearer("one")).await.status, 201);
    for name in ["one", "declared"] {
        for (kind, mut body, _) in of_each_type() {
            body["name"] = json!(name);
            let path = format!("acme/connections/{kind}");
            assert_eq!(operator.post(&path, &body).await.fault(), taken, "{name} {kind}");
        }
    }
    for name in ["ONE", "Declared"] {
        let made = operator.post("acme/connections/bearer_token", &bearer(name)).await;
        assert_eq!(made.status, 201, "names are case-sensitive");
    }
    let elsewhere = operator.post("other/connections/bearer_token", &bearer("one")).await;
    assert_eq!(elsewhere.status, 201, "another integration has names of its own");
    for path in ["acme/connections/api_key/one", "acme/connections/basic_auth/declared"] {
        assert_eq!(operator.get(path).await.status, 404, "of another type");
        assert_eq!(operator.delete(path).await.status, 404, "of another type");
    }
}

#[tokio::test]
async fn what_is_declared_is_shown_and_never_changed() {
    let world = stored()
        .key("acme.key", "api.example.com", "X-Api-Key", "planted")
        .basic("acme.basic", "*.example.com", "jane", "planted")
        .run()
        .await;
    let operator = world.admin();
    let shown = operator.get("acme/connections/api_key/key").await.json();
    assert_eq!(shown["api_key"]["declared"], true);
    assert_eq!(shown["api_key"]["header_name"], "X-Api-Key");
    assert_eq!(shown["api_key"]["api_key"], "*****");
    assert!(shown["api_key"]["created_at"].as_str().unwrap().ends_with('Z'));
    let all = operator.get("acme/connections/all").await.json();
    assert_eq!(all["basic_auth"][0]["username"], "jane");
    assert_eq!(all["basic_auth"][0]["declared"], true);
    let path = "acme/connections/api_key/key";
    for answer in
        [operator.delete(path).await, operator.patch(path, &json!({"api_key": "x"})).await]
    {
        let (status, code, title) = answer.fault();
        assert_eq!((status, code.as_str()), (403, "Forbidden"));
        assert!(title.contains("configuration"), "{title}");
    }
}

#[tokio::test]
async fn what_is_immutable_may_be_repeated_and_not_changed() {
    let world = stored().run().await;
    let operator = world.admin();
    operator.post("acme/connections/bearer_token", &bearer("conn")).await;
    let named = "acme/connections/bearer_token/conn";
    let same = json!({"name": "conn", "allowed_domain": "API.example.com", "token": "t"});
    assert_eq!(operator.patch(named, &same).await.status, 204);
    for (body, faults) in [
        (json!({"name": "other", "token": "t"}), vec!["InvalidRequest"]),
        (json!({"allowed_domain": "evil.com", "token": "t"}), vec!["InvalidRequest"]),
        (json!({"name": "x", "allowed_domain": "y"}), vec!["InvalidRequest"; 3]),
        (json!({"name": "conn"}), vec!["InvalidRequest"]),
        (json!({}), vec!["InvalidRequest"]),
        (json!({"token": "t", "name": null}), vec!["InvalidRequest"]),
        (json!({"token": null}), vec!["InvalidRequest"; 2]),
        (json!({"username": "x", "token": "t"}), vec!["InvalidRequest"]),
        (json!({"token": "*****"}), vec!["InvalidCredential"]),
    ] {
        let answer = operator.patch(named, &body).await;
        let faults: Vec<_> = faults.into_iter().map(str::to_owned).collect();
        assert_eq!(answer.faults(), (400, faults), "{body} {}", answer.text());
    }
}

#[tokio::test]
async fn a_record_may_be_sent_back_as_it_was_shown() {
    let world = stored().run().await;
    let operator = world.admin();
    for (kind, body, change) in of_each_type() {
        operator.post(&format!("acme/connections/{kind}"), &body).await;
        let named = format!("acme/connections/{kind}/{}", body["name"].as_str().unwrap());
        let shown = operator.get(&named).await.json()[kind].clone();
        let answer = operator.patch(&named, &shown).await;
        assert_eq!((answer.status, answer.text()), (204, String::new()), "{kind}");
        let after = operator.get(&named).await.json()[kind].clone();
        assert_eq!(after, shown, "nothing has changed");
        let mut changed = shown.clone();
        for (member, value) in change.as_object().unwrap() {
            changed[member] = value.clone();
        }
        assert_eq!(operator.patch(&named, &changed).await.status, 204, "{kind}");
        let after = operator.get(&named).await.json()[kind].clone();
        assert_ne!(after["updated_at"], shown["updated_at"], "{kind}");
        assert_eq!(after["created_at"], shown["created_at"], "{kind}");
        changed["uuid"] = json!("x");
        let unknown = operator.patch(&named, &changed).await;
        assert_eq!(unknown.faults(), (400, vec!["InvalidRequest".to_owned()]), "{kind}");
    }
}

#[tokio::test]
async fn the_reserved_name_is_refused_unless_it_is_allowed() {
    let reserved = bearer("zendesk");
    let world = stored().run().await;
    let refused = world.admin().post("acme/connections/bearer_token", &reserved).await;
    assert_eq!(refused.faults(), (400, vec!["InvalidName".to_owned()]));
    let world = stored().set("zis.allow_static_zendesk", "true").run().await;
    let made = world.admin().post("acme/connections/bearer_token", &reserved).await;
    assert_eq!(made.status, 201);
}

#[tokio::test]
async fn of_many_who_make_the_same_name_one_succeeds() {
    let world = stored().run().await;
    let operator = world.admin();
    let body = bearer("race");
    let path = "acme/connections/bearer_token";
    let all = (0..20).map(|_| operator.post(path, &body));
    let mut statuses: Vec<_> =
        futures_util::future::join_all(all).await.into_iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses.remove(0), 201);
    assert!(statuses.iter().all(|status| *status == 409), "{statuses:?}");
}

#[tokio::test]
async fn without_a_store_there_is_nothing_to_make() {
    let world = World::empty().bearer("acme.declared", "api.example.com", "s").run().await;
    let operator = world.admin();
    assert_eq!(operator.get("acme/connections/bearer_token/declared").await.status, 200);
    let (status, code, title) =
        operator.post("acme/connections/bearer_token", &bearer("one")).await.fault();
    assert_eq!((status, code.as_str()), (422, "StoreNeeded"));
    assert!(title.contains("store.url"), "{title}");
    assert_eq!(operator.delete("acme/connections/bearer_token/one").await.status, 404);
    let token = json!({"name": "t", "integration": "acme", "scopes": ["read"]});
    assert_eq!(operator.post("/api/keyferry/v1/tokens", &token).await.status, 422);
    assert_eq!(operator.get("/api/keyferry/v1/tokens").await.json()["tokens"], json!([]));
    assert_eq!(operator.get("/api/keyferry/v1/keys").await.json()["keys"], json!([]));
}

#[tokio::test]
async fn a_row_that_was_edited_is_not_sealed_anew() {
    let world = stored().run().await;
    let operator = world.admin();
    let (_, basic, change) = of_each_type().into_iter().next_back().unwrap();
    assert_eq!(operator.post("acme/connections/basic_auth", &basic).await.status, 201);
    let database = open(&world.world.path("data/keyferry.db")).await;
    sqlx::query("UPDATE connections SET allowed_domain = 'evil.example'")
        .execute(&database)
        .await
        .unwrap();
    database.close().await;
    let named = "acme/connections/basic_auth/example_basic_auth_jane";
    // Not with another secret either: it would be sealed for the host that somebody has put there.
    for change in [change, json!({"password": "new"})] {
        let (status, code, title) = operator.patch(named, &change).await.fault();
        assert_eq!((status, code.as_str()), (500, "SealBroken"));
        assert!(title.contains("delete"), "{title}");
    }
    assert_eq!(operator.delete(named).await.status, 204);
    assert_eq!(operator.post("acme/connections/basic_auth", &basic).await.status, 201);
}

#[tokio::test]
async fn a_store_that_is_busy_is_said_to_be() {
    let world = stored().run().await;
    let operator = world.admin();
    let database = open(&world.world.path("data/keyferry.db")).await;
    let mut holder = database.acquire().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut *holder).await.unwrap();
    let answer = operator.post("acme/connections/bearer_token", &bearer("one")).await;
    let (status, code, _) = answer.fault();
    assert_eq!((status, code.as_str()), (503, "StoreUnavailable"));
    assert_eq!(answer.field("retry-after"), "1");
}

async fn open(path: &Path) -> SqlitePool {
    SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await.unwrap()
}
