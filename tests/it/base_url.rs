//! Base-URL form: what an answer may lead a caller to (contract §3, "Base URL").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Response, StatusCode};
use url::Url;

use crate::support::ask::{Ask, ask, stranger};
use crate::support::origin::{Origin, ok};
use crate::support::raw::refused;
use crate::support::token;
use crate::support::world::{Running, World};

/// Redirects `/start` to what `X-To` says, and answers everything else.
async fn redirecting() -> Origin {
    Origin::answering(&["http/1.1"], |seen| {
        if !seen.target.starts_with("/deep/start") {
            return ok("ok");
        }
        let mut response = Response::builder().status(StatusCode::TEMPORARY_REDIRECT);
        for name in ["location", "link", "refresh", "alt-svc"] {
            let value = seen.field(&format!("x-{name}"));
            if !value.is_empty() {
                response = response.header(name, value);
            }
        }
        response.body(ok("").into_body()).unwrap()
    })
    .await
}

/// Two connections of one token, each at an origin of its own.
async fn two_connections(hostile: &Origin, other: &Origin) -> Running {
    World::new(hostile)
        .bearer("acme.evil", "id.example.test", "evil-secret")
        .pin("id.example.test", other)
        .run()
        .await
}

/// Every spelling that leads a client of some kind from `/~/api/deep/start` to `/~/evil/x`.
fn hostile_locations(proxy: &str) -> Vec<String> {
    let port = proxy.rsplit(':').next().unwrap();
    let mut locations: Vec<String> = [
        "../../evil/x",
        "../../../~/evil/x",
        "/../evil/x",
        "/~/evil/x",
        "/~/evil/../evil/x",
        "https://api.example.test/../evil/x",
        "https://api.example.test/../../~/evil/x",
        "/%2e%2e/evil/x",
        "/%2E./%2e%2E/~/evil/x",
        "/..\\..\\~\\evil\\x",
        "\\~\\evil\\x",
        "..\\..\\evil/x",
        "http:/~/evil/x",
        "http:../../evil/x",
        "/.\t./evil/x",
    ]
    .map(str::to_owned)
    .into();
    for host in [
        "127.0.0.1",
        "localhost",
        "user:pw@127.0.0.1",
        "elsewhere.test\\@127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "[::ffff:127.0.0.1]",
    ] {
        for start in ["http://", "HTTP://", "//", "http:\\\\", "/\\", "///", "http:/", "http:"] {
            locations.push(format!("{start}{host}:{port}/~/evil/x"));
        }
    }
    locations
}

#[tokio::test]
async fn no_answer_leads_a_caller_to_another_connection() {
    let (hostile, other) = (redirecting().await, Origin::start().await);
    let world = two_connections(&hostile, &other).await;
    let start = Url::parse(&format!("http://{}/~/api/deep/start", world.address())).unwrap();
    for location in hostile_locations(world.address()) {
        let with_token =
            |ask: Ask| ask.field("Authorization", &format!("Bearer {}", token("runner")));
        let first = with_token(stranger("DELETE /~/api/deep/start")).field("X-Location", &location);
        let answer = world.send(&first).await;
        assert_eq!(answer.status, 307, "{location}");
        // A client that reads URLs as browsers do.
        let Ok(target) = start.join(answer.field("location")) else { continue };
        if target.host() == start.host() && target.port() == start.port() {
            assert!(target.path().starts_with("/~/api/"), "{location} leads to {target}");
            world.send(&with_token(stranger(&format!("DELETE {}", target.path())))).await;
        }
    }
    assert_eq!(other.conns(), 0);
}

#[tokio::test]
async fn curl_that_follows_redirects_stays_at_its_connection() {
    let (hostile, other) = (redirecting().await, Origin::start().await);
    let world = two_connections(&hostile, &other).await;
    let url = format!("http://{}/~/api/deep/start", world.address());
    let mut running = Vec::new();
    for location in hostile_locations(world.address()) {
        let mut curl = tokio::process::Command::new("curl");
        curl.args(["-s", "-L", "--max-redirs", "2", "--max-time", "10", "--noproxy", "*"]);
        curl.args(["-X", "DELETE", "-H", &format!("Authorization: Bearer {}", token("runner"))]);
        curl.args(["-H", &format!("X-Location: {location}"), &url]);
        running.push(curl.stdout(std::process::Stdio::null()).spawn().unwrap());
        if running.len() == 16 {
            for mut child in running.drain(..) {
                child.wait().await.unwrap();
            }
        }
    }
    for mut child in running {
        child.wait().await.unwrap();
    }
    assert!(hostile.seen().len() >= hostile_locations("x:1").len());
    assert!(hostile.seen().iter().any(|seen| seen.target == "/evil/x"), "redirects are followed");
    assert_eq!(other.conns(), 0);
}

