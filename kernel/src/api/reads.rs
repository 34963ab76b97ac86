//! How fresh an answer is: every member answers reads, and whoever asks says what is enough.

use std::time::Duration;

use axum::http::StatusCode;
use kelson_kernel_core::State;
use kelson_model::code::Code;
use kelson_model::id::Index;
use tokio::time::timeout;

use super::http::Failure;
use crate::kernel::Kernel;
use crate::raft::ReadError;

/// How long a member that is behind may take to come up to an index.
const CATCH_UP: Duration = Duration::from_secs(10);

/// How fresh what is read has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Freshness {
    /// It has everything that was answered before it was asked for; a majority confirms that.
    #[default]
    Linearizable,
    /// The same, as long as the clocks of the members run about equally fast: the leader answers
    /// without asking anybody. Others pass a barrier.
    Lease,
    /// What this member has, which is at least as new as this index.
    Stale(Index),
}

/// The state, as fresh as it has to be.
///
/// # Errors
/// Nobody leads, or this member does not come up to the index in time.
pub(super) async fn state(kernel: &Kernel, freshness: Freshness) -> Result<State, Failure> {
    let leaderless = |error: ReadError| Failure::leaderless(error.to_string());
    match freshness {
        Freshness::Linearizable => kernel.member().read_barrier().await.map_err(leaderless)?,
        Freshness::Lease => match kernel.member().lease_barrier().await {
            Err(ReadError::NotLeader { .. }) => {
                kernel.member().read_barrier().await.map_err(leaderless)?;
            }
            outcome => outcome.map_err(leaderless)?,
        },
        Freshness::Stale(index) => {
            let mut view = kernel.watch();
            let reached = timeout(CATCH_UP, view.wait_for(|state| state.index >= index)).await;
            if !matches!(reached, Ok(Ok(_))) {
                return Err(Failure::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    Code::NoLeader,
                    format!("this member has not come up to index {index} in time"),
                    "ask another member; see `kelson members`",
                ));
            }
        }
    }
    Ok(kernel.state())
}
