//! The settings of the rooms above that decide by them. A reload replaces all but those that are
//! bound at the start.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};
use jiff::Timestamp;

use crate::model::name::IntegrationName;
use crate::model::oauth::client::AccountClient;
use crate::model::openid::OpenIdSettings;
use crate::model::origin::HostName;
use crate::model::own_hosts::OwnHosts;
use crate::model::permit::{AllowedPorts, Terms};
use crate::model::webhook::WebhookSettings;
use crate::store::RefreshLease;

/// The operator's settings of the data plane.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The integration of callers, where they need no token.
    pub anonymous: Option<IntegrationName>,
    /// The names by which callers reach the proxy itself.
    pub own_hosts: OwnHosts,
    /// The methods that may be sent.
    pub allowed_methods: Vec<Method>,
    /// The same as the value of an `Allow` field.
    pub allow: HeaderValue,
    /// The rules that hold for every connection.
    pub terms: Terms,
    /// Lets tunnels that no connection covers pass, without being looked into.
    pub blind_tunnels: bool,
    /// The largest body, 0 for any.
    pub max_body_bytes: u64,
    /// The longest that neither the caller nor the origin of an exchange may send anything.
    pub exchange_idle_timeout: Duration,
    /// The longest that a WebSocket, or a blind tunnel, may be silent.
    pub splice_idle_timeout: Duration,
    /// The longest that the first byte of a blind tunnel may take.
    pub tunnel_first_byte_timeout: Duration,
    /// The freshness of OAuth connections' tokens.
    pub renewal: Renewal,
}

/// The settings by which the tokens of OAuth connections are kept fresh.
#[derive(Clone, Copy, Debug, Default)]
pub struct Renewal {
    /// The longest time before its end at which a token is refreshed.
    pub refresh_before: Duration,
    /// The longest time between two refreshes of a grant that nobody uses; zero for never.
    pub keep_alive: Duration,
    /// The time that a refresh may be silent before another instance takes it over.
    pub refresh_lease: RefreshLease,
    /// Has a 401 lead to one refresh and one more try.
    pub retry_on_401: bool,
    /// The largest request body that is kept for that, in bytes.
    pub replay_body_bytes: usize,
    /// The most bytes of all kept bodies together; past it a body is not kept.
    pub replay_memory: usize,
}

/// The operator's settings of the management plane.
#[derive(Clone, Debug, Default)]
pub struct ManagementSettings {
    /// The time when the configuration in force was read.
    pub read_at: Timestamp,
    /// Lets a static connection take the reserved name.
    pub allow_static_zendesk: bool,
    /// The requests that a token may make in a minute; `None`: no limit.
    pub requests_per_minute: Option<u32>,
    /// Tells whether the interception CA is the configuration's.
    pub has_own_authority: bool,
    /// Hides tokens whatever the scope.
    pub redact_tokens: bool,
    /// The base of the URLs that a flow leads through, without a slash at its end.
    pub public_url: String,
    /// The origins that a flow may send the browser to at its end, beside `public_url`'s and
    /// loopback: `scheme://host[:port]`.
    pub allowed_redirect_origins: Vec<String>,
    /// The ports that anything may be sent to.
    pub allowed_ports: AllowedPorts,
    /// The account's own host, where the operator has named the account.
    pub account_host: Option<HostName>,
    /// The account's own client, where the operator has named one.
    pub account_client: Option<AccountClient>,
    /// The account's number; 0 where it was not given.
    pub account_id: u64,
    /// The OpenID provider that people sign in with, where there is one.
    pub open_id: Option<Arc<OpenIdSettings>>,
    /// The webhook that is told which connections need attention, where there is one.
    pub webhook: Option<Arc<WebhookSettings>>,
}
