//! Tasks: one running unit, what became of it, and what an agent says about it.

use serde::{Deserialize, Serialize};

use crate::time::WallTime;

/// Where a task stands; the terminal states are never left.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum TaskState {
    /// Decided by the kernel, not yet taken up by the agent.
    #[default]
    Staging,
    /// The agent lays out files and starts the program.
    Starting,
    /// The program runs.
    Running,
    /// Asked to end; still there.
    Stopping,
    /// Ended by itself with exit status 0. Terminal.
    Finished,
    /// Ended by itself otherwise, or could not be started. Terminal.
    Failed,
    /// Ended because the kernel asked for it. Terminal.
    Killed,
    /// Nobody knows: its agent or its shim is gone. Terminal.
    Lost,
}

impl TaskState {
    /// Whether the task has ended for good.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Staging | Self::Starting | Self::Running | Self::Stopping => false,
            Self::Finished | Self::Failed | Self::Killed | Self::Lost => true,
        }
    }
}

/// What a check says.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum CheckState {
    /// No probe has succeeded or failed for good yet.
    #[default]
    Unknown,
    /// The last probe succeeded.
    Healthy,
    /// Too many probes in a row have failed.
    Unhealthy,
}

/// Why a task is asked to end, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StopReason {
    /// Its scheduler replaces it by a newer generation.
    Replaced,
    /// Its scheduler wants fewer.
    ScaledDown,
    /// Its workload was removed.
    Removed,
    /// Its health check failed too often.
    Unhealthy,
    /// A person asked for it (`kelson stop`).
    ByHand,
}

impl StopReason {
    /// As scripts see it: `scaledDown`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::ScaledDown => "scaledDown",
            Self::Removed => "removed",
            Self::Unhealthy => "unhealthy",
            Self::ByHand => "byHand",
        }
    }

    /// All reasons, by the number under which they cross the scheduler's boundary.
    pub const ALL: [StopReason; 5] = [
        Self::Replaced,
        Self::ScaledDown,
        Self::Removed,
        Self::Unhealthy,
        Self::ByHand,
    ];
}

/// What lies behind an end that was not the program's own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExitCause {
    /// The kernel has declared its agent dead.
    AgentGone,
    /// The machine was started again while it ran.
    MachineRestarted,
    /// Its shim died or did not answer and was killed: how the program ended is not known.
    ShimDied,
    /// The agent's records of it cannot be read: what ran of it was ended.
    RecordsUnreadable,
    /// The agent does not have it.
    NotThere,
    /// Another program of the machine listens at a port that it was given.
    PortsTaken,
    /// Its agent was told to end, and ended it first.
    AgentEnds,
}

impl ExitCause {
    /// All causes.
    pub const ALL: [Self; 7] = [
        Self::AgentGone,
        Self::MachineRestarted,
        Self::ShimDied,
        Self::RecordsUnreadable,
        Self::NotThere,
        Self::PortsTaken,
        Self::AgentEnds,
    ];

    /// Whether the ground was taken from under the task: a new one elsewhere need not wait, since
    /// no loop can come of it.
    pub fn is_death_of_the_agent(self) -> bool {
        match self {
            Self::AgentGone | Self::MachineRestarted | Self::AgentEnds => true,
            Self::ShimDied | Self::RecordsUnreadable | Self::NotThere | Self::PortsTaken => false,
        }
    }
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exit {
    /// The exit status, where it exited.
    pub code: Option<i32>,
    /// The signal's number, where it was killed by one.
    pub signal: Option<i32>,
    /// Whether the memory limit killed it.
    pub oom: bool,
    /// Whether the agent sent the signal.
    pub by_agent: bool,
    /// A sentence for people: `exited with status 1`, `could not be started: no such program`.
    pub reason: String,
    /// What lies behind it, where it was not the program's own doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<ExitCause>,
    /// Ports of the agent's range at which other programs of its machine listen; told with
    /// [`ExitCause::PortsTaken`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_ports: Vec<u16>,
}

/// Most ports in [`Exit::taken_ports`].
pub const MAX_TAKEN_PORTS: usize = 512;

/// The signals by which people end programs: HUP, INT, QUIT, KILL, USR1, USR2, TERM. By any other
/// a program has brought its end upon itself: by a fault, a limit or a timer of its own.
const SIGNALS_OF_PEOPLE: [i32; 7] = [1, 2, 3, 9, 10, 12, 15];

/// Whether somebody ended a task by hand: by a stop order, or by a signal that neither its agent
/// nor its memory limit sent. What ends after its scheduler or its removal asked for it is not
/// among them, whichever signal it died of, and neither is a program that crashes.
pub fn is_ended_by_hand(stop: Option<StopReason>, exit: Option<&Exit>) -> bool {
    match stop {
        Some(reason) => reason == StopReason::ByHand,
        None => exit.is_some_and(|exit| {
            let is_sent = exit
                .signal
                .is_some_and(|signal| SIGNALS_OF_PEOPLE.contains(&signal));
            is_sent && !exit.by_agent && !exit.oom && exit.cause.is_none()
        }),
    }
}

/// What an agent says about one task. The kernel applies each (task, sequence) once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskStatus {
    /// The task.
    pub task: crate::id::TaskId,
    /// Grows by one with each update of the task, begins at 1.
    pub sequence: u64,
    /// Where it stands.
    pub state: TaskState,
    /// What its health check says; a running task without one is healthy.
    pub health: CheckState,
    /// Whether it is ready for traffic.
    pub ready: bool,
    /// The process id of the program.
    pub pid: Option<u32>,
    /// When the program started.
    pub started_at: Option<WallTime>,
    /// For how long it has been healthy without a break, in milliseconds, by the agent's monotonic
    /// clock.
    pub healthy_for: u64,
    /// How it ended; present in terminal states.
    pub exit: Option<Exit>,
    /// What is not enforced on this agent, `memory: none`; shown with the task.
    #[serde(default)]
    pub isolation: String,
    /// A sentence about what it is doing or waiting for.
    #[serde(default)]
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn died_of(signal: i32) -> Exit {
        Exit {
            signal: Some(signal),
            ..Exit::default()
        }
    }

    #[test]
    fn a_signal_that_people_send_is_somebodys_hand_and_any_other_a_crash() {
        for signal in 1..=64 {
            let is_by_hand = [1, 2, 3, 9, 10, 12, 15].contains(&signal);
            let exit = died_of(signal);
            assert_eq!(is_ended_by_hand(None, Some(&exit)), is_by_hand, "{signal}");
        }
    }

    #[test]
    fn only_the_end_of_an_agent_or_a_machine_takes_the_ground_from_under_a_task() {
        let deaths: Vec<ExitCause> = ExitCause::ALL
            .into_iter()
            .filter(|cause| cause.is_death_of_the_agent())
            .collect();
        let expected = [
            ExitCause::AgentGone,
            ExitCause::MachineRestarted,
            ExitCause::AgentEnds,
        ];
        assert_eq!(deaths, expected);
    }

    #[test]
    fn what_the_cluster_did_itself_is_nobodys_hand() {
        let killed = died_of(9);
        let by_agent = Exit {
            by_agent: true,
            ..killed.clone()
        };
        let oom = Exit {
            oom: true,
            ..killed.clone()
        };
        assert!(!is_ended_by_hand(None, Some(&by_agent)));
        assert!(!is_ended_by_hand(None, Some(&oom)));
        assert!(!is_ended_by_hand(None, None));
        for reason in StopReason::ALL {
            let is_by_hand = reason == StopReason::ByHand;
            assert_eq!(is_ended_by_hand(Some(reason), Some(&killed)), is_by_hand);
        }
    }
}
