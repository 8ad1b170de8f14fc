//! Names to addresses, by the system's resolver.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

/// A lookup under way.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Turns a host name into addresses; the system's, or a test's own.
pub trait Resolver: std::fmt::Debug + Send + Sync {
    /// Every address of `host`, with `port`. Dropping the lookup abandons it.
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a>;
}

/// `getaddrinfo`, so that hosts files and the platform's name services count as for any program.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Resolver for System {
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a> {
        Box::pin(async move {
            #[expect(clippy::disallowed_methods, reason = "the guard judges what comes back")]
            let found = tokio::net::lookup_host((host, port)).await?;
            Ok(found.collect())
        })
    }
}
