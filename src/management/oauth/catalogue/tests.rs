//! The catalogue, entry by entry, and the reference page that is generated from it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::*;

#[test]
fn every_entry_fits_every_rule() {
    let (catalogue, left_out) = Catalogue::read(DATA);
    assert_eq!(left_out, Vec::<String>::new());
    let written = DATA.lines().filter(|line| *line == "[[providers]]").count();
    assert_eq!(catalogue.entries.len(), written);
    assert!(written >= 60, "{written}");
}

/// An entry of these lines and what every entry needs.
fn entry(name: &str, lines: &str) -> String {
    let token_url =
        if lines.contains("token_url") { "" } else { "token_url = 'https://id.example.com/t'\n" };
    let domains =
        if lines.contains("domains") { "" } else { "allowed_domains = ['api.example.com']\n" };
    let sources = "sources = [{ url = 'https://example.com/', date = '2026-11-30', says = 'x' }]";
    let sources = if lines.contains("sources") { "" } else { sources };
    format!(
        "[[providers]]\nname = '{name}'\ntitle = 'T'\nnotes = 'N'\n{token_url}{domains}{sources}\n{lines}\n"
    )
}

#[test]
fn an_entry_that_breaks_a_rule_is_left_out_and_ends_nothing() {
    let ask = "asks = [{ name = 'x', title = 'X', example = 'a' }]";
    for (lines, rule) in [
        ("pkce = 'S257'", "pkce: must be S256 or off"),
        ("unknown = 1", "unknown field"),
        ("token_url = 'http://id.example.com/t'", "token_url"),
        ("token_url = 'https://id.example.com:8443/t'", "port"),
        ("allowed_domains = []", "no allowed domain"),
        ("allowed_domains = ['*.com']", "public suffix"),
        ("sources = []", "no source"),
        ("sources = [{ url = 'http://a', date = '2026-11-30', says = 'x' }]", "https"),
        ("sources = [{ url = 'https://a', date = 'today', says = 'x' }]", "date"),
        ("sources = [{ url = 'https://a', date = '2026-11-30', says = '' }]", "empty"),
        (ask, "does not use it"),
        ("token_url = 'https://{y}.example.com/t'", "does not ask for it"),
        ("token_params = { grant_type = 'x' }", "grant_type"),
        ("provider = 'other'", "provider"),
        ("grant_type = 'password'", "grant_type"),
        ("default_lifetime = 'soon'", "default_lifetime"),
        ("scope_separator = 7", "scope_separator has a value of another type"),
    ] {
        let data = format!("{}{}", entry("odd", lines), entry("even", ""));
        let (Catalogue { entries }, left_out) = Catalogue::read(&data);
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["even"], "{lines}");
        assert!(left_out.len() == 1 && left_out[0].contains(rule), "{lines}: {left_out:?}");
    }
    let (twins, left_out) = Catalogue::read(&[entry("a", ""), entry("a", "")].concat());
    assert_eq!((twins.entries.len(), left_out.len()), (1, 1));
    for data in ["", "providers = 1", "[[providers"] {
        let (nothing, left_out) = Catalogue::read(data);
        assert!(nothing.entries.is_empty() && !left_out.is_empty(), "{data}");
    }
}

#[test]
fn an_entry_is_found_by_name_title_and_domain() {
    let catalogue = Catalogue::built_in();
    let found = |text| catalogue.search(text).map(|entry| &*entry.name).collect::<Vec<_>>();
    assert_eq!(found("GitHub app"), ["github", "github_app", "github_app_user"]);
    assert_eq!(found("graph.facebook.com"), ["facebook"]);
    assert_eq!(found("").len(), catalogue.entries().len());
    assert!(found("no such thing").is_empty());
    assert_eq!(catalogue.similar("gihtub"), Some("github"));
    assert_eq!(catalogue.similar("qqq"), None);
}

#[test]
fn a_subdomain_may_stay_open_where_each_connection_fills_it_in() {
    let optional = |name| {
        let asks = &Catalogue::built_in().find(name).unwrap().asks;
        asks.iter().find(|ask| ask.name == SUBDOMAIN).unwrap().optional
    };
    assert!(optional("zendesk") && optional("shopify") && optional("github_app"));
    assert!(!optional("sharepoint"), "its scopes have it");
    assert!(!optional("pipedrive"), "its URLs don't have it");
}

/// The page is in the tree so that it is read there. With `KEYFERRY_WRITE_GENERATED` set it is
/// written first.
#[test]
#[expect(clippy::disallowed_methods, reason = "the variable is the test's own")]
fn the_generated_page_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/providers.md");
    if std::env::var_os("KEYFERRY_WRITE_GENERATED").is_some() {
        fs::write(&file, page()).unwrap();
    }
    assert!(
        fs::read_to_string(file).is_ok_and(|written| written == page()),
        "docs/reference/providers.md differs from the catalogue: run \
         `KEYFERRY_WRITE_GENERATED=1 cargo test --lib the_generated_page`"
    );
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for entry in Catalogue::built_in().entries() {
        let ProviderSummary { name, title, asks, allowed_domains, .. } = entry.into();
        let code = |texts: Vec<String>| {
            texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
        };
        let (asks, domains) = (code(asks), code(allowed_domains));
        writeln!(page, "| `{name}` | {title} | {asks} | {domains} | {} |", entry.notes).unwrap();
    }
    page
}

const INTRODUCTION: &str = "\
# OAuth providers

The catalogue, generated from [`catalogue/providers.toml`](../../catalogue/providers.toml): each
provider whose URLs, parameters and lifetimes are known, so that [a client is made by its
name](../how-to/connect-oauth.md). Another one is [described by
hand](../how-to/describe-a-provider.md).

`keyferry provider show NAME` shows an entry whole, with the sources of each fact and their dates. A
`{subdomain}` may mostly be left open; each connection then gives its own.

| name | provider | asks for | allowed domains | notes |
|---|---|---|---|---|
";
