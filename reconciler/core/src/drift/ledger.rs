//! The ledger: findings laid over what was known.

use std::collections::BTreeMap;

use kelson_model::drift::{DriftItem, DriftState, Plane};
use kelson_model::id::TaskId;
use kelson_model::object::ObjectKey;

use super::finding::Finding;
use super::sight::{Scan, Sight, Unlisted};
use crate::plan;

/// The open items of a ledger together, as JSON: it travels as one row.
const LEDGER_BYTES: usize = DriftItem::KEPT_OPEN_BYTES;

/// What is known, by what it is about.
#[derive(Debug, Default)]
struct Known<'a>(BTreeMap<(&'a ObjectKey, Option<TaskId>, Plane), Vec<&'a DriftItem>>);

impl<'a> Known<'a> {
    fn of(ledger: &'a [DriftItem]) -> Self {
        let mut known = Self::default();
        for item in ledger.iter().filter(|item| item.plane != Plane::Agent) {
            let about = (&item.object, item.task, item.plane);
            known.0.entry(about).or_default().push(item);
        }
        known
    }

    /// The items about the same difference.
    fn same<'b>(&'b self, item: &'b DriftItem) -> impl Iterator<Item = &'a DriftItem> + 'b {
        let about = (&item.object, item.task, item.plane);
        self.0
            .get(&about)
            .into_iter()
            .flatten()
            .copied()
            .filter(move |other| other.is_same_as(item))
    }

    fn same_in(&self, item: &DriftItem, state: DriftState) -> Option<&'a DriftItem> {
        self.same(item).find(|other| other.state == state)
    }
}

/// Opens, keeps, counts and heals, and says what of it is news to the ledger.
pub(super) fn lay(findings: Vec<Finding>, sight: Sight<'_>) -> Scan {
    let known = Known::of(sight.ledger);
    let mut room = Room::beside(sight.ledger);
    let mut items: Vec<DriftItem> = Vec::new();
    let mut unlisted = Unlisted::default();
    for Finding { mut item, is_over } in findings {
        let open = known.same_in(&item, DriftState::Open);
        if let Some(open) = open {
            item.first_seen = open.first_seen;
            item.count = open.count;
            if !room.grows(open, &item) {
                // What is told of it stays as it was, and is told anew when there is room.
                item = open.clone();
            }
        } else if is_over {
            // Come and gone since the last scan: told once, as healed.
            if known.same_in(&item, DriftState::Healed).is_some() {
                continue;
            }
        } else {
            let times = known
                .same(&item)
                .map(|other| other.count)
                .max()
                .unwrap_or(0);
            item.count = times.saturating_add(1);
            if room.items == 0 {
                unlisted.by_number += 1;
                continue;
            }
            if !room.takes(&item) {
                unlisted.by_size += 1;
                continue;
            }
        }
        if is_over {
            heal(&mut item, sight);
        }
        items.push(item);
    }
    let found = Known::of(&items);
    let gone: Vec<DriftItem> = sight
        .ledger
        .iter()
        .filter(|item| item.state == DriftState::Open && item.plane != Plane::Agent)
        .filter(|item| is_ours(item, sight) && found.same(item).next().is_none())
        .map(|item| {
            let mut item = item.clone();
            heal(&mut item, sight);
            item
        })
        .collect();
    items.extend(gone);
    let news = items
        .iter()
        .filter(|item| !known.same(item).any(|other| other == *item))
        .cloned()
        .collect();
    Scan {
        items,
        news,
        unlisted,
    }
}

/// Whether an item is this source's to close: its object is, or is gone.
fn is_ours(item: &DriftItem, sight: Sight<'_>) -> bool {
    sight
        .observed
        .get(&item.object)
        .is_none_or(|live| plan::is_ours(live, sight.source))
}

fn heal(item: &mut DriftItem, sight: Sight<'_>) {
    item.state = DriftState::Healed;
    item.healed_at = Some(sight.now);
}

/// What a ledger has room for beside the items that it has.
struct Room {
    items: usize,
    bytes: usize,
}

impl Room {
    fn beside(ledger: &[DriftItem]) -> Self {
        let open = || ledger.iter().filter(|it| it.state == DriftState::Open);
        let bytes: usize = open().map(size).fold(0, usize::saturating_add);
        Self {
            items: DriftItem::KEPT_OPEN.saturating_sub(open().count()),
            bytes: LEDGER_BYTES.saturating_sub(bytes),
        }
    }

    /// Whether one more item has room.
    fn takes(&mut self, item: &DriftItem) -> bool {
        let size = size(item);
        let is_taken = self.items > 0 && size <= self.bytes;
        if is_taken {
            self.items -= 1;
            self.bytes -= size;
        }
        is_taken
    }

    /// Whether there is room for what an item that is listed says more than before.
    fn grows(&mut self, from: &DriftItem, to: &DriftItem) -> bool {
        if from.fields == to.fields {
            return true;
        }
        let growth = size(to).saturating_sub(size(from));
        let is_taken = growth <= self.bytes;
        if is_taken {
            self.bytes -= growth;
        }
        is_taken
    }
}

fn size(item: &DriftItem) -> usize {
    serde_json::to_vec(item).map_or(LEDGER_BYTES, |json| json.len() + 1)
}

#[cfg(test)]
mod tests {
    use kelson_model::drift::FieldDrift;
    use kelson_model::object::Namespace;
    use kelson_model::time::WallTime;
    use serde_json::Value;

    use super::super::finding::{finding, unknown};
    use super::*;

    #[test]
    fn an_item_that_says_more_than_before_takes_the_room_of_what_is_new() {
        let object = ObjectKey::new("Service", Namespace::default_namespace(), "web");
        let item = |count: usize| {
            let fields = (0..count).map(|n| FieldDrift {
                path: format!("/spec/{n}"),
                op: "added".to_owned(),
                desired: Value::Null,
                live: Value::Bool(true),
                changed_by: None,
            });
            let fields = fields.collect();
            let by = unknown("api");
            finding(&object, Plane::Specification, None, fields, by, WallTime(1))
        };
        let growth = size(&item(2)) - size(&item(1));
        let mut room = Room {
            items: 0,
            bytes: growth,
        };
        assert!(room.grows(&item(1), &item(1)));
        assert!(room.grows(&item(1), &item(2)));
        assert_eq!(room.bytes, 0);
        assert!(!room.grows(&item(1), &item(2)));
        assert!(room.grows(&item(2), &item(1)), "less has always room");
    }
}
