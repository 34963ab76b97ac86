//! Explanations: why something does not happen. The answer is always there.

use std::sync::Arc;

use kelson_model::agent::AgentState;
use kelson_model::framework::FaultCause;
use kelson_model::object::{Health, Namespace, ObjectKey, Sync};
use kelson_model::reason::KeptReason;
use kelson_model::source::{Fault, SourceRecord};
use kelson_model::task::StopReason;
use kelson_model::text::number;
use kelson_model::time::ClusterTime;
pub use kelson_model::view::Explanation;

use crate::allocator::{demanded_template, has_free_ports};
use crate::leaving::why_it_stays;
use crate::port::{Demand, SeatId};
use crate::record::Agent;
use crate::report::framework_fault;
use crate::round::{RoundMemory, Standing};
use crate::state::State;
use crate::tasks::TaskRef;

fn line(reason: &str, message: impl Into<String>) -> Explanation {
    Explanation {
        reason: reason.to_owned(),
        message: message.into(),
    }
}

/// Why an object is not as it should be; one line says that it is.
pub fn explain_object(
    state: &State,
    memory: &RoundMemory,
    key: &ObjectKey,
    now: ClusterTime,
) -> Option<Vec<Explanation>> {
    let object = state.objects.get(key)?;
    let mut lines = Vec::new();
    for record in state.sources.values().filter(|record| {
        object
            .source
            .as_deref()
            .is_none_or(|source| source == record.name)
    }) {
        lines.extend(explain_holds(record));
        for fault in record.errors.iter().filter(|fault| {
            object
                .origin
                .as_ref()
                .is_some_and(|origin| origin.file == fault.file)
        }) {
            lines.push(explain_fault(fault));
        }
        // A rollback is told below, with what runs instead.
        let kept = record.kept.iter().filter(|kept| kept.object == *key);
        lines.extend(
            kept.filter(|kept| kept.reason != KeptReason::RolledBack)
                .map(|kept| line(kept.reason.word(), kept.message.clone())),
        );
    }
    if let Some(reason) = why_it_stays(state, key) {
        lines.push(line(FaultCause::Held.reason(), reason));
    } else if object.is_removed {
        lines.push(line(
            "Removed",
            "no manifest wants it any more; it goes once its tasks have ended",
        ));
    }
    let in_force = object
        .quarantine
        .as_ref()
        .filter(|quarantine| quarantine.generation == object.generation);
    if let Some(quarantine) = in_force {
        let good = object.good_generation;
        lines.push(line(
            "RolledBack",
            format!(
                "generation {} is not tried again until git changes it: {}; generation {good} runs",
                quarantine.generation, quarantine.reason
            ),
        ));
    } else if !object.is_removed {
        match object.sync() {
            Sync::Unknown => lines.push(line(
                "WordUnknown",
                "nobody here knows what git asked when it was last accepted; the next revision \
                 that is accepted with it says so",
            )),
            Sync::OutOfSync => lines.push(line(
                "ChangedByHand",
                format!(
                    "{} changed it; git asks for something else",
                    object.changed_by
                ),
            )),
            Sync::Synced => {}
        }
    }
    match state.seat_of(key) {
        None if key.kind != "Framework" => lines.push(line(
            "NoFramework",
            format!(
                "no framework handles kind {} in namespace {}",
                key.kind, key.namespace
            ),
        )),
        None => {
            let fault = framework_fault(state, key, |_, _| true);
            lines.extend(fault.map(|(cause, reason)| line(cause.reason(), reason)));
        }
        Some(seat) => {
            if let Some(pause) = memory.pauses().get(&seat) {
                lines.push(line(
                    "SchedulerPaused",
                    format!(
                        "the scheduler of {seat} has failed {} times in a row: {}",
                        pause.failures, pause.fault
                    ),
                ));
            }
            let demands = state
                .seats
                .get(&seat)
                .map(|seat| seat.demand.clone())
                .unwrap_or_default();
            let own = demands
                .iter()
                .filter(|demand| Some(demand.workload) == object.workload && demand.count > 0);
            lines.extend(own.map(|demand| explain_demand(state, demand)));
        }
    }
    if !matches!(object.status.health, Health::Healthy | Health::Unknown)
        && !object.status.message.is_empty()
    {
        lines.push(line(
            if object.status.reason.is_empty() {
                "Scheduler"
            } else {
                &object.status.reason
            },
            object.status.message.clone(),
        ));
    }
    let is_settled =
        matches!(object.status.health, Health::Healthy | Health::Suspended) && !object.is_removed;
    let as_it_should_be = || {
        line(
            "AsItShouldBe",
            format!("{key} is {} and {}", object.sync(), object.status.health),
        )
    };
    let is_well = is_settled && lines.is_empty();
    if is_well {
        lines.push(as_it_should_be());
    }
    let waiting = object
        .workload
        .into_iter()
        .flat_map(|workload| state.tasks_of(workload));
    // What came before the newest task of a slot is over.
    let is_newest = |task: &TaskRef<'_>| {
        let newest = state.newest_of_slot(task.workload(), task.slot());
        newest.is_some_and(|newest| newest.id() == task.id())
    };
    for task in waiting
        .filter(|task| !task.is_forgotten())
        .filter(is_newest)
    {
        let said = match task.exit() {
            // What was asked to end and has ended explains nothing.
            Some(_)
                if task
                    .stop()
                    .is_some_and(|stop| is_settled || stop.reason != StopReason::Unhealthy) =>
            {
                continue;
            }
            Some(exit) => exit.reason.clone(),
            None if task.message().is_empty() => continue,
            None => task.message().to_owned(),
        };
        lines.push(line(
            if is_well && task.exit().is_some() {
                "Past"
            } else {
                "Task"
            },
            format!("{} ({}): {said}", task.name(), task.id()),
        ));
    }
    if let Some(seat) = state.seat_of(key).filter(|_| !is_settled) {
        lines.extend(explain_seat(state, memory, &seat, now));
    }
    if lines.is_empty() {
        lines.push(as_it_should_be());
    }
    Some(lines)
}

