//! What a word is in the text of a log record: letters, digits and `_` of ASCII, and everything beyond ASCII. Capitals of
//! ASCII are as good as small letters.

/// What each byte is within words: 0 where it ends one, else itself as a small letter.
pub(crate) const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "counts to 255")]
        let byte = at as u8;
        if byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii() {
            class[at] = byte.to_ascii_lowercase();
        }
        at += 1;
    }
    class
};

/// Whether a byte belongs to a word.
pub(crate) const fn is_word(byte: u8) -> bool {
    CLASS[byte as usize] != 0
}

/// The words of a text as hashes, one after the other.
pub(crate) fn each_hash(text: &[u8], mut found: impl FnMut(u64)) {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    let mut hash = START;
    let mut within = false;
    for byte in text {
        let class = CLASS[usize::from(*byte)];
        if class == 0 {
            if within {
                found(mix(hash));
                (hash, within) = (START, false);
            }
        } else {
            hash = (hash ^ u64::from(class)).wrapping_mul(0x0000_0100_0000_01b3);
            within = true;
        }
    }
    if within {
        found(mix(hash));
    }
}

/// Spreads what the multiplications left in the upper bits.
const fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

/// Whether `phrase` occurs in `text` as whole words.
pub(crate) fn occurs(phrase: &str, text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let phrase = Phrase::new(phrase);
    phrase.find(text.as_bytes(), 0).is_some()
}

/// Something to look for in text of small letters.
pub(crate) struct Phrase {
    finder: memchr::memmem::Finder<'static>,
    starts_word: bool,
    ends_word: bool,
    length: usize,
    hashes: Vec<u64>,
}

impl Phrase {
    /// What to look for.
    pub(crate) fn new(phrase: &str) -> Self {
        let phrase = phrase.to_ascii_lowercase();
        let mut hashes = Vec::new();
        each_hash(phrase.as_bytes(), |hash| hashes.push(hash));
        Self {
            starts_word: phrase.bytes().next().is_some_and(is_word),
            ends_word: phrase.bytes().next_back().is_some_and(is_word),
            length: phrase.len(),
            hashes,
            finder: memchr::memmem::Finder::new(phrase.as_bytes()).into_owned(),
        }
    }

    /// The hashes of words that text has in which it occurs.
    pub(crate) fn whole_words(&self) -> impl Iterator<Item = u64> {
        self.hashes.iter().copied()
    }

    pub(crate) const fn length(&self) -> usize {
        self.length
    }

    /// Where it occurs in `text` (small letters) from `from` on.
    pub(crate) fn find(&self, text: &[u8], mut from: usize) -> Option<usize> {
        while let Some(at) = self.finder.find(text.get(from..)?) {
            let start = from + at;
            if self.is_whole(text, start) {
                return Some(start);
            }
            from = start + 1;
        }
        None
    }

    /// Whether what stands at `start` begins and ends where words do.
    fn is_whole(&self, text: &[u8], start: usize) -> bool {
        let end = start + self.length;
        let free_before = !self.starts_word || start == 0 || !is_word(text[start - 1]);
        free_before && (!self.ends_word || end == text.len() || !is_word(text[end]))
    }

    /// The rows in which it occurs, of these, which grow. Row `n` is what stands in `text` (small letters) from `starts[n]` to
    /// before `starts[n + 1]`. All of it is looked through at once: rows are short, and to begin a search takes longer than to
    /// search one.
    pub(crate) fn rows(&self, text: &[u8], starts: &[usize], rows: &[usize]) -> Vec<usize> {
        let mut found = Vec::new();
        let mut at = 0;
        let mut rows = rows.iter().filter_map(|row| Some((*row, *starts.get(*row)?, *starts.get(row + 1)?)));
        let Some(mut row) = rows.next() else { return found };
        loop {
            let (number, start, end) = row;
            at = at.max(start);
            let Some(hit) = text.get(at..).and_then(|rest| self.finder.find(rest)).map(|hit| at + hit) else {
                return found;
            };
            let here = hit + self.length <= end;
            let next = if !here {
                // None of those that end before begins with it.
                at = hit;
                rows.find(|(_, _, end)| hit < *end)
            } else if text.get(start..end).is_some_and(|text| self.is_whole(text, hit - start)) {
                found.push(number);
                rows.next()
            } else {
                at = hit + 1;
                continue;
            };
            match next {
                Some(next) => row = next,
                None => return found,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_found_as_one_by_one(texts in prop::collection::vec("[ab ]{0,6}", 0..20), phrase in "[ab ]{0,3}", meant in prop::collection::vec(any::<bool>(), 20)) {
            let phrase = Phrase::new(&phrase);
            let starts: Vec<usize> = std::iter::once(0).chain(texts.iter().scan(0, |end, text| { *end += text.len(); Some(*end) })).collect();
            let meant: Vec<usize> = (0..texts.len()).filter(|row| meant[*row]).collect();
            let expected: Vec<usize> = meant.iter().copied().filter(|row| phrase.find(texts[*row].as_bytes(), 0).is_some()).collect();
            prop_assert_eq!(phrase.rows(texts.concat().as_bytes(), &starts, &meant), expected);
        }
    }

    #[test]
    fn a_word_is_found_whole_and_in_any_case() {
        assert!(occurs("Deadline", "call failed: DEADLINE exceeded"));
        assert!(occurs("deadline exceeded", "deadline exceeded"));
        assert!(!occurs("dead", "deadline exceeded"));
        assert!(!occurs("line", "deadline exceeded"));
        assert!(occurs("id=42", "user id=42, gone"));
        assert!(!occurs("id=4", "user id=42, gone"));
        assert!(occurs("zürich", "nach zürich"));
        assert!(occurs("", "anything"));
    }

    #[test]
    fn the_words_of_a_text_have_the_hashes_of_the_words() {
        let hashes = |text: &str| {
            let mut hashes = Vec::new();
            each_hash(text.as_bytes(), |hash| hashes.push(hash));
            hashes
        };
        assert_eq!(hashes("a B,c_d"), [hashes("A"), hashes("b"), hashes("C_D")].concat());
        assert_eq!(hashes(" .. "), Vec::<u64>::new());
    }
}
