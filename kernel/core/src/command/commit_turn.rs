//! CommitTurn: the one place where what a scheduler wants becomes true.
//!
//! *Guarantees:* a turn that is not the next of its seat, or comes from another component or an
//! older term, is void and changes nothing; a group other than 0 is accepted or refused whole; no
//! agent is ever given more than it has; a launch makes a new task id.

use std::collections::BTreeMap;
use std::sync::Arc;

use kelson_model::id::{Digest, Index};
use kelson_model::object::RolloutState;
use kelson_model::quantity::Millis;
use kelson_model::time::ClusterTime;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::demand::demand_after;
use crate::lifecycle::{Launch, forget, launch, order_stop};
use crate::object::{Object, Quarantine, Status};
use crate::port::{Demand, Op, Operation, RefusalRow, SeatId, StateWrite};
use crate::record::Seat;
use crate::reply::Reply;
use crate::state::State;

/// Longest key of a seat's pairs, in bytes.
const MAX_PAIR_KEY: usize = 256;
/// Refusals of one turn that are kept; of more, the last row says how many.
const KEPT_REFUSALS: usize = 1000;
/// Shortest time to a wake-up that a scheduler asks for.
const SHORTEST_WAKE: Millis = Millis(10);

/// Makes a turn true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitTurn {
    /// Whose turn.
    pub seat: SeatId,
    /// One more than the last that counted.
    pub turn_no: u64,
    /// The component that answered.
    pub component: Digest,
    /// The index up to which it had seen changes.
    pub cursor: Index,
    /// What it wants done.
    pub operations: Vec<Operation>,
    /// What it wants kept.
    pub writes: Vec<StateWrite>,
    /// Absent: the demand stays.
    pub demand: Option<Vec<Demand>>,
    /// Rows of demand that replace, end (`count` 0) or join the others, after `demand`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demand_changes: Vec<Demand>,
    /// When it wants the next turn at the latest.
    pub wake_at: Option<ClusterTime>,
}

pub(super) fn apply(state: &mut State, context: &Context, command: &CommitTurn) -> Reply {
    let void = |reason: &str| Reply::Void {
        reason: reason.to_owned(),
    };
    if context.term < state.term {
        return void("a newer leader has taken over");
    }
    let Some(seat) = state.seats.get(&command.seat) else {
        return void("the seat is gone");
    };
    if command.turn_no != seat.turn_no + 1 {
        return void("it is not the next turn of its seat");
    }
    let component = state
        .frameworks
        .get(&command.seat.framework)
        .and_then(|framework| framework.component.as_ref());
    if component != Some(&command.component) {
        return void("another component is in force now");
    }
    state.see_term(context.term);
    let size_limit = state
        .frameworks
        .get(&command.seat.framework)
        .map_or(0, |framework| framework.limits.state.0);
    let mut refusals = Vec::new();
    let mut has_changed = false;
    for (group, (operations, writes)) in by_group(command) {
        // One that is refused alone has changed nothing.
        let is_joined = group != 0 && operations.len() + writes.len() > 1;
        let before = is_joined.then(|| state.clone());
        let refused_before = refusals.len();
        let mut changes = false;
        for operation in operations {
            match carry_out(state, context, &command.seat, &operation.op) {
                // What people are told changes nothing.
                Ok(_) => changes |= !matches!(operation.op, Op::Note { .. }),
                Err(reason) => refusals.push(RefusalRow {
                    group,
                    subject: subject(&operation.op),
                    reason,
                }),
            }
        }
        for write in writes {
            match write_pair(state, &command.seat, write, size_limit) {
                Ok(_) => changes = true,
                Err(reason) => refusals.push(RefusalRow {
                    group,
                    subject: 0,
                    reason,
                }),
            }
        }
        if let Some(before) = before.filter(|_| refusals.len() > refused_before) {
            *state = before;
            continue;
        }
        has_changed |= changes;
    }
    let Some(seat) = state.seats.get(&command.seat) else {
        return void("the seat is gone");
    };
    let mut seat = Seat::clone(seat);
    seat.turn_no = command.turn_no;
    seat.cursor = command.cursor;
    seat.said_at = state.index;
    // A scheduler that always asks for a turn at once does not fill the log.
    let earliest = context.now.after(SHORTEST_WAKE);
    seat.wake_at = command.wake_at.map(|at| at.max(earliest));
    match demand_after(
        &seat.demand,
        command.demand.as_deref(),
        &command.demand_changes,
    ) {
        Ok(None) => {}
        Ok(Some(demand)) => {
            seat.demand = Arc::new(demand);
            seat.demand_version += 1;
            has_changed = true;
        }
        Err(reason) => refusals.push(RefusalRow {
            group: 0,
            subject: 0,
            reason,
        }),
    }
    let refusals = kept_refusals(refusals);
    seat.refusals = Arc::new(refusals.clone());
    state.put_seat(seat);
    Reply::Counted {
        refusals,
        has_changed,
    }
}

/// The first refusals, and a row that counts the rest.
fn kept_refusals(mut refusals: Vec<RefusalRow>) -> Vec<RefusalRow> {
    let more = refusals.len().saturating_sub(KEPT_REFUSALS);
    if more > 0 {
        refusals.truncate(KEPT_REFUSALS);
        refusals.push(RefusalRow {
            group: 0,
            subject: 0,
            reason: format!("{more} more were refused"),
        });
    }
    refusals
}

