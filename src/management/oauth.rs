//! OAuth at management: clients, flows, and the connections that come of them (ZIS spec §7).

mod account;
mod assertion;
mod callback;
mod catalogue;
mod change;
mod client_key;
mod clients;
mod connections;
mod discovery;
mod draft;
mod exchange;
mod flow_draft;
mod grant;
mod issuer;
mod member_rules;
mod one_time_token;
mod own_account;
mod profile;
mod redirect;
mod redirect_target;
mod revocation;
mod shapes;
mod standing;
mod start;

pub use self::account::AccountAnswer;
pub use self::callback::FlowOutcome;
pub(super) use self::callback::PASSED_ON;
pub use self::catalogue::Catalogue;
pub use self::clients::ClientView;
pub use self::connections::{ConnectionRef, OAuthConnectionView};
pub use self::discovery::McpClientView;
pub use self::exchange::ExchangedFlow;
pub use self::redirect::{AuthorizationRedirect, FlowCookie, UserAgent};
pub use self::revocation::RevocationOutcome;
pub use self::standing::RefreshStanding;
pub use self::start::StartedFlow;

use self::one_time_token::ConsumedFlow;
pub(super) use self::one_time_token::challenge_of;
pub(super) use self::redirect::without as without_parameters;
pub(super) use self::redirect_target::with as with_parameters;
use super::connections::ReadAccess;
use super::events::{Actor, EventDraft};
use crate::model::event::EventKind;
use crate::model::name::ConnectionName;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::flow::FlowPlan;
use crate::oauth::OAuthStep;
use crate::wire::EventPerson;

/// The path of the API to which providers send the browser back, below `public_url`.
pub(super) const CALLBACK: &str = "/api/services/zis/connections/oauth/callback";

/// The path of the API at which a client without registration describes itself, below `public_url`.
pub(super) const CLIENT_METADATA: &str = "/oauth-client.json";

impl ReadAccess<'_> {
    /// Writes the audit line of a step that the operator has taken; `failure` says why it failed.
    fn log_step(
        &self,
        step: &'static str,
        client: Option<&ClientRecord>,
        connection: Option<&ConnectionName>,
        failure: Option<&str>,
    ) {
        let step = OAuthStep {
            step,
            operator: &self.operator.caller().name,
            integration: &self.integration,
            client: client.map(|client| client.name.as_str()),
            connection: connection.map(ConnectionName::as_str),
        };
        step.log(failure);
    }
}

impl ConsumedFlow {
    /// The operator who began it, at the address of the browser that goes through it.
    fn actor(&self, user_agent: &UserAgent) -> Actor {
        let FlowPlan { created_by, begun_with, person, .. } = &self.content.plan;
        let person = person.as_deref().map(EventPerson::from);
        let (name, token_id) = (created_by.clone(), *begun_with);
        Actor { name, token_id, address: user_agent.address, person }
    }

    /// The event of a step that it takes by this client.
    fn event(&self, kind: EventKind, client: &ClientRecord) -> EventDraft {
        let event = EventDraft::new(kind, self.integration.as_str(), &client.name);
        event.of_connection(self.content.plan.name.as_ref())
    }

    /// Writes the audit line of a step that the browser has taken; `failure` says why it failed.
    fn log_step(&self, step: &'static str, client: Option<&ClientRecord>, failure: Option<&str>) {
        let plan = &self.content.plan;
        let step = OAuthStep {
            step,
            operator: &plan.created_by,
            integration: &self.integration,
            client: client.map(|client| client.name.as_str()),
            connection: plan.name.as_ref().map(ConnectionName::as_str),
        };
        step.log(failure);
    }
}
