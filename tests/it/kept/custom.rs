//! Custom connections that are kept: over restarts, replaced, and edited by hand.

use serde_json::{Value, json};

use super::tampering::database;
use crate::support::ask::{Ask, ask};
use crate::support::origin::{Origin, ok};
use crate::support::raw::refused;
use crate::support::world::{Running, World, files_below};

pub(super) const TYPED: &str = "/api/keyferry/v1/integrations/acme/connections";

const SECRET: &str = "canary-custom-6Yx3";

fn bot() -> Value {
    json!({
        "type": "custom", "name": "bot", "allowed_domains": ["api.example.test"],
        "secrets": {"token": SECRET},
        "inject": [{"in": "path", "placeholder": "BOT-KEYFERRY", "value": "bot{token}"}],
    })
}

async fn server(origin: &Origin) -> Running {
    let server = World::new(origin).pin("evil.example.test", origin).keeping().run().await;
    let answer = server.manage(&format!("POST {TYPED}"), Some(bot())).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    server
}

fn get(path: &str) -> Ask {
    ask(&format!("GET https://api.example.test{path}")).field("X-Zis-Connection", "bot")
}

#[tokio::test]
async fn a_custom_connection_is_kept_and_its_secret_stands_nowhere_else() {
    let origin = Origin::start().await;
    let server = server(&origin).await;
    assert_eq!(server.send(&get("/BOT-KEYFERRY/getMe")).await.status, 200);
    let server = server.killed().await.with("RUST_LOG", "trace").run().await;
    assert_eq!(server.send(&get("/BOT-KEYFERRY/getMe")).await.status, 200);
    for seen in origin.seen() {
        assert_eq!(seen.target, format!("/bot{SECRET}/getMe"));
    }
    let told = format!("{} {}", server.log.text(), server.api("/metrics").await.text());
    let shown = server.manage(&format!("GET {TYPED}/bot"), None).await;
    let audit = server.manage("GET /api/keyferry/v1/audit", None).await;
    for text in [told, shown.text(), audit.text()] {
        assert!(!text.contains(SECRET));
    }
    for (path, content) in files_below(&server.world.path("data")) {
        let found = memchr::memmem::find(&content, SECRET.as_bytes());
        assert!(found.is_none(), "{}", path.display());
    }
}

/// Each of these aims the secret elsewhere, or puts it where it would be seen.
const EDITS: [&str; 6] = [
    "UPDATE connections SET detail = replace(detail, 'api.example.test', 'evil.example.test'), \
     allowed_domain = 'evil.example.test'",
    "UPDATE connections SET allowed_domain = 'evil.example.test'",
    "UPDATE connections SET detail = replace(detail, '{\"domain\":', \
     '{\"domain\":\"evil.example.test\"},{\"domain\":')",
    "UPDATE connections SET detail = replace(detail, 'bot{token}', 'x{token}')",
    "UPDATE connections SET detail = replace(detail, '\"path\"', '\"query\"')",
    "UPDATE connections SET detail = replace(detail, 'BOT-KEYFERRY', 'getMe')",
];

#[tokio::test]
async fn a_custom_record_that_was_edited_can_not_be_opened() {
    let origin = Origin::start().await;
    for edit in EDITS {
        let world = server(&origin).await.killed().await;
        let mut connection = database(&world).await;
        let changed = sqlx::query(edit).execute(&mut connection).await.unwrap();
        assert_eq!(changed.rows_affected(), 1, "{edit}");
        drop(connection);
        let server = world.run().await;
        for host in ["api", "evil"] {
            let line = format!("GET https://{host}.example.test/BOT-KEYFERRY/getMe");
            let answer = server.send(&ask(&line).field("X-Zis-Connection", "bot")).await;
            let expected = [refused(500, "SealBroken"), refused(403, "DomainNotAllowed")];
            assert!(expected.contains(&answer.refusal()), "{edit}: {answer:?}");
        }
        assert!(origin.seen().is_empty(), "{edit}");
        assert!(server.metric("keyferry_seal_failures_total").await > 0.0, "{edit}");
    }
}

#[tokio::test]
async fn a_replaced_secret_in_the_path_is_kept_for_a_time() {
    let origin = Origin::answering(&["http/1.1"], |seen| {
        let mut answer = ok("ok");
        if !seen.target.contains(SECRET) {
            *answer.status_mut() = http::StatusCode::UNAUTHORIZED;
        }
        answer
    })
    .await;
    let server = server(&origin).await;
    let change = json!({"secrets": {"token": "canary-next"}, "keep_old_for": "10m"});
    let changed = server.manage(&format!("PATCH {TYPED}/bot"), Some(change)).await;
    assert_eq!(changed.status, 204, "{}", changed.text());
    assert_eq!(server.send(&get("/BOT-KEYFERRY/getMe")).await.status, 200);
    let targets: Vec<_> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/botcanary-next/getMe".to_owned(), format!("/bot{SECRET}/getMe")]);
    assert!(!server.log.text().contains("canary-"));
}
