//! Reads requests by the strict reading of RFC 9112: it accepts the one form of a head and a body
//! that every HTTP implementation reads alike, and refuses any other.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use smallvec::SmallVec;

use super::body::BodyDecoder;
use super::fault::{FramingFault, HeadLimits};

/// The head of a request, and what of it concerns its conn alone.
#[derive(Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The target as it was sent: printable ASCII, without a fragment.
    pub target: Bytes,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// The fields, in the order in which they came.
    pub headers: HeaderMap,
    /// The decoder of the body; `None` where there is no body.
    pub body: Option<BodyDecoder>,
    /// Tells whether the caller wants to send another request on the conn (RFC 9112 §9.3).
    pub keeps_alive: bool,
    /// Tells whether the caller holds its body back until it gets a 100 (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// Tells whether the caller takes trailers (RFC 9110 §10.1.4).
    pub takes_trailers: bool,
}

/// A head, scanned line by line as it arrives, each byte once.
#[derive(Debug, Default)]
pub struct HeadScan {
    /// The offset of the current line.
    line_start: usize,
    /// The offset up to which line ends were searched.
    searched: usize,
    line: Option<LinePlaces>,
    fields: SmallVec<[FieldLine; 16]>,
    /// The least number of `Host` lines for this request: 0 or 1.
    fewest_hosts: usize,
    hosts: usize,
    content_length: Option<u64>,
    chunked: bool,
    expects_continue: bool,
    takes_trailers: bool,
    options: ConnOptions,
}

/// The places of a request line's parts within the head.
#[derive(Clone, Debug)]
struct LinePlaces {
    method: Range<usize>,
    target: Range<usize>,
    version_1_0: bool,
}

/// The place of a field line's name, and of its value without the white space around it.
#[derive(Clone, Debug)]
struct FieldLine {
    name: Range<u32>,
    value: Range<u32>,
}

/// The options of `Connection` that say what becomes of the conn.
#[derive(Clone, Copy, Debug, Default)]
struct ConnOptions {
    close: bool,
    keep_alive: bool,
}

