//! The leaves that are at hand: a bounded number, each made once.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arc_swap::ArcSwap;
use lru::LruCache;
use parking_lot::Mutex;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Succession;
use super::leaf::{self, Leaf};
use crate::clock::Clock;
use crate::error::chain;

/// Leaves by host, made when they are first asked for.
pub struct Leaves {
    succession: ArcSwap<Succession>,
    clock: Clock,
    hosts: Mutex<LruCache<String, Arc<Slot>>>,
}

/// One host's leaf. Who makes it holds the lock, so that no two make it at once; the cache's own
/// lock is held for a look alone.
type Slot = Mutex<Option<Leaf>>;

impl Leaves {
    /// No leaves yet, of these CAs.
    #[must_use]
    pub fn new(succession: Succession, clock: Clock) -> Self {
        let hosts = Mutex::new(LruCache::new(MOST_HOSTS));
        Self { succession: ArcSwap::from_pointee(succession), clock, hosts }
    }

    /// Other CAs sign from here on.
    pub fn succeed(&self, succession: Succession) {
        self.succession.store(Arc::new(succession));
    }

    /// The certificates to trust now, as PEM.
    #[must_use]
    pub fn to_trust(&self) -> String {
        self.succession.load().to_trust(self.clock.now())
    }

    /// How many leaves are at hand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hosts.lock().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.lock().is_empty()
    }

    /// The leaf of `host`. `None` when there is no CA, or it can't be made.
    #[must_use]
    pub fn leaf(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let now = self.clock.now();
        let succession = self.succession.load();
        let signer = succession.signing(now)?;
        let slot = Arc::clone(self.hosts.lock().get_or_insert_ref(host, Arc::default));
        let mut slot = slot.lock();
        let fits = |leaf: &&Leaf| Arc::ptr_eq(&leaf.signer, signer) && now < leaf.renewed_at;
        if let Some(leaf) = slot.as_ref().filter(fits) {
            return Some(Arc::clone(&leaf.key));
        }
        match leaf::mint(signer, host, now) {
            Ok(leaf) => Some(Arc::clone(&slot.insert(leaf).key)),
            Err(error) => {
                tracing::error!(error = %chain(&error), "a tunnel was refused: no certificate can be made for its host");
                None
            }
        }
    }
}

impl ResolvesServerCert for Leaves {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.leaf(&hello.server_name()?.to_ascii_lowercase())
    }
}

impl fmt::Debug for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaves").field("succession", &self.succession).finish_non_exhaustive()
    }
}

/// At some three kilobytes each, a few megabytes.
const MOST_HOSTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2047);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::{Authority, Heir};

    fn leaves(clock: &Clock) -> Leaves {
        Leaves::new(Succession::of(Authority::generate(clock.now()).unwrap()), clock.clone())
    }

    fn end(key: &CertifiedKey) -> Vec<u8> {
        key.end_entity_cert().unwrap().to_vec()
    }

    #[test]
    fn a_leaf_is_made_once_and_anew_before_it_ends() {
        let clock = Clock::fixed(1_800_000_000);
        let leaves = leaves(&clock);
        let first = leaves.leaf("api.example.com").unwrap();
        clock.advance(39 * 24 * 3600);
        assert!(Arc::ptr_eq(&first, &leaves.leaf("api.example.com").unwrap()));
        clock.advance(2 * 24 * 3600);
        assert_ne!(end(&first), end(&leaves.leaf("api.example.com").unwrap()));
        assert_eq!(leaves.len(), 1);
    }

    #[test]
    fn no_more_leaves_are_kept_than_fit() {
        let clock = Clock::fixed(1_800_000_000);
        let leaves = leaves(&clock);
        let first = leaves.leaf("h0.example.com").unwrap();
        for number in 0..MOST_HOSTS.get() + 10 {
            assert!(leaves.leaf(&format!("h{number}.example.com")).is_some());
        }
        assert_eq!(leaves.len(), MOST_HOSTS.get());
        assert!(!Arc::ptr_eq(&first, &leaves.leaf("h0.example.com").unwrap()));
    }

    #[test]
    fn of_many_who_ask_at_once_all_get_the_same() {
        let clock = Clock::fixed(1_800_000_000);
        let leaves = leaves(&clock);
        let all: Vec<_> = std::thread::scope(|scope| {
            let asking: Vec<_> =
                (0..8).map(|_| scope.spawn(|| leaves.leaf("api.example.com").unwrap())).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        assert!(all.windows(2).all(|two| Arc::ptr_eq(&two[0], &two[1])));
    }

    #[test]
    fn an_heir_is_made_known_before_it_signs() {
        let clock = Clock::fixed(1_800_000_000);
        let old = Arc::new(Authority::generate(clock.now()).unwrap());
        let new = Arc::new(Authority::generate(clock.now()).unwrap());
        let heir = |authority: &Arc<Authority>, days: i64| Heir {
            authority: Arc::clone(authority),
            signs_from: clock.now() + jiff::SignedDuration::from_hours(24 * days),
        };
        let leaves =
            Leaves::new(Succession::new(vec![heir(&new, 7), heir(&old, -1)]), clock.clone());
        let first = leaves.leaf("api.example.com").unwrap();
        assert_eq!(leaves.to_trust(), format!("{}{}", old.certificate(), new.certificate()));
        clock.advance(8 * 24 * 3600);
        assert_eq!(leaves.to_trust(), new.certificate());
        assert_ne!(end(&first), end(&leaves.leaf("api.example.com").unwrap()));
    }
}
