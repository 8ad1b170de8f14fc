//! The program, with a configuration of the test's own, on loopback.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::ask::Ask;
use super::http2::Http2;
use super::log::Log;
use super::origin::Origin;
use super::raw::{Answer, Raw};
use super::{soon, tls, token};

/// What to run the program with.
pub(crate) struct World {
    settings: BTreeMap<String, String>,
    connections: Vec<String>,
    tokens: Vec<String>,
    environment: Vec<(String, String)>,
    /// The size of a disk that has the data directory alone, in MiB.
    disk: Option<u32>,
    pub(crate) directory: TempDir,
}

/// The program, running. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    /// Where callers reach the proxy.
    pub(crate) proxies: Vec<String>,
    pub(crate) api: String,
    /// Standard output.
    pub(crate) greeting: Log,
    /// Standard error.
    pub(crate) log: Log,
    pub(crate) world: World,
    reloads: usize,
}

impl World {
    /// Nothing but what every test needs: free ports, and origins on loopback by the tests' own
    /// authority.
    pub(crate) fn empty() -> Self {
        let world = Self {
            settings: BTreeMap::new(),
            connections: Vec::new(),
            tokens: Vec::new(),
            environment: Vec::new(),
            disk: None,
            directory: TempDir::new().unwrap(),
        };
        world
            .file("ca.pem", &tls::TRUSTED.pem)
            .set("store.url", "\"memory:\"")
            .set("proxy.listen", "[\"127.0.0.1:0\"]")
            .set("api.listen", "\"127.0.0.1:0\"")
            .set("upstream.extra_roots", "[\"ca.pem\"]")
            .set("upstream.allow_networks", "[\"127.0.0.0/8\"]")
    }

    /// One connection, `acme.api` of type `bearer_token`, to `api.example.test`, which is
    /// `origin`, and one token, `runner`.
    pub(crate) fn new(origin: &Origin) -> Self {
        Self::empty()
            .bearer("acme.api", "api.example.test", "bearer-secret")
            .token("runner", "acme", "")
            .pin("api.example.test", origin)
    }

    /// A setting as it stands in TOML: `set("proxy.plain_http", "\"upgrade\"")`.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The origin behind a name.
    pub(crate) fn pin(self, host: &str, origin: &Origin) -> Self {
        self.pin_to(&format!("{host}:443"), &origin.address.to_string())
    }

    pub(crate) fn pin_to(self, host_and_port: &str, address: &str) -> Self {
        self.set(&format!("upstream.resolve.{host_and_port:?}"), &format!("{address:?}"))
    }

    pub(crate) fn bearer(self, name: &str, domain: &str, secret: &str) -> Self {
        self.connection(name, domain, &format!("type = \"bearer_token\"\ntoken = {secret:?}"))
    }

    pub(crate) fn key(self, name: &str, domain: &str, header: &str, secret: &str) -> Self {
        let rest = format!("type = \"api_key\"\nheader_name = {header:?}\napi_key = {secret:?}");
        self.connection(name, domain, &rest)
    }

    pub(crate) fn basic(self, name: &str, domain: &str, user: &str, secret: &str) -> Self {
        let rest = format!("type = \"basic_auth\"\nusername = {user:?}\npassword = {secret:?}");
        self.connection(name, domain, &rest)
    }

    /// A connection by its full name, and the rest of its table.
    pub(crate) fn connection(mut self, name: &str, domain: &str, rest: &str) -> Self {
        let (integration, name) = name.split_once('.').unwrap();
        self.connections.push(format!(
            "[[connections]]\nintegration = {integration:?}\nname = {name:?}\n\
             allowed_domain = {domain:?}\n{rest}\n"
        ));
        self
    }

    /// A custom connection by its full name, and the rest of its table.
    pub(crate) fn custom(mut self, name: &str, rest: &str) -> Self {
        let (integration, name) = name.split_once('.').unwrap();
        self.connections.push(format!(
            "[[connections]]\nintegration = {integration:?}\nname = {name:?}\n\
             type = \"custom\"\n{rest}\n"
        ));
        self
    }

    /// A token with the scope `proxy`, and the rest of its table.
    pub(crate) fn token(self, name: &str, integration: &str, rest: &str) -> Self {
        self.scoped_token(name, integration, "proxy", rest)
    }

    pub(crate) fn scoped_token(mut self, name: &str, of: &str, scope: &str, rest: &str) -> Self {
        let secret = token(name);
        self.tokens.push(format!(
            "[[tokens]]\nname = {name:?}\nintegration = {of:?}\nscopes = [{scope:?}]\n\
             token = {secret:?}\n{rest}\n"
        ));
        self
    }

    /// A table as it stands.
    pub(crate) fn table(mut self, table: &str) -> Self {
        self.tokens.push(table.to_owned());
        self
    }

