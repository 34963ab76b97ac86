//! CommitTurn: the one place where what a scheduler wants becomes true.
//!
//! *Guarantees:* a turn that is not the next of its seat, or comes from another component or an older term, is void and changes
//! nothing; a group other than 0 is accepted or refused whole; no agent is ever given more than it has; a launch makes a new task id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::agent::AgentState;
use kelson_model::id::{AgentId, Digest, Index, WorkloadId};
use kelson_model::object::RolloutState;
use kelson_model::quantity::Millis;
use kelson_model::task::{CheckState, TaskState};
use kelson_model::template::TaskTemplate;
use kelson_model::time::ClusterTime;
use serde::{Deserialize, Serialize};

use crate::apply::{Context, Reply};
use crate::command::record_statuses::{drop_old_tasks, next_attempt};
use crate::command::stop_task::order_stop;
use crate::object::{Object, Quarantine, Status};
use crate::port::{Demand, Op, Operation, RefusalRow, SeatId, StateWrite};
use crate::record::{Agent, Seat, Task};
use crate::state::State;

/// Highest slot of a workload.
const MAX_SLOT: u32 = 1_000_000;
/// Longest key of a seat's pairs, in bytes.
const MAX_PAIR_KEY: usize = 256;
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
    state.term = context.term;
    let size_limit = state
        .frameworks
        .get(&command.seat.framework)
        .map_or(0, |framework| framework.limits.state.0);
    let mut refusals = Vec::new();
    let groups: BTreeSet<u32> = command
        .operations
        .iter()
        .map(|operation| operation.group)
        .chain(command.writes.iter().map(|write| write.group))
        .collect();
    for group in groups {
        let before = (group != 0).then(|| state.clone());
        let mut is_refused = false;
        for operation in command
            .operations
            .iter()
            .filter(|operation| operation.group == group)
        {
            if let Err(reason) = carry_out(state, context, &command.seat, &operation.op) {
                refusals.push(RefusalRow {
                    group,
                    subject: subject(&operation.op),
                    reason,
                });
                is_refused = true;
            }
        }
        for write in command.writes.iter().filter(|write| write.group == group) {
            if let Err(reason) = write_pair(state, &command.seat, write, size_limit) {
                refusals.push(RefusalRow {
                    group,
                    subject: 0,
                    reason,
                });
                is_refused = true;
            }
        }
        if let (true, Some(before)) = (is_refused, before) {
            *state = before;
        }
    }
    let Some(seat) = state.seats.get(&command.seat) else {
        return void("the seat is gone");
    };
    let mut seat = Seat::clone(seat);
    seat.turn_no = command.turn_no;
    seat.cursor = command.cursor;
    // A scheduler that always asks for a turn at once does not fill the log.
    let earliest = context.now.after(SHORTEST_WAKE);
    seat.wake_at = command.wake_at.map(|at| at.max(earliest));
    if let Some(demand) = &command.demand
        && **demand != *seat.demand
    {
        seat.demand = Arc::new(demand.clone());
        seat.demand_version += 1;
    }
    seat.refusals = Arc::new(refusals.clone());
    state.put_seat(seat);
    Reply::Counted { refusals }
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
        } => launch(
            state,
            context,
            seat,
            *workload,
            *generation,
            *template,
            *slot,
            *agent,
        ),
        Op::Kill { task, reason } => {
            let known = state
                .tasks
                .get(task)
                .filter(|known| known.seat == *seat)
                .ok_or("no task of this seat")?;
            if !known.state.is_terminal() {
                order_stop(state, context, *task, *reason);
            }
            Ok(())
        }
        Op::Forget { task } => {
            let known = state
                .tasks
                .get(task)
                .filter(|known| known.seat == *seat)
                .ok_or("no task of this seat")?;
            if !known.state.is_terminal() {
                return Err("the task has not ended".to_owned());
            }
            let mut known = Task::clone(known);
            known.is_forgotten = true;
            let workload = known.workload;
            state.put_task(known);
            drop_old_tasks(state, workload);
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
            let mut object = own_object(state, seat, *workload)?;
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
            let mut object = own_object(state, seat, *workload)?;
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
            let mut object = own_object(state, seat, *workload)?;
            let known = object
                .generation_of(*generation)
                .ok_or("the generation is not known")?;
            let spec = kelson_model::object::spec_digest(&known.spec);
            object.quarantine = Some(Quarantine {
                generation: *generation,
                spec,
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
            let object = own_object(state, seat, *workload)?;
            state.push_event(context.event("Note", Some(&object.key), text.clone()));
            Ok(())
        }
    }
}

