//! The kernel's pure part: the cluster's state, the commands that change it, and who is shown which offers.
//!
//! This room decides what is legal (`command/`, one file per command, called by `apply.rs`) and what is shown to whom
//! (`round.rs`, `allocator.rs`, `fairness.rs`). It never does I/O, reads no clock and makes no random number: the shell puts
//! time, ids of clients and principals into the commands. The same commands give the same state on every member.
//! Read `state.rs` first, then `apply.rs`, then `round.rs`.

mod allocator;
mod apply;
pub mod assignment;
pub mod command;
mod explain;
mod fairness;
mod invariant;
pub mod object;
pub mod port;
pub mod record;
pub mod report;
pub mod round;
mod rows;
mod state;

pub use apply::{Context, Entry, Reply, apply};
pub use explain::{Explanation, explain_demand, explain_object};
pub use invariant::broken_invariants;
pub use rows::StateView;
pub use state::{RowKey, State};
