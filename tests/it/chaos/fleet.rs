//! Instances over one store, operators who write all the time, and callers who send all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::books::{Page, Secret};
use super::dice::Dice;
use crate::support::ask::{Ask, ask, stranger};
use crate::support::operator::{CONNECTIONS, TOKENS};
use crate::support::origin::{Origin, ok};
use crate::support::soon;
use crate::support::world::{Running, World, authority};

/// Operators, each of whom writes one connection and one token at a time.
const LANES: usize = 4;

/// Several instances of one store.
pub(super) struct Fleet {
    pub(super) origin: Origin,
    instances: Vec<RwLock<Option<Arc<Running>>>>,
    world: Box<dyn Fn(&Origin) -> World + Send + Sync>,
    pub(super) pages: Vec<Mutex<Page>>,
    /// Tokens whose revocation was acknowledged.
    revoked: Mutex<Vec<String>>,
    next_secret: AtomicU64,
    sent: AtomicU64,
}

/// Sends a request on a conn of its own; gives status and body, where there is a whole answer.
pub(super) async fn send(address: &str, ask: Ask) -> Option<(u16, String)> {
    let exchange = async {
        let mut io = TcpStream::connect(address).await.ok()?;
        io.write_all(&ask.field("Connection", "close").bytes()).await.ok()?;
        let mut answer = Vec::new();
        io.read_to_end(&mut answer).await.ok()?;
        let text = String::from_utf8(answer).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some((status, body.to_owned()))
    };
    timeout(Duration::from_secs(5), exchange).await.ok().flatten()
}

fn name(lane: usize) -> String {
    format!("lane-{lane}")
}

fn through(lane: usize) -> Ask {
    ask("GET https://api.example.test/v1").field("X-Zis-Connection", &name(lane))
}

/// An origin that answers with the number in its credential.
async fn numbering() -> Origin {
    Origin::answering(&["http/1.1"], |seen| {
        let credential = seen.field("authorization");
        ok(credential.strip_prefix("Bearer secret-").unwrap_or("none"))
    })
    .await
}

