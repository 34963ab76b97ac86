//! Three members: electing, replicating, failing over, catching up.

use super::harness::{Cluster, Load, assert_kept};
use super::*;

const ALL: [u64; 3] = [1, 2, 3];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_show_the_same_and_two_go_on_without_the_leader() {
    let mut cluster = Cluster::start(3).await;
    for line in numbered(0..50) {
        cluster.write(&ALL, &line).await;
    }
    assert!(cluster.agree().await.starts_with(&numbered(0..50)));

    let leader = cluster.leader().await;
    let term = cluster.member(leader).term();
    cluster.kill(leader);
    let others: Vec<u64> = ALL.into_iter().filter(|id| *id != leader).collect();
    cluster.write(&others, "without").await;
    let next = cluster.leader_of(&others).await;
    assert!(cluster.member(next).term() > term);

    // Whoever was killed comes back on its directory, and has it all.
    cluster.run(leader).await;
    cluster.shows(leader, "without").await;
    let lines = cluster.agree().await;
    assert!(lines.starts_with(&numbered(0..50)));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_the_cluster_loses_nothing_that_it_answered() {
    let mut cluster = Cluster::start(3).await;
    let mut answered = Vec::new();
    for round in 0..4 {
        let members = cluster
            .nodes
            .values()
            .map(|node| node.running.member.clone());
        let load = Load::start(&format!("round {round}"), 4, members.collect());
        cluster.write(&ALL, &format!("begin {round}")).await;
        let leader = cluster.leader().await;
        cluster.kill(leader);
        let others: Vec<u64> = ALL.into_iter().filter(|id| *id != leader).collect();
        cluster.write(&others, &format!("end {round}")).await;
        // The clients hold the member that was killed as well.
        answered.extend(load.stop().await);
        cluster.run(leader).await;
    }
    let lines = cluster.agree().await;
    assert_kept(&answered, &lines);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_killed_at_once_go_on_where_they_were() {
    let mut cluster = Cluster::start(3).await;
    for line in numbered(0..20) {
        cluster.write(&ALL, &line).await;
    }
    for id in ALL {
        cluster.kill(id);
    }
    for id in ALL {
        cluster.run(id).await;
    }
    assert!(cluster.agree().await.starts_with(&numbered(0..20)));
    cluster.shutdown().await;
}
