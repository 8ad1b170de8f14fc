//! Names to addresses, by the system's resolver.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType};

/// A look-up under way.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Resolves host names; the system's resolver, or one of a test.
pub trait Resolver: std::fmt::Debug + Send + Sync {
    /// Resolves `host` to all its addresses, with `port`. The error of a name that does not exist
    /// or has no address is [`io::ErrorKind::NotFound`]. A look-up that is dropped may still hold a
    /// thread until it ends.
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a>;
}

/// Resolves by `getaddrinfo`, so that hosts files and the platform's name services are used.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> Lookup<'a> {
        let host = host.to_owned();
        Box::pin(
            async move { tokio::task::spawn_blocking(move || getaddrinfo(&host, port)).await? },
        )
    }
}

fn getaddrinfo(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    #[expect(clippy::disallowed_methods, reason = "the guard judges what comes back")]
    let found = dns_lookup::getaddrinfo(Some(host), None, Some(hints));
    match found {
        Ok(found) => {
            found.map(|info| info.map(|info| SocketAddr::new(info.sockaddr.ip(), port))).collect()
        }
        Err(error) => Err(match error.kind() {
            LookupErrorKind::NoName | LookupErrorKind::NoData => {
                io::Error::new(io::ErrorKind::NotFound, error)
            }
            _ => error.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_hosts_file_counts_and_what_does_not_exist_is_told_apart() {
        let found = SystemResolver.lookup("localhost", 443).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        assert!(!found.is_empty());
        let error = SystemResolver.lookup("name with spaces", 443).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
    }
}
