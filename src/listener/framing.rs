//! Where one HTTP/1.1 message ends and the next begins, by the strict reading of RFC 9112.
//!
//! A recogniser, not a parser: it accepts the one way to write a head and a body that every
//! HTTP implementation reads alike, and refuses the rest. What it passes is parsed again by the
//! HTTP library, which is more lenient and drops what it finds contradictory; nothing that two
//! readers could take differently may get that far.

mod chunks;

use self::chunks::ChunkScan;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes from the request line to the empty line.
    pub max_bytes: usize,
    /// Field lines.
    pub max_fields: usize,
}

/// Why a message was refused. The text says what the sender must change.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// A chunk's size, extension or end that is not written as RFC 9112 §7.1 says.
    #[error("the chunked body is not well-formed")]
    Chunk,
    /// A control character, or a line that does not end in CR LF.
    #[error("the head contains a control character or a line that does not end in CR LF")]
    Control,
    /// Content-Length twice, as a list, or not a number.
    #[error("Content-Length is not one plain number")]
    ContentLength,
    /// A field name that is not a token, a space before the colon, or a folded line.
    #[error("a header line is not well-formed")]
    FieldLine,
    /// Both ways to frame a body at once (RFC 9112 §6.1).
    #[error("Content-Length and Transfer-Encoding exclude each other")]
    Framing,
    /// No `Host`, or more than one (RFC 9112 §3.2).
    #[error("a request has exactly one Host line")]
    Host,
    /// A request line that is not three parts with single spaces, or not printable ASCII.
    #[error("the request line is not well-formed")]
    RequestLine,
    /// A TLS handshake where plain HTTP is spoken.
    #[error(
        "a TLS handshake came, but this listener speaks plain HTTP: write http:// where the proxy is named, or set proxy.tls"
    )]
    Tls,
    /// The head is larger than the limits.
    #[error("the request's head is too large")]
    TooLarge,
    /// Any Transfer-Encoding but one `chunked`, or one in HTTP/1.0.
    #[error("the only Transfer-Encoding understood is one chunked, in HTTP/1.1")]
    TransferEncoding,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("the HTTP version is neither 1.0 nor 1.1")]
    Version,
}

/// Follows the messages of one conn.
#[derive(Debug)]
pub struct Framing {
    limits: HeadLimits,
    phase: Phase,
}

/// What a look at some bytes found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// The head is not complete; nothing of it may be passed on yet.
    PartOfHead,
    /// This many bytes belong to the current message and may be passed on; the message goes on.
    Within(usize),
    /// This many bytes end the current message; what follows is the next one's head.
    End(usize),
}

#[derive(Debug)]
enum Phase {
    Head(HeadScan),
    Sized(u64),
    Chunked(ChunkScan),
}

impl Framing {
    /// Begins before the first head.
    #[must_use]
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, phase: Phase::Head(HeadScan::default()) }
    }

    /// Whether a head is expected or under way, rather than a body.
    #[must_use]
    pub fn in_head(&self) -> bool {
        matches!(self.phase, Phase::Head(_))
    }

    /// Looks at what has arrived. While a head is under way, `bytes` must begin with the whole
    /// of it so far, and grow with each call; within a body, `bytes` are new ones only.
    ///
    /// # Errors
    /// [`Fault`] when the message must be refused; the conn can't be used any further.
    pub fn look(&mut self, bytes: &[u8]) -> Result<Seen, Fault> {
        let Phase::Head(scan) = &mut self.phase else {
            return self.look_at_body(bytes, 0);
        };
        let Some(length) = scan.advance(bytes, self.limits)? else {
            return Ok(Seen::PartOfHead);
        };
        self.phase = match scan.body()? {
            Body::None => {
                self.phase = Phase::Head(HeadScan::default());
                return Ok(Seen::End(length));
            }
            Body::Sized(size) => Phase::Sized(size),
            Body::Chunked => Phase::Chunked(ChunkScan::default()),
        };
        self.look_at_body(bytes, length)
    }

    fn look_at_body(&mut self, bytes: &[u8], from: usize) -> Result<Seen, Fault> {
        let body = bytes.get(from..).unwrap_or_default();
        let ended = match &mut self.phase {
            Phase::Head(_) => None,
            Phase::Sized(left) => {
                let available = u64::try_from(body.len()).unwrap_or(u64::MAX);
                let taken = available.min(*left);
                *left -= taken;
                (*left == 0).then(|| usize::try_from(taken).unwrap_or(body.len()))
            }
            Phase::Chunked(scan) => scan.advance(body, self.limits)?,
        };
        Ok(match ended {
            Some(taken) => {
                self.phase = Phase::Head(HeadScan::default());
                Seen::End(from + taken)
            }
            None => Seen::Within(bytes.len()),
        })
    }
}

enum Body {
    None,
    Sized(u64),
    Chunked,
}

