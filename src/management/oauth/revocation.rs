//! The end of tokens at their provider, once their connection is gone here: asked for as well as
//! that goes, and told; it never keeps a connection alive.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::oneshot;

use crate::management::connections::{ReadAccess, WriteAccess};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::named_enum;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::endpoint::{Subdomain, TokenEndpoint};
use crate::model::oauth::tokens::TokenSet;
use crate::model::record::ConnectionRecord;
use crate::oauth::{OAuthStep, Provider, RevocationRequest};

named_enum! {
    /// The outcome of telling a provider that tokens are of no use any more.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum RevocationOutcome {
        /// It has revoked them.
        Revoked = "revoked",
        /// It has not revoked all of them; the log says why.
        Failed = "failed",
        /// It is being asked still.
        Pending = "pending",
    }
}

/// Tokens that are to be revoked.
pub(super) struct Revocation {
    name: ConnectionName,
    subdomain: Option<Subdomain>,
    tokens: TokenSet,
    /// Tells whether the client was changed since the grant, and names another host now.
    is_elsewhere: bool,
}

impl WriteAccess<'_> {
    /// The tokens of a connection that is about to be deleted, where its client can revoke them.
    pub(super) fn revocation_of(
        &self,
        client: &ClientRecord,
        record: &ConnectionRecord,
    ) -> Option<Revocation> {
        let grant = record.grant()?;
        let endpoint = TokenEndpoint::of_revocation(client, grant.subdomain.as_ref())?;
        let persistence = self.0.management.persistence().ok()?;
        let secrets = persistence.vault().open_connection(record).ok()?;
        let tokens = TokenSet::unpack(&secrets.secret)?;
        // Who may change a client's URLs must not have others' tokens sent there: tokens go to the
        // host that issued them, or to where the client led when they were granted.
        let is_at_issuer = endpoint.is_ok_and(|url| url.origin().to_string() == *tokens.issuer);
        let is_elsewhere = !is_at_issuer && client.updated_at > grant.authorized_at;
        let (name, subdomain) = (record.name.clone(), grant.subdomain.clone());
        Some(Revocation { name, subdomain, tokens, is_elsewhere })
    }

    /// Has a client's tokens revoked, and waits a little for that; it goes on when nobody waits.
    /// `None` where there are none to revoke.
    pub(super) async fn revoke(
        &self,
        client: ClientRecord,
        revocations: Vec<Revocation>,
    ) -> Option<RevocationOutcome> {
        if revocations.is_empty() {
            return None;
        }
        let ReadAccess { management, operator, integration } = &self.0;
        let storage = management.storage().ok()?;
        let task = RevocationTask {
            provider: Arc::clone(&storage.provider),
            client,
            operator: operator.caller().name.to_string(),
            integration: integration.clone(),
        };
        let (done, outcome) = oneshot::channel();
        storage.errands.spawn(async move {
            // Nobody may be waiting any more.
            let _waited_for = done.send(Box::pin(task.run(revocations)).await);
        });
        let waited = tokio::time::timeout(WAIT_TIMEOUT, outcome).await;
        Some(waited.map_or(RevocationOutcome::Pending, |all_revoked| match all_revoked {
            Ok(true) => RevocationOutcome::Revoked,
            _ => RevocationOutcome::Failed,
        }))
    }
}

/// Everything that revoking a client's tokens takes.
struct RevocationTask {
    provider: Arc<Provider>,
    client: ClientRecord,
    operator: String,
    integration: IntegrationName,
}

impl RevocationTask {
    /// Tells whether all of them were revoked.
    async fn run(self, revocations: Vec<Revocation>) -> bool {
        let each = stream::iter(revocations).map(|revocation| self.revoke(revocation));
        let mut outcomes = each.buffer_unordered(MAX_AT_ONCE);
        let mut all = true;
        while let Some(is_revoked) = outcomes.next().await {
            all &= is_revoked;
        }
        all
    }

    async fn revoke(&self, revocation: Revocation) -> bool {
        let Revocation { name, subdomain, tokens, is_elsewhere } = &revocation;
        let failure = if *is_elsewhere {
            Some(ELSEWHERE.to_owned())
        } else {
            let subdomain = subdomain.as_ref();
            let request = RevocationRequest { client: &self.client, subdomain, tokens };
            let revoked = self.provider.revoke(request).await;
            revoked.err().map(|failure| failure.to_string())
        };
        let step = OAuthStep {
            step: "revoke",
            operator: &self.operator,
            integration: &self.integration,
            client: Some(self.client.name.as_str()),
            connection: Some(name.as_str()),
        };
        step.log(failure.as_deref());
        failure.is_none()
    }
}

const ELSEWHERE: &str = "the client was changed since the connection was authorized, and its \
    revocation URL is at another host than the one that issued the tokens: revoke them at the \
    provider";

/// The time that a deletion waits for the provider.
const WAIT_TIMEOUT: Duration = Duration::from_secs(3);

/// The number of a client's connections whose tokens are revoked at a time.
const MAX_AT_ONCE: usize = 8;
