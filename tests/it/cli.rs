//! The program as an operator meets it: arguments in, exit codes and sentences out.

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

/// The program in an empty directory and with an empty environment.
struct Program {
    directory: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Program {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap(), environment: Vec::new() }
    }

    fn file(self, name: &str, content: &str) -> Self {
        fs::write(self.directory.path().join(name), content).unwrap();
        self
    }

    fn with(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((variable, value.into()));
        self
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
        command.args(arguments.split_whitespace()).env_clear().current_dir(&self.directory);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, arguments: &str) -> Ended {
        Ended::from(self.command(arguments).output().unwrap())
    }
}

#[derive(Debug, Eq, PartialEq)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn ended(code: i32, out: &str, err: &str) -> Ended {
    Ended { code: Some(code), out: out.to_owned(), err: err.to_owned() }
}

#[test]
fn wrong_usage_ends_with_two() {
    for arguments in
        ["", "bogus", "check --bogus", "token", "check extra", "health --url x", "explain GET"]
    {
        let ended = Program::new().run(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments}");
        let helpful =
            ["Usage: keyferry", "try '--help'"].iter().any(|hint| ended.err.contains(hint));
        assert!(helpful, "{arguments}: {}", ended.err);
    }
}

#[test]
fn help_and_version_are_no_failure() {
    let help = Program::new().run("--help");
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    let commands = [
        "serve",
        "check",
        "health",
        "explain",
        "run",
        "connection",
        "client",
        "token",
        "ca",
        "key",
    ];
    for word in commands.iter().chain(&["--config", "--data-dir"]) {
        assert!(help.out.contains(word), "{word}");
    }
    let version = Program::new().run("--version");
    assert_eq!(version, ended(0, &format!("keyferry {}\n", env!("CARGO_PKG_VERSION")), ""));
}

#[test]
fn check_says_what_it_found_and_makes_nothing() {
    let program = Program::new();
    assert_eq!(
        program.run("check"),
        ended(
            0,
            "no configuration file; no fault; 0 connections, 0 tokens; the store and the master \
             keys were not read\n",
            ""
        )
    );
    assert_eq!(fs::read_dir(program.directory.path()).unwrap().count(), 0);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config/example.toml");
    let ended = program.run(&format!("--config {example} check"));
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.out, format!("{example}: no fault; 3 connections, 1 token\n"));
    assert!(ended.err.lines().all(|line| line.starts_with(&format!("warning: {example}:"))));
}

#[test]
fn check_prints_every_fault_with_its_place() {
    let program = Program::new()
        .file(
            "k.toml",
            "[proxy]\nlisten = []\nplain_htp = \"refuse\"\n\nallowed_methods = [\"get\"]",
        )
        .with("KEYFERRY_API__LISTEN", "here");
    assert_eq!(
        program.run("check --config k.toml"),
        ended(
            1,
            "",
            "warning: k.toml:5:20: proxy.allowed_methods[0]: methods are case-sensitive, and the \
             known ones are in capitals\n\
             k.toml:2:1: proxy.listen: must not be empty\n\
             k.toml:3:1: proxy.plain_htp: unknown key; did you mean plain_http?\n\
             environment variable KEYFERRY_API__LISTEN: api.listen: must be an address and port \
             such as \"127.0.0.1:9443\"\n\
             keyferry: the configuration has 3 faults: fix what is listed above\n"
        )
    );
    let ended = program.run("check --config k.toml --output json");
    let verdict: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""));
    assert_eq!(verdict["ok"], false);
    assert_eq!(
        verdict["faults"][0],
        serde_json::json!({
            "file": "k.toml", "line": 2, "column": 1,
            "key": "proxy.listen", "rule": "must not be empty",
        })
    );
    assert_eq!(verdict["faults"][2]["variable"], "KEYFERRY_API__LISTEN");
    assert_eq!(verdict["warnings"][0]["line"], 5);
}

#[test]
fn check_in_json_counts_what_is_declared() {
    let program = Program::new().file("k.toml", "").with("KEYFERRY_CONFIG", "k.toml");
    let ended = program.run("check --output json");
    let verdict: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        verdict,
        serde_json::json!({
            "ok": true, "file": "k.toml", "connections": 0, "tokens": 0,
            "store_read": false, "faults": [], "warnings": [],
        })
    );
}

