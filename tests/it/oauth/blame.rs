//! A connection whose tokens are not refreshed says who must act, wherever somebody looks: its
//! caller, the API, the log, the figures, the console.

use serde_json::{Value, json};

use crate::support::authorized::{OAUTH, through, world};
use crate::support::origin::Origin;
use crate::support::provider::{Manner, Provider};
use crate::support::raw::{Answer, refused};
use crate::support::soon;
use crate::support::world::Running;

/// A server whose connection `acme.mine` has an expired token, and a provider that says this.
async fn failing(provider: &Provider, status: u16, body: &str) -> (Origin, Running) {
    let (origin, server) = world(provider, |world| world.set("api.requests_per_minute", "0")).await;
    server.register(provider).await;
    provider.set_expires_in(json!(1));
    server.authorize(provider, "mine").await;
    server.has_expired("mine").await;
    provider.always(Manner::Saying(status, "application/json", body.to_owned()));
    (origin, server)
}

/// The one who must act upon a request, and why, by its entry, the list of entries and the log,
/// which agree; and by the health of its connection.
async fn blamed(server: &Running, answer: &Answer) -> (Value, String) {
    let id = answer.field("x-keyferry-request-id");
    let (admin, path) = (server.admin(), format!("/api/keyferry/v1/requests/{id}"));
    soon(async { while admin.get(&path).await.status != 200 {} }).await;
    let request = admin.get(&path).await.json()["request"].clone();
    let list = admin.get("/api/keyferry/v1/requests?connection=mine").await.json();
    assert_eq!(
        (&list["entries"][0]["request_id"], &list["entries"][0]["who"]),
        (&json!(id), &request["who"])
    );
    assert_eq!(server.log.entry(|it| it["request_id"] == id).await["who"], request["who"]);
    let health = admin.get("/api/keyferry/v1/health?connection=mine").await.json();
    assert_eq!(health["connections"][0]["who"], request["who"], "{health}");
    (request["who"].clone(), request["cause"].as_str().unwrap().to_owned())
}

async fn console_page(server: &Running) -> String {
    let token = tokio::fs::read_to_string(server.world.path("data/admin.token")).await.unwrap();
    let visitor = server.sign_in(token.trim()).await;
    visitor.get("/console/i/acme/connections/oauth/mine").await.text()
}

#[tokio::test]
async fn a_client_that_is_refused_is_the_operators_to_act_on() {
    let provider = Provider::start().await;
    let body = r#"{"error":"BAD_CLIENT_ID","error_description":"hunter2 of acme"}"#;
    let (_origin, server) = failing(&provider, 401, body).await;
    // 1. The caller is told who must act, and none of the provider's words.
    let answer = server.send(&through("mine")).await;
    assert_eq!(answer.refusal(), refused(502, "TokenEndpointFailed"));
    assert!(answer.text().contains("the operator must act"), "{}", answer.text());
    assert!(!answer.text().contains("BAD_CLIENT_ID") && !answer.text().contains("hunter"));
    let (who, cause) = blamed(&server, &answer).await;
    assert_eq!(who, "operator");
    assert!(cause.starts_with("id.example.test: "), "{cause}");
    // 2. The API tells it of the connection, and in the list.
    let shown = server.authorized("mine").await;
    let failure = &shown["refresh_failure"];
    assert_eq!(
        (&failure["who_must_act"], &failure["code"]),
        (&json!("operator"), &json!("BAD_CLIENT_ID"))
    );
    assert!(failure["since"].as_str().unwrap().ends_with('Z'), "{failure}");
    assert_eq!(shown.get("needs_reauthorization"), None);
    let line = "GET /api/services/zis/integrations/acme/connections/all";
    let listed = server.manage(line, None).await.json();
    assert_eq!(&listed["oauth"][0]["refresh_failure"], failure, "{listed}");
    // 3. The log, for operators.
    let line = server.log.message("tokens were not refreshed").await;
    assert_eq!(line["who"], "operator", "{line}");
    assert!(line["why"].as_str().unwrap().contains("status 401, code BAD_CLIENT_ID"), "{line}");
    // 4. The figures: the provider was asked once, however many requests there were.
    for _again in 0..5 {
        assert_eq!(
            server.send(&through("mine")).await.refusal(),
            refused(502, "TokenEndpointFailed")
        );
    }
    let denied = "keyferry_oauth_refreshes_total{outcome=\"denied\",cause=\"use\"}";
    assert!(server.metric(denied).await >= 1.0);
    assert_eq!(provider.asked(), 2);
    // 5. The console.
    let page = console_page(&server).await;
    assert!(page.contains("Who must act") && page.contains("the operator must act"), "{page}");
    assert!(page.contains("BAD_CLIENT_ID"), "{page}");
    assert!(!page.contains("hunter") && !server.log.text().contains("hunter"));
    // 6. Once it has worked, nothing is left of it.
    provider.always(Manner::Well);
    provider.set_expires_in(json!(3600));
    let line = format!("GET {OAUTH}/refresh/acme?name=mine");
    let renewed = server.manage(&line, None).await;
    assert_eq!((renewed.status, renewed.json().get("refresh_failure")), (200, None), "{renewed:?}");
    assert_eq!(server.send(&through("mine")).await.status, 200);
}

#[tokio::test]
async fn a_provider_that_fails_is_waited_for_by_nobody() {
    let provider = Provider::start().await;
    let (_origin, server) = failing(&provider, 503, r#"{"error":"invalid_grant"}"#).await;
    let answer = server.send(&through("mine")).await;
    assert_eq!(answer.refusal(), refused(502, "TokenEndpointFailed"));
    assert!(answer.text().contains("try again"), "{}", answer.text());
    let (who, cause) = blamed(&server, &answer).await;
    assert_eq!(who, "retry");
    assert!(cause.starts_with("id.example.test: ") && cause.ends_with("503"), "{cause}");
    let shown = server.authorized("mine").await;
    assert_eq!(shown["refresh_failure"]["who_must_act"], "retry", "{shown}");
    assert!(console_page(&server).await.contains("nobody need act"));
}

#[tokio::test]
async fn a_grant_that_is_dead_is_a_users_to_act_on() {
    let provider = Provider::start().await;
    let body = r#"{"status":"BAD_REFRESH_TOKEN","message":"hunter2"}"#;
    let (_origin, server) = failing(&provider, 400, body).await;
    let answer = server.send(&through("mine")).await;
    assert_eq!(answer.refusal(), refused(502, "ReauthorizationNeeded"));
    assert_eq!(blamed(&server, &answer).await.0, "user");
    let shown = server.authorized("mine").await;
    let failure = &shown["refresh_failure"];
    assert_eq!(
        (&failure["who_must_act"], &failure["code"]),
        (&json!("user"), &json!("BAD_REFRESH_TOKEN"))
    );
    assert_eq!(shown["reauthorization_reason"], "invalid_grant");
    let line =
        server.log.message("the connection needs to be authorized again: start a flow for it");
    assert_eq!(line.await["code"], "BAD_REFRESH_TOKEN");
    let page = console_page(&server).await;
    assert!(page.contains("authorize the connection again"), "{page}");
    assert!(page.contains("BAD_REFRESH_TOKEN") && !page.contains("hunter"), "{page}");
}
