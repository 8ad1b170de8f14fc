//! For each code, a request that is refused with it. The match is exhaustive: a new code does
//! not compile without one.

use std::sync::Arc;

use jiff::Timestamp;
use keyferry::ledger::Metrics;
use keyferry::model::connection::Connection;
use keyferry::model::domain::AllowedDomain;
use keyferry::model::name::{ConnectionName, IntegrationName};
use keyferry::model::record::{ConnectionRecord, Detail, new_id};
use keyferry::model::sealed::Sealed;
use keyferry::proxy::{Code, Refusal};

use crate::support::ask::{Ask, ask, stranger};
use crate::support::authorized;
use crate::support::inside::{self, Stuck};
use crate::support::origin::{Origin, listen};
use crate::support::provider::{Manner, Provider};
use crate::support::raw::{Answer, Raw};
use crate::support::tls::{Authority, NAMES};
use crate::support::world::{Running, World};

/// Brings the proxy to refuse with this code.
pub(crate) async fn provoke(code: Code) -> Answer {
    match code {
        Code::AddressProhibited
        | Code::ConnectRefused
        | Code::ConnectTimeout
        | Code::NameTimeout
        | Code::NameUnresolved => way_out(code).await,
        Code::CertificateInvalid
        | Code::ResponseMalformed
        | Code::ResponseTimeout
        | Code::ResponseTruncated
        | Code::TlsFailed
        | Code::UpgradeFailed
        | Code::UpstreamClosed => rude_origin(code).await,
        Code::Internal | Code::LoopDetected | Code::Overloaded | Code::ShuttingDown => {
            proxy_itself(code).await
        }
        Code::SealBroken | Code::StoreUnavailable => from_the_store(code).await,
        Code::ReauthorizationNeeded | Code::TokenEndpointFailed => from_the_provider(code).await,
        Code::AmbiguousConnection
        | Code::BodyTooLarge
        | Code::CallerUnknown
        | Code::ConflictingTags
        | Code::ConnectionForbidden
        | Code::ConnectionNotFound
        | Code::ConnectionRequired
        | Code::DomainNotAllowed
        | Code::HeadTooLarge
        | Code::HttpsRequired
        | Code::MalformedRequest
        | Code::MethodNotAllowed
        | Code::MisdirectedRequest
        | Code::PortNotAllowed
        | Code::RateLimited
        | Code::RequestNotAllowed => request(code).await,
    }
}

/// Refusals of the request itself: no origin hears of any of them.
async fn request(code: Code) -> Answer {
    let origin = Origin::start().await;
    let world = World::new(&origin)
        .bearer("acme.other", "other.example.test", "other-secret")
        .bearer("acme.wild", "*.wild.example.test", "wild-secret")
        .bearer("acme.deep", "deep.wild.example.test", "deep-secret")
        .connection(
            "acme.reader",
            "reader.example.test",
            "type = \"bearer_token\"\ntoken = \"reader-secret\"\nread_only = true",
        )
        .token("bound", "acme", "connections = [\"other\"]")
        .set("proxy.max_body_bytes", "10")
        .run()
        .await;
    let url = "GET https://api.example.test/v1";
    let tagged = |tag: &str| ask(url).field("X-Zis-Connection", tag);
    let ask: Ask = match code {
        Code::AmbiguousConnection => ask("GET https://deep.wild.example.test/v1"),
        Code::BodyTooLarge => ask("POST https://api.example.test/v1").body("eleven byte"),
        Code::CallerUnknown => stranger(url),
        Code::ConflictingTags => ask("GET /~/api/v1").field("X-Zis-Connection", "other"),
        Code::ConnectionForbidden => stranger(url).by("bound").field("X-Zis-Connection", "api"),
        Code::ConnectionNotFound => tagged("absent"),
        Code::ConnectionRequired => ask("GET https://uncovered.test/v1"),
        Code::DomainNotAllowed => tagged("other"),
        Code::HeadTooLarge => ask(url).field("X-Large", &"x".repeat(70_000)),
        Code::HttpsRequired => ask("GET http://api.example.test/v1"),
        Code::MethodNotAllowed => ask("TRACE https://api.example.test/v1"),
        Code::MisdirectedRequest => ask("GET /~/api/v1").host("evil.test"),
        Code::PortNotAllowed => ask("GET https://api.example.test:8443/v1"),
        Code::RateLimited => return too_often(&origin).await,
        Code::RequestNotAllowed => ask("POST https://reader.example.test/v1"),
        _ => ask(url).host("a\0b"),
    };
    let answer = world.send(&ask).await;
    assert_eq!(origin.conns(), 0, "{code:?}");
    answer
}

async fn too_often(origin: &Origin) -> Answer {
    let world = World::new(origin)
        .set("proxy.requests_per_minute", "1")
        .set("upstream.allow_networks", "[]")
        .run()
        .await;
    let first = world.send(&ask("GET https://api.example.test/v1")).await;
    assert_eq!(first.code(), "AddressProhibited");
    world.send(&ask("GET https://api.example.test/v1")).await
}

/// Refusals because of where the way out leads.
async fn way_out(code: Code) -> Answer {
    let origin = Origin::start().await;
    let world = World::new(&origin);
    let url = ask("GET https://api.example.test/v1");
    match code {
        Code::AddressProhibited => {
            let world = world.set("upstream.allow_networks", "[]").run().await;
            let answer = world.send(&url).await;
            assert_eq!(origin.conns(), 0);
            answer
        }
        Code::ConnectRefused => {
            let address = listen().await.local_addr().unwrap().to_string();
            world.pin_to("api.example.test:443", &address).run().await.send(&url).await
        }
        Code::ConnectTimeout => {
            let (world, _silent) = no_handshake(world).await;
            world.send(&url).await
        }
        Code::NameTimeout => {
            let world = World::empty()
                .bearer("acme.api", "api.example.test", "bearer-secret")
                .token("runner", "acme", "")
                .set("upstream.resolve_timeout", "\"100ms\"");
            let address = inside::serve(&world, Arc::new(Stuck), false);
            Raw::tcp(&address).await.send(&url).await
        }
        _ => {
            let world = World::empty()
                .bearer("acme.api", "absent.invalid", "bearer-secret")
                .token("runner", "acme", "")
                .run()
                .await;
            world.send(&ask("GET https://absent.invalid/v1")).await
        }
    }
}