#[test]
fn check_says_nothing_of_a_store_where_there_is_none() {
    let program = Program::new().file("k.toml", "[store]\nurl = \"memory:\"");
    let said = "k.toml: no fault; 0 connections, 0 tokens\n";
    assert_eq!(program.run("check --config k.toml"), ended(0, said, ""));
}

#[test]
fn explain_decides_alone_where_the_server_of_the_environment_does_not_answer() {
    let declared = "[[connections]]\nintegration = \"acme\"\nname = \"api\"\n\
                    allowed_domain = \"api.example.com\"\ntype = \"bearer_token\"\n\
                    token = { env = \"API\" }";
    let program = Program::new().file("k.toml", declared).with("API", "a-secret");
    let program = program.with("KEYFERRY_URL", "http://127.0.0.1:1");
    let line = "explain --config k.toml GET https://api.example.com/v1";
    let told = program.run(line);
    assert!(told.code == Some(0) && told.out.starts_with("allow: "), "{told:?}");
    let said = "keyferry: the server at http://127.0.0.1:1, which KEYFERRY_URL names, can't be \
                asked: ";
    assert!(told.err.starts_with(said) && told.err.lines().count() == 1, "{told:?}");
    assert!(told.err.contains("what the configuration says by itself"), "{told:?}");
    // Who names a server on the command line means that one.
    let named = program.run(&format!("{line} --url http://127.0.0.1:1"));
    assert_eq!((named.code, named.out.as_str()), (Some(1), ""), "{named:?}");
    let scheme = program.run("explain --config k.toml GET api.example.com/v1");
    assert!(scheme.out.contains("write https://api.example.com/v1"), "{scheme:?}");
    let none = Program::new().file("k.toml", "").with("KEYFERRY_URL", "http://127.0.0.1:1");
    let none = none.run(line);
    assert!(none.out.contains("ConnectionRequired"), "{none:?}");
    assert!(none.err.contains("name the integration with --integration or"), "{none:?}");
    let wrong = Program::new().with("KEYFERRY_URL", "nowhere").run("explain GET https://a.com/");
    assert!(wrong.code == Some(1) && wrong.err.contains("KEYFERRY_URL"), "{wrong:?}");
}

#[test]
fn an_unreadable_configuration_is_one_fault() {
    assert_eq!(
        Program::new().run("check --config none.toml"),
        ended(
            1,
            "",
            "none.toml: the configuration file can't be read: No such file or directory \
             (os error 2)\nkeyferry: the configuration has 1 fault: fix what is listed above\n"
        )
    );
}

#[test]
fn a_generated_token_stands_alone_and_can_be_declared() {
    let ended = Program::new().run("token generate");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let token = ended.out.strip_suffix('\n').unwrap();
    assert!(token.starts_with("kf_") && token.len() == 46);
    let other = Program::new().run("token generate --output json");
    let other: serde_json::Value = serde_json::from_str(&other.out).unwrap();
    assert_ne!(other["token"], token);
    let program = Program::new().file("token", &ended.out).file(
        "k.toml",
        "[[tokens]]\nname = \"a\"\nintegration = \"*\"\nscopes = [\"proxy\"]\n\
         token = { file = \"token\" }",
    );
    assert_eq!(program.run("check --config k.toml").code, Some(0));
}

