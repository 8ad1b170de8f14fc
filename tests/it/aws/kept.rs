//! Connections to AWS that are kept: made and changed through the API and the command line, over
//! restarts, and edited by hand.

use keyferry::clock::Clock;
use serde_json::{Value, json};

use super::roles::{STS, served};
use super::{DYNAMODB, S3, signed_by_caller};
use crate::support::ask::Ask;
use crate::support::aws::{Aws, KEY_ID, SECRET_KEY};
use crate::support::origin::Origin;
use crate::support::raw::refused;
use crate::support::world::{Running, World, files_below};

const TYPED: &str = "/api/keyferry/v1/integrations/acme/connections";
const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

fn bucket() -> Value {
    json!({
        "type": "aws_sigv4", "name": "bucket", "allowed_domain": S3, "access_key_id": KEY_ID,
        "secret_access_key": SECRET_KEY,
        "assume_role": {"role_arn": ROLE, "external_id": "agreed", "duration": "30m"},
    })
}

async fn server(origin: &Origin) -> Running {
    let world = World::empty().token("runner", "acme", "").keeping();
    let world = world.pin(S3, origin).pin(DYNAMODB, origin).pin(STS, origin);
    let server = world.run().await;
    let answer = server.manage(&format!("POST {TYPED}"), Some(bucket())).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    server
}

fn list() -> Ask {
    signed_by_caller(&format!("GET https://{S3}/?list-type=2"))
}

async fn shown(server: &Running) -> Value {
    let answer = server.manage(&format!("GET {TYPED}/bucket"), None).await;
    answer.json()["connection"].clone()
}

#[tokio::test]
async fn a_session_is_kept_sealed_and_used_again_after_a_restart() {
    let (aws, origin) = Aws::start(&Clock::system()).await;
    let server = server(&origin).await;
    assert_eq!(shown(&server).await["session_expiry"], Value::Null);
    served(&server.send(&list()).await);
    let server = server.killed().await.with("RUST_LOG", "trace").run().await;
    served(&server.send(&list()).await);
    let asked = aws.asked();
    assert_eq!((asked.len(), &*asked[0]["DurationSeconds"]), (1, "1800"));
    let it = shown(&server).await;
    assert_eq!((&it["secret_access_key"], &it["access_key_id"]), (&json!("*****"), &json!(KEY_ID)));
    assert_eq!(
        it["assume_role"],
        bucket()["assume_role"]
            .as_object()
            .map(|role| {
                let mut role = role.clone();
                role.insert("duration".to_owned(), "30m".into());
                Value::Object(role)
            })
            .unwrap()
    );
    assert!(it["session_expiry"].is_string(), "{it}");
    // No secret stands anywhere in clear.
    let audit = server.manage("GET /api/keyferry/v1/audit", None).await;
    let told = format!("{}{}{it}", server.log.text(), server.api("/metrics").await.text());
    let secrets: Vec<_> = aws.secrets().into_iter().chain([SECRET_KEY.to_owned()]).collect();
    assert_eq!(secrets.len(), 3);
    for secret in &secrets {
        assert!(!told.contains(secret) && !audit.text().contains(secret), "{secret}");
        for (path, content) in files_below(&server.world.path("data")) {
            let found = memchr::memmem::find(&content, secret.as_bytes());
            assert!(found.is_none(), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn other_keys_or_another_role_begin_a_session_of_their_own() {
    let (aws, origin) = Aws::start(&Clock::system()).await;
    let server = server(&origin).await;
    served(&server.send(&list()).await);
    let change =
        async |body: Value| server.manage(&format!("PATCH {TYPED}/bucket"), Some(body)).await;
    // What decides what is signed for changes only with the key.
    let role = json!({"role_arn": ROLE.replace("reader", "writer")});
    assert_eq!(change(json!({"assume_role": role})).await.status, 400);
    assert_eq!(change(json!({"assume_role": null})).await.status, 400);
    assert_eq!(change(json!({"description": "a bucket"})).await.status, 204);
    served(&server.send(&list()).await);
    assert_eq!(aws.asked().len(), 1);
    let answer = change(json!({"assume_role": role, "secret_access_key": SECRET_KEY})).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    served(&server.send(&list()).await);
    let asked = aws.asked();
    assert_eq!((asked.len(), &*asked[1]["RoleArn"]), (2, "arn:aws:iam::123456789012:role/writer"));
    // A refusal is told where the connection is shown, and no more once its keys are set.
    let answer = change(json!({"secret_access_key": SECRET_KEY})).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    aws.refuse(Some((403, "AccessDenied")));
    assert_eq!(server.send(&list()).await.refusal(), refused(502, "TokenEndpointFailed"));
    let failure = &shown(&server).await["refresh_failure"];
    assert_eq!(
        (&failure["who_must_act"], &failure["code"]),
        (&json!("operator"), &json!("AccessDenied"))
    );
    aws.refuse(None);
    assert_eq!(change(json!({"secret_access_key": SECRET_KEY})).await.status, 204);
    assert_eq!(shown(&server).await["refresh_failure"], Value::Null);
    served(&server.send(&list()).await);
    // It goes as it came.
    assert_eq!(server.manage(&format!("DELETE {TYPED}/bucket"), None).await.status, 204);
    assert_eq!(server.send(&list()).await.status, 403);
}

/// Each of these has the keys sign for something else.
const EDITS: [&str; 5] = [
    "UPDATE connections SET detail = replace(detail, 'role/reader', 'role/writer')",
    "UPDATE connections SET detail = replace(detail, 'agreed', 'other')",
    "UPDATE connections SET detail = '{\"access_key_id\":\"AKIDEXAMPLE\"}'",
    "UPDATE connections SET detail = replace(detail, '{\"access', '{\"region\":\"us-east-1\",\"access')",
    "UPDATE connections SET allowed_domain = 'dynamodb.us-west-2.amazonaws.com'",
];

#[tokio::test]
async fn a_record_that_was_edited_signs_nothing_and_assumes_no_role() {
    let (aws, origin) = Aws::start(&Clock::system()).await;
    for edit in EDITS {
        let world = server(&origin).await.killed().await;
        let mut connection = crate::kept::tampering::database(&world).await;
        let changed = sqlx::query(edit).execute(&mut connection).await.unwrap();
        assert_eq!(changed.rows_affected(), 1, "{edit}");
        drop(connection);
        let server = world.run().await;
        for host in [S3, DYNAMODB] {
            let answer = server.send(&signed_by_caller(&format!("GET https://{host}/"))).await;
            let refusal = answer.refusal();
            let expected = [refused(500, "SealBroken"), refused(403, "ConnectionRequired")];
            assert!(expected.contains(&refusal), "{edit}: {answer:?}");
        }
        assert!(server.metric("keyferry_seal_failures_total").await > 0.0, "{edit}");
    }
    assert!(aws.asked().is_empty() && origin.seen().is_empty());
}
