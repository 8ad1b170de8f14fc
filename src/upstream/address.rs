//! Classifies IP addresses by the IANA special-purpose registries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::model::named_enum;

named_enum! {
    /// The kind of an address. Only [`AddressClass::Public`] may be dialed unless the operator
    /// allows more.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub enum AddressClass {
        /// Benchmarking (RFC 2544, RFC 5180).
        Benchmarking = "benchmarking",
        /// 255.255.255.255.
        Broadcast = "broadcast",
        /// Shared address space of carrier-grade NAT (RFC 6598).
        CarrierNat = "carrier-grade NAT",
        /// Discard-only (RFC 6666, RFC 9780).
        Discard = "discard-only",
        /// Documentation (RFC 5737, RFC 3849, RFC 9637).
        Documentation = "documentation",
        /// Link-local, where clouds keep their metadata service (RFC 3927, RFC 4291).
        LinkLocal = "link-local",
        /// Loopback.
        Loopback = "loopback",
        /// IPv4 inside IPv6 (RFC 4291 §2.5.5).
        Mapped = "IPv4-mapped",
        /// Multicast.
        Multicast = "multicast",
        /// NAT64 (RFC 6052, RFC 8215).
        Nat64 = "NAT64",
        /// Private use (RFC 1918).
        Private = "private",
        /// The public internet.
        Public = "public",
        /// Reserved, assigned to a protocol (RFC 6890), or not assigned.
        Reserved = "reserved",
        /// Site-local, deprecated (RFC 3879).
        SiteLocal = "site-local",
        /// Teredo (RFC 4380).
        Teredo = "Teredo",
        /// 0.0.0.0/8 and ::.
        ThisNetwork = "this network",
        /// 6to4 (RFC 3056, RFC 7526).
        SixToFour = "6to4",
        /// Unique local (RFC 4193).
        UniqueLocal = "unique local",
    }
}

/// The class of an address.
pub fn classify(address: IpAddr) -> AddressClass {
    let first = |table: &[(IpNet, AddressClass)]| {
        table.iter().find(|(block, _)| block.contains(&address)).map(|(_, class)| *class)
    };
    match address {
        IpAddr::V4(_) => first(&V4).unwrap_or(AddressClass::Public),
        IpAddr::V6(_) => first(&V6).unwrap_or(AddressClass::Reserved),
    }
}

/// The IPv4 addresses that are embedded in an IPv6 address, to which a translator may forward.
/// `prefix` is the length of the network by which the operator allows the address.
pub(super) fn embedded_v4(address: Ipv6Addr, prefix: Option<u8>) -> Vec<Ipv4Addr> {
    let octets = address.octets();
    let [.., a, b, c, d] = octets;
    let last = Ipv4Addr::new(a, b, c, d);
    let [_, _, six_a, six_b, six_c, six_d, ..] = octets;
    match classify(IpAddr::V6(address)) {
        AddressClass::Nat64 if octets.starts_with(&LOCAL_TRANSLATION) => {
            local_translation(octets, last, prefix.unwrap_or(0))
        }
        AddressClass::Mapped | AddressClass::Nat64 => vec![last],
        AddressClass::SixToFour => vec![Ipv4Addr::new(six_a, six_b, six_c, six_d)],
        // Teredo carries the client's address with every bit inverted (RFC 4380 §4).
        AddressClass::Teredo => vec![Ipv4Addr::new(!a, !b, !c, !d)],
        _ => Vec::new(),
    }
}

/// The IPv4 addresses embedded in an address of `64:ff9b:1::/48`. A network chooses its own prefix
/// there (RFC 8215), and the prefix's length decides the position of the IPv4 address (RFC 6052
/// §2.2). For the whole `/48` both common positions are read; an unused position is zeros.
fn local_translation(octets: [u8; 16], last: Ipv4Addr, prefix: u8) -> Vec<Ipv4Addr> {
    // The ninth octet (`u`) is never part of the IPv4 address.
    let [.., o6, o7, _, o9, o10, o11, o12, _, _, _] = octets;
    match prefix {
        96.. => vec![last],
        64..96 => vec![Ipv4Addr::new(o9, o10, o11, o12)],
        56..64 => vec![Ipv4Addr::new(o7, o9, o10, o11)],
        _ => {
            let places = [Ipv4Addr::new(o6, o7, o9, o10), last];
            let found: Vec<_> =
                places.into_iter().filter(|v4| !v4.octets().starts_with(&[0])).collect();
            if found.is_empty() { vec![last] } else { found }
        }
    }
}

/// The first octets of `64:ff9b:1::/48` (RFC 8215).
const LOCAL_TRANSLATION: [u8; 6] = [0, 0x64, 0xff, 0x9b, 0, 1];

