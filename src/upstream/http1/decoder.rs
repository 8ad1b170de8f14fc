//! Decodes the body of a response (RFC 9112 §6.3, §7.1).

use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{EMPTY_HEADER, Status};

use super::head::MalformedResponse;
use crate::http1::BodyPiece;

/// The framing of a body, and the state of reading it.
#[derive(Debug)]
pub enum Decoder {
    /// A known number of bytes is left.
    Length(u64),
    /// The body is chunked. Boxed, because this is the larger and rarer case.
    Chunked(Box<Chunked>),
    /// The body ends with the conn.
    UntilClose,
}

/// The state of a chunked body.
#[derive(Debug, Default)]
pub struct Chunked {
    state: ChunkedState,
    /// The part that has arrived of a line or of the trailer section.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum ChunkedState {
    /// Before or within the line with a chunk's size.
    #[default]
    Size,
    /// Within a chunk of which this many bytes are left.
    Data(u64),
    /// Before the end of line after a chunk's data.
    DataEnd,
    /// After the last chunk.
    Trailers,
}

impl Decoder {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Box::default())
    }

    /// Tells whether the body is known to have ended.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// The number of bytes left; `None` when it is unknown.
    pub(in crate::upstream) fn left(&self) -> Option<u64> {
        if let Self::Length(left) = self { Some(*left) } else { None }
    }

    /// Decodes the beginning of `bytes`, which must not be empty.
    ///
    /// # Errors
    /// [`MalformedResponse`] when the framing is wrong. The conn can't be used any further.
    pub fn next(&mut self, bytes: &[u8]) -> Result<BodyPiece, MalformedResponse> {
        match self {
            Self::Length(0) => Ok(BodyPiece::End { skip: 0, trailers: None }),
            Self::Length(left) => {
                Ok(BodyPiece::Data { skip: 0, length: take_available(left, bytes.len()) })
            }
            Self::Chunked(chunked) => chunked.next(bytes),
            Self::UntilClose => Ok(BodyPiece::Data { skip: 0, length: bytes.len() }),
        }
    }
}

impl Chunked {
    fn next(&mut self, bytes: &[u8]) -> Result<BodyPiece, MalformedResponse> {
        let mut skip = 0;
        loop {
            // 1. Chunk data is passed on where it lies.
            let rest = bytes.get(skip..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(BodyPiece::More { skip });
            }
            if let ChunkedState::Data(left) = &mut self.state {
                let length = take_available(left, rest.len());
                if *left == 0 {
                    self.state = ChunkedState::DataEnd;
                }
                return Ok(BodyPiece::Data { skip, length });
            }
            // 2. Framing is collected line by line.
            let Some(end) = memchr::memchr(b'\n', rest) else {
                self.hold_line(rest)?;
                return Ok(BodyPiece::More { skip: bytes.len() });
            };
            let (line, _next) = rest.split_at(end + 1);
            skip += line.len();
            self.hold_line(line)?;
            if let Some(trailers) = self.take_line()? {
                let trailers = Some(trailers).filter(|fields| !fields.is_empty());
                return Ok(BodyPiece::End { skip, trailers });
            }
        }
    }

