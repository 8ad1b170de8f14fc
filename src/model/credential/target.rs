//! The values of a credential that stand in a request's target: parameters of its query, and
//! segments of its path (contract §8).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use zeroize::Zeroizing;

use super::NotAFieldValue;
use crate::model::parameter::{AmbiguousQuery, ParameterName, decode, without_parameters};
use crate::model::placement::Placeholder;
use crate::secret::Secret;

/// The values of a credential that stand in a target, and the parameters that a caller may not set.
#[derive(Clone)]
pub struct TargetValues {
    /// The parameters that are taken out of the caller's query.
    taken_out: Arc<[ParameterName]>,
    parameters: Vec<(ParameterName, TargetValue)>,
    segments: Vec<(Placeholder, TargetValue)>,
}

/// A value as a target has it, escaped.
#[derive(Clone)]
struct TargetValue {
    escaped: Secret,
    is_secret: bool,
}

/// A target in which a credential can't stand. The text says what a caller has to change.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnfitTarget {
    /// It has no path, as `*`.
    #[error("its target has no path for the connection's secret; the caller names one")]
    NoPath,
    /// The placeholder is not in the path, or more than once.
    #[error(
        "its path must have the segment {0} exactly once, where the connection's secret belongs; the \
         caller writes it there"
    )]
    Placeholder(Box<str>),
    /// A parameter that the connection sets may be there, or not.
    #[error(transparent)]
    Query(#[from] AmbiguousQuery),
    /// With the secret it is longer than a target can be.
    #[error(
        "its target is too long for the connection's secret to be added; the caller sends a shorter \
         one"
    )]
    TooLong,
}

impl TargetValues {
    /// No values yet. A caller may not set the parameters `taken_out`.
    pub(super) fn new(taken_out: Arc<[ParameterName]>) -> Self {
        Self { taken_out, parameters: Vec::new(), segments: Vec::new() }
    }

    pub(super) fn add_parameter(
        &mut self,
        name: ParameterName,
        value: &[u8],
        is_secret: bool,
    ) -> Result<(), NotAFieldValue> {
        self.parameters.push((name, TargetValue::new(value, is_secret)?));
        Ok(())
    }

    /// Adds a segment. One of dots would lead elsewhere.
    pub(super) fn add_segment(
        &mut self,
        placeholder: Placeholder,
        value: &[u8],
        is_secret: bool,
    ) -> Result<(), NotAFieldValue> {
        if value.is_empty() || [&b"."[..], b".."].contains(&value) {
            return Err(NotAFieldValue(()));
        }
        self.segments.push((placeholder, TargetValue::new(value, is_secret)?));
        Ok(())
    }

    /// Tells whether it changes no target.
    pub(super) fn is_empty(&self) -> bool {
        self.taken_out.is_empty() && self.parameters.is_empty() && self.segments.is_empty()
    }

    /// The names of its places, for people.
    pub(super) fn places(&self) -> impl Iterator<Item = String> {
        let parameters = self.parameters.iter().map(|(name, _)| name.as_str());
        let segments = self.segments.iter().map(|(placeholder, _)| placeholder.as_str());
        let parameters = parameters.map(|name| format!("{name} in the query"));
        parameters.chain(segments.map(|name| format!("{name} in the path")))
    }

