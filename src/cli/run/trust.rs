//! The certificates that the program trusts: those that it would have trusted, and the interception
//! CA, in the files that runtimes read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tempfile::TempDir;

use super::truststore;
use crate::cli::output::{self, CliError};
use crate::cli::server::{ApiClient, ApiPath};
use crate::config::Environment;

/// The files, in a directory that is gone when this is dropped.
pub(super) struct TrustFiles {
    /// The interception CA alone, as PEM.
    pub(super) ca: PathBuf,
    /// All that this machine trusts, and the CA, as PEM.
    pub(super) bundle: PathBuf,
    /// The same as Java reads it.
    pub(super) truststore: PathBuf,
    /// Tells whether the bundle holds more than the CA.
    pub(super) has_system: bool,
    certificate: String,
    /// The files that were made beside others, by what was read.
    beside: RefCell<BTreeMap<PathBuf, PathBuf>>,
    directory: TempDir,
}

/// The rules for who may read a file.
#[derive(Clone, Copy)]
pub(super) enum Readers {
    /// Any user: a program may give up its rights before it reads.
    All,
    /// The user who runs the program.
    Owner,
}

impl TrustFiles {
    /// Asks the server for its CA and writes the files.
    pub(super) fn write(api: &ApiClient<'_>, environment: &Environment) -> Result<Self, CliError> {
        let answer = api.get(&ApiPath::root(&["ca.pem"]))?;
        let certificate = format!("{}\n", answer.text()?);
        Self::of(certificate, &system(environment)).map_err(|why| {
            CliError::Message(format!("the program's CA bundle can't be written: {why}"))
        })
    }

    fn of(certificate: String, system: &str) -> io::Result<Self> {
        // What is in it is public, and other users' processes must find their way in.
        let directory = super::private_directory()?;
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let bundle = format!("{system}\n{certificate}");
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok).collect();
        let truststore = truststore::write(&certificates);
        let place = |name: &str, content: &[u8]| place(&directory, name, content, Readers::All);
        Ok(Self {
            ca: place("ca.pem", certificate.as_bytes())?,
            bundle: place("bundle.pem", bundle.as_bytes())?,
            truststore: place("truststore.jks", &truststore)?,
            has_system: certificates.len() > 1,
            certificate,
            beside: RefCell::default(),
            directory,
        })
    }

    /// A file with the certificates of `own` and the CA; `None` when `own` can't be read.
    pub(super) fn beside(&self, own: &Path) -> Option<PathBuf> {
        let mut beside = self.beside.borrow_mut();
        if let Some(made) = beside.get(own) {
            return Some(made.clone());
        }
        let trusted = fs::read_to_string(own).ok()?;
        let name = format!("bundle-{}.pem", beside.len() + 2);
        let content = format!("{trusted}\n{}", self.certificate);
        let made = self.place(&name, content.as_bytes(), Readers::All).ok()?;
        beside.insert(own.to_owned(), made.clone());
        Some(made)
    }

    /// Writes a file beside the others; `name` may lead through one directory.
    pub(super) fn place(
        &self,
        name: &str,
        content: &[u8],
        readers: Readers,
    ) -> io::Result<PathBuf> {
        place(&self.directory, name, content, readers)
    }
}

fn place(directory: &TempDir, name: &str, content: &[u8], readers: Readers) -> io::Result<PathBuf> {
    let path = directory.path().join(name);
    if let Some(parent) = path.parent().filter(|parent| *parent != directory.path()) {
        fs::create_dir_all(parent)?;
        fs::set_permissions(parent, Permissions::from_mode(0o755))?;
    }
    let mode = match readers {
        Readers::All => 0o644,
        Readers::Owner => 0o600,
    };
    // The rights come before the content, whatever the umask is.
    fs::write(&path, [])?;
    fs::set_permissions(&path, Permissions::from_mode(mode))?;
    fs::write(&path, content)?;
    Ok(path)
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

/// The places where systems keep their bundle.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A machine's bundle and a CA, neither of which is a certificate.
    pub(in crate::cli::run) fn trust() -> TrustFiles {
        TrustFiles::of("the CA\n".to_owned(), "the system's").unwrap()
    }

    #[test]
    fn what_a_program_trusted_it_trusts_still() {
        let trust = trust();
        let own = trust.place("own/company.pem", b"the company's", Readers::Owner).unwrap();
        let beside = trust.beside(&own).unwrap();
        assert_eq!(fs::read_to_string(&beside).unwrap(), "the company's\nthe CA\n");
        assert_eq!(trust.beside(&own).unwrap(), beside);
        assert_eq!(fs::read_to_string(&trust.bundle).unwrap(), "the system's\nthe CA\n");
        assert!(trust.beside(Path::new("/no/such/file")).is_none());
        assert!(trust.beside(own.parent().unwrap()).is_none());
    }

    #[test]
    fn other_users_processes_read_what_is_public_and_nothing_else() {
        let trust = trust();
        let own = trust.place("own", b"may hold a password", Readers::Owner).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let directory = mode(trust.directory.path());
        assert_eq!((mode(&trust.ca), mode(&own), directory), (0o644, 0o600, 0o755));
    }
}
