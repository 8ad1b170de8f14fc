//! The API's description, and the page to read it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::world::World;

const METHODS: [&str; 4] = ["get", "post", "patch", "delete"];

/// Operations that take no token.
const OPEN: [&str; 4] =
    ["account_token", "oauth_callback", "posted_oauth_callback", "start_oauth_redirect"];

#[tokio::test]
async fn the_description_is_whole() {
    let world = World::empty().run().await;
    let answer = world.api("/openapi.json").await;
    assert_eq!(answer.field("content-type"), "application/json");
    let document = answer.json();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{path}");
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} stands twice");
            assert!(operation["summary"].is_string() && operation["tags"].is_array(), "{id}");
            let answers = operation["responses"].as_object().unwrap();
            // A flow's own tokens open the way through it, and the account's client its own.
            let is_open = OPEN.contains(&id);
            let takes_token = path.starts_with("/api/") && !is_open;
            let expected: &[&str] =
                if takes_token { &["401", "403", "421", "429"] } else { &["421"] };
            for status in expected {
                assert!(answers.contains_key(*status), "{id} {status}");
            }
            if takes_token {
                assert_eq!(operation["security"][0]["token"], serde_json::json!([]), "{id}");
            }
        }
    }
    assert!(ids.len() >= 20, "{ids:?}");
    let mut references = Vec::new();
    collect(&document, &mut references);
    for reference in references {
        let found = document.pointer(reference.strip_prefix('#').unwrap());
        assert!(found.is_some(), "{reference} leads nowhere");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                references.push(reference.clone());
            }
            assert_ne!(members.get("default"), Some(&Value::Null), "{members:?}");
            members.values().for_each(|item| collect(item, references));
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let world = World::empty().run().await;
    for (path, kind) in [
        ("/docs", "text/html"),
        ("/docs/page.js", "text/javascript"),
        ("/docs/page.css", "text/css"),
    ] {
        let answer = world.api(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.field("content-type").starts_with(kind), "{path}");
        let policy = answer.field("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.field("x-content-type-options"), "nosniff");
        let text = answer.text();
        assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
        assert!(!text.contains("innerHTML"), "{path}");
    }
}
