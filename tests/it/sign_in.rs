//! Signing in at the console: by OpenID Connect, with every answer that must not count; and
//! sessions, which outlive a restart and are known to every instance.

use std::time::Instant;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};

use crate::support::ask::stranger;
use crate::support::console::Visitor;
use crate::support::openid::{CLIENT, Forgery, ISSUER, Key, OpenId};
use crate::support::postgres::Postgres;
use crate::support::raw::{Answer, Raw};
use crate::support::world::{Running, World, authority};

const LIST: &str = "/console/i/acme/connections";

/// The way of a browser to the provider.
struct Departed {
    location: String,
    cookie: String,
}

async fn get(server: &Running, path: &str, cookie: &str) -> Answer {
    let ask = stranger(&format!("GET {path}"));
    let ask = if cookie.is_empty() { ask } else { ask.field("Cookie", cookie) };
    Raw::tcp(authority(&server.api)).await.send(&ask).await
}

/// Begins to sign in, and wants to see this page.
async fn depart(server: &Running, next: &str) -> Departed {
    let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    let answer = get(server, &format!("/console/sign-in/openid?next={next}"), "").await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let cookie = answer.field("set-cookie");
    for attribute in ["; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=600"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    Departed { location: answer.field("location").to_owned(), cookie }
}

/// Comes back from the provider with this query.
async fn arrive(server: &Running, query: &str, cookie: &str) -> Answer {
    get(server, &format!("/console/sign-in/callback?{query}"), cookie).await
}

/// The cookie of the session that an answer begins, if it begins one.
fn session_of(answer: &Answer) -> Option<String> {
    let set = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    let begun = set.filter(|line| line.starts_with("keyferry-console="));
    let mut begun = begun.map(|line| line.split(';').next().unwrap().to_owned());
    let first = begun.next();
    assert!(begun.next().is_none(), "{answer:?}");
    first
}

/// Signs in with everything that belongs to it.
async fn sign_in(server: &Running, provider: &OpenId) -> Visitor {
    let departed = depart(server, LIST).await;
    let answer = arrive(server, &provider.agree(&departed.location), &departed.cookie).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = session_of(&answer).unwrap();
    server.visitor(cookie).await
}

/// A sign-in that must fail with this status. The log says why.
async fn fails(server: &Running, provider: &OpenId, status: u16) -> String {
    let before = server.log.text().lines().filter(|line| line.contains(FAILED)).count();
    let departed = depart(server, "").await;
    let answer = arrive(server, &provider.agree(&departed.location), &departed.cookie).await;
    assert_eq!((answer.status, session_of(&answer)), (status, None), "{answer:?}");
    let mut left = before + 1;
    let failed = server.log.find(|line| {
        left -= usize::from(line.contains(FAILED));
        (left == 0).then(|| serde_json::from_str::<Value>(line).unwrap())
    });
    failed.await["error"].as_str().unwrap().to_owned()
}

const FAILED: &str = "a sign-in at the console by OpenID Connect failed";

async fn events(server: &Running, kind: &str) -> Vec<Value> {
    let answer = server.manage(&format!("GET /api/keyferry/v1/events?kind={kind}"), None).await;
    answer.json()["events"].as_array().unwrap().clone()
}

async fn world(provider: &OpenId) -> Running {
    World::empty().keeping().signing_in(provider).set("api.requests_per_minute", "0").run().await
}

#[tokio::test]
async fn a_person_signs_in_does_something_in_their_name_and_signs_out() {
    let provider = OpenId::start().await;
    let server = world(&provider).await;
    let page = get(&server, "/console/sign-in?next=/console/i/acme/events", "").await.text();
    let way = "href=\"/console/sign-in/openid?next=%2Fconsole%2Fi%2Facme%2Fevents\"";
    assert!(page.contains(way) && page.contains("Sign in with id.example.test"), "{page}");
    // The page after the provider leads on by itself, which is this site's own doing.
    let departed = depart(&server, "/console/i/acme/events?kind=session").await;
    let answer = arrive(&server, &provider.agree(&departed.location), &departed.cookie).await;
    let onwards = "content=\"0;url=/console/i/acme/events?kind=session\"";
    assert!(answer.status == 200 && answer.text().contains(onwards), "{answer:?}");
    let set: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    let texts: Vec<_> = set.iter().map(|line| line.to_str().unwrap()).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    for attribute in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=28800"] {
        assert!(texts[0].contains(attribute), "{texts:?}");
    }
    assert!(texts[1].starts_with("keyferry-sign-in=; Max-Age=0"), "{texts:?}");
    let visitor = server.visitor(session_of(&answer).unwrap()).await;
    let page = visitor.get(LIST).await.text();
    assert!(page.contains("ada@example.com") && page.contains(ISSUER), "{page}");
    // What is done is done by that person.
    let fields = [("name", "mine"), ("allowed_domain", "api.example.test"), ("token", "t0k3n")];
    let made = visitor.post(&format!("{LIST}/new/bearer_token"), &fields).await;
    assert_eq!(made.status, 303, "{made:?}");
    let person = json!({"issuer": ISSUER, "subject": "248289761001", "email": "ada@example.com"});
    let made = events(&server, "connection.create").await;
    assert_eq!((&made[0]["operator"], &made[0]["person"]), (&json!("ada@example.com"), &person));
    let signed_in = events(&server, "session.sign_in").await;
    assert_eq!((signed_in.len(), &signed_in[0]["person"]), (1, &person));
    assert_eq!(visitor.post("/console/sign-out", &[]).await.status, 303);
    assert_eq!(visitor.get(LIST).await.status, 303);
    assert_eq!(events(&server, "session.sign_out").await[0]["person"], person);
    let verified = server.manage("GET /api/keyferry/v1/events/verify", None).await.json();
    assert_eq!(verified["intact"], true, "{verified}");
    // Nothing of it is written down.
    for canary in ["canary-access-token", "openid+secret", "code+"] {
        assert!(!server.log.text().contains(canary), "{canary}");
    }
}

