//! Changes that no commit made.

use kelson_model::code::Code;
use kelson_model::drift::{DriftState, Plane};
use serde_json::json;

use super::kernel::Mishap;
use super::stand::{Stand, manifest, service};

#[tokio::test]
async fn a_field_set_by_hand_is_put_back_and_told_with_both_values_and_its_line() {
    let stand = Stand::with(&["web"]).await;
    let commit = stand.repository.head();
    stand.kernel.set("web", "/instances", json!(5));
    stand
        .kernel
        .until("it is healed", |state| {
            let item = state.ledger.first()?;
            (item.state == DriftState::Healed).then_some(())
        })
        .await;
    stand.settled(&commit).await;
    stand.kernel.look(|state| {
        assert_eq!(state.ledger.len(), 1);
        let item = &state.ledger[0];
        assert_eq!(item.plane, Plane::Specification);
        let field = &item.fields[0];
        assert_eq!(
            (&*field.path, &field.desired, &field.live),
            ("/spec/instances", &json!(1), &json!(5))
        );
        let origin = item.origin.as_ref().unwrap();
        assert_eq!((&*origin.file, origin.line), ("web.yaml", 5));
        assert_eq!(item.changed_by.actor, "alice");
        assert_eq!(state.spec("web").unwrap()["instances"], 1);
        assert_eq!(state.source.applied, Some(commit.clone()));
    });
}

#[tokio::test]
async fn what_is_set_while_another_field_is_put_back_is_told_before_it_is_put_back() {
    let stand = Stand::with(&["web"]).await;
    let kernel = stand.kernel.clone();
    stand.kernel.on("accept", move || {
        kernel.set("web", "/run/command", json!("other"));
    });
    stand.kernel.set("web", "/instances", json!(5));
    stand
        .kernel
        .until("both are healed", |state| {
            let item = state.ledger.first()?;
            (item.state == DriftState::Healed).then_some(())
        })
        .await;
    stand.kernel.look(|state| {
        assert_eq!(state.ledger.len(), 1);
        let fields = state.ledger[0].fields.iter();
        let paths: Vec<&str> = fields.map(|field| &*field.path).collect();
        assert_eq!(paths, ["/spec/instances", "/spec/run/command"]);
        assert_eq!(state.spec("web").unwrap()["instances"], 1);
        assert_ne!(state.spec("web").unwrap()["run"]["command"], "other");
    });
}

#[tokio::test]
async fn under_report_a_change_by_hand_is_told_and_left_until_git_changes_the_object() {
    let mut stand = Stand::new();
    let report = ", lifecycle: {drift: report}";
    let first = stand.commit(&[
        ("web.yaml", manifest("web", 1, report)),
        ("api.yaml", service("api", 1)),
    ]);
    stand.start();
    stand.settled(&first).await;
    stand.kernel.set("web", "/instances", json!(2));
    stand
        .kernel
        .until("it is open", |state| (state.open() == 1).then_some(()))
        .await;
    let elsewhere = stand.commit(&[("api.yaml", service("api", 2))]);
    stand
        .kernel
        .until("the other object is applied", |state| {
            (state.source.applied.as_ref() == Some(&elsewhere)).then_some(())
        })
        .await;
    stand.kernel.look(|state| {
        assert_eq!(state.spec("web").unwrap()["instances"], 2);
        assert_eq!(state.open(), 1);
    });
    let changed = stand.commit(&[("web.yaml", manifest("web", 3, report))]);
    stand.settled(&changed).await;
    stand
        .kernel
        .until("it is healed", |state| (state.open() == 0).then_some(()))
        .await;
    stand.kernel.look(|state| {
        assert_eq!(state.spec("web").unwrap()["instances"], 3);
        assert_eq!(state.ledger.len(), 1);
    });
}

#[tokio::test]
async fn a_page_of_drift_that_is_refused_does_not_hide_the_others() {
    let mut stand = Stand::new();
    let names: Vec<String> = (0..300).map(|n| format!("s{n}")).collect();
    let manifests = names.iter().map(|name| {
        let text = manifest(name, 1, ", lifecycle: {drift: report}");
        (format!("{name}.yaml"), text)
    });
    let manifests: Vec<(String, String)> = manifests.collect();
    let commit = stand.commit(&manifests);
    stand.start();
    stand.settled(&commit).await;
    stand.stop().await;
    for name in &names {
        stand
            .kernel
            .set(name, "/run/command", json!("x".repeat(900)));
    }
    stand
        .kernel
        .mishap("drift", Mishap::Refused(Code::TooMuchAtOnce));
    stand.start();
    // The second page is taken, which changes the ledger, so that the first is told again.
    stand
        .kernel
        .until("all are open", |state| {
            (state.open() == names.len()).then_some(())
        })
        .await;
}

#[tokio::test]
async fn drift_that_the_kernel_does_not_list_is_said_of_the_source() {
    let mut stand = Stand::new();
    let text = manifest("web", 1, ", lifecycle: {drift: report}");
    let commit = stand.commit(&[("web.yaml", text)]);
    stand.start();
    stand.settled(&commit).await;
    for _ in 0..100 {
        stand
            .kernel
            .mishap("drift", Mishap::Refused(Code::TooMuchAtOnce));
    }
    stand.kernel.set("web", "/instances", json!(5));
    stand
        .kernel
        .until("the source says so", |state| {
            let mut errors = state.source.errors.iter();
            let is_said = errors.any(|fault| fault.code == Code::TooMuchDrift);
            is_said.then_some(())
        })
        .await;
    stand.kernel.look(|state| assert_eq!(state.open(), 0));
}

