//! Compares the set in force with the whole store now and then, so that nothing that went wrong on
//! the way lasts: a row that was changed by hand, a database that was put back between two
//! looks and has the same last write.
//!
//! Records that are as they should be cost a comparison, and nothing is opened. Those that differ
//! may just have been written, so they are looked up once more, in their turn between changes.

use std::collections::HashSet;
use std::time::Duration;

use super::Persistence;
use crate::error::chain;
use crate::model::record::TokenRecord;
use crate::random;
use crate::state::Registry;
use crate::store::{self, Record, RecordChange, RecordKey};
use crate::vault::Vault;

impl Persistence {
    /// Compares again and again until this is dropped.
    pub(super) async fn compare_now_and_then(&self) {
        loop {
            tokio::time::sleep(interval()).await;
            if let Err(error) = self.compare().await {
                // A store that is away is said by the following.
                let error = chain(&error);
                tracing::debug!(%error, "what is in force was not compared with the store");
            }
        }
    }

    /// Compares the set in force with the whole store; records that differ are looked up soon.
    async fn compare(&self) -> Result<(), store::Error> {
        // 1. Each record of the store: is it in force?
        let vault = self.kept.keys.vault();
        let (mut suspects, mut seen) = (Vec::new(), Seen::default());
        let walk = self.kept.store.walk(|record| {
            let in_force = self.live.load_full();
            match record {
                Record::Connection(Ok(record)) => {
                    seen.connections.insert(record.fingerprint());
                    let name = (record.integration.as_str(), record.name.as_str());
                    let known = in_force.registry.lookup(name.0, name.1);
                    if !in_force.registry.is_declared(&record.integration, &record.name)
                        && !known.is_some_and(|known| known.connection.is_of(&record))
                    {
                        suspects.push(RecordKey::Connection(record.integration, record.name));
                    }
                }
                Record::Token(Ok(record)) => {
                    seen.tokens.insert(record.id);
                    if !is_in_force(&in_force.registry, &record, &vault) {
                        suspects.push(RecordKey::Token(record.id));
                    }
                }
                // It was reported when it was read first; if it is in force, it was not seen.
                Record::Connection(Err(_)) | Record::Token(Err(_)) => {}
            }
        });
        walk.await?;
        // 2. Everything in force: is it in the store?
        suspects.extend(seen.missing(&self.live.load().registry));
        // 3. Suspects are looked up once more, in their turn.
        if suspects.len() > MAX_SUSPECTS {
            tracing::warn!(records = suspects.len(), "{DIFFERED}");
            self.take_up_soon();
        } else if !suspects.is_empty() {
            *self.suspects.lock() = suspects;
            self.nudged.notify_one();
        }
        Ok(())
    }

    /// Looks the suspects up, and puts in force what the store has of those that differ.
    pub(super) async fn correct(&self) -> Result<(), store::Error> {
        let suspects = std::mem::take(&mut *self.suspects.lock());
        if suspects.is_empty() {
            return Ok(());
        }
        let (revision, mut found) = self.kept.store.look_up(&suspects).await?;
        if revision != self.reached.borrow().revision {
            // Something was written since the last look; what differs by it comes with the next.
            *self.suspects.lock() = suspects;
            return Ok(());
        }
        let (vault, in_force) = (self.kept.keys.vault(), self.live.load_full());
        found.retain(|change| differs(&in_force.registry, change, &vault));
        if !found.is_empty() {
            tracing::warn!(records = found.len(), "{DIFFERED}");
            self.put_in_force(|registry| self.apply(registry, found));
        }
        Ok(())
    }
}

/// The records that the store has.
#[derive(Default)]
struct Seen {
    connections: HashSet<u64>,
    tokens: HashSet<uuid::Uuid>,
}

impl Seen {
    /// The keys of those that are in force and that the store does not have.
    fn missing(&self, registry: &Registry) -> Vec<RecordKey> {
        let connections = registry
            .stored()
            .filter(|connection| !self.connections.contains(&connection.fingerprint()))
            .map(|connection| {
                let (integration, name) = (connection.integration(), connection.name());
                RecordKey::Connection(integration.clone(), name.clone())
            });
        let ids = registry.holders().filter_map(|holder| holder.id());
        let tokens = ids.filter(|id| !self.tokens.contains(id)).map(RecordKey::Token);
        connections.chain(tokens).collect()
    }
}

