//! Conversions between the wire and the model: total towards the wire, checked from it.

use kelson_model::agent::{AgentDescription, PortRange};
use kelson_model::id::TaskId;
use kelson_model::quantity::{Bytes, MilliCpus, Resources};
use kelson_model::session::SessionEnd;
use kelson_model::task::{CheckState, Exit, ExitCause, MAX_TAKEN_PORTS, TaskState, TaskStatus};
use kelson_model::time::WallTime;

use crate::v1;

/// A message said something that the model has no word for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A field that must be there is not.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A number stands outside its range.
    #[error("the field {field} is {value}, which is out of range")]
    OutOfRange {
        /// Which field.
        field: &'static str,
        /// What it said.
        value: u64,
    },
    /// An enum has a value that this version does not know.
    #[error("the field {field} has the unknown value {value}")]
    Unknown {
        /// Which field.
        field: &'static str,
        /// What it said.
        value: i32,
    },
}

impl From<&AgentDescription> for v1::AgentDescription {
    fn from(from: &AgentDescription) -> Self {
        Self {
            name: from.name.clone(),
            address: from.address.clone(),
            milli_cpus: from.resources.cpus.0,
            memory_bytes: from.resources.memory.0,
            disk_bytes: from.resources.disk.0,
            first_port: u32::from(from.ports.first),
            last_port: u32::from(from.ports.last),
            attributes: from.attributes.clone().into_iter().collect(),
            pid: from.pid,
            version: from.version.clone(),
        }
    }
}

fn port(field: &'static str, number: u32) -> Result<u16, ConvertError> {
    u16::try_from(number).map_err(|_| ConvertError::OutOfRange {
        field,
        value: u64::from(number),
    })
}

impl TryFrom<v1::AgentDescription> for AgentDescription {
    type Error = ConvertError;
    fn try_from(from: v1::AgentDescription) -> Result<Self, Self::Error> {
        let ports = PortRange {
            first: port("first_port", from.first_port)?,
            last: port("last_port", from.last_port)?,
        };
        if ports.first == 0 || ports.first > ports.last {
            return Err(ConvertError::OutOfRange {
                field: "last_port",
                value: u64::from(ports.last),
            });
        }
        Ok(Self {
            name: from.name,
            address: from.address,
            resources: Resources {
                cpus: MilliCpus(from.milli_cpus),
                memory: Bytes(from.memory_bytes),
                disk: Bytes(from.disk_bytes),
            },
            ports,
            attributes: from.attributes.into_iter().collect(),
            pid: from.pid,
            version: from.version,
        })
    }
}

impl From<TaskState> for v1::TaskState {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Staging => Self::Staging,
            TaskState::Starting => Self::Starting,
            TaskState::Running => Self::Running,
            TaskState::Stopping => Self::Stopping,
            TaskState::Finished => Self::Finished,
            TaskState::Failed => Self::Failed,
            TaskState::Killed => Self::Killed,
            TaskState::Lost => Self::Lost,
        }
    }
}

fn task_state(value: i32) -> Result<TaskState, ConvertError> {
    let unknown = ConvertError::Unknown {
        field: "state",
        value,
    };
    match v1::TaskState::try_from(value).map_err(|_| unknown.clone())? {
        v1::TaskState::Unspecified => Err(unknown),
        v1::TaskState::Staging => Ok(TaskState::Staging),
        v1::TaskState::Starting => Ok(TaskState::Starting),
        v1::TaskState::Running => Ok(TaskState::Running),
        v1::TaskState::Stopping => Ok(TaskState::Stopping),
        v1::TaskState::Finished => Ok(TaskState::Finished),
        v1::TaskState::Failed => Ok(TaskState::Failed),
        v1::TaskState::Killed => Ok(TaskState::Killed),
        v1::TaskState::Lost => Ok(TaskState::Lost),
    }
}

impl From<CheckState> for v1::CheckState {
    fn from(state: CheckState) -> Self {
        match state {
            CheckState::Unknown => Self::Unknown,
            CheckState::Healthy => Self::Healthy,
            CheckState::Unhealthy => Self::Unhealthy,
        }
    }
}

fn check_state(value: i32) -> Result<CheckState, ConvertError> {
    match v1::CheckState::try_from(value).map_err(|_| ConvertError::Unknown {
        field: "health",
        value,
    })? {
        v1::CheckState::Unknown => Ok(CheckState::Unknown),
        v1::CheckState::Healthy => Ok(CheckState::Healthy),
        v1::CheckState::Unhealthy => Ok(CheckState::Unhealthy),
    }
}

impl From<&Exit> for v1::Exit {
    fn from(from: &Exit) -> Self {
        let cause = match from.cause {
            None => v1::ExitCause::Unspecified,
            Some(ExitCause::AgentGone) => v1::ExitCause::AgentGone,
            Some(ExitCause::MachineRestarted) => v1::ExitCause::MachineRestarted,
            Some(ExitCause::ShimDied) => v1::ExitCause::ShimDied,
            Some(ExitCause::RecordsUnreadable) => v1::ExitCause::RecordsUnreadable,
            Some(ExitCause::NotThere) => v1::ExitCause::NotThere,
            Some(ExitCause::PortsTaken) => v1::ExitCause::PortsTaken,
            Some(ExitCause::AgentEnds) => v1::ExitCause::AgentEnds,
        };
        Self {
            code: from.code,
            signal: from.signal,
            oom: from.oom,
            by_agent: from.by_agent,
            reason: from.reason.clone(),
            cause: cause.into(),
            taken_ports: from.taken_ports.iter().copied().map(u32::from).collect(),
        }
    }
}

