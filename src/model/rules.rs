//! Rules of the requests that a connection or a token may be used for (contract §8). They only
//! narrow: a rule never allows a host, a method or a port that another rule refuses.

mod index;
mod path;

use std::borrow::Cow;
use std::fmt;

use http::Method;
use serde::{Deserialize, Serialize, Serializer};

use self::index::RuleIndex;
use self::path::{PathPattern, PlainPath};
pub use self::path::{PatternError, UnclearPath};

/// The rules of a connection or of a token, in order: the first that matches a request decides.
/// A request that matches none is refused. Without rules every request is allowed.
///
/// The encoding is part of the context for which a connection's secret is sealed, and of what a
/// token's code covers: a later version must write today's rules in the same way.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(from = "Vec<UseRule>")]
pub struct Rules {
    list: Vec<UseRule>,
    /// `None` where there are no rules.
    index: Option<Box<RuleIndex>>,
    /// Tells whether a rule names paths.
    names_paths: bool,
}

/// One rule. Without methods it is for all methods, without paths for all paths.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UseRule {
    effect: Effect,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    methods: Vec<Box<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    paths: Vec<PathPattern>,
}

/// The effect of a rule that matches.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The request is allowed.
    Allow,
    /// The request is refused.
    Deny,
}

/// The parts of a request that rules are about.
#[derive(Clone, Debug)]
pub struct RuleSubject<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path at the origin, as it was sent, without the query.
    pub path: Cow<'a, str>,
    /// The path that a `Destination` field names (RFC 4918 §10.3).
    pub destination: Option<Cow<'a, str>>,
    /// The field or parameter by which the request asks the origin to take it for another one.
    pub override_field: Option<&'static str>,
    /// The field by which it names another resource that the origin is to read.
    pub source_field: Option<&'static str>,
}

/// The reason why rules refuse a request.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RuleDenied {
    /// The connection is for reading only.
    #[error("it is for reading only (read_only): GET, HEAD and OPTIONS")]
    ReadOnly,
    /// The rule of this number, counted from 1, denies it.
    #[error("rule {0} denies it")]
    Denied(usize),
    /// No rule matches it.
    #[error("none of its rules allows it")]
    NoneAllows,
    /// The path could be read as another one.
    #[error("rules name paths, and the path {0}")]
    Unclear(UnclearPath),
    /// A field asks the origin to take the request for another one.
    #[error("{0} asks for another method or path, which rules can't judge; send it without")]
    Override(&'static str),
    /// A field names another resource to be read.
    #[error("{0} names another path, which rules can't judge; send it without")]
    Source(&'static str),
}

/// A rule that was refused. The text states why.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RuleError {
    /// There are too many.
    #[error("there may be at most {MAX_RULES} rules, and {MAX_PATHS} paths in all of them")]
    TooMany,
    /// A line is no rule.
    #[error("a rule is a line as: allow GET,POST /v1/** or: deny /admin/**")]
    Line,
    /// A rule neither allows nor denies, or does both.
    #[error("rule {0} must have either \"allow\": true or \"deny\": true")]
    Effect(usize),
    /// A method is not one that could be sent.
    #[error("rule {0}: a method is 1 to 32 letters in upper case, digits and hyphens, as GET")]
    Method(usize),
    /// A list is empty or too long.
    #[error("rule {0}: methods and paths, where they are given, have 1 to {MAX_ITEMS} items")]
    Items(usize),
    /// A path is not a pattern.
    #[error("rule {0}: the path {1}")]
    Path(usize, PatternError),
}

/// A rule as it is written, before it is checked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct WrittenRule {
    /// `allow`
    pub allow: Option<bool>,
    /// `deny`
    pub deny: Option<bool>,
    /// `methods`
    pub methods: Option<Vec<String>>,
    /// `paths`
    pub paths: Option<Vec<String>>,
}

