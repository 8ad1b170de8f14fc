//! The commands that print declared secrets: run when the configuration is read, and again before
//! what they have printed is no longer good.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered, StreamExt as _};
use jiff::Timestamp;

use crate::clock::Clock;
use crate::config::{CommandUse, Commanded, ConfigFault, ConfigFaults};
use crate::ledger::Metrics;
use crate::random;
use crate::secret::Secret;
use crate::secret::command::SecretCommand;

/// The commands of the configuration in force, and what they have printed. It is kept in memory
/// alone.
pub(super) struct SecretCommands {
    clock: Clock,
    printed: PrintedSecrets,
    running: FuturesUnordered<BoxFuture<'static, EndedRun>>,
    /// The number of the last run that was started in the background.
    last_run: u64,
}

/// The secrets that commands have printed, by command.
#[derive(Default)]
pub(super) struct PrintedSecrets(HashMap<Arc<SecretCommand>, Printed>);

/// The standing of one command.
#[derive(Clone)]
struct Printed {
    /// The places that name it.
    uses: Vec<Arc<CommandUse>>,
    /// The last secret that it printed; `None` once that is too old.
    secret: Option<Secret>,
    /// The time when that was printed.
    read_at: Timestamp,
    /// The time when it is run again; `None` while it runs, and for one that is not.
    due: Option<Timestamp>,
    /// The run in the background whose end counts. An earlier one would bring back what was
    /// printed before a reload.
    run: u64,
    /// Tells whether it is run again as soon as the present run has ended, because that began
    /// before a reload.
    runs_again: bool,
}

/// The end of a run in the background: the command, the number of the run, and what came of it.
type EndedRun = (Arc<SecretCommand>, u64, Result<Secret, String>);

impl fmt::Debug for SecretCommands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.printed.0.keys()).finish()
    }
}

impl PrintedSecrets {
    /// The last secret that `command` printed, if that is not too old.
    pub(super) fn secret_of(&self, command: &SecretCommand) -> Option<Secret> {
        self.0.get(command)?.secret.clone()
    }
}

