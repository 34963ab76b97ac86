//! `kill -9` while many propose: everything that was answered is there afterwards.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

const DIRECTORY: &str = "KELSON_TEST_RAFT_DIRECTORY";

/// Not a test by itself: the process that the test below starts and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_proposes_until_it_is_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let directory = Path::new(&directory);
    let running = start_with(MemberConfig {
        snapshot_after_bytes: 8_000,
        ..config(directory)
    })
    .await
    .unwrap();
    let first = running.lines().len();
    println!("\nup {first}");
    let mut proposers = Vec::new();
    for proposer in 0..8 {
        let member = running.member.clone();
        proposers.push(tokio::spawn(async move {
            for number in 0.. {
                let line = format!("{first}-{proposer}-{number}");
                member.propose(line.clone()).await.unwrap();
                println!("\nanswered {line}");
            }
        }));
    }
    for proposer in proposers {
        proposer.await.unwrap();
    }
}

#[tokio::test]
async fn killed_at_any_moment_no_answered_proposal_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let module = module_path!().split_once("::").unwrap().1;
    let mut answered = BTreeSet::new();
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                &format!("{module}::child_proposes_until_it_is_killed"),
                "--nocapture",
            ])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let enough = 40 + round * 37;
        let mut seen = 0;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.by_ref() {
            if let Some(line) = line.unwrap().strip_prefix("answered ") {
                answered.insert(line.to_owned());
                seen += 1;
                if seen == enough {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(seen >= enough, "the child ended by itself in round {round}");
    }
    let running = start(directory.path()).await;
    let lines = running.lines();
    let kept: BTreeSet<_> = lines.iter().cloned().collect();
    assert_eq!(kept.len(), lines.len(), "nothing was applied twice");
    let lost: Vec<_> = answered.difference(&kept).collect();
    assert!(
        lost.is_empty(),
        "{} of {} answered proposals are lost: {lost:?}",
        lost.len(),
        answered.len()
    );
    running.shutdown().await;
}
