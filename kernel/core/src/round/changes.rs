//! Changes: sorts the rows that have changed since the last round by the seats that care.

use std::collections::BTreeSet;

use kelson_model::object::ObjectKey;

use super::memory::RoundMemory;
use crate::port::SeatId;
use crate::rows::workload_row;
use crate::state::{Farewell, RowKey, State};

/// Sorts the rows that have changed since the last round by the seats that care. Gives the seats of
/// which nobody knows any more which of their rows have gone.
pub(super) fn collect_changes(state: &State, memory: &mut RoundMemory) -> Vec<SeatId> {
    let since = memory.scanned.unwrap_or_default();
    let is_first = memory.scanned.is_none();
    memory.scanned = Some(state.index);
    match state.seats_since(since).filter(|_| !is_first) {
        Some(seats) => seats.for_each(|seat| memory.stir(seat)),
        None => state.seats.keys().for_each(|seat| memory.stir(seat)),
    }
    let unsure = match state.farewells_since(since) {
        Some(farewells) => {
            for (seat, farewell) in farewells {
                memory.news(seat).gone.insert(farewell);
                if let Farewell::Workload(workload) = farewell {
                    memory.seat(seat).rows.remove(&workload);
                }
            }
            Vec::new()
        }
        None => {
            let seats: Vec<SeatId> = state.seats.keys().cloned().collect();
            for seat in &seats {
                memory.news(seat);
            }
            seats
        }
    };
    let Some(keys) = state.changed_since(since) else {
        for key in state.objects.keys() {
            note_object(state, memory, key);
        }
        for task in state.tasks.iter() {
            memory.news(task.seat()).tasks.insert(task.id());
        }
        return unsure;
    };
    if keys.iter().any(|key| matches!(key, RowKey::Framework(_))) {
        note_owners(state, memory);
    }
    for key in keys {
        match key {
            RowKey::Object(object) => note_object(state, memory, &object),
            RowKey::Task(id) => {
                if let Some(task) = state.tasks.get(id) {
                    memory.news(task.seat()).tasks.insert(id);
                }
            }
            RowKey::Agent(id) => {
                let seats: BTreeSet<&SeatId> = state
                    .tasks_on(id)
                    .filter(|task| !task.is_forgotten())
                    .map(|task| task.seat())
                    .collect();
                for seat in seats {
                    memory.news(seat).agents.insert(id);
                }
            }
            RowKey::Framework(framework) => {
                let from = state.seats.range(SeatId::first_of(&framework)..);
                for (seat, _) in from.take_while(|(seat, _)| seat.framework == *framework) {
                    // There is nothing to show of it, and a turn all the same.
                    memory.news(seat).is_framework_new = true;
                }
            }
            RowKey::Source(_) | RowKey::Drift | RowKey::Event(..) => {}
        }
    }
    unsure
}

/// Notes an object whose row looks different to its seat. What a scheduler does not see, its status
/// above all, is no news to it.
fn note_object(state: &State, memory: &mut RoundMemory, key: &ObjectKey) {
    let Some(object) = state.objects.get(key) else {
        return;
    };
    let Some(seat) = state.seat_of(key) else {
        return;
    };
    let known = memory.seat(&seat);
    if let Some(row) = workload_row(state, object) {
        if known.rows.get(&row.id) == Some(&row) {
            return;
        }
        known.rows.insert(row.id, row);
    }
    memory.news(&seat).objects.insert(key.clone());
}

/// Notes the workloads that have changed hands because a framework has changed.
fn note_owners(state: &State, memory: &mut RoundMemory) {
    for (seat, known) in &mut memory.seats {
        known.rows.retain(|workload, _| {
            let object = state.object_of(*workload);
            object
                .and_then(|object| state.seat_of(&object.key))
                .as_ref()
                == Some(seat)
        });
    }
    for key in state.objects.keys() {
        note_object(state, memory, key);
    }
}
