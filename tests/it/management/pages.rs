//! Pages of connections: in the order of names, across types, what is declared among them.

use serde_json::{Value, json};

use super::{of_each_type, stored};
use crate::support::desk::Operator;

/// The names on a page, in order, and its `meta`.
async fn page(operator: &Operator, query: &str) -> (Vec<String>, Value) {
    let answer = operator.get(&format!("acme/connections/all{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    let mut members: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["api_key", "basic_auth", "bearer_token", "meta", "oauth"]);
    let mut names = Vec::new();
    for kind in ["api_key", "basic_auth", "bearer_token", "oauth"] {
        let items = json[kind].as_array().unwrap();
        names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
    }
    names.sort_unstable();
    (names, json["meta"].clone())
}

fn meta(before: &str, after: &str, has_more: bool) -> Value {
    json!({"after": after, "before": before, "has_more": has_more})
}

#[tokio::test]
async fn a_list_is_read_page_by_page_in_both_directions() {
    let world = stored()
        .bearer("acme.c03-declared", "api.example.com", "s")
        .bearer("acme.c99-declared", "api.example.com", "s")
        .bearer("other.c00-declared", "api.example.com", "s")
        .run()
        .await;
    let operator = world.admin();
    let mut all = vec!["c03-declared".to_owned(), "c99-declared".to_owned()];
    for number in 0..10 {
        let (kind, mut body, _) = of_each_type().into_iter().nth(number % 3).unwrap();
        let name = format!("c{number:02}");
        body["name"] = json!(name);
        let made = operator.post(&format!("acme/connections/{kind}"), &body).await;
        assert_eq!(made.status, 201);
        all.push(name);
    }
    all.sort_unstable();
    assert_eq!(page(&operator, "").await, (all.clone(), meta("c00", "c99-declared", false)));

    for size in 1..=12 {
        assert_eq!(forwards(&operator, size).await, all, "forwards by {size}");
        assert_eq!(backwards(&operator, size).await, all, "backwards by {size}");
    }

    let between = page(&operator, "?page[after]=c02&page[before]=c05&page[size]=2").await;
    assert_eq!(
        between,
        (vec!["c03".into(), "c03-declared".into()], meta("c03", "c03-declared", true))
    );
    let gone = page(&operator, "?page[after]=c02x&page[size]=1").await;
    assert_eq!(
        gone,
        (vec!["c03".into()], meta("c03", "c03", true)),
        "no such cursor, and it works"
    );
    assert_eq!(page(&operator, "?page[after]=d").await, (vec![], meta("", "", false)));
}

async fn forwards(operator: &Operator, size: usize) -> Vec<String> {
    let (mut seen, mut query) = (Vec::new(), format!("?page[size]={size}"));
    loop {
        let (names, meta) = page(operator, &query).await;
        assert!(names.len() <= size);
        seen.extend(names);
        if meta["has_more"] == false {
            return seen;
        }
        let after = meta["after"].as_str().unwrap();
        query = format!("?page%5Bsize%5D={size}&page%5Bafter%5D={after}");
    }
}

async fn backwards(operator: &Operator, size: usize) -> Vec<String> {
    let (mut seen, mut before) = (Vec::new(), "zzz".to_owned());
    loop {
        let query = format!("?page[before]={before}&page[size]={size}");
        let (names, meta) = page(operator, &query).await;
        seen.splice(0..0, names);
        if meta["has_more"] == false {
            return seen;
        }
        meta["before"].as_str().unwrap().clone_into(&mut before);
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused() {
    let world = stored().run().await;
    let operator = world.admin();
    for query in [
        "page[size]=0",
        "page[size]=101",
        "page[size]=x",
        "page[size]=",
        "page[limit]=1",
        "page[after]=%00",
    ] {
        let answer = operator.get(&format!("acme/connections/all?{query}")).await;
        assert_eq!(answer.faults(), (400, vec!["InvalidRequest".to_owned()]), "{query}");
    }
    assert_eq!(operator.get("acme/connections/all?page[size]=100&x=y").await.status, 200);
}