/// Says whether something else is in force than what the store has.
fn differs(registry: &Registry, change: &RecordChange, vault: &Vault) -> bool {
    match change {
        RecordChange::Connection { integration, name, now } => {
            let known = registry.lookup(integration.as_str(), name.as_str());
            match (known, now) {
                _ if registry.is_declared(integration, name) => false,
                (Some(known), Ok(Some(record))) => !known.connection.is_of(record),
                (None, Ok(Some(_))) | (Some(_), _) => true,
                (None, _) => false,
            }
        }
        RecordChange::Token { now: Ok(Some(record)), .. } => !is_in_force(registry, record, vault),
        RecordChange::Token { id, .. } => registry.stored_holder(*id).is_some(),
        RecordChange::Authorities | RecordChange::Key { .. } => false,
    }
}

/// Says whether the token is in force as it should be: not at all where it was not written by a
/// holder of the master key, or where a declared one has its digest.
fn is_in_force(registry: &Registry, record: &TokenRecord, vault: &Vault) -> bool {
    let Some(holder) = registry.stored_holder(record.id) else {
        let is_declared = registry.holder(&record.digest).is_some_and(|known| known.id().is_none());
        return is_declared || vault.verify(&record.claims(), &record.mac).is_err();
    };
    let (caller, by_digest) = (&holder.caller, registry.holder(&record.digest));
    by_digest.is_some_and(|known| known.id() == Some(record.id))
        && *caller.name == *record.name
        && caller.reach == record.reach
        && caller.scopes == record.scopes
        && caller.expires_at == record.expires_at
}

/// The time to the next comparison. Instances that were started together drift apart.
fn interval() -> Duration {
    let jitter = random::bytes().map_or(0, u16::from_be_bytes);
    COMPARE_EVERY + COMPARE_JITTER * u32::from(jitter) / u32::from(u16::MAX)
}

const DIFFERED: &str = "what is in force here was not what the store has, though nothing was \
    noted as a change: records were changed by hand, or the database was put back. It is as the \
    store has it now";

const COMPARE_EVERY: Duration = Duration::from_mins(4);

const COMPARE_JITTER: Duration = Duration::from_mins(2);

