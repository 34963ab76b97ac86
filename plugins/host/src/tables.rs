//! The import `tables`: rows become columns, a page at a time.

use std::sync::Arc;

use kelson_kernel_core::port::{Offer, RefusalRow, SeatRows, SeatView};
use kelson_model::agent::AgentState;
use kelson_model::id::{AgentId, TaskId, WorkloadId};
use kelson_model::task::{CheckState, TaskState};

use crate::bindings::tables::{
    AgentColumns, Host, OfferColumns, RefusalColumns, TaskColumns, WorkloadColumns,
};
use crate::fault::Breach;
use crate::limits;
use crate::sandbox::Sandbox;

/// What a call may read. Empty between calls and for `describe` and `validate`.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) rows: SeatRows,
    pub(crate) offers: Vec<Offer>,
    pub(crate) refusals: Vec<RefusalRow>,
    pub(crate) view: Option<Arc<dyn SeatView>>,
    pub(crate) config: Option<Arc<str>>,
}

impl Tables {
    /// How many rows there are in all.
    pub(crate) fn row_count(&self) -> usize {
        self.rows.workloads.len()
            + self.rows.tasks.len()
            + self.rows.agents.len()
            + self.offers.len()
            + self.refusals.len()
    }
}

fn page<T>(rows: &[T], page: u32) -> &[T] {
    let first = usize::try_from(page)
        .unwrap_or(usize::MAX)
        .saturating_mul(limits::PAGE_ROWS)
        .min(rows.len());
    let last = first.saturating_add(limits::PAGE_ROWS).min(rows.len());
    rows.get(first..last).unwrap_or_default()
}