/// A world whose origin accepts conns and never says a word of TLS.
async fn no_handshake(world: World) -> (Running, Origin) {
    let silent = Origin::on(listen(), |io, _, _| async move {
        std::future::pending::<()>().await;
        drop(io);
    })
    .await;
    let world = world.pin("api.example.test", &silent);
    (world.set("upstream.connect_timeout", "\"300ms\"").run().await, silent)
}

/// An origin that behaves so.
async fn rude(code: Code) -> Origin {
    match code {
        Code::CertificateInvalid => {
            let config = Authority::new().leaf(NAMES).serve(&[]);
            Origin::scripted_with(config, |_conn| async {}).await
        }
        Code::TlsFailed => {
            Origin::on(listen(), |io, _, _| async move {
                let mut raw = Raw::over(io);
                raw.write("HTTP/1.1 400 Bad Request\r\n\r\n").await;
                raw.rest().await;
            })
            .await
        }
        Code::ResponseMalformed => Origin::saying("not HTTP at all\r\n\r\n", true).await,
        Code::ResponseTimeout => Origin::saying("", false).await,
        Code::ResponseTruncated => Origin::saying("HTTP/1.1 200 OK\r\nContent-", true).await,
        Code::UpgradeFailed => {
            let answer =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
            Origin::saying(answer, false).await
        }
        _ => Origin::saying("", true).await,
    }
}

/// Refusals because of what the origin does.
async fn rude_origin(code: Code) -> Answer {
    let origin = rude(code).await;
    let world = World::new(&origin).set("upstream.response_timeout", "\"300ms\"").run().await;
    let mut ask = ask("GET https://api.example.test/v1");
    if code == Code::UpgradeFailed {
        ask = ask
            .field("Connection", "Upgrade")
            .field("Upgrade", "websocket")
            .field("Sec-WebSocket-Version", "13")
            .field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    }
    let answer = world.send(&ask).await;
    if matches!(code, Code::CertificateInvalid | Code::TlsFailed) {
        assert!(origin.seen().is_empty(), "nothing may be sent to it");
    }
    answer
}

/// Refusals because of the state that the proxy itself is in.
async fn proxy_itself(code: Code) -> Answer {
    let origin = Origin::start().await;
    let world = World::new(&origin);
    let url = ask("GET https://api.example.test/v1");
    match code {
        Code::LoopDetected => {
            let world = world.run().await;
            let via = world.send(&url).await.field("via").to_owned();
            world.send(&url.field("Via", &via)).await
        }
        Code::Overloaded => {
            let world = world.set("proxy.max_connections", "1").run().await;
            let mut first = world.raw().await;
            first.send(&url).await;
            let answer = world.send(&url).await;
            assert_eq!(first.send(&url).await.status, 200, "the first goes on");
            answer
        }
        Code::ShuttingDown => {
            let address = inside::serve(&world, Arc::new(Stuck), true);
            Raw::tcp(&address).await.send(&url).await
        }
        // Nothing raises it: it is for what can't happen.
        _ => {
            let message = Refusal::new(Code::Internal, "The proxy has failed.").into_message();
            Raw::over(std::io::Cursor::new(message)).answer().await
        }
    }
}

/// Refusals for what a provider has said when the tokens had ended.
async fn from_the_provider(code: Code) -> Answer {
    let provider = Provider::start().await;
    let (_origin, server) = authorized::world(&provider, |world| world).await;
    server.register(&provider).await;
    provider.set_expires_in(1.into());
    server.authorize(&provider, "mine").await;
    provider.always(match code {
        Code::ReauthorizationNeeded => {
            Manner::Saying(400, "application/json", r#"{"error":"invalid_grant"}"#.to_owned())
        }
        _ => Manner::Saying(500, "text/html", "<html>".to_owned()),
    });
    server.has_expired("mine").await;
    server.send(&authorized::through("mine")).await
}

/// Refusals for what the store has, or has not said.
async fn from_the_store(code: Code) -> Answer {
    let world = World::new(&Origin::start().await);
    let name = if code == Code::SealBroken { "broken" } else { "api" };
    let url = ask("GET https://api.example.test/v1").field("X-Zis-Connection", name);
    let address = inside::serve_changed(&world, Arc::new(Stuck), false, |in_force| {
        in_force.registry.insert_connection(sealed("broken"), &Metrics::new()).unwrap();
        in_force.stale = Arc::new((code == Code::StoreUnavailable).into());
    });
    Raw::tcp(&address).await.send(&url).await
}

/// A connection to the usual origin whose secret could not be opened.
fn sealed(name: &str) -> Connection {
    let record = ConnectionRecord {
        options: Arc::default(),
        uuid: new_id().unwrap(),
        integration: IntegrationName::parse("acme").unwrap(),
        name: ConnectionName::parse(name).unwrap(),
        allowed_domain: Some(AllowedDomain::parse("api.example.test").unwrap()),
        detail: Detail::BearerToken,
        sealed: Sealed::default(),
        created_at: Timestamp::MIN,
        updated_at: Timestamp::MIN,
    };
    Connection::from_record(record, None)
}
