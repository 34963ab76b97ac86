//! From columns to rows: the one place where a page of numbers becomes values.

pub use crate::bindings::generated::kelson::scheduler::tables::{
    AgentColumns, OfferColumns, RefusalColumns, TaskColumns, WorkloadColumns,
};
use crate::rows::{Agent, AgentState, Check, Offer, Refusal, Task, TaskState, Workload};

const GONE: u32 = 1;
const READY: u32 = 1;
const STOP_ASKED: u32 = 2;
const BY_HAND: u32 = 4;
const OUT_OF_MEMORY: u32 = 8;
const TASK_GONE: u32 = 16;
const AGENT_LOST: u32 = 32;
const PORT_TAKEN: u32 = 64;

/// Reads one cell, or says which column is too short.
fn cell<T: Copy>(column: &[T], row: usize, name: &str) -> Result<T, String> {
    column
        .get(row)
        .copied()
        .ok_or_else(|| format!("column {name} has no row {row}"))
}

/// Reads a number as a place in a list of meanings.
fn meaning<T: Copy>(all: &[T], number: u32, name: &str) -> Result<T, String> {
    usize::try_from(number)
        .ok()
        .and_then(|place| all.get(place))
        .copied()
        .ok_or_else(|| format!("column {name} holds {number}, which this SDK does not know"))
}

