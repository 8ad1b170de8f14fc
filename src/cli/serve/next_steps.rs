//! The commands that lead from a started server to a first request.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use crate::app::Started;
use crate::cli::output::quoted;
use crate::config::{Config, StoreUrl};
use crate::model::caller::Caller;
use crate::model::connection::Connection;
use crate::model::domain::AllowedDomain;
use crate::model::name::IntegrationName;

/// The part of the configuration that the commands need; the server takes the whole.
pub(super) struct NextSteps {
    /// The file that declares connections and callers.
    file: PathBuf,
    /// The integration of callers without a token, where none is needed.
    anonymous: Option<IntegrationName>,
    /// The names by which callers reach the proxy.
    allowed_hosts: Vec<String>,
    /// The first declared connection that a caller may use; else the first one.
    connection: Option<Arc<Connection>>,
    /// The first declared token that may use the connection.
    caller: Option<Caller>,
}

impl NextSteps {
    pub(super) fn of(config: &Config, file: Option<&Path>, now: Timestamp) -> Self {
        let anonymous = config.proxy.settings.anonymous.clone();
        let callers = || {
            let callers = config.tokens.iter().map(|token| &token.caller);
            callers.filter(|caller| caller.scopes.allows_proxy() && !caller.has_expired(now))
        };
        // One that a caller may use comes before others.
        let usable = config.connections.iter().find(|connection| match &anonymous {
            Some(integration) => connection.integration() == integration,
            None => callers().any(|caller| caller.may_use(connection)),
        });
        let caller = usable.and_then(|connection| callers().find(|it| it.may_use(connection)));
        Self {
            file: file.map_or_else(|| PathBuf::from(FILE), Path::to_path_buf),
            anonymous,
            allowed_hosts: config.proxy.allowed_hosts.clone(),
            connection: usable.or_else(|| config.connections.first()).cloned(),
            caller: caller.cloned(),
        }
    }

    /// The commands, each on a line of its own, and what they leave open.
    pub(super) fn commands(&self, started: &Started) -> String {
        match (&started.store, &self.connection) {
            (StoreUrl::Memory, Some(connection)) => self.declared(started, connection),
            (StoreUrl::Memory, None) => self.declare(),
            _ => self.kept(started),
        }
    }

    /// For a server without a store, which has connections.
    fn declared(&self, started: &Started, connection: &Connection) -> String {
        let (integration, name) = (connection.integration(), connection.name());
        let host = connection.allowed_domain().map(AllowedDomain::base).unwrap_or_default();
        format!(
            "  keyferry explain --config {} --data-dir {} --integration {integration} \
             --connection {name} GET https://{host}/\n{}",
            quoted(&self.file),
            quoted(&started.data_dir),
            self.first_request(started, connection, host)
        )
    }

    /// A request that uses a declared connection; or why nobody can use one.
    fn first_request(&self, started: &Started, connection: &Connection, host: &str) -> String {
        let (integration, name) = (connection.integration(), connection.name());
        let is_wildcard = connection.allowed_domain().is_some_and(AllowedDomain::is_wildcard);
        // A wildcard names no host that a request could go to.
        let to = if is_wildcard { format!("-H 'X-Zis-Host: {host}' ") } else { String::new() };
        let (proxy, file) = (self.as_curl_asks(&started.proxy), self.file.display());
        match (&self.anonymous, &self.caller) {
            (Some(own), _) if own == integration => {
                format!("  curl -H 'X-Zis-Connection: {name}' {to}{proxy}/~/{name}/")
            }
            (Some(own), _) => format!(
                "No caller can use a declared connection: they belong to other integrations than \
                 {own}, which proxy.default_integration names."
            ),
            (None, Some(caller)) => {
                let of =
                    caller.bound_to().map_or_else(|| format!("{integration}."), |_| String::new());
                format!(
                    "  curl -H 'Authorization: Bearer TOKEN' {to}{proxy}/~/{of}{name}/\n\
                     TOKEN is the secret of the token {}, which {file} declares.",
                    caller.name
                )
            }
            (None, None) => format!(
                "No caller can use a declared connection: {file} declares no token with the scope \
                 proxy that may. Add one, and start the server again:\n\n{}\n\n  {GENERATE}",
                token_table(integration.as_str())
            ),
        }
    }

    /// For a server without a store, which has no connection yet.
    fn declare(&self) -> String {
        let integration = self.anonymous.as_ref().map_or(INTEGRATION, IntegrationName::as_str);
        let (tokens, generate, callers) = if self.anonymous.is_some() {
            (String::new(), String::new(), "")
        } else {
            let tokens = format!("\n\n{}", token_table(integration));
            (tokens, format!("  {GENERATE}\n"), " and callers")
        };
        format!(
            "  The store keeps nothing (store.url = \"memory:\"), so connections{callers} are \
             declared in a file:\n\n    \
             [[connections]]\n    \
             integration = \"{integration}\"\n    \
             type = \"bearer_token\"\n    \
             name = \"example\"\n    \
             allowed_domain = \"api.example.com\"\n    \
             token = {{ env = \"EXAMPLE_TOKEN\" }}{tokens}\n\n\
             {generate}  EXAMPLE_TOKEN='the secret' keyferry serve --config {}",
            quoted(&self.file)
        )
    }

