//! The documents of discovery and registration (RFC 8414 §2, RFC 9728 §2, RFC 7591 §3.2). A
//! stranger's bytes: all of it is checked, and nothing is taken over that a rule does not cover.

use serde_json::{Map, Value};

use crate::model::oauth::client::AuthMethod;
use crate::model::oauth::discovery::{ResourceUrl, is_same_issuer};
use crate::model::oauth::endpoint::EndpointTemplate;
use crate::model::oauth::profile::Issuer;
use crate::model::oauth::text::{MAX_SCOPES_LEN, is_plain, is_scope};
use crate::secret::Secret;

/// The metadata of an authorization server, as far as it is used.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "a server says of each what it does")]
pub struct ServerMetadata {
    /// Its issuer identifier, as it spells it.
    pub issuer: Issuer,
    /// The authorization endpoint, which a server for machines alone does not have.
    pub auth_url: Option<EndpointTemplate>,
    /// The token endpoint.
    pub token_url: EndpointTemplate,
    /// The revocation endpoint (RFC 7009).
    pub revocation_url: Option<EndpointTemplate>,
    /// The endpoint at which clients register themselves (RFC 7591).
    pub registration_url: Option<EndpointTemplate>,
    /// The client authentication methods that are known here; `None` where it names none at all.
    pub auth_methods: Option<Vec<AuthMethod>>,
    /// Tells whether it takes a code challenge by S256; `None` where it does not say.
    pub takes_s256: Option<bool>,
    /// Tells whether it gives refresh tokens; true where it does not say.
    pub refreshes: bool,
    /// Its scopes; `None` where it names none.
    pub scopes: Option<Vec<Box<str>>>,
    /// Tells whether a client's id may be the URL of its metadata.
    pub reads_client_metadata: bool,
    /// Tells whether it takes authorization requests only where they were pushed (RFC 9126).
    pub needs_pushed_requests: bool,
    /// The place of the keys by which it signs ID tokens.
    pub keys_url: Option<EndpointTemplate>,
    /// Tells whether it names itself where it sends the browser back (RFC 9207).
    pub names_issuer: bool,
}

/// The metadata of a protected resource, as far as it is used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResourceMetadata {
    /// Its identifier, as it spells it.
    pub resource: Box<str>,
    /// The issuers whose tokens it takes.
    pub issuers: Vec<Issuer>,
    /// Its scopes, separated by spaces.
    pub scopes: Box<str>,
    /// Tells whether it takes only tokens that are bound to a key (RFC 9449).
    pub needs_dpop: bool,
}

/// A client as a server has registered it.
#[derive(Debug)]
pub struct RegisteredClient {
    /// The id that it was given.
    pub client_id: Box<str>,
    /// The secret that it was given; empty where there is none.
    pub secret: Secret,
    /// The method by which it authenticates.
    pub auth_method: AuthMethod,
}

/// The reason why a document is of no use. None of its own words are in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MetadataError {
    /// It is not a JSON object.
    #[error("its answer is not a JSON object")]
    NotJson,
    /// The issuer is another one.
    #[error("its metadata is another issuer's: give the issuer exactly as the provider spells it")]
    OtherIssuer,
    /// The resource is another one.
    #[error("its metadata is another resource's")]
    OtherResource,
    /// An endpoint is missing or unfit.
    #[error("its metadata has no {0} that is an https:// URL with a host name")]
    Endpoint(&'static str),
    /// The client was registered for tokens that are bound to a key.
    #[error(
        "it registers clients for DPoP-bound access tokens (RFC 9449), which are not supported"
    )]
    NeedsDpop,
    /// There are no keys.
    #[error("its answer is not a set of keys (RFC 7517) of which one can be read")]
    NoKeys,
    /// The answer to a registration has no client in it that can be kept.
    #[error("its answer has no client that can be kept")]
    NoClient,
}

