//! Frames of a WebSocket (RFC 6455 §5.2), of which only the heads are looked at: to know where one
//! ends and another can be put.

/// Follows one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The head of the frame that is under way, as far as it has come.
    head: [u8; MAX_FRAME_HEAD_LEN],
    head_len: usize,
    /// The bytes of its content that have not come.
    content_left: u64,
    has_closed: bool,
}

/// Two bytes, a length of eight, and a mask of four.
const MAX_FRAME_HEAD_LEN: usize = 14;
const CLOSE: u8 = 0x8;
/// RFC 6455 §7.4.1: an endpoint is going away.
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

impl Frames {
    /// Notes that these bytes have passed.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.content_left > 0 {
                let passed = usize::try_from(self.content_left).unwrap_or(usize::MAX);
                let passed = passed.min(bytes.len());
                self.content_left -= u64::try_from(passed).unwrap_or(0);
                bytes = bytes.get(passed..).unwrap_or_default();
            } else if let Some((byte, rest)) = bytes.split_first() {
                if let Some(place) = self.head.get_mut(self.head_len) {
                    *place = *byte;
                }
                self.head_len += 1;
                bytes = rest;
                self.end_head();
            }
        }
    }

    /// Tells whether the last frame has ended and no other has begun.
    pub(super) fn is_between(&self) -> bool {
        self.head_len == 0 && self.content_left == 0
    }

    /// Tells whether a close frame has passed: nothing may follow it.
    pub(super) fn has_closed(&self) -> bool {
        self.has_closed && self.is_between()
    }

    /// Learns the length of the content, once the head is whole.
    fn end_head(&mut self) {
        let [first, second, extended @ ..] = self.head;
        let length = second & 0x7f;
        let extended_len = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_len = if second & 0x80 == 0 { 0 } else { 4 };
        if self.head_len < 2 + extended_len + mask_len {
            return;
        }
        let extended = extended.iter().take(extended_len);
        let extended = extended.fold(0, |length, byte| (length << 8) | u64::from(*byte));
        self.content_left = if extended_len == 0 { length.into() } else { extended };
        self.has_closed |= first & 0x0f == CLOSE;
        self.head_len = 0;
    }
}

/// The close frame of a server that goes away.
pub(super) fn close_to_caller() -> Vec<u8> {
    let mut frame = vec![0x80 | CLOSE, 2];
    frame.extend(GOING_AWAY);
    frame
}

/// The same of a client, which has to mask it (RFC 6455 §5.3).
pub(super) fn close_to_origin(mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0x80 | CLOSE, 0x80 | 2];
    frame.extend(mask);
    frame.extend(GOING_AWAY.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask_bit = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            0..126 => frame.push(mask_bit | u8::try_from(length).unwrap()),
            126..65536 => {
                frame.push(mask_bit + 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask_bit + 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(vec![0x55; if masked { 4 } else { 0 } + length]);
        frame
    }

    #[test]
    fn the_end_of_each_frame_is_found_however_the_bytes_come() {
        let lengths = [0, 1, 125, 126, 127, 65535, 65536];
        for piece_len in [1, 2, 3, 7, 16384] {
            let mut frames = Frames::default();
            for (masked, length) in lengths.iter().flat_map(|len| [(true, *len), (false, *len)]) {
                let bytes = frame(2, masked, length);
                let (but_one, last) = bytes.split_at(bytes.len() - 1);
                for piece in but_one.chunks(piece_len) {
                    frames.follow(piece);
                    assert!(!frames.is_between(), "{length}, {piece_len}");
                }
                frames.follow(last);
                assert!(frames.is_between() && !frames.has_closed(), "{length}, {piece_len}");
            }
        }
    }

    #[test]
    fn our_own_close_frames_are_close_frames() {
        for close in [close_to_caller(), close_to_origin([1, 2, 3, 4]), frame(8, true, 0)] {
            let mut frames = Frames::default();
            frames.follow(&close);
            assert!(frames.has_closed() && frames.is_between(), "{close:?}");
        }
        assert_eq!(close_to_caller(), [0x88, 2, 0x03, 0xe9]);
        assert_eq!(close_to_origin([1, 0, 0, 0]), [0x88, 0x82, 1, 0, 0, 0, 0x02, 0xe9]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_followed_alike(bytes: Vec<u8>, at in 0_usize..100) {
            let (mut whole, mut halves) = (Frames::default(), Frames::default());
            whole.follow(&bytes);
            let (one, other) = bytes.split_at(at.min(bytes.len()));
            halves.follow(one);
            halves.follow(other);
            assert_eq!(format!("{whole:?}"), format!("{halves:?}"));
        }
    }
}