impl Fleet {
    /// So many instances of what `world` makes.
    pub(super) async fn of(
        count: usize,
        world: impl Fn(&Origin) -> World + Send + Sync + 'static,
    ) -> Self {
        let origin = numbering().await;
        let mut instances = Vec::new();
        for _ in 0..count {
            instances.push(RwLock::new(Some(Arc::new(world(&origin).run().await))));
        }
        Self {
            origin,
            instances,
            world: Box::new(world),
            pages: (0..LANES).map(|_| Mutex::new(Page::blank())).collect(),
            revoked: Mutex::default(),
            next_secret: AtomicU64::new(1),
            sent: AtomicU64::new(0),
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Running>> {
        self.instances
            .iter()
            .map(|instance| Arc::clone(instance.read().as_ref().unwrap()))
            .collect()
    }

    /// Puts another instance in the place of one that was killed.
    pub(super) async fn replace(&self, number: usize) {
        let fresh = Arc::new((self.world)(&self.origin).run().await);
        *self.instances[number].write() = Some(fresh);
    }

    /// Writes and sends until `end`, at random instances.
    pub(super) async fn work(&self, dice: &Dice, end: Instant) {
        let operators = (0..LANES).map(|lane| async move {
            while Instant::now() < end {
                self.write(dice, lane).await;
                sleep(Duration::from_millis(dice.below(20))).await;
            }
        });
        let callers = (0..LANES).map(|lane| async move {
            while Instant::now() < end {
                self.call(dice, lane).await;
                sleep(Duration::from_millis(10)).await;
            }
        });
        let operators = futures_util::future::join_all(operators);
        tokio::join!(operators, futures_util::future::join_all(callers));
    }

    /// One write of a lane's connection, or the life of a token.
    async fn write(&self, dice: &Dice, lane: usize) {
        let instances = self.all();
        let server = dice.one_of(&instances);
        if dice.below(4) == 0 {
            self.make_and_revoke_a_token(server).await;
            return;
        }
        let exists = self.pages[lane].lock().may_exist();
        let secret = self.next_secret.fetch_add(1, Relaxed);
        let token = json!({"token": format!("secret-{secret}")});
        let one = format!("{CONNECTIONS}/bearer_token/{}", name(lane));
        let (ask_line, body, next, done): (_, _, Secret, u16) = match (exists, dice.below(3)) {
            (false, _) => {
                let body = json!({
                    "name": name(lane), "allowed_domain": "api.example.test",
                    "token": format!("secret-{secret}"),
                });
                (format!("POST {CONNECTIONS}/bearer_token"), Some(body), Some(secret), 201)
            }
            (true, 0) => (format!("DELETE {one}"), None, None, 204),
            (true, _) => (format!("PATCH {one}"), Some(token), Some(secret), 204),
        };
        self.pages[lane].lock().try_to(next);
        let answer = manage(server, &ask_line, body).await;
        {
            let mut page = self.pages[lane].lock();
            match answer {
                Some((status, _)) if status == done => return page.acknowledge(next),
                Some((404, _)) => return page.learn(false),
                Some((409, _)) => return page.learn(true),
                Some((400..500, text)) => panic!("{ask_line}: {text}"),
                _ => page.doubt(next),
            }
        }
        // It may still be on its way to the database; the next write comes after it.
        sleep(Duration::from_millis(300)).await;
    }

    async fn make_and_revoke_a_token(&self, server: &Running) {
        let number = self.next_secret.fetch_add(1, Relaxed);
        let body = json!({
            "name": format!("token-{number}"), "integration": "acme", "scopes": ["proxy"],
        });
        let made = manage(server, &format!("POST {TOKENS}"), Some(body)).await;
        let Some((201, text)) = made else { return };
        let made: Value = serde_json::from_str(&text).unwrap();
        let text = |member: &str| made["token"][member].as_str().unwrap().to_owned();
        let revoked = manage(server, &format!("DELETE {TOKENS}/{}", text("id")), None).await;
        if matches!(revoked, Some((204, _))) {
            self.revoked.lock().push(text("secret"));
        }
    }

    /// One request; what the origin gets is the connection's own credential, of whatever time.
    async fn call(&self, dice: &Dice, lane: usize) {
        let instances = self.all();
        let server = dice.one_of(&instances);
        let Some((200, body)) = send(server.address(), through(lane)).await else { return };
        self.sent.fetch_add(1, Relaxed);
        let secret = body.parse().unwrap_or_else(|_| panic!("sent without its credential: {body}"));
        assert!(self.pages[lane].lock().was_given(secret), "lane {lane} was sent secret-{secret}");
    }

    /// What an instance has in force for a lane.
    async fn found(server: &Running, lane: usize) -> Option<Secret> {
        match send(server.address(), through(lane)).await? {
            (200, body) => Some(Some(body.parse().unwrap())),
            (403, _) => Some(None),
            _ => None,
        }
    }

    /// Kills an instance that nobody asks anything, and starts it again with what it has kept.
    pub(super) async fn restart(&self, number: usize) {
        let before = self.instances[number].write().take().unwrap();
        let world = Arc::into_inner(before).unwrap().killed().await;
        *self.instances[number].write() = Some(Arc::new(world.run().await));
    }

    /// Waits until an instance has of a lane what was acknowledged.
    async fn is_right(&self, server: &Running, lane: usize) {
        loop {
            let found = Self::found(server, lane).await;
            if found.is_some_and(|found| self.pages[lane].lock().is_possible(found)) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every instance has in force what was acknowledged and refuses what was revoked;
    /// says what there was, and how many writes the database itself has lost.
    pub(super) async fn settles(&self, scenario: &str, lost_with_the_database: u64) {
        for server in self.all() {
            for lane in 0..LANES {
                let is_right = self.is_right(&server, lane);
                let settled = timeout(Duration::from_secs(12), is_right).await;
                let page = self.pages[lane].lock().clone();
                assert!(settled.is_ok(), "lane {lane}: {page:?}: {}", server.log.text());
            }
            let revoked = self.revoked.lock().clone();
            for token in &revoked {
                let by = || {
                    stranger("GET https://api.example.test/v1")
                        .field("Proxy-Authorization", &format!("Bearer {token}"))
                };
                let refused = async {
                    while !matches!(send(server.address(), by()).await, Some((407, _))) {}
                };
                soon(refused).await;
            }
        }
        let pages: Vec<Page> = self.pages.iter().map(|page| page.lock().clone()).collect();
        let of = |count: fn(&Page) -> u64| pages.iter().map(count).sum::<u64>();
        let said = format!(
            "{} writes acknowledged, {} unanswered, {} tokens revoked, {} requests answered; lost: \
             {lost_with_the_database} writes that the database has lost, and nothing else",
            of(|page| page.acknowledged),
            of(|page| page.unanswered),
            self.revoked.lock().len(),
            self.sent.load(Relaxed),
        );
        super::report(scenario, &said);
        assert!(of(|page| page.acknowledged) > 0 && self.sent.load(Relaxed) > 0, "{said}");
    }

    /// Waits until each instance acknowledges a write.
    pub(super) async fn all_can_write(&self) {
        for server in self.all() {
            let number = self.next_secret.fetch_add(1, Relaxed);
            let body = json!({
                "name": format!("proof-{number}"), "integration": "acme", "scopes": ["proxy"],
            });
            let line = format!("POST {TOKENS}");
            // One that was not acknowledged may have been done.
            let acknowledged = async {
                while !matches!(
                    manage(&server, &line, Some(body.clone())).await,
                    Some((201 | 409, _))
                ) {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            soon(acknowledged).await;
        }
    }
}

/// Asks the API as the operator; `None` where there is no whole answer.
pub(super) async fn manage(
    server: &Running,
    line: &str,
    body: Option<Value>,
) -> Option<(u16, String)> {
    let token = std::fs::read_to_string(server.world.path("data/admin.token")).unwrap();
    let ask = stranger(line).field("Authorization", &format!("Bearer {}", token.trim()));
    let ask = match body {
        Some(body) => ask.field("Content-Type", "application/json").body(body.to_string()),
        None => ask,
    };
    send(authority(&server.api), ask).await
}