impl WrittenRule {
    /// Reads a rule in one line: `allow` or `deny`, then methods separated by commas, then paths
    /// separated by spaces. Either may be left out.
    ///
    /// # Errors
    /// [`RuleError`] says what is wrong.
    pub fn parse(line: &str) -> Result<Self, RuleError> {
        let mut words = line.split_whitespace().peekable();
        let (allow, deny) = match words.next() {
            Some("allow") => (Some(true), None),
            Some("deny") => (None, Some(true)),
            _ => return Err(RuleError::Line),
        };
        let methods = words.next_if(|word| !word.starts_with('/'));
        let methods = methods.map(|list| list.split(',').map(str::to_owned).collect());
        let paths: Vec<_> = words.map(str::to_owned).collect();
        let rule = Self { allow, deny, methods, paths: (!paths.is_empty()).then_some(paths) };
        UseRule::parse(rule.clone(), 1)?;
        Ok(rule)
    }
}

impl fmt::Display for WrittenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allow == Some(true) { "allow" } else { "deny" })?;
        if let Some(methods) = &self.methods {
            write!(f, " {}", methods.join(","))?;
        }
        self.paths.iter().flatten().try_for_each(|path| write!(f, " {path}"))
    }
}

impl Rules {
    /// Reads rules.
    ///
    /// # Errors
    /// [`RuleError`] names the first rule that is wrong, and why.
    pub fn parse(written: Vec<WrittenRule>) -> Result<Self, RuleError> {
        let paths = written.iter().flat_map(|rule| &rule.paths).map(Vec::len).sum::<usize>();
        if written.len() > MAX_RULES || paths > MAX_PATHS {
            return Err(RuleError::TooMany);
        }
        let numbered = written.into_iter().zip(1..);
        numbered
            .map(|(rule, number)| UseRule::parse(rule, number))
            .collect::<Result<Vec<_>, _>>()
            .map(Self::from)
    }

    /// Tells whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The rules, as they are written.
    #[must_use]
    pub fn written(&self) -> Vec<WrittenRule> {
        self.list.iter().map(UseRule::written).collect()
    }

    /// Checks a request.
    ///
    /// # Errors
    /// [`RuleDenied`] says why the request is refused.
    pub fn check(&self, line: &RuleSubject<'_>) -> Result<(), RuleDenied> {
        if self.is_empty() {
            return Ok(());
        }
        // 1. What would be something else at the origin than here can't be judged.
        if let Some(field) = line.override_field {
            return Err(RuleDenied::Override(field));
        }
        // 2. Each path that the request names must be allowed.
        if let Some(field) = line.source_field.filter(|_| self.names_paths) {
            return Err(RuleDenied::Source(field));
        }
        let paths = [Some(&line.path), line.destination.as_ref()];
        for path in paths.into_iter().flatten() {
            if self.names_paths {
                let path = PlainPath::read(path).map_err(RuleDenied::Unclear)?;
                self.judge(line.method, Some(&path))?;
            } else {
                self.judge(line.method, None)?;
            }
        }
        Ok(())
    }

    /// Finds the first rule that matches, and what it says.
    fn judge(&self, method: &Method, path: Option<&PlainPath<'_>>) -> Result<(), RuleDenied> {
        let candidates = self.index.iter().flat_map(|index| index.candidates(method, path));
        let rules = candidates.filter_map(|at| Some((at, self.list.get(at)?)));
        let found = rules.into_iter().find(|(_at, rule)| rule.matches(method, path));
        match found {
            Some((_at, UseRule { effect: Effect::Allow, .. })) => Ok(()),
            Some((at, UseRule { effect: Effect::Deny, .. })) => Err(RuleDenied::Denied(at + 1)),
            None => Err(RuleDenied::NoneAllows),
        }
    }
}

impl From<Vec<UseRule>> for Rules {
    fn from(list: Vec<UseRule>) -> Self {
        let index = (!list.is_empty()).then(|| {
            let marked = list.iter().map(|rule| (&*rule.methods, &*rule.paths));
            Box::new(RuleIndex::of(marked))
        });
        let names_paths = list.iter().any(|rule| !rule.paths.is_empty());
        Self { list, index, names_paths }
    }
}