/// More than these are better read as a whole.
const MAX_SUSPECTS: usize = 1000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions as _, Executor as _};
    use tempfile::TempDir;

    use super::*;
    use crate::clock::Clock;
    use crate::ledger::Metrics;
    use crate::model::caller::Reach;
    use crate::model::domain::AllowedDomain;
    use crate::model::name::{ConnectionName, IntegrationName};
    use crate::model::own_hosts::OwnHosts;
    use crate::model::permit::Terms;
    use crate::model::record::{ConnectionRecord, Detail, new_id};
    use crate::model::sealed::{Mac, Sealed};
    use crate::model::token::{Scopes, TokenDigest, generate};
    use crate::secret::Secret;
    use crate::state::{
        InForce, InterceptionCa, KeyLocation, Live, MasterKeys, Renewal, Settings, StoreAndKeys,
    };
    use crate::store::Store;
    use crate::upstream::{
        self, Guard, NameLookups, OwnListeners, SystemResolver, TlsClients, UpstreamRules,
    };

    /// Nothing declared, and settings that no test here looks at.
    fn nothing_in_force() -> InForce {
        let settings = upstream::Settings {
            resolve_timeout: Duration::ZERO,
            connect_timeout: Duration::ZERO,
            response_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            max_idle_per_origin: 0,
            http2: false,
            extra_roots: Vec::new(),
            allow_networks: Vec::new(),
            pins: std::collections::HashMap::new(),
        };
        let rules = UpstreamRules {
            generation: 0,
            guard: Guard::new(Vec::new(), OwnListeners::default()),
            tls: TlsClients::new(&settings).unwrap(),
            names: Arc::new(NameLookups::new(Arc::new(SystemResolver))),
            settings,
        };
        let settings = Settings {
            anonymous: None,
            own_hosts: OwnHosts::default(),
            allowed_methods: Vec::new(),
            allow: http::HeaderValue::from_static(""),
            terms: Terms::default(),
            blind_tunnels: false,
            max_body_bytes: 0,
            exchange_idle_timeout: Duration::ZERO,
            splice_idle_timeout: Duration::ZERO,
            tunnel_first_byte_timeout: Duration::ZERO,
            renewal: Renewal::default(),
        };
        InForce {
            registry: Registry::default(),
            settings: Arc::new(settings),
            management: Arc::default(),
            rules: Arc::new(rules),
            stale: Arc::default(),
        }
    }

    /// The persistence of a store of its own.
    async fn persistence(directory: &TempDir) -> Persistence {
        let (path, metrics) = (directory.path(), Arc::<Metrics>::default());
        let store = Store::open_sqlite(&path.join("keyferry.db")).await.unwrap();
        let location = KeyLocation { variable: None, file: path.join("master.key") };
        let keys = Arc::new(MasterKeys::open(location, &store).await.unwrap());
        let kept = StoreAndKeys { store: Arc::new(store), keys };
        let (certificate, clock) = (path.join("ca/cert.pem"), Clock::system());
        let ca =
            InterceptionCa::open(None, Some(&kept), certificate, clock, Arc::clone(&metrics)).await;
        let (ca, live) = (Arc::new(ca.unwrap()), Arc::new(Live::new(nothing_in_force())));
        Persistence::start(kept, ca, live, metrics, Duration::from_mins(5)).await.unwrap()
    }

    async fn keep_connection(persistence: &Persistence, name: &str) {
        let nothing = Sealed::default();
        let mut record = ConnectionRecord {
            options: Arc::default(),
            uuid: new_id().unwrap(),
            integration: IntegrationName::parse("acme").unwrap(),
            name: ConnectionName::parse(name).unwrap(),
            allowed_domain: Some(AllowedDomain::parse("api.example.com").unwrap()),
            detail: Detail::BearerToken,
            sealed: nothing,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            updated_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let vault = persistence.kept.keys.vault();
        record.sealed = vault.seal(&record.context(), &Secret::new("secret")).unwrap();
        persistence.kept.store.create_connection(&record).await.unwrap();
    }

    async fn keep_token(persistence: &Persistence, name: &str) -> TokenRecord {
        let mut record = TokenRecord {
            rules: crate::model::rules::Rules::default(),
            id: new_id().unwrap(),
            name: name.into(),
            reach: Reach::parse::<&str>("acme", None).unwrap(),
            scopes: Scopes::parse(["proxy"]).unwrap(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            expires_at: None,
            last_used_at: None,
            last_used_for: None,
            digest: TokenDigest::of(generate().unwrap().expose()).unwrap(),
            mac: Mac { key_id: "".into(), code: [0; 32] },
        };
        record.mac = persistence.kept.keys.vault().mac(&record.claims());
        persistence.kept.store.create_token(&record).await.unwrap();
        record
    }

    async fn by_hand(directory: &TempDir, sql: &'static str) {
        let file = directory.path().join("keyferry.db");
        let mut conn = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
        conn.execute(sql).await.unwrap();
    }

    /// The connections that can be used, and the tokens, by their names.
    fn in_force(persistence: &Persistence) -> (Vec<String>, Vec<String>) {
        let in_force = persistence.live.load_full();
        let usable = in_force.registry.stored().filter(|found| found.credential().is_some());
        let mut names: Vec<_> = usable.map(|found| found.name().to_string()).collect();
        let holders = in_force.registry.holders().filter(|holder| holder.id().is_some());
        let mut tokens: Vec<_> = holders.map(|holder| holder.caller.name.to_string()).collect();
        names.sort();
        tokens.sort();
        (names, tokens)
    }

    fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
        names.map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn what_was_changed_without_a_word_is_found_by_comparing() {
        let directory = TempDir::new().unwrap();
        let persistence = persistence(&directory).await;
        for name in ["gone", "kept", "aimed"] {
            keep_connection(&persistence, name).await;
        }
        for name in ["revoked", "valid", "widened"] {
            keep_token(&persistence, name).await;
        }
        persistence.look().await.unwrap();
        let everything = (names(["aimed", "gone", "kept"]), names(["revoked", "valid", "widened"]));
        assert_eq!(in_force(&persistence), everything);
        by_hand(
            &directory,
            "DELETE FROM connections WHERE name = 'gone'; \
             UPDATE connections SET allowed_domain = 'evil.example' WHERE name = 'aimed'; \
             DELETE FROM tokens WHERE name = 'revoked'; \
             UPDATE tokens SET scopes = 'proxy admin' WHERE name = 'widened'",
        )
        .await;
        persistence.look().await.unwrap();
        assert_eq!(in_force(&persistence), everything, "nothing was noted as a change");
        persistence.compare().await.unwrap();
        assert_eq!(persistence.suspects.lock().len(), 4);
        persistence.look().await.unwrap();
        assert_eq!(in_force(&persistence), (names(["kept"]), names(["valid"])));
        persistence.compare().await.unwrap();
        assert!(persistence.suspects.lock().is_empty(), "and that is all");
    }

    #[tokio::test]
    async fn what_was_written_during_a_comparison_is_no_difference() {
        let directory = TempDir::new().unwrap();
        let persistence = persistence(&directory).await;
        keep_connection(&persistence, "one").await;
        // Not in force yet, so it differs; then it comes in force before it is looked up.
        persistence.compare().await.unwrap();
        assert_eq!(persistence.suspects.lock().len(), 1);
        keep_connection(&persistence, "two").await;
        persistence.correct().await.unwrap();
        assert_eq!(persistence.suspects.lock().len(), 1, "looked up once everything is in force");
        persistence.look().await.unwrap();
        assert!(persistence.suspects.lock().is_empty());
        assert_eq!(in_force(&persistence).0, names(["one", "two"]));
    }
}
