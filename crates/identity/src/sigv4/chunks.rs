//! Bodies in the `aws-chunked` coding: pieces with a length and, mostly, a signature each that is made of the
//! one before, so that none can be left out, changed or moved.

use std::sync::Arc;

use ring::{digest, hmac};

use super::error::SignatureError;
use super::time::LENGTH;
use crate::text::{from_hex32, hex_digit, hex32};

/// What the SHA-256 of nothing is, in hexadecimal digits.
const EMPTY: &[u8] = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// The trailer that has the signature of the others.
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";
/// Trailers of one body.
const MOST_TRAILERS: usize = 16;
/// Bytes in the line that opens a chunk, or of a trailer.
const MOST_LINE: usize = 1024;

/// Takes a body in chunks apart and checks them.
#[derive(Debug)]
pub struct ChunkVerifier {
    /// What chunks are signed with; none where they are not.
    key: Option<Arc<hmac::Key>>,
    date: [u8; LENGTH],
    scope: String,
    /// The signature of what came before.
    previous: [u8; 64],
    trailer: bool,
}

/// A body that was taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What was in the chunks.
    pub body: Vec<u8>,
    /// Headers that came after them, in lower case.
    pub trailers: Vec<(String, String)>,
}

/// Why a body in chunks is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChunks {
    /// It does not keep to the coding.
    #[error("the body is not in the aws-chunked coding: {0}")]
    Malformed(&'static str),
    /// It has more bytes than it may.
    #[error("the body in chunks has more than {0} bytes")]
    TooLong(usize),
    /// A chunk or the trailers are not what was signed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl ChunkVerifier {
    pub(super) fn new(
        key: Option<Arc<hmac::Key>>,
        date: [u8; LENGTH],
        scope: String,
        seed: [u8; 64],
        trailer: bool,
    ) -> Self {
        Self { key, date, scope, previous: seed, trailer }
    }

    /// Whether each chunk has a signature.
    pub fn is_signed(&self) -> bool {
        self.key.is_some()
    }

    /// Checks the next chunk; the last one has no bytes. Without effect where chunks are not signed.
    ///
    /// # Errors
    /// When this chunk was not signed like this, in this place.
    pub fn chunk(&mut self, bytes: &[u8], signature: Option<&[u8]>) -> Result<(), SignatureError> {
        let digest = hex32(digest::digest(&digest::SHA256, bytes).as_ref());
        self.check(b"AWS4-HMAC-SHA256-PAYLOAD", &[EMPTY, b"\n", &digest], signature)
    }

    /// Checks the trailers: `name:value\n` for each. Without effect where chunks are not signed.
    ///
    /// # Errors
    /// When they were not signed like this.
    pub fn trailers(&mut self, text: &[u8], signature: Option<&[u8]>) -> Result<(), SignatureError> {
        let digest = hex32(digest::digest(&digest::SHA256, text).as_ref());
        self.check(b"AWS4-HMAC-SHA256-TRAILER", &[&digest], signature)
    }

    fn check(&mut self, kind: &[u8], what: &[&[u8]], signature: Option<&[u8]>) -> Result<(), SignatureError> {
        let Some(key) = &self.key else { return Ok(()) };
        let tag = signature.and_then(from_hex32).ok_or(SignatureError::DoesNotMatch)?;
        let mut context = Vec::with_capacity(320 + self.scope.len());
        for part in [kind, b"\n", &self.date, b"\n", self.scope.as_bytes(), b"\n", &self.previous, b"\n"] {
            context.extend_from_slice(part);
        }
        what.iter().for_each(|part| context.extend_from_slice(part));
        hmac::verify(key, &context, &tag).map_err(|_| SignatureError::DoesNotMatch)?;
        self.previous = hex32(&tag);
        Ok(())
    }

    /// Takes a whole body apart: at most `most` bytes come out.
    ///
    /// # Errors
    /// When it does not keep to the coding, is too long or is not what was signed.
    pub fn decode(mut self, body: &[u8], most: usize) -> Result<Decoded, BadChunks> {
        let mut rest = body;
        let mut out = Vec::with_capacity(body.len().min(most));
        loop {
            let line = take_line(&mut rest)?.ok_or(BadChunks::Malformed("it ends before its last chunk"))?;
            let (size, signature) = opening(line)?;
            if size > most - out.len() {
                return Err(BadChunks::TooLong(most));
            }
            let (bytes, after) =
                rest.split_at_checked(size).ok_or(BadChunks::Malformed("a chunk is cut off"))?;
            self.chunk(bytes, signature)?;
            if size == 0 {
                break;
            }
            out.extend_from_slice(bytes);
            rest =
                after.strip_prefix(b"\r\n").ok_or(BadChunks::Malformed("a chunk is longer than it says"))?;
        }
        let trailers = self.read_trailers(rest)?;
        Ok(Decoded { body: out, trailers })
    }

    fn read_trailers(&mut self, mut rest: &[u8]) -> Result<Vec<(String, String)>, BadChunks> {
        let mut trailers = Vec::new();
        let mut signature = None;
        let mut text = String::new();
        while let Some(line) = take_line(&mut rest)? {
            if line.is_empty() {
                continue; // also before the trailers: some senders end the last chunk like the others
            }
            if !self.trailer || trailers.len() == MOST_TRAILERS || signature.is_some() {
                return Err(BadChunks::Malformed("something follows its end"));
            }
            let line =
                std::str::from_utf8(line).map_err(|_| BadChunks::Malformed("a trailer is not text"))?;
            let (name, value) = line.split_once(':').ok_or(BadChunks::Malformed("a trailer has no colon"))?;
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
            if name == TRAILER_SIGNATURE {
                signature = Some(value);
                continue;
            }
            text.push_str(&format!("{name}:{value}\n"));
            trailers.push((name, value));
        }
        if self.trailer {
            self.trailers(text.as_bytes(), signature.as_deref().map(str::as_bytes))?;
        }
        Ok(trailers)
    }
}