    fn hold_line(&mut self, bytes: &[u8]) -> Result<(), MalformedResponse> {
        let most = if matches!(self.state, ChunkedState::Trailers) {
            MAX_TRAILER_BYTES
        } else {
            MAX_LINE_BYTES
        };
        if self.held.len() + bytes.len() > most {
            return Err(MalformedResponse::TooLarge);
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Parses a complete line. Gives the trailers after the last one.
    fn take_line(&mut self) -> Result<Option<HeaderMap>, MalformedResponse> {
        // A line must end in CR LF: other implementations may not take LF alone for an end.
        if !self.held.ends_with(b"\r\n") {
            return Err(MalformedResponse::Chunk);
        }
        self.state = match self.state {
            // httparse takes a line without digits for a zero.
            ChunkedState::Size if !self.held.first().is_some_and(u8::is_ascii_hexdigit) => {
                return Err(MalformedResponse::Chunk);
            }
            ChunkedState::Size => match httparse::parse_chunk_size(&self.held) {
                Ok(Status::Complete((_length, 0))) => ChunkedState::Trailers,
                Ok(Status::Complete((_length, size))) => ChunkedState::Data(size),
                Ok(Status::Partial) | Err(_) => return Err(MalformedResponse::Chunk),
            },
            ChunkedState::DataEnd if self.held == b"\r\n" => ChunkedState::Size,
            ChunkedState::Data(_) | ChunkedState::DataEnd => return Err(MalformedResponse::Chunk),
            ChunkedState::Trailers => {
                let over = self.held == b"\r\n" || self.held.ends_with(b"\r\n\r\n");
                return if over { parse_trailers(&self.held).map(Some) } else { Ok(None) };
            }
        };
        self.held.clear();
        Ok(None)
    }
}

/// Reduces `left` by the available bytes, and gives their number.
fn take_available(left: &mut u64, available: usize) -> usize {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(available);
    *left -= u64::try_from(length).unwrap_or(*left);
    length
}

fn parse_trailers(section: &[u8]) -> Result<HeaderMap, MalformedResponse> {
    let mut lines = [EMPTY_HEADER; MAX_TRAILER_FIELDS];
    let Status::Complete((_length, lines)) = httparse::parse_headers(section, &mut lines)? else {
        return Err(MalformedResponse::Field);
    };
    let mut trailers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) else {
            return Err(MalformedResponse::Field);
        };
        trailers.append(name, value);
    }
    Ok(trailers)
}

const MAX_LINE_BYTES: usize = 4096;
const MAX_TRAILER_BYTES: usize = 64 << 10;
const MAX_TRAILER_FIELDS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes a chunked body that arrives in pieces; what is left over, and its trailers.
    fn decode(
        wire: &[u8],
        piece: usize,
    ) -> Result<(Vec<u8>, Option<HeaderMap>, usize), MalformedResponse> {
        let (mut decoder, mut data, mut at) = (Decoder::chunked(), Vec::new(), 0);
        while at < wire.len() {
            let bytes = &wire[at..wire.len().min(at + piece)];
            match decoder.next(bytes)? {
                BodyPiece::Data { skip, length } => {
                    assert!(length > 0);
                    data.extend_from_slice(&bytes[skip..skip + length]);
                    at += skip + length;
                }
                BodyPiece::More { skip } => {
                    assert_eq!(skip, bytes.len());
                    at += skip;
                }
                BodyPiece::End { skip, trailers } => {
                    return Ok((data, trailers, wire.len() - at - skip));
                }
            }
        }
        Err(MalformedResponse::Framing)
    }

    #[test]
    fn chunks_extensions_and_trailers_are_read_however_they_arrive() {
        let wire = b"4;a=b\r\nWiki\r\nC \r\npedia in \r\nc\r\n0\r\nTook: 5\r\nX-Sum: 1\r\n\r\nNEXT";
        for piece in 1..wire.len() {
            let (data, trailers, left) = decode(wire, piece).unwrap();
            assert_eq!((data.as_slice(), left), (b"Wikipedia in \r\nc".as_slice(), left));
            assert_eq!(trailers.unwrap()["took"], "5");
        }
        assert_eq!(decode(b"0\r\n\r\nNEXT", 99).unwrap().2, 4);
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for wire in [
            "x\r\n",
            "\r\n\r\n",
            ";a\r\n\r\n",
            "-1\r\n",
            "0x1\r\na\r\n0\r\n\r\n",
            "1\r\nab\r\n0\r\n\r\n",
            "1\r\na0\r\n\r\n",
            "10000000000000000\r\n",
            "0\r\nbad field: 1\r\n\r\n",
            "0\r\n: 1\r\n\r\n",
            "1\na\r\n0\r\n\r\n",
            "1\r\na\n0\r\n\r\n",
            "0\r\nsum: 1\n\r\n",
            "0\r\n\n",
        ] {
            assert!(decode(wire.as_bytes(), 99).is_err(), "{wire:?}");
        }
        let long = format!("1;{}\r\na\r\n0\r\n\r\n", "a".repeat(5000));
        assert!(matches!(decode(long.as_bytes(), 7), Err(MalformedResponse::TooLarge)));
    }

    proptest! {
        #[test]
        fn what_is_written_in_chunks_is_read_again(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..8),
            piece in 1_usize..64,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let (data, trailers, left) = decode(&wire, piece).unwrap();
            prop_assert_eq!(data, chunks.concat());
            prop_assert!(trailers.is_none() && left == 0);
        }
    }
}
