//! Heads of HTTP/2, read as strictly as those of HTTP/1.1.

use http::header;
use http::request::Parts;

use crate::model::field::is_token;
use crate::model::origin::Authority;
use crate::proxy::refusal::{Code, Refusal, malformed};
use crate::proxy::request::one_field;

/// Refuses what is refused over HTTP/1.1 and the HTTP library reads over HTTP/2 (RFC 9113
/// §8.2.1, §8.3.1): the origin may read it in another way.
pub(super) fn check(head: &Parts) -> Result<(), Refusal> {
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed("The :path is not printable ASCII: percent-encode the rest."));
    }
    if !head.headers.keys().all(|name| is_token(name.as_str())) {
        return Err(malformed("The name of a field is not well-formed."));
    }
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    if let Some(authority) = authority {
        Authority::parse(authority).map_err(|error| {
            Refusal::new(Code::MalformedRequest, format!("The :authority: {error}."))
        })?;
    }
    if let (Some(host), Some(authority)) = (one_field(&head.headers, &header::HOST)?, authority)
        && !host.eq_ignore_ascii_case(authority)
    {
        return Err(malformed("The Host field and :authority differ."));
    }
    one_field(&head.headers, &header::CONTENT_LENGTH).map(|_length| ())
}
