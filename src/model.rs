//! The nouns of the domain: names, connections, callers, origins and the permit that joins them.
//!
//! Owns the rules of what may be said (ZIS Connections, RFC 9110), promises that a value which
//! exists is valid, and must never know of I/O, clocks or configuration.

pub mod aws;
pub mod caller;
pub mod client_identity;
pub mod collector;
pub mod connection;
pub mod connection_health;
pub mod connection_secrets;
pub mod content_policy;
pub mod credential;
pub mod custom;
pub mod domain;
pub mod event;
pub mod expiry_notice;
pub mod field;
pub mod name;
mod named_enum;
pub mod oauth;
pub mod openid;
pub mod options;
pub mod origin;
pub mod own_hosts;
pub mod packer;
pub mod parameter;
pub mod permit;
pub mod placement;
pub mod record;
pub mod remedy;
pub mod request_counts;
pub mod rules;
pub mod sealed;
pub mod session;
pub mod target;
pub mod token;
pub mod trace;
pub mod webhook;

pub(crate) use self::named_enum::{name_rule, named_enum, parsed_by_name, stored_as_text};
