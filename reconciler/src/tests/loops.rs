//! From a commit to what is accepted.

use kelson_model::code::Code;

use super::kernel::Mishap;
use super::stand::{Stand, service};

#[tokio::test]
async fn a_commit_is_accepted_and_then_nothing_more_is_written() {
    let mut stand = Stand::new();
    let first = stand.commit(&[("web.yaml", service("web", 3))]);
    stand.start();
    stand.settled(&first).await;
    let (origin, instances) = stand.kernel.look(|state| {
        let held = state.objects.values().next().unwrap();
        let origin = held.desired.origin.file.clone();
        (origin, held.desired.spec.value()["instances"].clone())
    });
    assert_eq!(origin, "web.yaml");
    assert_eq!(instances, 3);
    let before = stand.kernel.look(|state| state.requests.clone());
    assert_eq!(before, ["stage", "accept", "report"]);
    // Another branch moves: the loop wakes, looks, and has nothing to say.
    stand.repository.git(["branch", "other"]);
    let second = stand.commit(&[("api.yaml", service("api", 1))]);
    stand.settled(&second).await;
    let after = stand.kernel.look(|state| state.requests.clone());
    assert_eq!(after[3..], ["stage", "accept", "report"]);
}

#[tokio::test]
async fn only_what_changed_is_staged_and_the_others_keep_their_generation() {
    let stand = Stand::with(&["web", "api"]).await;
    let second = stand.commit(&[("web.yaml", service("web", 2))]);
    stand.settled(&second).await;
    stand.kernel.look(|state| {
        let generations: Vec<(&str, u64, bool)> = state
            .objects
            .iter()
            .map(|(key, held)| (&*key.name, held.generation, held.revision == second))
            .collect();
        assert_eq!(generations, [("api", 1, false), ("web", 2, true)]);
    });
}

#[tokio::test]
async fn a_revision_that_changes_no_manifest_moves_on_without_staging() {
    let stand = Stand::with(&["web"]).await;
    let staged = stand.kernel.look(|state| state.count("stage"));
    let second = stand.commit(&[("README.md", "hello")]);
    stand.settled(&second).await;
    assert_eq!(stand.kernel.look(|state| state.count("stage")), staged);
}

#[tokio::test]
async fn of_two_commits_in_quick_succession_the_newest_wins() {
    let stand = Stand::with(&["web"]).await;
    // The second comes while the first is being staged.
    let path = stand.repository.path.clone();
    let (told, newest) = std::sync::mpsc::channel();
    stand.kernel.on("stage", move || {
        let repository = crate::source::tests::Repository::at(path);
        told.send(repository.commit(&[("web.yaml", &service("web", 3))]))
            .unwrap();
    });
    let overtaken = stand.commit(&[("web.yaml", service("web", 2))]);
    let newest = tokio::task::spawn_blocking(move || newest.recv().unwrap());
    let newest = newest.await.unwrap();
    stand.settled(&newest).await;
    stand.kernel.look(|state| {
        assert_eq!(state.spec("web").unwrap()["instances"], 3);
        assert!(
            !state.accepted.contains(&overtaken),
            "an older one was accepted"
        );
    });
}

#[tokio::test]
async fn a_commit_that_is_reverted_while_it_is_staged_leaves_nothing_behind() {
    let stand = Stand::with(&["web"]).await;
    let path = stand.repository.path.clone();
    let (told, newest) = std::sync::mpsc::channel();
    stand.kernel.on("accept", move || {
        let repository = crate::source::tests::Repository::at(path);
        told.send(repository.commit(&[("web.yaml", &service("web", 1))]))
            .unwrap();
    });
    // The kernel is staged to, and then is not where it was thought to be.
    stand
        .kernel
        .mishap("accept", Mishap::Refused(Code::StalePlan));
    stand.commit(&[("web.yaml", service("web", 2))]);
    let newest = tokio::task::spawn_blocking(move || newest.recv().unwrap());
    let newest = newest.await.unwrap();
    stand.settled(&newest).await;
    stand.kernel.look(|state| {
        assert_eq!(state.objects.values().next().unwrap().generation, 1);
    });
}

#[tokio::test]
async fn a_kernel_that_has_moved_on_is_looked_at_again() {
    let stand = Stand::with(&["web"]).await;
    stand
        .kernel
        .mishap("accept", Mishap::Refused(Code::StalePlan));
    stand
        .kernel
        .mishap("stage", Mishap::Refused(Code::NotStaged));
    let second = stand.commit(&[("web.yaml", service("web", 2))]);
    stand.settled(&second).await;
}

#[tokio::test]
async fn what_the_kernel_refuses_for_good_is_reported_and_not_tried_again_before_another_commit() {
    let stand = Stand::with(&["web"]).await;
    stand
        .kernel
        .mishap("accept", Mishap::Refused(Code::AgentRefused));
    let refused = stand.commit(&[("web.yaml", service("web", 2))]);
    stand.reported(&refused).await;
    stand.kernel.look(|state| {
        assert_eq!(state.source.errors[0].code, Code::AgentRefused);
        assert_eq!(state.spec("web").unwrap()["instances"], 1);
    });
    let better = stand.commit(&[("web.yaml", service("web", 3))]);
    stand.settled(&better).await;
    stand
        .kernel
        .look(|state| assert!(!state.accepted.contains(&refused)));
}

#[tokio::test]
async fn a_restart_finds_nothing_to_do() {
    let mut stand = Stand::with(&["web", "api"]).await;
    stand.stop().await;
    let before = stand.kernel.look(|state| state.requests.len());
    stand.start();
    let next = stand.commit(&[("new.yaml", service("new", 1))]);
    stand.settled(&next).await;
    stand.kernel.look(|state| {
        assert_eq!(state.requests[before..], ["stage", "accept", "report"]);
        assert!(state.ledger.is_empty());
    });
}

#[tokio::test]
async fn an_edit_that_is_not_committed_is_mentioned_once() {
    let stand = Stand::with(&["web"]).await;
    stand.repository.write("web.yaml", service("web", 9));
    stand
        .kernel
        .until("it is mentioned", |state| {
            let note = state.notes.first()?;
            note.contains("web.yaml is changed").then_some(())
        })
        .await;
    // Beats come at each poll; the commit proves that one has passed.
    stand
        .repository
        .git(["commit", "--quiet", "--allow-empty", "-m", "x"]);
    let second = stand.repository.head();
    stand.settled(&second).await;
    assert_eq!(stand.kernel.look(|state| state.notes.len()), 1);
    stand
        .kernel
        .look(|state| assert_eq!(state.spec("web").unwrap()["instances"], 1));
}
