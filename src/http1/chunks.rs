//! Decodes the chunked body of a request (RFC 9112 §7.1).

use http::{HeaderMap, HeaderName, HeaderValue};

use super::fault::{FramingFault, HeadLimits};
use super::piece::BodyPiece;
use super::request::{is_control, split_field};

/// Scans the framing of a chunked body byte by byte.
#[derive(Debug, Default)]
pub(super) struct ChunkScan {
    state: ChunkState,
    size: u64,
    /// Bytes of the current size line or of the trailer section so far.
    length: usize,
    trailer_line: Vec<u8>,
    trailers: HeaderMap,
    trailer_lines: usize,
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
    /// Decodes the beginning of `bytes`.
    pub(super) fn next(
        &mut self,
        bytes: &[u8],
        limits: HeadLimits,
    ) -> Result<BodyPiece, FramingFault> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.state == ChunkState::Data {
                let available = bytes.len() - at;
                let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(available);
                self.size -= u64::try_from(length).unwrap_or(self.size);
                if self.size == 0 {
                    self.state = ChunkState::DataEnd;
                }
                return Ok(BodyPiece::Data { skip: at, length });
            }
            if self.scan_byte(*byte, limits)? {
                let trailers = std::mem::take(&mut self.trailers);
                let trailers = Some(trailers).filter(|fields| !fields.is_empty());
                return Ok(BodyPiece::End { skip: at + 1, trailers });
            }
        }
        Ok(BodyPiece::More { skip: bytes.len() })
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

    /// Accepts a short extension. Extensions are dropped, so a long one has no use.
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
        let (name, value) = split_field(line)?;
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.trim_ascii());
        let (Ok(name), Ok(value)) = (name, value) else { return Err(FramingFault::FieldLine) };
        self.trailers.append(name, value);
        self.trailer_line.clear();
        self.trailer_lines += 1;
        if self.trailer_lines > limits.max_fields {
            return Err(FramingFault::TooLarge);
        }
        Ok(false)
    }
}

/// Sizes up to 2^60 bytes, which can't overflow.
const MAX_SIZE_DIGITS: usize = 15;
const MAX_SIZE_LINE: usize = 256;
