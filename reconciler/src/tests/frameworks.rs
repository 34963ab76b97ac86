//! Frameworks that come with the objects of their kinds, and files that manifests name.

use kelson_model::code::Code;
use kelson_model::id::{Digest, Revision};
use serde_json::json;

use super::kernel::framework;
use super::stand::{Stand, service};

const BIRDS: &str = "apiVersion: kelson/v1\nkind: Framework\nmetadata: {name: birds, namespace: data}\nspec:\n  component: {path: frameworks/birds.wasm}\n";

fn bird() -> String {
    service("robin", 1)
        .replace("kind: Service", "kind: Bird")
        .replace("namespace: shop", "namespace: data")
}

/// The kernel's row of that framework, once it has described itself.
fn birds(kinds: &[&str]) -> serde_json::Value {
    let mut row = framework("birds", kinds);
    row["namespace"] = json!("data");
    row
}

#[tokio::test]
async fn objects_of_a_new_framework_wait_for_it_and_follow() {
    let mut stand = Stand::new();
    let commit = stand.commit(&[
        ("birds.yaml", BIRDS),
        ("robin.yaml", &bird()),
        ("frameworks/birds.wasm", "a component"),
    ]);
    stand.start();
    stand
        .kernel
        .until("the framework is accepted and the rest waits", |state| {
            let source = &state.source;
            let waits = state.names() == ["birds"]
                && source.observed.as_ref() == Some(&commit)
                && source.sync == kelson_model::object::Sync::OutOfSync;
            waits.then_some(())
        })
        .await;
    stand.kernel.look(|state| {
        assert!(state.source.errors.is_empty(), "{:?}", state.source.errors);
        let digest = Digest::of(b"a component");
        assert_eq!(state.spec("birds").unwrap()["digest"], digest.to_string());
        assert!(state.blobs.contains_key(&digest), "the blob came too late");
    });
    stand.kernel.put_framework("birds", birds(&["Bird"]));
    stand.settled(&commit).await;
    stand
        .kernel
        .look(|state| assert_eq!(state.names(), ["robin", "birds"]));
}

#[tokio::test]
async fn objects_of_a_framework_that_cannot_be_loaded_are_faults() {
    let mut stand = Stand::new();
    let commit = stand.commit(&[
        ("birds.yaml", BIRDS),
        ("robin.yaml", &bird()),
        ("frameworks/birds.wasm", "no component"),
    ]);
    stand.start();
    stand
        .kernel
        .until("the framework is accepted", |state| {
            (state.names() == ["birds"]).then_some(())
        })
        .await;
    stand.kernel.put_framework(
        "birds",
        json!({"name": "birds", "namespace": "data", "builtIn": false, "component": null, "fault": "it is no component",
            "faultOf": Digest::of(b"no component"), "namespaces": [], "description": null}),
    );
    stand.reported(&commit).await;
    stand.kernel.look(|state| {
        let fault = &state.source.errors[0];
        assert_eq!(
            (fault.code.known(), &*fault.file),
            (Some(Code::UnknownKind), "robin.yaml")
        );
    });
    // A component that can be loaded: its objects wait again, and follow.
    let mended = stand.commit(&[("frameworks/birds.wasm", "a component")]);
    stand
        .kernel
        .until("nothing is at fault any more", |state| {
            let source = &state.source;
            (source.observed.as_ref() == Some(&mended) && source.errors.is_empty()).then_some(())
        })
        .await;
    stand.kernel.put_framework("birds", birds(&["Bird"]));
    stand.settled(&mended).await;
}