/// What the seat of an object waits for that is not as it should be.
fn explain_seat(
    state: &State,
    memory: &RoundMemory,
    seat: &SeatId,
    now: ClusterTime,
) -> Option<Explanation> {
    let seconds = |from: ClusterTime, to: ClusterTime| to.since(from).0.div_ceil(1000);
    Some(match memory.standing(state, seat, now) {
        // The framework's own fault, or the pause, is told already.
        Standing::NoComponent | Standing::Paused { .. } => return None,
        Standing::UnderWay { since } => line(
            "TurnUnderWay",
            format!(
                "a turn of the scheduler of {seat} is under way for {} s",
                seconds(since, now)
            ),
        ),
        Standing::Slowed { until } => line(
            "SchedulerPaced",
            format!(
                "the scheduler of {seat} says more than a turn may, turn after turn, and gets the next one in {} s",
                seconds(now, until)
            ),
        ),
        Standing::Paced { until } => line(
            "SchedulerPaced",
            format!(
                "the scheduler of {seat} asks for turn after turn about nothing new, and gets the next one in {} s",
                seconds(now, until)
            ),
        ),
        Standing::Due(reasons) => line(
            "TurnDue",
            format!(
                "the scheduler of {seat} gets a turn next: {}",
                reasons.in_words()
            ),
        ),
        Standing::Waits { until: Some(until) } => line(
            "WaitsForTime",
            format!(
                "the scheduler of {seat} has seen everything, and asked to be called again in {} s",
                seconds(now, until)
            ),
        ),
        Standing::Waits { until: None } => line(
            "WaitsForChange",
            format!(
                "the scheduler of {seat} has seen everything, and is called at the next change"
            ),
        ),
    })
}

/// Most faults of a revision that are told of an object that is not there.
const MAX_FAULTS: usize = 20;

/// What is known of an object that was never accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// The object, as well as it is known.
    pub key: ObjectKey,
    /// What a source says of it, and what keeps back a revision that may bring it.
    pub lines: Vec<Explanation>,
}

/// Why an object that is named by its kind (in any case, where it is known), namespace and name was
/// never accepted. `None` where there is no such object: no source names it, and every newest
/// revision is accepted as a whole.
pub fn explain_absent(
    state: &State,
    kind: Option<&str>,
    namespace: &Namespace,
    name: &str,
) -> Option<Absent> {
    let is_meant = |key: &ObjectKey| {
        let is_kind = kind.is_none_or(|kind| key.kind.eq_ignore_ascii_case(kind));
        is_kind && key.namespace == *namespace && key.name == name
    };
    let mut key = ObjectKey::new(kind.unwrap_or_default(), namespace.clone(), name);
    let mut is_named = false;
    let mut lines = Vec::new();
    for record in state.sources.values() {
        for kept in record.kept.iter().filter(|kept| is_meant(&kept.object)) {
            key = kept.object.clone();
            is_named = true;
            lines.push(line(kept.reason.word(), kept.message.clone()));
        }
        let Some(observed) = &record.observed else {
            // There is no revision yet that could bring it.
            continue;
        };
        lines.extend(explain_holds(record));
        let faults = || record.errors.iter().filter(|fault| fault.keeps_back());
        if let count @ 1.. = faults().count() {
            let noun = if count == 1 { "error" } else { "errors" };
            lines.push(line(
                "NotAccepted",
                format!(
                    "revision {} has {count} {noun}; nothing of a file with an error is accepted",
                    observed.short()
                ),
            ));
            lines.extend(faults().take(MAX_FAULTS).map(explain_fault));
        } else if record.applied.as_ref() != Some(observed) && record.held.is_none() {
            lines.push(line(
                "NotAccepted",
                format!("revision {} is not applied yet", observed.short()),
            ));
        }
    }
    if !is_named && !lines.is_empty() {
        let message = "no object that is known has this name; the newest revision may bring it, and is not accepted as a whole";
        lines.insert(0, line("NotKnown", message));
    }
    (!lines.is_empty()).then_some(Absent { key, lines })
}

