//! How much a checker may spend.

/// Bounds for a search. Time is not measured: the same history gives the same verdict on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// At most so many steps; a step is one operation tried, some 50 to 500 ns.
    pub steps: u64,
    /// At most so many bytes for what was tried before; an entry takes about 100.
    pub memo_bytes: usize,
}

impl Default for Budget {
    /// Some seconds and 256 MiB.
    fn default() -> Self {
        Self { steps: 20_000_000, memo_bytes: 256 << 20 }
    }
}
