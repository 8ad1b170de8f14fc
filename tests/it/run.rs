//! `keyferry run`: a program that knows nothing of the proxy goes through it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::ask::stranger;
use crate::support::origin::Origin;
use crate::support::raw::refused;
use crate::support::world::{Running, World};
use crate::support::{soon, tls};

/// What prints the variables that matter, and the content of the files that they name.
const SHOW: &str = "env; cat \"$SSL_CERT_FILE\" > seen.pem; cat \"$NODE_EXTRA_CA_CERTS\" > ca.pem";

fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(["run", "--config", "k.toml", "--data-dir", "data"]).args(arguments);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("KEYFERRY_INTEGRATION", "acme");
    command.current_dir(&world.directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a program by the server that runs.
fn beside(server: &Running, program: &[&str]) -> Command {
    let proxy = server.proxies[0].clone();
    let mut command = command(&server.world, &[&["--proxy", &proxy, "--"], program].concat());
    command.env("KEYFERRY_URL", &server.api);
    command
}

/// The origin answers from this process, so nobody may hold it up.
async fn output(mut command: Command) -> Output {
    soon(tokio::task::spawn_blocking(move || command.output().unwrap())).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The token of the proxy's URL.
fn token_of(variables: &str) -> String {
    let line = variables.lines().find_map(|line| line.strip_prefix("https_proxy=http://acme:"));
    line.unwrap().split('@').next().unwrap().to_owned()
}

async fn tokens(server: &Running) -> usize {
    let answer = server.manage("GET /api/keyferry/v1/tokens", None).await;
    answer.json()["tokens"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_program_that_honours_variables_gets_its_credential_set() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let curl = ["curl", "-sS", "--fail", "https://api.example.test/v1"];
    let ended = output(beside(&server, &curl)).await;
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert_eq!(origin.only().field("authorization"), "Bearer bearer-secret");
    let refused = ["curl", "-sS", "--fail", "https://other.example.test/v1"];
    let ended = output(beside(&server, &refused)).await;
    let said = text(&ended.stderr);
    assert!(
        !ended.status.success() && said.contains("1 request of this program was refused"),
        "{said}"
    );
    assert!(said.contains("ConnectionRequired for https://other.example.test"), "{said}");
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_told_whatever_the_rule() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let token = "t=${https_proxy#*acme:}; t=${t%@*}; ";
    let url = "https://api.example.test/v1";
    for (script, expected) in [
        // Inside a tunnel, and outside: it can't be read in one way only.
        (
            format!("{token} curl -sS --fail -H \"X-Key: $t\" {url}"),
            "of this program was refused: MalformedRequest for https://api.example.test",
        ),
        (
            format!("{token} curl -sS --fail -H \"X-Key: $t\" http://api.example.test"),
            "of this program was refused: MalformedRequest",
        ),
        // It shows no token.
        (
            format!("curl -sS --proxy http://${{https_proxy#*@}} {url}"),
            "request whose caller is not known was refused: CallerUnknown",
        ),
    ] {
        let ended = output(beside(&server, &["sh", "-c", &script])).await;
        let said = text(&ended.stderr);
        assert!(!ended.status.success() && said.contains(expected), "{script}: {said}");
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn the_advice_after_a_refusal_asks_about_the_same_connection_at_the_same_server() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let url = "https://other.example.test/v1";
    let own = ["--url", &server.api, "--integration", "acme", "--connection", "api"];
    let mut command = command(&server.world, &[&own[..], &["--", "curl", "-sSf", url]].concat());
    command.env_remove("KEYFERRY_INTEGRATION");
    let said = text(&output(command).await.stderr);
    let advice = said.split('`').nth(1).unwrap_or_else(|| panic!("{said}"));
    let advised = advice.strip_suffix("GET URL").unwrap_or_else(|| panic!("{said}"));
    assert!(advised.contains("--integration acme --connection api"), "{said}");
    // As somebody does who copies it, in another directory.
    let elsewhere = tempfile::TempDir::new().unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_keyferry")).parent().unwrap();
    let mut copied = Command::new("sh");
    copied.args(["-c", &format!("{advised} GET {url}")]).env_clear().current_dir(&elsewhere);
    copied.env("PATH", format!("{}:/usr/bin:/bin", program.display()));
    let told = text(&output(copied).await.stdout);
    assert!(told.starts_with("refuse: 403 DomainNotAllowed"), "{told}");
}

#[tokio::test]
async fn a_program_that_does_not_trust_the_ca_is_told_of() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().file("other.pem", &tls::TRUSTED.pem).run().await;
    let curl = "curl -sS --cacert other.pem https://api.example.test/v1 2> curl.txt";
    // At its end.
    let ended = output(beside(&server, &["sh", "-c", curl])).await;
    let said = text(&ended.stderr);
    assert!(said.contains("does not trust the proxy's CA"), "{said}");
    assert!(said.contains("https://api.example.test") && !said.contains('$'), "{said}");
    assert!(said.contains("should name /") && said.contains("/bundle.pem ("), "{said}");
    // And while it runs, once.
    let mut command = beside(&server, &["sh", "-c", &format!("{curl}; cat; exit 1")]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = tokio::task::spawn_blocking(move || (lines.next().unwrap().unwrap(), lines));
    let (said, rest) = soon(first).await.unwrap();
    assert!(said.contains("does not trust the proxy's CA"), "{said}");
    assert!(child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    let ended = tokio::task::spawn_blocking(move || (child.wait().unwrap(), rest.count()));
    let (status, more) = soon(ended).await.unwrap();
    assert_eq!((status.code(), more), (Some(1), 0));
}

#[tokio::test]
async fn the_proxy_is_the_one_of_the_server_that_is_named() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let curl = ["--", "curl", "-sS", "--fail", "https://api.example.test/v1"];
    let mut named = command(&server.world, &curl);
    // The configuration names no port that anybody could know.
    named.env("KEYFERRY_URL", &server.api);
    let ended = output(named).await;
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert_eq!(origin.only().field("authorization"), "Bearer bearer-secret");
    let told = server.manage("GET /api/keyferry/v1/server", None).await.json();
    assert_eq!(told["server"]["proxy"][0], server.proxies[0].as_str());
}

#[tokio::test]
async fn where_no_server_runs_one_is_started_for_the_program() {
    let origin = Origin::start().await;
    for store in ["memory:", "sqlite:keyferry.db"] {
        origin.forget();
        let world = World::new(&origin).set("store.url", &format!("{store:?}"));
        world.write();
        let ended = output(command(
            &world,
            &["--", "curl", "-sS", "--fail", "https://api.example.test/v1"],
        ));
        let ended = ended.await;
        assert!(ended.status.success(), "{store} {}", text(&ended.stderr));
        assert_eq!(origin.only().field("authorization"), "Bearer bearer-secret");
    }
}

#[tokio::test]
async fn it_works_where_nothing_is_configured() {
    let world = World::empty();
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command.args(["run", "--", "sh", "-c", "test -s \"$SSL_CERT_FILE\" && echo \"$HTTPS_PROXY\""]);
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(&world.directory);
    // Nobody answers where a server would listen by default, but for one of this machine's own.
    command.env("KEYFERRY_API__LISTEN", "127.0.0.1:1");
    let ended = output(command).await;
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert!(text(&ended.stdout).starts_with("http://default:kf_"), "{}", text(&ended.stdout));
    // Somebody who has connections elsewhere would wonder why none is found.
    let said = text(&ended.stderr);
    assert!(said.contains("no connection in the integration default"), "{said}");
}

#[tokio::test]
async fn a_connection_that_is_not_there_is_told_before_the_program_runs() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let named = ["--connection", "nobody", "--", "sh", "-c", "echo it ran"];
    let mut named =
        command(&server.world, &[&["--proxy", &server.proxies[0]], &named[..]].concat());
    named.env("KEYFERRY_URL", &server.api);
    let ended = output(named).await;
    assert_eq!((ended.status.code(), text(&ended.stdout).as_str()), (Some(1), ""));
    let said = text(&ended.stderr);
    assert!(said.contains("the integration acme has no connection nobody"), "{said}");
}

/// The variables that name the bundle of CAs, beside `SSL_CERT_FILE`.
const NAME_THE_BUNDLE: [&str; 19] = [
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "PIP_CERT",
    "DENO_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "PERL_LWP_SSL_CA_FILE",
    "HTTPLIB2_CA_CERTS",
    "WEBSOCKET_CLIENT_CA_BUNDLE",
    "CONDA_SSL_VERIFY",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "NIX_SSL_CERT_FILE",
    "BUNDLE_SSL_CA_CERT",
    "COMPOSER_CAFILE",
    "HEX_CACERTS_PATH",
    "JULIA_SSL_CA_ROOTS_PATH",
    "SYSTEM_CERTIFICATE_PATH",
];

/// The variables that name the proxy, beside `https_proxy`.
const NAME_THE_PROXY: [&str; 11] = [
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "http_proxy",
    "WSS_PROXY",
    "wss_proxy",
    "WS_PROXY",
    "ws_proxy",
    "grpc_proxy",
    "npm_config_https_proxy",
    "npm_config_proxy",
    "YARN_HTTPS_PROXY",
];

#[tokio::test]
async fn the_variables_are_set_and_what_they_name_is_gone_afterwards() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let mut command = beside(&server, &["sh", "-c", SHOW]);
    command.env(
        "KEYFERRY_TOKEN",
        std::fs::read_to_string(server.world.path("data/admin.token")).unwrap().trim(),
    );
    command.env("NO_PROXY", "intranet.example").env("JAVA_TOOL_OPTIONS", "-Dx=y");
    let ended = output(command).await;
    let variables = text(&ended.stdout);
    let value = |name: &str| {
        let found = variables.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("{name} in {variables}")).to_owned()
    };
    let bundle = value("SSL_CERT_FILE");
    for name in NAME_THE_BUNDLE {
        assert_eq!(value(name), bundle);
    }
    for name in NAME_THE_PROXY {
        assert_eq!(value(name), value("https_proxy"));
    }
    assert_eq!(value("NO_PROXY"), "intranet.example,localhost,127.0.0.1,::1");
    assert_eq!(value("NODE_USE_ENV_PROXY"), "1");
    assert_eq!(value("PERL_LWP_ENV_PROXY"), "1");
    let made = |name: &str| bundle.replace("bundle.pem", name);
    assert_eq!(value("PHP_INI_SCAN_DIR"), format!(":{}", made("php")));
    assert_eq!((value("WGETRC"), value("APT_CONFIG")), (made("wgetrc"), made("apt.conf")));
    let java = value("JAVA_TOOL_OPTIONS");
    assert!(
        java.starts_with("-Dx=y -Djavax.net.ssl.trustStore=") && !java.contains("kf_"),
        "{java}"
    );
    assert!(!variables.contains("KEYFERRY_TOKEN"), "{variables}");
    let ca = server.ca().await;
    let seen = std::fs::read_to_string(server.world.path("seen.pem")).unwrap();
    assert!(seen.contains(ca.trim_end()));
    let alone = std::fs::read_to_string(server.world.path("ca.pem")).unwrap();
    assert_eq!(alone.trim_end(), ca.trim_end());
    assert!(!std::path::Path::new(&bundle).exists());
}

#[tokio::test]
async fn the_token_is_the_programs_alone_and_ends_with_it() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let ended = output(beside(&server, &["sh", "-c", "env; ps -ef"])).await;
    let token = token_of(&text(&ended.stdout));
    let shown: Vec<_> = text(&ended.stdout)
        .lines()
        .filter(|line| line.contains(&token) && !line.to_ascii_lowercase().contains("_proxy="))
        .map(str::to_owned)
        .collect();
    assert_eq!((shown, text(&ended.stderr)), (Vec::new(), String::new()));
    assert!(!server.log.text().contains(&token) && !server.greeting.text().contains(&token));
    assert_eq!(tokens(&server).await, 0);
    let late = stranger("GET https://api.example.test/v1");
    let late = late.field("Proxy-Authorization", &format!("Bearer {token}"));
    assert_eq!(server.send(&late).await.refusal(), refused(407, "CallerUnknown"));
}

