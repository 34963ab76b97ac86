//! Commits with something wrong in them.

use kelson_model::code::{Code, ToldCode};
use kelson_model::spec::Spec;

use super::stand::{Stand, service};

#[tokio::test]
async fn a_bad_commit_changes_nothing_and_is_reported_with_its_places() {
    let stand = Stand::with(&["web"]).await;
    let good = stand.repository.head();
    let broken = service("web", 1).replace("instances", "instnaces");
    let bad = stand.commit(&[("web.yaml", broken)]);
    stand.reported(&bad).await;
    stand.kernel.look(|state| {
        assert_eq!(state.source.applied, Some(good));
        let fault = &state.source.errors[0];
        assert_eq!((&*fault.file, fault.line, fault.column), ("web.yaml", 5, 3));
        assert!(fault.hint.contains("instances"), "{fault:?}");
        assert_eq!(state.spec("web").unwrap()["instances"], 1);
    });
    let mended = stand.commit(&[("web.yaml", service("web", 2))]);
    stand.settled(&mended).await;
}

#[tokio::test]
async fn one_bad_file_among_a_hundred_stops_neither_the_others_nor_what_it_described() {
    let names: Vec<String> = (0..100).map(|n| format!("s{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stand = Stand::with(&names).await;
    let mut changes: Vec<(String, String)> = (1..10)
        .map(|n| (format!("s{n}.yaml"), service(&format!("s{n}"), 2)))
        .collect();
    changes.push(("s0.yaml".to_owned(), "kind: [".to_owned()));
    let paths = ["s50.yaml"];
    for path in paths {
        std::fs::remove_file(stand.repository.path.join(path)).unwrap();
    }
    let commit = stand.commit(&changes);
    stand.reported(&commit).await;
    stand.kernel.look(|state| {
        assert_eq!(state.objects.len(), 100, "something was pruned");
        assert_eq!(state.source.applied, Some(commit.clone()));
        let files: Vec<&str> = state.source.errors.iter().map(|it| &*it.file).collect();
        assert_eq!(files, ["s0.yaml"]);
        for n in 0..10 {
            let wanted = if n == 0 { 1 } else { 2 };
            assert_eq!(state.spec(&format!("s{n}")).unwrap()["instances"], wanted);
        }
    });
    let mended = stand.commit(&[("s0.yaml", service("s0", 1))]);
    stand.settled(&mended).await;
    stand
        .kernel
        .look(|state| assert_eq!(state.objects.len(), 99));
}

#[tokio::test]
async fn a_file_renamed_and_broken_in_one_commit_prunes_nothing() {
    let stand = Stand::with(&["web", "api"]).await;
    std::fs::remove_file(stand.repository.path.join("web.yaml")).unwrap();
    let commit = stand.commit(&[("site.yaml", service("web", 1).replace("1\n", "one\n"))]);
    stand.reported(&commit).await;
    stand.kernel.look(|state| {
        assert_eq!(state.names(), ["api", "web"]);
        assert_eq!(state.source.errors[0].file, "site.yaml");
    });
}

#[tokio::test]
async fn a_file_of_another_program_holds_nothing_up_where_kelsonignore_names_it() {
    let stand = Stand::with(&["a", "b", "c"]).await;
    std::fs::remove_file(stand.repository.path.join("c.yaml")).unwrap();
    let stranger = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {}\n";
    let commit = stand.commit(&[("k8s/x.yaml", stranger)]);
    stand.reported(&commit).await;
    stand.kernel.look(|state| {
        assert_eq!(state.names(), ["a", "b", "c"]);
        let errors = state.source.errors.iter();
        let faults: Vec<ToldCode> = errors.map(|it| it.code.clone()).collect();
        assert_eq!(faults, [Code::ApiVersion]);
        let hint = &state.source.errors[0].hint;
        assert!(hint.contains(".kelsonignore"), "{hint}");
    });
    let ignored = stand.commit(&[(".kelsonignore", "k8s/\n")]);
    stand.settled(&ignored).await;
    stand.kernel.look(|state| {
        assert_eq!(state.names(), ["a", "b"]);
        assert!(state.source.errors.is_empty());
    });
}

#[tokio::test]
async fn what_a_framework_does_not_accept_is_a_fault_at_its_place() {
    use crate::validator::{Problem, Validator};

    use std::sync::Arc;

    struct NoThirteen;
    impl Validator for NoThirteen {
        fn validate(&self, key: &kelson_model::object::ObjectKey, spec: &Spec) -> Vec<Problem> {
            assert_eq!(key.kind, "Service");
            let is_thirteen = spec.pointer("/instances") == Some(13.into());
            let problem = Problem {
                pointer: "/instances".to_owned(),
                message: "13 brings bad luck".to_owned(),
            };
            is_thirteen.then_some(problem).into_iter().collect()
        }
    }
    let mut stand = Stand::new();
    stand.validator = Arc::new(NoThirteen);
    stand.start();
    let bad = stand.commit(&[("web.yaml", service("web", 13))]);
    stand.reported(&bad).await;
    stand.kernel.look(|state| {
        let fault = &state.source.errors[0];
        assert_eq!((fault.code.known(), fault.line), (Some(Code::Rejected), 5));
        assert_eq!(fault.message, "spec.instances: 13 brings bad luck");
        assert!(fault.hint.contains("change spec.instances"), "{fault:?}");
        assert!(state.objects.is_empty());
    });
    let good = stand.commit(&[("web.yaml", service("web", 12))]);
    stand.settled(&good).await;
}

#[tokio::test]
async fn a_file_that_is_too_large_says_what_to_do_about_its_size() {
    let stand = Stand::with(&["web"]).await;
    let manifest = service("web", 1).replace(
        "command: web",
        "command: web, files: [{path: a, source: large.bin}]",
    );
    let large = "x".repeat((64 << 20) + 1);
    let commit = stand.commit(&[("web.yaml", manifest), ("large.bin", large)]);
    stand.reported(&commit).await;
    stand.kernel.look(|state| {
        let fault = &state.source.errors[0];
        assert_eq!(fault.code.known(), Some(Code::MissingFile));
        assert!(fault.message.contains("at most 67108864"), "{fault:?}");
        assert!(fault.hint.contains("smaller"), "{fault:?}");
    });
}

#[tokio::test]
async fn an_object_that_no_entry_can_hold_is_a_fault_of_its_file() {
    let stand = Stand::with(&["web"]).await;
    let large = service("web", 1).replace(
        "command: web",
        &format!("command: web, env: {{A: \"{}\"}}", "x".repeat(200_000)),
    );
    let commit = stand.commit(&[("web.yaml", large)]);
    stand.reported(&commit).await;
    stand
        .kernel
        .look(|state| assert_eq!(state.source.errors[0].code, Code::TooBig));
}

#[tokio::test]
async fn what_git_cannot_read_for_a_moment_is_read_again() {
    let mut stand = Stand::new();
    let commit = stand.commit(&[
        ("web.yaml", service("web", 1)),
        ("api.yaml", service("api", 1)),
    ]);
    let blob = stand.repository.git(["rev-parse", "HEAD:web.yaml"]);
    let (folder, name) = blob.trim().split_at(2);
    let object = stand
        .repository
        .path
        .join(".git/objects")
        .join(folder)
        .join(name);
    let aside = stand.repository.path.join(".git/aside");
    std::fs::rename(&object, &aside).unwrap();
    stand.start();
    stand.reported(&commit).await;
    stand.kernel.look(|state| {
        assert_eq!(state.source.errors[0].code, Code::UnreadableFile);
        assert!(state.names().is_empty());
    });
    std::fs::rename(&aside, &object).unwrap();
    stand.settled(&commit).await;
    stand
        .kernel
        .look(|state| assert_eq!(state.names(), ["api", "web"]));
}

#[tokio::test]
async fn the_kernel_is_told_who_made_the_commits_and_what_waits_for_what() {
    let mut stand = Stand::new();
    let commit = stand.commit(&[
        (
            "birds.yaml",
            "apiVersion: kelson/v1\nkind: Framework\nmetadata: {name: birds, namespace: data}\nspec:\n  component: {path: birds.wasm}\n",
        ),
        (
            "robin.yaml",
            &service("robin", 1).replace("kind: Service", "kind: Bird"),
        ),
        ("birds.wasm", "a component"),
    ]);
    let author = stand.repository.git(["log", "-1", "--format=%an"]);
    stand.start();
    stand
        .kernel
        .until("what waits is told", |state| {
            let source = &state.source;
            let is_seen = source.observed.as_ref() == Some(&commit) && !source.kept.is_empty();
            (is_seen && source.applied_by.is_some()).then_some(())
        })
        .await;
    stand.kernel.look(|state| {
        let source = &state.source;
        assert_eq!(source.kept[0].object.name, "robin");
        assert_eq!(source.kept[0].reason.word(), "WaitsForFramework");
        assert_eq!(source.observed_by.as_deref(), Some(author.trim()));
        assert_eq!(source.applied_by.as_deref(), Some(author.trim()));
    });
}
