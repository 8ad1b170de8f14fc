//! The findings of a reading: faults, warnings, the place of each key, and the values that are
//! bound at the start.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::describe::DescribedKey;
use super::fault::{ConfigFault, ConfigFaults, SourcePlace};
use super::item::Mark;
use super::source::Source;

/// Collects what is found, so that reading goes on after a fault.
pub(super) struct Report<'a> {
    pub(super) source: &'a Source<'a>,
    syntax: RefCell<Vec<ConfigFault>>,
    faults: RefCell<Vec<ConfigFault>>,
    consequences: RefCell<Vec<ConfigFault>>,
    warnings: RefCell<Vec<ConfigFault>>,
    places: RefCell<BTreeMap<String, SourcePlace>>,
    /// Files with secrets: place and key by which each is named, and the file.
    pub(super) secret_files: RefCell<Vec<(SourcePlace, String, PathBuf)>>,
    pub(super) bound: RefCell<Bound>,
    /// The keys that the reader asks for, where they are to be described.
    pub(super) described: Option<RefCell<Vec<DescribedKey>>>,
}

/// The values of the keys that are bound at the start, by key.
pub(super) type Bound = Vec<(String, Box<dyn BoundValue>)>;

/// A value of a key that is bound at the start.
pub(super) trait BoundValue: Any + fmt::Debug + Send + Sync {
    /// Compares it with the same key's value of another configuration.
    fn equals(&self, other: &(dyn BoundValue + 'static)) -> bool;
}

impl<T: Any + PartialEq + fmt::Debug + Send + Sync> BoundValue for T {
    fn equals(&self, other: &(dyn BoundValue + 'static)) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref() == Some(self)
    }
}

impl<'a> Report<'a> {
    pub(super) fn new(source: &'a Source<'a>) -> Self {
        Self {
            source,
            syntax: RefCell::default(),
            faults: RefCell::default(),
            consequences: RefCell::default(),
            warnings: RefCell::default(),
            places: RefCell::default(),
            secret_files: RefCell::default(),
            bound: RefCell::default(),
            described: None,
        }
    }

    /// Reports a text that can't be read here.
    pub(super) fn syntax(&self, place: SourcePlace, key: &str, rule: impl Into<String>) {
        self.syntax.borrow_mut().push(fault(place, key, rule));
    }

    /// Reports a key that breaks a rule of its own.
    pub(super) fn fault(&self, place: &SourcePlace, key: &str, rule: impl Into<String>) {
        self.faults.borrow_mut().push(fault(place.clone(), key, rule));
    }

    /// Reports something missing. Nothing is said of it where the text could not be read whole,
    /// because it may stand in the rest.
    pub(super) fn consequence(&self, place: &SourcePlace, key: &str, rule: impl Into<String>) {
        self.consequences.borrow_mut().push(fault(place.clone(), key, rule));
    }

    /// Reports that `key` does not agree with others; not said either after a syntax error.
    pub(super) fn conflict(&self, key: &str, rule: impl Into<String>) {
        self.consequence(&self.place_of(key), key, rule);
    }

    /// Reports something that works but deserves attention.
    pub(super) fn warning(&self, place: &SourcePlace, key: &str, rule: impl Into<String>) {
        self.warnings.borrow_mut().push(fault(place.clone(), key, rule));
    }

    /// Remembers where a key was written.
    pub(super) fn written(&self, mark: &Mark<'_>) {
        if mark.place != SourcePlace::Default {
            self.places.borrow_mut().insert(mark.key.clone(), mark.place.clone());
        }
    }

    /// The number of faults so far, but for consequences.
    pub(super) fn fault_count(&self) -> usize {
        self.faults.borrow().len()
    }

    /// Tells that a fault of `key` has been reported.
    pub(super) fn is_faulty(&self, key: &str) -> bool {
        self.faults.borrow().iter().any(|fault| fault.key == key)
    }

    /// The place where `key` was written.
    pub(super) fn place_of(&self, key: &str) -> SourcePlace {
        self.places.borrow().get(key).cloned().unwrap_or(SourcePlace::Default)
    }

    /// The warnings, when there is no fault among those that `counts` picks by their key. A text
    /// that can't be read is always one.
    pub(super) fn verdict(
        self,
        counts: impl Fn(&str) -> bool,
    ) -> Result<Vec<ConfigFault>, ConfigFaults> {
        let syntax = self.syntax.into_inner();
        let mut faults = self.faults.into_inner();
        if syntax.is_empty() {
            faults.extend(self.consequences.into_inner());
        } else {
            // A fault on the line of a syntax error is only its consequence.
            let spoiled = |fault: &ConfigFault| {
                syntax.iter().any(|bad| bad.place.shares_line_with(&fault.place))
            };
            faults.retain(|fault| !spoiled(fault));
        }
        faults.retain(|fault| counts(&fault.key));
        faults.extend(syntax);
        let warnings = sorted(self.warnings.into_inner());
        if faults.is_empty() {
            Ok(warnings)
        } else {
            Err(ConfigFaults { faults: sorted(faults), warnings })
        }
    }
}

fn fault(place: SourcePlace, key: &str, rule: impl Into<String>) -> ConfigFault {
    ConfigFault { place, key: key.to_owned(), rule: rule.into() }
}

fn sorted(mut faults: Vec<ConfigFault>) -> Vec<ConfigFault> {
    faults.sort_by(|one, two| one.place.cmp(&two.place));
    faults.dedup();
    faults
}
