//! The kernel's rows as JSON, read into what plan and drift look at.
//!
//! Fields that are not known here are left aside: a newer kernel may say more.

use kelson_model::id::{AgentId, ParseIdError, TaskId};
use kelson_model::object::Sync;
use kelson_model::report::TaskRow;
use kelson_model::task::Exit;
use kelson_model::view::ObjectRow;
use kelson_reconciler_core::observed::{ObservedObject, ObservedTask};

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

/// Reads an object; `None`: it is on its way out, and for plans as good as gone.
pub(crate) fn object(json: &str) -> Result<Option<ObservedObject>, RowError> {
    let row: ObjectRow = serde_json::from_str(json)?;
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
        is_word_unknown: row.sync == Sync::Unknown,
        health: row.health,
    }))
}

/// Reads a task. When it ended is for the reader to say.
pub(crate) fn task(json: &str) -> Result<ObservedTask, RowError> {
    let row: TaskRow = serde_json::from_str(json)?;
    let slot = row
        .name
        .rsplit_once('.')
        .and_then(|(_, slot)| slot.parse().ok());
    let Some(slot) = slot else {
        return Err(RowError::Slot(row.name.chars().take(80).collect()));
    };
    let id: TaskId = row.id.parse()?;
    let agent = match row.agent.as_str() {
        "" => None,
        agent => Some(agent.parse::<AgentId>()?),
    };
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
        exit: row.state.is_terminal().then(|| Exit {
            code: row.exit.code,
            signal: row.exit.signal,
            oom: row.exit.oom,
            by_agent,
            reason: row.exit.reason.unwrap_or_default(),
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
    use kelson_model::object::Health;
    use kelson_model::task::StopReason;

    #[test]
    fn an_object_row_is_read_and_what_is_unknown_is_left_aside() {
        let json = r#"{"key":{"kind":"Service","namespace":"shop","name":"web"},"labels":{"team":"shop"},
            "lifecycle":{"prune":"auto","drift":"report"},"origin":{"file":"web.yaml","line":1},"spec":{"instances":3},
            "generation":4,"revision":"00ff0123456789abcdef0123456789abcdefa0b1","source":"dev",
            "quarantine":{"generation":4,"reason":"it failed"},"health":"Degraded","rollout":{"state":"rolledBack"},
            "changedBy":{"actor":"alice","via":"cli"},"changedAt":5,"isRemoved":false,"isNew":"whatever",
            "byHand":{"accepted":{"instances":2},"fields":[{"path":"/spec/instances","by":{"actor":"alice","via":"cli"},"at":5}]}}"#;
        let read = object(json).unwrap().unwrap();
        assert_eq!(read.key.to_string(), "Service shop/web");
        assert!(read.quarantined);
        assert_eq!(read.accepted_spec().text(), r#"{"instances":2}"#);
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
