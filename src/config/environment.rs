//! The environment as a value: read once at the start and passed on, so that tests pass their own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// The environment variables of the process. Their values may be secrets: `Debug` shows names.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The variables that the process was started with; names that are not UTF-8 are left out.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn of_the_process() -> Self {
        let named = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        Self(std::env::vars_os().filter_map(named).collect())
    }

    /// The value of a variable.
    pub fn value(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str)
    }

    /// The value of a variable that is set to something, as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).and_then(OsStr::to_str).filter(|text| !text.is_empty())
    }

    /// The variables that are configuration, as (variable, path of the key, value), in the order
    /// of their names.
    ///
    /// Only names that contain `__` count, because others are set by the likes of Kubernetes:
    /// `KEYFERRY_PROXY__PLAIN_HTTP` is `proxy.plain_http`, `KEYFERRY__DATA_DIR` is `data_dir`.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&str, Vec<String>, &OsStr)> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_str(), path_of(name)?, &**value)))
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn path_of(variable: &str) -> Option<Vec<String>> {
    let rest = variable.strip_prefix("KEYFERRY_")?;
    // `KEYFERRY__KEY`: a key outside any section.
    let path = rest.strip_prefix('_').or_else(|| rest.contains("__").then_some(rest))?;
    Some(path.split("__").map(str::to_ascii_lowercase).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_variables_with_two_underscores_are_configuration() {
        for ignored in [
            "KEYFERRY_PORT",
            "KEYFERRY_SERVICE_HOST",
            "KEYFERRY_PORT_8080_TCP_ADDR",
            "KEYFERRY_CONFIG",
            "KEYFERRY_MASTER_KEY",
            "KEYFERRY_DATA_DIR",
            "PROXY__LISTEN",
            "keyferry_proxy__listen",
        ] {
            assert_eq!(path_of(ignored), None, "{ignored}");
        }
        assert_eq!(path_of("KEYFERRY_PROXY__PLAIN_HTTP").unwrap(), ["proxy", "plain_http"]);
        assert_eq!(path_of("KEYFERRY_PROXY__TLS__CERT").unwrap(), ["proxy", "tls", "cert"]);
        assert_eq!(path_of("KEYFERRY__DATA_DIR").unwrap(), ["data_dir"]);
    }

    #[test]
    fn debug_shows_no_value() {
        let environment = Environment::from_iter([("TOKEN", "hunter2")]);
        assert_eq!(format!("{environment:?}"), r#"{"TOKEN"}"#);
    }

    proptest! {
        #[test]
        fn a_key_is_found_again_by_its_variable(
            section in "[a-z]{1,8}", key in "[a-z]{1,6}(_[a-z0-9]{1,6}){0,2}"
        ) {
            let variable = format!("KEYFERRY_{section}__{key}").to_ascii_uppercase();
            prop_assert_eq!(path_of(&variable), Some(vec![section, key]));
        }
    }
}
