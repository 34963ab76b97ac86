//! From the exported functions to a scheduler: restores, reads the tables, takes the turn, hands
//! over what it wants.

use crate::cluster::Cluster;
use crate::columns;
use crate::describe::Problem;
use crate::scheduler::Scheduler;
use crate::stated::Stated;
use crate::treaty::{Reads, Treaty};
use crate::turn::Turn;

/// One seat's scheduler with its cached rows.
///
/// *Flow*: `restore` once, then `turn` again and again. *Guarantees*: a turn that ends in an error
/// has asked for nothing (but state writes, which the kernel buffers). *Assumes*: the host drops
/// the instance after a void turn, so that what is cached here is what the kernel holds.
#[derive(Debug, Default)]
pub struct Runner<S> {
    scheduler: S,
    cluster: Cluster,
    stated: Stated,
}

impl<S: Scheduler> Runner<S> {
    /// The description as JSON text.
    pub fn describe() -> String {
        // A description holds strings and values only: it can always be written.
        serde_json::to_string(&S::describe()).unwrap_or_default()
    }

    /// Checks one specification, given as JSON text.
    pub fn validate(kind: &str, spec: &str) -> Vec<Problem> {
        match serde_json::from_str(spec) {
            Ok(spec) => S::validate(kind, &spec),
            Err(error) => vec![Problem::new("", format!("is not JSON: {error}"))],
        }
    }

    /// Reads all tables anew.
    ///
    /// # Errors
    /// A page breaks the treaty.
    pub fn restore(&mut self, treaty: &dyn Treaty) -> Result<(), String> {
        *self = Self::default();
        self.read_rows(treaty)
    }

    /// Takes one turn.
    ///
    /// # Errors
    /// A page breaks the treaty, or the scheduler says so.
    pub fn turn(
        &mut self,
        treaty: &dyn Treaty,
        now: u64,
        seed: u64,
        number: u64,
    ) -> Result<(), String> {
        self.read_rows(treaty)?;
        let mut offers = Vec::new();
        for page in 0.. {
            let rows = treaty.offers(page);
            if rows.offer.is_empty() {
                break;
            }
            for row in 0..rows.offer.len() {
                offers.push(columns::offer(&rows, row)?);
            }
        }
        let mut refusals = Vec::new();
        for page in 0.. {
            let rows = treaty.refusals(page);
            if rows.subject.is_empty() {
                break;
            }
            for row in 0..rows.subject.len() {
                refusals.push(columns::refusal(&rows, row)?);
            }
        }
        let mut turn = Turn::new(treaty, now, seed, number, offers, refusals);
        self.scheduler.turn(&self.cluster, &mut turn)?;
        turn.flush(&mut self.stated)?;
        self.cluster.settle();
        Ok(())
    }

    /// Answers a verb, JSON text in and out.
    ///
    /// # Errors
    /// The arguments are no JSON, or the scheduler says what is wrong.
    pub fn query(
        &self,
        treaty: &dyn Treaty,
        verb: &str,
        arguments: &str,
    ) -> Result<String, String> {
        let arguments = serde_json::from_str(arguments)
            .map_err(|error| format!("the arguments are not JSON: {error}"))?;
        self.scheduler
            .query(&self.cluster, Reads::new(treaty), verb, &arguments)
            .map(|answer| answer.to_string())
    }

    /// The rows as the last call left them.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn read_rows(&mut self, treaty: &dyn Treaty) -> Result<(), String> {
        for page in 0.. {
            let rows = treaty.agents(page);
            if rows.agent.is_empty() {
                break;
            }
            for row in 0..rows.agent.len() {
                self.cluster.put_agent(columns::agent(&rows, row)?);
            }
        }
        for page in 0.. {
            let rows = treaty.workloads(page);
            if rows.id.is_empty() {
                break;
            }
            for row in 0..rows.id.len() {
                self.cluster.put_workload(columns::workload(&rows, row)?);
            }
        }
        for page in 0.. {
            let rows = treaty.tasks(page);
            if rows.id.is_empty() {
                break;
            }
            for row in 0..rows.id.len() {
                let (task, is_gone) = columns::task(&rows, row)?;
                self.cluster.put_task(task, is_gone);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
