//! Custom connections: several secrets, in fields, in the query and in the path, at several domains.

use http::Response;
use http_body_util::Full;
use serde_json::json;
use tokio::sync::watch;

use crate::support::ask::{Ask, ask, stranger};
use crate::support::http2::request;
use crate::support::origin::{Origin, Seen, ok};
use crate::support::raw::refused;
use crate::support::token;
use crate::support::world::{Running, World};

const API: &str = "api.example.test";
const OTHER: &str = "eu.wild.example.test";

const DATADOG: &str = "\
    allowed_domains = [\"api.example.test\"]\n\
    secrets = { api = \"dd-api-key\", app = \"dd-app-key\" }\n\
    inject = [\n\
        { in = \"header\", name = \"DD-API-KEY\", value = \"{api}\" },\n\
        { in = \"header\", name = \"DD-APPLICATION-KEY\", value = \"{app}\" },\n\
    ]";
const GOOGLE: &str = "\
    allowed_domains = [\"api.example.test\"]\n\
    secrets = { key = \"AIza/google+key\" }\n\
    inject = [{ in = \"query\", name = \"key\", value = \"{key}\" }]";
const TELEGRAM: &str = "\
    allowed_domains = [\"api.example.test\"]\n\
    secrets = { token = \"110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5\" }\n\
    inject = [{ in = \"path\", placeholder = \"bot-KEYFERRY\", value = \"bot{token}\" }]";
const SHOPIFY: &str = "\
    allowed_domains = [\"api.example.test\"]\n\
    secrets = { token = \"shpat_secret\" }\n\
    inject = [{ in = \"header\", name = \"X-Shopify-Access-Token\", value = \"{token}\" }]";

/// The path that Telegram's origin sees.
const FILLED: &str = "/bot110201543%3AAAHdqTcvCH1vGWJxfSeofSAs0K5";

async fn scene(alpn: &[&str], connections: &[(&str, &str)]) -> (Origin, Running) {
    let origin = Origin::answering(alpn, |_seen| ok("ok")).await;
    let world = World::empty().token("runner", "acme", "").pin(API, &origin).pin(OTHER, &origin);
    let world = connections.iter().fold(world, |world, (name, rest)| world.custom(name, rest));
    (origin, world.run().await)
}

fn by(connection: &str, line: &str) -> Ask {
    ask(line).field("X-Zis-Connection", connection)
}

#[tokio::test]
async fn each_api_gets_its_secrets_where_it_looks_for_them() {
    let connections = [
        ("acme.datadog", DATADOG),
        ("acme.google", GOOGLE),
        ("acme.telegram", TELEGRAM),
        ("acme.shopify", SHOPIFY),
    ];
    let (origin, server) = scene(&["http/1.1"], &connections).await;
    let seen = async |name: &str, line: &str| {
        assert_eq!(server.send(&by(name, line)).await.status, 200, "{name}");
        origin.last()
    };
    let datadog = seen("datadog", "POST https://api.example.test/api/v1/series").await;
    assert_eq!(
        datadog.names(),
        ["content-length", "dd-api-key", "dd-application-key", "host", "via"]
    );
    assert_eq!(datadog.field("dd-api-key"), "dd-api-key");
    assert_eq!(datadog.field("dd-application-key"), "dd-app-key");
    let google = seen("google", "GET https://api.example.test/maps?address=a%20b").await;
    assert_eq!(google.target, "/maps?address=a%20b&key=AIza%2Fgoogle%2Bkey");
    assert_eq!(google.names(), ["host", "via"]);
    let telegram = seen("telegram", "GET https://api.example.test/bot-KEYFERRY/getMe?a=1").await;
    assert_eq!(telegram.target, format!("{FILLED}/getMe?a=1"));
    let shopify = seen("shopify", "GET https://api.example.test/admin/api/shop.json").await;
    assert_eq!(shopify.field("x-shopify-access-token"), "shpat_secret");
}

