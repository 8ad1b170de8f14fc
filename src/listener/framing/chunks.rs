//! Finds the end of a chunked body (RFC 9112 §7.1).

use super::{FramingFault, HeadLimits, is_control, split_field};

/// Scans a chunked body byte by byte and skips its data.
#[derive(Debug, Default)]
pub(super) struct ChunkScan {
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
    pub(super) fn scan(
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

    /// Accepts a short extension. The HTTP library drops extensions, so a long one has no use.
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