    /// For a server with a store.
    fn kept(&self, started: &Started) -> String {
        // A command line in another directory must find this server's token, and no other's.
        let data_dir = if started.data_dir.as_os_str() == DATA_DIR {
            String::new()
        } else {
            format!(" KEYFERRY__DATA_DIR={}", quoted(&started.data_dir))
        };
        // The integration that callers without a token have, else one that has connections.
        let own = self.anonymous.as_ref().map(IntegrationName::as_str);
        let integration = own.or(started.integration.as_deref()).unwrap_or(INTEGRATION);
        let proxy = self.as_curl_asks(&started.proxy);
        // With connections, one of them; without, the way to a first one.
        let steps = match (started.connections > 0, own.is_some()) {
            (true, true) => format!(
                "  keyferry connection list\n  \
                 curl -H 'X-Zis-Connection: CONNECTION' {proxy}/~/CONNECTION/PATH\n\
                 CONNECTION is a name of that list."
            ),
            (true, false) => format!(
                "  keyferry connection list\n  \
                 curl -H 'Authorization: Bearer TOKEN' {proxy}/~/CONNECTION/PATH\n\
                 CONNECTION is a name of that list, and TOKEN what `keyferry token create --name \
                 NAME --scope proxy` prints."
            ),
            (false, true) => {
                format!("{CREATE}  curl -H 'X-Zis-Connection: example' {proxy}/~/example/bearer")
            }
            (false, false) => format!(
                "{CREATE}  keyferry token create --name runner --scope proxy > runner.token\n  \
                 curl -H \"Authorization: Bearer $(cat runner.token)\" {proxy}/~/example/bearer"
            ),
        };
        format!(
            "  export KEYFERRY_INTEGRATION={integration} KEYFERRY_URL={}{data_dir}\n{steps}",
            reachable(&started.api)
        )
    }

    /// The arguments by which curl asks a proxy that listens there: by the first address, or by a
    /// unix socket where there is nothing else; and by a name that the proxy answers to.
    fn as_curl_asks(&self, listeners: &[String]) -> String {
        let is_address = |listener: &&String| !listener.starts_with("unix:");
        let listener = listeners.iter().find(is_address).or_else(|| listeners.first());
        let Some(listener) = listener else { return String::new() };
        let named = |host: &str| self.allowed_hosts.iter().any(|allowed| allowed == host);
        let (how, url) = match listener.strip_prefix("unix:") {
            Some(socket) => {
                let how = format!("--unix-socket {} ", quoted(Path::new(socket)));
                (how, "http://localhost".to_owned())
            }
            None => (String::new(), reachable(listener)),
        };
        let authority = url.split_once("://").map_or("", |(_, authority)| authority);
        let port = authority.rfind(':').filter(|at| !authority.ends_with(']') && *at > 0);
        let host = port.and_then(|at| authority.get(..at)).unwrap_or(authority);
        match self.allowed_hosts.first() {
            Some(other) if !named(host) => format!("{how}-H 'Host: {other}' {url}"),
            _ => format!("{how}{url}"),
        }
    }
}

/// A server that listens on every address is reached at loopback, by its own name.
fn reachable(listener: &str) -> String {
    listener.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
}

/// A declared token of an integration.
fn token_table(integration: &str) -> String {
    format!(
        "    [[tokens]]\n    \
         name = \"runner\"\n    \
         integration = \"{integration}\"\n    \
         scopes = [\"proxy\"]\n    \
         token = {{ file = \"runner.token\" }}"
    )
}

/// The data directory in which the commands look by themselves.
const DATA_DIR: &str = "keyferry-data";
/// The integration of the examples.
const INTEGRATION: &str = "my_integration";
/// The file of the examples.
const FILE: &str = "keyferry.toml";
const GENERATE: &str = "(umask 077; keyferry token generate > runner.token)";
const CREATE: &str = "  keyferry connection create --type bearer_token --name example \
                      --allowed-domain httpbin.org\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Options, load};

    #[test]
    fn curl_asks_by_a_name_that_the_proxy_answers_to() {
        let loaded = load(&Options::default(), &Environment::default()).unwrap();
        let next = NextSteps::of(&loaded.config, None, Timestamp::UNIX_EPOCH);
        for (listeners, asked) in [
            (&["http://127.0.0.1:8080"][..], "http://127.0.0.1:8080"),
            (&["http://[::]:8080"], "http://[::1]:8080"),
            (&["http://10.0.0.7:8080"], "-H 'Host: localhost' http://10.0.0.7:8080"),
            (&["unix:/run/k.sock"], "--unix-socket '/run/k.sock' http://localhost"),
            (&["unix:/run/k.sock", "http://0.0.0.0:80"], "http://127.0.0.1:80"),
            (&[], ""),
        ] {
            let listeners: Vec<_> = listeners.iter().map(ToString::to_string).collect();
            assert_eq!(next.as_curl_asks(&listeners), asked);
        }
    }
}
