//! Limits as the machine enforces them. Where it does not, each test says so and ends.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod support;

use std::path::PathBuf;

use kelson_agent::{LogLimit, ShutdownMode};
use kelson_model::task::TaskState;
use support::{FakeKernel, script, start, wait_for};

/// The file of the memory limit of a task, where memory is enforced here.
fn memory_limit(directory: &std::path::Path, task: u64) -> Option<PathBuf> {
    let spec = std::fs::read(directory.join(format!("tasks/tsk_{task}/spec.json"))).unwrap();
    let spec: serde_json::Value = serde_json::from_slice(&spec).unwrap();
    spec["launch"]["groups"]["limits"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|limit| {
            let file = limit["file"].as_str().unwrap();
            file.starts_with("memory.")
                .then(|| PathBuf::from(limit["path"].as_str().unwrap()).join(file))
        })
}

fn is_enforced(kernel: &FakeKernel) -> bool {
    let attributes = kernel.seen().attaches[0]
        .description
        .clone()
        .unwrap()
        .attributes;
    let level = attributes["isolation.memory"].clone();
    if level == "none" {
        eprintln!("skipped: no memory cgroup can be used here");
    }
    level != "none"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_above_its_memory_limit_is_killed_and_that_is_why() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    if is_enforced(&kernel) {
        // A shell that grows a variable without an end.
        let mut template = script("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done");
        template["resources"]["memory"] = "16Mi".into();
        kernel.run(1, &template);
        let over = kernel.wait_over(1).await;
        let exit = over.exit.unwrap();
        assert_eq!(
            (over.state, exit.oom, exit.by_agent),
            (TaskState::Failed, true, false)
        );
        assert!(exit.reason.contains("out of memory"), "{}", exit.reason);
        assert!(!over.isolation.contains("memory"), "{}", over.isolation);
    }
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_changed_by_hand_is_reported_and_put_back() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    if is_enforced(&kernel) {
        kernel.run(1, &script("exec sleep 1000"));
        kernel.run_with(2, &script("exec sleep 1000"), &[], false);
        for task in [1, 2] {
            kernel.wait_state(task, TaskState::Running).await;
            let limit = memory_limit(directory.path(), task).unwrap();
            assert_eq!(std::fs::read_to_string(&limit).unwrap().trim(), "268435456");
            std::fs::write(&limit, "536870912").unwrap();
        }
        let drift = kernel
            .wait("the reports", |seen| {
                (seen.drift.iter().filter(|one| one.healed).count() == 1 && seen.drift.len() == 3)
                    .then(|| seen.drift.clone())
            })
            .await;
        let of = |task| {
            let all = drift.iter().filter(move |one| one.task == task);
            all.map(|one| {
                (
                    one.desired_json.as_str(),
                    one.live_json.as_str(),
                    one.healed,
                )
            })
            .collect::<Vec<_>>()
        };
        assert_eq!(
            of(1),
            [
                ("268435456", "536870912", false),
                ("268435456", "536870912", true)
            ]
        );
        assert_eq!(
            of(2),
            [("268435456", "536870912", false)],
            "reported, and left"
        );
        assert!(
            drift[0].field.starts_with("cgroup/memory."),
            "{}",
            drift[0].field
        );
        let live =
            |task| std::fs::read_to_string(memory_limit(directory.path(), task).unwrap()).unwrap();
        assert_eq!((live(1).trim(), live(2).trim()), ("268435456", "536870912"));
    }
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cgroups_without_a_task_are_swept_and_those_of_ended_tasks_go() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    if !is_enforced(&kernel) {
        return agent.stop(ShutdownMode::StopTasks).await;
    }
    kernel.run(1, &script("exec sleep 1000"));
    kernel.wait_state(1, TaskState::Running).await;
    let group = memory_limit(directory.path(), 1)
        .unwrap()
        .parent()
        .unwrap()
        .to_owned();
    let orphan = group.parent().unwrap().join("tsk_77");
    std::fs::create_dir(&orphan).unwrap();
    let mut stray = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    std::fs::write(orphan.join("cgroup.procs"), stray.id().to_string()).unwrap();
    agent.stop(ShutdownMode::LeaveTasks).await;

    let agent = start(directory.path(), &kernel).await;
    assert!(
        !stray.wait().unwrap().success(),
        "the stray process was killed"
    );
    wait_for("the orphan's group to go", || {
        (!orphan.exists()).then_some(())
    })
    .await;
    assert!(group.exists(), "the task's own group stays");
    agent.stop(ShutdownMode::StopTasks).await;
    assert!(
        !group.exists() && !group.parent().unwrap().exists(),
        "nothing is left behind"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_bounded_and_the_newest_is_kept() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let mut config = support::config(directory.path(), &kernel);
    config.logs = LogLimit {
        bytes: 1000,
        files: 3,
    };
    let agent = kelson_agent::Agent::start(config).await.unwrap();
    kernel.wait_attached(1).await;
    kernel.run(
        1,
        &script("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done"),
    );
    assert_eq!(kernel.wait_over(1).await.state, TaskState::Finished);
    let logs = directory.path().join("tasks/tsk_1/logs");
    let mut all = String::new();
    for name in ["stdout.log.2", "stdout.log.1", "stdout.log"] {
        let text = std::fs::read_to_string(logs.join(name)).unwrap();
        assert!(text.len() <= 1000);
        all.push_str(&text);
    }
    assert!(all.ends_with("line 1998\nline 1999\n"));
    assert!(!logs.join("stdout.log.3").exists());
    agent.stop(ShutdownMode::StopTasks).await;
}
