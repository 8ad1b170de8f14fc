//! Grants that are dead are known to be, in whatever words the provider says so; and none that lives
//! is taken for dead.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use keyferry::clock::Clock;
use keyferry::model::oauth::client::ClientRecord;
use keyferry::model::oauth::grant::LapseReason;
use keyferry::model::oauth::profile::Profile;
use keyferry::model::oauth::refusal::Remedy;
use keyferry::oauth::{Cause, TokenFailure};
use parking_lot::Mutex;
use tokio_rustls::TlsAcceptor;

use crate::support::instance::{Connected, Instance};
use crate::support::origin::{Origin, listen};
use crate::support::tls;
use crate::support::world::World;

/// The name of the token endpoint.
const HOST: &str = "id.example.test";

/// The answer to a question.
#[derive(Clone, Debug)]
enum Reply {
    /// With this status, content type and body.
    Says(u16, &'static str, String),
    /// With the beginning of such a body, before the conn ends.
    Cut(String),
    /// Not: the conn ends.
    Reset,
    /// Never.
    Silence,
}

/// A token endpoint that gives a refresh token for each that it is shown, once. A token that was
/// spent ends the grant, as all that come of one are called: `NAME/1`, `NAME/2` and so on.
#[derive(Default)]
struct Endpoint {
    /// The answers to come for a grant, instead of tokens.
    script: BTreeMap<String, VecDeque<Reply>>,
    /// The answer for a grant whenever its script is at its end.
    always: BTreeMap<String, Reply>,
    /// The number of the refresh token that is good.
    good: BTreeMap<String, u64>,
    asked: BTreeMap<String, usize>,
    reused: usize,
}

type Desk = Arc<Mutex<Endpoint>>;

impl Endpoint {
    fn answer(&mut self, form: &str) -> Reply {
        let mut pairs = form_urlencoded::parse(form.as_bytes());
        let (_, token) = pairs.find(|(name, _)| name == "refresh_token").unwrap();
        let (grant, number) = token.split_once('/').unwrap();
        *self.asked.entry(grant.to_owned()).or_default() += 1;
        let scripted = self.script.get_mut(grant).and_then(VecDeque::pop_front);
        if let Some(reply) = scripted.or_else(|| self.always.get(grant).cloned()) {
            return reply;
        }
        let good = self.good.entry(grant.to_owned()).or_insert(1);
        if number != good.to_string() {
            self.reused += 1;
            return json(400, r#"{"error":"invalid_grant"}"#);
        }
        *good += 1;
        json(
            200,
            &format!(
                r#"{{"access_token":"at","refresh_token":"{grant}/{good}","expires_in":3600}}"#
            ),
        )
    }
}

fn json(status: u16, body: &str) -> Reply {
    Reply::Says(status, "application/json", body.to_owned())
}

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

async fn hear(request: Request<Incoming>, desk: Desk) -> io::Result<Answer> {
    let form = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let reply = desk.lock().answer(std::str::from_utf8(&form).unwrap());
    match reply {
        Reply::Says(status, kind, body) => {
            let head = Response::builder().status(status).header("content-type", kind);
            let body = Full::from(body).map_err(|never| match never {});
            Ok(head.body(body.boxed_unsync()).unwrap())
        }
        Reply::Cut(body) => {
            let frames =
                [Ok(Frame::data(body.into())), Err(io::ErrorKind::ConnectionAborted.into())];
            Ok(Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync()))
        }
        Reply::Reset => Err(io::ErrorKind::ConnectionAborted.into()),
        Reply::Silence => std::future::pending().await,
    }
}

/// A world with such an endpoint in it, and an instance whose clock stands still.
struct Scene {
    desk: Desk,
    world: World,
    clock: Clock,
    instance: Instance,
    client: ClientRecord,
    _origin: Origin,
}

impl Scene {
    async fn start(profile: Profile) -> Self {
        let desk = Desk::default();
        let (acceptor, kept) = (TlsAcceptor::from(tls::origin(&["http/1.1"])), Arc::clone(&desk));
        let origin = Origin::on(listen(), move |io, _number, _memory| {
            let (acceptor, desk) = (acceptor.clone(), Arc::clone(&kept));
            async move {
                let Ok(io) = acceptor.accept(io).await else { return };
                let service = service_fn(move |request| hear(request, Arc::clone(&desk)));
                let _ended =
                    http1::Builder::new().serve_connection(TokioIo::new(io), service).await;
            }
        })
        .await;
        let world = World::empty().pin(HOST, &origin).set("upstream.response_timeout", "\"4s\"");
        let clock = Clock::fixed(1_800_000_000);
        let instance = Instance::start(&world, &clock).await;
        let client = instance.client(HOST, profile).await;
        Self { desk, world, clock, instance, client, _origin: origin }
    }

