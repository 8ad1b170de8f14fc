//! The whole server, from its configuration to its last request.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::assembly::AssemblyError;
use super::bound::{address, addresses, bind_api, bind_proxy};
use super::ca::{OpenCaError, open_ca};
use super::data_dir::{AdminToken, DataDir, DataDirError};
use super::expiry_watch::ExpiryWatch;
use super::open_store::{OpenStoreError, open_store};
use super::reload::Reload;
use super::secret_commands::SecretCommands;
use super::span_exporter::{SpanExport, span_buffer};
use super::upkeep::Upkeep;
use super::webhook::Webhook;
use super::wiring::{self, assembly, rooms, shared};
use super::worker::{self, WorkerParts};
use crate::api::{Api, ApiState};
use crate::clock::Clock;
use crate::config::{Config, ConfigFaults, Environment, Options, PemError, StoreUrl};
use crate::console;
use crate::ledger::{FilterError, Ledger, LineFormat, LogBuffer, LogWriter, install};
use crate::listener::{BindError, ConnLimits, ConnTracker, Listener, tunnel_config};
use crate::proxy::SharedParts;
use crate::random;
use crate::state::{FollowError, InterceptionCa, Live, Registry};
use crate::tasks::Tasks;
use crate::upstream::UpstreamGauges;

/// A server that has bound its sockets and not yet served anybody.
#[derive(Debug)]
pub struct Server {
    started: Started,
    api_listener: Listener,
    api: Api,
    api_limits: ConnLimits,
    reload: Reload,
    expiry_watch: ExpiryWatch,
    upkeep: Upkeep,
    span_export: SpanExport,
    webhook: Webhook,
    stop: watch::Sender<bool>,
    draining: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
    signals: Signals,
    /// Written to until the very end, so dropped last.
    _log: LogWriter,
    _data_dir: DataDir,
}

/// The facts that a person wants to know once the server runs.
#[derive(Debug)]
pub struct Started {
    /// The URLs by which callers reach the proxy.
    pub proxy: Vec<String>,
    /// The URL of the API.
    pub api: String,
    /// The directory in which the server keeps its files.
    pub data_dir: PathBuf,
    /// The operator's token.
    pub admin_token: AdminToken,
    /// The file with the interception CA's certificate.
    pub ca: PathBuf,
    /// The store that connections and tokens are kept in.
    pub store: StoreUrl,
    /// The number of connections in force.
    pub connections: usize,
    /// The number of them that can't be used.
    pub unusable: usize,
    /// The first integration that has one, by its name.
    pub integration: Option<String>,
}

