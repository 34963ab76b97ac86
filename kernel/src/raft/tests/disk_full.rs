//! A disk that fills up: a small tmpfs, so only for root; otherwise skipped, and said so.

use std::process::Command;

use kelson_model::report::{LoopReport, LoopState};

use super::harness::{Cluster, Load, assert_kept};
use super::*;
use crate::raft::{ProposeError, RaftError};

/// A small file system that is unmounted when dropped.
struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(bytes: usize) -> Option<Self> {
        Self::mount_at(tempfile::tempdir().unwrap(), bytes)
    }

    fn mount_at(directory: tempfile::TempDir, bytes: usize) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can mount a small tmpfs");
            return None;
        }
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(directory.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { directory }),
            Ok(output) => {
                println!(
                    "skipped: no tmpfs can be mounted here: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                println!("skipped: mount cannot be run: {error}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.directory.path())
            .status();
    }
}

#[tokio::test]
async fn a_full_disk_stops_the_member_by_name_and_a_restart_can_compact() {
    let Some(disk) = SmallDisk::mount(2 << 20) else {
        return;
    };
    let directory = disk.directory.path().join("data");
    let roomy = || MemberConfig {
        reserve_bytes: 256 << 10,
        segment_bytes: 64 << 10,
        ..config(&directory)
    };
    let running = start_with(roomy()).await.unwrap();
    let mut answered = 0;
    let refused = loop {
        match within(
            running
                .member
                .propose(format!("{answered} {}", "x".repeat(1000))),
        )
        .await
        {
            Ok(_) => answered += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&refused, ProposeError::Stopped { reason } if reason.contains("no space left")),
        "{refused}"
    );
    let reason = within(running.member.stopped()).await.to_string();
    assert!(reason.contains("no space left for the log"), "{reason}");
    assert!(
        !directory.join("reserve").exists(),
        "the reserve was given back"
    );
    running.shutdown().await;

    let running = start_with(roomy()).await.unwrap();
    assert!(
        running.lines().len() >= answered,
        "everything answered is there"
    );
    let refused = within(running.member.propose("more")).await.unwrap_err();
    assert_eq!(
        refused,
        ProposeError::DiskFull,
        "what was given back is not for new load"
    );
    let late = running.member.inner.config.hearts.late();
    let place = directory.display().to_string();
    let is_told = |one: &LoopReport| {
        one.name == "log"
            && one.state == LoopState::Blocked
            && one.doing.starts_with("the disk is full: ")
            && one.doing.contains("of the 524288 needed at ")
            && one.doing.contains(&place)
    };
    assert!(late.iter().any(is_told), "{late:?}");
    let lines = running.lines();
    running.shutdown().await;

    // A member that somebody gives a little room takes proposals again, and keeps what it had.
    let grown = Command::new("mount")
        .args(["-o", "remount,size=8M"])
        .arg(disk.directory.path())
        .status()
        .unwrap();
    assert!(grown.success());
    let running = start_with(roomy()).await.unwrap();
    assert_eq!(running.lines(), lines);
    assert!(running.member.inner.config.hearts.late().is_empty());
    running.propose("more").await;
    for _ in 0..2 {
        within(running.member.snapshot_now()).await.unwrap();
        running.propose("and more").await;
    }
    running.shutdown().await;
}

#[tokio::test]
async fn a_disk_full_of_old_entries_is_compacted_at_the_next_start() {
    let Some(disk) = SmallDisk::mount(2 << 20) else {
        return;
    };
    let directory = disk.directory.path().join("data");
    let roomy = || MemberConfig {
        reserve_bytes: 256 << 10,
        segment_bytes: 64 << 10,
        ..config(&directory)
    };
    let running = start_with(roomy()).await.unwrap();
    running.propose("kept").await;
    let noise = format!("noise {}", "x".repeat(1000));
    while within(running.member.propose(noise.clone())).await.is_ok() {}
    within(running.member.stopped()).await;
    running.shutdown().await;

    let running = start_with(roomy()).await.unwrap();
    within(async {
        while running.member.propose("again").await == Err(ProposeError::DiskFull) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(running.lines(), ["kept", "again"]);
    assert!(directory.join("reserve").exists());
    running.shutdown().await;
    let running = start_with(roomy()).await.unwrap();
    assert_eq!(running.lines(), ["kept", "again"]);
    running.shutdown().await;
}

#[tokio::test]
async fn a_disk_without_any_room_is_named_at_the_start() {
    let Some(disk) = SmallDisk::mount(64 << 10) else {
        return;
    };
    let filler = disk.directory.path().join("filler");
    let _ = std::fs::write(&filler, vec![0; 64 << 10]);
    let refused = start_with(config(&disk.directory.path().join("data")))
        .await
        .err()
        .unwrap();
    let text = refused.to_string();
    assert!(
        matches!(
            refused,
            RaftError::Io { .. } | RaftError::Log(_) | RaftError::Snapshot(_) | RaftError::Fatal(_)
        ),
        "{text}"
    );
    assert!(
        text.to_lowercase().contains("no space") || text.contains("os error 28"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_members_the_one_with_a_full_disk_stops_alone_and_does_not_lead_again() {
    let mut cluster = Cluster::start_with(2, |config| {
        config.reserve_bytes = 256 << 10;
        config.segment_bytes = 64 << 10;
        config.kept_entries = 100_000;
    })
    .await;
    let Some(disk) = SmallDisk::mount(2 << 20) else {
        return;
    };
    cluster.move_to(3, disk.directory.path().join("data"));
    cluster.run(3).await;
    cluster.add_voter(1, 3).await;
    let members = [1, 2].map(|id| cluster.member(id).clone());
    let load = Load::start("load", 2, members.to_vec());
    within(cluster.member(1).transfer(3)).await.unwrap();
    // As a leader it writes until nothing more goes in, and the two others go on without it.
    let mut stopped = Box::pin(cluster.member(3).stopped());
    for line in 0.. {
        let line = format!("{line} {}", "x".repeat(10_000));
        tokio::select! {
            reason = &mut stopped => {
                assert!(reason.to_string().contains("no space left"), "{reason}");
                break;
            }
            () = cluster.write(&[3, 1, 2], &line) => {}
        }
    }
    drop(stopped);
    cluster.write(&[1, 2], "two").await;
    cluster.kill(3);
    cluster.run(3).await;
    let refused = within(async {
        loop {
            let refused = cluster.member(3).propose("full").await.unwrap_err();
            if !matches!(refused, ProposeError::NotLeader { .. }) {
                return refused;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(
        matches!(
            refused,
            ProposeError::DiskFull | ProposeError::Stopped { .. }
        ),
        "{refused}"
    );
    let answered = load.stop().await;
    cluster.write(&[1, 2], "and on").await;
    assert_ne!(cluster.leader_of(&[1, 2]).await, 3);
    assert_kept(&answered, &cluster.lines(cluster.leader_of(&[1, 2]).await));
    cluster.kill(3);
    cluster.shutdown().await;
}
