//! Every ban of `.clippy.toml`, broken once. Clippy is expected to object to each: were a ban
//! mistyped, or its path moved by a new version, the expectation would go unfulfilled, which is
//! an error under `-D warnings`. Nothing here is ever called.
#![allow(dead_code, reason = "it is enough that clippy reads this")]
#![allow(clippy::allow_attributes, reason = "compiled by rustc too, which has nothing to object")]

use std::time::Duration;

/// What is broken below; a test holds it equal to `.clippy.toml`.
pub(crate) const BROKEN: [&str; 20] = [
    "dns_lookup::getaddrinfo",
    "dns_lookup::lookup_host",
    "http::header::HeaderMap::remove",
    "jiff::Timestamp::now",
    "rustls::ClientConfig::dangerous",
    "std::env::set_var",
    "std::env::var",
    "std::env::var_os",
    "std::env::vars",
    "std::env::vars_os",
    "std::net::TcpStream::connect",
    "std::net::TcpStream::connect_timeout",
    "std::net::ToSocketAddrs::to_socket_addrs",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "tokio::net::TcpStream::connect",
    "tokio::net::lookup_host",
    "tokio::spawn",
];

fn the_network(address: std::net::SocketAddr) {
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    drop(dns_lookup::getaddrinfo(Some("example.com"), None, None));
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    drop(dns_lookup::lookup_host("example.com"));
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    drop(std::net::ToSocketAddrs::to_socket_addrs("example.com:443"));
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    drop(tokio::net::TcpStream::connect(address));
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    drop(tokio::net::lookup_host("example.com:443"));
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    drop(std::net::TcpStream::connect(address));
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    drop(std::net::TcpStream::connect_timeout(&address, Duration::ZERO));
}

fn verification(config: &mut rustls::ClientConfig) {
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    let _config = config.dangerous();
}

fn fields(headers: &mut http::HeaderMap) {
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    drop(headers.remove("x"));
}

fn tasks() {
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    drop(tokio::spawn(async {}));
}

fn the_environment() {
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    drop(std::env::var("X"));
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    drop(std::env::var_os("X"));
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    drop(std::env::vars());
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    drop(std::env::vars_os());
}

/// A call would be unsafe, which the crate forbids; to name it is banned alike.
#[expect(clippy::disallowed_methods, reason = "broken on purpose")]
fn the_environments_writer() -> unsafe fn(&'static str, &'static str) {
    std::env::set_var::<&str, &str>
}

fn the_time() {
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    let _time = std::time::SystemTime::now();
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    let _time = std::time::Instant::now();
    #[expect(clippy::disallowed_methods, reason = "broken on purpose")]
    let _time = jiff::Timestamp::now();
}

#[expect(clippy::disallowed_types, reason = "broken on purpose")]
fn a_mutex(_: &std::sync::Mutex<()>) {}

#[expect(clippy::disallowed_types, reason = "broken on purpose")]
fn a_lock(_: &std::sync::RwLock<()>) {}
