//! Drift: what left git's word without a commit.
//!
//! *Flow*: [`scan`] compares the objects of the applied revision with what is (specification), looks for tasks that somebody ended (placement), takes in
//! what agents found (agent), and lays all of it over the ledger, so that an item is opened once, counted when it comes back, and healed when it is gone.
//! *Guarantees*: pure; nothing is an item unless a field that git owns differs, or a task was ended from outside. A crash is no drift, and neither is a
//! difference that a commit brought. *Assumes*: the manifests are those of the revision that the kernel has applied.

mod ledger;
mod placement;
mod specification;

use std::collections::BTreeMap;

use kelson_model::drift::{DriftItem, DriftState, FieldDrift, Plane};
use kelson_model::id::TaskId;
use kelson_model::object::{DriftPolicy, ObjectKey, Origin};
use kelson_model::principal::Principal;
use kelson_model::time::WallTime;

use crate::manifest::{Loaded, LoadedObject};
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
    /// What agents have found, as the kernel has it now.
    pub agents: &'a [DriftItem],
    /// The items that the kernel keeps: open ones and the last healed ones.
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
    /// Whether that is news to the ledger; nothing needs to be recorded otherwise.
    pub is_news: bool,
}

/// Looks for drift on all three planes.
pub fn scan(sight: Sight<'_>) -> Scan {
    let mut findings = specification::find(sight);
    findings.extend(placement::find(sight));
    findings.extend(agents(sight));
    ledger::lay(findings, sight)
}

/// One difference, before the ledger has been looked at.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) item: DriftItem,
    /// It has come and gone between two scans.
    pub(crate) is_over: bool,
}

pub(crate) fn finding(
    object: &ObjectKey,
    task: Option<TaskId>,
    plane: Plane,
    loaded: Option<&LoadedObject>,
    fields: Vec<FieldDrift>,
    changed_by: Principal,
    now: WallTime,
) -> DriftItem {
    let place = fields.first().and_then(|field| {
        let loaded = loaded?;
        Some(if plane == Plane::Specification && field.op != "added" {
            loaded.origin_of(&field.path)
        } else {
            start_of(loaded)
        })
    });
    DriftItem {
        object: object.clone(),
        task,
        plane,
        state: DriftState::Open,
        policy: loaded.map_or(DriftPolicy::Enforce, |loaded| {
            loaded.desired.lifecycle.drift
        }),
        origin: place,
        fields,
        changed_by,
        first_seen: now,
        healed_at: None,
        count: 1,
    }
}

fn start_of(loaded: &LoadedObject) -> Origin {
    loaded.origin_of("")
}

/// Nobody can tell who it was.
pub(crate) fn unknown(via: &str) -> Principal {
    Principal::new("unknown", via)
}

/// What agents found; git's place and the policy are put in where they are missing.
fn agents(sight: Sight<'_>) -> Vec<Finding> {
    sight
        .agents
        .iter()
        .filter(|item| item.plane == Plane::Agent)
        .map(|item| {
            let mut item = item.clone();
            if let Some(loaded) = sight.loaded.object(&item.object) {
                item.policy = loaded.desired.lifecycle.drift;
                item.origin = item.origin.or_else(|| Some(start_of(loaded)));
            }
            Finding {
                is_over: item.state == DriftState::Healed,
                item,
            }
        })
        .collect()
}
