//! Clients that sign with a key of their own: service accounts, users that an application acts for,
//! installations of a GitHub App, and clients that authenticate by their key.

use serde_json::{Value, json};

use crate::support::authorized::{OAUTH, target, through};
use crate::support::issuers::{
    CLIENT_ID, CLIENT_SECRET, DELEGATE, GOOGLE_EMAIL, GOOGLE_KEY_ID, Issuer, Provider,
};
use crate::support::keys::{ED, OTHER_RSA, P256, P384, RSA};
use crate::support::raw::{Answer, refused};
use crate::support::soon;
use crate::support::world::{Running, World};

const CLIENTS: &str = "/api/services/zis/connections/oauth/clients/acme";

/// A server that keeps what it is told, with this endpoint, and the API at `api.example.test`.
async fn server(issuer: &Issuer) -> Running {
    World::new(&issuer.api).keeping().pin(issuer.host, &issuer.origin).run().await
}

/// The file of a service account, as Google gives it.
fn service_account() -> Value {
    json!({
        "type": "service_account", "project_id": "acme", "private_key_id": GOOGLE_KEY_ID,
        "private_key": RSA.pkcs8, "client_email": GOOGLE_EMAIL, "client_id": "1098765432101234567",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "universe_domain": "googleapis.com",
    })
}

fn google() -> Value {
    json!({
        "name": "robot", "grant_type": "jwt_bearer", "client_secret": service_account().to_string(),
        "default_scopes": "https://www.googleapis.com/auth/cloud-platform",
    })
}

fn app() -> Value {
    json!({
        "name": "robot", "grant_type": "github_app", "client_id": CLIENT_ID,
        "client_secret": RSA.older, "installation": {"id": 42},
    })
}

fn service_app() -> Value {
    json!({
        "name": "robot", "grant_type": "client_credentials", "client_id": CLIENT_ID,
        "client_secret": RSA.pkcs8, "token_endpoint_auth_method": "private_key_jwt",
        "token_url": "https://acme.okta.com/oauth2/v1/token", "default_scopes": "okta.users.read",
        "assertion": {"key_id": "rsa"},
    })
}

impl Running {
    async fn create_client(&self, client: Value) -> Answer {
        self.manage(&format!("POST {CLIENTS}"), Some(client)).await
    }

    /// Makes a client; gives it as it is shown.
    async fn client(&self, client: Value) -> Value {
        let made = self.create_client(client).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.json()
    }

    async fn change_client(&self, client: &Value, change: Value) -> Answer {
        let uuid = client["uuid"].as_str().unwrap();
        self.manage(&format!("PATCH {CLIENTS}/{uuid}"), Some(change)).await
    }

    /// Makes the connection `acme.{name}` of the client `robot`, without anybody at a browser.
    async fn mint(&self, name: &str) -> Answer {
        let begun = self
            .start_flow(json!({
                "name": name, "oauth_client_name": "robot", "allowed_domain": "api.example.test",
            }))
            .await;
        self.manage(&format!("GET {}", target(&begun)), None).await
    }

    /// The same, which must succeed.
    async fn minted(&self, name: &str) {
        let exchanged = self.mint(name).await;
        assert_eq!(exchanged.status, 200, "{exchanged:?}");
    }
}

#[tokio::test]
async fn a_service_accounts_file_is_pasted_whole_and_works() {
    let issuer = Issuer::start(Provider::Google).await;
    let server = server(&issuer).await;
    let client = server.client(google()).await;
    assert_eq!(client["client_id"], GOOGLE_EMAIL);
    assert_eq!(client["token_url"], "https://oauth2.googleapis.com/token");
    assert_eq!(client["token_endpoint_auth_method"], "none");
    assert_eq!(client["assertion"], json!({"key_id": GOOGLE_KEY_ID}));
    server.minted("mine").await;
    assert_eq!(server.send(&through("mine")).await.status, 200);
    // Nobody is asked for the user that it may act for unless the profile says so.
    let (header, claims) = issuer.accepted().pop().unwrap();
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": GOOGLE_KEY_ID}));
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    assert!(claims.get("sub").is_none(), "{claims}");
    let ends = server.authorized("mine").await["token_expiry"].clone();
    assert!(ends.is_string(), "{ends}");
}

