//! The sockets that a server listens on.

use std::sync::Arc;

use rustls::ServerConfig;

use super::server::StartError;
use crate::config::{Config, PemPair};
use crate::listener::{ListenAddr, Listener, server_config};

fn tls(files: Option<&PemPair>) -> Result<Option<Arc<ServerConfig>>, StartError> {
    let Some(files) = files else { return Ok(None) };
    server_config(files.load()?).map(Some).map_err(StartError::Tls)
}

/// The data plane's listeners.
pub(super) fn bind_proxy(config: &Config) -> Result<Vec<Listener>, StartError> {
    let plan = &config.proxy;
    let tls = tls(plan.tls.as_ref())?;
    let bind = |address| Ok(Listener::bind(address, tls.clone())?);
    plan.listen.iter().map(bind).collect()
}

/// The listener of the API and the console.
pub(super) fn bind_api(config: &Config) -> Result<Listener, StartError> {
    let tls = tls(config.api.tls.as_ref())?;
    Ok(Listener::bind(&ListenAddr::Tcp(config.api.listen), tls)?)
}

/// The URLs by which callers reach the proxy.
pub(super) fn addresses(listeners: &[Listener], config: &Config) -> Vec<String> {
    listeners
        .iter()
        .zip(&config.proxy.listen)
        .map(|(bound, planned)| match planned {
            ListenAddr::Tcp(_) => address(bound),
            ListenAddr::Unix(..) => planned.to_string(),
        })
        .collect()
}

/// The URL by which a listener is reached.
pub(super) fn address(listener: &Listener) -> String {
    let scheme = if listener.is_tls() { "https" } else { "http" };
    listener.local_addr().map_or_else(String::new, |bound| format!("{scheme}://{bound}"))
}
