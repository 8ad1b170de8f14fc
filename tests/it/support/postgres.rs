//! A PostgreSQL server of the test's own, out of Debian's packages: on a unix socket in a
//! directory that goes with it.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keyferry::secret::Secret;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;

use super::soon;

/// A server. It is stopped when this is dropped.
pub(crate) struct Postgres {
    directory: TempDir,
    server: Child,
}

impl Postgres {
    /// Makes a server with an empty database.
    pub(crate) async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        if let Some((uid, gid)) = servant() {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let data = directory.path().join("data");
        let options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"];
        // Not the C locale, so that the order of names has to be asked for.
        let locale = ["--locale", "C.UTF-8"];
        let made = command("initdb").args(options).args(locale).arg("-D").arg(&data).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let server = run(directory.path());
        let postgres = Self { directory, server };
        postgres.ready().await;
        postgres
    }

    /// Makes a standby that follows this server asynchronously, and waits until it has all that
    /// this server has now.
    pub(crate) async fn standby(&self) -> Self {
        let directory = TempDir::new().unwrap();
        if let Some((uid, gid)) = servant() {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut copy = command("pg_basebackup");
        copy.args(["-U", "postgres", "-R", "-c", "fast", "--no-sync", "-h"]).arg(self.directory());
        let copied = copy.arg("-D").arg(directory.path().join("data")).output().unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let server = run(directory.path());
        let standby = Self { directory, server };
        standby.ready().await;
        let written: String = sqlx::query_scalar("SELECT pg_current_wal_lsn()::text")
            .fetch_one(&mut self.connect().await)
            .await
            .unwrap();
        let mut conn = standby.connect().await;
        let replayed = "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)";
        let caught_up = async {
            let mut is_there = false;
            while !is_there {
                let asked = sqlx::query_scalar(replayed).bind(&written);
                is_there = asked.fetch_one(&mut conn).await.unwrap();
            }
        };
        soon(caught_up).await;
        standby
    }

    /// Makes a standby a server that can be written to.
    pub(crate) async fn promote(&self) {
        let promoted: bool = sqlx::query_scalar("SELECT pg_promote()")
            .fetch_one(&mut self.connect().await)
            .await
            .unwrap();
        assert!(promoted);
    }

    /// Where it is.
    pub(crate) fn url(&self) -> Secret {
        Secret::new(format!(
            "postgres://postgres@localhost/postgres?host={}",
            self.directory.path().display()
        ))
    }

    /// Where everything is that it writes.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A connection that is nobody's but the test's.
    pub(crate) async fn connect(&self) -> PgConnection {
        self.options().connect().await.unwrap()
    }

    /// Ends the server at once, as a crash would, and starts it again.
    pub(crate) async fn crash(&mut self) {
        self.stop();
        self.go_on().await;
    }

    /// Ends the server at once, as a crash would, and leaves it so.
    pub(crate) fn stop(&mut self) {
        kill_process(Pid::from_child(&self.server), Signal::QUIT).unwrap();
        self.server.wait().unwrap();
    }

    /// Starts the server that was stopped.
    pub(crate) async fn go_on(&mut self) {
        self.server = run(self.directory.path());
        self.ready().await;
    }

    /// All that is in the database, as text.
    pub(crate) fn dump(&self) -> Vec<u8> {
        let host = ["-U", "postgres", "-h", self.directory.path().to_str().unwrap()];
        let dumped = command("pg_dump").args(host).output().unwrap();
        assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
        dumped.stdout
    }

    async fn ready(&self) {
        let connect = async {
            while self.options().connect().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon(connect).await;
    }

    fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.directory.path())
            .username("postgres")
            .database("postgres")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.server.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.stop();
        }
    }
}

/// It keeps what it has acknowledged when it crashes; that the machine does, nobody asks here.
fn run(directory: &Path) -> Child {
    let log = fs::File::create(directory.join("log")).unwrap();
    let mut server = command("postgres");
    server.arg("-D").arg(directory.join("data")).arg("-k").arg(directory);
    server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=50"]);
    server.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// One of the server's programs, to be run by somebody who is not root: the server refuses him.
fn command(name: &str) -> Command {
    as_servant(&program(name))
}

/// A program that is run by somebody who is not root.
pub(super) fn as_servant(program: &Path) -> Command {
    let mut command = match servant() {
        None => Command::new(program),
        Some((uid, gid)) => {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
            command.arg("--clear-groups").arg(program);
            command
        }
    };
    command.env_clear().current_dir("/");
    if let Some(path) = option_env!("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Debian keeps the programs of each version in a directory of its own.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<_> = versions
        .map(|version| version.unwrap().path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}

/// `nobody`, when we are root.
pub(super) fn servant() -> Option<(u32, u32)> {
    geteuid().is_root().then_some((65534, 65534))
}
