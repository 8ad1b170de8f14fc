//! OAuth connections: flows, tokens that are always fresh, and none that is lost.

mod account;
mod between;
mod blame;
mod callback;
mod catalogue;
mod dead;
mod discovery;
mod flows;
mod hostile;
mod injection;
mod instances;
mod keep_alive;
mod keys;
mod mcp;
mod moved;
mod newcomer;
mod paused;
mod picker;
mod profile;
mod providers;
mod refresh;
mod replay;
mod revocation;
mod sealed;
mod secrecy;
mod soak;
