//! Masks what an origin repeats of the credential (contract §3): in every field of its answer, and
//! in its body where that is text and the connection says so.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Frame, SizeHint};
use hyper::ext::ReasonPhrase;

use crate::ledger::{EchoPlace, Entry};
use crate::model::credential::{CredentialPatterns, Echoes};
use crate::upstream::BodyError;

/// Masks the credentials that may have been sent in the head of an answer.
pub(super) fn mask_head<B>(reply: &mut Response<B>, entry: &Entry) {
    let Some(patterns) = entry.sent_patterns() else { return };
    let mut found = mask_values(reply.headers_mut(), &patterns);
    let reason = reply.extensions().get::<ReasonPhrase>();
    if reason.is_some_and(|reason| !patterns.echoes(reason.as_bytes(), true).found.is_empty()) {
        // Without one of its own, a status has its usual one.
        reply.extensions_mut().remove::<ReasonPhrase>();
        found += 1;
    }
    if found > 0 {
        entry.count_echoes(EchoPlace::Field, found);
    }
}

/// Masks the credentials that may have been sent in an answer's trailers.
pub(super) fn mask_trailers(trailers: &mut HeaderMap, entry: &Entry) {
    let Some(patterns) = entry.sent_patterns() else { return };
    let found = mask_values(trailers, &patterns);
    if found > 0 {
        entry.count_echoes(EchoPlace::Field, found);
    }
}

/// Masks each echo in the fields' values. Gives their number.
fn mask_values(headers: &mut HeaderMap, patterns: &CredentialPatterns) -> usize {
    let Some(shortest) = patterns.shortest() else { return 0 };
    let mut number = 0;
    for value in headers.values_mut().filter(|value| value.len() >= shortest) {
        let Echoes { found, .. } = patterns.echoes(value.as_bytes(), true);
        if found.is_empty() {
            continue;
        }
        number += found.len();
        let masked = with_asterisks(Bytes::copy_from_slice(value.as_bytes()), &found);
        // Asterisks are valid where other letters were.
        *value = HeaderValue::from_maybe_shared(masked)
            .unwrap_or_else(|_never| HeaderValue::from_static("*****"));
    }
    number
}

/// Masks echoes in a body on its way to the caller, at constant memory.
///
/// Bytes that may begin an echo are held back until it is known whether they do. All others pass
/// at once.
#[derive(Debug)]
pub(super) struct BodyMask {
    patterns: Arc<CredentialPatterns>,
    held: Bytes,
    /// Trailers that came behind what was held back.
    trailers: Option<Frame<Bytes>>,
}

/// The frame of a body, an error, or its end.
type BodyItem = Option<Result<Frame<Bytes>, BodyError>>;

impl BodyMask {
    /// A mask for the body of an answer, if it is text that is not coded; `None` without anything
    /// to mask.
    pub(super) fn for_answer(head: &Parts, entry: &Entry) -> Option<Box<Self>> {
        if !entry.masks_bodies() || !is_plain_text(&head.headers) {
            return None;
        }
        let patterns = entry.sent_patterns()?;
        patterns.shortest()?;
        Some(Box::new(Self { patterns, held: Bytes::new(), trailers: None }))
    }