#[tokio::test]
async fn an_id_token_that_does_not_count_opens_nothing() {
    let provider = OpenId::start().await;
    let server = world(&provider).await;
    let now = jiff::Timestamp::now().as_second();
    for (claims, said) in [
        (json!({"iss": "https://id2.example.test"}), "it is of another issuer"),
        (json!({"iss": null}), "it is of another issuer"),
        (json!({"aud": "another-client"}), "it is not for this client alone"),
        (json!({"aud": [CLIENT, "another-client"]}), "it is not for this client alone"),
        (json!({"azp": "another-client"}), "it is not for this client alone"),
        (json!({"exp": now - 120}), "it has expired"),
        (json!({"exp": null}), "it has expired"),
        (json!({"iat": now + 600}), "it is not valid yet"),
        (json!({"nbf": now + 600}), "it is not valid yet"),
        (json!({"nonce": "of-another-sign-in"}), "its nonce is not that of this sign-in"),
        (json!({"nonce": null}), "its nonce is not that of this sign-in"),
        (json!({"sub": null}), "it has no sub"),
    ] {
        provider.set_claims(claims.clone());
        let failure = fails(&server, &provider, 502).await;
        assert!(failure.contains(said), "{claims}: {failure}");
    }
    provider.set_claims(json!({}));
    let none = |_: &Key, claims: &Value| {
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        format!("{}.{}.", encode(&json!({"alg": "none", "kid": "first"})), encode(claims))
    };
    let hmac = |key: &Key, claims: &Value| {
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let header = encode(&json!({"alg": "HS256", "kid": "first"}));
        let message = format!("{header}.{}", encode(claims));
        let code = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.public()), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(code))
    };
    let forged = |_: &Key, claims: &Value| {
        Key::new("first").sign(&json!({"alg": "ES256", "kid": "first"}), claims)
    };
    let unknown =
        |key: &Key, claims: &Value| key.sign(&json!({"alg": "ES256", "kid": "unknown"}), claims);
    let nothing = |_: &Key, _: &Value| String::new();
    let forgeries: [(Forgery, &str); 5] = [
        (none, "its algorithm is not one of"),
        (hmac, "its algorithm is not one of"),
        (forged, "its signature does not verify"),
        (unknown, "no single one that fits its kid"),
        (nothing, "its answer has no id_token"),
    ];
    for (forge, said) in forgeries {
        provider.forge(Some(forge));
        let failure = fails(&server, &provider, 502).await;
        assert!(failure.contains(said), "{said}: {failure}");
    }
    provider.forge(None);
    assert!(events(&server, "session").await.is_empty());
    sign_in(&server, &provider).await;
}