/// The reason why the server can't start. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum StartError {
    /// Commands that print secrets have failed, at these places.
    #[error(transparent)]
    Secrets(#[from] ConfigFaults),
    #[error("stopped before it could start")]
    Stopped,
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error("TLS to callers can't be set up: {0}")]
    Tls(#[source] rustls::Error),
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    #[error(transparent)]
    Ca(#[from] OpenCaError),
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Log(#[from] FilterError),
    #[error(transparent)]
    Chance(#[from] random::RandomError),
    #[error("a thread can't be started: {0}")]
    Thread(#[source] std::io::Error),
}

impl Server {
    /// Builds the rooms, binds the sockets and starts the workers.
    ///
    /// # Errors
    /// [`StartError`] tells why not; nothing is left running then.
    pub fn start(
        mut config: Config,
        options: Options,
        environment: Environment,
    ) -> Result<Self, StartError> {
        // 1. The signals, what commands print, the data directory, and the log.
        let mut signals = Signals::listen().map_err(StartError::Thread)?;
        let secrets = signals.read_secrets(&mut config)?;
        let data_dir = DataDir::open(&config.data_dir)?;
        let admin_token = data_dir.admin_token()?;
        let instance = instance_name()?;
        let ledger = Arc::new(open_ledger(&config, &instance)?);
        let log = ledger.sink.write_to(std::io::stderr()).map_err(StartError::Thread)?;
        // 2. The sockets.
        let (proxy_listeners, api_listener) = (bind_proxy(&config)?, bind_api(&config)?);
        let bound = proxy_listeners.iter().chain([&api_listener]);
        // 3. The configuration is in force, then the store's records.
        let assembly = assembly(bound, &ledger, &admin_token);
        let live = Arc::new(Live::new(assembly.assemble(&config, 0, None)?));
        let expiry_watch = ExpiryWatch::new(&live, &ledger.clock);
        let gauges = Arc::<UpstreamGauges>::default();
        let open = open(&config, &environment, &live, &ledger, &gauges);
        let (ca, upkeep) = signals.runtime.block_on(Box::pin(open))?;
        let span_export = SpanExport::new(&config.telemetry, &ledger, &live);
        // 4. The rooms.
        let (stop, stopped) = watch::channel(false);
        let tunnel_tls = tunnel_config(Arc::clone(ca.leaves()) as _).map_err(StartError::Tls)?;
        let mut shared = shared(&config, &live, stopped, ledger, (&instance, gauges), tunnel_tls);
        shared.refreshes = Some(upkeep.refreshes.clone());
        let draining = Arc::default();
        let rooms = ApiState {
            proxies: addresses(&proxy_listeners, &config).into(),
            ..rooms(&config, &upkeep, &ca, &shared, &draining)
        };
        let beside = console::router(wiring::console(&rooms, &config, &shared));
        Ok(Self {
            webhook: wiring::webhook(&upkeep, &rooms, &shared),
            started: started(
                &config,
                &data_dir,
                admin_token,
                (&proxy_listeners, &api_listener),
                &ca,
                &shared.live.load().registry,
            ),
            api_listener,
            api: Api::new(rooms, beside),
            api_limits: wiring::api_conn_limits(&config),
            expiry_watch,
            workers: start_workers(&config, &proxy_listeners, shared)?,
            reload: Reload::new(assembly, live, config, (options, environment), secrets),
            upkeep,
            span_export,
            stop,
            draining,
            signals,
            _log: log,
            _data_dir: data_dir,
        })
    }

    /// The facts that a person wants to know.
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// Serves until SIGTERM or SIGINT, then drains. SIGHUP reloads the configuration.
    pub fn run(mut self) -> Result<(), StartError> {
        let runtime = Arc::clone(&self.signals.runtime);
        let served = runtime.block_on(self.serve());
        let _nobody_listens = self.stop.send(true);
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!(
                    "a worker thread has panicked and its requests were lost: report it with the lines before"
                );
            }
        }
        tracing::info!("stopped");
        served
    }

    async fn serve(&mut self) -> Result<(), StartError> {
        // 1. The API is served and the store followed until the server is told to stop, and the
        // workers have ended.
        self.span_export.start();
        let (tasks, api) = (Tasks::default(), Arc::new(self.api.clone()));
        let conn_tracker = Arc::new(ConnTracker::new(Arc::default(), self.api_limits, 1));
        let listener = self.api_listener.try_clone().map_err(StartError::Thread)?;
        let serving = listener.serve(api, Arc::clone(&conn_tracker), tasks.clone());
        let (upkeep, expiry_watch) = (&self.upkeep, &self.expiry_watch);
        // The API goes on while requests are finished, or nobody could ask how things stand.
        let ending = async {
            self.signals.wait(&mut self.reload, upkeep).await;
            tracing::info!("shutting down: requests in flight are finished first");
            self.draining.store(true, Relaxed);
            upkeep.wind_down();
            let _nobody_listens = self.stop.send(true);
            while self.workers.iter().any(|worker| !worker.is_finished()) {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        tokio::select! {
            served = serving => served.map_err(StartError::Thread)?,
            () = conn_tracker.sweep() => {}
            () = Box::pin(upkeep.work()) => {}
            () = expiry_watch.run() => {}
            () = Box::pin(self.webhook.run()) => {}
            () = ending => {}
        }
        // 2. What the API is answering ends.
        conn_tracker.drain();
        let _cut = tokio::time::timeout(LAST_RESPONSES_TIMEOUT, tasks.finished()).await;
        // 3. Refreshes end, the last spans are sent, and the store learns what it would lose.
        let grace = self.reload.running.shutdown_grace;
        let errands = tokio::time::timeout(grace, Box::pin(self.upkeep.finish_errands()));
        let (spans, webhook) = (self.span_export.finish(grace), self.webhook.finish(grace));
        let (ended, (), ()) = tokio::join!(errands, spans, webhook);
        if ended.is_err() {
            let left = self.upkeep.errands.running();
            tracing::error!(
                left,
                "refreshes of tokens were cut off, because shutdown_grace was over: raise it"
            );
        }
        let _cut = tokio::time::timeout(LAST_RESPONSES_TIMEOUT, self.upkeep.close()).await;
        Ok(())
    }
}

/// The signals that count, and the main thread's runtime, which hears them. From when they are
/// listened for, none of them ends the process.
#[derive(Debug)]
struct Signals {
    runtime: Arc<Runtime>,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let (terminate, interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let hang_up = signal(SignalKind::hangup())?;
        drop(inside);
        Ok(Self { runtime: Arc::new(runtime), terminate, interrupt, hang_up })
    }

    /// Returns when the server is told to stop; reloads as often as it is told to, and renews what
    /// commands print.
    async fn wait(&mut self, reload: &mut Reload, upkeep: &Upkeep) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {}
                () = Box::pin(reload.renew_secrets()) => continue,
            }
            // A reload waits for commands, and must not keep the server from stopping.
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                () = Box::pin(reload.run()) => {}
            }
            // Records of the store may bear names that are no longer declared.
            if let Some(storage) = upkeep.storage() {
                storage.persistence.take_up_soon();
            }
        }
    }

    /// Runs the commands that print secrets, and puts these into `config`.
    fn read_secrets(&mut self, config: &mut Config) -> Result<SecretCommands, StartError> {
        let mut secrets = SecretCommands::new(Clock::system());
        let runtime = Arc::clone(&self.runtime);
        let read = runtime.block_on(async {
            tokio::select! {
                _ = self.terminate.recv() => Err(StartError::Stopped),
                _ = self.interrupt.recv() => Err(StartError::Stopped),
                read = secrets.read(&config.commanded) => Ok(read?),
            }
        })?;
        let completed = config.complete(&|command| read.secret_of(command));
        completed.map_err(|faults| ConfigFaults { faults, warnings: Vec::new() })?;
        secrets.replace(read);
        Ok(secrets)
    }
}

