//! How much a turn may say: the bytes that its entry takes, counted from above as its wishes come.
//!
//! What a turn may say and what an entry of the log holds are one number. Whoever collects wishes
//! counts them here, so that a turn that is complete always fits its entry. In an entry most rows
//! take far less (`form/turn.rs`): the prices are what they take where nothing is alike, and are
//! held against that form.

use crate::port::{Demand, Op, Operation, StateWrite};

/// Bytes that one turn may say.
pub const TURN_BYTES: u64 = 252 * 1024;
/// Bytes of an entry that are left for what is not said by the scheduler: seat, component, cursor,
/// principal.
pub const ENTRY_HEAD_BYTES: u64 = 4 * 1024;

/// What one row counts, beside its texts, keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Price {
    /// A task that is started.
    Launch,
    /// A task that is ended.
    Kill,
    /// A task that is dropped.
    Forget,
    /// How a workload does.
    SetStatus,
    /// A generation that is good.
    SetGoodGeneration,
    /// A generation that is given up.
    Quarantine,
    /// An event for people.
    Note,
    /// A row of demand.
    Demand,
    /// A write of the seat's own pairs.
    Write,
}

impl Price {
    /// All prices, in the order in which the treaty tells them.
    pub const ALL: [Price; 9] = [
        Self::Launch,
        Self::Kill,
        Self::Forget,
        Self::SetStatus,
        Self::SetGoodGeneration,
        Self::Quarantine,
        Self::Note,
        Self::Demand,
        Self::Write,
    ];

    /// Bytes of one row: every number at its longest, the lengths of its texts, and a run of its
    /// own.
    pub fn bytes(self) -> u32 {
        match self {
            Self::Launch | Self::Demand => 48,
            Self::Kill | Self::Forget => 20,
            Self::SetStatus => 36,
            Self::SetGoodGeneration | Self::Quarantine => 32,
            Self::Note => 24,
            Self::Write => 16,
        }
    }
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

/// What an operation counts.
pub fn operation_bytes(operation: &Operation) -> u64 {
    let (price, texts) = match &operation.op {
        Op::Launch { .. } => (Price::Launch, 0),
        Op::Kill { .. } => (Price::Kill, 0),
        Op::Forget { .. } => (Price::Forget, 0),
        Op::SetStatus {
            reason, message, ..
        } => (
            Price::SetStatus,
            length(reason).saturating_add(length(message)),
        ),
        Op::SetGoodGeneration { .. } => (Price::SetGoodGeneration, 0),
        Op::Quarantine { reason, .. } => (Price::Quarantine, length(reason)),
        Op::Note { text, .. } => (Price::Note, length(text)),
    };
    u64::from(price.bytes()).saturating_add(texts)
}

/// What this many rows of demand count.
pub fn demand_bytes(rows: usize) -> u64 {
    u64::try_from(rows)
        .unwrap_or(u64::MAX)
        .saturating_mul(u64::from(Price::Demand.bytes()))
}

/// What a write of this key and value counts.
pub fn write_bytes(key: &str, value: Option<&[u8]>) -> u64 {
    let value = value.map_or(0, |value| u64::try_from(value.len()).unwrap_or(u64::MAX));
    u64::from(Price::Write.bytes())
        .saturating_add(length(key))
        .saturating_add(value)
}

/// What a whole outcome counts.
pub fn outcome_bytes(
    operations: &[Operation],
    writes: &[StateWrite],
    demand: Option<&[Demand]>,
    demand_changes: &[Demand],
) -> u64 {
    let said = operations.iter().map(operation_bytes).sum::<u64>();
    let written = writes
        .iter()
        .map(|write| write_bytes(&write.key, write.value.as_deref()))
        .sum::<u64>();
    let rows = demand.map_or(0, <[Demand]>::len) + demand_changes.len();
    said.saturating_add(written)
        .saturating_add(demand_bytes(rows))
}
