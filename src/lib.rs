//! Keyferry: an outbound proxy that adds the credential, so that the program calling the API
//! never holds it.
//!
//! The modules, layer by layer from the ground up. A module knows only modules of the layers
//! above it in this list, never one of its own layer; `tests/architecture.rs` holds them to it.

// layer 0: primitives
pub mod clock;
pub mod error;
pub mod random;
pub mod secret;
pub mod tasks;
// layer 1: the domain
pub mod http1;
pub mod model;
pub mod wire;
// layer 2: infrastructure
pub mod ca;
pub mod listener;
pub mod rate_limit;
pub mod store;
pub mod upstream;
pub mod vault;
// layer 3: records
pub mod ledger;
// layer 4: the set in force
pub mod state;
// layer 5: provider tokens
pub mod oauth;
// layer 6: the management plane's rules
pub mod management;
// layer 7: interfaces
pub mod api;
pub mod console;
pub mod proxy;
// layer 8: configuration
pub mod config;
// layer 9: assembly
pub mod app;
// layer 10: command line
pub mod cli;