fn column<T, V>(rows: &[T], value: impl Fn(&T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

/// Bits from questions, the first one lowest.
fn flags(answers: &[bool]) -> u32 {
    answers
        .iter()
        .rev()
        .fold(0, |bits, answer| bits << 1 | u32::from(*answer))
}

fn agent_number(id: AgentId) -> Result<u32, Breach> {
    u32::try_from(id.0).map_err(|_| Breach::malformed(format!("{id} does not fit 32 bits")))
}

fn agent_column<T>(rows: &[T], id: impl Fn(&T) -> AgentId) -> Result<Vec<u32>, Breach> {
    rows.iter().map(|row| agent_number(id(row))).collect()
}

fn agent_state(state: AgentState) -> u32 {
    match state {
        AgentState::Ready => 0,
        AgentState::Unreachable => 1,
        AgentState::Gone => 2,
    }
}

fn task_state(state: TaskState) -> u32 {
    match state {
        TaskState::Staging => 0,
        TaskState::Starting => 1,
        TaskState::Running => 2,
        TaskState::Stopping => 3,
        TaskState::Finished => 4,
        TaskState::Failed => 5,
        TaskState::Killed => 6,
        TaskState::Lost => 7,
    }
}

fn health(state: CheckState) -> u32 {
    match state {
        CheckState::Unknown => 0,
        CheckState::Healthy => 1,
        CheckState::Unhealthy => 2,
    }
}

impl Host for Sandbox {
    fn workloads(&mut self, number: u32) -> wasmtime::Result<WorkloadColumns> {
        let rows = page(&self.tables.rows.workloads, number);
        self.meter.charge(rows.len() * 64)?;
        Ok(WorkloadColumns {
            id: column(rows, |row| row.id.0),
            generation: column(rows, |row| row.generation),
            good_generation: column(rows, |row| row.good_generation),
            quarantined_generation: column(rows, |row| row.quarantined_generation),
            template_id: column(rows, |row| row.template_id),
            good_template_id: column(rows, |row| row.good_template_id),
            generation_since: column(rows, |row| row.generation_since.0),
            kind: column(rows, |row| row.kind),
            workload_flags: column(rows, |row| flags(&[row.is_gone])),
        })
    }

    fn workload_spec(
        &mut self,
        workload: u64,
        generation: u64,
    ) -> wasmtime::Result<Option<String>> {
        let view = self.tables.view.as_ref();
        let spec = view.and_then(|view| view.spec(WorkloadId(workload), generation));
        self.meter.charge(spec.as_ref().map_or(0, String::len))?;
        Ok(spec)
    }

    fn workload_name(&mut self, workload: u64) -> wasmtime::Result<Option<String>> {
        let view = self.tables.view.as_ref();
        let name = view.and_then(|view| view.name(WorkloadId(workload)));
        self.meter.charge(name.as_ref().map_or(0, String::len))?;
        Ok(name)
    }

    fn tasks(&mut self, number: u32) -> wasmtime::Result<TaskColumns> {
        let rows = page(&self.tables.rows.tasks, number);
        self.meter.charge(rows.len() * 84)?;
        Ok(TaskColumns {
            id: column(rows, |row| row.id.0),
            workload: column(rows, |row| row.workload.0),
            generation: column(rows, |row| row.generation),
            template: column(rows, |row| row.template),
            template_id: column(rows, |row| row.template_id),
            slot: column(rows, |row| row.slot),
            agent: agent_column(rows, |row| row.agent)?,
            task_state: column(rows, |row| task_state(row.state)),
            health: column(rows, |row| health(row.health)),
            task_flags: column(rows, |row| {
                flags(&[
                    row.is_ready,
                    row.is_stop_asked,
                    row.is_ended_by_hand,
                    row.is_out_of_memory,
                    row.is_gone,
                    row.is_agent_lost,
                    row.is_port_taken,
                ])
            }),
            state_since: column(rows, |row| row.state_since.0),
            healthy_since: column(rows, |row| row.healthy_since.map_or(0, |time| time.0)),
            exit_code: column(rows, |row| row.exit_code.unwrap_or(-1)),
            attempts: column(rows, |row| row.attempts),
        })
    }

    fn task_end(&mut self, task: u64) -> wasmtime::Result<Option<String>> {
        let view = self.tables.view.as_ref();
        let end = view.and_then(|view| view.end(TaskId(task)));
        self.meter.charge(end.as_ref().map_or(0, String::len))?;
        Ok(end)
    }

    fn agents(&mut self, number: u32) -> wasmtime::Result<AgentColumns> {
        let rows = page(&self.tables.rows.agents, number);
        self.meter.charge(rows.len() * 32)?;
        Ok(AgentColumns {
            agent: agent_column(rows, |row| row.id)?,
            agent_state: column(rows, |row| agent_state(row.state)),
            free_cpus: column(rows, |row| row.free.cpus.0),
            free_memory: column(rows, |row| row.free.memory.0),
            free_disk: column(rows, |row| row.free.disk.0),
        })
    }

    fn agent_attributes(&mut self, agent: u32) -> wasmtime::Result<Option<Vec<(String, String)>>> {
        let view = self.tables.view.as_ref();
        let Some(attributes) = view.and_then(|view| view.attributes(AgentId(agent.into()))) else {
            self.meter.charge(0)?;
            return Ok(None);
        };
        let bytes = |(name, value): &(String, String)| 100 + name.len() + value.len();
        self.meter.charge(attributes.iter().map(bytes).sum())?;
        Ok(Some(attributes.as_ref().clone()))
    }

    fn offers(&mut self, number: u32) -> wasmtime::Result<OfferColumns> {
        let rows = page(&self.tables.offers, number);
        self.meter.charge(rows.len() * 20)?;
        let first = number.saturating_mul(u32::try_from(limits::PAGE_ROWS).unwrap_or(u32::MAX));
        Ok(OfferColumns {
            offer: (first..).take(rows.len()).collect(),
            key: column(rows, |row| row.key),
            agent: agent_column(rows, |row| row.agent)?,
            count: column(rows, |row| row.count),
        })
    }

    fn refusals(&mut self, number: u32) -> wasmtime::Result<RefusalColumns> {
        let rows = page(&self.tables.refusals, number);
        let bytes = rows.iter().map(|row| 100 + row.reason.len()).sum();
        self.meter.charge(bytes)?;
        Ok(RefusalColumns {
            group: column(rows, |row| row.group),
            subject: column(rows, |row| row.subject),
            reason: column(rows, |row| row.reason.clone()),
        })
    }

    fn config(&mut self) -> wasmtime::Result<String> {
        let config = self.tables.config.as_deref().unwrap_or("null");
        self.meter.charge(config.len())?;
        Ok(config.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_after_the_last_is_empty() {
        let rows: Vec<usize> = (0..limits::PAGE_ROWS + 1).collect();
        assert_eq!(page(&rows, 0).len(), limits::PAGE_ROWS);
        assert_eq!(page(&rows, 1), &[limits::PAGE_ROWS]);
        assert!(page(&rows, 2).is_empty());
        assert!(page(&rows, u32::MAX).is_empty());
    }

    #[test]
    fn flags_begin_with_the_lowest_bit() {
        assert_eq!(flags(&[true, false, true]), 0b101);
        assert_eq!(flags(&[]), 0);
    }
}
