//! The ledger: findings laid over what was known.

use kelson_model::drift::{DriftItem, DriftState, Plane};

use super::{Finding, Scan, Sight};

/// Opens, keeps, counts and heals.
pub(super) fn lay(findings: Vec<Finding>, sight: Sight<'_>) -> Scan {
    let mut items: Vec<DriftItem> = Vec::new();
    for found in findings {
        let known = |state| {
            sight
                .ledger
                .iter()
                .filter(move |item| item.state == state)
                .find(|item| item.is_same_as(&found.item))
        };
        let mut item = found.item.clone();
        match (known(DriftState::Open), found.is_over) {
            (Some(open), is_over) => {
                item.first_seen = open.first_seen;
                item.count = open.count;
                if is_over {
                    heal(&mut item, sight);
                } else {
                    item.state = DriftState::Open;
                    item.healed_at = None;
                }
            }
            // Come and gone since the last scan: told once, as healed.
            (None, true) => {
                let is_told = sight.ledger.iter().any(|other| {
                    other.is_same_as(&item)
                        && other.state == DriftState::Healed
                        && !is_newer(&item, other)
                });
                if is_told {
                    continue;
                }
                heal(&mut item, sight);
            }
            (None, false) => {
                let healed = sight.ledger.iter().filter(|other| other.is_same_as(&item));
                let times = healed.map(|other| other.count).max().unwrap_or(0);
                item.state = DriftState::Open;
                item.healed_at = None;
                item.count = times.saturating_add(1);
            }
        }
        items.push(item);
    }
    for open in sight
        .ledger
        .iter()
        .filter(|item| item.state == DriftState::Open)
    {
        if items.iter().any(|item| item.is_same_as(open)) {
            continue;
        }
        let mut item = open.clone();
        if !is_out_of_sight(&item, sight) {
            heal(&mut item, sight);
        }
        items.push(item);
    }
    items.sort_by(|a, b| {
        let place = |item: &DriftItem| (item.object.clone(), item.plane, item.task);
        place(a).cmp(&place(b)).then_with(|| paths(a).cmp(paths(b)))
    });
    let is_news = items.iter().any(|item| !sight.ledger.contains(item));
    Scan { items, is_news }
}

fn paths(item: &DriftItem) -> impl Iterator<Item = &str> {
    item.fields.iter().map(|field| field.path.as_str())
}

fn heal(item: &mut DriftItem, sight: Sight<'_>) {
    item.state = DriftState::Healed;
    item.healed_at = item.healed_at.or(Some(sight.now));
}

/// Whether an agent has seen the same again after it was healed.
fn is_newer(item: &DriftItem, told: &DriftItem) -> bool {
    item.plane == Plane::Agent && item.first_seen > told.healed_at.unwrap_or(told.first_seen)
}

/// Whether nothing can be said now: the object's file is bad, so that git's word is not known.
fn is_out_of_sight(item: &DriftItem, sight: Sight<'_>) -> bool {
    item.plane == Plane::Specification
        && !sight.loaded.faults.is_empty()
        && sight.loaded.object(&item.object).is_none()
        && sight.observed.contains_key(&item.object)
}
