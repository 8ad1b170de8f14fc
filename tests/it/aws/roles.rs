//! Connections whose keys assume a role: STS is asked for a session, whose keys sign, and is asked
//! once by all who want the same.

use std::time::Duration;

use futures_util::future::join_all;
use keyferry::clock::Clock;
use keyferry::model::aws::access::{AwsAccess, AwsSecrets};
use keyferry::model::aws::role::AssumeRole;
use keyferry::secret::Secret;
use serde_json::Value;

use super::{DYNAMODB, S3, keys, signed_by_caller};
use crate::support::ask::{Ask, ask};
use crate::support::aws::{Aws, KEY_ID, SECRET_KEY};
use crate::support::instance::{Connected, Instance};
use crate::support::origin::Origin;
use crate::support::raw::{Answer, refused};
use crate::support::soon;
use crate::support::world::World;

pub(super) const STS: &str = "sts.us-east-1.amazonaws.com";
const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

/// The keys of a declared connection that assume the role.
fn assuming(more: &str) -> String {
    keys(&format!("assume_role = {{ role_arn = {ROLE:?}{more} }}"))
}

fn world(origin: &Origin, more: &str) -> World {
    World::empty()
        .connection("acme.dynamo", DYNAMODB, &assuming(more))
        .connection("acme.bucket", S3, &assuming(""))
        .token("runner", "acme", "")
        .pin(DYNAMODB, origin)
        .pin(S3, origin)
        .pin(STS, origin)
}

fn put_item() -> Ask {
    signed_by_caller(&format!("POST https://{DYNAMODB}/"))
        .field("X-Amz-Target", "DynamoDB_20120810.PutItem")
        .body("{}")
}

fn list() -> Ask {
    signed_by_caller(&format!("GET https://{S3}/?list-type=2"))
}

pub(super) fn served(answer: &Answer) {
    assert_eq!((answer.status, answer.text().as_ref()), (200, "served"), "{}", answer.text());
}

