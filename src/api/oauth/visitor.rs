//! Whoever comes along in a flow, and what it keeps of it: a cookie for each flow.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;

use crate::api::Rooms;
use crate::management::{Keepsake, Visitor};

/// Whoever asks, as a browser would.
pub(in crate::api) struct Coming(pub(super) Visitor);

impl FromRequestParts<Rooms> for Coming {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _rooms: &Rooms) -> Result<Self, Infallible> {
        let headers = &parts.headers;
        let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        // Every browser has said so for thirty years, and those of today say more.
        let is_browser = agent.is_some_and(|agent| agent.contains("Mozilla/"))
            || headers.contains_key("sec-fetch-mode");
        let cookies = headers.get_all(header::COOKIE).iter();
        let cookies = cookies.filter_map(|value| value.to_str().ok());
        let pairs = cookies.flat_map(|line| line.split(';'));
        let keepsakes = pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .map(|(name, value)| Keepsake { name: name.to_owned(), value: value.to_owned() })
            .collect();
        Ok(Self(Visitor { is_browser, keepsakes }))
    }
}

/// The cookie: for the callback alone, out of reach of scripts, and sent when the provider's page
/// leads back, but with nothing that another page sends.
pub(super) fn cookie(keepsake: &Keepsake, path: &str, is_secure: bool) -> String {
    let Keepsake { name, value } = keepsake;
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{name}={value}; Path={path}; Max-Age=600; HttpOnly; SameSite=Lax{secure}")
}
