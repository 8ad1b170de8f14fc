//! Look-ups of names: one integration's must not be in the way of another's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures_util::future::join_all;
use keyferry::upstream::{Lookup, Resolver};
use tokio::sync::Notify;

use crate::support::ask::{ask, stranger};
use crate::support::http2::{Http2, request};
use crate::support::inside;
use crate::support::origin::Origin;
use crate::support::raw::{Raw, refused};
use crate::support::soon;
use crate::support::world::World;

/// Never answers but for one name, and counts what it was asked.
#[derive(Debug)]
struct Slow {
    healthy: SocketAddr,
    asked: Arc<AtomicUsize>,
    heard: Arc<Notify>,
}

impl Resolver for Slow {
    fn lookup<'a>(&'a self, host: &'a str, _port: u16) -> Lookup<'a> {
        if host == "api.example.test" {
            return Box::pin(std::future::ready(Ok(vec![self.healthy])));
        }
        self.asked.fetch_add(1, SeqCst);
        self.heard.notify_one();
        Box::pin(std::future::pending())
    }
}

fn world() -> World {
    World::empty()
        .bearer("acme.api", "api.example.test", "bearer-secret")
        .token("runner", "acme", "")
        .bearer("hog.wild", "*.wild.example.test", "wild-secret")
        .token("hog", "hog", "")
        .set("upstream.resolve_timeout", "\"1s\"")
}

#[tokio::test]
async fn names_that_never_resolve_hold_up_no_other_integration() {
    let origin = Origin::start().await;
    let (asked, heard) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
    let slow =
        Slow { healthy: origin.address, asked: Arc::clone(&asked), heard: Arc::clone(&heard) };
    let address = inside::serve(&world(), Arc::new(slow), false);
    let mut conns = Vec::new();
    for _ in 0..4 {
        conns.push(Http2::over(Raw::tcp(&address).await).await);
    }
    let token = crate::support::token("hog");
    let hog = (0..220).map(|number| {
        let mut http2 = conns[number % conns.len()].clone();
        let url = format!("https://n{number}.wild.example.test/v1");
        let get = http::Request::builder()
            .uri(url)
            .header("proxy-authorization", format!("Bearer {token}"));
        async move { http2.send(get).await }
    });
    let healthy = async {
        soon(async {
            while asked.load(SeqCst) < 16 {
                heard.notified().await;
            }
        })
        .await;
        let mut raw = Raw::tcp(&address).await;
        for _ in 0..8 {
            let get = ask("GET https://api.example.test/v1").field("Connection", "close");
            assert_eq!(raw.send(&get).await.status, 200);
            raw = Raw::tcp(&address).await;
        }
    };
    let (answers, ()) = tokio::join!(join_all(hog), healthy);
    for answer in &answers {
        assert_eq!(answer.refusal(), refused(504, "NameTimeout"));
    }
    let waited =
        answers.iter().filter(|answer| answer.title().contains("its callers should check"));
    assert_eq!(waited.count(), 220 - 16, "who must act is named");
    assert_eq!(asked.load(SeqCst), 16, "who gave up is not looked up");
    // What hangs still hangs, and is nobody else's matter.
    let answer = Raw::tcp(&address).await.send(&ask("GET https://api.example.test/v1")).await;
    assert_eq!(answer.status, 200);
    let own = stranger("GET https://more.wild.example.test/").by("hog");
    let answer = Raw::tcp(&address).await.send(&own).await;
    assert_eq!(answer.refusal(), refused(504, "NameTimeout"));
}

#[tokio::test]
async fn many_requests_for_one_name_ask_for_it_once() {
    let (asked, heard) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
    let slow = Slow {
        healthy: "127.0.0.1:1".parse().unwrap(),
        asked: Arc::clone(&asked),
        heard: Arc::clone(&heard),
    };
    let world = world().bearer("acme.slow", "slow.example.test", "slow-secret");
    let address = inside::serve(&world, Arc::new(slow), false);
    let http2 = Http2::over(Raw::tcp(&address).await).await;
    let asks = (0..50).map(|_| {
        let mut http2 = http2.clone();
        async move { http2.send(request("GET", "https://slow.example.test/v1")).await }
    });
    for answer in join_all(asks).await {
        assert_eq!(answer.refusal(), refused(504, "NameTimeout"));
        assert!(answer.title().contains("operator should check DNS"), "{}", answer.title());
    }
    assert_eq!(asked.load(SeqCst), 1);
}
