//! Tasks, what agents say of them, and what their seats keep.

use kelson_model::task::{CheckState, Exit, ExitCause, StopReason, TaskState, TaskStatus};

use super::columns::{put_columns, take_columns};
use super::error::FormError;
use super::reader::Reader;
use super::statement::{Form, Numbered};
use super::writer::Writer;
use crate::command::RecordStatuses;
use crate::record::{Client, NamespaceRecord, Seat, Staged, StopOrder, Task};

form!(Task {
    id, workload, object, seat, generation, template, template_id, slot, agent, resources,
    ports as Name, stop, assignment, state, state_since, health, healthy_since, is_ready, pid,
    started_at, exit, sequence, attempts, refusals, is_forgotten, isolation as Name,
    message as Name,
});
form!(StopOrder { reason, by });
form!(Exit { code, signal, oom, by_agent, reason as Name, cause, taken_ports });
// Pairs, staged objects and what is to go have tables of their own: they may be large.
form!(Seat {
    id, turn_no, cursor, demand as Columns, demand_version, wake_at, pairs as Nothing, pairs_size, said_at,
    refusals, used,
});
form!(Staged { revision, parts, objects as Nothing, prune as Nothing });
form!(NamespaceRecord { weight, used });
form!(Client {
    sequence,
    reply,
    at,
    earlier,
    gaps
});

numbers!(TaskState, "state of a task" {
    0 = Staging, 1 = Starting, 2 = Running, 3 = Stopping, 4 = Finished, 5 = Failed, 6 = Killed,
    7 = Lost,
});
numbers!(CheckState, "state of a check" { 0 = Unknown, 1 = Healthy, 2 = Unhealthy });
numbers!(StopReason, "reason to stop" {
    0 = Replaced, 1 = ScaledDown, 2 = Removed, 3 = Unhealthy, 4 = ByHand,
});
numbers!(ExitCause, "cause of an exit" {
    0 = AgentGone, 1 = MachineRestarted, 2 = ShimDied, 3 = RecordsUnreadable, 4 = NotThere,
    5 = PortsTaken, 6 = AgentEnds,
});

/// What a status has of what it may lack, by bits.
const READY: u64 = 1;
const PID: u64 = 2;
const STARTED: u64 = 4;
const EXIT: u64 = 8;

/// The statuses stand in columns; texts and exits follow, status by status.
impl Form for RecordStatuses {
    fn put(&self, to: &mut Writer) {
        let Self {
            agent,
            incarnation,
            statuses,
        } = self;
        agent.put(to);
        incarnation.put(to);
        to.count(statuses.len());
        let rows: Vec<[u64; 8]> = statuses.iter().map(numbers_of).collect();
        put_columns(&rows, 8, to);
        for status in statuses {
            to.name(&status.isolation);
            to.name(&status.message);
            if let Some(exit) = &status.exit {
                exit.put(to);
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        let agent = Form::take(from)?;
        let incarnation = Form::take(from)?;
        let count = from.count(10)?;
        let mut statuses = Vec::new();
        for row in take_columns(count, 8, from)? {
            statuses.push(status_of(row, from)?);
        }
        Ok(Self {
            agent,
            incarnation,
            statuses,
        })
    }
}

fn numbers_of(status: &TaskStatus) -> [u64; 8] {
    let TaskStatus {
        task,
        sequence,
        state,
        health,
        ready,
        pid,
        started_at,
        healthy_for,
        exit,
        isolation: _,
        message: _,
    } = status;
    let bit = |is_set: bool, bit: u64| if is_set { bit } else { 0 };
    let flags = bit(*ready, READY)
        | bit(pid.is_some(), PID)
        | bit(started_at.is_some(), STARTED)
        | bit(exit.is_some(), EXIT);
    [
        task.0,
        *sequence,
        state.number(),
        health.number(),
        flags,
        pid.map_or(0, u64::from),
        started_at.map_or(0, |at| at.0),
        *healthy_for,
    ]
}

fn status_of(row: [u64; 8], from: &mut Reader<'_>) -> Result<TaskStatus, FormError> {
    let [
        task,
        sequence,
        state,
        health,
        flags,
        pid,
        started,
        healthy_for,
    ] = row;
    let has = |bit: u64| flags & bit != 0;
    let pid = u32::try_from(pid).map_err(|_| FormError::Number)?;
    let is_told = |bit: u64, number: u64| has(bit) || number == 0;
    if flags > READY | PID | STARTED | EXIT
        || !is_told(PID, u64::from(pid))
        || !is_told(STARTED, started)
    {
        return Err(FormError::Value("what a status may have"));
    }
    Ok(TaskStatus {
        task: kelson_model::id::TaskId(task),
        sequence,
        state: Numbered::numbered(state)?,
        health: Numbered::numbered(health)?,
        ready: has(READY),
        pid: has(PID).then_some(pid),
        started_at: has(STARTED).then_some(kelson_model::time::WallTime(started)),
        healthy_for,
        isolation: from.name()?.to_owned(),
        message: from.name()?.to_owned(),
        exit: has(EXIT).then(|| Exit::take(from)).transpose()?,
    })
}
