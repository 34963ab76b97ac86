//! A kernel that stops and starts again has the state that it had, also across snapshots and compactions.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kelson_kernel::codec::state_hash;
use kelson_kernel::{Kernel, KernelConfig};
use kelson_kernel_core::Reply;
use kelson_kernel_core::port::{
    LoadFault, Problem, SchedulerHost, SeatId, TurnFault, TurnOutcome, TurnRequest,
};
use kelson_model::framework::{Description, Limits};
use kelson_model::id::Digest;
use kelson_model::principal::Principal;
use kelson_model::request::{Request, SetNamespace, Submission};

/// A sandbox without any component: no turn is ever asked of it here.
struct NoHost;

impl SchedulerHost for NoHost {
    fn load(&self, _: &Digest, _: &[u8], _: &Limits) -> Result<Description, LoadFault> {
        Err(LoadFault::NotAComponent("there is none".to_owned()))
    }
    fn validate(&self, _: &Digest, _: &str, _: &str) -> Result<Vec<Problem>, TurnFault> {
        Ok(Vec::new())
    }
    fn turn(&self, _: &TurnRequest) -> Result<TurnOutcome, TurnFault> {
        Ok(TurnOutcome::default())
    }
    fn query(&self, _: &TurnRequest, _: &str, _: &str) -> Result<String, TurnFault> {
        Ok(String::new())
    }
    fn drop_instance(&self, _: &SeatId) {}
}

async fn start(data_dir: &Path) -> Kernel {
    let config = KernelConfig {
        data_dir: data_dir.to_owned(),
        lease: Duration::from_secs(10),
        built_in: Vec::new(),
    };
    Kernel::start(config, Arc::new(NoHost)).await.unwrap()
}

fn weight(sequence: u64) -> Submission {
    let namespace = format!("team-{}", sequence % 50).parse().unwrap();
    let weight = u32::try_from(sequence).unwrap() + 1;
    Submission {
        client: "test".to_owned(),
        sequence,
        principal: Principal::new("somebody", "test"),
        request: Request::SetNamespace(SetNamespace { namespace, weight }),
    }
}

async fn write(kernel: &Kernel, sequences: std::ops::Range<u64>) {
    for sequence in sequences {
        let reply = kernel.submit(weight(sequence)).await.unwrap();
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    }
}

#[tokio::test]
async fn the_state_is_the_same_after_a_restart_across_a_snapshot_and_its_tail() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = start(folder.path()).await;
    write(&kernel, 1..200).await;
    kernel.member().snapshot_now().await.unwrap();
    write(&kernel, 200..300).await;
    kernel.member().snapshot_now().await.unwrap();
    write(&kernel, 300..320).await;
    let before = (state_hash(&kernel.state()), kernel.state().time);
    kernel.member().shutdown().await;
    drop(kernel);
    let kernel = start(folder.path()).await;
    assert_eq!(state_hash(&kernel.state()), before.0);
    assert!(kernel.now() >= before.1, "cluster time went back");
}

#[tokio::test]
async fn a_request_repeated_after_a_restart_is_answered_alike_and_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = start(folder.path()).await;
    let first = kernel.submit(weight(1)).await.unwrap();
    kernel.member().snapshot_now().await.unwrap();
    kernel.member().shutdown().await;
    drop(kernel);
    let kernel = start(folder.path()).await;
    let events = kernel.state().events.len();
    assert_eq!(kernel.submit(weight(1)).await.unwrap(), first);
    assert_eq!(kernel.state().events.len(), events);
}
