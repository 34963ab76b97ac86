//! The cluster's version: a kernel raises it to what it knows, and one that is too old stops.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use kelson_kernel::KernelError;
use kelson_kernel_core::Reply;
use kelson_kernel_core::command::{Command, SetClusterVersion};
use kelson_kernel_core::form::CLUSTER_VERSION;
use kelson_model::code::Code;

fn raise(version: u32) -> Command {
    Command::SetClusterVersion(SetClusterVersion { version })
}

#[tokio::test]
async fn a_kernel_alone_lets_its_cluster_have_what_it_knows_once() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start(folder.path()).await;
    assert_eq!(kernel.state().cluster_version, CLUSTER_VERSION);
    let reply = kernel.propose(raise(CLUSTER_VERSION)).await.unwrap();
    let Reply::Refused(refusal) = reply else {
        panic!("{reply:?}");
    };
    assert!(refusal.code == Code::ClusterVersion, "{refusal}");
}

#[tokio::test]
async fn a_kernel_that_is_too_old_for_its_cluster_stops_and_says_so_also_when_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = support::start(folder.path()).await;
    let newer = CLUSTER_VERSION + 1;
    let stopped = kernel.propose(raise(newer)).await.unwrap_err();
    assert!(stopped.has_stopped(), "{stopped}");
    kernel.member().shutdown().await;
    drop(kernel);
    let error = support::try_start(folder.path()).await.err().unwrap();
    assert!(matches!(error, KernelError::Raft(_)), "{error}");
    let told = format!("the cluster has version {newer}");
    assert!(error.to_string().contains(&told), "{error}");
}
