//! Sessions at the console: begun with a caller token or by a person, found again by their cookie,
//! and ended.
//!
//! They are kept in the store, so that every instance knows them, and after a restart as well. What
//! this instance knows of them counts where the store does not answer: the console is where an
//! operator sees what is wrong with it.

mod openid;
mod pending;
mod session_cache;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;

pub use self::openid::{OpenIdRedirect, PersonSignedIn, SignInFault};
pub(super) use self::session_cache::SessionCache;
use self::session_cache::{KeptIn, KnownSession};
use super::Management;
use super::events::EventDraft;
use super::fault::{Refused, no_randomness};
use super::operator::Operator;
use crate::error::chain;
use crate::model::event::EventKind;
use crate::model::name::IntegrationName;
use crate::model::record::whole_microseconds;
use crate::model::sealed::Mac;
use crate::model::session::{
    MAX_SESSION_AGE, SESSION_IDLE_TIMEOUT, SessionDigest, SessionHolder, SessionRecord,
    session_lasts,
};
use crate::model::token::TokenDigest;
use crate::random;
use crate::state::Persistence;
use crate::store::{self, SessionLimits};

/// A session that lasts.
#[derive(Clone, Debug)]
pub struct ConsoleSession {
    digest: SessionDigest,
    holder: SessionHolder,
}

impl ConsoleSession {
    /// The digest by which the requests of its holder are counted.
    pub fn principal(&self) -> TokenDigest {
        self.holder.principal()
    }
}

