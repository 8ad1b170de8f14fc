//! The order of contract §3: a request that breaks two rules is refused for the earlier one, and
//! none of them costs a look at the network.

use crate::support::ask::{Ask, ask, stranger};
use crate::support::origin::Origin;
use crate::support::raw::refused;
use crate::support::world::{Running, World};

/// A world in which every rule can be broken.
async fn world(origin: &Origin) -> Running {
    World::new(origin)
        .bearer("acme.other", "other.example.test", "other-secret")
        .bearer("globex.api", "api.example.test", "globex-secret")
        .token("bound", "acme", "connections = [\"other\"]")
        .set("proxy.max_body_bytes", "10")
        .set("proxy.requests_per_minute", "1")
        .run()
        .await
}

/// A token's only turn, so that from here on the rate is broken too.
async fn use_up(world: &Running) {
    let answer = world.send(&ask("GET https://api.example.test/turn")).await;
    assert_eq!(answer.status, 200);
}

const EXCESS: &str = "eleven byte";

#[tokio::test]
async fn what_breaks_two_rules_is_refused_for_the_earlier() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    let via = world.send(&stranger("GET /~/api/v1")).await;
    assert_eq!(via.status, 401);
    use_up(&world).await;
    let via = origin.last().field("via");
    let token_in_url = format!("https://api.example.test/{}", crate::support::token("stray"));
    let cases: [(Ask, u16, &str); 11] = [
        // malformed before loop
        (ask(&format!("GET {token_in_url}")).field("Via", &via), 400, "MalformedRequest"),
        // loop before caller
        (stranger("GET https://api.example.test/v1").field("Via", &via), 502, "LoopDetected"),
        // caller before method
        (stranger("TRACE https://api.example.test/v1"), 407, "CallerUnknown"),
        // method before conflicting tags
        (ask("TRACE /~/api/v1").field("X-Zis-Connection", "other"), 405, "MethodNotAllowed"),
        // conflicting tags before connection
        (ask("GET /~/absent/v1").field("X-Zis-Connection", "other"), 400, "ConflictingTags"),
        // connection before https
        (
            ask("GET http://api.example.test/v1").field("X-Zis-Connection", "absent"),
            403,
            "ConnectionNotFound",
        ),
        // https before domain
        (
            ask("GET http://api.example.test/v1").field("X-Zis-Connection", "other"),
            403,
            "HttpsRequired",
        ),
        // domain before port
        (
            ask("GET https://api.example.test:8443/v1").field("X-Zis-Connection", "other"),
            403,
            "DomainNotAllowed",
        ),
        // port before body size
        (ask("POST https://api.example.test:8443/v1").body(EXCESS), 403, "PortNotAllowed"),
        // body size before rate
        (ask("POST https://api.example.test/v1").body(EXCESS), 413, "BodyTooLarge"),
        // rate before address
        (ask("GET https://api.example.test/v1"), 429, "RateLimited"),
    ];
    for (ask, status, code) in cases {
        let answer = world.send(&ask).await;
        assert_eq!(answer.refusal(), refused(status, code));
    }
    assert_eq!((origin.seen().len(), origin.conns()), (1, 1), "only the turn got through");
}

#[tokio::test]
async fn a_caller_without_the_scope_is_refused_before_its_method_is_looked_at() {
    let origin = Origin::start().await;
    let world = World::new(&origin).scoped_token("reader", "acme", "read", "").run().await;
    let answer = world.send(&stranger("TRACE https://api.example.test/v1").by("reader")).await;
    assert_eq!(answer.refusal(), refused(403, "ConnectionForbidden"));
}

#[tokio::test]
async fn a_refused_request_does_not_count_against_the_rate() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    for _ in 0..5 {
        let answer = world.send(&ask("GET http://api.example.test/v1")).await;
        assert_eq!(answer.refusal(), refused(403, "HttpsRequired"));
    }
    use_up(&world).await;
}

#[tokio::test]
async fn another_integration_is_never_told_of() {
    let origin = Origin::start().await;
    let world = world(&origin).await;
    let asks = [
        ask("GET https://api.example.test/v1").field("X-Zis-Integration", "globex"),
        ask("GET /~/globex.api/v1"),
        ask("GET /~/globex.absent/v1"),
    ];
    for ask in asks {
        let answer = world.send(&ask).await;
        assert_eq!(answer.refusal(), refused(403, "ConnectionForbidden"));
    }
    assert_eq!(origin.conns(), 0);
}
