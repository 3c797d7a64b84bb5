//! The digests that clients compare: of bodies, and of attributes. They guard against accidents on the way, nothing else.

use md5::{Digest, Md5};
use pipes::queue::message::{Attribute, AttributeValue};

/// A digest as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hex([u8; 32]);

impl Hex {
    fn of(digest: Md5) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (place, byte) in text.chunks_exact_mut(2).zip(digest.finalize()) {
            place[0] = DIGITS[usize::from(byte >> 4)];
            place[1] = DIGITS[usize::from(byte & 15)];
        }
        Self(text)
    }

    /// The digits.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The digest of a body.
pub(crate) fn of_body(body: &[u8]) -> Hex {
    let mut digest = Md5::new();
    digest.update(body);
    Hex::of(digest)
}

/// The digest of attributes, which stand in the order of their names: of each its name, its type, one byte that says how
/// the value is carried, and the value; names, types and values after their length in four bytes.
pub(crate) fn of_attributes<'a>(attributes: impl IntoIterator<Item = &'a Attribute>) -> Hex {
    let mut digest = Md5::new();
    for Attribute { name, kind, value } in attributes {
        part(&mut digest, name.as_bytes());
        part(&mut digest, kind.as_bytes());
        match value {
            AttributeValue::Text(text) => {
                digest.update([1]);
                part(&mut digest, text.as_bytes());
            }
            AttributeValue::Binary(bytes) => {
                digest.update([2]);
                part(&mut digest, bytes);
            }
        }
    }
    Hex::of(digest)
}

fn part(digest: &mut Md5, bytes: &[u8]) {
    digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    digest.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(hex: Hex) -> String {
        String::from_utf8(hex.as_bytes().to_vec()).unwrap()
    }

    fn attribute(name: &str, kind: &str, value: AttributeValue) -> Attribute {
        Attribute { name: name.into(), kind: kind.into(), value }
    }

    /// Recorded from the service.
    #[test]
    fn known_digests() {
        assert_eq!(text(of_body(b"message-body-1")), "19c9e282d65f9733bc6b35d50062c7ee");
        let foo = attribute("Foo", "String", AttributeValue::Text("Bar".into()));
        assert_eq!(text(of_attributes([&foo])), "ae7155c6026991b6d54b11589678bf9c");
        let traced = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01";
        let binary = attribute("attr1", "Binary", AttributeValue::Binary(traced[..].into()));
        assert_eq!(text(of_attributes([&binary])), "8cbe4db156db8a94db8b801b7addb984");
    }
}