/// A head, scanned line by line as it arrives, each byte once.
#[derive(Debug, Default)]
struct HeadScan {
    /// Where the line under way begins.
    line_start: usize,
    /// How far line ends were searched.
    searched: usize,
    past_request_line: bool,
    version_1_0: bool,
    fields: usize,
    /// As few `Host` lines as this kind of request may have.
    fewest_hosts: usize,
    hosts: usize,
    content_length: Option<u64>,
    chunked: bool,
}

impl HeadScan {
    /// The head's length once it is complete.
    fn advance(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<Option<usize>, Fault> {
        while let Some(found) =
            memchr::memchr(b'\n', bytes.get(self.searched..).unwrap_or_default())
        {
            let end = self.searched + found;
            if end >= limits.max_bytes {
                return Err(Fault::TooLarge);
            }
            let line = bytes.get(self.line_start..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").ok_or(Fault::Control)?;
            self.searched = end + 1;
            self.line_start = end + 1;
            if !line.is_empty() {
                self.take_line(line, limits)?;
            } else if self.past_request_line {
                return Ok(Some(end + 1));
            }
        }
        self.searched = bytes.len();
        if bytes.len() >= limits.max_bytes { Err(Fault::TooLarge) } else { Ok(None) }
    }

    fn take_line(&mut self, line: &[u8], limits: HeadLimits) -> Result<(), Fault> {
        if !self.past_request_line {
            self.past_request_line = true;
            self.version_1_0 = check_request_line(line)?;
            // In HTTP/1.0 there need be no Host (RFC 9112 §3.2), and many clients still open tunnels
            // so: the target of a CONNECT says where, and nothing else is asked.
            let needs_none = self.version_1_0 && line.starts_with(b"CONNECT ");
            self.fewest_hosts = usize::from(!needs_none);
            return Ok(());
        }
        self.fields += 1;
        if self.fields > limits.max_fields {
            return Err(Fault::TooLarge);
        }
        let (name, value) = split_field(line)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let second = self.content_length.is_some();
                self.content_length = Some(parse_length(value.trim_ascii())?);
                if second {
                    return Err(Fault::ContentLength);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                let only = !self.chunked && chunked;
                if !only || self.version_1_0 {
                    return Err(Fault::TransferEncoding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn body(&self) -> Result<Body, Fault> {
        if !(self.fewest_hosts..=1).contains(&self.hosts) {
            return Err(Fault::Host);
        }
        match (self.content_length, self.chunked) {
            (Some(_), true) => Err(Fault::Framing),
            (None, true) => Ok(Body::Chunked),
            (None | Some(0), false) => Ok(Body::None),
            (Some(length), false) => Ok(Body::Sized(length)),
        }
    }
}

/// Whether the version is 1.0.
fn check_request_line(line: &[u8]) -> Result<bool, Fault> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::RequestLine);
    };
    // A fragment is never sent (RFC 9110 §7.1); a parser that drops one reads another target.
    let is_target = !target.is_empty() && all(target, |b| b.is_ascii_graphic() && b != b'#');
    if !is_token(method) || !is_target {
        return Err(Fault::RequestLine);
    }
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        _ => Err(Fault::Version),
    }
}

/// A field line's name and value.
fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let colon = memchr::memchr(b':', line).ok_or(Fault::FieldLine)?;
    let (name, rest) = line.split_at_checked(colon).ok_or(Fault::FieldLine)?;
    if !is_token(name) {
        return Err(Fault::FieldLine);
    }
    let value = rest.get(1..).unwrap_or_default();
    if !all(value, |byte| !is_control(byte)) {
        return Err(Fault::Control);
    }
    Ok((name, value))
}

fn parse_length(value: &[u8]) -> Result<u64, Fault> {
    let plain = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.parse().ok().filter(|_| plain).ok_or(Fault::ContentLength)
}

/// A control character other than the tab (RFC 9110 §5.5).
fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// `token` of RFC 9110 §5.6.2.
fn is_token(text: &[u8]) -> bool {
    let lookup = |byte: u8| TCHAR.get(usize::from(byte)).copied().unwrap_or(false);
    !text.is_empty() && all(text, lookup)
}

/// Whether every byte is `allowed`. Without a way out in the middle, the compiler tests many
/// bytes at once; most heads have nothing to stop at.
fn all(bytes: &[u8], allowed: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |so_far, byte| so_far & allowed(*byte))
}