#[test]
fn the_schema_of_the_configuration_needs_no_configuration() {
    let ended = Program::new().with("KEYFERRY_CONFIG", "/nowhere.toml").run("config schema");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let schema: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let plain_http = &schema["properties"]["proxy"]["properties"]["plain_http"];
    assert_eq!(plain_http["enum"], serde_json::json!(["refuse", "upgrade"]));
    assert_eq!(plain_http["default"], "refuse");
    assert!(plain_http["description"].as_str().unwrap().contains("http://"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let program = Program::new();
    for arguments in ["token generate", "check", "config schema", "--help"] {
        let mut command = program.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = Ended::from(child.wait_with_output().unwrap());
        assert_eq!(ended, self::ended(0, "", ""), "{arguments}");
    }
}

/// A server that answers one request with `answer` and gives back what it was asked.
fn server(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = thread::spawn(move || talk(listener.accept().unwrap().0, answer));
    (address, asked)
}

fn talk(mut conn: impl std::io::Read + std::io::Write, answer: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        conn.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    conn.write_all(answer.as_bytes()).unwrap();
    conn.flush().unwrap();
    String::from_utf8(request).unwrap()
}

#[test]
fn health_asks_where_the_configuration_has_the_api_listen() {
    let (address, asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let program = Program::new().with("KEYFERRY_API__LISTEN", address.to_string());
    let expected = ended(0, &format!("http://{address} is ready\n"), "");
    assert_eq!(program.run("health"), expected);
    let request = asked.join().unwrap();
    let host = format!("\r\nhost: localhost:{}\r\n", address.port());
    assert!(request.starts_with("GET /readyz HTTP/1.1\r\n") && request.contains(&host));
}

#[test]
fn health_asks_the_server_that_it_is_given() {
    let (address, asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let program = Program::new().with("KEYFERRY_URL", "http://127.0.0.1:1");
    assert_eq!(program.run(&format!("health --url http://{address}/base/")).code, Some(0));
    assert!(asked.join().unwrap().starts_with("GET /base/readyz HTTP/1.1\r\n"));
    let (address, asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let program = Program::new().with("KEYFERRY_URL", format!("http://{address}"));
    let ended = program.run("health --output json");
    assert_eq!(ended.out, format!("{{\"ready\":true,\"url\":\"http://{address}\"}}\n"));
    assert!(asked.join().unwrap().contains(&format!("\r\nhost: {address}\r\n")));
}

#[test]
fn health_fails_when_the_server_is_not_ready_or_not_there() {
    for (answer, reason) in [
        (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            "it answered with status 503",
        ),
        ("SSH-2.0-OpenSSH\r\n", "it does not answer in HTTP/1.1"),
        ("", "it does not answer in HTTP/1.1"),
    ] {
        let (address, asked) = server(answer);
        let advice = "look at the server's log, or name another server with --url";
        let said = format!("keyferry: http://{address} is not ready: {reason}; {advice}\n");
        let outcome = Program::new().run(&format!("health --url http://{address}"));
        assert_eq!(outcome, ended(1, "", &said));
        asked.join().unwrap();
    }
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outcome = Program::new().run(&format!("health --output json --url http://{gone}"));
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(1), ""));
    assert!(outcome.out.contains("\"ready\":false") && outcome.out.contains("refused"));
}

#[test]
fn health_does_not_wait_for_long() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let start = keyferry::clock::instant();
    let outcome = Program::new().run(&format!("health --url http://{address}"));
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err.contains("it did not answer in time"), "{}", outcome.err);
    assert!((2..6).contains(&start.elapsed().as_secs()));
}

#[test]
fn health_asks_over_tls_and_verifies_the_certificate() {
    let pair = rcgen::generate_simple_self_signed(["keyferry.test".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![pair.cert.der().clone()],
            pair.signing_key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(config);
    let serving = thread::spawn(move || {
        let shake = |conn: TcpStream| {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            rustls::StreamOwned::new(session, conn)
        };
        talk(shake(listener.accept().unwrap().0), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        // The second visitor knows no reason to trust the certificate and goes away.
        let mut refused = shake(listener.accept().unwrap().0);
        refused.sock.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        refused.read(&mut [0]).is_err()
    });
    let program = Program::new()
        .file("api.pem", &pair.cert.pem())
        .file("api.key", &pair.signing_key.serialize_pem())
        .with("KEYFERRY_API__LISTEN", address.to_string())
        .with("KEYFERRY_API__PUBLIC_URL", "https://keyferry.test")
        .with("KEYFERRY_API__TLS", "{ cert = \"api.pem\", key = \"api.key\" }");
    assert_eq!(program.run("health"), ended(0, &format!("https://{address} is ready\n"), ""));
    let refused = program.run(&format!("health --url https://{address}"));
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("certificate"), "{}", refused.err);
    assert!(serving.join().unwrap());
}
