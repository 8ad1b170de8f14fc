//! The commands that talk to a running server, as a person and as a script use them.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::ask::{ask, stranger};
use crate::support::origin::Origin;
use crate::support::raw::refused;
use crate::support::soon;
use crate::support::tls::TRUSTED;
use crate::support::world::{Running, World};

/// What a command has come to.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Runs a command beside the server, with this on standard input.
fn run_with(server: &Running, arguments: &str, input: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(arguments.split(' ')).args(["--data-dir", "data"]);
    command.env_clear().env("KEYFERRY_URL", &server.api).env("KEYFERRY_INTEGRATION", "acme");
    command.current_dir(&server.world.directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command whose usage is wrong may end before it reads.
    let _gone = child.stdin.take().unwrap().write_all(input.as_bytes());
    Ended::of(child.wait_with_output().unwrap())
}

fn run(server: &Running, arguments: &str) -> Ended {
    run_with(server, arguments, "")
}

/// As somebody does who copies what the server prints, in another directory.
#[tokio::test]
async fn what_the_greeting_says_to_try_next_works_from_anywhere() {
    for listen in ["[\"127.0.0.1:0\"]", "[\"0.0.0.0:0\"]", "[\"unix:my proxy's.sock\"]"] {
        let every = listen.contains("0.0.0.0");
        let api = if every { "\"0.0.0.0:0\"" } else { "\"127.0.0.1:0\"" };
        let world = World::empty().keeping().set("proxy.listen", listen);
        let server = world.set("api.listen", api).run().await;
        let mut script = String::new();
        let next = |line: &str| {
            let line = line.trim();
            let is_one =
                ["export ", "keyferry token ", "curl "].iter().any(|it| line.starts_with(it));
            if is_one {
                script += line;
                script += "\n";
            }
            line.starts_with("curl ").then_some(())
        };
        server.greeting.find(next).await;
        let elsewhere = tempfile::TempDir::new().unwrap();
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_keyferry")).parent().unwrap();
        let mut command = Command::new("sh");
        command.args(["-ec", &script]).env_clear().current_dir(&elsewhere);
        command.env("PATH", format!("{}:/usr/bin:/bin", program.display()));
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let ended = Ended::of(ended);
        assert!(ended.out.contains("ConnectionNotFound"), "{script}{ended:?}");
    }
}

/// The lines of the greeting that say what to try next.
async fn suggested(server: &Running) -> Vec<String> {
    let (mut lines, mut has_begun) = (Vec::new(), false);
    let is_last = |line: &str| line.contains("curl ") || line.contains("generate");
    let next = |line: &str| {
        if has_begun {
            lines.push(line.trim().to_owned());
        }
        has_begun |= line.starts_with("Try next:");
        (has_begun && is_last(line)).then_some(())
    };
    server.greeting.find(next).await;
    lines
}

#[tokio::test]
async fn the_greeting_of_a_sidecar_names_what_there_is() {
    let origin = Origin::start().await;
    let unix = |world: World| world.set("proxy.listen", "[\"unix:p.sock\"]");
    let open = |world: World| {
        let world = world.set("proxy.caller_auth", "\"none\"").without("\"runner\"");
        world.set("proxy.default_integration", "\"acme\"")
    };
    let every = |world: World| world.without("\"runner\"").token("wide", "*", "");
    let wild = World::empty()
        .bearer("acme.wild", "*.api.example.test", "s")
        .token("runner", "acme", "")
        .pin("api.example.test", &origin);
    let new = || World::new(&origin);
    for world in [new(), unix(new()), open(new()), open(unix(new())), every(new()), wild] {
        let server = world.run().await;
        let lines = suggested(&server).await;
        let [explain, curl, ..] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(explain.starts_with("keyferry explain ") && curl.starts_with("curl "), "{lines:?}");
        let named = if curl.contains("TOKEN") {
            server
                .greeting
                .find(|line| {
                    line.strip_prefix("TOKEN is the secret of the token ").map(str::to_owned)
                })
                .await
        } else {
            String::new()
        };
        let token = crate::support::token(named.split(',').next().unwrap());
        let script = format!("{explain}\n{} -sf", curl.replace("TOKEN", &token));
        let elsewhere = tempfile::TempDir::new().unwrap();
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_keyferry")).parent().unwrap();
        let mut command = Command::new("sh");
        command.args(["-ec", &script]).env_clear().current_dir(&elsewhere);
        command.env("PATH", format!("{}:/usr/bin:/bin", program.display()));
        let before = origin.seen().len();
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let ended = Ended::of(ended);
        assert!(ended.code == 0 && ended.out.starts_with("allow: "), "{script} {ended:?}");
        assert_eq!(origin.seen().len(), before + 1, "{script} {ended:?}");
    }
}

#[tokio::test]
async fn the_greeting_of_a_sidecar_without_callers_says_how_to_declare_one() {
    let origin = Origin::start().await;
    let server = World::new(&origin).without("\"runner\"").run().await;
    let lines = suggested(&server).await.join("\n");
    for words in ["k.toml declares no token with the scope proxy", "[[tokens]]", "\"acme\""] {
        assert!(lines.contains(words) && !lines.contains("TOKEN"), "{lines}");
    }
}

#[tokio::test]
async fn a_connection_is_made_used_changed_and_deleted() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let create = "connection create --type bearer_token --name kept --allowed-domain \
                  api.example.test --secret-stdin";
    let made = run_with(&server, create, "first-secret\n");
    assert_eq!((made.code, made.err.as_str()), (0, ""), "{made:?}");
    assert!(made.out.contains("kept") && !made.out.contains("first-secret"), "{made:?}");
    let through = ask("GET https://api.example.test/v1").field("X-Zis-Connection", "kept");
    assert_eq!(server.send(&through).await.status, 200);
    assert_eq!(origin.last().field("authorization"), "Bearer first-secret");

    let world = server.world.path("secret");
    std::fs::write(world, "second-secret\n").unwrap();
    let updated = run(&server, "connection update kept --secret-file secret");
    assert_eq!((updated.code, updated.out.as_str()), (0, "updated kept\n"), "{updated:?}");
    assert_eq!(server.send(&through).await.status, 200);
    assert_eq!(origin.last().field("authorization"), "Bearer second-secret");

    let listed = run(&server, "connection list");
    let lines: Vec<_> = listed.out.lines().collect();
    assert!(lines[0].starts_with("NAME") && lines.len() == 3, "{listed:?}");
    assert!(lines[1].starts_with("api ") && lines[1].ends_with("yes"), "declared: {listed:?}");
    assert!(lines[2].starts_with("kept  bearer_token  api.example.test"), "{listed:?}");
    let shown = run(&server, "connection show kept --output json").json();
    assert_eq!(shown["bearer_token"]["token"], "*****");

    let deleted = run(&server, "connection delete kept");
    assert_eq!((deleted.code, deleted.out.as_str()), (0, "deleted kept\n"), "{deleted:?}");
    assert_eq!(server.send(&through).await.refusal(), refused(403, "ConnectionNotFound"));
    let again = run(&server, "connection delete kept");
    assert_eq!((again.code, again.out.as_str()), (1, ""), "{again:?}");
    assert!(again.err.contains("no connection kept") && again.err.lines().count() == 1);
}

