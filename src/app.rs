//! The house: builds the rooms in layer order and hands each its settings.
//!
//! Owns the only `new` of each room and the process's own files, promises that what was built is
//! taken down again in the opposite order, and must never know what a request looks like.

pub mod data_dir;
mod hardening;
mod in_force;
mod live;
mod reload;
mod server;
mod worker;

pub use hardening::harden;
pub use in_force::{Assembly, AssemblyError};
pub use server::{Server, StartError, Started};
