//! The load benchmark: Keyferry beside nginx, `HAProxy`, a bare pipe and no proxy at all.
//!
//! One program in several roles, because all of them must be pinned to a core of their own: the
//! `origin`, the `generate`d load, the `bare` yardstick, and, without a role, the run itself, which
//! starts them and the other contenders one after the other. The proxy has one core; the origin and
//! the load share the other. `make bench` runs it; docs/reference/benchmarks.md explains the
//! figures.

#![expect(clippy::disallowed_methods, reason = "a benchmark dials, spawns and times by itself")]
#![expect(
    clippy::indexing_slicing,
    reason = "buffers are read by hand; a panic ends a run, no more"
)]
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "it talks to whoever runs it")]
#![expect(clippy::unwrap_used, reason = "writing to a string does not fail")]

mod arguments;
mod bar;
mod bare;
mod board;
mod contender;
mod generator;
mod haproxy;
mod identity;
mod kept;
mod keyferry;
mod load;
mod meter;
mod mitmproxy;
mod nginx;
mod options;
mod origin;
mod process;
mod request;
mod results;
mod round;
mod sample;
mod squid;
mod table;
mod trust;
mod wire;

use std::{
    env,
    fs::{self, DirBuilder},
    future::Future,
    io,
    os::unix::fs::DirBuilderExt,
    process::ExitCode,
};

use crate::{
    arguments::Arguments,
    contender::{Contender, Site},
    options::Options,
    process::{LOAD_CORE, Process, find, pinned, version},
    results::{Entry, Results},
    sample::Sample,
};

fn main() -> ExitCode {
    match play() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Takes the role that the first argument names.
fn play() -> io::Result<ExitCode> {
    let mut arguments: Vec<_> = env::args().skip(1).collect();
    let role = arguments.first().cloned().unwrap_or_default();
    let parse =
        |options: &[&str]| Arguments::parse(arguments.iter().skip(1).cloned(), options, &[]);
    match role.as_str() {
        "bare" => block_on(bare::serve(&parse(&["authority", "origin"])?))?,
        "generate" => block_on(generator::run(&parse(&GENERATE)?))?,
        "origin" => block_on(origin::serve(&parse(&["directory"])?))?,
        // `cargo test --all-targets` runs every bench without arguments, to see that it starts.
        "" => println!("load: nothing to do; run it with `cargo bench --bench load`"),
        _ => {
            arguments.retain(|argument| argument != "--bench");
            return compare(&Options::parse(arguments)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Each role has one thread, as it has one core.
fn block_on(role: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(role)
}

/// The whole run.
fn compare(options: &Options) -> io::Result<ExitCode> {
    let obstacle = |contender: &Contender| contender.obstacle(&options.keyferry);
    let obstacles: Vec<_> = options.contenders.iter().filter_map(obstacle).collect();
    if !obstacles.is_empty() {
        return Err(io::Error::other(obstacles.join("\nload: ")));
    }
    let target = options::target()?.join("bench");
    let directory = target.join("load");
    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    identity::create(&directory)?;

    let mut command = pinned(LOAD_CORE, env::current_exe()?);
    command.args(["origin", "--directory"]).arg(&directory);
    let (process, origin) = Process::start_role(command, directory.join("origin.log"))?;
    let keyferry = options.keyferry.clone();
    let results = run(options, &Site { directory: directory.clone(), keyferry, origin }, &process);
    drop(process);
    fs::remove_dir_all(&directory)?;

    fs::write(target.join("load.json"), results.to_json(options, &versions(options)))?;
    report(&results, options);
    println!("\nEvery round by itself: bench/load.json in Cargo's target directory");
    Ok(if results.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Interleaves the contenders, so that a disturbance of the machine meets all of them alike.
fn run(options: &Options, site: &Site, origin: &Process) -> Results {
    let mut results = Results::default();
    let pairs = |load| {
        let those = options.contenders.iter().filter(move |contender| contender.takes(load));
        those.map(move |contender| (load, *contender))
    };
    for round in 1..=options.rounds {
        for (load, contender) in options.loads.iter().copied().flat_map(pairs) {
            let label = format!("{round} {:<15} {:<9}", load.name(), contender.name());
            let measure = || round::measure(contender, load, site, origin.id(), options);
            match undisturbed(&label, measure) {
                // A proxy is fast at refusing: with a single fault there is no figure.
                Ok(sample) if !sample.is_clean() => {
                    results.faults.push(format!("{label}{}", table::line(&sample)));
                }
                Ok(sample) => results.add(Entry { contender, load, round, sample }),
                Err(error) => results.faults.push(format!("{label}  FAILED: {error}")),
            }
        }
    }
    results
}

/// Measures again when somebody else kept the machine busy, and takes the quietest attempt.
fn undisturbed(label: &str, measure: impl Fn() -> io::Result<Sample>) -> io::Result<Sample> {
    let mut best: Option<(f64, Sample)> = None;
    for _ in 0..ATTEMPTS {
        let sample = measure().inspect_err(|error| println!("{label}  FAILED: {error}"))?;
        println!("{label}{}", table::line(&sample));
        let others = sample.lookup("others_busy").unwrap_or_default();
        if best.as_ref().is_none_or(|(least, _)| others < *least) {
            best = Some((others, sample));
        }
        if others < DISTURBED {
            break;
        }
    }
    let (_, best) = best.ok_or(io::ErrorKind::Other)?;
    Ok(best)
}

fn report(results: &Results, options: &Options) {
    println!("\nMedian of {} rounds; {} s each", options.rounds, options.seconds);
    println!("{}", versions(options).join("; "));
    print!("{}", table::render(results, options));
    let judgment = bar::judge(results, options);
    if !judgment.is_empty() {
        println!("\n### The bar\n\n{}", judgment.join("\n"));
    }
    for fault in &results.faults {
        println!("\n{fault}");
    }
}

fn versions(options: &Options) -> Vec<String> {
    let servers = ["nginx", "haproxy"].into_iter().filter_map(find);
    let mut versions: Vec<_> = servers.map(|server| version(&server, "-v")).collect();
    if options.contenders.contains(&Contender::Keyferry) {
        versions.push(version(&options.keyferry, "--version"));
    }
    versions
}

const GENERATE: [&str; 10] = [
    "authority",
    "form",
    "load",
    "load-side",
    "port",
    "proxy-side",
    "seconds",
    "target",
    "transfers",
    "warm-up",
];

/// How often one measurement is tried on a machine that is not quiet.
const ATTEMPTS: u32 = 3;

/// The share of a core that others may use without making a measurement doubtful.
const DISTURBED: f64 = 0.1;
