//! The one type that carries secret bytes.
//!
//! Owns the bytes of a secret, the files that hold one and the commands that print one, promises to
//! wipe them on drop and never to print them, and must never know the use of a secret.

pub mod command;
pub mod file;

use std::fmt;
use std::io::{self, Read};

use bytes::Bytes;
use zeroize::Zeroizing;

/// Secret bytes: not printable, not serializable, not comparable by accident, wiped on drop.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of the bytes; the caller must keep no other copy.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Reads a file or stream that holds one secret. A final newline is dropped, because editors
    /// and `echo` add one. At most three bytes more than `longest` are read, so that the caller can
    /// tell a secret that is too long.
    pub fn read(source: impl Read, longest: usize) -> io::Result<Self> {
        let enough = longest.saturating_add("\r\n".len() + 1);
        let mut bytes = Zeroizing::new(Vec::with_capacity(enough));
        source.take(enough as u64).read_to_end(&mut bytes)?;
        Ok(Self::without_newline(bytes))
    }

    /// Takes the bytes that were read of a file or stream, but for a final newline.
    pub fn without_newline(mut bytes: Zeroizing<Vec<u8>>) -> Self {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        Self(bytes)
    }

    /// The bytes themselves. Each call site is a place where a secret could leak: keep them few.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The length in bytes, which is not secret.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Shares the bytes by reference count; they are wiped when the last handle is dropped.
    pub fn into_shared(self) -> Bytes {
        Bytes::from_owner(self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(*****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(*****)");
    }

    #[test]
    fn exactly_one_trailing_newline_is_removed() {
        for (written, kept) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a\r", "a\r"), ("\n", "")]
        {
            let secret = Secret::read(written.as_bytes(), 8).unwrap();
            assert_eq!(secret.expose(), kept.as_bytes(), "{written:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_seen_to_be_and_not_read_to_its_end() {
        assert_eq!(Secret::read(&b"12345678\r\n"[..], 8).unwrap().len(), 8);
        assert_eq!(Secret::read(&b"123456789"[..], 8).unwrap().len(), 9);
        assert_eq!(Secret::read(io::repeat(b'a'), 8).unwrap().len(), 11);
    }
}
