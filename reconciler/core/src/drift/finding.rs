//! A finding: a difference, before the ledger has been looked at.

use kelson_model::drift::{DriftItem, DriftState, FieldDrift, Plane};
use kelson_model::id::TaskId;
use kelson_model::object::{DriftPolicy, ObjectKey, Origin};
use kelson_model::principal::Principal;
use kelson_model::time::WallTime;

use crate::manifest::LoadedObject;

/// One difference, before the ledger has been looked at.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) item: DriftItem,
    /// It has come and gone between two scans.
    pub(super) is_over: bool,
}

pub(super) fn finding(
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

/// Where git has the object.
pub(super) fn start_of(loaded: &LoadedObject) -> Origin {
    loaded.origin_of("")
}

/// Nobody can tell who it was.
pub(super) fn unknown(via: &str) -> Principal {
    Principal::new("unknown", via)
}
