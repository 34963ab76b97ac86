//! What host functions cost a guest. Instructions cost fuel, but copying a row set costs none;
//! without a price a guest could keep the host busy with little code of its own. The price is
//! counted in units of fuel and depends on nothing but the calls, so it is the same on every run.

use crate::fault::Breach;

/// Units of one call.
const CALL: u64 = 100;
/// Bytes for one unit.
const BYTES_PER_UNIT: u64 = 4;

/// The account of one call of a guest.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    budget: u64,
    used: u64,
}

impl Meter {
    /// Opens an account of `budget` units.
    pub(crate) fn new(budget: u64) -> Self {
        Self { budget, used: 0 }
    }

    /// Charges one call that moves about `bytes`.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), Breach> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.used = self
            .used
            .saturating_add(CALL)
            .saturating_add(bytes / BYTES_PER_UNIT);
        if self.used > self.budget {
            return Err(Breach::OutOfWork);
        }
        Ok(())
    }

    /// What was used.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }
}
