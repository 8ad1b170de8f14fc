//! Declared connections of type `custom`: several secrets, the places where they stand, and several
//! allowed domains.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::commanded::Declared;
use super::item::{Item, Mark};
use super::readers::{Reader, some, text};
use super::secrets::secret;
use super::section::{Section, keys, row};
use crate::model::custom::{CustomAccess, CustomDomain, CustomSecrets};
use crate::model::domain::AllowedDomain;
use crate::model::placement::{Placement, WrittenPlacement, read_written};
use crate::model::record::Detail;
use crate::secret::Secret;

/// Reads the keys of a custom connection. Gives its first domain too.
pub(super) fn custom(
    section: &mut Section<'_>,
) -> Option<(AllowedDomain, Detail, Declared<Secret>)> {
    // 1. Where the secrets are sent, which decides what they may be.
    keys! { section;
        /// The hosts that the secrets may be sent to, 1 to 10, each as allowed_domain is written, or
        /// { domain = "…", inject = […] } with places of its own.
        allowed_domains! = ["api.example.com"] => domains();
        /// The places where the secrets stand: a header, a parameter of the query, or a segment of
        /// the path in the place of a placeholder. In a value, {NAME} is a secret, and {basic:A,B}
        /// the credentials of Basic of two.
        inject? = [{ in = "header", name = "X-Api-Key", value = "{key}" }] => places();
    }
    let access = CustomAccess {
        secrets: Vec::new(),
        inject: inject.unwrap_or_default(),
        domains: allowed_domains.unwrap_or_default(),
    };
    // 2. The secrets, each by the rules of its places.
    let placed = Arc::new(access.clone());
    keys! { section;
        /// The secrets, by the names that the values of inject have for them.
        secrets! = { key = { env = "EXAMPLE_KEY" } } => secrets(placed);
    }
    let secrets = secrets?;
    let names = secrets.keys().map(|name| name.as_str().into()).collect();
    let access = CustomAccess { secrets: names, ..access };
    // 3. All together.
    let first = access.domains.first()?.domain.clone();
    if let Err(fault) = access.check() {
        let key = format!("{}.{}", section.mark().key, fault.member);
        Mark { key, ..section.mark().clone() }.fault(fault.rule);
        return None;
    }
    let packed = secrets.into_iter().try_fold(
        Declared::Complete(CustomSecrets::default()),
        |all, (name, secret)| {
            all.zip(secret).map(move |(mut all, secret)| {
                all.insert(&name, secret);
                Some(all)
            })
        },
    );
    let packed = packed?.map(|all| Some(all.pack()))?;
    Some((first, Detail::Custom(Box::new(access)), packed))
}

fn domains() -> Reader<Vec<CustomDomain>> {
    let name = json!({ "type": "string", "pattern": "^[^/:@]+$" });
    let object = json!({
        "type": "object",
        "properties": { "domain": name, "inject": places().schema },
        "required": ["domain"],
        "additionalProperties": false,
    });
    let schema = json!({ "anyOf": [name, object] });
    some(Reader::new("a host, or a table with domain and inject", schema, |item| {
        let parse = || text("a host", "^[^/:@]+$", AllowedDomain::parse);
        if item.is_text() {
            return parse().read(item).map(|domain| CustomDomain { domain, inject: Vec::new() });
        }
        let mut section = item.section()?;
        let domain = section.needed("domain").and_then(|item| parse().read(item));
        let inject = section.take("inject").map_or(Some(Vec::new()), |item| places().read(item));
        section.close();
        Some(CustomDomain { domain: domain?, inject: inject? })
    }))
}

/// Places of secrets. Their rules are checked once the names of the secrets are known.
fn places() -> Reader<Vec<Placement>> {
    let text = json!({ "type": "string" });
    let place = json!({
        "type": "object",
        "properties": {
            "in": { "enum": ["header", "query", "path"] },
            "name": text, "placeholder": text, "value": text,
        },
        "required": ["in"],
        "additionalProperties": false,
    });
    let schema = json!({ "type": "array", "items": place, "minItems": 1, "maxItems": 8 });
    Reader::new("a list of places", schema, |item| {
        let mark = item.mark();
        let written = item.items()?.into_iter().map(written).collect::<Option<_>>()?;
        read_written(written, None).map_err(|rule| mark.fault(rule)).ok()
    })
}

fn written(item: Item<'_>) -> Option<WrittenPlacement> {
    let mut section = item.section()?;
    let any = |item: Option<Item<'_>>| match item {
        Some(item) => item.parse(|text| Ok::<_, String>(text.to_owned())).map(Some),
        None => Some(None),
    };
    let place = section.needed("in").and_then(|item| any(Some(item)).flatten());
    let (name, placeholder) = (any(section.take("name")), any(section.take("placeholder")));
    let value = any(section.take("value"));
    section.close();
    Some(WrittenPlacement { place: place?, name: name?, placeholder: placeholder?, value: value? })
}

/// A table of secrets, which fit the places of `access`.
fn secrets(access: Arc<CustomAccess>) -> Reader<BTreeMap<String, Declared<Secret>>> {
    let schema = json!({
        "type": "object",
        "additionalProperties": secret(|_any| Ok::<_, String>(())).schema,
        "minProperties": 1,
        "maxProperties": 8,
    });
    Reader::new("a table of secrets", schema, move |item| {
        let entries = item.section()?.entries().map(|(name, item)| {
            let (access, known) = (Arc::clone(&access), name.clone());
            let check = move |bytes: &[u8]| access.check_value(&known, &Secret::new(bytes));
            Some((name, secret(check).read(item)?))
        });
        entries.collect()
    })
}
