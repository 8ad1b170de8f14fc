//! The part of an instance that refreshes tokens, within the test's own process: its clock is moved
//! by hand, so that hours pass in an instant.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keyferry::app::Assembly;
use keyferry::clock::Clock;
use keyferry::config::{Environment, Options, load};
use keyferry::ledger::Metrics;
use keyferry::model::domain::AllowedDomain;
use keyferry::model::name::{ClientName, ConnectionName, IntegrationName};
use keyferry::model::oauth::client::{AuthMethod, ClientRecord};
use keyferry::model::oauth::endpoint::EndpointTemplate;
use keyferry::model::oauth::grant::{Grant, GrantType};
use keyferry::model::oauth::profile::Profile;
use keyferry::model::oauth::tokens::TokenSet;
use keyferry::model::record::{ConnectionRecord, Detail, new_id};
use keyferry::model::sealed::Sealed;
use keyferry::oauth::{Cause, Manager, Provider, RefreshHandle, RefreshRequest, TokenFailure};
use keyferry::secret::Secret;
use keyferry::state::{InterceptionCa, KeyLocation, Live, MasterKeys, Persistence, StoreAndKeys};
use keyferry::store::Store;
use keyferry::tasks::Tasks;
use keyferry::upstream::{NameLookups, OwnListeners, SystemResolver, Upstream};
use uuid::Uuid;

use super::world::World;

/// An instance. Dropped, it is gone as if it had been killed.
pub(crate) struct Instance {
    pub(crate) clock: Clock,
    pub(crate) persistence: Arc<Persistence>,
    pub(crate) refreshes: RefreshHandle,
    working: tokio::task::JoinHandle<()>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.working.abort();
    }
}

impl Instance {
    /// Starts an instance with the settings of `world`, over the database in `file`.
    pub(crate) async fn start(world: &World, file: &Path, clock: &Clock) -> Self {
        // 1. What is in force.
        let options = Options { config: Some(world.write()), ..Options::default() };
        let environment = Environment::from_iter::<[(&str, &str); 0]>([]);
        let config = load(&options, &environment).unwrap().config;
        let metrics = Arc::new(Metrics::new());
        let names = Arc::new(NameLookups::new(Arc::new(SystemResolver)));
        let assembly = Assembly {
            metrics: Arc::clone(&metrics),
            own: OwnListeners::default(),
            names,
            admin: None,
            clock: clock.clone(),
        };
        let live = Arc::new(Live::new(assembly.assemble(&config, 0, None).unwrap()));
        // 2. The store.
        let store = Store::open_sqlite(file).await.unwrap();
        let variable = Some(Secret::new(format!("k:{}=", "A".repeat(43))));
        let location = KeyLocation { variable, file: world.path("master.key") };
        let keys = MasterKeys::open(location, &store).await.unwrap();
        let kept = StoreAndKeys { store: Arc::new(store), keys: Arc::new(keys) };
        let certificate = world.path("instance.pem");
        let ca = InterceptionCa::open(None, None, certificate, clock.clone(), Arc::clone(&metrics))
            .await;
        let persistence = Persistence::start(
            kept,
            Arc::new(ca.unwrap()),
            Arc::clone(&live),
            Arc::clone(&metrics),
            Duration::from_mins(5),
        );
        let persistence = Arc::new(persistence.await.unwrap());
        // 3. Refreshes.
        let tasks = Tasks::default();
        let provider = Provider::new(
            Upstream::new(Arc::default(), tasks.clone(), 1),
            Arc::clone(&live),
            Arc::clone(&persistence),
            clock.clone(),
        );
        let (mut manager, refreshes) = Manager::new(
            Arc::new(provider),
            Arc::clone(&persistence),
            live,
            metrics,
            clock.clone(),
            tasks,
        );
        let follower = Arc::clone(&persistence);
        let working = tokio::spawn(async move {
            tokio::join!(follower.follow(), manager.work());
        });
        Self { clock: clock.clone(), persistence, refreshes, working }
    }

    fn seal(&self, context: keyferry::model::sealed::Context<'_>, secret: &Secret) -> Sealed {
        self.persistence.vault().seal(&context, secret).unwrap()
    }

