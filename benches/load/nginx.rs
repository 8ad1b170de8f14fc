//! nginx, configured for the same job.
//!
//! One worker; a map picks the credential. Conns are never recycled by number of requests on either
//! side, so that handshakes don't enter its figures. Request bodies stream, as the other contenders
//! do it; responses use nginx's own default buffers, but never a temporary file. Its access log is
//! the default one: the combined format, each line written at once.

use std::{fmt::Write as _, fs, io, net::SocketAddr, process::Command};

use crate::{
    contender::Site,
    identity::{AUTHORITY, HOST},
    process::{PROXY_CORE, find, free_address, pinned},
    request::{CONNECTIONS, connection, secret},
};

/// The access log, when it is on. Relative to the configuration's prefix.
pub(crate) const ACCESS_LOG: &str = "access.log";

/// Writes the configuration and says how to start.
///
/// # Errors
/// When nginx is not installed or the configuration can't be written.
pub(crate) fn prepare(site: &Site, access_log: &str) -> io::Result<(Command, SocketAddr)> {
    let program = find("nginx").ok_or(io::ErrorKind::NotFound)?;
    let address = free_address()?;
    let directory = site.directory.join("nginx");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("nginx.conf"), configuration(site, address, access_log)?)?;
    if fs::exists(directory.join(ACCESS_LOG))? {
        fs::remove_file(directory.join(ACCESS_LOG))?;
    }

    let mut command = pinned(PROXY_CORE, program);
    command.arg("-p").arg(&directory).args(["-c", "nginx.conf", "-e", "error.log"]);
    Ok((command, address))
}

fn configuration(site: &Site, address: SocketAddr, access_log: &str) -> io::Result<String> {
    let (map, authority) = (map()?, site.directory.join(AUTHORITY));
    Ok(format!(
        r#"daemon off;
user {user} {group};
worker_processes 1;
worker_rlimit_nofile 16384;
pid nginx.pid;
events {{
    worker_connections 8192;
}}
http {{
    access_log {access_log};
{TEMPORARY}
    client_max_body_size 0;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    map $http_x_zis_connection $credential {{
{map}    }}
    upstream origin {{
        server {origin};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address};
        location / {{
            proxy_pass https://origin;
            proxy_http_version 1.1;
            proxy_set_header Host {HOST};
            proxy_set_header Connection "";
            proxy_set_header Authorization $credential;
            proxy_set_header X-Zis-Connection "";
            proxy_ssl_verify on;
            proxy_ssl_verify_depth 2;
            proxy_ssl_trusted_certificate "{authority}";
            proxy_ssl_name {HOST};
            proxy_ssl_server_name on;
            proxy_ssl_session_reuse on;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"#,
        user = identify("-un")?,
        group = identify("-gn")?,
        origin = site.origin,
        authority = authority.display(),
    ))
}

/// The lines that give each connection its credential.
fn map() -> io::Result<String> {
    let mut map = String::new();
    for number in 0..CONNECTIONS {
        let (name, secret) = (connection(number), secret(number));
        writeln!(map, r#"        {name} "Bearer {secret}";"#).map_err(io::Error::other)?;
    }
    Ok(map)
}

/// Who runs this. Started by root, nginx would else change to a user that can't read our files.
fn identify(option: &str) -> io::Result<String> {
    let output = Command::new("id").arg(option).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Its built-in places belong to root, and it wants even those that it will not use.
const TEMPORARY: &str = "    client_body_temp_path body;
    fastcgi_temp_path fastcgi;
    proxy_temp_path proxy;
    scgi_temp_path scgi;
    uwsgi_temp_path uwsgi;";
