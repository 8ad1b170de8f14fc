//! A bounded cache of leaves, each minted once.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arc_swap::ArcSwap;
use lru::LruCache;
use parking_lot::Mutex;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::CaRotation;
use super::leaf::{self, Leaf};
use crate::clock::Clock;
use crate::error::chain;

/// Leaves by host, minted at their first use. The least recently used one is evicted.
pub struct LeafCache {
    rotation: ArcSwap<CaRotation>,
    clock: Clock,
    hosts: Mutex<LruCache<String, Arc<LeafSlot>>>,
}

/// The leaf of one host. Its lock is held while the leaf is minted, so that it is minted once. The
/// cache's own lock is held for the look-up only.
type LeafSlot = Mutex<Option<Leaf>>;

impl LeafCache {
    /// An empty cache for leaves of these CAs.
    pub fn new(rotation: CaRotation, clock: Clock) -> Self {
        let hosts = Mutex::new(LruCache::new(MAX_LEAVES));
        Self { rotation: ArcSwap::from_pointee(rotation), clock, hosts }
    }

    /// Replaces the CAs. Leaves of a CA that no longer signs are minted again at their next use.
    pub fn set_rotation(&self, rotation: CaRotation) {
        self.rotation.store(Arc::new(rotation));
    }

    /// The certificates to trust now, as PEM.
    pub fn trusted_pem(&self) -> String {
        self.rotation.load().trusted_pem(self.clock.now())
    }

    /// The number of cached leaves.
    pub fn len(&self) -> usize {
        self.hosts.lock().len()
    }

    /// Tells whether the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.hosts.lock().is_empty()
    }

    /// The leaf of `host`; `None` when there is no CA, or minting it has failed (which is logged).
    pub fn get_or_mint(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let now = self.clock.now();
        let rotation = self.rotation.load();
        let signer = rotation.signer_at(now)?;
        let slot = Arc::clone(self.hosts.lock().get_or_insert_ref(host, Arc::default));
        let mut slot = slot.lock();
        let fits = |leaf: &&Leaf| Arc::ptr_eq(&leaf.signer, signer) && now < leaf.renewed_at;
        if let Some(leaf) = slot.as_ref().filter(fits) {
            return Some(Arc::clone(&leaf.key));
        }
        match leaf::mint(signer, host, now) {
            Ok(leaf) => Some(Arc::clone(&slot.insert(leaf).key)),
            Err(error) => {
                tracing::error!(error = %chain(&error), "a tunnel was refused: the certificate for its host can't be minted");
                None
            }
        }
    }
}

impl ResolvesServerCert for LeafCache {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get_or_mint(&hello.server_name()?.to_ascii_lowercase())
    }
}

impl fmt::Debug for LeafCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafCache").field("rotation", &self.rotation).finish_non_exhaustive()
    }
}

/// The number of cached leaves. At about 3 KiB each, they take 6 MiB.
const MAX_LEAVES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2047);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::{CertificateAuthority, ScheduledCa};

    fn leaves(clock: &Clock) -> LeafCache {
        LeafCache::new(
            CaRotation::single(CertificateAuthority::generate(clock.now()).unwrap()),
            clock.clone(),
        )
    }

    fn end(key: &CertifiedKey) -> Vec<u8> {
        key.end_entity_cert().unwrap().to_vec()
    }

    #[test]
    fn a_leaf_is_made_once_and_again_before_it_ends() {
        let clock = Clock::fixed(1_800_000_000);
        let leaves = leaves(&clock);
        let first = leaves.get_or_mint("api.example.com").unwrap();
        clock.advance(39 * 24 * 3600);
        assert!(Arc::ptr_eq(&first, &leaves.get_or_mint("api.example.com").unwrap()));
        clock.advance(2 * 24 * 3600);
        assert_ne!(end(&first), end(&leaves.get_or_mint("api.example.com").unwrap()));
        assert_eq!(leaves.len(), 1);
    }

    #[test]
    fn no_more_leaves_are_kept_than_fit() {
        let clock = Clock::fixed(1_800_000_000);
        let leaves = leaves(&clock);
        let first = leaves.get_or_mint("h0.example.com").unwrap();
        for number in 0..MAX_LEAVES.get() + 10 {
            assert!(leaves.get_or_mint(&format!("h{number}.example.com")).is_some());
        }
        assert_eq!(leaves.len(), MAX_LEAVES.get());
        assert!(!Arc::ptr_eq(&first, &leaves.get_or_mint("h0.example.com").unwrap()));
    }

    #[test]
    fn of_many_who_ask_at_once_all_get_the_same() {
        let clock = Clock::fixed(1_800_000_000);
        let leaves = leaves(&clock);
        let all: Vec<_> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| leaves.get_or_mint("api.example.com").unwrap()))
                .collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        assert!(all.windows(2).all(|two| Arc::ptr_eq(&two[0], &two[1])));
    }

    #[test]
    fn an_heir_is_made_known_before_it_signs() {
        let clock = Clock::fixed(1_800_000_000);
        let old = Arc::new(CertificateAuthority::generate(clock.now()).unwrap());
        let new = Arc::new(CertificateAuthority::generate(clock.now()).unwrap());
        let scheduled = |authority: &Arc<CertificateAuthority>, days: i64| ScheduledCa {
            authority: Arc::clone(authority),
            signs_from: clock.now() + jiff::SignedDuration::from_hours(24 * days),
        };
        let leaves = LeafCache::new(
            CaRotation::new(vec![scheduled(&new, 7), scheduled(&old, -1)]),
            clock.clone(),
        );
        let first = leaves.get_or_mint("api.example.com").unwrap();
        assert_eq!(leaves.trusted_pem(), format!("{}{}", old.certificate(), new.certificate()));
        clock.advance(8 * 24 * 3600);
        assert_eq!(leaves.trusted_pem(), new.certificate());
        assert_ne!(end(&first), end(&leaves.get_or_mint("api.example.com").unwrap()));
    }
}
