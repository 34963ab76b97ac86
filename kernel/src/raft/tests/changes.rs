//! Members that come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::harness::{Cluster, Load, assert_kept};
use super::proxy::Way;
use super::*;
use crate::raft::types::{Membership, Peer};
use crate::raft::{ChangeError, RaftError, Role};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_clients_write_two_members_come_and_the_first_goes() {
    let mut cluster = Cluster::start(1).await;
    let load = Load::start("load", 2, vec![cluster.member(1).clone()]);
    cluster.write(&[1], "one").await;
    for id in [2, 3] {
        cluster.run(id).await;
        cluster.add_voter(1, id).await;
    }
    assert_eq!(cluster.voters(1), BTreeSet::from([1, 2, 3]));
    cluster.write(&[1, 2, 3], "three").await;
    let leader = cluster.leader().await;
    within(cluster.member(leader).remove(1)).await.unwrap();
    cluster.write(&[2, 3], "two").await;
    let reason = within(cluster.member(1).stopped()).await;
    assert!(
        matches!(reason, RaftError::Removed { member: 1, .. }),
        "{reason}"
    );
    let answered = load.stop().await;
    cluster.kill(1);
    assert_eq!(cluster.voters(2), BTreeSet::from([2, 3]));
    let lines = cluster.agree().await;
    assert_kept(&answered, &lines);
    for line in ["one", "three", "two"] {
        assert!(lines.contains(&line.to_owned()), "{line}");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_follows_and_does_not_vote_and_a_follower_changes_nobody() {
    let mut cluster = Cluster::start(1).await;
    cluster.run(2).await;
    let leader = cluster.member(1);
    let address = cluster.address(2);
    within(leader.add_learner(2, address.clone()))
        .await
        .unwrap();
    within(leader.add_learner(2, address.clone()))
        .await
        .unwrap();
    cluster.write(&[1], "line").await;
    cluster.shows(2, "line").await;
    let views = leader.members();
    let view = views.iter().find(|view| view.id == 2).unwrap();
    assert_eq!((view.role, &view.address), (Role::Learner, &address));
    assert_eq!(cluster.voters(1), BTreeSet::from([1]));

    let refused = within(leader.add_learner(2, "elsewhere:1")).await;
    assert!(matches!(
        refused,
        Err(ChangeError::Exists { member: 2, .. })
    ));
    assert_eq!(
        within(leader.promote(9)).await,
        Err(ChangeError::Unknown { member: 9 })
    );
    assert_eq!(
        within(leader.transfer(2)).await,
        Err(ChangeError::NoVoter { member: 2 })
    );
    assert_eq!(
        within(leader.remove(1)).await,
        Err(ChangeError::LastVoter { member: 1 })
    );
    let refused = within(cluster.member(2).promote(2)).await;
    assert!(
        matches!(&refused, Err(ChangeError::NotLeader { leader: Some(1), address: Some(at) }) if *at == cluster.address(1)),
        "{refused:?}"
    );
    within(leader.promote(2)).await.unwrap();
    within(leader.promote(2)).await.unwrap();
    assert_eq!(cluster.voters(1), BTreeSet::from([1, 2]));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_never_used_again_not_even_after_a_snapshot_and_a_restart() {
    let mut cluster = Cluster::start(2).await;
    within(cluster.member(1).remove(2)).await.unwrap();
    within(cluster.member(1).remove(2)).await.unwrap();
    let gone = Err(ChangeError::UsedBefore { member: 2 });
    let address = cluster.address(2);
    assert_eq!(
        within(cluster.member(1).add_learner(2, address.clone())).await,
        gone
    );
    for line in ["a", "b", "c"] {
        cluster.write(&[1], line).await;
        within(cluster.member(1).snapshot_now()).await.unwrap();
    }
    cluster.kill(1);
    cluster.run(1).await;
    assert_eq!(
        within(cluster.member(1).add_learner(2, address)).await,
        gone
    );
    // And a member that gets the snapshot knows it as well.
    cluster.run(3).await;
    cluster.add_voter(1, 3).await;
    within(cluster.member(1).transfer(3)).await.unwrap();
    assert_eq!(
        within(cluster.member(3).add_learner(2, "somewhere:1")).await,
        gone
    );
    cluster.kill(2);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_removed_while_it_was_away_hears_of_it_when_it_is_back() {
    let mut cluster = Cluster::start(3).await;
    cluster.run(4).await;
    let leader = cluster.leader().await;
    let learner = cluster.member(leader).add_learner(4, cluster.address(4));
    within(learner).await.unwrap();
    cluster.write(&[1, 2, 3], "line").await;
    cluster.shows(4, "line").await;
    let voter = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    for id in [voter, 4] {
        cluster.kill(id);
        within(cluster.member(leader).remove(id)).await.unwrap();
    }
    for id in [voter, 4] {
        cluster.run(id).await;
        let reason = within(cluster.member(id).stopped()).await;
        assert!(
            matches!(reason, RaftError::Removed { member, .. } if member == id),
            "{reason}"
        );
        let refused = within(cluster.member(id).propose("late"))
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("removed"), "{refused}");
        cluster.kill(id);
    }
    cluster.agree().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_whose_directory_was_emptied_takes_no_part_and_says_why() {
    let mut cluster = Cluster::start(3).await;
    cluster.write(&[1, 2, 3], "line").await;
    let leader = cluster.leader().await;
    let voter = [2, 3].into_iter().find(|id| *id != leader).unwrap();
    cluster.kill(voter);
    within(async {
        // Its last files are written by threads that are about to end.
        while fs::remove_dir_all(cluster.path(voter)).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    cluster.run(voter).await;
    let reason = within(cluster.member(voter).stopped()).await;
    assert!(
        matches!(reason, RaftError::DataLost { member, .. } if member == voter),
        "{reason}"
    );
    assert!(cluster.lines(voter).is_empty());
    cluster.kill(voter);
    cluster.agree().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leadership_is_handed_over_under_load() {
    let cluster = Cluster::start(3).await;
    let members: Vec<_> = cluster
        .nodes
        .values()
        .map(|node| node.running.member.clone())
        .collect();
    let load = Load::start("load", 4, members);
    cluster.write(&[1, 2, 3], "begin").await;
    for round in 0..6 {
        let leader = cluster.leader().await;
        let next = leader % 3 + 1;
        match within(cluster.member(leader).transfer(next)).await {
            Ok(()) => {}
            // On a busy machine somebody else may be elected.
            Err(ChangeError::Unclear { .. } | ChangeError::NotLeader { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        cluster.write(&[1, 2, 3], &format!("round {round}")).await;
    }
    let answered = load.stop().await;
    let lines = cluster.agree().await;
    assert_kept(&answered, &lines);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_a_leader_left_half_done_is_completed_by_the_next() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    // The first half of "remove the leader", and then the leader is gone.
    let others: BTreeSet<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    let peer = |id: u64| {
        let address = cluster.address(id);
        (id, Peer { address })
    };
    let joint = Membership::new(
        vec![BTreeSet::from([1, 2, 3]), others.clone()],
        BTreeMap::from([1, 2, 3].map(peer)),
    )
    .unwrap();
    let held = cluster.member(leader).inner.changing.clone();
    let turn = held.lock().await;
    let raft = &cluster.member(leader).inner.raft;
    within(raft.append_membership(joint, openraft::EntryPayload::Blank, []))
        .await
        .unwrap();
    drop(turn);
    cluster.kill(leader);
    let next = cluster.leader().await;
    let mut roster = cluster.member(next).inner.roster.clone();
    within(
        roster.wait_for(|roster| roster.membership().get_joint_config() == &vec![others.clone()]),
    )
    .await
    .unwrap();
    cluster.agree().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_that_cannot_be_reached_is_not_made_a_voter() {
    let mut cluster =
        Cluster::start_with(1, |config| config.patience = Duration::from_millis(500)).await;
    cluster.run(2).await;
    cluster.set(1, 2, Way::HELD);
    let leader = cluster.member(1);
    within(leader.add_learner(2, cluster.address(2)))
        .await
        .unwrap();
    let refused = within(leader.promote(2)).await;
    assert!(
        matches!(refused, Err(ChangeError::Behind { member: 2, .. })),
        "{refused:?}"
    );
    cluster.write(&[1], "line").await;
    cluster.set(1, 2, Way::default());
    within(async {
        while leader.promote(2).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_waits_to_be_added_never_makes_a_cluster_of_its_own() {
    let mut cluster = Cluster::start(1).await;
    cluster.run(2).await;
    cluster.kill(2);
    // Started again by somebody who forgot that it joins.
    let founder = MemberConfig {
        beginning: crate::raft::Beginning::Found,
        cluster: None,
        ..cluster.config(2)
    };
    let running = within(async {
        loop {
            match start_with(founder.clone()).await {
                Ok(running) => return running,
                Err(RaftError::InUse { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    assert!(running.member.members().is_empty() && !running.member.is_leader());
    running.shutdown().await;
    cluster.run(2).await;
    cluster.add_voter(1, 2).await;
    assert_eq!(cluster.voters(1), BTreeSet::from([1, 2]));
    cluster.shutdown().await;
}