impl Management {
    /// Begins a session of the holder of a caller token; gives the value of its cookie.
    ///
    /// A store that can't be used does not prevent it: then this instance alone knows the session,
    /// and the sign-in is no event.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub async fn begin_token_session(
        &self,
        token: TokenDigest,
        operator: &Operator,
    ) -> Result<String, Refused> {
        self.begin_session(SessionHolder::Token(token), operator).await
    }

    /// Begins a session; a person's is only begun in the store.
    async fn begin_session(
        &self,
        holder: SessionHolder,
        operator: &Operator,
    ) -> Result<String, Refused> {
        // 1. The cookie, of which a digest is kept.
        let bytes = random::bytes::<32>().map_err(|error| no_randomness(&error))?;
        let (cookie, now) = (URL_SAFE_NO_PAD.encode(bytes), whole_microseconds(self.clock.now()));
        let digest = SessionDigest::of(&cookie);
        let mut known = KnownSession { holder, begun_at: now, seen_at: now, kept: KeptIn::Memory };
        // 2. The session and its event, in one transaction.
        if let Ok(persistence) = self.persistence() {
            let is_person = matches!(known.holder, SessionHolder::Person(_));
            match self.keep_session(persistence, digest, &known, operator).await {
                Ok(()) => known.kept = KeptIn::Store,
                Err(error) if !is_person => tracing::warn!(
                    error = %chain(&error),
                    operator = operator.name(),
                    "a session is known to this instance alone, and its sign-in is no event: the \
                     store can't be written"
                ),
                Err(error) => return Err(error.into()),
            }
        }
        self.sessions.insert(digest, known, now);
        Ok(cookie)
    }

    async fn keep_session(
        &self,
        persistence: &Persistence,
        digest: SessionDigest,
        known: &KnownSession,
        operator: &Operator,
    ) -> Result<(), store::Error> {
        let record = record(persistence, digest, known);
        let event = session_event(EventKind::SessionSignIn, operator);
        let note = self.note_of(persistence, operator.into(), event).await?;
        let store = persistence.store().noting(note);
        store.begin_session(&record, &known.holder.principal(), LIMITS).await
    }

    /// The session that a cookie shows, if it lasts. That somebody is there keeps it from ending.
    pub async fn session(&self, cookie: &str, is_present: bool) -> Option<ConsoleSession> {
        if cookie.len() != COOKIE_LEN {
            return None;
        }
        let (digest, now) = (SessionDigest::of(cookie), self.clock.now());
        let mut known = self.known_session(digest).await?;
        if !session_lasts(known.begun_at, known.seen_at, now) {
            self.sessions.remove(digest);
            return None;
        }
        if is_present && now.duration_since(known.seen_at) >= TOUCH_INTERVAL {
            known.seen_at = whole_microseconds(now);
            self.touch_session(digest, &known).await;
        }
        let holder = known.holder.clone();
        self.sessions.insert(digest, known, now);
        Some(ConsoleSession { digest, holder })
    }

    /// The session with this digest, as the store has it, or as it was last known where the store
    /// does not answer.
    async fn known_session(&self, digest: SessionDigest) -> Option<KnownSession> {
        let cached = self.sessions.get(digest);
        let Ok(persistence) = self.persistence() else { return cached };
        // 1. What the store can't say.
        match cached.as_ref().map(|known| known.kept) {
            Some(KeptIn::Memory) => return cached,
            Some(KeptIn::Nowhere) => {
                if persistence.store().end_session(digest).await.is_ok() {
                    self.sessions.remove(digest);
                }
                return None;
            }
            Some(KeptIn::Store) | None => {}
        }
        // 2. What the store says.
        let found = match persistence.store().session(digest).await {
            Ok(found) => found,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(%error, "sessions are taken as they were last known here");
                return cached;
            }
        };
        let Some(record) = found else {
            self.sessions.remove(digest);
            return None;
        };
        // 3. A holder of the master key has written it.
        let vault = persistence.vault_with(&record.mac.key_id).await;
        if let Err(error) = vault.verify_session(&record.claims(), &record.mac) {
            tracing::error!(
                error = %chain(&error),
                "a session of the store is ignored: its MAC does not verify, so that it was written \
                 by hand or its master key is gone"
            );
            return None;
        }
        let seen_at = cached.map_or(record.seen_at, |known| known.seen_at.max(record.seen_at));
        let holder = SessionHolder::decode(&record.holder)?;
        Some(KnownSession { holder, begun_at: record.begun_at, seen_at, kept: KeptIn::Store })
    }

    async fn touch_session(&self, digest: SessionDigest, known: &KnownSession) {
        let Ok(persistence) = self.persistence() else { return };
        if known.kept != KeptIn::Store {
            return;
        }
        let record = record(persistence, digest, known);
        if let Err(error) = persistence.store().touch_session(&record).await {
            let error = chain(&error);
            tracing::warn!(%error, "the store was not told that a session is in use");
        }
    }

    /// The holder of a session as an operator at a page of this integration, or at one of none.
    /// `None` where the token behind it is gone, or no group of the person has rights any more.
    pub fn admit_session(
        &self,
        session: &ConsoleSession,
        integration: Option<&str>,
    ) -> Option<Operator> {
        match &session.holder {
            SessionHolder::Token(token) => self.admit(token),
            SessionHolder::Person(person) => {
                let settings = self.settings();
                let caller = settings.open_id.as_ref()?.caller(person, integration)?;
                Some(Operator::of_person(caller, person.clone()))
            }
        }
    }

    /// The integrations between which a person may choose, where their groups have rights for
    /// several, and for none but those.
    pub fn integrations_of(&self, session: &ConsoleSession) -> Vec<IntegrationName> {
        let settings = self.settings();
        match (&session.holder, &settings.open_id) {
            (SessionHolder::Person(person), Some(open_id))
                if !open_id.reaches_everything(person) =>
            {
                open_id.integrations(person)
            }
            _ => Vec::new(),
        }
    }

    /// Ends a session whose operator signs out.
    pub async fn sign_out(&self, session: &ConsoleSession, operator: &Operator) {
        let event = session_event(EventKind::SessionSignOut, operator);
        self.end_session(session.digest, Some((operator, event))).await;
    }

    /// Ends the session that a cookie shows, or whose holder is gone.
    pub async fn forget_session(&self, cookie: &str) {
        if cookie.len() == COOKIE_LEN {
            self.end_session(SessionDigest::of(cookie), None).await;
        }
    }

    /// Ends a session on all instances. One that can't be deleted from the store is refused here.
    async fn end_session(&self, digest: SessionDigest, event: Option<(&Operator, EventDraft)>) {
        let cached = self.sessions.remove(digest);
        let Ok(persistence) = self.persistence() else { return };
        let ended = match event {
            None => persistence.store().end_session(digest).await,
            Some((operator, event)) => {
                match self.note_of(persistence, operator.into(), event).await {
                    Ok(note) => persistence.store().noting(note).end_session(digest).await,
                    Err(error) => Err(error),
                }
            }
        };
        if let Err(error) = ended {
            tracing::error!(
                error = %chain(&error),
                "a session was ended on this instance alone: the store can't be written"
            );
            if let Some(known) = cached {
                let known = KnownSession { kept: KeptIn::Nowhere, ..known };
                self.sessions.insert(digest, known, self.clock.now());
            }
        }
    }
}

fn session_event(kind: EventKind, operator: &Operator) -> EventDraft {
    let integration = operator.bound_to().map_or("", IntegrationName::as_str);
    EventDraft::new(kind, integration, &operator.name())
}

/// The record of a session, under the first master key.
fn record(persistence: &Persistence, digest: SessionDigest, known: &KnownSession) -> SessionRecord {
    let mut record = SessionRecord {
        digest,
        holder: known.holder.encode(),
        begun_at: known.begun_at,
        seen_at: known.seen_at,
        mac: Mac { key_id: "".into(), code: [0; 32] },
    };
    record.mac = persistence.vault().mac_session(&record.claims());
    record
}

/// The age of a browser's cookie, in seconds.
pub const SESSION_COOKIE_AGE: i64 = MAX_SESSION_AGE.as_secs();

/// The times before which a session that began, or was last seen, has ended.
pub fn session_ends(now: jiff::Timestamp) -> (jiff::Timestamp, jiff::Timestamp) {
    let before = |age: SignedDuration| now.checked_sub(age).unwrap_or(jiff::Timestamp::MIN);
    (before(MAX_SESSION_AGE), before(SESSION_IDLE_TIMEOUT))
}

/// 32 bytes in base64url.
const COOKIE_LEN: usize = 43;

/// The interval at which the store is told that a session is in use.
const TOUCH_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

const LIMITS: SessionLimits = SessionLimits { of_principal: 32, all: 1000 };