/// `tchar` of RFC 9110 §5.6.2, as a table: it is asked for each byte of each field name.
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

    fn look(bytes: &[u8]) -> Result<Seen, Fault> {
        Framing::new(LIMITS).look(bytes)
    }

    fn head(fields: &str) -> Vec<u8> {
        format!("POST /v1 HTTP/1.1\r\nHost: a.com\r\n{fields}\r\n").into_bytes()
    }

    #[test]
    fn a_plain_head_ends_where_its_empty_line_does() {
        let bytes = head("Accept: */*\r\n");
        assert_eq!(look(&bytes), Ok(Seen::End(bytes.len())));
        let pipelined = [bytes.as_slice(), b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(look(&pipelined), Ok(Seen::End(bytes.len())));
        let spaced = [b"\r\n".as_slice(), &bytes].concat();
        assert_eq!(look(&spaced), Ok(Seen::End(spaced.len())));
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        let sized = [head("Content-Length: 5\r\n"), b"helloGET".to_vec()].concat();
        assert_eq!(look(&sized), Ok(Seen::End(sized.len() - 3)));
        let short = [head("Content-Length: 5\r\n"), b"hel".to_vec()].concat();
        assert_eq!(look(&short), Ok(Seen::Within(short.len())));
        let body = b"5;a=\"b\"\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET";
        let chunked = [head("Transfer-Encoding: Chunked\r\n"), body.to_vec()].concat();
        assert_eq!(look(&chunked), Ok(Seen::End(chunked.len() - 3)));
    }

    #[test]
    fn contradictory_and_lenient_framing_is_refused() {
        for (fields, fault) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Fault::Framing),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Fault::Framing),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Fault::ContentLength),
            ("Content-Length: 5, 5\r\n", Fault::ContentLength),
            ("Content-Length: +5\r\n", Fault::ContentLength),
            ("Content-Length: 0x5\r\n", Fault::ContentLength),
            ("Content-Length: \r\n", Fault::ContentLength),
            ("Content-Length: 99999999999999999999\r\n", Fault::ContentLength),
            ("Transfer-Encoding: ,chunked\r\n", Fault::TransferEncoding),
            ("Transfer-Encoding: chunked, chunked\r\n", Fault::TransferEncoding),
            ("Transfer-Encoding: cow, chunked\r\n", Fault::TransferEncoding),
            ("Transfer-Encoding: gzip, chunked\r\n", Fault::TransferEncoding),
            ("Transfer-Encoding: identity\r\n", Fault::TransferEncoding),
            (
                "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
                Fault::TransferEncoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Fault::TransferEncoding,
            ),
            ("Transfer-Encoding: \x0bchunked\r\n", Fault::Control),
            ("Transfer-Encoding : chunked\r\n", Fault::FieldLine),
            ("Host: b.com\r\n", Fault::Host),
            (" folded\r\n", Fault::FieldLine),
            ("X: a\r\n\tb: c\r\n", Fault::FieldLine),
            ("no colon\r\n", Fault::FieldLine),
            (": empty\r\n", Fault::FieldLine),
            ("X: a\nY: b\r\n", Fault::Control),
            ("X: a\rb\r\n", Fault::Control),
            ("X: a\0b\r\n", Fault::Control),
            ("X\u{130}: a\r\n", Fault::FieldLine),
        ] {
            assert_eq!(look(&head(fields)), Err(fault), "{fields:?}");
        }
    }

    #[test]
    fn bad_request_lines_are_refused() {
        for (line, fault) in [
            ("GET  / HTTP/1.1", Fault::RequestLine),
            ("GET / HTTP/1.1 ", Fault::RequestLine),
            ("GET /", Fault::RequestLine),
            ("GE(T / HTTP/1.1", Fault::RequestLine),
            ("GET /a#b HTTP/1.1", Fault::RequestLine),
            ("GET /\u{e9} HTTP/1.1", Fault::RequestLine),
            ("GET /\t HTTP/1.1", Fault::RequestLine),
            ("GET / HTTP/2.0", Fault::Version),
            ("GET / HTTP/1.2", Fault::Version),
            ("GET / http/1.1", Fault::Version),
        ] {
            let bytes = format!("{line}\r\nHost: a.com\r\n\r\n");
            assert_eq!(look(bytes.as_bytes()), Err(fault), "{line:?}");
        }
        assert_eq!(look(b"GET / HTTP/1.1\r\n\r\n"), Err(Fault::Host));
        let old = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(look(old), Err(Fault::TransferEncoding));
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
            assert_eq!(look(&bytes), Err(Fault::Chunk), "{body:?}");
        }
        let bytes = [head("Transfer-Encoding: chunked\r\n"), b"0\r\nbad trailer\r\n\r\n".to_vec()];
        assert_eq!(look(&bytes.concat()), Err(Fault::FieldLine));
    }

    #[test]
    fn heads_beyond_the_limits_are_refused_before_they_end() {
        assert_eq!(look(&[b'a'; 1024]), Err(Fault::TooLarge));
        assert_eq!(look(&[b'a'; 1023]), Ok(Seen::PartOfHead));
        assert_eq!(look(&head(&"X: y\r\n".repeat(8))), Err(Fault::TooLarge));
        assert!(look(&head(&"X: y\r\n".repeat(7))).is_ok());
    }

    /// Feeds `bytes` in pieces as a conn would, and gives where messages ended.
    fn ends(bytes: &[u8], cuts: &[usize]) -> Result<Vec<usize>, Fault> {
        let mut framing = Framing::new(LIMITS);
        let (mut ends, mut start) = (Vec::new(), 0);
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            while start < cut {
                match framing.look(&bytes[start..cut])? {
                    Seen::PartOfHead => break,
                    Seen::Within(taken) => start += taken,
                    Seen::End(taken) => {
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
        assert_eq!(look(&bytes), Err(Fault::TooLarge));
        assert_eq!(ends(&bytes, &[1100]), Err(Fault::TooLarge));
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
