//! `[[tokens]]`: the caller tokens that the file declares.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::{Taken, rules};
use crate::config::DeclaredToken;
use crate::config::commanded::{Commanded, Declared};
use crate::config::readers::{Reader, some, text};
use crate::config::secrets::secret;
use crate::config::section::{Section, keys, row};
use crate::model::caller::{self, Caller, Reach};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::token::{self, SCOPES_RULE, Scopes, TokenDigest};
use crate::secret::Secret;

/// Reads `[[tokens]]`: digest and caller of each.
pub(in crate::config) fn tokens(
    root: &mut Section<'_>,
    commanded: &mut Commanded,
) -> Vec<DeclaredToken> {
    let (mut names, mut digests) = (Taken::default(), Taken::default());
    let read = |section: Section<'_>| caller_token(section, &mut names, &mut digests);
    let tokens = root.list("tokens", TOKENS, read).into_iter().enumerate();
    let tokens = tokens.map(|(index, (digest, caller))| match digest {
        Declared::Complete(digest) => DeclaredToken { digest: Some(digest), caller },
        Declared::Pending(digest) => {
            commanded.token(index, digest);
            DeclaredToken { digest: None, caller }
        }
    });
    tokens.collect()
}

fn caller_token(
    mut section: Section<'_>,
    names: &mut Taken<Arc<str>>,
    digests: &mut Taken<TokenDigest>,
) -> Option<(Declared<TokenDigest>, Caller)> {
    keys! { section;
        /// The name that logs show.
        name! = "runner" => token_name();
        /// The one integration that it is for, or "*".
        integration! = "my_integration" => token_integration();
        /// Any of "read", "write", "proxy", "admin" and "audit".
        scopes! = ["proxy"] => scopes();
        /// The token itself, as a connection's secret.
        token! = { file = "/run/secrets/runner" } => token_digest();
        /// The connections that it may use, "name" or under "*" "integration.name"; without it,
        /// all.
        connections? = ["example"] => reach(integration.as_ref());
        /// The time at which it ends (RFC 3339); without it, never.
        expires_at? = "2030-01-31T12:00:00Z" => end();
        /// The rules that narrow those of each connection, written as there.
        rules? = [{ allow = true, methods = ["GET"], paths = ["/v1/**"] }] => rules();
    }
    // No two tokens have one name or one secret.
    if let Some(name) = &name {
        names.claim(Arc::clone(name), section.mark(), || {
            format!("another token is already named {name}")
        });
    }
    if let Some(Declared::Complete(digest)) = &token {
        digests.claim(*digest, section.mark(), || "another token has the same secret".to_owned());
    }
    section.close();
    let every = |integration| match integration {
        TokenIntegration::One(name) => Reach::One(name, None),
        TokenIntegration::Every => Reach::Every(None),
    };
    let reach = connections.flatten().or_else(|| integration.map(every))?;
    let rules = rules.unwrap_or_default();
    Some((token?, Caller { name: name?, reach, scopes: scopes?, expires_at, rules }))
}

fn token_name() -> Reader<Arc<str>> {
    let named = |text: &str| token::check_name(text).map(|()| Arc::<str>::from(text));
    text("a name", "^.{1,64}$", named)
}

/// `integration` of a token: one, or `*`.
#[derive(Clone)]
pub(in crate::config) enum TokenIntegration {
    One(IntegrationName),
    Every,
}

pub(in crate::config) fn token_integration() -> Reader<TokenIntegration> {
    text("an integration's name, or *", "^([a-z0-9_-]{1,64}|[*])$", |text| match text {
        "*" => Ok(TokenIntegration::Every),
        name => IntegrationName::parse(name).map(TokenIntegration::One),
    })
}

pub(in crate::config) fn scopes() -> Reader<Scopes> {
    let names = ["read", "write", "proxy", "admin", "audit", "zis:read", "zis:write"];
    let one = Reader::new("read, write, proxy, admin or audit", json!({ "enum": names }), |item| {
        item.parse(|name| {
            let is_known = Scopes::default().grant(name);
            is_known.then(|| name.to_owned()).ok_or(SCOPES_RULE)
        })
    });
    some(one).map(|names| {
        let mut scopes = Scopes::default();
        for name in names {
            let _known = scopes.grant(&name);
        }
        scopes
    })
}

/// A token, of which nothing is kept but its digest.
fn token_digest() -> Reader<Declared<TokenDigest>> {
    let check = |bytes: &[u8]| TokenDigest::of(bytes).map(|_digest| ()).ok_or(NOT_A_TOKEN);
    let digest = |token: Secret| TokenDigest::of(token.expose());
    secret(check).then(move |token, _mark| token.map(digest))
}

/// The connections that a token of `integration` lists: at least one, because an empty list would
/// be a token that reaches nothing, which is hardly what anybody means.
fn reach(integration: Option<&TokenIntegration>) -> Reader<Option<Reach>> {
    let what = "a connection's name";
    match integration.cloned() {
        Some(TokenIntegration::One(name)) => some(text(what, LISTED, ConnectionName::parse))
            .map(move |names| Some(Reach::One(name.clone(), Some(names)))),
        Some(TokenIntegration::Every) => some(text(what, LISTED, caller::parse_pair))
            .map(|pairs| Some(Reach::Every(Some(pairs)))),
        // The integration is at fault, so the form of the names is not known.
        None => some(text(what, LISTED, |_name| Ok::<_, String>(()))).map(|_names| None),
    }
}

fn end() -> Reader<Timestamp> {
    let schema = json!({ "type": "string", "format": "date-time" });
    Reader::new("a time (RFC 3339)", schema, |item| item.parse(token::parse_expiry))
}

const TOKENS: &str = "A caller token that is declared here, for sidecars without a store; \
                      `keyferry token generate` makes one.";

/// The names that a token's list of connections may have, with their integration or without.
const LISTED: &str = "^([a-z0-9_-]{1,64}[.])?[A-Za-z0-9_-]{3,64}$";

const NOT_A_TOKEN: &str = "an access token is kf_ and 43 characters: make one with \
                           `keyferry token generate`";