#[tokio::test]
async fn a_secret_stands_in_the_target_in_every_form_and_over_http2() {
    for alpn in [["http/1.1"], ["h2"]] {
        let connections = [("acme.telegram", TELEGRAM)];
        let (origin, server) = scene(&alpn, &connections).await;
        let expected = format!("{FILLED}/getMe?a=%3C");
        let mut sent = 0;
        let mut is_filled = |form: &str| {
            sent += 1;
            assert_eq!(origin.seen().len(), sent, "{form}");
            let seen = origin.last().target;
            let target = seen.strip_prefix("https://api.example.test").unwrap_or(&seen);
            assert_eq!(target, expected, "{form} {alpn:?}");
        };
        let target = "/bot-KEYFERRY/getMe?a=%3C";
        assert_eq!(server.send(&ask(&format!("GET https://{API}{target}"))).await.status, 200);
        is_filled("absolute-form");
        let gateway = ask(&format!("GET {target}")).field("X-Zis-Host", API);
        assert_eq!(server.send(&gateway).await.status, 200);
        is_filled("gateway");
        let base = stranger(&format!("GET /~/telegram{target}")).by("runner");
        assert_eq!(server.send(&base).await.status, 200);
        is_filled("base URL");
        let tunnel = server.connect(&ask(&format!("CONNECT {API}:443"))).await;
        let mut inside = server.shake(tunnel, API, &["http/1.1"]).await.unwrap();
        let get = stranger(&format!("GET {target}")).host(API);
        assert_eq!(inside.send(&get).await.status, 200);
        is_filled("tunnel");
        let mut caller = server.http2().await;
        let answer = caller.send(request("GET", &format!("https://{API}{target}"))).await;
        assert_eq!(answer.status, 200);
        is_filled("HTTP/2");
    }
}

#[tokio::test]
async fn a_websockets_handshake_has_the_secrets_in_their_places_and_no_copies() {
    let answer = "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let origin = Origin::saying(answer, false).await;
    let streams = "\
        allowed_domains = [\"api.example.test\"]\n\
        secrets = { key = \"ws/key\", token = \"ws-token\" }\n\
        inject = [\n\
            { in = \"header\", name = \"X-Api-Key\", value = \"{key}\" },\n\
            { in = \"query\", name = \"key\", value = \"{key}\" },\n\
            { in = \"path\", placeholder = \"KEYFERRY\", value = \"bot{token}\" },\n\
        ]";
    let world = World::empty().token("runner", "acme", "").pin(API, &origin);
    let server = world.custom("acme.streams", streams).run().await;
    let target = "/KEYFERRY/stream?a=1&KEY=mine";
    let bearer = format!("Bearer {}", token("runner"));
    let forms = [
        by("streams", &format!("GET https://{API}{target}")),
        by("streams", &format!("GET {target}")).field("X-Zis-Host", API),
        stranger(&format!("GET /~/streams{target}")).field("Authorization", &bearer),
    ];
    for form in forms {
        let handshake = form
            .field("Connection", "Upgrade")
            .field("Upgrade", "websocket")
            .field("Sec-WebSocket-Version", "13")
            .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .field("x_api_key", "mine")
            .field("X-Api-Key", "mine");
        let mut raw = server.raw().await;
        assert_eq!(raw.send(&handshake).await.status, 101);
        let seen = origin.last();
        assert_eq!(seen.target, "/botws-token/stream?a=1&key=ws%2Fkey");
        assert_eq!(
            (seen.field("x-api-key"), seen.field("upgrade")),
            ("ws/key".into(), "websocket".into())
        );
        assert!(!format!("{seen:?}").contains("mine"), "{seen:?}");
    }
    let entry = server.log.all_entries(3).await.pop().unwrap();
    assert!(
        !entry.to_string().contains("ws-token") && !entry.to_string().contains("key="),
        "{entry}"
    );
}

