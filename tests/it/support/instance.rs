//! An instance within the test's own process, which has a data plane and refreshes tokens: its
//! clock is moved by hand, so that hours pass in an instant.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keyferry::app::Assembly;
use keyferry::clock::Clock;
use keyferry::config::{Environment, Options, load};
use keyferry::http1::HeadLimits;
use keyferry::ledger::{Ledger, LineFormat, Metrics};
use keyferry::listener::{ConnLimits, ListenAddr, Listener, tunnel_config};
use keyferry::model::aws::access::{AwsAccess, AwsSecrets};
use keyferry::model::domain::AllowedDomain;
use keyferry::model::name::{ClientName, ConnectionName, IntegrationName};
use keyferry::model::oauth::client::{AuthMethod, ClientRecord};
use keyferry::model::oauth::endpoint::EndpointTemplate;
use keyferry::model::oauth::grant::{Grant, GrantType};
use keyferry::model::oauth::profile::Profile;
use keyferry::model::oauth::tokens::TokenSet;
use keyferry::model::record::{ConnectionRecord, Detail, new_id};
use keyferry::model::sealed::Sealed;
use keyferry::oauth::{
    Cause, Manager, Provider, RefreshHandle, RefreshRequest, TokenFailure, refresh_token_life,
};
use keyferry::proxy::{SharedParts, Via};
use keyferry::secret::Secret;
use keyferry::state::{InterceptionCa, KeyLocation, Live, MasterKeys, Persistence, StoreAndKeys};
use keyferry::store::{Revision, Store};
use keyferry::tasks::Tasks;
use keyferry::upstream::{NameLookups, OwnListeners, SystemResolver, Upstream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::ask::Ask;
use super::provider;
use super::raw::{Answer, Raw};
use super::tunnel::API;
use super::world::World;

/// An instance. Dropped, it is gone as if it had been killed.
pub(crate) struct Instance {
    pub(crate) clock: Clock,
    pub(crate) persistence: Arc<Persistence>,
    pub(crate) refreshes: RefreshHandle,
    /// The refreshes in flight.
    pub(crate) in_flight: Tasks,
    /// The address at which callers reach it.
    address: String,
    working: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.working.abort();
    }
}

impl Instance {
    /// Starts an instance with the settings of `world`, and the store in the world's directory.
    pub(crate) async fn start(world: &World, clock: &Clock) -> Self {
        let store = Store::open_sqlite(&world.path("keyferry.db")).await.unwrap();
        Self::over(store, world, clock).await
    }

    /// Starts an instance over this store; all have the same key.
    pub(crate) async fn over(store: Store, world: &World, clock: &Clock) -> Self {
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
        let variable = Some(Secret::new(format!("k:{}=", "A".repeat(43))));
        let location = KeyLocation { variable, file: world.path("master.key") };
        let keys = MasterKeys::open(location, &store).await.unwrap();
        let kept = StoreAndKeys { store: Arc::new(store), keys: Arc::new(keys) };
        let certificate = world.path("instance.pem");
        let ca = InterceptionCa::open(None, None, certificate, clock.clone(), Arc::clone(&metrics))
            .await;
        let ca = Arc::new(ca.unwrap());
        let persistence = Persistence::start(
            kept,
            Arc::clone(&ca),
            Arc::clone(&live),
            Arc::clone(&metrics),
            Duration::from_mins(5),
        );
        let persistence = Arc::new(persistence.await.unwrap());
        // 3. Refreshes.
        let in_flight = Tasks::default();
        let provider = Provider::new(
            Upstream::new(Arc::default(), Tasks::default(), 1),
            Arc::clone(&live),
            Some(Arc::clone(&persistence)),
            clock.clone(),
        );
        let (mut manager, refreshes) = Manager::new(
            Arc::new(provider),
            Some(Arc::clone(&persistence)),
            Arc::clone(&live),
            Arc::clone(&metrics),
            clock.clone(),
            in_flight.clone(),
        );
        // 4. The data plane.
        let (stop, stopped) = watch::channel(false);
        let format = LineFormat::Json;
        let ledger = Ledger::new(Arc::default(), metrics, clock.clone(), format, "instance");
        let shared = SharedParts {
            live,
            stop: stopped,
            ledger: Arc::new(ledger),
            conn_limit: Arc::default(),
            conn_limits: CONN_LIMITS,
            gauges: Arc::default(),
            via: Via::new("instance"),
            tunnel_tls: tunnel_config(Arc::clone(ca.leaves()) as _).unwrap(),
            refreshes: Some(refreshes.clone()),
            replay_memory: Arc::default(),
        };
        let proxy = Arc::new(shared.proxy(Tasks::default(), Tasks::default(), 1));
        let any_port = ListenAddr::Tcp("127.0.0.1:0".parse().unwrap());
        let listener = Listener::bind(&any_port, None).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let conn_tracker = Arc::clone(&proxy.conn_tracker);
        let serving = listener.serve(proxy, conn_tracker, Tasks::default());
        let follower = Arc::clone(&persistence);
        let working = tokio::spawn(async move {
            let (_never, ..) = tokio::join!(serving, follower.follow(), manager.work());
        });
        let clock = clock.clone();
        Self { clock, persistence, refreshes, in_flight, address, working, _stop: stop }
    }

