//! A kernel that stops and starts again has the state that it had, also across snapshots and
//! compactions.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use kelson_kernel_core::Reply;
use kelson_model::code::Code;
use kelson_model::id::TaskId;
use kelson_model::principal::Principal;
use kelson_model::request::{Request, StopTask, Submission};

#[tokio::test]
async fn the_state_is_the_same_after_a_restart_across_a_snapshot_and_its_tail() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start(folder.path()).await;
    support::write(&kernel, 1..200).await;
    kernel.member().snapshot_now().await.unwrap();
    support::write(&kernel, 200..300).await;
    kernel.member().snapshot_now().await.unwrap();
    support::write(&kernel, 300..320).await;
    let before = (kernel.state().hash(), kernel.state().time);
    kernel.member().shutdown().await;
    drop(kernel);
    let kernel = support::start(folder.path()).await;
    assert_eq!(kernel.state().hash(), before.0);
    assert!(kernel.now() >= before.1, "cluster time went back");
}

#[tokio::test]
async fn a_request_repeated_after_a_restart_is_answered_alike_and_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start(folder.path()).await;
    let first = kernel.submit(support::weight(1)).await.unwrap();
    kernel.member().snapshot_now().await.unwrap();
    kernel.member().shutdown().await;
    drop(kernel);
    let kernel = support::start(folder.path()).await;
    let events = kernel.state().events.len();
    assert_eq!(kernel.submit(support::weight(1)).await.unwrap(), first);
    assert_eq!(kernel.state().events.len(), events);
}

#[tokio::test]
async fn a_request_that_no_entry_holds_is_refused_and_not_retried() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start(folder.path()).await;
    let large = Submission {
        request: Request::StopTask(StopTask { task: TaskId(1) }),
        principal: Principal {
            actor: "x".repeat(2 * (256 << 10)),
            via: "cli".to_owned(),
        },
        ..support::weight(1)
    };
    match kernel.submit(large).await.unwrap() {
        Reply::Refused(refusal) => assert_eq!(refusal.code, Code::TooMuchAtOnce),
        other => panic!("{other:?}"),
    }
    assert!(
        kernel.submit(support::weight(1)).await.is_ok(),
        "it goes on"
    );
}