#[tokio::test]
async fn no_copy_of_a_caller_passes_in_any_spelling() {
    let connections = [("acme.google", GOOGLE), ("acme.datadog", DATADOG)];
    let (origin, server) = scene(&["http/1.1"], &connections).await;
    for own in ["key=mine", "KEY=mine", "k%65y=mine", "%256bey=mine", "key[]=mine", "+key=mine"] {
        let line = format!("GET https://{API}/v1?a=1&{own}&b=%2F");
        assert_eq!(server.send(&by("google", &line)).await.status, 200, "{own}");
        assert_eq!(origin.last().target, "/v1?a=1&b=%2F&key=AIza%2Fgoogle%2Bkey", "{own}");
    }
    let forged = by("datadog", &format!("GET https://{API}/v1"))
        .field("DD-API-KEY", "mine")
        .field("dd_api_key", "mine")
        .field("Dd.Application-Key", "mine")
        .field("DD_APPLICATION_KEY", "mine");
    assert_eq!(server.send(&forged).await.status, 200);
    assert_eq!(origin.last().names(), ["dd-api-key", "dd-application-key", "host", "via"]);
    assert!(!format!("{:?}", origin.seen()).contains("mine"));
    // What only some servers take for the parameter is refused.
    let before = origin.seen().len();
    let answer = server.send(&by("google", &format!("GET https://{API}/v1?a=1;key=x"))).await;
    assert_eq!(answer.refusal(), refused(403, "RequestNotAllowed"));
    assert!(answer.title().contains("separates parameters by &"), "{}", answer.title());
    assert_eq!(origin.seen().len(), before);
}

#[tokio::test]
async fn a_path_without_its_placeholder_is_refused_and_nothing_is_dialed() {
    let (origin, server) = scene(&["http/1.1"], &[("acme.telegram", TELEGRAM)]).await;
    for path in [
        "/getMe",
        "/bot-keyferry/getMe",
        "/bot-KEYFERRY/bot-KEYFERRY",
        "/bot-KEYFERRY/b%6ft-KEYFERRY",
        "/x?/bot-KEYFERRY/",
        "/bot-KEYFERRY%2FgetMe",
    ] {
        let answer = server.send(&ask(&format!("GET https://{API}{path}"))).await;
        assert_eq!(answer.refusal(), refused(403, "RequestNotAllowed"), "{path}");
        assert!(answer.title().contains("the segment bot-KEYFERRY exactly once"), "{path}");
    }
    assert_eq!(origin.conns(), 0);
    let long = format!("GET https://{API}/bot-KEYFERRY/{}", "a".repeat(65_000));
    let answer = server.send(&ask(&long).field("X", &"x".repeat(300))).await;
    assert!(answer.status == 431 || answer.status == 200, "{answer:?}");
}

#[tokio::test]
async fn each_domain_gets_its_own_secret_and_no_other_any() {
    let rest = "\
        allowed_domains = [\n\
            \"api.example.test\",\n\
            { domain = \"*.wild.example.test\", inject = [{ in = \"header\", name = \"X-Other\", value = \"{other}\" }] },\n\
        ]\n\
        secrets = { own = \"own-secret\", other = \"other-secret\" }\n\
        inject = [{ in = \"query\", name = \"token\", value = \"{own}\" }]";
    let (origin, server) = scene(&["http/1.1"], &[("acme.both", rest)]).await;
    assert_eq!(server.send(&ask(&format!("GET https://{API}/a?token=x"))).await.status, 200);
    let seen = origin.last();
    assert_eq!(seen.target, "/a?token=own-secret");
    assert_eq!(seen.names(), ["host", "via"]);
    let line = format!("GET https://{OTHER}/b?token=x&c");
    let forged = ask(&line).field("X-Other", "x").field("x_other", "x");
    assert_eq!(server.send(&forged).await.status, 200);
    let seen = origin.last();
    assert_eq!((seen.target.as_str(), seen.field("x-other").as_str()), ("/b?c", "other-secret"));
    // Elsewhere nothing is sent, and a base URL must say which host is meant.
    let answer = server.send(&by("both", "GET https://evil.test/")).await;
    assert_eq!(answer.refusal(), refused(403, "DomainNotAllowed"));
    assert!(answer.title().contains("api.example.test, *.wild.example.test"), "{}", answer.title());
    let base = stranger("GET /~/both/c").by("runner");
    assert_eq!(server.send(&base).await.refusal(), refused(400, "MalformedRequest"));
    assert_eq!(server.send(&base.field("X-Zis-Host", OTHER)).await.status, 200);
    assert_eq!(origin.last().field("x-other"), "other-secret");
    let sent = format!("{:?}", origin.seen());
    assert_eq!(sent.matches("own-secret").count(), 1, "{sent}");
}

