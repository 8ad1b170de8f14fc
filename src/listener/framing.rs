//! Finds the end of each HTTP/1.1 message by the strict reading of RFC 9112.
//!
//! It recognizes and does not parse: it accepts the one form of a head and a body that every HTTP
//! implementation reads alike, and refuses any other. The HTTP library parses accepted bytes again.
//! The library is more lenient and drops contradictory fields, so a message that two readers could
//! understand differently must not reach it.

mod chunks;

use self::chunks::ChunkScan;

/// The limits of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes from the request line to the empty line, both included.
    pub max_bytes: usize,
    /// The number of field lines.
    pub max_fields: usize,
}

/// The reason why a message was refused. The text says what the sender must change.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum FramingFault {
    /// A chunk's size, extension or end violates RFC 9112 §7.1.
    #[error("the chunked body is not well-formed")]
    Chunk,
    #[error("the head contains a control character or a line that does not end in CR LF")]
    Control,
    #[error("Content-Length is not one plain number")]
    ContentLength,
    #[error("a header line is not well-formed")]
    FieldLine,
    /// Both ways to frame a body at once (RFC 9112 §6.1).
    #[error("Content-Length and Transfer-Encoding exclude each other")]
    Framing,
    /// No `Host`, or more than one (RFC 9112 §3.2).
    #[error("a request has exactly one Host line")]
    Host,
    #[error("the request line is not well-formed")]
    RequestLine,
    /// A TLS handshake where plain HTTP is spoken.
    #[error(
        "a TLS handshake came, but this listener speaks plain HTTP: write http:// where the proxy is named, or set proxy.tls"
    )]
    Tls,
    #[error("the request's head is too large")]
    TooLarge,
    #[error("the only Transfer-Encoding understood is one chunked, in HTTP/1.1")]
    TransferEncoding,
    #[error("the HTTP version is neither 1.0 nor 1.1")]
    Version,
}

/// Follows the messages of one conn.
#[derive(Debug)]
pub struct Framing {
    limits: HeadLimits,
    phase: FramingPhase,
}

/// The extent of the current message within the scanned bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MessageExtent {
    /// The head is incomplete, so none of it may be passed on yet.
    IncompleteHead,
    /// This many bytes belong to the current message, which goes on after them.
    Within(usize),
    /// This many bytes end the current message; the next one's head follows.
    End(usize),
}

#[derive(Debug)]
enum FramingPhase {
    Head(HeadScan),
    Sized(u64),
    Chunked(ChunkScan),
}

impl Framing {
    /// A state before the first head of a conn.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, phase: FramingPhase::Head(HeadScan::default()) }
    }

    /// Tells whether a head is expected or incomplete, rather than a body.
    pub fn in_head(&self) -> bool {
        matches!(self.phase, FramingPhase::Head(_))
    }

    /// Scans arrived bytes. While a head is incomplete, `bytes` must hold all of it so far, so they
    /// grow with each call. Within a body, `bytes` are the new ones only.
    ///
    /// # Errors
    /// [`FramingFault`] when the message must be refused. The conn can't be used any further.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<MessageExtent, FramingFault> {
        let FramingPhase::Head(scan) = &mut self.phase else {
            return self.scan_body(bytes, 0);
        };
        let Some(length) = scan.scan(bytes, self.limits)? else {
            return Ok(MessageExtent::IncompleteHead);
        };
        self.phase = match scan.body_framing()? {
            BodyFraming::None => {
                self.phase = FramingPhase::Head(HeadScan::default());
                return Ok(MessageExtent::End(length));
            }
            BodyFraming::Sized(size) => FramingPhase::Sized(size),
            BodyFraming::Chunked => FramingPhase::Chunked(ChunkScan::default()),
        };
        self.scan_body(bytes, length)
    }

    fn scan_body(&mut self, bytes: &[u8], from: usize) -> Result<MessageExtent, FramingFault> {
        let body = bytes.get(from..).unwrap_or_default();
        let ended = match &mut self.phase {
            FramingPhase::Head(_) => None,
            FramingPhase::Sized(left) => {
                let available = u64::try_from(body.len()).unwrap_or(u64::MAX);
                let taken = available.min(*left);
                *left -= taken;
                (*left == 0).then(|| usize::try_from(taken).unwrap_or(body.len()))
            }
            FramingPhase::Chunked(scan) => scan.scan(body, self.limits)?,
        };
        Ok(match ended {
            Some(taken) => {
                self.phase = FramingPhase::Head(HeadScan::default());
                MessageExtent::End(from + taken)
            }
            None => MessageExtent::Within(bytes.len()),
        })
    }
}

