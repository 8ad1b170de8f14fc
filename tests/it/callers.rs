//! Who is asking (contract §3, "Caller").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::ask::{Ask, ask, stranger};
use crate::support::http2::request;
use crate::support::origin::Origin;
use crate::support::raw::refused;
use crate::support::token;
use crate::support::world::World;

const URL: &str = "GET https://api.example.test/v1";

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

fn with(value: &str) -> Ask {
    stranger(URL).field("Proxy-Authorization", value)
}

#[tokio::test]
async fn a_token_is_shown_as_bearer_or_as_the_password_of_basic() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let token = token("runner");
    for value in [
        format!("Bearer {token}"),
        format!("bearer {token}"),
        format!("BEARER   {token}"),
        basic(&format!("acme:{token}")),
        basic(&format!("acme.api:{token}")),
        basic(&format!(":{token}")),
        basic(&format!("{token}:")),
    ] {
        let answer = world.send(&with(&value)).await;
        assert_eq!(answer.status, 200, "{value}");
        assert_eq!(origin.last().field("proxy-authorization"), "");
    }
    for line in ["GET /v1", "GET /~/api/v1"] {
        let ask = ask(line).field("X-Zis-Host", "api.example.test");
        assert_eq!(world.send(&ask).await.status, 200, "{line}");
    }
}

