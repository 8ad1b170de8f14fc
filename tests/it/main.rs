//! The integration tests: one binary, so that there is one link. They drive the real program on
//! loopback, against origins in this process.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that can't go on has failed, and tests spawn, dial and wait on their own"
)]
#![expect(
    clippy::cognitive_complexity,
    clippy::map_err_ignore,
    clippy::or_fun_call,
    clippy::too_many_lines,
    reason = "a test is read from its beginning to its end, and runs once"
)]

mod aws;
mod backup;
mod base_url;
mod callers;
mod chaos;
mod choosing;
mod cli;
mod client_certificates;
mod commands;
mod console;
mod custom;
mod echoes;
mod fidelity;
mod fields;
mod front_door;
mod guard;
mod idle;
mod interception;
mod kept;
mod limits;
mod management;
mod names;
mod oauth;
mod oauth_cli;
mod observed;
mod overlap;
mod refusals;
mod reload;
mod rules;
mod run;
mod scale;
mod secrecy;
mod secret_commands;
mod shutdown;
mod sign_in;
mod smuggling;
mod store;
mod streaming;
mod support;
mod tail;
mod telemetry;
mod terminal;
mod upgrade;
mod upstream;
mod webhook;
mod written_down;