#[tokio::test]
async fn every_type_takes_what_goes_with_it_and_nothing_else() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let key = "connection create --type api_key --name keyed --allowed-domain api.example.test \
               --header-name X-Api-Key --secret-stdin";
    assert_eq!(run_with(&server, key, "the-key").code, 0);
    let basic = "connection create --type basic_auth --name basic --allowed-domain \
                 api.example.test --username user --secret-stdin --output json";
    let made = run_with(&server, basic, "pass word\n").json();
    assert_eq!(made["basic_auth"]["username"], "user");
    for (name, field, value) in [
        ("keyed", "x-api-key", "the-key"),
        ("basic", "authorization", "Basic dXNlcjpwYXNzIHdvcmQ="),
    ] {
        let through = ask("GET https://api.example.test/v1").field("X-Zis-Connection", name);
        assert_eq!(server.send(&through).await.status, 200);
        assert_eq!(origin.last().field(field), value);
    }
    for wrong in [
        "--type api_key",
        "--type basic_auth",
        "--type bearer_token --username user",
        "--type api_key --header-name X-Key --username user",
        "--type oauth",
    ] {
        let line = format!(
            "connection create {wrong} --name other --allowed-domain api.example.test --secret-stdin"
        );
        let ended = run_with(&server, &line, "secret");
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{wrong}: {ended:?}");
    }
    let faulty = "connection create --type bearer_token --name x --allowed-domain localhost \
                  --secret-stdin";
    let ended = run_with(&server, faulty, "secret");
    assert_eq!((ended.code, ended.err.lines().count()), (1, 2), "a line for each fault: {ended:?}");
    let mute =
        run(&server, "connection create --type bearer_token --name abc --allowed-domain a.test");
    assert!(mute.code == 1 && mute.err.contains("--secret-stdin"), "{mute:?}");
}

