//! The check of the chain of events.

use crate::model::event::{ChainEnds, EventClaims, EventHash, EventSigner, MacOutcome};
use crate::store::{self, StoredChain, StoredEvent};
use crate::wire::{EventCheckAnswer, EventFault};

/// The end of the chain as an earlier check gave it.
#[derive(Clone, Debug)]
pub(super) struct ChainHead {
    number: i64,
    hash: String,
}

impl ChainHead {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (number, hash) = text.split_once(':')?;
        let number = number.parse().ok().filter(|number| *number >= 0)?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| Self { number, hash: hash.to_owned() })
    }
}

/// Follows the chain from its first event to its last.
pub(super) struct ChainCheck<'a> {
    signer: &'a dyn EventSigner,
    /// The end of the chain at an earlier check.
    head: Option<ChainHead>,
    /// The number and the stored hash of the event that was seen last.
    last: Option<(i64, EventHash)>,
    /// The first event, which must follow the beginning of the chain.
    first_event: Option<StoredEvent>,
    events: u64,
    faults: Vec<EventFault>,
}

impl<'a> ChainCheck<'a> {
    pub(super) fn new(signer: &'a dyn EventSigner, head: Option<ChainHead>) -> Self {
        Self { signer, head, last: None, first_event: None, events: 0, faults: Vec::new() }
    }

    /// Looks at the next event.
    pub(super) fn add(&mut self, event: Result<StoredEvent, store::Error>) {
        self.events += 1;
        let event = match event {
            Ok(event) => event,
            Err(error) => return self.fault("", format!("an event can't be read: {error}")),
        };
        let id = event.number.to_string();
        // 1. What it says is what was signed.
        if !event.says_its_columns() {
            self.fault(&id, "its columns differ from its content: it was edited by hand");
        }
        if self.signer.check_event(EventClaims::Event(event.hash), &event.mac) == MacOutcome::Forged
        {
            self.fault(&id, "its MAC does not verify: it was not written by a holder of the key");
        }
        // 2. It follows the one before.
        match self.last {
            None => self.first_event = Some(event.clone()),
            Some((before, hash)) => {
                if event.number != before + 1 {
                    self.missing(before + 1, event.number - 1);
                }
                self.follows(&event, hash);
            }
        }
        self.compare_with_head(event.number, event.hash);
        self.last = Some((event.number, event.hash));
    }

    /// Gives the outcome, with the ends of the chain.
    pub(super) fn finish(mut self, stored: &StoredChain) -> EventCheckAnswer {
        let StoredChain { ends, mac, seen } = stored;
        let ChainEnds { cut, last } = *ends;
        // 1. The ends are what a holder of the key has signed.
        let outcome =
            mac.as_ref().map(|mac| self.signer.check_event(EventClaims::Chain(*ends), mac));
        let is_signed = match outcome {
            Some(outcome) => outcome == MacOutcome::Genuine,
            None => *ends == ChainEnds::EMPTY,
        };
        if !is_signed {
            let known = outcome != Some(MacOutcome::KeyMissing);
            let fault = if known {
                "the record of the chain's ends was edited by hand"
            } else {
                "the chain's ends are signed by a master key that the server does not have"
            };
            self.fault("", fault);
        }
        // 2. The first event follows the beginning, and the last one is the end.
        if let Some(first) = self.first_event.take() {
            if first.number > cut.0 + 1 {
                self.missing(cut.0 + 1, first.number - 1);
            }
            self.follows(&first, cut.1);
        }
        let (number, hash) = self.last.unwrap_or(cut);
        if number < last.0 {
            self.missing(number + 1, last.0);
        } else if number > last.0 {
            self.fault(&number.to_string(), "it stands beyond the end of the chain");
        } else if hash != last.1 {
            self.fault(&number.to_string(), "it is not the event with which the chain ends");
        }
        self.compare_with_head(cut.0, cut.1);
        if let Some(head) = self.head.take().filter(|head| head.number > last.0) {
            self.missing(last.0 + 1, head.number);
        }
        if last.0 < *seen {
            self.missing(last.0 + 1, *seen);
        }
        EventCheckAnswer {
            intact: self.faults.is_empty(),
            events: self.events,
            forgotten: cut.0.unsigned_abs(),
            head: format!("{}:{}", last.0, last.1),
            faults: self.faults,
        }
    }