#[tokio::test]
async fn a_service_account_acts_for_a_user() {
    let issuer = Issuer::start(Provider::Google).await;
    let server = server(&issuer).await;
    let mut client = google();
    client["assertion"] = json!({"sub": DELEGATE});
    let client = server.client(client).await;
    assert_eq!(client["assertion"], json!({"sub": DELEGATE, "key_id": GOOGLE_KEY_ID}));
    server.minted("mine").await;
    assert_eq!(issuer.accepted()[0].1["sub"], DELEGATE);
}

#[tokio::test]
async fn each_token_is_asked_for_by_another_assertion_under_the_lease() {
    let issuer = Issuer::start(Provider::Google).await;
    issuer.set_lifetime(1);
    let (one, other) = (server(&issuer).await, &issuer);
    one.client(google()).await;
    one.minted("mine").await;
    one.has_expired("mine").await;
    other.set_lifetime(3600);
    let asks = (0..20).map(|_| async { one.send(&through("mine")).await.status });
    assert_eq!(futures_util::future::join_all(asks).await, vec![200; 20]);
    assert_eq!((issuer.accepted().len(), issuer.refused().len()), (2, 0));
    // Tokens that an origin no longer takes are replaced in the same way.
    issuer.revoke();
    assert_eq!(one.send(&through("mine")).await.status, 200);
    assert_eq!((issuer.accepted().len(), issuer.refused().len()), (3, 0));
}

#[tokio::test]
async fn a_key_that_the_provider_no_longer_knows_ends_nothing() {
    let issuer = Issuer::start(Provider::Google).await;
    let server = server(&issuer).await;
    let client = server.client(google()).await;
    server.minted("mine").await;
    issuer.set_key("second", &OTHER_RSA);
    let refresh = format!("GET {OAUTH}/refresh/acme?name=mine");
    let answer = server.manage(&refresh, None).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(server.authorized("mine").await.get("needs_reauthorization").is_none());
    // The operator enters the new key's file, and it goes on without another flow.
    let mut file = service_account();
    file["private_key"] = OTHER_RSA.pkcs8.as_str().into();
    file["private_key_id"] = "second".into();
    let changed = server.change_client(&client, json!({"client_secret": file.to_string()})).await;
    assert_eq!((changed.status, &changed.json()["assertion"]["key_id"]), (200, &json!("second")));
    let answer = server.manage(&refresh, None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(server.send(&through("mine")).await.status, 200);
}

#[tokio::test]
async fn a_salesforce_user_is_acted_for() {
    let issuer = Issuer::start(Provider::Salesforce).await;
    let server = server(&issuer).await;
    let client = json!({
        "name": "robot", "grant_type": "jwt_bearer", "client_id": CLIENT_ID,
        "client_secret": RSA.pkcs8, "token_url": "https://login.salesforce.com/services/oauth2/token",
        "assertion": {"sub": DELEGATE, "aud": "https://login.salesforce.com"},
        "default_lifetime": "2h",
    });
    server.client(client.clone()).await;
    server.minted("mine").await;
    assert_eq!(server.send(&through("mine")).await.status, 200);
    let (header, claims) = issuer.accepted().pop().unwrap();
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT"}));
    assert!(claims.get("scope").is_none(), "{claims}");
    // The provider's own words are nobody's but its own.
    let mut stranger = client;
    stranger["name"] = "stranger".into();
    stranger["assertion"]["sub"] = "stranger@acme.example".into();
    server.client(stranger).await;
    let begun = server.start_flow(json!({"name": "other", "oauth_client_name": "stranger"})).await;
    let exchanged = server.manage(&format!("GET {}", target(&begun)), None).await;
    assert_eq!(exchanged.status, 422, "{exchanged:?}");
    assert!(!exchanged.text().contains("approved"), "{}", exchanged.text());
}

#[tokio::test]
async fn a_docusign_user_is_acted_for() {
    let issuer = Issuer::start(Provider::Docusign).await;
    let server = server(&issuer).await;
    server
        .client(json!({
            "name": "robot", "grant_type": "jwt_bearer", "client_id": CLIENT_ID,
            "client_secret": RSA.older, "token_url": "https://account-d.docusign.com/oauth/token",
            "default_scopes": "signature impersonation",
            "assertion": {"sub": DELEGATE, "aud": "account-d.docusign.com", "lifetime": "1h"},
        }))
        .await;
    server.minted("mine").await;
    assert_eq!(server.send(&through("mine")).await.status, 200);
}

#[tokio::test]
async fn an_installation_of_a_github_app_has_tokens_that_are_narrowed() {
    let issuer = Issuer::start(Provider::Github).await;
    let server = server(&issuer).await;
    let mut client = app();
    client["installation"]["repositories"] = json!(["website"]);
    client["installation"]["permissions"] = json!({"contents": "read"});
    let client = server.client(client).await;
    assert_eq!(client["token_url"], "https://api.github.com/app/installations/42/access_tokens");
    assert_eq!(
        (&client["token_path"], &client["expires_in_path"]),
        (&json!("/token"), &json!("/expires_at"))
    );
    server.minted("mine").await;
    assert_eq!(server.send(&through("mine")).await.status, 200);
    let asked: Value = serde_json::from_slice(&issuer.origin.last().body).unwrap();
    let expected = json!({"repositories": ["website"], "permissions": {"contents": "read"}});
    assert_eq!(asked, expected);
    let (_header, claims) = issuer.accepted().pop().unwrap();
    let names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["exp", "iat", "iss"]);
    // Its end is a date in the answer.
    assert!(server.authorized("mine").await["token_expiry"].is_string());
    issuer.revoke();
    assert_eq!(server.send(&through("mine")).await.status, 200);
    assert_eq!(issuer.accepted().len(), 2);
    assert_eq!(issuer.refused(), Vec::<String>::new());
}

