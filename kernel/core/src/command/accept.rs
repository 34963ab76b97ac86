//! Accept: flips to a staged revision. Objects, inventory and revision change in one step.

use std::sync::Arc;

use kelson_model::code::Code;
use kelson_model::drift;
use kelson_model::id::{Digest, TaskId};
use kelson_model::object::{DesiredObject, ObjectKey, PrunePolicy};
use kelson_model::reason::HoldReason;
use kelson_model::request::{Accept, Refusal};
use kelson_model::source::{Pruned, Release, SourceRecord};
use kelson_model::spec::Spec;
use kelson_model::task::StopReason;
use kelson_model::time::WallTime;

use crate::context::Context;
use crate::leaving;
use crate::lifecycle::order_stop;
use crate::object::{Object, Status};
use crate::reply::{Reply, refusal};
use crate::state::State;

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &Accept,
) -> Result<Reply, Refusal> {
    let source = state
        .sources
        .get(&command.source)
        .map(|record| SourceRecord::clone(record))
        .unwrap_or_default();
    if source.applied != command.previous {
        let applied = source
            .applied
            .as_ref()
            .map_or("nothing", |revision| revision.short());
        return Err(refusal(
            Code::StalePlan,
            format!("the plan was made against another revision; {applied} is applied now"),
            "plan again",
        ));
    }
    let is_released = |digest: &Digest| {
        source
            .released
            .iter()
            .any(|release| release.digest == *digest)
    };
    if !command.released.iter().all(is_released) {
        return Err(refusal(
            Code::StalePlan,
            "the plan relies on a confirmation that has expired",
            "plan again",
        ));
    }
    let staged = match state.staged.get(&command.source) {
        // Whatever lies there is of another revision, or was given up.
        _ if command.parts == 0 => Arc::new(crate::record::Staged {
            revision: command.revision.clone(),
            parts: 0,
            objects: imbl::Vector::new(),
            prune: imbl::Vector::new(),
        }),
        Some(staged) if staged.revision == command.revision && staged.parts == command.parts => {
            staged.clone()
        }
        Some(_) | None => {
            let message = format!(
                "revision {} is not staged in {} parts",
                command.revision.short(),
                command.parts
            );
            return Err(refusal(
                Code::NotStaged,
                message,
                "stage the revision again from part 0",
            ));
        }
    };
    let announced = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    if staged.objects.len() != announced(command.objects)
        || staged.prune.len() != announced(command.going)
    {
        let message = format!(
            "{} objects are staged and {} are to go, where {} and {} were announced",
            staged.objects.len(),
            staged.prune.len(),
            command.objects,
            command.going
        );
        return Err(refusal(
            Code::NotStaged,
            message,
            "stage the revision again from part 0",
        ));
    }
    let going = || staged.prune.iter().chain(&command.prune);
    for key in going() {
        let owner = state
            .objects
            .get(key)
            .and_then(|object| object.source.clone());
        if owner.is_some_and(|owner| owner != command.source) {
            return Err(refusal(
                Code::StalePlan,
                format!("{key} belongs to another source"),
                "only the owner of an object removes it",
            ));
        }
    }
    let set = staged.objects.iter().map(|desired| &desired.key);
    let seen = command.hands.as_ref();
    if seen.is_some_and(|seen| *seen != hands_on(state, set.chain(going()))) {
        return Err(refusal(
            Code::StalePlan,
            "what it sets was changed by hand since the plan was made",
            "plan again",
        ));
    }
    for desired in &staged.objects {
        accept_object(state, context, command, desired);
    }
    let mut unasked = 0_u32;
    for key in going() {
        unasked += u32::from(remove_object(state, context, key) == Some(PrunePolicy::Auto));
    }
    leaving::let_go(state);
    for key in going() {
        if let Some(reason) = leaving::why_it_stays(state, key) {
            let message = format!("framework {} stays: {reason}", key.name);
            state.push_event(context.event("FrameworkHeld", Some(key), message));
        }
    }
    state.drop_staged(&command.source);
    if source.applied.as_ref() != Some(&command.revision) {
        let message = format!(
            "revision {} accepted: {} objects set, {} removed",
            command.revision.short(),
            staged.objects.len(),
            going().count()
        );
        state.push_event(context.event("RevisionAccepted", None, message));
    }
    let accepted = Some(command.revision.clone());
    // A confirmation is for one hold: the same revision may be held again later.
    let (used, released): (Vec<Release>, Vec<Release>) = source
        .released
        .iter()
        .cloned()
        .partition(|release| command.released.contains(&release.digest));
    let pruned = if used
        .iter()
        .any(|release| release.reason == HoldReason::PruneGuard)
    {
        // A person has seen what went and what goes: the count begins anew.
        Vec::new()
    } else {
        count_pruned(source.pruned.clone(), unasked, context.wall)
    };
    state.put_source(SourceRecord {
        released,
        pruned,
        name: command.source.clone(),
        applied: accepted,
        held: None,
        holds: Vec::new(),
        ..source
    });
    Ok(context.done(None))
}

