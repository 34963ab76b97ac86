//! Pruning: what no manifest wants goes, stays, or waits for a person.

use std::collections::BTreeMap;

use kelson_model::object::{ObjectKey, PrunePolicy};
use kelson_model::reason::HoldReason;

use super::holds::Holds;
use super::shape::{Context, Plan, Step, StepKind, Why, is_ours, line};
use crate::guard::{self, Toll};
use crate::manifest::{FRAMEWORK, Kinds, Loaded};
use crate::observed::ObservedObject;

/// The objects that the revision takes away, whatever else they wait for: what a person is shown
/// who is asked about the revision as a whole. None while any file of the source has a fault.
pub(super) fn leaving<'a>(
    loaded: &Loaded,
    observed: &'a BTreeMap<ObjectKey, ObservedObject>,
    context: Context<'_>,
) -> Vec<&'a ObservedObject> {
    if !loaded.faults.is_empty() {
        return Vec::new();
    }
    let wanted = loaded.wanted();
    observed
        .values()
        .filter(|live| is_ours(live, context.source) && !wanted.contains(&live.key))
        .filter(|live| live.lifecycle.prune != PrunePolicy::Never)
        .collect()
}

pub(super) fn prune(
    loaded: &Loaded,
    observed: &BTreeMap<ObjectKey, ObservedObject>,
    context: Context<'_>,
    holds: &mut Holds<'_>,
    plan: &mut Plan,
) {
    let wanted = loaded.wanted();
    let ours: Vec<&ObservedObject> = observed
        .values()
        .filter(|live| is_ours(live, context.source))
        .collect();
    let unwanted: Vec<&ObservedObject> = ours
        .iter()
        .copied()
        .filter(|live| !wanted.contains(&live.key))
        .collect();
    if unwanted.is_empty() {
        return;
    }
    if !loaded.faults.is_empty() {
        keep_all(loaded, &unwanted, plan);
        return;
    }
    let mut going: Vec<&ObservedObject> = Vec::new();
    let mut asking: Vec<&ObservedObject> = Vec::new();
    for live in &unwanted {
        match live.lifecycle.prune {
            PrunePolicy::Never => plan.report.push(line(
                &live.key,
                Why::PruneNever,
                "no manifest wants it; `lifecycle.prune: never` keeps it",
            )),
            PrunePolicy::Confirm => asking.push(live),
            PrunePolicy::Auto => going.push(live),
        }
    }
    for live in &going {
        let stays = unwanted
            .iter()
            .filter(|other| other.lifecycle.prune == PrunePolicy::Never)
            .map(|other| &other.key);
        let mut staying = wanted.iter().copied().chain(stays);
        if let Some(object) = staying.find(|key| is_handled_by(key, &live.key, context.kinds)) {
            plan.report.push(line(
                &live.key,
                Why::InUse,
                format!(
                    "no manifest wants it, and {object} needs it: it stays in force until its last object has gone, or another framework has their kinds"
                ),
            ));
        }
    }
    let toll = Toll {
        existing: ours.len(),
        wanted: ours.len() - unwanted.len(),
        free: ours
            .iter()
            .filter(|live| live.lifecycle.prune == PrunePolicy::Auto)
            .count(),
        going: going.len(),
        recent: context.recently_pruned,
    };
    let is_guarded = guard::holds(toll)
        && holds.is_held(
            HoldReason::PruneGuard,
            &going,
            takes_away(toll, wanted.is_empty()),
        );
    plan.is_blocked |= is_guarded;
    let is_asking =
        !asking.is_empty() && holds.is_held(HoldReason::PruneConfirm, &asking, asks(asking.len()));
    let mut delete = |live: &ObservedObject, held: Option<HoldReason>| {
        plan.steps.push(Step {
            wave: if live.key.kind == FRAMEWORK { 3 } else { 2 },
            kind: StepKind::Delete,
            object: live.key.clone(),
            fields: Vec::new(),
            origin: live.origin.clone(),
            is_drift: false,
            held,
        });
    };
    for live in going {
        delete(live, is_guarded.then_some(HoldReason::PruneGuard));
    }
    for live in asking {
        delete(live, is_asking.then_some(HoldReason::PruneConfirm));
    }
}

/// Whether an object is of a kind that this framework from git brings.
fn is_handled_by(object: &ObjectKey, framework: &ObjectKey, kinds: Option<&Kinds>) -> bool {
    let handles = kinds.and_then(|kinds| {
        let name = kinds.framework_of(&object.kind)?;
        let is_built_in = kinds.standing_of(name).is_some_and(|it| it.is_built_in);
        (!is_built_in).then_some(name)
    });
    framework.kind == FRAMEWORK && handles == Some(framework.name.as_str())
}

/// Nothing goes while any file of the source has a fault.
fn keep_all(loaded: &Loaded, unwanted: &[&ObservedObject], plan: &mut Plan) {
    for live in unwanted {
        let file = live
            .origin
            .as_ref()
            .map(|origin| origin.file.as_str())
            .unwrap_or_default();
        plan.report.push(if loaded.bad_files.contains(file) {
            line(
                &live.key,
                Why::BadFile,
                format!("{file} has a fault; the object stays as it is"),
            )
        } else {
            line(
                &live.key,
                Why::FaultsElsewhere,
                "no manifest wants it, and it stays while any file of the source has a fault",
            )
        });
    }
}

fn takes_away(toll: Toll, is_for_nothing: bool) -> String {
    let Toll {
        existing,
        going,
        recent,
        ..
    } = toll;
    let before = match recent {
        0 => String::new(),
        recent => format!(", after {recent} that recent revisions took away"),
    };
    let what = if is_for_nothing {
        "the revision asks for nothing at all".to_owned()
    } else {
        format!("the revision takes away {going} of {existing} objects")
    };
    format!("{what}{before}; nothing of it is applied before a person confirms")
}

fn asks(count: usize) -> String {
    let (objects, wait) = match count {
        1 => ("an object".to_owned(), "waits"),
        count => (format!("{count} objects"), "wait"),
    };
    format!(
        "{objects} that no manifest wants {wait} for a person's word (`lifecycle.prune: confirm`); the rest is applied"
    )
}