fn exit(from: v1::Exit) -> Result<Exit, ConvertError> {
    let unknown = ConvertError::Unknown {
        field: "exit.cause",
        value: from.cause,
    };
    let cause = match v1::ExitCause::try_from(from.cause).map_err(|_| unknown)? {
        v1::ExitCause::Unspecified => None,
        v1::ExitCause::AgentGone => Some(ExitCause::AgentGone),
        v1::ExitCause::MachineRestarted => Some(ExitCause::MachineRestarted),
        v1::ExitCause::ShimDied => Some(ExitCause::ShimDied),
        v1::ExitCause::RecordsUnreadable => Some(ExitCause::RecordsUnreadable),
        v1::ExitCause::NotThere => Some(ExitCause::NotThere),
        v1::ExitCause::PortsTaken => Some(ExitCause::PortsTaken),
        v1::ExitCause::AgentEnds => Some(ExitCause::AgentEnds),
    };
    let ports = from.taken_ports.into_iter();
    Ok(Exit {
        code: from.code,
        signal: from.signal,
        oom: from.oom,
        by_agent: from.by_agent,
        reason: from.reason,
        cause,
        taken_ports: ports
            .filter_map(|port| u16::try_from(port).ok())
            .take(MAX_TAKEN_PORTS)
            .collect(),
    })
}

impl From<SessionEnd> for v1::SessionEnd {
    fn from(end: SessionEnd) -> Self {
        match end {
            SessionEnd::UnknownAgent => Self::UnknownAgent,
            SessionEnd::OtherDirectory => Self::OtherDirectory,
            SessionEnd::OtherCluster => Self::OtherCluster,
            SessionEnd::Superseded => Self::Superseded,
            SessionEnd::Replaced => Self::Replaced,
            SessionEnd::Silent => Self::Silent,
            SessionEnd::Misspoken => Self::Misspoken,
            SessionEnd::Unavailable => Self::Unavailable,
        }
    }
}

/// Reads why a session is over; `None` for a reason that this version does not know.
pub fn session_end(value: i32) -> Option<SessionEnd> {
    match v1::SessionEnd::try_from(value).ok()? {
        v1::SessionEnd::Unspecified => None,
        v1::SessionEnd::UnknownAgent => Some(SessionEnd::UnknownAgent),
        v1::SessionEnd::OtherDirectory => Some(SessionEnd::OtherDirectory),
        v1::SessionEnd::OtherCluster => Some(SessionEnd::OtherCluster),
        v1::SessionEnd::Superseded => Some(SessionEnd::Superseded),
        v1::SessionEnd::Replaced => Some(SessionEnd::Replaced),
        v1::SessionEnd::Silent => Some(SessionEnd::Silent),
        v1::SessionEnd::Misspoken => Some(SessionEnd::Misspoken),
        v1::SessionEnd::Unavailable => Some(SessionEnd::Unavailable),
    }
}

impl From<&TaskStatus> for v1::TaskStatus {
    fn from(from: &TaskStatus) -> Self {
        Self {
            task: from.task.0,
            sequence: from.sequence,
            state: v1::TaskState::from(from.state).into(),
            health: v1::CheckState::from(from.health).into(),
            ready: from.ready,
            pid: from.pid,
            started_at_ms: from.started_at.map(|at| at.0),
            healthy_for_ms: from.healthy_for,
            exit: from.exit.as_ref().map(v1::Exit::from),
            isolation: from.isolation.clone(),
            message: from.message.clone(),
        }
    }
}

impl TryFrom<v1::TaskStatus> for TaskStatus {
    type Error = ConvertError;
    fn try_from(from: v1::TaskStatus) -> Result<Self, Self::Error> {
        let state = task_state(from.state)?;
        if state.is_terminal() && from.exit.is_none() {
            return Err(ConvertError::Missing("exit"));
        }
        Ok(Self {
            task: TaskId(from.task),
            sequence: from.sequence,
            state,
            health: check_state(from.health)?,
            ready: from.ready,
            pid: from.pid,
            started_at: from.started_at_ms.map(WallTime),
            healthy_for: from.healthy_for_ms,
            exit: from.exit.map(exit).transpose()?,
            isolation: from.isolation,
            message: from.message,
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_status_survives_the_wire() {
        let mut status = TaskStatus {
            task: TaskId(3),
            sequence: 2,
            state: TaskState::Failed,
            health: CheckState::Unhealthy,
            ready: false,
            pid: Some(17),
            started_at: Some(WallTime(5)),
            healthy_for: 9,
            exit: Some(Exit {
                code: Some(1),
                signal: None,
                oom: false,
                by_agent: false,
                reason: "exited with status 1".to_owned(),
                ..Exit::default()
            }),
            isolation: "memory: none".to_owned(),
            message: String::new(),
        };
        for cause in ExitCause::ALL.map(Some).into_iter().chain([None]) {
            let exit = status.exit.as_mut().unwrap();
            exit.cause = cause;
            exit.taken_ports = vec![8080, 20_000];
            assert_eq!(
                TaskStatus::try_from(v1::TaskStatus::from(&status)).unwrap(),
                status
            );
        }
    }

    #[test]
    fn every_end_of_a_session_survives_the_wire() {
        for end in SessionEnd::ALL {
            assert_eq!(session_end(v1::SessionEnd::from(end).into()), Some(end));
        }
        assert_eq!(session_end(0), None);
        assert_eq!(session_end(99), None);
    }

    #[test]
    fn a_terminal_status_without_an_exit_is_refused() {
        let status = v1::TaskStatus {
            task: 1,
            sequence: 1,
            state: v1::TaskState::Failed.into(),
            ..Default::default()
        };
        assert_eq!(
            TaskStatus::try_from(status),
            Err(ConvertError::Missing("exit"))
        );
    }
}