/// The first block that contains an address decides, so narrower blocks come first.
static V4: [(IpNet, AddressClass); 21] = [
    v4([0, 0, 0, 0], 8, AddressClass::ThisNetwork),
    v4([10, 0, 0, 0], 8, AddressClass::Private),
    v4([100, 64, 0, 0], 10, AddressClass::CarrierNat),
    v4([127, 0, 0, 0], 8, AddressClass::Loopback),
    v4([169, 254, 0, 0], 16, AddressClass::LinkLocal),
    v4([172, 16, 0, 0], 12, AddressClass::Private),
    v4([192, 0, 0, 0], 24, AddressClass::Reserved),
    v4([192, 0, 2, 0], 24, AddressClass::Documentation),
    v4([192, 31, 196, 0], 24, AddressClass::Reserved),
    v4([192, 52, 193, 0], 24, AddressClass::Reserved),
    v4([192, 88, 99, 0], 24, AddressClass::SixToFour),
    v4([192, 168, 0, 0], 16, AddressClass::Private),
    v4([192, 175, 48, 0], 24, AddressClass::Reserved),
    v4([198, 18, 0, 0], 15, AddressClass::Benchmarking),
    v4([198, 51, 100, 0], 24, AddressClass::Documentation),
    v4([203, 0, 113, 0], 24, AddressClass::Documentation),
    v4([224, 0, 0, 0], 4, AddressClass::Multicast),
    v4([255, 255, 255, 255], 32, AddressClass::Broadcast),
    v4([240, 0, 0, 0], 5, AddressClass::Reserved),
    v4([248, 0, 0, 0], 6, AddressClass::Reserved),
    v4([252, 0, 0, 0], 6, AddressClass::Reserved),
];

static V6: [(IpNet, AddressClass); 23] = [
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, AddressClass::ThisNetwork),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, AddressClass::Loopback),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, AddressClass::Mapped),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, AddressClass::Mapped),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, AddressClass::Mapped),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, AddressClass::Nat64),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, AddressClass::Nat64),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, AddressClass::Discard),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, AddressClass::Discard),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, AddressClass::Teredo),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, AddressClass::Benchmarking),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, AddressClass::Reserved),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, AddressClass::Documentation),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, AddressClass::SixToFour),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, AddressClass::Reserved),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, AddressClass::Documentation),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, AddressClass::Reserved),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, AddressClass::UniqueLocal),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, AddressClass::LinkLocal),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, AddressClass::SiteLocal),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, AddressClass::Multicast),
    v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, AddressClass::Public),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 0, AddressClass::Reserved),
];

const fn v4(octets: [u8; 4], prefix: u8, class: AddressClass) -> (IpNet, AddressClass) {
    let [a, b, c, d] = octets;
    (IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)), class)
}