#[tokio::test]
async fn the_placeholder_says_which_connection_is_meant() {
    let (origin, server) = scene(
        &["http/1.1"],
        &[
            ("acme.telegram", TELEGRAM),
            (
                "acme.second",
                &TELEGRAM.replace("bot-KEYFERRY", "bot-SECOND").replace("110201", "22"),
            ),
        ],
    )
    .await;
    assert_eq!(server.send(&ask(&format!("GET https://{API}/bot-SECOND/a"))).await.status, 200);
    assert_eq!(origin.last().target, format!("{}/a", FILLED.replace("110201", "22")));
    let answer = server.send(&ask(&format!("GET https://{API}/a"))).await;
    assert_eq!(answer.refusal(), refused(403, "RequestNotAllowed"));
}

#[tokio::test]
async fn a_request_that_waited_leaves_with_the_secrets_of_then_wherever_they_stand() {
    let replaced = GOOGLE.replace("AIza", "next").replace("\"key\"", "\"apikey\"");
    let bearer = "[[connections]]\nintegration = \"acme\"\nname = \"waits\"\ntype = \
                  \"bearer_token\"\nallowed_domain = \"api.example.test\"\ntoken = \"plain\"\n";
    for (before, after, target) in [
        (Some(GOOGLE), Some(replaced.as_str()), "/bot-KEYFERRY?a&apikey=next%2Fgoogle%2Bkey"),
        (Some(GOOGLE), Some(TELEGRAM), FILLED),
        (Some(TELEGRAM), Some(GOOGLE), "/bot-KEYFERRY?a&key=AIza%2Fgoogle%2Bkey"),
        (Some(GOOGLE), None, "/bot-KEYFERRY?a"),
        (None, Some(GOOGLE), "/bot-KEYFERRY?a&key=AIza%2Fgoogle%2Bkey"),
    ] {
        let (open, gate) = watch::channel(false);
        let origin = Origin::gated(&["http/1.1"], gate, |_seen| ok("ok")).await;
        let world = World::empty().token("runner", "acme", "").pin(API, &origin);
        let with = |world: World, rest: Option<&str>| match rest {
            Some(rest) => world.custom("acme.waits", rest),
            None => world.table(bearer),
        };
        let mut server = with(world, before).run().await;
        let mut raw = server.raw().await;
        let get =
            ask(&format!("GET https://{API}/bot-KEYFERRY?a")).field("X-Zis-Connection", "waits");
        raw.write(get.bytes()).await;
        origin.has_conns(1).await;
        server.reload(|world| with(world.without("\"waits\""), after)).await;
        open.send_replace(true);
        assert_eq!(raw.answer().await.status, 200);
        let seen = origin.only();
        let expected =
            if after == Some(TELEGRAM) { format!("{target}?a") } else { target.to_owned() };
        assert_eq!(seen.target, expected);
        let field = if after.is_none() { "Bearer plain" } else { "" };
        assert_eq!(seen.field("authorization"), field, "{seen:?}");
    }
}

