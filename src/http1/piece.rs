//! The parts of a body as they are found among its framing.

use http::HeaderMap;

/// The meaning of the next bytes of a body.
#[derive(Debug)]
pub enum BodyPiece {
    /// After `skip` bytes of framing, `length` bytes of the body.
    Data {
        /// Framing.
        skip: usize,
        /// Data, at least one byte.
        length: usize,
    },
    /// The body ends after `skip` bytes of framing.
    End {
        /// Framing.
        skip: usize,
        /// The trailer section, if it has any fields.
        trailers: Option<HeaderMap>,
    },
    /// Only framing has arrived.
    More {
        /// Framing.
        skip: usize,
    },
}
