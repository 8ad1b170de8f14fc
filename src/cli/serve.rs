//! `keyferry serve`

use std::fmt::Write as _;
use std::path::Path;

use super::output::{self, Failure};
use crate::app::{Server, Started, harden};
use crate::config::{Environment, Options, StoreUrl};

/// Nothing but what every command takes.
#[derive(clap::Args)]
pub(super) struct Arguments {}

/// Runs until a signal says to stop.
pub(super) fn run(
    Arguments {}: Arguments,
    options: Options,
    environment: Environment,
) -> Result<(), Failure> {
    for refused in harden() {
        output::note(&format!("warning: {refused}"));
    }
    let loaded = super::configuration(&options, &environment)?;
    let file = loaded.file;
    let server =
        Server::start(loaded.config, options, environment).map_err(|error| Failure::of(&error))?;
    output::result(&greeting(server.started(), file.as_deref()))?;
    server.run().map_err(|error| Failure::of(&error))
}

/// Where things are, and what to try next.
fn greeting(started: &Started, file: Option<&Path>) -> String {
    let mut text = String::from("Keyferry is ready.\n");
    let mut say = |name: &str, value: &str| {
        let _infallible = writeln!(text, "  {name:<12} {value}");
    };
    for address in &started.proxy {
        say("proxy", address);
    }
    say("API", &started.api);
    say("console", &format!("{}/", started.api));
    say("data", &started.data_dir.display().to_string());
    let token = &started.admin_token;
    let made = if token.is_new { " (made now; readable by you alone)" } else { "" };
    say("admin token", &format!("{}{made}", token.path.display()));
    say("CA", &started.ca.display().to_string());
    let connections = output::count(started.connections, "connection");
    say("store", &format!("{:?} ({connections} in force)", started.store));
    text.push_str("Try next:\n");
    text.push_str(&next(started, file));
    text
}

/// What leads to a first request; with connections at hand, what leads to the next one.
fn next(started: &Started, file: Option<&Path>) -> String {
    let proxy = as_curl_asks(&started.proxy);
    if started.store == StoreUrl::Memory {
        let file = file.map_or_else(|| "keyferry.toml".into(), |file| file.display().to_string());
        if started.connections == 0 {
            return format!("{DECLARE}\n  keyferry serve --config {file}");
        }
        return format!(
            "  curl -H 'Authorization: Bearer TOKEN' {proxy}/~/CONNECTION/PATH\n  \
             keyferry explain --config {file} --connection CONNECTION GET https://HOST/PATH\n\
             CONNECTION, HOST and TOKEN are declared in {file}."
        );
    }
    // A command line that is elsewhere must find this server's token, and no other's.
    let data_dir = if started.data_dir.as_os_str() == DATA_DIR {
        String::new()
    } else {
        format!(" KEYFERRY__DATA_DIR={}", quoted(&started.data_dir))
    };
    let export = format!(
        "  export KEYFERRY_INTEGRATION=my_integration KEYFERRY_URL={}{data_dir}\n  ",
        reachable(&started.api)
    );
    if started.connections > 0 {
        return format!(
            "{export}keyferry connection list\n  \
             curl -H 'Authorization: Bearer TOKEN' {proxy}/~/CONNECTION/PATH"
        );
    }
    format!(
        "{export}keyferry connection create --type bearer_token --name example --allowed-domain httpbin.org\n  \
         keyferry token create --name runner --scope proxy > runner.token\n  \
         curl -H \"Authorization: Bearer $(cat runner.token)\" {proxy}/~/example/bearer"
    )
}

/// How curl is told to ask a proxy that listens there: by the first address, or by a unix socket
/// where there is nothing else.
fn as_curl_asks(listeners: &[String]) -> String {
    let is_address = |listener: &&String| !listener.starts_with("unix:");
    match listeners.iter().find(is_address).or_else(|| listeners.first()).map(String::as_str) {
        Some(listener) => match listener.strip_prefix("unix:") {
            Some(socket) => {
                format!("--unix-socket {} http://localhost", quoted(Path::new(socket)))
            }
            None => reachable(listener),
        },
        None => String::new(),
    }
}

/// A path as a shell reads it from anywhere.
fn quoted(path: &Path) -> String {
    let absolute = std::path::absolute(path);
    let shown = absolute.as_deref().unwrap_or(path).display().to_string();
    format!("'{}'", shown.replace('\'', "'\\''"))
}

/// A server that listens on every address is reached at loopback, by its own name.
fn reachable(listener: &str) -> String {
    listener.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
}

/// Where the commands look by themselves.
const DATA_DIR: &str = "keyferry-data";

const DECLARE: &str = "  \
The store keeps nothing (store.url = \"memory:\"), so connections and callers are declared in a file:\n\n    \
[[connections]]\n    \
integration = \"my_integration\"\n    \
type = \"bearer_token\"\n    \
name = \"example\"\n    \
allowed_domain = \"api.example.com\"\n    \
token = { env = \"EXAMPLE_TOKEN\" }\n\n    \
[[tokens]]\n    \
name = \"runner\"\n    \
integration = \"my_integration\"\n    \
scopes = [\"proxy\"]\n    \
token = { file = \"runner.token\" }\n\n  \
(umask 077; keyferry token generate > runner.token)";
