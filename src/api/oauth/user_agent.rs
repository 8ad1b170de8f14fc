//! The browser or program that goes through a flow, and the cookie by which it is known.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;

use crate::api::ApiState;
use crate::management::{ClientAddr, FlowCookie, UserAgent};

/// Reads who asks: a browser or a program, and its cookies.
pub(in crate::api) struct FromUserAgent(pub(super) UserAgent);

impl FromRequestParts<ApiState> for FromUserAgent {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _rooms: &ApiState) -> Result<Self, Infallible> {
        let headers = &parts.headers;
        let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        // Every browser has said so for thirty years, and those of today say more.
        let is_browser = agent.is_some_and(|agent| agent.contains("Mozilla/"))
            || headers.contains_key("sec-fetch-mode");
        let cookies = headers.get_all(header::COOKIE).iter();
        let cookies = cookies.filter_map(|value| value.to_str().ok());
        let pairs = cookies.flat_map(|line| line.split(';'));
        let cookies = pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .map(|(name, value)| FlowCookie { name: name.to_owned(), value: value.to_owned() })
            .collect();
        let address = parts.extensions.get::<ClientAddr>().and_then(|source| source.0);
        Ok(Self(UserAgent { address, is_browser, cookies }))
    }
}

/// The cookie: for the callback alone, and out of reach of scripts. Over TLS it comes along when the
/// provider's page sends the browser back by a form too (`response_mode=form_post`); without, browsers
/// keep it only as one for links.
pub(super) fn cookie(flow_cookie: &FlowCookie, path: &str, is_secure: bool) -> String {
    let FlowCookie { name, value } = flow_cookie;
    let site = if is_secure { "None; Secure" } else { "Lax" };
    format!("{name}={value}; Path={path}; Max-Age=600; HttpOnly; SameSite={site}")
}
