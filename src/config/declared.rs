//! `[[connections]]`: those that the file declares, each with the keys of its type.

pub(super) mod tokens;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;

use serde_json::json;

use super::commanded::{Commanded, ConnectionParts, Declared, Outlined, outlined};
use super::custom::custom;
use super::fault::SourcePlace;
use super::item::{Item, Mark};
use super::readers::{Reader, boolean, integration, or_empty, some, text};
use super::secrets::{public_text, secret};
use super::section::{Section, keys, row};
use crate::model::aws::access::{AwsAccess, AwsSecrets, check_access_key_id, check_scope_name};
use crate::model::aws::role::{
    AssumeRole, check_external_id, check_role_arn, parse_session_length,
};
use crate::model::client_identity::{ClientCertificate, IdentityFault};
use crate::model::connection::{Connection, ConnectionType};
use crate::model::connection_secrets::ConnectionSecrets;
use crate::model::domain::AllowedDomain;
use crate::model::field::{self, CredentialField};
use crate::model::name::{ConnectionName, IntegrationName, NameError, ZENDESK};
use crate::model::options::{ConnectionOptions, check_description, parse_day};
use crate::model::record::Detail;
use crate::model::rules::{Rules, WrittenRule};
use crate::secret::Secret;

/// Sections of each kind, as examples.
pub(super) const EXAMPLES: &str = "\
[[connections]]\ntype = \"bearer_token\"\n\
[[connections]]\ntype = \"api_key\"\nname = \"example_key\"\n\
[[connections]]\ntype = \"basic_auth\"\nname = \"example_basic\"\n\
[[connections]]\ntype = \"aws_sigv4\"\nname = \"example_aws\"\n\
[[connections]]\ntype = \"custom\"\nname = \"example_custom\"\n\
[[tokens]]\n";

/// Reads `[[connections]]`. The reserved name is free where `allow_zendesk` says so.
pub(super) fn connections(
    root: &mut Section<'_>,
    allow_zendesk: bool,
    commanded: &mut Commanded,
) -> Vec<Arc<Connection>> {
    let mut taken = Taken::default();
    let read = |section: Section<'_>| connection(section, allow_zendesk, &mut taken);
    commanded.connections(root.list("connections", CONNECTIONS, read))
}