impl Serialize for Rules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.list.serialize(serializer)
    }
}

impl UseRule {
    fn parse(written: WrittenRule, number: usize) -> Result<Self, RuleError> {
        let effect = match (written.allow, written.deny) {
            (Some(true), None) => Effect::Allow,
            (None, Some(true)) => Effect::Deny,
            _ => return Err(RuleError::Effect(number)),
        };
        let has_right_length = |list: &Option<Vec<String>>| {
            list.as_ref().is_none_or(|list| (1..=MAX_ITEMS).contains(&list.len()))
        };
        if !has_right_length(&written.methods) || !has_right_length(&written.paths) {
            return Err(RuleError::Items(number));
        }
        let methods = written.methods.unwrap_or_default().into_iter();
        let methods = methods.map(|method| {
            if is_method(&method) { Ok(method.into()) } else { Err(RuleError::Method(number)) }
        });
        let paths = written.paths.unwrap_or_default().into_iter();
        let paths = paths
            .map(|path| PathPattern::parse(&path).map_err(|error| RuleError::Path(number, error)));
        Ok(Self {
            effect,
            methods: methods.collect::<Result<_, _>>()?,
            paths: paths.collect::<Result<_, _>>()?,
        })
    }

    fn written(&self) -> WrittenRule {
        let is = |effect| (self.effect == effect).then_some(true);
        let list = |items: Vec<String>| (!items.is_empty()).then_some(items);
        WrittenRule {
            allow: is(Effect::Allow),
            deny: is(Effect::Deny),
            methods: list(self.methods.iter().map(ToString::to_string).collect()),
            paths: list(self.paths.iter().map(ToString::to_string).collect()),
        }
    }

    fn matches(&self, method: &Method, path: Option<&PlainPath<'_>>) -> bool {
        let mut methods = self.methods.iter();
        if !self.methods.is_empty() && !methods.any(|listed| **listed == *method.as_str()) {
            return false;
        }
        // A rule that denies takes letters of either case: some origins do.
        let any_case = self.effect == Effect::Deny;
        self.paths.is_empty()
            || path.is_some_and(|path| {
                self.paths.iter().any(|pattern| pattern.matches(path, any_case))
            })
    }
}

/// Checks that a request only reads.
///
/// # Errors
/// [`RuleDenied::ReadOnly`], or [`RuleDenied::Override`] where a field makes something else of it.
pub fn check_read_only(line: &RuleSubject<'_>) -> Result<(), RuleDenied> {
    if ![Method::GET, Method::HEAD, Method::OPTIONS].contains(line.method) {
        return Err(RuleDenied::ReadOnly);
    }
    line.override_field.map_or(Ok(()), |field| Err(RuleDenied::Override(field)))
}

fn is_method(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(is_letter)
}

/// The most rules of a connection or of a token: as many as a [`RuleIndex`] has bits for.
const MAX_RULES: usize = 64;

/// The most paths of all rules of a list.
const MAX_PATHS: usize = 256;

