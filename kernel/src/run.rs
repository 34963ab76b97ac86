//! Running: everything that a member does for as long as it lives, with one owner.

use std::future::Future;
use std::sync::Arc;

use kelson_kernel_core::port::SchedulerHost;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::error;

use crate::api::{run_api, run_dispatch};
use crate::kernel::{Kernel, KernelConfig, KernelError};
use crate::leader::{run_frameworks, run_leases, run_rounds};

/// Why a running kernel ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] KernelError),
    /// The log stopped for good: disk, or an entry that this version does not know.
    #[error("the replicated log stopped: {0}")]
    Stopped(crate::raft::RaftError),
    /// The API's listener failed.
    #[error("the API failed: {0}")]
    Api(std::io::Error),
    /// One of its loops ended.
    #[error("the {0} loop ended")]
    Ended(&'static str),
}

/// Runs a member until `shutdown` is done.
///
/// *Flow:* start the log, then the leader's loops and the API; `ready` is called once the API answers. *Guarantees:* when any part ends,
/// all end, and the process should exit: a half-running kernel helps nobody.
///
/// # Errors
/// See [`RunError`].
pub async fn run_kernel(
    config: KernelConfig,
    host: Arc<dyn SchedulerHost>,
    listener: TcpListener,
    ready: impl FnOnce(Kernel),
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let kernel = Kernel::start(config, host).await?;
    let (stop, stopped) = watch::channel(false);
    let mut loops: JoinSet<Result<(), RunError>> = JoinSet::new();
    let ended = |name: &'static str, error: Option<String>| {
        if let Some(error) = error {
            error!(%error, "the {name} loop failed");
        }
        Err(RunError::Ended(name))
    };
    let [rounds, dispatch, frameworks, leases, api] = std::array::from_fn(|_| kernel.clone());
    loops.spawn(async move {
        run_rounds(rounds).await;
        ended("round", None)
    });
    loops.spawn(async move {
        run_dispatch(dispatch).await;
        ended("dispatch", None)
    });
    loops.spawn(async move {
        ended(
            "framework",
            run_frameworks(frameworks)
                .await
                .err()
                .map(|error| error.to_string()),
        )
    });
    loops.spawn(async move {
        ended(
            "lease",
            run_leases(leases)
                .await
                .err()
                .map(|error| error.to_string()),
        )
    });
    let mut until = stopped.clone();
    let asked = async move {
        let _ = until.wait_for(|stop| *stop).await;
    };
    loops.spawn(async move { run_api(api, listener, asked).await.map_err(RunError::Api) });
    ready(kernel.clone());
    let member = kernel.member().clone();
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        reason = member.stopped() => Err(RunError::Stopped(reason)),
        Some(joined) = loops.join_next() => joined.unwrap_or(Err(RunError::Ended("kernel"))),
    };
    stop.send_replace(true);
    loops.shutdown().await;
    member.shutdown().await;
    outcome
}
