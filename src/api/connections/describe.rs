//! The description of static connections: one for all types, drawn from the types of the wire.

use serde_json::{Value, json};
use utoipa::PartialSchema as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, Schema};
use utoipa::openapi::{ObjectBuilder, Ref, RefOr};

use crate::error::capitalized;
use crate::model::connection::ConnectionType;
use crate::wire::{OPTION_MEMBERS, OptionMembers, StaticConnection, StaticMembers};

/// The words of a type that its members don't say.
struct Words {
    /// Its name in the description.
    schema: &'static str,
    /// With an article, as people say it.
    article: &'static str,
    /// The name of a connection, and its secret.
    name: &'static str,
    secret: &'static str,
    /// A value of the member beside the secret.
    text: &'static str,
}

fn words(kind: ConnectionType) -> Words {
    let (schema, article, name, secret, text) = match kind {
        ConnectionType::ApiKey => {
            ("ApiKey", "an API key", "example_api_key", "MY_API_KEY", "x-api-key")
        }
        ConnectionType::BasicAuth => (
            "BasicAuth",
            "a basic authentication",
            "example_basic_auth_john",
            "MY_PASSWORD",
            "john.doe@example.com",
        ),
        ConnectionType::BearerToken
        | ConnectionType::OAuth
        | ConnectionType::AwsSigV4
        | ConnectionType::Custom => {
            ("BearerToken", "a bearer token", "my_bearer_token_connection", "MY_BEARER_TOKEN", "")
        }
    };
    Words { schema, article, name, secret, text }
}

pub(super) fn members(kind: ConnectionType) -> Vec<&'static str> {
    let own = kind.text_member().into_iter().chain([kind.secret_member()]);
    let own = own.chain(["client_key"]);
    ["name", "allowed_domain"].into_iter().chain(own).chain(OPTION_MEMBERS).collect()
}

/// The members of a change.
pub(super) fn change_members(kind: ConnectionType) -> Vec<&'static str> {
    members(kind).into_iter().chain([KEEP_OLD_FOR]).collect()
}

pub(super) fn collection_path(kind: ConnectionType) -> String {
    format!("/api/services/zis/integrations/{{integration}}/connections/{kind}")
}

pub(super) fn item_path(kind: ConnectionType) -> String {
    format!("{}/{{name}}", collection_path(kind))
}

pub(super) fn create(kind: ConnectionType) -> Operation {
    operation(
        kind,
        "Create",
        json!({
            "description": "It is in force when the answer is sent.",
            "parameters": [integration()],
            "requestBody": body(&format!("New{}", words(kind).schema)),
            "responses": {"201": answer(kind, "It has been made")},
        }),
    )
}

pub(super) fn show(kind: ConnectionType) -> Operation {
    let responses = json!({"200": answer(kind, "The connection")});
    let parameters = [integration(), name(kind)];
    operation(kind, "Show", json!({"parameters": parameters, "responses": responses}))
}

pub(super) fn update(kind: ConnectionType) -> Operation {
    operation(
        kind,
        "Update",
        json!({
            "description": "The change is in force when the answer is sent.",
            "parameters": [integration(), name(kind)],
            "requestBody": body(&format!("{}Change", words(kind).schema)),
            "responses": {"204": {"description": "It has been changed"}},
        }),
    )
}

pub(super) fn delete(kind: ConnectionType) -> Operation {
    operation(
        kind,
        "Delete",
        json!({
            "description": "It is out of force when the answer is sent.",
            "parameters": [integration(), name(kind)],
            "responses": {"204": {"description": "It has been deleted"}},
        }),
    )
}

/// The schemas of a type: made, changed, shown, and shown alone.
pub(super) fn schemas(kind: ConnectionType) -> Vec<(String, RefOr<Schema>)> {
    let name = words(kind).schema;
    vec![
        (format!("New{name}"), made(kind).into()),
        (format!("{name}Change"), changed(kind).into()),
        (name.to_owned(), shown(kind).into()),
        (format!("{name}Answer"), shown_alone(kind).into()),
    ]
}

fn made(kind: ConnectionType) -> Object {
    let Words { article, name, secret, text, .. } = words(kind);
    let mut schema = narrowed(StaticMembers::schema(), &members(kind));
    schema.description = Some(format!("{} connection that is to be made.", capitalized(article)));
    let mut example = json!({"name": name, "allowed_domain": "api.example.com"});
    if let Value::Object(example) = &mut example {
        example.insert(kind.secret_member().to_owned(), secret.into());
        example.extend(kind.text_member().map(|member| (member.to_owned(), text.into())));
    }
    schema.example = Some(example);
    schema
}

