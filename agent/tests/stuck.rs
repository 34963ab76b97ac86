//! What lives is ended before it is replaced, whatever its shim and its records have become.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::path::Path;
use std::process::{Child, Command};

use kelson_agent::{Agent, ShutdownMode, end_everything};
use kelson_model::task::{ExitCause, TaskState};
use support::{FakeKernel, is_alive, script, shim_exe, start, wait_for, wait_gone, wait_number};

/// Counts its starts, and leaves a child behind that its shell waits for and one that has left its
/// session.
const FAMILY: &str = "echo started >> times; setsid sh -c 'echo $$ > escaped; exec sleep 1000' & sleep 1000 & echo $! > child; wait";

async fn begin(directory: &Path, kernel: &FakeKernel, use_cgroups: bool) -> Agent {
    let mut config = support::config(directory, kernel);
    config.use_cgroups = use_cgroups;
    let agent = Agent::start(config).await.unwrap();
    kernel.wait_attached(1).await;
    agent
}

/// All processes of a task that runs [`FAMILY`].
async fn family(directory: &Path, kernel: &FakeKernel, task: u64) -> Vec<u32> {
    let work = directory.join(format!("tasks/tsk_{task}/work"));
    let program = kernel
        .wait_state(task, TaskState::Running)
        .await
        .pid
        .unwrap();
    let (escaped, child) = (work.join("escaped"), work.join("child"));
    vec![
        program,
        wait_number(&escaped).await,
        wait_number(&child).await,
    ]
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args([name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

fn record(directory: &Path, name: &str) -> serde_json::Value {
    let path = directory.join("tasks/tsk_1").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn shim_of(directory: &Path) -> u32 {
    let pid = record(directory, "running.json")["shim"]["pid"].clone();
    u32::try_from(pid.as_u64().unwrap()).unwrap()
}

fn spawn_agent(directory: &Path, kernel: &FakeKernel) -> Child {
    Command::new(shim_exe())
        .arg("agent")
        .arg(directory)
        .arg(&kernel.address)
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_records_cannot_be_read_is_ended_then_lost_and_never_started_again() {
    let spoiled = [
        ("spec.json", Some(r#"{"version":99}"#)),
        ("spec.json", None),
        ("running.json", Some("{")),
    ];
    for (use_cgroups, (name, content)) in [true, false]
        .into_iter()
        .flat_map(|with| spoiled.map(|spoiled| (with, spoiled)))
    {
        let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
        let first = begin(directory.path(), &kernel, use_cgroups).await;
        kernel.run(1, &script(FAMILY));
        let mut pids = family(directory.path(), &kernel, 1).await;
        pids.push(shim_of(directory.path()));
        first.stop(ShutdownMode::LeaveTasks).await;
        let path = directory.path().join("tasks/tsk_1").join(name);
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let agent = start(directory.path(), &kernel).await;
        let over = kernel.wait_over(1).await;
        assert_eq!(
            (over.state, over.exit.unwrap().cause),
            (TaskState::Lost, Some(ExitCause::RecordsUnreadable)),
            "{name}"
        );
        for pid in pids {
            assert!(!is_alive(pid), "{name}: it lived when it was called lost");
        }
        let times = directory.path().join("tasks/tsk_1/work/times");
        assert_eq!(std::fs::read_to_string(times).unwrap(), "started\n");
        agent.stop(ShutdownMode::StopTasks).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_shim_does_not_make_its_task_immortal() {
    for use_cgroups in [true, false] {
        let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
        let agent = begin(directory.path(), &kernel, use_cgroups).await;
        let mut template = script(FAMILY);
        template["stop"]["grace"] = "200ms".into();
        kernel.run(1, &template);
        let pids = family(directory.path(), &kernel, 1).await;
        let shim = shim_of(directory.path());
        signal(shim, "-STOP");
        kernel.stop(1);
        let over = kernel.wait_over(1).await;
        assert_eq!(over.state, TaskState::Killed);
        for pid in pids.into_iter().chain([shim]) {
            wait_gone(pid).await;
        }
        agent.stop(ShutdownMode::StopTasks).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_under_a_stopped_shim_is_told_all_the_same() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = begin(directory.path(), &kernel, true).await;
    kernel.run(
        1,
        &script("trap 'exit 7' USR1; while :; do sleep 0.02; done"),
    );
    let program = kernel.wait_state(1, TaskState::Running).await.pid.unwrap();
    signal(shim_of(directory.path()), "-STOP");
    signal(program, "-USR1");
    let over = kernel.wait_over(1).await;
    assert_eq!(
        (over.state, over.exit.unwrap().code),
        (TaskState::Failed, Some(7))
    );
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_survives_the_agent_with_one_signal_and_one_grace() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let mut first = spawn_agent(directory.path(), &kernel);
    kernel.wait_attached(1).await;
    let mut template =
        script("trap 'echo asked >> asked' TERM; echo $$ > up; while :; do sleep 0.02; done");
    template["stop"]["grace"] = "4s".into();
    kernel.run(1, &template);
    let work = directory.path().join("tasks/tsk_1/work");
    wait_number(&work.join("up")).await;
    kernel.wait_state(1, TaskState::Running).await;
    kernel.stop(1);
    let asked = work.join("asked");
    wait_for("the signal", || asked.exists().then_some(())).await;
    signal(first.id(), "-9");
    first.wait().unwrap();
    let noted = record(directory.path(), "notes.json");
    let told_before = kernel.seen().statuses.len();

    let agent = start(directory.path(), &kernel).await;
    let again = kernel
        .wait("tsk_1 again", |seen| {
            seen.statuses.get(told_before).cloned()
        })
        .await;
    assert_eq!(again.state, TaskState::Stopping);
    let over = kernel.wait_over(1).await;
    assert_eq!(
        (over.state, over.exit.unwrap().signal),
        (TaskState::Killed, Some(9))
    );
    assert_eq!(std::fs::read_to_string(asked).unwrap(), "asked\n");
    assert_eq!(
        record(directory.path(), "notes.json"),
        noted,
        "the same grace"
    );
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_one_cluster_are_not_handed_to_another() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    kernel.run(1, &script("exec sleep 1000"));
    let program = kernel.wait_state(1, TaskState::Running).await.pid.unwrap();
    agent.stop(ShutdownMode::LeaveTasks).await;
    let told_before = kernel.seen().statuses.len();
    kernel.become_cluster("another");
    let mut stranger = Agent::start(support::config(directory.path(), &kernel))
        .await
        .unwrap();
    let error = stranger.ended().await.to_string();
    assert!(
        error.contains("test") && error.contains("another"),
        "{error}"
    );
    stranger.stop(ShutdownMode::LeaveTasks).await;
    assert!(is_alive(program));
    assert_eq!(
        kernel.seen().statuses.len(),
        told_before,
        "not a word of it"
    );
    kernel.become_cluster("test");
    let agent = start(directory.path(), &kernel).await;
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_up_a_data_directory_leaves_no_process_and_no_cgroup() {
    for use_cgroups in [true, false] {
        let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
        let agent = begin(directory.path(), &kernel, use_cgroups).await;
        for task in [1, 2] {
            kernel.run(task, &script(FAMILY));
        }
        let mut pids = family(directory.path(), &kernel, 1).await;
        pids.extend(family(directory.path(), &kernel, 2).await);
        let groups = record(directory.path(), "spec.json")["launch"]["groups"]["groups"].clone();
        let refused = end_everything(directory.path()).unwrap_err();
        assert!(refused.to_string().contains("used by another agent"));
        agent.stop(ShutdownMode::LeaveTasks).await;
        // One of which nothing can be read, and one whose shim has died.
        std::fs::write(directory.path().join("tasks/tsk_2/spec.json"), "{").unwrap();
        signal(shim_of(directory.path()), "-9");
        end_everything(directory.path()).unwrap();
        for pid in pids {
            wait_gone(pid).await;
        }
        for group in groups.as_array().unwrap() {
            let path = Path::new(group["path"].as_str().unwrap());
            assert!(!path.parent().unwrap().exists(), "{}", path.display());
        }
    }
}