#[tokio::test]
async fn an_installation_that_is_suspended_comes_back_by_itself() {
    let issuer = Issuer::start(Provider::Github).await;
    let server = server(&issuer).await;
    let client = server.client(app()).await;
    server.minted("mine").await;
    issuer.suspend(true);
    let refresh = format!("GET {OAUTH}/refresh/acme?name=mine");
    assert_eq!(server.manage(&refresh, None).await.status, 422);
    assert!(server.authorized("mine").await.get("needs_reauthorization").is_none());
    issuer.suspend(false);
    assert_eq!(server.manage(&refresh, None).await.status, 200);
    // What the installation has not got is refused by GitHub, and the reason is the operator's.
    let wide = json!({
        "client_secret": RSA.pkcs8,
        "installation": {"id": 42, "permissions": {"administration": "write"}},
    });
    let changed = server.change_client(&client, wide).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(server.manage(&refresh, None).await.status, 422);
    assert!(issuer.refused().iter().any(|words| words.contains("permissions requested")));
}

#[tokio::test]
async fn one_app_has_many_installations_each_of_a_connection() {
    let issuer = Issuer::start(Provider::Github).await;
    let server = server(&issuer).await;
    let mut client = app();
    client.as_object_mut().unwrap().remove("installation");
    let client = server.client(client).await;
    let url = "https://api.github.com/app/installations/{subdomain}/access_tokens";
    assert_eq!(client["token_url"], url);
    for (name, id, status) in [("mine", "42", 200), ("other", "43", 422)] {
        let begun = server
            .start_flow(json!({
                "name": name, "oauth_client_name": "robot", "oauth_url_subdomain": id,
                "allowed_domain": "api.example.test",
            }))
            .await;
        let exchanged = server.manage(&format!("GET {}", target(&begun)), None).await;
        assert_eq!(exchanged.status, status, "{id}: {exchanged:?}");
    }
}

#[tokio::test]
async fn zooms_account_credentials_are_parameters() {
    let issuer = Issuer::start(Provider::Zoom).await;
    let server = server(&issuer).await;
    issuer.set_lifetime(1);
    server
        .client(json!({
            "name": "robot", "grant_type": "client_credentials", "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET, "token_url": "https://zoom.us/oauth/token",
            "token_endpoint_auth_method": "client_secret_basic",
            "token_params": {"grant_type": "account_credentials", "account_id": "AbC_d-1"},
        }))
        .await;
    server.minted("mine").await;
    server.has_expired("mine").await;
    issuer.set_lifetime(3600);
    assert_eq!(server.send(&through("mine")).await.status, 200);
    assert_eq!((issuer.origin.seen().len(), issuer.refused().len()), (2, 0));
}

