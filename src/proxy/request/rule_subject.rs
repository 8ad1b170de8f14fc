//! The parts of a request that rules are about, and what would make something else of it at the
//! origin.

use std::borrow::Cow;

use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

use super::{ProxyRequest, RequestForm};
use crate::model::field::is_same_to_servers;
use crate::model::rules::RuleSubject;
use crate::model::target::decode_unparsable;
use crate::proxy::base_url::{self, NamedUrls, split_absolute};

/// The parts of a request that rules are about, beside its method.
#[derive(Clone, Debug)]
pub(super) struct JudgedParts {
    /// The path and the query, as they were sent: in base-URL form with the prefix.
    target: PathAndQuery,
    /// The path that `Destination` names (RFC 4918 §10.3), at the origin.
    destination: Option<Box<str>>,
    /// The field by which the request asks for another method or path.
    asks_for_other: Option<&'static str>,
    /// The field that names another resource to be read.
    reads_other: Option<&'static str>,
}

impl JudgedParts {
    /// Those of a target, without fields.
    pub(super) fn of(uri: &Uri) -> Self {
        let target = uri.path_and_query().cloned();
        let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Self { target, destination: None, asks_for_other: None, reads_other: None }
    }
}

impl ProxyRequest {
    /// The parts of the request that rules are about.
    pub(in crate::proxy) fn rule_subject(&self) -> RuleSubject<'_> {
        let path = match self.form {
            RequestForm::BaseUrl => {
                let below = base_url::below(self.judged.target.as_str());
                Cow::Owned(decode_unparsable(path_of(&below)).into_owned())
            }
            _ => decode_unparsable(self.judged.target.path()),
        };
        let query = self.judged.target.query().unwrap_or_default();
        RuleSubject {
            method: &self.method,
            path,
            destination: self.judged.destination.as_deref().map(Cow::Borrowed),
            override_field: self.judged.asks_for_other.or_else(|| override_parameter(query)),
            source_field: self.judged.reads_other,
        }
    }

    /// The target, as the origin is sent it.
    pub(in crate::proxy) fn target_at_origin(&self) -> Cow<'_, str> {
        match self.form {
            RequestForm::BaseUrl => Cow::Owned(base_url::below(self.judged.target.as_str())),
            _ => Cow::Borrowed(self.judged.target.as_str()),
        }
    }

    /// Notes the fields that rules must know of. `named_urls` has those of base-URL form as they
    /// are written.
    pub(in crate::proxy) fn note_further_fields(&mut self, head: &Parts, named_urls: &NamedUrls) {
        for name in head.headers.keys() {
            let name = name.as_str();
            // Most names differ in their first letter or their length.
            if name.starts_with('x') && (11..=22).contains(&name.len()) {
                let find = |known: &[&'static str]| {
                    known.iter().find(|known| is_same_to_servers(name, known)).copied()
                };
                self.judged.asks_for_other =
                    self.judged.asks_for_other.or_else(|| find(&OVERRIDES));
                self.judged.reads_other = self.judged.reads_other.or_else(|| find(&SOURCES));
            }
        }
        if ["COPY", "MOVE"].contains(&self.method.as_str()) {
            self.judged.destination = match self.form {
                RequestForm::BaseUrl => named_urls.destination().map(|url| path_at_origin(&url)),
                _ => destination_field(head).map(path_at_origin),
            };
        }
    }
}

/// The value of `Destination`; an empty text where it stands twice or can't be read.
fn destination_field(head: &Parts) -> Option<&str> {
    let mut values = head.headers.get_all("destination").iter();
    let value = values.next()?;
    let is_alone = values.next().is_none();
    Some(value.to_str().ok().filter(|_| is_alone).unwrap_or_default().trim())
}

/// The path of a URL that is absolute, or of one that is a path. What is neither has an empty path,
/// which no rule that names paths allows.
fn path_at_origin(url: &str) -> Box<str> {
    let path = match split_absolute(url) {
        Some((_host, rest)) if rest.starts_with('/') => path_of(rest),
        Some((_host, rest)) if rest.is_empty() || rest.starts_with(['?', '#']) => "/",
        None if url.starts_with('/') && !url.starts_with("//") => path_of(url),
        _ => "",
    };
    path.into()
}

fn path_of(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

/// The parameter of a query by which frameworks take one method for another.
fn override_parameter(query: &str) -> Option<&'static str> {
    query.split(['&', ';']).find_map(|pair| {
        // Most names begin with a letter with which none of those begins.
        if pair.starts_with(|first: char| first.is_ascii_alphanumeric() && !"xX".contains(first)) {
            return None;
        }
        let name = pair.split('=').next().unwrap_or_default();
        let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
        PARAMETERS.iter().find(|known| is_same_to_servers(&name, known)).copied()
    })
}

/// The fields by which frameworks take one method or path for another.
const OVERRIDES: [&str; 9] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-path",
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-rewrite-uri",
    "x-rewrite-url",
];

/// The fields by which stores of objects read another resource than the one that is written.
const SOURCES: [&str; 6] = [
    "x-amz-copy-source",
    "x-copy-from",
    "x-copy-source",
    "x-goog-copy-source",
    "x-ms-copy-source",
    "x-ms-rename-source",
];

/// The parameters by which frameworks take one method for another.
const PARAMETERS: [&str; 5] =
    ["_method", "_httpmethod", "$httpmethod", "x-http-method", "x-http-method-override"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_read_as_the_origin_reads_it() {
        for (url, path) in [
            ("https://dav.example.com/secret/b", "/secret/b"),
            ("https://dav.example.com", "/"),
            ("https://dav.example.com/a?x=/b", "/a"),
            ("/secret/x?u=://h/pub/y", "/secret/x"),
            ("/secret/a://b/pub/y", "/secret/a://b/pub/y"),
            ("https://h\\secret/pub/y", ""),
            ("//dav.example.com/secret/x", ""),
            ("https:/secret/x", ""),
            ("secret/x", ""),
            ("", ""),
        ] {
            assert_eq!(&*path_at_origin(url), path, "{url}");
        }
    }

    #[test]
    fn parameters_that_change_the_method_are_found_in_any_spelling() {
        for query in ["_method=DELETE", "a=1&%5Fmethod=x", "_Method", "a;_method=PUT", "-method=x"]
        {
            assert!(override_parameter(query).is_some(), "{query}");
        }
        for query in ["", "method=x", "a=_method", "my_method=x"] {
            assert_eq!(override_parameter(query), None, "{query}");
        }
    }
}
