//! The audit trail.

use serde_json::{Value, json};

use super::stored;
use crate::support::ask::{ask, stranger};
use crate::support::desk::Operator;
use crate::support::origin::Origin;
use crate::support::soon;
use crate::support::world::Running;

const AUDIT: &str = "/api/keyferry/v1/audit";

/// The paths on a page, and its `meta`.
async fn page(operator: &Operator, query: &str) -> (Vec<String>, Value) {
    let answer = operator.get(&format!("{AUDIT}{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    let path = |entry: &Value| entry["path"].as_str().unwrap().to_owned();
    (json["entries"].as_array().unwrap().iter().map(path).collect(), json["meta"].clone())
}

/// A server that has had some requests, and their paths, newest first.
async fn busy(origin: &Origin) -> (Running, Vec<String>) {
    let world = stored()
        .set("api.requests_per_minute", "0")
        .bearer("acme.api", "api.example.test", "bearer-secret")
        .token("runner", "acme", "")
        .token("other", "other", "")
        .pin("api.example.test", origin)
        .run()
        .await;
    let admin = world.admin();
    let mut paths = Vec::new();
    for number in 0..7 {
        let path = format!("/{number}");
        world.send(&ask(&format!("GET https://api.example.test{path}?q=kept-out"))).await;
        paths.insert(0, path);
        if number % 3 == 0 {
            // So that it is kept by itself.
            soon(async { while page(&admin, "").await.0 != paths {} }).await;
        }
    }
    world.send(&stranger("GET https://api.example.test/f").by("other")).await;
    paths.insert(0, "/f".to_owned());
    soon(async { while page(&admin, "").await.0 != paths {} }).await;
    (world, paths)
}

#[tokio::test]
async fn every_request_is_in_the_trail_newest_first() {
    let origin = Origin::start().await;
    let (world, paths) = busy(&origin).await;
    let admin = world.admin();
    for size in [1, 2, 3, 8] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let query = format!("?page[size]={size}&page[after]={after}");
            let (some, meta) = page(&admin, &query).await;
            seen.extend(some);
            if meta["has_more"] == false {
                break;
            }
            meta["after"].as_str().unwrap().clone_into(&mut after);
        }
        assert_eq!(seen, paths, "by {size}");
    }
    let (_, ends) = page(&admin, "").await;
    let (newest, oldest) = (ends["before"].as_str().unwrap(), ends["after"].as_str().unwrap());
    let (some, meta) = page(&admin, &format!("?page[size]=3&page[before]={oldest}")).await;
    assert_eq!((some, &meta["has_more"]), (paths[4..7].to_vec(), &json!(true)));
    let between = format!("?page[after]={newest}&page[before]={oldest}");
    assert_eq!(page(&admin, &between).await.0, paths[1..7]);
}

#[tokio::test]
async fn an_entry_tells_no_secret_and_nobody_of_another_integration() {
    let origin = Origin::start().await;
    let (world, paths) = busy(&origin).await;
    let admin = world.admin();
    let entries = admin.get(AUDIT).await.json()["entries"].clone();
    let members: Vec<_> = entries[1].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members.join(" "),
        "caller cause code connection decision form instance integration method origin path \
         request_bytes request_id response_bytes rule status time total_ms upstream_ms who"
    );
    assert_eq!(entries[1]["connection"], "api");
    assert_eq!(entries[0]["code"], "ConnectionRequired");
    assert!(!entries.to_string().contains("kept-out"));

    let body = json!({"name": "local", "integration": "acme", "scopes": ["admin"]});
    let (local, _) = admin.grant(&body).await;
    assert_eq!(page(&local, "").await.0, paths[1..]);
    let body = json!({"name": "reader", "integration": "acme", "scopes": ["read"]});
    let (reader, _) = admin.grant(&body).await;
    assert_eq!(reader.get(AUDIT).await.status, 403);
    for cursor in ["x", "1", "1-x"] {
        let answer = admin.get(&format!("{AUDIT}?page[after]={cursor}")).await;
        assert_eq!(answer.faults(), (400, vec!["InvalidRequest".to_owned()]), "{cursor}");
        assert!(answer.text().contains("page[after]: is not a cursor of this list"), "{cursor}");
    }
}

#[tokio::test]
async fn whose_entries_are_few_among_many_reads_on_page_by_page() {
    let origin = Origin::start().await;
    let (world, paths) = busy(&origin).await;
    let file = world.world.path("data/keyferry-audit.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let database = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let many = "WITH RECURSIVE copy(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copy WHERE n < 600) \
                INSERT INTO audit (last, entries) SELECT first.last, first.entries FROM copy, \
                (SELECT last, entries FROM audit ORDER BY id DESC LIMIT 1) AS first";
    sqlx::query(many).execute(&database).await.unwrap();
    database.close().await;
    let narrow = json!({"name": "narrow", "integration": "acme", "scopes": ["admin"]});
    let (narrow, _id) = world.admin().grant(&narrow).await;
    let (mut query, mut pages, mut found) = (String::new(), 0, Vec::new());
    loop {
        let (some, meta) = page(&narrow, &query).await;
        pages += 1;
        found.extend(some);
        if meta["has_more"] == false {
            break;
        }
        query = format!("?page[after]={}", meta["after"].as_str().unwrap());
    }
    assert_eq!((&found[..], pages), (&paths[1..], 3));
    // Back again: nothing of theirs is newer, and the search comes to its end.
    let newest = format!("?page[before]={}-0", 1_000_000);
    assert_eq!(page(&narrow, &newest).await.0, Vec::<String>::new());
}

#[tokio::test]
async fn a_parameter_that_there_is_none_of_is_refused_and_not_passed_over() {
    let world = stored().run().await;
    let admin = world.admin();
    for (path, name, known) in [
        ("audit?connection=conn", "connection", "there are page[size], page[after], page[before]"),
        ("tokens?integration=zzz", "integration", "there are page[size]"),
        ("tokens?page[limit]=5", "page[limit]", "there are page[size]"),
        ("keys?%00", "a parameter", "this path takes no parameters"),
        ("server?x=1", "x", "this path takes no parameters"),
    ] {
        let (status, code, title) = admin.get(&format!("/api/keyferry/v1/{path}")).await.fault();
        assert_eq!((status, code.as_str()), (400, "InvalidRequest"), "{path}");
        assert!(title.starts_with(&format!("{name}: is unknown; {known}")), "{title}");
    }
    // Clients of ZIS send what they like.
    assert_eq!(admin.get("acme/connections/all?sort=name").await.status, 200);
}