fn connection(
    mut section: Section<'_>,
    allow_zendesk: bool,
    taken: &mut Taken<(IntegrationName, ConnectionName)>,
) -> Option<Outlined<Arc<Connection>>> {
    keys! { section;
        /// The integration that owns the connection.
        integration! = "my_integration" => integration();
        /// The kind of credential: "bearer_token", "api_key", "basic_auth", "aws_sigv4" or "custom".
        r#type! = "bearer_token" => static_type();
        /// The name by which callers ask for it, unique within its integration.
        name! = "example" => connection_name(allow_zendesk);
    }
    // 1. Where it may be sent, of which a custom one has a list.
    let is_custom = r#type == Some(ConnectionType::Custom);
    let domain = if is_custom { None } else { own_domain(&mut section) };
    // 2. Its options, and the keys of its type.
    keys! { section;
        /// False refuses every request, and keeps the connection.
        enabled? = true => boolean();
        /// The operator's words about it, in one line.
        description? = "the shop's key" => described();
        /// The day on which the secret expires: it is shown and warned of.
        expires_on? = "2030-01-31" => text("a day", "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", parse_day);
        /// The requests that it may be used for: the first rule that matches decides, and with any
        /// rule, what none matches is refused.
        rules? = [{ allow = true, methods = ["GET"], paths = ["/v1/**"] }] => rules();
        /// True allows GET, HEAD and OPTIONS alone.
        read_only? = false => boolean();
        /// True masks the credential in text bodies that an origin sends, too.
        mask_echo? = false => boolean();
        /// The client certificate that TLS to the origin presents, with its chain (PEM).
        client_certificate? = { file = "/run/secrets/client.pem" } => certificate();
        /// The certificate's key (PEM).
        client_key? = { file = "/run/secrets/client.key" } =>
            client_key(client_certificate.as_deref());
    }
    if client_certificate.is_some() && !section.has("client_key") {
        section.mark().fault(format!("client_key {}", IdentityFault::NoKey));
    }
    let options = ConnectionOptions {
        disabled: enabled == Some(false),
        description: description.flatten(),
        expires_on,
        rules: rules.unwrap_or_default(),
        read_only: read_only.unwrap_or_default(),
        mask_echo: mask_echo.unwrap_or_default(),
        client_certificate,
    };
    let credential = if is_custom {
        custom(&mut section)
    } else {
        credential(r#type, &mut section)
            .and_then(|(detail, secret)| Some((domain?, detail, secret)))
    };
    // 3. No two have one name.
    if let (Some(integration), Some(name)) = (&integration, &name) {
        taken.claim((integration.clone(), name.clone()), section.mark(), || {
            format!("the integration {integration} already has a connection named {name}")
        });
    }
    section.close();
    let (allowed_domain, detail, secret) = credential?;
    let (integration, name) = (integration?, name?);
    let parts = ConnectionParts { integration, name, allowed_domain, detail, options };
    let secrets = secret
        .zip(Declared::optional(client_key))
        .map(|(secret, client_key)| Some(ConnectionSecrets { client_key, ..secret.into() }));
    outlined(parts, secrets?)
}

/// A client certificate with its chain, without anything else that is in its file.
fn certificate() -> Reader<Box<str>> {
    let text = public_text(|text| ClientCertificate::parse(text).map(|_certificate| ()));
    text.then(|text, mark| match ClientCertificate::parse(&text) {
        Ok(certificate) => Some(certificate.to_pem().into()),
        Err(fault) => mark.refuse(fault.to_string()),
    })
}

/// The key of a client certificate, which must be that one's.
fn client_key(certificate: Option<&str>) -> Reader<Declared<Secret>> {
    let certificate: Option<Box<str>> = certificate.map(Into::into);
    secret(move |key| {
        let certificate = certificate.as_deref().ok_or("client_certificate is missing")?;
        let certificate = ClientCertificate::parse(certificate).map_err(|why| why.to_string())?;
        let joined = certificate.with_key(&Secret::new(key));
        joined.map(|_identity| ()).map_err(|why| why.to_string())
    })
}

/// Reads the one allowed domain of a connection.
fn own_domain(section: &mut Section<'_>) -> Option<AllowedDomain> {
    keys! { section;
        /// The host that it may be sent to, or "*.example.com" for a domain and all below it.
        allowed_domain! = "api.example.com" => allowed_domain();
    }
    allowed_domain
}

/// Reads the keys that go with a type. Without one, any type's keys may be meant.
fn credential(
    kind: Option<ConnectionType>,
    section: &mut Section<'_>,
) -> Option<(Detail, Declared<Secret>)> {
    match kind {
        Some(ConnectionType::BearerToken) => {
            keys! { section;
                /// Sent as Authorization: Bearer TOKEN.
                token! = { env = "EXAMPLE_TOKEN" } => secret(field::check_secret);
            }
            Some((Detail::BearerToken, token?))
        }
        Some(ConnectionType::ApiKey) => {
            keys! { section;
                /// The header that carries the key.
                header_name! = "X-Api-Key" => header();
                /// Sent in that header as it is.
                api_key! = { env = "EXAMPLE_KEY" } => secret(field::check_secret);
            }
            Some((Detail::ApiKey { header_name: header_name? }, api_key?))
        }
        Some(ConnectionType::BasicAuth) => {
            keys! { section;
                /// The user name, without a colon.
                username! = "keyferry" => public_text(field::check_username);
                /// Sent with it as Authorization: Basic.
                password! = { file = "/run/secrets/example_password" } =>
                    secret(field::check_password);
            }
            Some((Detail::BasicAuth { username: username? }, password?))
        }
        Some(ConnectionType::AwsSigV4) => aws(section),
        // None by OAuth is declared; `static_type` sees to that.
        Some(ConnectionType::OAuth | ConnectionType::Custom) => None,
        None => {
            for key in KEYS_OF_TYPES {
                drop(section.take(key));
            }
            None
        }
    }
}

/// Reads the keys of a connection to AWS.
fn aws(section: &mut Section<'_>) -> Option<(Detail, Declared<Secret>)> {
    keys! { section;
        /// The id of the access key.
        access_key_id! = "AKIDEXAMPLE" => public_text(check_access_key_id);
        /// The key that signs; it is never sent.
        secret_access_key! = { env = "EXAMPLE_SECRET_ACCESS_KEY" } => secret(field::check_secret);
        /// The token of a session's keys, where the access key is one.
        session_token? = { env = "EXAMPLE_SESSION_TOKEN" } => secret(field::check_secret);
        /// The region to sign for; without it, the one that the host names.
        region? = "us-east-1" => scope_name();
        /// The service to sign for; without it, the one that the host names.
        service? = "s3" => scope_name();
        /// The role that the keys assume: requests are signed with the keys of a session of it. A
        /// session is an hour long, unless duration says "15m" to "12h".
        assume_role? = { role_arn = "arn:aws:iam::123456789012:role/reader", duration = "1h" } =>
            assume_role(region.as_deref());
    }
    let access = AwsAccess { access_key_id: access_key_id?, region, service, assume_role };
    let secrets = secret_access_key?.zip(Declared::optional(session_token));
    let packed = secrets.map(|(secret_access_key, session_token)| {
        Some(AwsSecrets::new(secret_access_key, session_token).pack())
    })?;
    Some((Detail::AwsSigV4(Box::new(access)), packed))
}

/// The keys that only some types have.
const KEYS_OF_TYPES: [&str; 14] = [
    "header_name",
    "api_key",
    "username",
    "password",
    "token",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "region",
    "service",
    "allowed_domains",
    "inject",
    "secrets",
    "assume_role",
];

/// The names that earlier sections of a list have taken, and the places of these sections.
struct Taken<K>(HashMap<K, SourcePlace>);

impl<K> Default for Taken<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Taken<K> {
    /// Takes `key` for the section at `mark`, or reports there that an earlier one has it.
    fn claim(&mut self, key: K, mark: &Mark<'_>, rule: impl FnOnce() -> String) {
        match self.0.entry(key) {
            Entry::Occupied(first) => mark.fault(format!("{}, at {}", rule(), first.get())),
            Entry::Vacant(new) => drop(new.insert(mark.place.clone())),
        }
    }
}

/// A type of credential that can be declared.
fn static_type() -> Reader<ConnectionType> {
    let schema =
        json!({ "enum": ["bearer_token", "api_key", "basic_auth", "aws_sigv4", "custom"] });
    Reader::new("a type of connection", schema, |item| {
        item.parse(|text| match ConnectionType::parse(text) {
            Ok(ConnectionType::OAuth) => Err(OAUTH),
            Ok(kind) => Ok(kind),
            Err(_rule) => Err(TYPES),
        })
    })
}

fn connection_name(allow_zendesk: bool) -> Reader<ConnectionName> {
    text("a connection's name", "^[A-Za-z0-9_-]{3,64}$", move |text| {
        match ConnectionName::parse(text) {
            Ok(name) if name.as_str() == ZENDESK && !allow_zendesk => Err(NameError::Reserved),
            verdict => verdict,
        }
    })
}

fn allowed_domain() -> Reader<AllowedDomain> {
    text("a host, or a domain with a wildcard", "^[^/:@]+$", AllowedDomain::parse)
}

/// The name of a region or a service of AWS.
fn scope_name() -> Reader<Box<str>> {
    let named = |text: &str| check_scope_name(text).map(|()| Box::<str>::from(text));
    text("a name", "^[A-Za-z0-9-]{1,64}$", named)
}

/// A role that the keys of a connection to AWS assume, whose own region is this.
fn assume_role(region: Option<&str>) -> Reader<AssumeRole> {
    let region: Option<Box<str>> = region.map(Into::into);
    let schema = json!({
        "type": "object",
        "properties": {
            "role_arn": { "type": "string" }, "external_id": { "type": "string" },
            "duration": { "type": "string" },
        },
        "required": ["role_arn"],
        "additionalProperties": false,
    });
    Reader::new("a role", schema, move |item| {
        // 1. Its keys.
        let mut section = item.section()?;
        let plain = |check: fn(&str) -> Result<(), &'static str>| {
            text("a text", "^.+$", move |text| check(text).map(|()| Box::<str>::from(text)))
        };
        let role_arn = section.needed("role_arn").and_then(|item| plain(check_role_arn).read(item));
        let external_id = section.take("external_id");
        let external_id =
            external_id.map_or(Some(None), |item| plain(check_external_id).read(item).map(Some));
        let duration = section.take("duration");
        let length = text("a length", "^.+$", parse_session_length);
        let duration = duration.map_or(Some(None), |item| length.read(item).map(Some));
        // 2. All of it together, beside the connection's region.
        let role = role_arn.zip(external_id).zip(duration);
        let role = role.map(|((role_arn, external_id), duration)| AssumeRole {
            role_arn,
            external_id,
            duration,
        });
        let wrong = role.as_ref().and_then(|role| role.check_region(region.as_deref()).err());
        if let Some(rule) = wrong {
            section.mark().fault(format!("role_arn {rule}"));
        }
        section.close();
        role.filter(|_| wrong.is_none())
    })
}

