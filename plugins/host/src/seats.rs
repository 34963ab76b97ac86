//! The warm instances, one a seat.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kelson_kernel_core::port::SeatId;

use crate::instance::Warm;

/// All seats that have an instance, or a call going on.
pub(crate) struct Seats {
    most: usize,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    by_seat: BTreeMap<SeatId, Slot>,
    /// Grows with each use; the smallest was used longest ago.
    uses: u64,
}

enum Slot {
    /// Nobody calls it.
    Idle { warm: Box<Warm>, used: u64 },
    /// A call is going on; whether its instance was dropped meanwhile.
    Busy { is_dropped: bool },
}

impl Seats {
    /// Keeps at most `most` warm instances.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            slots: Mutex::default(),
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call on a seat. If one is going on already, the lease has no instance and keeps
    /// none.
    pub(crate) fn lease(&self, seat: &SeatId) -> Lease<'_> {
        let busy = Slot::Busy { is_dropped: false };
        let mut slots = self.slots();
        let (warm, is_sole) = match slots.by_seat.insert(seat.clone(), busy) {
            None => (None, true),
            Some(Slot::Idle { warm, .. }) => (Some(warm), true),
            Some(busy @ Slot::Busy { .. }) => {
                slots.by_seat.insert(seat.clone(), busy);
                (None, false)
            }
        };
        Lease {
            seats: self,
            seat: seat.clone(),
            warm,
            is_sole,
        }
    }

    /// Drops the instance of a seat; one that is being called goes when the call ends.
    pub(crate) fn drop_instance(&self, seat: &SeatId) {
        let mut slots = self.slots();
        let dropped = match slots.by_seat.get_mut(seat) {
            Some(Slot::Busy { is_dropped }) => {
                *is_dropped = true;
                None
            }
            Some(Slot::Idle { .. }) => slots.by_seat.remove(seat),
            None => None,
        };
        // Unmapping a guest's memory takes a while; not under the lock.
        drop(slots);
        drop(dropped);
    }

    fn end(&self, seat: &SeatId, warm: Option<Box<Warm>>) {
        let mut slots = self.slots();
        let mut out = Vec::new();
        let slot = slots.by_seat.remove(seat);
        match (slot, warm) {
            (Some(Slot::Busy { is_dropped: false }), Some(warm)) => {
                slots.uses += 1;
                let used = slots.uses;
                slots
                    .by_seat
                    .insert(seat.clone(), Slot::Idle { warm, used });
                out.extend(slots.evict(self.most));
            }
            (slot, warm) => {
                out.extend(slot);
                out.extend(warm.map(|warm| Slot::Idle { warm, used: 0 }));
            }
        }
        drop(slots);
        drop(out);
    }
}

impl Slots {
    /// Takes out the instance that was used longest ago, where there are more than `most`.
    fn evict(&mut self, most: usize) -> Option<Slot> {
        if self.by_seat.len() <= most {
            return None;
        }
        let oldest = self
            .by_seat
            .iter()
            .filter_map(|(seat, slot)| match slot {
                Slot::Idle { used, .. } => Some((*used, seat.clone())),
                Slot::Busy { .. } => None,
            })
            .min()?;
        self.by_seat.remove(&oldest.1)
    }
}

/// A call on a seat; the seat is free again when it is dropped.
pub(crate) struct Lease<'a> {
    seats: &'a Seats,
    seat: SeatId,
    warm: Option<Box<Warm>>,
    is_sole: bool,
}

impl Lease<'_> {
    /// Takes the instance, which is then gone unless it is kept.
    pub(crate) fn take(&mut self) -> Option<Box<Warm>> {
        self.warm.take()
    }

    /// Keeps an instance for the seat's next turn.
    pub(crate) fn keep(&mut self, warm: Warm) {
        self.warm = Some(Box::new(warm));
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.is_sole {
            self.seats.end(&self.seat, self.warm.take());
        }
    }
}
