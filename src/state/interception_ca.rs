//! The interception CA: the operator's, or one that is made once and kept, so that all instances
//! have the same; and its certificate where people look for it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::StoreAndKeys;
use crate::ca::{CaError, CaRotation, CertificateAuthority, LeafCache, ScheduledCa};
use crate::clock::Clock;
use crate::error::chain;
use crate::ledger::Metrics;
use crate::model::record::{CaRecord, new_id, whole_microseconds};
use crate::model::sealed::Context;
use crate::random;
use crate::secret::file::{self, SecretFileError};
use crate::store;
use crate::vault::{OpenError, SealError, Vault};

/// The CA in force, and the leaves that it signs.
#[derive(Debug)]
pub struct InterceptionCa {
    leaves: Arc<LeafCache>,
    /// The file that the certificate is written to.
    certificate: PathBuf,
    /// Tells whether the CAs are the store's.
    is_stored: bool,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// The reason why there is no CA; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum InterceptionCaError {
    /// A new one can't be made.
    #[error("no interception CA can be made: {0}")]
    Make(#[from] CaError),
    /// A new one can't be sealed.
    #[error(transparent)]
    Seal(#[from] SealAuthorityError),
    /// The store can't be asked for it.
    #[error("the store can't be asked for the interception CA")]
    Store(#[from] store::Error),
    /// Its certificate can't be written.
    #[error(transparent)]
    File(#[from] SecretFileError),
}

/// A CA's record can't be made.
#[derive(Debug, thiserror::Error)]
pub enum SealAuthorityError {
    /// There is no randomness for its id.
    #[error(transparent)]
    Chance(#[from] random::RandomError),
    /// Its key can't be sealed.
    #[error("the CA's key can't be sealed")]
    Seal(#[from] SealError),
}

/// The record of a CA, its key sealed.
pub fn seal_authority(
    vault: &Vault,
    authority: &CertificateAuthority,
    signs_from: Timestamp,
) -> Result<CaRecord, SealAuthorityError> {
    let (id, signs_from) = (new_id()?, whole_microseconds(signs_from));
    let certificate = authority.certificate();
    let context = Context::Authority { id, certificate, signs_from };
    let sealed = vault.seal(&context, &authority.key())?;
    Ok(CaRecord { id, certificate: certificate.into(), signs_from, sealed })
}

impl InterceptionCa {
    /// Takes the operator's CA if there is one, else the store's, else one for as long as the
    /// process lives, and writes its certificate to `certificate`.
    pub async fn open(
        configured: Option<CertificateAuthority>,
        kept: Option<&StoreAndKeys>,
        certificate: PathBuf,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, InterceptionCaError> {
        let is_stored = configured.is_none() && kept.is_some();
        let succession = match configured {
            Some(authority) => CaRotation::single(authority),
            None if is_stored => CaRotation::default(),
            None => CaRotation::single(CertificateAuthority::generate(clock.now())?),
        };
        let leaves = Arc::new(LeafCache::new(succession, clock.clone()));
        let ca = Self { leaves, certificate, is_stored, clock, metrics };
        if let Some(kept) = kept.filter(|_| is_stored) {
            ca.begin(kept).await?;
        }
        ca.publish()?;
        Ok(ca)
    }

    /// The leaves that callers are shown inside tunnels.
    pub fn leaves(&self) -> &Arc<LeafCache> {
        &self.leaves
    }

    /// The file that has the certificate.
    pub fn certificate(&self) -> &std::path::Path {
        &self.certificate
    }

    /// Takes up the CAs that the store has now.
    pub(super) async fn renew(&self, kept: &StoreAndKeys) {
        if !self.is_stored {
            return;
        }
        let renewed = match self.take_up(kept).await {
            Ok(()) => self.publish(),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = renewed {
            tracing::error!(error = %chain(&error), "the interception CA of the store was not taken up; tunnels go on with the one before");
        }
    }

    /// Takes up what the store has; makes the first CA where it has none.
    async fn begin(&self, kept: &StoreAndKeys) -> Result<(), InterceptionCaError> {
        if kept.store.authorities().await?.is_empty() {
            let now = self.clock.now();
            let authority = CertificateAuthority::generate(now)?;
            let record = seal_authority(&kept.keys.vault(), &authority, now)?;
            if kept.store.keep_first_authority(&record).await? {
                tracing::info!("an interception CA was made");
            }
        }
        Ok(self.take_up(kept).await?)
    }

    async fn take_up(&self, kept: &StoreAndKeys) -> Result<(), store::Error> {
        let (vault, now) = (kept.keys.vault(), self.clock.now());
        let opened = kept.store.authorities().await?.into_iter().filter_map(|record| {
            let record = record.map_err(|error| self.alarm(&error)).ok()?;
            let key = vault.open(&record.context(), &record.sealed);
            let key = key.map_err(|error| self.alarm_of_key(kept, &error)).ok()?;
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

    fn alarm_of_key(&self, kept: &StoreAndKeys, error: &OpenError) {
        let Some(key) = error.missing_key() else { return self.alarm(error) };
        self.metrics.count_seal_failure();
        let advice = kept.keys.note_missing(key);
        tracing::error!(
            %key,
            "an interception CA of the store can't be used until its master key is there: {advice}"
        );
    }

    /// Writes the certificates to the file that programs are told to look in.
    fn publish(&self) -> Result<(), InterceptionCaError> {
        let path = &self.certificate;
        if let Some(directory) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|why| SecretFileError::Unusable(directory.to_path_buf(), why))?;
        }
        Ok(file::write(path, self.leaves.trusted_pem().as_bytes())?)
    }
}
