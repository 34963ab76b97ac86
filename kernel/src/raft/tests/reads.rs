//! Reads that are not stale, on every member.

use super::harness::Cluster;
use super::proxy::Way;
use super::*;
use crate::raft::ReadError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_barrier_every_member_shows_what_was_answered_before_it() {
    let cluster = Cluster::start(3).await;
    for line in numbered(0..20) {
        cluster.write(&[1, 2, 3], &line).await;
        for id in [1, 2, 3] {
            within(cluster.member(id).read_barrier()).await.unwrap();
            assert!(
                cluster.lines(id).contains(&line),
                "member {id}, line {line}"
            );
        }
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_of_a_follower_share_questions_to_the_leader() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    let before = cluster.bytes(follower, leader);
    let readers: Vec<_> = (0..2000)
        .map(|_| {
            let member = cluster.member(follower).clone();
            tokio::spawn(async move { member.read_barrier().await })
        })
        .collect();
    for reader in readers {
        within(reader).await.unwrap().unwrap();
    }
    let bytes = cluster.bytes(follower, leader) - before;
    assert!(bytes < 2000 * 40, "{bytes} bytes for 2000 readers");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_without_a_leader_refuses_in_time_and_a_lease_is_the_leaders() {
    let cluster = Cluster::start_with(3, |config| config.patience = Duration::from_secs(1)).await;
    let leader = cluster.leader().await;
    let follower = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    within(cluster.member(leader).lease_barrier())
        .await
        .unwrap();
    let refused = within(cluster.member(follower).lease_barrier()).await;
    assert!(
        matches!(refused, Err(ReadError::NotLeader { .. })),
        "{refused:?}"
    );
    cluster.set_all(follower, Way::HELD);
    assert_eq!(
        within(cluster.member(follower).read_barrier()).await,
        Err(ReadError::NoQuorumInTime)
    );
    cluster.set_all(follower, Way::default());
    within(async { while cluster.member(follower).read_barrier().await.is_err() {} }).await;
    cluster.shutdown().await;
}