impl HeadScan {
    /// Scans the bytes of a head. `bytes` must hold all of it so far, so they grow with each call.
    /// Gives the head's length, once it is complete.
    ///
    /// # Errors
    /// [`FramingFault`] when the message must be refused. The conn can't be used any further.
    pub fn scan(
        &mut self,
        bytes: &[u8],
        limits: HeadLimits,
    ) -> Result<Option<usize>, FramingFault> {
        while let Some(found) =
            memchr::memchr(b'\n', bytes.get(self.searched..).unwrap_or_default())
        {
            let end = self.searched + found;
            if end >= limits.max_bytes {
                return Err(FramingFault::TooLarge);
            }
            let line = bytes.get(self.line_start..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").ok_or(FramingFault::Control)?;
            let start = self.line_start;
            self.searched = end + 1;
            self.line_start = end + 1;
            if self.line.is_some() {
                if line.is_empty() {
                    self.check_framing()?;
                    return Ok(Some(end + 1));
                }
                self.take_field(line, start, limits)?;
            } else if !line.is_empty() {
                // Empty lines before a request line are skipped (RFC 9112 §2.2).
                self.take_request_line(line, start)?;
            }
        }
        self.searched = bytes.len();
        if bytes.len() >= limits.max_bytes { Err(FramingFault::TooLarge) } else { Ok(None) }
    }

    /// The request of a head that was scanned to its end; `head` holds all of it, and its fields
    /// share its memory. The next head may be scanned then.
    ///
    /// # Errors
    /// [`FramingFault`] when the head is not the one that was scanned.
    pub fn read(&mut self, head: &Bytes, limits: HeadLimits) -> Result<RequestHead, FramingFault> {
        // 1. The request line.
        let line = self.line.take().ok_or(FramingFault::RequestLine)?;
        let method = head.get(line.method).and_then(|method| Method::from_bytes(method).ok());
        let method = method.ok_or(FramingFault::RequestLine)?;
        let version = if line.version_1_0 { Version::HTTP_10 } else { Version::HTTP_11 };
        // 2. The fields, with room for those that are added on the way.
        let mut headers = HeaderMap::with_capacity(self.fields.len() + ADDED_FIELDS);
        for field in self.fields.drain(..) {
            let (name, value) = (in_usize(field.name), in_usize(field.value));
            let name = head.get(name).and_then(|name| HeaderName::from_bytes(name).ok());
            let value = HeaderValue::from_maybe_shared(head.slice(value));
            let (Some(name), Ok(value)) = (name, value) else {
                return Err(FramingFault::FieldLine);
            };
            headers.append(name, value);
        }
        // 3. The body and the conn.
        let body = match (self.content_length, self.chunked) {
            (_, true) => Some(BodyDecoder::chunked(limits)),
            (None | Some(0), false) => None,
            (Some(length), false) => Some(BodyDecoder::sized(length, limits)),
        };
        let options = self.options;
        let (expects_continue, takes_trailers) = (self.expects_continue, self.takes_trailers);
        self.begin_again();
        Ok(RequestHead {
            method,
            target: head.slice(line.target),
            version,
            headers,
            body,
            keeps_alive: !options.close && (!line.version_1_0 || options.keep_alive),
            expects_continue: expects_continue && !line.version_1_0,
            takes_trailers,
        })
    }

    /// Prepares for the next head; the room for places of fields stays.
    fn begin_again(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    fn take_request_line(&mut self, line: &[u8], start: usize) -> Result<(), FramingFault> {
        let (method, target, version_1_0) = split_request_line(line)?;
        // HTTP/1.0 needs no Host (RFC 9112 §3.2), and many clients still send CONNECT that way.
        // The target of a CONNECT names the destination, so nothing is missing.
        let needs_none = version_1_0 && method == b"CONNECT";
        self.fewest_hosts = usize::from(!needs_none);
        let target_start = start + method.len() + 1;
        self.line = Some(LinePlaces {
            method: start..start + method.len(),
            target: target_start..target_start + target.len(),
            version_1_0,
        });
        Ok(())
    }

    fn take_field(
        &mut self,
        line: &[u8],
        start: usize,
        limits: HeadLimits,
    ) -> Result<(), FramingFault> {
        // 1. Count the field, and keep its place.
        if self.fields.len() >= limits.max_fields {
            return Err(FramingFault::TooLarge);
        }
        let (name, value) = split_field(line)?;
        let value_start = start + line.len() - value.len();
        let leading = value.len() - value.trim_ascii_start().len();
        let value = value.trim_ascii();
        self.fields.push(FieldLine {
            name: in_u32(start, name.len())?,
            value: in_u32(value_start + leading, value.len())?,
        });
        // 2. Note what decides where the body ends, and what becomes of the conn.
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            2 if is("te") => self.takes_trailers |= has_option(value, b"trailers"),
            4 if is("host") => self.hosts += 1,
            6 if is("expect") => {
                self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            10 if is("connection") => {
                self.options.close |= has_option(value, b"close");
                self.options.keep_alive |= has_option(value, b"keep-alive");
            }
            14 if is("content-length") => self.take_content_length(value)?,
            17 if is("transfer-encoding") => self.take_transfer_encoding(value)?,
            _ => {}
        }
        Ok(())
    }

    fn take_content_length(&mut self, value: &[u8]) -> Result<(), FramingFault> {
        let length = parse_length(value)?;
        match self.content_length.replace(length) {
            None => Ok(()),
            Some(_second) => Err(FramingFault::ContentLength),
        }
    }

    fn take_transfer_encoding(&mut self, value: &[u8]) -> Result<(), FramingFault> {
        let is_1_0 = self.line.as_ref().is_some_and(|line| line.version_1_0);
        if self.chunked || is_1_0 || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(FramingFault::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    fn check_framing(&self) -> Result<(), FramingFault> {
        if !(self.fewest_hosts..=1).contains(&self.hosts) {
            return Err(FramingFault::Host);
        }
        if self.chunked && self.content_length.is_some() {
            return Err(FramingFault::Framing);
        }
        Ok(())
    }
}

/// The number of fields that are added to a request on its way, for which room is reserved.
const ADDED_FIELDS: usize = 4;

fn in_u32(start: usize, length: usize) -> Result<Range<u32>, FramingFault> {
    let place = u32::try_from(start).ok().zip(u32::try_from(start + length).ok());
    place.map(|(start, end)| start..end).ok_or(FramingFault::TooLarge)
}

fn in_usize(place: Range<u32>) -> Range<usize> {
    let wide = |place| usize::try_from(place).unwrap_or(usize::MAX);
    wide(place.start)..wide(place.end)
}

/// Tells whether a list of options has this one (RFC 9110 §5.6.1).
fn has_option(value: &[u8], option: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(option))
}

/// The method and the target of a request line, and whether it is of HTTP/1.0.
fn split_request_line(line: &[u8]) -> Result<(&[u8], &[u8], bool), FramingFault> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(FramingFault::RequestLine);
    };
    // A fragment is never sent (RFC 9110 §7.1), and a parser that drops it reads another target.
    let is_target = !target.is_empty() && all_bytes(target, |b| b.is_ascii_graphic() && b != b'#');
    if !is_token(method) || !is_target {
        return Err(FramingFault::RequestLine);
    }
    match version {
        b"HTTP/1.1" => Ok((method, target, false)),
        b"HTTP/1.0" => Ok((method, target, true)),
        _ => Err(FramingFault::Version),
    }
}

/// The name and value of a field line.
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), FramingFault> {
    let colon = memchr::memchr(b':', line).ok_or(FramingFault::FieldLine)?;
    let (name, rest) = line.split_at_checked(colon).ok_or(FramingFault::FieldLine)?;
    if !is_token(name) {
        return Err(FramingFault::FieldLine);
    }
    let value = rest.get(1..).unwrap_or_default();
    if !all_bytes(value, |byte| !is_control(byte)) {
        return Err(FramingFault::Control);
    }
    Ok((name, value))
}