/// A header's name, kept as it is written, because the API shows it so.
fn header() -> Reader<Box<str>> {
    text("a header's name", "^[!#-'*+.^_`|~0-9A-Za-z-]+$", |text| {
        CredentialField::parse(text).map(|_field| Box::<str>::from(text))
    })
}

fn described() -> Reader<Option<Box<str>>> {
    let line = |text: &str| check_description(text).map(|()| Box::<str>::from(text));
    or_empty(text("a line", "^.{0,500}$", line))
}

/// Rules of the requests that a connection or a token may be used for.
fn rules() -> Reader<Rules> {
    let texts = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
    let schema = json!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "allow": { "const": true }, "deny": { "const": true },
                "methods": texts, "paths": texts,
            },
            "additionalProperties": false,
        },
    });
    Reader::new("a list of rules", schema, |item| {
        let mark = item.mark();
        let rules = item.items()?.into_iter().map(rule).collect::<Option<_>>()?;
        Rules::parse(rules).map_err(|rule| mark.fault(rule.to_string())).ok()
    })
}

fn rule(item: Item<'_>) -> Option<WrittenRule> {
    let mut section = item.section()?;
    let effect =
        |item: Option<Item<'_>>| item.map_or(Some(None), |item| boolean().read(item).map(Some));
    let texts = |item: Option<Item<'_>>| {
        let each = || some(text("a text", "^.+$", |text| Ok::<_, String>(text.to_owned())));
        item.map_or(Some(None), |item| each().read(item).map(Some))
    };
    let (allow, deny) = (effect(section.take("allow")), effect(section.take("deny")));
    let (methods, paths) = (texts(section.take("methods")), texts(section.take("paths")));
    section.close();
    Some(WrittenRule { allow: allow?, deny: deny?, methods: methods?, paths: paths? })
}

const CONNECTIONS: &str = "A connection that is declared here is read-only through the API and \
                           reloaded on SIGHUP. A secret is { env = \"NAME\" } or \
                           { file = \"PATH\" } or { command = [\"PROGRAM\", \"ARGUMENT\"], ttl \
                           = \"1h\" } (one newline at its end is removed); a literal string \
                           works, with a warning.";

const TYPES: &str = "must be \"api_key\" or \"aws_sigv4\" or \"basic_auth\" or \"bearer_token\" \
                     or \"custom\"";

const OAUTH: &str = "an oauth connection is made by an authorization, not declared; must be \
                     \"api_key\" or \"aws_sigv4\" or \"basic_auth\" or \"bearer_token\" or \
                     \"custom\"";
