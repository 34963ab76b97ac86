//! Rebuild: makes a state from the chunks of a snapshot.

use super::error::FormError;
use super::reader::Reader;
use super::table::{Chunk, Table};
use crate::state::{Restoring, State};

/// A state that is being read, chunk by chunk.
#[derive(Debug, Default)]
pub struct Rebuild {
    state: Restoring,
    /// The table of the chunk before.
    last: Option<Table>,
}

impl Rebuild {
    /// Takes the next chunk in; tables come in the order of their numbers.
    ///
    /// # Errors
    /// It is not one that this program knows, or does not fit what came before.
    pub fn add(&mut self, chunk: &Chunk) -> Result<(), FormError> {
        let table = Table::of(chunk.table)?;
        if self.last.is_some_and(|last| last > table) {
            return Err(FormError::Order("tables"));
        }
        self.last = Some(table);
        let mut from = Reader::new(&chunk.bytes, table.level(chunk.version)?);
        for _ in 0..chunk.rows {
            table.take_row(&mut self.state, &mut from)?;
        }
        from.end()
    }

    /// The state, once all chunks are in.
    ///
    /// # Errors
    /// Something of it is missing.
    pub fn finish(self) -> Result<State, FormError> {
        let whole = self.state.finish();
        whole.ok_or(FormError::Value("a whole state"))
    }
}
