//! `[oidc]`: the OpenID provider that people sign in with at the console.

use std::sync::Arc;

use serde_json::json;

use super::commanded::{Commanded, Declared};
use super::declared::tokens::{TokenIntegration, scopes, token_integration};
use super::readers::{Reader, boolean, some, text};
use super::secrets::secret;
use super::section::{Section, keys, row};
use crate::model::field::SecretError;
use crate::model::oauth::profile::Issuer;
use crate::model::oauth::text::is_scope;
use crate::model::openid::{GroupGrant, GroupsClaim, OpenIdSettings};
use crate::state::ManagementSettings;

/// Reads `[oidc]` into the settings of the management plane.
pub(super) fn open_id(
    root: &mut Section<'_>,
    management: &mut ManagementSettings,
    commanded: &mut Commanded,
) -> Option<()> {
    let mut section = root.section("oidc", ABOUT);
    keys! { section;
        /// The issuer identifier of the provider, exactly as it spells it.
        issuer? = "https://id.example.com" => text("an https:// URL", "^[Hh][Tt][Tt][Pp][Ss]://.", Issuer::parse);
        /// The id that the provider has given to this server.
        client_id? = "keyferry" => text("an id", ".", client_id);
        /// The secret of that client; without one it is a public client.
        client_secret? = { env = "OIDC_CLIENT_SECRET" } => secret(|secret| match secret {
            [] => Err(SecretError::Empty),
            _ => Ok(()),
        });
        /// The scopes to ask for; some providers list groups only for one of their own.
        scopes = ["openid", "email"] => some(text("a scope", "^[!#-\\[\\]-~]+$", scope));
        /// The claim of the ID token that lists a person's groups: its name, or a JSON Pointer.
        groups_claim = "groups" => text("a claim", ".", GroupsClaim::parse);
        /// Names people by an email address of which the provider does not say whether it was verified; only for a directory in which nobody can set their own.
        trust_email = false => boolean();
        /// The groups whose members may sign in, each with scopes and integrations ("*" for all).
        groups? = { operators = { scopes = ["admin"], integrations = ["*"] } } => groups();
    }
    // A provider needs all of it; without any there is none.
    let given = ["issuer", "client_id", "groups"].map(|key| section.has(key));
    let (is_meant, is_whole) =
        (given.contains(&true) || section.has("client_secret"), !given.contains(&false));
    if is_meant && !is_whole {
        section.mark().report.conflict("oidc", "needs issuer, client_id and groups");
    }
    if !scopes.iter().any(|scope| &**scope == "openid") {
        section.mark().report.conflict("oidc.scopes", "needs \"openid\", or there is no ID token");
    }
    section.close();
    let (Some(issuer), Some(client_id), Some(grants)) = (issuer, client_id, groups) else {
        return Some(());
    };
    let settings = OpenIdSettings {
        issuer,
        client_id,
        secret: None,
        scopes: scopes.join(" ").into(),
        groups_claim,
        trusts_email: trust_email,
        grants,
    };
    let declared = Declared::optional(client_secret);
    let declared = declared
        .map(move |secret| Some(Arc::new(OpenIdSettings { secret, ..settings.clone() })))?;
    management.open_id = commanded.open_id(declared);
    Some(())
}

fn client_id(text: &str) -> Result<Box<str>, &'static str> {
    let is_plain = !text.chars().any(char::is_control);
    if (1..=255).contains(&text.len()) && is_plain { Ok(text.into()) } else { Err(AN_ID) }
}

fn scope(text: &str) -> Result<Box<str>, &'static str> {
    if is_scope(text) { Ok(text.into()) } else { Err("is not a scope (RFC 6749 §3.3)") }
}

/// The groups with their rights, one for each integration that a group names.
fn groups() -> Reader<Vec<GroupGrant>> {
    // 1. The schema of each group.
    let rights = json!({
        "type": "object",
        "properties": {
            "scopes": scopes().schema,
            "integrations": some(token_integration()).schema,
        },
        "required": ["scopes", "integrations"],
        "additionalProperties": false,
    });
    let schema = json!({ "type": "object", "minProperties": 1, "additionalProperties": rights });
    // 2. The reader of all.
    let what = "{ GROUP = { scopes = [\"read\"], integrations = [\"*\"] } }";
    Reader::new(what, schema, |item| {
        let mark = item.mark();
        let (mut grants, mut is_whole) = (Vec::new(), true);
        for (group, item) in item.section()?.entries() {
            // Both keys, or the faults of both.
            let mut section = item.section()?;
            let of_group = section.needed("scopes").and_then(|item| {
                let (mark, scopes) = (item.mark(), scopes().read(item)?);
                if scopes.proxy { mark.refuse(NO_PROXY) } else { Some(scopes) }
            });
            let integrations = section.needed("integrations");
            let integrations = integrations.and_then(|item| some(token_integration()).read(item));
            section.close();
            let Some((scopes, integrations)) = of_group.zip(integrations) else {
                is_whole = false;
                continue;
            };
            // The group's rights in each integration.
            grants.extend(integrations.into_iter().map(|integration| GroupGrant {
                group: group.as_str().into(),
                integration: match integration {
                    TokenIntegration::One(name) => Some(name),
                    TokenIntegration::Every => None,
                },
                scopes,
            }));
        }
        if is_whole && grants.is_empty() {
            return mark.refuse("must name a group");
        }
        is_whole.then_some(grants)
    })
}

const ABOUT: &str = "The OpenID provider with which people sign in at the console, beside access \
                     tokens. It sends the browser back to public_url with \
                     /console/sign-in/callback behind it.";

const NO_PROXY: &str = "can't have proxy: the data plane takes access tokens alone";

const AN_ID: &str = "must be 1 to 255 characters, none of them a control character";
