//! Reports: the contract's JSON, made from a state.

use kelson_model::drift::{DriftItem, DriftState};
use kelson_model::framework::FaultCause;
use kelson_model::id::Digest;
use kelson_model::object::{Health, Namespace, ObjectKey, RolloutState, Sync};
use kelson_model::report::{
    API_VERSION, DriftReport, DriftRow, DriftSummary, ExitRow, ObjectStatus, Rollout, SourceStatus,
    Standing, StatusReport, StopRow, TaskCounts, TaskList, TaskRow,
};
use kelson_model::source::SourceRecord;
use kelson_model::task::{CheckState, TaskState};

use crate::command::place_objection;
use crate::leaving::why_it_stays;
use crate::object::Object;
use crate::state::State;
use crate::tasks::TaskRef;

/// `GET /v1/status`; `namespace` absent: all.
pub fn status_report(state: &State, namespace: Option<&Namespace>) -> StatusReport {
    let objects = state
        .objects
        .values()
        .filter(|object| namespace.is_none_or(|wanted| object.key.namespace == *wanted));
    StatusReport {
        api_version: API_VERSION.to_owned(),
        kind: "Status".to_owned(),
        index: state.index.0,
        source: state
            .sources
            .values()
            .next()
            .map(|record| source_status(state, record)),
        objects: objects.map(|object| object_status(state, object)).collect(),
        late: Vec::new(),
        members: Vec::new(),
    }
}

fn source_status(state: &State, record: &SourceRecord) -> SourceStatus {
    let mut own = state
        .objects
        .values()
        .filter(|object| object.source.as_deref() == Some(&record.name));
    let sync = match record.sync {
        Sync::Synced if own.any(|object| object.sync() != Sync::Synced) => Sync::OutOfSync,
        sync => sync,
    };
    SourceStatus {
        name: record.name.clone(),
        branch: record.branch.clone(),
        observed: record.observed.as_ref().map(ToString::to_string),
        observed_by: record.observed_by.clone(),
        applied_by: record.applied_by.clone(),
        kept: record.kept.clone(),
        waiting_more: record.waiting_more,
        applied: record.applied.as_ref().map(ToString::to_string),
        sync,
        held: record.held.clone(),
        holds: record.holds.clone(),
        errors: record.errors.clone(),
    }
}

/// One row of the status report.
pub fn object_status(state: &State, object: &Object) -> ObjectStatus {
    let said = |text: &String| (!text.is_empty()).then(|| text.clone());
    let (health, reason, message, rollout) = if object.key.kind == "Framework" {
        framework_health(state, object)
    } else if object.is_removed {
        (
            Health::Progressing,
            Some("Removed".to_owned()),
            Some("its tasks are ending".to_owned()),
            None,
        )
    } else if is_unhandled(state, object) {
        let message = format!("no framework handles kind {}", object.key.kind);
        (
            Health::Unknown,
            Some("NoFramework".to_owned()),
            Some(message),
            None,
        )
    } else if object.status.generation != object.generation {
        let message = "its scheduler has not looked at it yet".to_owned();
        (
            Health::Progressing,
            None,
            Some(message),
            Some(RolloutState::Progressing),
        )
    } else {
        (
            object.status.health,
            said(&object.status.reason),
            said(&object.status.message),
            Some(object.status.rollout),
        )
    };
    ObjectStatus {
        kind: object.key.kind.clone(),
        namespace: object.key.namespace.to_string(),
        name: object.key.name.clone(),
        generation: object.generation,
        revision: object.revision.as_ref().map(ToString::to_string),
        sync: object.sync(),
        health,
        reason,
        message,
        origin: object.origin.clone(),
        tasks: task_counts(state, object),
        rollout: rollout.map(|state| Rollout { state }),
        standing: standing(state, object),
    }
}

/// What the kernel says of an object without its scheduler.
fn standing(state: &State, object: &Object) -> Option<Standing> {
    if object.is_removed {
        return Some(Standing::Removed);
    }
    if object.key.kind == "Framework" {
        let (cause, _) = own_fault(state, object)?;
        return (!cause.goes_by()).then_some(Standing::Refused);
    }
    is_unhandled(state, object).then_some(Standing::Unhandled)
}

/// Whether no framework in force handles the kind of an object, whatever it has from before.
fn is_unhandled(state: &State, object: &Object) -> bool {
    let (kind, namespace) = (&object.key.kind, &object.key.namespace);
    object.workload.is_none() || state.framework_for(kind, namespace).is_none()
}

fn framework_health(
    state: &State,
    object: &Object,
) -> (Health, Option<String>, Option<String>, Option<RolloutState>) {
    if let Some(reason) = why_it_stays(state, &object.key) {
        let held = FaultCause::Held.reason().to_owned();
        return (Health::Progressing, Some(held), Some(reason), None);
    }
    if let Some((cause, reason)) = own_fault(state, object) {
        return (
            Health::Degraded,
            Some(cause.reason().to_owned()),
            Some(reason),
            None,
        );
    }
    let framework = state.frameworks.get(&object.key);
    let component = framework.and_then(|framework| framework.component.as_ref());
    if component.is_some_and(|digest| names(object, digest)) {
        return (Health::Healthy, None, None, None);
    }
    (
        Health::Progressing,
        None,
        Some("its component is being loaded".to_owned()),
        None,
    )
}

