//! `keyferry run`: a program whose requests go through the proxy, which need not know it.

mod child;
mod ephemeral_server;
mod package_managers;
mod preflight;
mod program_token;
mod settings_files;
mod trust;
mod truststore;
mod variables;
mod watch;

use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use tempfile::TempDir;

use self::ephemeral_server::EphemeralServer;
use self::program_token::ProgramToken;
use self::trust::TrustFiles;
use self::variables::{ProxyUrl, Variable};
use self::watch::{Advice, Watch};
use super::context::{CliContext, INTEGRATION};
use super::output::{CliError, quoted};
use super::server::{ApiClient, ServerArgs};
use crate::config::Whereabouts;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Connection that the program uses, and no other [default: the one that covers the host]
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    #[arg(long, value_name = "NAME", help = INTEGRATION_HELP)]
    integration: Option<String>,
    /// URL of the proxy [default: the server's proxy.listen]
    #[arg(long, value_name = "URL")]
    proxy: Option<Uri>,
    /// File with the caller token that the program shows, in place of a new one
    #[arg(long, value_name = "FILE")]
    caller_token_file: Option<PathBuf>,
    /// Time after which the new token ends, should it not be revoked before
    #[arg(long, default_value = "12h", value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttl: Duration,
    #[command(flatten)]
    server: ServerArgs,
    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PROGRAM"
    )]
    program: Vec<OsString>,
}

/// A server and its proxy, as the program reaches it.
struct Route<'c> {
    api: ApiClient<'c>,
    proxy: String,
    /// The data directory of a server that was started for the program alone.
    own_data: Option<&'c Path>,
}

/// Runs the program, and takes back what it was given when it has ended.
pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    let found = context.whereabouts()?;
    let server = &arguments.server;
    let runs = || server.addr.readiness(context).is_ok_and(|(_, answer)| answer.is_ok());
    let code = if server.addr.is_named(context) || runs() {
        let api = server.client(context)?;
        let reached = || reached(&preflight::proxies(&api)?, api.host());
        let proxy = arguments.proxy.as_ref().map_or_else(reached, |url| Ok(url.to_string()))?;
        run_through(arguments, &Route { api, proxy, own_data: None }, &found)?
    } else {
        let ephemeral = EphemeralServer::start(context, &found)?;
        let code = run_by_itself(arguments, &ephemeral, &found);
        ephemeral.end();
        code?
    };
    if code == 0 { Ok(()) } else { Err(CliError::Exit(code)) }
}

/// Runs the program through a server that was started for it.
fn run_by_itself(
    arguments: &Arguments,
    ephemeral: &EphemeralServer,
    found: &Whereabouts,
) -> Result<u8, CliError> {
    let context = &ephemeral.context;
    let api = arguments.server.client_at(&ephemeral.api, context)?;
    let given = arguments.proxy.as_ref().map(ToString::to_string);
    let proxy = given.unwrap_or_else(|| ephemeral.proxy.clone());
    let own_data = Some(context.options.data_dir.as_deref().unwrap_or(&found.data_dir));
    run_through(arguments, &Route { api, proxy, own_data }, found)
}

fn run_through(
    arguments: &Arguments,
    route: &Route<'_>,
    found: &Whereabouts,
) -> Result<u8, CliError> {
    // The files and the token that the program is given.
    let (api, context) = (&route.api, route.api.context);
    let trust = TrustFiles::write(api, &context.environment)?;
    let integration = integration(arguments, found, context);
    let token = token(arguments, route, found, &integration)?;

    // The variables that lead it to the proxy, in whose URL the user says what it may use.
    let user = match &arguments.connection {
        Some(connection) => format!("{integration}.{connection}"),
        None => integration.clone(),
    };
    let proxy = ProxyUrl::new(&route.proxy, &user, token.secret());
    let variables = match proxy.and_then(|proxy| variables(&proxy, &trust, context)) {
        Ok(variables) => variables,
        Err(error) => {
            token.end(api);
            return Err(error);
        }
    };

    // The program runs, watched where its requests can be told from others.
    let program = || child::run(&arguments.program, &variables);
    let ended = match token.name() {
        Some(caller) => {
            let explain = explain(arguments, &integration, context);
            let advice = Advice { explain, bundle: trust.bundle.clone() };
            let watch = Watch::begin(api, caller, &integration, advice);
            watch.during(program, |ended| !matches!(ended, Ok(0)))
        }
        None => program(),
    };

    // What it was given ends with it.
    token.end(api);
    ended
}

