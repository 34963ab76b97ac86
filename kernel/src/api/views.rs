//! Views: objects, agents, frameworks and events as JSON.

use kelson_kernel_core::object::Object;
use kelson_kernel_core::port::SeatId;
use kelson_kernel_core::record::{Agent, Framework, Seat};
use kelson_kernel_core::round::RoundMemory;
use kelson_kernel_core::{State, report};
use kelson_model::event::Event;
use kelson_model::report::API_VERSION;
use kelson_model::time::ClusterTime;
use serde_json::{Value, json};

/// An object as watchers get it.
pub(crate) fn object_row(state: &State, object: &Object) -> Value {
    let status = report::object_status(state, object);
    json!({
        "key": object.key, "labels": object.labels, "lifecycle": object.lifecycle, "origin": object.origin, "spec": *object.spec,
        "generation": object.generation, "revision": object.revision, "source": object.source, "quarantine": quarantine(object),
        "sync": status.sync, "health": status.health, "reason": status.reason, "message": status.message, "rollout": status.rollout,
        "tasks": status.tasks, "changedBy": object.changed_by, "changedAt": object.changed_at, "isRemoved": object.is_removed,
        "goodGeneration": object.good_generation, "byHand": object.by_hand, "written": object.written,
    })
}

fn quarantine(object: &Object) -> Value {
    object.quarantine.as_ref().map_or(
        Value::Null,
        |quarantine| json!({"generation": quarantine.generation, "reason": quarantine.reason}),
    )
}

/// An object as `kelson get -o json` prints it.
pub(crate) fn object_view(state: &State, object: &Object) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": object.key.kind,
        "metadata": {"name": object.key.name, "namespace": object.key.namespace, "labels": object.labels, "lifecycle": object.lifecycle},
        "spec": *object.spec,
        "status": report::object_status(state, object),
        "changedBy": object.changed_by, "changedAt": object.changed_at.to_string(),
        "history": object.history.iter().map(|generation| json!({"generation": generation.number})).collect::<Vec<_>>(),
        "goodGeneration": object.good_generation, "quarantine": quarantine(object),
    })
}

/// One agent.
pub(crate) fn agent_view(state: &State, agent: &Agent) -> Value {
    let description = &agent.description;
    let running = state
        .tasks_on(agent.id)
        .filter(|task| !task.state.is_terminal())
        .count();
    json!({
        "id": agent.id.to_string(), "name": description.name, "state": agent.state, "address": description.address,
        "pid": description.pid, "version": description.version, "resources": description.resources, "used": agent.used,
        "ports": description.ports, "attributes": description.attributes, "tasks": running, "incarnation": agent.incarnation,
    })
}

/// A framework as watchers get it.
pub(crate) fn framework_row(framework: &Framework) -> Value {
    json!({
        "name": framework.key.name, "namespace": framework.key.namespace, "builtIn": framework.is_built_in,
        "component": framework.component, "fault": framework.fault.as_ref().map(|(_, reason)| reason),
        "faultOf": framework.fault.as_ref().map(|(digest, _)| digest),
        "namespaces": framework.namespaces, "description": framework.description.as_deref(),
    })
}

/// One framework with its seats, as `kelson frameworks` prints it.
pub(crate) fn framework_view(
    state: &State,
    framework: &Framework,
    memory: &RoundMemory,
    now: ClusterTime,
) -> Value {
    let described = framework.description.as_ref();
    let kinds: Vec<&str> = described
        .iter()
        .flat_map(|described| &described.kinds)
        .map(|kind| kind.kind.as_str())
        .collect();
    let seats = state
        .seats
        .values()
        .filter(|seat| seat.id.framework == framework.key);
    json!({
        "name": framework.key.name, "namespace": framework.key.namespace, "builtIn": framework.is_built_in,
        "component": framework.component, "version": described.map(|described| described.version.clone()), "kinds": kinds,
        "namespaces": framework.namespaces, "fault": framework.fault.as_ref().map(|(_, reason)| reason),
        "limits": framework.limits,
        "seats": seats.map(|seat| seat_view(seat, memory, now)).collect::<Vec<_>>(),
    })
}

fn seat_view(seat: &Seat, memory: &RoundMemory, now: ClusterTime) -> Value {
    let id: &SeatId = &seat.id;
    let pause = memory.pauses().get(id);
    let wanted: u64 = seat
        .demand
        .iter()
        .map(|demand| u64::from(demand.count))
        .sum();
    let state = if pause.is_some() {
        "paused"
    } else if wanted > 0 {
        "waiting"
    } else {
        "idle"
    };
    json!({
        "namespace": id.namespace, "turnNo": seat.turn_no, "state": state, "demand": wanted, "used": seat.used,
        "refusals": seat.refusals.iter().map(|refusal| &refusal.reason).collect::<Vec<_>>(),
        "fault": pause.map(|pause| pause.fault.clone()), "failures": pause.map_or(0, |pause| pause.failures),
        "retryInMs": pause.map(|pause| pause.until.since(now).0),
    })
}

/// One event, with its time as text.
pub(crate) fn event_view(event: &Event) -> Value {
    json!({
        "index": event.index, "at": event.at.to_string(), "reason": event.reason, "object": event.object, "message": event.message, "by": event.by,
    })
}
