//! What the program trusts: what this machine trusts, and the interception CA, in the files that
//! runtimes read.

use std::fs;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tempfile::TempDir;

use super::truststore;
use crate::cli::output::{self, Failure};
use crate::cli::server::{self, Server};
use crate::config::Environment;

/// The files, in a directory that is gone when this is dropped.
pub(super) struct Trust {
    /// The interception CA alone, as PEM.
    pub(super) ca: PathBuf,
    /// All that is trusted, as PEM.
    pub(super) bundle: PathBuf,
    /// The same as Java reads it.
    pub(super) truststore: PathBuf,
    _directory: TempDir,
}

impl Trust {
    /// Asks the server for its CA and writes the files.
    pub(super) fn write(server: &Server, environment: &Environment) -> Result<Self, Failure> {
        let answer = server.get(&server::Path::root(&["ca.pem"]))?;
        let ca = format!("{}\n", answer.text()?);
        let unwritable = |why: std::io::Error| {
            Failure::Because(format!("the program's CA bundle can't be written: {why}"))
        };
        let directory = super::private_directory().map_err(unwritable)?;
        let bundle = format!("{}\n{ca}", system(environment));
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok).collect();
        let truststore = truststore::write(&certificates);
        let place = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            fs::write(&path, content).map(|()| path)
        };
        Ok(Self {
            ca: place("ca.pem", ca.as_bytes()).map_err(unwritable)?,
            bundle: place("bundle.pem", bundle.as_bytes()).map_err(unwritable)?,
            truststore: place("truststore.jks", &truststore).map_err(unwritable)?,
            _directory: directory,
        })
    }
}

/// The bundle that the program would have trusted.
fn system(environment: &Environment) -> String {
    let chosen = environment.value("SSL_CERT_FILE").map(Path::new);
    let usual = BUNDLES.iter().map(Path::new);
    let found = chosen.into_iter().chain(usual).find_map(|path| fs::read_to_string(path).ok());
    found.unwrap_or_else(|| {
        output::note(
            "keyferry: this machine has no CA bundle, so the program trusts the proxy's CA alone",
        );
        String::new()
    })
}

/// Where systems keep their bundle.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];
