//! Origins that answer with documents: what authorization servers and resources say of themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::origin::Origin;
use super::provider::{CLIENT_ID, CLIENT_SECRET, HOST};

/// An authorization server's name.
pub(crate) const ISSUER_HOST: &str = "as.wild.example.test";

/// An MCP server's name.
pub(crate) const MCP_HOST: &str = "mcp.wild.example.test";

/// An origin that answers each request line that it knows, and others with 404.
pub(crate) struct Documents {
    pub(crate) origin: Origin,
    known: Arc<Mutex<BTreeMap<String, Document>>>,
}

/// An answer.
#[derive(Clone)]
struct Document {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: String,
}

impl Documents {
    pub(crate) async fn start() -> Self {
        let known: Arc<Mutex<BTreeMap<String, Document>>> = Arc::default();
        let kept = Arc::clone(&known);
        let origin = Origin::answering(&["http/1.1"], move |seen| {
            let line = format!("{} {}", seen.method, seen.target);
            let document = kept.lock().get(&line).cloned();
            let document = document.unwrap_or(Document {
                status: 404,
                fields: Vec::new(),
                body: "{}".to_owned(),
            });
            let mut response = Response::builder().status(document.status);
            for (name, value) in document.fields {
                response = response.header(name, value);
            }
            response.body(Full::from(Bytes::from(document.body))).unwrap()
        });
        Self { origin: origin.await, known }
    }

    /// Answers this request line with this document from now on.
    pub(crate) fn set(&self, line: &str, status: u16, body: &Value) {
        self.set_raw(line, status, &[], &body.to_string());
    }

    /// The same with these fields, and a body as it stands.
    pub(crate) fn set_raw(
        &self,
        line: &str,
        status: u16,
        fields: &[(&'static str, &str)],
        body: &str,
    ) {
        let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let document = Document { status, fields, body: body.to_owned() };
        self.known.lock().insert(line.to_owned(), document);
    }

    /// The request lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |seen: super::origin::Seen| format!("{} {}", seen.method, seen.target);
        self.origin.seen().into_iter().map(line).collect()
    }
}

/// The metadata of an authorization server called `issuer` whose endpoints are the provider's.
pub(crate) fn server_metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("https://{HOST}/authorize"),
        "token_endpoint": format!("https://{HOST}/token"),
        "registration_endpoint": format!("https://{ISSUER_HOST}/register"),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
    })
}

/// The provider's own client, as a registration gives it.
pub(crate) fn registered() -> Value {
    json!({
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "client_secret_expires_at": 0,
        "token_endpoint_auth_method": "client_secret_post",
    })
}
