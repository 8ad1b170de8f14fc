//! Everything that is in force on this instance, and what requests are decided by.
//!
//! Owns the set of connections and callers, promises to answer from memory and to replace what is
//! in force as a whole, and must never know a request, nor show a secret: it holds connections,
//! whose secrets only a departure can use.

mod registry;

pub use self::registry::{
    ConnectionSource, DuplicateNames, Holder, RegisteredConnection, Registry,
};