/// The operations and writes of each group, in order. A turn may have as many groups as operations.
fn by_group(command: &CommitTurn) -> BTreeMap<u32, (Vec<&Operation>, Vec<&StateWrite>)> {
    let mut groups: BTreeMap<u32, (Vec<&Operation>, Vec<&StateWrite>)> = BTreeMap::new();
    for operation in &command.operations {
        let (operations, _) = groups.entry(operation.group).or_default();
        operations.push(operation);
    }
    for write in &command.writes {
        let (_, writes) = groups.entry(write.group).or_default();
        writes.push(write);
    }
    groups
}

/// What a refusal names: the task, or the slot or workload.
fn subject(op: &Op) -> u64 {
    match op {
        Op::Launch { workload, .. }
        | Op::SetStatus { workload, .. }
        | Op::SetGoodGeneration { workload, .. }
        | Op::Quarantine { workload, .. }
        | Op::Note { workload, .. } => workload.0,
        Op::Kill { task, .. } | Op::Forget { task } => task.0,
    }
}

fn carry_out(state: &mut State, context: &Context, seat: &SeatId, op: &Op) -> Result<(), String> {
    match op {
        Op::Launch {
            workload,
            generation,
            template,
            slot,
            agent,
        } => {
            let wanted = Launch {
                workload: *workload,
                generation: *generation,
                template: *template,
                slot: *slot,
                agent: *agent,
            };
            launch(state, context, seat, wanted)
        }
        Op::Kill { task, reason } => {
            let known = state
                .tasks
                .get(*task)
                .filter(|known| known.seat() == seat)
                .ok_or("no task of this seat")?;
            if !known.state().is_terminal() {
                order_stop(state, context, *task, *reason);
            }
            Ok(())
        }
        Op::Forget { task } => {
            let known = state
                .tasks
                .get(*task)
                .filter(|known| known.seat() == seat)
                .ok_or("no task of this seat")?;
            if !known.state().is_terminal() {
                return Err("the task has not ended".to_owned());
            }
            let known = known.draft();
            forget(state, known);
            Ok(())
        }
        Op::SetStatus {
            workload,
            generation,
            health,
            rollout,
            reason,
            message,
        } => {
            let mut object = Object::clone(state.own_object(seat, *workload)?);
            let status = Status {
                generation: *generation,
                health: *health,
                rollout: *rollout,
                reason: reason.clone(),
                message: message.clone(),
            };
            if object.status != status {
                let said = format!("{} is {health}: {message}", object.key);
                if object.status.rollout != *rollout || object.status.generation != *generation {
                    let name = match rollout {
                        RolloutState::Progressing => "RolloutProgressing",
                        RolloutState::Complete => "RolloutComplete",
                        RolloutState::RolledBack => "RolledBack",
                        RolloutState::Paused => "RolloutPaused",
                    };
                    state.push_event(context.event(name, Some(&object.key), said));
                }
                object.status = status;
                state.put_object(object);
            }
            Ok(())
        }
        Op::SetGoodGeneration {
            workload,
            generation,
        } => {
            let mut object = Object::clone(state.own_object(seat, *workload)?);
            if object.generation_of(*generation).is_none() {
                return Err("the generation is not known".to_owned());
            }
            if object.good_generation != *generation {
                object.good_generation = *generation;
                state.put_object(object);
            }
            Ok(())
        }
        Op::Quarantine {
            workload,
            generation,
            reason,
        } => {
            let mut object = Object::clone(state.own_object(seat, *workload)?);
            let known = object
                .generation_of(*generation)
                .ok_or("the generation is not known")?;
            let spec = known.spec.digest();
            // What runs may be what somebody set by hand; then git has not written it.
            let written = object
                .written
                .clone()
                .filter(|_| object.desired.as_ref() == Some(&spec));
            object.quarantine = Some(Quarantine {
                generation: *generation,
                spec,
                written,
                reason: reason.clone(),
            });
            let message = format!(
                "{} generation {generation} is not tried again until git changes it: {reason}",
                object.key
            );
            state.push_event(context.event("Quarantined", Some(&object.key), message));
            state.put_object(object);
            Ok(())
        }
        Op::Note { workload, text } => {
            let object = state.own_object(seat, *workload)?;
            let note = context.event("Note", Some(&object.key), text.clone());
            state.push_event(note);
            Ok(())
        }
    }
}

fn write_pair(
    state: &mut State,
    seat: &SeatId,
    write: &StateWrite,
    limit: u64,
) -> Result<(), String> {
    if !(1..=MAX_PAIR_KEY).contains(&write.key.len()) {
        return Err(format!("a key has 1 to {MAX_PAIR_KEY} bytes"));
    }
    let mut seat = Seat::clone(state.seats.get(seat).ok_or("the seat is gone")?);
    let size = |key: &str, value: usize| u64::try_from(key.len() + value).unwrap_or(u64::MAX);
    let before = seat
        .pairs
        .get(&write.key)
        .map_or(0, |value| size(&write.key, value.len()));
    let after = write
        .value
        .as_ref()
        .map_or(0, |value| size(&write.key, value.len()));
    let total = seat.pairs_size.saturating_sub(before).saturating_add(after);
    if total > limit {
        return Err(format!(
            "the seat's state would be {total} bytes; the limit is {limit}"
        ));
    }
    seat.pairs_size = total;
    match &write.value {
        Some(value) => seat
            .pairs
            .insert(write.key.clone(), value.as_slice().into()),
        None => seat.pairs.remove(&write.key),
    };
    state.put_seat(seat);
    Ok(())
}