impl SecretCommands {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            printed: PrintedSecrets::default(),
            running: FuturesUnordered::new(),
            last_run: 0,
        }
    }

    /// The secrets of `commanded`: those that are known and are renewed in the background, where
    /// their commands are due at once, and for all others what their commands print now. Nothing is
    /// put in force by it.
    ///
    /// # Errors
    /// A fault for each place whose command has failed, or has printed what can't be used there.
    pub(super) async fn read(&self, commanded: &Commanded) -> Result<PrintedSecrets, ConfigFaults> {
        // 1. What is known stays; the rest is run, a few at a time.
        let mut uses: HashMap<_, Vec<_>> = HashMap::new();
        for named in commanded.uses() {
            uses.entry(Arc::clone(&named.command)).or_default().push(Arc::clone(named));
        }
        let (known, unknown): (Vec<_>, Vec<_>) = uses
            .into_iter()
            .partition(|(command, uses)| self.renews(command) && self.fits(command, uses));
        let known = known.into_iter().filter_map(|(command, uses)| {
            let mut printed = self.printed.0.get(&command)?.clone();
            // It is run beside requests at once, since its secret may have been rotated, or its
            // failure's cause be gone; the reload does not depend on it.
            printed.runs_again = printed.due.is_none();
            printed.due = printed.due.map(|_later| self.clock.now());
            Some((command, Printed { uses, ..printed }))
        });
        let mut read = PrintedSecrets(known.collect());
        let runs = unknown
            .into_iter()
            .map(|(command, uses)| async move { (command.run(None).await, command, uses) });
        let mut ended = stream::iter(runs).buffer_unordered(MAX_RUNS);
        // 2. Each outcome counts at every place that names the command.
        let mut faults = Vec::new();
        while let Some((outcome, command, uses)) = ended.next().await {
            match outcome {
                Ok(secret) => {
                    faults.extend(broken_rules(&uses, &secret));
                    read.0.insert(Arc::clone(&command), self.printed(&command, uses, secret));
                }
                Err(error) => {
                    faults.extend(uses.iter().map(|named| named.fault(error.to_string())));
                }
            }
        }
        faults.sort_by(|one, two| one.place.cmp(&two.place));
        if faults.is_empty() {
            Ok(read)
        } else {
            Err(ConfigFaults { faults, warnings: Vec::new() })
        }
    }

    /// Takes what was read for the configuration that is in force now.
    pub(super) fn replace(&mut self, read: PrintedSecrets) {
        self.printed = read;
    }

    /// The last secret that `command` printed, if that is not too old.
    pub(super) fn secret_of(&self, command: &SecretCommand) -> Option<Secret> {
        self.printed.secret_of(command)
    }

    /// Runs commands when they are due, and returns when a secret has changed, or is known no more.
    /// Failures are counted. Cancel-safe.
    pub(super) async fn renew(&mut self, metrics: &Metrics) {
        loop {
            let now = self.clock.now();
            self.obey(now);
            if self.forget_the_old(now) {
                return;
            }
            self.start_due(now);
            let may_start = self.running.len() < MAX_RUNS;
            let all = self.printed.0.iter();
            let next = all.filter_map(|(command, it)| it.next(command, may_start)).min();
            let clock = self.clock.clone();
            let wait = async {
                match next {
                    Some(next) => clock.sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(finished) = self.running.next() => if self.note(finished, metrics) { return },
                () = wait => {}
            }
        }
    }

    /// Tells whether `command` is known, and renewed without being asked to.
    fn renews(&self, command: &SecretCommand) -> bool {
        command.ttl.is_some() && self.printed.0.contains_key(command)
    }

    /// Tells whether the secret that `command` has printed can be used at all of these places.
    fn fits(&self, command: &SecretCommand, uses: &[Arc<CommandUse>]) -> bool {
        let known = self.printed.0.get(command).and_then(|printed| printed.secret.as_ref());
        known.is_none_or(|secret| broken_rules(uses, secret).is_empty())
    }

    /// Starts the commands that are due, a few at a time; the others follow as these end.
    fn start_due(&mut self, now: Timestamp) {
        for (command, printed) in &mut self.printed.0 {
            if self.running.len() < MAX_RUNS && printed.due.is_some_and(|due| due <= now) {
                self.last_run += 1;
                (printed.due, printed.run) = (None, self.last_run);
                let (command, known, run) =
                    (Arc::clone(command), printed.secret.clone(), self.last_run);
                self.running.push(Box::pin(async move {
                    let ended = command.run(known.as_ref()).await;
                    (command, run, ended.map_err(|error| error.to_string()))
                }));
            }
        }
    }

    /// Notes the end of a run, and plans the next one. `true` when the secret is another one.
    fn note(&mut self, (command, run, ended): EndedRun, metrics: &Metrics) -> bool {
        let now = self.clock.now();
        // A reload may have taken it away, or run it itself.
        let known = self.printed.0.get(&command).filter(|printed| printed.run == run);
        let Some(printed) = known else { return false };
        let broken = |secret| match printed.uses.iter().find_map(|named| named.check(&secret).err())
        {
            Some(rule) => Err(rule),
            None => Ok(secret),
        };
        let ended = ended.and_then(broken);
        let (keys, ttl) = (printed.keys(), command.ttl.unwrap_or_default());
        let Some(printed) = self.printed.0.get_mut(&command) else { return false };
        match ended {
            Ok(secret) => {
                let same = |known: &Secret| known.expose() == secret.expose();
                let was_known = printed.secret.is_some();
                let has_changed = !printed.secret.as_ref().is_some_and(same);
                printed.plan(renewal(now, ttl), now);
                printed.read_at = now;
                printed.secret = Some(secret);
                if has_changed {
                    say_printed(&keys, was_known);
                }
                has_changed
            }
            Err(error) => {
                metrics.count_secret_command_failures(1);
                printed.plan(after(now, retry_delay(ttl)), now);
                let end = printed.end(&command).filter(|_| printed.secret.is_some());
                say_failed(&keys, &error, end);
                false
            }
        }
    }

    /// Puts nothing off because the clock was set back.
    fn obey(&mut self, now: Timestamp) {
        for (command, printed) in &mut self.printed.0 {
            let latest = command.ttl.and_then(|ttl| after(now, ttl));
            printed.read_at = printed.read_at.min(now);
            printed.due = printed.due.map(|due| latest.map_or(due, |latest| due.min(latest)));
        }
    }

    /// Forgets secrets that have not been renewed for twice their time. `true` if there was one.
    fn forget_the_old(&mut self, now: Timestamp) -> bool {
        let mut has_forgotten = false;
        for (command, printed) in &mut self.printed.0 {
            if printed.secret.is_some() && printed.end(command).is_some_and(|end| end <= now) {
                printed.secret = None;
                has_forgotten = true;
                tracing::error!(
                    keys = printed.keys(),
                    "a secret could not be renewed for twice its ttl and is forgotten: requests \
                     that need it are refused until its command succeeds"
                );
            }
        }
        has_forgotten
    }

    fn printed(
        &self,
        command: &SecretCommand,
        uses: Vec<Arc<CommandUse>>,
        secret: Secret,
    ) -> Printed {
        let now = self.clock.now();
        let due = command.ttl.and_then(|ttl| renewal(now, ttl));
        Printed { uses, secret: Some(secret), read_at: now, due, run: 0, runs_again: false }
    }
}

