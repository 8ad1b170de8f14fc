//! Events: what operators did (contract §8).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{PageMeta, is_false};

/// A page of events, newest first.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Events)]
pub struct EventPage {
    #[expect(missing_docs, reason = "the type says it")]
    pub events: Vec<EventView>,
    #[expect(missing_docs, reason = "the type says it")]
    pub meta: PageMeta,
}

/// An event.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventView {
    /// Its number in the chain of all events, in which each follows the one before.
    #[schema(example = "41")]
    pub id: String,
    #[expect(missing_docs, reason = "its members are this one's")]
    #[serde(flatten)]
    pub content: EventContent,
}

/// The content of an event: what an operator did, from where, and what was before and after. No
/// secret is in it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct EventContent {
    /// The time at which it was done (RFC 3339, UTC).
    #[schema(example = "2026-11-24T06:00:00.123456Z")]
    pub time: String,
    /// The kind: a thing, and what was done to it, as `connection.update`.
    #[schema(example = "connection.update")]
    pub kind: String,
    /// The name of the operator's token, or of the person: the email address, or the identifier
    /// where there is none.
    #[schema(example = "ci")]
    pub operator: String,
    /// The id of that token, if it is kept in the store.
    #[schema(example = "ac10a230-0c43-45f8-b221-9e085ce90418", format = Uuid)]
    pub token_id: Option<String>,
    /// Only there when it was a person who has signed in by OpenID Connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub person: Option<EventPerson>,
    /// The address from which it was done; empty where that is not known.
    #[schema(example = "127.0.0.1")]
    pub address: String,
    /// The process that did it.
    #[schema(example = "1f45d091")]
    pub instance: String,
    /// The integration; empty where it is about all of them.
    #[schema(example = "my_integration")]
    pub integration: String,
    /// The connection; empty where it is about none.
    #[schema(example = "example")]
    pub connection: String,
    /// The name of what it is about: of the connection, client, token, key or CA.
    #[schema(example = "example")]
    pub subject: String,
    /// Only there, and true, when a secret was entered that has replaced another.
    #[serde(default, skip_serializing_if = "is_false")]
    pub secret_changed: bool,
    /// Only there when it has failed: the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub failure: Option<String>,
    /// The thing before, as the API showed it; null where there was none.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// The thing afterwards, as the API shows it; null where there is none.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}

/// A person, as the OpenID provider has identified them.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct EventPerson {
    /// The provider's issuer identifier.
    #[schema(example = "https://id.example.com")]
    pub issuer: String,
    /// The provider's identifier of the person.
    #[schema(example = "248289761001")]
    pub subject: String,
    /// The email address, where the provider vouches for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "ada@example.com")]
    pub email: Option<String>,
}

/// The outcome of a check of the chain of events.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
#[schema(as = EventCheck)]
pub struct EventCheckAnswer {
    /// Tells whether nothing is wrong.
    pub intact: bool,
    /// The number of events that were read.
    #[schema(example = 41)]
    pub events: u64,
    /// The number of events before the first of these, which were deleted when they were too old.
    #[schema(example = 0)]
    pub forgotten: u64,
    /// The end of the chain: the last event's number and hash. Kept elsewhere, it shows later that
    /// nothing was taken away from the end since.
    #[schema(example = "41:0f3c…")]
    pub head: String,
    /// Everything that is wrong, the first hundred.
    pub faults: Vec<EventFault>,
}

/// Something that is wrong in the chain of events.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct EventFault {
    /// The event, or the first of those that are missing; empty where the chain as a whole is meant.
    #[schema(example = "17")]
    pub id: String,
    /// A sentence that says what is wrong.
    pub fault: String,
}
