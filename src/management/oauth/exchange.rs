//! The exchange of a verification code (ZIS spec §7.5): what an authorization code's flow has
//! brought is shown; a client's own credentials get their first tokens here.

use std::future::ready;

use super::connections::{ConnectionRef, OAuthConnectionView};
use super::one_time_token::ConsumedFlow;
use crate::management::connections::{ReadAccess, WriteAccess};
use crate::management::fault::Refused;
use crate::model::event::EventKind;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::flow::FlowStep;
use crate::oauth::{GrantParams, TokenRequest};
use crate::secret::Secret;

/// The result of a flow.
#[derive(Debug)]
pub struct ExchangedFlow {
    /// The connection.
    pub authorized: OAuthConnectionView,
    /// The URL that the browser was sent to at the end.
    pub redirect_to: Option<Box<str>>,
    /// The query with which the provider sent the browser back; nothing where no browser was asked.
    pub callback_params: Option<Secret>,
}

impl WriteAccess<'_> {
    /// Exchanges a verification code, this once. The future must not be dropped before it ends:
    /// the code is of no use afterwards.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when no flow of this integration waits for the code;
    /// [`Refused::OutOfReach`] when the token does not reach its connection; when the
    /// provider gives no tokens; and when the store fails.
    pub async fn exchange(&self, code: &str) -> Result<ExchangedFlow, Refused> {
        let ReadAccess { management, operator, integration } = &self.0;
        let persistence = management.persistence()?;
        let waiting = management
            .look_at_flow(persistence, FlowStep::Granted, code, Some(integration))
            .await?;
        if !operator.may_make(integration, waiting.content.plan.name.as_ref()) {
            return Err(Refused::OutOfReach);
        }
        let client = waiting.client_record(persistence).await?;
        let event = waiting.event(EventKind::FlowExchange, &client);
        // What a flow has brought is shown once, with its event; what a client gets here has an
        // event when it is kept.
        let is_there = waiting.content.connection.is_some();
        let noting = management.noting(persistence, *operator, event.clone()).await?;
        let store = if is_there { &noting } else { &**persistence.store() };
        let taken = management
            .take_flow((persistence, store), FlowStep::Granted, code, Some(integration))
            .await?;
        let exchanged = match taken.content.connection {
            Some(uuid) => Ok(uuid),
            None => self.mint(&taken, &client).await,
        };
        if let (Err(refused), false) = (&exchanged, is_there) {
            let event = event.failure(refused.to_string());
            management.note_afterwards(persistence, *operator, event).await;
        }
        let plan = &taken.content.plan;
        let failure = exchanged.as_ref().err().map(ToString::to_string);
        self.0.log_step("exchange", Some(&client), plan.name.as_ref(), failure.as_deref());
        let pointer = ConnectionRef { name: None, uuid: Some(exchanged?.to_string()) };
        let authorized = self.0.show_authorized(&pointer).await?;
        let callback_params = taken.content.callback_params.clone();
        Ok(ExchangedFlow { authorized, redirect_to: plan.redirect_to.clone(), callback_params })
    }

    /// Gets a client its own first tokens.
    async fn mint(
        &self,
        taken: &ConsumedFlow,
        client: &ClientRecord,
    ) -> Result<uuid::Uuid, Refused> {
        let ReadAccess { management, .. } = &self.0;
        let persistence = management.persistence()?;
        let plan = &taken.content.plan;
        let grant_params = GrantParams::own(plan.grant_type, &plan.scopes);
        let grant_params = grant_params.ok_or(Refused::Malformed)?;
        let subdomain = plan.subdomain.as_ref();
        let token_request = TokenRequest { client, subdomain, grant_params, scopes: &plan.scopes };
        let asked = management.storage()?.provider.ask(token_request, ready(Ok(()))).await;
        let mut tokens = asked.map_err(|why| Refused::Tokens(why.failure))?;
        // There should be none (RFC 6749 §4.4.3, RFC 7521 §4.1).
        tokens.refresh_token = None;
        let by = (self.0.operator.into(), EventKind::FlowExchange);
        Ok(management.settle_grant(persistence, client, plan, &tokens, by).await?.uuid)
    }
}
