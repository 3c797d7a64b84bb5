//! Where everything is kept. Integers in keys are big-endian; `Q` is the number of a queue, `S` that of a message in
//! it.

use store::{Space, SpaceKind};

/// `Q S` → what was sent: header and body. Put once, at send; deleted once.
pub const BODY: Space = Space::new(1, "q.body", SpaceKind::WriteOnce);
/// `Q S` → what became of it since: some tens of bytes, put again by each receive and change of visibility.
pub const META: Space = Space::new(2, "q.meta", SpaceKind::Rewritten);
/// `Q` → low-water mark, reserved sequences, counters.
pub const HEAD: Space = Space::new(3, "q.head", SpaceKind::Rewritten);
/// `Q B hash` → the message that was sent with this identity in the five minutes `B`. Dropped by bucket.
pub const DEDUP: Space = Space::new(4, "q.dedup", SpaceKind::Rewritten);
/// Queues by name, move tasks, the secret of receipts, numbers given out.
pub const REGISTRY: Space = Space::new(5, "r.pipes", SpaceKind::Quiet);

/// Every space of this crate: what a store must be opened with.
pub const SPACES: &[Space] = &[BODY, META, HEAD, DEDUP, REGISTRY];
