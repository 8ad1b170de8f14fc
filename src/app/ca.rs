//! The interception CA, as the configuration has it: the operator's own, or the store's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ca::{CaError, CertificateAuthority};
use crate::clock::Clock;
use crate::config::{Config, PemError, PemPair};
use crate::ledger::Metrics;
use crate::secret::Secret;
use crate::state::{InterceptionCa, InterceptionCaError, StoreAndKeys};

/// The reason why there is no CA; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenCaError {
    /// A file of `[ca]` can't be read.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The files that `[ca]` names are no CA that can be used.
    #[error("ca.cert ({}) and ca.key ({}) can't be used: {}", .0.display(), .1.display(), .2)]
    Configured(PathBuf, PathBuf, #[source] CaError),
    /// The CA can't be opened or made.
    #[error(transparent)]
    Open(#[from] InterceptionCaError),
}

/// Opens the CA and writes its certificate into the data directory.
pub(super) async fn open_ca(
    config: &Config,
    kept: Option<&StoreAndKeys>,
    clock: Clock,
    metrics: Arc<Metrics>,
) -> Result<InterceptionCa, OpenCaError> {
    let configured = config.ca.as_ref().map(|files| configured_ca(files, &clock)).transpose()?;
    let certificate = config.data_dir.join(CERTIFICATE);
    Ok(InterceptionCa::open(configured, kept, certificate, clock, metrics).await?)
}

fn configured_ca(files: &PemPair, clock: &Clock) -> Result<CertificateAuthority, OpenCaError> {
    let PemPair { cert, key } = files;
    let unreadable = |path: &Path, why| PemError::Unreadable(path.to_path_buf(), why);
    let certificates = fs::read_to_string(cert).map_err(|why| unreadable(cert, why))?;
    let secret = Secret::new(fs::read(key).map_err(|why| unreadable(key, why))?);
    CertificateAuthority::from_pem(&certificates, &secret, clock.now())
        .map_err(|why| OpenCaError::Configured(cert.clone(), key.clone(), why))
}

pub(super) const CERTIFICATE: &str = "ca/cert.pem";
