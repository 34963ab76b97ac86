//! The one way from a revision and the kernel's objects to a plan, for the loop and the command
//! line alike.

use std::collections::BTreeMap;

use kelson_model::id::Revision;
use kelson_model::object::ObjectKey;
use kelson_model::quantity::Millis;
use kelson_model::source::SourceRecord;
use kelson_model::time::WallTime;
use kelson_reconciler_core::manifest::{Kinds, Loaded};
use kelson_reconciler_core::observed::ObservedObject;
use kelson_reconciler_core::plan::{Context, Plan, plan};

/// What a plan is made of, beside what is wanted and what is there.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// What the kernel keeps of the source.
    pub record: &'a SourceRecord,
    /// The source's name.
    pub source: &'a str,
    /// The kinds, to bring what was set by hand into normal form.
    pub kinds: Option<&'a Kinds>,
    /// Whether history was rewritten: the revision does not come after the applied one.
    pub is_rewritten: bool,
    /// Over which time the prune guard counts.
    pub prune_window: Millis,
    /// For that window.
    pub now: WallTime,
}

/// Plans what a revision (absent: a folder) would change.
pub fn plan_revision(
    loaded: &Loaded,
    revision: Option<&Revision>,
    observed: &BTreeMap<ObjectKey, ObservedObject>,
    circumstances: Circumstances<'_>,
) -> Plan {
    let Circumstances {
        record,
        source,
        kinds,
        is_rewritten,
        prune_window,
        now,
    } = circumstances;
    // What a person has released is of the revision that was seen, and of no other.
    let is_observed = record.observed.as_ref() == revision;
    plan(
        loaded,
        observed,
        Context {
            source,
            revision,
            applied: record.applied.as_ref(),
            kinds,
            is_rewritten,
            released: if is_observed { &record.released } else { &[] },
            recently_pruned: record.pruned_within(prune_window, now),
        },
    )
}
