//! The messages of a conn, followed as the conn that serves it does.

use bytes::Bytes;
use http::HeaderMap;
use keyferry::http1::{BodyDecoder, BodyPiece, FramingFault, HeadLimits, HeadScan, RequestHead};

/// One whole request.
#[derive(Debug)]
pub struct Message {
    /// Its head, without the decoder of its body.
    pub head: RequestHead,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
    /// The offset of its end within the stream.
    pub end: usize,
}

/// Feeds `bytes` in pieces as a conn would: the whole messages, and the fault that ended it all.
pub fn follow(bytes: &[u8], cuts: &[usize], limits: HeadLimits) -> (Vec<Message>, Option<FramingFault>) {
    let mut conn = Follower { limits, ..Follower::default() };
    let mut start = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        while start < cut {
            match conn.take(&bytes[start..cut], start) {
                Ok(0) => break,
                Ok(taken) => start += taken,
                Err(fault) => return (conn.messages, Some(fault)),
            }
        }
    }
    (conn.messages, None)
}

struct Follower {
    limits: HeadLimits,
    scan: HeadScan,
    current: Option<(Message, BodyDecoder)>,
    messages: Vec<Message>,
}

impl Default for Follower {
    fn default() -> Self {
        let limits = HeadLimits { max_bytes: 0, max_fields: 0 };
        Self { limits, scan: HeadScan::default(), current: None, messages: Vec::new() }
    }
}

impl Follower {
    /// Takes the beginning of what has come; 0 where a head is not complete.
    fn take(&mut self, bytes: &[u8], offset: usize) -> Result<usize, FramingFault> {
        let Some((mut message, mut decoder)) = self.current.take() else {
            return self.take_head(bytes, offset);
        };
        let taken = match decoder.next(bytes)? {
            BodyPiece::More { skip } => {
                assert_eq!(skip, bytes.len(), "only framing has come");
                self.current = Some((message, decoder));
                return Ok(skip);
            }
            BodyPiece::Data { skip, length } => {
                assert!(length > 0 && skip + length <= bytes.len());
                message.body.extend_from_slice(&bytes[skip..skip + length]);
                if decoder.left() != Some(0) {
                    self.current = Some((message, decoder));
                    return Ok(skip + length);
                }
                skip + length
            }
            BodyPiece::End { skip, trailers } => {
                message.trailers = trailers;
                skip
            }
        };
        message.end = offset + taken;
        self.messages.push(message);
        Ok(taken)
    }

    fn take_head(&mut self, bytes: &[u8], offset: usize) -> Result<usize, FramingFault> {
        let Some(end) = self.scan.scan(bytes, self.limits)? else { return Ok(0) };
        let mut head = self.scan.read(&Bytes::copy_from_slice(&bytes[..end]), self.limits)?;
        let body = head.body.take();
        let message = Message { head, body: Vec::new(), trailers: None, end: offset + end };
        match body {
            Some(decoder) => self.current = Some((message, decoder)),
            None => self.messages.push(message),
        }
        Ok(end)
    }
}
