//! Launch: the one place where a task comes to be.

use std::sync::Arc;

use kelson_model::agent::AgentState;
use kelson_model::id::{AgentId, WorkloadId};
use kelson_model::task::StopReason;

use crate::context::Context;
use crate::port::SeatId;
use crate::ports::give_ports;
use crate::record::STEADY;
use crate::state::State;
use crate::tasks::{Draft, Shape, TaskRef};

/// Highest slot of a workload.
const MAX_SLOT: u32 = 1_000_000;

/// A task that is to be started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch {
    pub(crate) workload: WorkloadId,
    pub(crate) generation: u64,
    pub(crate) template: u32,
    pub(crate) slot: u32,
    pub(crate) agent: AgentId,
}

/// Starts a task of a seat: checks that it may, gives it an id and ports, and takes what it needs.
///
/// # Errors
/// Says what stands against it.
pub(crate) fn launch(
    state: &mut State,
    context: &Context,
    seat: &SeatId,
    wanted: Launch,
) -> Result<(), String> {
    let Launch {
        workload,
        generation,
        template,
        slot,
        agent,
    } = wanted;
    let object = state.own_object(seat, workload)?;
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
    let spec = Arc::clone(spec);
    let host = state.agents.get(&agent).ok_or("no such agent")?;
    if host.state != AgentState::Ready {
        return Err("the agent cannot be reached".to_owned());
    }
    if !host.free().fits(&spec.resources) {
        return Err("no room on the agent".to_owned());
    }
    let (ports, last_port) = give_ports(host, &spec, context.now)?;
    let template_id = *template_id;
    let (attempts, refusals) = next_try(state, workload, slot, template_id);
    let known = state.find_shape(workload, |shape| {
        (shape.generation, shape.template, shape.template_id) == (generation, template, template_id)
            && *shape.seat == *seat
            && *shape.object == object.key
            && shape.resources == spec.resources
            && shape.ports.iter().eq(ports.keys().copied())
    });
    let shape = known.ok_or_else(|| Shape {
        workload,
        object: Arc::new(object.key.clone()),
        seat: Arc::new(seat.clone()),
        generation,
        template,
        template_id,
        resources: spec.resources,
        ports: ports.keys().map(|name| (*name).to_owned()).collect(),
    });
    let shape = shape.unwrap_or_else(|new| state.share_shape(new));
    let numbers: Vec<u16> = ports.values().copied().collect();
    let id = state.next_task();
    let mut draft = Draft::staged(id, shape, agent, slot, &numbers, context.now);
    draft.set_attempts(attempts, refusals);
    let task = draft.as_ref();
    state.take(task, last_port);
    // What a row of tries for the same ports comes to is told once.
    if refusals == 0 {
        let name = task.name();
        let message = format!("{name} ({id}) of generation {generation} goes to {agent}");
        state.push_event(context.event("TaskLaunched", Some(task.object()), message));
    }
    state.put_task(draft);
    Ok(())
}

/// The attempt that a new task of a slot is: one more than that of the slot's youngest task, unless
/// that one stayed healthy or was asked to end. A signal from outside asks for nothing: a program
/// that is killed again and again is no better off than one that fails. One that was never started
/// for want of its ports was no attempt; how often that happened in a row is counted beside it.
fn next_try(state: &State, workload: WorkloadId, slot: u32, template_id: u64) -> (u32, u32) {
    let fails_on = |task: &TaskRef<'_>| {
        task.template_id() == template_id && task.state().is_terminal() && !is_ended_by_plan(*task)
    };
    let Some(task) = state.newest_of_slot(workload, slot).filter(fails_on) else {
        return (1, 0);
    };
    if task.is_port_taken() {
        return (task.attempts(), task.refusals().saturating_add(1));
    }
    let was_steady = task
        .healthy_since()
        .is_some_and(|since| task.state_since().since(since) >= STEADY);
    if was_steady {
        (1, 0)
    } else {
        (task.attempts().saturating_add(1), 0)
    }
}

/// Whether a task was asked to end for no fault of its own.
fn is_ended_by_plan(task: TaskRef<'_>) -> bool {
    task.stop().is_some_and(|stop| match stop.reason {
        StopReason::Replaced
        | StopReason::ScaledDown
        | StopReason::Removed
        | StopReason::ByHand => true,
        StopReason::Unhealthy => false,
    })
}
