//! Tasks from their order to their end, with real processes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use kelson_agent::ShutdownMode;
use kelson_model::task::{CheckState, TaskState};
use support::{FakeKernel, is_alive, script, start, wait_for, wait_gone, wait_number};

#[tokio::test(flavor = "multi_thread")]
async fn exit_statuses_and_signals_are_told_as_they_were() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    kernel.run(1, &script("exit 0"));
    kernel.run(2, &script("exit 42"));
    kernel.run(3, &script("kill -9 $$"));
    kernel.run(
        4,
        &serde_json::json!({"run": {"command": "no-such-program"}}),
    );
    kernel.run(
        5,
        &serde_json::json!({"run": {"command": "sh", "args": ["${NOT_THERE}"]}}),
    );

    let one = kernel.wait_over(1).await;
    assert_eq!(
        (one.state, one.exit.unwrap().code),
        (TaskState::Finished, Some(0))
    );
    let two = kernel.wait_over(2).await;
    let exit = two.exit.unwrap();
    assert_eq!(
        (two.state, exit.code, exit.reason.as_str()),
        (TaskState::Failed, Some(42), "exited with status 42")
    );
    let three = kernel.wait_over(3).await;
    let exit = three.exit.unwrap();
    assert_eq!(
        (three.state, exit.code, exit.signal, exit.by_agent),
        (TaskState::Failed, None, Some(9), false)
    );
    let four = kernel.wait_over(4).await;
    let reason = four.exit.unwrap().reason;
    assert_eq!(four.state, TaskState::Failed);
    assert_eq!(
        reason,
        "could not be started: there is no program 'no-such-program' on PATH or in the workdir"
    );
    let five = kernel.wait_over(5).await.exit.unwrap().reason;
    assert!(
        five.contains("args[0]") && five.contains("NOT_THERE"),
        "{five}"
    );
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_task_gets_its_signal_first() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    kernel.run(
        1,
        &script("trap 'echo bye; exit 3' TERM; echo up > up; while :; do sleep 0.05; done"),
    );
    let running = kernel.wait_state(1, TaskState::Running).await;
    assert_eq!(
        (running.health, running.ready),
        (CheckState::Healthy, true),
        "no check: running is healthy"
    );
    let up = directory.path().join("tasks/tsk_1/work/up");
    wait_for("the trap", || up.exists().then_some(())).await;
    kernel.stop(1);
    let over = kernel.wait_over(1).await;
    let exit = over.exit.unwrap();
    assert_eq!(
        (over.state, exit.code, exit.by_agent),
        (TaskState::Killed, Some(3), true)
    );
    assert!(exit.reason.contains("byHand"), "{}", exit.reason);
    let log =
        std::fs::read_to_string(directory.path().join("tasks/tsk_1/logs/stdout.log")).unwrap();
    assert_eq!(log, "bye\n");
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_stop_within_its_grace_is_killed_with_everything_it_started() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    let mut template = script(
        "trap '' TERM; setsid sh -c 'echo $$ > escaped; exec sleep 1000' & wait; wait; sleep 1000",
    );
    template["stop"]["grace"] = "100ms".into();
    kernel.run(1, &template);
    let escaped = wait_number(&directory.path().join("tasks/tsk_1/work/escaped")).await;
    let running = kernel.wait_state(1, TaskState::Running).await;
    kernel.stop(1);
    let over = kernel.wait_over(1).await;
    let exit = over.exit.unwrap();
    assert_eq!(
        (over.state, exit.signal, exit.by_agent),
        (TaskState::Killed, Some(9), true)
    );
    assert!(!is_alive(running.pid.unwrap()));
    wait_gone(escaped).await;
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_left_the_session_dies_with_its_task_also_without_cgroups() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let mut config = support::config(directory.path(), &kernel);
    config.use_cgroups = false;
    let agent = kelson_agent::Agent::start(config).await.unwrap();
    kernel.wait_attached(1).await;
    kernel.run(1, &script("setsid sh -c 'echo $$ > escaped; exec sleep 1000' & until [ -s escaped ]; do sleep 0.01; done; exit 0"));
    let over = kernel.wait_over(1).await;
    assert_eq!(over.state, TaskState::Finished);
    assert!(
        over.isolation.contains("memory: none"),
        "{}",
        over.isolation
    );
    let escaped = wait_number(&directory.path().join("tasks/tsk_1/work/escaped")).await;
    wait_gone(escaped).await;
    let record = std::fs::read_to_string(directory.path().join("tasks/tsk_1/exited.json")).unwrap();
    assert!(record.contains("\"orphans\":1"), "{record}");
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_goes_only_when_the_kernel_says_so() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    kernel.run(1, &script("exit 0"));
    kernel.wait_over(1).await;
    let task = directory.path().join("tasks/tsk_1");
    assert!(task.join("exited.json").exists());
    kernel.forget(1);
    wait_for("the directory to go", || (!task.exists()).then_some(())).await;
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_the_contracts_and_nothing_is_inherited() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    let mut template = script("env | sort > seen; pwd > where");
    template["run"]["env"] = serde_json::json!({"LOG_LEVEL": "info"});
    kernel.run_with(1, &template, &[("http", 20_001)], true);
    assert_eq!(kernel.wait_over(1).await.state, TaskState::Finished);
    let work = directory
        .path()
        .canonicalize()
        .unwrap()
        .join("tasks/tsk_1/work");
    let seen = std::fs::read_to_string(work.join("seen")).unwrap();
    let names: Vec<&str> = seen
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "HOME",
        "HOST",
        "KELSON_NAMESPACE",
        "KELSON_TASK_ID",
        "LOG_LEVEL",
        "PATH",
        "PORT",
        "PORT_HTTP",
        "PWD",
        "TMPDIR",
    ];
    let names: Vec<&str> = names
        .into_iter()
        .filter(|name| !matches!(*name, "_" | "OLDPWD" | "SHLVL"))
        .collect();
    assert_eq!(names, expected);
    assert!(seen.contains(&format!("HOME={}", work.display())));
    assert_eq!(
        std::fs::read_to_string(work.join("where")).unwrap().trim(),
        work.to_str().unwrap()
    );
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_laid_from_the_order_and_from_blobs_and_bad_ones_fail_the_task() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    let page = kernel.put_blob(b"<h1>${HOST}</h1>");
    let wrong = kelson_model::id::Digest::of(b"something");
    kernel.put_wrong_blob(&wrong, b"something else");
    let files = |files: serde_json::Value| {
        let mut template = script("cat a/plain a/filled b");
        template["run"]["files"] = files;
        template
    };
    let good = serde_json::json!([
        {"path": "a/plain", "source": "x", "digest": page.to_string()},
        {"path": "a/filled", "source": "x", "digest": page.to_string(), "template": true},
        {"path": "b", "content": "!"},
    ]);
    kernel.run(1, &files(good.clone()));
    kernel.run(
        2,
        &files(serde_json::json!([{"path": "../../../escaped", "content": "x"}])),
    );
    kernel.run(
        3,
        &files(serde_json::json!([{"path": "x", "digest": wrong.to_string()}])),
    );
    assert_eq!(kernel.wait_over(1).await.state, TaskState::Finished);
    let log =
        std::fs::read_to_string(directory.path().join("tasks/tsk_1/logs/stdout.log")).unwrap();
    assert_eq!(log, "<h1>${HOST}</h1><h1>127.0.0.1</h1>!");
    let two = kernel.wait_over(2).await.exit.unwrap().reason;
    assert!(two.contains("leads out of the task's directory"), "{two}");
    assert!(!directory.path().join("escaped").exists());
    let three = kernel.wait_over(3).await.exit.unwrap().reason;
    assert!(three.contains("something else"), "{three}");

    let before = kernel.seen().blob_requests;
    kernel.run(4, &files(good));
    assert_eq!(kernel.wait_over(4).await.state, TaskState::Finished);
    assert_eq!(kernel.seen().blob_requests, before, "the cache is used");
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ends_stops_its_tasks_and_tells_the_kernel() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    kernel.run(1, &script("exec sleep 1000"));
    let running = kernel.wait_state(1, TaskState::Running).await;
    agent.stop(ShutdownMode::StopTasks).await;
    assert!(!is_alive(running.pid.unwrap()));
    let over = kernel.wait_over(1).await;
    assert_eq!(
        (over.state, over.exit.unwrap().by_agent),
        (TaskState::Killed, true)
    );
}