    /// Takes a token or connection out again, by a piece of its table.
    pub(crate) fn without(mut self, piece: &str) -> Self {
        self.tokens.retain(|table| !table.contains(piece));
        self.connections.retain(|table| !table.contains(piece));
        self
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        fs::write(self.path(name), content).unwrap();
        self
    }

    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.environment.push((variable.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Gives the data directory a disk of its own, of so many MiB, which nobody else sees. `None`,
    /// and a sentence on standard error, where nothing can be mounted.
    #[expect(clippy::print_stderr, reason = "a test that is left out says so")]
    pub(crate) fn on_a_disk_of(mut self, mebibytes: u32) -> Option<Self> {
        fs::create_dir(self.path("data")).unwrap();
        let mount = ["--mount", "/bin/mount", "-t", "tmpfs", "none"];
        let mut tried = Command::new(UNSHARE);
        let tried = tried.args(mount).arg(self.path("data")).status();
        if !tried.is_ok_and(|status| status.success()) {
            eprintln!("skipped: nothing can be mounted here, so that no disk can be full");
            return None;
        }
        self.disk = Some(mebibytes);
        Some(self)
    }

    /// Writes the configuration down; gives where.
    pub(crate) fn write(&self) -> PathBuf {
        let mut text = String::new();
        for (key, value) in &self.settings {
            writeln!(text, "{key} = {value}").unwrap();
        }
        for table in self.connections.iter().chain(&self.tokens) {
            text.push_str(table);
        }
        let path = self.path("k.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// The program's `serve`, not started yet.
    pub(crate) fn command(&self) -> Command {
        self.write();
        let program = env!("CARGO_BIN_EXE_keyferry");
        let mut command = match self.disk {
            None => Command::new(program),
            Some(mebibytes) => {
                let script = format!(
                    "/bin/mount -t tmpfs -o size={mebibytes}m,mode=0700 none data && exec \"$0\" \"$@\""
                );
                let mut command = Command::new(UNSHARE);
                command.args(["--mount", "/bin/sh", "-c", &script, program]);
                command
            }
        };
        command.args(["--config", "k.toml", "--data-dir", "data", "serve"]);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.directory);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the program and waits until it says that it is ready.
    pub(crate) async fn run(self) -> Running {
        let mut child = self.command().spawn().unwrap();
        let greeting = Log::follow(child.stdout.take().unwrap());
        let log = Log::follow(child.stderr.take().unwrap());
        let mut proxies = Vec::new();
        let api = greeting.find(|line| {
            let (name, value) = line.trim().split_once(' ')?;
            if name == "proxy" {
                proxies.push(value.trim().to_owned());
            }
            (name == "API").then(|| value.trim().to_owned())
        });
        let api = soon(api).await;
        Running { child, proxies, api, greeting, log, world: self, reloads: 0 }
    }
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A file of the data directory, as the program sees it.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        let path = self.world.path("data").join(name);
        if self.world.disk.is_none() {
            return path;
        }
        let seen = format!("/proc/{}/root", self.pid());
        Path::new(&seen).join(path.strip_prefix("/").unwrap())
    }

    /// Leaves no room on the disk of the data directory.
    pub(crate) fn fill_the_disk(&self) {
        let mut file = fs::File::create(self.data("ballast")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    /// Gives the room back.
    pub(crate) fn free_the_disk(&self) {
        fs::remove_file(self.data("ballast")).unwrap();
    }

    /// Host and port of the first proxy listener.
    pub(crate) fn address(&self) -> &str {
        authority(&self.proxies[0])
    }

    pub(crate) async fn raw(&self) -> Raw {
        Raw::tcp(self.address()).await
    }

    pub(crate) async fn http2(&self) -> Http2 {
        Http2::over(self.raw().await).await
    }

    /// Sends one request on a conn of its own.
    pub(crate) async fn send(&self, ask: &Ask) -> Answer {
        self.raw().await.send(ask).await
    }

    /// Sends bytes, and reads everything up to the end of the conn.
    pub(crate) async fn exchange(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut raw = self.raw().await;
        raw.write(bytes).await;
        raw.rest().await
    }

    /// Asks the API.
    pub(crate) async fn api(&self, path: &str) -> Answer {
        let mut raw = Raw::tcp(authority(&self.api)).await;
        raw.send(&super::ask::stranger(&format!("GET {path}"))).await
    }

    /// The figure of this line of `/metrics`, 0 where there is none.
    pub(crate) async fn metric(&self, line: &str) -> f64 {
        let text = self.api("/metrics").await.text();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Changes the configuration, and has it read again.
    pub(crate) fn change(&mut self, change: impl FnOnce(World) -> World) {
        let world = std::mem::replace(&mut self.world, World::empty());
        self.world = change(world);
        self.world.write();
        self.signal(Signal::HUP);
    }

    /// Changes the configuration, and waits until it is in force; gives the line that says so.
    pub(crate) async fn reload(&mut self, change: impl FnOnce(World) -> World) -> Value {
        self.change(change);
        self.reloads += 1;
        let mut left = self.reloads;
        let reloaded = self.log.find(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            left -= usize::from(line["message"] == "the configuration was reloaded");
            (left == 0).then_some(line)
        });
        reloaded.await
    }

    /// Ends the program at once; gives what it ran with.
    pub(crate) async fn killed(mut self) -> World {
        self.child.kill().unwrap();
        self.ended().await;
        std::mem::replace(&mut self.world, World::empty())
    }

    /// Waits for the program to end by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let Some(status) = self.child.try_wait().unwrap() else {
            // Its log ends when it does.
            self.log.ended().await;
            return self.child.wait().unwrap();
        };
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _reaped_before = self.child.wait();
    }
}

const UNSHARE: &str = "/usr/bin/unshare";

/// What follows the scheme.
pub(crate) fn authority(url: &str) -> &str {
    url.split_once("://").unwrap().1
}

/// What `path` holds, and what is below it.
pub(crate) fn files_below(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.is_file() {
            files.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    files
}
