//! The configuration as an operator meets it: text in, typed data or printed faults out.

mod faults;
mod readers;
mod restart;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use self::faults::{CONNECTION_FAULTS, FAULTS, TOKEN_FAULTS};
use super::describe::described_keys;
use super::*;
use crate::model::caller::Reach;

/// A directory with a configuration file and what it refers to.
struct Directory {
    temporary: TempDir,
    environment: Vec<(&'static str, &'static str)>,
    data_dir: Option<PathBuf>,
}

impl Directory {
    fn new() -> Self {
        Self { temporary: TempDir::new().unwrap(), environment: Vec::new(), data_dir: None }
    }

    fn with(mut self, variable: &'static str, value: &'static str) -> Self {
        self.environment.push((variable, value));
        self
    }

    fn file(self, name: &str, content: &str, mode: u32) -> Self {
        let path = self.temporary.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn load(&self, text: &str) -> Result<Loaded, ConfigFaults> {
        let path = self.temporary.path().join("c.toml");
        fs::write(&path, text).unwrap();
        let options = Options { config: Some(path), data_dir: self.data_dir.clone() };
        load(&options, &self.environment.iter().copied().collect())
    }

    /// What is printed of `faults`, without the name of the directory.
    fn printed(&self, faults: &[ConfigFault]) -> Vec<String> {
        let directory = format!("{}/", self.temporary.path().display());
        faults.iter().map(|fault| fault.to_string().replace(&directory, "")).collect()
    }

    fn faults(&self, text: &str) -> Vec<String> {
        match self.load(text) {
            Ok(_) => Vec::new(),
            Err(faults) => self.printed(&faults.faults),
        }
    }

    fn warnings(&self, text: &str) -> Vec<String> {
        self.printed(&self.load(text).unwrap().warnings)
    }
}

const CONNECTION: &str = "[[connections]]\nintegration = \"shop\"\ntype = \"bearer_token\"\n\
                          name = \"example\"\nallowed_domain = \"api.example.com\"\n";

const TOKEN: &str = "[[tokens]]\nname = \"runner\"\nintegration = \"shop\"\nscopes = [\"proxy\"]\n\
                     token = { env = \"CALLER\" }\n";

const CALLER: &str = "kf_0123456789012345678901234567890123456789abc";

/// The file with every commented-out key written out.
fn uncommented(text: &str) -> String {
    let written = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with("[[") => rest.to_owned(),
        Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| is_key(key)) => rest.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(|line| written(line) + "\n").collect()
}

fn is_key(text: &str) -> bool {
    text.starts_with('"') || text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

type Generate = fn() -> String;

/// The files that are generated from the table of keys.
const GENERATED: [(&str, Generate); 2] =
    [("config/default.toml", default_file), ("docs/reference/configuration.md", reference_page)];

#[test]
fn the_default_file_is_the_default() {
    let directory = Directory::new();
    let loaded = directory.load(&default_file()).unwrap();
    let nothing = load(&Options::default(), &Environment::default()).unwrap();
    assert_eq!(format!("{:#?}", loaded.config), format!("{:#?}", nothing.config));
    assert!(nothing.warnings.is_empty() && nothing.file.is_none());
}

#[test]
fn the_default_file_shows_every_key_that_is_read_and_no_other() {
    let text = uncommented(&default_file());
    for key in described_keys() {
        let shown = format!("{} = {}\n", key.row.name, key.toml);
        assert!(text.contains(&shown), "{shown}");
    }
    let faults = Directory::new().load(&text).unwrap_err().to_string();
    assert!(!faults.contains("unknown key") && !faults.contains("is missing"), "{faults}");
}

/// The generated files are in the tree so that they are read there, and by other programs. With
/// `KEYFERRY_WRITE_GENERATED` set they are written first.
#[test]
#[expect(clippy::disallowed_methods, reason = "the variable is the test's own")]
fn the_generated_files_are_up_to_date() {
    for (path, generated) in GENERATED {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        if std::env::var_os("KEYFERRY_WRITE_GENERATED").is_some() {
            fs::write(&file, generated()).unwrap();
        }
        assert!(
            fs::read_to_string(file).is_ok_and(|written| written == generated()),
            "{path} differs from the table of keys: run \
             `KEYFERRY_WRITE_GENERATED=1 cargo test --lib the_generated_files`"
        );
    }
}

#[test]
fn each_key_is_in_the_schema_and_on_the_page() {
    let (schema, page) = (schema(), reference_page());
    for key in described_keys() {
        let name = key.row.name;
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
        let (list, section) = (key.section.split_once('['), schema["properties"].clone());
        let section = match list {
            Some((list, index)) => {
                let index: usize = index.trim_end_matches(']').parse().unwrap();
                section[list]["items"]["oneOf"][index]["properties"].clone()
            }
            None if key.section.is_empty() => section,
            None => section[&key.section]["properties"].clone(),
        };
        assert_eq!(section[name]["description"], key.row.sentence, "{}.{name}", key.section);
    }
}

/// Sentences end, and say what nothing else says.
#[test]
fn each_key_has_a_sentence_of_its_own() {
    let keys = described_keys();
    for key in &keys {
        assert!(key.row.sentence.ends_with('.'), "{}", key.row.sentence);
        assert!(!key.toml.is_empty(), "{}", key.row.name);
    }
    assert!(keys.len() > 70, "{}", keys.len());
}

#[test]
fn the_containers_file_is_without_fault_or_warning() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/container.toml");
    let options = Options { config: Some(path.into()), data_dir: None };
    let Loaded { config, warnings, .. } = load(&options, &Environment::default()).unwrap();
    assert!(!config.proxy.is_anonymous && warnings.is_empty());
}