    /// Takes a frame of the body, and gives the next one for the caller, if there is one yet.
    pub(super) fn pass(&mut self, item: BodyItem, entry: Option<&Entry>) -> Option<BodyItem> {
        match item {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let masked = self.mask(data, false, entry);
                    // An empty frame says nothing, and may end a body for some readers.
                    (!masked.is_empty()).then(|| Some(Ok(Frame::data(masked))))
                }
                Err(trailers) => match self.flush(entry) {
                    Some(rest) => {
                        self.trailers = Some(trailers);
                        Some(Some(Ok(rest)))
                    }
                    None => Some(Some(Ok(trailers))),
                },
            },
            // What was held back of a body that fails stays here: it may be half a secret.
            Some(Err(error)) => Some(Some(Err(error))),
            None => Some(self.flush(entry).map(Ok)),
        }
    }

    /// Trailers that have waited for what was before them.
    pub(super) fn take_trailers(&mut self) -> Option<Frame<Bytes>> {
        self.trailers.take()
    }

    /// Tells whether something waits here for the caller.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.trailers.is_none()
    }

    /// The size of a body of which `rest` has yet to come.
    pub(super) fn size_hint(&self, rest: &SizeHint) -> SizeHint {
        let held = u64::try_from(self.held.len()).unwrap_or(0);
        let mut size = SizeHint::new();
        size.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper() {
            size.set_upper(upper.saturating_add(held));
        }
        size
    }

    /// The rest of a body that has ended.
    fn flush(&mut self, entry: Option<&Entry>) -> Option<Frame<Bytes>> {
        let rest = self.mask(Bytes::new(), true, entry);
        (!rest.is_empty()).then(|| Frame::data(rest))
    }

    fn mask(&mut self, data: Bytes, is_last: bool, entry: Option<&Entry>) -> Bytes {
        let held = std::mem::take(&mut self.held);
        let mut text = if held.is_empty() {
            data
        } else {
            let mut joined = BytesMut::with_capacity(held.len() + data.len());
            joined.extend_from_slice(&held);
            joined.extend_from_slice(&data);
            joined.freeze()
        };
        let Echoes { found, settled } = self.patterns.echoes(&text, is_last);
        self.held = text.split_off(settled);
        if found.is_empty() {
            return text;
        }
        if let Some(entry) = entry {
            entry.count_echoes(EchoPlace::Body, found.len());
        }
        with_asterisks(text, &found)
    }
}

/// A text with asterisks in these places.
fn with_asterisks(text: Bytes, places: &[Range<usize>]) -> Bytes {
    let mut text = text.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
    for place in places {
        if let Some(echo) = text.get_mut(place.clone()) {
            echo.fill(b'*');
        }
    }
    text.freeze()
}

/// Tells whether a body is text, not coded, in an encoding that keeps ASCII. One of an unknown type
/// is taken for text, and so is one of several parts.
fn is_plain_text(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::CONTENT_ENCODING);
    let is_coded =
        codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return !is_coded };
    let essence = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    !is_coded && is_text_type(&essence.trim_ascii().to_ascii_lowercase())
}

fn is_text_type(essence: &[u8]) -> bool {
    let Some(slash) = essence.iter().position(|byte| *byte == b'/') else { return true };
    let (family, subtype) = (essence.get(..slash), essence.get(slash + 1..).unwrap_or_default());
    let is_text = matches!(family, Some(b"text" | b"multipart"));
    let suffix = subtype.rsplit(|byte| *byte == b'+').next().unwrap_or_default();
    let suffix = suffix.strip_prefix(b"x-").unwrap_or(suffix);
    is_text || TEXT_SUBTYPES.contains(&suffix)
}