/// An origin that repeats the target, as errors and redirects do.
fn repeat(seen: &Seen) -> Response<Full<bytes::Bytes>> {
    let mut answer = ok(&format!("no such thing: {}", seen.target));
    let location = format!("https://{API}{}/", seen.target);
    answer.headers_mut().insert("location", location.parse().unwrap());
    answer.headers_mut().insert("x-target", seen.target.parse().unwrap());
    answer
}

#[tokio::test]
async fn what_an_origin_repeats_of_a_target_is_masked() {
    let origin = Origin::answering(&["http/1.1"], repeat).await;
    let masked = format!("{TELEGRAM}\nmask_echo = true");
    let server = World::empty()
        .token("runner", "acme", "")
        .pin(API, &origin)
        .custom("acme.telegram", &masked)
        .run()
        .await;
    let answer = server.send(&stranger("GET /~/telegram/bot-KEYFERRY/x").by("runner")).await;
    let shown = format!("{:?} {}", answer.headers, answer.text());
    assert!(!shown.contains("AAHdq") && !shown.contains("110201543"), "{shown}");
    let stars = "*".repeat(FILLED.len() - "/".len());
    assert_eq!(answer.field("x-target"), format!("/{stars}/x"));
    assert_eq!(answer.field("location"), format!("/~/telegram/{stars}/x/"));
    assert_eq!(answer.text(), format!("no such thing: /{stars}/x"));
}

#[tokio::test]
async fn entries_have_the_callers_path_and_no_log_has_more() {
    for alpn in [["http/1.1"], ["h2"]] {
        let origin = Origin::answering(&alpn, |_seen| ok("ok")).await;
        let both = TELEGRAM.replace(
            "inject = [",
            "inject = [{ in = \"query\", name = \"hash\", value = \"{token}\" }, ",
        );
        let server = World::empty()
            .with("RUST_LOG", "trace")
            .token("runner", "acme", "")
            .pin(API, &origin)
            .custom("acme.telegram", &both)
            .run()
            .await;
        let get = ask(&format!("GET https://{API}/bot-KEYFERRY/getMe?q=callers-query"));
        assert_eq!(server.send(&get).await.status, 200);
        assert!(origin.only().target.contains("&hash=110201543%3A"));
        let entry = server.log.entry_of("/bot-KEYFERRY/getMe").await;
        assert_eq!(entry["connection"], "telegram");
        let told = format!("{} {}", server.log.text(), server.api("/metrics").await.text());
        for hidden in ["AAHdqTcv", "110201543", "callers-query"] {
            assert!(!told.contains(hidden), "{hidden} over {alpn:?}");
        }
    }
}

#[tokio::test]
async fn explain_says_where_secrets_stand_and_never_what_they_are() {
    let origin = Origin::start().await;
    let server = World::empty()
        .scoped_token("reader", "acme", "read", "")
        .pin(API, &origin)
        .custom("acme.telegram", TELEGRAM)
        .custom("acme.google", GOOGLE)
        .run()
        .await;
    let explain = async |connection: &str, path: &str| {
        let question = json!({
            "method": "GET", "url": format!("https://{API}{path}"), "connection": connection,
        });
        let line = "POST /api/keyferry/v1/explain";
        server.manage_by(&token("reader"), line, Some(question)).await.json()
    };
    let told = explain("telegram", "/bot-KEYFERRY/getMe").await;
    assert_eq!(
        (&told["decision"], &told["field"]),
        (&json!("allow"), &json!("bot-KEYFERRY in the path"))
    );
    let told = explain("telegram", "/getMe").await;
    assert_eq!((&told["code"], &told["rule"]), (&json!("RequestNotAllowed"), &json!("rules")));
    let told = explain("google", "/v1").await;
    assert_eq!(told["field"], "key in the query");
    assert!(!told.to_string().contains("AIza"), "{told}");
}
