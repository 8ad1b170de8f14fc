//! A form that was sent: read once, by ours only.

use std::fmt;

use axum::body::Body;
use axum::extract::Request;
use http::uri::Authority;
use http::{HeaderMap, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use zeroize::Zeroizing;

use super::session::Session;
use crate::management::{NAME_TAKEN, Refused, RequestFault};
use crate::secret::Secret;
use crate::wire::Member;

/// The values of a form, and what is wrong with them.
#[derive(Default)]
pub(super) struct FormValues {
    fields: Vec<(String, Zeroizing<String>)>,
    /// Tells whether a person has sent them, and not a page filled them in.
    are_sent: bool,
    faults: Vec<String>,
}

impl fmt::Debug for FormValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormValues").field("faults", &self.faults).finish_non_exhaustive()
    }
}

/// A form that counts for nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum RejectedForm {
    /// It comes from elsewhere, or from a session that is over.
    Foreign,
    /// It is no form, or too large.
    Malformed,
}

impl FormValues {
    /// Reads a form that a page of this session has sent.
    pub(super) async fn read(
        request: Request,
        session: &Session,
        public_url: &str,
    ) -> Result<Self, RejectedForm> {
        let values = Self::read_up_to(MAX_FORM_LEN, request, public_url).await?;
        if session.knows(values.text(MARK)) { Ok(values) } else { Err(RejectedForm::Foreign) }
    }

    /// Reads a form that one of our pages has sent, without a session.
    pub(super) async fn read_of_stranger(
        request: Request,
        public_url: &str,
    ) -> Result<Self, RejectedForm> {
        Self::read_up_to(MAX_SIGN_IN_FORM_LEN, request, public_url).await
    }

    async fn read_up_to(
        most: usize,
        request: Request,
        public_url: &str,
    ) -> Result<Self, RejectedForm> {
        if !is_ours(request.uri(), request.headers(), public_url) {
            return Err(RejectedForm::Foreign);
        }
        let kind = request.headers().get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        if !kind.is_some_and(|kind| kind.starts_with(b"application/x-www-form-urlencoded")) {
            return Err(RejectedForm::Malformed);
        }
        let body = Limited::new(request.into_body(), most);
        let body = tokio::time::timeout(BODY_TIMEOUT, Body::new(body).collect()).await;
        let body = body
            .map_err(|_late| RejectedForm::Malformed)?
            .map_err(|_broken| RejectedForm::Malformed)?;
        let body = Zeroizing::new(body.to_bytes().to_vec());
        let fields = form_urlencoded::parse(&body)
            .map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned())))
            .collect();
        Ok(Self { fields, are_sent: true, faults: Vec::new() })
    }

    /// A form that was filled in by us.
    pub(super) fn with(fields: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| {
            ((*name).to_owned(), Zeroizing::new((*value).to_owned()))
        };
        let fields = fields.iter().map(own).collect();
        Self { fields, are_sent: false, faults: Vec::new() }
    }

    /// The value of a field; empty where there is none.
    pub(super) fn text(&self, field: &str) -> &str {
        let found = self.fields.iter().find(|(name, _)| name == field);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The value of a field that a person has sent, be it empty; or else what the form begins with.
    pub(super) fn text_or<'a>(&'a self, field: &str, beginning: &'a str) -> &'a str {
        let is_there = self.fields.iter().any(|(name, _)| name == field);
        match self.text(field) {
            "" if !self.are_sent || !is_there => beginning,
            entered => entered,
        }
    }

    /// Everything that was chosen under a name.
    pub(super) fn all<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(name, _)| name == field).map(|(_, value)| value.as_str())
    }

    /// The value of a field, as a member of a request.
    pub(super) fn member(&self, field: &str) -> Member<String> {
        self.text(field).into()
    }

    /// The same; an empty field counts as none.
    pub(super) fn member_if_any(&self, field: &str) -> Member<String> {
        Some(self.text(field)).filter(|text| !text.is_empty()).into()
    }

    /// The secret of a field, as a member of a request; an empty field counts as none.
    pub(super) fn secret_if_any(&self, field: &str) -> Member<Secret> {
        Some(self.text(field)).filter(|text| !text.is_empty()).map(Secret::new).into()
    }

    /// Takes up what management finds wrong, so that it is shown beside the fields.
    pub(super) fn blame(&mut self, refused: Refused) -> Result<(), Refused> {
        match refused {
            Refused::Faulty(faults) => {
                self.faults.extend(faults.into_iter().map(|RequestFault { title, .. }| title));
                Ok(())
            }
            Refused::Taken => {
                self.fault(&format!("name: {NAME_TAKEN}"));
                Ok(())
            }
            Refused::NameTaken(title) => {
                self.fault(&title);
                Ok(())
            }
            other => Err(other),
        }
    }

    /// Names the faults of what is within a member by its own fields, as the form has them.
    pub(super) fn lift_faults(&mut self, member: &str) {
        for title in &mut self.faults {
            let lifted = title.strip_prefix(member).and_then(|rest| rest.strip_prefix(": "));
            if let Some(lifted) = lifted.map(str::to_owned) {
                *title = lifted;
            }
        }
    }

    /// Notes something that is wrong: of a field where it begins with its name.
    pub(super) fn fault(&mut self, title: &str) {
        self.faults.push(title.to_owned());
    }

    pub(super) fn faults_of<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a str> {
        let of_it = move |title: &'a String| title.strip_prefix(field)?.strip_prefix(": ");
        self.faults.iter().filter_map(of_it)
    }

    /// The faults that belong to none of these fields.
    pub(super) fn other_faults<'a>(
        &'a self,
        fields: &'a [&'a str],
    ) -> impl Iterator<Item = &'a str> {
        let of = |title: &str, field: &str| {
            title.strip_prefix(field).is_some_and(|rest| rest.starts_with(": "))
        };
        self.faults
            .iter()
            .map(String::as_str)
            .filter(move |title| !fields.iter().any(|field| of(title, field)))
    }

    /// Tells whether anything is wrong.
    pub(super) fn is_faulty(&self) -> bool {
        !self.faults.is_empty()
    }
}

