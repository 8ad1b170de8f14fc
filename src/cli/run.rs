//! `keyferry run`: a program whose requests go through the proxy, which need not know it.

mod attendant;
mod child;
mod grant;
mod package_managers;
mod settings_files;
mod supply;
mod trust;
mod truststore;
mod variables;
mod watch;

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
use self::trust::Trust;
use self::variables::{Proxy, Variable};
use self::watch::{Advice, Watch};
use super::faulty;
use super::output::{Failure, quoted};
use super::server::{Server, Whom};
use crate::config::{self, CallerAuth, Environment, Options, Whereabouts};

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
    let ended = run_through(arguments, options, environment, &found, &served);
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
        let host = whom.host(options, environment)?;
        let proxy = given.map_or_else(|| reached(&supply::proxies(&server)?, &host), Ok)?;
        return Ok(Served { server, proxy, attendant: None });
    }
    let attendant = Attendant::start(options, found)?;
    let server = whom.find_at(&attendant.api, &attendant.options, environment)?;
    let proxy = given.unwrap_or_else(|| attendant.proxy.clone());
    Ok(Served { server, proxy, attendant: Some(attendant) })
}

fn run_through(
    arguments: &Arguments,
    options: &Options,
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
    let proxy = Proxy::new(&served.proxy, &user, grant.token());
    let variables = match proxy.and_then(|proxy| variables(&proxy, &trust, environment)) {
        Ok(variables) => variables,
        Err(failure) => {
            grant.end(&served.server);
            return Err(failure);
        }
    };
    let program = || child::run(&arguments.program, &variables);
    let ended = match grant.name() {
        Some(caller) => {
            let advice = Advice {
                explain: explain(arguments, options, environment, &integration),
                bundle: trust.bundle.clone(),
            };
            let watch = Watch::begin(&served.server, caller, &integration, advice);
            watch.during(program, |ended| !matches!(ended, Ok(0)))
        }
        None => program(),
    };
    grant.end(&served.server);
    ended
}

fn variables(
    proxy: &Proxy,
    trust: &Trust,
    environment: &Environment,
) -> Result<Vec<Variable>, Failure> {
    // Where that is not known, no settings are found there.
    let directory = std::env::current_dir().unwrap_or_default();
    proxy.variables(trust, environment, &directory).map_err(|why| {
        Failure::Because(format!("the program's settings files can't be written: {why}"))
    })
}

fn integration(arguments: &Arguments, environment: &Environment, found: &Whereabouts) -> String {
    let named = arguments.integration.as_deref().or_else(|| environment.text(INTEGRATION));
    let configured = || found.proxy.default_integration.as_ref().map(ToString::to_string);
    named.map(str::to_owned).or_else(configured).unwrap_or_else(|| "default".to_owned())
}

/// The command that explains one of the program's requests, but for its method and URL.
fn explain(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
    integration: &str,
) -> String {
    let mut words = vec!["keyferry explain".to_owned()];
    for (name, path) in [("--config", &options.config), ("--data-dir", &options.data_dir)] {
        words.extend(path.as_ref().map(|path| format!("{name} {}", quoted(path))));
    }
    words.extend(arguments.whom.url().map(|url| format!("--url '{url}'")));
    if environment.text(INTEGRATION) != Some(integration) {
        words.push(format!("--integration {integration}"));
    }
    words.extend(arguments.connection.as_ref().map(|name| format!("--connection {name}")));
    words.join(" ")
}

/// A directory for this user alone, which is gone when it is dropped.
fn private_directory() -> io::Result<TempDir> {
    let mode = Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("keyferry-run-").permissions(mode).tempdir()
}

/// The first address of the server's proxy that is of use here, as its `host` reaches it.
fn reached(proxies: &[Uri], host: &str) -> Result<String, Failure> {
    let mut unfit = Failure::Because(
        "the proxy listens on a unix socket alone, which programs can't be told of by their \
         variables: add a TCP address to proxy.listen, or name one with --proxy"
            .to_owned(),
    );
    for proxy in proxies {
        match reach(proxy, host) {
            Ok(reached) => return Ok(reached),
            Err(why) => unfit = why,
        }
    }
    Err(unfit)
}

/// An address of the proxy, unless the program's token would go astray there: to whoever listens on
/// this machine, or past whoever reads along.
fn reach(proxy: &Uri, host: &str) -> Result<String, Failure> {
    let is_loopback =
        |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let listens = proxy.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_everywhere = listens.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let name = if is_everywhere { host } else { listens };
    if is_loopback(name) && !is_loopback(host) {
        return Err(Failure::Because(format!(
            "the proxy of the server at {host} is for its own machine alone: name an address that \
             is reached from here with --proxy"
        )));
    }
    let is_tls = proxy.scheme_str() == Some("https");
    if !is_tls && !is_loopback(name) {
        return Err(Failure::Because(format!(
            "the program's token is not sent to {name} in cleartext: set proxy.tls there, or, if \
             nobody can read along, name the proxy with --proxy"
        )));
    }
    let (open, close) = if name.contains(':') { ("[", "]") } else { ("", "") };
    let (scheme, usual) = if is_tls { ("https", 443) } else { ("http", 80) };
    Ok(format!("{scheme}://{open}{name}{close}:{}", proxy.port_u16().unwrap_or(usual)))
}

const INTEGRATION: &str = "KEYFERRY_INTEGRATION";

const INTEGRATION_HELP: &str = "The integration whose connections the program uses [environment: \
                                KEYFERRY_INTEGRATION] [default: proxy.default_integration, or \
                                default]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_reached_where_its_token_does_not_go_astray() {
        let reach = |proxy: &str, host: &str| reached(&[proxy.parse().unwrap()], host).ok();
        for (proxy, host, expected) in [
            ("http://127.0.0.1:8080", "127.0.0.1", Some("http://127.0.0.1:8080")),
            ("http://127.0.0.1:8080", "localhost", Some("http://127.0.0.1:8080")),
            ("http://0.0.0.0:8080", "127.0.0.1", Some("http://127.0.0.1:8080")),
            ("http://[::]:8080", "::1", Some("http://[::1]:8080")),
            ("https://0.0.0.0:8443", "k.example.com", Some("https://k.example.com:8443")),
            ("https://10.0.0.7:8443", "k.example.com", Some("https://10.0.0.7:8443")),
            ("http://127.0.0.1:8080", "k.example.com", None),
            ("http://0.0.0.0:8080", "k.example.com", None),
            ("http://10.0.0.7:8080", "127.0.0.1", None),
        ] {
            assert_eq!(reach(proxy, host).as_deref(), expected, "{proxy} of {host}");
        }
        assert!(reached(&[], "127.0.0.1").is_err());
        let several =
            ["http://10.0.0.7:8080", "http://127.0.0.1:8080"].map(|it| it.parse().unwrap());
        assert_eq!(reached(&several, "127.0.0.1").ok().as_deref(), Some("http://127.0.0.1:8080"));
    }
}