    /// Keeps a client with this profile, whose token endpoint is at `host`.
    pub(crate) async fn client(&self, host: &str, profile: Profile) -> ClientRecord {
        let (uuid, now) = (new_id().unwrap(), self.clock.now());
        let mut record = ClientRecord {
            uuid,
            integration: acme(),
            name: ClientName::parse(&uuid.to_string()).unwrap(),
            client_id: "client".into(),
            auth_url: None,
            token_url: EndpointTemplate::parse(&format!("https://{host}/token")).unwrap(),
            default_scopes: "".into(),
            grant_type: GrantType::AuthorizationCode,
            auth_method: AuthMethod::ClientSecretPost,
            profile: Box::new(profile),
            created_by: "admin".into(),
            sealed: empty(),
            created_at: now,
            updated_at: now,
        };
        record.sealed = self.seal(record.context(), &Secret::new("client-secret"));
        self.persistence.store().create_client(&record).await.unwrap();
        record
    }

    /// Keeps a connection of that client with this refresh token.
    pub(crate) async fn connection(
        &self,
        client: &ClientRecord,
        name: &str,
        refresh_token: &str,
    ) -> Connected {
        let (uuid, now) = (new_id().unwrap(), self.clock.now());
        let grant = Grant {
            refresh_token_life: None,
            client: client.uuid,
            subdomain: None,
            grant_type: client.grant_type,
            created_by: "admin".into(),
            scopes: "".into(),
            authorized_at: now,
            generation: 1,
            lapse: None,
            injection: client.injection(),
            refresh_on_status: client.profile.refresh_on_status.clone(),
        };
        let tokens = TokenSet {
            access_token: Secret::new("access-token"),
            refresh_token: Some(Secret::new(refresh_token)),
            response_body: Secret::new("{}"),
            token_type: "Bearer".into(),
            scope: "".into(),
            issuer: client.token_url.resolve(None).unwrap().origin().to_string().into(),
            issued_at: now,
            expires_at: Some(now.checked_add(SignedDuration::from_hours(1)).unwrap()),
        };
        let mut record = ConnectionRecord {
            options: Arc::default(),
            uuid,
            integration: acme(),
            name: ConnectionName::parse(name).unwrap(),
            allowed_domain: Some(AllowedDomain::parse("api.example.com").unwrap()),
            detail: Detail::OAuth(Box::new(grant)),
            sealed: empty(),
            created_at: now,
            updated_at: now,
        };
        record.sealed = self.seal(record.context(), &tokens.pack());
        let revision = self.persistence.store().create_connection(&record).await.unwrap();
        assert!(self.persistence.wait_until_in_force(revision).await);
        Connected { uuid, name: record.name }
    }

    /// The connection as it is stored, and its tokens.
    pub(crate) async fn stored(&self, connected: &Connected) -> (Grant, TokenSet) {
        let record = self.persistence.store().connection_by_uuid(connected.uuid).await;
        let record = record.unwrap().unwrap();
        let opened = self.persistence.vault().open(&record.context(), &record.sealed).unwrap();
        (record.grant().unwrap().clone(), TokenSet::unpack(&opened).unwrap())
    }

    /// Asks for other tokens, as a request does that needs them.
    pub(crate) async fn refresh(&self, connected: &Connected) -> Result<(), TokenFailure> {
        self.refresh_because(connected, Cause::Use).await
    }

    /// Asks for other tokens because of this.
    pub(crate) async fn refresh_because(
        &self,
        connected: &Connected,
        cause: Cause,
    ) -> Result<(), TokenFailure> {
        let (grant, _) = self.stored(connected).await;
        let request = RefreshRequest {
            uuid: connected.uuid,
            integration: acme(),
            name: connected.name.clone(),
            newer_than: grant.generation,
            cause,
        };
        self.refreshes.refresh(request).await
    }

    /// The time that has passed since then, in seconds.
    pub(crate) fn seconds_since(&self, then: Timestamp) -> i64 {
        self.clock.now().duration_since(then).as_secs()
    }
}

/// A connection that an [`Instance`] keeps.
#[derive(Clone, Debug)]
pub(crate) struct Connected {
    pub(crate) uuid: Uuid,
    pub(crate) name: ConnectionName,
}

fn acme() -> IntegrationName {
    IntegrationName::parse("acme").unwrap()
}

fn empty() -> Sealed {
    Sealed { key_id: "".into(), wrapped: Box::new([]), payload: Box::new([]) }
}