fn explain_holds(record: &SourceRecord) -> impl Iterator<Item = Explanation> + '_ {
    let only = record.held.iter().filter(|_| record.holds.is_empty());
    record.holds.iter().chain(only).map(|held| {
        let cure = held
            .confirm
            .as_ref()
            .map(|confirm| format!("; `{confirm}` releases it"))
            .unwrap_or_default();
        line(
            held.reason.word(),
            format!("the newest revision is held: {}{cure}", held.message),
        )
    })
}

fn explain_fault(fault: &Fault) -> Explanation {
    let place = match (fault.file.is_empty(), fault.line) {
        (true, _) => String::new(),
        (false, 0) => format!("{}: ", fault.file),
        (false, line) => format!("{}:{line}:{}: ", fault.file, fault.column),
    };
    line(
        "Invalid",
        format!("{place}{} {}", fault.code, fault.message),
    )
}

/// Why a demand is not met yet.
pub fn explain_demand(state: &State, demand: &Demand) -> Explanation {
    let Some(template) = demanded_template(state, demand) else {
        return line(
            "Stale",
            "the demand names a generation that is not kept any more",
        );
    };
    let wanted = template.resources;
    let ready: Vec<_> = state
        .agents
        .values()
        .filter(|agent| agent.state == AgentState::Ready)
        .collect();
    if ready.is_empty() {
        return line(
            "NoAgents",
            format!(
                "{} wait: no agent can be reached",
                number(demand.count, "task")
            ),
        );
    }
    let fits = |agent: &&&Arc<Agent>| agent.free().fits(&wanted);
    let with_room: Vec<_> = ready.iter().filter(fits).collect();
    if with_room.is_empty() {
        let total = |agent: &&Arc<Agent>| agent.description.resources;
        if !ready.iter().any(|agent| total(agent).fits(&wanted)) {
            let largest = ready
                .iter()
                .map(total)
                .max_by_key(|it| (it.memory, it.cpus));
            return line(
                "NoRoom",
                format!(
                    "{} of {wanted} wait: no agent is that large; the largest has {} in all",
                    number(demand.count, "task"),
                    largest.unwrap_or_default()
                ),
            );
        }
        let best = ready
            .iter()
            .map(|agent| agent.free())
            .max_by_key(|free| (free.cpus, free.memory))
            .unwrap_or_default();
        return line(
            "NoRoom",
            format!(
                "{} of {wanted} wait: none of {} has room; the most free has {best}",
                number(demand.count, "task"),
                number(u64::try_from(ready.len()).unwrap_or(u64::MAX), "agent")
            ),
        );
    }
    let ports_free = |agent: &&&&Arc<Agent>| {
        has_free_ports(
            &template,
            agent.description.ports,
            agent.free_ports(),
            |port| agent.used_ports.contains_key(&port),
        )
    };
    if with_room.iter().filter(ports_free).count() == 0 {
        let asked = template.ports.iter().filter_map(|wish| wish.port);
        let numbers: Vec<String> = asked.map(|port| port.to_string()).collect();
        let which = if numbers.is_empty() {
            "all ports".to_owned()
        } else {
            format!("the ports that they ask for ({})", numbers.join(", "))
        };
        return line(
            "NoPorts",
            format!(
                "{} wait: {which} are held by other tasks on every agent with room",
                number(demand.count, "task")
            ),
        );
    }
    line(
        "Waiting",
        format!(
            "{} of {wanted} wait for their scheduler's next turn",
            number(demand.count, "task")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::tests::object;
    use serde_json::json;

    #[test]
    fn of_an_object_of_which_nobody_knows_what_git_asked_it_is_said() {
        let mut state = State::default();
        let mut unknown = object(json!({"instances": 1}).into());
        unknown.desired = None;
        let key = unknown.key.clone();
        state.put_object(unknown);
        let lines = explain_object(&state, &RoundMemory::default(), &key, ClusterTime(0));
        let first = lines.into_iter().flatten().next();
        assert_eq!(
            first.map(|line| line.reason).as_deref(),
            Some("WordUnknown")
        );
    }
}
