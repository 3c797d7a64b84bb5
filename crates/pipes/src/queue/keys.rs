//! Keys of queues in the store.

use store::Key;

/// `Q S`: a message.
pub fn message(queue: u32, sequence: u64) -> Key {
    let mut key = Vec::with_capacity(12);
    key.extend_from_slice(&queue.to_be_bytes());
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// The sequence in the key of a message.
pub fn sequence(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(4..)?.try_into().ok()?))
}

/// `Q`: all of a queue.
pub fn queue(queue: u32) -> Key {
    queue.to_be_bytes().to_vec()
}

/// The queue in a key that begins with one.
pub fn queue_of(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(..4)?.try_into().ok()?))
}

/// `Q B`: the identities of five minutes.
pub fn bucket(queue: u32, bucket: u32) -> Key {
    let mut key = Vec::with_capacity(8);
    key.extend_from_slice(&queue.to_be_bytes());
    key.extend_from_slice(&bucket.to_be_bytes());
    key
}

/// `Q B hash`: an identity.
pub fn identity(queue: u32, bucket: u32, hash: &[u8; 16]) -> Key {
    let mut key = Vec::with_capacity(24);
    key.extend_from_slice(&queue.to_be_bytes());
    key.extend_from_slice(&bucket.to_be_bytes());
    key.extend_from_slice(hash);
    key
}

/// Bucket and hash in the key of an identity.
pub fn bucket_and_hash(key: &[u8]) -> Option<(u32, [u8; 16])> {
    let bucket = u32::from_be_bytes(key.get(4..8)?.try_into().ok()?);
    Some((bucket, key.get(8..)?.try_into().ok()?))
}

/// The secret that receipts are made with.
pub const SECRET: &[u8] = b"secret";
/// The next number of a queue.
pub const NEXT_NUMBER: &[u8] = b"number";
/// What the keys of queues in the registry begin with.
pub const QUEUES: &[u8] = b"queue/";
/// What the keys of queues that are deleted, and not yet removed, begin with.
pub const DROPS: &[u8] = b"drop/";
/// What the keys of move tasks begin with.
pub const MOVES: &[u8] = b"move/";

/// A key of the registry: one of the prefixes, and what follows.
pub fn registry(prefix: &[u8], rest: &[u8]) -> Key {
    [prefix, rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        assert_eq!(sequence(&message(7, 9)), Some(9));
        assert_eq!(queue_of(&message(7, 9)), Some(7));
        assert_eq!(bucket_and_hash(&identity(7, 8, &[9; 16])), Some((8, [9; 16])));
        assert!(identity(7, 8, &[9; 16]).starts_with(&bucket(7, 8)) && message(7, 9).starts_with(&queue(7)));
        assert_eq!((sequence(&[1, 2, 3]), bucket_and_hash(&bucket(7, 8))), (None, None));
    }
}
