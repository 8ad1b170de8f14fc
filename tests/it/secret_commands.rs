//! Secrets that commands print: read before the server listens, renewed in the background, and
//! never shown.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use rustix::process::Signal;

use crate::support::ask::{Ask, ask, stranger};
use crate::support::aws::verify;
use crate::support::origin::Origin;
use crate::support::raw::refused;
use crate::support::soon;
use crate::support::token;
use crate::support::world::{Running, World};

const URL: &str = "GET https://api.example.test/v1";

/// A world with the connection `acme.api`, whose token the script `secret.sh` prints, and with what
/// else the command's table says.
fn world(origin: &Origin, script: &str, rest: &str) -> World {
    let table = format!(
        "type = \"bearer_token\"\ntoken = {{ command = [\"./secret.sh\", \"a b\"]{rest} }}"
    );
    let world = World::empty()
        .connection("acme.api", "api.example.test", &table)
        .token("runner", "acme", "")
        .pin("api.example.test", origin);
    scripted(&world, "secret.sh", script);
    world
}

/// Writes a shell script that can be run, whole at every moment.
fn scripted(world: &World, name: &str, script: &str) {
    let draft = world.path("draft");
    fs::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o700)).unwrap();
    fs::rename(draft, world.path(name)).unwrap();
}

/// Runs the server to its end, which comes before it listens.
fn start_fails(world: &World) -> String {
    let output: Output = world.command().output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(!world.path("data").exists(), "nothing was made");
    // The caller's token is written into the configuration, which is a warning.
    let said = String::from_utf8(output.stderr).unwrap();
    said.lines()
        .filter(|line| !line.starts_with("warning: "))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// Asks until the origin is sent this credential.
async fn sends(server: &Running, origin: &Origin, credential: &str) {
    soon(async {
        loop {
            server.send(&ask(URL)).await;
            if origin.last().field("authorization") == credential {
                return;
            }
        }
    })
    .await;
}

/// Asks until the answer is a refusal.
async fn is_refused(server: &Running, ask: &Ask) {
    soon(async {
        loop {
            let answer = server.send(ask).await;
            if answer.status != 200 {
                assert_eq!(answer.refusal(), refused(502, "TokenEndpointFailed"));
                assert!(answer.text().contains("The operator must see why"), "{}", answer.text());
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_command_is_run_without_a_shell_and_one_newline_is_taken_off() {
    let origin = Origin::start().await;
    let script = "[ \"$#\" = 1 ] && [ \"$1\" = 'a b' ] && [ -z \"$KEYFERRY_TOKEN\" ] || exit 9\n\
                  echo \"from-$MARK\"";
    let world = world(&origin, script, "").with("MARK", "the-vault").with("KEYFERRY_TOKEN", "kf_x");
    let server = world.run().await;
    assert_eq!(server.send(&ask(URL)).await.status, 200);
    assert_eq!(origin.last().field("authorization"), "Bearer from-the-vault");
}

#[tokio::test]
async fn every_declared_secret_may_be_printed_by_a_command() {
    let origin = Origin::start().await;
    let command = "{ command = [\"./one.sh\"] }";
    let world = World::empty()
        .connection(
            "acme.key",
            "api.example.test",
            &format!("type = \"api_key\"\nheader_name = \"X-Key\"\napi_key = {command}"),
        )
        .connection(
            "acme.basic",
            "api.example.test",
            &format!("type = \"basic_auth\"\nusername = \"u\"\npassword = {command}"),
        )
        .connection(
            "acme.aws",
            "api.example.test",
            &format!(
                "type = \"aws_sigv4\"\naccess_key_id = \"AKID\"\nregion = \"us-east-1\"\n\
                 service = \"lambda\"\nsecret_access_key = {command}\n\
                 session_token = {{ command = [\"./session.sh\"] }}"
            ),
        )
        .table(
            "[[tokens]]\nname = \"printed\"\nintegration = \"acme\"\nscopes = [\"proxy\"]\n\
             token = { command = [\"./token.sh\"] }\n",
        )
        .pin("api.example.test", &origin);
    scripted(&world, "one.sh", "echo run >> runs; echo hunter2");
    scripted(&world, "session.sh", "echo of-a-session");
    scripted(&world, "token.sh", &format!("echo {}", token("printed")));
    let server = world.run().await;
    for (name, field, value) in
        [("key", "x-key", "hunter2"), ("basic", "authorization", "Basic dTpodW50ZXIy")]
    {
        let ask = stranger(URL).by("printed").field("X-Zis-Connection", name);
        assert_eq!(server.send(&ask).await.status, 200, "{name}");
        assert_eq!(origin.last().field(field), value);
    }
    let ask = stranger(URL).by("printed").field("X-Zis-Connection", "aws");
    assert_eq!(server.send(&ask).await.status, 200);
    let signed = origin.last();
    assert_eq!(verify(&signed, "api.example.test", "hunter2").unwrap().key_id, "AKID");
    assert_eq!(signed.field("x-amz-security-token"), "of-a-session");
    let runs = fs::read_to_string(server.world.path("runs")).unwrap();
    assert_eq!(runs, "run\n", "what three places name is run once");
}

#[tokio::test]
async fn a_failure_at_the_start_names_the_place_and_shows_nothing_secret() {
    let origin = Origin::start().await;
    let script = "echo hunter2; echo 'no hunter2: sign in first' >&2; echo more >&2; exit 3";
    let said = start_fails(&world(&origin, script, ", ttl = \"1h\""));
    let place = "k.toml:12:1: connections[0].token: ";
    assert_eq!(
        said,
        format!(
            "{place}the command ./secret.sh failed with exit status 3: no *****: sign in first\n\
             keyferry: the configuration has 1 fault: fix what is listed above\n"
        )
    );
    for (script, rule) in [
        ("kill -9 $$", "the command ./secret.sh was ended by signal 9, without a word"),
        ("true", "the command ./secret.sh ended well and printed nothing"),
        (
            "head -c 9000 /dev/zero | tr '\\0' x",
            "the secret can't be used: it is longer than 8192 bytes",
        ),
        (
            "yes hunter2",
            "the command ./secret.sh printed more than 65536 bytes, which is no secret",
        ),
        (
            "printf 'hunter2\\n\\n'",
            "the secret can't be used: it contains a control character, which a header field can't \
             carry",
        ),
    ] {
        let said = start_fails(&world(&origin, script, ""));
        assert!(said.starts_with(&format!("{place}{rule}\n")), "{script}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn a_command_that_hangs_is_ended_after_ten_seconds_with_what_it_started() {
    let origin = Origin::start().await;
    let script = "exec 3>alive; sleep 1000 & echo hunter2; wait";
    let world = world(&origin, script, "");
    let fifo = world.path("alive");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = std::thread::spawn(move || fs::read_to_string(fifo).unwrap());
    let said = start_fails(&world);
    assert!(said.contains("./secret.sh took longer than 10 s and was ended"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(reader.join().unwrap(), "", "its child is gone too");
}

#[tokio::test]
async fn what_a_command_prints_later_is_sent_from_then_on() {
    let origin = Origin::start().await;
    let server = world(&origin, "cat value", ", ttl = \"1s\"").file("value", "first").run().await;
    sends(&server, &origin, "Bearer first").await;
    fs::write(server.world.path("value.new"), "second\n").unwrap();
    fs::rename(server.world.path("value.new"), server.world.path("value")).unwrap();
    sends(&server, &origin, "Bearer second").await;
    let changed = server.log.message("a command has printed another secret, which is in force");
    assert_eq!(changed.await["keys"], "connections[0].token");
    assert!(origin.conns() > 0 && !server.log.text().contains("second"));
}

#[tokio::test]
async fn a_failure_keeps_the_last_value_for_twice_its_ttl_and_then_refuses() {
    let origin = Origin::start().await;
    let script = "[ ! -e broken ] || { echo 'vault is sealed, not first-value' >&2; exit 2; }\n\
                  cat value";
    let world = world(&origin, script, ", ttl = \"2s\"").file("value", "first-value");
    let server = world.run().await;
    sends(&server, &origin, "Bearer first-value").await;
    fs::write(server.world.path("broken"), "").unwrap();
    let failed = "a secret could not be renewed: its last value is used until it is too old; see \
                  why its command fails";
    let failed = server.log.message(failed).await;
    assert_eq!(
        failed["error"],
        "the command ./secret.sh failed with exit status 2: vault is sealed, not *****"
    );
    assert_eq!(server.send(&ask(URL)).await.status, 200, "the last value is still good");
    is_refused(&server, &ask(URL)).await;
    server.log.find(|line| line.contains("for twice its ttl").then_some(())).await;
    // It is tried again all the time, and what comes is used.
    fs::write(server.world.path("value"), "third").unwrap();
    fs::remove_file(server.world.path("broken")).unwrap();
    sends(&server, &origin, "Bearer third").await;
    for secret in ["first-value", "third"] {
        assert!(!server.log.text().contains(secret), "{}", server.log.text());
    }
}

#[tokio::test]
async fn a_reload_runs_all_and_waits_for_what_is_new_or_has_no_ttl() {
    let origin = Origin::start().await;
    let named = |name: &str, rest: &str| {
        let script = format!("{name}.sh");
        format!("type = \"bearer_token\"\ntoken = {{ command = [\"./{script}\"]{rest} }}")
    };
    let script = |name: &str| format!("echo run >> {name}.runs; echo {name}-secret");
    let world = world(&origin, &script("secret"), ", ttl = \"1h\"").connection(
        "acme.once",
        "once.example.test",
        &named("once", ""),
    );
    scripted(&world, "once.sh", &script("once"));
    let mut server = world.run().await;
    let runs = |server: &Running, name: &str| {
        let runs = fs::read_to_string(server.world.path(&format!("{name}.runs")));
        runs.unwrap_or_default().lines().count()
    };
    assert_eq!((runs(&server, "secret"), runs(&server, "once")), (1, 1));
    scripted(&server.world, "more.sh", &script("more"));
    server
        .reload(|world| {
            world.connection("acme.more", "more.example.test", &named("more", ", ttl = \"1h\""))
        })
        .await;
    assert_eq!((runs(&server, "once"), runs(&server, "more")), (2, 1));
    // What was known has been run beside requests, which go on with it meanwhile.
    soon(async {
        while runs(&server, "secret") < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // A failure of one of them, and nothing of the reload is in force.
    scripted(&server.world, "once.sh", "echo gone >&2; exit 4");
    server.change(|world| world.bearer("acme.last", "last.example.test", "last-secret"));
    let refused = server.log.message("the configuration was not reloaded").await;
    let error = refused["error"].as_str().unwrap();
    assert!(error.contains("connections[1].token") && error.contains("exit status 4: gone"));
    assert_eq!(server.send(&ask(URL)).await.status, 200);
    let last = ask("GET https://last.example.test/v1").field("X-Zis-Connection", "last");
    assert_eq!(server.send(&last).await.refusal(), refused_by_name());
    assert_eq!(runs(&server, "secret"), 2);
    assert_eq!(server.metric("keyferry_secret_command_failures_total").await.to_string(), "1");
}

#[tokio::test]
async fn a_rotated_secret_is_in_use_after_a_reload() {
    let origin = Origin::start().await;
    let world = world(&origin, "cat value", ", ttl = \"1h\"").file("value", "first");
    let mut server = world.run().await;
    sends(&server, &origin, "Bearer first").await;
    fs::write(server.world.path("value"), "second").unwrap();
    server.reload(|world| world).await;
    sends(&server, &origin, "Bearer second").await;
    // One that fails then is counted, and leaves the last value.
    fs::remove_file(server.world.path("value")).unwrap();
    server.reload(|world| world).await;
    let failed = "a secret could not be renewed: its last value is used until it is too old; see \
                  why its command fails";
    server.log.message(failed).await;
    assert!(server.metric("keyferry_secret_command_failures_total").await >= 1.0);
    assert_eq!(server.send(&ask(URL)).await.status, 200);
}

#[tokio::test]
async fn offline_nobody_says_refused_of_a_secret_that_a_command_prints() {
    let origin = Origin::start().await;
    let world = world(&origin, "touch was-run; echo one", ", ttl = \"55m\"");
    world.write();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args([
        "--config",
        "k.toml",
        "explain",
        "--offline",
        "GET",
        "https://api.example.test/",
    ]);
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(&world.directory);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("allow: "), "{text}");
    let said = "credential  at run time authorization: *****, if its command prints the secret, \
                which only a running server knows";
    assert!(text.contains(said), "{text}");
    assert!(!world.path("was-run").exists());
}

fn refused_by_name() -> (u16, String) {
    refused(403, "ConnectionNotFound")
}

#[tokio::test]
async fn the_server_stops_while_a_command_runs_and_leaves_none_behind() {
    let origin = Origin::start().await;
    let world = world(&origin, "[ ! -e slow ] || { exec 3>alive; sleep 1000; }\necho one", "");
    let fifo = world.path("alive");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut server = world.run().await;
    fs::write(server.world.path("slow"), "").unwrap();
    server.signal(Signal::HUP);
    // Opening it waits for the command, and reading for the end of all that it has started.
    let opened = tokio::task::spawn_blocking(move || fs::File::open(fifo).unwrap());
    let mut opened = soon(opened).await.unwrap();
    assert_eq!(server.send(&ask(URL)).await.status, 200, "requests do not wait for it");
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut opened, &mut rest).unwrap();
}

#[tokio::test]
async fn check_says_whether_a_command_is_there_and_runs_none() {
    let origin = Origin::start().await;
    let check = |world: &World| {
        world.write();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_keyferry"));
        command.args(["--config", "k.toml", "check"]).env_clear().env("PATH", "/usr/bin:/bin");
        let output = command.current_dir(&world.directory).output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), text.concat())
    };
    let there = world(&origin, "touch was-run; echo one", ", ttl = \"55m\"");
    let said = "k.toml: no fault; 1 connection, 1 token; 1 command found and not run\n";
    let (code, text) = check(&there);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(said), "{text}");
    assert!(!there.path("was-run").exists());
    fs::set_permissions(there.path("secret.sh"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(check(&there).1.contains("secret.sh can't be run: run chmod +x on it"));
    let absent = World::empty().connection(
        "acme.api",
        "api.example.test",
        "type = \"bearer_token\"\ntoken = { command = [\"no-such-vault\", \"get\"] }",
    );
    let (code, text) = check(&absent);
    let rule = "the program no-such-vault is in no directory of PATH: install it, or name it by";
    assert_eq!(code, Some(1));
    assert!(text.contains(rule) && text.contains("connections[0].token"), "{text}");
}