impl ServerMetadata {
    /// Reads the metadata of the server with this issuer identifier.
    ///
    /// # Errors
    /// [`MetadataError`] says why it is of no use.
    pub fn read(asked: &Issuer, body: &[u8]) -> Result<Self, MetadataError> {
        let document = object(body)?;
        // 1. The document must be that issuer's own (RFC 8414 §3.3).
        let issuer = text(&document, "issuer").and_then(|text| Issuer::parse(text).ok());
        let issuer = issuer.ok_or(MetadataError::OtherIssuer)?;
        if !is_same_issuer(&issuer, asked) {
            return Err(MetadataError::OtherIssuer);
        }
        // 2. Endpoints; one that is there must be fit.
        let token_url = endpoint(&document, "token_endpoint")?;
        let token_url = token_url.ok_or(MetadataError::Endpoint("token_endpoint"))?;
        // 3. What it can, and what it wants.
        let list = |name| texts(&document, name);
        let challenges = list("code_challenge_methods_supported");
        let grants = list("grant_types_supported");
        let methods = list("token_endpoint_auth_methods_supported");
        Ok(Self {
            issuer,
            auth_url: endpoint(&document, "authorization_endpoint")?,
            token_url,
            revocation_url: endpoint(&document, "revocation_endpoint")?,
            registration_url: endpoint(&document, "registration_endpoint")?,
            auth_methods: methods.map(|names| names.into_iter().filter_map(method).collect()),
            takes_s256: challenges.map(|names| names.contains(&"S256")),
            refreshes: grants.is_none_or(|names| names.contains(&"refresh_token")),
            scopes: list("scopes_supported")
                .map(|names| names.into_iter().map(Into::into).collect()),
            reads_client_metadata: flag(&document, "client_id_metadata_document_supported"),
            needs_pushed_requests: flag(&document, "require_pushed_authorization_requests"),
            keys_url: endpoint(&document, "jwks_uri").ok().flatten(),
            names_issuer: flag(&document, "authorization_response_iss_parameter_supported"),
        })
    }

    /// Tells whether it names this scope.
    #[must_use]
    pub fn names_scope(&self, scope: &str) -> bool {
        self.scopes.iter().flatten().any(|known| **known == *scope)
    }

    /// Tells whether it takes this client authentication method. Where it names none, RFC 8414 §2
    /// says `client_secret_basic`.
    #[must_use]
    pub fn takes(&self, method: AuthMethod) -> bool {
        match &self.auth_methods {
            Some(methods) => methods.contains(&method),
            None => method == AuthMethod::ClientSecretBasic,
        }
    }
}

impl ResourceMetadata {
    /// Reads the metadata of the resource at this URL.
    ///
    /// # Errors
    /// [`MetadataError`] says why it is of no use.
    pub fn read(asked: &ResourceUrl, body: &[u8]) -> Result<Self, MetadataError> {
        let document = object(body)?;
        let resource = text(&document, "resource").filter(|text| asked.is_covered_by(text));
        let issuers = texts(&document, "authorization_servers").unwrap_or_default();
        let issuers = issuers.into_iter().take(MAX_ISSUERS);
        Ok(Self {
            resource: resource.ok_or(MetadataError::OtherResource)?.into(),
            issuers: issuers.filter_map(|text| Issuer::parse(text).ok()).collect(),
            scopes: scopes(texts(&document, "scopes_supported").unwrap_or_default()),
            needs_dpop: flag(&document, "dpop_bound_access_tokens_required"),
        })
    }
}

impl RegisteredClient {
    /// Reads the answer to a registration that asked for this method.
    ///
    /// # Errors
    /// [`MetadataError`] says why it is of no use.
    pub fn read(asked: AuthMethod, body: &[u8]) -> Result<Self, MetadataError> {
        let document = object(body)?;
        if flag(&document, "dpop_bound_access_tokens") {
            return Err(MetadataError::NeedsDpop);
        }
        let fits = |text: &&str| !text.is_empty() && is_plain(text);
        let client_id = text(&document, "client_id").filter(fits).ok_or(MetadataError::NoClient)?;
        let secret = text(&document, "client_secret").filter(|text| !text.is_empty());
        if secret.is_some_and(|secret| !fits(&secret)) {
            return Err(MetadataError::NoClient);
        }
        // A server may register another method than the one that was asked for (RFC 7591 §3.2.1).
        let auth_method = match text(&document, "token_endpoint_auth_method") {
            Some(name) => method(name).ok_or(MetadataError::NoClient)?,
            None => asked,
        };
        if secret.is_none() && auth_method != AuthMethod::None {
            return Err(MetadataError::NoClient);
        }
        let secret = secret.filter(|_| auth_method != AuthMethod::None).unwrap_or_default();
        Ok(Self { client_id: client_id.into(), secret: Secret::new(secret), auth_method })
    }
}

