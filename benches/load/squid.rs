//! Squid with ssl-bump: TLS is ended inside tunnels, and one credential is set.
//!
//! It can't pick a credential by a field of the request, so it has an easier job. It runs as a user
//! of its own, so that its files lie where that user can read them; and it can be told another
//! address for a name but no other port, so that it is asked for the origin's own.

use std::{
    env, fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    contender::Site,
    identity::{AUTHORITY, AUTHORITY_KEY, HOST},
    process::{PROXY_CORE, find, free_address, pinned},
    request::secret,
};

/// Writes the configuration and says how to start.
///
/// # Errors
/// When Squid is not installed with ssl-bump, or the configuration can't be written.
pub(crate) fn prepare(site: &Site) -> io::Result<(Command, SocketAddr)> {
    let program = find("squid").ok_or(io::ErrorKind::NotFound)?;
    let address = free_address()?;
    let directory = directory();
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    open(&directory, 0o777)?;
    // Of an authority that lives as long as the benchmark.
    for name in [AUTHORITY, AUTHORITY_KEY] {
        fs::copy(site.directory.join(name), directory.join(name))?;
        open(&directory.join(name), 0o644)?;
    }
    fs::write(directory.join("hosts"), format!("127.0.0.1 {HOST}\n"))?;
    fs::write(directory.join("squid.conf"), configuration(&directory, address))?;
    let certificates = directory.join("certificates");
    let mut certgen = Command::new(CERTGEN);
    certgen.args(["-c", "-s"]).arg(&certificates).args(["-M", "4MB"]);
    let made = certgen.output()?;
    if !made.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
    }
    for entry in fs::read_dir(&certificates)? {
        open(&entry?.path(), 0o777)?;
    }
    open(&certificates, 0o777)?;
    let mut command = pinned(PROXY_CORE, program);
    command.args(["-N", "-f"]).arg(directory.join("squid.conf"));
    Ok((command, address))
}

fn directory() -> PathBuf {
    env::temp_dir().join("keyferry-bench-squid")
}

fn open(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn configuration(directory: &Path, address: SocketAddr) -> String {
    let (directory, secret) = (directory.display(), secret(0));
    format!(
        r#"http_port {address} ssl-bump tls-cert={directory}/{AUTHORITY} tls-key={directory}/{AUTHORITY_KEY} generate-host-certificates=on dynamic_cert_mem_cache_size=4MB
sslcrtd_program {CERTGEN} -s {directory}/certificates -M 4MB
sslcrtd_children 1
ssl_bump bump all
tls_outgoing_options cafile={directory}/{AUTHORITY}
hosts_file {directory}/hosts
request_header_access Authorization deny all
request_header_add Authorization "Bearer {secret}" all
http_access allow all
cache deny all
cache_mem 8 MB
access_log stdio:{directory}/access.log
cache_log {directory}/cache.log
coredump_dir {directory}
pid_filename none
visible_hostname squid
shutdown_lifetime 0 seconds
"#
    )
}

const CERTGEN: &str = "/usr/lib/squid/security_file_certgen";