const fn v6(segments: [u16; 8], prefix: u8, class: AddressClass) -> (IpNet, AddressClass) {
    let [one, two, three, four, five, six, seven, eight] = segments;
    let address = Ipv6Addr::new(one, two, three, four, five, six, seven, eight);
    (IpNet::V6(Ipv6Net::new_assert(address, prefix)), class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use AddressClass::{
        Benchmarking, Broadcast, CarrierNat, Discard, Documentation, LinkLocal, Loopback, Mapped,
        Multicast, Nat64, Private, Public, Reserved, SiteLocal, SixToFour, Teredo, ThisNetwork,
        UniqueLocal,
    };

    const IPV4: &[(&str, AddressClass)] = &[
        ("0.0.0.0", ThisNetwork),
        ("0.255.255.255", ThisNetwork),
        ("1.0.0.0", Public),
        ("9.255.255.255", Public),
        ("10.0.0.0", Private),
        ("10.255.255.255", Private),
        ("11.0.0.0", Public),
        ("100.63.255.255", Public),
        ("100.64.0.0", CarrierNat),
        ("100.127.255.255", CarrierNat),
        ("100.128.0.0", Public),
        ("126.255.255.255", Public),
        ("127.0.0.0", Loopback),
        ("127.0.0.1", Loopback),
        ("127.255.255.255", Loopback),
        ("128.0.0.0", Public),
        ("169.253.255.255", Public),
        ("169.254.0.0", LinkLocal),
        ("169.254.169.254", LinkLocal),
        ("169.254.255.255", LinkLocal),
        ("169.255.0.0", Public),
        ("172.15.255.255", Public),
        ("172.16.0.0", Private),
        ("172.31.255.255", Private),
        ("172.32.0.0", Public),
        ("191.255.255.255", Public),
        ("192.0.0.0", Reserved),
        ("192.0.0.255", Reserved),
        ("192.0.1.0", Public),
        ("192.0.1.255", Public),
        ("192.0.2.0", Documentation),
        ("192.0.2.255", Documentation),
        ("192.0.3.0", Public),
        ("192.31.195.255", Public),
        ("192.31.196.0", Reserved),
        ("192.31.197.0", Public),
        ("192.52.192.255", Public),
        ("192.52.193.0", Reserved),
        ("192.52.194.0", Public),
        ("192.88.98.255", Public),
        ("192.88.99.0", SixToFour),
        ("192.88.100.0", Public),
        ("192.167.255.255", Public),
        ("192.168.0.0", Private),
        ("192.168.255.255", Private),
        ("192.169.0.0", Public),
        ("192.175.47.255", Public),
        ("192.175.48.0", Reserved),
        ("192.175.49.0", Public),
        ("198.17.255.255", Public),
        ("198.18.0.0", Benchmarking),
        ("198.19.255.255", Benchmarking),
        ("198.20.0.0", Public),
        ("198.51.99.255", Public),
        ("198.51.100.0", Documentation),
        ("198.51.101.0", Public),
        ("203.0.112.255", Public),
        ("203.0.113.0", Documentation),
        ("203.0.114.0", Public),
        ("223.255.255.255", Public),
        ("224.0.0.0", Multicast),
        ("239.255.255.255", Multicast),
        ("240.0.0.0", Reserved),
        ("247.255.255.255", Reserved),
        ("248.0.0.0", Reserved),
        ("255.255.255.254", Reserved),
        ("255.255.255.255", Broadcast),
        ("8.8.8.8", Public),
    ];

    #[test]
    fn each_ipv4_block_and_its_neighbors_are_told_apart() {
        for (address, class) in IPV4 {
            assert_eq!(classify(address.parse().unwrap()), *class, "{address}");
        }
    }

    const IPV6: &[(&str, AddressClass)] = &[
        ("::", ThisNetwork),
        ("::1", Loopback),
        ("::2", Mapped),
        ("::127.0.0.1", Mapped),
        ("::ffff:127.0.0.1", Mapped),
        ("::ffff:8.8.8.8", Mapped),
        ("::ffff:0:8.8.8.8", Mapped),
        ("::fffe:8.8.8.8", Reserved),
        ("64:ff9a::1", Reserved),
        ("64:ff9b::808:808", Nat64),
        ("64:ff9b::1:0:0", Reserved),
        ("64:ff9b:1::1", Nat64),
        ("64:ff9b:2::1", Reserved),
        ("100::1", Discard),
        ("100:0:0:1::1", Discard),
        ("100:0:0:2::1", Reserved),
        ("1fff:ffff::1", Reserved),
        ("2000::1", Public),
        ("2000:ffff::1", Public),
        ("2001::1", Teredo),
        ("2001:0:ffff::1", Teredo),
        ("2001:1::1", Reserved),
        ("2001:2::1", Benchmarking),
        ("2001:2:1::1", Reserved),
        ("2001:20::1", Reserved),
        ("2001:1ff:ffff::1", Reserved),
        ("2001:200::1", Public),
        ("2001:db7:ffff::1", Public),
        ("2001:db8::1", Documentation),
        ("2001:db9::1", Public),
        ("2002:808:808::1", SixToFour),
        ("2003::1", Public),
        ("2606:4700::1111", Public),
        ("2620:4f:7fff::1", Public),
        ("2620:4f:8000::1", Reserved),
        ("2620:4f:8001::1", Public),
        ("3ffe:ffff::1", Public),
        ("3fff::1", Documentation),
        ("3fff:fff::1", Documentation),
        ("3fff:1000::1", Public),
        ("4000::1", Reserved),
        ("5f00::1", Reserved),
        ("fbff::1", Reserved),
        ("fc00::1", UniqueLocal),
        ("fdff:ffff::1", UniqueLocal),
        ("fd00:ec2::254", UniqueLocal),
        ("fe00::1", Reserved),
        ("fe80::1", LinkLocal),
        ("febf::1", LinkLocal),
        ("fec0::1", SiteLocal),
        ("feff::1", SiteLocal),
        ("ff00::1", Multicast),
        ("ff02::1", Multicast),
    ];

    #[test]
    fn each_ipv6_block_and_its_neighbors_are_told_apart() {
        for (address, class) in IPV6 {
            assert_eq!(classify(address.parse().unwrap()), *class, "{address}");
        }
    }

    #[test]
    fn a_translated_address_shows_where_it_leads() {
        for (address, leads_to) in [
            ("64:ff9b::a00:1", &["10.0.0.1"][..]),
            ("2002:a9fe:a9fe::1", &["169.254.169.254"]),
            ("2001:0:1234::f5ff:fffe", &["10.0.0.1"]),
            ("::ffff:127.0.0.1", &["127.0.0.1"]),
            ("2606:4700::1", &[]),
            ("64:ff9b:1::", &["0.0.0.0"]),
            ("64:ff9b:1::808:808", &["8.8.8.8"]),
        ] {
            let expected: Vec<Ipv4Addr> =
                leads_to.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(embedded_v4(address.parse().unwrap(), None), expected, "{address}");
        }
    }

    #[test]
    fn a_local_translation_prefix_says_by_its_length_where_it_leads() {
        let inside: Ipv4Addr = "169.254.169.254".parse().unwrap();
        for (address, prefix) in [
            ("64:ff9b:1:a9fe:a9:fe00::", 48),
            ("64:ff9b:1:a9:fe:a9fe::", 56),
            ("64:ff9b:1::a9:fea9:fe00:0", 64),
            ("64:ff9b:1::a9fe:a9fe", 48),
            ("64:ff9b:1:fffe::a9fe:a9fe", 96),
        ] {
            let found = embedded_v4(address.parse().unwrap(), Some(prefix));
            assert_eq!(found, [inside], "{address}");
        }
    }
}
