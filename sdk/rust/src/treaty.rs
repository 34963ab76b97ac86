//! The functions that the kernel gives to a scheduler, as a trait: the sandbox's imports behind it
//! in a component, a stage in native tests.

use serde_json::Value;

use crate::bindings::generated::kelson::scheduler::{log, outcome, state, tables};
use crate::columns::{AgentColumns, OfferColumns, RefusalColumns, TaskColumns, WorkloadColumns};
use crate::wishes::{DemandColumns, LaunchColumns};

/// Every imported function of `wit/`, one to one; see there for what each promises.
#[expect(missing_docs, reason = "each function is documented in wit/")]
pub trait Treaty {
    fn workloads(&self, page: u32) -> WorkloadColumns;
    fn workload_spec(&self, workload: u64, generation: u64) -> Option<String>;
    fn workload_name(&self, workload: u64) -> Option<String>;
    fn tasks(&self, page: u32) -> TaskColumns;
    fn task_end(&self, task: u64) -> Option<String>;
    fn agents(&self, page: u32) -> AgentColumns;
    fn agent_attributes(&self, agent: u32) -> Option<Vec<(String, String)>>;
    fn offers(&self, page: u32) -> OfferColumns;
    fn refusals(&self, page: u32) -> RefusalColumns;
    fn config(&self) -> String;

    fn launch(&self, columns: &LaunchColumns);
    fn kill(&self, group: &[u32], task: &[u64], reason: &[u32]);
    fn forget(&self, group: &[u32], task: &[u64]);
    #[expect(clippy::too_many_arguments, reason = "the treaty's own shape")]
    fn set_status(
        &self,
        group: u32,
        workload: u64,
        generation: u64,
        health: u32,
        rollout: u32,
        reason: &str,
        message: &str,
    );
    fn set_good_generation(&self, group: u32, workload: u64, generation: u64);
    fn quarantine(&self, group: u32, workload: u64, generation: u64, reason: &str);
    fn demand(&self, columns: &DemandColumns);
    fn change_demand(&self, columns: &DemandColumns);
    fn bytes_left(&self) -> u64;
    fn operations_left(&self) -> u32;
    fn prices(&self) -> Vec<u32>;
    fn wake_at(&self, at: u64);
    fn note(&self, workload: u64, text: &str);

    fn get(&self, key: &str) -> Option<Vec<u8>>;
    fn set(&self, group: u32, key: &str, value: &[u8]);
    fn delete(&self, group: u32, key: &str);
    fn list(&self, prefix: &str, after: &str) -> Vec<String>;

    fn log(&self, level: u32, line: &str);
}

/// The sandbox's imports. Outside a component each of them aborts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Imports;

