//! Invariants: what must hold after every entry. Tests check them; a member may check them on
//! request.

use std::collections::BTreeMap;

use kelson_model::id::AgentId;
use kelson_model::object::Namespace;
use kelson_model::quantity::Resources;

use crate::port::SeatId;
use crate::state::State;

/// Says which invariants do not hold; nothing where all do.
pub fn broken_invariants(state: &State) -> Vec<String> {
    let mut broken = state.broken_indexes();
    let mut by_agent: BTreeMap<AgentId, Resources> = BTreeMap::new();
    let mut by_namespace: BTreeMap<Namespace, Resources> = BTreeMap::new();
    let mut by_seat: BTreeMap<SeatId, Resources> = BTreeMap::new();
    for task in state
        .tasks
        .iter()
        .filter(|task| !task.state().is_terminal())
    {
        let add = |sum: &mut Resources| *sum = sum.plus(task.resources());
        add(by_agent.entry(task.agent()).or_default());
        add(by_namespace
            .entry(task.object().namespace.clone())
            .or_default());
        add(by_seat.entry(task.seat().clone()).or_default());
        let holds_ports = |agent: &crate::record::Agent| {
            task.port_numbers()
                .iter()
                .all(|port| agent.used_ports.get(port) == Some(&task.id()))
        };
        if !state
            .agents
            .get(&task.agent())
            .is_some_and(|agent| holds_ports(agent))
        {
            broken.push(format!(
                "{} does not hold its ports on {}",
                task.id(),
                task.agent()
            ));
        }
    }
    for agent in state.agents.values() {
        let used = by_agent.get(&agent.id).copied().unwrap_or_default();
        if agent.used != used {
            broken.push(format!(
                "{} accounts {} where its tasks hold {used}",
                agent.id, agent.used
            ));
        }
        for (port, task) in &agent.used_ports {
            if state
                .tasks
                .get(*task)
                .is_none_or(|task| task.state().is_terminal())
            {
                broken.push(format!(
                    "{} keeps port {port} for {task}, which has ended",
                    agent.id
                ));
            }
        }
    }
    for (namespace, record) in &state.namespaces {
        if record.used != by_namespace.get(namespace).copied().unwrap_or_default() {
            broken.push(format!("namespace {namespace} accounts {}", record.used));
        }
    }
    for (id, seat) in &state.seats {
        if seat.used != by_seat.get(id).copied().unwrap_or_default() {
            broken.push(format!("seat {id} accounts {}", seat.used));
        }
        let size: usize = seat
            .pairs
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if u64::try_from(size) != Ok(seat.pairs_size) {
            broken.push(format!(
                "seat {id} says {} bytes of state and holds {size}",
                seat.pairs_size
            ));
        }
    }
    for object in state.objects.values() {
        let accepted = object.accepted_spec().digest();
        let is_word = object.desired.as_ref().is_none_or(|word| *word == accepted);
        let is_news = object
            .by_hand
            .as_ref()
            .is_none_or(|by_hand| by_hand.accepted != object.spec);
        if !is_word || !is_news {
            broken.push(format!(
                "{} does not know what git asked and what was changed by hand",
                object.key
            ));
        }
    }
    for (workload, key) in &state.workloads {
        if state.objects.get(key).and_then(|object| object.workload) != Some(*workload) {
            broken.push(format!(
                "{workload} points to {key}, which is another workload"
            ));
        }
    }
    broken
}
