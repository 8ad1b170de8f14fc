//! Encodes several secrets as one: each text follows its length, so that they can be decoded in one
//! way only.

use zeroize::Zeroizing;

use crate::secret::Secret;

/// Encodes texts and numbers one after the other.
#[derive(Debug)]
pub struct Packer(Zeroizing<Vec<u8>>);

/// Decodes them in the same order. Each method gives `None` where the bytes are something else.
#[derive(Debug)]
pub struct Unpacker<'a>(&'a [u8]);

impl Packer {
    /// Begins an encoding. `kind` names its content and version.
    #[must_use]
    pub fn new(kind: u8) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(INITIAL_CAPACITY));
        bytes.push(kind);
        Self(bytes)
    }

    /// Adds a text.
    #[must_use]
    pub fn text(mut self, text: &[u8]) -> Self {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text);
        self
    }

    /// Adds an optional text.
    #[must_use]
    pub fn optional_text(self, text: Option<&[u8]>) -> Self {
        match text {
            Some(text) => self.number(1).text(text),
            None => self.number(0),
        }
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: i64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// The encoded secret.
    #[must_use]
    pub fn finish(self) -> Secret {
        Secret::new(self.0.as_slice())
    }
}

impl<'a> Unpacker<'a> {
    /// Begins to decode; `None` unless `bytes` were encoded as `kind`.
    #[must_use]
    pub fn new(kind: u8, bytes: &'a Secret) -> Option<Self> {
        bytes.expose().strip_prefix(&[kind]).map(Self)
    }

    /// The next text.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    /// The next text, as UTF-8.
    pub fn utf8(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.text()?).ok()
    }

    /// The next optional text.
    pub fn optional_text(&mut self) -> Option<Option<&'a [u8]>> {
        match self.number()? {
            0 => Some(None),
            1 => self.text().map(Some),
            _ => None,
        }
    }

    /// The next optional text, as UTF-8.
    pub fn optional_utf8(&mut self) -> Option<Option<&'a str>> {
        match self.optional_text()? {
            Some(text) => std::str::from_utf8(text).ok().map(Some),
            None => Some(None),
        }
    }

    /// The next number.
    pub fn number(&mut self) -> Option<i64> {
        let (number, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(i64::from_be_bytes(*number))
    }

    /// Tells whether all bytes were decoded.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

/// Most encodings are shorter. A buffer that grows would leave copies of secrets in freed memory.
const INITIAL_CAPACITY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_packed_is_unpacked_in_the_same_order() {
        let packed = Packer::new(7)
            .text(b"one")
            .optional_text(None)
            .optional_text(Some(b""))
            .number(-5)
            .finish();
        let mut unpacking = Unpacker::new(7, &packed).unwrap();
        assert_eq!(unpacking.utf8(), Some("one"));
        assert_eq!(unpacking.optional_text(), Some(None));
        assert_eq!(unpacking.optional_utf8(), Some(Some("")));
        assert_eq!(unpacking.number(), Some(-5));
        assert!(unpacking.is_done());
        assert!(Unpacker::new(8, &packed).is_none());
    }

    proptest! {
        #[test]
        fn texts_are_read_as_they_would_be_packed(
            bytes in prop::collection::vec(prop_oneof![9 => Just(0_u8), 1 => 1_u8..9], 0..90),
        ) {
            let bytes = Secret::new([&[1], &*bytes].concat());
            let (mut unpacking, mut packing) = (Unpacker::new(1, &bytes).unwrap(), Packer::new(1));
            while let Some(text) = unpacking.text() {
                packing = packing.text(text);
            }
            prop_assert!(bytes.expose().starts_with(packing.finish().expose()));
        }
    }
}
