//! HTTP/2 as an origin that writes each frame as it likes (RFC 9113 §4).

use super::origin::Conn;
use super::raw::Raw;

/// A conn after the client's preface.
pub(crate) struct Frames {
    pub(crate) number: usize,
    raw: Raw,
}

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A request, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) stream: u32,
    pub(crate) body: Vec<u8>,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;

/// Settings (RFC 9113 §6.5.2).
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

/// `:status: 200` by its index in the static table (RFC 7541).
pub(crate) const STATUS_200: &[u8] = &[0x88];

impl Frames {
    /// Reads the client's preface, and sends settings that say nothing.
    pub(crate) async fn begin(conn: Conn) -> Option<Self> {
        Self::begin_with(conn, &[]).await
    }

    /// Reads the client's preface, and sends these settings.
    pub(crate) async fn begin_with(conn: Conn, settings: &[(u16, u32)]) -> Option<Self> {
        let mut frames = Self::expect(conn).await?;
        frames.set(settings).await;
        Some(frames)
    }

    /// Reads the client's preface, and sends nothing.
    pub(crate) async fn expect(mut conn: Conn) -> Option<Self> {
        conn.raw.until(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.ok()?;
        Some(Self { number: conn.number, raw: conn.raw })
    }

    /// Sends settings.
    pub(crate) async fn set(&mut self, settings: &[(u16, u32)]) {
        let payload = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        self.write(SETTINGS, 0, 0, &payload.collect::<Vec<_>>()).await;
    }

    /// Waits until the client has taken over the settings that were sent last.
    pub(crate) async fn are_set(&mut self) {
        while let Some(frame) = self.next().await {
            if frame.kind == SETTINGS && frame.flags & ACK != 0 {
                return;
            }
        }
    }

    /// The next frame, which is left without an answer.
    pub(crate) async fn take(&mut self) -> Option<Frame> {
        let head = self.raw.exact(9).await?;
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = self.raw.exact(length).await?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame; what is asked to be acknowledged is.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let frame = self.take().await?;
        if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
            let echo = if frame.kind == PING { frame.payload.clone() } else { Vec::new() };
            self.write(frame.kind, ACK, 0, &echo).await;
        }
        if frame.kind == DATA && !frame.payload.is_empty() {
            let room = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
            self.write(WINDOW_UPDATE, 0, 0, &room).await;
            self.write(WINDOW_UPDATE, 0, frame.stream, &room).await;
        }
        Some(frame)
    }

    /// The next request, whose frames do not mix with another's.
    pub(crate) async fn request(&mut self) -> Option<Asked> {
        let mut asked: Option<Asked> = None;
        loop {
            let frame = self.next().await?;
            match frame.kind {
                HEADERS if asked.is_none() => {
                    asked = Some(Asked { stream: frame.stream, body: Vec::new() });
                }
                DATA => match asked.as_mut().filter(|asked| asked.stream == frame.stream) {
                    Some(asked) => asked.body.extend(frame.payload),
                    // What was under way on a stream that was reset (RFC 9113 §5.4.2).
                    None => continue,
                },
                HEADERS => {}
                _ => continue,
            }
            if frame.flags & END_STREAM != 0 {
                return asked;
            }
        }
    }

    pub(crate) async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let _gone = self.raw.try_write(&frame(kind, flags, stream, payload)).await;
    }

    /// Writes several frames at once.
    pub(crate) async fn write_all(&mut self, frames: &[Vec<u8>]) {
        let _gone = self.raw.try_write(&frames.concat()).await;
    }

    /// Answers with 200 and this text.
    pub(crate) async fn answer(&mut self, stream: u32, text: &str) {
        let mut frames = vec![frame(HEADERS, END_HEADERS, stream, STATUS_200)];
        frames.extend(text.as_bytes().chunks(1 << 14).map(|part| frame(DATA, 0, stream, part)));
        frames.push(frame(DATA, END_STREAM, stream, &[]));
        self.write_all(&frames).await;
    }

    /// Says which stream is the last that is processed.
    pub(crate) async fn go_away(&mut self, last: u32, reason: u32) {
        self.write(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat()).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32, reason: u32) {
        self.write(RST_STREAM, 0, stream, &reason.to_be_bytes()).await;
    }

    /// Answers requests with what they sent, for as long as they come.
    pub(crate) async fn echo(mut self) {
        while let Some(asked) = self.request().await {
            let text = String::from_utf8(asked.body).unwrap();
            self.answer(asked.stream, &text).await;
        }
    }

    /// Closes, and reads on until the other end closes too: nothing that was said is lost to a
    /// reset.
    pub(crate) async fn close(mut self) {
        self.raw.close_write().await;
        self.raw.rest().await;
    }

    /// Waits for the end of the conn, without a word.
    pub(crate) async fn ends(mut self) {
        self.raw.rest().await;
    }
}

/// A frame as it is written.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
