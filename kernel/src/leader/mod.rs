//! What only the leader does: rounds of turns, loading components, watching leases, previews.

mod frameworks;
mod leases;
pub mod preview;
mod rounds;

pub use frameworks::run_frameworks;
pub use leases::run_leases;
pub use rounds::run_rounds;