/// Subtypes, and suffixes of subtypes, that are text.
const TEXT_SUBTYPES: [&[u8]; 16] = [
    b"ecmascript",
    b"form-urlencoded",
    b"graphql",
    b"graphql-response",
    b"javascript",
    b"json",
    b"json-seq",
    b"jsonl",
    b"ndjson",
    b"sql",
    b"toml",
    b"www-form-urlencoded",
    b"xml",
    b"xml-dtd",
    b"yaml",
    b"yml",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::credential::Credential;
    use crate::model::record::Detail;
    use crate::secret::Secret;

    const SECRET: &str = "sk-live-0a1B2c3D4e5F";

    fn patterns() -> Arc<CredentialPatterns> {
        let credential = Credential::build(&Detail::BearerToken, &Secret::new(SECRET)).unwrap();
        Arc::clone(credential.patterns())
    }

    fn mask() -> BodyMask {
        BodyMask { patterns: patterns(), held: Bytes::new(), trailers: None }
    }

    fn data(text: &str) -> Frame<Bytes> {
        Frame::data(Bytes::from(text.to_owned()))
    }

    fn text(item: BodyItem) -> String {
        let data = item.unwrap().unwrap().into_data().unwrap();
        String::from_utf8(data.to_vec()).unwrap()
    }

    #[test]
    fn values_keep_their_length_and_everything_else() {
        let mut headers = HeaderMap::new();
        let value = |text: String| HeaderValue::try_from(text).unwrap();
        headers.append("x-echo", value(format!("token={SECRET}; path=/")));
        headers.append("x-echo", value(format!("{SECRET}{SECRET}")));
        headers.append("x-other", HeaderValue::from_static("sk-live-0a1B2c3D4e5E, and more of it"));
        assert_eq!(mask_values(&mut headers, &patterns()), 3);
        let shown: Vec<_> = headers.values().map(|value| value.to_str().unwrap()).collect();
        let stars = "*".repeat(SECRET.len());
        let (one, two) = (format!("token={stars}; path=/"), format!("{stars}{stars}"));
        assert_eq!(shown, [&one, &two, "sk-live-0a1B2c3D4e5E, and more of it"]);
    }

    #[test]
    fn a_body_is_masked_over_its_frames_and_ends_whole() {
        let (mut mask, stars) = (mask(), "*".repeat(SECRET.len()));
        assert_eq!(text(mask.pass(Some(Ok(data("event: sk-l"))), None).unwrap()), "event: ");
        assert!(mask.pass(Some(Ok(data("ive-0a1B"))), None).is_none() && !mask.is_empty());
        assert_eq!(mask.size_hint(&SizeHint::with_exact(30)).exact(), Some(42));
        assert_eq!(
            text(mask.pass(Some(Ok(data("2c3D4e5F\n\n"))), None).unwrap()),
            format!("{stars}\n\n")
        );
        assert!(mask.is_empty());
        assert_eq!(text(mask.pass(Some(Ok(data("the end: sk-li"))), None).unwrap()), "the end: ");
        assert_eq!(text(mask.pass(None, None).unwrap()), "sk-li");
        assert!(mask.pass(None, None).unwrap().is_none() && mask.is_empty());
    }

    #[test]
    fn trailers_come_last_and_a_failure_at_once() {
        let mut mask = mask();
        assert_eq!(text(mask.pass(Some(Ok(data("ends in s"))), None).unwrap()), "ends in ");
        let trailers = || Some(Ok(Frame::trailers(HeaderMap::new())));
        assert_eq!(text(mask.pass(trailers(), None).unwrap()), "s");
        assert!(!mask.is_empty());
        assert!(mask.take_trailers().is_some_and(|frame| frame.is_trailers()));
        assert!(mask.pass(trailers(), None).unwrap().unwrap().unwrap().is_trailers());
        assert_eq!(
            text(mask.pass(Some(Ok(data("broken sk-live-0a1B"))), None).unwrap()),
            "broken "
        );
        let failure = mask.pass(Some(Err("reset".into())), None).unwrap();
        assert!(failure.unwrap().is_err());
    }

    #[test]
    fn bodies_that_are_text_are_told_from_others() {
        let plain = |content_type: Option<&'static str>, coding: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            let fields = [(header::CONTENT_TYPE, content_type), (header::CONTENT_ENCODING, coding)];
            for (name, value) in fields {
                headers.extend(value.map(|value| (name, HeaderValue::from_static(value))));
            }
            is_plain_text(&headers)
        };
        for text in [
            "text/html; charset=utf-8",
            "Text/Event-Stream",
            "application/json",
            "application/problem+JSON",
            "application/atom+xml",
            "image/svg+xml",
            "application/x-www-form-urlencoded",
            "application/javascript",
            "application/x-ndjson",
            "multipart/byteranges; boundary=x",
        ] {
            assert!(plain(Some(text), None) && plain(Some(text), Some("identity")), "{text}");
            assert!(!plain(Some(text), Some("gzip")), "{text}");
        }
        for other in ["application/octet-stream", "image/png", "application/grpc", "video/mp4"] {
            assert!(!plain(Some(other), None), "{other}");
        }
        assert!(plain(None, None) && !plain(None, Some("br")));
    }
}
