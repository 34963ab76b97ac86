//! One scan: what it looks at, and what it found.

use std::collections::BTreeMap;

use kelson_model::drift::{DriftItem, Plane};
use kelson_model::object::ObjectKey;
use kelson_model::time::WallTime;

use super::finding::start_of;
use super::{ledger, placement, specification};
use crate::manifest::Loaded;
use crate::observed::{ObservedObject, ObservedTask};
use crate::plan::Context;

/// What a scan looks at.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// What the applied revision asks for.
    pub loaded: &'a Loaded,
    /// The kernel's objects.
    pub observed: &'a BTreeMap<ObjectKey, ObservedObject>,
    /// The kernel's tasks, terminal ones included.
    pub tasks: &'a [ObservedTask],
    /// What agents have found, as the kernel has it now: it opens and heals these itself, and they are passed on with git's place.
    pub agents: &'a [DriftItem],
    /// The items that the kernel keeps: open ones and the last healed ones. Those of the agent plane are not looked at.
    pub ledger: &'a [DriftItem],
    /// Which source and which revision.
    pub context: Context<'a>,
    /// For `firstSeen` and `healedAt`.
    pub now: WallTime,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    /// All open items, and those that have just healed, in a stable order.
    pub items: Vec<DriftItem>,
    /// Whether that is news to the ledger; nothing needs to be recorded otherwise. What agents found is never news: the kernel has it.
    pub is_news: bool,
}

/// Looks for drift on all three planes.
pub fn scan(sight: Sight<'_>) -> Scan {
    let mut findings = specification::find(sight);
    findings.extend(placement::find(sight));
    let (mut items, is_news) = ledger::lay(findings, sight);
    items.extend(agents(sight));
    items.sort_by(|a, b| {
        (&a.object, a.plane, a.task)
            .cmp(&(&b.object, b.plane, b.task))
            .then_with(|| paths(a).cmp(paths(b)))
    });
    Scan { items, is_news }
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
        if let Some(loaded) = sight.loaded.object(&item.object) {
            item.policy = loaded.desired.lifecycle.drift;
            item.origin = item.origin.or_else(|| Some(start_of(loaded)));
        }
        item
    })
}
