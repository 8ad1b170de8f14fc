//! The interception CA: the operator's, or one that is made once and kept, so that all instances
//! have the same; and its certificate where people look for it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backing::Backing;
use super::data_dir::{DataDirError, write_secret};
use crate::ca::{CaError, CaRotation, CertificateAuthority, LeafCache, ScheduledCa};
use crate::clock::Clock;
use crate::config::{Config, PemError};
use crate::error::chain;
use crate::ledger::Metrics;
use crate::management::{RecordError, seal_authority};
use crate::secret::Secret;
use crate::store;
use crate::vault::OpenError;

/// The CA, and what it signs.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) leaves: Arc<LeafCache>,
    /// Where the certificate is written.
    pub(super) certificate: PathBuf,
    /// Whether the CAs are the store's.
    is_kept: bool,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// Why there is no CA; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file of `[ca]` can't be read.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// What `[ca]` names is no CA that can be used.
    #[error("ca.cert ({}) and ca.key ({}) can't be used: {}", .0.display(), .1.display(), .2)]
    Configured(PathBuf, PathBuf, #[source] CaError),
    /// A new one can't be made.
    #[error("no interception CA can be made: {0}")]
    Make(#[from] CaError),
    /// A new one can't be sealed.
    #[error(transparent)]
    Seal(#[from] RecordError),
    /// The store can't be asked for it.
    #[error("the store can't be asked for the interception CA")]
    Store(#[from] store::Error),
    /// Its certificate can't be written.
    #[error(transparent)]
    File(#[from] DataDirError),
}

impl Trust {
    /// The operator's CA if `[ca]` names one, else the store's, else one for as long as the process
    /// lives.
    ///
    /// # Errors
    /// [`TrustError`] says what stands in the way.
    pub(super) async fn open(
        config: &Config,
        backing: Option<&Backing>,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TrustError> {
        let configured = config.ca.cert.as_ref().zip(config.ca.key.as_ref());
        let rotation = match (configured, backing) {
            (Some((cert, key)), _) => CaRotation::single(configured_ca(cert, key, &clock)?),
            (None, None) => CaRotation::single(CertificateAuthority::generate(clock.now())?),
            (None, Some(_)) => CaRotation::default(),
        };
        let trust = Self {
            leaves: Arc::new(LeafCache::new(rotation, clock.clone())),
            certificate: config.data_dir.join(CERTIFICATE),
            is_kept: configured.is_none() && backing.is_some(),
            clock,
            metrics,
        };
        if let Some(backing) = backing.filter(|_| trust.is_kept) {
            trust.begin(backing).await?;
        }
        trust.publish()?;
        Ok(trust)
    }

    /// The store has other CAs than before.
    pub(super) async fn renew(&self, backing: &Backing) {
        if !self.is_kept {
            return;
        }
        let renewed = match self.take_up(backing).await {
            Ok(()) => self.publish(),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = renewed {
            tracing::error!(error = %chain(&error), "the interception CA of the store was not taken up; tunnels go on with the one before");
        }
    }

    /// Takes up what the store has; makes the first CA where it has none.
    async fn begin(&self, backing: &Backing) -> Result<(), TrustError> {
        if backing.store.authorities().await?.is_empty() {
            let now = self.clock.now();
            let authority = CertificateAuthority::generate(now)?;
            let record = seal_authority(&backing.keys.vault(), &authority, now)?;
            if backing.store.keep_first_authority(&record).await? {
                tracing::info!("an interception CA was made");
            }
        }
        Ok(self.take_up(backing).await?)
    }

    async fn take_up(&self, backing: &Backing) -> Result<(), store::Error> {
        let (vault, now) = (backing.keys.vault(), self.clock.now());
        let opened = backing.store.authorities().await?.into_iter().filter_map(|record| {
            let record = record.map_err(|error| self.alarm(&error)).ok()?;
            let key = vault.open(&record.context(), &record.sealed);
            let key = key.map_err(|error| self.alarm_of_key(backing, &error)).ok()?;
            let authority = CertificateAuthority::restore(&record.certificate, &key, now);
            let authority = authority.map_err(|error| self.alarm(&error)).ok()?;
            Some(ScheduledCa { authority: Arc::new(authority), signs_from: record.signs_from })
        });
        self.leaves.set_rotation(CaRotation::new(opened.collect()));
        Ok(())
    }

    /// A CA that can't be opened signs nothing: tunnels fail, and this says why.
    fn alarm(&self, error: &(dyn std::error::Error + 'static)) {
        self.metrics.count_seal_failure();
        tracing::error!(
            error,
            "an interception CA of the store can't be opened: its row was changed by hand, or its \
             master key is missing; tunnels under it fail"
        );
    }

    fn alarm_of_key(&self, backing: &Backing, error: &OpenError) {
        let Some(key) = error.missing_key() else { return self.alarm(error) };
        self.metrics.count_seal_failure();
        let advice = backing.keys.note_missing(key);
        tracing::error!(
            %key,
            "an interception CA of the store can't be used until its master key is there: {advice}"
        );
    }

    /// Writes the certificates where programs are told to look for them.
    fn publish(&self) -> Result<(), TrustError> {
        let path = &self.certificate;
        if let Some(directory) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|why| DataDirError::File(directory.to_path_buf(), why))?;
        }
        Ok(write_secret(path, self.leaves.trusted_pem().as_bytes())?)
    }
}

fn configured_ca(
    cert: &Path,
    key: &Path,
    clock: &Clock,
) -> Result<CertificateAuthority, TrustError> {
    let unreadable = |path: &Path, why| PemError::Unreadable(path.to_path_buf(), why);
    let certificates = fs::read_to_string(cert).map_err(|why| unreadable(cert, why))?;
    let secret = Secret::new(fs::read(key).map_err(|why| unreadable(key, why))?);
    CertificateAuthority::from_pem(&certificates, &secret, clock.now())
        .map_err(|why| TrustError::Configured(cert.to_path_buf(), key.to_path_buf(), why))
}

pub(super) const CERTIFICATE: &str = "ca/cert.pem";
