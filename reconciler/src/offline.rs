//! What the command line asks without changing anything: is a source valid, and what would it
//! change?

use std::collections::BTreeMap;

use kelson_model::object::ObjectKey;
use kelson_model::report::{API_VERSION, Validation};
use kelson_model::source::SourceRecord;
use kelson_model::time::WallTime;
use kelson_reconciler_core::guard;
use kelson_reconciler_core::manifest::{Kinds, advice, tidy};
use kelson_reconciler_core::observed::ObservedObject;
use kelson_reconciler_core::plan::Plan;

use crate::desired::Desired;
use crate::planning::{Circumstances, plan_revision};

/// Sums up what was loaded as `kelson validate` reports it. Objects that wait for a framework of
/// the same source count as valid.
pub fn validation(desired: &Desired) -> Validation {
    let loaded = &desired.loaded;
    let errors = desired.errors();
    let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    Validation {
        api_version: API_VERSION.to_owned(),
        kind: "Validation".to_owned(),
        valid: errors.is_empty(),
        files: count(loaded.files),
        objects: count(loaded.objects.len() + loaded.waiting.len()),
        errors,
        warnings: tidy(
            loaded
                .objects
                .iter()
                .flat_map(|object| advice(object))
                .collect(),
        ),
    }
}

/// Plans what a source would change, by what the kernel has and keeps of it: the plan that the
/// reconciler makes of the same revision. `is_rewritten`: the revision does not come after the
/// applied one; `now` is for the window of the prune guard.
pub fn plan_source(
    desired: &Desired,
    observed: &BTreeMap<ObjectKey, ObservedObject>,
    record: &SourceRecord,
    kinds: Option<&Kinds>,
    is_rewritten: bool,
    now: WallTime,
) -> Plan {
    plan_revision(
        &desired.loaded,
        desired.revision.as_ref(),
        observed,
        Circumstances {
            record,
            source: &record.name,
            kinds,
            is_rewritten,
            prune_window: record.prune_window.unwrap_or(guard::WINDOW),
            now,
        },
    )
}
