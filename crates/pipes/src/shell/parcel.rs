//! From what is sent to what a core takes, and from what was kept to what is received.

use bytes::Bytes;
use kit::Timestamp;
use rand::Rng;
use ring::digest;

use crate::error::SendError;
use crate::queue::core::Parcel;
use crate::queue::message::{Delivery, Outgoing};
use crate::queue::receipt::Receipt;
use crate::queue::record::{BadRecord, Stored};
use crate::queue::settings::Settings;

/// Bytes that a message takes in a commit besides its record: keys, what becomes of it, its identity.
pub(super) const AROUND: usize = 160;

/// Checks a message, and does all that can be done before it has its place.
pub(super) fn pack(mut message: Outgoing, settings: &Settings, now: Timestamp) -> Result<Parcel, SendError> {
    let (size, most) = (message.size(), settings.message_bytes as usize);
    if size > most {
        return Err(SendError::TooLarge { size, most });
    }
    let mut identity = None;
    if let Some(fifo) = &settings.fifo {
        if message.delay_seconds.is_some() {
            return Err(SendError::OwnDelay);
        }
        let Some(group) = message.group.as_deref() else { return Err(SendError::NoGroup) };
        if message.dedup.is_none() && fifo.content_dedup {
            message.dedup = Some(hex(digest::digest(&digest::SHA256, &message.body).as_ref()));
        }
        let Some(dedup) = message.dedup.as_deref() else { return Err(SendError::NoDedup) };
        identity = Some(digest_of([if fifo.dedup_by_group { group } else { "" }, dedup]));
    }
    let mut parcel = repack(new_id(), &message, now);
    parcel.identity = identity;
    parcel.delay_seconds = message.delay_seconds;
    Ok(parcel)
}

/// A message that was sent already, for another queue.
pub(super) fn repack(id: [u8; 16], message: &Outgoing, sent_at: Timestamp) -> Parcel {
    let group = message.group.as_deref().map_or(0, group_digest);
    let record = Stored::encode(&id, sent_at, message);
    Parcel { id, record, group, delay_seconds: None, identity: None, kept_sent_at: None }
}

/// A message as its receiver gets it.
pub(super) fn deliver(
    record: &Bytes,
    receipt: Receipt,
    first_at: Option<Timestamp>,
    received_at: Timestamp,
    fifo: bool,
) -> Result<Delivery, BadRecord> {
    let Stored { id, sent_at, message } = Stored::decode(record)?;
    Ok(Delivery {
        id: uuid(&id),
        receipt,
        message,
        sequence: fifo.then_some(receipt.sequence),
        sent_at,
        first_received_at: first_at.unwrap_or(sent_at),
        received_at,
        receives: receipt.receives,
    })
}

/// A new UUID: version 4, at random.
pub(super) fn new_id() -> [u8; 16] {
    let mut id = [0; 16];
    rand::rng().fill_bytes(&mut id);
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

/// A UUID as text.
pub(super) fn uuid(id: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in id.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        push_hex(&mut text, *byte);
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    bytes.iter().for_each(|byte| push_hex(&mut text, *byte));
    text
}

fn push_hex(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// A digest that nobody finds a second text for: groups of different customers must not block each other.
fn group_digest(group: &str) -> u64 {
    let digest = digest_of([group]);
    digest[..8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte)).max(1)
}

/// A digest of texts, each with its length.
fn digest_of<const N: usize>(parts: [&str; N]) -> [u8; 16] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut half = [0; 16];
    half.copy_from_slice(&context.finish().as_ref()[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_at_random() {
        let (one, other) = (uuid(&new_id()), uuid(&new_id()));
        assert_ne!(one, other);
        assert!(one.len() == 36 && one.as_bytes()[14] == b'4' && one.split('-').count() == 5, "{one}");
    }

    #[test]
    fn the_identity_of_content_is_its_sha_256() {
        let fifo = Some(crate::Fifo { content_dedup: true, ..crate::Fifo::default() });
        let settings = Settings { fifo, ..Settings::default() };
        let message = Outgoing { body: "abc".into(), group: Some("g".to_owned()), ..Outgoing::default() };
        let parcel = pack(message, &settings, Timestamp::from_micros(1)).unwrap();
        let dedup = Stored::decode(&parcel.record).unwrap().message.dedup.unwrap();
        assert_eq!(dedup, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
