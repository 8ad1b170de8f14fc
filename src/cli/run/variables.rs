//! The variables by which runtimes find a proxy and what to trust.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use http::Uri;
use zeroize::Zeroizing;

use super::trust::TrustFiles;
use super::{package_managers, settings_files, truststore};
use crate::cli::OPERATOR_VARIABLES;
use crate::cli::output::CliError;
use crate::config::Environment;
use crate::secret::Secret;

/// The proxy, as the program is told of it.
pub(super) struct ProxyUrl {
    /// With the token in it, which is where a proxy's URL has one.
    url: Zeroizing<String>,
    host: String,
    port: u16,
}

/// A variable, and its value; without one it is taken away.
pub(super) type Variable = (&'static str, Option<OsString>);

impl ProxyUrl {
    pub(super) fn new(address: &str, user: &str, token: Option<&Secret>) -> Result<Self, CliError> {
        let unfit =
            || CliError::Message(format!("{address} is no proxy's URL: use http://HOST:PORT"));
        let uri: Uri = address.parse().map_err(|_vague| unfit())?;
        let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
        let (Some(scheme), Some(host), Some(port)) = (scheme, uri.host(), uri.port_u16()) else {
            return Err(unfit());
        };
        let token = token.map(|token| String::from_utf8_lossy(token.expose()));
        let pass =
            token.map(|token| Zeroizing::new(format!("{user}:{token}@"))).unwrap_or_default();
        let url = Zeroizing::new(format!("{scheme}://{}{host}:{port}", pass.as_str()));
        Ok(Self { url, host: host.trim_matches(['[', ']']).to_owned(), port })
    }

    /// All that is set for the program, which starts in `directory`, and what it must not have.
    pub(super) fn variables(
        &self,
        trust: &TrustFiles,
        environment: &Environment,
        directory: &Path,
    ) -> io::Result<Vec<Variable>> {
        let own = |name: &str| environment.value(name).and_then(|own| trust.beside(Path::new(own)));
        let node = own(NODE).unwrap_or_else(|| trust.ca.clone());
        let mut variables: Vec<Variable> = vec![
            (NODE, Some(node.into())),
            ("NODE_USE_ENV_PROXY", Some("1".into())),
            ("PERL_LWP_ENV_PROXY", Some("1".into())),
            ("JAVA_TOOL_OPTIONS", Some(self.java(trust, environment))),
        ];
        // Where the proxy is.
        variables.extend(PROXIES.map(|name| (name, Some(self.url.as_str().into()))));
        // What the program would have trusted by a variable of its own stays trusted.
        let bundle = |name| own(name).unwrap_or_else(|| trust.bundle.clone());
        variables.extend(BUNDLES.map(|name| (name, Some(bundle(name).into()))));
        variables.extend(package_managers::variables(trust, environment, directory));
        variables.extend(settings_files::variables(trust, environment)?);
        // What needs no proxy, and what the program must not have.
        let here = environment.text("NO_PROXY").or_else(|| environment.text("no_proxy"));
        let direct = here.map_or_else(|| DIRECT.to_owned(), |here| format!("{here},{DIRECT}"));
        variables.extend(["NO_PROXY", "no_proxy"].map(|name| (name, Some(direct.clone().into()))));
        variables.extend(OPERATOR_VARIABLES.map(|name| (name, None)));
        Ok(variables)
    }

    /// Java echoes this variable, so there is no token in it.
    fn java(&self, trust: &TrustFiles, environment: &Environment) -> OsString {
        let mut options =
            environment.value("JAVA_TOOL_OPTIONS").map(OsStr::to_owned).unwrap_or_default();
        if !options.is_empty() {
            options.push(" ");
        }
        options.push("-Djavax.net.ssl.trustStore=");
        options.push(&trust.truststore);
        let (password, host, port) = (truststore::PASSWORD, &self.host, self.port);
        options.push(format!(
            " -Djavax.net.ssl.trustStorePassword={password} -Djavax.net.ssl.trustStoreType=JKS \
             -Dhttps.proxyHost={host} -Dhttps.proxyPort={port} \
             -Djdk.http.auth.tunneling.disabledSchemes="
        ));
        options
    }
}

/// Node adds what this names to its own CAs.
const NODE: &str = "NODE_EXTRA_CA_CERTS";

/// The usual ones; those of `WebSocket` clients and of gRPC; and those that win over a setting of
/// npm or Yarn, which would lead past the proxy. Yarn's for `http://` is not among them: Yarn knows
/// no exceptions, and would ask the proxy for what is on this machine.
const PROXIES: [&str; 12] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "WSS_PROXY",
    "wss_proxy",
    "WS_PROXY",
    "ws_proxy",
    "grpc_proxy",
    "npm_config_https_proxy",
    "npm_config_proxy",
    "YARN_HTTPS_PROXY",
];

const BUNDLES: [&str; 20] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "PIP_CERT",
    "DENO_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "PERL_LWP_SSL_CA_FILE",
    "HTTPLIB2_CA_CERTS",
    "WEBSOCKET_CLIENT_CA_BUNDLE",
    "CONDA_SSL_VERIFY",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "NIX_SSL_CERT_FILE",
    "BUNDLE_SSL_CA_CERT",
    "COMPOSER_CAFILE",
    "HEX_CACERTS_PATH",
    "JULIA_SSL_CA_ROOTS_PATH",
    "SYSTEM_CERTIFICATE_PATH",
];

/// The hosts that never need a proxy.
const DIRECT: &str = "localhost,127.0.0.1,::1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_stands_in_the_url_where_a_proxys_has_it() {
        let token = Secret::new("kf_token");
        let url =
            |address: &str, token| ProxyUrl::new(address, "shop.orders", token).map(|p| p.url);
        let (with, without) =
            (url("http://127.0.0.1:8080", Some(&token)), url("http://[::1]:1", None));
        assert_eq!(with.ok().unwrap().as_str(), "http://shop.orders:kf_token@127.0.0.1:8080");
        assert_eq!(without.ok().unwrap().as_str(), "http://[::1]:1");
        for address in ["", "127.0.0.1:8080", "unix:/x", "http://127.0.0.1", "ftp://a:1"] {
            assert!(ProxyUrl::new(address, "u", None).is_err(), "{address}");
        }
    }
}
