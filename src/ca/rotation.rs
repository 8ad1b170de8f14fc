//! Which CA signs now, and which will: a new one is made known before it signs, so that those who
//! are to trust it have time to.

use std::sync::Arc;

use jiff::Timestamp;

use super::CertificateAuthority;

/// CAs in the order in which they sign.
#[derive(Clone, Debug, Default)]
pub struct CaRotation(Vec<ScheduledCa>);

/// A CA, and from when it signs.
#[derive(Clone, Debug)]
pub struct ScheduledCa {
    /// The CA.
    pub authority: Arc<CertificateAuthority>,
    /// From when it signs.
    pub signs_from: Timestamp,
}

impl CaRotation {
    /// Of these, in any order.
    #[must_use]
    pub fn new(mut cas: Vec<ScheduledCa>) -> Self {
        cas.sort_by_key(|scheduled| scheduled.signs_from);
        Self(cas)
    }

    /// Of one CA alone.
    #[must_use]
    pub fn single(authority: CertificateAuthority) -> Self {
        Self(vec![ScheduledCa { authority: Arc::new(authority), signs_from: Timestamp::MIN }])
    }

    /// The CA that signs at `now`.
    #[must_use]
    pub fn signer_at(&self, now: Timestamp) -> Option<&Arc<CertificateAuthority>> {
        let begun = self.0.iter().rev().find(|scheduled| scheduled.signs_from <= now);
        begun.or_else(|| self.0.first()).map(|scheduled| &scheduled.authority)
    }

    /// The certificates to trust at `now`, as PEM: of the CA that signs, and of those that will.
    #[must_use]
    pub fn trusted_pem(&self, now: Timestamp) -> String {
        let signer = self.signer_at(now);
        let coming = self
            .0
            .iter()
            .filter(|scheduled| scheduled.signs_from > now)
            .map(|scheduled| &scheduled.authority);
        let coming =
            coming.filter(|scheduled| signer.is_none_or(|signer| !Arc::ptr_eq(scheduled, signer)));
        signer.into_iter().chain(coming).map(|authority| authority.certificate()).collect()
    }
}