/// Opens the store, if there is one, and the CA, which may be in it.
async fn open(
    config: &Config,
    environment: &Environment,
    live: &Arc<Live>,
    ledger: &Ledger,
    gauges: &Arc<UpstreamGauges>,
) -> Result<(Arc<InterceptionCa>, Upkeep), StartError> {
    let kept = open_store(config, environment).await?;
    let (clock, metrics) = (ledger.clock.clone(), Arc::clone(&ledger.metrics));
    let ca = Arc::new(open_ca(config, kept.as_ref(), clock, metrics).await?);
    let upkeep = Upkeep::start(config, kept, &ca, live, ledger, gauges).await?;
    Ok((ca, upkeep))
}

/// Eight hexadecimal digits that tell this process from others.
fn instance_name() -> Result<String, random::RandomError> {
    Ok(format!("{:08x}", u32::from_be_bytes(random::bytes::<4>()?)))
}

/// The log, from here on, and the figures.
fn open_ledger(config: &Config, instance: &str) -> Result<Ledger, StartError> {
    let (sink, clock) = (Arc::new(LogBuffer::default()), Clock::system());
    let format = log_format(config);
    install(Arc::clone(&sink), format, clock.clone(), &config.log.level)?;
    let mut ledger = Ledger::new(sink, Arc::default(), clock, format, instance);
    ledger.spans = span_buffer(&config.telemetry, &ledger);
    ledger.trail = (config.store.url != StoreUrl::Memory).then(Arc::default);
    Ok(ledger)
}

fn log_format(config: &Config) -> LineFormat {
    let is_terminal = std::io::stderr().is_terminal();
    config.log.format.unwrap_or(if is_terminal { LineFormat::Pretty } else { LineFormat::Json })
}

fn start_workers(
    config: &Config,
    listeners: &[Listener],
    shared: SharedParts,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let parts = WorkerParts { shared, workers, grace: config.shutdown_grace };
    (0..workers)
        .map(|number| {
            let own: Result<_, _> = listeners.iter().map(Listener::try_clone).collect();
            worker::start(number, own.map_err(StartError::Thread)?, parts.clone())
        })
        .collect()
}

/// The facts that a person wants to know, with the connections in force counted.
fn started(
    config: &Config,
    data_dir: &DataDir,
    admin_token: AdminToken,
    (proxy, api): (&[Listener], &Listener),
    ca: &InterceptionCa,
    registry: &Registry,
) -> Started {
    let all = registry.integrations().flat_map(|name| registry.listed_in(name.as_str()));
    let unusable = all
        .map(|listing| &listing.connection)
        .filter(|connection| connection.credential().is_none() || connection.defect().is_some());
    Started {
        proxy: addresses(proxy, config),
        api: address(api),
        data_dir: data_dir.path().to_owned(),
        admin_token,
        ca: ca.certificate().to_owned(),
        store: config.store.url.clone(),
        connections: registry.connections(),
        unusable: unusable.count(),
        integration: registry.integrations().min().map(ToString::to_string),
    }
}

/// The interval at which the main thread looks whether the workers have ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The time that the API may take for what it is answering when all else has ended.
const LAST_RESPONSES_TIMEOUT: Duration = Duration::from_secs(1);