/// The most methods, or paths, of one rule.
const MAX_ITEMS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(list: &[(bool, &[&str], &[&str])]) -> Rules {
        let texts = |list: &[&str]| {
            (!list.is_empty()).then(|| list.iter().map(|text| (*text).to_owned()).collect())
        };
        let rule = |(allows, methods, paths): &(bool, &[&str], &[&str])| WrittenRule {
            allow: allows.then_some(true),
            deny: (!allows).then_some(true),
            methods: texts(methods),
            paths: texts(paths),
        };
        Rules::parse(list.iter().map(rule).collect()).unwrap()
    }

    fn check(rules: &Rules, method: &str, path: &str) -> Result<(), RuleDenied> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let line = RuleSubject {
            method: &method,
            path: path.into(),
            destination: None,
            override_field: None,
            source_field: None,
        };
        rules.check(&line)
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = rules(&[
            (false, &[], &["/v1/keys/**"]),
            (true, &["GET"], &["/v1/**"]),
            (true, &["POST"], &["/v1/*/comments", "/search"]),
        ]);
        for (method, path, verdict) in [
            ("GET", "/v1", Ok(())),
            ("GET", "/v1/issues/7", Ok(())),
            ("GET", "/v1/keys", Err(RuleDenied::Denied(1))),
            ("GET", "/v1/KEYS/7", Err(RuleDenied::Denied(1))),
            ("GET", "/v1/%6beys/7", Err(RuleDenied::Denied(1))),
            ("GET", "/V1/issues", Err(RuleDenied::NoneAllows)),
            ("POST", "/v1/7/comments", Ok(())),
            ("POST", "/v1/7/8/comments", Err(RuleDenied::NoneAllows)),
            ("POST", "/search", Ok(())),
            ("POST", "/search/", Ok(())),
            ("DELETE", "/v1/7", Err(RuleDenied::NoneAllows)),
        ] {
            assert_eq!(check(&rules, method, path), verdict, "{method} {path}");
        }
        assert!(matches!(check(&rules, "GET", "/v1/a/../keys"), Err(RuleDenied::Unclear(_))));
    }

    #[test]
    fn a_path_is_judged_only_where_a_rule_names_one() {
        let rules = rules(&[(true, &["GET"], &[])]);
        assert_eq!(check(&rules, "GET", "/a/../b//c%2f"), Ok(()));
        assert_eq!(check(&rules, "POST", "/"), Err(RuleDenied::NoneAllows));
        assert_eq!(check(&Rules::default(), "POST", "/a/../b"), Ok(()));
    }

    #[test]
    fn every_path_that_a_request_names_is_judged_and_no_override_passes() {
        let rules = rules(&[(false, &[], &["/secret/**"]), (true, &[], &[])]);
        let method = Method::from_bytes(b"COPY").unwrap();
        let line = RuleSubject {
            method: &method,
            path: "/a".into(),
            destination: Some("/secret/b".into()),
            override_field: None,
            source_field: None,
        };
        assert_eq!(rules.check(&line), Err(RuleDenied::Denied(1)));
        let field = "x-http-method-override";
        let overridden =
            RuleSubject { destination: None, override_field: Some(field), ..line.clone() };
        assert_eq!(rules.check(&overridden), Err(RuleDenied::Override(field)));
        let source = RuleSubject { destination: None, source_field: Some("x"), ..line.clone() };
        assert_eq!(rules.check(&source), Err(RuleDenied::Source("x")));
        let get = RuleSubject { method: &Method::GET, ..overridden };
        assert_eq!(check_read_only(&get), Err(RuleDenied::Override(field)));
        assert_eq!(check_read_only(&line), Err(RuleDenied::ReadOnly));
    }

    #[test]
    fn rules_that_say_nothing_clear_are_refused() {
        let rule = |allow, deny| WrittenRule { allow, deny, ..WrittenRule::default() };
        for written in [
            rule(None, None),
            rule(Some(true), Some(true)),
            rule(Some(false), None),
            WrittenRule { methods: Some(vec![]), ..rule(Some(true), None) },
            WrittenRule { methods: Some(vec!["get".into()]), ..rule(Some(true), None) },
            WrittenRule { paths: Some(vec!["v1".into()]), ..rule(None, Some(true)) },
        ] {
            assert!(Rules::parse(vec![written.clone()]).is_err(), "{written:?}");
        }
        assert!(Rules::parse(vec![rule(Some(true), None); 65]).is_err());
    }

    #[test]
    fn the_encoding_stays_as_it_is() {
        let rules = rules(&[(true, &["GET"], &["/v1/**"]), (false, &[], &[])]);
        let json = r#"[{"effect":"allow","methods":["GET"],"paths":["/v1/**"]},{"effect":"deny"}]"#;
        assert_eq!(serde_json::to_string(&rules).unwrap(), json);
        assert_eq!(serde_json::from_str::<Rules>(json).unwrap(), rules);
        assert_eq!(Rules::parse(rules.written()).unwrap(), rules);
    }

    #[test]
    fn a_rule_is_written_in_a_line() {
        for line in ["allow", "deny /a/** /b", "allow GET,POST", "deny DELETE /v1/*"] {
            assert_eq!(WrittenRule::parse(line).unwrap().to_string(), line);
        }
        for line in
            ["", "permit GET", "allow get", "allow GET POST /a", "allow GET, /a", "deny /a//"]
        {
            assert!(WrittenRule::parse(line).is_err(), "{line}");
        }
    }

    /// The path as a lenient origin reads it: decoded up to twice, dots resolved, doubled slashes
    /// merged, parameters of segments cut off, in lower case.
    fn lenient(path: &str) -> String {
        let mut text = path.to_owned();
        for _twice in 0..2 {
            text = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
        }
        let mut segments: Vec<&str> = Vec::new();
        let text = text.replace('\\', "/");
        for segment in text.split('/') {
            match segment.split(';').next().unwrap_or_default() {
                "" | "." => {}
                ".." => drop(segments.pop()),
                plain => segments.push(plain),
            }
        }
        format!("/{}", segments.join("/")).to_lowercase()
    }

    proptest! {
        #[test]
        fn no_spelling_of_a_denied_path_is_allowed(
            path in "(/|//|/\\./|/x/\\.\\./|/%2e/|/x/%2E%2e/|/x%2f\\.\\./|\\\\|/;a/|/;/){1}(s|S|%73|%53|%2573)ecret(/|%2f|%5c|\\\\|//|;x|/\\.|;/|/\\./|/x/\\.\\./|%252f)(a|A|%41)",
        ) {
            let rules = rules(&[(false, &[], &["/secret/**"]), (true, &[], &["/**"])]);
            if lenient(&path).starts_with("/secret") {
                prop_assert!(check(&rules, "GET", &path).is_err(), "{path}");
            }
        }

        #[test]
        fn the_index_of_rules_changes_no_verdict(
            list in proptest::collection::vec(
                (any::<bool>(), "(|GET|PUT|PUT,GET)", "(/(a|A|b|\\*|a\\*|\\*\\*|ü)){0,3}"),
                1..6,
            ),
            method in "(GET|PUT|PURGE)",
            path in "(/(a|A|b|ab|Ü|%61|a%2e|B )){0,3}",
        ) {
            let line = |(allows, methods, path): &(bool, String, String)| {
                let effect = if *allows { "allow" } else { "deny" };
                WrittenRule::parse(&format!("{effect} {methods} {path}")).unwrap()
            };
            let rules = Rules::parse(list.iter().map(line).collect()).unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let path = format!("{path}/");
            let plain = PlainPath::read(&path).unwrap();
            let slow = rules.list.iter().position(|rule| rule.matches(&method, Some(&plain)));
            let slow = match slow.map(|at| (at + 1, rules.list[at].effect)) {
                Some((_, Effect::Allow)) => Ok(()),
                Some((number, Effect::Deny)) => Err(RuleDenied::Denied(number)),
                None => Err(RuleDenied::NoneAllows),
            };
            prop_assert_eq!(rules.judge(&method, Some(&plain)), slow);
        }

        #[test]
        fn a_plain_path_is_always_judged(path in "(/[a-z0-9._~-]{1,6}){1,5}/?") {
            let rules = rules(&[(true, &[], &["/**"])]);
            // Some servers read any number of dots as one or two.
            let is_dots = |segment: &str| !segment.is_empty() && segment.bytes().all(|it| it == b'.');
            let has_dots = path.split('/').any(is_dots);
            prop_assert_eq!(check(&rules, "GET", &path).is_ok(), !has_dots, "{}", path);
        }
    }
}
