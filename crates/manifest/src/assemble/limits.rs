//! What hostile input may cost at most. Every bound of assembling has its name here.

/// Bytes of one file.
pub(crate) const MAX_FILE_BYTES: u64 = 4 << 20;
/// Bytes of all files together.
pub(crate) const MAX_TOTAL_BYTES: u64 = 16 << 20;
/// Files read for one app, a file read twice counted twice.
pub(crate) const MAX_FILES: usize = 256;
/// YAML documents in one file.
pub(crate) const MAX_DOCUMENTS: usize = 16;
/// Nodes of all trees together, after aliases, merge keys and `extends` were expanded.
pub(crate) const MAX_NODES: usize = 200_000;
/// Bytes of text in all trees together, after the same expansions and interpolation.
pub(crate) const MAX_TEXT_BYTES: usize = 16 << 20;
/// Mappings and sequences inside each other.
pub(crate) const MAX_DEPTH: usize = 64;
/// Services that extend each other in a row.
pub(crate) const MAX_EXTENDS: usize = 64;
/// Files that include each other in a row.
pub(crate) const MAX_INCLUDES: usize = 32;
/// `${A:-${B:-…}}` inside each other.
pub(crate) const MAX_TEMPLATE_DEPTH: usize = 32;
/// Bytes of one value after interpolation.
pub(crate) const MAX_VALUE_BYTES: usize = 1 << 20;
/// Bytes of all values of one environment file.
pub(crate) const MAX_ENV_BYTES: usize = 4 << 20;
/// Faults of assembling that are kept; a broken generator should not flood the terminal.
pub(crate) const MAX_FAULTS: usize = 100;

/// What is left of [`MAX_NODES`] and [`MAX_TEXT_BYTES`] while one app is assembled.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    nodes: usize,
    text: usize,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// How much a tree costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Nodes, the root included.
    pub(crate) nodes: usize,
    /// Bytes of keys and scalars.
    pub(crate) text: usize,
}

impl Budget {
    /// The whole budget.
    pub(crate) fn new() -> Self {
        Self { nodes: MAX_NODES, text: MAX_TEXT_BYTES }
    }

    /// Takes `size` out of the budget. Once exhausted it stays so.
    pub(crate) fn charge(&mut self, size: Size) -> Result<(), Exhausted> {
        if size.nodes > self.nodes || size.text > self.text {
            (self.nodes, self.text) = (0, 0);
            return Err(Exhausted);
        }
        self.nodes -= size.nodes;
        self.text -= size.text;
        Ok(())
    }
}

impl std::ops::Add for Size {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { nodes: self.nodes + other.nodes, text: self.text + other.text }
    }
}