#[tokio::test]
async fn a_token_is_printed_alone_once_and_is_gone_when_it_is_revoked() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let made = run(&server, "token create --name fresh --scope proxy --connection api");
    assert_eq!(made.code, 0, "{made:?}");
    let token = made.out.strip_suffix('\n').unwrap();
    assert!(token.starts_with("kf_") && token.len() == 46 && !made.err.contains("kf_"), "{made:?}");
    let with = stranger("GET https://api.example.test/v1")
        .field("Proxy-Authorization", &format!("Bearer {token}"));
    assert_eq!(server.send(&with).await.status, 200);
    let listed = run(&server, "token list");
    assert!(listed.out.contains("fresh") && !listed.out.contains(token), "{listed:?}");
    let elsewhere = run(&server, "token list --integration globex");
    assert_eq!((elsewhere.code, elsewhere.out.as_str()), (0, ""), "{elsewhere:?}");
    assert!(elsewhere.err.contains("but 1 token of others"), "{elsewhere:?}");
    assert!(run(&server, "token list --integration acme").out.contains("fresh"));
    // Those with rules are marked; they are found and sorted as the API has it.
    let ruled = serde_json::json!({
        "name": "another", "integration": "acme", "scopes": ["proxy"],
        "rules": [{"allow": true, "methods": ["GET"], "paths": ["/v1/**"]}],
    });
    assert_eq!(server.manage("POST /api/keyferry/v1/tokens", Some(ruled)).await.status, 201);
    let listed = run(&server, "token list --sort name").out;
    let rows: Vec<_> = listed.lines().collect();
    assert!(rows[1].starts_with("another ") && rows[1].contains("  1 rule  "), "{listed}");
    assert!(rows[2].starts_with("fresh ") && !rows[2].contains("rule"), "{listed}");
    let backwards = run(&server, "token list --sort=-name").out;
    assert!(backwards.lines().nth(1).unwrap().starts_with("fresh "), "{backwards}");
    let found = run(&server, "token list --search ANOTH").out;
    assert!(found.contains("another") && !found.contains("fresh"), "{found}");
    let missing = run(&server, "token list --search nothing");
    assert!(
        missing.code == 0 && missing.err.contains("no token has nothing in its"),
        "{missing:?}"
    );
    let wrong = run(&server, "token list --sort size");
    assert!(wrong.code == 1 && wrong.err.contains("--sort: must be name,"), "{wrong:?}");
    assert_eq!(run(&server, "token revoke another --yes").code, 0);
    let refused_twin = run(&server, "token create --name fresh --scope read,write");
    assert_eq!((refused_twin.code, refused_twin.out.as_str()), (1, ""), "{refused_twin:?}");
    let said = "another live token of the integration has it";
    assert!(refused_twin.err.contains(said), "{refused_twin:?}");
    let twin = run(
        &server,
        "token create --name fresh --scope proxy --integration globex --connection nothing",
    );
    assert_eq!(twin.code, 0, "{twin:?}");
    assert!(
        twin.err.contains("warning: connections: globex has no connection nothing"),
        "{twin:?}"
    );
    let which = run(&server, "token revoke fresh");
    assert!(which.code == 1 && which.err.contains("2 tokens"), "{which:?}");
    let tokens = run(&server, "token list --output json").json();
    for token in tokens["tokens"].as_array().unwrap() {
        let line = format!("token revoke {}", token["id"].as_str().unwrap());
        assert_eq!(run(&server, &line).code, 0);
    }
    assert_eq!(server.send(&with).await.refusal(), refused(407, "CallerUnknown"));
    let none = run(&server, "token list");
    assert_eq!((none.code, none.out.as_str()), (0, ""), "{none:?}");
}

#[tokio::test]
async fn a_long_list_is_followed_to_its_end() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    for number in 0..210 {
        server.keep_bearer(&format!("kept{number:03}"), "api.example.test", "a-secret").await;
    }
    let listed = run(&server, "connection list");
    assert_eq!(listed.out.lines().count(), 1 + 1 + 210);
    let whole = run(&server, "connection list --output json").json();
    assert_eq!(whole["bearer_token"].as_array().unwrap().len(), 211);
    assert_eq!(whole["meta"]["has_more"], false);
}

