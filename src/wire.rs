//! The JSON of the management API: each request and each answer, once.
//!
//! Owns the names of members, their order and the reading of a request; promises that a request is
//! read whole, with everything in its shape that is wrong; and must never know a rule of the model
//! nor who asks.

mod audit;
mod aws;
mod ca;
mod client;
mod connection;
mod csv;
mod custom;
mod error;
mod event;
mod explain;
mod flow;
mod key;
mod mcp;
mod member;
mod oauth_connection;
mod options;
mod page;
mod placement;
mod profile;
mod provider;
mod read;
mod secret;
mod server;
mod stats;
mod token;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

pub use self::audit::{AuditEntries, AuditEntry, RequestAnswer, RequestView};
pub use self::aws::{AssumeRoleMembers, AwsConnection, AwsMembers, NewTypedConnection};
pub use self::ca::{CaRotationRequest, NextCa, NextCaAnswer};
pub use self::client::{ClientPage, NewOAuthClient, OAuthClient, OAuthClientChange};
pub use self::connection::{ConnectionPage, StaticAnswer, StaticConnection, StaticMembers};
pub use self::custom::{
    AllowedDomainMembers, ConnectionAnswer, CustomConnection, CustomMembers, OwnDomainMembers,
    RedactedMap, SecretMap, TypedConnection, TypedConnectionPage,
};
pub use self::error::{ErrorBody, ErrorItem, NumberedError, NumberedErrors};
pub use self::event::{
    EventCheckAnswer, EventContent, EventFault, EventPage, EventPerson, EventView,
};
pub use self::explain::{ExplainAnswer, ExplainRequest, ExplainStep, Verdict};
pub use self::flow::{AccountTokenRequest, AccountTokens, FlowAnswer, NewFlow};
pub use self::key::{KeyList, KeyRotation, KeyView};
pub use self::mcp::{ClientMetadata, McpClientAnswer, NewMcpClient};
pub use self::member::{Member, MemberValue};
pub use self::oauth_connection::{
    AccessCode, OAuthConnection, OAuthConnectionChange, OAuthItem, RefreshFailureReport,
};
pub use self::options::{OPTION_MEMBERS, OptionMembers, RuleMembers};
pub use self::page::PageMeta;
pub use self::placement::PlacementMembers;
pub use self::profile::{
    AssertionMembers, InstallationMembers, PROFILE_MEMBERS, ParamMap, ProfileMembers,
};
pub use self::provider::{
    ProviderAnswer, ProviderAsk, ProviderEntry, ProviderList, ProviderSource, ProviderSummary,
};
pub use self::read::{Document, MalformedBody, Request, Shape, printable_name, read};
pub use self::secret::{REDACT_TOKENS_FIELD, REDACTED, Redacted};
pub use self::server::{ReadyAnswer, ServerAnswer, ServerInfo, StoreReadiness};
pub use self::stats::{
    CallerStats, FailureView, HealthPage, HealthView, LatencyView, StatsAnswer, StatsPart,
};
pub use self::token::{CreatedTokenAnswer, CreatedTokenView, NewToken, TokenPage, TokenView};

/// Writes a time as RFC 3339 has it, in UTC, always with a fraction.
pub fn time(time: Timestamp) -> String {
    DateTimePrinter::new().precision(Some(6)).timestamp_to_string(&time)
}

/// Tells whether a member that is there only when it is true is left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