    /// One more instance over the same database.
    async fn another(&self) -> Instance {
        Instance::start(&self.world, &self.clock).await
    }

    async fn connect(&self, name: &str) -> Connected {
        self.instance.connection(&self.client, name, &format!("{name}/1")).await
    }

    fn always(&self, name: &str, reply: Reply) {
        self.desk.lock().always.insert(name.to_owned(), reply);
    }

    fn asked(&self, name: &str) -> usize {
        self.desk.lock().asked.get(name).copied().unwrap_or_default()
    }

    /// Asks for tokens every `step` seconds, for up to `most` seconds, until the grant has lapsed.
    /// Gives the time that it took, and the reason.
    async fn until_lapsed(
        &self,
        connected: &Connected,
        step: i64,
        most: i64,
    ) -> Option<(i64, LapseReason)> {
        let begun = self.clock.now();
        while self.instance.seconds_since(begun) <= most {
            if let Err(TokenFailure::Lapsed(reason)) = self.instance.refresh(connected).await {
                return Some((self.instance.seconds_since(begun), reason));
            }
            self.clock.advance(step);
        }
        None
    }
}

/// Answers to dead refresh tokens, as they were recorded.
const DEAD: [(&str, u16, &str); 12] = [
    (
        "zendesk",
        400,
        r#"{"error":"invalid_grant","error_description":"The provided access grant is invalid, expired, or revoked (e.g. invalid assertion, expired authorization token, bad end-user password credentials, or mismatching authorization code and redirection URI)."}"#,
    ),
    (
        "atlassian",
        403,
        r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#,
    ),
    (
        "hubspot",
        400,
        r#"{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}"#,
    ),
    (
        "hubspot-gone",
        400,
        r#"{"status":"BAD_HUB","message":"missing or unknown hub id","error":"access_denied"}"#,
    ),
    (
        "twitter",
        400,
        r#"{"error":"invalid_request","error_description":"Value passed for the token was invalid."}"#,
    ),
    (
        "entra",
        400,
        r#"{"error":"invalid_grant","error_description":"AADSTS700082: The refresh token has expired due to inactivity.\r\nTrace ID: 1","error_codes":[700082],"trace_id":"1"}"#,
    ),
    (
        "github",
        200,
        r#"{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired.","error_uri":"https://docs.github.com/"}"#,
    ),
    ("slack", 200, r#"{"ok":false,"error":"invalid_refresh_token"}"#),
    ("zoho", 200, r#"{"error":"invalid_code"}"#),
    (
        "auth0",
        403,
        r#"{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}"#,
    ),
    (
        "fitbit",
        400,
        r#"{"errors":[{"errorType":"invalid_grant","message":"Refresh token invalid: fitbit/1. Visit https://dev.fitbit.com/docs/oauth2 for more information"}],"success":false}"#,
    ),
    ("zoom", 400, r#"{"reason":"Invalid Token!","error":"invalid_request"}"#),
];

#[tokio::test]
async fn each_recorded_answer_to_a_dead_grant_lapses_it() {
    let scene = Scene::start(Profile::default()).await;
    for (name, status, body) in DEAD {
        let connected = scene.connect(name).await;
        scene.always(name, json(status, body));
        let lapsed = scene.until_lapsed(&connected, 5, 900).await;
        assert_eq!(lapsed, Some((0, LapseReason::InvalidGrant)), "{name}");
        assert_eq!(scene.asked(name), 1, "{name}");
        let (grant, _) = scene.instance.stored(&connected).await;
        let code = grant.lapse.unwrap().code.unwrap().to_string();
        assert!(!code.contains("fitbit/1"), "{code}");
    }
}

#[tokio::test]
async fn a_clients_own_codes_lapse_a_grant_at_once() {
    let profile = Profile { dead_grant_codes: vec!["odd_one".into()], ..Profile::default() };
    let scene = Scene::start(profile).await;
    let connected = scene.connect("mine").await;
    scene.always("mine", json(409, r#"{"error":{"code":"odd_one"}}"#));
    let lapsed = scene.until_lapsed(&connected, 5, 900).await;
    assert_eq!(lapsed, Some((0, LapseReason::InvalidGrant)));
}

#[tokio::test]
async fn refusals_of_no_known_name_lapse_a_grant_while_others_are_refreshed() {
    let scene = Scene::start(Profile::default()).await;
    let (dead, well) = (scene.connect("dead").await, scene.connect("well").await);
    scene.always("dead", json(422, r#"{"error":"no_way"}"#));
    let begun = scene.clock.now();
    let reason = loop {
        match scene.instance.refresh(&dead).await {
            Err(TokenFailure::Lapsed(reason)) => break reason,
            Err(failure) => assert_eq!(failure.remedy(), Remedy::Operator, "{failure:?}"),
            Ok(()) => panic!("there are no tokens"),
        }
        if scene.instance.seconds_since(begun) == 240 {
            scene.instance.refresh(&well).await.unwrap();
        }
        scene.clock.advance(5);
        assert!(scene.instance.seconds_since(begun) <= 900, "it never lapses");
    };
    assert_eq!(reason, LapseReason::Refused);
    assert!(scene.instance.seconds_since(begun) >= 600);
    assert!(scene.asked("dead") <= 5, "{}", scene.asked("dead"));
    let (grant, _) = scene.instance.stored(&dead).await;
    assert_eq!(grant.lapse.unwrap().code.unwrap().as_str(), "no_way");
    scene.instance.refresh(&well).await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_refused_loses_none_of_its_grants() {
    let scene = Scene::start(Profile::default()).await;
    let connections = [scene.connect("one").await, scene.connect("two").await];
    for name in ["one", "two"] {
        scene.always(name, json(401, r#"{"error":"invalid_client"}"#));
    }
    let begun = scene.clock.now();
    let mut asked = Vec::new();
    while scene.instance.seconds_since(begun) <= 3600 {
        for connected in &connections {
            let failure = scene.instance.refresh(connected).await.unwrap_err();
            assert_eq!(failure.remedy(), Remedy::Operator, "{failure:?}");
            assert_eq!(failure.to_string(), "the provider said invalid_client");
        }
        if scene.asked("one") > asked.len() {
            asked.push(scene.instance.seconds_since(begun));
        }
        scene.clock.advance(10);
    }
    for begun in &asked {
        let within = asked.iter().filter(|time| (*begun..begun + 900).contains(time)).count();
        assert!(within <= 5, "{asked:?}");
    }
    // None is due now: what is due is refused, and has to wait again.
    scene.instance.refresh(&connections[1]).await.unwrap_err();
    // An operator may ask at any time, and the client is right again.
    scene.desk.lock().always.clear();
    scene.instance.refresh_because(&connections[0], Cause::Operator).await.unwrap();
    let failure = scene.instance.refresh(&connections[1]).await.unwrap_err();
    assert!(matches!(failure, TokenFailure::Withheld(_) | TokenFailure::Denied(_)), "{failure:?}");
    // Within a minute of a change of the client it is asked again. The look before may have been an
    // answer of this very second.
    scene.clock.advance(1);
    let mut changed = scene.client.clone();
    changed.updated_at = scene.clock.now();
    let store = scene.instance.persistence.store();
    assert!(store.replace_client(&scene.client, &changed).await.unwrap());
    scene.clock.advance(61);
    scene.instance.refresh(&connections[1]).await.unwrap();
    assert_eq!(scene.desk.lock().reused, 0);
}

#[tokio::test]
async fn refusals_are_remembered_over_instances_and_a_restart() {
    let mut scene = Scene::start(Profile::default()).await;
    let (dead, well) = (scene.connect("dead").await, scene.connect("well").await);
    scene.always("dead", json(400, r#"{"error":"no_way"}"#));
    let other = scene.another().await;
    let (begun, mut restarted) = (scene.clock.now(), false);
    let reason = loop {
        let tried = [scene.instance.refresh(&dead).await, other.refresh(&dead).await];
        if let [.., Err(TokenFailure::Lapsed(reason))] = tried {
            break reason;
        }
        let seconds = scene.instance.seconds_since(begun);
        if seconds >= 300 && !restarted {
            scene.instance = scene.another().await;
            scene.instance.refresh(&well).await.unwrap();
            restarted = true;
        }
        scene.clock.advance(5);
        assert!(seconds <= 900, "it never lapses");
    };
    assert_eq!(reason, LapseReason::Refused);
    assert!(scene.asked("dead") <= 5, "{}", scene.asked("dead"));
    // What is remembered is gone with the grant.
    let store = scene.instance.persistence.store();
    assert_eq!(store.refresh_failure(dead.uuid).await.unwrap(), None);
}

/// Numbers that look random, the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn up_to(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    /// An answer that says nothing of the grant, whatever it says.
    fn reply(&mut self) -> Reply {
        let dead = [
            r#"{"error":"invalid_grant","error_description":"Token has been revoked"}"#,
            r#"{"error":"bad_refresh_token"}"#,
            "{}",
            "",
            "<html><h1>invalid_grant</h1></html>",
        ];
        let body = dead[usize::try_from(self.up_to(5)).unwrap()].to_owned();
        match self.up_to(40) {
            0 => Reply::Silence,
            1..=6 => Reply::Reset,
            7..=10 => Reply::Cut(body),
            11..=18 => Reply::Says(429, "application/json", body),
            19..=26 => {
                let status = [400, 403, 404, 200, 401][usize::try_from(self.up_to(5)).unwrap()];
                Reply::Says(status, "text/html", "<html>invalid_grant</html>".to_owned())
            }
            _ => {
                let status = 500 + u16::try_from(self.up_to(5)).unwrap();
                Reply::Says(status, "application/json", body)
            }
        }
    }
}

/// The number of grants that go through it, unless `CHAOS_RUNS` has another.
fn runs() -> u64 {
    std::env::var("CHAOS_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000)
}

#[tokio::test]
async fn no_grant_dies_and_no_token_is_lost_by_answers_that_say_nothing_of_it() {
    let scene = Scene::start(Profile::default()).await;
    let next = Mutex::new(0);
    let worker = async || {
        loop {
            let run = {
                let mut next = next.lock();
                *next += 1;
                *next
            };
            if run > runs() {
                return;
            }
            let name = format!("run-{run}");
            let mut dice = Dice(run.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let script: VecDeque<_> = (0..=dice.up_to(3)).map(|_| dice.reply()).collect();
            let failures = script.len();
            scene.desk.lock().script.insert(name.clone(), script.clone());
            let connected = scene.connect(&name).await;
            while let Err(failure) = scene.instance.refresh(&connected).await {
                assert_eq!(failure.remedy(), Remedy::Retry, "{run}: {failure:?} of {script:?}");
                scene.clock.advance(61);
            }
            let (grant, tokens) = scene.instance.stored(&connected).await;
            let token = format!("{name}/2");
            assert_eq!((grant.generation, grant.lapse), (2, None), "{run}: {script:?}");
            assert_eq!(tokens.refresh_token.unwrap().expose(), token.as_bytes(), "{run}");
            assert_eq!(scene.asked(&name), failures + 1, "{run}: {script:?}");
        }
    };
    let workers = (0..16).map(|_| worker());
    futures_util::future::join_all(workers).await;
    assert_eq!(scene.desk.lock().reused, 0);
}
