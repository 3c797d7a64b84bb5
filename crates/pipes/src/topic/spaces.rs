//! Where topics are kept. Integers in keys are big-endian.

use store::{Space, SpaceKind};

/// Name of a topic → its record.
pub const TOPIC: Space = Space::new(21, "t.topic", SpaceKind::Quiet);
/// Name of a topic, a zero, identity of a subscription → its record.
pub const SUB: Space = Space::new(22, "t.sub", SpaceKind::Quiet);
/// Five minutes (u32), hash → what was published then with this identity. Dropped by the first four bytes.
pub const DEDUP: Space = Space::new(23, "t.dedup", SpaceKind::Rewritten);
/// Identity of a topic → the next number in its order.
pub const SEQUENCE: Space = Space::new(24, "t.sequence", SpaceKind::Rewritten);
/// The secret of confirmation tokens.
pub const META: Space = Space::new(25, "t.meta", SpaceKind::Quiet);

/// Every space of topics: what a store must be opened with.
pub const SPACES: &[Space] = &[TOPIC, SUB, DEDUP, SEQUENCE, META];
