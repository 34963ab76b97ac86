//! Who makes the probes: a bounded number at a time, each for as long as its check allows.

use std::path::PathBuf;
use std::time::Duration;

use kelson_agent_core::{LaunchPlan, Probe, ProbeKind};
use kelson_model::id::TaskId;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{command, http};
use crate::isolation::Groups;
use crate::layout::Layout;
use crate::shim::CheckOrder;

/// How many probes are made at the same time: a thousand tasks whose checks hang must not keep a thousand processes busy.
const AT_ONCE: usize = 64;

/// Makes probes.
#[derive(Debug)]
pub(crate) struct Prober {
    layout: Layout,
    /// Where tasks listen.
    address: String,
    /// The executable that knows the mode `check`.
    runner: PathBuf,
    turn: Semaphore,
}

impl Prober {
    pub(crate) fn new(layout: Layout, address: String, runner: PathBuf) -> Self {
        Self {
            layout,
            address,
            runner,
            turn: Semaphore::new(AT_ONCE),
        }
    }

    /// Probes once; the error is a sentence for people. Takes no longer than the check's timeout, from its turn on.
    pub(crate) async fn probe(
        &self,
        task: TaskId,
        plan: &LaunchPlan,
        groups: &Groups,
        probe: &Probe,
    ) -> Result<(), String> {
        let _turn = self.turn.acquire().await;
        let timeout = Duration::from_millis(probe.pace.timeout.0);
        let attempt = async {
            match &probe.kind {
                ProbeKind::Http { port, path } => http::get(&self.address, *port, path).await,
                ProbeKind::Tcp { port } => {
                    let connected = TcpStream::connect((self.address.as_str(), *port)).await;
                    connected
                        .map(drop)
                        .map_err(|error| format!("port {port}: {}", error.kind()))
                }
                ProbeKind::Command { program, arguments } => {
                    let order = CheckOrder {
                        groups: groups.clone(),
                        program: program.clone(),
                        arguments: arguments.clone(),
                        environment: plan.environment.clone(),
                        directory: self.layout.work(task).join(&plan.directory),
                    };
                    command::run(&self.runner, &order).await
                }
            }
        };
        match tokio::time::timeout(timeout, attempt).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {}", probe.pace.timeout)),
        }
    }
}