/// The token for the program: none, one of a file, or a new one.
fn token(
    arguments: &Arguments,
    route: &Route<'_>,
    found: &Whereabouts,
    integration: &str,
) -> Result<ProgramToken, CliError> {
    if found.proxy.is_anonymous {
        return Ok(ProgramToken::unneeded());
    }
    if let Some(file) = &arguments.caller_token_file {
        return ProgramToken::of_file(file);
    }
    // The operator's token makes it, so the program can't use what that one does not see.
    let connection = arguments.connection.as_deref();
    match connection {
        Some(connection) => preflight::need(&route.api, integration, connection)?,
        None => preflight::warn(&route.api, integration, route.own_data),
    }
    ProgramToken::make(&route.api, integration, connection, arguments.ttl)
}

fn variables(
    proxy: &ProxyUrl,
    trust: &TrustFiles,
    context: &CliContext,
) -> Result<Vec<Variable>, CliError> {
    // Without a working directory, no settings are found there.
    let directory = std::env::current_dir().unwrap_or_default();
    proxy.variables(trust, &context.environment, &directory).map_err(|why| {
        CliError::Message(format!("the program's settings files can't be written: {why}"))
    })
}

fn integration(arguments: &Arguments, found: &Whereabouts, context: &CliContext) -> String {
    let named = context.integration(arguments.integration.as_deref());
    let configured = || found.proxy.default_integration.as_ref().map(ToString::to_string);
    named.map(str::to_owned).or_else(configured).unwrap_or_else(|| "default".to_owned())
}

/// The command that explains one of the program's requests, but for its method and URL.
fn explain(arguments: &Arguments, integration: &str, context: &CliContext) -> String {
    let options = &context.options;
    let mut words = vec!["keyferry explain".to_owned()];
    for (name, path) in [("--config", &options.config), ("--data-dir", &options.data_dir)] {
        words.extend(path.as_ref().map(|path| format!("{name} {}", quoted(path))));
    }
    words.extend(arguments.server.addr.url.as_ref().map(|url| format!("--url '{url}'")));
    if context.environment.text(INTEGRATION) != Some(integration) {
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
fn reached(proxies: &[Uri], host: &str) -> Result<String, CliError> {
    let mut unfit = CliError::Message(
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

/// An address of the proxy, unless the program's token would go astray there: to another program of
/// this machine, or in cleartext over a network.
fn reach(proxy: &Uri, host: &str) -> Result<String, CliError> {
    let is_loopback =
        |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let listens = proxy.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_everywhere = listens.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let name = if is_everywhere { host } else { listens };
    if is_loopback(name) && !is_loopback(host) {
        return Err(CliError::Message(format!(
            "the proxy of the server at {host} is for its own machine alone: name an address that \
             is reached from here with --proxy"
        )));
    }
    let is_tls = proxy.scheme_str() == Some("https");
    if !is_tls && !is_loopback(name) {
        return Err(CliError::Message(format!(
            "the program's token is not sent to {name} in cleartext: set proxy.tls there, or, if \
             nobody can read along, name the proxy with --proxy"
        )));
    }
    let (open, close) = if name.contains(':') { ("[", "]") } else { ("", "") };
    let (scheme, usual) = if is_tls { ("https", 443) } else { ("http", 80) };
    Ok(format!("{scheme}://{open}{name}{close}:{}", proxy.port_u16().unwrap_or(usual)))
}

const INTEGRATION_HELP: &str = "Integration whose connections the program uses [env: \
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
