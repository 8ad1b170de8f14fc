//! Access tokens: made, listed and revoked by those who may.

mod listing;

use jiff::Timestamp;
use uuid::Uuid;

pub use self::listing::{TOKEN_ORDERS, TokenQuery};
use super::Management;
use super::events::{EventDraft, snapshot_of_token};
use super::fault::{About, Refused, Scope, no_randomness};
use super::listing::{ListPage, cut, readable, reads_backwards};
use super::member_reader::{MemberReader, named};
use super::operator::Operator;
use super::options::parse_rules;
use crate::model::caller::{Caller, Reach};
use crate::model::event::EventKind;
use crate::model::name::IntegrationName;
use crate::model::record::{TokenClaims, TokenRecord, new_id, whole_microseconds};
use crate::model::rules::Rules;
use crate::model::sealed::KeyId;
use crate::model::token::{self, SCOPES_RULE, Scopes, TokenDigest};
use crate::secret::Secret;
use crate::state::Persistence;
use crate::store::{self, PageRange};
use crate::wire::{Document, NewToken};

/// The right to administer tokens, as far as the operator's own token reaches.
#[derive(Debug)]
pub struct TokenAdmin<'a> {
    management: &'a Management,
    operator: &'a Operator,
}

/// A token that has just been made. Its secret is shown this once.
#[derive(Debug)]
pub struct CreatedToken {
    /// The record of the token.
    pub record: TokenRecord,
    /// The token itself.
    pub secret: Secret,
    /// Warnings, a sentence each.
    pub warnings: Vec<String>,
}

/// The reason why a token is ignored, and what to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenDefect {
    /// The record was signed under this master key, which the server lacks.
    #[error(
        "the server lacks its master key, {0}: the operator must add that key to the server's \
         master keys"
    )]
    KeyMissing(KeyId),
    /// The MAC does not verify although the master key is there.
    #[error("its record was changed by hand: revoke the token and create another")]
    MacInvalid,
}

struct TokenDraft {
    name: Box<str>,
    reach: Reach,
    scopes: Scopes,
    expires_at: Option<Timestamp>,
    rules: Rules,
}

impl Management {
    /// Lets an operator administer tokens.
    ///
    /// # Errors
    /// When the token lacks the scope `admin`.
    pub fn token_admin<'a>(&'a self, operator: &'a Operator) -> Result<TokenAdmin<'a>, Refused> {
        operator.need(Scope::Admin)?;
        Ok(TokenAdmin { management: self, operator })
    }
}

