//! The reasons why a connection can't be used, as an operator is told them.

use crate::model::connection::Defect;
use crate::model::record::ConnectionRecord;
use crate::model::sealed::KeyId;
use crate::vault::OpenError;

/// The reason why a connection can't be used, and what to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// Its secret can't be opened for want of this master key.
    #[error(
        "the server lacks its master key, {0}: the operator must add that key to the server's \
         master keys; the secret itself is sound"
    )]
    KeyMissing(KeyId),
    /// The rules have become stricter since it was accepted.
    #[error("{0}")]
    Rules(Defect),
    /// Its secret can't be opened although the master key is there.
    #[error(
        "its secret can't be opened, because its record was changed by hand: delete the connection \
         and create it again"
    )]
    SealBroken,
}

impl Unusable {
    /// The reason of a connection that opens, or does not open for this reason; `None` where it can
    /// be used.
    pub(super) fn of(record: &ConnectionRecord, unopened: Option<&OpenError>) -> Option<Self> {
        let defect = Defect::of(record.allowed_domain.as_ref(), &record.detail).map(Self::Rules);
        let of_seal =
            |error: &OpenError| error.missing_key().map_or(Self::SealBroken, Self::KeyMissing);
        defect.or_else(|| unopened.map(of_seal))
    }
}
