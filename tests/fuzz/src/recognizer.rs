//! An oracle for the reading of requests: the recognizer that stood before the HTTP library's parser
//! until requests were read by `http1`. It finds where each message ends, and parses nothing.

use keyferry::http1::{FramingFault, HeadLimits};

/// Follows the messages of one conn.
#[derive(Debug)]
pub struct Recognizer {
    limits: HeadLimits,
    phase: FramingPhase,
}

/// The extent of the current message within the scanned bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecognizedExtent {
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

impl Recognizer {
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
    pub fn scan(&mut self, bytes: &[u8]) -> Result<RecognizedExtent, FramingFault> {
        let FramingPhase::Head(scan) = &mut self.phase else {
            return self.scan_body(bytes, 0);
        };
        let Some(length) = scan.scan(bytes, self.limits)? else {
            return Ok(RecognizedExtent::IncompleteHead);
        };
        self.phase = match scan.body_framing()? {
            BodyFraming::None => {
                self.phase = FramingPhase::Head(HeadScan::default());
                return Ok(RecognizedExtent::End(length));
            }
            BodyFraming::Sized(size) => FramingPhase::Sized(size),
            BodyFraming::Chunked => FramingPhase::Chunked(ChunkScan::default()),
        };
        self.scan_body(bytes, length)
    }

    fn scan_body(&mut self, bytes: &[u8], from: usize) -> Result<RecognizedExtent, FramingFault> {
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
                RecognizedExtent::End(from + taken)
            }
            None => RecognizedExtent::Within(bytes.len()),
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
        {
            table[byte as usize] = mark || byte.is_ascii_alphanumeric();
        }
        byte += 1;
    }
    table
};

/// Scans a chunked body byte by byte and skips its data.
#[derive(Debug, Default)]
struct ChunkScan {
    state: ChunkState,
    size: u64,
    /// Bytes of the current size line or of the trailer section so far.
    length: usize,
    trailer_line: Vec<u8>,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum ChunkState {
    #[default]
    Size,
    Extension,
    SizeEnd,
    Data,
    DataEnd,
    DataEndLf,
    Trailer,
}

impl ChunkScan {
    /// The number of `bytes` up to the end of the body; `None` while it goes on.
    fn scan(
        &mut self,
        bytes: &[u8],
        limits: HeadLimits,
    ) -> Result<Option<usize>, FramingFault> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.state == ChunkState::Data {
                let available = u64::try_from(bytes.len() - at).unwrap_or(u64::MAX);
                let taken = available.min(self.size);
                self.size -= taken;
                at += usize::try_from(taken).unwrap_or(usize::MAX);
                if self.size == 0 {
                    self.state = ChunkState::DataEnd;
                }
                continue;
            }
            at += 1;
            if self.scan_byte(*byte, limits)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Scans one byte outside of chunk data. `true` when it ends the body.
    fn scan_byte(&mut self, byte: u8, limits: HeadLimits) -> Result<bool, FramingFault> {
        use ChunkState::{Data, DataEnd, DataEndLf, Extension, Size, SizeEnd, Trailer};
        match (self.state, byte) {
            (Size, _) if byte.is_ascii_hexdigit() => self.take_digit(byte)?,
            (Size, b';') if self.length > 0 => self.state = Extension,
            (Size, b'\r') if self.length > 0 => self.state = SizeEnd,
            (Extension, b'\r') => self.state = SizeEnd,
            (Extension, _) if !is_control(byte) => self.take_extension()?,
            (SizeEnd, b'\n') => {
                self.length = 0;
                self.state = if self.size == 0 { Trailer } else { Data };
            }
            (DataEnd, b'\r') => self.state = DataEndLf,
            (DataEndLf, b'\n') => self.state = Size,
            (Trailer, _) => return self.take_trailer(byte, limits),
            _ => return Err(FramingFault::Chunk),
        }
        Ok(false)
    }

    fn take_digit(&mut self, byte: u8) -> Result<(), FramingFault> {
        let digit = char::from(byte).to_digit(16).ok_or(FramingFault::Chunk)?;
        self.length += 1;
        if self.length > MAX_SIZE_DIGITS {
            return Err(FramingFault::Chunk);
        }
        self.size = self.size << 4 | u64::from(digit);
        Ok(())
    }

    /// Accepts a short extension. A long one has no use.
    fn take_extension(&mut self) -> Result<(), FramingFault> {
        self.length += 1;
        if self.length > MAX_SIZE_LINE { Err(FramingFault::Chunk) } else { Ok(()) }
    }

    fn take_trailer(&mut self, byte: u8, limits: HeadLimits) -> Result<bool, FramingFault> {
        self.length += 1;
        if self.length > limits.max_bytes {
            return Err(FramingFault::TooLarge);
        }
        if byte != b'\n' {
            self.trailer_line.push(byte);
            return Ok(false);
        }
        let line = self.trailer_line.strip_suffix(b"\r").ok_or(FramingFault::Control)?;
        if line.is_empty() {
            return Ok(true);
        }
        split_field(line)?;
        self.trailer_line.clear();
        self.trailers += 1;
        if self.trailers > limits.max_fields { Err(FramingFault::TooLarge) } else { Ok(false) }
    }
}

/// Sizes up to 2^60 bytes, which can't overflow.
const MAX_SIZE_DIGITS: usize = 15;
const MAX_SIZE_LINE: usize = 256;