    /// The secret values, as they are before they are escaped.
    pub(super) fn secrets(&self) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
        let values = self.parameters.iter().map(|(_, value)| value);
        let values = values.chain(self.segments.iter().map(|(_, value)| value));
        values
            .filter(|value| value.is_secret)
            .map(|value| Zeroizing::new(percent_decode(value.escaped.expose()).collect()))
    }

    /// Checks that the values can stand in a target.
    ///
    /// # Errors
    /// [`UnfitTarget`] says why not.
    pub fn check(&self, target: &str) -> Result<(), UnfitTarget> {
        self.fill(target).map(drop)
    }

    /// The target with the values, and without every other value of their parameters. It is as
    /// secret as they are.
    ///
    /// # Errors
    /// [`UnfitTarget`] says why they can't stand there.
    pub fn fill(&self, target: &str) -> Result<Zeroizing<String>, UnfitTarget> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        // 1. A query without a path follows the root path.
        let path = if path.is_empty() { "/" } else { path };
        if !path.starts_with('/') {
            return Err(UnfitTarget::NoPath);
        }
        // 2. The path, with a value in the place of each placeholder.
        let mut filled = Zeroizing::new(String::with_capacity(INITIAL_CAPACITY + target.len()));
        self.fill_path(path, &mut filled)?;
        // 3. The query, without the caller's own values and with ours.
        let own = query.map(|query| without_parameters(query, &self.taken_out)).transpose()?;
        let stays_empty = query == Some("") && self.parameters.is_empty();
        let mut separator = '?';
        if let Some(own) = own.filter(|own| !own.is_empty() || stays_empty) {
            filled.push(separator);
            filled.push_str(&own);
            separator = '&';
        }
        for (name, value) in &self.parameters {
            filled.push(separator);
            filled.push_str(name.as_str());
            filled.push('=');
            value.push_to(&mut filled);
            separator = '&';
        }
        if filled.len() > MAX_TARGET_LEN { Err(UnfitTarget::TooLong) } else { Ok(filled) }
    }

    fn fill_path(&self, path: &str, filled: &mut String) -> Result<(), UnfitTarget> {
        let mut counts = vec![0_usize; self.segments.len()];
        for (number, segment) in path.split('/').enumerate() {
            if number > 0 {
                filled.push('/');
            }
            let mut values = self.segments.iter().zip(&mut counts);
            let meant = values.find(|((it, _), _)| *decode(segment) == *it.as_str());
            match meant {
                Some(((_, value), count)) => {
                    *count += 1;
                    value.push_to(filled);
                }
                None => filled.push_str(segment),
            }
        }
        let mut counted = self.segments.iter().zip(&counts);
        match counted.find(|(_, count)| **count != 1) {
            Some(((placeholder, _), _)) => {
                Err(UnfitTarget::Placeholder(placeholder.as_str().into()))
            }
            None => Ok(()),
        }
    }

    /// Tells whether both change each target alike. Values are compared in constant time.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        let same = |one: &TargetValue, other: &TargetValue| {
            let (one, other) = (one.escaped.expose(), other.escaped.expose());
            verify_slices_are_equal(one, other).is_ok()
        };
        let names = |values: &Self| {
            let parameters = values.parameters.iter().map(|(name, _)| name.as_str());
            let parameters = parameters.chain(values.taken_out.iter().map(ParameterName::as_str));
            let segments = values.segments.iter().map(|(placeholder, _)| placeholder.as_str());
            parameters.chain(segments).map(Box::<str>::from).collect::<Vec<_>>()
        };
        let pairs = self.parameters.iter().zip(&other.parameters);
        let parameters = pairs.map(|((_, one), (_, other))| (one, other));
        let pairs = self.segments.iter().zip(&other.segments);
        let segments = pairs.map(|((_, one), (_, other))| (one, other));
        self.parameters.len() == other.parameters.len()
            && names(self) == names(other)
            && parameters.chain(segments).all(|(one, other)| same(one, other))
    }
}

impl fmt::Debug for TargetValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<_> = self.places().collect();
        write!(f, "TargetValues({}: *****)", places.join(", "))
    }
}

impl TargetValue {
    fn new(value: &[u8], is_secret: bool) -> Result<Self, NotAFieldValue> {
        if value.iter().any(u8::is_ascii_control) {
            return Err(NotAFieldValue(()));
        }
        let mut escaped = Zeroizing::new(String::with_capacity(value.len() * 3));
        escaped.extend(percent_encode(value, ESCAPED));
        Ok(Self { escaped: Secret::new(escaped.as_bytes()), is_secret })
    }

    fn push_to(&self, target: &mut String) {
        target.extend(self.escaped.expose().iter().copied().map(char::from));
    }
}

/// All but the unreserved characters (RFC 3986 §2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The longest target that the HTTP library takes.
const MAX_TARGET_LEN: usize = 65_534;

