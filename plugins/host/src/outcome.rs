//! The import `outcome`: columns become operations, checked as they come. What breaks the treaty
//! ends the call there and then; what the turn has no room for is not noted.

use std::collections::BTreeSet;
use std::sync::Arc;

use kelson_kernel_core::demand::{MOST_DEMANDS, demand_changes};
use kelson_kernel_core::port::{Demand, Offer, Op, Operation, Placement};
use kelson_kernel_core::turn_size::{Price, demand_bytes, operation_bytes};
use kelson_model::id::{TaskId, WorkloadId};
use kelson_model::object::{Health, RolloutState};
use kelson_model::task::StopReason;
use kelson_model::time::ClusterTime;

use crate::bindings;
use crate::fault::Breach;
use crate::limits;
use crate::sandbox::Sandbox;
use crate::text;

/// What a turn has wished for so far.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) operations: Vec<Operation>,
    pub(crate) demand: Option<Vec<Demand>>,
    pub(crate) demand_changes: Vec<Demand>,
    pub(crate) wake_at: Option<ClusterTime>,
    /// For each offer of this turn, for how many more tasks there is room.
    room: Vec<u32>,
    /// Of which workloads it has said how they do.
    told: BTreeSet<u64>,
    limit: usize,
}

impl Outcome {
    /// Begins a turn with these offers and at most `limit` operations.
    pub(crate) fn new(offers: &[Offer], limit: u32) -> Self {
        Self {
            room: offers.iter().map(|offer| offer.count).collect(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            ..Self::default()
        }
    }

    /// How many operations may still be asked for.
    fn operations_left(&self) -> u32 {
        let left = self.limit.saturating_sub(self.operations.len());
        u32::try_from(left).unwrap_or(u32::MAX)
    }
}

/// The columns of `demand` and `change-demand`.
struct DemandColumns {
    key: Vec<u64>,
    workload: Vec<u64>,
    generation: Vec<u64>,
    template: Vec<u32>,
    count: Vec<u32>,
    placement: Vec<u32>,
    priority: Vec<i32>,
}

impl DemandColumns {
    /// Checks that the columns have one length, no more than a seat may hold, and that no key
    /// stands twice; makes rows of them.
    fn rows(self, function: &str) -> Result<Vec<Demand>, Breach> {
        let columns = [
            self.workload.len(),
            self.generation.len(),
            self.template.len(),
            self.count.len(),
            self.placement.len(),
            self.priority.len(),
        ];
        let rows = self.key.len();
        check_columns(function, rows, &columns)?;
        if rows > MOST_DEMANDS {
            return Err(Breach::malformed(format!(
                "more rows of demand than {MOST_DEMANDS}, the limit of a seat"
            )));
        }
        if self.key.iter().collect::<BTreeSet<_>>().len() != rows {
            return Err(Breach::malformed(format!(
                "{function}: two rows have one key"
            )));
        }
        let names = (self.key.into_iter().zip(self.workload))
            .zip(self.generation)
            .zip(self.template);
        let wishes = self
            .count
            .into_iter()
            .zip(self.placement)
            .zip(self.priority);
        names
            .zip(wishes)
            .map(
                |((((key, workload), generation), template), ((count, number), priority))| {
                    Ok(Demand {
                        key,
                        workload: WorkloadId(workload),
                        generation,
                        template,
                        count,
                        placement: placement(number)?,
                        priority,
                    })
                },
            )
            .collect()
    }
}

/// Checks that all columns have `rows` rows.
fn check_columns(function: &str, rows: usize, columns: &[usize]) -> Result<(), Breach> {
    if columns.iter().all(|column| *column == rows) {
        return Ok(());
    }
    Err(Breach::malformed(format!(
        "{function}: columns of unequal length"
    )))
}

fn stop_reason(number: u32) -> Result<StopReason, Breach> {
    match number {
        0 => Ok(StopReason::Replaced),
        1 => Ok(StopReason::ScaledDown),
        2 => Ok(StopReason::Removed),
        3 => Ok(StopReason::Unhealthy),
        _ => Err(Breach::malformed(format!("kill: no reason {number}"))),
    }
}

fn health(number: u32) -> Result<Health, Breach> {
    match number {
        0 => Ok(Health::Healthy),
        1 => Ok(Health::Progressing),
        2 => Ok(Health::Degraded),
        3 => Ok(Health::Suspended),
        _ => Err(Breach::malformed(format!("set-status: no health {number}"))),
    }
}

fn rollout(number: u32) -> Result<RolloutState, Breach> {
    match number {
        0 => Ok(RolloutState::Progressing),
        1 => Ok(RolloutState::Complete),
        2 => Ok(RolloutState::RolledBack),
        3 => Ok(RolloutState::Paused),
        _ => Err(Breach::malformed(format!(
            "set-status: no rollout {number}"
        ))),
    }
}

fn placement(number: u32) -> Result<Placement, Breach> {
    match number {
        0 => Ok(Placement::Spread),
        1 => Ok(Placement::Pack),
        _ => Err(Breach::malformed(format!("demand: no placement {number}"))),
    }
}

impl Sandbox {
    /// Notes a wish, and what it counts, where the turn has room for it.
    fn say(&mut self, group: u32, op: Op) {
        let limit = self.outcome.limit;
        if self.outcome.operations.len() >= limit {
            self.said.fill(group, || {
                format!("more operations than {limit}, the limit of a turn")
            });
            return;
        }
        let operation = Operation { group, op };
        if self.said.takes(group, operation_bytes(&operation)) {
            self.outcome.operations.push(operation);
        }
    }