enum BodyFraming {
    None,
    Sized(u64),
    Chunked,
}

/// A head, scanned line by line as it arrives, each byte once.
#[derive(Debug, Default)]
struct HeadScan {
    /// The offset of the current line.
    line_start: usize,
    /// The offset up to which line ends were searched.
    searched: usize,
    past_request_line: bool,
    version_1_0: bool,
    fields: usize,
    /// The least number of `Host` lines for this request: 0 or 1.
    fewest_hosts: usize,
    hosts: usize,
    content_length: Option<u64>,
    chunked: bool,
}

impl HeadScan {
    /// The head's length, once it is complete.
    fn scan(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<Option<usize>, FramingFault> {
        while let Some(found) =
            memchr::memchr(b'\n', bytes.get(self.searched..).unwrap_or_default())
        {
            let end = self.searched + found;
            if end >= limits.max_bytes {
                return Err(FramingFault::TooLarge);
            }
            let line = bytes.get(self.line_start..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").ok_or(FramingFault::Control)?;
            self.searched = end + 1;
            self.line_start = end + 1;
            if !line.is_empty() {
                self.take_line(line, limits)?;
            } else if self.past_request_line {
                return Ok(Some(end + 1));
            }
        }
        self.searched = bytes.len();
        if bytes.len() >= limits.max_bytes { Err(FramingFault::TooLarge) } else { Ok(None) }
    }

    fn take_line(&mut self, line: &[u8], limits: HeadLimits) -> Result<(), FramingFault> {
        if !self.past_request_line {
            self.past_request_line = true;
            self.version_1_0 = check_request_line(line)?;
            // HTTP/1.0 needs no Host (RFC 9112 §3.2), and many clients still send CONNECT that way.
            // The target of a CONNECT names the destination, so nothing is missing.
            let needs_none = self.version_1_0 && line.starts_with(b"CONNECT ");
            self.fewest_hosts = usize::from(!needs_none);
            return Ok(());
        }
        // Count the field, then note what decides where the body ends.
        self.fields += 1;
        if self.fields > limits.max_fields {
            return Err(FramingFault::TooLarge);
        }
        let (name, value) = split_field(line)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let second = self.content_length.is_some();
                self.content_length = Some(parse_length(value.trim_ascii())?);
                if second {
                    return Err(FramingFault::ContentLength);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                let only = !self.chunked && chunked;
                if !only || self.version_1_0 {
                    return Err(FramingFault::TransferEncoding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn body_framing(&self) -> Result<BodyFraming, FramingFault> {
        if !(self.fewest_hosts..=1).contains(&self.hosts) {
            return Err(FramingFault::Host);
        }
        match (self.content_length, self.chunked) {
            (Some(_), true) => Err(FramingFault::Framing),
            (None, true) => Ok(BodyFraming::Chunked),
            (None | Some(0), false) => Ok(BodyFraming::None),
            (Some(length), false) => Ok(BodyFraming::Sized(length)),
        }
    }
}

/// Checks a request line. `true` for HTTP/1.0.
fn check_request_line(line: &[u8]) -> Result<bool, FramingFault> {
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
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        _ => Err(FramingFault::Version),
    }
}

/// The name and value of a field line.
fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), FramingFault> {
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
fn is_control(byte: u8) -> bool {
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
    use proptest::prelude::*;

    const LIMITS: HeadLimits = HeadLimits { max_bytes: 1024, max_fields: 8 };

    fn look(bytes: &[u8]) -> Result<MessageExtent, FramingFault> {
        Framing::new(LIMITS).scan(bytes)
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
        let mut framing = Framing::new(LIMITS);
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
