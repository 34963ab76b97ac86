//! Health and readiness checks against a server that the test controls.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use kelson_agent::ShutdownMode;
use kelson_model::task::{CheckState, TaskState};
use support::{FakeKernel, script, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A port at which nobody listens: a task is not started while somebody does.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Listens in the place of a task that runs, and answers every request with the status that stands
/// in the cell.
async fn serve(port: u16, status: Arc<AtomicU16>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let status = status.load(Ordering::SeqCst);
            tokio::spawn(async move {
                let mut request = vec![0u8; 1024];
                let count = stream.read(&mut request).await.unwrap_or(0);
                let asked = String::from_utf8_lossy(&request[..count]).into_owned();
                let status = if asked.starts_with("GET /up HTTP/1.1\r\n") {
                    status
                } else {
                    404
                };
                let _ = stream
                    .write_all(
                        format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes(),
                    )
                    .await;
            });
        }
    });
}

fn checked(health: serde_json::Value) -> serde_json::Value {
    let mut template = script("exec sleep 1000");
    template["ports"] = serde_json::json!([{"name": "http"}]);
    template["health"] = health;
    template
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_check_turns_healthy_unhealthy_and_healthy_again() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    let status = Arc::new(AtomicU16::new(503));
    let port = free_port();
    let health = serde_json::json!({"http": {"port": "http", "path": "/up"}, "interval": "20ms", "timeout": "10s", "failures": 2});
    kernel.run_with(1, &checked(health), &[("http", port)], true);
    let running = kernel.wait_state(1, TaskState::Running).await;
    serve(port, Arc::clone(&status)).await;
    assert_eq!(
        (running.health, running.ready),
        (CheckState::Unknown, false),
        "a failure in the grace is no verdict"
    );
    let wait_health = async |health| {
        kernel
            .wait("a change of health", |seen| {
                seen.last(1)
                    .filter(|status| status.health == health)
                    .cloned()
            })
            .await
    };
    status.store(204, Ordering::SeqCst);
    assert!(wait_health(CheckState::Healthy).await.ready);
    status.store(500, Ordering::SeqCst);
    let bad = wait_health(CheckState::Unhealthy).await;
    assert_eq!(
        (bad.state, bad.ready),
        (TaskState::Running, false),
        "its scheduler decides what follows"
    );
    assert!(bad.message.contains("status 500"), "{}", bad.message);
    status.store(302, Ordering::SeqCst);
    wait_health(CheckState::Healthy).await;
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_an_axis_of_its_own() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    let port = free_port();
    let mut template = checked(serde_json::json!({"tcp": {"port": "http"}}));
    template["readiness"] =
        serde_json::json!({"command": {"command": "test", "args": ["-e", "ready"]}});
    kernel.run_with(1, &template, &[("http", port)], true);
    kernel.wait_state(1, TaskState::Running).await;
    serve(port, Arc::new(AtomicU16::new(200))).await;
    let healthy = kernel
        .wait("health", |seen| {
            seen.last(1)
                .filter(|status| status.health == CheckState::Healthy)
                .cloned()
        })
        .await;
    assert!(!healthy.ready);
    std::fs::write(directory.path().join("tasks/tsk_1/work/ready"), "").unwrap();
    kernel
        .wait("readiness", |seen| {
            seen.last(1).filter(|status| status.ready).cloned()
        })
        .await;
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_hangs_is_cut_at_its_timeout_and_killed() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    let health = serde_json::json!({
        "command": {"command": "sh", "args": ["-c", "echo $$$$ > probe; exec sleep 1000"]},
        "interval": "20ms", "timeout": "300ms", "grace": "0s", "failures": 1,
    });
    kernel.run(1, &checked(health));
    let bad = kernel
        .wait("ill health", |seen| {
            seen.last(1)
                .filter(|status| status.health == CheckState::Unhealthy)
                .cloned()
        })
        .await;
    assert!(
        bad.message.contains("no answer within 300ms"),
        "{}",
        bad.message
    );
    kernel.stop(1);
    kernel.wait_over(1).await;
    // No probe is made any more; the last one has been killed.
    let last = support::wait_number(&directory.path().join("tasks/tsk_1/work/probe")).await;
    support::wait_gone(last).await;
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_runs_inside_the_task_and_nothing_of_it_outlives_it() {
    for use_cgroups in [true, false] {
        let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
        let mut config = support::config(directory.path(), &kernel);
        config.use_cgroups = use_cgroups;
        let agent = kelson_agent::Agent::start(config).await.unwrap();
        kernel.wait_attached(1).await;
        let check = "cat /proc/self/cgroup > groups; setsid sleep 1000 & echo $$! > stray";
        let health = serde_json::json!({"command": {"command": "sh", "args": ["-c", check]}});
        kernel.run(1, &checked(health));
        kernel
            .wait("health", |seen| {
                seen.last(1)
                    .filter(|status| status.health == CheckState::Healthy)
                    .cloned()
            })
            .await;
        let task = directory.path().join("tasks/tsk_1");
        support::wait_gone(support::wait_number(&task.join("work/stray")).await).await;
        let spec = std::fs::read(task.join("spec.json")).unwrap();
        let spec: serde_json::Value = serde_json::from_slice(&spec).unwrap();
        let used = spec["launch"]["groups"]["groups"].as_array().unwrap().len();
        let groups = std::fs::read_to_string(task.join("work/groups")).unwrap();
        let inside = groups.lines().filter(|line| line.ends_with("/tsk_1"));
        assert_eq!(inside.count(), used, "{groups}");
        agent.stop(ShutdownMode::StopTasks).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_healthy_is_adopted_as_healthy_though_it_does_not_answer_at_once() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    let status = Arc::new(AtomicU16::new(200));
    let port = free_port();
    let health = serde_json::json!({"http": {"port": "http", "path": "/up"}, "interval": "1s", "timeout": "10s", "grace": "60s", "failures": 1000});
    kernel.run_with(1, &checked(health), &[("http", port)], true);
    kernel.wait_state(1, TaskState::Running).await;
    serve(port, Arc::clone(&status)).await;
    let healthy = kernel
        .wait("health", |seen| {
            seen.last(1)
                .filter(|status| status.health == CheckState::Healthy)
                .cloned()
        })
        .await;
    agent.stop(ShutdownMode::LeaveTasks).await;
    status.store(500, Ordering::SeqCst);
    let told_before = kernel.seen().statuses.len();
    let agent = start(directory.path(), &kernel).await;
    let again = kernel
        .wait("tsk_1 again", |seen| {
            seen.statuses.get(told_before).cloned()
        })
        .await;
    assert_eq!(
        (again.state, again.health, again.ready, again.pid),
        (healthy.state, healthy.health, healthy.ready, healthy.pid)
    );
    assert!(again.healthy_for >= healthy.healthy_for);
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_names_no_port_of_the_task_fails_it_before_it_starts() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    kernel.run(1, &checked(serde_json::json!({"tcp": {"port": "nothing"}})));
    let reason = kernel.wait_over(1).await.exit.unwrap().reason;
    assert!(reason.contains("no port 'nothing'"), "{reason}");
    agent.stop(ShutdownMode::StopTasks).await;
}
