//! A quick look for places where a pattern may begin, so that text without one costs little.

use memchr::{memchr, memchr3};

use super::letters::{Alphabet, begins_escape};
use super::patterns::SecretPattern;

/// Knows where none of its patterns begins.
///
/// A match whose first letters are plain holds a gram of four of them, wherever they are sampled
/// that far apart. Any other match has an escape among them.
pub(super) struct Prefilter {
    /// The letters that every pattern has, up to a limit; 0 without a pattern.
    window: usize,
    /// A bit for each hash of a gram.
    grams: Box<[u64; GRAM_BITS / 64]>,
    /// Tells of each byte whether a match may begin with it.
    begins: Box<[bool; 256]>,
    /// Tells whether a pattern has a space, of which `+` is a spelling.
    has_space: bool,
}

impl Prefilter {
    pub(super) fn of(patterns: &[SecretPattern]) -> Self {
        let shortest = patterns.iter().map(SecretPattern::required).min().unwrap_or(0);
        let window = shortest.min(MAX_WINDOW);
        let mut filter = Self {
            window,
            grams: Box::new([0; GRAM_BITS / 64]),
            begins: Box::new([false; 256]),
            has_space: patterns.iter().any(SecretPattern::has_space),
        };
        for pattern in patterns {
            let letters: Vec<u8> = pattern.folded().take(window).collect();
            filter.add_first(&letters, pattern.alphabet());
            for gram in letters.windows(GRAM_LEN) {
                filter.add_gram(gram, pattern.alphabet());
            }
        }
        filter
    }

    /// The fewest bytes of a text that has a match.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// Tells whether a match may begin with this byte.
    pub(super) fn begins(&self, byte: u8) -> bool {
        self.begins.get(usize::from(byte)).is_some_and(|begins| *begins)
    }

    /// The first position at or after `from` near which a match may begin: less than a window
    /// before it, or right there.
    pub(super) fn next(&self, text: &[u8], from: usize) -> Option<usize> {
        // In blocks, so that no byte is looked at for many results.
        let mut from = from;
        loop {
            let end = text.len().min(from + BLOCK_LEN);
            let block = text.get(from..end)?;
            if let Some(at) = self.first_in(block) {
                return Some(from + at);
            }
            if end == text.len() {
                return None;
            }
            from += self.samples(block).len() * self.stride();
        }
    }

    fn first_in(&self, block: &[u8]) -> Option<usize> {
        let escape = memchr3(b'\\', b'%', b'&', block);
        let plain = escape.and_then(|at| block.get(..at)).unwrap_or(block);
        let space = if self.has_space { memchr(b'+', plain) } else { None };
        let plain = space.and_then(|at| plain.get(..at)).unwrap_or(plain);
        let gram = self.samples(plain).position(|gram| self.has_gram(gram));
        gram.map(|number| number * self.stride()).or(space).or(escape)
    }

    /// The grams that are looked at: each window has one.
    fn samples<'a>(&self, text: &'a [u8]) -> impl ExactSizeIterator<Item = &'a [u8]> {
        text.windows(GRAM_LEN).step_by(self.stride())
    }

    fn stride(&self) -> usize {
        self.window.saturating_sub(GRAM_LEN) + 1
    }

    fn add_first(&mut self, letters: &[u8], alphabet: Alphabet) {
        let first = letters.first().copied();
        for (byte, begins) in (0..=u8::MAX).zip(self.begins.iter_mut()) {
            *begins |= begins_escape(byte) || first == Some(alphabet.fold(byte));
        }
    }

    fn add_gram(&mut self, gram: &[u8], alphabet: Alphabet) {
        // Each letter that base64's alphabets differ in comes in both spellings.
        for choice in 0..1_u8 << GRAM_LEN {
            let mut spelled = [0; GRAM_LEN];
            for (place, (byte, letter)) in spelled.iter_mut().zip(gram).enumerate() {
                let is_other = choice >> place & 1 == 1;
                *byte = match letter {
                    b'+' if is_other && alphabet == Alphabet::Base64 => b'-',
                    b'/' if is_other && alphabet == Alphabet::Base64 => b'_',
                    letter => *letter,
                };
            }
            let hash = gram_hash(spelled);
            if let Some(word) = self.grams.get_mut(hash / 64) {
                *word |= 1 << (hash % 64);
            }
        }
    }

    fn has_gram(&self, gram: &[u8]) -> bool {
        let Ok(gram) = <[u8; GRAM_LEN]>::try_from(gram) else { return false };
        let hash = gram_hash(gram);
        self.grams.get(hash / 64).is_some_and(|word| word >> (hash % 64) & 1 == 1)
    }
}

/// A hash below [`GRAM_BITS`], the same for letters of either case.
fn gram_hash(gram: [u8; GRAM_LEN]) -> usize {
    let lower = u32::from_le_bytes(gram) | 0x2020_2020;
    (lower.wrapping_mul(0x9e37_79b1) >> (u32::BITS - GRAM_BITS.ilog2())) as usize
}

/// The bytes that are looked at in one go.
const BLOCK_LEN: usize = 1024;
/// The letters of a gram.
const GRAM_LEN: usize = 4;
/// The bits for grams: few of a thousand that are not in any pattern find theirs set.
const GRAM_BITS: usize = 8192;
/// The most letters whose grams are known.
const MAX_WINDOW: usize = 64;
