//! GitHub, Google and Zendesk as somebody new connects them: by one line at a terminal, and in the
//! console, with fakes as strict as the real ones at the real host names.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::providers::consent;
use super::providers::specs::{github, google_with_consent, zendesk};
use crate::support::ask::{ask, stranger};
use crate::support::authorized::target;
use crate::support::log::Log;
use crate::support::raw::Raw;
use crate::support::soon;
use crate::support::strict::{ID, SECRET, Spec, Strict};
use crate::support::world::{Running, World};

/// A provider, and what a newcomer has to know of it beside the client's id and secret.
struct Wanted {
    provider: &'static str,
    spec: Spec,
    /// Values that the provider's entry asks for.
    values: &'static [(&'static str, &'static str)],
    /// The connection's name where none is given.
    name: &'static str,
}

fn wanted() -> [Wanted; 3] {
    let google = google_with_consent().spec;
    [
        Wanted { provider: "github", spec: github().spec, values: &[], name: "github" },
        Wanted { provider: "google", spec: google, values: &[], name: "google" },
        Wanted {
            provider: "zendesk",
            spec: zendesk().spec,
            values: &[("subdomain", "acme")],
            name: "zendesk-acme",
        },
    ]
}

async fn server(strict: &Strict) -> Running {
    let mut world = World::empty().token("runner", "acme", "").keeping();
    for host in &strict.spec.hosts {
        world = world.pin(host, &strict.origin);
    }
    world.run().await
}

/// The status of a request to the API by the connection of this name.
async fn api(server: &Running, strict: &Strict, name: &str) -> u16 {
    let host = strict.spec.hosts.last().unwrap();
    let get = ask(&format!("GET https://{host}/api/things")).field("X-Zis-Connection", name);
    server.send(&get).await.status
}

/// Begins `keyferry connection create` for a provider, with the client's secret as its input.
async fn command(server: &Running, wanted: &Wanted, more: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(["connection", "create", "--type", "oauth", "--provider", wanted.provider]);
    command.args(["--client-id", ID, "--secret-stdin", "--no-browser"]).args(more);
    for (name, value) in wanted.values {
        command.args(["--set", &format!("{name}={value}")]);
    }
    command.args(["--data-dir", "data"]).env_clear();
    command.env("KEYFERRY_URL", &server.api).env("KEYFERRY_INTEGRATION", "acme");
    command.current_dir(&server.world.directory).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Whoever needs no secret may be gone before it comes.
    let _gone = child.stdin.take().unwrap().write_all(SECRET.as_bytes()).await;
    child
}

/// Has the browser of such a command say yes; gives both of its outputs once it has succeeded.
async fn said_yes(server: &Running, strict: &Strict, mut child: Child) -> (String, String) {
    let said = child.stderr.take().unwrap().into_owned_fd().unwrap();
    let said = Log::follow(std::fs::File::from(said));
    let begin = said.find(|line| line.starts_with("http").then(|| line.to_owned())).await;
    let end = consent(server, strict, &begin).await;
    let landing = end.split_once("://").unwrap().1.split('/').next().unwrap().to_owned();
    Raw::tcp(&landing).await.send(&stranger(&format!("GET {}", target(&end)))).await;
    let output = soon(child.wait_with_output()).await.unwrap();
    said.ended().await;
    assert!(output.status.success(), "{} {:?}", said.text(), strict.complaints());
    (String::from_utf8(output.stdout).unwrap(), said.text())
}

#[tokio::test]
async fn one_line_connects_each() {
    for wanted in wanted() {
        let strict = Strict::start(wanted.spec.clone()).await;
        let server = server(&strict).await;
        let first = command(&server, &wanted, &[]).await;
        let (shown, said) = said_yes(&server, &strict, first).await;
        assert!(shown.contains(strict.spec.hosts.last().unwrap()), "{shown}");
        assert!(!shown.contains(SECRET) && !said.contains(SECRET), "{shown} {said}");
        assert_eq!(api(&server, &strict, wanted.name).await, 200, "{:?}", strict.complaints());
        // The same line authorizes it again, by the client that is there.
        let again = command(&server, &wanted, &[]).await;
        let (_shown, said) = said_yes(&server, &strict, again).await;
        assert!(said.contains("is there already"), "{said}");
    }
}

#[tokio::test]
async fn a_line_that_lacks_something_says_which_option() {
    let [github, _google, zendesk] = wanted();
    let strict = Strict::start(zendesk.spec.clone()).await;
    let server = server(&strict).await;
    let ended = async |wanted: &Wanted, more: &[&str]| {
        let output = soon(command(&server, wanted, more).await.wait_with_output()).await.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let odd = Wanted { values: &[("tenant", "x")], ..zendesk };
    let (code, said) = ended(&odd, &[]).await;
    assert!(code == Some(1) && said.contains("--set: tenant is not asked for"), "{said}");
    let unknown = Wanted { provider: "gihtub", ..github };
    let (code, said) = ended(&unknown, &[]).await;
    assert!(code == Some(1) && said.contains("github"), "{said}");
    let (code, said) = ended(&unknown, &["--client", "x"]).await;
    assert!(code == Some(2) && said.contains("--client"), "{said}");
}

#[tokio::test]
async fn the_console_connects_each() {
    for wanted in wanted() {
        let strict = Strict::start(wanted.spec.clone()).await;
        let server = server(&strict).await;
        let visitor = server.sign_in(&server.admin().token).await;
        let new = "/console/i/acme/clients/new";
        // 1. The provider is looked for, and its form filled in.
        let found = visitor.get(&format!("{new}?search={}", wanted.provider)).await.text();
        assert!(found.contains(&format!("provider={}", wanted.provider)), "{found}");
        let form = visitor.get(&format!("{new}?provider={}", wanted.provider)).await.text();
        let asked: Vec<_> =
            wanted.values.iter().map(|(name, value)| (format!("ask_{name}"), *value)).collect();
        let mut fields = vec![
            ("provider", wanted.provider),
            ("name", wanted.name),
            ("client_id", ID),
            ("client_secret", SECRET),
        ];
        for (name, value) in &asked {
            assert!(form.contains(&format!("name=\"{name}\"")), "{form}");
            fields.push((name, value));
        }
        let made = visitor.post(new, &fields).await;
        assert_eq!(made.status, 303, "{made:?}");
        // 2. The client's page leads to the connection, whose domain is known.
        let page = visitor.get(made.location().split('?').next().unwrap()).await.text();
        let connect = "/console/i/acme/connections/new/oauth";
        assert!(page.contains(&format!("{connect}?client={}", wanted.name)), "{page}");
        let flow = [("name", wanted.name), ("oauth_client_name", wanted.name)];
        let begun = visitor.post(connect, &flow).await;
        assert_eq!(begun.status, 200, "{begun:?}");
        let text = begun.text().split("0;url=").nth(1).unwrap().to_owned();
        let end = consent(&server, &strict, text.split('"').next().unwrap()).await;
        assert!(end.contains(&format!("connection={}", wanted.name)), "{end}");
        assert_eq!(api(&server, &strict, wanted.name).await, 200, "{:?}", strict.complaints());
    }
}
