//! HTTP/1.1 messages (RFC 9112): requests are read and answers are written.
//!
//! Owns the strict reading of a request's head and body and the form of an answer; promises that a
//! message that two readers could understand differently is refused, and that an answer says where
//! it ends; must never know sockets, the time, or the meaning of a message.

mod body;
mod chunks;
mod fault;
mod piece;
mod request;
mod response;

pub use self::body::BodyDecoder;
pub use self::fault::{FramingFault, HeadLimits};
pub use self::piece::BodyPiece;
pub use self::request::{HeadScan, RequestHead};
pub use self::response::{
    AnswerFraming, AnswerTerms, AnsweredMethod, encode_chunk, encode_head, encode_interim,
    encode_trailers,
};