    fn compare_with_head(&mut self, number: i64, hash: EventHash) {
        let head = self.head.as_ref().filter(|head| head.number == number);
        if head.is_some_and(|head| !head.hash.eq_ignore_ascii_case(&hash.to_string())) {
            self.fault(&number.to_string(), "it is another one than at the earlier check");
        }
    }

    fn follows(&mut self, event: &StoredEvent, before: EventHash) {
        if before.next(event.number, &event.content) == event.hash {
            return;
        }
        let id = event.number.to_string();
        if EventHash::BREAK.next(event.number, &event.content) == event.hash {
            self.fault(&id, "the chain was changed by hand before it was written");
        } else {
            self.fault(&id, "it was edited, or does not follow the one before it");
        }
    }

    fn missing(&mut self, from: i64, to: i64) {
        let fault = if from == to {
            "it was removed".to_owned()
        } else {
            format!("the events from here to {to} were removed")
        };
        self.fault(&from.to_string(), fault);
    }

    fn fault(&mut self, id: &str, fault: impl Into<String>) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(EventFault { id: id.to_owned(), fault: fault.into() });
        }
    }
}

/// The number of faults that are told.
const MAX_FAULTS: usize = 100;

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use std::sync::Arc;

    use super::*;
    use crate::store::{EventNote, Store};
    use crate::vault::{Keyring, Vault};
    use crate::wire::{EventContent, time};

    fn at(hour: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000 + hour)
    }

    /// A store with an event of each of so many hours.
    async fn store(directory: &tempfile::TempDir, vault: &Arc<Vault>, hours: i64) -> Store {
        let store = Store::open_sqlite(&directory.path().join("keyferry.db")).await.unwrap();
        for hour in 0..hours {
            let content = EventContent { time: time(at(hour)), ..EventContent::default() };
            let signer = Arc::clone(vault) as Arc<dyn EventSigner>;
            store.note_event(EventNote { time: at(hour), content, signer }).await.unwrap();
        }
        store
    }

    async fn checked(store: &Store, vault: &Vault, head: Option<&str>) -> EventCheckAnswer {
        let head = head.map(|text| ChainHead::parse(text).unwrap());
        let mut check = ChainCheck::new(vault, head);
        let stored = store.walk_events(|event| check.add(event)).await.unwrap();
        check.finish(&stored)
    }

    #[tokio::test]
    async fn a_chain_whose_old_events_were_deleted_can_be_checked() {
        let directory = tempfile::TempDir::new().unwrap();
        let vault = Arc::new(Vault::new(Keyring::generate().unwrap()));
        let store = store(&directory, &vault, 1500).await;
        let whole = checked(&store, &vault, None).await;
        assert_eq!((whole.intact, whole.events, whole.forgotten), (true, 1500, 0), "{whole:?}");
        for (hours, forgotten) in [(3, 3), (1200, 1200), (2000, 1500)] {
            assert!(store.prune_events(at(hours), &*vault).await.unwrap());
            let rest = checked(&store, &vault, Some(&whole.head)).await;
            assert!(rest.intact && rest.head == whole.head, "{rest:?}");
            assert_eq!((rest.events, rest.forgotten), (1500 - forgotten, forgotten));
        }
    }

    /// Edits the database of a store by hand.
    async fn edit(directory: &tempfile::TempDir, sql: &'static str) {
        use sqlx::{ConnectOptions as _, Executor as _};
        let file = directory.path().join("keyferry.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let mut conn = options.connect().await.unwrap();
        assert!(conn.execute(sql).await.unwrap().rows_affected() > 0, "{sql}");
    }

    #[tokio::test]
    async fn what_the_chain_does_not_prove_to_be_old_is_not_deleted() {
        for (sql, left, is_young) in [
            ("UPDATE events SET time = (SELECT min(time) FROM events)", 7, false),
            ("UPDATE events SET time = (SELECT min(time) FROM events) WHERE number > 3", 5, false),
            ("UPDATE events SET content = content || ' ' WHERE number = 1", 8, false),
            ("UPDATE events SET content = content || ' ' WHERE number = 3", 6, false),
            ("UPDATE events SET mac = hash WHERE number = 1", 8, false),
            ("DELETE FROM events WHERE number = 2", 6, false),
            ("DELETE FROM events WHERE number = 8", 4, true),
            ("UPDATE event_chain SET cut = 3", 8, false),
        ] {
            let directory = tempfile::TempDir::new().unwrap();
            let vault = Arc::new(Vault::new(Keyring::generate().unwrap()));
            let store = store(&directory, &vault, 8).await;
            edit(&directory, sql).await;
            let pruned = store.prune_events(at(3), &*vault).await.unwrap();
            let rest = checked(&store, &vault, None).await;
            assert_eq!((pruned, rest.events), (is_young, left), "{sql}: {rest:?}");
            assert!(!rest.intact, "{sql}");
            assert!(!store.prune_events(at(9), &*vault).await.unwrap(), "{sql}");
            assert!(!checked(&store, &vault, None).await.intact, "{sql}");
        }
    }

    #[tokio::test]
    async fn events_under_a_key_that_is_gone_are_deleted_as_a_later_one_proves_them() {
        let directory = tempfile::TempDir::new().unwrap();
        let keyring = Keyring::generate().unwrap();
        let both = Arc::new(Vault::new(keyring.with_new_first().unwrap()));
        let (old, new) = (Arc::new(Vault::new(keyring)), both.keyring().first_alone().unwrap());
        store(&directory, &old, 3).await.close().await;
        let store = store(&directory, &both, 1).await;
        let new = Vault::new(new);
        assert!(store.prune_events(at(0), &new).await.unwrap());
        assert!(store.prune_events(at(1), &new).await.unwrap());
        let rest = checked(&store, &new, None).await;
        assert_eq!((rest.intact, rest.events), (true, 3), "{rest:?}");
        edit(&directory, "UPDATE events SET content = content || ' ' WHERE number = 2").await;
        assert!(!store.prune_events(at(2), &new).await.unwrap());
    }

    #[tokio::test]
    async fn a_chain_under_an_old_key_goes_on_under_the_new_one() {
        let directory = tempfile::TempDir::new().unwrap();
        let keyring = Keyring::generate().unwrap();
        let both = Arc::new(Vault::new(keyring.with_new_first().unwrap()));
        let (old, new) = (Arc::new(Vault::new(keyring)), both.keyring().first_alone().unwrap());
        store(&directory, &old, 2).await.close().await;
        let store = store(&directory, &both, 1).await;
        // The old key may go: the chain as a whole is signed by the new one.
        let rest = checked(&store, &Vault::new(new), None).await;
        assert!(rest.intact && rest.events == 3, "{rest:?}");
        let stranger = Vault::new(Keyring::generate().unwrap());
        let foreign = checked(&store, &stranger, None).await;
        assert!(foreign.faults[0].fault.contains("does not have"), "{foreign:?}");
    }

    #[tokio::test]
    async fn a_head_that_the_chain_does_not_have_is_found() {
        let directory = tempfile::TempDir::new().unwrap();
        let vault = Arc::new(Vault::new(Keyring::generate().unwrap()));
        let store = store(&directory, &vault, 3).await;
        let hash = "0".repeat(64);
        for (head, fault) in [("2", "another one"), ("7", "from here to 7 were removed")] {
            let found = checked(&store, &vault, Some(&format!("{head}:{hash}"))).await;
            assert!(found.faults[0].fault.contains(fault), "{found:?}");
        }
        for text in ["", "3", "3:ab", "-1:", &format!("x:{hash}")] {
            assert!(ChainHead::parse(text).is_none(), "{text}");
        }
    }
}