#[tokio::test]
async fn a_client_authenticates_by_a_key_of_each_kind() {
    let issuer = Issuer::start(Provider::Okta).await;
    let server = server(&issuer).await;
    let mut jwk = P384.jwk.clone();
    jwk["kid"] = "p384".into();
    for (number, (key_id, algorithm, secret)) in [
        ("rsa", None, RSA.pkcs8.clone()),
        ("rsa", Some("PS256"), RSA.jwk.to_string()),
        ("p256", None, P256.pkcs8.clone()),
        ("p256", Some("ES256"), P256.older.clone().unwrap()),
        ("p384", None, jwk.to_string()),
        ("ed", Some("EdDSA"), ED.pkcs8.clone()),
        ("ed", None, ED.jwk.to_string()),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = service_app();
        client["name"] = format!("client_{number}").into();
        client["client_secret"] = secret.into();
        client["assertion"] = if key_id == "p384" { json!({}) } else { json!({"key_id": key_id}) };
        if let Some(algorithm) = algorithm {
            client["assertion"]["algorithm"] = algorithm.into();
        }
        server.client(client).await;
        let name = format!("mine_{number}");
        let begun = server
            .start_flow(json!({
                "name": name, "oauth_client_name": format!("client_{number}"),
                "allowed_domain": "api.example.test",
            }))
            .await;
        let exchanged = server.manage(&format!("GET {}", target(&begun)), None).await;
        assert_eq!(exchanged.status, 200, "{key_id}: {exchanged:?} {:?}", issuer.refused());
        assert_eq!(server.send(&through(&name)).await.status, 200);
        assert_eq!(issuer.accepted().pop().unwrap().0["kid"], key_id);
    }
}

#[tokio::test]
async fn a_key_is_checked_when_it_is_entered_and_never_quoted() {
    let issuer = Issuer::start(Provider::Okta).await;
    let server = server(&issuer).await;
    let half = RSA.pkcs8[..RSA.pkcs8.len() / 2].to_owned();
    let public = RSA.pkcs8.replace("PRIVATE", "PUBLIC");
    let certificate = crate::support::tls::Authority::self_signed(&["acme"]).pem;
    let mut open_jwk = RSA.jwk.clone();
    open_jwk.as_object_mut().unwrap().remove("d");
    let mut short_jwk = RSA.jwk.clone();
    short_jwk.as_object_mut().unwrap().remove("qi");
    let mut mixed_jwk = RSA.jwk.clone();
    mixed_jwk["n"] = OTHER_RSA.jwk["n"].clone();
    for (secret, words) in [
        ("hunter2hunter2".to_owned(), "is not a private key"),
        (half, "is damaged, or not complete"),
        (public, "is a public key"),
        (certificate.clone(), "is a certificate"),
        (format!("{certificate}{}", RSA.pkcs8), "does not belong to the certificate"),
        (format!("{}{}", RSA.pkcs8, P256.pkcs8), "more than one private key"),
        (RSA.pkcs8.replace("PRIVATE", "ENCRYPTED PRIVATE"), "encrypted with a passphrase"),
        (RSA.pkcs8.replace("PRIVATE", "OPENSSH PRIVATE"), "format of OpenSSH"),
        (RSA.pkcs8.replace("MII", "AII"), "can't be read"),
        (open_jwk.to_string(), "is a public key"),
        (short_jwk.to_string(), "without p, q, dp, dq and qi"),
        (mixed_jwk.to_string(), "is damaged, or not complete"),
        (json!({"keys": [RSA.jwk]}).to_string(), "is a set of keys"),
        (json!({"installed": {"client_secret": "hunter2"}}).to_string(), "file of an OAuth client"),
        (json!({"a": "hunter2"}).to_string(), "is JSON, and neither"),
        (r#"{"kty":"oct","k":"aHVudGVyMg"}"#.to_owned(), "of a kind that can't sign here"),
    ] {
        let mut client = service_app();
        client["client_secret"] = secret.as_str().into();
        let answer = server.create_client(client).await;
        assert_eq!(answer.status, 422, "{words}: {answer:?}");
        assert!(answer.text().contains(words), "{words}: {}", answer.text());
        let quoted = secret
            .split(['\n', '"'])
            .filter(|part| part.len() > 24)
            .any(|part| answer.text().contains(part));
        assert!(!quoted && !answer.text().contains("hunter"), "{}", answer.text());
    }
    for (member, value, words) in [
        ("assertion", json!({"algorithm": "ES256"}), "is of another kind than the algorithm"),
        ("assertion", json!({"sub": DELEGATE}), "iss and sub are always client_id"),
        ("assertion", json!({"exp": "1"}), "must be an object with iss, sub, aud"),
        ("installation", json!({"id": 42}), "is for clients of grant_type github_app"),
        (
            "token_endpoint_auth_method",
            json!("client_secret_post"),
            "is a private key, which must not be sent",
        ),
    ] {
        let mut client = service_app();
        client[member] = value;
        let answer = server.create_client(client).await;
        assert_eq!(answer.status, 422, "{words}: {answer:?}");
        assert!(answer.text().contains(words), "{words}: {}", answer.text());
    }
    for (member, value, words) in [
        ("client_secret", json!(ED.pkcs8), "is of another kind than the algorithm"),
        ("assertion", json!({"aud": "x"}), "may have only iss, lifetime"),
        (
            "token_endpoint_auth_method",
            json!("client_secret_basic"),
            "must be none with github_app",
        ),
        (
            "token_url",
            json!("https://api.github.com/app/installations/7/access_tokens"),
            "its id is other",
        ),
        ("installation", json!({"id": 42, "repositories": ["acme/shop"]}), "without its owner"),
    ] {
        let mut client = app();
        client[member] = value;
        let answer = server.create_client(client).await;
        assert_eq!(answer.status, 422, "{words}: {answer:?}");
        assert!(answer.text().contains(words), "{words}: {}", answer.text());
    }
}

#[tokio::test]
async fn keys_come_with_their_certificates_and_from_variables_on_one_line() {
    let issuer = Issuer::start(Provider::Okta).await;
    let server = server(&issuer).await;
    // A certificate of the key says by which thumbprint Entra knows it.
    let leaf = crate::support::tls::TRUSTED.leaf(&["acme"]);
    let mut client = service_app();
    client["client_secret"] = format!("{}{}", leaf.key.serialize_pem(), leaf.pem).into();
    let shown = server.client(client).await;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &leaf.der);
    let expected =
        base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, digest);
    assert_eq!(shown["assertion"]["certificate_thumbprint"], expected);
    for (name, secret) in [
        ("spaces", RSA.pkcs8.replace('\n', " ")),
        ("escapes", RSA.pkcs8.replace('\n', "\\n")),
        ("nothing", RSA.pkcs8.replace('\n', "")),
        ("returns", RSA.pkcs8.replace('\n', "\r\n")),
    ] {
        let mut client = service_app();
        client["name"] = name.into();
        client["client_secret"] = secret.into();
        server.client(client).await;
    }
}

