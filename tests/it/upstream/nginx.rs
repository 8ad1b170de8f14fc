//! A real nginx with HTTP/2, which ends each conn after a number of requests, and is reloaded.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::ask::ask;
use crate::support::raw::Raw;
use crate::support::tls::{NAMES, TRUSTED};
use crate::support::world::World;
use crate::support::{origin, soon};

const CALLERS: usize = 16;
const REQUESTS: usize = 8_000;
const RELOADS: usize = 3;

/// nginx, running; it is stopped when this is dropped.
struct Nginx {
    child: Child,
    address: String,
    _directory: TempDir,
}

impl Nginx {
    async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let address = origin::listen().await.local_addr().unwrap().to_string();
        let leaf = TRUSTED.leaf(NAMES);
        let write = |name: &str, content: &str| {
            std::fs::write(directory.path().join(name), content).unwrap();
        };
        write("cert.pem", &leaf.pem);
        write("key.pem", &leaf.key.serialize_pem());
        write(
            "nginx.conf",
            &format!(
                "daemon off; pid nginx.pid; error_log stderr crit; worker_processes 2;\n\
                 events {{ worker_connections 256; }}\n\
                 http {{\n\
                   access_log off; keepalive_requests 100; client_body_temp_path body;\n\
                   proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n\
                   server {{\n\
                     listen {address} ssl http2; ssl_certificate cert.pem;\n\
                     ssl_certificate_key key.pem;\n\
                     location / {{ return 200 ok; }}\n\
                   }}\n\
                 }}\n"
            ),
        );
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        // Debian keeps it where only root looks.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
        let child = command.stdin(Stdio::null()).spawn().expect("nginx is not installed");
        let nginx = Self { child, address, _directory: directory };
        soon(async {
            while TcpStream::connect(&nginx.address).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
        nginx
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let _reaped = self.child.wait();
    }
}

#[tokio::test]
async fn every_request_to_a_real_nginx_is_answered_whatever_conns_it_ends() {
    let nginx = Nginx::start().await;
    let world = World::empty()
        .bearer("acme.api", "api.example.test", "bearer-secret")
        .token("runner", "acme", "")
        .pin_to("api.example.test:443", &nginx.address)
        .run()
        .await;
    let address = world.address().to_owned();
    let done = Arc::new(AtomicUsize::new(0));
    let callers = (0..CALLERS).map(|caller| {
        let (address, done) = (address.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut raw = Raw::tcp(&address).await;
            let get = ask("GET https://api.example.test/v1");
            let post = ask("POST https://api.example.test/v1").body(vec![b'x'; 1000]);
            let mut failed = Vec::new();
            for number in 0..REQUESTS / CALLERS {
                let request = if (number + caller) % 2 == 0 { &get } else { &post };
                let answer = raw.send(request).await;
                if answer.status != 200 {
                    failed.push((answer.status, answer.text()));
                }
                done.fetch_add(1, SeqCst);
            }
            failed
        })
    });
    let reloads = async {
        for reload in 1..=RELOADS {
            let due = REQUESTS * reload / (RELOADS + 1);
            while done.load(SeqCst) < due {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            nginx.signal(Signal::HUP);
        }
    };
    let (answers, ()) = tokio::join!(join_all(callers), reloads);
    let failed: Vec<_> = answers.into_iter().flat_map(Result::unwrap).collect();
    assert!(failed.is_empty(), "{} of {REQUESTS}: {:?}", failed.len(), failed.first());
    // More conns than would do for requests that are not refused, as each carries a hundred.
    let handshakes = "keyferry_upstream_handshakes_total{outcome=\"completed\"}";
    assert!(world.metric(handshakes).await >= 80.0, "nginx has ended no conns");
}