#[tokio::test]
async fn a_declared_role_is_assumed_once_and_its_session_signs() {
    let (aws, origin) = Aws::start(&Clock::system()).await;
    let more = ", external_id = \"agreed:1\", duration = \"15m\"";
    let server = world(&origin, more).set("store.url", "\"memory:\"").run().await;
    let answers = join_all((0..20).map(|_each| async { server.send(&put_item()).await })).await;
    answers.iter().for_each(served);
    let asked = aws.asked();
    let said = |name: &str| asked[0].get(name).map(String::as_str);
    assert_eq!(asked.len(), 1);
    assert_eq!((said("Action"), said("Version")), (Some("AssumeRole"), Some("2011-06-15")));
    assert_eq!((said("RoleArn"), said("ExternalId")), (Some(ROLE), Some("agreed:1")));
    assert_eq!(said("RoleSessionName"), Some("keyferry-acme.dynamo"));
    assert_eq!(said("DurationSeconds"), Some("900"));
    // Another connection has a session of its own.
    served(&server.send(&list()).await);
    assert_eq!(aws.asked().len(), 2);
    // Nothing of it is in the log.
    let log = server.log.text();
    assert_eq!(aws.secrets().len(), 4);
    for secret in aws.secrets().iter().map(String::as_str).chain([SECRET_KEY]) {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_role_that_is_not_given_is_told_and_nothing_is_sent_without_it() {
    let (aws, origin) = Aws::start(&Clock::system()).await;
    let server = world(&origin, "").run().await;
    for (status, code, words) in [
        (403, "AccessDenied", "refuses to give another: the operator must act"),
        (400, "Throttling", "gave no other; try again"),
        (503, "ServiceUnavailable", "gave no other; try again"),
    ] {
        aws.refuse(Some((status, code)));
        let answer = server.send(&list()).await;
        assert_eq!(answer.refusal(), refused(502, "TokenEndpointFailed"), "{code}");
        assert!(answer.text().contains("no session of its role, and AWS"), "{}", answer.text());
        // The failure is remembered for a while, so that the second may be that of the first.
        if code == "AccessDenied" {
            assert!(answer.text().contains(words), "{}", answer.text());
            let entry = server.log.entry_of("/").await;
            let cause = entry["cause"].as_str().unwrap_or_default();
            assert!(cause.contains("status 403, code AccessDenied"), "{entry}");
        }
    }
    let services = origin.seen().into_iter().filter(|seen| seen.field("host") != STS);
    assert_eq!(services.count(), 0, "nothing may be sent without a session");
    aws.refuse(None);
    soon(async {
        while server.send(&list()).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_reload_keeps_the_session_of_the_same_keys_and_role() {
    let (aws, origin) = Aws::start(&Clock::system()).await;
    let mut server = world(&origin, "").run().await;
    served(&server.send(&list()).await);
    server.reload(|world| world.set("oauth.refresh_before", "\"2m\"")).await;
    served(&server.send(&list()).await);
    assert_eq!(aws.asked().len(), 1);
    let other = assuming("").replace("role/reader", "role/writer");
    server
        .reload(|world| {
            world.without("acme\"\nname = \"bucket").connection("acme.bucket", S3, &other)
        })
        .await;
    served(&server.send(&list()).await);
    let asked = aws.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1]["RoleArn"], ROLE.replace("reader", "writer"));
}

#[tokio::test]
async fn a_role_is_checked_where_it_is_declared() {
    for (role, words) in [
        ("{ role_arn = \"reader\" }", "must be the ARN of a role"),
        ("{ external_id = \"ab\" }", "role_arn"),
        ("{ role_arn = \"arn:aws-cn:iam::123456789012:role/a\" }", "of the partition"),
        ("{ role_arn = \"arn:aws:iam::123456789012:role/a\", duration = \"1m\" }", "15m"),
        ("{ role_arn = \"arn:aws:iam::123456789012:role/a\", other = 1 }", "other"),
    ] {
        let section = keys(&format!("region = \"eu-west-1\"\nassume_role = {role}"));
        let world = World::empty().connection("acme.bucket", S3, &section);
        let checked = world.command().output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(!checked.status.success() && said.contains(words), "{role}: {said}");
    }
}

/// A scene of instances in this process, over one store and with one clock.
struct Scene {
    aws: Aws,
    origin: Origin,
    world: World,
    clock: Clock,
    first: Instance,
}

impl Scene {
    async fn start() -> Self {
        let clock = Clock::fixed(1_800_000_000);
        let (aws, origin) = Aws::start(&clock).await;
        let world = World::empty().token("runner", "acme", "").pin(DYNAMODB, &origin);
        let world = world.pin(STS, &origin);
        let first = Instance::start(&world, &clock).await;
        Self { aws, origin, world, clock, first }
    }

    async fn another(&self) -> Instance {
        Instance::start(&self.world, &self.clock).await
    }

    /// Keeps the connection, which is in force then on all instances.
    async fn connect(&self, others: &[&Instance]) -> Connected {
        let role = AssumeRole { role_arn: ROLE.into(), external_id: None, duration: None };
        let access = AwsAccess {
            access_key_id: KEY_ID.into(),
            region: None,
            service: None,
            assume_role: Some(role),
        };
        let secrets = AwsSecrets::new(Secret::new(SECRET_KEY), None);
        let (connected, revision) = self.first.sign("dynamo", DYNAMODB, access, &secrets).await;
        for instance in others.iter().copied().chain([&self.first]) {
            assert!(instance.persistence.wait_until_in_force(revision).await);
        }
        connected
    }

    /// The requests that have reached a service.
    fn services(&self) -> usize {
        self.origin.seen().into_iter().filter(|seen| seen.field("host") != STS).count()
    }
}

#[tokio::test]
async fn all_instances_use_one_session_of_a_stored_connection() {
    let scene = Scene::start().await;
    let others = [scene.another().await, scene.another().await];
    let instances = [&scene.first, &others[0], &others[1]];
    scene.connect(&instances).await;
    let asks = (0..60).map(|number| async move { instances[number % 3].send(&put_item()).await });
    join_all(asks).await.iter().for_each(served);
    assert_eq!((scene.aws.asked().len(), scene.services()), (1, 60));
    // One that starts later finds it in the store.
    served(&scene.another().await.send(&put_item()).await);
    assert_eq!(scene.aws.asked().len(), 1);
}

#[tokio::test]
async fn a_session_is_replaced_before_it_ends_by_one_question() {
    let scene = Scene::start().await;
    let other = scene.another().await;
    let connected = scene.connect(&[&other]).await;
    served(&scene.first.send(&put_item()).await);
    served(&other.send(&put_item()).await);
    // A minute before its end it ages, and nobody waits.
    scene.first.pass(3600 - 25).await;
    soon(async {
        while scene.aws.asked().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    scene.first.in_flight.finished().await;
    other.in_flight.finished().await;
    served(&scene.first.send(&put_item()).await);
    served(&other.send(&put_item()).await);
    assert_eq!(scene.aws.asked().len(), 2);
    // Unused, it ends, and the next request waits for another.
    scene.clock.advance(24 * 3600);
    served(&other.send(&put_item()).await);
    served(&scene.first.send(&put_item()).await);
    assert_eq!(scene.aws.asked().len(), 3);
    let failure = scene.first.persistence.store().refresh_failure(connected.uuid).await;
    assert_eq!(failure.unwrap(), None);
}

#[tokio::test]
async fn a_refusal_is_remembered_by_all_instances() {
    let scene = Scene::start().await;
    let other = scene.another().await;
    let connected = scene.connect(&[&other]).await;
    scene.aws.refuse(Some((403, "InvalidClientTokenId")));
    for instance in [&scene.first, &other, &scene.first] {
        let answer = instance.send(&put_item()).await;
        assert_eq!(answer.refusal(), refused(502, "TokenEndpointFailed"));
        assert!(answer.text().contains("the operator must act"), "{}", answer.text());
    }
    assert_eq!((scene.aws.asked().len(), scene.services()), (1, 0));
    let failure = scene.first.persistence.store().refresh_failure(connected.uuid).await;
    let failure = failure.unwrap().unwrap();
    let code = failure.code.unwrap().to_string();
    assert_eq!((failure.remedy.as_str(), code.as_str()), ("operator", "InvalidClientTokenId"));
    // It is asked again after a while.
    scene.aws.refuse(None);
    scene.clock.advance(3600);
    served(&other.send(&put_item()).await);
    served(&scene.first.send(&put_item()).await);
    assert_eq!(scene.aws.asked().len(), 2);
}

#[tokio::test]
async fn an_origin_that_repeats_the_sessions_token_is_masked() {
    let clock = Clock::system();
    let (aws, sts) = Aws::start(&clock).await;
    let echo = Origin::answering(&["http/1.1"], |seen| {
        let mut answer = crate::support::origin::ok("ok");
        let token = seen.headers.get("x-amz-security-token").cloned();
        answer.headers_mut().insert("x-echo", token.unwrap());
        answer
    })
    .await;
    let world = World::empty()
        .connection("acme.bucket", S3, &assuming(""))
        .token("runner", "acme", "")
        .pin(S3, &echo)
        .pin(STS, &sts);
    let server = world.run().await;
    let answer = server.send(&ask(&format!("GET https://{S3}/"))).await;
    assert_eq!(answer.status, 200);
    let token = echo.only().field("x-amz-security-token");
    assert!(aws.secrets().contains(&token));
    // Its padding may be another text's end.
    let bare = token.trim_end_matches('=');
    assert_eq!(answer.field("x-echo"), format!("{}==", "*".repeat(bare.len())));
    let entry: Value = server.log.entry_of("/").await;
    assert!(!entry.to_string().contains(&token));
}