#[tokio::test]
async fn a_client_with_a_key_is_made_by_its_providers_name() {
    // Google: the file of the account, and nothing else.
    let issuer = Issuer::start(Provider::Google).await;
    let google_server = server(&issuer).await;
    let secret = service_account().to_string();
    let google = json!({
        "name": "robot", "provider": "google_service_account", "client_secret": secret,
        "assertion": {"sub": DELEGATE},
    });
    let client = google_server.client(google).await;
    assert_eq!(client["assertion"], json!({"sub": DELEGATE, "key_id": GOOGLE_KEY_ID}));
    assert_eq!(client["client_id"], GOOGLE_EMAIL);
    google_server.minted("mine").await;
    assert_eq!(google_server.send(&through("mine")).await.status, 200);
    // Salesforce: the user that is asked for, beside the audience that is known.
    let issuer = Issuer::start(Provider::Salesforce).await;
    let salesforce_server = server(&issuer).await;
    let mut salesforce = json!({
        "name": "robot", "provider": "salesforce_jwt", "client_id": CLIENT_ID,
        "client_secret": RSA.pkcs8, "provider_values": {"instance": "api.example.test"},
    });
    let missing = salesforce_server.create_client(salesforce.clone()).await;
    assert!(missing.status == 422 && missing.text().contains("user is missing"), "{missing:?}");
    salesforce["provider_values"]["user"] = DELEGATE.into();
    let client = salesforce_server.client(salesforce).await;
    let expected = json!({"sub": DELEGATE, "aud": "https://login.salesforce.com"});
    assert_eq!(client["assertion"], expected);
    let begun = json!({"name": "mine", "oauth_client_name": "robot"});
    let begun = salesforce_server.start_flow(begun).await;
    let exchanged = salesforce_server.manage(&format!("GET {}", target(&begun)), None).await;
    assert_eq!(exchanged.status, 200, "{exchanged:?} {:?}", issuer.refused());
    assert_eq!(salesforce_server.send(&through("mine")).await.status, 200);
    // GitHub: an installation by its own member, or by the value that is asked for.
    let issuer = Issuer::start(Provider::Github).await;
    let github_server = server(&issuer).await;
    for (name, member, value) in [
        ("robot", "installation", json!({"id": 42})),
        ("other", "provider_values", json!({"subdomain": "42"})),
    ] {
        let mut app = json!({
            "name": name, "provider": "github_app", "client_id": CLIENT_ID,
            "client_secret": RSA.older,
        });
        app[member] = value;
        let client = github_server.client(app).await;
        let url = "https://api.github.com/app/installations/42/access_tokens";
        assert_eq!(client["token_url"], url, "{name}");
    }
    github_server.minted("mine").await;
    assert_eq!(github_server.send(&through("mine")).await.status, 200);
}

