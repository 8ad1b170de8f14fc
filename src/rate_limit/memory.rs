//! A budget of bytes that many holders share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The bytes that all shares hold together, over all threads.
#[derive(Debug, Default)]
pub struct MemoryBudget {
    held: AtomicUsize,
}

/// The bytes that one holder has of a budget, returned on drop.
#[derive(Debug)]
pub struct MemoryShare {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl MemoryBudget {
    /// A share of no bytes.
    pub fn share(self: &Arc<Self>) -> MemoryShare {
        MemoryShare { budget: Arc::clone(self), bytes: 0 }
    }

    /// The bytes that are held now.
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }
}

impl MemoryShare {
    /// Grows the share to `bytes` in all. Changes nothing and gives `false` where all shares
    /// together would hold more than `limit`.
    #[must_use]
    pub fn grow_to(&mut self, bytes: usize, limit: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let within = |held: usize| held.checked_add(more).filter(|held| *held <= limit);
        let grown = self.budget.held.fetch_update(Relaxed, Relaxed, within).is_ok();
        if grown {
            self.bytes += more;
        }
        grown
    }

    /// The bytes that this share holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_hold_no_more_than_the_limit_and_give_it_back() {
        let budget = Arc::new(MemoryBudget::default());
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.grow_to(6, 10) && other.grow_to(4, 10));
        assert!(!other.grow_to(5, 10), "there is no more");
        assert!(other.grow_to(4, 10) && other.grow_to(2, 10), "what it has already");
        assert_eq!((one.bytes(), other.bytes(), budget.held()), (6, 4, 10));
        drop(one);
        assert!(other.grow_to(10, 10));
        drop(other);
        assert_eq!(budget.held(), 0);
    }

    proptest! {
        #[test]
        fn the_budget_is_the_sum_of_its_shares(
            steps in prop::collection::vec((0..4_usize, 0..40_usize, any::<bool>()), 0..40)
        ) {
            let budget = Arc::new(MemoryBudget::default());
            let mut shares: Vec<_> = (0..4).map(|_| budget.share()).collect();
            for (index, bytes, drops) in steps {
                if drops {
                    shares[index] = budget.share();
                } else {
                    let _grown = shares[index].grow_to(bytes, 50);
                }
                let sum: usize = shares.iter().map(MemoryShare::bytes).sum();
                prop_assert_eq!(budget.held(), sum);
                prop_assert!(sum <= 50);
            }
        }
    }
}
