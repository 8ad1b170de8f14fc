//! Which CA signs now, and which will: a new one is made known before it signs, so that those who
//! are to trust it have time to.

use std::sync::Arc;

use jiff::Timestamp;

use super::Authority;

/// CAs in the order in which they sign.
#[derive(Clone, Debug, Default)]
pub struct Succession(Vec<Heir>);

/// A CA, and from when it signs.
#[derive(Clone, Debug)]
pub struct Heir {
    /// The CA.
    pub authority: Arc<Authority>,
    /// From when it signs.
    pub signs_from: Timestamp,
}

impl Succession {
    /// Of these, in any order.
    #[must_use]
    pub fn new(mut heirs: Vec<Heir>) -> Self {
        heirs.sort_by_key(|heir| heir.signs_from);
        Self(heirs)
    }

    /// Of one CA alone.
    #[must_use]
    pub fn of(authority: Authority) -> Self {
        Self(vec![Heir { authority: Arc::new(authority), signs_from: Timestamp::MIN }])
    }

    /// The CA that signs at `now`.
    #[must_use]
    pub fn signing(&self, now: Timestamp) -> Option<&Arc<Authority>> {
        let begun = self.0.iter().rev().find(|heir| heir.signs_from <= now);
        begun.or_else(|| self.0.first()).map(|heir| &heir.authority)
    }

    /// The certificates to trust at `now`, as PEM: of the CA that signs, and of those that will.
    #[must_use]
    pub fn to_trust(&self, now: Timestamp) -> String {
        let signing = self.signing(now);
        let coming = self.0.iter().filter(|heir| heir.signs_from > now).map(|heir| &heir.authority);
        let coming =
            coming.filter(|heir| signing.is_none_or(|signing| !Arc::ptr_eq(heir, signing)));
        signing.into_iter().chain(coming).map(|authority| authority.certificate()).collect()
    }
}
