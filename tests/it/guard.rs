//! Addresses are judged before one of them is dialed.

use std::net::SocketAddr;
use std::sync::Arc;

use keyferry::upstream::{Lookup, Resolver};

use crate::support::ask::ask;
use crate::support::inside;
use crate::support::origin::Origin;
use crate::support::raw::{Raw, refused};
use crate::support::world::World;

const URL: &str = "GET https://api.example.test/v1";

/// One address of each class that is not the public internet.
const PROHIBITED: [&str; 26] = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[100::1]",
    "[2001::1]",
    "[2001:db8::1]",
    "[2002:7f00:1::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
];

#[tokio::test]
async fn a_name_that_leads_to_any_prohibited_address_is_refused_and_not_dialed() {
    let origin = Origin::start().await;
    let port = origin.address.port();
    let mut world = World::new(&origin).set("upstream.allow_networks", "[]");
    for (number, address) in PROHIBITED.iter().enumerate() {
        let host = format!("n{number}.wild.example.test:443");
        world = world.pin_to(&host, &format!("{address}:{port}"));
    }
    let world = world.bearer("acme.wild", "*.wild.example.test", "wild-secret").run().await;
    let mut raw = world.raw().await;
    for (number, address) in PROHIBITED.iter().enumerate() {
        let path = format!("/{number}");
        let line = format!("GET https://n{number}.wild.example.test{path}");
        let answer = raw.send(&ask(&line)).await;
        assert_eq!(answer.refusal(), refused(403, "AddressProhibited"), "{address}");
        let address = address.trim_matches(['[', ']']);
        assert!(!answer.text().contains(address), "a caller is not told where a name leads");
        let entry = world.log.entry_of(&path).await;
        assert_eq!(
            (entry["decision"].as_str(), entry["rule"].as_str()),
            (Some("refuse"), Some("address"))
        );
        assert!(entry["cause"].as_str().unwrap().contains("address"), "{entry}");
    }
    assert_eq!(origin.conns(), 0);
    assert!(
        (world.metric("keyferry_upstream_handshakes_total{outcome=\"completed\"}").await) < 0.5
    );
}

#[tokio::test]
async fn the_proxy_is_never_its_own_origin() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let api = world.api.strip_prefix("http://").unwrap().to_owned();
    let proxy = world.address().to_owned();
    let mut world = world;
    world
        .reload(|world| {
            world
                .bearer("acme.wild", "*.wild.example.test", "wild-secret")
                .pin_to("a.wild.example.test:443", &proxy)
                .pin_to("b.wild.example.test:443", &api)
        })
        .await;
    for host in ["a", "b"] {
        let answer = world.send(&ask(&format!("GET https://{host}.wild.example.test/v1"))).await;
        assert_eq!(answer.refusal(), refused(403, "AddressProhibited"), "{host}");
    }
    assert_eq!(world.send(&ask(URL)).await.status, 200);
}

#[tokio::test]
async fn only_the_networks_that_are_allowed_are_open() {
    let origin = Origin::start().await;
    let world =
        World::new(&origin).set("upstream.allow_networks", "[\"127.0.0.1/32\"]").run().await;
    assert_eq!(world.send(&ask(URL)).await.status, 200);
    for network in ["127.0.0.0/32", "10.0.0.0/8", "::1/128", "::ffff:0:0/96"] {
        let networks = format!("[\"{network}\"]");
        let world = World::new(&origin).set("upstream.allow_networks", &networks).run().await;
        let answer = world.send(&ask(URL)).await;
        assert_eq!(answer.refusal(), refused(403, "AddressProhibited"), "{network}");
    }
    assert_eq!(origin.conns(), 1);
}

/// Answers every name with these addresses, whatever the port.
#[derive(Debug)]
struct Says(Vec<SocketAddr>);

impl Resolver for Says {
    fn lookup<'a>(&'a self, _host: &'a str, _port: u16) -> Lookup<'a> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

fn unpinned() -> World {
    World::empty()
        .bearer("acme.api", "api.example.test", "bearer-secret")
        .token("runner", "acme", "")
}

#[tokio::test]
async fn one_prohibited_address_among_good_ones_condemns_the_name() {
    let origin = Origin::start().await;
    for mixed in ["10.0.0.1:443", "[::1]:443", "169.254.169.254:443"] {
        let says = Says(vec![origin.address, mixed.parse().unwrap()]);
        let address = inside::serve(&unpinned(), Arc::new(says), false);
        let answer = Raw::tcp(&address).await.send(&ask(URL)).await;
        assert_eq!(answer.refusal(), refused(403, "AddressProhibited"), "{mixed}");
    }
    assert_eq!(origin.conns(), 0);
    let address = inside::serve(&unpinned(), Arc::new(Says(vec![origin.address])), false);
    assert_eq!(Raw::tcp(&address).await.send(&ask(URL)).await.status, 200);
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let origin = Origin::start().await;
    let closed = crate::support::origin::listen().await.local_addr().unwrap();
    let says = Says(vec![closed, origin.address]);
    let address = inside::serve(&unpinned(), Arc::new(says), false);
    assert_eq!(Raw::tcp(&address).await.send(&ask(URL)).await.status, 200);
}

#[tokio::test]
async fn a_name_without_addresses_is_unresolved() {
    let address = inside::serve(&unpinned(), Arc::new(Says(Vec::new())), false);
    let answer = Raw::tcp(&address).await.send(&ask(URL)).await;
    assert_eq!(answer.refusal(), refused(502, "NameUnresolved"));
}
