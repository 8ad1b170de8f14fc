//! The canary of OAuth: tokens, codes and secrets that are found nowhere but where they belong.

use serde_json::json;

use crate::secrecy::spellings;
use crate::support::authorized::{OAUTH, through, world};
use crate::support::origin::Origin;
use crate::support::provider::{CLIENT_SECRET, Manner, Provider};
use crate::support::raw::Answer;
use crate::support::world::{Running, files_below};

/// What every token and code of the provider ends with, and what it is told to echo.
const MARK: &str = "-canary-3Zx9Lm2Pv7Qw";

fn wire(answer: &Answer) -> String {
    format!("{:?} {:?} {}", answer.headers, answer.trailers, answer.text())
}

/// Every journey of tokens, and what goes wrong on the way; gives all that was answered, but for
/// where a flow ends: that is the browser's, and the verification code in it is spent.
async fn journeys(provider: &Provider, origin: &Origin, server: &Running) -> Vec<String> {
    let mut told = Vec::new();
    server.register(provider).await;
    provider.set_expires_in(json!(1));
    server.authorize(provider, "mine").await;
    let lines = [
        format!("GET {OAUTH}/acme?name=mine"),
        format!("GET {OAUTH}/refresh/acme?name=mine"),
        format!("GET {OAUTH}/oauth/clients/acme"),
        "GET /api/services/zis/integrations/acme/connections/all".to_owned(),
        "GET /api/keyferry/v1/audit".to_owned(),
    ];
    for line in &lines {
        told.push(wire(&server.manage(line, None).await));
    }
    server.has_expired("mine").await;
    told.push(wire(&server.send(&through("mine")).await));
    provider.revoke_access_tokens();
    told.push(wire(&server.send(&through("mine")).await));
    let echo =
        format!("{{\"error\":\"x{MARK}\",\"error_description\":\"{CLIENT_SECRET} rt-1{MARK}\"}}");
    for status in [200, 302, 400, 500] {
        provider.next(Manner::Saying(status, "application/json", echo.clone()));
        told.push(wire(&server.manage(&lines[1], None).await));
    }
    provider.next(Manner::Silently);
    told.push(wire(&server.manage(&lines[1], None).await));
    told.push(wire(&server.manage(&lines[1], None).await));
    server.has_expired("mine").await;
    told.push(wire(&server.send(&through("mine")).await));
    provider.set_denial("access_denied", &format!("no{MARK}"));
    let denied = server.flow_through(provider, Running::flow("denied")).await;
    assert!(denied.contains("error=access_denied"), "{denied}");
    told.push(denied);
    for line in &lines {
        told.push(wire(&server.manage(line, None).await));
    }
    told.push(server.api("/metrics").await.text());
    assert!(!origin.seen().is_empty());
    told
}

#[tokio::test]
async fn no_token_code_or_secret_is_anywhere_but_where_it_belongs() {
    let provider = Provider::start().await;
    provider.set_mark(MARK);
    let (origin, server) = world(&provider, |world| {
        world.set("oauth.redact_tokens", "true").with("RUST_LOG", "trace")
    })
    .await;
    let mut told = journeys(&provider, &origin, &server).await;
    told.push(server.greeting.text());
    told.push(server.log.text());
    let world = server.killed().await;
    let kept = files_below(&world.path("data"));
    for secret in [MARK, CLIENT_SECRET] {
        for spelling in spellings(secret) {
            let shown = String::from_utf8_lossy(&spelling).into_owned();
            for text in &told {
                let found = memchr::memmem::find(text.as_bytes(), &spelling);
                let around = found.map(|at| text[at.saturating_sub(200)..at].to_owned());
                assert!(found.is_none(), "{shown} after {around:?}");
            }
            for (path, bytes) in &kept {
                let found = memchr::memmem::find(bytes, &spelling);
                assert!(found.is_none(), "{shown} is in {}", path.display());
            }
        }
    }
}
