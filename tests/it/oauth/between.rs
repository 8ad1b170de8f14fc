//! What comes between: a change while the provider is asked, a store that hesitates, a provider that
//! hangs. No token is lost, and nobody waits who need not.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use futures_util::future::join_all;
use http::Response;
use http_body_util::Full;
use jiff::{SignedDuration, Timestamp};
use keyferry::clock::Clock;
use keyferry::model::oauth::profile::Profile;
use serde_json::json;
use sqlx::Executor as _;

use crate::support::ask::{ask, stranger};
use crate::support::authorized::{OAUTH, parameter, prepared, target, through, world};
use crate::support::instance::{Instance, tokens_of};
use crate::support::operator::until;
use crate::support::origin::Origin;
use crate::support::postgres::Postgres;
use crate::support::provider::{
    CLIENT_ID, CLIENT_SECRET, HOST, Manner, OTHER_HOST, Provider, origin_accepting,
};
use crate::support::raw::{Raw, refused};
use crate::support::soon;
use crate::support::tunnel::API;
use crate::support::world::{Running, World, authority};

#[tokio::test]
async fn a_connection_that_is_bound_while_it_is_refreshed_keeps_what_the_provider_gave() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    let mut unbound = Running::flow("mine");
    unbound.as_object_mut().unwrap().remove("allowed_domain");
    server.flow_through(&provider, unbound).await;
    provider.hold();
    let line = format!("GET {OAUTH}/refresh/acme?name=mine");
    let binding = async {
        provider.has_been_asked(2).await;
        let domain = json!({"allowed_domain": "api.example.test"});
        let bound = server.manage(&format!("PATCH {OAUTH}/acme?name=mine"), Some(domain)).await;
        assert_eq!(bound.status, 200, "{bound:?}");
        let shown = bound.json();
        let tokens = (&shown["access_token"], &shown["refresh_token"]);
        assert_eq!(tokens, (&json!("*****"), &json!("*****")), "nobody has asked for them");
        provider.release();
    };
    let (refreshed, ()) = tokio::join!(server.manage(&line, None), binding);
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert_eq!(refreshed.json()["allowed_domain"], "api.example.test");
    assert_eq!(server.send(&through("mine")).await.status, 200);
    // The refresh token that it has is the one that was given last.
    assert_eq!(server.manage(&line, None).await.status, 200);
    assert_eq!((provider.asked(), provider.reused()), (3, 0));
}