impl Printed {
    /// Plans the next run, which is at once where the last one began before a reload.
    fn plan(&mut self, due: Option<Timestamp>, now: Timestamp) {
        self.due = if std::mem::take(&mut self.runs_again) { Some(now) } else { due };
    }

    /// The time when the secret is too old; `None` for one that never is.
    fn end(&self, command: &SecretCommand) -> Option<Timestamp> {
        after(self.read_at, command.ttl?.saturating_mul(2))
    }

    /// The time when something is to be done with it; `may_start` tells whether there is room for a
    /// run.
    fn next(&self, command: &SecretCommand, may_start: bool) -> Option<Timestamp> {
        let end = self.secret.as_ref().and_then(|_known| self.end(command));
        self.due.filter(|_due| may_start).into_iter().chain(end).min()
    }

    /// The keys that name the command, as the log shows them.
    fn keys(&self) -> String {
        let keys: BTreeSet<_> = self.uses.iter().map(|named| named.key()).collect();
        keys.into_iter().collect::<Vec<_>>().join(", ")
    }
}

fn say_printed(keys: &str, was_known: bool) {
    if was_known {
        tracing::info!(keys, "a command has printed another secret, which is in force");
    } else {
        tracing::info!(keys, "a command has printed a secret again, which is in force");
    }
}

/// Says that a command has failed; its last secret is used until `end`, where it is known.
fn say_failed(keys: &str, error: &str, end: Option<Timestamp>) {
    if let Some(end) = end {
        tracing::warn!(
            keys, error, until = %end,
            "a secret could not be renewed: its last value is used until it is too old; see why \
             its command fails"
        );
    } else {
        tracing::error!(
            keys,
            error,
            "a secret is still not known, and requests that need it are refused: see why its \
             command fails"
        );
    }
}

fn broken_rules(uses: &[Arc<CommandUse>], secret: &Secret) -> Vec<ConfigFault> {
    let faults = uses.iter().filter_map(|named| Some(named.fault(named.check(secret).err()?)));
    faults.collect()
}

/// The time of the next run after a good one at `now`: when three quarters of its time are over or
/// somewhat more, so that commands of one time are not run all at once.
fn renewal(now: Timestamp, ttl: Duration) -> Option<Timestamp> {
    let share = random::bytes::<1>().map_or(0, |[byte]| u32::from(byte));
    after(now, ttl.mul_f64(EARLIEST_RENEWAL) + ttl.mul_f64(RENEWAL_JITTER) * share / 255)
}

/// The time from a failure to the next run.
fn retry_delay(ttl: Duration) -> Duration {
    (ttl / 10).clamp(SHORTEST_RETRY_DELAY, LONGEST_RETRY_DELAY)
}

fn after(time: Timestamp, delay: Duration) -> Option<Timestamp> {
    time.checked_add(delay).ok()
}

/// The most commands that are run at once.
const MAX_RUNS: usize = 8;
/// The part of its time after which a secret is renewed at the earliest.
const EARLIEST_RENEWAL: f64 = 0.75;
/// The part of its time over which renewals are spread.
const RENEWAL_JITTER: f64 = 0.15;
const SHORTEST_RETRY_DELAY: Duration = Duration::from_secs(1);
const LONGEST_RETRY_DELAY: Duration = Duration::from_mins(1);
