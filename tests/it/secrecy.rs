//! The canary: secrets that are found nowhere but at the origin they are for, whatever happens.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use rustix::process::Signal;
use serde_json::json;

use crate::support::ask::{Ask, ask, stranger};
use crate::support::collector::Collector;
use crate::support::http2::request;
use crate::support::operator::CONNECTIONS;
use crate::support::origin::{Conn, Origin, listen};
use crate::support::raw::Answer;
use crate::support::tls::{Leaf, TRUSTED};
use crate::support::token;
use crate::support::tunnel::API;
use crate::support::world::{Running, World, files_below};

/// What must not be seen: the connections' secrets, and the callers' tokens.
const BEARER: &str = "canary-bearer-7Qw3Zx9";
const KEY: &str = "canary-key-5Rt8Yb2";
const USER: &str = "canary-user-1Kd4";
const PASSWORD: &str = "canary-pass/word-6Hn0";
const NEXT: &str = "canary-next-9Lm2Pv";
const QUERY: &str = "canary-query/8Vn5Wd";
const SEGMENT: &str = "canary-segment:3Bc7Xf";
const PRINTED: &str = "canary-printed-2Gk8Tr";
const AWS: &str = "canary-aws/key+4Jp1Mz";
const SESSION: &str = "canary-session/5Ys7Qd";
const OLD: &str = "canary-old-6Vt3Hb";

/// The client certificate of a connection, whose key is a secret.
static CLIENT: LazyLock<Leaf> = LazyLock::new(|| TRUSTED.leaf(&["client.test"]));

fn secrets() -> Vec<String> {
    let pair = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let key = CLIENT.key.serialize_pem();
    // A line of it that no other key has.
    let key = key.lines().nth(2).unwrap();
    [
        BEARER,
        KEY,
        PASSWORD,
        NEXT,
        QUERY,
        SEGMENT,
        PRINTED,
        AWS,
        SESSION,
        OLD,
        key,
        &pair,
        &token("runner"),
        &token("newcomer"),
    ]
    .map(str::to_owned)
    .into()
}

/// All spellings under which a secret may leak.
pub(crate) fn spellings(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let each = |write: fn(u8) -> String, between: &str| {
        bytes.iter().map(|byte| write(*byte)).collect::<Vec<_>>().join(between)
    };
    let percent = each(percent, "");
    let mut spellings: Vec<Vec<u8>> = [
        each(|byte| format!("{byte:02x}"), ""),
        each(|byte| format!("{byte:02X}"), ""),
        each(|byte| format!("%{byte:02X}"), ""),
        each(|byte| byte.to_string(), ", "),
        percent.to_ascii_lowercase(),
        percent,
        secret.to_owned(),
        secret.chars().rev().collect(),
    ]
    .map(String::into_bytes)
    .into();
    // In base64 a piece looks different at each of three places; its ends depend on neighbors.
    for skip in 0..3 {
        let inner = &bytes[skip..];
        let inner = &inner[..inner.len() - inner.len() % 3];
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            spellings.push(engine.encode(inner).into_bytes());
        }
    }
    spellings.extend([STANDARD.encode(bytes).into_bytes(), URL_SAFE.encode(bytes).into_bytes()]);
    spellings
}

fn percent(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02X}") }
}

fn assert_silent(place: &str, bytes: &[u8]) {
    for secret in secrets() {
        for spelling in spellings(&secret) {
            let found = memchr::memmem::find(bytes, &spelling);
            assert!(found.is_none(), "{place} has {secret}");
        }
    }
}

/// What a caller was answered.
fn wire(answer: &Answer) -> Vec<u8> {
    let head = format!("{:?} {:?}", answer.headers, answer.trailers);
    [head.as_bytes(), &answer.body].concat()
}