#[tokio::test]
async fn explain_asks_the_server_about_what_it_keeps_and_decides_alone_when_told_to() {
    let origin = Origin::start().await;
    let world = World::new(&origin).keeping().pin_to("kept.example.test:443", "127.0.0.1:1");
    let server = world.run().await;
    server.keep_bearer("kept", "kept.example.test", "a-secret").await;
    let allowed = run(&server, "explain --connection kept GET https://kept.example.test/v1");
    assert!(allowed.code == 0 && allowed.out.starts_with("allow: "), "{allowed:?}");
    let refused = run(&server, "explain --connection kept GET https://evil.example.test/v1");
    assert!(refused.code == 1 && refused.out.contains("403 DomainNotAllowed"), "{refused:?}");
    // A caller's base URL is understood; and what fails is said to.
    let url = format!("http://{}/~/kept/v1", server.address());
    let allowed = run(&server, &format!("explain GET {url}"));
    assert!(
        allowed.code == 0
            && allowed.out.starts_with("allow: sent to https://kept.example.test with "),
        "{allowed:?}"
    );
    assert!(allowed.out.contains("base URL") && !allowed.out.contains("failing"), "{allowed:?}");
    server.send(&ask("GET https://kept.example.test/v1")).await;
    let failing = async {
        while !run(&server, &format!("explain GET {url}")).out.contains("; failing since ") {
            tokio::task::yield_now().await;
        }
    };
    soon(failing).await;
    // The harness's own caller may use it, and is named by its token.
    let line = "explain --caller nobody --connection kept GET https://kept.example.test/v1";
    let unknown = run(&server, line);
    assert!(
        unknown.code == 1 && unknown.err.contains("caller: no token has this name"),
        "{unknown:?}"
    );
    let line = "explain --config k.toml --offline --connection kept GET https://kept.example.test/";
    let alone = run(&server, line);
    assert!(alone.code == 1 && alone.out.contains("ConnectionNotFound"), "{alone:?}");
}

#[tokio::test]
async fn keys_are_listed_and_rotated() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "a-secret").await;
    let listed = run(&server, "key list");
    assert!(listed.code == 0 && listed.out.starts_with("ID"), "{listed:?}");
    let file = server.world.path("data/master.key");
    let old = std::fs::read_to_string(&file).unwrap();
    let new = "new:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    std::fs::write(&file, format!("{new}\n{old}")).unwrap();
    let rotated = run(&server, "key rotate");
    assert_eq!(rotated.out, "brought 3 records under the key new\n", "{rotated:?}");
}

#[tokio::test]
async fn requests_are_listed_and_the_last_failed_one_is_shown() {
    let origin = Origin::start().await;
    let world = World::new(&origin).keeping().pin_to("kept.example.test:443", "127.0.0.1:1");
    let server = world.run().await;
    server.keep_bearer("kept", "kept.example.test", "a-secret").await;
    let none = run(&server, "requests --connection kept");
    assert!(none.code == 0 && none.out.is_empty(), "{none:?}");
    assert!(none.err.contains("no request is like that: "), "{none:?}");
    assert!(none.err.contains("only of acme (KEYFERRY_INTEGRATION); "), "{none:?}");
    // 1. One that fails, by base URL, and one of a caller that is not known.
    server.send(&ask("GET /~/kept/v1").host(server.address())).await;
    server.send(&stranger("GET https://kept.example.test/v1")).await;
    let listed =
        async { while run(&server, "requests --integration *").out.lines().count() < 3 {} };
    soon(listed).await;
    let all = run(&server, "requests --integration *");
    assert!(all.out.contains("CallerUnknown") && all.err.is_empty(), "{all:?}");
    let own = run(&server, "requests");
    assert_eq!(own.out.lines().count(), 2, "{own:?}");
    assert!(own.out.contains("  GET https://kept.example.test/v1  acme.kept  "), "{own:?}");
    assert!(own.out.lines().next().unwrap().ends_with("  REASON"), "{own:?}");
    // Each as comma-separated values; and counted by caller.
    let csv = run(&server, "requests --csv");
    assert!(
        csv.out.starts_with("time,request_id,caller,") && csv.out.lines().count() == 2,
        "{csv:?}"
    );
    let counted = run(&server, "requests callers");
    assert!(counted.out.starts_with("CALLER ") && counted.code == 0, "{counted:?}");
    let wrong = run(&server, "requests --status 5xx callers");
    assert!(wrong.code == 2 && wrong.err.contains("callers are counted by"), "{wrong:?}");
    // 2. The last that failed, and one that is not known.
    let last = run(&server, "requests --connection kept show --last");
    assert!(last.out.contains("who must act  ") && last.out.contains("acme.kept"), "{last:?}");
    let unknown = run(&server, "requests show x-1");
    assert!(unknown.code == 1 && unknown.err.contains("no request x-1 is known: "), "{unknown:?}");
    // 3. The connections that need somebody.
    let needing = run(&server, "connection list --attention");
    let lines: Vec<_> = needing.out.lines().collect();
    assert!(lines.len() == 2 && lines[1].starts_with("kept  failing since "), "{needing:?}");
    let everywhere = run(&server, "connection list --attention --integration *");
    let lines: Vec<_> = everywhere.out.lines().collect();
    assert!(lines[1].starts_with("acme.kept  failing since "), "{everywhere:?}");
    let other = run(&server, "connection list --integration *");
    assert!(other.code == 2 && other.err.contains("which integration?"), "{other:?}");
    server.delete_bearer("kept").await;
    let nobody = run(&server, "connection list --attention");
    assert!(nobody.out.is_empty() && nobody.err.contains("nobody must act"), "{nobody:?}");
}

