//! What a reload can't change.

use super::Config;

impl Config {
    /// The keys that differ between both and are bound at the start, so that only a restart
    /// changes them.
    #[must_use]
    pub fn needs_restart(&self, other: &Self) -> Vec<&'static str> {
        let bound = [
            ("data_dir", self.data_dir == other.data_dir),
            ("shutdown_grace", self.shutdown_grace == other.shutdown_grace),
            ("log.level", self.log.level == other.log.level),
            ("log.format", self.log.format == other.log.format),
            ("proxy.listen", self.proxy.listen == other.proxy.listen),
            ("proxy.socket_mode", self.proxy.socket_mode == other.proxy.socket_mode),
            ("proxy.max_connections", self.proxy.max_connections == other.proxy.max_connections),
            (
                "proxy.max_connections_per_caller",
                self.proxy.max_connections_per_caller == other.proxy.max_connections_per_caller,
            ),
            ("proxy.max_head_bytes", self.proxy.max_head_bytes == other.proxy.max_head_bytes),
            ("proxy.head_timeout", self.proxy.head_timeout == other.proxy.head_timeout),
            ("proxy.idle_timeout", self.proxy.idle_timeout == other.proxy.idle_timeout),
            ("proxy.tls", self.proxy.tls == other.proxy.tls),
            ("api.listen", self.api.listen == other.api.listen),
            ("api.public_url", self.api.public_url == other.api.public_url),
            ("api.allowed_hosts", self.api.allowed_hosts == other.api.allowed_hosts),
            ("api.tls", self.api.tls == other.api.tls),
            ("store.url", self.store.url == other.store.url),
            ("store.max_staleness", self.store.max_staleness == other.store.max_staleness),
            ("seal.master_key_file", self.seal == other.seal),
            ("audit.retention", self.audit.retention == other.audit.retention),
            ("audit.max_bytes", self.audit.max_bytes == other.audit.max_bytes),
            ("ca", self.ca == other.ca),
        ];
        bound.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Listener, StoreUrl};

    #[test]
    fn only_what_is_bound_at_the_start_needs_a_restart() {
        let running = Config::default();
        let mut changed = Config::default();
        changed.proxy.allowed_ports = vec![443, 8443];
        changed.upstream.http2 = false;
        assert!(running.needs_restart(&changed).is_empty());
        changed.proxy.listen = vec![Listener::Unix("/run/keyferry.sock".into())];
        changed.store.url = StoreUrl::Memory;
        assert_eq!(running.needs_restart(&changed), ["proxy.listen", "store.url"]);
    }
}
