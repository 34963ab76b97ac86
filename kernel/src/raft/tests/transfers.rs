//! Members that catch up: from the log, and from a snapshot.

use std::fs;

use super::harness::Cluster;
use super::proxy::Way;
use super::*;

/// A line of 100 kB, told from others by its number.
fn long(number: usize) -> String {
    format!("{number} {}", "x".repeat(100_000))
}

fn parts(cluster: &Cluster, id: u64) -> usize {
    let Ok(entries) = fs::read_dir(cluster.path(id).join("snapshots")) else {
        return 0;
    };
    entries
        .filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            path.extension()
                .is_some_and(|extension| extension == "part")
        })
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_straggler_catches_up_from_the_log_while_the_log_has_what_it_lacks() {
    let mut cluster = Cluster::start_with(3, |config| config.kept_entries = 100_000).await;
    let leader = cluster.leader().await;
    let [away, other] = [1, 2, 3]
        .into_iter()
        .filter(|id| *id != leader)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    cluster.kill(away);
    for line in numbered(0..500) {
        cluster.write(&[leader, other], &line).await;
    }
    for _ in 0..2 {
        within(cluster.member(leader).snapshot_now()).await.unwrap();
        cluster.write(&[leader, other], "snapshot").await;
    }
    cluster.run(away).await;
    cluster.shows(away, "499").await;
    cluster.agree().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_behind_the_log_gets_a_snapshot_and_goes_on_where_it_was_cut_off() {
    let mut cluster = Cluster::start(1).await;
    for number in 0..40 {
        cluster.write(&[1], &long(number)).await;
    }
    for line in numbered(0..20) {
        cluster.write(&[1], &line).await;
        within(cluster.member(1).snapshot_now()).await.unwrap();
    }
    cluster.run(2).await;
    // Each connection ends after about a quarter of the snapshot.
    cluster.set(
        1,
        2,
        Way {
            cut_after: Some(1_200_000),
            ..Way::default()
        },
    );
    let adding = cluster.member(1).add_learner(2, cluster.address(2));
    within(adding).await.unwrap();
    cluster.shows(2, "19").await;
    let sent = cluster.bytes(1, 2);
    assert!(
        (4_000_000..9_000_000).contains(&sent),
        "{sent} bytes for a snapshot of about 4 MB"
    );
    assert_eq!(parts(&cluster, 2), 0);
    cluster.set(1, 2, Way::default());
    within(cluster.member(1).promote(2)).await.unwrap();
    cluster.write(&[1, 2], "both").await;
    cluster.shows(2, "both").await;
    assert_eq!(cluster.lines(2), cluster.lines(1));

    // What it got is its own: it starts from it.
    cluster.kill(2);
    cluster.run(2).await;
    cluster.shows(2, "both").await;
    assert_eq!(cluster.lines(2), cluster.lines(1));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_killed_in_the_middle_goes_on_with_what_it_had() {
    let mut cluster = Cluster::start_with(1, |config| {
        config.transfer_bytes_per_second = 2 << 20;
    })
    .await;
    for number in 0..40 {
        cluster.write(&[1], &long(number)).await;
    }
    for line in numbered(0..20) {
        cluster.write(&[1], &line).await;
        within(cluster.member(1).snapshot_now()).await.unwrap();
    }
    cluster.run(2).await;
    let adding = cluster.member(1).add_learner(2, cluster.address(2));
    within(adding).await.unwrap();
    within(async {
        while cluster.bytes(1, 2) < 1_500_000 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    cluster.kill(2);
    assert_eq!(parts(&cluster, 2), 1);
    cluster.run(2).await;
    cluster.shows(2, "19").await;
    assert_eq!(cluster.lines(2), cluster.lines(1));
    let sent = cluster.bytes(1, 2);
    assert!(
        sent < 6_500_000,
        "{sent} bytes for a snapshot of about 4 MB"
    );
    cluster.shutdown().await;
}
