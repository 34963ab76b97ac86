//! The kernel's rows as JSON, read into what plan and drift look at.
//!
//! Fields that are not known here are left aside: a newer kernel may say more.

use std::collections::BTreeMap;
use std::sync::Arc;

use kelson_model::drift::ByHand;
use kelson_model::framework::Description;
use kelson_model::id::{AgentId, Digest, ParseIdError, Revision, TaskId};
use kelson_model::object::{Health, Lifecycle, Namespace, ObjectKey, Origin};
use kelson_model::principal::Principal;
use kelson_model::report::ExitRow;
use kelson_model::task::{CheckState, Exit, StopReason, TaskState};
use kelson_reconciler_core::observed::{ObservedObject, ObservedTask};
use serde::Deserialize;
use serde_json::Value;

/// A row could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// It is no JSON of this kind.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// An id in it is none.
    #[error(transparent)]
    Id(#[from] ParseIdError),
    /// A task's name does not end in its slot.
    #[error("'{0}' is not a workload's name and a slot, such as web.2")]
    Slot(String),
}

/// A framework as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrameworkRow {
    /// The name of its object.
    pub name: String,
    /// The namespace of its object.
    pub namespace: Namespace,
    /// Whether it came in the box.
    #[serde(default)]
    pub built_in: bool,
    /// The component that is in force.
    #[serde(default)]
    pub component: Option<Digest>,
    /// Why the newest component could not be put in force.
    #[serde(default)]
    pub fault: Option<String>,
    /// The component that the fault is about.
    #[serde(default)]
    pub fault_of: Option<Digest>,
    /// What it says about itself, once it is in force.
    #[serde(default)]
    pub description: Option<Description>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectJson {
    key: ObjectKey,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    lifecycle: Lifecycle,
    #[serde(default)]
    origin: Option<Origin>,
    spec: Value,
    #[serde(default)]
    generation: u64,
    #[serde(default)]
    revision: Option<Revision>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    quarantine: Option<Value>,
    #[serde(default)]
    health: Option<Health>,
    #[serde(default)]
    changed_by: Option<Principal>,
    #[serde(default)]
    is_removed: bool,
    #[serde(default)]
    by_hand: Option<Arc<ByHand>>,
    #[serde(default)]
    written: Option<Digest>,
}

/// Reads an object; `None`: it is on its way out, and for plans as good as gone.
pub(crate) fn object(json: &str) -> Result<Option<ObservedObject>, RowError> {
    let row: ObjectJson = serde_json::from_str(json)?;
    if row.is_removed {
        return Ok(None);
    }
    Ok(Some(ObservedObject {
        key: row.key,
        labels: row.labels,
        lifecycle: row.lifecycle,
        spec: row.spec,
        generation: row.generation,
        origin: row.origin,
        revision: row.revision,
        source: row.source,
        by_hand: row.by_hand,
        written: row.written,
        changed_by: row.changed_by,
        quarantined: row.quarantine.is_some(),
        health: row.health.unwrap_or_default(),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StopJson {
    reason: StopReason,
    by: Principal,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskJson {
    id: String,
    name: String,
    workload: ObjectKey,
    #[serde(default)]
    agent: Option<String>,
    state: TaskState,
    #[serde(default)]
    health: CheckState,
    #[serde(default)]
    exit: Option<ExitRow>,
    #[serde(default)]
    stop: Option<StopJson>,
    #[serde(default)]
    exit_by_agent: bool,
}

/// Reads a task. When it ended is for the reader to say.
pub(crate) fn task(json: &str) -> Result<ObservedTask, RowError> {
    let row: TaskJson = serde_json::from_str(json)?;
    let slot = row
        .name
        .rsplit_once('.')
        .and_then(|(_, slot)| slot.parse().ok());
    let Some(slot) = slot else {
        return Err(RowError::Slot(row.name.chars().take(80).collect()));
    };
    let id: TaskId = row.id.parse()?;
    let agent = row
        .agent
        .as_deref()
        .map(str::parse::<AgentId>)
        .transpose()?;
    let by_agent = row.exit_by_agent;
    let (stop_reason, stopped_by) = match row.stop {
        Some(stop) => (Some(stop.reason), Some(stop.by)),
        None => (None, None),
    };
    Ok(ObservedTask {
        id,
        workload: row.workload,
        slot,
        state: row.state,
        health: row.health,
        agent,
        exit: row
            .exit
            .filter(|_| row.state.is_terminal())
            .map(|exit| Exit {
                code: exit.code,
                signal: exit.signal,
                oom: exit.oom,
                by_agent,
                reason: exit.reason.unwrap_or_default(),
                ..Exit::default()
            }),
        stop_reason,
        stopped_by,
        ended_at: None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_object_row_is_read_and_what_is_unknown_is_left_aside() {
        let json = r#"{"key":{"kind":"Service","namespace":"shop","name":"web"},"labels":{"team":"shop"},
            "lifecycle":{"prune":"auto","drift":"report"},"origin":{"file":"web.yaml","line":1},"spec":{"instances":3},
            "generation":4,"revision":"00ff0123456789abcdef0123456789abcdefa0b1","source":"dev",
            "quarantine":{"generation":4,"reason":"it failed"},"health":"Degraded","rollout":"rolledBack",
            "changedBy":{"actor":"alice","via":"cli"},"changedAt":5,"isRemoved":false,"isNew":"whatever",
            "byHand":{"accepted":{"instances":2},"fields":[{"path":"/spec/instances","by":{"actor":"alice","via":"cli"},"at":5}]}}"#;
        let read = object(json).unwrap().unwrap();
        assert_eq!(read.key.to_string(), "Service shop/web");
        assert!(read.quarantined);
        assert_eq!(read.accepted_spec(), &serde_json::json!({"instances": 2}));
        assert_eq!(read.health, Health::Degraded);
        assert_eq!(read.changed_by.unwrap().actor, "alice");
        let going = json.replace(r#""isRemoved":false"#, r#""isRemoved":true"#);
        assert!(object(&going).unwrap().is_none());
    }

    #[test]
    fn a_task_row_tells_slot_and_who_stopped_it() {
        let json = r#"{"id":"tsk_7","name":"web.2","workload":{"kind":"Service","namespace":"shop","name":"web"},"generation":4,
            "agent":"agt_1","state":"killed","health":"healthy","ready":false,"pid":null,"address":null,"ports":{},"startedAt":null,
            "exit":{"code":null,"signal":15,"oom":false,"reason":"asked to"},"isolation":null,"message":null,
            "stop":{"reason":"byHand","by":{"actor":"alice","via":"cli"}},"exitByAgent":true,"isEnded":true}"#;
        let read = task(json).unwrap();
        assert_eq!((read.id, read.slot), (TaskId(7), 2));
        assert_eq!(read.stop_reason, Some(StopReason::ByHand));
        assert!(read.exit.unwrap().by_agent);
        assert!(task(&json.replace("web.2", "web")).is_err());
    }
}
