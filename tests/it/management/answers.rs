//! Each operation of the management API and its answer, byte for byte, faults included.
//!
//! `KEYFERRY_WRITE_ANSWERS=1 cargo nextest run --test it management::answers` writes the files
//! afresh, for a change of answers that is meant.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::support::authorized::{END, target, world};
use crate::support::operator::CONNECTIONS;
use crate::support::provider::Provider;
use crate::support::world::Running;
use crate::support::{ask::stranger, world::World};

/// A server, and everything that it was asked and has answered.
struct Transcript {
    server: Running,
    text: String,
    /// The names that stand for what differs from run to run, and what they stand for.
    known: Vec<(&'static str, String)>,
}

impl Transcript {
    fn of(server: Running) -> Self {
        Self { server, text: String::new(), known: Vec::new() }
    }

    /// Asks as the operator; what is known stands as `{name}` in line and body.
    async fn ask(&mut self, line: &str, body: &str) -> serde_json::Value {
        let fill = |text: &str| {
            let fill = |text: String, (name, value): &(&str, String)| {
                text.replace(&format!("{{{name}}}"), value)
            };
            self.known.iter().fold(text.to_owned(), fill)
        };
        let mut ask = stranger(&fill(line));
        if !body.is_empty() {
            ask = ask.field("Content-Type", "application/json").body(fill(body));
        }
        let answer = self.server.admin().send(ask).await;
        let status = answer.status;
        write!(self.text, "> {line}\n{body}\n< {status}\n").unwrap();
        for name in ["content-type", "location", "allow", "www-authenticate", "retry-after"] {
            if answer.headers.contains_key(name) {
                let value = self.plain(answer.field(name));
                writeln!(self.text, "{name}: {value}").unwrap();
            }
        }
        let body = self.plain(&answer.text());
        write!(self.text, "{body}\n\n").unwrap();
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// Asks, and knows a member of the answer from now on.
    async fn learn(&mut self, name: &'static str, pointer: &str, line: &str, body: &str) {
        let answer = self.ask(line, body).await;
        let value = answer.pointer(pointer).and_then(|value| value.as_str());
        let value = value.unwrap_or_else(|| panic!("{line}: {answer}")).to_owned();
        self.text = self.text.replace(&value, &format!("{{{name}}}"));
        self.known.push((name, value));
    }

    /// A text without what differs from run to run.
    fn plain(&self, text: &str) -> String {
        let mut plain = text.to_owned();
        for (name, value) in &self.known {
            plain = plain.replace(value.as_str(), &format!("{{{name}}}"));
        }
        let authority = self.server.api_address();
        plain = plain.replace(authority, "{authority}");
        while let Some((begin, length)) = varying(&plain) {
            plain.replace_range(begin..begin + length, "{varies}");
        }
        plain
    }

    /// Compares the transcript with the file of this name.
    fn is_as_kept(&self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/management").join(name);
        if std::env::var_os("KEYFERRY_WRITE_ANSWERS").is_some() {
            fs::write(&file, &self.text).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap();
        let (mut now, mut before) = (self.text.split("\n> "), kept.split("\n> "));
        loop {
            match (now.next(), before.next()) {
                (None, None) => break,
                (now, before) => assert_eq!(now, before, "{}", file.display()),
            }
        }
    }
}

/// Where a time, a uuid, an access token, a pass of a flow or a certificate stands.
fn varying(text: &str) -> Option<(usize, usize)> {
    const SHAPES: [&str; 4] = [
        "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh",
        "dddd-dd-ddTdd:dd:dd.ddddddZ",
        "dddd-dd-ddTdd:dd:ddZ",
        "kf_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    ];
    let fits = |shape: &str, at: &str| {
        at.len() >= shape.len()
            && shape.bytes().zip(at.bytes()).all(|(kind, byte)| match kind {
                b'h' => byte.is_ascii_hexdigit(),
                b'd' => byte.is_ascii_digit(),
                b'b' => byte.is_ascii_alphanumeric() || b"-_".contains(&byte),
                itself => byte == itself,
            })
    };
    for (begin, _) in text.char_indices() {
        let rest = &text[begin..];
        if let Some(shape) = SHAPES.iter().find(|shape| fits(shape, rest)) {
            return Some((begin, shape.len()));
        }
        for (before, end) in [("verification_code=", 43), ("flow_token=", 43)] {
            if rest.starts_with(before) && fits(&"b".repeat(end), &rest[before.len()..]) {
                return Some((begin + before.len(), end));
            }
        }
        if rest.starts_with("-----BEGIN CERTIFICATE") {
            return Some((begin, rest.find("-----END CERTIFICATE-----").unwrap() + 25));
        }
    }
    None
}

#[tokio::test]
async fn static_connections_are_answered_byte_for_byte() {
    let server = super::stored().bearer("acme.declared", "a.example.com", "s").run().await;
    let mut transcript = Transcript::of(server);
    for (kind, others, secret) in [
        ("bearer_token", "", "token"),
        ("api_key", r#""header_name": "x-API-key","#, "api_key"),
        ("basic_auth", r#""username": "jane@example.com","#, "password"),
    ] {
        static_type_is_created(&mut transcript, (kind, others, secret)).await;
        static_type_is_changed(&mut transcript, kind, secret).await;
    }
    transcript.ask(&format!("GET {CONNECTIONS}/all"), "").await;
    transcript.ask(&format!("GET {CONNECTIONS}/all?page[size]=2&page[after]=a_api_key"), "").await;
    transcript.ask(&format!("GET {CONNECTIONS}/all?page[size]=0&x=1"), "").await;
    transcript.ask(&format!("GET {CONNECTIONS}/all?page[limit]=1"), "").await;
    transcript.ask(&format!("POST {CONNECTIONS}/all"), "{}").await;
    transcript.ask(&format!("POST {CONNECTIONS}/other"), "{}").await;
    transcript.ask(&format!("GET {CONNECTIONS}/other/name"), "").await;
    for kind in ["bearer_token", "api_key", "basic_auth"] {
        let one = format!("{CONNECTIONS}/{kind}/a_{kind}");
        transcript.ask(&format!("DELETE {one}"), "").await;
        transcript.ask(&format!("DELETE {one}"), "").await;
    }
    transcript.is_as_kept("answers_static.txt");
}

async fn static_type_is_created(
    transcript: &mut Transcript,
    (kind, others, secret): (&str, &str, &str),
) {
    let (all, one) = (format!("{CONNECTIONS}/{kind}"), format!("{CONNECTIONS}/{kind}/a_{kind}"));
    let whole = format!(
        r#"{{"name": "a_{kind}", {others} "{secret}": "s é", "allowed_domain": "*.Example.com"}}"#
    );
    transcript.ask(&format!("POST {all}"), &whole).await;
    transcript.ask(&format!("POST {all}"), &whole).await;
    transcript.ask(&format!("GET {one}"), "").await;
    for body in [
        "{}",
        "[]",
        "{\"name\": 1,}",
        r#"{"name": "ab", "allowed_domain": "https://a.com", "token": "a\nb", "api_key": "a\u0001", "password": "\u0000", "header_name": "Cookie", "username": "a:b"}"#,
        r#"{"name": "", "allowed_domain": null, "token": 7, "api_key": [], "password": {}, "header_name": ["a"], "username": true, "extra": null, "extra": 1, "odd é": 1}"#,
        r#"{"name": "zendesk", "allowed_domain": "*.com", "token": "*****", "api_key": "*****", "password": "*****", "header_name": "x-zis-a", "username": ""}"#,
        r#"{"name": "abc", "allowed_domain": "a.com", "name": "abd", "n\u0061me": 1, "token": [1]}"#,
        r#"{"name": "\ud800"}"#,
    ] {
        transcript.ask(&format!("POST {all}"), body).await;
    }
    let many: Vec<_> = (0..40).map(|number| format!("\"m{number}\": 1")).collect();
    transcript.ask(&format!("POST {all}"), &format!("{{{}}}", many.join(", "))).await;
}

async fn static_type_is_changed(transcript: &mut Transcript, kind: &str, secret: &str) {
    let (all, one) = (format!("{CONNECTIONS}/{kind}"), format!("{CONNECTIONS}/{kind}/a_{kind}"));
    for body in [
        "{}",
        "{\"name\": null, \"extra\": null, \"token\": null, \"created_at\": null}",
        r#"{"name": "other", "allowed_domain": "b.com", "extra": 1}"#,
        r#"{"name": 1, "allowed_domain": false, "updated_at": 3}"#,
        &format!(r#"{{"{secret}": "*****"}}"#),
        &format!(r#"{{"{secret}": "*****", "name": "a_{kind}", "created_at": "x"}}"#),
        &format!(r#"{{"{secret}": "", "header_name": "Cookie", "username": "a:b"}}"#),
        &format!(r#"{{"{secret}": "new", "name": "a_{kind}", "allowed_domain": "*.example.com"}}"#),
        r#"{"header_name": "X-Other", "username": "john"}"#,
    ] {
        transcript.ask(&format!("PATCH {one}"), body).await;
    }
    transcript.ask(&format!("GET {one}"), "").await;
    transcript.ask(&format!("GET {CONNECTIONS}/{kind}/none"), "").await;
    transcript.ask(&format!("PATCH {CONNECTIONS}/{kind}/none"), "{\"a\": 1}").await;
    transcript.ask(&format!("PATCH {CONNECTIONS}/{kind}/declared"), "{\"token\": \"a\"}").await;
    transcript.ask(&format!("DELETE {CONNECTIONS}/{kind}/declared"), "").await;
    transcript.ask(&format!("PUT {one}"), "{}").await;
    transcript.ask(&format!("PUT {all}"), "{}").await;
}

const OAUTH: &str = "/api/services/zis/connections";

#[tokio::test]
async fn oauth_is_answered_byte_for_byte() {
    let provider = Provider::start().await;
    let more = |world: World| world.set("zis.subdomain", "\"example\"").set("zis.account_id", "7");
    let (_origin, server) = world(&provider, more).await;
    let mut transcript = Transcript::of(server);
    clients(&mut transcript, &provider).await;
    flows(&mut transcript, &provider).await;
    oauth_connections(&mut transcript).await;
    token_proxy(&mut transcript).await;
    let one = format!("{OAUTH}/oauth/clients/acme/{{client}}");
    transcript.ask(&format!("DELETE {one}"), "").await;
    transcript.ask(&format!("DELETE {one}"), "").await;
    transcript.is_as_kept("answers_oauth.txt");
}

async fn clients(transcript: &mut Transcript, provider: &Provider) {
    let all = format!("{OAUTH}/oauth/clients/acme");
    let whole = provider.registration().to_string();
    transcript.learn("client", "/uuid", &format!("POST {all}"), &whole).await;
    transcript.ask(&format!("POST {all}"), &whole).await;
    for body in [
        "{}",
        r#"{"name": "a", "integration": "other", "client_id": 1, "client_secret": "", "auth_url": "http://a", "token_url": "https://id.example.test:444/token", "default_scopes": "\"", "grant_type": "implicit", "token_endpoint_auth_method": "none", "extra": 1, "client_id": 2}"#,
        r#"{"client_id": "a\u0001", "client_secret": "*****", "auth_url": "", "token_url": "", "default_scopes": "", "grant_type": "", "token_endpoint_auth_method": ""}"#,
        r#"{"name": "", "client_id": "a", "client_secret": "s", "token_url": "https://id.example.test/token", "default_scopes": " a  b ", "grant_type": "client_credentials", "token_endpoint_auth_method": "client_secret_basic", "integration": "acme"}"#,
    ] {
        transcript.ask(&format!("POST {all}"), body).await;
    }
    client_changes(transcript, provider).await;
}

async fn client_changes(transcript: &mut Transcript, provider: &Provider) {
    let all = format!("{OAUTH}/oauth/clients/acme");
    let one = format!("{all}/{{client}}");
    transcript.ask(&format!("GET {one}"), "").await;
    for body in [
        "{}",
        r#"{"client_secret": "*****"}"#,
        r#"{"client_secret": null, "name": null, "x": null, "created_at": null}"#,
        r#"{"name": "other", "uuid": "x", "integration": "x", "grant_type": "client_credentials", "client_id": "", "client_secret": "", "auth_url": "a", "token_url": "https://a.example:1/", "token_endpoint_auth_method": "", "default_scopes": "\\", "extra": 1}"#,
        r#"{"token_url": "https://other.example/token", "auth_url": "https://other.example/authorize"}"#,
        r#"{"client_secret": "*****", "uuid": "{client}", "default_scopes": "read"}"#,
        r#"{"default_scopes": "", "token_endpoint_auth_method": "client_secret_basic"}"#,
        r#"{"client_secret": "other", "token_url": "https://other.example/token"}"#,
    ] {
        transcript.ask(&format!("PATCH {one}"), body).await;
    }
    let back = provider.registration();
    let back = serde_json::json!({
        "client_secret": back["client_secret"], "token_url": back["token_url"],
        "default_scopes": back["default_scopes"],
        "token_endpoint_auth_method": "client_secret_post",
    });
    transcript.ask(&format!("PATCH {one}"), &back.to_string()).await;
    // A client without a name is listed by its uuid, so that its place differs from run to run.
    transcript.ask(&format!("GET {all}?page[after]=exa&page[before]=exb"), "").await;
    transcript.ask(&format!("GET {all}/none"), "").await;
    transcript.ask(&format!("PUT {one}"), "{}").await;
}

async fn flows(transcript: &mut Transcript, provider: &Provider) {
    let start = format!("POST {OAUTH}/oauth/start/acme");
    for body in [
        "{}",
        r#"{"oauth_client_name": "nobody"}"#,
        r#"{"name": "a", "oauth_client_name": "b", "oauth_client_uuid": "c", "grant_type": "d", "permission_scopes": "\"", "permission_scope": 1, "oauth_url_subdomain": "a.b", "origin_oauth_redirect_url": "https://evil.example/", "allow_offline_access": "yes", "allowed_domain": "*.com", "extra": []}"#,
        r#"{"oauth_client_name": "example_client", "oauth_client_uuid": "9c81f444-4beb-4ba7-9bcc-6b2d068e7ade"}"#,
        r#"{"oauth_client_name": "example_client", "permission_scopes": "a", "permission_scope": "b"}"#,
        r#"{"name": "zendesk", "oauth_client_name": "example_client", "oauth_url_subdomain": "other"}"#,
        r#"{"name": "crm", "oauth_client_name": "example_client", "grant_type": "client_credentials", "allow_offline_access": null, "origin_oauth_redirect_url": ""}"#,
    ] {
        transcript.ask(&start, body).await;
    }
    let flow = format!(
        r#"{{"name": "my_connection", "oauth_client_uuid": "{{client}}", "origin_oauth_redirect_url": "{END}"}}"#
    );
    let begun = transcript.ask(&start, &flow).await;
    let callback =
        transcript.server.consent(provider, begun["redirect_url"].as_str().unwrap()).await;
    let ended = transcript.server.stroll(target(&callback)).await.location();
    let state = crate::support::authorized::parameter(&callback, "state").unwrap();
    transcript.known.push(("state", state));
    let code = crate::support::authorized::parameter(&ended, "verification_code").unwrap();
    transcript.known.push(("code", code));
    let exchange = format!("GET {OAUTH}/oauth/access_codes/acme");
    transcript.ask(&exchange, "").await;
    transcript.ask(&format!("{exchange}?verification_code=none"), "").await;
    transcript
        .learn("connection", "/uuid", &format!("{exchange}?verification_code={{code}}"), "")
        .await;
    transcript.ask(&format!("{exchange}?verification_code={{code}}"), "").await;
}

async fn oauth_connections(transcript: &mut Transcript) {
    let named = format!("{OAUTH}/acme?name=my_connection");
    transcript.ask(&format!("GET {named}"), "").await;
    transcript.ask(&format!("GET {OAUTH}/acme"), "").await;
    transcript.ask(&format!("GET {OAUTH}/acme?name=none"), "").await;
    transcript.ask(&format!("GET {named}&uuid=9c81f444-4beb-4ba7-9bcc-6b2d068e7ade"), "").await;
    transcript.ask(&format!("GET {named}&name=other"), "").await;
    transcript.ask(&format!("GET {CONNECTIONS}/all"), "").await;
    for body in [
        "{}",
        r#"{"allowed_domain": "*.com", "name": "other", "uuid": "x", "integration": "x", "created_by": "x", "oauth_client_uuid": "x", "access_token": 1, "extra": 1}"#,
        r#"{"allowed_domain": 7}"#,
        r#"{"allowed_domain": "api.example.test", "name": "my_connection", "token_expiry": null}"#,
        r#"{"allowed_domain": "other.example.test"}"#,
    ] {
        transcript.ask(&format!("PATCH {named}"), body).await;
    }
    transcript.ask(&format!("GET {OAUTH}/refresh/acme?uuid={{connection}}"), "").await;
    transcript.ask(&format!("GET {OAUTH}/refresh/acme?uuid=none"), "").await;
    transcript.ask(&format!("POST {OAUTH}/refresh/acme?uuid={{connection}}"), "").await;
    transcript.ask(&format!("DELETE {named}"), "").await;
    transcript.ask(&format!("DELETE {named}"), "").await;
}

async fn token_proxy(transcript: &mut Transcript) {
    for body in [
        "{}",
        r#"{"client_id": 1, "client_secret": "", "grant_type": null, "code": [], "code_verifier": {}, "redirect_uri": true, "refresh_token": 1, "scope": 1, "extra": 1}"#,
    ] {
        transcript.ask(&format!("POST {OAUTH}/oauth/tokens/acme"), body).await;
        transcript.ask(&format!("POST {OAUTH}/oauth/tokens/A"), body).await;
    }
}

const OWN: &str = "/api/keyferry/v1";

#[tokio::test]
async fn keyferrys_own_paths_are_answered_byte_for_byte() {
    let server = super::stored().with("KEYFERRY_MASTER_KEY", MASTER_KEY).run().await;
    let mut transcript = Transcript::of(server);
    tokens(&mut transcript).await;
    transcript.ask(&format!("GET {OWN}/keys"), "").await;
    transcript.ask(&format!("GET {OWN}/keys?x=1"), "").await;
    transcript.ask(&format!("POST {OWN}/keys/rotate"), "").await;
    for body in [
        r#"{"overlap": "91d"}"#,
        r#"{"overlap": "soon", "extra": 1}"#,
        r#"{"overlap": 7}"#,
        r#"{"overlap": null}"#,
        r#"{"overlap": ""}"#,
    ] {
        transcript.ask(&format!("POST {OWN}/ca/rotate"), body).await;
    }
    explanations(&mut transcript).await;
    transcript.ask(&format!("GET {OWN}/audit"), "").await;
    transcript.ask(&format!("GET {OWN}/audit?page[after]=x"), "").await;
    transcript.ask(&format!("GET {OWN}/audit?x=1"), "").await;
    transcript.ask("GET /readyz", "").await;
    transcript.is_as_kept("answers_own.txt");
}

#[tokio::test]
async fn connections_of_every_type_are_answered_byte_for_byte() {
    let declared = "allowed_domains = [\"a.example.com\"]\nsecrets = { key = \"s\" }\n\
                    inject = [{ in = \"header\", name = \"X-Key\", value = \"{key}\" }]";
    let aws = "type = \"aws_sigv4\"\naccess_key_id = \"AKID\"\nsecret_access_key = \"s\"";
    let server = super::stored()
        .custom("acme.declared", declared)
        .connection("acme.signs", "*.amazonaws.com", aws)
        .run()
        .await;
    let all = "/api/keyferry/v1/integrations/acme/connections";
    let mut transcript = Transcript::of(server);
    transcript
        .ask(
            &format!("POST {CONNECTIONS}/bearer_token"),
            r#"{"name": "zis", "token": "s", "allowed_domain": "api.example.com"}"#,
        )
        .await;
    // 1. Made, as it should be and as it should not.
    let whole = r#"{"type": "custom", "name": "both", "allowed_domains": ["api.example.com", {"domain": "*.example.org", "inject": [{"in": "path", "placeholder": "KEYFERRY", "value": "bot{b}"}]}], "secrets": {"a": "A", "b": "B"}, "inject": [{"in": "header", "name": "Authorization", "value": "{basic:a,b}"}, {"in": "query", "name": "key", "value": "{a}"}], "description": "two APIs", "read_only": true}"#;
    transcript.ask(&format!("POST {all}"), whole).await;
    transcript.ask(&format!("POST {all}"), whole).await;
    let one = r#"{"type": "custom", "name": "one", "allowed_domains": ["api.example.com"], "secrets": {"a": "A"}, "inject": [{"in": "path", "placeholder": "KEYFERRY"}]}"#;
    transcript.ask(&format!("POST {all}"), one).await;
    for body in [
        "{}",
        r#"{"type": "bearer_token", "name": "x", "allowed_domains": "a", "secrets": ["a"], "inject": {}, "extra": 1}"#,
        r#"{"type": "aws_sigv4", "name": "abc", "allowed_domains": ["*.com", {"domain": "a.com", "inject": [{"in": "body"}]}], "secrets": {"a": "*****", "b": ""}, "inject": [{"in": "header", "placeholder": "x"}], "keep_old_for": "10m"}"#,
        r#"{"type": "custom", "name": "abc", "allowed_domains": ["a.com"], "secrets": {"a": "A", "b": "B"}, "inject": [{"in": "header", "name": "X-A", "value": "{a}"}]}"#,
        r#"{"type": "custom", "name": "abc", "allowed_domains": ["a.com"], "secrets": {"a": "A"}, "inject": [{"in": "header", "name": "Cookie", "value": "{a}"}]}"#,
        r#"{"type": "custom", "name": "abc", "allowed_domains": ["a.com"], "secrets": {"a": "a/b"}, "inject": [{"in": "path", "placeholder": "KEYFERRY"}]}"#,
        r#"{"type": "custom", "name": "abc", "allowed_domains": ["a.com", "A.com"], "secrets": {"a": "A"}, "inject": [{"in": "query", "name": "a", "value": "{a}"}]}"#,
    ] {
        transcript.ask(&format!("POST {all}"), body).await;
    }
    // 2. Shown and listed.
    for name in ["both", "one", "declared", "signs", "zis", "absent"] {
        transcript.ask(&format!("GET {all}/{name}"), "").await;
    }
    transcript.ask(&format!("GET {all}?page[size]=2"), "").await;
    transcript.ask(&format!("GET {all}?page[after]=one"), "").await;
    transcript.ask(&format!("GET {CONNECTIONS}/all"), "").await;
    // 3. Changed, where nobody sends secrets elsewhere without knowing them.
    for body in [
        r#"{"secrets": {"a": "AA"}, "keep_old_for": "10m"}"#,
        r#"{"name": "both", "secrets": {"a": "*****", "b": "*****"}, "description": null}"#,
        r#"{"secrets": {"c": "C"}}"#,
        r#"{"secrets": {"a": "*****"}}"#,
        r#"{"allowed_domains": ["evil.example.net"]}"#,
        r#"{"inject": [{"in": "header", "name": "X-Echoed", "value": "{a}"}]}"#,
        r#"{"inject": [{"in": "header", "name": "X-Echoed", "value": "{a}"}], "secrets": {"a": "A"}}"#,
        r#"{"allowed_domains": ["evil.example.net"], "secrets": {"a": "A"}, "keep_old_for": "10m"}"#,
        r#"{"allowed_domains": ["next.example.com"], "inject": [{"in": "header", "name": "X-Next", "value": "{next}"}], "secrets": {"next": "N"}}"#,
        r#"{"drop_secrets": ["a"]}"#,
        r#"{"allowed_domains": ["next.example.com"], "inject": [{"in": "header", "name": "X-Next", "value": "{next}"}], "secrets": {"next": "N"}, "drop_secrets": ["b", "c"]}"#,
        r#"{"allowed_domains": ["next.example.com"], "inject": [{"in": "header", "name": "X-Next", "value": "{next}"}], "secrets": {"next": "N"}, "drop_secrets": ["a", "b"]}"#,
        r#"{"type": "oauth", "name": "another", "keep_old_for": "10m"}"#,
        "{}",
    ] {
        transcript.ask(&format!("PATCH {all}/both"), body).await;
    }
    transcript.ask(&format!("GET {all}/both"), "").await;
    for name in ["declared", "zis", "absent"] {
        transcript.ask(&format!("PATCH {all}/{name}"), r#"{"read_only": true}"#).await;
        transcript.ask(&format!("DELETE {all}/{name}"), "").await;
    }
    transcript.ask(&format!("DELETE {all}/both"), "").await;
    transcript.ask(&format!("DELETE {all}/both"), "").await;
    transcript.is_as_kept("answers_typed.txt");
}

async fn tokens(transcript: &mut Transcript) {
    let tokens = format!("{OWN}/tokens");
    let whole = r#"{"name": "ci", "integration": "acme", "scopes": ["read", "zis:write", "proxy"], "connections": ["crm", "erp"], "expires_at": "2999-01-31T12:00:00Z"}"#;
    transcript.learn("token", "/token/id", &format!("POST {tokens}"), whole).await;
    transcript.ask(&format!("POST {tokens}"), whole).await;
    let listed: Vec<_> = (0..257).map(|number| format!("\"c{number}\"")).collect();
    let listed = listed.join(", ");
    for body in [
        "{}",
        r#"{"name": "a\u0001", "integration": "A", "scopes": ["root"], "connections": ["a"], "expires_at": "soon", "extra": 1}"#,
        r#"{"name": 1, "integration": 1, "scopes": "read", "connections": "a", "expires_at": 1}"#,
        r#"{"name": "", "integration": "", "scopes": [], "connections": [], "expires_at": ""}"#,
        r#"{"name": "b", "integration": "acme", "scopes": [1], "connections": [1], "expires_at": "2020-01-01T00:00:00Z"}"#,
        r#"{"name": "b", "integration": "*", "scopes": ["admin"], "connections": ["x"]}"#,
        r#"{"name": "b", "integration": "*", "scopes": ["admin"], "connections": null, "expires_at": null}"#,
        &format!(
            r#"{{"name": "b", "integration": "acme", "scopes": ["read"], "connections": [{listed}]}}"#
        ),
    ] {
        transcript.ask(&format!("POST {tokens}"), body).await;
    }
    transcript.ask(&format!("DELETE {tokens}/{{token}}"), "").await;
    transcript.ask(&format!("DELETE {tokens}/{{token}}"), "").await;
    transcript.ask(&format!("DELETE {tokens}/x"), "").await;
    transcript.ask(&format!("GET {tokens}"), "").await;
    transcript.ask(&format!("GET {tokens}?x=1"), "").await;
    transcript.ask(&format!("PUT {tokens}"), "{}").await;
}

async fn explanations(transcript: &mut Transcript) {
    for body in [
        "{}",
        r#"{"method": "G T", "url": "", "integration": "A", "connection": "a", "extra": 1}"#,
        r#"{"method": 1, "url": 2, "integration": 3, "connection": 4}"#,
        r#"{"method": "GET", "url": "https://api.example.com/v1", "integration": "acme", "connection": "none"}"#,
        r#"{"method": "GET", "url": "https://api.example.com/v1", "integration": "acme", "connection": null}"#,
    ] {
        transcript.ask(&format!("POST {OWN}/explain"), body).await;
    }
    transcript
        .ask(
            &format!("POST {CONNECTIONS}/bearer_token"),
            r#"{"name": "crm", "token": "s", "allowed_domain": "api.example.com"}"#,
        )
        .await;
    transcript
        .ask(
            &format!("POST {OWN}/explain"),
            r#"{"method": "GET", "url": "https://api.example.com/v1", "integration": "acme"}"#,
        )
        .await;
}

/// A key of the environment, so that the paths of keys are answered alike everywhere.
const MASTER_KEY: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
