//! The house: builds the rooms in layer order and hands each its settings.
//!
//! Owns the only `new` of each room and the process's own files, promises that what was built is
//! taken down again in the opposite order, and must never know what a request looks like.

mod assembly;
mod bound;
mod ca;
mod copies;
pub mod data_dir;
mod expiry_watch;
mod hardening;
mod housekeeping;
mod log_pace;
mod open_store;
mod reload;
mod secret_commands;
mod server;
mod span_exporter;
mod stats_writer;
mod upkeep;
mod used;
mod webhook;
mod wiring;
mod worker;
mod write_watch;

pub use assembly::{Assembly, AssemblyError};
pub use ca::OpenCaError;
pub use copies::{Copied, CopiesError, back_up, restore};
pub use hardening::harden;
pub use open_store::OpenStoreError;
pub use server::{Server, StartError, Started};