#[tokio::test]
async fn an_answer_counts_in_the_browser_that_asked_and_once() {
    let provider = OpenId::start().await;
    let server = world(&provider).await;
    let (mine, other) = (depart(&server, "").await, depart(&server, "").await);
    let answer = provider.agree(&mine.location);
    let state = answer.rsplit_once("state=").unwrap().1;
    let code = answer.split('&').next().unwrap();
    // Neither without the cookie of the sign-in, nor with another's, nor for another state.
    let refused = [
        (answer.clone(), String::new()),
        (answer.clone(), other.cookie.clone()),
        (answer.clone(), format!("{}x", mine.cookie)),
        (answer.clone(), format!("{}; {}", mine.cookie, other.cookie)),
        (answer.replace(state, &"A".repeat(43)), mine.cookie.clone()),
        (code.to_owned(), mine.cookie.clone()),
        (format!("{answer}&state={state}"), mine.cookie.clone()),
        (format!("{code}&state="), mine.cookie.clone()),
    ];
    for (query, cookie) in refused {
        let answer = arrive(&server, &query, &cookie).await;
        assert_eq!((answer.status, session_of(&answer)), (400, None), "{query}: {answer:?}");
    }
    assert_eq!(provider.asked(), 0, "no code has left");
    // A code of somebody else, brought into this browser.
    let foreign = answer.replace(state, other.location.split("state=").nth(1).unwrap_or_default());
    assert_eq!(arrive(&server, &foreign, &mine.cookie).await.status, 400);
    let injected = provider.agree(&other.location);
    let injected = format!("{}&state={state}", injected.split('&').next().unwrap());
    let stolen = arrive(&server, &injected, &mine.cookie).await;
    assert_eq!((stolen.status, session_of(&stolen)), (502, None), "{stolen:?}");
    assert_eq!(provider.refused(), ["the verifier is another"]);
    // That has spent this sign-in, whose own code does not leave any more.
    let spent = arrive(&server, &answer, &mine.cookie).await;
    assert_eq!((spent.status, session_of(&spent), provider.asked()), (400, None, 1), "{spent:?}");
    // Shown twice, an answer opens one session, even where the provider takes a code again.
    provider.be_lax();
    let mine = depart(&server, "").await;
    let answer = provider.agree(&mine.location);
    let first = arrive(&server, &answer, &mine.cookie).await;
    assert!(session_of(&first).is_some(), "{first:?}");
    let again = arrive(&server, &answer, &mine.cookie).await;
    assert_eq!((again.status, session_of(&again)), (400, None), "{again:?}");
    assert_eq!(events(&server, "session.sign_in").await.len(), 1);
    // Also once the session is over.
    let visitor = server.visitor(session_of(&first).unwrap()).await;
    visitor.post("/console/sign-out", &[]).await;
    assert_eq!(arrive(&server, &answer, &mine.cookie).await.status, 400);
    assert_eq!(provider.asked(), 2);
}

