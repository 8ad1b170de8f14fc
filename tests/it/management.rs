//! The management API, by the real program: what may be asked, by whom, and what is answered.

mod answers;
mod audit;
mod connections;
mod description;
mod events;
mod faults;
mod operators;
mod pages;
mod requests;
mod tokens;

use serde_json::{Value, json};

use crate::support::world::World;

/// A world with a store of its own.
fn stored() -> World {
    World::empty().set("store.url", "\"sqlite:keyferry.db\"")
}

fn bearer(name: &str) -> Value {
    json!({"name": name, "token": "MY_BEARER_TOKEN", "allowed_domain": "api.example.com"})
}

/// What is to be made of each type, and where.
fn of_each_type() -> [(&'static str, Value, Value); 3] {
    [
        ("bearer_token", bearer("example_bearer_token"), json!({"token": "ANOTHER_TOKEN"})),
        (
            "api_key",
            json!({
                "name": "example_api_key",
                "header_name": "x-API-key",
                "api_key": "MY_API_KEY",
                "allowed_domain": "api.example.com"
            }),
            json!({"api_key": "ANOTHER_KEY", "header_name": "X-Other"}),
        ),
        (
            "basic_auth",
            json!({
                "name": "example_basic_auth_jane",
                "username": "jane.doe@example.com/token",
                "password": " MY_PASSWORD ",
                "allowed_domain": "*.Example.com"
            }),
            json!({"username": "john.doe@example.com"}),
        ),
    ]
}
