//! The session: what is told again, what is not done again, and what ends it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use kelson_agent::ShutdownMode;
use kelson_model::task::TaskState;
use kelson_proto::v1::{LogRequest, LogWindow, SessionEnd, kernel_message};
use support::{FakeKernel, config, is_alive, script, start, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_acknowledged_is_told_again_and_nothing_is_started_again() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    kernel.acknowledge(false);
    let agent = start(directory.path(), &kernel).await;
    kernel.run(1, &script("echo started >> times; exit 3"));
    let first = kernel.wait_over(1).await;
    kernel.acknowledge(true);
    let told = kernel.seen().statuses.len();
    kernel.break_session();
    kernel.wait_attached(2).await;
    let again = kernel
        .wait("the end of tsk_1 again", |seen| {
            seen.statuses
                .get(told..)?
                .iter()
                .find(|one| one.task.0 == 1)
                .cloned()
        })
        .await;
    assert_eq!(again, first, "the same status with the same sequence");
    kernel.break_session();
    kernel.wait_attached(3).await;
    // A task of its own comes after whatever would be told again.
    kernel.run(2, &script("exit 0"));
    kernel.wait_over(2).await;
    let ends = kernel
        .seen()
        .statuses
        .iter()
        .filter(|one| one.task.0 == 1 && one.state.is_terminal())
        .count();
    assert_eq!(ends, 2, "what is acknowledged is not told again");
    assert_eq!(
        std::fs::read_to_string(directory.path().join("tasks/tsk_1/work/times")).unwrap(),
        "started\n"
    );
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_go_on_without_a_session_and_the_id_stays() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    kernel.run(1, &script("until [ -e go ]; do sleep 0.02; done; exit 4"));
    let pid = kernel.wait_state(1, TaskState::Running).await.pid.unwrap();
    kernel.refuse(SessionEnd::Unavailable, "the kernel shuts down");
    kernel.break_session();
    kernel.wait_attached(2).await;
    assert!(is_alive(pid));
    let attaches = kernel.seen().attaches;
    assert_eq!((attaches[0].agent, attaches[1].agent), (0, 1));
    assert_eq!((attaches[0].incarnation, attaches[1].incarnation), (1, 1));
    assert_eq!(attaches[1].token, attaches[0].token);
    std::fs::write(directory.path().join("tasks/tsk_1/work/go"), "").unwrap();
    assert_eq!(kernel.wait_over(1).await.exit.unwrap().code, Some(4));
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_list_omits_is_stopped_and_its_directory_goes() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    kernel.run(1, &script("exec sleep 1000"));
    kernel.run(2, &script("exec sleep 1000"));
    let one = kernel.wait_state(1, TaskState::Running).await.pid.unwrap();
    let two = kernel.wait_state(2, TaskState::Running).await.pid.unwrap();
    kernel.omit(1);
    kernel.break_session();
    assert_eq!(kernel.wait_over(1).await.state, TaskState::Killed);
    assert!(!is_alive(one) && is_alive(two));
    let task = directory.path().join("tasks/tsk_1");
    wait_for("the directory to go", || (!task.exists()).then_some(())).await;
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_the_agent_does_not_have_is_lost() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    kernel.wait_attached(1).await;
    kernel.stop(9);
    assert_eq!(kernel.wait_over(9).await.state, TaskState::Lost);
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_place_another_incarnation_has_taken_ends_and_leaves_its_tasks() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let mut agent = start(directory.path(), &kernel).await;
    kernel.run(1, &script("exec sleep 1000"));
    let pid = kernel.wait_state(1, TaskState::Running).await.pid.unwrap();
    kernel.refuse(SessionEnd::Superseded, "a newer one has taken over");
    kernel.break_session();
    assert!(agent.ended().await.to_string().contains("a newer one"));
    drop(agent);
    assert!(is_alive(pid));
    // The lock is free at once: the next agent cleans up.
    let agent = wait_start(directory.path(), &kernel).await;
    agent.stop(ShutdownMode::StopTasks).await;
    assert!(!is_alive(pid));
}