#[tokio::test]
async fn a_sign_in_asks_for_tokens_once_however_often_it_comes_back() {
    let provider = OpenId::start().await;
    let server = world(&provider).await;
    let departed = depart(&server, "").await;
    let answer = provider.agree(&departed.location);
    let state = answer.split_once('&').unwrap().1;
    for (code, status) in [("guess-1", 502), ("guess-2", 400), ("guess-3", 400)] {
        let page = arrive(&server, &format!("code={code}&{state}"), &departed.cookie).await;
        assert_eq!((page.status, session_of(&page)), (status, None), "{code}: {page:?}");
    }
    assert_eq!(arrive(&server, &answer, &departed.cookie).await.status, 400);
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn the_provider_is_asked_only_so_often_for_strangers_at_one_address() {
    let provider = OpenId::start().await;
    let server = world(&provider).await;
    let began = Instant::now();
    for _ in 0..100 {
        let departed = depart(&server, "").await;
        let answer = provider.agree(&departed.location);
        let guess = format!("code=guess&{}", answer.split_once('&').unwrap().1);
        let page = arrive(&server, &guess, &departed.cookie).await;
        assert!([429, 502].contains(&page.status), "{page:?}");
    }
    let most = 60 + 1 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(provider.asked() <= most, "{} of {most}", provider.asked());
    // Neither is one that does not describe itself.
    let provider = OpenId::start().await;
    let server = world(&provider).await;
    provider.set_metadata(json!({"jwks_uri": null}));
    let began = Instant::now();
    for _ in 0..100 {
        let page = get(&server, "/console/sign-in/openid", "").await;
        assert!([429, 502].contains(&page.status), "{page:?}");
    }
    let most = 60 + 1 + usize::try_from(began.elapsed().as_secs()).unwrap();
    let asked = provider.origin.seen().len();
    assert!(asked <= most, "{asked} of {most}");
}

#[tokio::test]
async fn to_begin_costs_an_address_none_of_its_failures() {
    let provider = OpenId::start().await;
    let server = world(&provider).await;
    for _ in 0..100 {
        depart(&server, "").await;
    }
    assert_eq!(provider.origin.seen().len(), 2, "metadata and keys, once");
    let failed = get(&server, "/api/keyferry/v1/events", "").await;
    assert_eq!(failed.status, 401, "{failed:?}");
    // Nor do failures elsewhere keep a person out.
    for _ in 0..100 {
        get(&server, "/api/keyferry/v1/events", "").await;
    }
    sign_in(&server, &provider).await;
}

#[tokio::test]
async fn a_sign_in_is_begun_by_going_to_it_and_by_no_image() {
    let provider = OpenId::start().await;
    let server = world(&provider).await;
    let begin = async |fields: &[(&str, &str)]| {
        let ask = stranger("GET /console/sign-in/openid");
        let ask = fields.iter().fold(ask, |ask, (name, value)| ask.field(name, value));
        Raw::tcp(authority(&server.api)).await.send(&ask).await
    };
    let (dest, mode) = ("Sec-Fetch-Dest", "Sec-Fetch-Mode");
    for fields in [
        &[(dest, "image"), (mode, "no-cors")][..],
        &[(dest, "iframe"), (mode, "navigate")],
        &[(dest, "empty"), (mode, "cors")],
        &[(dest, "document"), (mode, "no-cors")],
        &[(dest, "document"), (dest, "image")],
        &[(mode, "no-cors")],
    ] {
        let page = begin(fields).await;
        let outcome = (page.status, page.field("set-cookie"), page.field("location"));
        assert_eq!(outcome, (403, "", ""), "{fields:?}: {page:?}");
    }
    assert!(provider.origin.seen().is_empty(), "the provider was asked");
    for fields in [&[(dest, "document"), (mode, "navigate")][..], &[]] {
        assert_eq!(begin(fields).await.status, 303, "{fields:?}");
    }
}

#[tokio::test]
async fn a_person_is_named_by_an_email_address_that_is_vouched_for() {
    let provider = OpenId::start().await;
    let mut server = world(&provider).await;
    let operator = async |server: &Running| {
        sign_in(server, &provider).await;
        events(server, "session.sign_in").await[0]["operator"].as_str().unwrap().to_owned()
    };
    assert_eq!(operator(&server).await, "ada@example.com");
    // Where the provider is silent of it, the configuration has the say; a no counts always.
    let silent = json!({"email_verified": null});
    provider.set_claims(silent.clone());
    assert_eq!(operator(&server).await, "248289761001");
    server.reload(|world| world.set("oidc.trust_email", "true")).await;
    assert_eq!(operator(&server).await, "ada@example.com");
    provider.set_claims(json!({"email_verified": false}));
    assert_eq!(operator(&server).await, "248289761001");
}

#[tokio::test]
async fn a_person_looks_like_no_token_among_the_events() {
    let provider = OpenId::start().await;
    let server = world(&provider).await;
    provider.set_claims(json!({"sub": "admin", "email": null}));
    let person = sign_in(&server, &provider).await;
    let admin = tokio::fs::read_to_string(server.data("admin.token")).await.unwrap();
    server.sign_in(admin.trim()).await;
    let page = person.get("/console/i/acme/events?of=all&kind=session").await.text();
    let rows: Vec<_> = page.split("<tr>").skip(2).collect();
    let [token, person] = rows[..] else { panic!("{page}") };
    assert!(person.contains("<summary>Person</summary>") && person.contains(ISSUER), "{person}");
    assert!(person.contains("<dd>admin</dd>"), "{person}");
    assert!(token.contains("admin") && !token.contains("Person"), "{token}");
}

#[tokio::test]
async fn the_provider_may_say_no_and_must_not_be_another() {
    let provider = OpenId::start().await;
    let server = world(&provider).await;
    let departed = depart(&server, "").await;
    let answer = provider.agree(&departed.location);
    let (code, state) = answer.split_once('&').unwrap();
    let denied = format!("error=access_denied&error_description=%3Cscript%3E&{state}");
    let page = arrive(&server, &denied, &departed.cookie).await;
    assert!(page.status == 403 && page.text().contains("access_denied"), "{page:?}");
    assert!(!page.text().contains("<script>"), "{page:?}");
    for (query, status) in [
        (format!("error=%3Cb%3E&{state}"), 403),
        (format!("{answer}&iss=https%3A%2F%2Fid2.example.test"), 502),
        (format!("{answer}&iss={ISSUER}&iss={ISSUER}"), 502),
        (format!("{answer}&{code}"), 502),
        (state.to_owned(), 502),
        (format!("code=&{state}"), 502),
    ] {
        let page = arrive(&server, &query, &departed.cookie).await;
        assert_eq!((page.status, session_of(&page)), (status, None), "{query}: {page:?}");
        assert!(!page.text().contains("<b>"), "{page:?}");
    }
    assert_eq!(provider.asked(), 0, "no code has left");
    let right = format!("{answer}&iss={ISSUER}");
    assert!(session_of(&arrive(&server, &right, &departed.cookie).await).is_some());
}

#[tokio::test]
async fn a_provider_that_is_not_as_it_must_be_is_not_gone_to() {
    for (metadata, said) in [
        (json!({"issuer": "https://id2.example.test"}), "its metadata is another issuer's"),
        (json!({"issuer": "https://id.example.test/"}), "its metadata is another issuer's"),
        (json!({"jwks_uri": "http://id.example.test/keys"}), "jwks_uri"),
        (json!({"jwks_uri": null}), "jwks_uri"),
        (json!({"authorization_endpoint": null}), "authorization_endpoint"),
        (json!({"token_endpoint": "https://127.0.0.1/token"}), "token_endpoint"),
        (json!({"jwks_uri": "https://id.example.test:8443/keys"}), "proxy.allowed_ports"),
        (json!({"jwks_uri": "https://id.example.test/none"}), "it answered with status 404"),
    ] {
        let provider = OpenId::start().await;
        let server = world(&provider).await;
        provider.set_metadata(metadata.clone());
        let page = get(&server, "/console/sign-in/openid", "").await;
        assert_eq!((page.status, page.field("set-cookie")), (502, ""), "{metadata}: {page:?}");
        let line = server.log.message(FAILED).await;
        assert!(line["error"].as_str().unwrap().contains(said), "{metadata}: {line}");
    }
    let server = World::empty().keeping().run().await;
    assert_eq!(get(&server, "/console/sign-in/openid", "").await.status, 404);
    let page = get(&server, "/console/sign-in", "").await.text();
    assert!(!page.contains("/console/sign-in/openid"), "{page}");
}

#[tokio::test]
async fn keys_that_the_provider_changes_are_read_again() {
    let provider = OpenId::start().await;
    let server = world(&provider).await;
    sign_in(&server, &provider).await;
    provider.rotate("second");
    sign_in(&server, &provider).await;
    let asked = provider.origin.seen().iter().filter(|seen| seen.target == "/keys").count();
    assert_eq!(asked, 2, "once for each key");
}

#[tokio::test]
async fn nobody_is_led_elsewhere_when_they_have_signed_in() {
    let provider = OpenId::start().await;
    let server = world(&provider).await;
    for next in [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/console.evil.example",
        "/console/sign-out",
        "/api/keyferry/v1/tokens",
        "javascript:alert(1)",
        "/console/x\"><script>",
        "",
    ] {
        let departed = depart(&server, next).await;
        let answer = arrive(&server, &provider.agree(&departed.location), &departed.cookie).await;
        let onwards = "http-equiv=\"refresh\" content=\"0;url=/console\"";
        let page = answer.text();
        let is_path = next == "/console/x\"><script>" && page.contains("0;url=/console/x&quot;");
        assert!(page.contains(onwards) || is_path, "{next}: {page}");
        assert!(!page.contains("evil") && !page.contains("<script>"), "{next}: {page}");
    }
}

#[tokio::test]
async fn groups_say_who_may_sign_in_and_do_what() {
    let provider = OpenId::start().await;
    let mut server = world(&provider).await;
    // Nobody without a group that is named.
    for claims in
        [json!({"groups": ["strangers"]}), json!({"groups": null}), json!({"groups": {"acme": 1}})]
    {
        provider.set_claims(claims);
        let failure = fails(&server, &provider, 403).await;
        assert!(failure.contains("ada@example.com was identified"), "{failure}");
    }
    assert!(events(&server, "session").await.is_empty());
    // Some may change one integration and see another, and reach no third.
    provider.set_claims(json!({"groups": ["strangers", "others", "acme"]}));
    let visitor = sign_in(&server, &provider).await;
    let choice = visitor.get("/console").await.text();
    for integration in ["acme", "other"] {
        assert!(choice.contains(&format!("/console/i/{integration}/connections")), "{choice}");
    }
    assert!(visitor.get(LIST).await.text().contains("Create the first one"));
    let other = visitor.get("/console/i/other/connections").await;
    assert!(other.status == 200 && !other.text().contains("Create the first one"), "{other:?}");
    // What is refused is explained to a person, and leads on to what is theirs.
    let third = visitor.get("/console/i/third/connections").await;
    assert!(third.status == 403 && third.text().contains("Your groups give you"), "{third:?}");
    assert!(third.text().contains("href=\"/console\">To the console"), "{third:?}");
    let tokens = visitor.get("/console/i/acme/tokens").await.text();
    assert!(tokens.contains("None of your groups gives you the scope admin"), "{tokens}");
    assert!(!tokens.contains("our token"), "{tokens}");
    for path in ["/tokens", "/events", "/activity"] {
        assert_eq!(visitor.get(&format!("/console/i/acme{path}")).await.status, 403, "{path}");
    }
    let fields = [("name", "mine"), ("allowed_domain", "api.example.test"), ("token", "t0k3n")];
    let made = visitor.post(&format!("{LIST}/new/bearer_token"), &fields).await;
    assert_eq!(made.status, 303, "{made:?}");
    let refused = visitor.post("/console/i/other/connections/new/bearer_token", &fields).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    // The data plane knows no people, and the page says what they can do.
    let page = visitor.get("/console/i/acme/try").await.text();
    for said in ["you have signed in as a person", "Have an administrator create a token"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(!page.contains("value=\"send\"") && !page.contains("our token"), "{page}");
    let url = "https://api.example.test/";
    let fields = [("connection", "mine"), ("url", url), ("method", "GET"), ("act", "send")];
    assert_eq!(visitor.post("/console/i/acme/try", &fields).await.status, 403);
    // An auditor sees what was done, and the way to nothing else.
    provider.set_claims(json!({"groups": ["auditors"], "email_verified": false}));
    let auditor = sign_in(&server, &provider).await;
    let page = auditor.get(LIST).await.text();
    assert!(page.contains("248289761001") && !page.contains("ada@example.com"), "{page}");
    for shown in ["/connections", "/activity", "/events"] {
        assert!(page.contains(&format!("href=\"/console/i/acme{shown}\"")), "{shown}: {page}");
    }
    for absent in ["/clients", "/try", "/tokens", "/system", "/connections/new"] {
        assert!(!page.contains(&format!("href=\"/console/i/acme{absent}")), "{absent}: {page}");
    }
    let shown = auditor.get(&format!("{LIST}/bearer_token/mine")).await.text();
    for absent in ["Delete", "Try it", "/tokens\"", "t0k3n"] {
        assert!(!shown.contains(absent), "{absent}: {shown}");
    }
    assert_eq!(auditor.get("/console/i/acme/events").await.status, 200);
    // A group that is taken out of the configuration ends what it gave, at once.
    let without = "{ acme = { scopes = [\"read\"], integrations = [\"acme\"] } }";
    server.reload(|world| world.set("oidc.groups", without)).await;
    assert_eq!(auditor.get(LIST).await.status, 303);
    assert!(!visitor.get(LIST).await.text().contains("Create connection"));
    assert_eq!(visitor.get("/console/i/other/connections").await.status, 403);
    // So does another client or provider.
    server.reload(|world| world.set("oidc.client_id", "\"another\"")).await;
    assert_eq!(visitor.get(LIST).await.status, 303);
}

#[tokio::test]
async fn a_session_outlives_a_restart_and_a_sign_out_does_too() {
    let provider = OpenId::start().await;
    let mut server = world(&provider).await;
    let admin = tokio::fs::read_to_string(server.data("admin.token")).await.unwrap();
    let (person, token) = (sign_in(&server, &provider).await, server.sign_in(admin.trim()).await);
    let gone = server.sign_in(admin.trim()).await;
    assert_eq!(gone.post("/console/sign-out", &[]).await.status, 303);
    let (id, secret) = server.keep_token("an operator", &["read"]).await;
    let revoked = server.sign_in(&secret).await;
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ended().await.success());
    let server = std::mem::replace(&mut server.world, World::empty()).run().await;
    for (visitor, name) in
        [(&person, "ada@example.com"), (&token, "admin"), (&revoked, "an operator")]
    {
        let page = visitor.at(&server).get(LIST).await;
        assert!(page.status == 200 && page.text().contains(name), "{page:?}");
        let form = visitor.at(&server).post("/console/i/acme/domain", &[]).await;
        assert_eq!(form.status, 405, "{form:?}");
    }
    assert_eq!(gone.at(&server).get(LIST).await.status, 303);
    server.revoke(&id).await;
    assert_eq!(revoked.at(&server).get(LIST).await.status, 303);
    // The mark of a form is the same.
    assert_eq!(person.at(&server).post("/console/sign-out", &[]).await.status, 303);
    assert_eq!(person.at(&server).get(LIST).await.status, 303);
}

#[tokio::test]
async fn every_instance_knows_a_session_and_its_end() {
    let (provider, postgres) = (OpenId::start().await, Postgres::start().await);
    let run = async || {
        let world = World::empty().keeping_in(&postgres).signing_in(&provider);
        world.set("api.requests_per_minute", "0").run().await
    };
    let (one, other) = (run().await, run().await);
    // Begun at one, a sign-in ends at the other.
    let departed = depart(&one, LIST).await;
    let query = provider.agree(&departed.location);
    let answer = arrive(&other, &query, &departed.cookie).await;
    let person = other.visitor(session_of(&answer).unwrap()).await;
    provider.be_lax();
    assert_eq!(arrive(&one, &query, &departed.cookie).await.status, 400, "it was spent elsewhere");
    let (id, secret) = one.keep_token("an operator", &["read"]).await;
    let token = one.sign_in(&secret).await;
    for server in [&one, &other] {
        assert_eq!(person.at(server).get(LIST).await.status, 200);
        assert_eq!(token.at(server).get(LIST).await.status, 200);
    }
    assert_eq!(person.at(&one).post("/console/sign-out", &[]).await.status, 303);
    other.revoke(&id).await;
    for server in [&other, &one] {
        assert_eq!(person.at(server).get(LIST).await.status, 303);
    }
    assert_eq!(token.at(&other).get(LIST).await.status, 303);
    // The store keeps no cookie and no mark.
    let dump = String::from_utf8(postgres.dump()).unwrap();
    for visitor in [&person, &token] {
        let cookie = visitor.cookie.split_once('=').unwrap().1;
        assert!(!dump.contains(cookie) && !dump.contains(&visitor.mark), "{dump}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_leaves_those_in_who_were_there() {
    let (provider, mut postgres) = (OpenId::start().await, Postgres::start().await);
    let world = World::empty().keeping_in(&postgres).signing_in(&provider);
    let server = world.set("api.requests_per_minute", "0").run().await;
    let person = sign_in(&server, &provider).await;
    let admin = tokio::fs::read_to_string(server.data("admin.token")).await.unwrap();
    let departed = depart(&server, "").await;
    postgres.stop();
    assert_eq!(person.get(LIST).await.status, 200);
    // A token opens the console all the same, and a person waits for the store.
    let token = server.sign_in(admin.trim()).await;
    assert_eq!(token.get(LIST).await.status, 200);
    let answer = arrive(&server, &provider.agree(&departed.location), &departed.cookie).await;
    assert_eq!((answer.status, session_of(&answer)), (503, None), "{answer:?}");
    postgres.go_on().await;
    assert_eq!(person.get(LIST).await.status, 200);
    assert_eq!(token.get(LIST).await.status, 200);
}

#[tokio::test]
async fn a_row_that_is_written_by_hand_is_no_session() {
    let provider = OpenId::start().await;
    let server = world(&provider).await;
    provider.set_claims(json!({"groups": ["auditors"]}));
    let (mine, other) = (sign_in(&server, &provider).await, sign_in(&server, &provider).await);
    let path = server.data("keyferry.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut database = options.connect().await.unwrap();
    let rows = sqlx::query("SELECT digest, holder FROM sessions ORDER BY begun_at");
    let rows = rows.fetch_all(&mut database).await.unwrap();
    let holder: String = rows[0].get("holder");
    assert!(holder.contains("auditors"), "{holder}");
    for change in [
        "UPDATE sessions SET holder = replace(holder, 'auditors', 'operators')",
        "UPDATE sessions SET begun_at = begun_at + 1",
        "UPDATE sessions SET seen_at = seen_at + 1",
        "UPDATE sessions SET mac = (SELECT mac FROM sessions ORDER BY begun_at DESC LIMIT 1)",
        "UPDATE sessions SET key_id = 'another'",
    ] {
        let before = "CREATE TABLE before AS SELECT * FROM sessions";
        database.execute(before).await.unwrap();
        database.execute(change).await.unwrap();
        assert_eq!(mine.get(LIST).await.status, 303, "{change}");
        database.execute("DELETE FROM sessions").await.unwrap();
        database.execute("INSERT INTO sessions SELECT * FROM before").await.unwrap();
        database.execute("DROP TABLE before").await.unwrap();
        assert_eq!(mine.get(LIST).await.status, 200, "{change}: as it was");
    }
    // The cookie of a row that somebody else has put there.
    let forged = "INSERT INTO sessions SELECT x'00', principal, holder, begun_at, seen_at, key_id, \
        mac FROM sessions LIMIT 1";
    database.execute(forged).await.unwrap();
    database.close().await.unwrap();
    assert_eq!(other.get(LIST).await.status, 200);
}
