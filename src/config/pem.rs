//! Certificates and keys in PEM files.

use std::io;
use std::path::{Path, PathBuf};

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use super::item::Mark;
use super::readers::{Reader, file};
use super::section::{Section, keys, row};

/// A certificate with its key, each in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PemPair {
    /// The file with the certificate and its chain.
    pub cert: PathBuf,
    /// The file with the certificate's key.
    pub key: PathBuf,
}

/// A PEM file can't be used; nothing of its content is ever shown.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum PemError {
    #[error("the file {} can't be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    #[error("the file {} has no certificate in PEM form", .0.display())]
    Certificate(PathBuf),
    #[error("the file {} has no private key in PEM form that can be used", .0.display())]
    Key(PathBuf),
    #[error("the key in {} does not belong to the certificate in {}", .0.display(), .1.display())]
    Mismatch(PathBuf, PathBuf),
}

impl PemPair {
    /// Gives the pair, or reports at `mark` why both files can't be used together.
    pub(super) fn checked(self, mark: &Mark<'_>) -> Option<Self> {
        mark.has_secret_in(&self.key);
        match self.load() {
            Ok(_pair) => Some(self),
            Err(why) => mark.refuse(why.to_string()),
        }
    }

    /// Reads both files and proves that the key is the certificate's.
    pub fn load(&self) -> Result<CertifiedKey, PemError> {
        let chain = certificates(&self.cert)?;
        let pem = zeroize::Zeroizing::new(read(&self.key)?);
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|_may_show_the_key| PemError::Key(self.key.clone()))?;
        let unusable = || PemError::Key(self.key.clone());
        let signer = aws_lc_rs::default_provider()
            .key_provider
            .load_private_key(key)
            .map_err(|_may_show_the_key| unusable())?;
        let pair = CertifiedKey::new(chain, signer);
        match pair.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Ok(pair)
            }
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(PemError::Mismatch(self.key.clone(), self.cert.clone()))
            }
            Err(_) => Err(PemError::Certificate(self.cert.clone())),
        }
    }
}

/// The certificates of a CA in a file.
pub(super) fn roots() -> Reader<Vec<CertificateDer<'static>>> {
    file().then(|file, mark| match anchors(&file) {
        Ok(roots) => Some(roots),
        Err(why) => mark.refuse(why.to_string()),
    })
}

/// A certificate with its chain and its key, in files that can be used together.
pub(super) fn pem_pair() -> Reader<PemPair> {
    let about = |sentence: &str| json!({ "type": "string", "description": sentence });
    let schema = json!({
        "type": "object",
        "properties": {
            "cert": about("The file with the certificate and its chain (PEM)."),
            "key": about("The file with the certificate's key (PEM)."),
        },
        "required": ["cert", "key"],
        "additionalProperties": false,
    });
    Reader::new("{ cert = \"FILE\", key = \"FILE\" }", schema, |item| {
        let mark = item.mark();
        let mut section = item.section()?;
        let [cert, key] = ["cert", "key"].map(|name| file().read(section.needed(name)?));
        section.close();
        PemPair { cert: cert?, key: key? }.checked(&mark)
    })
}

/// The certificates in a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(PemError::Certificate(path.to_path_buf())),
    }
}

/// The certificates of CAs in a file: each must be able to anchor trust.
fn anchors(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates = certificates(path)?;
    let mut store = rustls::RootCertStore::empty();
    for certificate in &certificates {
        store
            .add(certificate.clone())
            .map_err(|_damaged| PemError::Certificate(path.to_path_buf()))?;
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    std::fs::read(path).map_err(|why| PemError::Unreadable(path.to_path_buf(), why))
}

/// Reads `[ca]`: both files, or neither.
pub(super) fn ca(root: &mut Section<'_>) -> Option<PemPair> {
    let mut section = root.section(
        "ca",
        "A CA of your own for interception: both keys, or neither; else one is made and kept in \
         the store.",
    );
    keys! { section;
        /// The file with the CA's certificate (PEM).
        cert? = "ca.pem" => file();
        /// The file with the CA's key (PEM).
        key? = "ca.key" => file();
    }
    let mark = section.mark().clone();
    if section.has("cert") != section.has("key") {
        mark.report.conflict("ca", "needs both cert and key, or neither");
    }
    section.close();
    let pair = cert.zip(key).and_then(|(cert, key)| PemPair { cert, key }.checked(&mark));
    root.at_start("ca", &pair);
    pair
}
