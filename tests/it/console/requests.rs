//! A request's page, the connections that need somebody, and the list of what requests did.

use serde_json::json;

use super::{LIST, admin};
use crate::support::ask::ask;
use crate::support::console::Visitor;
use crate::support::origin::{Origin, Seen, json_answer, ok};
use crate::support::soon;
use crate::support::world::{Running, World};

const PAGE: &str = "/console/i/acme/requests";
const ACTIVITY: &str = "/console/i/acme/activity";

/// An origin that refuses the key below `/no`, and answers 200 elsewhere.
async fn origin() -> Origin {
    let answer = |seen: &Seen| {
        if seen.target.starts_with("/no") { json_answer(401, &json!({})) } else { ok("ok") }
    };
    Origin::answering(&["http/1.1"], answer).await
}

/// A server with the declared connection `api` and the kept ones `crm` and `shop`.
async fn running(origin: &Origin) -> Running {
    let world = World::new(origin).keeping().set("api.requests_per_minute", "0");
    let running = world.run().await;
    running.keep_bearer("crm", "api.example.test", "canary-of-crm").await;
    running.keep_bearer("shop", "api.example.test", "canary-of-shop").await;
    running
}

/// Sends a request by a connection; gives its id once its page is there.
async fn entered(running: &Running, visitor: &Visitor, line: &str, connection: &str) -> String {
    let sent = running.send(&ask(line).field("X-Zis-Connection", connection)).await;
    let id = sent.field("x-keyferry-request-id").to_owned();
    soon(async { while visitor.get(&format!("{PAGE}/{id}")).await.status == 404 {} }).await;
    id
}

