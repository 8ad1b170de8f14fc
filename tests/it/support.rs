//! What the tests stand on: a world to run the program in, origins, and callers of raw bytes.

pub(crate) mod ask;
pub(crate) mod authorized;
pub(crate) mod aws;
pub(crate) mod collector;
pub(crate) mod console;
pub(crate) mod desk;
pub(crate) mod documents;
pub(crate) mod frames;
pub(crate) mod http2;
pub(crate) mod inside;
pub(crate) mod instance;
pub(crate) mod issuers;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod openid;
pub(crate) mod operator;
pub(crate) mod origin;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
pub(crate) mod provider;
pub(crate) mod raw;
pub(crate) mod strict;
pub(crate) mod tls;
pub(crate) mod tunnel;
pub(crate) mod world;

use std::pin::Pin;
use std::time::Duration;

/// Waits for what must happen soon; no test waits longer for anything.
pub(crate) fn soon<F: Future>(what: F) -> Pin<Box<impl Future<Output = F::Output>>> {
    Box::pin(async {
        tokio::time::timeout(Duration::from_secs(15), what)
            .await
            .expect("it did not happen in time")
    })
}

/// The access token of this name, in the shape of one.
pub(crate) fn token(name: &str) -> String {
    format!("kf_{name:x<43}")
}
