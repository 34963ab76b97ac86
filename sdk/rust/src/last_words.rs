//! What a scheduler that panics says before it traps.

use crate::{Imports, Level, Treaty};

/// Makes a panic write its message and place to the log, as an error: the kernel shows the last one
/// with the trap.
///
/// A module for `wasm32-unknown-unknown` has no other way to say anything: without this, every
/// panic is the same `unreachable`.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        Imports.log(Level::Error as u32, &panic.to_string());
    }));
}