#[tokio::test]
async fn what_operators_did_is_listed_followed_and_checked() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("kept", "api.example.test", "a-secret").await;
    server.replace_bearer("kept", "other-secret").await;
    // 1. Listed.
    let listed = run(&server, "audit --connection kept --since 1h");
    let lines: Vec<_> = listed.out.lines().collect();
    assert!(listed.code == 0 && lines.len() == 3 && lines[0].starts_with("ID"), "{listed:?}");
    assert!(
        lines[1].contains("connection.update")
            && lines[1].ends_with("acme.kept  with a new secret"),
        "{listed:?}"
    );
    let created = run(&server, "audit --kind connection.create --output json").json();
    assert_eq!(created["events"][0]["after"]["name"], "kept", "{created}");
    // 2. Followed.
    let mut following = tokio::process::Command::new(env!("CARGO_BIN_EXE_keyferry"));
    following.args(["audit", "--follow", "--data-dir", "data"]).stdout(Stdio::piped());
    following.env_clear().env("KEYFERRY_URL", &server.api).kill_on_drop(true);
    let mut following = following.current_dir(&server.world.directory).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    for kind in ["connection.create acme.kept", "connection.update acme.kept with a new secret"] {
        let line = soon(lines.next_line()).await.unwrap().unwrap();
        assert!(line.ends_with(kind), "{line}");
    }
    server.keep_bearer("later", "api.example.test", "a-secret").await;
    let line = soon(lines.next_line()).await.unwrap().unwrap();
    assert!(line.ends_with("connection.create acme.later"), "{line}");
    drop(following);
    // 3. Checked.
    let checked = run(&server, "audit verify");
    assert!(checked.code == 0 && checked.out.starts_with("3 events checked"), "{checked:?}");
    let head = checked.out.trim().rsplit(' ').next().unwrap();
    assert_eq!(run(&server, &format!("audit verify --head {head}")).code, 0);
    edit(&server.world, "UPDATE events SET operator = 'nobody' WHERE number = 1").await;
    let found = run(&server, "audit verify");
    assert!(found.code == 1 && found.out.starts_with("event 1: its columns"), "{found:?}");
}

