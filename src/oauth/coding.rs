//! The content coding of a token endpoint's response (RFC 9110 §8.4). No coding is asked for; an answer that
//! has one all the same is decoded, because the tokens in it are given only once.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use zeroize::Zeroizing;

/// The reason why an answer could not be decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CodingError {
    /// A coding other than gzip and deflate, or too many of them.
    Unknown,
    /// Not what its coding says.
    Broken,
    /// Too much comes out of it.
    TooLarge,
}

/// Decodes a body by what its head says, and takes off a byte order mark. At most `limit` bytes
/// come out.
pub(super) fn decode(
    headers: &HeaderMap,
    body: Zeroizing<Vec<u8>>,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, CodingError> {
    let mut codings = Vec::new();
    for line in headers.get_all(header::CONTENT_ENCODING) {
        let line = line.to_str().map_err(|_bytes| CodingError::Unknown)?;
        codings.extend(line.split(',').map(|coding| coding.trim().to_ascii_lowercase()));
    }
    codings.retain(|coding| !coding.is_empty() && coding != "identity");
    if codings.len() > MAX_CODINGS {
        return Err(CodingError::Unknown);
    }
    let mut body = body;
    // The last one that was applied comes off first.
    for coding in codings.iter().rev() {
        body = match coding.as_str() {
            // What says so and is not coded is read as it is; no JSON begins as gzip does.
            "gzip" | "x-gzip" if !body.starts_with(GZIP) => body,
            "gzip" | "x-gzip" => read(MultiGzDecoder::new(body.as_slice()), limit)?,
            "deflate" => inflate(&body, limit)?,
            _ => return Err(CodingError::Unknown),
        };
    }
    if body.starts_with(GZIP) {
        body = read(MultiGzDecoder::new(body.as_slice()), limit)?;
    }
    if body.starts_with(BYTE_ORDER_MARK) {
        body.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(body)
}

/// Undoes `deflate`: a zlib stream, or, as some servers have it, a bare one (RFC 9110 §8.4.1.2).
fn inflate(body: &[u8], limit: usize) -> Result<Zeroizing<Vec<u8>>, CodingError> {
    match read(ZlibDecoder::new(body), limit) {
        Err(CodingError::Broken) => read(DeflateDecoder::new(body), limit),
        decoded => decoded,
    }
}

fn read(decoder: impl Read, limit: usize) -> Result<Zeroizing<Vec<u8>>, CodingError> {
    let mut body = Zeroizing::new(Vec::new());
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = decoder.take(one_more).read_to_end(&mut body);
    read.map_err(|_where| CodingError::Broken)?;
    if body.len() > limit { Err(CodingError::TooLarge) } else { Ok(body) }
}

/// The number of codings that an answer may have.
const MAX_CODINGS: usize = 3;

/// The first bytes of gzip (RFC 1952 §2.3.1).
const GZIP: &[u8] = &[0x1f, 0x8b];

/// U+FEFF in UTF-8, which RFC 8259 §8.1 lets a reader pass over.
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b"{\"access_token\":\"a\"}";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(codings: &[&str], body: Vec<u8>) -> Result<Vec<u8>, CodingError> {
        let mut headers = HeaderMap::new();
        for coding in codings {
            headers.append(header::CONTENT_ENCODING, coding.parse().unwrap());
        }
        decode(&headers, Zeroizing::new(body), 1000).map(|body| body.to_vec())
    }

    #[test]
    fn what_is_coded_comes_out_as_it_went_in() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(TEXT).unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(TEXT).unwrap();
        let marked = [BYTE_ORDER_MARK, TEXT].concat();
        for (codings, body) in [
            (&[][..], TEXT.to_vec()),
            (&[], marked.clone()),
            (&["identity"], TEXT.to_vec()),
            (&["gzip"], gzip(TEXT)),
            (&["X-GZip"], gzip(&marked)),
            // Said and not done, and done and not said.
            (&["gzip"], TEXT.to_vec()),
            (&[], gzip(TEXT)),
            (&["deflate"], zlib.finish().unwrap()),
            (&["deflate"], bare.finish().unwrap()),
            (&["gzip, gzip"], gzip(&gzip(TEXT))),
            (&["gzip", " identity ,gzip"], gzip(&gzip(TEXT))),
        ] {
            assert_eq!(decoded(codings, body).as_deref(), Ok(TEXT), "{codings:?}");
        }
    }

    #[test]
    fn what_can_not_be_decoded_says_why() {
        for (coding, body, error) in [
            ("br", TEXT.to_vec(), CodingError::Unknown),
            ("gzip,gzip,gzip,gzip", TEXT.to_vec(), CodingError::Unknown),
            ("gzip", gzip(TEXT)[..12].to_vec(), CodingError::Broken),
            ("deflate", TEXT.to_vec(), CodingError::Broken),
            // A hundred times as long as it may be, and much shorter before.
            ("gzip", gzip(&vec![b' '; 100_000]), CodingError::TooLarge),
            ("gzip,gzip", gzip(&gzip(&vec![b' '; 1001])), CodingError::TooLarge),
        ] {
            assert_eq!(decoded(&[coding], body), Err(error), "{coding}");
        }
        assert_eq!(decoded(&["gzip"], gzip(&vec![b' '; 1000])).unwrap().len(), 1000);
    }

    proptest! {
        #[test]
        fn anything_at_all_is_decoded_or_refused(
            coding in "gzip|deflate|identity|br|[a-z, ]{0,12}",
            start in prop::sample::select(vec![&[][..], GZIP, &[0x78, 0x9c]]),
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Ok(body) = decoded(&[&coding], [start, &rest].concat()) {
                prop_assert!(body.len() <= 1000);
            }
        }
    }
}
