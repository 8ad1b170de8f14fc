//! Keyferry: an outbound proxy that adds the credential, so that the program calling the API
//! never holds it.
//!
//! The modules, from the ground up; each knows only those above it in this list.

// layer 0: matter
pub mod chance;
pub mod clock;
pub mod secret;
// layer 1: nouns
pub mod model;
// layer 5: plan
pub mod config;
// layer 6: house
pub mod app;
// layer 7: street
pub mod cli;
