//! The end of a flow: a connection is made of the tokens, or has them in the place of its old ones.

use std::sync::Arc;

use super::start::{check_again, name_of};
use crate::management::Management;
use crate::management::connections::seal;
use crate::management::events::{Actor, EventDraft};
use crate::management::fault::{About, Refused, no_randomness};
use crate::model::connection_secrets::ConnectionSecrets;
use crate::model::event::EventKind;
use crate::model::name::IntegrationName;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::flow::FlowPlan;
use crate::model::oauth::grant::Grant;
use crate::model::oauth::tokens::TokenSet;
use crate::model::record::{ConnectionRecord, Detail, new_id, whole_microseconds};
use crate::model::sealed::Sealed;
use crate::oauth::refresh_token_life;
use crate::state::Persistence;
use crate::store;

impl Management {
    /// Keeps the tokens that a flow has brought, and returns when they are in force on this
    /// instance.
    pub(super) async fn settle_grant(
        &self,
        persistence: &Persistence,
        client: &ClientRecord,
        plan: &FlowPlan,
        tokens: &TokenSet,
        by: (Actor, EventKind),
    ) -> Result<ConnectionRecord, Refused> {
        for _again in 0..ATTEMPTS {
            let before = self.standing_in(persistence, &client.integration, plan).await?;
            let (actor, kind) = by.clone();
            let kept = if let Some(before) = &before {
                let after = self.reauthorized(persistence, before, client, plan, tokens).await?;
                let event = EventDraft::about(kind, &after.integration, &after.name);
                let event = event.secret_changed(true).before(self.snapshot(before));
                let event = event.after(self.snapshot(&after));
                let noting = self.noting(persistence, actor, event).await?;
                let replaced = noting.reauthorize(before, &after).await;
                replaced.map_err(cant_keep)?.map(|revision| (after, revision))
            } else {
                let record = self.connected(persistence, client, plan, tokens)?;
                let event = EventDraft::about(kind, &record.integration, &record.name);
                let event = event.after(self.snapshot(&record));
                match self.noting(persistence, actor, event).await?.create_connection(&record).await
                {
                    Ok(revision) => Some((record, revision)),
                    // The name was taken meanwhile.
                    Err(store::Error::Conflict) => None,
                    Err(error) => return Err(cant_keep(error)),
                }
            };
            if let Some((record, revision)) = kept {
                self.settle(revision).await;
                return Ok(record);
            }
        }
        Err(Refused::Changed)
    }

    /// The connection that has the name already, if there is one.
    async fn standing_in(
        &self,
        persistence: &Persistence,
        integration: &IntegrationName,
        plan: &FlowPlan,
    ) -> Result<Option<ConnectionRecord>, Refused> {
        let Some(name) = &plan.name else { return Ok(None) };
        if self.registry().is_declared(integration, name) {
            return Err(Refused::Taken);
        }
        let found = persistence.store().connection(integration, name).await?;
        if let Some(record) = &found {
            check_again(record, plan.allowed_domain.as_ref())?;
        }
        Ok(found)
    }

    /// The record of the connection that is made of the tokens.
    fn connected(
        &self,
        persistence: &Persistence,
        client: &ClientRecord,
        plan: &FlowPlan,
        tokens: &TokenSet,
    ) -> Result<ConnectionRecord, Refused> {
        let uuid = new_id().map_err(|error| no_randomness(&error))?;
        let now = whole_microseconds(self.clock.now());
        let mut record = ConnectionRecord {
            uuid,
            integration: client.integration.clone(),
            name: plan.name.clone().map_or_else(|| name_of(uuid), Ok)?,
            allowed_domain: plan.allowed_domain.clone(),
            detail: Detail::OAuth(Box::new(self.grant(client, plan, 1, tokens))),
            options: Arc::default(),
            sealed: Sealed::default(),
            created_at: now,
            updated_at: now,
        };
        // The tokens are sealed for the record that has them.
        record.sealed = seal(persistence, &record.context(), &tokens.pack())?;
        Ok(record)
    }

    /// The record of the connection as it is with the tokens.
    async fn reauthorized(
        &self,
        persistence: &Persistence,
        before: &ConnectionRecord,
        client: &ClientRecord,
        plan: &FlowPlan,
        tokens: &TokenSet,
    ) -> Result<ConnectionRecord, Refused> {
        // A row that was edited by hand would else have the tokens sealed for rules and a domain of
        // the editor's choice.
        let whose = format!("the connection {}.{}", before.integration, before.name);
        let opened = persistence.open(&whose, before.context(), &before.sealed).await;
        drop(opened.map_err(Refused::from)?);
        let generation = before.grant().map_or(1, |grant| grant.generation + 1);
        let mut after = before.clone();
        after.allowed_domain =
            before.allowed_domain.clone().or_else(|| plan.allowed_domain.clone());
        after.detail = Detail::OAuth(Box::new(self.grant(client, plan, generation, tokens)));
        after.updated_at = self.moved(before.updated_at);
        // The key of a client certificate is sealed with the tokens; those of before need not open.
        let client_key = match &before.options.client_certificate {
            Some(_) => persistence.open_connection(before).await?.client_key,
            None => None,
        };
        let secrets = ConnectionSecrets { client_key, ..tokens.pack().into() };
        after.sealed = seal(persistence, &after.context(), &secrets.pack())?;
        Ok(after)
    }

    fn grant(
        &self,
        client: &ClientRecord,
        plan: &FlowPlan,
        generation: i64,
        tokens: &TokenSet,
    ) -> Grant {
        Grant {
            client: client.uuid,
            subdomain: plan.subdomain.clone(),
            grant_type: plan.grant_type,
            created_by: plan.created_by.clone(),
            scopes: plan.scopes.clone(),
            authorized_at: whole_microseconds(self.clock.now()),
            generation,
            refresh_token_life: refresh_token_life(tokens, &client.profile, None),
            lapse: None,
            injection: client.injection(),
            refresh_on_status: client.profile.refresh_on_status.clone(),
        }
    }
}

fn cant_keep(error: store::Error) -> Refused {
    match error {
        store::Error::Orphan => Refused::of(About::Request, "The OAuth client is gone."),
        error => error.into(),
    }
}

/// The number of times a grant is kept against changes of others.
const ATTEMPTS: usize = 4;
