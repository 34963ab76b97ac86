//! The ledger: findings laid over what was known.

use std::collections::BTreeMap;

use kelson_model::drift::{DriftItem, DriftState, Plane};
use kelson_model::id::TaskId;
use kelson_model::object::ObjectKey;

use super::finding::Finding;
use super::scan::Sight;

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

/// Opens, keeps, counts and heals. Also says whether the outcome is news to the ledger.
pub(super) fn lay(findings: Vec<Finding>, sight: Sight<'_>) -> (Vec<DriftItem>, bool) {
    let known = Known::of(sight.ledger);
    let mut items: Vec<DriftItem> = Vec::new();
    for Finding { mut item, is_over } in findings {
        let open = known.same_in(&item, DriftState::Open);
        if let Some(open) = open {
            item.first_seen = open.first_seen;
            item.count = open.count;
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
        }
        if is_over {
            heal(&mut item, sight);
        }
        items.push(item);
    }
    let found = Known::of(&items);
    let mut gone: Vec<DriftItem> = Vec::new();
    let open = sight
        .ledger
        .iter()
        .filter(|item| item.state == DriftState::Open && item.plane != Plane::Agent);
    for item in open {
        if found.same(item).next().is_none() {
            let mut item = item.clone();
            if !is_out_of_sight(&item, sight) {
                heal(&mut item, sight);
            }
            gone.push(item);
        }
    }
    items.append(&mut gone);
    let is_news = items
        .iter()
        .any(|item| !known.same(item).any(|other| other == item));
    (items, is_news)
}

fn heal(item: &mut DriftItem, sight: Sight<'_>) {
    item.state = DriftState::Healed;
    item.healed_at = Some(sight.now);
}

/// Whether nothing can be said now: the object's file is bad, so that git's word is not known.
fn is_out_of_sight(item: &DriftItem, sight: Sight<'_>) -> bool {
    item.plane == Plane::Specification
        && !sight.loaded.faults.is_empty()
        && sight.loaded.object(&item.object).is_none()
        && sight.observed.contains_key(&item.object)
}
