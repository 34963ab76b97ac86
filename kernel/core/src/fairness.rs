//! Fairness: who is furthest below its share.
//!
//! Weighted dominant resource fairness, first between namespaces, then between the seats of a
//! namespace. Shares are integers: billionths of the whole, divided by the weight.

use std::collections::{BTreeMap, BTreeSet};

use kelson_model::object::Namespace;
use kelson_model::quantity::Resources;

use crate::port::SeatId;
use crate::state::State;

/// The whole of a resource, as a share.
const WHOLE: u128 = 1_000_000_000;

/// The largest of the shares of `used` in `total`, in billionths, divided by `weight`.
pub(crate) fn dominant_share(used: &Resources, total: &Resources, weight: u32) -> u128 {
    let share = |used: u64, total: u64| {
        (u128::from(used) * WHOLE * 1000)
            .checked_div(u128::from(total))
            .unwrap_or(0)
    };
    let largest = share(used.cpus.0, total.cpus.0)
        .max(share(used.memory.0, total.memory.0))
        .max(share(used.disk.0, total.disk.0));
    largest / u128::from(weight.max(1))
}

/// Seats that want something, ordered so that the one furthest below its share is first.
pub(crate) struct Queue {
    total: Resources,
    namespaces: BTreeMap<Namespace, Ranked>,
    order: BTreeSet<(u128, Namespace)>,
}

struct Ranked {
    weight: u32,
    used: Resources,
    share: u128,
    seats: BTreeMap<SeatId, (Resources, u128)>,
    order: BTreeSet<(u128, SeatId)>,
}

impl Queue {
    /// Ranks these seats by what they hold now.
    pub(crate) fn new<'a>(state: &State, seats: impl Iterator<Item = &'a SeatId>) -> Self {
        let total = state.capacity();
        let mut queue = Self {
            total,
            namespaces: BTreeMap::new(),
            order: BTreeSet::new(),
        };
        for seat in seats {
            let record = state
                .namespaces
                .get(&seat.namespace)
                .copied()
                .unwrap_or_default();
            let used = state
                .seats
                .get(seat)
                .map(|seat| seat.used)
                .unwrap_or_default();
            let share = dominant_share(&record.used, &total, record.weight);
            let ranked = queue
                .namespaces
                .entry(seat.namespace.clone())
                .or_insert_with(|| Ranked {
                    weight: record.weight,
                    used: record.used,
                    share,
                    seats: BTreeMap::new(),
                    order: BTreeSet::new(),
                });
            let seat_share = dominant_share(&used, &total, 1);
            ranked.seats.insert(seat.clone(), (used, seat_share));
            ranked.order.insert((seat_share, seat.clone()));
            queue.order.insert((share, seat.namespace.clone()));
        }
        queue
    }

    /// Counts what a turn under way may come to hold against its namespace.
    pub(crate) fn hold(&mut self, namespace: &Namespace, resources: &Resources) {
        let Some(ranked) = self.namespaces.get_mut(namespace) else {
            return;
        };
        let is_waiting = self.order.remove(&(ranked.share, namespace.clone()));
        ranked.used = ranked.used.plus(resources);
        ranked.share = dominant_share(&ranked.used, &self.total, ranked.weight);
        if is_waiting {
            self.order.insert((ranked.share, namespace.clone()));
        }
    }

    /// The seat that is furthest below its share.
    pub(crate) fn first(&self) -> Option<SeatId> {
        let (_, namespace) = self.order.first()?;
        Some(self.namespaces.get(namespace)?.order.first()?.1.clone())
    }

    /// Takes a seat out: it wants nothing more, or nothing that fits.
    pub(crate) fn remove(&mut self, seat: &SeatId) {
        let Some(ranked) = self.namespaces.get_mut(&seat.namespace) else {
            return;
        };
        if let Some((_, share)) = ranked.seats.remove(seat) {
            ranked.order.remove(&(share, seat.clone()));
        }
        if ranked.order.is_empty() {
            self.order.remove(&(ranked.share, seat.namespace.clone()));
        }
    }

    /// Charges a seat and its namespace.
    pub(crate) fn charge(&mut self, seat: &SeatId, resources: &Resources) {
        let Some(ranked) = self.namespaces.get_mut(&seat.namespace) else {
            return;
        };
        self.order.remove(&(ranked.share, seat.namespace.clone()));
        ranked.used = ranked.used.plus(resources);
        ranked.share = dominant_share(&ranked.used, &self.total, ranked.weight);
        if let Some((used, share)) = ranked.seats.get_mut(seat) {
            ranked.order.remove(&(*share, seat.clone()));
            *used = used.plus(resources);
            *share = dominant_share(used, &self.total, 1);
            ranked.order.insert((*share, seat.clone()));
        }
        self.order.insert((ranked.share, seat.namespace.clone()));
    }

    /// All seats, furthest below its share first.
    pub(crate) fn in_order(&self) -> Vec<SeatId> {
        let ranked = self
            .order
            .iter()
            .filter_map(|(_, namespace)| self.namespaces.get(namespace));
        ranked
            .flat_map(|ranked| ranked.order.iter().map(|(_, seat)| seat.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kelson_model::quantity::{Bytes, MilliCpus};

    #[test]
    fn the_dominant_share_is_the_largest_one_divided_by_the_weight() {
        let total = Resources {
            cpus: MilliCpus(10_000),
            memory: Bytes(1000),
            disk: Bytes(0),
        };
        let used = Resources {
            cpus: MilliCpus(1000),
            memory: Bytes(500),
            disk: Bytes(0),
        };
        assert_eq!(dominant_share(&used, &total, 1), WHOLE * 1000 / 2);
        assert_eq!(dominant_share(&used, &total, 5), WHOLE * 1000 / 10);
    }
}
