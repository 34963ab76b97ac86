//! An agent that is killed again and again while it starts tasks.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::process::{Child, Command};

use kelson_agent::ShutdownMode;
use kelson_model::task::TaskState;
use support::{FakeKernel, is_alive, script, shim_exe, start, wait_for};

const TASKS: u64 = 24;

fn kill_9(mut agent: Child) {
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_an_agent_is_killed_no_task_is_started_twice_and_none_is_lost() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let data = directory.path().join("agent");
    let starts = directory.path().join("starts");
    std::fs::write(&starts, "").unwrap();
    let spawn = || {
        Command::new(shim_exe())
            .arg("agent")
            .arg(&data)
            .arg(&kernel.address)
            .spawn()
            .unwrap()
    };
    let started = || std::fs::read_to_string(&starts).unwrap().lines().count();

    let first = spawn();
    kernel.wait_attached(1).await;
    for task in 1..=TASKS {
        // What is told to the outer world is the start itself; the shell then becomes the sleeper.
        kernel.run(
            task,
            &script(&format!(
                "echo {task} $$ >> {}; exec sleep 1000",
                starts.display()
            )),
        );
    }
    // Each agent is killed in the midst of it: when a few more than before have started.
    wait_for("the first starts", || (started() >= 3).then_some(())).await;
    kill_9(first);
    for round in 1..=3 {
        let before = started();
        let agent = spawn();
        kernel.wait_attached(round + 1).await;
        let wanted = (before + 4).min(usize::try_from(TASKS).unwrap());
        wait_for("more starts", || (started() >= wanted).then_some(())).await;
        kill_9(agent);
    }
    let agent = start(&data, &kernel).await;
    let mut pids = BTreeMap::new();
    for task in 1..=TASKS {
        pids.insert(
            task,
            kernel
                .wait_state(task, TaskState::Running)
                .await
                .pid
                .unwrap(),
        );
    }
    // A task is running a moment before it has written its line.
    let seen = wait_for("a line of every task", || {
        let mut seen: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for line in std::fs::read_to_string(&starts).unwrap().lines() {
            let (task, pid) = line.split_once(' ').unwrap();
            seen.entry(task.parse().unwrap())
                .or_default()
                .push(pid.parse().unwrap());
        }
        (seen.len() == pids.len()).then_some(seen)
    })
    .await;
    for (task, pid) in &pids {
        assert_eq!(
            seen[task],
            [*pid],
            "tsk_{task} was started once, and is the one that is told"
        );
        assert!(is_alive(*pid));
    }
    agent.stop(ShutdownMode::StopTasks).await;
    assert!(pids.values().all(|pid| !is_alive(*pid)));
}
