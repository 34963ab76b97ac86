//! Leadership: what thinks begins with each term that this member leads, and ends with it.
//!
//! *Flow:* an election is won; what was committed before is applied here (the read barrier);
//! cluster time goes on from the newest entry; what was remembered of an earlier term is dropped,
//! the instances of schedulers with it; then the duties begin. When another term begins they are
//! ended. *Guarantees:* no duty sees a state that lacks what was committed before its term; what a
//! duty proposes is fenced by its term; the duties of one term have ended before those of the next
//! begin here. *Caveats:* a duty ends where it waits next, and a turn that runs in the sandbox
//! then runs on without any effect.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use kelson_kernel_core::round::RoundMemory;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{Tenure, run_frameworks, run_leases, run_rounds};
use crate::components::load_named;
use crate::kernel::{Inner, Kernel};
use crate::members::run_membership;
use crate::raft::{Leadership, ReadError};

/// Pause after a barrier that failed, and after a duty that has ended by itself.
const PAUSE: Duration = Duration::from_millis(50);

/// How a duty has ended by itself: why, where it must not be begun again.
pub type DutyEnd = Result<(), String>;

type Running = Pin<Box<dyn Future<Output = DutyEnd> + Send>>;

/// Something that is done for as long as this member leads.
#[derive(Clone)]
pub struct Duty {
    name: &'static str,
    begin: Arc<dyn Fn(Tenure) -> Running + Send + Sync>,
}

impl Duty {
    /// Names a duty, and says how it begins. It is dropped when the term is over. The name is that
    /// of its heart, where it has one.
    pub fn new<F: Future<Output = DutyEnd> + Send + 'static>(
        name: &'static str,
        begin: impl Fn(Tenure) -> F + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            begin: Arc::new(move |tenure| Box::pin(begin(tenure))),
        }
    }

    /// The duties of every leader: rounds, leases, the loading of frameworks, and the members.
    pub fn common() -> Vec<Self> {
        vec![
            Self::new("frameworks", |tenure| async {
                run_frameworks(tenure).await;
                Ok(())
            }),
            Self::new("rounds", |tenure| async {
                run_rounds(tenure).await;
                Ok(())
            }),
            Self::new("leases", |tenure| async {
                // The log has stopped, which ends the member.
                drop(run_leases(tenure).await);
                Ok(())
            }),
            Self::new("members", run_membership),
        ]
    }
}

/// Does these duties in each term that this member leads, until the log has stopped or one of them
/// must not be begun again.
///
/// # Errors
/// What that duty says.
pub async fn run_leader(kernel: Kernel, duties: Vec<Duty>) -> Result<(), String> {
    let mut tenures = kernel.watch_tenure();
    loop {
        let Some(term) = *tenures.borrow_and_update() else {
            if tenures.changed().await.is_err() {
                return Ok(());
            }
            continue;
        };
        let tenure = Tenure::new(kernel.clone(), term);
        // No scheduler is asked before it is there.
        tokio::select! {
            () = load_named(&kernel) => {}
            _ = tenures.wait_for(|now| *now != Some(term)) => continue,
        }
        let mut work: JoinSet<(&'static str, DutyEnd)> = JoinSet::new();
        for duty in &duties {
            let (name, running) = (duty.name, (duty.begin)(tenure.clone()));
            work.spawn(async move { (name, running.await) });
        }
        info!(
            term,
            "this member leads, and begins what only a leader does"
        );
        let verdict = tokio::select! {
            over = tenures.wait_for(|now| *now != Some(term)) => over.map(drop).map_err(|_| None),
            ended = work.join_next() => Err(Some(ended)),
        };
        work.shutdown().await;
        for duty in &duties {
            kernel.hearts().forget(duty.name);
        }
        drop_instances(&kernel);
        *kernel.memory() = RoundMemory::default();
        info!(term, "this member has ended what only a leader does");
        match verdict {
            Ok(()) => {}
            // The member was shut down.
            Err(None) => return Ok(()),
            Err(Some(Some(Ok((name, Err(reason)))))) => return Err(format!("{name}: {reason}")),
            Err(Some(ended)) => {
                let name = ended.and_then(Result::ok).map(|(name, _)| name);
                warn!(duty = name, "a duty has ended by itself; all begin again");
                sleep(PAUSE).await;
            }
        }
    }
}

fn drop_instances(kernel: &Kernel) {
    for seat in kernel.state().seats.keys() {
        kernel.host().drop_instance(seat);
    }
}

/// Takes up the leadership of each term and lays it down, for as long as the member lives and
/// somebody holds the kernel.
pub(crate) async fn run_tenures(kernel: Weak<Inner>, mut leadership: watch::Receiver<Leadership>) {
    loop {
        let now = *leadership.borrow_and_update();
        let mine = |new: &Leadership| new.is_mine && new.term == now.term;
        if now.is_mine {
            while mine(&leadership.borrow()) {
                let Some(own) = kernel.upgrade().map(Kernel::of) else {
                    return;
                };
                match own.member().read_barrier().await {
                    Ok(()) => {
                        own.begin_tenure(now.term);
                        break;
                    }
                    Err(ReadError::Stopped { .. }) => return,
                    Err(error) => {
                        warn!(term = now.term, %error, "this member was elected, and is not confirmed yet");
                    }
                }
                drop(own);
                sleep(PAUSE).await;
            }
            let is_known = leadership.wait_for(|new| !mine(new)).await.is_ok();
            let Some(own) = kernel.upgrade().map(Kernel::of) else {
                return;
            };
            own.end_tenure();
            if !is_known {
                return;
            }
        } else if leadership.changed().await.is_err() {
            return;
        }
    }
}
