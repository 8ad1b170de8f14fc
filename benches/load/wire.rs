//! Just enough HTTP/1.1 to load a proxy and to answer it.
//!
//! A library here would cost as much as the proxy under test, and the generator and the origin
//! share one core. So both read with this: one buffer, no allocation for a message, no checks that
//! only a hostile peer would need.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// What a message is read from and written to: plain TCP, or TLS over it.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Chunked,
    Length(u64),
}

/// The fields that matter to whoever reads on after the head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    /// The body that follows.
    pub(crate) framing: Framing,
    /// Whether the sender closes the conn after this message.
    pub(crate) close: bool,
}

/// Reads messages one after another from one conn.
#[derive(Debug)]
pub(crate) struct Reader {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Reader {
    /// A head must fit into `capacity` bytes; larger bodies are read in pieces of that size.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { buffer: vec![0; capacity].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Reads one head and gives it to `parse`; `None` when the peer closed between messages.
    pub(crate) async fn head<T>(
        &mut self,
        wire: &mut (impl Wire + ?Sized),
        parse: impl Fn(&[u8]) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let mut searched = 0;
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(at) = unread[searched..].windows(4).position(|four| four == b"\r\n\r\n") {
                let length = searched + at + 4;
                let parsed = parse(&unread[..length])?;
                self.start += length;
                return Ok(Some(parsed));
            }
            searched = unread.len().saturating_sub(3);
            if self.fill(wire).await? == 0 {
                return self.ended();
            }
        }
    }

    /// Reads one body, shows its pieces to `sink` and returns its length.
    pub(crate) async fn body(
        &mut self,
        wire: &mut (impl Wire + ?Sized),
        framing: Framing,
        mut sink: impl FnMut(&[u8]),
    ) -> io::Result<u64> {
        let Framing::Length(length) = framing else {
            return self.chunks(wire, &mut sink).await;
        };
        self.take(wire, length, &mut sink).await?;
        Ok(length)
    }

    async fn chunks(
        &mut self,
        wire: &mut (impl Wire + ?Sized),
        sink: &mut impl FnMut(&[u8]),
    ) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let size = self.line(wire, chunk_size).await?;
            if size == 0 {
                self.trailers(wire).await?;
                return Ok(total);
            }
            self.take(wire, size, sink).await?;
            self.take(wire, 2, &mut |_: &[u8]| {}).await?;
            total += size;
        }
    }

    async fn trailers(&mut self, wire: &mut (impl Wire + ?Sized)) -> io::Result<()> {
        while !self.line(wire, |line| Ok(line.is_empty())).await? {}
        Ok(())
    }

    async fn line<T>(
        &mut self,
        wire: &mut (impl Wire + ?Sized),
        parse: impl Fn(&[u8]) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(at) = unread.windows(2).position(|two| two == b"\r\n") {
                let parsed = parse(&unread[..at])?;
                self.start += at + 2;
                return Ok(parsed);
            }
            self.fill_or_fail(wire).await?;
        }
    }

    async fn take(
        &mut self,
        wire: &mut (impl Wire + ?Sized),
        mut left: u64,
        sink: &mut impl FnMut(&[u8]),
    ) -> io::Result<()> {
        while left > 0 {
            if self.start == self.end {
                self.fill_or_fail(wire).await?;
            }
            let unread = &self.buffer[self.start..self.end];
            let piece = unread.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            sink(&unread[..piece]);
            self.start += piece;
            left -= piece as u64;
        }
        Ok(())
    }

    fn ended<T>(&self) -> io::Result<Option<T>> {
        if self.start == self.end {
            return Ok(None);
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    async fn fill_or_fail(&mut self, wire: &mut (impl Wire + ?Sized)) -> io::Result<()> {
        match self.fill(wire).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn fill(&mut self, wire: &mut (impl Wire + ?Sized)) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            return Err(malformed("a head or chunk line that does not fit the buffer"));
        }
        let read = wire.read(&mut self.buffer[self.end..]).await?;
        self.end += read;
        Ok(read)
    }
}

/// The lines of a head, the first one included, the empty one not.
pub(crate) fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty())
}

/// A field's name and value.
pub(crate) fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

/// A decimal number, as in `Content-Length`.
pub(crate) fn number(text: &[u8]) -> io::Result<u64> {
    str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| malformed("not a number where one belongs"))
}

/// The error for a message that can't be read.
pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Next {
    /// A message without a body after which the conn stays open; [`Self::note`] corrects it.
    pub(crate) const fn new() -> Self {
        Self { framing: Framing::Length(0), close: false }
    }

    /// Takes account of one field.
    pub(crate) fn note(&mut self, name: &[u8], value: &[u8]) -> io::Result<()> {
        if name.eq_ignore_ascii_case(b"content-length") {
            self.framing = Framing::Length(number(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case(b"connection") {
            self.close |= value.eq_ignore_ascii_case(b"close");
        }
        Ok(())
    }
}

fn chunk_size(line: &[u8]) -> io::Result<u64> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    str::from_utf8(digits)
        .ok()
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| malformed("not a chunk size"))
}
