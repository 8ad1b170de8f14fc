//! A pooler in transaction mode before a server of the test's own: `PgBouncer`, out of Debian's
//! packages.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::postgres::{Postgres, as_servant, servant};
use super::soon;

/// A pooler. It is stopped when this is dropped.
pub(crate) struct PgBouncer {
    directory: TempDir,
    pooler: Child,
}

impl PgBouncer {
    /// Starts a pooler with so few conns to the server that those who use it share them.
    pub(crate) async fn before(postgres: &Postgres) -> Self {
        let directory = TempDir::new().unwrap();
        let here = directory.path().display();
        let file = directory.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\npostgres = host={server} user=postgres\n[pgbouncer]\n\
             listen_addr =\nlisten_port = 6432\nunix_socket_dir = {here}\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 3\nlogfile = {here}/log\n",
            server = postgres.directory().display()
        );
        fs::write(&file, settings).unwrap();
        if let Some((uid, gid)) = servant() {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let debian = Path::new("/usr/sbin/pgbouncer");
        let program = if debian.exists() { debian } else { Path::new("pgbouncer") };
        let mut pooler = as_servant(program);
        let pooler = pooler.arg("-q").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let pooler = Self { pooler: pooler.spawn().unwrap(), directory };
        let socket = pooler.directory.path().join(".s.PGSQL.6432");
        soon(async {
            while !socket.exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        pooler
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        let directory = self.directory.path().display();
        format!("postgres://postgres@localhost:6432/postgres?host={directory}")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ended_before = kill_process(Pid::from_child(&self.pooler), Signal::QUIT);
        let _reaped_before = self.pooler.wait();
    }
}
