//! Whoever holds a token, before the API of the program.

use std::fs;

use serde_json::Value;

use super::ask::{Ask, stranger};
use super::raw::{Answer, Raw};
use super::world::Running;

/// The prefix of the paths of integrations.
const INTEGRATIONS: &str = "/api/services/zis/integrations";

/// Whoever holds a token.
pub(crate) struct Operator {
    address: String,
    pub(crate) token: String,
}

impl Running {
    /// Host and port of the API.
    pub(crate) fn api_address(&self) -> &str {
        self.api.split_once("://").unwrap().1
    }

    /// The holder of `admin.token`.
    pub(crate) fn admin(&self) -> Operator {
        let token = fs::read_to_string(self.world.path("data/admin.token")).unwrap();
        self.operator(token.trim())
    }

    /// The holder of this token.
    pub(crate) fn operator(&self, token: &str) -> Operator {
        Operator { address: self.api_address().to_owned(), token: token.to_owned() }
    }
}

impl Operator {
    /// Sends a request as it is, with the token.
    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        let ask = ask.field("Authorization", &format!("Bearer {}", self.token));
        Raw::tcp(&self.address).await.send(&ask).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(stranger(&format!("GET {}", full(path)))).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(stranger(&format!("DELETE {}", full(path)))).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.write("POST", path, &body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.write("PATCH", path, &body.to_string()).await
    }

    /// A body as it stands, said to be JSON.
    pub(crate) async fn write(&self, method: &str, path: &str, body: &str) -> Answer {
        let ask = stranger(&format!("{method} {}", full(path)));
        self.send(ask.field("Content-Type", "application/json").body(body)).await
    }

    /// Makes a token, and is its holder.
    pub(crate) async fn grant(&self, body: &Value) -> (Self, String) {
        let answer = self.post("/api/keyferry/v1/tokens", body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let token = &answer.json()["token"];
        let secret = token["secret"].as_str().unwrap().to_owned();
        let holder = Self { address: self.address.clone(), token: secret };
        (holder, token["id"].as_str().unwrap().to_owned())
    }
}

impl Answer {
    /// The body.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The status, and the codes of all errors.
    pub(crate) fn faults(&self) -> (u16, Vec<String>) {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        let code = |error: &Value| error["code"].as_str().unwrap().to_owned();
        (self.status, errors.iter().map(code).collect())
    }

    /// The status and the first error's code and title.
    pub(crate) fn fault(&self) -> (u16, String, String) {
        let error = &self.json()["errors"][0];
        let text = |name: &str| error[name].as_str().unwrap().to_owned();
        (self.status, text("code"), text("title"))
    }
}

/// A path below an integration may be written without what comes before it.
fn full(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{INTEGRATIONS}/{path}") }
}
