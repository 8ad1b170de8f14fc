//! Connections that were accepted by older rules: they stop no start, and are of no use.

use serde_json::{Value, json};

use super::{tampering, with_token};
use crate::support::operator::CONNECTIONS;
use crate::support::origin::Origin;
use crate::support::raw::refused;
use crate::support::token;
use crate::support::world::World;

#[tokio::test]
async fn what_newer_rules_forbid_is_shown_as_unusable_and_refused_at_use() {
    let origin = Origin::start().await;
    let server = World::new(&origin).pin("school.sch.uk", &origin).keeping().run().await;
    server.keep_bearer("wide", "school.example.test", "wide-secret").await;
    let key = json!({"name": "field", "allowed_domain": "api.example.test", "header_name": "x-key", "api_key": "k"});
    let made = server.manage(&format!("POST {CONNECTIONS}/api_key"), Some(key)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let world = server.killed().await;
    let mut database = tampering::database(&world).await;
    for edit in [
        "UPDATE connections SET allowed_domain = '*.sch.uk' WHERE name = 'wide'",
        "UPDATE connections SET detail = replace(detail, 'x-key', 'transfer_encoding') \
         WHERE name = 'field'",
    ] {
        sqlx::query(edit).execute(&mut database).await.unwrap();
    }
    drop(database);
    let server = world.run().await;
    let wide = crate::support::ask::ask("GET https://school.sch.uk/v1");
    let answer = server.send(&wide.clone().field("X-Zis-Connection", "wide")).await;
    assert_eq!(answer.refusal(), refused(403, "DomainNotAllowed"));
    assert!(answer.title().contains("delete"), "{}", answer.title());
    assert_eq!(server.send(&wide).await.refusal(), refused(403, "ConnectionRequired"));
    let answer = server.send(&with_token(&token("runner"), "field")).await;
    assert_eq!(answer.refusal(), refused(403, "ConnectionForbidden"));
    assert!(answer.title().contains("header name"), "{}", answer.title());
    assert_eq!(origin.conns(), 0);

    let listed = server.manage(&format!("GET {CONNECTIONS}/all"), None).await;
    let listed: Value = serde_json::from_slice(&listed.body).unwrap();
    let bearers = listed["bearer_token"].as_array().unwrap();
    let wide = bearers.iter().find(|connection| connection["name"] == "wide").unwrap();
    assert_eq!(wide["allowed_domain"], "*.sch.uk");
    assert!(wide["defect"].as_str().unwrap().contains("allowed domain"), "{wide}");
    let field = &listed["api_key"][0];
    assert!(field["defect"].as_str().unwrap().contains("header name"), "{field}");
    let again = json!({"name": "again", "allowed_domain": "*.sch.uk", "token": "x"});
    let answer = server.manage(&format!("POST {CONNECTIONS}/bearer_token"), Some(again)).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    server.delete_bearer("wide").await;
}