fn world(origin: &Origin, dead: &str) -> World {
    World::empty()
        .file("bearer", BEARER)
        .file("password", &format!("{PASSWORD}\n"))
        .connection(
            "acme.bearer",
            "api.example.test",
            "type = \"bearer_token\"\ntoken = { file = \"bearer\" }",
        )
        .connection(
            "acme.key",
            "api.example.test",
            "type = \"api_key\"\nheader_name = \"X-Api-Key\"\napi_key = { env = \"CANARY\" }",
        )
        .connection(
            "acme.basic",
            "api.example.test",
            &format!(
                "type = \"basic_auth\"\nusername = \"{USER}\"\npassword = {{ file = \"password\" }}"
            ),
        )
        .file("query", QUERY)
        .custom(
            "acme.query",
            "allowed_domains = [\"api.example.test\"]\nsecrets = { a = { file = \"query\" } }\n\
             inject = [{ in = \"query\", name = \"hash\", value = \"{a}\" }]",
        )
        .file("segment", SEGMENT)
        .custom(
            "acme.segment",
            "allowed_domains = [\"api.example.test\"]\nsecrets = { a = { file = \"segment\" } }\n\
             inject = [{ in = \"path\", placeholder = \"KEYFERRY\", value = \"bot{a}\" }]",
        )
        .file("printed", PRINTED)
        .connection(
            "acme.printed",
            "api.example.test",
            "type = \"bearer_token\"\n\
             token = { command = [\"/bin/cat\", \"printed\"], ttl = \"1h\" }",
        )
        .file("aws", AWS)
        .file("session", SESSION)
        .connection(
            "acme.aws",
            "api.example.test",
            "type = \"aws_sigv4\"\naccess_key_id = \"AKIDEXAMPLE\"\n\
             secret_access_key = { file = \"aws\" }\nsession_token = { file = \"session\" }\n\
             region = \"us-east-1\"\nservice = \"lambda\"",
        )
        .file("client.pem", &CLIENT.pem)
        .file("client.key", &CLIENT.key.serialize_pem())
        .connection(
            "acme.certified",
            "api.example.test",
            "type = \"bearer_token\"\ntoken = { file = \"bearer\" }\n\
             client_certificate = { file = \"client.pem\" }\nclient_key = { file = \"client.key\" }",
        )
        .bearer("acme.dead", "other.example.test", NEXT)
        .token("runner", "acme", "")
        .token("newcomer", "*", "")
        .with("CANARY", KEY)
        .with("RUST_LOG", "trace")
        .pin("api.example.test", origin)
        .pin_to("other.example.test:443", dead)
}

/// Every journey: each form, each type, and what goes wrong on the way.
fn journeys() -> Vec<Ask> {
    let runner = token("runner");
    let mut asks = Vec::new();
    for name in [
        "bearer",
        "key",
        "basic",
        "dead",
        "absent",
        "query",
        "segment",
        "printed",
        "aws",
        "certified",
    ] {
        for path in ["/fine", "/cut", "/garbage", "/closed", "/auth", "/fine/KEYFERRY?hash=x"] {
            asks.push(
                ask(&format!("GET https://api.example.test{path}")).field("X-Zis-Connection", name),
            );
            asks.push(
                stranger(&format!("POST /~/{name}{path}"))
                    .field("Authorization", &format!("Bearer {runner}"))
                    .body("x"),
            );
            asks.push(
                ask(&format!("GET {path}"))
                    .field("X-Zis-Host", "api.example.test")
                    .field("X-Zis-Connection", name),
            );
        }
    }
    let basic = STANDARD.encode(format!("acme.bearer:{runner}"));
    asks.extend([
        ask("GET https://other.example.test/unreachable"),
        stranger("GET https://api.example.test/basic")
            .field("Proxy-Authorization", &format!("Basic {basic}")),
        stranger("GET https://api.example.test/twice")
            .field("Proxy-Authorization", &format!("Basic {basic}x")),
        stranger("GET https://api.example.test/digest")
            .field("Proxy-Authorization", &format!("Digest {runner}")),
        ask("GET https://api.example.test/stray").field("Cookie", &runner),
        ask(&format!("GET https://api.example.test/{runner}")),
        ask(&format!("GET https://api.example.test/?key={runner}")),
        ask(&format!("GET https://user:{runner}@api.example.test/")),
        ask(&format!("{runner} https://api.example.test/")),
        ask(&format!("GET https://{runner}/")),
        ask("GET https://api.example.test/").host(&runner),
        ask("GET /").field("X-Zis-Host", &runner),
        ask("GET /").field("X-Zis-Connection", &runner),
        ask(&format!("GET /~/{runner}/v1")),
        stranger(&format!("GET /~/{runner}.x/v1")),
        stranger(&format!("GET /{runner} /v1")),
        stranger("GET /").field(&runner, "x"),
        ask("TRACE https://api.example.test/trace").field("X-Zis-Connection", "bearer"),
        ask("GET https://api.example.test:8443/port").field("X-Zis-Connection", "key"),
        ask("GET https://evil.test/domain").field("X-Zis-Connection", "basic"),
        stranger("GET https://api.example.test/").by("newcomer"),
    ]);
    asks
}

