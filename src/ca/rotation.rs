//! The rotation of CAs: a new one is published before it signs, so that callers have time to trust
//! it.

use std::sync::Arc;

use jiff::Timestamp;

use super::CertificateAuthority;

/// CAs in the order in which they begin to sign.
#[derive(Clone, Debug, Default)]
pub struct CaRotation(Vec<ScheduledCa>);

/// A CA and the time from which it signs.
#[derive(Clone, Debug)]
pub struct ScheduledCa {
    /// The CA.
    pub authority: Arc<CertificateAuthority>,
    /// The time from which it signs.
    pub signs_from: Timestamp,
}

impl CaRotation {
    /// A rotation of these CAs, in any order.
    pub fn new(mut cas: Vec<ScheduledCa>) -> Self {
        cas.sort_by_key(|scheduled| scheduled.signs_from);
        Self(cas)
    }

    /// A rotation of one CA.
    pub fn single(authority: CertificateAuthority) -> Self {
        Self(vec![ScheduledCa { authority: Arc::new(authority), signs_from: Timestamp::MIN }])
    }

    /// The CA that signs at `now`: the latest that has begun, else the first; `None` without any.
    pub fn signer_at(&self, now: Timestamp) -> Option<&Arc<CertificateAuthority>> {
        let begun = self.0.iter().rev().find(|scheduled| scheduled.signs_from <= now);
        begun.or_else(|| self.0.first()).map(|scheduled| &scheduled.authority)
    }

    /// The certificates to trust at `now`, as PEM: those of the signing CA and of future ones.
    pub fn trusted_pem(&self, now: Timestamp) -> String {
        let signer = self.signer_at(now);
        let future_cas = self
            .0
            .iter()
            .filter(|scheduled| scheduled.signs_from > now)
            .map(|scheduled| &scheduled.authority);
        let future_cas = future_cas
            .filter(|scheduled| signer.is_none_or(|signer| !Arc::ptr_eq(scheduled, signer)));
        signer.into_iter().chain(future_cas).map(|authority| authority.certificate()).collect()
    }
}