/// The next line without its end; `None` when nothing is left. The last one may lack its end.
fn take_line<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, BadChunks> {
    if rest.is_empty() {
        return Ok(None);
    }
    let end = rest.iter().take(MOST_LINE).position(|byte| *byte == b'\n');
    let (line, after) = match end {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None if rest.len() < MOST_LINE => (*rest, &[][..]),
        None => return Err(BadChunks::Malformed("a line is too long")),
    };
    *rest = after;
    Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
}

/// `400;chunk-signature=…`: how long a chunk is, and its signature.
fn opening(line: &[u8]) -> Result<(usize, Option<&[u8]>), BadChunks> {
    const BAD: BadChunks = BadChunks::Malformed("a chunk does not say how long it is");
    let mut parts = line.split(|byte| *byte == b';');
    let digits = parts.next().unwrap_or_default();
    if digits.is_empty() || digits.len() > 8 {
        return Err(BAD);
    }
    let mut size = 0;
    for digit in digits {
        size = size << 4 | usize::from(hex_digit(*digit).ok_or(BAD)?);
    }
    Ok((size, parts.find_map(|part| part.strip_prefix(b"chunk-signature="))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Secret;
    use crate::sigv4::keys::signing_key;

    // "Signature calculations for the Authorization header: transferring payload in multiple chunks" of the
    // Amazon S3 API reference, without and with trailers.
    const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    const CHUNKS: [&str; 3] = [
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ];
    const TRAILER_SEED: &str = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
    const TRAILER_CHUNKS: [&str; 3] = [
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ];
    const TRAILERS: &str = "x-amz-checksum-crc32c:sOO8/Q==\r\n\
        x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n";
    const MOST: usize = 70_000;

    fn verifier(seed: &str, signed: bool, trailer: bool) -> ChunkVerifier {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let key = signed.then(|| Arc::new(signing_key(&secret, b"20130524", "us-east-1", "s3")));
        let scope = "20130524/us-east-1/s3/aws4_request".to_owned();
        ChunkVerifier::new(key, *b"20130524T000000Z", scope, seed.as_bytes().try_into().unwrap(), trailer)
    }

    fn body(signatures: [&str; 3], end: &str) -> Vec<u8> {
        let mut body = Vec::new();
        for (size, signature) in [65_536, 1024, 0].into_iter().zip(signatures) {
            body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
            body.extend(std::iter::repeat_n(b'a', size));
            if size > 0 {
                body.extend_from_slice(b"\r\n");
            }
        }
        body.extend_from_slice(end.as_bytes());
        body
    }

    #[test]
    fn the_examples_in_the_documentation() {
        let decoded = verifier(SEED, true, false).decode(&body(CHUNKS, "\r\n"), MOST).unwrap();
        assert_eq!(decoded, Decoded { body: vec![b'a'; 66_560], trailers: Vec::new() });
        for end in [format!("{TRAILERS}\r\n"), format!("\r\n{TRAILERS}"), TRAILERS.to_owned()] {
            let decoded =
                verifier(TRAILER_SEED, true, true).decode(&body(TRAILER_CHUNKS, &end), MOST).unwrap();
            assert_eq!(decoded.body.len(), 66_560);
            assert_eq!(decoded.trailers, [("x-amz-checksum-crc32c".to_owned(), "sOO8/Q==".to_owned())]);
        }
    }

    #[test]
    fn nothing_can_be_changed_left_out_or_moved() {
        let mismatch = BadChunks::Signature(SignatureError::DoesNotMatch);
        let refused = |body: &[u8]| verifier(SEED, true, false).decode(body, MOST).unwrap_err();
        let good = body(CHUNKS, "\r\n");
        let mut changed = good.clone();
        changed[1000] = b'b';
        assert_eq!(refused(&changed), mismatch);
        assert_eq!(refused(&body([CHUNKS[1], CHUNKS[0], CHUNKS[2]], "\r\n")), mismatch);
        let second = good.windows(4).position(|four| four == b"400;").unwrap();
        assert_eq!(refused(&good[second..]), mismatch, "the first left out");
        let last = good.windows(3).rposition(|three| three == b"\n0;").unwrap() + 1;
        assert_eq!(refused(&good[..last]), BadChunks::Malformed("it ends before its last chunk"));
        let shorter = [&good[..second], &good[last..]].concat();
        assert_eq!(refused(&shorter), mismatch, "the second left out");
        assert_eq!(verifier(SEED, true, false).decode(&good, 66_559), Err(BadChunks::TooLong(66_559)));

        let with = |trailers: &str| {
            verifier(TRAILER_SEED, true, true).decode(&body(TRAILER_CHUNKS, trailers), MOST).unwrap_err()
        };
        assert_eq!(with(&TRAILERS.replace("sOO8", "AAAA")), mismatch);
        assert_eq!(with("x-amz-checksum-crc32c:sOO8/Q==\r\n"), mismatch);
        assert_eq!(with(""), mismatch);
        assert_eq!(with(&format!("{TRAILERS}more:1\r\n")), BadChunks::Malformed("something follows its end"));
    }

    #[test]
    fn chunks_without_signatures_are_taken_apart_as_well() {
        let decode = |body: &[u8]| verifier(SEED, false, true).decode(body, 10);
        let good = decode(b"5\r\nhello\r\n3\r\nyou\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n").unwrap();
        assert_eq!(good.body, b"helloyou");
        assert_eq!(good.trailers, [("x-amz-checksum-crc32".to_owned(), "AAAA".to_owned())]);
        for bad in [
            &b""[..],
            b"x\r\n",
            b"\r\n",
            b"5\r\nhell",
            b"5\r\nhelloo\r\n",
            b"b\r\nhelloworld!\r\n0\r\n",
            b"fffffffff\r\n",
        ] {
            assert!(decode(bad).is_err(), "{bad:?}");
        }
    }
}
