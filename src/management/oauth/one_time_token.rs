//! The one-time tokens of a flow: each takes it one step on, once, within ten minutes. Of each a
//! digest is kept.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::management::connections::seal;
use crate::management::fault::{Refused, Scope, no_randomness};
use crate::management::{Management, Operator};
use crate::model::name::IntegrationName;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::flow::{FlowPayload, FlowRecord, FlowStep};
use crate::model::record::whole_microseconds;
use crate::model::sealed::Sealed;
use crate::random;
use crate::secret::Secret;
use crate::state::Persistence;
use crate::store::{self, Store};

/// A flow that was taken on.
#[derive(Debug)]
pub(super) struct ConsumedFlow {
    pub(super) id: Uuid,
    pub(super) integration: IntegrationName,
    pub(super) client: Uuid,
    pub(super) content: FlowPayload,
}

impl ConsumedFlow {
    /// The client that it is for, as it is now.
    pub(super) async fn client_record(
        &self,
        persistence: &Persistence,
    ) -> Result<ClientRecord, Refused> {
        persistence.client(&self.integration, self.client).await?.ok_or(Refused::Malformed)
    }
}

/// 256 random bits, as 43 characters that can stand in a URL.
pub(super) fn generate() -> Result<Secret, Refused> {
    let bytes = random::bytes::<32>().map_err(|error| no_randomness(&error))?;
    let bytes = zeroize::Zeroizing::new(bytes);
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

/// All that is kept of a one-time token.
pub(super) fn digest_of(one_time_token: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, one_time_token).as_ref());
    bytes
}

/// A one-time token as text. It is one: [`generate`] makes no others.
pub(super) fn text_of(one_time_token: &Secret) -> String {
    String::from_utf8_lossy(one_time_token.expose()).into_owned()
}

/// The code challenge of a verifier (RFC 7636 §4.2, S256).
pub(in crate::management) fn challenge_of(verifier: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(digest_of(verifier.expose()))
}

impl Management {
    /// Keeps a flow at this step in the store, and gives the one-time token that takes it on.
    pub(super) async fn keep_flow(
        &self,
        (persistence, store): (&Persistence, &Store),
        (id, integration, client): (Uuid, &IntegrationName, Uuid),
        step: FlowStep,
        content: &FlowPayload,
    ) -> Result<Secret, Refused> {
        let one_time_token = generate()?;
        let digest = digest_of(one_time_token.expose());
        let places = (persistence, store);
        self.keep_flow_under(places, (id, integration, client), step, content, digest).await?;
        Ok(one_time_token)
    }

    /// Keeps a flow at this step for the one-time token with this digest.
    pub(super) async fn keep_flow_under(
        &self,
        (persistence, store): (&Persistence, &Store),
        (id, integration, client): (Uuid, &IntegrationName, Uuid),
        step: FlowStep,
        content: &FlowPayload,
        digest: [u8; 32],
    ) -> Result<(), Refused> {
        let ends_at = self.clock.now().checked_add(STEP_LIFETIME).unwrap_or(Timestamp::MAX);
        let mut record = FlowRecord {
            id,
            integration: integration.clone(),
            client,
            step,
            digest,
            ends_at: whole_microseconds(ends_at),
            sealed: Sealed::default(),
        };
        record.sealed = seal(persistence, &record.context(), &content.pack())?;
        Ok(store.keep_flow(&record).await?)
    }

    /// Takes on the flow that waits at this step for the one-time token.
    ///
    /// # Errors
    /// [`Refused::Malformed`] when there is none: it never was, was taken on before, or has ended.
    pub(super) async fn take_flow(
        &self,
        (persistence, store): (&Persistence, &Store),
        step: FlowStep,
        one_time_token: &str,
        of: Option<&IntegrationName>,
    ) -> Result<ConsumedFlow, Refused> {
        let (digest, now) = (token_digest(one_time_token)?, self.clock.now());
        let taken = store.take_flow(step, &digest, of, now).await;
        open(persistence, taken).await
    }

    /// Tells whether the operator who began a flow could begin it still.
    pub(super) fn may_go_on(&self, taken: &ConsumedFlow) -> bool {
        let ConsumedFlow { integration, content, .. } = taken;
        let operator = match (&content.plan.person, content.plan.begun_with) {
            (Some(person), _) => {
                let settings = self.settings();
                let open_id = settings.open_id.as_ref();
                let caller = open_id.and_then(|it| it.caller(person, Some(integration.as_str())));
                caller.map(|caller| Operator::of_person(caller, (**person).clone()))
            }
            (None, None) => return true,
            (None, Some(id)) => {
                let registry = self.registry();
                let holder = registry.stored_holder(id);
                let holder = holder.filter(|known| !known.caller.has_expired(self.clock.now()));
                holder.map(|holder| Operator::new(Arc::clone(holder)))
            }
        };
        let Some(operator) = operator else { return false };
        operator.may_make(integration, content.plan.name.as_ref())
            && operator.need(Scope::Write).is_ok()
            && operator.enter(integration.as_str()).is_ok()
    }

    /// Reads the same flow and leaves it where it is, so that nobody can spoil another one's.
    pub(super) async fn look_at_flow(
        &self,
        persistence: &Persistence,
        step: FlowStep,
        one_time_token: &str,
        of: Option<&IntegrationName>,
    ) -> Result<ConsumedFlow, Refused> {
        let (digest, now) = (token_digest(one_time_token)?, self.clock.now());
        let found = persistence.store().flow(step, &digest, of, now).await;
        open(persistence, found).await
    }
}

/// The digest by which a flow is found; a text that can't be a one-time token leads to none.
fn token_digest(one_time_token: &str) -> Result<[u8; 32], Refused> {
    let has_its_length = one_time_token.len() == TOKEN_LEN;
    has_its_length.then(|| digest_of(one_time_token.as_bytes())).ok_or(Refused::Malformed)
}

async fn open(
    persistence: &Persistence,
    found: Result<Option<FlowRecord>, store::Error>,
) -> Result<ConsumedFlow, Refused> {
    let record = found?.ok_or(Refused::Malformed)?;
    let whose = format!("an OAuth flow of {}", record.integration);
    let opened = persistence.open(&whose, record.context(), &record.sealed).await;
    let content = FlowPayload::unpack(&opened?).ok_or(Refused::SealBroken)?;
    let FlowRecord { id, integration, client, .. } = record;
    Ok(ConsumedFlow { id, integration, client, content })
}

/// Of a one-time token, in characters.
const TOKEN_LEN: usize = 43;

/// The time for which each step is waited for.
const STEP_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge_of(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_pass_is_new_each_time_and_can_stand_in_a_url() {
        let (one, two) = (text_of(&generate().unwrap()), text_of(&generate().unwrap()));
        assert_ne!(one, two);
        assert_eq!(one.len(), TOKEN_LEN);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    }
}
