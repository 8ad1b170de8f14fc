//! One language, checked: type names, the beginnings of doc comments, words to avoid, and the steps
//! of long functions.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, sources};

/// Names that a reader knows to be those of their module.
const SHARED_NAMES: [&str; 5] = ["Arguments", "Command", "Error", "Settings", "State"];

/// Words that begin a clause without its subject.
const HEADLESS: [&str; 12] = [
    "What", "Whatever", "Whether", "Who", "Whoever", "Whom", "Whose", "How", "Where", "When",
    "Why", "Which",
];

/// Phrases that make a reader stop.
const AVOIDED: [&str; 8] = [
    "whoever",
    "that there is",
    "to be had",
    "by now",
    "anew",
    "stands in",
    "so many",
    "of nobody",
];

/// The number of lines from which on a function says its steps.
const LONG: usize = 26;
/// A function of no more statements is one table, or one page of markup, and has no steps.
const ONE_TABLE: usize = 2;

#[test]
fn type_names_are_unique_but_for_a_short_list() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in production() {
        for name in source.text.lines().filter_map(type_name) {
            places.entry(name).or_default().push(source.path.display().to_string());
        }
    }
    places.retain(|_, files| files.len() > 1);
    let shared: BTreeSet<_> = places.keys().map(String::as_str).collect();
    let unused: Vec<_> = SHARED_NAMES.iter().filter(|name| !shared.contains(*name)).collect();
    assert!(unused.is_empty(), "take these out of the list: {unused:?}");
    places.retain(|name, _files| !SHARED_NAMES.contains(&name.as_str()));
    assert!(places.is_empty(), "names of more than one type: {places:#?}");
}

#[test]
fn no_doc_comment_begins_with_a_headless_clause() {
    check(|source| {
        let mut found = Vec::new();
        let mut before = false;
        for (number, line) in source.text.lines().enumerate() {
            let doc = line.trim_start();
            let doc = doc.strip_prefix("///").or_else(|| doc.strip_prefix("//!"));
            let first = doc.and_then(|text| text.split_whitespace().next());
            if !before && first.is_some_and(|word| HEADLESS.contains(&word)) {
                found.push((number, line.trim().to_owned()));
            }
            before = doc.is_some();
        }
        found
    });
}

#[test]
fn comments_have_no_phrase_that_makes_a_reader_stop() {
    check(|source| {
        let lines = source.text.lines().enumerate();
        let comments = lines.filter_map(|(number, line)| Some((number, line.split_once("//")?.1)));
        let found = comments.filter(|(_, text)| {
            let words: String =
                text.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
            let words = format!(" {} ", words.to_lowercase());
            AVOIDED.iter().any(|phrase| words.contains(&format!(" {phrase} ")))
        });
        found.map(|(number, text)| (number, text.trim().to_owned())).collect()
    });
}

#[test]
fn long_functions_say_their_steps() {
    check(|source| {
        let mut found = Vec::new();
        let lines: Vec<_> = source.text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            let is_function = line.contains("fn ") && !line.trim_start().starts_with("//");
            // A signature without a body, or with one on the same line.
            if !is_function || line.ends_with('}') || line.ends_with(';') {
                continue;
            }
            let body = lines.get(start..).unwrap_or_default();
            let Some(length) = body.iter().position(|line| *line == end) else { continue };
            let body = body.get(..=length).unwrap_or_default();
            let has_steps = body.iter().any(|line| {
                let line = line.trim_start();
                line.starts_with("// ") && !line.starts_with("///")
            });
            let statement = " ".repeat(indent + 4);
            let statements = body.iter().filter_map(|line| line.strip_prefix(&*statement));
            let statements = statements.filter(|line| {
                !line.starts_with(' ') && (line.ends_with(';') || line.ends_with('}'))
            });
            if body.len() >= LONG && !has_steps && statements.count() > ONE_TABLE {
                found.push((start, format!("{}: {} lines", line.trim(), body.len())));
            }
        }
        found
    });
}

/// Fails where `find` finds something.
fn check(find: impl Fn(&Source) -> Vec<(usize, String)>) {
    let mut wrong = Vec::new();
    for source in production() {
        let path = source.path.display();
        wrong.extend(
            find(&source).iter().map(|(line, text)| format!("{path}:{}: {text}", line + 1)),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The sources without their tests.
fn production() -> impl Iterator<Item = Source> {
    let is_test =
        |source: &Source| source.path.iter().any(|part| part == "tests" || part == "tests.rs");
    sources().into_iter().filter(move |source| !is_test(source)).map(|source| {
        let text = source.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        Source { text: text.to_owned(), ..source }
    })
}

/// The name of the type that a line declares. Associated types, which are indented, have none; an
/// indented enum is one that a macro is given.
fn type_name(line: &str) -> Option<String> {
    let line = line.strip_prefix("    ").filter(|line| line.contains(" enum ")).unwrap_or(line);
    let declaration = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let (keyword, rest) = declaration.split_once(' ')?;
    let declares = ["enum", "struct", "trait", "type", "union"].contains(&keyword);
    let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    (declares && !name.is_empty()).then_some(name)
}