#[test]
fn the_example_is_without_fault() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/example.toml");
    let options = Options { config: Some(path.into()), data_dir: None };
    let Loaded { config, warnings, .. } = load(&options, &Environment::default()).unwrap();
    assert_eq!((config.connections.len(), config.tokens.len()), (3, 1));
    assert!(warnings.iter().all(|warning| warning.rule.contains("written into")));
}

#[test]
fn connections_and_tokens_are_read() {
    let directory = Directory::new()
        .with("T", "t0k3n")
        .with("CALLER", CALLER)
        .file("key", "k3y\n", 0o600)
        .file("password", "pass: word \n", 0o400);
    let text = r#"
        connections = [
          { integration = "shop", type = "bearer_token", name = "one", allowed_domain = "a.com", token = { env = "T" } },
          { integration = "shop", type = "api_key", name = "two", allowed_domain = "*.A.com", header_name = "X-Key", api_key = { file = "key" } },
          { integration = "else", type = "basic_auth", name = "two", allowed_domain = "a.com", username = "u", password = { file = "password" } },
        ]
        [[tokens]]
        name = "runner"
        integration = "*"
        scopes = ["proxy", "zis:read"]
        connections = ["shop.one"]
        expires_at = 2030-01-31T12:00:00Z
        token = { env = "CALLER" }
    "#;
    let Loaded { config, warnings, .. } = directory.load(text).unwrap();
    assert_eq!(warnings, []);
    let exposed = |connection: &Arc<Connection>| {
        connection.credential().unwrap().fields().next().unwrap().1.clone()
    };
    let secrets: Vec<_> = config.connections.iter().map(exposed).collect();
    assert_eq!(secrets, ["Bearer t0k3n", "k3y", "Basic dTpwYXNzOiB3b3JkIA=="]);
    assert_eq!(config.connections[1].allowed_domain().unwrap().to_string(), "*.a.com");
    let DeclaredToken { digest, caller } = &config.tokens[0];
    assert_eq!(*digest, TokenDigest::of(CALLER.as_bytes()));
    assert!(matches!(&caller.reach, Reach::Every(Some(pairs)) if pairs.len() == 1));
    assert!(caller.scopes.proxy && caller.scopes.read && !caller.scopes.write);
    assert_eq!(caller.expires_at.unwrap().to_string(), "2030-01-31T12:00:00Z");
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let mut directory = Directory::new()
        .with("KEYFERRY_PROXY__PLAIN_HTTP", "upgrade")
        .with("KEYFERRY_PROXY__LISTEN", r#"["127.0.0.1:0", "unix:/run/p"]"#)
        .with("KEYFERRY_UPSTREAM__HTTP2", "false")
        .with("KEYFERRY_UPSTREAM__RESOLVE", r#"{ "a.test:443" = "127.0.0.1:1" }"#)
        .with("KEYFERRY_API__REQUESTS_PER_MINUTE", "0")
        .with("KEYFERRY_ZIS__SUBDOMAIN", "123")
        .with("KEYFERRY_STORE__URL", "\"memory:\"")
        .with("KEYFERRY__DATA_DIR", "/from/environment")
        .with("KEYFERRY_PORT", "tcp://10.0.0.1:8080")
        .with("RUST_LOG", "hyper,keyferry=trace");
    let text = "data_dir = \"/from/file\"\nshutdown_grace = \"0s\"\n[proxy]\nplain_http = \"refuse\"\nhead_timeout = \"1s\"";
    let config = directory.load(text).unwrap().config;
    assert!(config.proxy.settings.terms.upgrade_plain_http);
    assert_eq!(config.proxy.listen.len(), 2);
    assert_eq!(config.shutdown_grace, Duration::ZERO);
    assert_eq!(config.proxy.settings.tunnel_first_byte_timeout, Duration::from_secs(1));
    assert_eq!(config.upstream.pins.len(), 1);
    assert!(!config.upstream.http2);
    assert_eq!(config.api.requests_per_minute, None);
    assert_eq!(config.management.account_host.unwrap().as_str(), "123.zendesk.com");
    assert_eq!(config.store.url, StoreUrl::Memory);
    assert_eq!(config.log.level, "hyper,keyferry=trace");
    assert_eq!(config.data_dir, PathBuf::from("/from/environment"));
    directory.data_dir = Some("/from/arguments".into());
    assert_eq!(directory.load(text).unwrap().config.data_dir, PathBuf::from("/from/arguments"));
    directory.data_dir = Some(PathBuf::new());
    assert_eq!(directory.faults(text), ["--data-dir: data_dir: must not be empty"]);
}

#[test]
fn the_file_is_named_by_the_environment_unless_an_argument_names_it() {
    let directory = Directory::new().file("one.toml", "data_dir = \"one\"", 0o600);
    let path = directory.temporary.path().join("one.toml");
    let environment = Environment::from_iter([("KEYFERRY_CONFIG", path.as_os_str())]);
    let loaded = load(&Options::default(), &environment).unwrap();
    assert_eq!((loaded.config.data_dir, loaded.file), (PathBuf::from("one"), Some(path)));
    let options = Options { config: Some("/nowhere/two.toml".into()), data_dir: None };
    assert_eq!(
        load(&options, &environment).unwrap_err().to_string(),
        "/nowhere/two.toml: the configuration file can't be read: No such file or directory (os error 2)"
    );
}

#[test]
fn each_fault_names_place_key_and_rule() {
    for (text, printed) in FAULTS {
        assert_eq!(Directory::new().faults(text), [*printed], "{text}");
    }
}

#[test]
fn each_fault_of_a_connection_names_place_key_and_rule() {
    for (change, printed) in CONNECTION_FAULTS {
        let directory = Directory::new()
            .with("T", "hunter2")
            .with("BAD", "hunter2\n")
            .with("EMPTY", "")
            .file("two-lines", "hunter2\n\n", 0o600)
            .file("long", &"hunter2".repeat(2000), 0o600);
        let text = format!("{CONNECTION}token = {{ env = \"T\" }}\n");
        assert!(directory.faults(&text).is_empty());
        let faulty = text.replace(change.0, change.1);
        assert_ne!(faulty, text);
        assert_eq!(directory.faults(&faulty), [*printed], "{faulty}");
    }
}

#[test]
fn header_names_and_user_names_follow_their_rules() {
    let directory = Directory::new().with("T", "hunter2");
    let text = CONNECTION.replace("bearer_token", "api_key")
        + "header_name = \"Cookie\"\napi_key = { env = \"T\" }";
    let printed = "c.toml:6:1: connections[0].header_name: this header name is forbidden: HTTP or the proxy uses it";
    assert_eq!(directory.faults(&text), [printed]);
    let text = CONNECTION.replace("bearer_token", "basic_auth")
        + "username = \"a:b\"\npassword = { env = \"T\" }";
    let printed = "c.toml:6:1: connections[0].username: a user name can't contain a colon: everything after it would be the password";
    assert_eq!(directory.faults(&text), [printed]);
}

#[test]
fn each_fault_of_a_token_names_place_key_and_rule() {
    for (change, printed) in TOKEN_FAULTS {
        let directory = Directory::new().with("CALLER", CALLER).with("SHORT", "kf_short");
        assert!(directory.faults(TOKEN).is_empty());
        let faulty = TOKEN.replace(change.0, change.1);
        assert_ne!(faulty, TOKEN);
        assert_eq!(directory.faults(&faulty), [*printed], "{faulty}");
    }
}

#[test]
fn duplicates_name_both_places() {
    let directory = Directory::new().with("T", "hunter2").with("CALLER", CALLER);
    let connection = format!("{CONNECTION}token = {{ env = \"T\" }}\n");
    let text = format!("{connection}{connection}{}", connection.replace("shop", "other"));
    let printed = "c.toml:7:1: connections[1]: the integration shop already has a connection named example, at c.toml:1:1";
    assert_eq!(directory.faults(&text), [printed]);
    let text = format!("{TOKEN}{TOKEN}");
    assert_eq!(
        directory.faults(&text),
        [
            "c.toml:6:1: tokens[1]: another token is already named runner, at c.toml:1:1",
            "c.toml:6:1: tokens[1]: another token has the same secret, at c.toml:1:1",
        ]
    );
}

#[test]
fn all_faults_are_reported_in_the_order_of_the_file() {
    let directory =
        Directory::new().with("KEYFERRY_PROXY__PLAIN_HTTP", "maybe").with("KEYFERRY_A__B", "1");
    let text =
        "data_dir = 1\n[proxy]\nlisten = [1, \"x\"]\nnew = true\n[audit]\nretention = \"-\"\n";
    assert_eq!(
        directory.faults(text),
        [
            "c.toml:1:1: data_dir: must be a string, not a whole number",
            "c.toml:3:11: proxy.listen[0]: must be a string, not a whole number",
            "c.toml:3:14: proxy.listen[1]: must be an address and port such as \"127.0.0.1:8080\", or \"unix:PATH\"",
            "c.toml:4:1: proxy.new: unknown key",
            "c.toml:6:1: audit.retention: must be a duration such as \"500ms\", \"5s\", \"10m\" or \"7d\"",
            "environment variable KEYFERRY_A__B: a: unknown key",
            "environment variable KEYFERRY_PROXY__PLAIN_HTTP: proxy.plain_http: must be \"refuse\" or \"upgrade\"",
        ]
    );
}

#[test]
fn syntax_errors_are_reported_with_the_faults_that_they_did_not_cause() {
    let text = "data_dir = \"a\"\ndata_dir = \"b\"\nnew = 1\n[proxy]\nlisten = [\nx =\n";
    let faults = Directory::new().faults(text);
    assert_eq!(faults[0], "c.toml:2:1: data_dir: duplicate key");
    assert_eq!(faults[1], "c.toml:3:1: new: unknown key");
    assert!(faults[2..].iter().any(|fault| fault.starts_with("c.toml:6:")), "{faults:?}");
    let faults = Directory::new().faults("[[connections]]\nname = \"abc\nintegration = \"shop\"\n");
    assert!(!faults.iter().any(|fault| fault.contains("is missing")), "{faults:?}");
    assert!(faults[0].starts_with("c.toml:2:"), "{faults:?}");
    assert!(Directory::new().faults("\u{feff}[proxy]\n").is_empty());
}

#[test]
fn environment_variables_that_are_not_toml_are_faults_that_name_them() {
    for (variable, value, printed) in [
        (
            "KEYFERRY_PROXY__LISTEN",
            "127.0.0.1:1",
            "proxy.listen: must be a list in TOML such as [\"a\", \"b\"]",
        ),
        ("KEYFERRY_UPSTREAM__HTTP2", "yes", "upstream.http2: must be true or false"),
        (
            "KEYFERRY_UPSTREAM__HTTP2",
            "1",
            "upstream.http2: must be true or false, not a whole number",
        ),
        (
            "KEYFERRY_PROXY__MAX_CONNECTIONS",
            "many",
            "proxy.max_connections: must be a whole number",
        ),
        ("KEYFERRY_PROXY__TLS", "x", "proxy.tls: must be a table in TOML such as { a = \"b\" }"),
        ("KEYFERRY_PROXY__LISTEN__X", "x", "proxy.listen: must be a list, not a table"),
        ("KEYFERRY_PROXI__LISTEN", "x", "proxi: unknown key; did you mean proxy?"),
    ] {
        let directory = Directory::new().with(variable, value);
        let expected = format!("environment variable {variable}: {printed}");
        assert_eq!(directory.faults("[proxy]\nlisten = [\"127.0.0.1:1\"]"), [expected]);
    }
}

#[test]
fn warnings_do_not_keep_from_starting() {
    let directory = Directory::new().file("open", "hunter2", 0o644).file("group", "hunter2", 0o440);
    let literal = "c.toml:6:1: connections[0].token: the secret is written into the configuration: refer to it with { env = \"NAME\" } or { file = \"PATH\" } instead";
    assert_eq!(directory.warnings(&format!("{CONNECTION}token = \"hunter2\"")), [literal]);
    let open = "c.toml:6:1: connections[0].token: everyone on this machine can read the file open";
    assert_eq!(directory.warnings(&format!("{CONNECTION}token = {{ file = \"open\" }}")), [open]);
    assert!(directory.warnings(&format!("{CONNECTION}token = {{ file = \"group\" }}")).is_empty());
    // Nothing is said of a file whose text is not secret.
    let basic = CONNECTION.replace("bearer_token", "basic_auth");
    let public =
        format!("{basic}username = {{ file = \"open\" }}\npassword = {{ file = \"group\" }}");
    assert!(directory.warnings(&public).is_empty());
    let method = "c.toml:2:20: proxy.allowed_methods[0]: methods are case-sensitive, and the known ones are in capitals";
    assert_eq!(directory.warnings("[proxy]\nallowed_methods = [\"get\"]"), [method]);
}

#[test]
fn a_token_for_a_connection_that_can_not_exist_is_a_warning() {
    let directory = Directory::new().with("SECRET", "hunter2").with("CALLER", CALLER);
    let text = |store: &str, names: &str| {
        format!(
            "store.url = \"{store}\"\n{CONNECTION}token = {{ env = \"SECRET\" }}\n{TOKEN}connections = \
             [{names}]\n"
        )
    };
    let warning = "c.toml:13:1: tokens[0].connections: no connection shop.other is declared, and store.url = \"memory:\" keeps no others";
    assert_eq!(directory.warnings(&text("memory:", "\"example\", \"other\"")), [warning]);
    assert!(directory.warnings(&text("memory:", "\"example\"")).is_empty());
    assert!(directory.warnings(&text("sqlite:k.db", "\"other\"")).is_empty());
}

#[test]
fn an_api_that_listens_elsewhere_is_warned_that_its_links_do_not_lead_there() {
    let directory = Directory::new();
    let warning = "c.toml:2:1: api.listen: set api.public_url too: what is sent to browsers and OAuth providers still leads to http://127.0.0.1:8081";
    let listen = "[api]\nlisten = \"10.0.0.7:9000\"\n";
    assert_eq!(directory.warnings(listen), [warning]);
    let told = format!("{listen}public_url = \"http://10.0.0.7:9000\"");
    assert!(directory.warnings(&told).is_empty());
    // On this machine it is known where they lead.
    for (listen, leads) in [
        ("127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("0.0.0.0:8081", "http://127.0.0.1:8081"),
        ("127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("0.0.0.0:9000", "http://127.0.0.1:9000"),
        ("[::]:9000", "http://[::1]:9000"),
        ("127.0.0.1:0", "http://127.0.0.1:8081"),
    ] {
        let text = format!("[api]\nlisten = \"{listen}\"\n");
        assert!(directory.warnings(&text).is_empty(), "{listen}");
        assert_eq!(directory.load(&text).unwrap().config.api.public_url, leads, "{listen}");
    }
}

#[test]
fn a_secret_file_in_the_data_directory_is_refused_when_others_can_read_it() {
    let mut directory = Directory::new().file("group", "hunter2", 0o640);
    directory.data_dir = Some(directory.temporary.path().to_path_buf());
    let printed =
        "c.toml:6:1: connections[0].token: others can read the file group: run chmod 600 on it";
    assert_eq!(directory.faults(&format!("{CONNECTION}token = {{ file = \"group\" }}")), [printed]);
}

#[test]
fn the_reserved_name_may_be_taken_where_the_operator_says_so() {
    let directory = Directory::new().with("T", "hunter2");
    let connection = CONNECTION.replace("example\"", "zendesk\"");
    let text =
        format!("[zis]\nallow_static_zendesk = true\n{connection}token = {{ env = \"T\" }}\n");
    assert!(directory.faults(&text).is_empty());
}

#[test]
fn certificates_and_keys_must_belong_together() {
    let pair = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (one, two) = (pair("a.test"), pair("b.test"));
    let directory = Directory::new()
        .file("one.pem", &one.cert.pem(), 0o644)
        .file("one.key", &one.signing_key.serialize_pem(), 0o600)
        .file("two.key", &two.signing_key.serialize_pem(), 0o600);
    let text = "[proxy]\ntls = { cert = \"one.pem\", key = \"one.key\" }\n\
                [upstream]\nextra_roots = [\"one.pem\"]";
    let loaded = directory.load(text).unwrap();
    assert!(loaded.config.proxy.tls.is_some_and(|tls| tls.load().is_ok()));
    assert_eq!(loaded.config.upstream.extra_roots, [one.cert.der().clone()]);
    assert_eq!(
        directory.faults(&text.replace("one.key", "two.key")),
        ["c.toml:2:1: proxy.tls: the key in two.key does not belong to the certificate in one.pem"]
    );
    assert_eq!(
        directory.faults(&text.replace("one.key", "one.pem")),
        ["c.toml:2:1: proxy.tls: the file one.pem has no private key in PEM form that can be used"]
    );
}

#[test]
fn no_secret_is_in_any_fault_warning_or_debug() {
    let directory = Directory::new()
        .with("SECRET", "hunter2\n")
        .with("KEYFERRY_STORE__URL", "postgres://u:hunter2@db/k")
        .with("KEYFERRY_PROXY__MAX_CONNECTIONS", "hunter2");
    let text = format!(
        "{CONNECTION}token = {{ env = \"SECRET\" }}\nheader = \"hunter2\"\n\
         {CONNECTION}token = \"hunter2\u{7}\"\ntoken = \"hunter2\"\nbroken = \"hunter2\n"
    );
    let faults = directory.load(&text).unwrap_err();
    assert!(!format!("{faults:?}{faults}").contains("hunter2"), "{faults:?}");
    let mut directory = Directory::new().with("SECRET", "hunter2");
    directory.environment.push(("KEYFERRY_STORE__URL", "postgres://u:hunter2@db/k"));
    let loaded = directory.load(&format!("{CONNECTION}token = {{ env = \"SECRET\" }}")).unwrap();
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn a_server_is_found_whatever_else_is_faulty() {
    let text = "colour = 1\ndata_dir = \"kept\"\n[api]\nlisten = \"127.0.0.1:9\"";
    let directory = Directory::new().file("c.toml", text, 0o600);
    let config = Some(directory.temporary.path().join("c.toml"));
    let options = Options { config: config.clone(), data_dir: None };
    let found = whereabouts(&options, &Environment::default()).unwrap();
    assert_eq!((found.api.listen.port(), found.data_dir), (9, "kept".into()));
    let options = Options { config, data_dir: Some("other".into()) };
    let found = whereabouts(&options, &Environment::default()).unwrap();
    assert_eq!(found.data_dir, PathBuf::from("other"));
}

proptest! {
    #[test]
    fn a_damaged_file_is_read_or_refused_without_a_panic(
        from in 0_usize..12_000, length in 0_usize..40, patch in "[\\[\\]{}=\"'\\\\.,#a-z0-9\n -]{0,6}",
    ) {
        let text: Vec<char> = uncommented(&default_file()).chars().collect();
        let from = from.min(text.len());
        let until = (from + length).min(text.len());
        let damaged: String =
            text[..from].iter().copied().chain(patch.chars()).chain(text[until..].iter().copied()).collect();
        let environment = Environment::default();
        let source = Source::of_text(Some("c.toml".as_ref()), damaged.into(), &environment);
        let report = Report::new(&source);
        drop(table::config(&report, &Options::default()));
        prop_assert!(report.verdict(|_key| true).is_err());
    }
}
