//! Staging: what a revision sets and takes away, in parts that fit into the kernel's log.

use kelson_model::object::{DesiredObject, ObjectKey};
use serde::Serialize;

/// The largest part, as JSON.
const PART_BYTES: usize = 180 << 10;

/// What one part sets and takes away.
pub(crate) type Part = (Vec<DesiredObject>, Vec<ObjectKey>);

/// Cuts objects, and after them the keys of those that go, into parts of at most [`PART_BYTES`], in
/// their order; nothing at all is no parts.
pub(crate) fn parts(objects: Vec<DesiredObject>, prune: Vec<ObjectKey>) -> Vec<Part> {
    let mut packer = Packer::default();
    for object in objects {
        packer.make_room(&object);
        packer.open.0.push(object);
    }
    for key in prune {
        packer.make_room(&key);
        packer.open.1.push(key);
    }
    packer.end()
}

#[derive(Default)]
struct Packer {
    full: Vec<Part>,
    open: Part,
    filled: usize,
}

impl Packer {
    /// Begins a new part where one thing more does not fit into the open one.
    fn make_room(&mut self, more: &impl Serialize) {
        let size = serde_json::to_vec(more).map_or(PART_BYTES, |json| json.len() + 1);
        if self.filled > 0 && self.filled + size > PART_BYTES {
            self.full.push(std::mem::take(&mut self.open));
            self.filled = 0;
        }
        self.filled += size;
    }

    fn end(mut self) -> Vec<Part> {
        if self.filled > 0 {
            self.full.push(self.open);
        }
        self.full
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use kelson_model::object::{Namespace, Origin};
    use serde_json::json;

    fn object(n: usize) -> DesiredObject {
        DesiredObject {
            key: key(n),
            labels: Default::default(),
            lifecycle: Default::default(),
            spec: json!({"text": "x".repeat(n % 7 * 10_000)}).into(),
            origin: Origin {
                file: "a.yaml".to_owned(),
                line: 1,
                column: None,
            },
            written: None,
        }
    }

    fn key(n: usize) -> ObjectKey {
        ObjectKey::new("Service", Namespace::default_namespace(), &format!("s{n}"))
    }

    #[test]
    fn parts_are_small_and_hold_everything_once_in_order() {
        let objects: Vec<DesiredObject> = (0..100).map(object).collect();
        // Twice as many as one entry of the log holds.
        let prune: Vec<ObjectKey> = (0..8_000).map(key).collect();
        let parts = parts(objects.clone(), prune.clone());
        assert!(parts.len() > 10);
        for part in &parts {
            assert!(serde_json::to_vec(part).unwrap().len() <= PART_BYTES + 10);
        }
        let (set, gone): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        assert_eq!(set.concat(), objects);
        assert_eq!(gone.concat(), prune);
        assert!(super::parts(Vec::new(), Vec::new()).is_empty());
    }
}
