//! The places of a credential in a request, as documents have them.

use crate::model::placement::{Placement, WrittenPlacement, parse_all, read_written};
use crate::wire::PlacementMembers;

/// Reads places whose templates have secrets out of `secrets`.
///
/// # Errors
/// The text states the rule that one of them breaks, or all together.
pub(super) fn read(
    given: Vec<PlacementMembers>,
    secrets: &[&str],
    only_secret: Option<&str>,
) -> Result<Vec<Placement>, String> {
    let placements = written(given, only_secret)?;
    parse_all(&placements, secrets)?;
    Ok(placements)
}

/// Reads places whose templates are checked later.
///
/// # Errors
/// The text states the rule that a member breaks, and begins with where it stands.
pub(super) fn written(
    given: Vec<PlacementMembers>,
    only_secret: Option<&str>,
) -> Result<Vec<Placement>, String> {
    read_written(given.into_iter().map(WrittenPlacement::from).collect(), only_secret)
}

impl From<PlacementMembers> for WrittenPlacement {
    fn from(members: PlacementMembers) -> Self {
        let PlacementMembers { place, name, placeholder, value } = members;
        Self { place, name, placeholder, value }
    }
}

impl From<WrittenPlacement> for PlacementMembers {
    fn from(written: WrittenPlacement) -> Self {
        let WrittenPlacement { place, name, placeholder, value } = written;
        Self { place, name, placeholder, value }
    }
}

impl From<&Placement> for PlacementMembers {
    fn from(placement: &Placement) -> Self {
        WrittenPlacement::from(placement).into()
    }
}
