//! The machine: what the log is for. The kernel gives one; this room feeds it.

use std::io::{self, Read, Write};

/// Where an entry stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// The term of the leader that proposed it; at most one leader per term, so this fences one.
    pub term: u64,
    /// Its index. Not every index reaches the machine: elections and changes of membership take
    /// some.
    pub index: u64,
}

/// Writes the state that was current when it was made; runs on another thread while the machine
/// goes on.
pub type Encode = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// Why a machine cannot go on. The member stops: to skip an entry would let members drift apart.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The payload is not one that this version understands, or is one that it must not.
    #[error("the payload of entry {} cannot be applied: {reason}", at.index)]
    Payload {
        /// The entry.
        at: Position,
        /// What is wrong with it.
        reason: String,
    },
    /// The snapshot is not one that this version can take over.
    #[error("the snapshot cannot be restored: {reason}")]
    Snapshot {
        /// What is wrong with it.
        reason: String,
    },
}

/// A deterministic state machine: the same payloads in the same order make the same state and the
/// same answers on every member.
///
/// *Flow*: [`restore`](Machine::restore) once at the start if there is a snapshot; then
/// [`apply`](Machine::apply) for each committed payload in the order of the log,
/// [`publish`](Machine::publish) after each batch, [`snapshot`](Machine::snapshot) now and then.
/// *Guarantees*: one caller at a time; an entry is applied once per life of the machine; answers
/// reach proposers only after the batch was published, so whoever proposed sees its own write.
/// *Assumes*: `apply` reads no clock, no randomness and nothing outside the state, and `snapshot`
/// takes no time worth mentioning.
pub trait Machine: Send + Sync + 'static {
    /// Applies one committed payload and gives the answer for whoever proposed it.
    ///
    /// A refusal is an answer, not an error.
    ///
    /// # Errors
    /// When the payload cannot be understood: the member stops for good, with the entry's index in
    /// its last words.
    fn apply(&mut self, at: Position, payload: &[u8]) -> Result<Vec<u8>, MachineError>;

    /// Shows the state as it is after everything up to and including `applied`; called after each
    /// batch and after a restore.
    fn publish(&mut self, applied: Position);

    /// Gives something that writes the present state; it must not block (clone a persistent map,
    /// encode later).
    fn snapshot(&self) -> Encode;

    /// Replaces the whole state by what [`snapshot`](Machine::snapshot) wrote; the checksum was
    /// already verified.
    ///
    /// # Errors
    /// When the bytes are not a state that this version knows: the member does not start.
    fn restore(&mut self, snapshot: &mut dyn Read) -> Result<(), MachineError>;
}
