//! What processes cost: processor time and memory, from `/proc`.

use std::{fs, io, path::Path, time::Duration};

/// Some processes, all their threads included.
#[derive(Debug)]
pub(crate) struct Meter(Vec<u32>);

/// Processor time used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// By the scheduler's own clock, over the threads that still live.
    exact: Duration,
    /// In the kernel's clock ticks, over all threads there ever were.
    user: Duration,
    system: Duration,
}

impl Meter {
    /// Meters these processes and no others.
    pub(crate) const fn new(processes: Vec<u32>) -> Self {
        Self(processes)
    }

    /// What they have used so far. A process that is gone counts nothing.
    pub(crate) fn read(&self) -> Reading {
        let mut sum = Reading::default();
        for process in &self.0 {
            let reading = read_process(*process).unwrap_or_default();
            sum.exact += reading.exact;
            sum.user += reading.user;
            sum.system += reading.system;
        }
        sum
    }

    /// Their largest resident size so far, one by one, in bytes.
    pub(crate) fn peaks(&self) -> Vec<u64> {
        self.0.iter().map(|process| peak(*process).unwrap_or_default()).collect()
    }
}

impl Reading {
    /// Time in the program and time in the kernel, since `earlier`.
    ///
    /// The sum is exact and the split is as good as the kernel's ticks.
    pub(crate) fn since(&self, earlier: &Self) -> (Duration, Duration) {
        let user = self.user.saturating_sub(earlier.user);
        let system = self.system.saturating_sub(earlier.system);
        let ticked = user + system;
        let exact = self.exact.saturating_sub(earlier.exact);
        // Far apart, a thread must have ended and taken its exact account along.
        let total = if ticked > exact + TICK * 3 { ticked } else { exact };
        if ticked.is_zero() {
            return (total, Duration::ZERO);
        }
        let user = total.mul_f64(user.as_secs_f64() / ticked.as_secs_f64());
        (user, total.saturating_sub(user))
    }
}

/// Processor time that the whole machine has used so far, and what was stolen from it.
///
/// What is left of it after the contender, the origin and the generator is somebody else's, and
/// says how far a measurement can be trusted.
pub(crate) fn machine() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    let ticks = fields.map(|field| field.parse::<u32>().unwrap_or_default());
    let busy = ticks.enumerate().filter(|(at, _)| !IDLE.contains(at) && *at < GUEST);
    busy.map(|(_, ticks)| TICK * ticks).sum()
}

/// A process and its direct children, itself first.
pub(crate) fn family(parent: u32) -> io::Result<Vec<u32>> {
    let mut family = vec![parent];
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Processes come and go while we look.
        let Ok(fields) = stat(process) else { continue };
        if fields.get(PARENT).and_then(|field| field.parse().ok()) == Some(parent) {
            family.push(process);
        }
    }
    Ok(family)
}

fn read_process(process: u32) -> io::Result<Reading> {
    let fields = stat(process)?;
    let ticks = |at: usize| {
        let ticks = fields.get(at).and_then(|field| field.parse::<u32>().ok());
        TICK * ticks.unwrap_or_default()
    };
    let mut reading = Reading { user: ticks(USER), system: ticks(SYSTEM), ..Reading::default() };
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let nanos = text.split(' ').next().and_then(|field| field.parse().ok());
        reading.exact += Duration::from_nanos(nanos.unwrap_or_default());
    }
    Ok(reading)
}

/// The fields after the program's name, which may itself contain spaces.
fn stat(process: u32) -> io::Result<Vec<String>> {
    let text = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"))?;
    let (_, fields) = text.rsplit_once(')').unwrap_or_default();
    Ok(fields.split_ascii_whitespace().map(ToOwned::to_owned).collect())
}

fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok().map(|kibibytes: u64| kibibytes * 1024)
}

/// The unit of `/proc/PID/stat`; the kernel shows every program a hundred a second.
const TICK: Duration = Duration::from_millis(10);

const PARENT: usize = 1;
const USER: usize = 11;
const SYSTEM: usize = 12;

/// Of `/proc/stat`: idle, and idle for want of a disk.
const IDLE: [usize; 2] = [3, 4];
/// From here on it repeats what stood before.
const GUEST: usize = 8;