/// Edits the store by hand.
async fn edit(world: &World, statement: &str) {
    let options = SqliteConnectOptions::new().filename(world.path("data/keyferry.db"));
    let mut database = options.connect().await.unwrap();
    sqlx::query(AssertSqlSafe(statement)).execute(&mut database).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_can_not_be_opened_is_shown_as_unusable_wherever_it_is_shown() {
    let origin = Origin::start().await;
    for (change, why) in [
        ("key_id = 'gone'", "the server lacks its master key, gone: the operator must add"),
        (
            "uuid = '00000000-0000-4000-8000-000000000000'",
            "its secret can't be opened, because its record was changed by hand: delete",
        ),
    ] {
        let server = World::new(&origin).keeping().run().await;
        server.keep_bearer("kept", "kept.example.test", "a-secret").await;
        let world = server.killed().await;
        edit(&world, &format!("UPDATE connections SET {change}")).await;
        let server = world.run().await;
        let greeted = |line: &str| line.contains("of which 1 can't be used").then_some(());
        server.greeting.find(greeted).await;
        let listed = run(&server, "connection list");
        let row = listed.out.lines().find(|line| line.starts_with("kept")).unwrap();
        assert!(row.contains("unusable"), "{listed:?}");
        assert_eq!(listed.err.lines().count(), 1, "{listed:?}");
        assert!(listed.err.contains(&format!("kept can't be used: {why}")), "{listed:?}");
        let shown = run(&server, "connection show kept");
        assert!(shown.out.contains(&format!("unusable because  {why}")), "{shown:?}");
        let whole = run(&server, "connection list --output json").json();
        let kept = whole["bearer_token"].as_array().unwrap().iter();
        let defects: Vec<_> = kept.map(|it| (&it["name"], it.get("defect").is_some())).collect();
        assert_eq!(defects, [(&"api".into(), false), (&"kept".into(), true)]);
        let changed = run_with(&server, "connection update kept --secret-stdin", "another");
        assert_eq!((changed.code, changed.err.lines().count()), (1, 1), "{changed:?}");
        assert!(changed.err.contains(" must ") && !changed.err.contains("log"), "{changed:?}");
        for connection in ["", "--connection kept "] {
            let proxy = &server.proxies[0];
            let ran =
                run(&server, &format!("run --data-dir data --proxy {proxy} {connection}-- true"));
            assert!(ran.err.contains(&format!("kept can't be used: {why}")), "{ran:?}");
        }
    }
}

#[tokio::test]
async fn a_token_that_does_not_count_is_shown_with_the_reason() {
    for (change, why) in [
        ("key_id = 'gone'", "the server lacks its master key, gone: the operator must add"),
        ("name = 'other'", "its record was changed by hand: revoke the token"),
    ] {
        let server = World::empty().keeping().run().await;
        server.keep_token("sound", &["read"]).await;
        server.keep_token("edited", &["read"]).await;
        let sound = run(&server, "token list");
        assert_eq!(sound.err, "", "{sound:?}");
        let world = server.killed().await;
        edit(&world, &format!("UPDATE tokens SET {change} WHERE name = 'edited'")).await;
        let server = world.run().await;
        let listed = run(&server, "token list");
        assert_eq!((listed.code, listed.err.lines().count()), (0, 1), "{listed:?}");
        assert!(listed.err.contains(&format!("can't be used: {why}")), "{listed:?}");
        let whole = run(&server, "token list --output json").json();
        let tokens = whole["tokens"].as_array().unwrap().iter();
        assert_eq!(tokens.filter(|token| token.get("defect").is_some()).count(), 1, "{whole}");
    }
}

#[tokio::test]
async fn the_commands_speak_of_their_own_options() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let create = "connection create --type api_key --secret-stdin --name kept --header-name Host \
                  --allowed-domain *.com";
    let ended = run_with(&server, create, "a\nb");
    for said in ["--header-name: ", "--allowed-domain: ", "the secret: "] {
        assert!(ended.err.contains(&format!("keyferry: {said}")), "{ended:?}");
    }
    let token = "token create --name x --integration A! --scope none --expires-at soon";
    let ended = run(&server, token);
    for said in ["--integration: ", "--scope: ", "--expires-at: "] {
        assert!(ended.err.contains(&format!("keyferry: {said}")), "{ended:?}");
    }
    let client = "client create --name crm --client-id x --token-url http://id.example.test/t \
                  --auth-url ftp:x --secret-stdin";
    let ended = run_with(&server, client, "secret");
    for said in ["--token-url: ", "--auth-url: "] {
        assert!(ended.err.contains(&format!("keyferry: {said}")), "{ended:?}");
    }
    server.keep_bearer("kept", "kept.example.test", "a-secret").await;
    let twice = "connection create --type bearer_token --name kept --allowed-domain \
                 kept.example.test --secret-stdin";
    let ended = run_with(&server, twice, "secret");
    assert!(ended.err.starts_with("keyferry: the name is taken in this integration"), "{ended:?}");
    server.keep_token("ci", &["read"]).await;
    let ended = run(&server, "token list --integration *");
    assert!(
        ended.err.starts_with("no token for every integration is kept, but 1 token"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_token_goes_to_nobody_in_cleartext_but_to_this_machine() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let ended = run(&server, "connection list --url http://192.0.2.1:8081");
    assert!(ended.code == 1 && ended.err.contains("cleartext"), "{ended:?}");
    let ended = run(&server, "connection list --url http://127.0.0.1:1");
    assert!(ended.code == 1 && ended.err.contains("keyferry serve"), "{ended:?}");
    let ended = run(&server, "connection list --token hunter2");
    assert!(ended.code == 1 && !ended.err.contains("hunter2"), "{ended:?}");
}

#[tokio::test]
async fn a_preset_fills_in_what_everybody_has_and_asks_for_the_rest() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let shop = "connection create --preset shopify --name shop --secret-stdin";
    let asked = run_with(&server, shop, "hunter2");
    assert_eq!(asked.code, 2, "{asked:?}");
    assert!(asked.err.contains("needs --allowed-domain: the shop's own host"), "{asked:?}");
    let made = run_with(&server, &format!("{shop} --allowed-domain api.example.test"), "hunter2");
    assert_eq!(made.code, 0, "{made:?}");
    let request = ask("GET https://api.example.test/v1").field("X-Zis-Connection", "shop");
    assert_eq!(server.send(&request).await.status, 200);
    assert_eq!(origin.last().field("x-shopify-access-token"), "hunter2");
    let openai = "connection create --preset openai --name openai --secret-stdin --output json";
    let made = run_with(&server, openai, "hunter2");
    assert_eq!(made.json()["bearer_token"]["allowed_domain"], "api.openai.com");
    let bot = "connection create --preset telegram --name bot --secret-stdin";
    let made = run_with(&server, bot, "hunter2");
    assert!(made.out.contains("places           /bot-KEYFERRY=bot{token}"), "{made:?}");
    assert!(made.out.contains("allowed domains  api.telegram.org"), "{made:?}");
    assert!(made.err.contains("The program writes bot-KEYFERRY"), "{made:?}");
    std::fs::write(server.world.path("app.key"), "hunter3").unwrap();
    let datadog = "connection create --preset datadog --name dogs --allowed-domain \
                   api.example.test --secret-stdin --secret-file-of application_key=app.key";
    let made = run_with(&server, datadog, "hunter2");
    assert_eq!(made.code, 0, "{made:?}");
    let request = ask("GET https://api.example.test/v1").field("X-Zis-Connection", "dogs");
    assert_eq!(server.send(&request).await.status, 200);
    let seen = origin.last();
    let keys = ["dd-api-key", "dd-application-key"].map(|name| seen.field(name));
    assert_eq!(keys, ["hunter2", "hunter3"]);
    // AWS asks for the access key beside its host, and signs.
    let aws = "connection create --preset aws --name aws --secret-stdin --region us-east-1 \
               --service lambda --allowed-domain api.example.test";
    let asked = run_with(&server, aws, "hunter2");
    assert!(asked.code == 2 && asked.err.contains("needs --access-key-id: the ID"), "{asked:?}");
    let made = run_with(&server, &format!("{aws} --access-key-id AKIDEXAMPLE"), "hunter2");
    assert!(made.code == 0 && made.out.contains("aws_sigv4"), "{made:?}");
    assert!(made.err.contains("other hosts need both"), "{made:?}");
    let request = ask("GET https://api.example.test/v1").field("X-Zis-Connection", "aws");
    assert_eq!(server.send(&request).await.status, 200);
    let signed = crate::support::aws::verify(&origin.last(), "api.example.test", "hunter2");
    assert_eq!(signed.unwrap().key_id, "AKIDEXAMPLE");
    let absent = run(&server, "connection create --preset absent --name other");
    assert!(absent.code == 2 && absent.err.contains("shopify"), "{absent:?}");
    let both = run(&server, "connection create --preset openai --type api_key --name other");
    assert_eq!(both.code, 2, "{both:?}");
}

#[tokio::test]
async fn a_custom_connection_is_made_shown_changed_and_deleted() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    // 1. Made of two secrets: one of a file, one of standard input.
    std::fs::write(server.world.path("app.key"), "hunter2\n").unwrap();
    let create = "connection create --type custom --name datadog --allowed-domain \
                  api.example.test --allowed-domain *.wild.example.test --inject \
                  DD-API-KEY:{api} --inject ?app={app} --inject-at *.wild.example.test \
                  /KEYFERRY={api} --secret-file-of app=app.key --secret-stdin --read-only";
    let made = run_with(&server, create, "hunter3");
    assert_eq!(made.code, 0, "{made:?}");
    for said in [
        "allowed domains  api.example.test, *.wild.example.test",
        "secrets          api *****, app *****",
        "places           DD-API-KEY: {api}; ?app={app}",
        "places at        *.wild.example.test: /KEYFERRY={api}",
        "read only        yes",
    ] {
        assert!(made.out.contains(said), "{}", made.out);
    }
    let request = ask("GET https://api.example.test/v1").field("X-Zis-Connection", "datadog");
    assert_eq!(server.send(&request).await.status, 200);
    let seen = origin.last();
    assert_eq!(
        (seen.target.as_str(), seen.field("dd-api-key").as_str()),
        ("/v1?app=hunter2", "hunter3")
    );
    // 2. Shown and listed beside the others.
    server.keep_bearer("another", "api.example.test", "s").await;
    assert_eq!(run(&server, "connection show datadog").out, made.out);
    let listed = run(&server, "connection list").out;
    assert!(listed.contains("datadog  custom        api.example.test, *.wild"), "{listed}");
    let listed = run(&server, "connection list --output json").json();
    assert_eq!(listed["custom"][0]["secrets"]["api"], "*****");
    assert_eq!(listed["bearer_token"][0]["name"], "another");
    assert_eq!(run(&server, "connection show datadog --type api_key").code, 1);
    // 3. One secret is replaced; places change with all of them alone.
    let update = "connection update datadog --secret-file-of app=app.key";
    std::fs::write(server.world.path("app.key"), "hunter4").unwrap();
    assert_eq!(run(&server, update).code, 0);
    assert_eq!(server.send(&request).await.status, 200);
    let seen = origin.last();
    assert_eq!(
        (seen.target.as_str(), seen.field("dd-api-key").as_str()),
        ("/v1?app=hunter4", "hunter3")
    );
    let moved = "connection update datadog --allowed-domain evil.example.test --secret-stdin";
    let moved = run_with(&server, moved, "hunter5");
    assert!(moved.code == 2 && moved.err.contains("--secret-file-of"), "{moved:?}");
    let places = "connection update datadog --inject X-New:{new} --secret-stdin";
    let places = format!("{places} --allowed-domain api.example.test");
    // No secret is forgotten without a word.
    let forgetful = run_with(&server, &places, "hunter5");
    let said = "--drop-secret: must name api, app, which no template of inject has any more";
    assert!(forgetful.code == 1 && forgetful.err.contains(said), "{forgetful:?}");
    let mistaken = format!("{places} --drop-secret api --drop-secret app --drop-secret new");
    let mistaken = run_with(&server, &mistaken, "hunter5");
    assert!(mistaken.err.contains("has new, which is no secret that goes"), "{mistaken:?}");
    let places = format!("{places} --drop-secret api --drop-secret app");
    let places = run_with(&server, &places, "hunter5");
    assert_eq!(places.code, 0, "{places:?}");
    assert_eq!(server.send(&request).await.status, 200);
    assert_eq!(origin.last().field("x-new"), "hunter5");
    assert_eq!(run(&server, "connection delete datadog --yes").code, 0);
    assert_eq!(server.send(&request).await.refusal(), refused(403, "ConnectionNotFound"));
    // 4. What is wrong is told by its option.
    let wrong = "connection create --type custom --name abc --allowed-domain a_b --inject \
                 Cookie:{key} --secret-stdin";
    let wrong = run_with(&server, wrong, "hunter2");
    assert!(wrong.code == 1 && wrong.err.contains("keyferry: --allowed-domain: "), "{wrong:?}");
    let misplaced = "connection create --type bearer_token --name abc --allowed-domain a.com \
                     --inject X-A:{a}";
    assert_eq!(run(&server, misplaced).code, 2);
}

