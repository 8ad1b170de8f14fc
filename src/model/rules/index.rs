//! An index that tells of most rules at once that they can't match a request. It never tells so of
//! a rule that does: [`super::UseRule`] decides.

use http::Method;

use super::path::{PathPattern, PlainPath};

/// The rules that can match requests, by two marks of a request: one of its method and one of the
/// first segment of its path. Each rule is a bit of a word, the first one the lowest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct RuleIndex {
    by_method: [u64; MARKS],
    by_first_segment: [u64; MARKS],
    all: u64,
}

impl RuleIndex {
    /// The index of the methods and paths of rules, in their order. Without methods a rule is for
    /// all methods, without paths for all paths. Rules after the 64th, which [`super::Rules::parse`]
    /// does not let pass, match nothing: what only they would allow is refused.
    pub(super) fn of<'a>(rules: impl Iterator<Item = (&'a [Box<str>], &'a [PathPattern])>) -> Self {
        let mut index = Self { by_method: [0; MARKS], by_first_segment: [0; MARKS], all: 0 };
        for (number, (methods, paths)) in (0..u64::BITS).zip(rules) {
            let rule = 1 << number;
            index.all |= rule;
            set(&mut index.by_method, rule, methods.iter().map(|method| Some(&**method)));
            set(&mut index.by_first_segment, rule, paths.iter().map(PathPattern::first_folded));
        }
        index
    }

    /// The rules that could match a request, in their order. Without a path none is excluded by it.
    pub(super) fn candidates(
        &self,
        method: &Method,
        path: Option<&PlainPath<'_>>,
    ) -> impl Iterator<Item = usize> + use<> {
        let of = |rules: &[u64; MARKS], text| rules.get(mark(text)).copied().unwrap_or(self.all);
        let by_path = path.map_or(self.all, |path| of(&self.by_first_segment, path.first_folded()));
        let mut rest = of(&self.by_method, method.as_str()) & by_path;
        std::iter::from_fn(move || {
            let next = rest.trailing_zeros();
            // The lowest bit is cleared.
            rest &= rest.checked_sub(1)?;
            usize::try_from(next).ok()
        })
    }
}

/// Enters a rule at the marks of its texts, and at all marks where it has no texts or where one of
/// them can be any.
fn set<'a>(index: &mut [u64; MARKS], rule: u64, texts: impl Iterator<Item = Option<&'a str>>) {
    let mut texts = texts.peekable();
    let is_for_all = texts.peek().is_none();
    let marks: Option<Vec<usize>> = texts.map(|text| text.map(mark)).collect();
    match marks.filter(|_| !is_for_all) {
        Some(marks) => index
            .iter_mut()
            .enumerate()
            .filter(|(at, _)| marks.contains(at))
            .for_each(|(_, rules)| *rules |= rule),
        None => index.iter_mut().for_each(|rules| *rules |= rule),
    }
}

/// A number below [`MARKS`], the same for equal texts (FNV-1a).
fn mark(text: &str) -> usize {
    let hash = text
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    usize::try_from(hash).unwrap_or_default() % MARKS
}

/// The number of different marks.
const MARKS: usize = 64;
