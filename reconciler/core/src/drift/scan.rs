//! One scan of all three planes.

use kelson_model::drift::{DriftItem, Plane};

use super::sight::{Scan, Sight};
use super::{ledger, placement, specification};

/// Looks for drift on all three planes.
pub fn scan(sight: Sight<'_>) -> Scan {
    let mut findings = specification::find(sight);
    findings.extend(placement::find(sight));
    let mut scan = ledger::lay(findings, sight);
    scan.items.extend(agents(sight));
    for items in [&mut scan.items, &mut scan.news] {
        items.sort_by(|a, b| {
            (&a.object, a.plane, a.task)
                .cmp(&(&b.object, b.plane, b.task))
                .then_with(|| paths(a).cmp(paths(b)))
        });
    }
    scan
}

fn paths(item: &DriftItem) -> impl Iterator<Item = &str> {
    item.fields.iter().map(|field| field.path.as_str())
}

/// What agents found, with git's policy, and git's place where it is missing.
fn agents(sight: Sight<'_>) -> impl Iterator<Item = DriftItem> {
    let found = sight
        .agents
        .iter()
        .filter(|item| item.plane == Plane::Agent);
    found.map(move |item| {
        let mut item = item.clone();
        if let Some(live) = sight.observed.get(&item.object) {
            item.policy = live.lifecycle.drift;
            item.origin = item.origin.or_else(|| live.origin.clone());
        }
        item
    })
}
