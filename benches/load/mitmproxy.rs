//! mitmproxy's `mitmdump`, with a script that sets one credential.

use std::{fs, io, net::SocketAddr, process::Command};

use crate::{
    contender::Site,
    identity::{AUTHORITY, AUTHORITY_KEY, HOST},
    process::{PROXY_CORE, find, free_address, pinned},
    request::secret,
};

/// Writes the script and says how to start.
///
/// # Errors
/// When mitmproxy is not installed or the script can't be written.
pub(crate) fn prepare(site: &Site) -> io::Result<(Command, SocketAddr)> {
    let program = find("mitmdump").ok_or(io::ErrorKind::NotFound)?;
    let address = free_address()?;
    let directory = site.directory.join("mitmproxy");
    fs::create_dir_all(&directory)?;
    let read = |name: &str| fs::read_to_string(site.directory.join(name));
    let authority = read(AUTHORITY_KEY)? + &read(AUTHORITY)?;
    fs::write(directory.join("mitmproxy-ca.pem"), authority)?;
    fs::write(directory.join("inject.py"), script(site))?;
    let mut command = pinned(PROXY_CORE, program);
    command.args(["--quiet", "--listen-host", "127.0.0.1", "--listen-port"]);
    command.arg(address.port().to_string()).arg("--set");
    command.arg(format!("confdir={}", directory.display())).arg("--set");
    let authority = site.directory.join(AUTHORITY);
    command.arg(format!("ssl_verify_upstream_trusted_ca={}", authority.display()));
    command.arg("--scripts").arg(directory.join("inject.py"));
    Ok((command, address))
}

fn script(site: &Site) -> String {
    format!(
        "def server_connect(data):\n    data.server.address = (\"127.0.0.1\", {port})\n    \
         data.server.sni = \"{HOST}\"\n\n\n\
         def request(flow):\n    flow.request.headers[\"Authorization\"] = \"Bearer {secret}\"\n",
        port = site.origin.port(),
        secret = secret(0),
    )
}