/// The name and the allowed domain are not described: they never change.
fn changed(kind: ConnectionType) -> Object {
    let text = kind.text_member();
    let secrets = [kind.secret_member(), KEEP_OLD_FOR, "client_key"];
    let own = text.into_iter().chain(secrets).chain(OPTION_MEMBERS);
    let own: Vec<_> = own.collect();
    let mut schema = narrowed(StaticMembers::schema(), &own);
    schema.description = Some(
        "What is to change: at least one member. The name and the allowed domain may be repeated as \
         they are; an option is taken away by null."
            .to_owned(),
    );
    schema.required.clear();
    schema.min_properties = Some(1);
    schema.example = Some(json!({ kind.secret_member(): words(kind).secret }));
    schema
}

fn shown(kind: ConnectionType) -> Object {
    let Words { article, name, .. } = words(kind);
    let optional = ["client_key", "declared", "defect", "not_after", "old_secret_until"];
    let optional = optional.into_iter().chain(OPTION_MEMBERS);
    let optional: Vec<_> = optional.collect();
    let mut own = members(kind);
    own.extend(["created_at", "updated_at", "declared", "defect", "not_after", "old_secret_until"]);
    let mut schema = narrowed(StaticConnection::schema(), &own);
    // Flattened members are described apart.
    let options = narrowed(OptionMembers::schema(), &OPTION_MEMBERS);
    schema.properties.extend(options.properties);
    schema.description =
        Some(format!("{} connection. Its secret is never shown.", capitalized(article)));
    schema.required = schema.properties.keys().cloned().collect();
    schema.required.retain(|member| !optional.contains(&member.as_str()));
    if let Some(RefOr::T(Schema::Object(member))) = schema.properties.get_mut("name") {
        member.example = Some(name.into());
    }
    schema
}

fn shown_alone(kind: ConnectionType) -> Object {
    ObjectBuilder::new()
        .description(Some("The answer that has one connection in it."))
        .property(kind.as_str(), Ref::from_schema_name(words(kind).schema))
        .required(kind.as_str())
        .build()
}

/// The part of a schema that has these members alone.
fn narrowed(schema: RefOr<Schema>, members: &[&str]) -> Object {
    // A type with flattened members is all of them and of an object with its own.
    let own = match schema {
        RefOr::T(Schema::Object(object)) => Some(object),
        RefOr::T(Schema::AllOf(all)) => all.items.into_iter().find_map(|part| match part {
            RefOr::T(Schema::Object(object)) => Some(object),
            _ => None,
        }),
        _ => None,
    };
    let Some(mut object) = own else { return Object::new() };
    object.properties.retain(|member, _| members.contains(&member.as_str()));
    object.required.retain(|member| members.contains(&member.as_str()));
    object
}

fn operation(kind: ConnectionType, verb: &str, details: Value) -> Operation {
    // Only a member that is no operation's could be wrong, and a test reads all of them.
    let mut operation: Operation = serde_json::from_value(details).unwrap_or_default();
    operation.tags = Some(vec!["connections".to_owned()]);
    operation.summary = Some(format!("{verb} {} connection", words(kind).article));
    operation.operation_id = Some(format!("{}_{kind}", verb.to_ascii_lowercase()));
    operation
}

fn integration() -> Value {
    parameter("integration", "Name of the integration", "my_integration")
}

fn name(kind: ConnectionType) -> Value {
    parameter("name", "Name of the connection", words(kind).name)
}

fn parameter(name: &str, description: &str, example: &str) -> Value {
    json!({
        "name": name, "in": "path", "description": description, "required": true,
        "schema": {"type": "string"}, "example": example,
    })
}

fn body(schema: &str) -> Value {
    json!({"content": content(schema), "required": true})
}

fn answer(kind: ConnectionType, description: &str) -> Value {
    let schema = format!("{}Answer", words(kind).schema);
    json!({"description": description, "content": content(&schema)})
}

fn content(schema: &str) -> Value {
    json!({"application/json": {"schema": Ref::from_schema_name(schema)}})
}

/// The member of a change that no connection has.
const KEEP_OLD_FOR: &str = "keep_old_for";