#[tokio::test]
async fn an_object_of_a_kind_that_an_upgrade_brings_waits_for_it() {
    let mut stand = Stand::new();
    let first = stand.commit(&[
        ("birds.yaml", BIRDS),
        ("robin.yaml", &bird()),
        ("frameworks/birds.wasm", "version 1"),
    ]);
    let row = |kinds: &[&str], component: &[u8]| {
        let mut row = birds(kinds);
        row["component"] = json!(Digest::of(component));
        row
    };
    stand
        .kernel
        .put_framework("birds", row(&["Bird"], b"version 1"));
    stand.start();
    stand.settled(&first).await;
    let nest = bird()
        .replace("robin", "nest")
        .replace("kind: Bird", "kind: Nest");
    let second = stand.commit(&[("frameworks/birds.wasm", "version 2"), ("nest.yaml", &nest)]);
    stand
        .kernel
        .until("the upgrade is accepted and reported", |state| {
            let source = &state.source;
            (source.applied.as_ref() == Some(&second) && source.observed.as_ref() == Some(&second))
                .then_some(())
        })
        .await;
    stand.kernel.look(|state| {
        assert!(state.source.errors.is_empty(), "{:?}", state.source.errors);
        assert_eq!(state.names(), ["robin", "birds"]);
    });
    stand
        .kernel
        .put_framework("birds", row(&["Bird", "Nest"], b"version 2"));
    stand.settled(&second).await;
    stand
        .kernel
        .look(|state| assert_eq!(state.names(), ["robin", "birds", "nest"]));
}

/// The kernel's row once this component is in force, whose birds take these fields besides.
fn birds_with(component: &[u8], fields: &[&str]) -> serde_json::Value {
    let mut row = birds(&["Bird"]);
    row["component"] = json!(Digest::of(component));
    for field in fields {
        row["description"]["kinds"][0]["schema"]["properties"][*field] = json!({"type": "string"});
    }
    row
}

/// Version 1 with one bird, and then a commit that pins version 2 and has this robin.
async fn upgraded_with(robin: &str) -> (Stand, Revision) {
    let mut stand = Stand::new();
    let first = stand.commit(&[
        ("birds.yaml", BIRDS),
        ("robin.yaml", &bird()),
        ("frameworks/birds.wasm", "version 1"),
    ]);
    stand
        .kernel
        .put_framework("birds", birds_with(b"version 1", &[]));
    stand.start();
    stand.settled(&first).await;
    let second = stand.commit(&[
        ("frameworks/birds.wasm", "version 2"),
        ("robin.yaml", robin),
    ]);
    stand
        .kernel
        .until("the upgrade is accepted", |state| {
            (state.source.applied.as_ref() == Some(&second)).then_some(())
        })
        .await;
    (stand, second)
}

#[tokio::test]
async fn an_upgrade_and_the_use_of_its_new_field_are_one_good_commit() {
    let sings = bird().replace("  instances: 1\n", "  instances: 2\n  song: hello\n");
    let (stand, second) = upgraded_with(&sings).await;
    stand.kernel.look(|state| {
        assert!(state.source.errors.is_empty(), "{:?}", state.source.errors);
        // Whoever sees the revision applied sees what waits, too.
        let kept = &state.source.kept[0];
        assert_eq!(
            (&*kept.object.name, kept.reason.word()),
            ("robin", "WaitsForFramework")
        );
        assert!(kept.message.contains("`song`"), "{}", kept.message);
        assert_eq!(state.spec("robin").unwrap()["instances"], 1);
        let digest = Digest::of(b"version 2");
        assert_eq!(state.spec("birds").unwrap()["digest"], digest.to_string());
    });
    stand
        .kernel
        .put_framework("birds", birds_with(b"version 2", &["song"]));
    stand.settled(&second).await;
    stand.kernel.look(|state| {
        let robin = state.spec("robin").unwrap();
        assert_eq!(
            (&robin["instances"], &robin["song"]),
            (&json!(2), &json!("hello"))
        );
    });
}

