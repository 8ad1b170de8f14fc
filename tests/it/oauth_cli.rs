//! OAuth as a person at a terminal meets it: clients, flows by way of a browser and without one,
//! and what becomes of connections afterwards.

use std::fs;
use std::process::Stdio;

use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;

use crate::support::ask::{ask, stranger};
use crate::support::log::Log;
use crate::support::origin::Origin;
use crate::support::provider::{self, CLIENT_ID, CLIENT_SECRET, Provider, Refreshing};
use crate::support::raw::{Answer, Raw, refused};
use crate::support::world::{Running, World, authority};
use crate::support::{soon, tls};

/// A server, a provider, and the origin at `api.example.test`, which lets in whoever has a token
/// of the provider.
struct Scene {
    provider: Provider,
    _origin: Origin,
    server: Running,
}

/// What a command has come to.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

/// A command that has the browser come back to it.
struct Waiting {
    child: Child,
    err: Log,
    /// Where the browser is to go.
    url: String,
}

impl Scene {
    async fn new() -> Self {
        let provider = Provider::start().await;
        let origin = provider::origin_accepting(&provider).await;
        let world = World::new(&origin).keeping().pin(provider::HOST, &provider.origin);
        Self { provider, _origin: origin, server: world.run().await }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
        command.args(arguments).args(["--data-dir", "data"]).env_clear();
        command.env("KEYFERRY_URL", &self.server.api).env("KEYFERRY_INTEGRATION", "acme");
        command.current_dir(&self.server.world.directory).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn run_with(&self, arguments: &[&str], input: &str) -> Ended {
        let mut child = self.command(arguments).spawn().unwrap();
        // Whoever wants no input may be gone before it comes.
        let _gone = child.stdin.take().unwrap().write_all(input.as_bytes()).await;
        Ended::of(child).await
    }

    async fn run(&self, line: &str) -> Ended {
        self.run_with(&line.split(' ').collect::<Vec<_>>(), "").await
    }

    /// Makes the client `example` as the provider has registered it.
    async fn create_client(&self, more: &str) -> Ended {
        let (token_url, auth_url) = (self.provider.url("/token"), self.provider.url("/authorize"));
        let mut arguments = vec!["client", "create", "--name", "example", "--client-id", CLIENT_ID];
        arguments.extend(["--token-url", &token_url, "--auth-url", &auth_url]);
        arguments.extend(["--scopes", "read write", "--secret-stdin"]);
        arguments.extend(more.split(' ').filter(|word| !word.is_empty()));
        let made = self.run_with(&arguments, &format!("{CLIENT_SECRET}\n")).await;
        assert_eq!(made.code, 0, "{made:?}");
        made
    }

    /// Begins a flow whose browser is this test.
    async fn begin(&self, more: &str) -> Waiting {
        let line = format!("connection create --type oauth --client example {more}");
        Waiting::of(self.command(&line.split(' ').collect::<Vec<_>>())).await
    }

    /// Goes where a browser would go; gives where it is sent at last.
    async fn browse(&self, url: &str) -> String {
        let to_provider = self.browser(url, "").await;
        assert_eq!(to_provider.status, 307, "{}", to_provider.text());
        let cookie = to_provider.field("set-cookie").split(';').next().unwrap();
        let at_provider = stranger(&format!("GET {}", path_of(to_provider.field("location"))));
        let answered = self.conn_to_provider().await.send(&at_provider).await;
        assert_eq!(answered.status, 302, "{}", answered.text());
        let back = self.browser(answered.field("location"), cookie).await;
        assert_eq!(back.status, 303, "{}", back.text());
        back.field("location").to_owned()
    }

    /// Asks the server, wherever its public URL says that it is.
    async fn browser(&self, url: &str, cookie: &str) -> Answer {
        let get = stranger(&format!("GET {}", path_of(url)))
            .field("User-Agent", "Mozilla/5.0")
            .field("Cookie", cookie);
        Raw::tcp(authority(&self.server.api)).await.send(&get).await
    }

    async fn conn_to_provider(&self) -> Raw {
        let io = TcpStream::connect(self.provider.origin.address).await.unwrap();
        let name = ServerName::try_from(provider::HOST).unwrap();
        let connector = TlsConnector::from(tls::caller(&["http/1.1"]));
        Raw::over(soon(connector.connect(name, io)).await.unwrap())
    }

    /// Sends a request to the origin by this connection; gives its status.
    async fn use_it(&self, connection: &str) -> Answer {
        let through = ask("GET https://api.example.test/v1").field("X-Zis-Connection", connection);
        self.server.send(&through).await
    }
}

impl Ended {
    async fn of(child: Child) -> Self {
        let output = soon(child.wait_with_output()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        Self { code: output.status.code().unwrap(), out, err }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The value on the line of this name.
    fn line(&self, name: &str) -> &str {
        let value =
            |line: &'_ str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with("  "));
        let line = self.out.lines().find(|line| value(line));
        line.map(|line| line[name.len()..].trim()).unwrap_or_default()
    }
}

impl Waiting {
    async fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let err = child.stderr.take().unwrap().into_owned_fd().unwrap();
        let err = Log::follow(fs::File::from(err));
        let url = err.find(|line| line.starts_with("http").then(|| line.to_owned())).await;
        Self { child, err, url }
    }

    async fn ended(self) -> Ended {
        let ended = Ended::of(self.child).await;
        self.err.ended().await;
        Ended { err: self.err.text(), ..ended }
    }
}

/// What comes after scheme and authority.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").unwrap().1;
    &rest[rest.find('/').unwrap()..]
}

/// Asks for this path at the authority of a URL.
async fn knock(url: &str, path: &str) -> Answer {
    let address = authority(url).split('/').next().unwrap();
    Raw::tcp(address).await.send(&stranger(&format!("GET {path}"))).await
}

#[tokio::test]
async fn a_client_is_made_shown_changed_and_deleted() {
    let scene = Scene::new().await;
    let none = scene.run("client list").await;
    assert_eq!((none.code, none.out.as_str()), (0, ""), "{none:?}");
    assert!(none.err.contains("client create"), "{none:?}");
    let made = scene.create_client("--auth-method client_secret_basic").await;
    assert_eq!(made.line("client id"), CLIENT_ID);
    assert_eq!(made.line("client secret"), "*****");
    assert_eq!(made.line("auth method"), "client_secret_basic");
    let uuid = made.line("uuid");
    let listed = scene.run("client list").await;
    assert!(listed.out.contains(uuid) && listed.out.lines().count() == 2, "{listed:?}");
    for named in ["example", uuid, &uuid.to_uppercase()] {
        let shown = scene.run(&format!("client show {named}")).await;
        assert_eq!((shown.line("name"), shown.line("uuid")), ("example", uuid), "{shown:?}");
    }
    let secret = ["client", "update", "example", "--secret-stdin"];
    let updated = scene.run_with(&secret, "another\n").await;
    assert_eq!((updated.code, updated.out.as_str()), (0, "updated example\n"), "{updated:?}");
    let scopes = scene.run("client update example --scopes read --output json").await.json();
    assert_eq!(
        (&scopes["default_scopes"], &scopes["client_secret"]),
        (&"read".into(), &"*****".into())
    );
    let moved = "client update example --token-url https://id2.example.test/token";
    let unasked = scene.run(moved).await;
    assert!(unasked.code == 1 && unasked.err.contains("--secret-stdin"), "{unasked:?}");
    let moved: Vec<_> = moved.split(' ').chain(["--secret-stdin"]).collect();
    assert_eq!(scene.run_with(&moved, "another").await.code, 0);
    let shown = scene.run("client show example --output json").await.json();
    assert_eq!(shown["token_url"], "https://id2.example.test/token");

    let deleted = scene.run("client delete example").await;
    assert_eq!(deleted.out, "deleted example\n", "it had no connection");
    for again in ["client show example", "client delete example", &format!("client show {uuid}")] {
        let again = scene.run(again).await;
        assert!(again.code == 1 && again.err.contains("has no client"), "{again:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_client_is_said_in_sentences() {
    let scene = Scene::new().await;
    let create = "client create --name x --client-id a --token-url http://id.test --secret-stdin";
    let faulty = scene.run_with(&create.split(' ').collect::<Vec<_>>(), "secret").await;
    assert_eq!((faulty.code, faulty.out.as_str()), (1, ""), "{faulty:?}");
    assert!(faulty.err.lines().count() == 2 && !faulty.err.contains("status"), "{faulty:?}");
    scene.create_client("").await;
    for wrong in [
        "client create --client-id a",
        "client create --name example --client-id a --token-url https://a.test --grant-type x",
        "client update example --auth-method digest",
        "client update example --assertion subject=a",
        "client update example --installation first",
        "client create --name other --client-id a --provider zendesk --set subdomain",
        "provider show",
        "client show",
    ] {
        let ended = scene.run(wrong).await;
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{wrong}: {ended:?}");
    }
}

#[tokio::test]
async fn a_key_and_what_it_signs_are_given_by_options() {
    let scene = Scene::new().await;
    let key = scene.server.world.path("key.pem");
    fs::write(key, &crate::support::keys::RSA.pkcs8).unwrap();
    let create = "client create --name robot --grant-type jwt_bearer --client-id a \
                  --token-url https://id.example.test/token --secret-file key.pem \
                  --assertion sub=user@acme.example --assertion claims.level=high";
    let made = scene.run(create).await;
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.out.contains("jwt_bearer") && made.out.contains("user@acme.example"), "{made:?}");
    // Another member is put beside those that are there, and the key is entered again.
    let update = "client update robot --assertion aud=https://acme.example --secret-file key.pem";
    assert_eq!(scene.run(update).await.code, 0);
    let shown = scene.run("client show robot --output json").await.json();
    let expected = serde_json::json!({
        "sub": "user@acme.example", "aud": "https://acme.example", "claims": {"level": "high"},
    });
    assert_eq!(shown["assertion"], expected);
    let app = "client create --name app --grant-type github_app --client-id b --installation 42 \
               --repository website --permission contents=read --secret-file key.pem";
    let made = scene.run(app).await;
    let url = "https://api.github.com/app/installations/42/access_tokens";
    assert!(made.code == 0 && made.out.contains(url), "{made:?}");
    let moved = scene.run("client update app --installation 43 --secret-file key.pem").await;
    assert_eq!(moved.code, 0, "{moved:?}");
    let shown = scene.run("client show app --output json").await.json();
    assert_eq!(shown["token_url"], url.replace("42", "43"));
    let expected = serde_json::json!({"id": 43, "repositories": ["website"], "permissions": {"contents": "read"}});
    assert_eq!(shown["installation"], expected);
    let wrong = scene.run("client create --name c11 --grant-type jwt_bearer --client-id a --secret-file k.toml --token-url https://id.example.test/t").await;
    assert!(wrong.code == 1 && wrong.err.contains("is not a private key"), "{wrong:?}");
}

#[tokio::test]
async fn client_credentials_make_a_connection_in_one_go() {
    let scene = Scene::new().await;
    scene.create_client("--grant-type client_credentials").await;
    let create = "connection create --type oauth --client example --name crm";
    let made = scene.run(create).await;
    assert!(made.code == 0 && made.err.contains("update crm --allowed-domain"), "{made:?}");
    assert_eq!((made.line("name"), made.line("access token")), ("crm", "*****"), "{made:?}");
    assert!(!made.out.contains("at-1") && made.line("state") == "no allowed domain", "{made:?}");
    assert_eq!(scene.use_it("crm").await.refusal(), refused(403, "DomainNotAllowed"));

    let listed = scene.run("connection list").await;
    assert!(listed.out.contains("no allowed domain"), "{listed:?}");

    let bind = "connection update crm --allowed-domain api.example.test";
    assert_eq!(scene.run(bind).await.out, "updated crm\n");
    assert_eq!(scene.use_it("crm").await.status, 200);
    let other = scene.run("connection update crm --allowed-domain other.example.test").await;
    assert!(other.code == 1 && other.err.contains("never changes"), "{other:?}");

    let listed = scene.run("connection list").await;
    let line = listed.out.lines().find(|line| line.starts_with("crm ")).unwrap();
    assert!(
        line.contains("oauth ") && line.contains("api.example.test  token expires in"),
        "{listed:?}"
    );
    let refreshed = scene.run("connection refresh crm --output json").await.json();
    assert_eq!((&refreshed["name"], &refreshed["access_token"]), (&"crm".into(), &"at-2".into()));
    let shown = scene.run("connection show crm --type oauth").await;
    assert_eq!(shown.line("allowed domain"), "api.example.test", "{shown:?}");

    // What shows no token is no reveal; what prints one is.
    let reveals = async || {
        let events = scene.run("audit --kind connection.reveal --output json").await.json();
        events["events"].as_array().unwrap().len()
    };
    assert_eq!(reveals().await, 0);
    for (line, number) in [("connection show crm", 1), ("connection list", 2)] {
        let revealed = scene.run(&format!("{line} --output json")).await;
        assert!(revealed.out.contains("at-2"), "{revealed:?}");
        assert_eq!(reveals().await, number, "{line}");
    }

    assert_eq!(scene.run("connection delete crm").await.out, "deleted crm\n");
    assert_eq!(reveals().await, 2);
    assert_eq!(scene.use_it("crm").await.refusal(), refused(403, "ConnectionNotFound"));
    for again in ["delete", "refresh", "show"] {
        let again = scene.run(&format!("connection {again} crm")).await;
        assert!(again.code == 1 && again.err.contains("no connection crm"), "{again:?}");
    }
}

#[tokio::test]
async fn a_client_takes_its_connections_with_it_and_says_so() {
    let scene = Scene::new().await;
    scene.create_client("--grant-type client_credentials").await;
    let create = "connection create --type oauth --client example --name crm";
    assert_eq!(scene.run(create).await.code, 0);
    let deleted = scene.run("client delete example").await;
    assert_eq!(deleted.out, "deleted example, and with it 1 connection: crm\n");
    assert_eq!(scene.use_it("crm").await.refusal(), refused(403, "ConnectionNotFound"));
}

#[tokio::test]
async fn a_browser_goes_to_the_provider_and_comes_back_with_a_connection() {
    let scene = Scene::new().await;
    scene.create_client("").await;
    let more = "--name crm --allowed-domain api.example.test --scopes read --offline";
    let waiting = scene.begin(more).await;
    let landing = scene.browse(&waiting.url).await;
    let asked = scene.provider.invitations().pop().unwrap();
    assert_eq!((asked["scope"].as_str(), asked["access_type"].as_str()), ("read", "offline"));

    // Browsers open conns ahead of need, ask for an icon, and show pages that try every port.
    let address = authority(&landing).split('/').next().unwrap();
    let mute = TcpStream::connect(address).await.unwrap();
    for stray in ["/favicon.ico", "/", "/?verification_code=abc", "/x?error=access_denied"] {
        assert_eq!(knock(&landing, stray).await.status, 404, "{stray}");
    }
    let page = knock(&landing, path_of(&landing)).await;
    assert_eq!((page.status, page.field("cache-control")), (200, "no-store"));
    assert!(page.field("content-security-policy").starts_with("default-src 'none'"));
    assert!(page.text().contains("said yes") && !page.text().contains("verification"));
    let ended = waiting.ended().await;
    assert_eq!((ended.code, ended.line("name")), (0, "crm"), "{ended:?}");
    assert_eq!(ended.line("refresh token"), "*****");
    assert!(!ended.out.contains("at-1") && ended.err.lines().count() == 2, "{ended:?}");
    drop(mute);
    assert_eq!(scene.use_it("crm").await.status, 200);
    assert!(TcpStream::connect(address).await.is_err(), "nobody waits there any more");
}

#[tokio::test]
async fn a_provider_that_says_no_leaves_no_connection() {
    let scene = Scene::new().await;
    scene.create_client("").await;
    scene.provider.set_denial("access_denied", "hunter2");
    let waiting = scene.begin("--name crm").await;
    let landing = scene.browse(&waiting.url).await;
    let page = knock(&landing, path_of(&landing)).await;
    assert!(page.text().contains("no connection") && !page.text().contains("denied"));
    let ended = waiting.ended().await;
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
    let last = ended.err.lines().last().unwrap();
    assert!(last.contains("access_denied") && last.contains("begins again"), "{ended:?}");
    assert!(!ended.err.contains("hunter2"), "{ended:?}");
    assert_eq!(scene.run("connection show crm").await.code, 1);
}

#[tokio::test]
async fn a_connection_that_has_lapsed_says_so_and_is_authorized_again() {
    let scene = Scene::new().await;
    scene.create_client("").await;
    let more = "--name crm --allowed-domain api.example.test";
    let waiting = scene.begin(more).await;
    let landing = scene.browse(&waiting.url).await;
    knock(&landing, path_of(&landing)).await;
    let first = waiting.ended().await;
    scene.provider.revoke_grants();
    let refused = scene.run("connection refresh crm").await;
    assert!(refused.code == 1 && refused.err.contains("invalid_grant"), "{refused:?}");
    let listed = scene.run("connection list").await;
    assert!(listed.out.contains("needs reauthorization"), "{listed:?}");
    let shown = scene.run("connection show crm").await;
    assert!(shown.line("because").contains("revoked or ended"), "{shown:?}");

    let waiting = scene.begin("--name crm --output json").await;
    let landing = scene.browse(&waiting.url).await;
    knock(&landing, path_of(&landing)).await;
    let again = waiting.ended().await.json();
    assert_eq!((&again["uuid"], &again["name"]), (&first.line("uuid").into(), &"crm".into()));
    assert_eq!(again["allowed_domain"], "api.example.test");
    assert_eq!(scene.use_it("crm").await.status, 200);
}

#[tokio::test]
async fn without_a_refresh_token_a_refresh_says_what_helps() {
    let scene = Scene::new().await;
    scene.create_client("").await;
    scene.provider.set_refreshing(Refreshing::Never);
    let waiting = scene.begin("--name crm").await;
    let landing = scene.browse(&waiting.url).await;
    knock(&landing, path_of(&landing)).await;
    let made = waiting.ended().await;
    assert_eq!((made.code, made.line("refresh token")), (0, ""), "{made:?}");
    let refused = scene.run("connection refresh crm").await;
    assert!(refused.code == 1 && refused.err.contains("no refresh token"), "{refused:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_browser_is_opened_where_there_is_a_screen() {
    use std::os::unix::fs::PermissionsExt as _;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::unix::pipe;
    let scene = Scene::new().await;
    scene.create_client("").await;
    let opener = scene.server.world.path("xdg-open");
    let told = scene.server.world.path("told");
    let script =
        format!("#!/bin/sh\nprintf '%s|%s' \"$*\" \"$KEYFERRY_TOKEN\" > {}\n", told.display());
    fs::write(&opener, script).unwrap();
    fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &told, rustix::fs::Mode::RWXU).unwrap();
    let mut calls = pipe::OpenOptions::new().read_write(true).open_receiver(&told).unwrap();
    let token = fs::read_to_string(scene.server.world.path("data/admin.token")).unwrap();
    for (more, screen, opens) in [("", ":0", true), ("--no-browser", ":0", false), ("", "", false)]
    {
        let line = format!("connection create --type oauth --client example --name crm {more}");
        let mut command =
            scene.command(&line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>());
        command.env("PATH", scene.server.world.directory.path()).env("DISPLAY", screen);
        command.env("KEYFERRY_TOKEN", token.trim());
        let waiting = Waiting::of(command).await;
        if opens {
            let expected = format!("{}|", waiting.url);
            let mut said = vec![0; expected.len()];
            soon(calls.read_exact(&mut said)).await.unwrap();
            assert_eq!(String::from_utf8(said).unwrap(), expected);
        }
        let landing = scene.browse(&waiting.url).await;
        knock(&landing, path_of(&landing)).await;
        assert_eq!(waiting.ended().await.code, 0);
        assert!(calls.try_read(&mut [0]).is_err(), "it was opened all the same");
    }
}

#[tokio::test]
async fn what_belongs_to_another_type_is_wrong_usage() {
    let scene = Scene::new().await;
    scene.create_client("--grant-type client_credentials").await;
    assert_eq!(
        scene.run("connection create --type oauth --client example --name crm").await.code,
        0
    );
    scene.server.keep_bearer("kept", "api.example.test", "a-secret").await;
    for wrong in [
        "create --type oauth --name other",
        "create --type oauth --client example --name other --secret-stdin",
        "create --type oauth --client example --name other --header-name X-Key",
        "create --type oauth --client example --name other --grant-type password",
        "create --type bearer_token --name other --secret-stdin",
        "create --type bearer_token --allowed-domain a.test --secret-stdin",
        "create --type bearer_token --name other --allowed-domain a.test --client example",
        "create --type bearer_token --name other --allowed-domain a.test --no-browser",
        "update crm --secret-stdin",
        "update crm --username user",
        "update crm",
    ] {
        let ended = scene.run(&format!("connection {wrong}")).await;
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{wrong}: {ended:?}");
    }
    for (other, member) in [
        ("kept --allowed-domain api.example.test", "allowed domain"),
        ("kept --name other", "name"),
        ("crm --name other", "name"),
    ] {
        let ended = scene.run(&format!("connection update {other}")).await;
        let said = format!(
            "the {member} of a connection never changes: delete the connection and create it again"
        );
        assert!(ended.code == 2 && ended.err.contains(&said), "{other}: {ended:?}");
    }
    let nobody = scene.run("connection create --type oauth --client nobody --name other").await;
    assert!(nobody.code == 1 && nobody.err.contains("has no client nobody"), "{nobody:?}");
    let taken = scene.run("connection create --type oauth --client example --name kept").await;
    assert!(taken.code == 1 && taken.err.contains("another type"), "{taken:?}");
}

#[tokio::test]
async fn deleting_a_client_takes_its_connections_along() {
    let scene = Scene::new().await;
    scene.create_client("--grant-type client_credentials").await;
    let create = "connection create --type oauth --client example --name crm \
                  --allowed-domain api.example.test";
    assert_eq!(scene.run(create).await.code, 0);
    let unnamed = scene.run("connection create --type oauth --client example").await;
    assert_eq!((unnamed.code, unnamed.line("name")), (0, unnamed.line("uuid")), "{unnamed:?}");
    let shown = scene.run(&format!("connection show {}", unnamed.line("uuid"))).await;
    assert_eq!((shown.code, shown.line("uuid")), (0, unnamed.line("uuid")), "{shown:?}");
    assert_eq!(scene.run("client delete example").await.code, 0);
    assert_eq!(scene.use_it("crm").await.refusal(), refused(403, "ConnectionNotFound"));
    let listed = scene.run("connection list").await;
    assert!(!listed.out.contains("oauth"), "{listed:?}");
}

#[tokio::test]
async fn the_catalogue_is_shown_without_a_server() {
    let scene = Scene::new().await;
    let listed = scene.run("provider list --search zendesk --url http://127.0.0.1:1").await;
    assert_eq!(listed.code, 2, "it asks no server, so that none is named: {listed:?}");
    let listed = scene.run("provider list --search zendesk").await;
    assert_eq!(listed.out.lines().count(), 2, "{listed:?}");
    assert!(listed.out.contains("{subdomain}.zendesk.com"), "{listed:?}");
    let none = scene.run("provider ls --search qqq").await;
    assert!(none.code == 0 && none.out.is_empty() && none.err.contains("--token-url"), "{none:?}");
    let all = scene.run("provider list --output json").await.json();
    assert!(all["providers"].as_array().unwrap().len() >= 60);

    let shown = scene.run("provider show zendesk").await;
    assert_eq!(shown.line("title"), "Zendesk", "{shown:?}");
    assert!(shown.line("asks for").starts_with("subdomain: Subdomain of the"), "{shown:?}");
    assert!(shown.line("source").starts_with("https://"), "{shown:?}");
    let last = shown.out.lines().last().unwrap();
    let command =
        "client create --name zendesk --provider zendesk --client-id ID --set subdomain=acme";
    assert_eq!(last, format!("keyferry {command}"));
    let json = scene.run("provider show zendesk --output json").await.json();
    let at_server = scene.server.admin().get("/api/keyferry/v1/providers/zendesk").await.json();
    assert_eq!(json, at_server);
    let unknown = scene.run("provider show zendsk").await;
    assert!(unknown.code == 1 && unknown.err.contains("zendesk is one"), "{unknown:?}");

    let script = scene.run("completions bash").await.out;
    assert!(script.contains("microsoft_tenant"), "names are completed");
    let help = scene.run("client create --help").await.out;
    assert!(!help.contains("microsoft_tenant"), "a hundred names are no help");
}

#[tokio::test]
async fn a_client_is_made_of_a_provider_a_file_and_options() {
    let scene = Scene::new().await;
    let directory = scene.server.world.directory.path();
    let file =
        "token_params = { a = \"1\", b = \"2\" }\npkce = \"off\"\nrefresh_on_status = [401, 403]\n";
    fs::write(directory.join("profile.toml"), file).unwrap();
    let (token_url, auth_url) = (scene.provider.url("/token"), scene.provider.url("/authorize"));
    let mut create = vec!["client", "create", "--name", "example", "--client-id", CLIENT_ID];
    create.extend(["--token-url", &token_url, "--auth-url", &auth_url, "--secret-stdin"]);
    create.extend(["--provider", "auth0", "--profile", "profile.toml", "--pkce", "S256"]);
    create.extend(["--token-param", "b=3", "--token-param", "c=x=y", "--scope-on-refresh"]);
    create.extend(["--dead-grant-code", "GONE", "--inject", "X-Token: {access_token}"]);
    create.extend(["--set", "domain=id.example.test", "--set", "audience=https://api.test/"]);
    // What is missing is asked for by name.
    let faulty = scene.run_with(&create, CLIENT_SECRET).await;
    assert_eq!(faulty.code, 1, "{faulty:?}");
    let asked =
        "keyferry: --set: api_host is missing: Host name of the API, such as api.example.com";
    assert!(faulty.err.contains(asked), "{faulty:?}");
    create.extend(["--set", "api_host=api.example.test", "--output", "json"]);
    let made = scene.run_with(&create, CLIENT_SECRET).await.json();
    for (member, value) in [
        ("provider", json!("auth0")),
        ("issuer", json!("https://id.example.test/")),
        ("auth_params", json!({"audience": "https://api.test/"})),
        ("token_params", json!({"a": "1", "b": "3", "c": "x=y"})),
        ("pkce", Value::Null),
        ("scope_on_refresh", json!(true)),
        ("refresh_on_status", json!([401, 403])),
        ("dead_grant_codes", json!(["GONE"])),
        ("inject", json!([{"in": "header", "name": "X-Token", "value": "{access_token}"}])),
        ("allowed_domains", json!(["api.example.test"])),
    ] {
        assert_eq!(made[member], value, "{member}: {made}");
    }
    let shown = scene.run("client show example").await;
    assert_eq!(shown.line("allowed domains"), "api.example.test", "{shown:?}");
    assert_eq!(shown.line("token params"), r#"{"a":"1","b":"3","c":"x=y"}"#, "{shown:?}");

    // Members come and go; a URL and the place of the token need the secret again.
    let placed = scene.run("client update example --unset inject").await;
    assert!(placed.code == 1 && placed.err.contains("--secret-stdin"), "{placed:?}");
    let update = "client update example --unset inject --unset issuer --pkce off --secret-stdin \
                  --output json";
    let update: Vec<_> = update.split_whitespace().collect();
    let changed = scene.run_with(&update, CLIENT_SECRET).await.json();
    assert!(changed["inject"].is_null() && changed["pkce"] == "off", "{changed}");
    let moved = scene.run("client update example --refresh-url https://id2.example.test/r").await;
    assert!(moved.code == 1 && moved.err.contains("--secret-stdin"), "{moved:?}");
    let wrong = scene.run("client update example --default-lifetime soon").await;
    assert!(wrong.code == 1 && wrong.err.contains("--default-lifetime: must be"), "{wrong:?}");

    // A connection has the domain that the client offers. This provider wants a challenge.
    assert_eq!(scene.run("client update example --unset pkce").await.code, 0);
    let waiting = scene.begin("--name offered --no-browser").await;
    let end = scene.browse(&waiting.url).await;
    assert_eq!(knock(&end, path_of(&end)).await.status, 200);
    let connected = waiting.ended().await;
    assert_eq!(connected.line("allowed domain"), "api.example.test", "{connected:?}");
    assert_eq!(scene.use_it("offered").await.status, 200);
}

#[tokio::test]
async fn a_file_that_is_no_profile_is_told_by_its_line() {
    let scene = Scene::new().await;
    let directory = scene.server.world.directory.path();
    for (file, sentence) in [
        ("pkce = \"off\"\npkce = \"S256\"", "profile.toml:2 is not TOML"),
        ("client_secret = \"hunter2\"", "is given by --secret-file"),
        ("pcke = \"off\"", "unknown field `pcke`"),
        ("pkce = true", "pkce has a value of another type"),
    ] {
        fs::write(directory.join("profile.toml"), file).unwrap();
        let line =
            "client create --name example --client-id a --profile profile.toml --secret-stdin";
        let refused = scene.run_with(&line.split(' ').collect::<Vec<_>>(), "x").await;
        assert!(refused.code == 1 && refused.err.contains(sentence), "{file}: {refused:?}");
        assert!(!refused.err.contains("hunter2"), "{refused:?}");
    }
}