fn parse_length(value: &[u8]) -> Result<u64, FramingFault> {
    let plain = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.parse().ok().filter(|_| plain).ok_or(FramingFault::ContentLength)
}

/// A control character other than the tab (RFC 9110 §5.5).
pub(super) fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// Tells whether the text is a `token` (RFC 9110 §5.6.2).
fn is_token(text: &[u8]) -> bool {
    let lookup = |byte: u8| TCHAR.get(usize::from(byte)).copied().unwrap_or(false);
    !text.is_empty() && all_bytes(text, lookup)
}

/// Tells whether every byte is `allowed`. Without an early exit the compiler vectorizes the loop,
/// and most heads have no byte to stop at.
fn all_bytes(bytes: &[u8], allowed: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |so_far, byte| so_far & allowed(*byte))
}

/// `tchar` (RFC 9110 §5.6.2) as a table: it is looked up for each byte of each field name.
const TCHAR: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        let mark = matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
            || matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        #[expect(clippy::indexing_slicing, reason = "evaluated when compiling, within bounds")]
        {
            table[byte as usize] = mark || byte.is_ascii_alphanumeric();
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::BodyPiece;
    use proptest::prelude::*;

    const LIMITS: HeadLimits = HeadLimits { max_bytes: 1024, max_fields: 8 };

    /// The extent of the first message within the bytes.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    enum MessageExtent {
        IncompleteHead,
        Within(usize),
        End(usize),
    }

    fn look(bytes: &[u8]) -> Result<MessageExtent, FramingFault> {
        Framing::default().scan(bytes)
    }

    /// Follows the messages of a conn, as the one that serves it does.
    #[derive(Default)]
    struct Framing {
        head: HeadScan,
        body: Option<BodyDecoder>,
    }

    impl Framing {
        /// Within a head, `bytes` begin with it; within a body, they are the new ones.
        fn scan(&mut self, bytes: &[u8]) -> Result<MessageExtent, FramingFault> {
            let mut at = 0;
            if self.body.is_none() {
                let Some(end) = self.head.scan(bytes, LIMITS)? else {
                    return Ok(MessageExtent::IncompleteHead);
                };
                let head = Bytes::copy_from_slice(&bytes[..end]);
                self.body = self.head.read(&head, LIMITS)?.body;
                at = end;
            }
            while let Some(body) = &mut self.body {
                if at == bytes.len() {
                    return Ok(MessageExtent::Within(at));
                }
                match body.next(&bytes[at..])? {
                    BodyPiece::More { skip } => at += skip,
                    BodyPiece::Data { skip, length } => at += skip + length,
                    BodyPiece::End { skip, .. } => {
                        at += skip;
                        self.body = None;
                    }
                }
                if self.body.as_ref().is_some_and(|body| body.left() == Some(0)) {
                    self.body = None;
                }
            }
            Ok(MessageExtent::End(at))
        }
    }

    fn head(fields: &str) -> Vec<u8> {
        format!("POST /v1 HTTP/1.1\r\nHost: a.com\r\n{fields}\r\n").into_bytes()
    }

    #[test]
    fn a_plain_head_ends_where_its_empty_line_does() {
        let bytes = head("Accept: */*\r\n");
        assert_eq!(look(&bytes), Ok(MessageExtent::End(bytes.len())));
        let pipelined = [bytes.as_slice(), b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(look(&pipelined), Ok(MessageExtent::End(bytes.len())));
        let spaced = [b"\r\n".as_slice(), &bytes].concat();
        assert_eq!(look(&spaced), Ok(MessageExtent::End(spaced.len())));
    }

    fn read(bytes: &[u8]) -> RequestHead {
        let mut scan = HeadScan::default();
        let end = scan.scan(bytes, LIMITS).unwrap().unwrap();
        scan.read(&Bytes::copy_from_slice(&bytes[..end]), LIMITS).unwrap()
    }

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let head =
            read(b"\r\nGET /a?b=c HTTP/1.0\r\nhost: a\r\nX:\t y\tz \r\nX:\r\nx: \xe9\r\n\r\n");
        assert_eq!((&head.method, &*head.target), (&Method::GET, &b"/a?b=c"[..]));
        assert_eq!((head.version, head.headers.len()), (Version::HTTP_10, 4));
        let values: Vec<_> = head.headers.get_all("x").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [&b"y\tz"[..], b"", b"\xe9"]);
        assert!(head.body.is_none());
    }

    #[test]
    fn what_becomes_of_the_conn_is_read_of_the_fields() {
        let keeps = |version: &str, fields: &str| {
            read(format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n").as_bytes()).keeps_alive
        };
        assert!(keeps("1.1", "") && !keeps("1.0", ""));
        assert!(keeps("1.0", "Connection: x, Keep-Alive\r\n"));
        assert!(!keeps("1.1", "Connection: x\r\nconnection: CLOSE, te\r\n"));
        assert!(!keeps("1.0", "Connection: keep-alive, close\r\n"));
        let expecting = |version: &str| {
            let fields = "Expect: 100-Continue\r\nTE: gzip, trailers\r\n";
            let head = read(format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n").as_bytes());
            (head.expects_continue, head.takes_trailers)
        };
        assert_eq!((expecting("1.1"), expecting("1.0")), ((true, true), (false, true)));
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        let sized = [head("Content-Length: 5\r\n"), b"helloGET".to_vec()].concat();
        assert_eq!(look(&sized), Ok(MessageExtent::End(sized.len() - 3)));
        let short = [head("Content-Length: 5\r\n"), b"hel".to_vec()].concat();
        assert_eq!(look(&short), Ok(MessageExtent::Within(short.len())));
        let body = b"5;a=\"b\"\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET";
        let chunked = [head("Transfer-Encoding: Chunked\r\n"), body.to_vec()].concat();
        assert_eq!(look(&chunked), Ok(MessageExtent::End(chunked.len() - 3)));
    }

    #[test]
    fn contradictory_and_lenient_framing_is_refused() {
        for (fields, fault) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", FramingFault::Framing),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", FramingFault::Framing),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", FramingFault::ContentLength),
            ("Content-Length: 5, 5\r\n", FramingFault::ContentLength),
            ("Content-Length: +5\r\n", FramingFault::ContentLength),
            ("Content-Length: 0x5\r\n", FramingFault::ContentLength),
            ("Content-Length: \r\n", FramingFault::ContentLength),
            ("Content-Length: 99999999999999999999\r\n", FramingFault::ContentLength),
            ("Transfer-Encoding: ,chunked\r\n", FramingFault::TransferEncoding),
            ("Transfer-Encoding: chunked, chunked\r\n", FramingFault::TransferEncoding),
            ("Transfer-Encoding: cow, chunked\r\n", FramingFault::TransferEncoding),
            ("Transfer-Encoding: gzip, chunked\r\n", FramingFault::TransferEncoding),
            ("Transfer-Encoding: identity\r\n", FramingFault::TransferEncoding),
            (
                "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
                FramingFault::TransferEncoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                FramingFault::TransferEncoding,
            ),
            ("Transfer-Encoding: \x0bchunked\r\n", FramingFault::Control),
            ("Transfer-Encoding : chunked\r\n", FramingFault::FieldLine),
            ("Host: b.com\r\n", FramingFault::Host),
            (" folded\r\n", FramingFault::FieldLine),
            ("X: a\r\n\tb: c\r\n", FramingFault::FieldLine),
            ("no colon\r\n", FramingFault::FieldLine),
            (": empty\r\n", FramingFault::FieldLine),
            ("X: a\nY: b\r\n", FramingFault::Control),
            ("X: a\rb\r\n", FramingFault::Control),
            ("X: a\0b\r\n", FramingFault::Control),
            ("X\u{130}: a\r\n", FramingFault::FieldLine),
        ] {
            assert_eq!(look(&head(fields)), Err(fault), "{fields:?}");
        }
    }

    #[test]
    fn bad_request_lines_are_refused() {
        for (line, fault) in [
            ("GET  / HTTP/1.1", FramingFault::RequestLine),
            ("GET / HTTP/1.1 ", FramingFault::RequestLine),
            ("GET /", FramingFault::RequestLine),
            ("GE(T / HTTP/1.1", FramingFault::RequestLine),
            ("GET /a#b HTTP/1.1", FramingFault::RequestLine),
            ("GET /\u{e9} HTTP/1.1", FramingFault::RequestLine),
            ("GET /\t HTTP/1.1", FramingFault::RequestLine),
            ("GET / HTTP/2.0", FramingFault::Version),
            ("GET / HTTP/1.2", FramingFault::Version),
            ("GET / http/1.1", FramingFault::Version),
        ] {
            let bytes = format!("{line}\r\nHost: a.com\r\n\r\n");
            assert_eq!(look(bytes.as_bytes()), Err(fault), "{line:?}");
        }
        assert_eq!(look(b"GET / HTTP/1.1\r\n\r\n"), Err(FramingFault::Host));
        let old = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(look(old), Err(FramingFault::TransferEncoding));
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for body in [
            "\r\n",
            ";\r\n",
            "g\r\n",
            "5\n",
            "5 \r\nhello\r\n",
            "+5\r\n",
            "0x5\r\n",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "1234567890123456\r\n",
            "5;\0\r\n",
            "-1\r\n",
        ] {
            let bytes = [head("Transfer-Encoding: chunked\r\n"), body.into()].concat();
            assert_eq!(look(&bytes), Err(FramingFault::Chunk), "{body:?}");
        }
        let bytes = [head("Transfer-Encoding: chunked\r\n"), b"0\r\nbad trailer\r\n\r\n".to_vec()];
        assert_eq!(look(&bytes.concat()), Err(FramingFault::FieldLine));
    }

    #[test]
    fn heads_beyond_the_limits_are_refused_before_they_end() {
        assert_eq!(look(&[b'a'; 1024]), Err(FramingFault::TooLarge));
        assert_eq!(look(&[b'a'; 1023]), Ok(MessageExtent::IncompleteHead));
        assert_eq!(look(&head(&"X: y\r\n".repeat(8))), Err(FramingFault::TooLarge));
        assert!(look(&head(&"X: y\r\n".repeat(7))).is_ok());
    }

    /// Feeds `bytes` in pieces as a conn would, and gives the offsets at which messages ended.
    fn ends(bytes: &[u8], cuts: &[usize]) -> Result<Vec<usize>, FramingFault> {
        let mut framing = Framing::default();
        let (mut ends, mut start) = (Vec::new(), 0);
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            while start < cut {
                match framing.scan(&bytes[start..cut])? {
                    MessageExtent::IncompleteHead => break,
                    MessageExtent::Within(taken) => start += taken,
                    MessageExtent::End(taken) => {
                        start += taken;
                        ends.push(start);
                    }
                }
            }
        }
        Ok(ends)
    }

    #[test]
    fn a_head_that_is_too_large_is_so_however_it_arrives() {
        let bytes = [&[b'a'; 1500][..], b"\n"].concat();
        assert_eq!(look(&bytes), Err(FramingFault::TooLarge));
        assert_eq!(ends(&bytes, &[1100]), Err(FramingFault::TooLarge));
    }

    /// One message, and its length.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let sized = prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|body| [head(&format!("Content-Length: {}\r\n", body.len())), body].concat());
        let chunk = (prop::collection::vec(any::<u8>(), 1..20), "(;[a-z=\"]{0,6})?");
        let chunked = (prop::collection::vec(chunk, 0..4), "(T: v\r\n){0,2}");
        let chunked = chunked.prop_map(|(chunks, trailers)| {
            let mut bytes = head("Transfer-Encoding: chunked\r\n");
            for (data, extension) in chunks {
                bytes.extend_from_slice(format!("{:X}{extension}\r\n", data.len()).as_bytes());
                bytes.extend_from_slice(&data);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
            bytes
        });
        prop_oneof![Just(head("X: y\r\n")), sized, chunked]
    }

    proptest! {
        #[test]
        fn each_pipelined_message_ends_where_it_was_written_to(
            messages in prop::collection::vec(message(), 1..6),
            mut cuts in prop::collection::vec(0_usize..600, 0..12),
        ) {
            let stream = messages.concat();
            cuts.retain(|cut| *cut < stream.len());
            cuts.sort_unstable();
            let written: Vec<usize> = messages
                .iter()
                .scan(0, |end, message| { *end += message.len(); Some(*end) })
                .collect();
            prop_assert_eq!(ends(&stream, &cuts), Ok(written));
        }

        #[test]
        fn how_the_bytes_are_cut_changes_nothing(mut cuts in prop::collection::vec(0_usize..400, 0..12)) {
            let stream = [
                head("Content-Length: 7\r\n"), b"1234567".to_vec(), head(""),
                head("Transfer-Encoding: chunked\r\n"),
                b"3\r\nabc\r\nB;x=y\r\n01234567890\r\n0\r\nT: v\r\n\r\n".to_vec(), head("X: y\r\n"),
            ].concat();
            cuts.retain(|cut| *cut < stream.len());
            cuts.sort_unstable();
            let whole = ends(&stream, &[]);
            prop_assert_eq!(whole.as_ref().map(Vec::len), Ok(4));
            prop_assert_eq!(ends(&stream, &cuts), whole);
        }

        #[test]
        fn how_anything_at_all_is_cut_changes_nothing(
            begins in prop_oneof![
                Just(Vec::new()), Just(head("Transfer-Encoding: chunked\r\n")), Just(head("Content-Length: 9\r\n")),
            ],
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'1')], 0..400),
            mut cuts in prop::collection::vec(0_usize..400, 0..12),
        ) {
            let stream = [begins, bytes].concat();
            cuts.retain(|cut| *cut < stream.len());
            cuts.sort_unstable();
            prop_assert_eq!(ends(&stream, &cuts), ends(&stream, &[]));
        }
    }
}
