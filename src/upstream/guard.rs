//! Judges addresses before one of them is dialed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::address::{AddressClass, classify, embedded_v4};

/// The proxy's own listeners, to which nothing may be sent.
#[derive(Clone, Debug, Default)]
pub struct OwnListeners(Arc<[SocketAddr]>);

/// The judge of addresses. It allows the public internet and the operator's networks.
#[derive(Clone, Debug)]
pub struct Guard {
    allow_networks: Vec<IpNet>,
    own: OwnListeners,
}

/// Addresses that were judged. No others can be dialed.
#[derive(Debug)]
pub struct Judged(Vec<SocketAddr>);

/// A prohibited address. One of them prohibits all addresses of its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Prohibited {
    /// An address outside the public internet and the allowed networks.
    #[error("{0} is a {class} address", class = .1.as_str())]
    Class(IpAddr, AddressClass),
    /// The proxy itself.
    #[error("{0} is the proxy itself")]
    Own(SocketAddr),
}

impl OwnListeners {
    /// The listeners' bound addresses.
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Self(addresses.into())
    }

    /// Tells whether dialing `address` could reach one of the listeners. A listener on the
    /// unspecified address is reached by every address of this host; all that are not public are
    /// taken for one.
    fn includes(&self, address: SocketAddr) -> bool {
        self.0.iter().any(|own| {
            own.port() == address.port()
                && (own.ip().to_canonical() == address.ip().to_canonical()
                    || (own.ip().is_unspecified()
                        && classify(address.ip()) != AddressClass::Public))
        })
    }
}

impl Guard {
    /// A guard that allows `allow_networks` beyond the public internet.
    pub fn new(allow_networks: Vec<IpNet>, own: OwnListeners) -> Self {
        Self { allow_networks, own }
    }

    /// A guard for endpoints that the configuration alone can name, and that are sent nothing secret:
    /// it allows every address but the proxy's own.
    pub(super) fn for_collectors(&self) -> Self {
        let everywhere = [Ipv4Net::default().into(), Ipv6Net::default().into()];
        Self { allow_networks: everywhere.to_vec(), own: self.own.clone() }
    }

    /// Judges all addresses of a name. One prohibited address condemns them all: otherwise repeated
    /// tries could get through to it.
    pub fn judge(&self, addresses: Vec<SocketAddr>) -> Result<Judged, Prohibited> {
        for address in &addresses {
            self.judge_one(*address)?;
        }
        Ok(Judged(addresses))
    }

    fn judge_one(&self, address: SocketAddr) -> Result<(), Prohibited> {
        if self.own.includes(address) {
            return Err(Prohibited::Own(address));
        }
        self.judge_ip(address.ip())?;
        // An allowed translation prefix must not lead to an IPv4 address that is prohibited.
        if let IpAddr::V6(v6) = address.ip() {
            let allowing =
                self.allow_networks.iter().filter(|network| network.contains(&address.ip()));
            let prefix = allowing.map(IpNet::prefix_len).max();
            for v4 in embedded_v4(v6, prefix) {
                self.judge_ip(IpAddr::V4(v4))?;
            }
        }
        Ok(())
    }

    fn judge_ip(&self, ip: IpAddr) -> Result<(), Prohibited> {
        let class = classify(ip);
        let allowed = class == AddressClass::Public
            || self.allow_networks.iter().any(|network| network.contains(&ip));
        if allowed { Ok(()) } else { Err(Prohibited::Class(ip, class)) }
    }
}

impl Judged {
    /// The addresses, in the resolver's order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(allowed: &[&str], addresses: &[&str]) -> Result<(), Prohibited> {
        let networks = allowed.iter().map(|text| text.parse().unwrap()).collect();
        let own = OwnListeners::new(vec![
            "127.0.0.1:8080".parse().unwrap(),
            "0.0.0.0:8081".parse().unwrap(),
        ]);
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Guard::new(networks, own).judge(addresses).map(drop)
    }

    #[test]
    fn one_prohibited_address_condemns_them_all() {
        assert_eq!(judge(&[], &["8.8.8.8:443", "[2606:4700::1111]:443"]), Ok(()));
        assert_eq!(
            judge(&[], &["8.8.8.8:443", "10.0.0.1:443"]),
            Err(Prohibited::Class("10.0.0.1".parse().unwrap(), AddressClass::Private))
        );
    }

    #[test]
    fn a_collector_is_anywhere_but_here() {
        let own = OwnListeners::new(vec!["0.0.0.0:8081".parse().unwrap()]);
        let guard = Guard::new(Vec::new(), own).for_collectors();
        let judge = |address: &str| guard.judge(vec![address.parse().unwrap()]).is_ok();
        for address in ["127.0.0.1:4318", "10.0.0.1:4318", "[::1]:4318", "[fd00::1]:4318"] {
            assert!(judge(address), "{address}");
        }
        assert!(!judge("127.0.0.1:8081"));
    }

    #[test]
    fn allowed_networks_are_allowed_and_nothing_beside_them() {
        assert_eq!(judge(&["10.1.0.0/16"], &["10.1.2.3:443"]), Ok(()));
        assert!(judge(&["10.1.0.0/16"], &["10.2.0.1:443"]).is_err());
        assert!(judge(&["127.0.0.0/8"], &["[::ffff:127.0.0.1]:443"]).is_err());
    }

    #[test]
    fn a_translation_prefix_does_not_open_what_lies_behind_it() {
        let prefix = &["64:ff9b::/96"];
        assert_eq!(judge(prefix, &["[64:ff9b::808:808]:443"]), Ok(()));
        assert!(judge(prefix, &["[64:ff9b::a9fe:a9fe]:443"]).is_err());
        let prefix = &["64:ff9b:1::/48"];
        assert_eq!(judge(prefix, &["[64:ff9b:1::808:808]:443"]), Ok(()));
        assert_eq!(judge(prefix, &["[64:ff9b:1:808:8:800::]:443"]), Ok(()));
        assert!(judge(prefix, &["[64:ff9b:1:a9fe:a9:fe00::]:443"]).is_err());
        assert_eq!(judge(prefix, &["[64:ff9b:1:5d0a:1:200::]:443"]), Ok(()));
        let prefix = &["64:ff9b:1:fffe::/96"];
        assert_eq!(judge(prefix, &["[64:ff9b:1:fffe::808:808]:443"]), Ok(()));
        assert!(judge(prefix, &["[64:ff9b:1:fffe::a00:1]:443"]).is_err());
    }

    #[test]
    fn the_proxy_never_dials_itself() {
        let all = &["127.0.0.0/8", "10.0.0.0/8"];
        assert_eq!(judge(all, &["127.0.0.1:8443"]), Ok(()));
        let mapped = &["::ffff:0:0/96", "127.0.0.0/8"];
        assert!(judge(mapped, &["[::ffff:127.0.0.1]:8080"]).is_err());
        for own in ["127.0.0.1:8080", "127.0.0.1:8081", "10.0.0.7:8081"] {
            let own: SocketAddr = own.parse().unwrap();
            assert_eq!(judge(all, &[&own.to_string()]), Err(Prohibited::Own(own)));
        }
    }
}
