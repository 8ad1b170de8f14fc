//! Who is compared, and how each is started for the same job: pick a credential by the
//! connection's name, set it, and forward over verified TLS that is kept alive.

use std::{
    env, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{
    haproxy, keyferry,
    load::Load,
    mitmproxy, nginx,
    process::{self, PROXY_CORE, Process, pinned},
    request::Form,
    squid,
};

/// Where a run takes place.
#[derive(Debug)]
pub(crate) struct Site {
    /// Holds certificates, configurations and logs.
    pub(crate) directory: PathBuf,
    /// Keyferry's program.
    pub(crate) keyferry: PathBuf,
    /// The origin's address.
    pub(crate) origin: SocketAddr,
}

/// One who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Bare,
    Direct,
    Haproxy,
    Keyferry,
    /// Keyferry with a store of a hundred connections.
    KeyferryFew,
    /// Keyferry with a store of a hundred thousand.
    KeyferryMany,
    /// Only for tunnels.
    Mitmproxy,
    Nginx,
    NginxLog,
    /// Only for tunnels.
    Squid,
}

/// A contender that is ready for requests.
#[derive(Debug)]
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// `None` when the origin is asked directly.
    pub(crate) process: Option<Process>,
    /// When it was started.
    pub(crate) begun: Option<Instant>,
}

impl Contender {
    /// All of them, in the order of the tables.
    pub(crate) const ALL: [Self; 10] = [
        Self::Direct,
        Self::Bare,
        Self::Nginx,
        Self::NginxLog,
        Self::Haproxy,
        Self::Squid,
        Self::Mitmproxy,
        Self::Keyferry,
        Self::KeyferryFew,
        Self::KeyferryMany,
    ];

    /// The name by which the command line and the tables know it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Direct => "direct",
            Self::Haproxy => "haproxy",
            Self::Keyferry => "keyferry",
            Self::KeyferryFew => "keyferry/100",
            Self::KeyferryMany => "keyferry/100k",
            Self::Mitmproxy => "mitmproxy",
            Self::Nginx => "nginx",
            Self::NginxLog => "nginx+log",
            Self::Squid => "squid",
        }
    }

    /// How it wants to be asked under `load`.
    pub(crate) const fn form(self, load: Load) -> Form {
        match self {
            Self::Bare | Self::Mitmproxy | Self::Squid => Form::Fixed,
            // The tunnel has shown the token.
            Self::Keyferry if load.is_tunnelled() => Form::Reverse,
            Self::Direct => Form::Direct,
            Self::Haproxy | Self::Nginx | Self::NginxLog => Form::Reverse,
            Self::Keyferry | Self::KeyferryFew | Self::KeyferryMany => Form::Absolute,
        }
    }

    /// Whether it is measured under `load`: not everybody opens tunnels, and how many connections
    /// there are is told by one load.
    pub(crate) fn takes(self, load: Load) -> bool {
        if load.is_tunnelled() {
            return matches!(self, Self::Bare | Self::Keyferry | Self::Mitmproxy | Self::Squid);
        }
        match self {
            Self::Mitmproxy | Self::Squid => false,
            Self::KeyferryFew | Self::KeyferryMany => load == Load::KeepAlive(32),
            _ => true,
        }
    }

    /// The port of the origin, as it is asked for.
    pub(crate) const fn port(self, site: &Site) -> u16 {
        match self {
            Self::Squid => site.origin.port(),
            _ => 443,
        }
    }

    /// What is missing for it to take part, and what to do about it.
    pub(crate) fn obstacle(self, keyferry: &Path) -> Option<String> {
        let program = match self {
            Self::Bare | Self::Direct => return None,
            Self::Haproxy => "haproxy",
            Self::Mitmproxy => "mitmdump",
            Self::Squid => "squid",
            Self::Nginx | Self::NginxLog => "nginx",
            _ if keyferry.is_file() => return None,
            Self::Keyferry | Self::KeyferryFew | Self::KeyferryMany => {
                return Some(format!(
                    "keyferry: no program at {}; run `cargo build --release`, or say where it is \
                     with --keyferry, or leave it out with --only",
                    keyferry.display(),
                ));
            }
        };
        let advice = format!("{program} is not installed; install it, or leave it out with --only");
        process::find(program).is_none().then_some(advice)
    }

    /// Starts it; it accepts conns when this returns.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn start(self, site: &Site) -> io::Result<Running> {
        let log = site.directory.join(format!("{}.log", self.name()));
        let (command, address) = match self {
            Self::Bare => {
                let (process, address) = Process::start_role(bare(site)?, log)?;
                return Ok(Running { address, process: Some(process), begun: None });
            }
            Self::Direct => {
                return Ok(Running { address: site.origin, process: None, begun: None });
            }
            Self::Haproxy => haproxy::prepare(site)?,
            Self::Keyferry => keyferry::prepare(site, None)?,
            Self::KeyferryFew => keyferry::prepare(site, Some(FEW))?,
            Self::KeyferryMany => keyferry::prepare(site, Some(MANY))?,
            Self::Mitmproxy => mitmproxy::prepare(site)?,
            Self::Squid => squid::prepare(site)?,
            Self::Nginx => nginx::prepare(site, "off")?,
            Self::NginxLog => nginx::prepare(site, nginx::ACCESS_LOG)?,
        };
        let begun = Instant::now();
        let mut process = Process::start(command, log)?;
        process.await_listening(address)?;
        Ok(Running { address, process: Some(process), begun: Some(begun) })
    }
}

fn bare(site: &Site) -> io::Result<std::process::Command> {
    let mut command = pinned(PROXY_CORE, env::current_exe()?);
    command.args(["bare", "--origin", &site.origin.to_string(), "--authority"]);
    command.arg(site.directory.join(crate::identity::AUTHORITY));
    Ok(command)
}

/// As many connections as are asked for.
const FEW: usize = 100;

/// Those among many others.
pub(crate) const MANY: usize = 100_000;
