//! The house: builds the rooms in layer order and hands each its settings.
//!
//! Owns the only `new` of each room and the process's own files, promises that what was built is
//! taken down again in the opposite order, and must never know what a request looks like.

mod backing;
mod bound;
mod copies;
pub mod data_dir;
mod envoy;
mod follower;
mod hardening;
mod housekeeping;
mod in_force;
mod keeper;
mod keeping;
mod keys;
mod live;
mod overview;
mod reload;
mod rooms;
mod scene;
mod server;
mod trust;
mod used;
mod worker;
mod write_watch;

pub use backing::BackingError;
pub use copies::{Copied, CopiesError, back_up, restore};
pub use follower::FollowError;
pub use hardening::harden;
pub use in_force::{Assembly, AssemblyError};

pub use keys::KeysError;
pub use server::{Server, StartError, Started};
pub use trust::TrustError;
