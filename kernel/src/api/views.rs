//! Views: objects, agents, frameworks and events in the shapes of `kelson_model::view`.

use kelson_kernel_core::object::Object;
use kelson_kernel_core::record::{Agent, Framework, Seat};
use kelson_kernel_core::round::RoundMemory;
use kelson_kernel_core::{State, report};
use kelson_model::agent::AgentDescription;
use kelson_model::event::Event;
use kelson_model::report::API_VERSION;
use kelson_model::time::ClusterTime;
use kelson_model::view::{
    AgentView, EventView, FrameworkRow, FrameworkView, GenerationView, Metadata, ObjectRow,
    ObjectView, QuarantineView, SeatState, SeatView,
};

/// An object as watchers get it.
pub(crate) fn object_row(state: &State, object: &Object) -> ObjectRow {
    let status = report::object_status(state, object);
    ObjectRow {
        key: object.key.clone(),
        labels: object.labels.clone(),
        lifecycle: object.lifecycle,
        origin: object.origin.clone(),
        spec: object.spec.clone(),
        generation: object.generation,
        revision: object.revision.clone(),
        source: object.source.clone(),
        quarantine: quarantine(object),
        sync: status.sync,
        health: status.health,
        reason: status.reason,
        message: status.message,
        rollout: status.rollout,
        tasks: status.tasks,
        changed_by: Some(object.changed_by.clone()),
        changed_at: object.changed_at,
        is_removed: object.is_removed,
        good_generation: object.good_generation,
        by_hand: object.by_hand.clone(),
        written: object.written.clone(),
    }
}

fn quarantine(object: &Object) -> Option<QuarantineView> {
    let quarantine = object.quarantine.as_ref()?;
    Some(QuarantineView {
        generation: quarantine.generation,
        reason: quarantine.reason.clone(),
    })
}

/// An object as `kelson get -o json` prints it.
pub(crate) fn object_view(state: &State, object: &Object) -> ObjectView {
    let history = object.history.iter().map(|generation| GenerationView {
        generation: generation.number,
    });
    ObjectView {
        api_version: API_VERSION.to_owned(),
        kind: object.key.kind.clone(),
        metadata: Metadata {
            name: object.key.name.clone(),
            namespace: object.key.namespace.clone(),
            labels: object.labels.clone(),
            lifecycle: object.lifecycle,
        },
        spec: object.spec.clone(),
        status: report::object_status(state, object),
        changed_by: object.changed_by.clone(),
        changed_at: object.changed_at.to_string(),
        history: history.collect(),
        good_generation: object.good_generation,
        quarantine: quarantine(object),
    }
}

/// One agent.
pub(crate) fn agent_view(state: &State, agent: &Agent) -> AgentView {
    let description = AgentDescription::clone(&agent.description);
    AgentView {
        id: agent.id.to_string(),
        name: description.name,
        state: agent.state,
        address: description.address,
        pid: description.pid,
        version: description.version,
        resources: description.resources,
        used: agent.used,
        ports: description.ports,
        attributes: description.attributes,
        tasks: state.live_on(agent.id),
        incarnation: agent.incarnation,
    }
}

/// A framework as watchers get it.
pub(crate) fn framework_row(framework: &Framework) -> FrameworkRow {
    FrameworkRow {
        name: framework.key.name.clone(),
        namespace: framework.key.namespace.clone(),
        built_in: framework.is_built_in,
        component: framework.component.clone(),
        fault: fault(framework),
        fault_of: framework.fault.as_ref().map(|(digest, _)| digest.clone()),
        fault_cause: framework.cause,
        namespaces: framework.namespaces.clone(),
        description: framework.description.as_deref().cloned(),
    }
}

fn fault(framework: &Framework) -> Option<String> {
    framework.fault.as_ref().map(|(_, reason)| reason.clone())
}

/// One framework with its seats, as `kelson frameworks` prints it.
pub(crate) fn framework_view(
    state: &State,
    framework: &Framework,
    memory: &RoundMemory,
    now: ClusterTime,
) -> FrameworkView {
    let described = framework.description.as_ref();
    let kinds = described
        .iter()
        .flat_map(|described| &described.kinds)
        .map(|kind| kind.kind.clone());
    let seats = state
        .seats
        .values()
        .filter(|seat| seat.id.framework == framework.key);
    FrameworkView {
        name: framework.key.name.clone(),
        namespace: framework.key.namespace.clone(),
        built_in: framework.is_built_in,
        component: framework.component.clone(),
        version: described.map(|described| described.version.clone()),
        kinds: kinds.collect(),
        namespaces: framework.namespaces.clone(),
        fault: fault(framework),
        limits: framework.limits.clone(),
        seats: seats.map(|seat| seat_view(seat, memory, now)).collect(),
    }
}

fn seat_view(seat: &Seat, memory: &RoundMemory, now: ClusterTime) -> SeatView {
    let pause = memory.pauses().get(&seat.id);
    let demand: u64 = seat
        .demand
        .iter()
        .map(|demand| u64::from(demand.count))
        .sum();
    SeatView {
        namespace: seat.id.namespace.clone(),
        turn_no: seat.turn_no,
        state: match (pause, demand) {
            (Some(_), _) => SeatState::Paused,
            (None, 1..) => SeatState::Waiting,
            (None, 0) => SeatState::Idle,
        },
        demand,
        used: seat.used,
        refusals: seat
            .refusals
            .iter()
            .map(|refusal| refusal.reason.clone())
            .collect(),
        fault: pause.map(|pause| pause.fault.to_string()),
        failures: pause.map_or(0, |pause| pause.failures),
        retry_in_ms: pause.map(|pause| pause.until.since(now).0),
    }
}

/// One event, with its time as text.
pub(crate) fn event_view(event: &Event) -> EventView {
    EventView {
        index: event.index.0,
        at: event.at.to_string(),
        reason: event.reason.clone(),
        object: event.object.clone(),
        message: event.message.clone(),
        by: event.by.clone(),
    }
}
