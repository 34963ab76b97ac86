//! The seat's demand: what the scheduler wants, what the kernel holds of it, and how the difference
//! crosses in parts.

use std::collections::BTreeMap;

use crate::budget::{Budget, Row};
use crate::treaty::Treaty;
use crate::turn::{Demand, Placement};
use crate::wishes::DemandColumns;

/// A demand of at most this many rows is stated anew whole where it has changed.
const SMALL: usize = 100;

/// What is wanted, and what the kernel holds.
#[derive(Debug, Default)]
pub(crate) struct Stated {
    /// By key; absent until the scheduler has said it.
    wanted: Option<BTreeMap<u64, Demand>>,
    /// By key; absent where that is not known, as after a restore.
    held: Option<BTreeMap<u64, Demand>>,
}

impl Stated {
    /// Takes what the scheduler wants.
    ///
    /// # Errors
    /// Two rows have one key.
    pub(crate) fn want(&mut self, demand: Vec<Demand>) -> Result<(), String> {
        let count = demand.len();
        let rows: BTreeMap<u64, Demand> = demand.into_iter().map(|row| (row.key, row)).collect();
        if rows.len() != count {
            return Err("two rows of the demand have one key".to_owned());
        }
        self.wanted = Some(rows);
        Ok(())
    }

    /// Sends what the kernel does not hold yet, as far as the turn has room. Returns whether
    /// something is left for the next turn.
    pub(crate) fn send(&mut self, treaty: &dyn Treaty, budget: &Budget<'_>) -> bool {
        let Some(wanted) = &self.wanted else {
            return false;
        };
        if self.held.as_ref() == Some(wanted) {
            return false;
        }
        let price = budget.price(Row::Demand, 0).max(1);
        let room = usize::try_from(budget.bytes_left() / price).unwrap_or(usize::MAX);
        let fits_whole = wanted.len() <= room;
        match &mut self.held {
            Some(held) if wanted.len() > SMALL || !fits_whole => {
                let mut rows = differences(held, wanted);
                let is_cut = rows.len() > room;
                rows.truncate(room);
                for row in &rows {
                    if row.count == 0 && !wanted.contains_key(&row.key) {
                        held.remove(&row.key);
                    } else {
                        held.insert(row.key, row.clone());
                    }
                }
                if !rows.is_empty() {
                    treaty.change_demand(&columns(&rows));
                }
                is_cut
            }
            held => {
                let rows: Vec<Demand> = wanted.values().take(room).cloned().collect();
                treaty.demand(&columns(&rows));
                *held = Some(rows.into_iter().map(|row| (row.key, row)).collect());
                !fits_whole
            }
        }
    }
}

/// The rows that make `wanted` of `held`: those that end first, with count 0.
fn differences(held: &BTreeMap<u64, Demand>, wanted: &BTreeMap<u64, Demand>) -> Vec<Demand> {
    let ended = held
        .values()
        .filter(|row| !wanted.contains_key(&row.key))
        .map(|row| Demand {
            count: 0,
            ..row.clone()
        });
    let changed = wanted
        .values()
        .filter(|row| held.get(&row.key) != Some(row))
        .cloned();
    ended.chain(changed).collect()
}

fn columns(rows: &[Demand]) -> DemandColumns {
    let placement = |row: &Demand| match row.placement {
        Placement::Spread => 0,
        Placement::Pack => 1,
    };
    DemandColumns {
        key: rows.iter().map(|row| row.key).collect(),
        workload: rows.iter().map(|row| row.workload).collect(),
        generation: rows.iter().map(|row| row.generation).collect(),
        template: rows.iter().map(|row| row.template).collect(),
        count: rows.iter().map(|row| row.count).collect(),
        placement: rows.iter().map(placement).collect(),
        priority: rows.iter().map(|row| row.priority).collect(),
    }
}