/// Enough for most secrets, so that no copy of one is left behind by growth.
const INITIAL_CAPACITY: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::placement::{ParsedPlacement, Place, Placement};

    fn values(places: &[(Place, &str, &str)]) -> TargetValues {
        let mut taken_out = Vec::new();
        let mut values = TargetValues::new(Arc::from([]));
        for (place, name, value) in places {
            let placement = Placement { place: *place, name: (*name).into(), value: "x".into() };
            let parsed = placement.parse(&[]).unwrap();
            if let ParsedPlacement::Parameter(name, _) = parsed {
                taken_out.push(name.clone());
                values.add_parameter(name, value.as_bytes(), true).unwrap();
            } else if let ParsedPlacement::Segment(name, _) = parsed {
                values.add_segment(name, value.as_bytes(), true).unwrap();
            }
        }
        values.taken_out = taken_out.into();
        values
    }

    fn key() -> TargetValues {
        values(&[(Place::Query, "key", "s/1&é")])
    }

    fn bot() -> TargetValues {
        values(&[(Place::Path, "bot-KEYFERRY", "bot12:ab")])
    }

    #[test]
    fn a_parameter_is_added_and_the_callers_own_is_gone() {
        for (target, filled) in [
            ("/v1", "/v1?key=s%2F1%26%C3%A9"),
            ("/v1?", "/v1?key=s%2F1%26%C3%A9"),
            ("/v1?key=mine", "/v1?key=s%2F1%26%C3%A9"),
            ("/v1?KEY=mine&a=%2f?&b", "/v1?a=%2f?&b&key=s%2F1%26%C3%A9"),
            ("/v1?a?&k%65y", "/v1?a?&key=s%2F1%26%C3%A9"),
            ("?a=1", "/?a=1&key=s%2F1%26%C3%A9"),
            ("", "/?key=s%2F1%26%C3%A9"),
            ("/?/..//?", "/?/..//?&key=s%2F1%26%C3%A9"),
        ] {
            assert_eq!(**key().fill(target).unwrap(), *filled, "{target}");
        }
        assert_eq!(key().fill("*"), Err(UnfitTarget::NoPath));
        assert_eq!(key().fill("/v1?a;key=1"), Err(UnfitTarget::Query(AmbiguousQuery)));
        let long = format!("/{}", "a".repeat(MAX_TARGET_LEN - 5));
        assert_eq!(key().fill(&long), Err(UnfitTarget::TooLong));
    }

    #[test]
    fn a_segment_takes_the_place_of_its_placeholder_once() {
        for (target, filled) in [
            ("/bot-KEYFERRY/getMe?a=bot-KEYFERRY", "/bot12%3Aab/getMe?a=bot-KEYFERRY"),
            ("/a/b%6Ft-KEYFERRY", "/a/bot12%3Aab"),
            ("/bot-KEYFERRY", "/bot12%3Aab"),
            ("//bot-KEYFERRY/bot-KEYFERRYS", "//bot12%3Aab/bot-KEYFERRYS"),
        ] {
            assert_eq!(**bot().fill(target).unwrap(), *filled, "{target}");
        }
        for target in [
            "/getMe",
            "/bot-keyferry/getMe",
            "/bot-KEYFERRY;x/getMe",
            "/x-bot-KEYFERRY",
            "/bot-KEYFERRY/bot-KEYFERRY",
            "/bot-KEYFERRY/b%256ft-KEYFERRY",
            "/a%2Fbot-KEYFERRY",
            "/?/bot-KEYFERRY",
        ] {
            let fault = UnfitTarget::Placeholder("bot-KEYFERRY".into());
            assert_eq!(bot().fill(target), Err(fault), "{target}");
        }
    }

    #[test]
    fn no_value_leads_elsewhere() {
        let placement =
            Placement { place: Place::Path, name: "KEYFERRY".into(), value: "x".into() };
        let ParsedPlacement::Segment(placeholder, _) = placement.parse(&[]).unwrap() else {
            panic!("a placeholder is one")
        };
        let add = |value: &[u8]| {
            let mut values = TargetValues::new(Arc::from([]));
            values.add_segment(placeholder.clone(), value, true).is_ok()
        };
        assert!(add(b"a..") && add(b"a/b"));
        for value in ["", ".", "..", "a\r\nb", "a\0"] {
            assert!(!add(value.as_bytes()), "{value:?}");
        }
    }

    #[test]
    fn values_are_the_same_by_all_that_they_change() {
        assert!(key().same_as(&key()) && bot().same_as(&bot()));
        assert!(!key().same_as(&bot()));
        assert!(!key().same_as(&values(&[(Place::Query, "key", "other")])));
        assert!(!key().same_as(&values(&[(Place::Query, "keys", "s/1&é")])));
        let none = TargetValues::new(Arc::from([]));
        assert!(!none.same_as(&TargetValues::new(key().taken_out)));
    }

    proptest! {
        #[test]
        fn a_target_keeps_its_form_whatever_it_is(target in "/[!-~&&[^#?]]{0,20}(\\?[!-~&&[^#]]{0,30})?") {
            if let Ok(filled) = key().fill(&target) {
                let uri: http::Uri = crate::model::target::encode_unparsable(&filled)
                    .unwrap_or_else(|| filled.to_string())
                    .parse()
                    .unwrap();
                let path = target.split('?').next().unwrap();
                let path = crate::model::target::encode_unparsable(path);
                let path = path.unwrap_or_else(|| target.split('?').next().unwrap().to_owned());
                prop_assert_eq!(uri.path(), path);
                let pairs = form_urlencoded::parse(uri.query().unwrap().as_bytes());
                let keys: Vec<_> = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("key")).collect();
                prop_assert_eq!(keys.len(), 1);
                prop_assert_eq!(&*keys[0].1, "s/1&é");
            }
        }
    }
}
