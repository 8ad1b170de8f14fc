//! The house rules, checked: who may know whom, how large a file may be, what a room says of
//! itself, and that what clippy and the compiler are to refuse is refused.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod bans;
mod language;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Layers from the ground up. A module may use only modules on lower layers.
const LAYERS: &[&[&str]] = &[
    &["clock", "error", "random", "secret", "tasks"],
    &["http1", "model", "wire"],
    &["ca", "listener", "rate_limit", "store", "upstream", "vault"],
    &["ledger"],
    &["state"],
    &["oauth"],
    &["management"],
    &["api", "console", "proxy"],
    &["config"],
    &["app"],
    &["cli"],
];

/// Files that belong to no layer: the list of the modules, and the program that calls `cli`.
const ROOTS: [&str; 2] = ["lib", "main"];

const MOST_LINES: usize = 700;
const MOST_LINES_OF_PRODUCTION: usize = 400;

struct Source {
    /// Below `src`.
    path: PathBuf,
    /// The top-level module that it belongs to.
    module: String,
    text: String,
}

#[test]
fn every_arrow_points_down() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !ROOTS.contains(&source.module.as_str())) {
        for named in modules_named_in(&source.text) {
            if named != source.module && layer(&named) >= layer(&source.module) {
                wrong.push(format!("{} knows {named}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point up or sideways: {wrong:#?}");
}

#[test]
fn every_module_has_a_layer_and_every_layer_its_modules() {
    let found: BTreeSet<_> = sources().into_iter().map(|source| source.module).collect();
    let listed = LAYERS.iter().copied().flatten().chain(&ROOTS);
    assert_eq!(found, listed.map(|module| (*module).to_owned()).collect());
}

#[test]
fn the_list_of_modules_shows_the_layers() {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut shown: Vec<Vec<String>> = Vec::new();
    for line in text.lines() {
        if let Some(layer) = line.strip_prefix("// layer ") {
            let number = layer.split(':').next().unwrap();
            assert_eq!(number, shown.len().to_string(), "{line}");
            shown.push(Vec::new());
        } else if let Some(module) = line.strip_prefix("pub mod ") {
            shown.last_mut().unwrap().push(module.trim_end_matches(';').to_owned());
        }
    }
    assert_eq!(shown, LAYERS);
}

#[test]
fn files_stay_small() {
    let mut large = Vec::new();
    for Source { path, text, .. } in sources() {
        let is_test = path.iter().any(|part| part == "tests" || part == "tests.rs");
        let lines = text.lines().count();
        let tests = text.lines().position(|line| line.trim_start().starts_with("#[cfg(test)]"));
        let production = if is_test { 0 } else { tests.unwrap_or(lines) };
        if lines > MOST_LINES || production > MOST_LINES_OF_PRODUCTION {
            large.push(format!("{}: {production} lines, {lines} with tests", path.display()));
        }
    }
    assert!(large.is_empty(), "split these: {large:#?}");
}

/// Every room says what it owns, what it promises and what it must never know.
#[test]
fn every_room_says_what_it_is() {
    let rooms = sources().into_iter().filter(|source| source.path.iter().count() == 1);
    for source in rooms.filter(|source| !ROOTS.contains(&source.module.as_str())) {
        let docs: Vec<_> = source.text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let docs = docs.concat();
        let mut rest = docs.as_str();
        for part in ["Owns", "promises", "must never"] {
            let Some((_, after)) = rest.split_once(part) else {
                panic!("{}: its docs lack \"{part}\", or not in that order", source.path.display());
            };
            rest = after;
        }
    }
}

/// Doc tests show that the proofs can't be forged outside the crate. Within it, fields that are
/// private to one module do the same (E0451); this holds them to be so.
#[test]
fn proofs_are_made_in_their_own_module_only() {
    for (file, name) in [("model/permit.rs", "Permit"), ("upstream/departure.rs", "Departure")] {
        let text = fs::read_to_string(root().join("src").join(file)).unwrap();
        let (before, after) = text.split_once(&format!("pub struct {name} {{")).unwrap();
        let fields = after.split('}').next().unwrap();
        assert!(!fields.trim().is_empty() && !fields.contains("pub"), "{file}: {fields}");
        let attributes = before.rsplit("\n\n").next().unwrap();
        assert!(!attributes.contains("Default"), "{file}: {attributes}");
        let production = text.split("#[cfg(test)]").next().unwrap();
        assert!(!production.contains("\nmod "), "{file}: a module within could forge one");
    }
    // Addresses that were judged, of which there is nothing else to see.
    let guard = fs::read_to_string(root().join("src/upstream/guard.rs")).unwrap();
    assert!(guard.contains("\n#[derive(Debug)]\npub struct Judged(Vec<SocketAddr>);"), "Judged");
    let made = guard.split("#[cfg(test)]").next().unwrap().matches("Judged(").count();
    assert_eq!(made, 2, "it is declared, and made by the judge alone");
}

/// Words that only the code which decides a security rule needs, and the file that has it.
const DECIDED_ONCE: &[(&str, &str)] = &[
    // The spellings in which a server may read a parameter's name.
    ("take_while(|letter| *letter != '[')", "model/parameter.rs"),
    // The ports that anything may be sent to; beyond this, `AllowedPorts` is opaque.
    ("self.0.contains(&port)", "model/permit.rs"),
    // Own hosts, as a request and as a reference names them; beyond this, `OwnHosts` is opaque.
    ("own.eq_ignore_ascii_case(", "model/own_hosts.rs"),
    (".is_loopback() ||", "model/own_hosts.rs"),
    // The scheme that an access token has in a field.
    ("eq_ignore_ascii_case(b\"bearer\")", "model/token.rs"),
    // A caller's token suffices for the data plane, and goes on to.
    ("self.scopes.allows_proxy()", "model/caller.rs"),
    ("caller.expires_at == end", "proxy/caller.rs"),
    // A host is one that an allowed domain covers.
    ("strip_suffix(&*self.base)", "model/domain.rs"),
    // The region and service that a signature counts for.
    ("signingscope::of_host(host)?", "model/aws/access.rs"),
    // A field is one of ours.
    ("starts_with(\"x-zis\")", "proxy/fields.rs"),
    // Pages may load and do nothing but what the content policy says.
    ("default-src", "model/content_policy.rs"),
];

#[test]
fn each_security_rule_is_decided_in_one_place() {
    let sources = sources();
    for (words, place) in DECIDED_ONCE {
        let production = |source: &&Source| {
            let text = source.text.split("#[cfg(test)]").next().unwrap();
            text.to_ascii_lowercase().contains(words)
        };
        let deciding: Vec<_> =
            sources.iter().filter(production).map(|source| &source.path).collect();
        assert_eq!(deciding, [Path::new(place)], "{words}");
    }
}

/// Clippy compiles `bans.rs`, which breaks every ban and expects to be told so.
#[test]
fn every_ban_is_broken_once_on_purpose() {
    let rules = fs::read_to_string(root().join(".clippy.toml")).unwrap();
    let paths = rules.lines().filter_map(|line| line.trim().strip_prefix("{ path = \""));
    let banned: BTreeSet<_> = paths.map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(banned, bans::BROKEN.into_iter().collect());
}

/// A field that shows an error shows its causes as well: `error = %chain(&error)`, or the error
/// itself as `&dyn Error`, of which the log writes the whole chain.
#[test]
fn every_error_is_logged_with_its_causes() {
    let mut bare = Vec::new();
    for Source { path, text, .. } in sources() {
        for (number, line) in text.lines().enumerate() {
            let shown = line.split(" = %").skip(1).map(head);
            if shown
                .into_iter()
                .any(|name| ["e", "err", "error", "failed", "taken"].contains(&&*name))
            {
                bare.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert!(bare.is_empty(), "errors without their causes: {bare:#?}");
}

#[test]
fn modules_are_found_in_every_way_to_name_them() {
    let text =
        "use crate::model::name;\nuse crate::{clock::Clock, listener::{Fault, Handler}, secret};
        // crate::cli\n fn f() { crate::random::bytes() } pub(in crate::app) struct S;";
    let found: Vec<_> = modules_named_in(text).into_iter().collect();
    assert_eq!(found, ["app", "clock", "listener", "model", "random", "secret"]);
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The heads of `crate::a::b` and of `crate::{a::b, c::{d, e}}`.
fn modules_named_in(text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text.lines().filter_map(|line| line.split("//").next()).collect();
    let code = code.join(" ");
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => found.extend(heads_of(group)),
            None => found.extend([head(rest)]),
        }
    }
    found
}

/// The heads of a group's members, up to the brace that closes it.
fn heads_of(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut start) = (0_i32, Vec::new(), 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.push(head(group.get(start..at).unwrap()));
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn head(path: &str) -> String {
    let letters = path.trim_start().chars();
    letters.take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut paths = Vec::new();
    collect(&src, &mut paths);
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(&src).unwrap().to_owned();
        let first = path.iter().next().unwrap().to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        Source { path, module, text }
    };
    paths.into_iter().map(source).collect()
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
