//! Many tunnels at once, and callers that open and drop.

use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::inner;
use crate::support::origin::Origin;
use crate::support::raw::Raw;
use crate::support::tunnel::API;
use crate::support::world::World;

const IDLE: usize = 5000;

fn allow_many_files() {
    let most = getrlimit(Resource::Nofile).maximum;
    let _as_far_as_it_goes = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
}

#[tokio::test]
async fn five_thousand_idle_tunnels_disturb_nobody() {
    allow_many_files();
    let origin = Origin::start().await;
    let limit = ("proxy.max_connections", "60000");
    let world = World::new(&origin).set(limit.0, limit.1).run().await;
    let mut idle: Vec<Raw> = Vec::new();
    while idle.len() < IDLE {
        let opened = join_all((0..100).map(|_| async {
            let mut tunnel = world.tunnel().await;
            assert_eq!(tunnel.send(&inner("HEAD /v1")).await.status, 200);
            tunnel
        }));
        idle.extend(opened.await);
    }
    assert!(world.metric("keyferry_caller_connections").await >= 5000.0);
    assert!(world.metric("keyferry_leaf_cache_entries").await < 1.5);
    let mut fresh = world.tunnel().await;
    assert_eq!(fresh.send(&inner("GET /v1")).await.status, 200);
    for tunnel in idle.iter_mut().step_by(500) {
        assert_eq!(tunnel.send(&inner("GET /v1")).await.status, 200);
    }
}

#[tokio::test]
async fn streams_that_are_reset_at_once_harm_nobody_else() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut patient = world.tunnel().await;
    let mut rapid = world.http2_tunnel().await;
    let mut dropped = 0;
    for _ in 0..2000 {
        let request = Request::get(format!("https://{API}/v1"));
        let starting = rapid.start(request, Empty::new().boxed_unsync());
        // Polled once, so that the stream is opened, and dropped, so that it is reset.
        let mut starting = Box::pin(starting);
        if futures_util::poll!(&mut starting).is_pending() {
            dropped += 1;
        }
        drop(starting);
        tokio::task::yield_now().await;
    }
    assert!(dropped > 0);
    assert_eq!(patient.send(&inner("GET /v1")).await.status, 200);
    let mut fresh = world.http2_tunnel().await;
    let request = Request::get(format!("https://{API}/v1"));
    assert_eq!(fresh.send(request).await.status, 200);
}