#[tokio::test]
async fn options_read_as_a_person_writes_them() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    server.keep_bearer("shop", "api.example.test", "hunter2").await;
    // 1. A flag takes no name for its value.
    let updated = run(&server, "connection update --read-only shop");
    assert_eq!((updated.code, updated.out.as_str()), (0, "updated shop\n"), "{updated:?}");
    assert!(run(&server, "connection show shop").out.contains("read only"));
    assert_eq!(run(&server, "connection update shop --read-only=false --mask-echo").code, 0);
    let shown = run(&server, "connection show shop").out;
    assert!(!shown.contains("read only") && shown.contains("masks echoes"), "{shown}");
    // 2. What is over is taken, and said.
    let late = run(&server, "connection update shop --expires-on 2020-01-31");
    let said = "warning: the secret expired on 2020-01-31, as expires_on says: replace it, and its \
                expires_on\n";
    assert_eq!((late.code, late.err.as_str()), (0, said));
    let shown = run(&server, "connection show shop").out;
    assert!(shown.contains("warning") && shown.contains("the secret expired on"), "{shown}");
    let told = run(&server, "explain --connection shop GET https://api.example.test/v1");
    assert!(told.out.contains("; the secret expired on 2020-01-31"), "{told:?}");
    // 3. Members are taken away by either name.
    for member in ["expires-on", "mask_echo"] {
        let unset = run(&server, &format!("connection update shop --unset {member}"));
        assert_eq!(unset.code, 0, "{unset:?}");
    }
    let shown = run(&server, "connection show shop").out;
    assert!(!shown.contains("warning") && !shown.contains("masks"), "{shown}");
    let unknown = run(&server, "connection update shop --unset nothing");
    assert!(unknown.code == 2 && unknown.err.contains("expires_on"), "{unknown:?}");
    // 4. An old secret is forgotten without a new one.
    let kept = "connection update shop --keep-old-for 10m --secret-stdin";
    assert_eq!(run_with(&server, kept, "hunter3").code, 0);
    assert!(run(&server, "connection show shop").out.contains("old secret until"));
    assert_eq!(run(&server, "connection update shop --keep-old-for 0s").code, 0);
    assert!(!run(&server, "connection show shop").out.contains("old secret until"));
}

