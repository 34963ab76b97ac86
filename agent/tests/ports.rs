//! Ports that something else on the machine uses.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use kelson_agent::ShutdownMode;
use kelson_model::agent::PortRange;
use kelson_model::task::{CheckState, ExitCause, TaskState};
use support::{FakeKernel, script};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_never_passes_its_check_against_the_listener_of_a_stranger() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (first, second, outside) = (listen(), listen(), listen());
    let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
    let (low, high) = (
        port(&first).min(port(&second)),
        port(&first).max(port(&second)),
    );
    let mut config = support::config(directory.path(), &kernel);
    config.ports = PortRange {
        first: low,
        last: high,
    };
    let agent = kelson_agent::Agent::start(config).await.unwrap();
    kernel.wait_attached(1).await;
    let mut template = script("exec sleep 1000");
    template["ports"] = serde_json::json!([{"name": "http"}]);
    template["health"] = serde_json::json!({"tcp": {"port": "http"}});
    kernel.run_with(1, &template, &[("http", port(&first))], true);
    let over = kernel.wait_over(1).await;
    let exit = over.exit.unwrap();
    assert_eq!(
        (over.state, over.health, exit.cause),
        (
            TaskState::Failed,
            CheckState::Unknown,
            Some(ExitCause::PortsTaken)
        )
    );
    assert!(
        exit.reason.contains(&port(&first).to_string()),
        "{}",
        exit.reason
    );
    for taken in [&first, &second] {
        assert!(exit.taken_ports.contains(&port(taken)), "{exit:?}");
    }
    let is_foreign = (low..=high).contains(&port(&outside));
    assert_eq!(exit.taken_ports.contains(&port(&outside)), is_foreign);
    // One that was asked for by its number is refused as well.
    kernel.run_with(2, &template, &[("http", port(&outside))], true);
    let exit = kernel.wait_over(2).await.exit.unwrap();
    assert_eq!(exit.cause, Some(ExitCause::PortsTaken));
    agent.stop(ShutdownMode::StopTasks).await;
}

/// A task that has a port and never listens at it.
fn silent() -> serde_json::Value {
    let mut template = script("exec sleep 1000");
    template["ports"] = serde_json::json!([{"name": "http"}]);
    template
}

/// The task `task` of the one kernel whose agent was refused the port.
async fn refused_and_running(kernels: [&FakeKernel; 2], task: u64) -> (usize, usize) {
    let settled = |kernel: FakeKernel| async move {
        let status = kernel.wait("what came of a port", |seen| {
            let status = seen.last(task)?;
            let is_settled = status.state == TaskState::Running || status.state.is_terminal();
            is_settled.then(|| status.clone())
        });
        status.await
    };
    let both = (settled(kernels[0].clone()), settled(kernels[1].clone()));
    let (first, second) = tokio::join!(both.0, both.1);
    let (running, refused, which) = if first.state == TaskState::Running {
        (first, second, (1, 0))
    } else {
        (second, first, (0, 1))
    };
    let exit = refused.exit.unwrap();
    assert_eq!(
        (running.state, refused.state, exit.cause),
        (
            TaskState::Running,
            TaskState::Failed,
            Some(ExitCause::PortsTaken)
        )
    );
    which
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_agents_that_give_a_port_at_the_same_moment_one_gets_it_until_its_task_has_ended() {
    let kernels = [FakeKernel::start().await, FakeKernel::start().await];
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let agents = [
        support::start(directories[0].path(), &kernels[0]).await,
        support::start(directories[1].path(), &kernels[1]).await,
    ];
    for kernel in &kernels {
        kernel.run_with(1, &silent(), &[("http", port)], true);
    }
    let (refused, holder) = refused_and_running([&kernels[0], &kernels[1]], 1).await;
    // The claim is the task's and not its agent's.
    let [first, second] = agents;
    let (holding, other) = if holder == 0 {
        (first, second)
    } else {
        (second, first)
    };
    holding.stop(ShutdownMode::LeaveTasks).await;
    kernels[refused].run_with(2, &silent(), &[("http", port)], true);
    let exit = kernels[refused].wait_over(2).await.exit.unwrap();
    assert_eq!(exit.cause, Some(ExitCause::PortsTaken), "{exit:?}");
    assert!(exit.reason.contains(&port.to_string()), "{}", exit.reason);
    let holding = support::start(directories[holder].path(), &kernels[holder]).await;
    kernels[holder].stop(1);
    kernels[holder].wait_over(1).await;
    kernels[refused].run_with(3, &silent(), &[("http", port)], true);
    kernels[refused].wait_state(3, TaskState::Running).await;
    holding.stop(ShutdownMode::StopTasks).await;
    other.stop(ShutdownMode::StopTasks).await;
}