#[tokio::test]
async fn what_a_key_signs_changes_only_with_the_key_entered_again() {
    let issuer = Issuer::start(Provider::Google).await;
    let server = server(&issuer).await;
    let client = server.client(google()).await;
    server.minted("mine").await;
    for change in [
        json!({"assertion": {"sub": "ceo@acme.example", "key_id": GOOGLE_KEY_ID}}),
        json!({"assertion": null}),
        json!({"token_url": "https://id.example.test/token"}),
        json!({"client_id": "another"}),
        json!({"token_endpoint_auth_method": "client_secret_post"}),
        json!({"installation": {"id": 1}}),
    ] {
        let answer = server.change_client(&client, change.clone()).await;
        assert_eq!(answer.status, 422, "{change}: {answer:?}");
    }
    // Another grant would send the key, or sign something else.
    for grant_type in ["client_credentials", "authorization_code", "github_app"] {
        let flow = json!({"name": "x11", "oauth_client_name": "robot", "grant_type": grant_type});
        let line = format!("POST {OAUTH}/oauth/start/acme");
        assert_eq!(server.manage(&line, Some(flow)).await.status, 422, "{grant_type}");
    }
    let mut with_key = json!({"client_secret": RSA.pkcs8, "assertion": {"sub": DELEGATE}});
    with_key["assertion"]["key_id"] = GOOGLE_KEY_ID.into();
    assert_eq!(server.change_client(&client, with_key).await.status, 200);
    let refresh = format!("GET {OAUTH}/refresh/acme?name=mine");
    assert_eq!(server.manage(&refresh, None).await.status, 200);
    assert_eq!(issuer.accepted().pop().unwrap().1["sub"], DELEGATE);
}

#[tokio::test]
async fn nothing_that_was_known_of_a_key_is_said_of_another() {
    let issuer = Issuer::start(Provider::Okta).await;
    let server = server(&issuer).await;
    // A key with its certificate, and an algorithm that the provider asks for.
    let leaf = crate::support::tls::TRUSTED.leaf(&["acme"]);
    let mut client = service_app();
    client["client_secret"] = format!("{}{}", leaf.key.serialize_pem(), leaf.pem).into();
    client["assertion"] = json!({"key_id": "first", "aud": "https://acme.okta.com"});
    let client = server.client(client).await;
    let thumbprint = client["assertion"]["certificate_thumbprint"].clone();
    assert!(thumbprint.is_string(), "{client}");
    let change = |body: Value| async {
        let changed = server.change_client(&client, body).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        changed.json()["assertion"].clone()
    };
    // The same key, without its certificate and in another form, is the one that was known.
    let same = change(json!({"client_secret": leaf.key.serialize_pem()})).await;
    assert_eq!((&same["key_id"], &same["certificate_thumbprint"]), (&json!("first"), &thumbprint));
    // Another one is not, though the record is sent back as it was shown.
    assert_eq!(
        change(json!({"client_secret": RSA.pkcs8})).await,
        json!({"aud": "https://acme.okta.com"})
    );
    change(json!({"client_secret": RSA.pkcs8, "assertion": {"key_id": "second"}})).await;
    let mut sent_back = server.change_client(&client, json!({"default_scopes": "a"})).await.json();
    assert_eq!(sent_back["assertion"], json!({"key_id": "second"}));
    sent_back["client_secret"] = OTHER_RSA.pkcs8.as_str().into();
    assert_eq!(change(sent_back).await, Value::Null);
    // What comes along with it, or is named, is its own.
    let mut jwk = RSA.jwk.clone();
    (jwk["kid"], jwk["alg"]) = ("third".into(), "PS256".into());
    let third = json!({"key_id": "third", "algorithm": "PS256"});
    assert_eq!(change(json!({"client_secret": jwk.to_string()})).await, third);
    // An algorithm stays as long as the key can sign by it.
    assert_eq!(
        change(json!({"client_secret": OTHER_RSA.pkcs8})).await,
        json!({"algorithm": "PS256"})
    );
    assert_eq!(change(json!({"client_secret": P256.pkcs8})).await, Value::Null);
    let named = json!({"client_secret": P384.pkcs8, "assertion": {"key_id": "p384"}});
    assert_eq!(change(named).await, json!({"key_id": "p384"}));
}

