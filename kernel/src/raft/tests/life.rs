//! Starting, proposing, reading, stopping.

use super::*;
use crate::raft::{MAX_PAYLOAD_BYTES, ProposeError, RaftError};

#[tokio::test]
async fn an_empty_directory_becomes_a_cluster_that_goes_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let (cluster, term) = (running.member.cluster(), running.member.term());
    assert!(running.member.is_leader());
    assert_eq!(running.propose("a").await, "line 1");
    assert_eq!(running.propose("b").await, "line 2");
    assert_eq!(
        running.lines(),
        ["a", "b"],
        "whoever proposed sees its own write"
    );
    running.shutdown().await;

    let running = start(directory.path()).await;
    assert_eq!(
        running.lines(),
        ["a", "b"],
        "a member that is up has applied everything"
    );
    assert_eq!(running.member.cluster(), cluster);
    assert!(
        running.member.term() > term,
        "a restarted leader is elected again"
    );
    assert_eq!(running.propose("c").await, "line 3");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_proposers_at_once_each_get_the_answer_to_their_own_payload() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let proposals = (0..200).map(|number| {
        let member = running.member.clone();
        tokio::spawn(async move { (number, member.propose(number.to_string()).await.unwrap()) })
    });
    let mut answers = Vec::new();
    for proposal in proposals.collect::<Vec<_>>() {
        answers.push(within(proposal).await.unwrap());
    }
    let lines = running.lines();
    assert_eq!(lines.len(), 200);
    for (number, committed) in answers {
        let line: usize = String::from_utf8_lossy(&committed.reply)
            .strip_prefix("line ")
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(lines.get(line - 1), Some(&number.to_string()));
    }
    running.shutdown().await;
}

#[tokio::test]
async fn payloads_proposed_together_stand_together_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let payloads = numbered(0..50).into_iter().map(Into::into).collect();
    let outcomes = within(running.member.propose_many(payloads)).await.unwrap();
    let places: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap().at.index)
        .collect();
    assert!(places.is_sorted() && places.last().unwrap() - places.first().unwrap() == 49);
    assert_eq!(running.lines(), numbered(0..50));
    assert!(
        running
            .member
            .propose_many(Vec::new())
            .await
            .unwrap()
            .is_empty()
    );
    running.shutdown().await;
}

#[tokio::test]
async fn a_barrier_waits_for_what_was_committed_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let committed = running.member.propose("a").await.unwrap();
    within(running.member.read_barrier()).await.unwrap();
    assert!(running.member.applied() >= committed.at);
    running.shutdown().await;
}

#[tokio::test]
async fn a_payload_for_a_term_that_is_over_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let term = running.member.term();
    running.member.propose_in_term(term, "now").await.unwrap();
    let refused = running
        .member
        .propose_in_term(term - 1, "late")
        .await
        .unwrap_err();
    assert_eq!(refused, ProposeError::TermOver { expected: term - 1 });
    assert_eq!(running.lines(), ["now"]);
    running.shutdown().await;
}

#[tokio::test]
async fn a_payload_that_is_too_long_is_refused_and_the_longest_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let refused = running
        .member
        .propose(vec![b'x'; MAX_PAYLOAD_BYTES + 1])
        .await
        .unwrap_err();
    assert_eq!(
        refused,
        ProposeError::TooLarge {
            bytes: MAX_PAYLOAD_BYTES + 1
        }
    );
    running
        .member
        .propose(vec![b'x'; MAX_PAYLOAD_BYTES])
        .await
        .unwrap();
    running.shutdown().await;
    assert_eq!(
        start(directory.path())
            .await
            .lines()
            .first()
            .map(String::len),
        Some(MAX_PAYLOAD_BYTES)
    );
}

#[tokio::test]
async fn two_members_never_share_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    let refused = start_with(config(directory.path())).await.err().unwrap();
    assert!(
        matches!(refused, RaftError::InUse { holder: Some(pid), .. } if pid == std::process::id()),
        "{refused}"
    );
    running.shutdown().await;
    start(directory.path()).await.shutdown().await;
}

#[tokio::test]
async fn a_payload_that_the_machine_does_not_know_stops_the_member_for_good() {
    let directory = tempfile::tempdir().unwrap();
    for poison in ["unknown", "panic"] {
        let directory = directory.path().join(poison);
        let running = start(&directory).await;
        running.propose("fine").await;
        let refused = within(running.member.propose(poison)).await.unwrap_err();
        assert!(matches!(refused, ProposeError::Stopped { .. }), "{refused}");
        let reason = within(running.member.stopped()).await.to_string();
        assert!(
            reason.contains(if poison == "panic" {
                "panicked"
            } else {
                "command 99 is not known"
            }),
            "{reason}"
        );
        let refused = within(running.member.propose("late")).await.unwrap_err();
        assert!(matches!(refused, ProposeError::Stopped { .. }), "{refused}");
        running.shutdown().await;

        // The poison is committed, so a restart of the same program must stop at it again rather
        // than skip it.
        let again = start_with(config(&directory)).await.err().unwrap();
        assert!(matches!(again, RaftError::Fatal(_)), "{again}");
    }
}

#[tokio::test]
async fn a_member_dropped_without_a_shutdown_lets_go_of_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path()).await;
    running.propose("a").await;
    drop(running);
    let again = within(async {
        loop {
            match start_with(config(directory.path())).await {
                Ok(running) => return running,
                Err(RaftError::InUse { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert_eq!(again.await.lines(), ["a"]);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let zero = MemberConfig {
        segment_bytes: 0,
        ..config(directory.path())
    };
    assert!(matches!(
        start_with(zero).await,
        Err(RaftError::Setting {
            setting: "segment_bytes",
            ..
        })
    ));
    let upside_down = MemberConfig {
        election_min: Duration::from_secs(2),
        ..config(directory.path())
    };
    assert!(matches!(
        start_with(upside_down).await,
        Err(RaftError::Setting { .. })
    ));
    start(directory.path()).await.shutdown().await;
}
