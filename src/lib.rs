//! Keyferry: an outbound proxy that adds the credential, so that the program calling the API
//! never holds it.
//!
//! The modules, layer by layer from the ground up. A module knows only modules of the layers
//! above it in this list, never one of its own layer; `tests/architecture.rs` holds them to it.

// layer 0: matter
pub mod chance;
pub mod clock;
pub mod error;
pub mod secret;
pub mod tasks;
// layer 1: nouns
pub mod model;
// layer 2: trades
pub mod ca;
pub mod door;
pub mod limit;
pub mod store;
pub mod upstream;
pub mod vault;
// layer 3: records
pub mod ledger;
// layer 4: the set in force
pub mod registry;
// layer 5: tokens that are kept fresh
pub mod oauth;
// layer 6: the management plane's rules
pub mod desk;
// layer 7: faces
pub mod api;
pub mod console;
pub mod proxy;
// layer 8: plan
pub mod config;
// layer 9: house
pub mod app;
// layer 10: street
pub mod cli;