    /// Sends one request on a conn of its own.
    pub(crate) async fn send(&self, ask: &Ask) -> Answer {
        Raw::tcp(&self.address).await.send(ask).await
    }

    /// Lets time pass, by its clock and for everything in this process that waits.
    pub(crate) async fn pass(&self, seconds: u32) {
        self.clock.advance(seconds.into());
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds.into())).await;
        tokio::time::resume();
    }

    fn seal(&self, context: keyferry::model::sealed::Context<'_>, secret: &Secret) -> Sealed {
        self.persistence.vault().seal(&context, secret).unwrap()
    }

    /// Keeps a client with this profile, whose token endpoint is at `host`.
    pub(crate) async fn client(&self, host: &str, profile: Profile) -> ClientRecord {
        self.client_of(host, ("client", "client-secret"), profile).await
    }

    /// Keeps such a client with this id and secret.
    pub(crate) async fn client_of(
        &self,
        host: &str,
        (client_id, secret): (&str, &str),
        profile: Profile,
    ) -> ClientRecord {
        let (uuid, now) = (new_id().unwrap(), self.clock.now());
        let mut record = ClientRecord {
            uuid,
            integration: acme(),
            name: ClientName::parse(&uuid.to_string()).unwrap(),
            client_id: client_id.into(),
            auth_url: None,
            token_url: EndpointTemplate::parse(&format!("https://{host}/token")).unwrap(),
            default_scopes: "".into(),
            grant_type: GrantType::AuthorizationCode,
            auth_method: AuthMethod::ClientSecretPost,
            profile: Box::new(profile),
            created_by: "admin".into(),
            sealed: Sealed::default(),
            created_at: now,
            updated_at: now,
        };
        record.sealed = self.seal(record.context(), &Secret::new(secret));
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
        let now = self.clock.now();
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
        self.authorize(client, name, &tokens).await
    }

    /// Keeps a connection of that client with these tokens.
    pub(crate) async fn authorize(
        &self,
        client: &ClientRecord,
        name: &str,
        tokens: &TokenSet,
    ) -> Connected {
        let (uuid, now) = (new_id().unwrap(), self.clock.now());
        let grant = Grant {
            refresh_token_life: refresh_token_life(tokens, &client.profile, None),
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
        let mut record = ConnectionRecord {
            options: Arc::default(),
            uuid,
            integration: acme(),
            name: ConnectionName::parse(name).unwrap(),
            allowed_domain: Some(AllowedDomain::parse(API).unwrap()),
            detail: Detail::OAuth(Box::new(grant)),
            sealed: Sealed::default(),
            created_at: now,
            updated_at: now,
        };
        record.sealed = self.seal(record.context(), &tokens.pack());
        let revision = self.persistence.store().create_connection(&record).await.unwrap();
        assert!(self.persistence.wait_until_in_force(revision).await);
        Connected { uuid, name: record.name }
    }

    /// Keeps a connection to AWS with these keys, for `domain`.
    pub(crate) async fn sign(
        &self,
        name: &str,
        domain: &str,
        access: AwsAccess,
        secrets: &AwsSecrets,
    ) -> (Connected, Revision) {
        let (uuid, now) = (new_id().unwrap(), self.clock.now());
        let mut record = ConnectionRecord {
            options: Arc::default(),
            uuid,
            integration: acme(),
            name: ConnectionName::parse(name).unwrap(),
            allowed_domain: Some(AllowedDomain::parse(domain).unwrap()),
            detail: Detail::AwsSigV4(Box::new(access)),
            sealed: Sealed::default(),
            created_at: now,
            updated_at: now,
        };
        record.sealed = self.seal(record.context(), &secrets.pack());
        let revision = self.persistence.store().create_connection(&record).await.unwrap();
        (Connected { uuid, name: record.name }, revision)
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

/// The tokens of a provider's answer, of which the access token lives from `issued_at` for this
/// time.
pub(crate) fn tokens_of(
    provider: &provider::Provider,
    issued_at: Timestamp,
    lifetime: Duration,
) -> TokenSet {
    let answer = provider.issue();
    let text = |name: &str| Secret::new(answer[name].as_str().unwrap());
    TokenSet {
        access_token: text("access_token"),
        refresh_token: Some(text("refresh_token")),
        response_body: Secret::new(answer.to_string()),
        token_type: "".into(),
        scope: "".into(),
        issuer: provider.url("").into(),
        issued_at,
        expires_at: Some(issued_at + lifetime),
    }
}

const CONN_LIMITS: ConnLimits = ConnLimits {
    head: HeadLimits { max_bytes: 65_536, max_fields: 100 },
    head_timeout: Duration::from_mins(1),
    idle_conn_timeout: Duration::from_mins(1),
    stalled_write_timeout: Duration::from_mins(1),
    max_conns: 1000,
    max_conns_per_caller: 1000,
    max_unauthenticated_conns: 1000,
};

fn acme() -> IntegrationName {
    IntegrationName::parse("acme").unwrap()
}
