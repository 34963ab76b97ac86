//! What is said about a Service, and what it waits for, in words.

use kelson_sdk::quantity::duration_text;
use kelson_sdk::{Check, Task, TaskState};

/// What a slot, and so the Service, waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// A task to be started by its agent.
    ToStart(u32),
    /// A running task to become healthy.
    ToBeHealthy(u32),
    /// A healthy task to become ready.
    ToBeReady(u32),
    /// A working task to stay healthy for this many ms.
    ToStayHealthy(u32, u64),
    /// A task whose agent cannot be reached.
    ToBeReached(u32),
    /// A task to end.
    ToEnd(u32),
    /// The pause after a failure: slot, attempts, how it ended.
    ToTryAgain(u32, u32, String),
    /// Offers for a new task.
    ForOffers(u32),
    /// An earlier slot of the rollout.
    ForItsTurn(u32),
}

impl Waiting {
    /// What a task that counts for nothing yet waits for.
    pub(crate) fn of(task: &Task, is_reachable: bool, min_healthy: u64) -> Self {
        if !is_reachable {
            return Self::ToBeReached(task.slot);
        }
        match task.state {
            TaskState::Staging | TaskState::Starting => Self::ToStart(task.slot),
            TaskState::Running if task.health != Check::Healthy || task.healthy_since.is_none() => {
                Self::ToBeHealthy(task.slot)
            }
            TaskState::Running if !task.is_ready => Self::ToBeReady(task.slot),
            TaskState::Running => Self::ToStayHealthy(task.slot, min_healthy),
            TaskState::Stopping
            | TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Lost => Self::ToEnd(task.slot),
        }
    }

    /// The pause after a failed task.
    pub(crate) fn after(ended: &Task) -> Self {
        Self::ToTryAgain(ended.slot, ended.attempts, how_it_ended(ended))
    }

    /// As a clause: `waiting for web.1 to become ready`.
    pub fn text(&self, name: &str) -> String {
        match self {
            Self::ToStart(slot) => format!("waiting for {name}.{slot} to start"),
            Self::ToBeHealthy(slot) => format!("waiting for {name}.{slot} to become healthy"),
            Self::ToBeReady(slot) => format!("waiting for {name}.{slot} to become ready"),
            Self::ToStayHealthy(slot, ms) => format!(
                "waiting for {name}.{slot} to stay healthy for {}",
                duration_text(*ms)
            ),
            Self::ToBeReached(slot) => {
                format!("{name}.{slot} is on an agent that cannot be reached")
            }
            Self::ToEnd(slot) => format!("waiting for {name}.{slot} to end"),
            Self::ToTryAgain(slot, attempts, how) => {
                let times = if *attempts > 1 {
                    format!(", {attempts} times in a row")
                } else {
                    String::new()
                };
                format!("{name}.{slot} {how}{times}, and is tried again after a pause")
            }
            Self::ForOffers(slot) => format!("waiting for an offer for {name}.{slot}"),
            Self::ForItsTurn(slot) => format!("{name}.{slot} waits for its turn"),
        }
    }
}

/// How an ended task ended, as a verb: `exited with status 1`.
pub(crate) fn how_it_ended(task: &Task) -> String {
    if task.is_out_of_memory {
        return "ran out of memory".to_owned();
    }
    match (task.state, task.exit_code) {
        (TaskState::Lost, _) => "was lost".to_owned(),
        (TaskState::Killed, _) if task.health == Check::Unhealthy => {
            "was ended as unhealthy".to_owned()
        }
        (TaskState::Killed, _) => "was ended".to_owned(),
        (_, Some(code)) => format!("exited with status {code}"),
        (_, None) => "failed".to_owned(),
    }
}
