//! Reads along which frames a peer sends, without what is in them: h2 does not tell of those that serve no
//! stream. Pure.

/// The first bytes of a frame (RFC 9113 §4.1): three of its length, one of its type, and more.
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// Counts of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Heads and pieces of bodies.
    pub(super) useful: u64,
    /// All others, and pieces without a byte.
    pub(super) idle: u64,
}

/// Where in the frames a connection is.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes to come before the next frame begins.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
}

impl Frames {
    /// Begins where `skip` bytes are no frames.
    pub(super) fn after(skip: usize) -> Self {
        Self { skip, ..Self::default() }
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8], counts: &mut Counts) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD {
                let [a, b, c, kind, ..] = self.head;
                self.have = 0;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                match kind {
                    HEADERS | CONTINUATION => counts.useful += 1,
                    DATA if self.skip > 0 => counts.useful += 1,
                    _ => counts.idle += 1,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, size: usize) -> Vec<u8> {
        let mut frame = (size as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 1]);
        frame.resize(HEAD + size, 7);
        frame
    }

    proptest! {
        #[test]
        fn every_frame_is_counted_once_however_it_arrives(
            kinds in proptest::collection::vec((0u8..12, 0usize..40), 0..30),
            portion in 1usize..30,
        ) {
            let mut bytes = b"preface".to_vec();
            let mut expected = Counts::default();
            for (kind, size) in kinds {
                bytes.extend(frame(kind, size));
                match kind {
                    1 | 9 => expected.useful += 1,
                    0 if size > 0 => expected.useful += 1,
                    _ => expected.idle += 1,
                }
            }
            let (mut frames, mut counts) = (Frames::after(7), Counts::default());
            bytes.chunks(portion).for_each(|portion| frames.feed(portion, &mut counts));
            prop_assert_eq!(counts, expected);
        }
    }
}