#[tokio::test]
async fn a_secret_of_one_kind_is_never_used_as_another() {
    let issuer = Issuer::start(Provider::Okta).await;
    let server = server(&issuer).await;
    let client = server.client(service_app()).await;
    for method in ["client_secret_post", "client_secret_basic", "client_secret_basic_raw"] {
        let change = json!({"token_endpoint_auth_method": method, "assertion": null});
        let answer = server.change_client(&client, change).await;
        assert_eq!(answer.status, 422, "{method}: {answer:?}");
        assert!(answer.text().contains("secret of another kind"), "{}", answer.text());
    }
    let change = json!({
        "token_endpoint_auth_method": "client_secret_post", "assertion": null,
        "client_secret": "a plain secret",
    });
    assert_eq!(server.change_client(&client, change).await.status, 200);
    let change = json!({"token_endpoint_auth_method": "private_key_jwt"});
    assert_eq!(server.change_client(&client, change).await.status, 422);
}

#[tokio::test]
async fn neither_key_nor_assertion_is_in_a_log_an_answer_or_the_database() {
    let issuer = Issuer::start(Provider::Google).await;
    let server = server(&issuer).await;
    let client = server.client(google()).await;
    server.minted("mine").await;
    issuer.set_key("second", &OTHER_RSA);
    let refresh = format!("GET {OAUTH}/refresh/acme?name=mine");
    assert_eq!(server.manage(&refresh, None).await.status, 422);
    let step = server.log.find(|line| line.contains("exchange").then_some(()));
    soon(step).await;
    let lines: Vec<&str> = RSA.pkcs8.lines().filter(|line| line.len() == 64).collect();
    let assertion = String::from_utf8(issuer.origin.last().body.to_vec()).unwrap();
    let assertion = assertion.split_once("assertion=").unwrap().1.to_owned();
    let shows =
        |text: &str| lines.iter().any(|line| text.contains(line)) || text.contains(&assertion);
    assert!(!shows(&server.log.text()) && !shows(&client.to_string()));
    for (path, content) in crate::support::world::files_below(&server.world.path("data")) {
        assert!(!shows(&String::from_utf8_lossy(&content)), "{}", path.display());
    }
}

#[tokio::test]
async fn a_row_that_was_edited_signs_nothing() {
    use sqlx::ConnectOptions as _;
    let issuer = Issuer::start(Provider::Google).await;
    for edit in [
        "UPDATE oauth_clients SET profile = json_set(profile, '$.assertion.sub', 'ceo@acme.example')",
        "UPDATE oauth_clients SET profile = json_set(profile, '$.assertion.aud', 'https://evil.example')",
        "UPDATE oauth_clients SET auth_method = 'client_secret_post'",
    ] {
        let server = server(&issuer).await;
        server.client(google()).await;
        let world = server.killed().await;
        let file = world.path("data/keyferry.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let mut database = options.connect().await.unwrap();
        sqlx::query(edit).execute(&mut database).await.unwrap();
        let server = world.run().await;
        let exchanged = server.mint("mine").await;
        assert_eq!(exchanged.status, 500, "{edit}: {exchanged:?}");
    }
    assert!(issuer.origin.seen().is_empty());
}

#[tokio::test]
async fn a_client_whose_key_is_refused_refuses_requests_once_its_token_has_ended() {
    let issuer = Issuer::start(Provider::Google).await;
    let server = server(&issuer).await;
    issuer.set_lifetime(1);
    server.client(google()).await;
    server.minted("mine").await;
    server.has_expired("mine").await;
    issuer.set_key("second", &OTHER_RSA);
    let answer = server.send(&through("mine")).await;
    assert_eq!(answer.refusal(), refused(502, "TokenEndpointFailed"));
    assert!(issuer.api.seen().is_empty());
}
