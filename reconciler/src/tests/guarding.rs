//! Commits that take away much.

use super::stand::{Stand, manifest, service};

#[tokio::test]
async fn an_empty_tree_is_held_and_pruned_once_it_is_confirmed() {
    let stand = Stand::with(&["web", "api"]).await;
    let commit = stand.remove(&["web.yaml", "api.yaml"]);
    stand.held("PruneGuard").await;
    stand.kernel.look(|state| {
        let held = state.source.held.as_ref().unwrap();
        assert_eq!(held.confirm, Some(format!("kelson confirm {commit}")));
        assert_eq!(held.objects.len(), 2);
        assert_eq!(state.objects.len(), 2);
    });
    stand.kernel.confirm("PruneGuard");
    stand.settled(&commit).await;
    stand.kernel.look(|state| assert!(state.objects.is_empty()));
}

#[tokio::test]
async fn a_word_for_a_rewritten_history_does_not_let_everything_go() {
    let stand = Stand::with(&["web", "api"]).await;
    stand
        .repository
        .git(["checkout", "--quiet", "--orphan", "other"]);
    let commit = stand.remove(&["web.yaml", "api.yaml"]);
    stand.repository.git(["branch", "-f", "main", "other"]);
    stand.held("ForcePush").await;
    stand.kernel.look(|state| {
        let reasons: Vec<&str> = state
            .source
            .holds
            .iter()
            .map(|it| it.reason.word())
            .collect();
        assert_eq!(reasons, ["ForcePush", "PruneGuard"]);
    });
    stand.kernel.confirm("ForcePush");
    stand.held("PruneGuard").await;
    stand
        .kernel
        .look(|state| assert_eq!(state.objects.len(), 2));
    stand.kernel.confirm("PruneGuard");
    stand.settled(&commit).await;
    stand.kernel.look(|state| assert!(state.objects.is_empty()));
}

#[tokio::test]
async fn a_deletion_with_each_commit_is_held_as_one_of_all_is() {
    let stand = Stand::with(&["a", "b", "c"]).await;
    for path in ["a.yaml", "b.yaml"] {
        let commit = stand.remove(&[path]);
        stand.settled(&commit).await;
    }
    stand.remove(&["c.yaml"]);
    stand.held("PruneGuard").await;
    stand.kernel.look(|state| assert_eq!(state.names(), ["c"]));
}

#[tokio::test]
async fn a_held_commit_applies_nothing_of_itself_and_a_better_one_releases_it() {
    let stand = Stand::with(&["a", "b", "c", "d", "e", "f"]).await;
    std::fs::remove_file(stand.repository.path.join("a.yaml")).unwrap();
    std::fs::remove_file(stand.repository.path.join("b.yaml")).unwrap();
    std::fs::remove_file(stand.repository.path.join("c.yaml")).unwrap();
    std::fs::remove_file(stand.repository.path.join("d.yaml")).unwrap();
    stand.commit(&[("f.yaml", service("f", 4))]);
    stand.held("PruneGuard").await;
    stand.kernel.look(|state| {
        assert_eq!(state.objects.len(), 6);
        assert_eq!(state.spec("f").unwrap()["instances"], 1);
    });
    let better = stand.commit(&[("a.yaml", service("a", 1)), ("b.yaml", service("b", 1))]);
    stand.settled(&better).await;
    stand
        .kernel
        .look(|state| assert_eq!(state.names(), ["a", "b", "e", "f"]));
}

#[tokio::test]
async fn a_deleted_manifest_among_others_is_pruned_without_asking() {
    let stand = Stand::with(&["web", "api"]).await;
    let commit = stand.remove(&["api.yaml"]);
    stand.settled(&commit).await;
    stand
        .kernel
        .look(|state| assert_eq!(state.names(), ["web"]));
}

#[tokio::test]
async fn an_object_that_asks_for_a_word_before_it_goes_waits_while_the_rest_is_applied() {
    let stand = Stand::with(&["web"]).await;
    let kept = stand.commit(&[(
        "db.yaml",
        manifest("db", 1, ", lifecycle: {prune: confirm}"),
    )]);
    stand.settled(&kept).await;
    std::fs::remove_file(stand.repository.path.join("db.yaml")).unwrap();
    let commit = stand.commit(&[("web.yaml", service("web", 2))]);
    stand.held("PruneConfirm").await;
    stand.kernel.look(|state| {
        assert_eq!(state.names(), ["db", "web"]);
        assert_eq!(state.spec("web").unwrap()["instances"], 2);
        assert_eq!(state.source.applied, Some(commit.clone()));
    });
    stand.kernel.confirm("PruneConfirm");
    stand.settled(&commit).await;
    stand
        .kernel
        .look(|state| assert_eq!(state.names(), ["web"]));
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_no_wish_to_have_nothing() {
    use super::kernel::service_key;
    let stand = Stand::with(&["web"]).await;
    // A folder `kelson` makes the rest no manifests: the only object of many goes, as the contract
    // says.
    let commit = stand.commit(&[("kelson/api.yaml", service("api", 1))]);
    stand.settled(&commit).await;
    stand.kernel.look(|state| {
        let keys: Vec<_> = state.objects.keys().cloned().collect();
        assert_eq!(keys, [service_key("api")]);
    });
}
