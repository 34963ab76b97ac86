//! The kernel's pure part: the cluster's state, the commands that change it, and who is shown which
//! offers.
//!
//! This room decides what is legal (`command/`, one file per command, called by `apply.rs`; what
//! several share is in `lifecycle/`) and what is shown to whom (`round.rs`, `allocator.rs`,
//! `fairness.rs`). It never does I/O, reads no clock and makes no random number: the shell puts
//! time, ids of clients and principals into the commands. The same commands give the same state on
//! every member. How entries, replies and rows stand as bytes is in `form/`. Read `state.rs` first,
//! then `apply.rs`, then `round.rs`.

mod allocator;
mod apply;
pub mod assignment;
pub mod command;
mod context;
pub mod demand;
mod explain;
mod fairness;
pub mod form;
mod invariant;
mod leaving;
mod lifecycle;
pub mod object;
pub mod port;
mod ports;
pub mod record;
mod reply;
pub mod report;
pub mod round;
mod rows;
mod state;
mod tasks;
pub mod turn_size;

pub use apply::{Entry, apply, apply_form};
pub use context::Context;
pub use explain::{Absent, Explanation, explain_absent, explain_demand, explain_object};
pub use invariant::broken_invariants;
pub use reply::Reply;
pub use rows::StateView;
pub use state::{Counts, Records, RowKey, State};
pub use tasks::{TaskRef, Tasks};
