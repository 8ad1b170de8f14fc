//! Pages of a list (ZIS spec §4.1).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The ends of a page.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[schema(as = Meta)]
pub struct PageMeta {
    /// The cursor of the last item; empty on an empty page.
    pub after: String,
    /// The cursor of the first item; empty on an empty page.
    pub before: String,
    /// Tells whether there is more in the direction in which the list is read.
    pub has_more: bool,
}

impl PageMeta {
    /// The ends of a page whose items have these cursors.
    pub fn of<'a>(mut cursors: impl Iterator<Item = &'a str>, has_more: bool) -> Self {
        let first = cursors.next().unwrap_or_default();
        let last = cursors.last().unwrap_or(first);
        Self { after: last.to_owned(), before: first.to_owned(), has_more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pages_ends_are_its_cursors() {
        let ends = |names: &[&'static str]| {
            let meta = PageMeta::of(names.iter().copied(), false);
            (meta.before, meta.after)
        };
        assert_eq!(ends(&[]), (String::new(), String::new()));
        assert_eq!(ends(&["a"]), ("a".to_owned(), "a".to_owned()));
        assert_eq!(ends(&["a", "b", "c"]), ("a".to_owned(), "c".to_owned()));
    }
}
