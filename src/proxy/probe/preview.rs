//! The part of a response that can be shown to a person: a beginning, without the credential.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::management::BodyPreview;
use crate::model::connection::Connection;
use crate::model::credential::{CredentialPatterns, masked};

/// The beginning of a body.
#[derive(Default)]
pub(super) struct BodyStart {
    bytes: Vec<u8>,
    /// Tells whether there is more.
    is_cut: bool,
}

impl BodyStart {
    pub(super) async fn read(mut body: Incoming) -> Self {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            // What was broken off is not all of it either.
            let Ok(frame) = frame else { return Self { bytes, is_cut: true } };
            if let Ok(data) = frame.into_data() {
                bytes.extend_from_slice(&data);
            }
            if bytes.len() > MAX_READ_LEN {
                bytes.truncate(MAX_READ_LEN);
                return Self { bytes, is_cut: true };
            }
        }
        Self { bytes, is_cut: false }
    }

    /// The part that can be shown. It is masked before it is cut, or the beginning of a secret could
    /// stay at the end.
    pub(super) fn preview(&self, headers: &HeaderMap, used: &[Arc<Connection>]) -> BodyPreview {
        let mut text = masked(&patterns_of(used), &self.bytes, self.is_cut);
        let is_cut = self.is_cut || text.len() > MAX_SHOWN_LEN;
        text.truncate(MAX_SHOWN_LEN);
        let valid = match std::str::from_utf8(&text) {
            Ok(_) => text.len(),
            // A letter may be cut in two at the end.
            Err(error) if is_cut && text.len() - error.valid_up_to() < 4 => error.valid_up_to(),
            Err(_) => 0,
        };
        let is_plain = !headers.contains_key(header::CONTENT_ENCODING);
        // UTF-16 would hide a secret from those who look for its letters.
        let is_text = is_plain && !text.contains(&0) && (valid > 0 || text.is_empty());
        text.truncate(valid);
        let text = if is_text { String::from_utf8(text).ok() } else { None };
        BodyPreview { text, bytes: self.bytes.len(), is_cut }
    }
}

pub(super) fn masked_fields(
    headers: &HeaderMap,
    used: &[Arc<Connection>],
) -> Vec<(String, String)> {
    let patterns = patterns_of(used);
    let shown = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = if *name == header::SET_COOKIE {
            "*****".to_owned()
        } else {
            String::from_utf8_lossy(&masked(&patterns, value.as_bytes(), false)).into_owned()
        };
        (name.to_string(), value)
    };
    headers.iter().take(MAX_FIELDS).map(shown).collect()
}

fn patterns_of(used: &[Arc<Connection>]) -> CredentialPatterns {
    CredentialPatterns::of(used.iter().flat_map(|connection| connection.all_credentials()))
}

/// Tells whether a response is the proxy's own: an origin's carries no member of that name.
pub(super) fn is_ours(headers: &HeaderMap) -> bool {
    headers.get_all("proxy-status").iter().any(|value| value.as_bytes().starts_with(b"keyferry"))
}

/// More than is shown: what is masked is shorter.
const MAX_READ_LEN: usize = 96 << 10;

const MAX_SHOWN_LEN: usize = 32 << 10;

const MAX_FIELDS: usize = 40;
