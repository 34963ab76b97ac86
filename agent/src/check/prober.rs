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

/// How many probes are made at the same time: a thousand tasks whose checks hang must not keep a
/// thousand processes busy.
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

    /// Probes once; the error is a sentence for people. Takes no longer than the check's timeout,
    /// from its turn on.
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::Arc;

    use kelson_agent_core::{Environment, Pace};
    use kelson_model::quantity::{Bytes, MilliCpus, Millis};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    fn plan(port: u16) -> (LaunchPlan, Probe) {
        let plan = LaunchPlan {
            program: String::new(),
            arguments: Vec::new(),
            environment: Environment::new(),
            directory: ".".to_owned(),
            files: Vec::new(),
            stop_signal: 15,
            cpus: MilliCpus(0),
            memory: Bytes(0),
            health: None,
            readiness: None,
        };
        let pace = Pace {
            interval: Millis(1000),
            timeout: Millis(60_000),
            grace: Millis(0),
            failures: 1,
        };
        let path = "/".to_owned();
        let kind = ProbeKind::Http { port, path };
        (plan, Probe { kind, pace })
    }

    #[tokio::test]
    async fn however_many_checks_are_due_a_bounded_number_runs_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let prober = Arc::new(Prober::new(
            Layout::new(PathBuf::from("/nowhere")),
            "127.0.0.1".to_owned(),
            PathBuf::from("/nowhere"),
        ));
        let mut probes = tokio::task::JoinSet::new();
        let (all, mut answered, mut waiting) = (3 * AT_ONCE, 0, Vec::new());
        for task in 1..=all {
            let (prober, (plan, probe)) = (Arc::clone(&prober), plan(port));
            let task = TaskId(task as u64);
            probes.spawn(async move {
                let groups = Groups::default();
                prober.probe(task, &plan, &groups, &probe).await
            });
        }
        while answered < all {
            while waiting.len() < AT_ONCE {
                waiting.push(listener.accept().await.unwrap().0);
            }
            // Whoever is let in besides would be here soon.
            for _ in 0..200 {
                tokio::task::yield_now().await;
                let more = tokio::select! {
                    biased;
                    _ = listener.accept() => true,
                    () = std::future::ready(()) => false,
                };
                assert!(!more, "more than {AT_ONCE} at once");
            }
            for mut stream in waiting.drain(..) {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                answered += 1;
            }
        }
        while let Some(result) = probes.join_next().await {
            result.unwrap().unwrap();
        }
    }
}
