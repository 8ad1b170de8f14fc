//! Decodes the body of a request (RFC 9112 §6.3).

use super::chunks::ChunkScan;
use super::fault::{FramingFault, HeadLimits};
use super::piece::BodyPiece;

/// Follows the body of one request.
#[derive(Debug)]
pub struct BodyDecoder {
    limits: HeadLimits,
    framing: BodyFraming,
}

#[derive(Debug)]
enum BodyFraming {
    /// This many bytes are left.
    Sized(u64),
    /// Boxed, because this is the larger and rarer case.
    Chunked(Box<ChunkScan>),
}

impl BodyDecoder {
    /// The decoder of a body of this length.
    pub(super) fn sized(length: u64, limits: HeadLimits) -> Self {
        Self { limits, framing: BodyFraming::Sized(length) }
    }

    /// The decoder of a chunked body.
    pub(super) fn chunked(limits: HeadLimits) -> Self {
        Self { limits, framing: BodyFraming::Chunked(Box::default()) }
    }

    /// The number of bytes left; `None` when it is unknown.
    pub fn left(&self) -> Option<u64> {
        if let BodyFraming::Sized(left) = self.framing { Some(left) } else { None }
    }

    /// Decodes the beginning of `bytes`, which must not be empty. After [`BodyPiece::End`], or when
    /// nothing is left, it must not be called again.
    ///
    /// # Errors
    /// [`FramingFault`] when the framing is wrong. The conn can't be used any further.
    pub fn next(&mut self, bytes: &[u8]) -> Result<BodyPiece, FramingFault> {
        match &mut self.framing {
            BodyFraming::Sized(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= u64::try_from(length).unwrap_or(*left);
                Ok(BodyPiece::Data { skip: 0, length })
            }
            BodyFraming::Chunked(scan) => scan.next(bytes, self.limits),
        }
    }
}