    /// Notes as many changes of demand as there is room for.
    fn change(&mut self, rows: Vec<Demand>) {
        for row in rows {
            if !self.said.takes(0, demand_bytes(1)) {
                return;
            }
            self.outcome.demand_changes.push(row);
        }
    }

    /// Takes the room for one task from an offer of this turn, for what that offer was cut for.
    fn take_offer(
        &mut self,
        number: u32,
        workload: u64,
        generation: u64,
        template: u32,
    ) -> Result<Offer, Breach> {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        let (Some(offer), Some(room)) = (
            self.tables.offers.get(place),
            self.outcome.room.get_mut(place),
        ) else {
            return Err(Breach::malformed(format!(
                "launch: offer {number} is not of this turn"
            )));
        };
        if offer.workload.0 != workload
            || offer.generation != generation
            || offer.template != template
        {
            return Err(Breach::malformed(format!(
                "launch: offer {number} was not made for {}, generation {generation}, template {template}",
                WorkloadId(workload)
            )));
        }
        let Some(left) = room.checked_sub(1) else {
            return Err(Breach::malformed(format!(
                "launch: offer {number} has room for {}, not for more",
                offer.count
            )));
        };
        *room = left;
        Ok(offer.clone())
    }
}

impl bindings::outcome::Host for Sandbox {
    fn launch(
        &mut self,
        group: Vec<u32>,
        workload: Vec<u64>,
        generation: Vec<u64>,
        template: Vec<u32>,
        slot: Vec<u32>,
        offer: Vec<u32>,
    ) -> wasmtime::Result<()> {
        self.require_turn("outcome.launch")?;
        self.meter.charge(group.len() * 32)?;
        let columns = [
            workload.len(),
            generation.len(),
            template.len(),
            slot.len(),
            offer.len(),
        ];
        check_columns("launch", group.len(), &columns)?;
        let rows = group.into_iter().zip(workload).zip(generation);
        let rest = template.into_iter().zip(slot).zip(offer);
        for (((group, workload), generation), ((template, slot), offer)) in rows.zip(rest) {
            let offer = self.take_offer(offer, workload, generation, template)?;
            self.say(
                group,
                Op::Launch {
                    workload: offer.workload,
                    generation,
                    template,
                    slot,
                    agent: offer.agent,
                },
            );
        }
        Ok(())
    }