/// Names what of these objects is changed by hand.
fn hands_on<'a>(state: &State, keys: impl Iterator<Item = &'a ObjectKey>) -> Digest {
    let known = keys.filter_map(|key| state.objects.get_key_value(key));
    let changed = known.filter(|(_, object)| object.by_hand.is_some() && !object.is_removed);
    drift::hands(changed.map(|(key, object)| (key, object.generation)))
}

fn accept_object(state: &mut State, context: &Context, command: &Accept, desired: &DesiredObject) {
    let pointers = state.template_pointers(&desired.key);
    let seat = state.seat_of(&desired.key);
    let before = state.objects.get(&desired.key);
    // A framework that was leaving stays after all.
    let is_back = before.is_some() && leaving::is_leaving(state, &desired.key);
    let is_new = !is_back && before.is_none_or(|object| object.is_removed);
    if is_new && state.objects.contains_key(&desired.key) {
        // It was removed, its last tasks are still ending, and git wants it again: those tasks
        // belong to the old one. They were asked to end, and are kept under their old number until
        // the last one has.
        state.orphan_tasks(&desired.key);
    }
    let mut object = match state.objects.get(&desired.key) {
        Some(object) => Object::clone(object),
        None => {
            let workload = seat.is_some().then(|| state.next_workload());
            new_object(desired, workload, context)
        }
    };
    if is_back {
        // A new generation, so that its component is looked at again: others may have taken kinds.
        object.is_removed = false;
        object.spec = Spec::default();
    }
    object.labels.clone_from(&desired.labels);
    object.lifecycle = desired.lifecycle;
    object.origin = Some(desired.origin.clone());
    object.source = Some(command.source.clone());
    object.revision = Some(command.revision.clone());
    object.take_word(desired.spec.digest(), desired.written.clone());
    let is_changed = object.put_spec(
        &desired.spec,
        &pointers,
        context.now,
        &context.principal,
        context.wall,
    );
    if let Some(seat) = &seat {
        state.ensure_seat(seat);
    }
    if is_changed {
        let verb = if is_new { "created" } else { "changed" };
        let message = format!("{} {verb}: generation {}", desired.key, object.generation);
        state.push_event(context.event(
            if is_new {
                "ObjectCreated"
            } else {
                "ObjectChanged"
            },
            Some(&desired.key),
            message,
        ));
    }
    state.put_object(object);
}

/// Adds what a revision took away to what is known of those before it.
fn count_pruned(mut pruned: Vec<Pruned>, objects: u32, at: WallTime) -> Vec<Pruned> {
    if objects > 0 {
        pruned.push(Pruned { at, objects });
    }
    if pruned.len() > SourceRecord::KEPT_PRUNED {
        // The two oldest become one, as new as the newer: they are counted for too long rather than
        // too short a time.
        let oldest = pruned.remove(0);
        if let Some(next) = pruned.first_mut() {
            next.objects = next.objects.saturating_add(oldest.objects);
        }
    }
    pruned
}

fn new_object(
    desired: &DesiredObject,
    workload: Option<kelson_model::id::WorkloadId>,
    context: &Context,
) -> Object {
    Object {
        key: desired.key.clone(),
        labels: desired.labels.clone(),
        lifecycle: desired.lifecycle,
        origin: Some(desired.origin.clone()),
        spec: Spec::default(),
        desired: None,
        source: None,
        revision: None,
        generation: 0,
        generation_since: context.now,
        workload,
        history: imbl::Vector::new(),
        good_generation: 0,
        quarantine: None,
        status: Status::default(),
        changed_by: context.principal.clone(),
        changed_at: context.wall,
        is_removed: false,
        by_hand: None,
        written: None,
    }
}

/// Removes an object; says how its lifecycle let it go, where it was there.
fn remove_object(state: &mut State, context: &Context, key: &ObjectKey) -> Option<PrunePolicy> {
    let object = state
        .objects
        .get(key)
        .filter(|object| !object.is_removed)
        .cloned()?;
    let policy = object.lifecycle.prune;
    state.push_event(context.event(
        "ObjectRemoved",
        Some(key),
        format!("{key} is removed: no manifest wants it any more"),
    ));
    let framework = state.frameworks.get(key);
    // One that came in the box has a record without an object.
    if framework.is_some_and(|framework| !framework.is_built_in) {
        let mut object = Arc::unwrap_or_clone(object);
        object.is_removed = true;
        object.desired = None;
        state.put_object(object);
        return Some(policy);
    }
    let running: Vec<TaskId> = match object.workload {
        Some(workload) => state
            .live_tasks_of(workload)
            .map(|task| task.id())
            .collect(),
        None => Vec::new(),
    };
    if running.is_empty() {
        state.drop_object(key);
        return Some(policy);
    }
    let mut object = Arc::unwrap_or_clone(object);
    object.is_removed = true;
    object.desired = None;
    state.put_object(object);
    for task in running {
        order_stop(state, context, task, StopReason::Removed);
    }
    Some(policy)
}
