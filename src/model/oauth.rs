//! The nouns of OAuth 2.0 (RFC 6749, ZIS spec §7): clients, grants, tokens, endpoints.

pub mod assertion;
pub mod client;
pub mod discovery;
pub mod domain_template;
pub mod endpoint;
pub mod flow;
pub mod freshness;
pub mod grant;
pub mod life;
pub mod params;
pub mod profile;
pub mod refusal;
pub mod text;
pub mod tokens;
