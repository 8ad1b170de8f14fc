//! The provider keeps its own rules, which the tests of OAuth stand on.

use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::support::ask::{Ask, stranger};
use crate::support::raw::{self, Raw};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const BACK: &str = "http://127.0.0.1:8081/callback";

async fn conn(origin: &Origin) -> Raw {
    let io = TcpStream::connect(origin.address).await.unwrap();
    let name = ServerName::try_from("id.example.test").unwrap();
    let connector = TlsConnector::from(tls::caller(&["http/1.1"]));
    Raw::over(soon(connector.connect(name, io)).await.unwrap())
}

fn question(pairs: &[(&str, &str)]) -> Ask {
    let body = Serializer::new(String::new()).extend_pairs(pairs).finish();
    stranger("POST /token").body(body)
}

/// Asks as the client that shows its secret in the form.
async fn ask(provider: &Provider, pairs: &[(&str, &str)]) -> raw::Answer {
    let client = [("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET)];
    conn(&provider.origin).await.send(&question(&[pairs, &client].concat())).await
}

async fn refresh(provider: &Provider, token: &str) -> (u16, Value) {
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", token)];
    let answer = ask(provider, &pairs).await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

async fn exchange(provider: &Provider, code: &str, verifier: &str, to: &str) -> (u16, Value) {
    let grant = ("grant_type", "authorization_code");
    let pairs = [grant, ("code", code), ("code_verifier", verifier), ("redirect_uri", to)];
    let answer = ask(provider, &pairs).await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// A provider, and the first tokens of a grant: `at-1` and `rt-1`.
async fn granted() -> Provider {
    let provider = Provider::start().await;
    let code = provider.code(&challenge_of(VERIFIER), BACK);
    let (status, tokens) = exchange(&provider, &code, VERIFIER, BACK).await;
    let expected = json!({
        "access_token": "at-1", "token_type": "Bearer", "expires_in": 3600,
        "refresh_token": "rt-1", "scope": "read write",
    });
    assert_eq!((status, tokens), (200, expected));
    provider
}

fn error(code: &str) -> Value {
    json!({"error": code})
}

#[test]
fn the_challenge_is_that_of_the_rfc() {
    assert_eq!(challenge_of(VERIFIER), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

#[tokio::test]
async fn a_registration_leads_to_the_provider_of_that_name() {
    let provider = Provider::named(OTHER_HOST).await;
    let registration = provider.registration();
    assert_eq!(registration["token_url"], "https://id2.example.test/token");
    assert_eq!(registration["auth_url"], "https://id2.example.test/authorize");
    assert_eq!(registration["client_secret"], CLIENT_SECRET);
}

#[tokio::test]
async fn a_code_is_good_once_for_its_verifier_and_its_url() {
    let provider = granted().await;
    assert!(provider.is_valid("at-1"));
    assert_eq!(exchange(&provider, "code-1", VERIFIER, BACK).await.1, error("invalid_grant"));
    assert!(!provider.is_valid("at-1"));
    let code = provider.code(&challenge_of(VERIFIER), BACK);
    for (verifier, to) in [("another", BACK), (VERIFIER, "http://127.0.0.1:8081/other")] {
        let answer = exchange(&provider, &code, verifier, to).await;
        assert_eq!(answer, (400, error("invalid_grant")));
    }
    assert_eq!(exchange(&provider, &code, VERIFIER, BACK).await.0, 200);
}

#[tokio::test]
async fn a_refresh_token_shown_again_ends_its_grant() {
    let provider = granted().await;
    let (status, tokens) = refresh(&provider, "rt-1").await;
    assert_eq!((status, &tokens["access_token"]), (200, &json!("at-2")));
    assert_eq!(tokens["refresh_token"], "rt-2");
    assert!(provider.is_valid("at-1") && provider.is_valid("at-2"));
    assert_eq!(refresh(&provider, "rt-1").await, (400, error("invalid_grant")));
    assert_eq!(refresh(&provider, "rt-2").await, (400, error("invalid_grant")));
    assert_eq!(provider.reused(), 1);
    assert!(!provider.is_valid("at-2"));
}

#[tokio::test]
async fn refresh_tokens_may_be_kept_or_never_given() {
    let provider = granted().await;
    provider.set_refreshing(Refreshing::Keeps);
    for _again in 0..2 {
        let (status, tokens) = refresh(&provider, "rt-1").await;
        assert_eq!((status, tokens.get("refresh_token")), (200, None));
    }
    provider.set_refreshing(Refreshing::Never);
    let code = provider.code(&challenge_of(VERIFIER), BACK);
    let (_, tokens) = exchange(&provider, &code, VERIFIER, BACK).await;
    assert_eq!(tokens.get("refresh_token"), None);
    provider.revoke_grants();
    assert_eq!(refresh(&provider, "rt-1").await, (400, error("invalid_grant")));
}

#[tokio::test]
async fn a_client_shows_its_secret_in_one_way() {
    let provider = Provider::start().await;
    let form = [("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET)];
    let grant = [("grant_type", "client_credentials"), ("scope", "api")];
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(CLIENT_ID), encoded(CLIENT_SECRET));
    let field = format!("Basic {}", STANDARD.encode(pair));
    let raw_pair = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
    for (ask, status) in [
        (question(&[grant, form].concat()), 200),
        (question(&grant).field("Authorization", &field), 200),
        (question(&[grant, form].concat()).field("Authorization", &field), 401),
        (question(&grant).field("Authorization", &raw_pair), 401),
        (question(&grant), 401),
        (question(&[grant, form, form].concat()), 400),
    ] {
        let answer = conn(&provider.origin).await.send(&ask).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    provider.set_client_secret("another");
    assert_eq!(ask(&provider, &grant).await.status, 401);
    assert!(provider.is_valid("at-1") && provider.is_valid("at-2"));
    assert_eq!(provider.questions()[1].said("scope"), "api");
    assert_eq!(provider.questions()[1].headers["authorization"], field.as_str());
    assert_eq!(provider.asked(), 7);
}

#[tokio::test]
async fn access_tokens_end_as_it_is_said() {
    let provider = granted().await;
    for (said, valid) in
        [(json!(60), true), (json!("60"), true), (Value::Null, true), (json!(0), false)]
    {
        provider.set_expires_in(said.clone());
        provider.set_refreshing(Refreshing::Keeps);
        let (_, tokens) = refresh(&provider, "rt-1").await;
        assert_eq!(tokens["expires_in"], said);
        let token = tokens["access_token"].as_str().unwrap();
        assert_eq!(provider.is_valid(token), valid, "{said}");
    }
    provider.revoke_access_tokens();
    assert!(!provider.is_valid("at-2"));
    assert_eq!(refresh(&provider, "rt-1").await.0, 200);
}

#[tokio::test]
async fn an_origin_lets_in_whoever_has_a_valid_token() {
    let provider = granted().await;
    let origin = origin_accepting(&provider).await;
    for (token, status) in [("at-1", 200), ("at-9", 401), ("", 401)] {
        let get = stranger("GET /").field("Authorization", &format!("Bearer {token}"));
        let answer = conn(&origin).await.send(&get).await;
        let challenge = answer.headers.contains_key("www-authenticate");
        assert_eq!((answer.status, challenge), (status, status == 401));
    }
}

#[tokio::test]
async fn the_user_says_yes_or_no() {
    let provider = Provider::start().await;
    let pairs = [
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("redirect_uri", BACK),
        ("state", "a b"),
        ("code_challenge", "c"),
        ("code_challenge_method", "S256"),
    ];
    let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
    let get = stranger(&format!("GET /authorize?{query}"));
    let answer = conn(&provider.origin).await.send(&get).await;
    let to = format!("{BACK}?code=code-1&state=a+b");
    assert_eq!((answer.status, answer.field("location")), (302, to.as_str()));
    provider.set_issuer(&provider.url(""));
    provider.set_denial("access_denied", "hunter 2");
    let answer = conn(&provider.origin).await.send(&get).await;
    let said = "error=access_denied&error_description=hunter+2&state=a+b";
    let to = format!("{BACK}?{said}&iss=https%3A%2F%2Fid.example.test");
    assert_eq!(answer.field("location"), to);
    assert_eq!(provider.invitations()[1]["state"], "a b");
    let other = conn(&provider.origin).await.send(&stranger("GET /authorize?state=x")).await;
    assert_eq!(other.status, 400);
}

#[tokio::test]
async fn an_answer_is_held_back_and_what_it_says_is_done() {
    let provider = granted().await;
    provider.hold();
    let mut raw = conn(&provider.origin).await;
    let pairs = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "rt-1"),
        ("client_id", CLIENT_ID),
        ("client_secret", CLIENT_SECRET),
    ];
    raw.write(question(&pairs).bytes()).await;
    provider.has_been_asked(2).await;
    assert!(provider.is_valid("at-2"));
    assert!(!raw.ends_within(Duration::from_millis(20)).await);
    provider.release();
    assert_eq!(raw.answer().await.status, 200);
}

#[tokio::test]
async fn answers_are_as_bad_as_a_test_wants() {
    let provider = granted().await;
    provider.next(Manner::Saying(503, "text/html", "<h1>hunter2".to_owned()));
    provider.next(Manner::Leading(307, "https://elsewhere.example.test/".to_owned()));
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", "rt-1")];
    let answer = ask(&provider, &pairs).await;
    assert_eq!((answer.status, answer.text()), (503, "<h1>hunter2".to_owned()));
    let answer = ask(&provider, &pairs).await;
    let to = "https://elsewhere.example.test/";
    assert_eq!((answer.status, answer.field("location")), (307, to));
    let client = [("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET)];
    let question = question(&[pairs, client].concat());
    for (manner, valid) in [(Manner::Hanging, false), (Manner::Silently, true)] {
        provider.next(manner);
        let mut raw = conn(&provider.origin).await;
        raw.write(question.bytes()).await;
        raw.ends().await;
        assert_eq!(provider.is_valid("at-2"), valid);
    }
    provider.next(Manner::Slowly(Duration::from_millis(1)));
    assert_eq!(refresh(&provider, "rt-2").await.1["access_token"], "at-3");
    provider.always(Manner::Endlessly);
    let mut raw = conn(&provider.origin).await;
    raw.write(question.bytes()).await;
    assert!(raw.discard(1 << 20).await >= 1 << 20);
    assert_eq!(provider.asked(), 7);
}
