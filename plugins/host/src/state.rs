//! The import `state`: the seat's pairs, with the writes of the turn laid over them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use kelson_kernel_core::port::StateWrite;
use kelson_kernel_core::turn_size::write_bytes;
use kelson_model::framework::Limits;

use crate::bindings;
use crate::fault::Breach;
use crate::limits;
use crate::sandbox::Sandbox;

/// The pairs of one call and what it writes.
#[derive(Default)]
pub(crate) struct State {
    committed: OrdMap<String, Arc<[u8]>>,
    /// What the turn has made of a key; none: it is deleted.
    laid_over: BTreeMap<String, Option<Arc<[u8]>>>,
    writes: Vec<StateWrite>,
    written: u64,
    /// Bytes of all pairs with the writes; counted at the first write.
    held: Option<u64>,
    limits: Limits,
}

fn size(key: &str, value: &[u8]) -> u64 {
    u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX)
}

impl State {
    /// Begins a call on these pairs.
    pub(crate) fn new(committed: OrdMap<String, Arc<[u8]>>, limits: &Limits) -> Self {
        Self {
            committed,
            limits: limits.clone(),
            ..Self::default()
        }
    }

    /// The writes, in the order in which they were made.
    pub(crate) fn into_writes(self) -> Vec<StateWrite> {
        self.writes
    }

    fn get(&self, key: &str) -> Option<&Arc<[u8]>> {
        match self.laid_over.get(key) {
            Some(value) => value.as_ref(),
            None => self.committed.get(key),
        }
    }

    fn write(&mut self, group: u32, key: String, value: Option<Vec<u8>>) -> Result<(), Breach> {
        if key.is_empty() || key.len() > limits::KEY_BYTES {
            return Err(Breach::malformed(format!(
                "a state key has {} bytes, not 1 to {}",
                key.len(),
                limits::KEY_BYTES
            )));
        }
        self.check_held(&key, value.as_deref())?;
        self.written = self.written_with(&key, value.as_deref());
        let laid: Option<Arc<[u8]>> = value.as_deref().map(Arc::from);
        self.laid_over.insert(key.clone(), laid);
        self.writes.push(StateWrite { group, key, value });
        Ok(())
    }

    fn written_with(&self, key: &str, value: Option<&[u8]>) -> u64 {
        self.written
            .saturating_add(size(key, value.unwrap_or_default()))
    }

    /// Whether the turn may write one more pair.
    fn has_room(&self, key: &str, value: Option<&[u8]>) -> bool {
        let count = u64::try_from(self.writes.len()).unwrap_or(u64::MAX);
        self.written_with(key, value) <= self.limits.state_writes.0
            && count < self.limits.operations.into()
    }

    fn check_held(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), Breach> {
        let held = match self.held {
            Some(held) => held,
            None => self
                .committed
                .iter()
                .map(|(key, value)| size(key, value))
                .sum(),
        };
        let before = self.get(key).map_or(0, |value| size(key, value));
        let after = value.map_or(0, |value| size(key, value));
        let held = held.saturating_sub(before).saturating_add(after);
        if after > before && held > self.limits.state.0 {
            return Err(Breach::malformed(format!(
                "the state would grow beyond its limit of {}",
                self.limits.state
            )));
        }
        self.held = Some(held);
        Ok(())
    }

    fn list(&self, prefix: &str, after: &str) -> Vec<String> {
        let first = if after >= prefix && !after.is_empty() {
            Bound::Excluded(after)
        } else {
            Bound::Included(prefix)
        };
        let range = (first, Bound::Unbounded);
        let mut committed = self
            .committed
            .range::<_, str>(range)
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(prefix))
            .filter(|key| !self.laid_over.contains_key(*key))
            .peekable();
        let mut laid = self
            .laid_over
            .range::<str, _>(range)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, value)| value.as_ref().map(|_| key))
            .peekable();
        std::iter::from_fn(|| match (committed.peek(), laid.peek()) {
            (Some(one), Some(other)) if one < other => committed.next(),
            (_, Some(_)) => laid.next(),
            (_, None) => committed.next(),
        })
        .take(limits::KEYS_LISTED)
        .cloned()
        .collect()
    }
}

