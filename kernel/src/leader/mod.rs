//! What only the leader does: rounds of turns, loading components, watching leases, previews.
//! `leadership.rs` begins and ends them with each term.

mod frameworks;
mod leadership;
mod leases;
pub mod preview;
mod rounds;
mod tenure;

pub use frameworks::run_frameworks;
pub(crate) use leadership::run_tenures;
pub use leadership::{Duty, DutyEnd, run_leader};
pub use leases::run_leases;
pub use rounds::run_rounds;
pub use tenure::Tenure;