async fn wait_start(directory: &std::path::Path, kernel: &FakeKernel) -> kelson_agent::Agent {
    kelson_agent::Agent::start(config(directory, kernel))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_come_while_nothing_happens() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    kernel
        .wait("two heartbeats", |seen| {
            (seen.heartbeats >= 2).then_some(())
        })
        .await;
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_read_whole_by_its_tail_and_followed_to_its_end() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    kernel.run(1, &script("echo one; echo two; echo err >&2; touch up; until [ -e go ]; do sleep 0.02; done; echo three"));
    let work = directory.path().join("tasks/tsk_1/work");
    wait_for("the first lines", || work.join("up").exists().then_some(())).await;
    let ask = |request: u64, stream: &str, tail_bytes: u64, follow: bool| {
        kernel.send(kernel_message::Message::Log(LogRequest {
            request,
            task: if request == 5 { 99 } else { 1 },
            stream: stream.to_owned(),
            tail_bytes,
            follow,
            cancel: false,
            window: 100,
            from_end: false,
        }));
    };
    ask(1, "stdout", 0, true);
    ask(2, "stderr", 0, true);
    let text = async |request: u64, wanted: &str| {
        let what = format!("the answer to request {request}");
        kernel
            .wait(&what, |seen| {
                (seen.logs.get(&request)?.0 == wanted.as_bytes()).then_some(())
            })
            .await;
    };
    text(1, "one\ntwo\n").await;
    text(2, "err\n").await;
    ask(3, "stdout", 4, false);
    text(3, "two\n").await;
    std::fs::write(work.join("go"), "").unwrap();
    text(1, "one\ntwo\nthree\n").await;
    ask(4, "nothing", 0, false);
    ask(5, "stdout", 0, false);
    let ended = |request: u64| {
        let kernel = kernel.clone();
        async move {
            let what = format!("the end of request {request}");
            kernel
                .wait(&what, |seen| {
                    seen.logs
                        .get(&request)
                        .filter(|log| log.1)
                        .map(|log| log.2.clone())
                })
                .await
        }
    };
    assert_eq!(ended(1).await, "");
    assert!(ended(4).await.contains("stdout or stderr"));
    assert!(ended(5).await.contains("tsk_99"));
    agent.stop(ShutdownMode::StopTasks).await;
}

fn read_all(request: u64, task: u64, window: u32) -> kernel_message::Message {
    kernel_message::Message::Log(LogRequest {
        request,
        task,
        stream: "stdout".to_owned(),
        tail_bytes: 0,
        follow: false,
        cancel: false,
        window,
        from_end: false,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_an_ended_task_stays_readable_after_its_directory_is_gone() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    kernel.run(1, &script("echo last words; exit 3"));
    kernel.wait_over(1).await;
    kernel.forget(1);
    let task = directory.path().join("tasks/tsk_1");
    wait_for("the directory to go", || (!task.exists()).then_some(())).await;
    kernel.send(read_all(1, 1, 100));
    kernel.send(read_all(2, 77, 100));
    let ended = |seen: &support::Seen, request| {
        let log = seen.logs.get(&request).filter(|log| log.1)?;
        Some((log.0.clone(), log.2.clone()))
    };
    let (read, _) = kernel.wait("the output", |seen| ended(seen, 1)).await;
    assert_eq!(read, b"last words\n");
    let (read, message) = kernel.wait("an answer", |seen| ended(seen, 2)).await;
    assert!(read.is_empty() && message.contains("not kept"), "{message}");
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_of_an_output_is_sent_than_the_client_takes() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    let size = 1 << 20;
    kernel.run(1, &script(&format!("head -c {size} /dev/zero; exit 0")));
    kernel.wait_over(1).await;
    kernel.send(read_all(1, 1, 2));
    let at_least = |bytes: usize| {
        move |seen: &support::Seen| {
            let log = seen.logs.get(&1)?;
            (log.0.len() >= bytes).then_some((log.0.len(), log.1))
        }
    };
    kernel.wait("the first chunks", at_least(1)).await;
    // A task of its own comes after whatever the reader would send.
    kernel.run(2, &script("exit 0"));
    kernel.wait_over(2).await;
    let (sent, is_over) = kernel.wait("the window", at_least(1)).await;
    assert!(sent <= 2 * (64 << 10) && !is_over, "{sent}");
    kernel.send(kernel_message::Message::Window(LogWindow {
        request: 1,
        chunks: 1000,
    }));
    kernel.wait("the rest", at_least(size)).await;
    agent.stop(ShutdownMode::StopTasks).await;
}
