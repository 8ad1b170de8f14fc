//! A request as a caller writes it.

use std::fmt::Write as _;

use super::token;

/// An HTTP/1.1 request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    line: String,
    host: Option<String>,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A request by the token `runner`: `ask("GET https://api.example.test/v1")`.
pub(crate) fn ask(line: &str) -> Ask {
    stranger(line).by("runner")
}

/// A request by nobody.
pub(crate) fn stranger(line: &str) -> Ask {
    Ask {
        line: line.to_owned(),
        host: Some("127.0.0.1".to_owned()),
        fields: Vec::new(),
        body: Vec::new(),
    }
}

impl Ask {
    /// With the token of this name.
    pub(crate) fn by(self, name: &str) -> Self {
        let value = format!("Bearer {}", token(name));
        self.field("Proxy-Authorization", &value)
    }

    /// With this `Host`.
    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// With one more field line.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a body of known length.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.field("Content-Length", &length)
    }

    /// With a body of which only the head says that it is chunked; `bytes` stand as they are.
    pub(crate) fn chunks(mut self, bytes: &str) -> Self {
        self.body = bytes.into();
        self.field("Transfer-Encoding", "chunked")
    }

    /// The method.
    pub(crate) fn method(&self) -> &str {
        self.line.split(' ').next().unwrap()
    }

    /// The whole message.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut message = format!("{} HTTP/1.1\r\n", self.line);
        if let Some(host) = &self.host {
            write!(message, "Host: {host}\r\n").unwrap();
        }
        for (name, value) in &self.fields {
            write!(message, "{name}: {value}\r\n").unwrap();
        }
        message.push_str("\r\n");
        [message.as_bytes(), &self.body].concat()
    }
}
