//! `HAProxy`, configured for the same job.
//!
//! One thread; a map file picks the credential. Upstream conns are shared and kept without limit.
//! It writes no log: by itself it would need a log daemon, whose cost would be missing here.

use std::{fmt::Write as _, fs, io, net::SocketAddr, process::Command};

use crate::{
    contender::Site,
    identity::{AUTHORITY, HOST},
    process::{PROXY_CORE, find, free_address, pinned},
    request::{CONNECTIONS, connection, secret},
};

/// Writes the configuration and says how to start.
///
/// # Errors
/// When `HAProxy` is not installed or the configuration can't be written.
pub(crate) fn prepare(site: &Site) -> io::Result<(Command, SocketAddr)> {
    let program = find("haproxy").ok_or(io::ErrorKind::NotFound)?;
    let address = free_address()?;
    let directory = site.directory.join("haproxy");
    fs::create_dir_all(&directory)?;
    let mut map = String::new();
    for number in 0..CONNECTIONS {
        let (name, secret) = (connection(number), secret(number));
        writeln!(map, "{name} Bearer {secret}").map_err(io::Error::other)?;
    }
    fs::write(directory.join("credentials.map"), map)?;
    fs::write(directory.join("haproxy.cfg"), configuration(site, address))?;

    let mut command = pinned(PROXY_CORE, program);
    command.arg("-db").arg("-f").arg(directory.join("haproxy.cfg"));
    Ok((command, address))
}

fn configuration(site: &Site, address: SocketAddr) -> String {
    let credentials = site.directory.join("haproxy").join("credentials.map");
    let authority = site.directory.join(AUTHORITY);
    format!(
        r#"global
    nbthread 1
    maxconn 4000
    tune.pool-low-fd-ratio 80
    tune.pool-high-fd-ratio 90
    ssl-default-server-options ssl-min-ver TLSv1.2
defaults
    mode http
    no log
    option http-keep-alive
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
frontend callers
    bind {address}
    http-request set-header Authorization "%[req.hdr(X-Zis-Connection),map_str({credentials})]"
    http-request del-header X-Zis-Connection
    default_backend origin
backend origin
    server origin {origin} ssl verify required ca-file "{authority}" sni str({HOST}) alpn http/1.1 pool-max-conn -1 pool-purge-delay 60s
"#,
        credentials = credentials.display(),
        authority = authority.display(),
        origin = site.origin,
    )
}
