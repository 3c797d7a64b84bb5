//! From the bytes of a pipe to lines.

use super::record::MAX_LINE;

/// Capacity that is kept between two reads; more is given back.
const KEEP: usize = 1024;

/// Cuts a stream of bytes into lines of at most [`MAX_LINE`] bytes. Holds back the last, unfinished one.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Takes the next bytes. `each` gets every line that is complete, without its line feed; with `true`
    /// when the line goes on.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8], bool)) {
        while !bytes.is_empty() {
            let room = MAX_LINE - self.partial.len();
            let window = &bytes[..bytes.len().min(room + 1)];
            let Some(end) = window.iter().position(|&b| b == b'\n') else {
                if window.len() <= room {
                    self.partial.extend_from_slice(window);
                    return;
                }
                self.emit(&bytes[..room], true, &mut each);
                bytes = &bytes[room..];
                continue;
            };
            self.emit(&bytes[..end], false, &mut each);
            bytes = &bytes[end + 1..];
        }
    }

    /// The stream has ended: gives out what is held back.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&[u8], bool)) {
        if !self.partial.is_empty() {
            self.emit(&[], false, &mut each);
        }
    }

    fn emit(&mut self, more: &[u8], continues: bool, each: &mut impl FnMut(&[u8], bool)) {
        if self.partial.is_empty() {
            each(more, continues);
            return;
        }
        self.partial.extend_from_slice(more);
        each(&self.partial, continues);
        self.partial.clear();
        self.partial.shrink_to(KEEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Vec::new();
        let mut splitter = LineSplitter::default();
        for chunk in chunks {
            splitter.feed(chunk, |line, continues| lines.push((line.to_vec(), continues)));
        }
        splitter.finish(|line, continues| lines.push((line.to_vec(), continues)));
        lines
    }

    #[test]
    fn a_line_of_exactly_the_bound_is_one_record_and_a_longer_one_is_marked() {
        let exact = [vec![b'x'; MAX_LINE], b"\n".to_vec()].concat();
        assert_eq!(split(&[&exact]).len(), 1);
        let longer = [vec![b'x'; MAX_LINE + 5], b"\n".to_vec()].concat();
        let lines = split(&[&longer]);
        assert_eq!(
            lines.iter().map(|l| (l.0.len(), l.1)).collect::<Vec<_>>(),
            [(MAX_LINE, true), (5, false)]
        );
    }

    proptest! {
        #[test]
        fn how_the_bytes_arrive_makes_no_difference(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'x')], 0..200), cut in 0usize..200,
        ) {
            let cut = cut.min(bytes.len());
            let whole = split(&[&bytes]);
            prop_assert_eq!(&whole, &split(&[&bytes[..cut], &bytes[cut..]]));
            let mut lines: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
            if lines.last().is_some_and(|last| last.is_empty()) {
                lines.pop();
            }
            prop_assert_eq!(whole.iter().map(|l| l.0.as_slice()).collect::<Vec<_>>(), lines);
        }
    }
}