#[tokio::test]
async fn explain_tells_of_what_goes_with_a_connection() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let leaf = TRUSTED.leaf_until(&["client.test"], 2020);
    std::fs::write(server.world.path("client.pem"), &leaf.pem).unwrap();
    std::fs::write(server.world.path("client.key"), leaf.key.serialize_pem()).unwrap();
    let create = "connection create --type bearer_token --name shop --allowed-domain \
                  shop.example.test --secret-stdin --expires-on 2099-01-31 --client-certificate \
                  client.pem --client-key client.key";
    let made = run_with(&server, create, "hunter2");
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.out.contains("the client certificate expired at 2020-"), "{made:?}");
    server.keep_bearer("old", "shop.example.test", "hunter2").await;
    assert_eq!(run(&server, "connection update old --enabled false").code, 0);
    let told = run(&server, "explain GET https://shop.example.test/v1");
    assert_eq!(told.code, 0, "{told:?}");
    for said in [
        "bearer_token acme.shop; switched off and left out: old",
        "authorization: *****; the secret expires on 2099-01-31; the client certificate expired",
    ] {
        assert!(told.out.contains(said), "{said}: {told:?}");
    }
    let refused = run(&server, "explain --connection old GET https://shop.example.test/v1");
    assert!(refused.out.contains("is switched off"), "{refused:?}");
}