impl Treaty for Imports {
    fn workloads(&self, page: u32) -> WorkloadColumns {
        tables::workloads(page)
    }
    fn workload_spec(&self, workload: u64, generation: u64) -> Option<String> {
        tables::workload_spec(workload, generation)
    }
    fn workload_name(&self, workload: u64) -> Option<String> {
        tables::workload_name(workload)
    }
    fn tasks(&self, page: u32) -> TaskColumns {
        tables::tasks(page)
    }
    fn task_end(&self, task: u64) -> Option<String> {
        tables::task_end(task)
    }
    fn agents(&self, page: u32) -> AgentColumns {
        tables::agents(page)
    }
    fn agent_attributes(&self, agent: u32) -> Option<Vec<(String, String)>> {
        tables::agent_attributes(agent)
    }
    fn offers(&self, page: u32) -> OfferColumns {
        tables::offers(page)
    }
    fn refusals(&self, page: u32) -> RefusalColumns {
        tables::refusals(page)
    }
    fn config(&self) -> String {
        tables::config()
    }
    fn launch(&self, columns: &LaunchColumns) {
        outcome::launch(
            &columns.group,
            &columns.workload,
            &columns.generation,
            &columns.template,
            &columns.slot,
            &columns.offer,
        );
    }
    fn kill(&self, group: &[u32], task: &[u64], reason: &[u32]) {
        outcome::kill(group, task, reason);
    }
    fn forget(&self, group: &[u32], task: &[u64]) {
        outcome::forget(group, task);
    }
    fn set_status(
        &self,
        group: u32,
        workload: u64,
        generation: u64,
        health: u32,
        rollout: u32,
        reason: &str,
        message: &str,
    ) {
        outcome::set_status(
            group, workload, generation, health, rollout, reason, message,
        );
    }
    fn set_good_generation(&self, group: u32, workload: u64, generation: u64) {
        outcome::set_good_generation(group, workload, generation);
    }
    fn quarantine(&self, group: u32, workload: u64, generation: u64, reason: &str) {
        outcome::quarantine(group, workload, generation, reason);
    }
    fn demand(&self, columns: &DemandColumns) {
        outcome::demand(
            &columns.key,
            &columns.workload,
            &columns.generation,
            &columns.template,
            &columns.count,
            &columns.placement,
            &columns.priority,
        );
    }
    fn change_demand(&self, columns: &DemandColumns) {
        outcome::change_demand(
            &columns.key,
            &columns.workload,
            &columns.generation,
            &columns.template,
            &columns.count,
            &columns.placement,
            &columns.priority,
        );
    }
    fn bytes_left(&self) -> u64 {
        outcome::bytes_left()
    }
    fn operations_left(&self) -> u32 {
        outcome::operations_left()
    }
    fn prices(&self) -> Vec<u32> {
        outcome::prices()
    }
    fn wake_at(&self, at: u64) {
        outcome::wake_at(at);
    }
    fn note(&self, workload: u64, text: &str) {
        outcome::note(workload, text);
    }
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        state::get(key)
    }
    fn set(&self, group: u32, key: &str, value: &[u8]) {
        state::set(group, key, value);
    }
    fn delete(&self, group: u32, key: &str) {
        state::delete(group, key);
    }
    fn list(&self, prefix: &str, after: &str) -> Vec<String> {
        state::list(prefix, after)
    }
    fn log(&self, level: u32, line: &str) {
        log::write(level, line);
    }
}

/// What can be read by call, beside the rows.
#[derive(Clone, Copy)]
pub struct Reads<'a> {
    treaty: &'a dyn Treaty,
}

impl std::fmt::Debug for Reads<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reads")
    }
}

impl<'a> Reads<'a> {
    /// Reads through the given functions.
    pub fn new(treaty: &'a dyn Treaty) -> Self {
        Self { treaty }
    }

    /// The normalised specification of one of the last ten generations.
    pub fn spec(&self, workload: u64, generation: u64) -> Option<Value> {
        let text = self.treaty.workload_spec(workload, generation)?;
        serde_json::from_str(&text).ok()
    }

    /// Whether the kernel still knows the workload.
    pub fn is_known(&self, workload: u64) -> bool {
        self.treaty.workload_name(workload).is_some()
    }

    /// The workload's name, for messages; its number where it has none any more.
    pub fn name(&self, workload: u64) -> String {
        self.treaty
            .workload_name(workload)
            .unwrap_or_else(|| format!("wkl_{workload}"))
    }

    /// How a task ended, for messages: `exited with status 1`.
    pub fn end_of(&self, task: u64) -> Option<String> {
        self.treaty.task_end(task)
    }

    /// The agent's attributes, name and value.
    pub fn attributes(&self, agent: u32) -> Vec<(String, String)> {
        self.treaty.agent_attributes(agent).unwrap_or_default()
    }

    /// The framework's `spec.config`; null where there is none.
    pub fn config(&self) -> Value {
        serde_json::from_str(&self.treaty.config()).unwrap_or(Value::Null)
    }

    /// One of the seat's own pairs; writes of the same turn are seen.
    pub fn state(&self, key: &str) -> Option<Vec<u8>> {
        self.treaty.get(key)
    }

    /// Keys of the seat's own pairs that begin with `prefix`, in order, after `after`; 1,024 at the
    /// most.
    pub fn keys(&self, prefix: &str, after: &str) -> Vec<String> {
        self.treaty.list(prefix, after)
    }
}
