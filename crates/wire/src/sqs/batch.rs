//! What all batches have in common: their entries have ids, and each fails on its own.

use super::error::{Code, SqsError};
use crate::encode::{Encoder, Named};
use crate::text::Text;

/// Most entries of a batch.
const MOST_ENTRIES: usize = 10;

/// The failures of a batch: the id of each entry, and what is wrong with it.
pub(super) type Failures<'a> = Vec<(&'a str, SqsError)>;

/// Checks that a batch has entries, not too many, and that their ids tell them apart. `what` is the name of an entry.
pub(super) fn check<'a>(
    ids: impl ExactSizeIterator<Item = Option<&'a Text<'a>>>,
    what: &str,
) -> Result<Vec<&'a str>, SqsError> {
    if ids.len() == 0 {
        let message = format!("There should be at least one {what} in the request.");
        return Err(SqsError::new(Code::EmptyBatchRequest, message));
    }
    if ids.len() > MOST_ENTRIES {
        let message =
            format!("Maximum number of entries per request are {MOST_ENTRIES}. You have sent {}.", ids.len());
        return Err(SqsError::new(Code::TooManyEntries, message));
    }
    let mut seen: Vec<&str> = Vec::with_capacity(ids.len());
    for id in ids {
        let id = id.ok_or_else(|| SqsError::missing(&format!("{what}.Id")))?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if id.is_empty() || id.len() > 80 || !id.bytes().all(allowed) {
            return Err(SqsError::new(
                Code::InvalidBatchEntryId,
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. \
                 It can be at most 80 letters long.",
            ));
        }
        if seen.contains(&&**id) {
            return Err(SqsError::new(Code::BatchEntryIdsNotDistinct, format!("Id {} repeated.", &**id)));
        }
        seen.push(id);
    }
    Ok(seen)
}

/// Writes what became of a batch. `each` writes what a success has beside its id.
pub(super) fn write<T>(
    out: &mut Encoder,
    element: &'static str,
    successes: &[(&str, T)],
    failures: &Failures<'_>,
    mut each: impl FnMut(&mut Encoder, &T),
) {
    out.objects(Named { json: "Successful", xml: element }, successes, |out, (id, success)| {
        out.text("Id", id);
        each(out, success);
    });
    if failures.is_empty() {
        return;
    }
    out.objects(Named { json: "Failed", xml: "BatchResultErrorEntry" }, failures, |out, (id, error)| {
        out.text("Id", id);
        out.boolean("SenderFault", error.senders_fault());
        out.text("Code", error.code.query());
        out.text("Message", &error.message);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(ids: &[&str]) -> Result<(), Code> {
        let ids: Vec<_> = ids.iter().map(|id| Text((*id).into())).collect();
        check(ids.iter().map(Some), "Entry").map(drop).map_err(|error| error.code)
    }

    #[test]
    fn ids_tell_the_entries_apart() {
        assert_eq!(codes(&["a", "B-2", "c_3"]), Ok(()));
        assert_eq!(codes(&[]), Err(Code::EmptyBatchRequest));
        assert_eq!(codes(&["x"; 11]), Err(Code::TooManyEntries));
        assert_eq!(codes(&["a", "b", "a"]), Err(Code::BatchEntryIdsNotDistinct));
        for id in ["", "a:b", "ä", &"i".repeat(81)] {
            assert_eq!(codes(&[id]), Err(Code::InvalidBatchEntryId), "{id}");
        }
        assert_eq!(check([None].into_iter(), "Entry").unwrap_err().code, Code::MissingParameter);
    }
}
