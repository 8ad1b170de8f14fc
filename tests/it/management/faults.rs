//! Bodies that are no good: one answer lists everything that is wrong.

use serde_json::json;

use super::stored;
use crate::support::ask::stranger;

const PATH: &str = "acme/connections/bearer_token";

#[tokio::test]
async fn every_fault_of_a_body_is_listed() {
    let world = stored().run().await;
    let operator = world.admin();
    for (kind, body, faults) in [
        ("bearer_token", r"{}", "InvalidRequest InvalidRequest InvalidRequest"),
        (
            "bearer_token",
            r#"{"name": "ab", "allowed_domain": "https://a.com", "token": "a\nb"}"#,
            "InvalidName InvalidAllowedDomain InvalidCredential",
        ),
        (
            "bearer_token",
            r#"{"name": "", "allowed_domain": null, "token": 7}"#,
            "InvalidRequest InvalidRequest InvalidRequest",
        ),
        (
            "bearer_token",
            r#"{"name": "abc", "allowed_domain": "*.com", "token": "t", "extra": {"a": 1}}"#,
            "InvalidAllowedDomain InvalidRequest",
        ),
        (
            "bearer_token",
            r#"{"name": "abc", "n\u0061me": "abd", "allowed_domain": "a.com", "token": "t"}"#,
            "InvalidRequest",
        ),
        (
            "api_key",
            r#"{"name": "abc", "allowed_domain": "a.com", "api_key": " k", "header_name": "Cookie"}"#,
            "InvalidHeaderName InvalidCredential",
        ),
        (
            "api_key",
            r#"{"name": "abc", "allowed_domain": "a.com", "api_key": "k", "header_name": "x-zis-a"}"#,
            "InvalidHeaderName",
        ),
        (
            "basic_auth",
            r#"{"name": "abc", "allowed_domain": "1.2.3.4", "username": "a:b", "password": ""}"#,
            "InvalidAllowedDomain InvalidCredential InvalidRequest",
        ),
        ("bearer_token", "", "InvalidRequest"),
        ("bearer_token", "[]", "InvalidRequest"),
        ("bearer_token", "{\"name\": \"abc\",}", "InvalidRequest"),
        ("bearer_token", "{} {}", "InvalidRequest"),
        ("bearer_token", "{\"name\": \"\\ud800\"}", "InvalidRequest"),
        ("bearer_token", "{\"name\": \"a\nb\"}", "InvalidRequest"),
    ] {
        let answer = operator.write("POST", &format!("acme/connections/{kind}"), body).await;
        let faults = faults.split(' ').map(str::to_owned).collect();
        assert_eq!(answer.faults(), (400, faults), "{body} {}", answer.text());
    }
}

#[tokio::test]
async fn no_answer_and_no_log_shows_what_was_entered() {
    let world = stored().with("RUST_LOG", "trace").run().await;
    let operator = world.admin();
    for body in [
        r#"{"name": "hunter2 ", "allowed_domain": "hunter2:1", "token": "hunter2\n"}"#,
        r#"{"hunter2": "hunter2", "hunter2": 1}"#,
        r#"{"name": hunter2}"#,
        r#""hunter2""#,
        r#"{"name": "abc", "allowed_domain": "a.com", "token": {"hunter2": "hunter2"}}"#,
    ] {
        let answer = operator.write("POST", PATH, body).await;
        // A field's own name is the one thing that is said back.
        let text = answer.text().replace("hunter2: is", "");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let body = r#"{"name": "abc", "allowed_domain": "a.com", "token": "hunter2"}"#;
    assert_eq!(operator.write("POST", PATH, body).await.status, 201);
    assert!(!world.log.text().contains("hunter2"));
}

#[tokio::test]
async fn a_body_is_json_and_not_too_large() {
    let world = stored().run().await;
    let operator = world.admin();
    let post = || stranger(&format!("POST /api/services/zis/integrations/{PATH}"));
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json"] {
        let answer = operator.send(post().field("Content-Type", kind).body("{}")).await;
        assert_eq!(answer.faults(), (415, vec!["UnsupportedMediaType".to_owned()]), "{kind}");
    }
    assert_eq!(operator.send(post().body("{}")).await.status, 415);
    let json = || post().field("Content-Type", "Application/JSON ; charset=utf-8");
    assert_eq!(operator.send(json().body("{}")).await.status, 400);
    assert_eq!(operator.send(json()).await.status, 400);
    let large = |size: usize| format!("{{\"name\": \"{}\"}}", "a".repeat(size - 12));
    assert_eq!(operator.send(json().body(large(65_536))).await.status, 400);
    let too_large = operator.send(json().body(large(65_537))).await;
    assert_eq!(too_large.faults(), (413, vec!["BodyTooLarge".to_owned()]));
    let chunk = format!("11170\r\n{}\r\n0\r\n\r\n", " ".repeat(0x11170));
    assert_eq!(operator.send(json().chunks(&chunk)).await.status, 413);
}

#[tokio::test]
async fn an_integrations_name_follows_its_rule() {
    let world = stored().run().await;
    let operator = world.admin();
    for name in ["Acme", "a.b", "%20", &"a".repeat(65), "a%00b"] {
        let path = format!("{name}/connections/all");
        let answer = operator.get(&path).await;
        let title = "Specified integration is not valid".to_owned();
        assert_eq!(answer.fault(), (400, "InvalidIntegration".to_owned(), title), "{name}");
    }
    assert_eq!(operator.get("%ff/connections/all").await.status, 404);
    let empty = operator.get("nobody-knows_1t/connections/all").await;
    let none = json!({"after": "", "before": "", "has_more": false});
    assert_eq!((empty.status, &empty.json()["meta"]), (200, &none));
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_said_not_to_be() {
    let world = stored().run().await;
    let operator = world.admin();
    let family_b = operator.get("/api/services/zis/connections/oauth/nothing/acme/x/y").await;
    let expected = json!({"errors": [{"code": "1302", "detail": "Not found", "status": "404"}]});
    assert_eq!((family_b.status, family_b.json()), (404, expected));
    for path in ["/api", "/api/keyferry/v1/nothing", "/api/keyferry/v1/tokens/", "/docs/x"] {
        assert_eq!(operator.get(path).await.faults(), (404, vec!["NotFound".to_owned()]), "{path}");
    }
    for (line, allow) in [
        ("PUT /api/keyferry/v1/tokens", "GET,HEAD,POST"),
        ("POST /api/services/zis/integrations/acme/connections/all", "GET,HEAD"),
        (
            "PUT /api/services/zis/integrations/acme/connections/api_key/abc",
            "GET,HEAD,PATCH,DELETE",
        ),
        ("OPTIONS /api/keyferry/v1/keys", "GET,HEAD"),
    ] {
        let answer = operator.send(stranger(line)).await;
        assert_eq!((answer.status, answer.field("allow")), (405, allow), "{line}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn an_answer_has_the_requests_id() {
    let world = stored().run().await;
    let get = || stranger("GET /healthz");
    let operator = world.admin();
    let sane = operator.send(get().field("X-Request-Id", "a-B_9.x")).await;
    assert_eq!(sane.field("x-request-id"), "a-B_9.x");
    for odd in ["", "a b", "<x>", &"a".repeat(129)] {
        let answer = operator.send(get().field("X-Request-Id", odd)).await;
        assert!(uuid::Uuid::parse_str(answer.field("x-request-id")).is_ok(), "{odd:?}");
    }
}
