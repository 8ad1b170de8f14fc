//! Signatures in a request's query, as presigned URLs have them.

use super::canonical::{Plus, decode};

/// The authentication that a request's query has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum QueryAuth {
    /// None: the request is signed in its fields.
    Absent,
    /// A whole signature: the URL is presigned, and passes as it is.
    Presigned,
}

/// A query with a signature that can't be read in one way. The text says what to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum QueryAuthFault {
    /// A part of a signature, or one in another spelling.
    #[error(
        "The URL has a part of a signature: a presigned URL has X-Amz-Algorithm, X-Amz-Credential, \
         X-Amz-Date, X-Amz-SignedHeaders and X-Amz-Signature once each; any other URL has none of \
         them."
    )]
    Partial,
    /// A signature of version 2.
    #[error(
        "The URL is signed with Signature Version 2, which the proxy can't replace: configure the \
         client for version 4 (signature_version = s3v4)."
    )]
    Version2,
}

impl QueryAuth {
    /// Reads the query of a target.
    ///
    /// # Errors
    /// [`QueryAuthFault`] when it has a signature that is not whole, or of an older version.
    pub fn read(target: &str) -> Result<Self, QueryAuthFault> {
        let Some((_, query)) = target.split_once('?') else { return Ok(Self::Absent) };
        let mut counts = [0_usize; PRESIGNED.len()];
        let (mut is_odd, mut is_version_2) = (false, [false; 2]);
        for (name, _value) in split_params(query) {
            let name = decode(name.as_bytes(), Plus::Space);
            for (count, known) in counts.iter_mut().zip(PRESIGNED) {
                *count += usize::from(name == known.as_bytes());
                is_odd |= is_same_but_for_spelling(&name, known);
            }
            for (found, known) in is_version_2.iter_mut().zip(VERSION_2) {
                *found |= name.eq_ignore_ascii_case(known.as_bytes());
            }
        }
        match counts {
            _ if is_odd => Err(QueryAuthFault::Partial),
            [0, 0, 0, 0, 0] if is_version_2 == [true; 2] => Err(QueryAuthFault::Version2),
            [0, 0, 0, 0, 0] => Ok(Self::Absent),
            [1, 1, 1, 1, 1] => Ok(Self::Presigned),
            _ => Err(QueryAuthFault::Partial),
        }
    }
}

/// The parameters of a query, as they are written. Empty ones are left out.
pub(super) fn split_params(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let params = query.split('&').filter(|param| !param.is_empty());
    params.map(|param| param.split_once('=').unwrap_or((param, "")))
}

/// Tells whether a server may take a name for another one that is written otherwise.
fn is_same_but_for_spelling(name: &[u8], known: &str) -> bool {
    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name != known.as_bytes() && name.iter().map(fold).eq(known.as_bytes().iter().map(fold))
}

/// The parameters of a presigned URL that every one has.
const PRESIGNED: [&str; 5] =
    ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature"];

/// The parameters by which a signature of version 2 is known.
const VERSION_2: [&str; 2] = ["AWSAccessKeyId", "Signature"];

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k%2F20150830&X-Amz-Date=\
                         20150830T123600Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=ab";

    #[test]
    fn a_presigned_url_is_known_by_all_its_parameters() {
        assert_eq!(QueryAuth::read("/key"), Ok(QueryAuth::Absent));
        assert_eq!(QueryAuth::read("/key?acl&x-amz-acl=private"), Ok(QueryAuth::Absent));
        assert_eq!(QueryAuth::read(&format!("/key?{WHOLE}")), Ok(QueryAuth::Presigned));
        let escaped = WHOLE.replace("X-Amz-Signature", "X%2DAmz%2dSignature");
        assert_eq!(QueryAuth::read(&format!("/key?a=1&{escaped}")), Ok(QueryAuth::Presigned));
    }

    #[test]
    fn what_is_a_signature_in_part_is_refused() {
        for query in [
            "X-Amz-Signature=ab".to_owned(),
            "X-Amz-Credential=k".to_owned(),
            "x-amz-signature=ab".to_owned(),
            "X_Amz_Signature=ab".to_owned(),
            format!("{WHOLE}&X-Amz-Signature=cd"),
            format!("{WHOLE}&x-amz-date=20150830T123600Z"),
        ] {
            let read = QueryAuth::read(&format!("/?{query}"));
            assert_eq!(read, Err(QueryAuthFault::Partial), "{query}");
        }
        let version_2 = "/key?AWSAccessKeyId=k&Expires=1&Signature=s";
        assert_eq!(QueryAuth::read(version_2), Err(QueryAuthFault::Version2));
        assert_eq!(QueryAuth::read("/verify?Signature=s"), Ok(QueryAuth::Absent));
    }
}
