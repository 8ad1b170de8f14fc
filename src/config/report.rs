//! What is found while reading: faults, warnings, and where each key was written.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::fault::{Fault, Faults, Place};

/// Collects what is found, so that reading goes on after a fault.
#[derive(Default)]
pub(super) struct Report {
    syntax: RefCell<Vec<Fault>>,
    faults: RefCell<Vec<Fault>>,
    consequences: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
    places: RefCell<BTreeMap<String, Place>>,
    known: RefCell<BTreeSet<String>>,
}

impl Report {
    /// The text itself could not be read here.
    pub(super) fn syntax(&self, place: Place, key: &str, rule: impl Into<String>) {
        self.syntax.borrow_mut().push(fault(place, key, rule));
    }

    /// A key breaks a rule of its own.
    pub(super) fn fault(&self, place: &Place, key: &str, rule: impl Into<String>) {
        self.faults.borrow_mut().push(fault(place.clone(), key, rule));
    }

    /// Something is missing, or keys don't agree; nothing is said of it where the text could
    /// not be read whole, because what is missing may stand in the rest.
    pub(super) fn consequence(&self, place: &Place, key: &str, rule: impl Into<String>) {
        self.consequences.borrow_mut().push(fault(place.clone(), key, rule));
    }

    /// Something works but deserves attention.
    pub(super) fn warning(&self, place: &Place, key: &str, rule: impl Into<String>) {
        self.warnings.borrow_mut().push(fault(place.clone(), key, rule));
    }

    /// Remembers that the reader asked for `key`, and where it was written if it was.
    pub(super) fn asked(&self, key: String, place: Option<&Place>) {
        if let Some(place) = place {
            self.places.borrow_mut().insert(key.clone(), place.clone());
        }
        self.known.borrow_mut().insert(key);
    }

    /// Whether a fault of `key` has been reported.
    pub(super) fn is_faulty(&self, key: &str) -> bool {
        self.faults.borrow().iter().any(|fault| fault.key == key)
    }

    /// Where `key` was written; `None` when it has its default.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        self.places.borrow().get(key).cloned()
    }

    /// The warnings, when there is no fault.
    pub(super) fn verdict(self) -> Result<Vec<Fault>, Faults> {
        let syntax = self.syntax.into_inner();
        let mut faults = self.faults.into_inner();
        if syntax.is_empty() {
            faults.extend(self.consequences.into_inner());
        } else {
            let spoiled =
                |fault: &Fault| syntax.iter().any(|bad| bad.place.shares_line_with(&fault.place));
            faults.retain(|fault| !spoiled(fault));
            faults.extend(syntax);
        }
        let warnings = sorted(self.warnings.into_inner());
        if faults.is_empty() {
            Ok(warnings)
        } else {
            Err(Faults { faults: sorted(faults), warnings })
        }
    }

    /// Every key that the reader asked for, and every one that was written.
    #[cfg(test)]
    pub(super) fn keys(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        (self.known.borrow().clone(), self.places.borrow().keys().cloned().collect())
    }
}

fn fault(place: Place, key: &str, rule: impl Into<String>) -> Fault {
    Fault { place, key: key.to_owned(), rule: rule.into() }
}

fn sorted(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort_by(|one, two| one.place.cmp(&two.place));
    faults.dedup();
    faults
}
