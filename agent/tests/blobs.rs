//! Files from blobs: fetched once, waited for, and nobody else's business.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use kelson_agent::ShutdownMode;
use kelson_model::id::Digest;
use kelson_model::task::TaskState;
use support::{FakeKernel, script, start};

/// A script in a task whose file is this blob.
fn with_file(text: &str, digest: &Digest) -> serde_json::Value {
    let mut template = script(text);
    template["run"]["files"] =
        serde_json::json!([{"path": "page", "source": "page", "digest": digest.to_string()}]);
    template
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_many_new_tasks_name_is_fetched_once_and_fails_none() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    let digest = kernel.put_blob(b"hello");
    for task in 1..=20 {
        kernel.run(task, &with_file("grep -q hello page", &digest));
    }
    for task in 1..=20 {
        let end = kernel.wait_over(task).await;
        assert_eq!(end.state, TaskState::Finished, "{end:?}");
    }
    assert_eq!(kernel.seen().blob_requests, 1);
    let kept: Vec<_> = std::fs::read_dir(directory.path().join("blobs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(kept, [digest.hex()], "nothing is left beside it");
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_outage_of_the_kernel_fails_no_task() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    let digest = kernel.put_blob(b"hello");
    kernel.break_blobs(3);
    for task in 1..=3 {
        kernel.run(task, &with_file("grep -q hello page", &digest));
    }
    for task in 1..=3 {
        assert_eq!(kernel.wait_over(task).await.state, TaskState::Finished);
    }
    assert_eq!(kernel.seen().blob_requests, 4);
    agent.stop(ShutdownMode::StopTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_wait_for_a_file_hold_up_no_other_and_can_be_stopped() {
    let (kernel, directory) = (FakeKernel::start().await, tempfile::tempdir().unwrap());
    let agent = start(directory.path(), &kernel).await;
    let digest = kernel.put_blob(b"hello");
    kernel.break_blobs(u32::MAX);
    // More than are started at the same time.
    for task in 1..=40 {
        kernel.run(task, &with_file("true", &digest));
    }
    kernel.run(41, &script("true"));
    assert_eq!(kernel.wait_over(41).await.state, TaskState::Finished);
    kernel.stop(1);
    let stopped = kernel.wait_over(1).await;
    assert_eq!(stopped.state, TaskState::Killed, "{stopped:?}");
    kernel.break_blobs(0);
    for task in 2..=40 {
        assert_eq!(kernel.wait_over(task).await.state, TaskState::Finished);
    }
    agent.stop(ShutdownMode::StopTasks).await;
}
