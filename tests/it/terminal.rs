//! The command line as a person at a terminal has it: help, completions, the manual, questions
//! before something is deleted; and its errors, as a script reads them.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::origin::Origin;
use crate::support::world::{Running, World};

/// The outcome of a command.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    /// The JSON object that is all of standard error.
    fn error(&self) -> Value {
        serde_json::from_str(&self.err).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

fn program(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(line.split_whitespace()).env_clear().stdin(Stdio::null());
    command
}

/// A command beside the server.
fn beside(server: &Running, line: &str) -> Command {
    let mut command = program(line);
    command.args(["--data-dir", "data"]).current_dir(&server.world.directory);
    command.env("KEYFERRY_URL", &server.api).env("KEYFERRY_INTEGRATION", "acme");
    command
}

fn ended(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn run(line: &str) -> Ended {
    ended(program(line))
}

/// Runs a command whose standard input and error are a terminal at which this is typed. What the
/// terminal shows is its standard error.
fn at_terminal(mut command: Command, typed: &str) -> Ended {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
    command.stdin(slave.try_clone().unwrap()).stderr(slave).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    // The terminal is closed when the program has ended and nothing else holds it.
    drop(command);
    let mut master = File::from(master);
    master.write_all(typed.as_bytes()).unwrap();
    let mut shown = Vec::new();
    let _closed = master.read_to_end(&mut shown);
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout), String::from_utf8(shown));
    Ended { code: output.status.code(), out: out.unwrap(), err: err.unwrap() }
}

#[test]
fn help_works_beside_its_option() {
    for command in ["", "connection", "connection create", "token revoke", "completions"] {
        let by_option = run(&format!("{command} --help"));
        let by_command = run(&format!("help {command}"));
        assert_eq!((by_command.code, by_command.out), (Some(0), by_option.out), "{command}");
    }
    let below = run("connection help create");
    assert_eq!(below.out, run("connection create --help").out);
    assert_eq!(run("help bogus").code, Some(2));
}

#[test]
fn required_options_defaults_and_variables_stand_in_the_help() {
    let create = run("client create --help").out;
    let usage = create.lines().find(|line| line.starts_with("Usage: ")).unwrap();
    // A client needs its name alone: a provider, a profile or a key can say the rest.
    assert!(usage.contains("--name <NAME>"), "{usage}");
    for words in [
        "[default: the provider's, authorization_code]",
        "[env: KEYFERRY_URL]",
        "[env: KEYFERRY_TOKEN]",
        "[env: KEYFERRY_INTEGRATION]",
        "[env: KEYFERRY_CONFIG]",
        "[default: keyferry-data]",
    ] {
        assert!(create.contains(words), "{words}: {create}");
    }
}

#[test]
fn every_shell_has_its_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(&format!("completions {shell}"));
        assert_eq!((script.code, script.err.as_str()), (Some(0), ""), "{shell}");
        assert!(script.out.contains("allowed-domain"), "{shell}");
    }
    assert_eq!(run("completions tcsh").code, Some(2));
}

#[test]
fn bash_completes_commands_and_options() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("keyferry.bash"), run("completions bash").out).unwrap();
    let complete = |words: &str| {
        let count = words.split(' ').count() - 1;
        let script = format!(
            "source ./keyferry.bash; complete -p keyferry; COMP_WORDS=({words}); COMP_CWORD={count}; \
             set -- {words}; _keyferry keyferry \"${{@: -1}}\" \"${{@: -2:1}}\"; \
             echo \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", &script]).current_dir(&directory);
        let completed = ended(bash);
        assert_eq!((completed.code, completed.err.as_str()), (Some(0), ""), "{words}");
        completed.out
    };
    let commands = complete("keyferry conn");
    assert!(commands.contains(" -F _keyferry keyferry\n"), "{commands}");
    assert_eq!(commands.lines().last(), Some("connection"));
    assert_eq!(complete("keyferry connection cr").lines().last(), Some("create"));
    let option = complete("keyferry connection create --allowed");
    assert_eq!(option.lines().last(), Some("--allowed-domain"));
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let directory = TempDir::new().unwrap();
    let pages = directory.path().join("share/man1");
    let made = run(&format!("man {} --output json", pages.display()));
    assert_eq!((made.code, made.err.as_str()), (Some(0), ""), "{made:?}");
    let told: Value = serde_json::from_str(&made.out).unwrap();
    let count = told["pages"].as_array().unwrap().len();
    assert_eq!(fs::read_dir(&pages).unwrap().count(), count);
    assert!(count > 30, "{count}");
    for page in fs::read_dir(&pages).unwrap() {
        let page = page.unwrap().path();
        let text = fs::read_to_string(&page).unwrap();
        let name = page.file_stem().unwrap().to_str().unwrap();
        assert!(text.contains(&format!("\n.TH {name} 1 ")), "{text}");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES"] {
            assert!(text.contains(&format!("\n.SH {section}\n")), "{name}: {section}");
        }
        // A line of prose that begins with a dot or an apostrophe would be a request.
        let known = ["TH", "SH", "TP", "IP", "RS", "RE", "PP", "nf", "fi", "ie", "el", "br", "sp"];
        for request in text.lines().filter_map(|line| line.strip_prefix('.')) {
            assert!(known.iter().any(|known| request.starts_with(known)), "{name}: .{request}");
        }
    }
    let create = fs::read_to_string(pages.join("keyferry-connection-create.1")).unwrap();
    assert!(create.contains("\nprintenv PASSWORD") || create.contains("  printenv PASSWORD"));
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = run(&format!("man {}", file.display()));
    assert!(refused.code == Some(1) && refused.err.contains("name another directory"));
}

