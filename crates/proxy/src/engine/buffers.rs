//! Memory for what moves, used again by the connections of one thread: an idle connection holds none.

use std::cell::RefCell;

use bytes::BytesMut;

use crate::fields::Fields;
use crate::head::Head;

/// Bytes that are read at once.
pub(crate) const READ: usize = 16 * 1024;
/// Kept for the next connection, per thread: buffers to read into, and to write heads into.
const KEPT: usize = 64;
/// A head's memory that grew beyond this is not kept.
const HEAD_MAX: usize = 16 * 1024;

thread_local! {
    static INPUTS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    static HEADS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    #[allow(clippy::vec_box)] // a head stays in its box from one exchange to the next
    static REQUESTS: RefCell<Vec<Box<Head>>> = const { RefCell::new(Vec::new()) };
    static FIELDS: RefCell<Vec<Fields>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer of [`READ`] bytes.
pub(crate) fn input() -> BytesMut {
    INPUTS.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(READ))
}

/// Gives a buffer back, with whatever is in it. One that somebody still has a part of goes with that part.
pub(crate) fn give_input(mut buffer: BytesMut) {
    if buffer.capacity() == 0 {
        return;
    }
    buffer.clear();
    if buffer.try_reclaim(READ) && buffer.capacity() <= 2 * READ {
        INPUTS.with_borrow_mut(|kept| {
            if kept.len() < KEPT {
                kept.push(buffer);
            }
        });
    }
}

/// Empty memory for a head.
pub(crate) fn head() -> Vec<u8> {
    HEADS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives it back.
pub(crate) fn give_head(mut head: Vec<u8>) {
    if head.capacity() == 0 || head.capacity() > HEAD_MAX {
        return;
    }
    head.clear();
    HEADS.with_borrow_mut(|kept| {
        if kept.len() < KEPT {
            kept.push(head);
        }
    });
}

/// No fields, with memory for some.
pub(crate) fn fields() -> Fields {
    FIELDS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives them back.
pub(crate) fn give_fields(mut fields: Fields) {
    if fields.capacity() == 0 || fields.capacity() > HEAD_MAX {
        return;
    }
    fields.clear();
    FIELDS.with_borrow_mut(|kept| {
        if kept.len() < KEPT {
            kept.push(fields);
        }
    });
}

/// An empty head of a request, for streams of HTTP/2. Connections of HTTP/1.1 use their worker's again.
pub(crate) fn request() -> Box<Head> {
    REQUESTS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives it back.
pub(crate) fn give_request(mut head: Box<Head>) {
    if head.capacity() > HEAD_MAX {
        return;
    }
    head.clear();
    REQUESTS.with_borrow_mut(|kept| {
        if kept.len() < KEPT {
            kept.push(head);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_unless_somebody_has_a_part_of_it() {
        let mut buffer = input();
        buffer.extend_from_slice(b"abc");
        let place = buffer.as_ptr();
        give_input(buffer);
        let mut buffer = input();
        assert_eq!((buffer.as_ptr(), buffer.len()), (place, 0));
        buffer.extend_from_slice(b"abcdef");
        let part = buffer.split_to(3).freeze();
        give_input(buffer);
        assert!(INPUTS.with_borrow(Vec::is_empty));
        assert_eq!(part, "abc");
        let mut buffer = input();
        buffer.extend_from_slice(b"abcdef");
        drop(buffer.split_to(3).freeze());
        give_input(buffer);
        assert!(input().capacity() >= READ && INPUTS.with_borrow(Vec::is_empty));
    }
}
