//! Access tokens: made, listed and revoked by those who may.

use jiff::Timestamp;
use uuid::Uuid;

use super::connections::store_failed;
use super::fault::{About, Refused, Scope, no_chance};
use super::form::Form;
use super::listing::{Listing, cut, readable, reads_backwards};
use super::operator::Operator;
use super::{Desk, Keeping};
use crate::model::caller::Reach;
use crate::model::record::{TokenClaims, TokenRecord, new_id, whole_microseconds};
use crate::model::token::{self, Scopes, TokenDigest};
use crate::secret::Secret;
use crate::store::Window;

/// The right to administer tokens, as far as the operator's own token reaches.
#[derive(Debug)]
pub struct Administering<'a> {
    desk: &'a Desk,
    operator: &'a Operator,
}

/// A token that has just been made. Its secret is shown this once.
#[derive(Debug)]
pub struct Granted {
    /// What is kept of it.
    pub record: TokenRecord,
    /// The token itself.
    pub secret: Secret,
}

/// What is entered of a token.
struct Draft {
    name: Box<str>,
    reach: Reach,
    scopes: Scopes,
    expires_at: Option<Timestamp>,
}

impl Desk {
    /// Lets an operator administer tokens.
    ///
    /// # Errors
    /// When the token lacks the scope `admin`.
    pub fn administering<'a>(
        &'a self,
        operator: &'a Operator,
    ) -> Result<Administering<'a>, Refused> {
        operator.need(Scope::Admin)?;
        Ok(Administering { desk: self, operator })
    }
}

impl Administering<'_> {
    /// Makes a token, and returns when it is in force on this instance. Dropped in between, it may
    /// have been made or not; nobody knows it then.
    ///
    /// # Errors
    /// [`Refused`]: what is wrong with the form, it would reach further than the operator's own,
    /// or the store fails.
    pub async fn create(&self, form: Form) -> Result<Granted, Refused> {
        let Self { desk, operator } = self;
        let Draft { name, reach, scopes, expires_at } = Draft::read(form, desk.clock.now())?;
        if !operator.caller().reach.includes(&reach) {
            return Err(Refused::OutOfReach);
        }
        let keeping = desk.keeping()?;
        let secret = token::generate().map_err(|error| no_chance(&error))?;
        let digest = TokenDigest::of(secret.expose()).ok_or(Refused::Internal)?;
        let id = new_id().map_err(|error| no_chance(&error))?;
        let claims = TokenClaims { id, name: &name, reach: &reach, scopes, expires_at, digest };
        let mac = keeping.vault().mac(&claims);
        let record = TokenRecord {
            id,
            name,
            reach,
            scopes,
            created_at: whole_microseconds(desk.clock.now()),
            expires_at,
            last_used_at: None,
            digest,
            mac,
        };
        let created = keeping.store().create_token(&record).await;
        let revision = created.map_err(|error| store_failed(&error))?;
        self.log("a token was created", id);
        self.desk.settle(revision).await;
        Ok(Granted { record, secret })
    }

    /// The tokens within the window that reach no further than the operator's own, in the order
    /// of their ids.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, window: &Window) -> Result<Listing<TokenRecord>, Refused> {
        let Some(keeping) = &self.desk.keeping else {
            return Ok(Listing { items: Vec::new(), has_more: false });
        };
        let (mut found, mut rest) = (Vec::new(), window.clone());
        let wanted = usize::try_from(window.limit).unwrap_or(usize::MAX);
        // Some of a page may be out of reach, so that it may take more than one.
        loop {
            let page = keeping.store().tokens(&rest).await.map_err(|error| store_failed(&error))?;
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

    /// Revokes a token, and returns when it has ended on this instance. Dropped in between, it
    /// may have been revoked or not.
    ///
    /// # Errors
    /// [`Refused`]: there is none within reach, or the store fails.
    pub async fn revoke(&self, id: &str) -> Result<(), Refused> {
        let id = Uuid::try_parse(id).map_err(|_rule| Refused::NotFound)?;
        let Some(keeping) = &self.desk.keeping else { return Err(Refused::NotFound) };
        self.find(&**keeping, id).await?;
        let deleted = keeping.store().delete_token(id).await;
        let revision = deleted.map_err(|error| store_failed(&error))?.ok_or(Refused::NotFound)?;
        self.log("a token was revoked", id);
        self.desk.settle(revision).await;
        Ok(())
    }

    async fn find(&self, keeping: &dyn Keeping, id: Uuid) -> Result<TokenRecord, Refused> {
        let found = keeping.store().token(id).await.map_err(|error| store_failed(&error))?;
        found
            .filter(|token| self.operator.caller().reach.includes(&token.reach))
            .ok_or(Refused::NotFound)
    }

    fn log(&self, message: &str, id: Uuid) {
        tracing::info!(operator = &*self.operator.caller().name, token.id = %id, "{message}");
    }
}

impl Draft {
    fn read(mut form: Form, now: Timestamp) -> Result<Self, Refused> {
        let name = form.require("name", About::Name, parse_name);
        let integration = form.require("integration", About::Integration, |text| {
            Reach::parse::<&str>(text, None).map(|_reach| text.to_owned())
        });
        form.demand("scopes");
        let scopes = form.list("scopes").and_then(|names| {
            let scopes = Scopes::parse(names.iter().map(String::as_str));
            if scopes.is_none() {
                form.fault(About::Request, SCOPES);
            }
            scopes
        });
        let listed = form.list("connections");
        let reach = integration.and_then(|integration| {
            if listed.as_ref().is_some_and(|names| names.len() > MOST_LISTED) {
                form.fault(About::Request, "connections: are more than 256");
                return None;
            }
            let reach = Reach::parse(&integration, listed.as_deref());
            reach.map_err(|rule| form.fault(About::Name, &format!("connections: {rule}"))).ok()
        });
        let expires_at = form.take("expires_at", About::Request, |text| parse_end(text, now));
        let read = name.zip(reach).zip(scopes);
        let read = read.map(|((name, reach), scopes)| Self { name, reach, scopes, expires_at });
        form.close(read)
    }
}

fn parse_name(text: &str) -> Result<Box<str>, &'static str> {
    if (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(text.into())
    } else {
        Err("a token's name is 1 to 64 characters, none of them a control character")
    }
}

fn parse_end(text: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    match text.parse::<Timestamp>().map(whole_microseconds) {
        Ok(end) if end > now => Ok(end),
        Ok(_) => Err("is in the past"),
        Err(_) => Err("must be a time such as 2030-01-31T12:00:00Z (RFC 3339)"),
    }
}

const SCOPES: &str = "scopes: must be at least one of read, write, proxy, admin";

/// How many connections a token may list.
const MOST_LISTED: usize = 256;