#[tokio::test]
async fn a_token_that_clients_send_on_keeps_redirects_at_the_origin() {
    let origin = redirecting().await;
    let world = World::new(&origin)
        .key("acme.key", "other.example.test", "X-Api-Key", "key-secret")
        .pin("other.example.test", &origin)
        .run()
        .await;
    let token = token("runner");
    let basic = format!("Basic {}", STANDARD.encode(format!("any:{token}")));
    let elsewhere = "https://elsewhere.test/x";
    for (path, field, value, is_kept) in [
        ("key", "X-Api-Key", token.as_str(), false),
        ("key", "Proxy-Authorization", &format!("Bearer {token}"), false),
        ("key", "Authorization", &token, true),
        ("api", "Authorization", &basic, true),
    ] {
        let line = format!("GET /~/{path}/deep/start");
        let request = stranger(&line).field(field, value).field("X-Location", elsewhere);
        let answer = world.send(&request).await;
        let kept = if is_kept { elsewhere } else { "" };
        assert_eq!(answer.field("location"), kept, "{field}");
        let status = answer.field("proxy-status");
        assert_eq!(status.contains("keyferry; details=\"location removed"), !is_kept, "{status}");
        let request = stranger(&line).field(field, value).field("X-Location", "/next?x");
        let answer = world.send(&request).await;
        assert_eq!(answer.field("location"), format!("/~/{path}/next?x"), "{field}");
    }
}

#[tokio::test]
async fn links_and_refreshes_lead_back_and_the_hosts_own_words_stay_out() {
    let origin = redirecting().await;
    let world = World::new(&origin).run().await;
    let link = "<https://api.example.test/p?page=2>; rel=\"next\", <?page=9>; rel=\"last\"; title=\"a, <b>\", \
                <http://127.0.0.1/~/evil/x>; rel=\"first\", <https://other.test/>; rel=help";
    let ask = ask("GET /~/acme.api/deep/start?page=1").field("X-Link", link);
    let ask = ask
        .field("X-Refresh", "3; url=https://api.example.test/p")
        .field("X-Alt-Svc", "h3=\":443\"");
    let answer = world.send(&ask).await;
    assert_eq!(
        answer.field("link"),
        "</~/acme.api/p?page=2>; rel=\"next\", <https://other.test/>; rel=help"
    );
    assert_eq!(answer.field("refresh"), "3; url=/~/acme.api/p");
    assert_eq!(answer.field("alt-svc"), "");
}

#[tokio::test]
async fn a_base_url_that_a_client_puts_before_a_path_that_has_it_counts_once() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for (target, told) in [
        ("/~/api/~/api/p?page=2", "/p?page=2"),
        ("/~/acme.api/v3/~/acme.api/v3/p", "/v3/p"),
        ("/~/api/~/evil/p", "/~/evil/p"),
    ] {
        assert_eq!(world.send(&ask(&format!("GET {target}"))).await.status, 200);
        assert_eq!(origin.last().target, told, "{target}");
    }
}

#[tokio::test]
async fn a_webdav_destination_is_told_as_the_origin_knows_it() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let base = format!("http://{}/~/api", world.address());
    let copy = |destination: &str| ask("COPY /~/api/a").field("Destination", destination);
    for destination in [format!("{base}/b%20c"), "/~/api/b%20c".to_owned()] {
        let condition = format!("<{base}/b> (<urn:x>)");
        let answer = world.send(&copy(&destination).field("If", &condition)).await;
        assert_eq!(answer.status, 200, "{destination}");
        let seen = origin.last();
        assert_eq!(seen.field("destination"), "https://api.example.test/b%20c");
        assert_eq!(seen.field("if"), "<https://api.example.test/b> (<urn:x>)");
    }
    let sent = origin.seen().len();
    for destination in ["/~/evil/b", "/b", "http://localhost:1/~/apis/b"] {
        let answer = world.send(&copy(destination)).await;
        assert_eq!(answer.refusal(), refused(400, "MalformedRequest"), "{destination}");
    }
    assert_eq!(origin.seen().len(), sent);
}

#[tokio::test]
async fn a_token_is_found_in_authorization_under_any_scheme_or_none() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let token = token("runner");
    for value in [
        token.clone(),
        format!("token {token}"),
        format!("Bot {token}"),
        format!("Token token=\"{token}\""),
        format!("OAuth oauth_token={token}"),
        format!("Basic {}", STANDARD.encode(format!("{token}:x-oauth-basic"))),
        format!("Basic {}", STANDARD.encode(format!("user:{token}"))),
    ] {
        let answer = world.send(&stranger("GET /~/api/v1").field("Authorization", &value)).await;
        assert_eq!(answer.status, 200, "{value}");
        assert_eq!(origin.last().field("authorization"), "Bearer bearer-secret");
    }
    let other = crate::support::token("another");
    for value in [format!("token {token}x"), format!("{token} {other}")] {
        let answer = world.send(&stranger("GET /~/api/v1").field("Authorization", &value)).await;
        assert_eq!(answer.refusal(), refused(400, "MalformedRequest"), "{value}");
    }
    for value in [format!("Bot {other}"), "Bot other".to_owned(), "kf_short".to_owned()] {
        let answer = world.send(&stranger("GET /~/api/v1").field("Authorization", &value)).await;
        assert_eq!(answer.refusal(), refused(401, "CallerUnknown"), "{value}");
        let offers: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(
            offers,
            ["Basic realm=\"keyferry\", charset=\"UTF-8\"", "Bearer realm=\"keyferry\""]
        );
    }
}
