//! What a turn may still say: the kernel's limits, and what the buffered wishes count.

use std::cell::OnceCell;

use crate::treaty::Treaty;

/// What one row counts in bytes, beside its texts; the order is the treaty's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Row {
    Launch,
    Kill,
    Forget,
    SetStatus,
    SetGoodGeneration,
    Quarantine,
    Note,
    Demand,
    Write,
}

/// The account of one turn. The kernel is asked once, at the first wish.
pub(crate) struct Budget<'a> {
    treaty: &'a dyn Treaty,
    limits: OnceCell<Limits>,
    bytes: u64,
    operations: u32,
}

struct Limits {
    bytes: u64,
    operations: u32,
    prices: Vec<u32>,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(treaty: &'a dyn Treaty) -> Self {
        Self {
            treaty,
            limits: OnceCell::new(),
            bytes: 0,
            operations: 0,
        }
    }

    fn limits(&self) -> &Limits {
        self.limits.get_or_init(|| Limits {
            bytes: self.treaty.bytes_left(),
            operations: self.treaty.operations_left(),
            prices: self.treaty.prices(),
        })
    }

    /// What a row counts with texts of this many bytes; a kind that the kernel does not know counts
    /// as much as the dearest.
    pub(crate) fn price(&self, row: Row, texts: usize) -> u64 {
        let prices = &self.limits().prices;
        let known = prices.get(row as usize).or_else(|| prices.iter().max());
        u64::from(known.copied().unwrap_or(0))
            .saturating_add(u64::try_from(texts).unwrap_or(u64::MAX))
    }

    /// Counts an operation.
    pub(crate) fn operation(&mut self, row: Row, texts: usize) {
        self.row(row, texts);
        self.operations = self.operations.saturating_add(1);
    }

    /// Counts a row that is no operation.
    pub(crate) fn row(&mut self, row: Row, texts: usize) {
        self.bytes = self.bytes.saturating_add(self.price(row, texts));
    }

    pub(crate) fn bytes_left(&self) -> u64 {
        self.limits().bytes.saturating_sub(self.bytes)
    }

    pub(crate) fn operations_left(&self) -> u32 {
        self.limits().operations.saturating_sub(self.operations)
    }
}
