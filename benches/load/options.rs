//! What the whole benchmark is asked to do.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use crate::{arguments::Arguments, contender::Contender, load::Load};

/// The choices of one run.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) keyferry: PathBuf,
    pub(crate) loads: Vec<Load>,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    /// Large bodies per measurement.
    pub(crate) transfers: u32,
    pub(crate) warm_up: f64,
}

impl Options {
    /// # Errors
    /// When an option is unknown or its value is wrong.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> io::Result<Self> {
        let arguments = Arguments::parse(arguments, &NAMES, &["quick"])?;
        let quick = arguments.has("quick");
        let conns = if arguments.has("connections") {
            arguments.list("connections")?
        } else if quick {
            vec![1, 32]
        } else {
            vec![1, 32, 256, 1000]
        };
        let mut loads: Vec<_> = conns.into_iter().map(Load::KeepAlive).collect();
        loads.extend([Load::Churn(32), Load::Tunnel(32), Load::TunnelChurn(32)]);
        loads.extend([Load::Download, Load::Upload]);
        if arguments.has("loads") {
            loads = arguments.list("loads")?;
        }
        let keyferry = arguments.text("keyferry").map(PathBuf::from);
        Ok(Self {
            contenders: choose(&arguments)?,
            keyferry: keyferry.map_or_else(default_keyferry, Ok)?,
            loads,
            rounds: arguments.value_or("rounds", if quick { 1 } else { 3 })?,
            seconds: arguments.value_or("seconds", if quick { 1.0 } else { 3.0 })?,
            transfers: arguments.value_or("transfers", if quick { 3 } else { 10 })?,
            warm_up: if quick { 0.3 } else { 1.0 },
        })
    }
}

/// Cargo's directory for what it builds, where the results go too.
///
/// # Errors
/// When this program is not where Cargo puts it.
pub(crate) fn target() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    // target/release/deps/load-…
    program.ancestors().nth(3).map(Path::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn choose(arguments: &Arguments) -> io::Result<Vec<Contender>> {
    let names = arguments.list::<String>("only")?;
    if let Some(unknown) = names.iter().find(|name| named(name).is_none()) {
        let all = Contender::ALL.map(Contender::name).join(", ");
        let what = format!("--only {unknown}: not a contender; there are {all}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let chosen = |contender: &Contender| {
        names.is_empty() || names.iter().any(|name| named(name) == Some(*contender))
    };
    Ok(Contender::ALL.into_iter().filter(chosen).collect())
}

fn named(name: &str) -> Option<Contender> {
    Contender::ALL.into_iter().find(|contender| contender.name() == name)
}

fn default_keyferry() -> io::Result<PathBuf> {
    // Cargo has just built it, if this is a bench of the same package.
    match option_env!("CARGO_BIN_EXE_keyferry") {
        Some(built) => Ok(PathBuf::from(built)),
        None => Ok(target()?.join("release").join("keyferry")),
    }
}

const NAMES: [&str; 7] =
    ["connections", "keyferry", "loads", "only", "rounds", "seconds", "transfers"];