#[tokio::test]
async fn without_a_known_token_a_proxys_caller_is_offered_basic_and_bearer() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let unknown = token("unknown");
    for ask in [
        stranger(URL),
        with(&format!("Bearer {unknown}")),
        with(&basic(&format!("acme:{unknown}"))),
        with(&format!("Bearer {}", &token("runner")[1..])),
        with(&format!("Bearer {}x", token("runner"))),
        with(&format!("Digest {}", token("runner"))),
        with("Bearer"),
        with("Basic !!!"),
        with("Basic "),
        with(""),
        stranger(URL).field("Authorization", "Bearer other"),
    ] {
        let answer = world.send(&ask).await;
        assert_eq!(answer.refusal(), refused(407, "CallerUnknown"));
        let offers: Vec<_> = answer.headers.get_all("proxy-authenticate").iter().collect();
        assert_eq!(
            offers,
            ["Basic realm=\"keyferry\", charset=\"UTF-8\"", "Bearer realm=\"keyferry\""]
        );
        assert!(!answer.headers.contains_key("www-authenticate"));
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn an_origins_caller_is_offered_basic_and_bearer_with_401() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for ask in [
        stranger("GET /v1").field("X-Zis-Host", "api.example.test"),
        stranger("GET /v1").host("api.example.test").field("X-Zis-Connection", "api"),
        stranger("GET /~/api/v1"),
        stranger("GET /~/api/v1").field("Authorization", &format!("Bearer {}", token("unknown"))),
        stranger("GET /~/api/v1").field("Authorization", "Bearer sk-other"),
    ] {
        let answer = world.send(&ask).await;
        assert_eq!(answer.refusal(), refused(401, "CallerUnknown"));
        let offers: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(
            offers,
            ["Basic realm=\"keyferry\", charset=\"UTF-8\"", "Bearer realm=\"keyferry\""]
        );
        assert!(!answer.headers.contains_key("proxy-authenticate"));
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn the_conn_goes_on_after_an_unknown_caller() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    assert_eq!(raw.send(&stranger(URL)).await.status, 407);
    assert_eq!(raw.send(&ask(URL)).await.status, 200);
    assert_eq!(raw.send(&stranger(URL)).await.status, 407, "each request is decided afresh");
}

#[tokio::test]
async fn a_token_that_has_ended_or_lacks_the_scope_is_refused() {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .token("ended", "acme", "expires_at = \"2020-01-01T00:00:00Z\"")
        .token("lasting", "acme", "expires_at = \"2090-01-01T00:00:00Z\"")
        .scoped_token("reader", "acme", "read", "")
        .scoped_token("boss", "acme", "admin", "")
        .run()
        .await;
    for (name, status, code) in
        [("ended", 407, "CallerUnknown"), ("reader", 403, "ConnectionForbidden")]
    {
        let answer = world.send(&stranger(URL).by(name)).await;
        assert_eq!(answer.refusal(), refused(status, code), "{name}");
    }
    for name in ["lasting", "boss"] {
        assert_eq!(world.send(&stranger(URL).by(name)).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn a_token_that_would_be_sent_on_is_refused() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let stray = token("runner");
    // Not UTF-8, and not padded: whoever reads it leniently would find the token all the same.
    let latin1 = [b"us\xe9r:".as_slice(), stray.as_bytes()].concat();
    // A space that is none in ASCII.
    let spaced = basic(&format!("us:{stray}")).replacen(' ', " \u{a0}", 1);
    let unpadded = basic(&format!("us:{stray}")).trim_end_matches('=').to_owned();
    for ask in [
        ask(URL).field("Authorization", &format!("Basic {}", STANDARD.encode(latin1))),
        ask(URL).field("Authorization", &unpadded),
        ask(URL).field("Cookie", &spaced),
        stranger("GET /~/api/v1")
            .field("Authorization", &format!("Bearer {stray}"))
            .field("Authorization", &format!("Bearer {}", token("another"))),
        stranger(URL)
            .field("Proxy-Authorization", &format!("Bearer {stray}"))
            .field("Proxy-Authorization", "Bearer another"),
        ask(&format!("GET https://{stray}.example.test/")),
        ask(URL).field("Authorization", &format!("Bearer {stray}")),
        ask(URL).field("Authorization", &basic(&format!("user:{stray}"))),
        ask(URL).field("Authorization", &basic(&format!("{stray}:pass"))),
        ask(URL).field("Cookie", &format!("a=b; session={stray}; c=d")),
        ask(URL).field("X-Api-Key", &stray),
        ask(URL).field("X-Api-Key", &format!("x{stray}x")),
        ask(URL).field("X-Zis-Anything", &stray),
        ask(URL).field("User-Agent", &format!("tool/1 ({})", token("another"))),
        ask(&format!("{URL}?key={stray}")),
        ask(&format!("{URL}/{stray}/x")),
        ask(&format!("GET /~/api/v1?key={stray}")),
        ask("GET /~/api/v1").field("Authorization", &format!("Bearer {stray}")),
        ask("GET /v1").field("X-Zis-Host", "api.example.test").field("Authorization", &stray),
    ] {
        let answer = world.send(&ask).await;
        assert_eq!(answer.refusal(), refused(400, "MalformedRequest"));
        assert!(!answer.text().contains("kf_") && !format!("{:?}", answer.headers).contains("kf_"));
    }
    assert_eq!(origin.conns(), 0);
    for fine in ["kf_short", "KF_", "https://x/kf_y"] {
        assert_eq!(world.send(&ask(URL).field("X-Note", fine)).await.status, 200, "{fine}");
    }
}

#[tokio::test]
async fn a_refusal_says_what_stands_in_the_place_of_a_token() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let whole = token("runner");
    let sdk = |field: &str, value: &str| stranger("GET /~/api/v1").field(field, value);
    let other = "Proxy-Authorization does not hold an access token of this proxy";
    let none = "No access token: send one in Proxy-Authorization.";
    for (ask, title) in [
        (stranger(URL), none),
        (with("Bearer"), none),
        (with(&basic("acme:")), none),
        (with("Bearer sk-live-0123456789"), other),
        (with("sk-live-0123456789"), other),
        (with(&basic("acme:hunter2")), other),
        (with(&basic("acme:kf_short")), "The access token is not whole"),
        (with(&format!("Digest {whole}")), "The access token is not whole, or its scheme"),
        (with(&format!("Bearer {}", token("unknown"))), "The access token is not known"),
        (
            sdk("Authorization", "Bearer sk-live-0123456789"),
            "The key in the field authorization is",
        ),
        (sdk("X-Api-Key", "sk-live-0123456789"), "The key in the field x-api-key is not"),
        (
            sdk("Authorization", "Bearer kf_short"),
            "The access token is not whole, or its scheme is neither Bearer nor Basic: an access \
             token is kf_ and 43 characters",
        ),
        (sdk("Authorization", &basic("u:kf_short")), "The access token is not whole"),
        (sdk("Accept", "*/*"), "No access token: use one as the API key"),
    ] {
        let answer = world.send(&ask).await;
        let told = answer.title();
        assert!(answer.code() == "CallerUnknown" && told.starts_with(title), "{title}: {told}");
        let shown = format!("{answer:?} {}", answer.text());
        assert!(!shown.contains("sk-live") && !shown.contains("hunter2"), "{shown}");
    }
    let stray = |ask: Ask, field: &str| ask.field(field, &format!("Bearer {whole}"));
    let base = ask("GET /~/api/v1");
    for (ask, words) in [
        (
            stray(ask(URL), "Authorization"),
            "in the field proxy-authorization and in the field authorization, in which it would be \
             sent on: send one, in Proxy-Authorization alone.",
        ),
        (stray(base, "X-Note"), "send one, in Authorization or Proxy-Authorization alone."),
        (
            stray(stranger(URL), "Cookie"),
            "stands in the field cookie, in which it would be sent on",
        ),
        (
            stray(ask(URL), &"x".repeat(100)),
            "in the field proxy-authorization and in another field",
        ),
        (stray(ask(URL), &whole), "in the field proxy-authorization and in another field"),
        (sdk("X-Note", &whole), "stands in the field x-note, which is not the connection's"),
    ] {
        let answer = world.send(&ask).await;
        assert!(
            answer.code() == "MalformedRequest" && answer.title().contains(words),
            "{answer:?}"
        );
    }
    let mut tunnel = world.tunnel().await;
    let inside = stranger("GET /v1").host("api.example.test");
    let told = tunnel.send(&stray(inside, "Authorization")).await.title();
    assert!(told.contains("the field authorization") && told.contains("CONNECT"), "{told}");
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn userinfo_in_the_target_is_no_place_for_a_token() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let line = format!("GET https://acme:{}@api.example.test/v1", token("runner"));
    let answer = world.send(&stranger(&line)).await;
    assert_eq!(answer.status, 400);
    assert_eq!(origin.conns(), 0);
    world.log.all_entries(1).await;
    assert!(!world.log.text().contains(&token("runner")), "{}", world.log.text());
}

/// Without tokens: the anonymous caller belongs to `acme`.
fn open(origin: &Origin) -> World {
    World::new(origin)
        .set("proxy.caller_auth", "\"none\"")
        .set("proxy.default_integration", "\"acme\"")
        .bearer("globex.api", "api.example.test", "globex-secret")
}

#[tokio::test]
async fn without_caller_auth_a_program_needs_no_token() {
    let origin = Origin::start().await;
    let world = open(&origin).run().await;
    for ask in [
        stranger(URL),
        stranger("GET /v1").field("X-Zis-Host", "api.example.test"),
        stranger("GET /~/api/v1").field("X-Zis-Connection", "api"),
        stranger(URL).field("Sec-Fetch-Site", "none"),
        stranger(URL).field("Sec-Fetch-Site", "same-origin"),
    ] {
        assert_eq!(world.send(&ask).await.status, 200);
        assert_eq!(origin.last().field("authorization"), "Bearer bearer-secret");
    }
    let other = stranger(URL).field("X-Zis-Integration", "globex");
    assert_eq!(world.send(&other).await.refusal(), refused(403, "ConnectionForbidden"));
    let entry = world.log.entry(|entry| entry["status"] == 200).await;
    assert_eq!(entry["caller"], "anonymous");
}

#[tokio::test]
async fn without_caller_auth_web_pages_are_kept_out() {
    let origin = Origin::start().await;
    let world = open(&origin).run().await;
    let tagged = || stranger("GET /v1").field("X-Zis-Host", "api.example.test");
    for ask in [
        tagged().field("Origin", "https://evil.test"),
        tagged().field("Origin", "null"),
        tagged().field("Sec-Fetch-Site", "cross-site"),
        tagged().field("Sec-Fetch-Site", "same-site"),
        tagged().field("Sec-Fetch-Site", "none").field("Sec-Fetch-Site", "cross-site"),
        stranger(URL).field("Origin", "https://evil.test"),
        stranger("GET /~/api/v1"),
        stranger("POST /~/api/v1").body("a=b"),
    ] {
        let answer = world.send(&ask).await;
        assert_eq!(answer.refusal(), refused(403, "ConnectionForbidden"));
    }
    let mut http2 = world.http2().await;
    let paged = request("GET", "https://api.example.test/v1").header("origin", "https://evil.test");
    assert_eq!(http2.send(paged).await.refusal(), refused(403, "ConnectionForbidden"));
    let by_host = || stranger("GET /v1").field("X-Zis-Connection", "api");
    for rebound in [tagged().host("evil.test"), by_host().host("api.example.test")] {
        assert_eq!(world.send(&rebound).await.refusal(), refused(421, "MisdirectedRequest"));
    }
    assert_eq!(origin.conns(), 0);
}