fn some_unless_zero(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

pub(crate) fn workload(page: &WorkloadColumns, row: usize) -> Result<Workload, String> {
    let flags = cell(&page.workload_flags, row, "workload-flags")?;
    Ok(Workload {
        id: cell(&page.id, row, "id")?,
        generation: cell(&page.generation, row, "generation")?,
        good_generation: some_unless_zero(cell(&page.good_generation, row, "good-generation")?),
        quarantined_generation: some_unless_zero(cell(
            &page.quarantined_generation,
            row,
            "quarantined-generation",
        )?),
        template_id: cell(&page.template_id, row, "template-id")?,
        good_template_id: some_unless_zero(cell(&page.good_template_id, row, "good-template-id")?),
        generation_since: cell(&page.generation_since, row, "generation-since")?,
        kind: cell(&page.kind, row, "kind")?,
        is_gone: flags & GONE != 0,
    })
}

/// Reads a task and whether the kernel has forgotten it.
pub(crate) fn task(page: &TaskColumns, row: usize) -> Result<(Task, bool), String> {
    let flags = cell(&page.task_flags, row, "task-flags")?;
    let exit_code = cell(&page.exit_code, row, "exit-code")?;
    let task = Task {
        id: cell(&page.id, row, "id")?,
        workload: cell(&page.workload, row, "workload")?,
        generation: cell(&page.generation, row, "generation")?,
        template: cell(&page.template, row, "template")?,
        template_id: cell(&page.template_id, row, "template-id")?,
        slot: cell(&page.slot, row, "slot")?,
        agent: cell(&page.agent, row, "agent")?,
        state: meaning(
            &TaskState::ALL,
            cell(&page.task_state, row, "task-state")?,
            "task-state",
        )?,
        health: meaning(&Check::ALL, cell(&page.health, row, "health")?, "health")?,
        is_ready: flags & READY != 0,
        is_stop_asked: flags & STOP_ASKED != 0,
        is_ended_by_hand: flags & BY_HAND != 0,
        is_out_of_memory: flags & OUT_OF_MEMORY != 0,
        is_agent_lost: flags & AGENT_LOST != 0,
        is_port_taken: flags & PORT_TAKEN != 0,
        state_since: cell(&page.state_since, row, "state-since")?,
        healthy_since: some_unless_zero(cell(&page.healthy_since, row, "healthy-since")?),
        exit_code: (exit_code >= 0).then_some(exit_code),
        attempts: cell(&page.attempts, row, "attempts")?,
    };
    Ok((task, flags & TASK_GONE != 0))
}

pub(crate) fn agent(page: &AgentColumns, row: usize) -> Result<Agent, String> {
    Ok(Agent {
        id: cell(&page.agent, row, "agent")?,
        state: meaning(
            &AgentState::ALL,
            cell(&page.agent_state, row, "agent-state")?,
            "agent-state",
        )?,
        free_cpus: cell(&page.free_cpus, row, "free-cpus")?,
        free_memory: cell(&page.free_memory, row, "free-memory")?,
        free_disk: cell(&page.free_disk, row, "free-disk")?,
    })
}

pub(crate) fn offer(page: &OfferColumns, row: usize) -> Result<Offer, String> {
    Ok(Offer {
        id: cell(&page.offer, row, "offer")?,
        key: cell(&page.key, row, "key")?,
        agent: cell(&page.agent, row, "agent")?,
        count: cell(&page.count, row, "count")?,
    })
}

pub(crate) fn refusal(page: &RefusalColumns, row: usize) -> Result<Refusal, String> {
    Ok(Refusal {
        group: cell(&page.group, row, "group")?,
        subject: cell(&page.subject, row, "subject")?,
        reason: page
            .reason
            .get(row)
            .cloned()
            .ok_or_else(|| format!("column reason has no row {row}"))?,
    })
}

/// Puts rows into columns, for the stage of native tests.
pub(crate) fn of_workloads(rows: &[Workload]) -> WorkloadColumns {
    let flags = |row: &Workload| u32::from(row.is_gone) * GONE;
    WorkloadColumns {
        id: rows.iter().map(|row| row.id).collect(),
        generation: rows.iter().map(|row| row.generation).collect(),
        good_generation: rows
            .iter()
            .map(|row| row.good_generation.unwrap_or(0))
            .collect(),
        quarantined_generation: rows
            .iter()
            .map(|row| row.quarantined_generation.unwrap_or(0))
            .collect(),
        template_id: rows.iter().map(|row| row.template_id).collect(),
        good_template_id: rows
            .iter()
            .map(|row| row.good_template_id.unwrap_or(0))
            .collect(),
        generation_since: rows.iter().map(|row| row.generation_since).collect(),
        kind: rows.iter().map(|row| row.kind).collect(),
        workload_flags: rows.iter().map(flags).collect(),
    }
}

/// Puts rows into columns, for the stage of native tests; the flag says whether the kernel has
/// forgotten the task.
pub(crate) fn of_tasks(rows: &[(Task, bool)]) -> TaskColumns {
    let flags = |(row, is_gone): &(Task, bool)| {
        u32::from(row.is_ready) * READY
            + u32::from(row.is_stop_asked) * STOP_ASKED
            + u32::from(row.is_ended_by_hand) * BY_HAND
            + u32::from(row.is_out_of_memory) * OUT_OF_MEMORY
            + u32::from(*is_gone) * TASK_GONE
            + u32::from(row.is_agent_lost) * AGENT_LOST
            + u32::from(row.is_port_taken) * PORT_TAKEN
    };
    let place = |found: Option<usize>| {
        found
            .and_then(|place| u32::try_from(place).ok())
            .unwrap_or(0)
    };
    TaskColumns {
        id: rows.iter().map(|(row, _)| row.id).collect(),
        workload: rows.iter().map(|(row, _)| row.workload).collect(),
        generation: rows.iter().map(|(row, _)| row.generation).collect(),
        template: rows.iter().map(|(row, _)| row.template).collect(),
        template_id: rows.iter().map(|(row, _)| row.template_id).collect(),
        slot: rows.iter().map(|(row, _)| row.slot).collect(),
        agent: rows.iter().map(|(row, _)| row.agent).collect(),
        task_state: rows
            .iter()
            .map(|(row, _)| place(TaskState::ALL.iter().position(|state| *state == row.state)))
            .collect(),
        health: rows
            .iter()
            .map(|(row, _)| place(Check::ALL.iter().position(|check| *check == row.health)))
            .collect(),
        task_flags: rows.iter().map(flags).collect(),
        state_since: rows.iter().map(|(row, _)| row.state_since).collect(),
        healthy_since: rows
            .iter()
            .map(|(row, _)| row.healthy_since.unwrap_or(0))
            .collect(),
        exit_code: rows
            .iter()
            .map(|(row, _)| row.exit_code.unwrap_or(-1))
            .collect(),
        attempts: rows.iter().map(|(row, _)| row.attempts).collect(),
    }
}

/// Puts rows into columns, for the stage of native tests.
pub(crate) fn of_agents(rows: &[Agent]) -> AgentColumns {
    let state = |row: &Agent| match row.state {
        AgentState::Ready => 0,
        AgentState::Unreachable => 1,
        AgentState::Gone => 2,
    };
    AgentColumns {
        agent: rows.iter().map(|row| row.id).collect(),
        agent_state: rows.iter().map(state).collect(),
        free_cpus: rows.iter().map(|row| row.free_cpus).collect(),
        free_memory: rows.iter().map(|row| row.free_memory).collect(),
        free_disk: rows.iter().map(|row| row.free_disk).collect(),
    }
}

/// Puts rows into columns, for the stage of native tests.
pub(crate) fn of_offers(rows: &[Offer]) -> OfferColumns {
    OfferColumns {
        offer: rows.iter().map(|row| row.id).collect(),
        key: rows.iter().map(|row| row.key).collect(),
        agent: rows.iter().map(|row| row.agent).collect(),
        count: rows.iter().map(|row| row.count).collect(),
    }
}

/// Puts rows into columns, for the stage of native tests.
pub(crate) fn of_refusals(rows: &[Refusal]) -> RefusalColumns {
    RefusalColumns {
        group: rows.iter().map(|row| row.group).collect(),
        subject: rows.iter().map(|row| row.subject).collect(),
        reason: rows.iter().map(|row| row.reason.clone()).collect(),
    }
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
