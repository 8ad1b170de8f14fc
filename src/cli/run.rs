//! `keyferry run`: a program whose requests go through the proxy, which need not know it.

mod attendant;
mod child;
mod grant;
mod refusals;
mod supply;
mod trust;
mod truststore;
mod variables;

use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use tempfile::TempDir;

use self::attendant::Attendant;
use self::grant::Grant;
use self::refusals::Before;
use self::trust::Trust;
use self::variables::Proxy;
use super::faulty;
use super::output::Failure;
use super::server::{Server, Whom};
use crate::clock::Clock;
use crate::config::{self, CallerAuth, Environment, Listener, Options, Whereabouts};

/// The command line.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    whom: Whom,
    /// The one connection that the program uses [default: whichever covers the host]
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// The integration whose connections the program uses
    #[arg(long, value_name = "NAME", help = INTEGRATION_HELP)]
    integration: Option<String>,
    /// Where the proxy listens [default: the server's proxy.listen]
    #[arg(long, value_name = "URL")]
    proxy: Option<Uri>,
    /// A file with the token that the program shows, in place of a new one
    #[arg(long, value_name = "FILE")]
    caller_token_file: Option<PathBuf>,
    /// For how long the new token is good, should it not be revoked at the end
    #[arg(long, default_value = "12h", value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PROGRAM"
    )]
    program: Vec<OsString>,
}

/// A server, and where callers reach its proxy.
struct Served {
    server: Server,
    proxy: String,
    /// The server that was started for the program alone.
    attendant: Option<Attendant>,
}

/// Runs the program, and takes back what it was given when it has ended.
pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let found = config::whereabouts(options, environment).map_err(|faults| faulty(&faults))?;
    let served = serve(arguments, options, environment, &found)?;
    let ended = run_through(arguments, environment, &found, &served);
    if let Some(attendant) = served.attendant {
        attendant.end();
    }
    match ended? {
        0 => Ok(()),
        code => Err(Failure::Ended(code)),
    }
}

/// The server that runs, or one for the program alone.
fn serve(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
    found: &Whereabouts,
) -> Result<Served, Failure> {
    let whom = &arguments.whom;
    let given = arguments.proxy.as_ref().map(ToString::to_string);
    if whom.is_named(environment) || whom.runs(options, environment) {
        let server = whom.find(options, environment)?;
        let proxy = given.map_or_else(
            || {
                let host = whom.host(options, environment)?;
                let proxies = supply::proxies(&server)?;
                proxies.map_or_else(|| listener(found, &host), |known| reached(&known, &host))
            },
            Ok,
        )?;
        return Ok(Served { server, proxy, attendant: None });
    }
    let attendant = Attendant::start(options, found)?;
    let server = whom.find_at(&attendant.api, &attendant.options, environment)?;
    let proxy = given.unwrap_or_else(|| attendant.proxy.clone());
    Ok(Served { server, proxy, attendant: Some(attendant) })
}

fn run_through(
    arguments: &Arguments,
    environment: &Environment,
    found: &Whereabouts,
    served: &Served,
) -> Result<u8, Failure> {
    let trust = Trust::write(&served.server, environment)?;
    let integration = integration(arguments, environment, found);
    let data = served
        .attendant
        .as_ref()
        .map(|attendant| attendant.options.data_dir.as_deref().unwrap_or(&found.data_dir));
    let grant = if found.proxy.caller_auth == CallerAuth::None {
        Grant::unneeded()
    } else if let Some(file) = &arguments.caller_token_file {
        Grant::of_file(file)?
    } else {
        // The token is made by our own, so what that does not see the program can't use.
        match &arguments.connection {
            Some(connection) => supply::need(&served.server, &integration, connection)?,
            None => supply::warn(&served.server, &integration, data),
        }
        Grant::make(&served.server, &integration, arguments.connection.as_deref(), arguments.ttl)?
    };
    let user = match &arguments.connection {
        Some(connection) => format!("{integration}.{connection}"),
        None => integration.clone(),
    };
    let proxy = Proxy::new(&served.proxy, &user, grant.token())?;
    let (before, begun) = (Before::of(&served.server), Clock::system().now().to_string());
    let ended = child::run(&arguments.program, &proxy.variables(&trust, environment));
    if grant.is_made() && !matches!(ended, Ok(0)) {
        before.tell(&served.server, &integration, &begun);
    }
    grant.end(&served.server);
    ended
}

fn integration(arguments: &Arguments, environment: &Environment, found: &Whereabouts) -> String {
    let named = arguments.integration.as_deref().or_else(|| environment.text(INTEGRATION));
    let configured = || found.proxy.default_integration.as_ref().map(ToString::to_string);
    named.map(str::to_owned).or_else(configured).unwrap_or_else(|| "default".to_owned())
}

/// A directory for this user alone, which is gone when it is dropped.
fn private_directory() -> io::Result<TempDir> {
    let mode = Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("keyferry-run-").permissions(mode).tempdir()
}

/// The first address of the server's proxy, as its `host` reaches it.
fn reached(proxies: &[Uri], host: &str) -> Result<String, Failure> {
    let Some(proxy) = proxies.iter().find(|proxy| proxy.scheme().is_some()) else {
        return Err(Failure::Because(SOCKET_ALONE.to_owned()));
    };
    let ip = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let listens = ip(proxy.host().unwrap_or_default());
    let is_local = host == "localhost" || ip(host).is_some_and(|ip| ip.is_loopback());
    if !is_local && listens.is_some_and(|ip| ip.is_loopback()) {
        return Err(Failure::Because(format!(
            "the proxy of the server at {host} is for its own machine alone: name an address that \
             is reached from here with --proxy"
        )));
    }
    let shown = proxy.to_string();
    let shown = shown.trim_end_matches('/');
    if !listens.is_some_and(|ip| ip.is_unspecified()) {
        return Ok(shown.to_owned());
    }
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    let scheme = proxy.scheme_str().unwrap_or("http");
    Ok(format!("{scheme}://{open}{host}{close}:{}", proxy.port_u16().unwrap_or(80)))
}

/// The proxy's first TCP listener, as `host` reaches it.
fn listener(found: &Whereabouts, host: &str) -> Result<String, Failure> {
    let tcp = found.proxy.listen.iter().find_map(|listener| match listener {
        Listener::Tcp(address) => Some(address),
        Listener::Unix(_) => None,
    });
    let Some(address) = tcp else {
        return Err(Failure::Because(SOCKET_ALONE.to_owned()));
    };
    let scheme = if found.proxy.tls.is_some() { "https" } else { "http" };
    let host =
        if address.ip().is_unspecified() { host.to_owned() } else { address.ip().to_string() };
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    Ok(format!("{scheme}://{open}{host}{close}:{}", address.port()))
}

const SOCKET_ALONE: &str = "the proxy listens on a unix socket alone, which programs can't be told \
                            of by their variables: add a TCP address to proxy.listen, or name one \
                            with --proxy";

const INTEGRATION: &str = "KEYFERRY_INTEGRATION";

const INTEGRATION_HELP: &str = "The integration whose connections the program uses [environment: \
                                KEYFERRY_INTEGRATION] [default: proxy.default_integration, or \
                                default]";