impl TokenAdmin<'_> {
    /// Makes a token, and returns when it is in force on this instance. Dropped in between, it may
    /// have been made or not; nobody knows it then.
    ///
    /// # Errors
    /// [`Refused`]: what is wrong with the request, it would reach further or end later than the
    /// operator's own, another live token has the name, or the store fails.
    pub async fn create(
        &self,
        request: impl Into<Document<NewToken>>,
    ) -> Result<CreatedToken, Refused> {
        let Self { management, operator } = self;
        let (own, now) = (operator.caller(), management.clock.now());
        // Only a token with the scope `admin` comes here, and no scope allows more than that.
        let TokenDraft { name, reach, scopes, expires_at, rules } =
            TokenDraft::read(request.into(), now, own)?;
        // 1. It reaches no further than the token that makes it, and its name is free.
        if !own.reach.includes(&reach) {
            return Err(Refused::OutOfReach);
        }
        let persistence = management.persistence()?;
        if self.is_declared(&name, &reach, now) {
            return Err(name_taken("not one of the store"));
        }
        let warnings = self.warnings(persistence, &reach).await?;
        // 2. The token itself, of which a digest is kept under the master key.
        let secret = token::generate().map_err(|error| no_randomness(&error))?;
        let digest = TokenDigest::of(secret.expose()).ok_or(Refused::Internal)?;
        let id = new_id().map_err(|error| no_randomness(&error))?;
        let claims = TokenClaims {
            id,
            name: &name,
            reach: &reach,
            scopes,
            expires_at,
            rules: &rules,
            digest,
        };
        let mac = persistence.vault().mac(&claims);
        // 3. The record is kept, and in force.
        let record = TokenRecord {
            id,
            name,
            reach,
            scopes,
            created_at: whole_microseconds(management.clock.now()),
            expires_at,
            rules,
            last_used_at: None,
            last_used_for: None,
            digest,
            mac,
        };
        let event = token_event(EventKind::TokenCreate, &record).after(snapshot_of_token(&record));
        let noting = management.noting(persistence, *operator, event).await?;
        let revision = match noting.create_token(&record).await {
            Ok(revision) => revision,
            Err(store::Error::Conflict) => return Err(self.taken(persistence, &record).await),
            Err(error) => return Err(error.into()),
        };
        self.log("a token was created", &record);
        self.management.settle(revision).await;
        Ok(CreatedToken { record, secret, warnings })
    }

    /// Tells whether a token that is not of the store, and has not expired, has the name: a
    /// declared one, or the operator's own.
    fn is_declared(&self, name: &str, reach: &Reach, now: Timestamp) -> bool {
        self.management.registry().holders().any(|holder| {
            let caller = &holder.caller;
            holder.id().is_none()
                && *caller.name == *name
                && caller.reach.integration() == reach.integration()
                && !caller.has_expired(now)
        })
    }

    /// Says which live token has the name, as far as the operator reaches it.
    async fn taken(&self, persistence: &Persistence, record: &TokenRecord) -> Refused {
        let (integration, now) = (record.reach.integration(), record.created_at);
        let known = persistence.store().live_token(integration, &record.name, now).await;
        let known = known.ok().flatten();
        let reached = known.filter(|known| self.operator.caller().reach.includes(&known.reach));
        reached.map_or_else(
            || name_taken("out of your reach"),
            |known| name_taken(&known.id.to_string()),
        )
    }

    /// A sentence for the integration, where it has no connection, or for each listed connection
    /// that does not exist. The token may be for one that is made later, so that this is no fault.
    async fn warnings(
        &self,
        persistence: &Persistence,
        reach: &Reach,
    ) -> Result<Vec<String>, Refused> {
        let registry = self.management.registry();
        let mut warnings = Vec::new();
        if let Reach::One(integration, None) = reach
            && registry.listed_in(integration.as_str()).next().is_none()
            && !self.has_any(persistence, integration).await?
        {
            warnings.push(format!(
                "integration: {integration} has no connection: see that its name is right, or make \
                 one"
            ));
        }
        for (integration, name) in reach.pairs() {
            if registry.lookup(integration.as_str(), name.as_str()).is_some() {
                continue;
            }
            // A connection whose secret can't be opened is in the store all the same.
            let found = match persistence.store().connection(integration, name).await {
                Err(store::Error::Inconsistent { .. }) => true,
                found => found?.is_some(),
            };
            if !found {
                warnings.push(format!(
                    "connections: {integration} has no connection {name}: the token can use it \
                     once one of that name is made"
                ));
            }
        }
        Ok(warnings)
    }

    /// Tells whether the store has a connection of the integration, be it one that can't be used.
    async fn has_any(
        &self,
        persistence: &Persistence,
        integration: &IntegrationName,
    ) -> Result<bool, Refused> {
        let window = PageRange { after: None, before: None, limit: 1 };
        let found = persistence.store().connections(integration, &window).await?;
        Ok(!found.items.is_empty())
    }

    /// The tokens within the window that reach no further than the operator's own, in the order
    /// of their ids.
    pub async fn list(&self, window: &PageRange) -> Result<ListPage<TokenRecord>, Refused> {
        let Ok(persistence) = self.management.persistence() else {
            return Ok(ListPage { items: Vec::new(), has_more: false });
        };
        let (mut found, mut rest) = (Vec::new(), window.clone());
        let wanted = usize::try_from(window.limit).unwrap_or(usize::MAX);
        // Some of a page may be out of reach, so that it may take more than one.
        loop {
            let page = persistence.store().tokens(&rest).await?;
            let ends = page.ends.clone().filter(|_ends| page.has_more);
            let mut tokens = readable(page);
            tokens.retain(|token| self.operator.caller().reach.includes(&token.reach));
            if reads_backwards(window) {
                tokens.append(&mut found);
                found = tokens;
            } else {
                found.append(&mut tokens);
            }
            let Some((first, last)) = ends.filter(|_ends| found.len() <= wanted) else {
                return Ok(cut(found, window, false));
            };
            if reads_backwards(window) {
                rest.before = Some(first);
            } else {
                rest.after = Some(last);
            }
        }
    }

    /// The reason why the token is ignored; `None` where it counts.
    pub fn defect(&self, record: &TokenRecord) -> Option<TokenDefect> {
        let vault = self.management.persistence().ok()?.vault();
        let error = vault.verify(&record.claims(), &record.mac).err()?;
        Some(error.missing_key().map_or(TokenDefect::MacInvalid, TokenDefect::KeyMissing))
    }

    /// Revokes a token, and returns when it has ended on this instance. Dropped in between, it
    /// may have been revoked or not.
    ///
    /// # Errors
    /// [`Refused`]: there is none within reach, or the store fails.
    pub async fn revoke(&self, id: &str) -> Result<(), Refused> {
        let id = Uuid::try_parse(id).map_err(|_rule| Refused::NotFound)?;
        let Ok(persistence) = self.management.persistence() else { return Err(Refused::NotFound) };
        let record = self.find(persistence, id).await?;
        let event = token_event(EventKind::TokenRevoke, &record).before(snapshot_of_token(&record));
        let noting = self.management.noting(persistence, self.operator, event).await?;
        let revision = noting.delete_token(id).await?.ok_or(Refused::NotFound)?;
        self.log("a token was revoked", &record);
        self.management.settle(revision).await;
        Ok(())
    }

    async fn find(&self, persistence: &Persistence, id: Uuid) -> Result<TokenRecord, Refused> {
        let found = persistence.store().token(id).await?;
        let within = |token: &TokenRecord| self.operator.caller().reach.includes(&token.reach);
        found.filter(within).ok_or(Refused::NotFound)
    }

    fn log(&self, message: &str, record: &TokenRecord) {
        tracing::info!(
            operator = &*self.operator.caller().name,
            integration = record.reach.integration(),
            token.name = &*record.name,
            token.id = %record.id,
            "{message}"
        );
    }
}