    fn kill(&mut self, group: Vec<u32>, task: Vec<u64>, reason: Vec<u32>) -> wasmtime::Result<()> {
        self.require_turn("outcome.kill")?;
        self.meter.charge(group.len() * 16)?;
        check_columns("kill", group.len(), &[task.len(), reason.len()])?;
        for ((group, task), reason) in group.into_iter().zip(task).zip(reason) {
            let op = Op::Kill {
                task: TaskId(task),
                reason: stop_reason(reason)?,
            };
            self.say(group, op);
        }
        Ok(())
    }

    fn forget(&mut self, group: Vec<u32>, task: Vec<u64>) -> wasmtime::Result<()> {
        self.require_turn("outcome.forget")?;
        self.meter.charge(group.len() * 12)?;
        check_columns("forget", group.len(), &[task.len()])?;
        for (group, task) in group.into_iter().zip(task) {
            self.say(group, Op::Forget { task: TaskId(task) });
        }
        Ok(())
    }

    fn set_status(
        &mut self,
        group: u32,
        workload: u64,
        generation: u64,
        health_number: u32,
        rollout_number: u32,
        reason: String,
        message: String,
    ) -> wasmtime::Result<()> {
        self.require_turn("outcome.set-status")?;
        self.meter.charge(reason.len() + message.len())?;
        let op = Op::SetStatus {
            workload: WorkloadId(workload),
            generation,
            health: health(health_number)?,
            rollout: rollout(rollout_number)?,
            reason: text::word(&reason, limits::REASON_BYTES),
            message: text::message(&message, limits::MESSAGE_BYTES),
        };
        // To say the same again says nothing: whoever says everything anew in every turn gets on.
        let view = self.tables.view.as_ref();
        let is_known =
            !self.outcome.told.contains(&workload) && view.is_some_and(|view| view.is_said(&op));
        if !is_known {
            self.outcome.told.insert(workload);
            self.say(group, op);
        }
        Ok(())
    }

    fn set_good_generation(
        &mut self,
        group: u32,
        workload: u64,
        generation: u64,
    ) -> wasmtime::Result<()> {
        self.require_turn("outcome.set-good-generation")?;
        self.meter.charge(0)?;
        let workload = WorkloadId(workload);
        self.say(
            group,
            Op::SetGoodGeneration {
                workload,
                generation,
            },
        );
        Ok(())
    }

    fn quarantine(
        &mut self,
        group: u32,
        workload: u64,
        generation: u64,
        reason: String,
    ) -> wasmtime::Result<()> {
        self.require_turn("outcome.quarantine")?;
        self.meter.charge(reason.len())?;
        let op = Op::Quarantine {
            workload: WorkloadId(workload),
            generation,
            reason: text::message(&reason, limits::MESSAGE_BYTES),
        };
        self.say(group, op);
        Ok(())
    }

    fn demand(
        &mut self,
        key: Vec<u64>,
        workload: Vec<u64>,
        generation: Vec<u64>,
        template: Vec<u32>,
        count: Vec<u32>,
        placement: Vec<u32>,
        priority: Vec<i32>,
    ) -> wasmtime::Result<()> {
        self.require_turn("outcome.demand")?;
        self.meter.charge(key.len() * 40)?;
        let columns = DemandColumns {
            key,
            workload,
            generation,
            template,
            count,
            placement,
            priority,
        };
        let rows = columns.rows("demand")?;
        if self.said.full().is_some() {
            return Ok(());
        }
        self.outcome.demand_changes.clear();
        let bytes = demand_bytes(rows.len());
        if bytes <= self.said.left() && self.said.takes(0, bytes) {
            self.outcome.demand = Some(rows);
            return Ok(());
        }
        // What is larger than a turn is noted in parts: what differs from what is held.
        let held = match &self.outcome.demand {
            Some(said) => Arc::new(said.clone()),
            None => {
                let view = self.tables.view.as_ref();
                view.map(|view| view.demand()).unwrap_or_default()
            }
        };
        self.change(demand_changes(&held, &rows));
        Ok(())
    }

    fn change_demand(
        &mut self,
        key: Vec<u64>,
        workload: Vec<u64>,
        generation: Vec<u64>,
        template: Vec<u32>,
        count: Vec<u32>,
        placement: Vec<u32>,
        priority: Vec<i32>,
    ) -> wasmtime::Result<()> {
        self.require_turn("outcome.change-demand")?;
        self.meter.charge(key.len() * 40)?;
        let columns = DemandColumns {
            key,
            workload,
            generation,
            template,
            count,
            placement,
            priority,
        };
        self.change(columns.rows("change-demand")?);
        Ok(())
    }