#[tokio::test]
async fn what_the_new_version_does_not_take_either_is_a_fault_then() {
    let slip = bird().replace("  instances: 1\n", "  instances: 1\n  sogn: hello\n");
    let (stand, _) = upgraded_with(&slip).await;
    // An upgrade that is held only waits, and so does what it may take.
    let mut held = birds_with(b"version 1", &[]);
    held["fault"] = json!("kind Nest has living tasks");
    held["faultOf"] = json!(Digest::of(b"version 2"));
    held["faultCause"] = json!("held");
    stand.kernel.put_framework("birds", held);
    let third = stand.commit(&[("README.md", "a word")]);
    stand
        .kernel
        .until("the next commit is looked at", |state| {
            (state.source.observed.as_ref() == Some(&third)).then_some(())
        })
        .await;
    stand
        .kernel
        .look(|state| assert!(state.source.errors.is_empty()));
    stand
        .kernel
        .put_framework("birds", birds_with(b"version 2", &["song"]));
    stand.reported(&third).await;
    stand.kernel.look(|state| {
        let fault = &state.source.errors[0];
        assert_eq!(
            (fault.code.id(), &*fault.file, fault.line),
            (Code::UnknownField.id(), "robin.yaml", 6)
        );
        assert_eq!(state.spec("robin").unwrap()["instances"], 1);
    });
}

#[tokio::test]
async fn what_a_version_that_goes_says_is_not_the_last_word() {
    struct Mute;
    impl crate::Validator for Mute {
        fn validate(
            &self,
            key: &kelson_model::object::ObjectKey,
            spec: &kelson_model::spec::Spec,
        ) -> Vec<crate::Problem> {
            let is_bad = key.kind == "Bird" && spec.pointer("/instances") == Some(2.into());
            let problem = crate::Problem {
                pointer: "/instances".to_owned(),
                message: "two birds are too many".to_owned(),
            };
            is_bad.then_some(problem).into_iter().collect()
        }
    }
    let mut stand = Stand::new();
    stand.validator = std::sync::Arc::new(Mute);
    stand
        .kernel
        .put_framework("birds", birds_with(b"version 1", &[]));
    let commit = stand.commit(&[
        ("birds.yaml", BIRDS),
        (
            "robin.yaml",
            &bird().replace("instances: 1", "instances: 2"),
        ),
        ("frameworks/birds.wasm", "version 2"),
    ]);
    stand.start();
    stand
        .kernel
        .until("what waits is told", |state| {
            let kept = state.source.kept.first()?;
            (state.source.applied.as_ref() == Some(&commit)).then(|| kept.message.clone())
        })
        .await;
    stand.kernel.look(|state| {
        assert!(state.source.errors.is_empty());
        assert!(state.source.kept[0].message.contains("too many"));
        assert_eq!(state.names(), ["birds"]);
    });
    stand
        .kernel
        .put_framework("birds", birds_with(b"version 2", &[]));
    stand.reported(&commit).await;
    stand.kernel.look(|state| {
        let fault = &state.source.errors[0];
        assert_eq!((fault.code.id(), fault.line), (Code::Rejected.id(), 5));
    });
}

#[tokio::test]
async fn files_are_pinned_stored_before_they_are_needed_and_stored_once() {
    let mut stand = Stand::new();
    let with_file = service("web", 1).replace(
        "command: web",
        "command: web, files: [{path: index.html, source: site/index.html}]",
    );
    let first = stand.commit(&[("web.yaml", &*with_file), ("site/index.html", "one")]);
    stand.start();
    stand.settled(&first).await;
    let pinned = || {
        stand
            .kernel
            .look(|state| state.spec("web").unwrap()["run"]["files"][0]["digest"].clone())
    };
    assert_eq!(pinned(), Digest::of(b"one").to_string());
    let second = stand.commit(&[("site/index.html", "two")]);
    stand.settled(&second).await;
    assert_eq!(pinned(), Digest::of(b"two").to_string());
    stand.kernel.look(|state| {
        assert_eq!(state.count("blob"), 2);
        let blob = state.requests.iter().position(|it| *it == "blob");
        let accept = state.requests.iter().position(|it| *it == "accept");
        assert!(blob < accept, "{:?}", state.requests);
    });
    let third = stand.remove(&["site/index.html"]);
    stand.reported(&third).await;
    stand.kernel.look(|state| {
        let fault = &state.source.errors[0];
        assert_eq!(
            (fault.code.known(), &*fault.file),
            (Some(Code::MissingFile), "web.yaml")
        );
    });
    assert_eq!(pinned(), Digest::of(b"two").to_string());
}