/// Scopes as RFC 6749 §3.3 has them, separated by spaces; others are left out.
pub(super) fn scopes<'a>(names: impl IntoIterator<Item = &'a str>) -> Box<str> {
    let mut joined = String::new();
    for name in names {
        if !is_scope(name) {
            continue;
        }
        if joined.len() + name.len() >= MAX_SCOPES_LEN {
            break;
        }
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(name);
    }
    joined.into()
}

fn object(body: &[u8]) -> Result<Map<String, Value>, MetadataError> {
    serde_json::from_slice(body).map_err(|_where| MetadataError::NotJson)
}

fn text<'a>(document: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    document.get(name).and_then(Value::as_str)
}

fn texts<'a>(document: &'a Map<String, Value>, name: &str) -> Option<Vec<&'a str>> {
    let list = document.get(name)?.as_array()?;
    Some(list.iter().filter_map(Value::as_str).collect())
}

fn flag(document: &Map<String, Value>, name: &str) -> bool {
    document.get(name) == Some(&Value::Bool(true))
}

/// An endpoint, if it is there; it has no placeholder.
fn endpoint(
    document: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<EndpointTemplate>, MetadataError> {
    let Some(value) = document.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let template = value.as_str().and_then(|text| EndpointTemplate::parse(text).ok());
    let template = template.filter(|template| !template.needs_subdomain());
    template.map(Some).ok_or(MetadataError::Endpoint(name))
}

/// A method by its registered name.
fn method(name: &str) -> Option<AuthMethod> {
    let method = AuthMethod::parse(name).ok()?;
    // This name is ours alone.
    (method != AuthMethod::ClientSecretBasicRaw).then_some(method)
}

/// The number of issuers of a resource that are looked at.
const MAX_ISSUERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn issuer(text: &str) -> Issuer {
        Issuer::parse(text).unwrap()
    }

    fn server(document: &Value) -> Result<ServerMetadata, MetadataError> {
        ServerMetadata::read(&issuer("https://id.example.com/t"), document.to_string().as_bytes())
    }

    fn whole() -> Value {
        json!({
            "issuer": "https://id.example.com/t",
            "authorization_endpoint": "https://id.example.com/t/authorize",
            "token_endpoint": "https://id.example.com/t/token",
            "revocation_endpoint": "https://id.example.com/t/revoke",
            "registration_endpoint": "https://id.example.com/t/register",
            "token_endpoint_auth_methods_supported":
                ["none", "client_secret_post", "client_secret_basic_raw", "tls_client_auth"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "grant_types_supported": ["authorization_code"],
            "scopes_supported": ["openid", "offline_access"],
            "client_id_metadata_document_supported": true,
        })
    }

    #[test]
    fn a_server_is_read_as_it_describes_itself() {
        let read = server(&whole()).unwrap();
        assert_eq!(read.token_url.as_str(), "https://id.example.com/t/token");
        let methods = vec![AuthMethod::None, AuthMethod::ClientSecretPost];
        assert_eq!(read.auth_methods, Some(methods));
        assert!(read.takes(AuthMethod::None) && !read.takes(AuthMethod::ClientSecretBasic));
        assert_eq!(read.takes_s256, Some(true));
        assert!(!read.refreshes && read.reads_client_metadata);
        assert!(read.names_scope("offline_access") && !read.names_scope("tools"));
        let token = "https://id.example.com/token";
        let least = server(&json!({"issuer": "https://id.example.com/t", "token_endpoint": token}));
        let least = least.unwrap();
        assert_eq!((least.auth_url, least.registration_url, least.takes_s256), (None, None, None));
        assert!(least.refreshes && !least.needs_pushed_requests);
    }

    #[test]
    fn metadata_of_no_use_says_why() {
        let with = |name: &str, value: Value| {
            let mut document = whole();
            document[name] = value;
            server(&document).unwrap_err()
        };
        for other in ["https://id.example.com", "https://id.example.com/t/", "https://evil.test/t"]
        {
            assert_eq!(with("issuer", other.into()), MetadataError::OtherIssuer, "{other}");
        }
        assert_eq!(with("issuer", Value::Null), MetadataError::OtherIssuer);
        for name in [
            "authorization_endpoint",
            "token_endpoint",
            "revocation_endpoint",
            "registration_endpoint",
        ] {
            for unfit in [
                json!("http://id.example.com/"),
                json!("https://127.0.0.1/"),
                json!("https://id.example.com/{subdomain}"),
                json!(7),
            ] {
                assert_eq!(with(name, unfit), MetadataError::Endpoint(name));
            }
        }
        assert_eq!(with("token_endpoint", Value::Null), MetadataError::Endpoint("token_endpoint"));
        for body in ["", "[]", "<html>", "null"] {
            let read = ServerMetadata::read(&issuer("https://a.test"), body.as_bytes());
            assert_eq!(read.unwrap_err(), MetadataError::NotJson, "{body}");
        }
    }

    #[test]
    fn a_resource_is_read_as_it_describes_itself() {
        let asked = ResourceUrl::parse("https://mcp.example.com/mcp").unwrap();
        let read =
            |document: Value| ResourceMetadata::read(&asked, document.to_string().as_bytes());
        let read_well = read(json!({
            "resource": "https://mcp.example.com/",
            "authorization_servers": ["http://id.example.com", 7, "https://id.example.com/t"],
            "scopes_supported": ["read", "a b", "", "q\"", "write"],
        }));
        let read_well = read_well.unwrap();
        assert_eq!(&*read_well.resource, "https://mcp.example.com/");
        assert_eq!(read_well.issuers, [issuer("https://id.example.com/t")]);
        assert_eq!((&*read_well.scopes, read_well.needs_dpop), ("read write", false));
        for other in [json!("https://other.example.com/mcp"), json!(null), json!(1)] {
            let refused = read(json!({"resource": other})).unwrap_err();
            assert_eq!(refused, MetadataError::OtherResource);
        }
    }

    #[test]
    fn a_registered_client_is_the_one_that_the_server_says() {
        let read = |document: Value| {
            let read = RegisteredClient::read(AuthMethod::None, document.to_string().as_bytes());
            read.map(|client| {
                let secret = String::from_utf8(client.secret.expose().to_vec()).unwrap();
                (client.client_id.to_string(), secret, client.auth_method)
            })
        };
        let public = ("c".to_owned(), String::new(), AuthMethod::None);
        assert_eq!(read(json!({"client_id": "c"})), Ok(public.clone()));
        assert_eq!(read(json!({"client_id": "c", "client_secret": "s"})), Ok(public));
        let post = "client_secret_post";
        assert_eq!(
            read(json!({
                "client_id": "c", "client_secret": "s", "token_endpoint_auth_method": post,
            })),
            Ok(("c".to_owned(), "s".to_owned(), AuthMethod::ClientSecretPost))
        );
        for unfit in [
            json!({}),
            json!({"client_id": ""}),
            json!({"client_id": "a\nb"}),
            json!({"client_id": "c", "token_endpoint_auth_method": post}),
            json!({"client_id": "c", "token_endpoint_auth_method": "tls_client_auth"}),
        ] {
            assert_eq!(read(unfit.clone()), Err(MetadataError::NoClient), "{unfit}");
        }
        let bound = json!({"client_id": "c", "dpop_bound_access_tokens": true});
        assert_eq!(read(bound), Err(MetadataError::NeedsDpop));
    }

    proptest! {
        #[test]
        fn whatever_a_server_says_only_https_endpoints_come_of_it(
            name in prop::sample::select(vec![
                "issuer", "authorization_endpoint", "token_endpoint", "revocation_endpoint",
                "registration_endpoint", "scopes_supported",
                "token_endpoint_auth_methods_supported",
            ]),
            text in "(https?://)?[a-z.@:/#{}?\\\\]{0,30}|\\PC{0,20}",
        ) {
            let mut document = whole();
            document[name] = text.as_str().into();
            if let Ok(read) = server(&document) {
                prop_assert_eq!(read.issuer.as_str(), "https://id.example.com/t");
                let urls = [&read.auth_url, &read.revocation_url, &read.registration_url];
                for url in urls.into_iter().flatten().chain([&read.token_url]) {
                    prop_assert!(url.resolve(None).is_ok());
                }
            }
        }

        #[test]
        fn anything_at_all_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let resource = ResourceUrl::parse("https://mcp.example.com").unwrap();
            let _read = ServerMetadata::read(&issuer("https://a.test"), &body);
            let _read = ResourceMetadata::read(&resource, &body);
            let _read = RegisteredClient::read(AuthMethod::None, &body).is_ok();
        }
    }
}
