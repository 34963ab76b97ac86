//! Staging: a revision's new and changed objects in parts that fit into the kernel's log.

use kelson_model::object::DesiredObject;

/// The largest part, as JSON.
const PART_BYTES: usize = 180 << 10;

/// Cuts objects into parts of at most [`PART_BYTES`], in their order; no objects are no parts.
pub(crate) fn parts<'a>(
    objects: impl IntoIterator<Item = &'a DesiredObject>,
) -> Vec<Vec<DesiredObject>> {
    let mut parts: Vec<Vec<DesiredObject>> = Vec::new();
    let mut filled = 0_usize;
    for object in objects {
        let size = serde_json::to_vec(object).map_or(PART_BYTES, |json| json.len() + 1);
        match parts.last_mut() {
            Some(part) if filled + size <= PART_BYTES => {
                part.push(object.clone());
                filled += size;
            }
            Some(_) | None => {
                parts.push(vec![object.clone()]);
                filled = size;
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use kelson_model::object::{Namespace, ObjectKey, Origin};
    use serde_json::json;

    #[test]
    fn parts_are_small_and_hold_every_object_once_in_order() {
        let object = |n: usize| DesiredObject {
            key: ObjectKey::new("Service", Namespace::default_namespace(), &format!("s{n}")),
            labels: Default::default(),
            lifecycle: Default::default(),
            spec: json!({"text": "x".repeat(n % 7 * 10_000)}),
            origin: Origin {
                file: "a.yaml".to_owned(),
                line: 1,
                column: None,
            },
        };
        let objects: Vec<DesiredObject> = (0..100).map(object).collect();
        let parts = parts(&objects);
        assert!(parts.len() > 10);
        for part in &parts {
            assert!(serde_json::to_vec(part).unwrap().len() <= PART_BYTES);
        }
        assert_eq!(parts.concat(), objects);
        assert!(super::parts(&[]).is_empty());
    }
}