#[tokio::test]
async fn the_code_is_the_programs_own() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let world = &server.world;
    std::fs::write(world.path("data.txt"), "no program").unwrap();
    for (program, code) in [
        (&["sh", "-c", "exit 0"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["/no/such/program"], 127),
        (&["./data.txt"], 126),
    ] {
        let ended = output(beside(&server, program)).await;
        assert_eq!(ended.status.code(), Some(code), "{program:?} {}", text(&ended.stderr));
    }
    assert_eq!(tokens(&server).await, 0);
    let usage = output(command(world, &[])).await;
    assert_eq!(usage.status.code(), Some(2));
}

#[tokio::test]
async fn signals_are_the_programs_and_input_is_too() {
    let origin = Origin::start().await;
    let server = World::new(&origin).keeping().run().await;
    let script = "trap 'echo term; exit 3' TERM; trap 'echo usr1' USR1; echo ready; \
                  while :; do sleep 0.01; done";
    let mut command = beside(&server, &["sh", "-c", script]);
    command.process_group(0);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    tell(&child, Signal::USR1);
    assert_eq!(lines.next().unwrap().unwrap(), "usr1");
    tell(&child, Signal::TERM);
    assert_eq!(lines.next().unwrap().unwrap(), "term");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(tokens(&server).await, 0);

    let mut command = beside(&server, &["cat"]);
    let input = std::fs::File::open(server.world.path("k.toml")).unwrap();
    let mut child = command.stdin(input).spawn().unwrap();
    let mut echoed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut echoed).unwrap();
    assert_eq!(echoed, std::fs::read_to_string(server.world.path("k.toml")).unwrap());
    child.wait().unwrap();
}

fn tell(child: &Child, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}

#[tokio::test]
async fn a_connection_can_be_named_and_a_token_be_brought_along() {
    let origin = Origin::start().await;
    let world = World::new(&origin).bearer("acme.second", "*.example.test", "second-secret");
    let server = world.file("own.token", &crate::support::token("runner")).run().await;
    let proxy = server.proxies[0].clone();
    let curl = ["--", "curl", "-sS", "--fail", "https://api.example.test/v1"];
    let own = ["--proxy", &proxy, "--caller-token-file", "own.token", "--connection", "second"];
    let mut named = command(&server.world, &[&own[..], &curl].concat());
    named.env("KEYFERRY_URL", &server.api);
    let ended = output(named).await;
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert_eq!(origin.only().field("authorization"), "Bearer second-secret");
    // A server that keeps nothing can make no token, and says what to do.
    let ended = output(beside(&server, &["true"])).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("--caller-token-file"), "{}", text(&ended.stderr));
}