async fn rude() -> Origin {
    Origin::scripted(|mut conn: Conn| async move {
        let Some(head) = conn.head().await else { return };
            let target = head.split(' ').nth(1).unwrap();
            let said = match target.split('?').next().unwrap() {
                "/cut" => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
                "/garbage" => "what?\r\n\r\n",
                "/closed" => "",
                "/auth" => "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            };
        conn.raw.write(said).await;
    })
    .await
}

/// Everything that can be seen of the program from outside.
async fn look(world: &Running) {
    assert_silent("metrics", &wire(&world.api("/metrics").await));
    assert_silent("standard output", world.greeting.text().as_bytes());
    let pid = world.pid();
    assert_silent("the command line", &std::fs::read(format!("/proc/{pid}/cmdline")).unwrap());
    // What the operator put there is there; nothing that came from elsewhere joins it.
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let environ = String::from_utf8_lossy(&environ).replace(KEY, "");
    assert_silent("the environment", environ.as_bytes());
    for (path, content) in files_below(&world.world.path("data")) {
        assert_silent(&path.display().to_string(), &content);
    }
}

#[tokio::test]
async fn no_secret_is_seen_anywhere_but_at_its_origin() {
    let origin = rude().await;
    let dead = listen().await.local_addr().unwrap().to_string();
    let collector = Collector::start().await;
    let world = world(&origin, &dead).set("telemetry.otlp_endpoint", &collector.url());
    let mut world = world.run().await;
    for ask in journeys() {
        let answer = world.send(&ask).await;
        assert_silent("an answer", &wire(&answer));
    }
    let mut http2 = world.http2().await;
    for url in ["https://api.example.test/fine", "https://other.example.test/"] {
        let connection = if url.contains("other") { "dead" } else { "basic" };
        let answer = http2.send(request("GET", url).header("x-zis-connection", connection)).await;
        assert_silent("an answer over HTTP/2", &wire(&answer));
    }
    for garbage in
        [format!("GET {}\r\n\r\n", token("runner")), format!("{}\0\r\n\r\n", token("runner"))]
    {
        assert_silent("an answer to garbage", &world.exchange(garbage).await);
    }
    look(&world).await;
    let next = token("newcomer");
    world.change(|world| {
        world.file("bearer", NEXT).set("proxy.idle_timeout", &format!("\"{next}\""))
    });
    world.log.find(|line| line.contains("was not reloaded").then_some(())).await;
    world.reload(|world| world.set("proxy.idle_timeout", "\"60s\"")).await;
    world.send(&ask("GET https://api.example.test/fine").field("X-Zis-Connection", "bearer")).await;
    look(&world).await;
    assert_origin_had_them(&origin);
    world.signal(Signal::TERM);
    world.ended().await;
    for line in world.log.text().lines() {
        assert_silent(line, line.as_bytes());
    }
    assert!(!collector.spans().is_empty());
    assert_silent("the spans", &collector.bytes());
}

/// Everything that an operator does with connections of each type, right and wrong, by the API and
/// by the console; gives what was answered.
async fn operate(server: &Running) -> Vec<Answer> {
    let (of_zis, typed) = (CONNECTIONS, "/api/keyferry/v1/integrations/acme/connections");
    let mut answers = Vec::new();
    // 1. Connections are made, seen and changed; some changes are wrong.
    let key = CLIENT.key.serialize_pem();
    let certified = json!({
        "name": "kept", "allowed_domain": "api.example.test", "token": OLD,
        "client_certificate": CLIENT.pem, "client_key": key,
    });
    let aws = json!({
        "type": "aws_sigv4", "name": "signing", "allowed_domain": "api.example.test",
        "access_key_id": "AKIDEXAMPLE", "secret_access_key": AWS, "session_token": SESSION,
        "region": "us-east-1", "service": "lambda",
    });
    let custom = json!({
        "type": "custom", "name": "placed", "allowed_domains": ["api.example.test"],
        "secrets": {"a": QUERY, "b": SEGMENT}, "inject": [
            {"in": "query", "name": "hash", "value": "{a}"},
            {"in": "path", "placeholder": "KEYFERRY", "value": "bot{b}"},
        ],
    });
    let (kept, new) = (format!("{of_zis}/bearer_token/kept"), format!("{of_zis}/bearer_token"));
    for (line, body) in [
        (format!("POST {new}"), Some(certified)),
        (format!("POST {typed}"), Some(aws)),
        (format!("POST {typed}"), Some(custom)),
        (format!("PATCH {kept}"), Some(json!({"token": NEXT, "keep_old_for": "10m"}))),
        (format!("PATCH {kept}"), Some(json!({"tokn": NEXT, "client_key": OLD}))),
        (format!("PATCH {typed}/signing"), Some(json!({"secret_access_key": AWS, "region": AWS}))),
        (format!("PATCH {typed}/placed"), Some(json!({"secrets": {"c": QUERY, "a": ""}}))),
        (format!("GET {kept}"), None),
        (format!("GET {typed}/signing"), None),
        (format!("GET {typed}/placed"), None),
        (format!("GET {typed}"), None),
        (format!("GET {of_zis}/all"), None),
    ] {
        answers.push(server.manage(&line, body).await);
    }
    assert_eq!(answers.iter().map(|it| it.status).collect::<Vec<_>>()[..4], [201, 201, 201, 204]);
    // 2. Programs use them; the old secret is used where the new one is refused.
    for path in ["/auth", "/fine/KEYFERRY", "/garbage", "/closed"] {
        for name in ["kept", "signing", "placed"] {
            let get = format!("GET https://api.example.test{path}");
            answers.push(server.send(&ask(&get).field("X-Zis-Connection", name)).await);
        }
    }
    // 3. Somebody looks at all of it in the console, and fills in forms wrongly.
    let admin = std::fs::read_to_string(server.world.path("data/admin.token")).unwrap();
    let visitor = server.sign_in(admin.trim()).await;
    let page = "/console/i/acme/connections";
    let wrong = [("name", "a b"), ("secret_access_key", AWS), ("session_token", SESSION)];
    answers.push(visitor.post(&format!("{page}/new/aws_sigv4"), &wrong).await);
    let wrong = [("secret_name_1", "a b"), ("secret_1", QUERY), ("inject", "X")];
    answers.push(visitor.post(&format!("{page}/new/custom"), &wrong).await);
    let wrong = [("client_key", key.as_str()), ("rules", "allow"), ("enabled", "yes")];
    answers.push(visitor.post(&format!("{page}/bearer_token/kept/options"), &wrong).await);
    let wrong = [("secret_access_key", AWS), ("region", "a b")];
    answers.push(visitor.post(&format!("{page}/aws_sigv4/signing/secret"), &wrong).await);
    for path in ["bearer_token/kept", "aws_sigv4/signing", "custom/placed"] {
        answers.push(visitor.get(&format!("{page}/{path}")).await);
    }
    for below in ["connections", "activity", "events", "system"] {
        answers.push(visitor.get(&format!("/console/i/acme/{below}")).await);
    }
    // 4. Auditors read what has happened.
    for line in ["GET /api/keyferry/v1/events", "GET /api/keyferry/v1/audit"] {
        answers.push(server.manage(line, None).await);
    }
    answers
}

#[tokio::test]
async fn no_secret_that_is_kept_is_seen_anywhere_but_at_its_origin() {
    let origin = rude().await;
    let world = World::empty().keeping().with("RUST_LOG", "trace").token("runner", "acme", "");
    let mut server = world.pin("api.example.test", &origin).run().await;
    for answer in operate(&server).await {
        assert_silent("an answer", &wire(&answer));
    }
    look(&server).await;
    let sent = format!("{:?}", origin.seen()).replace("%2F", "/").replace("%3A", ":");
    for secret in [OLD, NEXT, QUERY, SEGMENT, SESSION] {
        assert!(sent.contains(secret), "{secret} was never sent");
    }
    assert!(!sent.contains(AWS), "the key that signs was sent");
    server.signal(Signal::TERM);
    server.ended().await;
    for line in server.log.text().lines() {
        assert_silent(line, line.as_bytes());
    }
}

/// The canary sings: had nothing been sent, nothing could have leaked.
fn assert_origin_had_them(origin: &Origin) {
    let sent = format!("{:?}", origin.seen());
    let pair = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let sent = sent.replace("%2F", "/").replace("%3A", ":");
    assert!(!sent.contains(AWS), "the key that signs was sent");
    for secret in [BEARER, KEY, NEXT, QUERY, SEGMENT, PRINTED, SESSION, &pair] {
        assert!(sent.contains(secret), "{secret} was never sent");
    }
    for name in ["runner", "newcomer"] {
        assert!(!sent.contains(&token(name)), "a caller's token reached the origin");
    }
}

#[tokio::test]
async fn a_credential_that_an_origin_repeats_is_masked_in_the_cause() {
    let config = TRUSTED.leaf(&["names-the-secret"]).serve(&["http/1.1"]);
    let origin = Origin::scripted_with(config, |_conn: Conn| async {}).await;
    for (secret, shown) in [("names-the-secret", "*****"), ("another", "names-the-secret")] {
        let world = World::empty().bearer("acme.api", API, secret).token("runner", "acme", "");
        let server = world.pin(API, &origin).run().await;
        assert_eq!(server.send(&ask("GET https://api.example.test/v1")).await.status, 502);
        let entry = server.log.entry_of("/v1").await;
        let cause = entry["cause"].as_str().unwrap();
        assert!(cause.contains("certificate") && cause.contains(shown), "{cause}");
        assert!(!cause.contains(secret), "{cause}");
    }
}

#[tokio::test]
async fn the_environment_of_the_process_hides_what_it_can() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let status = std::fs::read_to_string(format!("/proc/{}/limits", world.pid())).unwrap();
    let core = status.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[tokio::test]
async fn ambient_variables_divert_nothing() {
    let origin = Origin::start().await;
    let trap = Origin::on(listen(), |io, _, _| async move { drop(io) }).await;
    let proxy = format!("http://{}", trap.address);
    let mut world = World::new(&origin);
    let keys = world.path("keys.log");
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"]
    {
        world = world.with(name, &proxy);
    }
    let world = world
        .with("SSLKEYLOGFILE", keys.to_str().unwrap())
        .with("SSL_CERT_FILE", "/nowhere")
        .with("SSL_CERT_DIR", "/nowhere")
        .with("KEYFERRY_PORT", "tcp://10.0.0.1:80")
        .run()
        .await;
    assert_eq!(world.send(&ask("GET https://api.example.test/v1")).await.status, 200);
    assert_eq!((origin.conns(), trap.conns()), (1, 0));
    assert!(!keys.exists());
}

#[test]
fn debug_of_what_holds_a_secret_does_not_show_it() {
    let origin_free = World::empty()
        .file("bearer", BEARER)
        .connection(
            "acme.bearer",
            "api.example.test",
            "type = \"bearer_token\"\ntoken = { file = \"bearer\" }",
        )
        .key("acme.key", "api.example.test", "X-Api-Key", KEY)
        .basic("acme.basic", "api.example.test", USER, PASSWORD)
        .token("runner", "acme", "");
    let options =
        keyferry::config::Options { config: Some(origin_free.write()), ..Default::default() };
    let environment = keyferry::config::Environment::from_iter([("CANARY", KEY)]);
    assert_silent("Environment", format!("{environment:?}").as_bytes());
    let loaded = keyferry::config::load(&options, &environment).unwrap();
    assert_silent("Config", format!("{:#?} {:?}", loaded.config, loaded.warnings).as_bytes());
    let assembly = keyferry::app::Assembly {
        metrics: std::sync::Arc::default(),
        own: keyferry::upstream::OwnListeners::default(),
        names: std::sync::Arc::new(keyferry::upstream::NameLookups::new(std::sync::Arc::new(
            keyferry::upstream::SystemResolver,
        ))),
        admin: None,
        clock: keyferry::clock::Clock::system(),
    };
    let in_force = assembly.assemble(&loaded.config, 0, None).unwrap();
    assert_silent("InForce", format!("{in_force:#?}").as_bytes());
    let secret = keyferry::secret::Secret::new(BEARER);
    assert_silent("Secret", format!("{secret:?}").as_bytes());
}

#[test]
fn a_secret_that_is_refused_is_not_repeated() {
    let world = World::empty()
        .file("bearer", &format!("{BEARER}\r\n{KEY}"))
        .connection(
            "acme.a",
            "api.example.test",
            "type = \"bearer_token\"\ntoken = { file = \"bearer\" }",
        )
        .connection(
            "acme.b",
            "api.example.test",
            &format!("type = \"bearer_token\"\ntoken = \"{PASSWORD}\\u0000\""),
        )
        .connection(
            "acme.c",
            "api.example.test",
            &format!("type = \"bearer_token\"\ntokn = \"{NEXT}\"\ntoken = [\"{NEXT}\"]"),
        )
        .connection(
            "acme.d",
            "api.example.test",
            &format!("type = \"{KEY}\"\napi_key = {{ fil = \"{KEY}\" }}"),
        );
    let output = world.command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = [output.stdout, output.stderr].concat();
    assert!(String::from_utf8_lossy(&said).contains("connections[0]"));
    assert_silent("what is said of it", &said);
}
