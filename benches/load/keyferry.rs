//! Keyferry, with everything on: callers are authenticated, rules checked, every request logged to
//! a file and counted.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder},
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    process::Command,
};

use crate::{
    contender::Site,
    identity::{AUTHORITY, AUTHORITY_KEY, HOST},
    kept,
    process::{PROXY_CORE, free_address, pinned},
    request::{CONNECTIONS, TOKEN, connection, secret},
};

/// Writes the configuration and says how to start. With `stored`, so many connections are in its
/// store; without, those that are asked for are declared.
///
/// # Errors
/// When the configuration or the store can't be written.
pub(crate) fn prepare(site: &Site, stored: Option<usize>) -> io::Result<(Command, SocketAddr)> {
    let address = free_address()?;
    let directory = match stored {
        Some(many) => site.directory.join(format!("keyferry-{many}")),
        None => site.directory.join("keyferry"),
    };
    // It refuses a data directory that others can read.
    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    let file = directory.join("keyferry.toml");
    let configuration = configuration(site, address)?;
    let connections = match stored {
        Some(many) => {
            kept::fill(&directory, many)?;
            "[store]\nurl = \"sqlite:keyferry.db\"\n".to_owned()
        }
        None => declared()?,
    };
    fs::write(&file, configuration + &connections)?;

    let mut command = pinned(PROXY_CORE, &site.keyferry);
    command.args(["serve", "--config"]).arg(file).arg("--data-dir").arg(directory);
    Ok((command, address))
}

fn configuration(site: &Site, address: SocketAddr) -> io::Result<String> {
    Ok(format!(
        r#"[log]
format = "json"

[proxy]
listen = ["{address}"]

[upstream]
extra_roots = ["{authority}"]
allow_networks = ["127.0.0.0/8"]
# As many as nginx is given with `keepalive 1000`.
max_idle_per_origin = 1000
[upstream.resolve]
"{HOST}:443" = "{origin}"

[ca]
cert = "{authority}"
key = "{authority_key}"

[api]
listen = "{api}"

[[tokens]]
name = "load"
integration = "bench"
scopes = ["proxy"]
token = "{TOKEN}"
"#,
        authority = site.directory.join(AUTHORITY).display(),
        authority_key = site.directory.join(AUTHORITY_KEY).display(),
        origin = site.origin,
        api = free_address()?,
    ))
}

fn declared() -> io::Result<String> {
    let mut toml = "[store]\nurl = \"memory:\"\n".to_owned();
    for number in 0..CONNECTIONS {
        write!(
            toml,
            r#"
[[connections]]
integration = "bench"
type = "bearer_token"
name = "{name}"
allowed_domain = "{HOST}"
token = "{secret}"
"#,
            name = connection(number),
            secret = secret(number),
        )
        .map_err(io::Error::other)?;
    }
    Ok(toml)
}