/// Tells whether a page of our own sends this, as far as the browser says so: by the name that the
/// request calls us by, or by our public one, where something between us writes another. All
/// browsers of today say so in one way or the other; the mark of the session holds for the rest.
fn is_ours(uri: &Uri, headers: &HeaderMap, public_url: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // Over HTTP/2 the target has the name.
    let called =
        uri.authority().map_or_else(|| text("host").unwrap_or_default(), Authority::as_str);
    let same_origin = text("origin").is_none_or(|origin| {
        let name = origin.split_once("://").map(|(_, name)| name);
        // The public URL may have a path, which no origin has.
        let public = public_url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        origin == public || name.is_some_and(|name| name == called)
    });
    let same_site = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    same_origin && same_site
}

/// The field with the session's mark.
pub(super) const MARK: &str = "mark";
/// Larger than any form of ours.
const MAX_FORM_LEN: usize = 128 << 10;
/// Larger than a token and where to go with it.
const MAX_SIGN_IN_FORM_LEN: usize = 8 << 10;
const BODY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_site_sends_is_not_ours() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            });
            pairs.collect::<HeaderMap>()
        };
        let own = ("host", "127.0.0.1:8081");
        for (ours, more) in [
            (true, vec![]),
            (true, vec![("origin", "http://127.0.0.1:8081")]),
            (true, vec![("sec-fetch-site", "same-origin")]),
            (false, vec![("origin", "null")]),
            (false, vec![("origin", "http://127.0.0.1:8080")]),
            (false, vec![("origin", "https://evil.example")]),
            (false, vec![("sec-fetch-site", "same-site")]),
            (false, vec![("sec-fetch-site", "cross-site"), ("origin", "http://127.0.0.1:8081")]),
            (false, vec![("sec-fetch-site", "none")]),
        ] {
            let fields = headers(&[&[own], more.as_slice()].concat());
            let public = "https://keyferry.example";
            assert_eq!(is_ours(&Uri::from_static("/console"), &fields, public), ours, "{more:?}");
        }
        let http2 = Uri::from_static("https://keyferry.internal/console");
        for (ours, origin) in [
            (true, "https://keyferry.internal"),
            (true, "https://keyferry.example"),
            (false, "http://keyferry.example"),
            (false, "http://127.0.0.1:8081"),
        ] {
            let fields = headers(&[("origin", origin)]);
            assert_eq!(is_ours(&http2, &fields, "https://keyferry.example"), ours, "{origin}");
        }
    }

    #[test]
    fn a_fault_stands_beside_its_field_or_above_all() {
        let mut values = FormValues::with(&[("name", "a b")]);
        values.fault("name: is odd");
        values.fault("nothing is to change");
        values.fault("names: are two");
        assert_eq!(values.faults_of("name").collect::<Vec<_>>(), ["is odd"]);
        let others: Vec<_> = values.other_faults(&["name"]).collect();
        assert_eq!(others, ["nothing is to change", "names: are two"]);
        assert!(values.is_faulty() && values.text("none").is_empty());
    }
}
