//! Connections by OAuth: a world with a provider in it, and flows driven by raw requests.

use serde_json::{Value, json};

use super::ask::{Ask, ask, stranger};
use super::origin::Origin;
use super::provider::{self, Provider};
use super::raw::{Answer, Raw};
use super::soon;
use super::world::{Running, World, authority};

/// The prefix of OAuth's paths.
pub(crate) const OAUTH: &str = "/api/services/zis/connections";

/// Where flows of these tests end.
pub(crate) const END: &str = "https://client.int/callback";

/// A server that keeps what it is told, with the provider at [`provider::HOST`] and, at
/// `api.example.test`, an origin that takes the provider's tokens.
pub(crate) async fn world(
    provider: &Provider,
    more: impl FnOnce(World) -> World,
) -> (Origin, Running) {
    let origin = provider::origin_accepting(provider).await;
    let world = prepared(provider, &origin).keeping();
    (origin, more(world).run().await)
}

/// What such a server is made of.
pub(crate) fn prepared(provider: &Provider, origin: &Origin) -> World {
    World::new(origin)
        .pin(provider::HOST, &provider.origin)
        .set("oauth.allowed_redirect_origins", "[\"https://client.int\"]")
}

/// A request by way of the connection `acme.{name}`.
pub(crate) fn through(name: &str) -> Ask {
    ask("GET https://api.example.test/v1").field("X-Zis-Connection", name)
}

/// A parameter of a URL's query.
pub(crate) fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// The path and query of a URL.
pub(crate) fn target(url: &str) -> &str {
    let rest = url.split_once("://").unwrap().1;
    &rest[rest.find('/').unwrap()..]
}

impl Answer {
    /// Where the answer leads.
    pub(crate) fn location(&self) -> String {
        self.field("location").to_owned()
    }
}

impl Running {
    /// Makes the provider's client `example_client`; gives its uuid.
    pub(crate) async fn register(&self, provider: &Provider) -> String {
        let line = format!("POST {OAUTH}/oauth/clients/acme");
        let answer = self.manage(&line, Some(provider.registration())).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["uuid"].as_str().unwrap().to_owned()
    }

    /// Begins a flow; gives where it goes on.
    pub(crate) async fn start_flow(&self, body: Value) -> String {
        let line = format!("POST {OAUTH}/oauth/start/acme");
        let answer = self.manage(&line, Some(body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["redirect_url"].as_str().unwrap().to_owned()
    }

    /// What a flow for the connection `acme.{name}` to the usual origin is begun with.
    pub(crate) fn flow(name: &str) -> Value {
        json!({
            "name": name, "oauth_client_name": "example_client",
            "allowed_domain": "api.example.test", "origin_oauth_redirect_url": END,
        })
    }

    /// Asks the API as somebody without a token and without cookies.
    pub(crate) async fn stroll(&self, target: &str) -> Answer {
        let mut raw = Raw::tcp(authority(&self.api)).await;
        raw.send(&stranger(&format!("GET {target}"))).await
    }

    /// Goes where a flow leads, up to the provider's answer; gives the callback with all that it is
    /// sent.
    pub(crate) async fn consent(&self, provider: &Provider, redirect_url: &str) -> String {
        let led = self.stroll(target(redirect_url)).await;
        assert_eq!(led.status, 307, "{led:?}");
        let address = provider.origin.address.to_string();
        let (mut raw, _alpn) = Raw::tls_as(provider::HOST, &address, &["http/1.1"]).await;
        let asked = stranger(&format!("GET {}", target(&led.location()))).host(provider::HOST);
        let answered = raw.send(&asked).await;
        assert_eq!(answered.status, 302, "{answered:?}");
        answered.location()
    }

    /// A whole flow by authorization code; gives where it ends.
    pub(crate) async fn flow_through(&self, provider: &Provider, body: Value) -> String {
        let redirect_url = self.start_flow(body).await;
        let callback = self.consent(provider, &redirect_url).await;
        let ended = self.stroll(target(&callback)).await;
        assert_eq!(ended.status, 303, "{ended:?}");
        ended.location()
    }

    /// Makes the connection `acme.{name}` by an authorization code's flow.
    pub(crate) async fn authorize(&self, provider: &Provider, name: &str) {
        let end = self.flow_through(provider, Self::flow(name)).await;
        assert!(parameter(&end, "verification_code").is_some(), "{end}");
    }

    /// The connection as the API shows it.
    pub(crate) async fn authorized(&self, name: &str) -> Value {
        let answer = self.manage(&format!("GET {OAUTH}/acme?name={name}"), None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Waits until the connection's access token has ended.
    pub(crate) async fn has_expired(&self, name: &str) {
        let line = format!(
            "keyferry_oauth_token_expiry_seconds{{integration=\"acme\",connection=\"{name}\"}}"
        );
        soon(async { while self.metric(&line).await >= 0.0 {} }).await;
    }
}
