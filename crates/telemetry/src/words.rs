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

    /// Where it occurs in `text` (small letters) from `from` on.
    pub(crate) fn find(&self, text: &[u8], mut from: usize) -> Option<usize> {
        while let Some(at) = self.finder.find(text.get(from..)?) {
            let start = from + at;
            let end = start + self.length;
            let free_before = !self.starts_word || start == 0 || !is_word(text[start - 1]);
            let free_behind = !self.ends_word || end == text.len() || !is_word(text[end]);
            if free_before && free_behind {
                return Some(start);
            }
            from = start + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
