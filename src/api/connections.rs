//! Connections in the shapes of ZIS (ZIS spec §4.1 to §4.4), and of every type.

pub(super) mod all;
mod describe;
pub(super) mod static_types;
pub(super) mod typed;

use super::error::Error;
use crate::management::Refused;

fn refused(refused: Refused) -> Error {
    Error::refused(refused, "Connection")
}