#[tokio::test]
async fn a_requests_page_tells_the_cause_who_must_act_and_where() {
    let origin = origin().await;
    let running = running(&origin).await;
    let visitor = running.sign_in(&admin(&running).await).await;
    // 1. The API refuses the key.
    let line = "GET https://api.example.test/no/more?q=canary";
    let id = entered(&running, &visitor, line, "crm").await;
    let page = visitor.get(&format!("{PAGE}/{id}")).await.text();
    for said in [
        &format!("<h1>Request {id}</h1>"),
        "The API answered 401.",
        "the API refuses the key",
        "Who must act: an operator of Keyferry.",
        "href=\"/console/i/acme/connections/bearer_token/crm#replace\"",
        "href=\"/console/i/acme/try?connection=crm&amp;method=GET&amp;url=https%3A%2F%2Fapi.example.test%2Fno%2Fmore&amp;caller=runner\"",
        "href=\"/console/i/acme/activity?connection=crm&amp;status=401\"",
        "https://api.example.test",
        "runner",
        "Where the time went",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(!page.contains("canary"), "{page}");
    // 2. The host is not in the allowed domain, so that it was never sent.
    let line = "GET https://elsewhere.example.test/v1";
    let refused = entered(&running, &visitor, line, "crm").await;
    let page = visitor.get(&format!("{PAGE}/{refused}")).await.text();
    for said in [
        "Keyferry answered 403: DomainNotAllowed.",
        "docs/reference/errors.md#domainnotallowed",
        "by the rule <code>domain</code>",
        "href=\"/console/i/acme/connections/new\"",
        "href=\"/console/i/acme/connections/bearer_token/crm\"",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    // 3. The id leads there from everywhere, and one of nobody says so.
    for path in [
        format!("{ACTIVITY}?id={id}"),
        format!("/console/go?integration={id}"),
        format!("/console/i/other/requests/{id}"),
    ] {
        let answer = visitor.get(&path).await;
        let there = format!("{PAGE}/{id}");
        assert_eq!((answer.status, answer.field("location")), (303, there.as_str()), "{path}");
    }
    for path in [format!("{PAGE}/00000000-1"), "/console/go?integration=00000000-1".to_owned()] {
        let page = visitor.get(&path).await;
        assert!(page.status == 404 && page.text().contains("No such request"), "{path}");
    }
    let page = visitor.get(&format!("{ACTIVITY}?id=nonsense")).await;
    assert!(page.status == 400 && page.text().contains("Request id: must be"), "{page:?}");
    // 4. So does what was tried, and the connection's own page.
    let fields = [
        ("act", "send"),
        ("method", "GET"),
        ("connection", "crm"),
        ("url", "https://api.example.test/v1"),
    ];
    let page = visitor.post("/console/i/acme/try", &fields).await.text();
    assert!(page.contains(&format!("Its entry: <a href=\"{PAGE}/")), "{page}");
    let page = visitor.get(&format!("{LIST}/bearer_token/crm")).await.text();
    assert!(page.contains("Last failures") && page.contains(&format!("{PAGE}/{id}")), "{page}");
}

#[tokio::test]
async fn the_list_begins_with_the_connections_that_need_somebody() {
    let origin = origin().await;
    let running = running(&origin).await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let page = visitor.get(LIST).await.text();
    assert!(!page.contains("Needs attention"), "{page}");
    entered(&running, &visitor, "GET https://api.example.test/no/1", "crm").await;
    let id = entered(&running, &visitor, "GET https://api.example.test/no/2", "crm").await;
    entered(&running, &visitor, "GET https://api.example.test/v1", "shop").await;
    // 1. Since when, how much, why, who, and the way to the cause.
    let page = visitor.get(LIST).await.text();
    let (attention, list) = page.split_once("role=\"search\"").unwrap();
    for said in [
        "Needs attention",
        "failing since",
        "all of 2 requests, mostly 401: the API refuses the key",
        "An operator of Keyferry must act.",
        &format!("href=\"{PAGE}/{id}\""),
    ] {
        assert!(attention.contains(said), "{said}: {attention}");
    }
    assert!(!attention.contains("bearer_token/shop"), "{attention}");
    assert!(list.contains(&format!("<a href=\"{PAGE}/{id}\">401</a>")), "{list}");
    // 2. They can be looked for; a search does not begin with them.
    let page = visitor.get(&format!("{LIST}?state=attention")).await.text();
    assert!(page.contains("1 of 3") && !page.contains("id=\"attention\""), "{page}");
    // 3. Where one chooses among integrations they are told of first as well.
    let other = json!({"name": "box", "allowed_domain": "x.example.test", "token": "t0k3n"});
    let line = "POST /api/services/zis/integrations/other/connections/bearer_token";
    assert_eq!(running.manage(line, Some(other)).await.status, 201);
    let page = visitor.get("/console").await.text().replace("<wbr>", "");
    assert!(page.contains("acme.crm</a>") && page.contains(&format!("{PAGE}/{id}")), "{page}");
    // The switch offers the integrations that are known, and no field to type one.
    let page = visitor.get(LIST).await.text();
    assert!(page.contains("<option value=\"other\">") && !page.contains("<input id=\"integration"));
}

#[tokio::test]
async fn who_reaches_some_connections_sees_the_requests_of_those() {
    let origin = origin().await;
    let running = running(&origin).await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let of_crm = entered(&running, &visitor, "GET https://api.example.test/no", "crm").await;
    let of_api = entered(&running, &visitor, "GET https://api.example.test/no", "api").await;
    // 1. A token for one connection, which may read and change it and nothing else.
    let some = json!({
        "name": "some", "integration": "acme", "scopes": ["read", "audit"], "connections": ["crm"],
    });
    let some = running.manage("POST /api/keyferry/v1/tokens", Some(some)).await.json();
    let bound = running.sign_in(some["token"]["secret"].as_str().unwrap()).await;
    assert_eq!(bound.get(&format!("{PAGE}/{of_crm}")).await.status, 200);
    assert_eq!(bound.get(&format!("{PAGE}/{of_api}")).await.status, 404);
    let list = bound.get(LIST).await.text();
    assert!(list.contains(&of_crm) && !list.contains(&of_api), "{list}");
    for path in [ACTIVITY.to_owned(), format!("{ACTIVITY}/export?format=csv")] {
        let text = bound.get(&path).await.text();
        assert!(text.contains(&of_crm) && !text.contains(&of_api), "{path}: {text}");
    }
    // 2. An auditor is led to no page that is closed to them.
    let (_, auditor) = running.keep_token("an auditor", &["audit"]).await;
    let auditor = running.sign_in(&auditor).await;
    let page = auditor.get(&format!("{PAGE}/{of_crm}")).await;
    assert_eq!(page.status, 200);
    for absent in ["/connections/", "/try", "/tokens"] {
        assert!(!page.text().contains(&format!("href=\"/console/i/acme{absent}")), "{absent}");
    }
    // 3. Who may not read what requests did is told of no id.
    let (_, reader) = running.keep_token("reader", &["read"]).await;
    let reader = running.sign_in(&reader).await;
    for path in [format!("{PAGE}/{of_crm}"), format!("{ACTIVITY}/export?format=csv")] {
        assert_eq!(reader.get(&path).await.status, 403, "{path}");
    }
    let list = reader.get(LIST).await.text();
    assert!(list.contains("Needs attention") && !list.contains(&of_crm), "{list}");
}

#[tokio::test]
async fn requests_are_found_by_what_they_did_and_downloaded() {
    let origin = origin().await;
    let running = running(&origin).await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let well = entered(&running, &visitor, "GET https://api.example.test/v1/a", "crm").await;
    let rejected = entered(&running, &visitor, "POST https://api.example.test/no/b", "crm").await;
    let refused = entered(&running, &visitor, "GET https://evil.example.test/c", "shop").await;
    // 1. Each filter selects some.
    for (filter, found) in [
        ("", [true, true, true]),
        ("code=DomainNotAllowed", [false, false, true]),
        ("status=4xx", [false, true, true]),
        ("status=401", [false, true, false]),
        ("decision=failed", [false, true, true]),
        ("decision=failed&status=2xx", [false, false, false]),
        ("method=post", [false, true, false]),
        ("path=%2Fv1", [true, false, false]),
        ("connection=shop", [false, false, true]),
        ("caller=nobody", [false, false, false]),
        ("since=2020-01-01T00:00", [true, true, true]),
        ("until=2020-01-01T00:00", [false, false, false]),
    ] {
        let page = visitor.get(&format!("{ACTIVITY}?{filter}")).await;
        assert_eq!(page.status, 200, "{filter}");
        let seen = [&well, &rejected, &refused].map(|id| page.text().contains(id.as_str()));
        assert_eq!(seen, found, "{filter}");
    }
    // 2. The charts tell the classes apart, and a code leads to its requests.
    let page = async {
        loop {
            let page = visitor.get(&format!("{ACTIVITY}?caller=runner")).await.text();
            if page.contains("1 answered 4xx") {
                return page;
            }
        }
    };
    let page = soon(page).await;
    for said in ["1 answered well", "1 answered 4xx", "1 refused or failed"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let link = "href=\"/console/i/acme/activity?caller=runner&amp;code=DomainNotAllowed\"";
    assert!(page.contains(link), "{page}");
    // 3. What is wrong is said, and the filters stay.
    for (filter, said) in [
        ("status=many", "Status: must be a status such as 404"),
        ("since=soon", "Since: must be a time"),
        ("path=v1", "Path: must begin with a slash"),
    ] {
        let page = visitor.get(&format!("{ACTIVITY}?{filter}")).await;
        assert!(page.status == 400 && page.text().contains(said), "{filter}: {page:?}");
    }
    // 4. The same as files.
    let csv = visitor.get(&format!("{ACTIVITY}/export?format=csv&code=DomainNotAllowed")).await;
    let text = csv.text();
    let lines: Vec<_> = text.split("\r\n").collect();
    assert!(lines.len() == 3 && lines[0].starts_with("time,request_id,caller"), "{text}");
    assert!(lines[1].contains(&refused) && lines[2].is_empty(), "{text}");
    assert_eq!(csv.field("content-disposition"), "attachment; filename=\"requests.csv\"");
    let lines = visitor.get(&format!("{ACTIVITY}/export?format=ndjson")).await.text();
    let ids = lines.lines().map(|line| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        entry["request_id"].as_str().unwrap().to_owned()
    });
    assert_eq!(ids.collect::<Vec<_>>(), [refused, rejected, well]);
    assert_eq!(visitor.get(&format!("{ACTIVITY}/export")).await.status, 404);
}

#[tokio::test]
async fn charts_follow_the_filters_and_their_parts_lead_on() {
    let origin = origin().await;
    let running = running(&origin).await;
    let visitor = running.sign_in(&admin(&running).await).await;
    for (line, connection) in [
        ("GET https://api.example.test/v1/a", "crm"),
        ("GET https://api.example.test/v1/b", "crm"),
        ("POST https://api.example.test/no/b", "crm"),
        ("GET https://evil.example.test/v2", "shop"),
    ] {
        entered(&running, &visitor, line, connection).await;
    }
    let charts = async |query: &str| {
        let page = visitor.get(&format!("{ACTIVITY}?{query}")).await.text();
        page.split_once("<h2 id=\"requests\">").unwrap().0.to_owned()
    };
    soon(async { while !charts("").await.contains("1 refused or failed") {} }).await;
    // 1. Over time: what was counted ahead where that tells all, else the entries.
    for (query, said, unsaid) in [
        ("", "2 answered well, 1 answered 4xx, 1 refused or failed", "0 answered"),
        ("decision=refuse", "1 refused or failed", "answered well,"),
        ("decision=failed", "1 answered 4xx, 1 refused or failed", "answered well,"),
        ("code=DomainNotAllowed", "1 refused or failed", "answered 4xx,"),
        ("method=POST", "1 answered 4xx", "refused or failed, at most"),
        ("status=401", "1 answered 4xx", "refused or failed, at most"),
        ("path=/v1/", "2 answered well", "refused or failed, at most"),
        ("of=all&connection=shop", "1 refused or failed", "answered well, at most"),
    ] {
        let drawn = charts(query).await;
        let told = drawn.split("aria-label=\"Requests: ").nth(1).unwrap_or_default();
        let told = told.split('"').next().unwrap();
        // The requests may have been sent in two minutes, which have a bar each.
        let is_told = said.split(", ").all(|part| told.contains(part));
        assert!(is_told && !told.contains(unsaid), "{query}: {told}: {drawn}");
        assert!(drawn.contains(" in a minute"), "{query}: {drawn}");
    }
    // 2. By what they have in common, each with its values and the way to its requests.
    for (query, words, link) in [
        (
            "by=method",
            "GET: 3 requests, of these 2 answered well, 1 refused",
            "by=method&amp;method=GET",
        ),
        ("by=status", "401: 1 request, of these 1 answered 4xx", "by=status&amp;status=401"),
        ("by=code", "DomainNotAllowed: 1 request, of", "by=code&amp;code=DomainNotAllowed"),
        ("by=code", "2xx: 2 requests, of these 2", "by=code&amp;status=2xx&amp;decision=allow"),
        ("by=path", "/v1/: 2 requests", "by=path&amp;path=%2Fv1%2F"),
        ("by=path&path=/v1/", "/v1/a: 1 request", "by=path&amp;path=%2Fv1%2Fa"),
        (
            "by=method&connection=crm",
            "GET: 2 requests",
            "connection=crm&amp;by=method&amp;method=GET",
        ),
    ] {
        let drawn = charts(query).await;
        assert!(drawn.contains(words), "{query}: {words}: {drawn}");
        assert!(drawn.contains(&format!("href=\"{ACTIVITY}?{link}\"")), "{link}: {drawn}");
        assert!(!drawn.contains("Time until"), "{query}: {drawn}");
    }
    // 3. A bar leads to its part of the time, whose list has its requests.
    let drawn = charts("connection=crm").await;
    let link = drawn.split("href=\"").find(|link| link.contains("since=")).unwrap();
    let link = link.split('"').next().unwrap().replace("&amp;", "&");
    assert!(link.contains("connection=crm&since=20") && link.contains("&until=20"), "{link}");
    let page = visitor.get(&link).await.text();
    assert!(page.contains("<strong>POST</strong>") && !page.contains("evil"), "{page}");
    // 4. Who reaches some connections sees the charts of those alone.
    let some = json!({
        "name": "some", "integration": "acme", "scopes": ["audit"], "connections": ["shop"],
    });
    let some = running.manage("POST /api/keyferry/v1/tokens", Some(some)).await.json();
    let bound = running.sign_in(some["token"]["secret"].as_str().unwrap()).await;
    let page = bound.get(&format!("{ACTIVITY}?by=method")).await.text();
    assert!(
        page.contains("GET: 1 request, of these 1 refused") && !page.contains("POST:"),
        "{page}"
    );
}

#[tokio::test]
async fn events_are_found_by_time_downloaded_and_checked() {
    let origin = origin().await;
    let running = running(&origin).await;
    let visitor = running.sign_in(&admin(&running).await).await;
    let path = "/console/i/acme/events";
    // 1. By time.
    let page = visitor.get(&format!("{path}?since=2020-01-01T00:00&until=2099-01-01T00:00")).await;
    assert!(page.status == 200 && page.text().contains("connection.create"), "{page:?}");
    let page = visitor.get(&format!("{path}?until=2020-01-01T00:00")).await.text();
    assert!(page.contains("No event is like that"), "{page}");
    let faulty = visitor.get(&format!("{path}?since=soon")).await;
    assert!(faulty.status == 400 && faulty.text().contains("Since: must be a time"), "{faulty:?}");
    // 2. As a file.
    let file = visitor.get(&format!("{path}/export?kind=connection.create")).await;
    assert_eq!(file.field("content-disposition"), "attachment; filename=\"events.ndjson\"");
    let text = file.text();
    let kinds = text.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["kind"].as_str().unwrap().to_owned()
    });
    assert_eq!(kinds.collect::<Vec<_>>(), ["connection.create"; 2]);
    // 3. The chain, also from the head of an earlier check.
    let page = visitor.get(&format!("{path}/check")).await.text();
    assert!(page.contains("nothing was removed, moved or edited"), "{page}");
    let page = visitor.get(&format!("{path}/check?head=nonsense")).await.text();
    assert!(page.contains("role=\"alert\""), "{page}");
    // 4. Who reaches one integration alone is not led to the chain of all.
    let (_, auditor) = running.keep_token("an auditor", &["audit"]).await;
    let auditor = running.sign_in(&auditor).await;
    assert!(!auditor.get(path).await.text().contains("/events/check"));
    assert_eq!(auditor.get(&format!("{path}/check")).await.status, 403);
}