#[tokio::test]
async fn short_names_of_commands_are_understood() {
    let server = World::empty().keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "a-secret").await;
    server.keep_token("ci", &["read"]).await;
    for (short, long) in [
        ("connection ls", "connection list"),
        ("client ls", "client list"),
        ("token ls", "token list"),
        ("key ls", "key list"),
    ] {
        let (short, long) = (ended(beside(&server, short)), ended(beside(&server, long)));
        assert_eq!((short.code, short.out, short.err), (Some(0), long.out, long.err));
    }
    assert_eq!(ended(beside(&server, "connection rm kept")).out, "deleted kept\n");
    assert_eq!(ended(beside(&server, "token rm ci")).out, "revoked ci\n");
    assert_eq!(ended(beside(&server, "client rm none")).code, Some(1));
}

#[tokio::test]
async fn a_person_is_asked_before_something_is_deleted() {
    let server = World::empty().keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "a-secret").await;
    server.keep_token("ci", &["read"]).await;
    for (line, asked) in [
        ("connection delete kept", "This deletes the connection kept (bearer_token) of acme"),
        ("token revoke ci", "This revokes the token ci (read) of acme"),
    ] {
        for answer in ["n\n", "\n", "maybe\n", "\u{4}"] {
            let ended = at_terminal(beside(&server, line), answer);
            assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{answer:?}: {ended:?}");
            assert!(ended.err.contains(asked) && ended.err.contains("[y/N]"), "{ended:?}");
            assert!(ended.err.contains("nothing was deleted"), "{ended:?}");
        }
        let ended = at_terminal(beside(&server, line), "y\n");
        assert!(ended.code == Some(0) && ended.err.contains(asked), "{ended:?}");
    }
    server.keep_bearer("kept", "api.example.test", "a-secret").await;
    let unasked = at_terminal(beside(&server, "connection delete kept --yes"), "");
    assert_eq!((unasked.out.as_str(), unasked.err.as_str()), ("deleted kept\n", ""));
    // A script that has no terminal goes on as it did.
    server.keep_bearer("kept", "api.example.test", "a-secret").await;
    assert_eq!(ended(beside(&server, "connection delete kept")).out, "deleted kept\n");
}

#[tokio::test]
async fn errors_are_json_where_that_is_asked_for() {
    let server = World::empty().keeping().run().await;
    let json = |line: &str| ended(beside(&server, &format!("{line} --output json")));
    let missing = json("connection show nothing");
    assert_eq!((missing.code, missing.out.as_str()), (Some(1), ""), "{missing:?}");
    let message = missing.error()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("the integration acme has no connection nothing"), "{message}");
    // A refusal of the API keeps its code.
    let refused = json("token create --name x --scope none --expires-at soon").error();
    let codes: Vec<_> =
        refused["errors"].as_array().unwrap().iter().map(|it| &it["code"]).collect();
    assert_eq!(codes, ["InvalidRequest", "InvalidRequest"]);
    let usage = json("connection show");
    assert!(usage.code == Some(2) && usage.error()["errors"][0]["message"].is_string());
    let which = program("connection list --output json");
    assert_eq!(ended(which).error()["errors"].as_array().unwrap().len(), 1);
    fs::write(server.world.path("bad.toml"), "a = 1\nb = 2\n").unwrap();
    let faulty = json("backup x --config bad.toml").error();
    let expected = json!([
        { "message": "bad.toml:1:1: a: unknown key" },
        { "message": "bad.toml:2:1: b: unknown key" },
    ]);
    assert_eq!(faulty["errors"], expected);
    assert_eq!(run("--help --output json").code, Some(0));
}

#[tokio::test]
async fn the_proxys_port_is_not_taken_for_the_apis() {
    let server = World::empty().keeping().run().await;
    let proxy = &server.proxies[0];
    for line in ["connection list", "health", "token list"] {
        let mut command = beside(&server, line);
        command.env("KEYFERRY_URL", proxy).env("KEYFERRY_API__LISTEN", "127.0.0.1:7");
        let ended = ended(command);
        let said = "and the API is at http://127.0.0.1:7: name it with --url or KEYFERRY_URL";
        let said = format!("keyferry: {proxy} is the proxy's port, {said}\n");
        assert_eq!((ended.code, ended.err), (Some(1), said), "{line}");
    }
}

#[tokio::test]
async fn a_callers_token_in_the_operators_variable_is_told_of() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let runner = crate::support::token("runner");
    for token in [runner, format!("kf_{}", "a".repeat(43))] {
        let mut command = beside(&server, "connection list");
        command.env("KEYFERRY_TOKEN", &token);
        let ended = ended(command);
        assert!(ended.code == Some(1) && ended.err.contains("not for a caller's"), "{ended:?}");
        assert!(!ended.err.contains("kf_"), "{ended:?}");
    }
}