    fn bytes_left(&mut self) -> wasmtime::Result<u64> {
        self.require_turn("outcome.bytes-left")?;
        self.meter.charge(0)?;
        Ok(self.said.left())
    }

    fn operations_left(&mut self) -> wasmtime::Result<u32> {
        self.require_turn("outcome.operations-left")?;
        self.meter.charge(0)?;
        Ok(match self.said.full() {
            Some(_) => 0,
            None => self.outcome.operations_left(),
        })
    }

    fn prices(&mut self) -> wasmtime::Result<Vec<u32>> {
        self.require_turn("outcome.prices")?;
        self.meter.charge(0)?;
        Ok(Price::ALL.iter().map(|price| price.bytes()).collect())
    }

    fn wake_at(&mut self, at: u64) -> wasmtime::Result<()> {
        self.require_turn("outcome.wake-at")?;
        self.meter.charge(0)?;
        let at = ClusterTime(at);
        self.outcome.wake_at = Some(self.outcome.wake_at.map_or(at, |before| before.min(at)));
        Ok(())
    }

    fn note(&mut self, workload: u64, note: String) -> wasmtime::Result<()> {
        self.require_turn("outcome.note")?;
        self.meter.charge(note.len())?;
        let op = Op::Note {
            workload: WorkloadId(workload),
            text: text::message(&note, limits::MESSAGE_BYTES),
        };
        self.say(0, op);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use kelson_kernel_core::turn_size::TURN_BYTES;
    use kelson_model::framework::Limits;

    use super::*;
    use crate::bindings::outcome::Host;
    use crate::meter::Meter;
    use crate::sandbox::Call;

    fn in_a_turn() -> Sandbox {
        let mut sandbox = Sandbox::new(&Limits::default());
        sandbox.call = Call::Turn;
        sandbox.meter = Meter::new(u64::MAX);
        sandbox.outcome = Outcome::new(&[], Limits::default().operations);
        sandbox
    }

    #[test]
    fn a_whole_demand_that_is_larger_than_a_turn_is_noted_in_parts() {
        let mut sandbox = in_a_turn();
        let count = 10_000;
        let keys: Vec<u64> = (1..=count).collect();
        let ones = vec![1_u32; keys.len()];
        let (numbers, priorities) = (keys.clone(), vec![0_i32; keys.len()]);
        let stated = sandbox.demand(
            keys.clone(),
            numbers,
            keys,
            ones.clone(),
            ones.clone(),
            ones,
            priorities,
        );
        stated.unwrap();
        assert_eq!(sandbox.outcome.demand, None);
        let rows = TURN_BYTES / demand_bytes(1);
        let noted = u64::try_from(sandbox.outcome.demand_changes.len()).unwrap();
        assert_eq!(noted, rows);
        assert!(sandbox.said.full().is_some());
    }

    #[test]
    fn what_comes_after_the_limit_is_not_noted_and_its_group_is_refused_whole() {
        let mut sandbox = in_a_turn();
        sandbox.outcome.limit = 3;
        let forget = |sandbox: &mut Sandbox, group: Vec<u32>| {
            let tasks = (0..).take(group.len()).collect();
            sandbox.forget(group, tasks).unwrap();
        };
        forget(&mut sandbox, vec![0, 7, 8]);
        assert_eq!(sandbox.said.full(), None);
        forget(&mut sandbox, vec![7, 9]);
        sandbox.note(1, "more".to_owned()).unwrap();
        assert_eq!(sandbox.outcome.operations.len(), 3);
        let cut = [0, 7, 8, 9].map(|group| sandbox.said.is_cut(group));
        assert_eq!(cut, [false, true, false, false]);
        assert_eq!(
            (
                sandbox.bytes_left().unwrap(),
                sandbox.operations_left().unwrap()
            ),
            (0, 0)
        );
    }
}