#[tokio::test]
async fn drift_is_put_back_while_a_newer_revision_is_held() {
    let stand = Stand::with(&["web", "api"]).await;
    stand.remove(&["web.yaml", "api.yaml"]);
    stand.held("PruneGuard").await;
    stand.kernel.set("web", "/instances", json!(5));
    stand
        .kernel
        .until("it is put back and held again", |state| {
            let is_back = state.spec("web").unwrap()["instances"] == 1;
            (is_back && state.held() == Some("PruneGuard") && state.open() == 0).then_some(())
        })
        .await;
    stand
        .kernel
        .look(|state| assert_eq!(state.objects.len(), 2));
}

#[tokio::test]
async fn drift_that_happened_while_nobody_looked_is_found_after_a_restart() {
    let mut stand = Stand::with(&["web"]).await;
    stand.stop().await;
    stand.kernel.set("web", "/instances", json!(5));
    stand.start();
    stand
        .kernel
        .until("it is healed", |state| {
            let item = state.ledger.first()?;
            (item.state == DriftState::Healed && item.origin.is_some()).then_some(())
        })
        .await;
}

/// Sets a field by hand while nobody looks, and waits until it is put back after a start.
async fn put_back_after_a_start(stand: &mut Stand) {
    stand.kernel.set("web", "/instances", json!(5));
    stand.start();
    stand
        .kernel
        .until("it is put back and told", |state| {
            let is_told = state.ledger.iter().any(|it| it.state == DriftState::Healed);
            let is_back = state.spec("web").unwrap()["instances"] == 1;
            (is_back && is_told && state.open() == 0).then_some(())
        })
        .await;
}

#[tokio::test]
async fn drift_is_put_back_after_a_restart_with_a_bad_file_in_the_applied_revision() {
    let mut stand = Stand::with(&["web", "api"]).await;
    // The good files of this commit are applied, and with them it is the applied revision.
    let bad = stand.commit(&[
        ("web.yaml", "kind: [".to_owned()),
        ("api.yaml", service("api", 2)),
    ]);
    stand.reported(&bad).await;
    stand
        .kernel
        .until("the good file is applied", |state| {
            (state.source.applied.as_ref() == Some(&bad)).then_some(())
        })
        .await;
    stand.stop().await;
    put_back_after_a_start(&mut stand).await;
}

#[tokio::test]
async fn drift_is_put_back_when_git_has_lost_the_applied_revision() {
    let mut stand = Stand::with(&["web"]).await;
    stand.stop().await;
    let lost = "1".repeat(40).parse().unwrap();
    stand.kernel.pretend_applied(lost);
    put_back_after_a_start(&mut stand).await;
    stand.held("ForcePush").await;
}

#[tokio::test]
async fn drift_is_put_back_while_the_kernel_refuses_the_newest_revision() {
    let stand = Stand::with(&["web", "api"]).await;
    stand
        .kernel
        .mishap("accept", Mishap::Refused(Code::AgentRefused));
    let refused = stand.commit(&[("api.yaml", service("api", 2))]);
    stand.reported(&refused).await;
    stand.kernel.set("web", "/instances", json!(5));
    stand
        .kernel
        .until("it is put back", |state| {
            let is_back = state.spec("web").unwrap()["instances"] == 1;
            (is_back && state.open() == 0).then_some(())
        })
        .await;
    stand.kernel.look(|state| {
        assert_eq!(state.source.errors[0].code, Code::AgentRefused);
        assert_eq!(state.spec("api").unwrap()["instances"], 1);
    });
}

#[tokio::test]
async fn a_task_that_a_stranger_killed_is_told_and_healed_by_its_replacement() {
    let stand = Stand::with(&["web"]).await;
    let row = |id: &str, state: &str, signal: Option<i32>| {
        json!({"id": id, "name": "web.0", "workload": {"kind": "Service", "namespace": "shop", "name": "web"}, "generation": 1,
            "agent": "agt_1", "state": state, "health": "healthy", "ready": true, "pid": 1, "address": null, "ports": {},
            "startedAt": null, "exit": {"code": null, "signal": signal, "oom": false, "reason": null}, "isolation": null,
            "message": null, "stop": null, "exitByAgent": false, "isEnded": signal.is_some()})
    };
    stand
        .kernel
        .put_task("tsk_1", row("tsk_1", "running", None));
    stand
        .kernel
        .put_task("tsk_1", row("tsk_1", "failed", Some(9)));
    stand
        .kernel
        .until("it is told", |state| {
            let item = state.ledger.first()?;
            (item.plane == Plane::Placement && item.changed_by.actor == "unknown").then_some(())
        })
        .await;
    stand
        .kernel
        .put_task("tsk_2", row("tsk_2", "running", None));
    stand
        .kernel
        .until("it is healed", |state| (state.open() == 0).then_some(()))
        .await;
    stand.kernel.look(|state| assert_eq!(state.ledger.len(), 1));
}