/// Why the component that a Framework names, as it is now, is not in force.
fn own_fault(state: &State, object: &Object) -> Option<(FaultCause, String)> {
    let generation = Some(object.generation);
    framework_fault(state, &object.key, |digest, of| match of {
        Some(_) => of == generation,
        // An object that names no component that could be loaded has the fault of no bytes.
        None => names(object, digest) || *digest == Digest::of(b""),
    })
}

/// Whether a Framework names this component.
fn names(object: &Object, component: &Digest) -> bool {
    let named = object.spec.pointer("/digest");
    named.is_some_and(|named| named.as_str() == Some(component.to_string().as_str()))
}

/// Why the framework of an object from git is not in force, where its fault is one that is meant:
/// of this component, and of this generation of the object where that is known.
pub(crate) fn framework_fault(
    state: &State,
    key: &ObjectKey,
    is_meant: impl Fn(&Digest, Option<u64>) -> bool,
) -> Option<(FaultCause, String)> {
    if let Some(reason) = place_objection(state, key) {
        return Some((FaultCause::NotAllowed, reason));
    }
    let framework = state.frameworks.get(key)?;
    let (digest, reason) = framework.fault.as_ref()?;
    is_meant(digest, framework.fault_generation).then(|| (framework.cause, reason.clone()))
}

fn task_counts(state: &State, object: &Object) -> TaskCounts {
    let mut counts = TaskCounts::default();
    let described = state.framework_for(&object.key.kind, &object.key.namespace);
    let pointer = described
        .and_then(|framework| framework.kind(&object.key.kind))
        .and_then(|(_, kind)| kind.count.clone());
    if let Some(pointer) = pointer
        && !object.is_removed
    {
        counts.desired = object
            .spec
            .pointer(&pointer)
            .and_then(|count| count.as_u64())
            .unwrap_or(0);
    }
    if let Some(workload) = object.workload {
        let known = state.counts_of(workload);
        (counts.running, counts.healthy) = (known.running, known.healthy);
    }
    counts
}

/// `GET /v1/tasks`; ended tasks only with `is_all`.
pub fn task_list(state: &State, namespace: Option<&Namespace>, is_all: bool) -> TaskList {
    let wanted = |task: &TaskRef<'_>| {
        namespace.is_none_or(|wanted| task.object().namespace == *wanted)
            && (is_all || !task.state().is_terminal())
    };
    TaskList {
        api_version: API_VERSION.to_owned(),
        kind: "TaskList".to_owned(),
        index: state.index.0,
        items: state
            .tasks
            .iter()
            .filter(wanted)
            .map(|task| task_row(state, task))
            .collect(),
    }
}

/// One row of the task list.
pub fn task_row(state: &State, task: TaskRef<'_>) -> TaskRow {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let is_ended = task.state().is_terminal();
    TaskRow {
        id: task.id().to_string(),
        name: task.name(),
        workload: task.object().clone(),
        generation: task.generation(),
        agent: task.agent().to_string(),
        state: if task.stop().is_some() && !is_ended {
            TaskState::Stopping
        } else {
            task.state()
        },
        health: if is_ended {
            CheckState::Unknown
        } else {
            task.health()
        },
        ready: task.is_ready(),
        pid: task.pid().filter(|_| !is_ended),
        address: state
            .agents
            .get(&task.agent())
            .map(|agent| agent.description.address.clone()),
        ports: task.ports(),
        started_at: task.started_at().map(|at| at.to_string()),
        exit: task.exit().map_or_else(ExitRow::default, |exit| ExitRow {
            code: exit.code,
            signal: exit.signal,
            oom: exit.oom,
            reason: said(&exit.reason),
        }),
        exit_by_agent: task.exit().is_some_and(|exit| exit.by_agent),
        is_ended,
        stop: task.stop().map(|stop| StopRow {
            reason: stop.reason,
            by: stop.by.clone(),
        }),
        isolation: said(task.isolation()),
        message: said(task.message()),
    }
}

/// `GET /v1/drift`.
pub fn drift_report(state: &State) -> DriftReport {
    let (mut open, mut healed): (Vec<&DriftItem>, Vec<&DriftItem>) = state
        .drift
        .iter()
        .map(AsRef::as_ref)
        .partition(|item| item.state == DriftState::Open);
    open.sort_by_key(|item| std::cmp::Reverse(item.first_seen));
    healed.sort_by_key(|item| std::cmp::Reverse(item.healed_at));
    let count = |items: &Vec<&DriftItem>| u64::try_from(items.len()).unwrap_or(u64::MAX);
    DriftReport {
        api_version: API_VERSION.to_owned(),
        kind: "DriftReport".to_owned(),
        revision: state
            .sources
            .values()
            .next()
            .and_then(|record| record.applied.as_ref())
            .map(ToString::to_string),
        summary: DriftSummary {
            open: count(&open),
            healed: count(&healed),
        },
        items: open.into_iter().chain(healed).map(drift_row).collect(),
    }
}

fn drift_row(item: &DriftItem) -> DriftRow {
    DriftRow {
        object: item.object.clone(),
        task: item.task.map(|task| task.to_string()),
        plane: item.plane,
        state: item.state,
        policy: item.policy,
        origin: item.origin.clone(),
        fields: item.fields.clone(),
        changed_by: item.changed_by.clone(),
        first_seen: item.first_seen.to_string(),
        healed_at: item.healed_at.map(|at| at.to_string()),
        count: item.count,
    }
}
