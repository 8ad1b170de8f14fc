//! The list of connections: its order, and what is done to several of them at once.

use serde_json::Value;

use super::{LIST, admin};
use crate::support::ask::ask;
use crate::support::console::Visitor;
use crate::support::origin::{Origin, Seen, json_answer, ok};
use crate::support::soon;
use crate::support::world::{Running, World};

const BULK: &str = "/console/i/acme/connections/bulk";

async fn running(origin: &Origin, names: &[&str]) -> Running {
    let running = World::new(origin).keeping().set("api.requests_per_minute", "0").run().await;
    for name in names {
        running.keep_bearer(name, "api.example.test", &format!("secret-of-{name}")).await;
    }
    running
}

/// The names of the connections in a page of the list, from the first to the last.
fn names(page: &str) -> Vec<&str> {
    let body = page.split_once("<tbody>").map_or("", |(_, body)| body);
    let rows = body.split("<th scope=\"row\">").skip(1);
    rows.map(|row| row.split_once("\">").unwrap().1.split('<').next().unwrap()).collect()
}

/// The address of the link of a page that has these words.
fn link<'p>(page: &'p str, words: &str) -> String {
    let (before, _) = page.split_once(&format!("\">{words}</a>")).unwrap();
    let address: &'p str = before.rsplit_once("href=\"").unwrap().1;
    address.replace("&amp;", "&")
}

#[tokio::test]
async fn the_list_is_sorted_by_its_columns_and_keeps_what_is_looked_for() {
    let origin = Origin::answering(&["http/1.1"], |seen: &Seen| {
        let fails = seen.target.starts_with("/no");
        if fails { json_answer(503, &Value::Null) } else { ok("ok") }
    });
    let origin = origin.await;
    let running = running(&origin, &["anna", "bert", "cora"]).await;
    let visitor = running.sign_in(&admin(&running).await).await;
    // 1. Of bert all requests fail, of cora a half, of anna none; cora is used most.
    for (connection, path) in [
        ("anna", "yes"),
        ("bert", "no"),
        ("cora", "yes"),
        ("cora", "no"),
        ("cora", "yes"),
        ("cora", "no"),
    ] {
        let line = format!("GET https://api.example.test/{path}");
        running.send(&ask(&line).field("X-Zis-Connection", connection)).await;
    }
    let sorted = async |query: &str| visitor.get(&format!("{LIST}?{query}")).await.text();
    soon(async { while !sorted("q=cora").await.contains("title=\"2 of the last 4") {} }).await;
    // 2. Each order, and the opposite one; what is equal is in the order of names.
    for (sort, wanted) in [
        ("", ["anna", "api", "bert", "cora"]),
        ("name", ["anna", "api", "bert", "cora"]),
        ("-name", ["cora", "bert", "api", "anna"]),
        ("-failed", ["bert", "cora", "anna", "api"]),
        ("failed", ["anna", "api", "cora", "bert"]),
        ("-requests", ["cora", "anna", "bert", "api"]),
        ("state", ["bert", "cora", "anna", "api"]),
        ("-state", ["api", "anna", "bert", "cora"]),
        ("nonsense", ["anna", "api", "bert", "cora"]),
    ] {
        assert_eq!(names(&sorted(&format!("sort={sort}")).await), wanted, "{sort}");
    }
    // 3. The head of the column says so, and leads on with what is looked for.
    let page = sorted("q=example&type=bearer_token&sort=-used").await;
    assert!(page.contains("class=\"medium\" aria-sort=\"descending\""), "{page}");
    assert_eq!(page.matches("aria-sort").count(), 1);
    assert_eq!(link(&page, "Last used"), format!("{LIST}?q=example&type=bearer_token&sort=used"));
    assert_eq!(link(&page, "Failed"), format!("{LIST}?q=example&type=bearer_token&sort=-failed"));
    assert_eq!(link(&page, "Name"), format!("{LIST}?q=example&type=bearer_token"));
    assert!(page.contains("<option value=\"-used\" selected>"), "{page}");
}

#[tokio::test]
async fn pages_go_on_in_the_order_that_is_looked_at() {
    let origin = Origin::start().await;
    let mut world = World::new(&origin).keeping().set("api.requests_per_minute", "0");
    for number in 0..130 {
        world = world.bearer(&format!("acme.c{number:03}"), "api.example.test", "t0k3n");
    }
    let running = world.run().await;
    let visitor = running.sign_in(&admin(&running).await).await;
    running.send(&ask("GET https://api.example.test/").field("X-Zis-Connection", "c129")).await;
    let list = async |query: &str| visitor.get(query).await.text();
    let first = format!("{LIST}?q=c&sort=-requests");
    soon(async { while names(&list(&first).await)[0] != "c129" {} }).await;
    let page = list(&first).await;
    assert_eq!((names(&page).len(), names(&page)[1], names(&page)[99]), (100, "c000", "c098"));
    let page = list(&link(&page, "Next")).await;
    assert_eq!((names(&page).len(), names(&page)[0], names(&page)[29]), (30, "c099", "c128"));
    assert!(page.contains("aria-sort=\"descending\""), "{page}");
    let page = list(&link(&page, "Previous")).await;
    assert_eq!((names(&page).len(), names(&page)[0]), (100, "c129"));
}

