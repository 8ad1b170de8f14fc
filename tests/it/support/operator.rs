//! What an operator does: makes, changes and deletes what is kept, through the API.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::ask::{Ask, stranger};
use super::postgres::Postgres;
use super::raw::{Answer, Raw};
use super::world::{Running, World, authority};

impl World {
    /// Keeps its connections and tokens in a file of its own.
    pub(crate) fn keeping(self) -> Self {
        self.set("store.url", "\"sqlite:keyferry.db\"")
    }

    /// Keeps its connections and tokens in this database, under the key that all tests share.
    pub(crate) fn keeping_in(self, postgres: &Postgres) -> Self {
        self.keeping_at(str::from_utf8(postgres.url().expose()).unwrap())
    }

    /// The same with the database at this URL.
    pub(crate) fn keeping_at(self, url: &str) -> Self {
        self.set("store.url", &format!("{url:?}")).with("KEYFERRY_MASTER_KEY", SHARED_KEY)
    }
}

impl Running {
    /// Asks the API with the operator's own token.
    pub(crate) async fn manage(&self, line: &str, body: Option<Value>) -> Answer {
        let token = fs::read_to_string(self.data("admin.token")).unwrap();
        self.manage_by(token.trim(), line, body).await
    }

    /// Asks the API with this token.
    pub(crate) async fn manage_by(&self, token: &str, line: &str, body: Option<Value>) -> Answer {
        let mut raw = Raw::tcp(authority(&self.api)).await;
        raw.send(&as_sent(token, line, body)).await
    }

    /// Makes the connection `acme.{name}` to `domain`.
    pub(crate) async fn keep_bearer(&self, name: &str, domain: &str, secret: &str) {
        let body = json!({"name": name, "allowed_domain": domain, "token": secret});
        let line = format!("POST {CONNECTIONS}/bearer_token");
        let answer = self.manage(&line, Some(body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    /// Puts another secret in the place of the one of `acme.{name}`.
    pub(crate) async fn replace_bearer(&self, name: &str, secret: &str) {
        let line = format!("PATCH {CONNECTIONS}/bearer_token/{name}");
        let answer = self.manage(&line, Some(json!({"token": secret}))).await;
        assert_eq!((answer.status, answer.text()), (204, String::new()), "{answer:?}");
    }

    /// Deletes `acme.{name}`.
    pub(crate) async fn delete_bearer(&self, name: &str) {
        let line = format!("DELETE {CONNECTIONS}/bearer_token/{name}");
        let answer = self.manage(&line, None).await;
        assert_eq!((answer.status, answer.text()), (204, String::new()), "{answer:?}");
    }

    /// Makes a token of `acme`; gives its id and the token itself.
    pub(crate) async fn keep_token(&self, name: &str, scopes: &[&str]) -> (String, String) {
        let body = json!({"name": name, "integration": "acme", "scopes": scopes});
        let answer = self.manage(&format!("POST {TOKENS}"), Some(body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let made: Value = serde_json::from_slice(&answer.body).unwrap();
        let text = |member: &str| made["token"][member].as_str().unwrap().to_owned();
        (text("id"), text("secret"))
    }

    /// Makes a token of `acme` with the scope `proxy` that ends in a second; gives the token itself,
    /// and when it ends.
    pub(crate) async fn keep_token_that_ends(&self, name: &str) -> (String, Timestamp) {
        let end = Timestamp::now() + SignedDuration::from_secs(1);
        let body = json!({
            "name": name, "integration": "acme", "scopes": ["proxy"], "expires_at": end.to_string(),
        });
        let answer = self.manage(&format!("POST {TOKENS}"), Some(body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let made: Value = serde_json::from_slice(&answer.body).unwrap();
        (made["token"]["secret"].as_str().unwrap().to_owned(), end)
    }

    /// Revokes a token.
    pub(crate) async fn revoke(&self, id: &str) {
        let answer = self.manage(&format!("DELETE {TOKENS}/{id}"), None).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }
}

/// Waits until this time is over.
pub(crate) async fn until(end: Timestamp) {
    let left = end.duration_since(Timestamp::now()) + SignedDuration::from_millis(1);
    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
}

/// The API's paths for the connections of `acme`.
pub(crate) const CONNECTIONS: &str = "/api/services/zis/integrations/acme/connections";

/// The API's path for access tokens.
pub(crate) const TOKENS: &str = "/api/keyferry/v1/tokens";

/// The master key of instances that share a database.
const SHARED_KEY: &str = "shared:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub(crate) fn as_sent(token: &str, line: &str, body: Option<Value>) -> Ask {
    let ask = stranger(line).field("Authorization", &format!("Bearer {token}"));
    match body {
        Some(body) => ask.field("Content-Type", "application/json").body(body.to_string()),
        None => ask,
    }
}
