//! Which connection (contract §3, "Connection").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::ask::{Ask, ask, stranger};
use crate::support::origin::Origin;
use crate::support::raw::refused;
use crate::support::token;
use crate::support::world::{Running, World};

const URL: &str = "GET https://api.example.test/v1";
const DEEP: &str = "GET https://a.wild.example.test/v1";

async fn world(origin: &Origin) -> Running {
    World::new(origin)
        .bearer("acme.other", "other.example.test", "other-secret")
        .bearer("acme.wild", "*.wild.example.test", "wild-secret")
        .bearer("acme.exact", "a.wild.example.test", "exact-secret")
        .bearer("globex.api", "api.example.test", "globex-secret")
        .token("any", "*", "")
        .token("some", "acme", "connections = [\"exact\", \"other\"]")
        .token("few", "*", "connections = [\"globex.api\", \"acme.exact\"]")
        .pin("a.wild.example.test", origin)
        .pin("b.wild.example.test", origin)
        .pin("other.example.test", origin)
        .run()
        .await
}

/// `ask` by the proxy URL's user.
fn by_user(line: &str, user: &str, name: &str) -> Ask {
    let pair = STANDARD.encode(format!("{user}:{}", token(name)));
    stranger(line).field("Proxy-Authorization", &format!("Basic {pair}"))
}

async fn assert_sent_with(world: &Running, origin: &Origin, ask: &Ask, secret: &str) {
    let answer = world.send(ask).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{secret}");
    assert_eq!(origin.last().field("authorization"), format!("Bearer {secret}"));
}

#[tokio::test]
async fn a_connection_is_named_by_field_path_or_user() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    let globex = |ask: Ask| ask.field("X-Zis-Integration", "globex");
    for (ask, secret) in [
        (ask(DEEP).field("X-Zis-Connection", "wild"), "wild-secret"),
        (ask(DEEP).field("x-zis-connection", " exact "), "exact-secret"),
        (
            ask(DEEP).field("X-Zis-Connection", "wild").field("X-Zis-Integration", "acme"),
            "wild-secret",
        ),
        (by_user(DEEP, "acme.wild", "runner"), "wild-secret"),
        (by_user(DEEP, "acme.exact", "any"), "exact-secret"),
        (by_user(DEEP, "acme", "runner").field("X-Zis-Connection", "wild"), "wild-secret"),
        (by_user(URL, "globex", "any"), "globex-secret"),
        (globex(stranger(URL).by("any")).field("X-Zis-Connection", "api"), "globex-secret"),
        (globex(stranger(URL).by("any")), "globex-secret"),
        (globex(stranger("GET /~/api/v1").by("any")), "globex-secret"),
        (stranger("GET /~/globex.api/v1").by("any"), "globex-secret"),
        (stranger("GET /~/globex.api/v1").by("few"), "globex-secret"),
        (ask("GET /~/acme.api/v1").field("X-Zis-Connection", "api"), "bearer-secret"),
    ] {
        assert_sent_with(&world, &origin, &ask, secret).await;
    }
}

#[tokio::test]
async fn the_only_connection_that_covers_the_host_need_not_be_named() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    for (ask, secret) in [
        (ask(URL), "bearer-secret"),
        (ask("GET https://b.wild.example.test/v1"), "wild-secret"),
        (ask("GET /v1").field("X-Zis-Host", "b.wild.example.test"), "wild-secret"),
        (stranger(DEEP).by("some"), "exact-secret"),
        (stranger(DEEP).by("few").field("X-Zis-Integration", "acme"), "exact-secret"),
    ] {
        assert_sent_with(&world, &origin, &ask, secret).await;
    }
}

#[tokio::test]
async fn several_connections_that_cover_the_host_are_listed() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    for ask in [ask(DEEP), ask("GET /v1").field("X-Zis-Host", "a.wild.example.test")] {
        let answer = world.send(&ask).await;
        assert_eq!(answer.refusal(), refused(409, "AmbiguousConnection"));
        assert!(answer.title().contains("exact, wild."), "{}", answer.title());
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn without_a_connection_for_the_host_one_is_required() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    for ask in [
        ask("GET https://uncovered.test/v1"),
        ask("GET https://xapi.example.test/v1"),
        ask("GET https://api.example.test.evil.test/v1"),
        ask("GET https://127.0.0.1/v1"),
        ask("GET https://[::1]/v1"),
        ask("GET https://api.example.test./v1"),
        stranger(URL).by("some"),
        stranger(URL).by("any"),
        stranger("GET /~/api/v1").by("any"),
    ] {
        let answer = world.send(&ask).await;
        assert_eq!(answer.refusal(), refused(403, "ConnectionRequired"));
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn a_connection_that_is_not_there_or_not_for_the_caller_is_refused() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    for (ask, code) in [
        (ask(URL).field("X-Zis-Connection", "absent"), "ConnectionNotFound"),
        (ask(URL).field("X-Zis-Connection", "API"), "ConnectionNotFound"),
        (ask("GET /~/absent/v1"), "ConnectionNotFound"),
        (stranger("GET /~/nobody.api/v1").by("any"), "ConnectionNotFound"),
        (stranger(URL).by("some").field("X-Zis-Connection", "api"), "ConnectionForbidden"),
        (stranger("GET /~/acme.api/v1").by("few"), "ConnectionForbidden"),
        (ask(URL).field("X-Zis-Integration", "globex"), "ConnectionForbidden"),
        (by_user(URL, "globex", "runner"), "ConnectionForbidden"),
    ] {
        let answer = world.send(&ask).await;
        assert_eq!(answer.refusal(), refused(403, code));
        assert!(!answer.title().contains("grant"), "no token changes: {}", answer.title());
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn tags_that_disagree_are_refused() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    for ask in [
        by_user(URL, "acme.api", "runner").field("X-Zis-Connection", "other"),
        by_user(URL, "acme.api", "any").field("X-Zis-Integration", "globex"),
        ask("GET /~/api/v1").field("X-Zis-Connection", "other"),
        stranger("GET /~/acme.api/v1").by("any").field("X-Zis-Integration", "globex"),
        by_user("GET /~/api/v1", "acme.other", "runner"),
    ] {
        let answer = world.send(&ask).await;
        assert_eq!(answer.refusal(), refused(400, "ConflictingTags"));
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn tags_that_are_no_names_are_refused() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    for ask in [
        ask(URL).field("X-Zis-Connection", ""),
        ask(URL).field("X-Zis-Connection", "a b"),
        ask(URL).field("X-Zis-Connection", "a/b"),
        ask(URL).field("X-Zis-Connection", "api").field("X-Zis-Connection", "api"),
        ask(URL).field("X-Zis-Integration", "acme").field("X-Zis-Integration", "acme"),
        ask(URL).field("X-Zis-Integration", "a.b"),
        ask("GET /v1").field("X-Zis-Host", "a.test").field("X-Zis-Host", "a.test"),
        ask("GET /~//v1"),
        ask("GET /~/.api/v1"),
        ask("GET /~/acme./v1"),
        ask("GET /~/"),
        by_user(URL, "acme.", "runner"),
        by_user(URL, "a b", "runner"),
    ] {
        let answer = world.send(&ask).await;
        assert_eq!(answer.refusal(), refused(400, "MalformedRequest"), "{}", answer.title());
    }
    assert_eq!(origin.conns(), 0);
}