impl Sandbox {
    /// Notes a write where the turn has room for it.
    fn put(&mut self, group: u32, key: String, value: Option<Vec<u8>>) -> Result<(), Breach> {
        if !self.state.has_room(&key, value.as_deref()) {
            let limits = &self.state.limits;
            self.said.fill(group, || {
                format!(
                    "more state is written than {} in {} writes, the limits of a turn",
                    limits.state_writes, limits.operations
                )
            });
            return Ok(());
        }
        let bytes = write_bytes(&key, value.as_deref());
        if self.said.takes(group, bytes) {
            self.state.write(group, key, value)?;
        }
        Ok(())
    }
}

impl bindings::state::Host for Sandbox {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let value = self.state.get(&key);
        self.meter
            .charge(key.len() + value.map_or(0, |value| value.len()))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn set(&mut self, group: u32, key: String, value: Vec<u8>) -> wasmtime::Result<()> {
        self.require_turn("state.set")?;
        self.meter.charge(key.len() + value.len())?;
        Ok(self.put(group, key, Some(value))?)
    }

    fn delete(&mut self, group: u32, key: String) -> wasmtime::Result<()> {
        self.require_turn("state.delete")?;
        self.meter.charge(key.len())?;
        Ok(self.put(group, key, None)?)
    }

    fn list(&mut self, prefix: String, after: String) -> wasmtime::Result<Vec<String>> {
        let keys = self.state.list(&prefix, &after);
        self.meter
            .charge(keys.iter().map(|key| 100 + key.len()).sum())?;
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use kelson_model::quantity::Bytes;

    use super::*;

    fn state(keys: &[&str], limits: &Limits) -> State {
        let pairs = keys
            .iter()
            .map(|key| ((*key).to_owned(), Arc::<[u8]>::from(&b"old"[..])));
        State::new(pairs.collect(), limits)
    }

    #[test]
    fn a_read_sees_the_writes_of_the_same_turn() {
        let mut state = state(&["a", "b"], &Limits::default());
        state
            .write(0, "a".to_owned(), Some(b"new".to_vec()))
            .unwrap();
        state.write(0, "b".to_owned(), None).unwrap();
        state
            .write(0, "c".to_owned(), Some(b"new".to_vec()))
            .unwrap();
        assert_eq!(state.get("a").unwrap().as_ref(), b"new");
        assert!(state.get("b").is_none());
        assert_eq!(state.list("", ""), ["a", "c"]);
    }

    #[test]
    fn keys_are_listed_in_order_after_a_key_and_within_a_prefix() {
        let mut state = state(&["p/a", "p/c", "q"], &Limits::default());
        state.write(0, "p/b".to_owned(), Some(Vec::new())).unwrap();
        assert_eq!(state.list("p/", ""), ["p/a", "p/b", "p/c"]);
        assert_eq!(state.list("p/", "p/a"), ["p/b", "p/c"]);
        assert_eq!(state.list("p/", "a"), ["p/a", "p/b", "p/c"]);
        assert!(state.list("p/", "q").is_empty());
    }

    #[test]
    fn the_whole_state_is_limited_but_may_always_shrink() {
        let limits = Limits {
            state: Bytes(8),
            ..Limits::default()
        };
        let mut state = state(&["a", "b", "c"], &limits);
        assert!(state.write(0, "d".to_owned(), Some(Vec::new())).is_err());
        state.write(0, "a".to_owned(), None).unwrap();
        state.write(0, "b".to_owned(), None).unwrap();
        state
            .write(0, "d".to_owned(), Some(b"new".to_vec()))
            .unwrap();
        assert!(state.write(0, "e".to_owned(), Some(Vec::new())).is_err());
    }

    #[test]
    fn a_key_has_a_length() {
        let mut state = state(&[], &Limits::default());
        assert!(state.write(0, String::new(), None).is_err());
        assert!(state.write(0, "k".repeat(257), None).is_err());
        assert!(state.write(0, "k".repeat(256), None).is_ok());
    }
}
