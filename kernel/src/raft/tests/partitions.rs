//! Ways that are held up, slow, or open in one direction only.

use super::harness::{CLUSTER, Cluster, Load, assert_kept};
use super::proxy::{Flow, Way};
use super::*;
use crate::raft::{ClusterId, ProposeError, ReadError};

const ALL: [u64; 3] = [1, 2, 3];

fn others(of: u64) -> Vec<u64> {
    ALL.into_iter().filter(|id| *id != of).collect()
}

/// Patient enough that a busy machine calls no election of its own.
fn steady(config: &mut MemberConfig) {
    config.heartbeat = Duration::from_millis(100);
    config.election_min = Duration::from_millis(1_000);
    config.election_max = Duration::from_millis(2_000);
}

fn hasty(config: &mut MemberConfig) {
    config.patience = Duration::from_secs(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_refuses_in_time_and_nothing_answered_is_lost() {
    let cluster = Cluster::start_with(3, hasty).await;
    let members = cluster
        .nodes
        .values()
        .map(|node| node.running.member.clone());
    let load = Load::start("load", 4, members.collect());
    cluster.write(&ALL, "before").await;
    let leader = cluster.leader().await;
    cluster.set_all(leader, Way::HELD);
    let rest = others(leader);
    cluster.write(&rest, "meanwhile").await;

    // It says so within its patience, whatever it is asked.
    let alone = cluster.member(leader);
    let refused = within(alone.read_barrier()).await.unwrap_err();
    assert!(
        matches!(
            refused,
            ReadError::NoQuorumInTime | ReadError::NotLeader { .. }
        ),
        "{refused}"
    );
    let refused = within(alone.propose("lost")).await.unwrap_err();
    assert!(
        !matches!(refused, ProposeError::Stopped { .. }),
        "{refused}"
    );
    assert!(!cluster.lines(leader).contains(&"meanwhile".to_owned()));

    cluster.set_all(leader, Way::default());
    cluster.shows(leader, "meanwhile").await;
    let answered = load.stop().await;
    let lines = cluster.agree().await;
    assert_kept(&answered, &lines);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_cut_off_does_not_depose_the_leader_when_it_is_back() {
    let cluster = Cluster::start_with(3, steady).await;
    let leader = cluster.leader().await;
    let [away, _] = others(leader).try_into().unwrap();
    let term = cluster.member(leader).term();
    cluster.set_all(away, Way::HELD);
    // It has missed its leader for so long that it wants to be elected.
    let silence = Duration::from_secs(4);
    within(async {
        let mut heard = cluster.member(away).inner.receiver.heard.subscribe();
        while tokio::time::timeout(silence, heard.changed()).await.is_ok() {}
    })
    .await;
    cluster.write(&[leader], "meanwhile").await;
    cluster.set_all(away, Way::default());
    cluster.shows(away, "meanwhile").await;
    cluster.write(&[leader], "after").await;
    cluster.shows(away, "after").await;
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.member(leader).term(), term);
    assert_eq!(cluster.member(away).term(), term);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_open_in_one_direction_only_still_leaves_one_leader_that_works() {
    for way in [
        Way {
            up: Flow::Hold,
            ..Way::default()
        },
        Way {
            down: Flow::Hold,
            ..Way::default()
        },
    ] {
        let cluster = Cluster::start(3).await;
        let leader = cluster.leader().await;
        // The leader calls into nothing, or hears no answer; the others can call it.
        for other in others(leader) {
            cluster.set(leader, other, way);
        }
        cluster.write(&others(leader), "meanwhile").await;
        let next = cluster.leader_of(&others(leader)).await;
        assert_ne!(next, leader);
        cluster.shows(leader, "meanwhile").await;
        for other in others(leader) {
            cluster.set(leader, other, Way::default());
        }
        cluster.agree().await;
        cluster.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_broken_ways_cost_time_and_nothing_else() {
    let cluster = Cluster::start(3).await;
    let members = cluster
        .nodes
        .values()
        .map(|node| node.running.member.clone());
    let load = Load::start("load", 4, members.collect());
    let slow = Way {
        up: Flow::Delay(Duration::from_millis(10)),
        down: Flow::Delay(Duration::from_millis(10)),
        ..Way::default()
    };
    let broken = Way {
        is_cut: true,
        ..Way::default()
    };
    for round in 0..4 {
        let leader = cluster.leader().await;
        let [slowed, cut] = others(leader).try_into().unwrap();
        cluster.set_all(slowed, slow);
        cluster.set(leader, cut, broken);
        cluster.write(&ALL, &format!("round {round}")).await;
        cluster.set(leader, cut, Way::default());
        cluster.set_all(slowed, Way::default());
        cluster.shows(cut, &format!("round {round}")).await;
    }
    let answered = load.stop().await;
    let lines = cluster.agree().await;
    assert_kept(&answered, &lines);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_another_cluster_and_a_message_for_another_member_are_refused_by_name() {
    use kelson_proto::v1::member_refusal::Reason;
    use kelson_proto::v1::members_client::MembersClient;
    use kelson_proto::v1::{GreetRequest, MemberRefusal, Standing};
    use prost::Message as _;

    use crate::raft::message::{PROTOCOL, envelope};

    let cluster = Cluster::start(2).await;
    let address = format!("http://{}", cluster.address(1));
    let mut client = MembersClient::connect(address).await.unwrap();
    let mut greet = async |envelope| {
        let envelope = Some(envelope);
        let status = client.greet(GreetRequest { envelope }).await.err()?;
        let reason = MemberRefusal::decode(status.details()).unwrap().reason();
        Some((reason, status.message().to_owned()))
    };
    let good = envelope(CLUSTER, 2, 1, Standing::Voter);
    assert_eq!(greet(good.clone()).await, None);
    let other = envelope(ClusterId::from_bytes([8; 16]), 2, 1, Standing::Voter);
    let (reason, text) = greet(other).await.unwrap();
    assert_eq!(reason, Reason::OtherCluster);
    assert!(text.contains(&CLUSTER.to_string()), "{text}");
    let (reason, text) = greet(envelope(CLUSTER, 2, 7, Standing::Voter))
        .await
        .unwrap();
    assert_eq!(reason, Reason::OtherMember);
    assert_eq!(text, "this is member 1; the message is for member 7");
    let newer = kelson_proto::v1::Envelope {
        protocol: PROTOCOL + 1,
        ..good
    };
    let (reason, _) = greet(newer).await.unwrap();
    assert_eq!(reason, Reason::NewerProtocol);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_other_threads_are_all_busy_hears_its_leader_all_the_same() {
    let cluster = Cluster::start(3).await;
    cluster.agree().await;
    let leader = cluster.leader().await;
    let [busy, other] = others(leader).try_into().unwrap();
    // Only these two are left to agree.
    cluster.set_all(other, Way::HELD);
    let (begun, begins) = std::sync::mpsc::channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let server = cluster.nodes.get(&busy).unwrap().server.as_ref().unwrap();
    server.spawn(async move {
        begun.send(()).unwrap();
        let _ = ends.recv();
    });
    begins.recv().unwrap();
    for line in numbered(0..20) {
        cluster.write(&[leader, busy], &line).await;
    }
    drop(end);
    cluster.set_all(other, Way::default());
    cluster.agree().await;
    cluster.shutdown().await;
}