/// The events about these connections, from the oldest to the newest: what was done to which.
async fn events(running: &Running) -> Vec<(String, String)> {
    let page = running.manage("GET /api/keyferry/v1/events?page[size]=100", None).await.json();
    let events = page["events"].as_array().unwrap().iter().rev();
    let text = |event: &Value, member: &str| event[member].as_str().unwrap().to_owned();
    let all = events.map(|event| (text(event, "kind"), text(event, "subject")));
    all.filter(|(kind, _)| matches!(kind.as_str(), "connection.update" | "connection.delete"))
        .collect()
}

/// Sends the form below the list, and gives the page.
async fn send(
    visitor: &Visitor,
    act: &str,
    names: &[&str],
    more: &[(&str, &str)],
) -> (u16, String) {
    let mut fields = vec![("act", act), ("at", "q=a&sort=-used&next=//evil.example")];
    fields.extend(names.iter().map(|name| ("connection", *name)));
    fields.extend(more);
    let answer = visitor.post(BULK, &fields).await;
    let said =
        if answer.status == 303 { answer.field("location").to_owned() } else { answer.text() };
    (answer.status, said)
}

#[tokio::test]
async fn several_connections_are_changed_at_once_when_somebody_has_confirmed_it() {
    let origin = Origin::start().await;
    let running = running(&origin, &["anna", "bert", "cora"]).await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let page = visitor.get(LIST).await.text();
    assert_eq!(page.matches("form=\"bulk\"").count(), 3, "none for what is declared: {page}");
    // 1. Nothing is selected, or nothing confirmed: nothing is done.
    assert_eq!(send(&visitor, "disable", &[], &[("sure", "yes")]).await.0, 400);
    let (status, page) = send(&visitor, "disable", &["anna", "bert"], &[]).await;
    assert!(status == 200 && page.contains("Disable 2 connections?"), "{page}");
    assert_eq!(page.matches("type=\"hidden\" name=\"connection\"").count(), 2);
    assert_eq!(send(&visitor, "forget", &["anna"], &[("sure", "yes")]).await.0, 400);
    assert_eq!(events(&running).await, []);
    // 2. Each that is changed is one event; what is so already is none.
    let sure = [("sure", "yes")];
    let done = send(&visitor, "disable", &["bert", "anna", "bert"], &sure).await;
    assert_eq!(done, (303, format!("{LIST}?q=a&sort=-used&done=all-disabled")));
    let use_it = async |name: &str| {
        running.send(&ask("GET https://api.example.test/").field("X-Zis-Connection", name)).await
    };
    assert_eq!(use_it("anna").await.code(), "ConnectionForbidden");
    assert_eq!(use_it("cora").await.status, 200);
    assert_eq!(send(&visitor, "disable", &["anna", "cora"], &sure).await.0, 303);
    let changed = |name: &str| ("connection.update".to_owned(), name.to_owned());
    assert_eq!(events(&running).await, ["anna", "bert", "cora"].map(changed));
    assert_eq!(send(&visitor, "enable", &["anna"], &sure).await.0, 303);
    assert_eq!(use_it("anna").await.status, 200);
    // 3. What can't be changed is named, with the reason, and keeps no other.
    let (status, page) = send(&visitor, "disable", &["api", "anna", "nobody"], &sure).await;
    assert!(status == 200 && page.contains("2 connections not disabled"), "{page}");
    for said in ["<strong>api</strong>: The operator of the server", "<strong>nobody</strong>: "] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(page.contains("1 connection disabled"), "{page}");
    // 4. What is deleted is counted first.
    let (status, page) = send(&visitor, "delete", &["anna", "bert"], &sure).await;
    assert!(status == 400 && page.contains("Must be 2, so that nothing goes by mistake"), "{page}");
    let counted = [("sure", "yes"), ("count", " 2 ")];
    assert_eq!(send(&visitor, "delete", &["anna", "bert"], &counted).await.0, 303);
    assert_eq!(names(&visitor.get(LIST).await.text()), ["api", "cora"]);
    let deleted = |name: &str| ("connection.delete".to_owned(), name.to_owned());
    assert_eq!(events(&running).await[5..], ["anna", "bert"].map(deleted));
    // 5. Who may not write is offered none of it, and refused.
    let (_, reader) = running.keep_token("reader", &["read"]).await;
    let reader = running.sign_in(&reader).await;
    assert!(!reader.get(LIST).await.text().contains("checkbox"));
    assert_eq!(send(&reader, "disable", &["cora"], &sure).await.0, 403);
    // 6. A form of another session counts for nothing.
    let foreign = crate::support::console::form(
        &format!("POST {BULK}"),
        &[("act", "disable"), ("connection", "cora"), ("sure", "yes"), ("mark", "x")],
    );
    assert_eq!(visitor.send(foreign).await.status, 403);
    assert_eq!(use_it("cora").await.code(), "ConnectionForbidden");
}