/// The object of a workload that this seat handles.
fn own_object(state: &State, seat: &SeatId, workload: WorkloadId) -> Result<Object, String> {
    let object = state
        .object_of(workload)
        .ok_or("no workload of this seat")?;
    if state.seat_of(&object.key).as_ref() != Some(seat) {
        return Err("no workload of this seat".to_owned());
    }
    Ok(Object::clone(object))
}

#[expect(clippy::too_many_arguments, reason = "the columns of one launch")]
fn launch(
    state: &mut State,
    context: &Context,
    seat: &SeatId,
    workload: WorkloadId,
    generation: u64,
    template: u32,
    slot: u32,
    agent: AgentId,
) -> Result<(), String> {
    let object = own_object(state, seat, workload)?;
    if object.is_removed {
        return Err("the workload was removed".to_owned());
    }
    if object.quarantined_generation() == generation && generation != 0 {
        return Err("the generation is quarantined".to_owned());
    }
    if slot > MAX_SLOT {
        return Err(format!("a slot is at most {MAX_SLOT}"));
    }
    let known = object
        .generation_of(generation)
        .ok_or("stale generation: it is not kept any more")?;
    let place = usize::try_from(template).unwrap_or(usize::MAX);
    let (Some(spec), Some(template_id)) =
        (known.templates.get(place), known.template_ids.get(place))
    else {
        return Err("the generation has no such template".to_owned());
    };
    let host = state.agents.get(&agent).ok_or("no such agent")?;
    if host.state != AgentState::Ready {
        return Err("the agent cannot be reached".to_owned());
    }
    if !host.free().fits(&spec.resources) {
        return Err("no room on the agent".to_owned());
    }
    let (ports, last_port) = give_ports(host, spec)?;
    let attempts = next_attempt(state, workload, slot, *template_id);
    state.last_task.0 += 1;
    let task = Task {
        id: state.last_task,
        workload,
        object: object.key.clone(),
        seat: seat.clone(),
        generation,
        template,
        template_id: *template_id,
        slot,
        agent,
        resources: spec.resources,
        ports,
        stop: None,
        assignment: 1,
        state: TaskState::Staging,
        state_since: context.now,
        health: CheckState::Unknown,
        healthy_since: None,
        is_ready: false,
        pid: None,
        started_at: None,
        exit: None,
        sequence: 0,
        attempts,
        is_forgotten: false,
        isolation: String::new(),
        message: String::new(),
    };
    let mut host = Agent::clone(host);
    host.last_port = last_port;
    state.put_agent(host, false);
    state.account(&task, true);
    let message = format!(
        "{} ({}) of generation {generation} goes to {agent}",
        task.name(),
        task.id
    );
    state.push_event(context.event("TaskLaunched", Some(&object.key), message));
    state.put_task(task);
    Ok(())
}

/// Picks ports: the asked one where one is asked for, else the next free one of the agent's range after the one given last.
fn give_ports(
    agent: &Agent,
    template: &TaskTemplate,
) -> Result<(BTreeMap<String, u16>, u16), String> {
    let range = agent.description.ports;
    let mut given = BTreeMap::new();
    let mut last = agent.last_port;
    let is_free = |port: u16, given: &BTreeMap<String, u16>| {
        !agent.used_ports.contains_key(&port) && !given.values().any(|other| *other == port)
    };
    for wish in template.ports.iter().filter(|wish| wish.port.is_some()) {
        let port = wish.port.unwrap_or_default();
        if !is_free(port, &given) {
            return Err(format!("port {port} is taken on the agent"));
        }
        given.insert(wish.name.clone(), port);
    }
    for wish in template.ports.iter().filter(|wish| wish.port.is_none()) {
        let mut tries = range.count();
        loop {
            if tries == 0 {
                return Err("no port is free on the agent".to_owned());
            }
            tries -= 1;
            last = if last >= range.last || last < range.first {
                range.first
            } else {
                last + 1
            };
            if is_free(last, &given) {
                break;
            }
        }
        given.insert(wish.name.clone(), last);
    }
    Ok((given, last))
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
