//! The limit of memory: what all linear memories and tables of one instance may hold together.

use wasmtime::ResourceLimiter;

use crate::limits;

/// Counts what an instance holds and says no at the limit.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    bytes: usize,
    held: usize,
    elements: usize,
    is_denied: bool,
}

impl MemoryLimit {
    /// Allows `bytes` of linear memory.
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            held: 0,
            elements: 0,
            is_denied: false,
        }
    }

    /// Whether anything was denied since [`Self::forgive`].
    pub(crate) fn is_denied(&self) -> bool {
        self.is_denied
    }

    /// Begins a new call.
    pub(crate) fn forgive(&mut self) {
        self.is_denied = false;
    }
}

/// What is held after a growth from `current` to `desired`, if that is within `limit`.
fn grown(held: usize, current: usize, desired: usize, limit: usize) -> Option<usize> {
    let held = held.checked_add(desired.saturating_sub(current))?;
    (held <= limit).then_some(held)
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let held = grown(self.held, current, desired, self.bytes);
        self.is_denied |= held.is_none();
        self.held = held.unwrap_or(self.held);
        Ok(held.is_some())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = grown(self.elements, current, desired, limits::TABLE_ELEMENTS);
        self.is_denied |= elements.is_none();
        self.elements = elements.unwrap_or(self.elements);
        Ok(elements.is_some())
    }

    fn instances(&self) -> usize {
        limits::PARTS
    }

    fn tables(&self) -> usize {
        limits::PARTS
    }

    fn memories(&self) -> usize {
        limits::PARTS
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn memories_count_together() {
        let mut limit = MemoryLimit::new(100);
        assert!(limit.memory_growing(0, 60, None).unwrap());
        assert!(limit.memory_growing(0, 40, None).unwrap());
        assert!(!limit.is_denied());
        assert!(!limit.memory_growing(60, 61, None).unwrap());
        assert!(limit.is_denied());
        limit.forgive();
        assert!(!limit.is_denied());
    }
}
