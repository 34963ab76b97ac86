//! What a branch and its repository can do.

use super::stand::{Stand, service};

#[tokio::test]
async fn an_unborn_branch_waits_for_its_first_commit() {
    let mut stand = Stand::new();
    stand.start();
    stand.held("Unborn").await;
    let first = stand.commit(&[("web.yaml", service("web", 1))]);
    stand.settled(&first).await;
}

#[tokio::test]
async fn a_deleted_branch_holds_and_what_runs_stays_until_it_is_back() {
    let stand = Stand::with(&["web"]).await;
    let commit = stand.repository.head();
    stand.repository.git(["checkout", "--quiet", "--detach"]);
    stand.repository.git(["branch", "-D", "main"]);
    stand.held("BranchMissing").await;
    stand.kernel.look(|state| {
        assert_eq!(state.names(), ["web"]);
        assert_eq!(state.source.observed, Some(commit.clone()));
    });
    stand.repository.git(["branch", "main"]);
    stand.settled(&commit).await;
}

#[tokio::test]
async fn rewritten_history_is_held_until_it_is_confirmed() {
    let stand = Stand::with(&["web"]).await;
    stand.commit(&[("web.yaml", service("web", 2))]);
    let second = stand.repository.head();
    stand.settled(&second).await;
    stand
        .repository
        .git(["reset", "--quiet", "--hard", "HEAD~1"]);
    let other = stand.commit(&[("web.yaml", service("web", 3))]);
    stand.held("ForcePush").await;
    stand.kernel.look(|state| {
        assert_eq!(state.source.observed, Some(other.clone()));
        assert_eq!(state.source.applied, Some(second.clone()));
        let confirm = state.source.held.as_ref().unwrap().confirm.clone();
        assert_eq!(confirm, Some(format!("kelson confirm {other}")));
    });
    stand.kernel.confirm("ForcePush");
    stand.settled(&other).await;
    stand
        .kernel
        .look(|state| assert_eq!(state.spec("web").unwrap()["instances"], 3));
}

#[tokio::test]
async fn another_branch_at_the_start_is_no_rewritten_history() {
    let mut stand = Stand::with(&["web"]).await;
    stand.stop().await;
    stand
        .repository
        .git(["checkout", "--quiet", "--orphan", "next"]);
    let next = stand.commit(&[("web.yaml", service("web", 5))]);
    stand.start();
    stand.settled(&next).await;
    stand
        .kernel
        .look(|state| assert_eq!(state.source.branch, "next"));
}

#[tokio::test]
async fn a_repository_that_goes_away_holds_and_is_followed_again_when_it_is_back() {
    let stand = Stand::with(&["web"]).await;
    let path = stand.repository.path.clone();
    let aside = path.with_file_name("aside");
    std::fs::rename(&path, &aside).unwrap();
    stand.held("RepositoryMissing").await;
    // What was accepted is still kept as it is.
    stand.kernel.set("web", "/instances", 7.into());
    stand
        .kernel
        .until("a change by hand is undone", |state| {
            (state.spec("web").unwrap()["instances"] == 1).then_some(())
        })
        .await;
    std::fs::rename(&aside, &path).unwrap();
    let commit = stand.repository.head();
    stand.settled(&commit).await;
    let next = stand.commit(&[("web.yaml", service("web", 2))]);
    stand.settled(&next).await;
}