#[tokio::test]
async fn the_entry_names_the_connection_that_was_used_after_a_wait_for_tokens() {
    let provider = Provider::start().await;
    let alone = |world: World| world.without("name = \"api\"");
    let (origin, server) = world(&provider, alone).await;
    server.register(&provider).await;
    provider.set_expires_in(json!(1));
    server.authorize(&provider, "mine").await;
    server.has_expired("mine").await;
    provider.hold();
    // It names no connection: one alone covers the host.
    let mut raw = server.raw().await;
    raw.write(ask("GET https://api.example.test/waited").bytes()).await;
    provider.has_been_asked(2).await;
    let deleted = server.manage(&format!("DELETE {OAUTH}/acme?name=mine"), None).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    server.keep_bearer("other", API, "other-secret").await;
    provider.release();
    raw.answer().await;
    assert_eq!(origin.only().field("authorization"), "Bearer other-secret");
    let entry = server.log.entry_of("/waited").await;
    assert_eq!((&entry["connection"], &entry["decision"]), (&json!("other"), &json!("allow")));
    let counted = "keyferry_requests_total{integration=\"acme\",connection=\"other\",decision=\"allow\",code=\"\",status_class=\"4xx\"}";
    assert!((server.metric(counted).await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_callers_token_that_ends_while_others_are_waited_for_is_refused() {
    let provider = Provider::start().await;
    let (origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    provider.set_expires_in(json!(1));
    server.authorize(&provider, "mine").await;
    server.has_expired("mine").await;
    provider.hold();
    let (token, end) = server.keep_token_that_ends("short").await;
    let request = stranger("GET https://api.example.test/v1").field("X-Zis-Connection", "mine");
    let mut raw = server.raw().await;
    raw.write(request.field("Proxy-Authorization", &format!("Bearer {token}")).bytes()).await;
    provider.has_been_asked(2).await;
    until(end).await;
    provider.release();
    assert_eq!(raw.answer().await.refusal(), refused(407, "CallerUnknown"));
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn while_tokens_wait_to_be_kept_no_other_instance_asks() {
    let (provider, postgres) = (Provider::start().await, Postgres::start().await);
    let origin = origin_accepting(&provider).await;
    let mut servers = Vec::new();
    for _each in 0..2 {
        let world = prepared(&provider, &origin).keeping_in(&postgres);
        let world = world.set("oauth.lease", "\"500ms\"").set("oauth.takeover", "\"1500ms\"");
        servers.push(world.run().await);
    }
    servers[0].register(&provider).await;
    provider.set_expires_in(json!(1));
    servers[0].authorize(&provider, "mine").await;
    for server in &servers {
        server.has_expired("mine").await;
    }
    provider.set_expires_in(json!(3600));
    let mut database = postgres.connect().await;
    provider.hold();
    let through = through("mine");
    let asks = join_all(servers.iter().map(|server| server.send(&through)));
    let locked = async {
        provider.has_been_asked(2).await;
        database.execute("BEGIN; UPDATE revision SET revision = revision").await.unwrap();
        provider.release();
        // Longer than a lease that nobody extends.
        tokio::time::sleep(Duration::from_secs(2)).await;
        database.execute("COMMIT").await.unwrap();
    };
    let (answers, ()) = tokio::join!(asks, locked);
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!((provider.asked(), provider.reused()), (2, 0));
}

#[tokio::test]
async fn a_provider_that_hangs_holds_up_nobody_elses_connections() {
    let (provider, other) = (Provider::start().await, Provider::named(OTHER_HOST).await);
    let origin = origin_accepting(&provider).await;
    let world = prepared(&provider, &origin).pin(OTHER_HOST, &other.origin);
    let world = world.set("oauth.retry_on_401", "false");
    let instance = Instance::start(&world, &Clock::fixed(1_800_000_000)).await;
    // More than are refreshed in the background at a time.
    let slow = instance.client_of(OTHER_HOST, CLIENT, Profile::default()).await;
    for number in 0..80 {
        let name = format!("slow{number}");
        let tokens = tokens_of(&other, instance.clock.now(), Duration::from_secs(15));
        instance.authorize(&slow, &name, &tokens).await;
        // From now on they are kept fresh.
        instance.send(&through(&name)).await;
    }
    other.hold();
    instance.pass(14).await;
    other.has_been_asked(64).await;
    let client = instance.client_of(HOST, CLIENT, Profile::default()).await;
    let tokens = tokens_of(&provider, instance.clock.now(), Duration::from_secs(1));
    instance.authorize(&client, "mine", &tokens).await;
    instance.send(&through("mine")).await;
    instance.pass(1).await;
    assert_eq!(instance.send(&through("mine")).await.status, 200);
    assert_eq!(provider.asked(), 1);
    other.release();
}

#[tokio::test]
async fn a_token_that_can_still_be_used_is_when_the_provider_hangs() {
    let provider = Provider::start().await;
    let origin = origin_accepting(&provider).await;
    let world = prepared(&provider, &origin);
    let instance = Instance::start(&world, &Clock::fixed(1_800_000_000)).await;
    let client = instance.client_of(HOST, CLIENT, Profile::default()).await;
    let tokens = tokens_of(&provider, instance.clock.now(), Duration::from_secs(20));
    let field = format!("Bearer {}", String::from_utf8_lossy(tokens.access_token.expose()));
    instance.authorize(&client, "mine", &tokens).await;
    provider.hold();
    // Now it is too late to leave the refreshing to the background.
    instance.pass(19).await;
    assert_eq!(instance.send(&through("mine")).await.status, 200);
    assert_eq!((provider.asked(), &*origin.only().field("authorization")), (1, &*field));
    provider.release();
}

#[tokio::test]
async fn what_cant_be_sent_again_leaves_after_the_refresh_that_may_end_its_token() {
    let provider = Provider::start().await;
    let origin = origin_accepting(&provider).await;
    let world = prepared(&provider, &origin).set("oauth.replay_body_bytes", "10");
    let instance = Instance::start(&world, &Clock::fixed(1_800_000_000)).await;
    let client = instance.client_of(HOST, CLIENT, Profile::default()).await;
    let tokens = tokens_of(&provider, instance.clock.now(), Duration::from_secs(40));
    let field = format!("Bearer {}", String::from_utf8_lossy(tokens.access_token.expose()));
    instance.authorize(&client, "mine", &tokens).await;
    let post = |path: &str| {
        let line = format!("POST https://api.example.test{path}");
        ask(&line).field("X-Zis-Connection", "mine")
    };
    let long = post("/long").body("longer than ten bytes");
    let unknown = post("/unknown").chunks("4\r\nbody\r\n0\r\n\r\n");
    let short = post("/short").body("short");
    // Its refresh comes some time after 36 s, and until 2 s before that everything leaves at once.
    instance.pass(33).await;
    assert_eq!(instance.send(&long).await.status, 200);
    instance.pass(2).await;
    let meanwhile = async {
        assert_eq!(instance.send(&short).await.status, 200);
        assert_eq!(instance.send(&through("mine")).await.status, 200);
        assert_eq!(provider.asked(), 0, "nobody asks sooner for its sake");
        instance.pass(2).await;
    };
    let (long, unknown, ()) =
        tokio::join!(instance.send(&long), instance.send(&unknown), meanwhile);
    assert_eq!((long.status, unknown.status), (200, 200));
    assert_eq!(provider.asked(), 1);
    let seen = origin.seen();
    let (before, after) = seen.split_at(3);
    assert!(before.iter().all(|seen| seen.field("authorization") == field), "{before:?}");
    assert!(after.iter().all(|seen| seen.field("authorization") != field), "{after:?}");
}

#[tokio::test]
async fn what_cant_be_sent_again_leaves_with_the_token_that_there_is_when_the_provider_hangs() {
    let provider = Provider::start().await;
    let origin = origin_accepting(&provider).await;
    let world = prepared(&provider, &origin).set("oauth.replay_body_bytes", "10");
    let instance = Instance::start(&world, &Clock::fixed(1_800_000_000)).await;
    let client = instance.client_of(HOST, CLIENT, Profile::default()).await;
    let tokens = tokens_of(&provider, instance.clock.now(), Duration::from_secs(200));
    let field = format!("Bearer {}", String::from_utf8_lossy(tokens.access_token.expose()));
    instance.authorize(&client, "mine", &tokens).await;
    provider.hold();
    // Its refresh is due, and the token good for some more seconds.
    instance.pass(188).await;
    let long = ask("POST https://api.example.test/long").field("X-Zis-Connection", "mine");
    let long = long.body("longer than ten bytes");
    let meanwhile = async {
        provider.has_been_asked(1).await;
        instance.pass(5).await;
    };
    let (long, ()) = tokio::join!(instance.send(&long), meanwhile);
    assert_eq!((long.status, &*origin.only().field("authorization")), (200, &*field));
    provider.release();
}

#[tokio::test]
async fn an_origin_that_refuses_all_tokens_has_them_refreshed_once() {
    let provider = Provider::start().await;
    let origin = Origin::answering(&["http/1.1"], |_seen| {
        Response::builder().status(401).body(Full::from("no")).unwrap()
    })
    .await;
    let world = prepared(&provider, &origin).keeping().set("oauth.replay_body_bytes", "10");
    let server = world.run().await;
    server.register(&provider).await;
    server.authorize(&provider, "mine").await;
    let post = ask("POST https://api.example.test/v1").field("X-Zis-Connection", "mine");
    let long = post.body("longer than ten bytes");
    assert_eq!(server.send(&long).await.status, 401);
    server.log.message("tokens were refreshed").await;
    // Those are in force, and the origin does not care.
    for _each in 0..5 {
        assert_eq!(server.send(&long).await.status, 401);
        assert_eq!(server.send(&through("mine")).await.status, 401);
    }
    assert_eq!((provider.asked(), origin.seen().len()), (2, 11));
}

#[tokio::test]
async fn a_client_that_is_deleted_takes_along_what_is_just_being_authorized() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    let client = server.register(&provider).await;
    let redirect_url = server.start_flow(Running::flow("mine")).await;
    let callback = server.consent(&provider, &redirect_url).await;
    provider.hold();
    let deleting = async {
        provider.has_been_asked(1).await;
        let line = format!("DELETE {OAUTH}/oauth/clients/acme/{client}");
        assert_eq!(server.manage(&line, None).await.status, 204);
        provider.release();
    };
    let (ended, ()) = tokio::join!(server.stroll(target(&callback)), deleting);
    assert_eq!(parameter(&ended.location(), "error").as_deref(), Some("server_error"));
    let shown = server.manage(&format!("GET {OAUTH}/acme?name=mine"), None).await;
    assert_eq!(shown.status, 404, "{shown:?}");
}

#[tokio::test]
async fn a_flow_ends_with_the_token_that_began_it() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    server.authorize(&provider, "mine").await;
    let before = server.authorized("mine").await;
    let (id, token) = server.keep_token("fired", &["write"]).await;
    let mut flows = Vec::new();
    for _each in 0..2 {
        let line = format!("POST {OAUTH}/oauth/start/acme");
        let begun = server.manage_by(&token, &line, Some(Running::flow("mine"))).await;
        flows.push(begun.json()["redirect_url"].as_str().unwrap().to_owned());
    }
    let callback = server.consent(&provider, &flows[0]).await;
    server.revoke(&id).await;
    let ended = server.stroll(target(&callback)).await;
    assert_eq!(parameter(&ended.location(), "error").as_deref(), Some("access_denied"));
    assert_eq!(server.stroll(target(&flows[1])).await.status, 400);
    assert_eq!(server.authorized("mine").await, before);
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_flow_below_a_path_comes_back_in_the_browser_that_it_began_in() {
    let provider = Provider::start().await;
    let public = "\"https://k.example.com/base\"";
    let (_origin, server) = world(&provider, |world| world.set("api.public_url", public)).await;
    server.register(&provider).await;
    let redirect_url = server.start_flow(Running::flow("mine")).await;
    let path = target(&redirect_url).strip_prefix("/base").unwrap();
    let browser = stranger(&format!("GET {path}")).field("User-Agent", "Mozilla/5.0");
    let led = Raw::tcp(authority(&server.api)).await.send(&browser).await;
    let back = format!("/base{OAUTH}/oauth/callback");
    let registered = parameter(&led.location(), "redirect_uri").unwrap();
    assert_eq!(registered, format!("https://k.example.com{back}"));
    assert!(led.field("set-cookie").contains(&format!("; Path={back}; ")), "{led:?}");
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_begun_on_the_way_down() {
    let provider = Provider::start().await;
    let (_origin, mut server) = world(&provider, |w| w.set("shutdown_grace", "\"4s\"")).await;
    server.register(&provider).await;
    provider.set_expires_in(json!(5));
    server.authorize(&provider, "later").await;
    let end = Timestamp::now() + SignedDuration::from_secs(5);
    assert_eq!(server.send(&through("later")).await.status, 200);
    provider.set_expires_in(json!(1));
    server.authorize(&provider, "first").await;
    server.has_expired("first").await;
    provider.hold();
    let mut raw = server.raw().await;
    raw.write(through("first").bytes()).await;
    provider.has_been_asked(3).await;
    server.signal(rustix::process::Signal::TERM);
    // `later` is due before the grace is over.
    until(end).await;
    provider.release();
    server.ended().await;
    assert_eq!(provider.asked(), 3);
}

#[tokio::test]
async fn an_answer_of_no_use_may_have_replaced_the_refresh_token() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    server.authorize(&provider, "mine").await;
    let line = format!("GET {OAUTH}/refresh/acme?name=mine");
    provider.next(Manner::Saying(200, "text/html", "<html>ok".into()));
    assert_eq!(server.manage(&line, None).await.status, 422);
    provider.revoke_grants();
    assert_eq!(server.manage(&line, None).await.status, 422);
    assert_eq!(server.authorized("mine").await["reauthorization_reason"], "answer_lost");
}

#[tokio::test]
async fn nothing_is_left_of_refreshes_of_connections_that_are_gone() {
    let (provider, postgres) = (Provider::start().await, Postgres::start().await);
    let origin = origin_accepting(&provider).await;
    let server = prepared(&provider, &origin).keeping_in(&postgres).run().await;
    server.register(&provider).await;
    server.authorize(&provider, "mine").await;
    provider.next(Manner::Saying(503, "text/html", "later".into()));
    server.manage(&format!("GET {OAUTH}/refresh/acme?name=mine"), None).await;
    let mut database = postgres.connect().await;
    let mut rows = async || {
        let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM oauth_refreshes");
        count.fetch_one(&mut database).await.unwrap()
    };
    assert_eq!(rows().await, 1);
    let deleted = server.manage(&format!("DELETE {OAUTH}/acme?name=mine"), None).await;
    assert_eq!((deleted.status, rows().await), (204, 0));
}

/// The client's id and secret at every provider.
const CLIENT: (&str, &str) = (CLIENT_ID, CLIENT_SECRET);

const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const NEW: &str = "new:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n";

#[tokio::test]
async fn an_instance_refreshes_while_another_rotates_the_keys() {
    let (provider, postgres) = (Provider::start().await, Postgres::start().await);
    let origin = origin_accepting(&provider).await;
    let mut servers = Vec::new();
    for _each in 0..2 {
        let url = String::from_utf8(postgres.url().expose().to_vec()).unwrap();
        let world = prepared(&provider, &origin).set("store.url", &format!("{url:?}"));
        let world = world.set("seal.master_key_file", "\"../keys\"").file("keys", OLD);
        let only_ours = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(world.path("keys"), only_ours).unwrap();
        servers.push(world.run().await);
    }
    servers[0].register(&provider).await;
    servers[0].keep_token("reader", &["proxy"]).await;
    provider.set_expires_in(json!(1));
    servers[0].authorize(&provider, "mine").await;
    for server in &servers {
        server.has_expired("mine").await;
        std::fs::write(server.world.path("keys"), format!("{NEW}{OLD}")).unwrap();
    }
    provider.set_expires_in(json!(3600));
    // It gets as far as the connections and the clients, and no further.
    let mut database = postgres.connect().await;
    database.execute("BEGIN; LOCK TABLE tokens IN EXCLUSIVE MODE").await.unwrap();
    let meanwhile = async {
        let sealed = "SELECT count(*) FROM connections WHERE key_id = 'new'";
        let count = || sqlx::query_scalar::<_, i64>(sealed);
        soon(async { while count().fetch_one(&mut database).await.unwrap() == 0 {} }).await;
        let answer = servers[1].send(&through("mine")).await;
        database.execute("COMMIT").await.unwrap();
        answer
    };
    let rotating = servers[0].manage("POST /api/keyferry/v1/keys/rotate", None);
    let (rotated, answer) = tokio::join!(rotating, meanwhile);
    assert_eq!((rotated.status, answer.status), (200, 200), "{rotated:?} {answer:?}");
}
