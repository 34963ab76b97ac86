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
