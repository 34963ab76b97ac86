//! What survives the death of an agent, and what does not survive the death of a shim.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use kelson_agent::ShutdownMode;
use kelson_model::task::TaskState;
use support::{FakeKernel, is_alive, script, shim_exe, start, wait_for, wait_gone, wait_number};

/// An agent in a process of its own, to be killed.
fn spawn_agent(directory: &Path, kernel: &FakeKernel) -> Child {
    Command::new(shim_exe())
        .arg("agent")
        .arg(directory)
        .arg(&kernel.address)
        .spawn()
        .unwrap()
}

fn kill_9(pid: u32) {
    assert!(
        Command::new("kill")
            .arg("-9")
            .arg(pid.to_string())
            .status()
            .unwrap()
            .success()
    );
}

fn shim_of(directory: &Path, task: u64) -> u32 {
    let record = std::fs::read(directory.join(format!("tasks/tsk_{task}/running.json"))).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    u32::try_from(record["shim"]["pid"].as_u64().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agents_tasks_are_adopted_with_their_pids_and_exit_statuses() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let mut first = spawn_agent(directory.path(), &kernel);
    kernel.wait_attached(1).await;
    // One ends by itself later, one ends while there is no agent, one is stopped by the next agent.
    kernel.run(1, &script("until [ -e go ]; do sleep 0.02; done; exit 42"));
    kernel.run(2, &script("until [ -e go ]; do sleep 0.02; done; exit 7"));
    kernel.run(3, &script("exec sleep 1000"));
    let mut pids = Vec::new();
    for task in 1..=3 {
        pids.push(
            kernel
                .wait_state(task, TaskState::Running)
                .await
                .pid
                .unwrap(),
        );
    }
    let work = |task: u64| directory.path().join(format!("tasks/tsk_{task}/work"));
    kill_9(first.id());
    first.wait().unwrap();
    std::fs::write(work(2).join("go"), "").unwrap();
    let record = directory.path().join("tasks/tsk_2/exited.json");
    wait_for("the exit record", || record.exists().then_some(())).await;
    assert!(pids.iter().take(1).all(|pid| is_alive(*pid)));
    let told_before = kernel.seen().statuses.len();

    let agent = start(directory.path(), &kernel).await;
    let one = kernel
        .wait("tsk_1 again", |seen| {
            let mut since = seen.statuses.iter().skip(told_before);
            since.find(|status| status.task.0 == 1).cloned()
        })
        .await;
    assert_eq!(
        (one.state, one.pid),
        (TaskState::Running, pids.first().copied())
    );
    let two = kernel.wait_over(2).await;
    assert_eq!(
        (two.state, two.exit.unwrap().code),
        (TaskState::Failed, Some(7))
    );
    std::fs::write(work(1).join("go"), "").unwrap();
    assert_eq!(kernel.wait_over(1).await.exit.unwrap().code, Some(42));
    kernel.stop(3);
    let three = kernel.wait_over(3).await;
    let exit = three.exit.unwrap();
    assert_eq!(
        (three.state, exit.signal, exit.by_agent),
        (TaskState::Killed, Some(15), true)
    );

    let seen = kernel.seen();
    for task in 1..=3 {
        let sequences: Vec<u64> = seen
            .statuses
            .iter()
            .filter(|one| one.task.0 == task)
            .map(|one| one.sequence)
            .collect();
        assert!(
            sequences.windows(2).all(|pair| pair[0] < pair[1]),
            "tsk_{task}: {sequences:?}"
        );
    }
    let incarnations: Vec<u64> = seen
        .attaches
        .iter()
        .map(|attach| attach.incarnation)
        .collect();
    assert_eq!(incarnations, [1, 2]);
    assert_eq!(seen.attaches[1].agent, 1, "the id was kept");
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_shim_is_killed_is_lost_and_nothing_of_it_runs() {
    for use_cgroups in [true, false] {
        let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
        let mut config = support::config(directory.path(), &kernel);
        config.use_cgroups = use_cgroups;
        let agent = kelson_agent::Agent::start(config).await.unwrap();
        kernel.wait_attached(1).await;
        kernel.run(1, &script("setsid sh -c 'echo $$ > escaped; exec sleep 1000' & sleep 1000 & echo $! > child; wait"));
        let work = directory.path().join("tasks/tsk_1/work");
        let (escaped, child) = (
            wait_number(&work.join("escaped")).await,
            wait_number(&work.join("child")).await,
        );
        let running = kernel.wait_state(1, TaskState::Running).await;
        kill_9(shim_of(directory.path(), 1));
        let over = kernel.wait_over(1).await;
        assert_eq!(
            (over.state, over.exit.unwrap().reason.as_str()),
            (TaskState::Lost, "supervisor died")
        );
        for pid in [running.pid.unwrap(), child, escaped] {
            wait_gone(pid).await;
        }
        agent.stop(ShutdownMode::StopTasks).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_died_while_there_was_no_agent_leaves_a_lost_task_and_no_process() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let mut first = spawn_agent(directory.path(), &kernel);
    kernel.wait_attached(1).await;
    kernel.run(
        1,
        &script("setsid sh -c 'echo $$ > escaped; exec sleep 1000' & wait"),
    );
    let escaped = wait_number(&directory.path().join("tasks/tsk_1/work/escaped")).await;
    kernel.wait_state(1, TaskState::Running).await;
    kill_9(first.id());
    first.wait().unwrap();
    kill_9(shim_of(directory.path(), 1));
    let agent = start(directory.path(), &kernel).await;
    assert_eq!(kernel.wait_over(1).await.state, TaskState::Lost);
    wait_gone(escaped).await;
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_written_down_and_never_started_is_started_once_by_the_next_agent() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    // A shim that cannot run leaves a specification and nothing else, as a crash between the two
    // does.
    let mut config = support::config(directory.path(), &kernel);
    config.shim_exe = directory.path().join("slow");
    std::fs::write(
        &config.shim_exe,
        "#!/bin/sh\necho $$ > \"${0%/*}/slow-pid\"\nexec sleep 1000\n",
    )
    .unwrap();
    std::fs::set_permissions(&config.shim_exe, std::fs::Permissions::from_mode(0o755)).unwrap();
    config.use_cgroups = false;
    let first = kelson_agent::Agent::start(config).await.unwrap();
    kernel.wait_attached(1).await;
    kernel.run(1, &script("echo started >> times; exit 5"));
    let spec = directory.path().join("tasks/tsk_1/spec.json");
    wait_for("the specification", || spec.exists().then_some(())).await;
    let slow = wait_number(&directory.path().join("slow-pid")).await;
    first.stop(ShutdownMode::LeaveTasks).await;
    kill_9(slow);

    let agent = start(directory.path(), &kernel).await;
    assert_eq!(kernel.wait_over(1).await.exit.unwrap().code, Some(5));
    assert_eq!(
        std::fs::read_to_string(directory.path().join("tasks/tsk_1/work/times")).unwrap(),
        "started\n"
    );
    agent.stop(ShutdownMode::StopTasks).await;
}

#[test]
fn a_second_shim_refuses_a_task_that_was_started() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("running.json"), "{}").unwrap();
    let output = Command::new(shim_exe())
        .arg("shim")
        .arg(directory.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("started before"));
}

#[test]
fn a_gate_whose_shim_dies_before_it_opens_exits_with_126_and_runs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let gate = |theirs: UnixStream| {
        Command::new(shim_exe())
            .arg("gate")
            .current_dir(directory.path())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap()
    };
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut closed = gate(theirs);
    drop(ours);
    assert_eq!(closed.wait().unwrap().code(), Some(126));
    // Opened, but with nothing to run: that is another status.
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut opened = gate(theirs);
    ours.write_all(b"1").unwrap();
    assert_eq!(opened.wait().unwrap().code(), Some(127));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_do_not_share_a_directory() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    let second = kelson_agent::Agent::start(support::config(directory.path(), &kernel)).await;
    let error = second.map(drop).unwrap_err().to_string();
    assert!(error.contains(&std::process::id().to_string()), "{error}");
    agent.stop(ShutdownMode::StopTasks).await;
}
