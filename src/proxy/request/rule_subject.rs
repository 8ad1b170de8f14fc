//! The parts of a request that rules are about, and what would make something else of it at the
//! origin.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::{ProxyRequest, RequestForm};
use crate::model::field::is_same_to_servers;
use crate::model::rules::RuleSubject;
use crate::proxy::base_url;

impl ProxyRequest {
    /// The parts of the request that rules are about.
    pub(in crate::proxy) fn rule_subject(&self) -> RuleSubject<'_> {
        let path = match self.form {
            RequestForm::BaseUrl => {
                Cow::Owned(path_of(&base_url::below(self.target.as_str())).to_owned())
            }
            _ => Cow::Borrowed(self.target.path()),
        };
        RuleSubject {
            method: &self.method,
            path,
            destination: self.other_path.as_deref().map(Cow::Borrowed),
            override_field: self.override_field,
        }
    }
}

/// The path that `Destination` names (RFC 4918 §10.3), at the origin. Several are given as an empty
/// path, which no rule allows.
pub(super) fn destination_path(head: &Parts, form: RequestForm) -> Option<Box<str>> {
    if !["COPY", "MOVE"].contains(&head.method.as_str()) {
        return None;
    }
    let mut values = head.headers.get_all("destination").iter();
    let value = values.next()?;
    let (Ok(url), None) = (value.to_str(), values.next()) else { return Some(Box::default()) };
    let url = url.trim();
    let target = match url.split_once("://") {
        Some((_scheme, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => url,
    };
    let target = match form {
        RequestForm::BaseUrl => base_url::below(target),
        _ => target.to_owned(),
    };
    Some(path_of(&target).into())
}

fn path_of(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

/// The field by which a request asks for another method or path than its line has. Frameworks
/// honor these; rules can't judge what they make of a request.
pub(super) fn override_field(headers: &HeaderMap) -> Option<&'static str> {
    let is_one = |name: &HeaderName| {
        let name = name.as_str();
        // Most names differ in their first letter or their length.
        let is_like_one = name.starts_with('x') && (13..=22).contains(&name.len());
        let mut known = OVERRIDES.iter().filter(|_| is_like_one);
        known.find(|known| is_same_to_servers(name, known))
    };
    headers.keys().find_map(is_one).copied()
}

/// The fields by which frameworks take one method or path for another.
const OVERRIDES: [&str; 6] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
];