fn token_event(kind: EventKind, record: &TokenRecord) -> EventDraft {
    EventDraft::new(kind, record.reach.integration(), &record.name)
}

impl TokenDraft {
    /// Reads the whole request, at `now`, for a maker who may do no more than `own` says.
    fn read(request: Document<NewToken>, now: Timestamp, own: &Caller) -> Result<Self, Refused> {
        let until = own.expires_at;
        let (request, mut reader) = MemberReader::of(request);
        let name = reader.require(named!(request.name), About::Name, |text| {
            token::check_name(text).map(|()| Box::from(text))
        });
        let integration = reader.require(named!(request.integration), About::Integration, |text| {
            Reach::parse::<&str>(text, None).map(|_reach| text.to_owned())
        });
        let scopes = named!(request.scopes);
        reader.demand(&scopes);
        let scopes = reader.value(scopes).and_then(|names| {
            let scopes = Scopes::parse(names.iter().map(String::as_str));
            if scopes.is_none() {
                reader.fault(About::Request, &format!("scopes: {SCOPES_RULE}"));
            }
            scopes
        });
        // The connections are named as the integration has it.
        let listed = reader.value(named!(request.connections));
        let reach = integration.and_then(|integration| {
            if listed.as_ref().is_some_and(|names| names.len() > MAX_LISTED_CONNECTIONS) {
                reader.fault(About::Request, "connections: are more than 256");
                return None;
            }
            let reach = Reach::parse(&integration, listed.as_deref());
            reach.map_err(|rule| reader.fault(About::Name, &format!("connections: {rule}"))).ok()
        });
        // A token that expires makes none that does not.
        let gives_end = request.expires_at.is_given();
        let end = |text: &str| parse_expiry(text, now, until);
        let expires_at = reader.take(named!(request.expires_at), About::Request, end);
        if let (Some(until), false) = (until, gives_end) {
            reader.fault(About::Request, &format!("expires_at: {}", outlives(until)));
        }
        // A token that has rules makes none that may more.
        let rules = reader.value(named!(request.rules));
        let rules = rules.and_then(|rules| parse_rules(rules, &mut reader)).unwrap_or_default();
        let rules = if rules.is_empty() { own.rules.clone() } else { rules };
        if !own.rules.is_empty() && rules != own.rules {
            let title = "rules: differ from those of the token that makes this one: leave them out, or give the same";
            reader.fault(About::Request, title);
        }
        let read = name.zip(reach).zip(scopes);
        let read =
            read.map(|((name, reach), scopes)| Self { name, reach, scopes, expires_at, rules });
        reader.close(read)
    }
}

fn parse_expiry(text: &str, now: Timestamp, until: Option<Timestamp>) -> Result<Timestamp, String> {
    match (token::parse_expiry(text).map(whole_microseconds), until) {
        (Ok(end), _) if end <= now => Err("is in the past".to_owned()),
        (Ok(end), Some(until)) if end > until => Err(outlives(until)),
        (Ok(end), _) => Ok(end),
        (Err(rule), _) => Err(rule.to_owned()),
    }
}

/// No token makes another that is good for longer than itself.
fn outlives(until: Timestamp) -> String {
    format!("must be {until} or earlier, when the token that makes this one expires")
}

/// The refusal of a name that another live token has.
fn name_taken(which: &str) -> Refused {
    Refused::NameTaken(format!(
        "name: another live token of the integration has it ({which}): choose another name, or \
         revoke that token first"
    ))
}

/// The number of connections that a token may list.
const MAX_LISTED_CONNECTIONS: usize = 256;
