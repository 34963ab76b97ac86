//! The cost of a change follows the change.

use std::sync::Arc;

use kelson_model::id::Index;
use kelson_model::source::SourceRecord;
use kelson_model::time::WallTime;
use kelson_model::view::FrameworkRow;
use kelson_reconciler_core::manifest::Kinds;
use kelson_reconciler_core::plan::Why;
use serde_json::json;

use super::kernel::service_framework;
use super::stand::{Stand, service};
use crate::client::{Batch, Row, RowKind};
use crate::validator::{Problem, SchemaOnly, Validator};
use crate::{Loader, Mirror, of_rows, plan_source, validation};

fn kinds() -> Kinds {
    let row: FrameworkRow = serde_json::from_value(service_framework()).unwrap();
    let (kinds, errors) = of_rows([&row]);
    assert_eq!(errors, []);
    kinds
}

#[test]
fn of_many_files_only_the_changed_one_is_read_parsed_and_judged() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    #[derive(Default)]
    struct Counting(AtomicUsize);
    impl Validator for Counting {
        fn validate(
            &self,
            _: &kelson_model::object::ObjectKey,
            _: &kelson_model::spec::Spec,
        ) -> Vec<Problem> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Vec::new()
        }
    }
    let stand = Stand::new();
    let files: Vec<(String, String)> = (0..300)
        .map(|n| (format!("s{n}.yaml"), service(&format!("s{n}"), 1)))
        .collect();
    let first = stand.commit(&files);
    let second = stand.commit(&[("s7.yaml", service("s7", 2))]);
    let git = stand.repository.open();
    let counting = Arc::new(Counting::default());
    let mut loader = Loader::new(counting.clone());
    let kinds = kinds();
    let before = loader.load(&git.at(first), &kinds).unwrap();
    assert_eq!(before.loaded.objects.len(), 300);
    assert_eq!(
        (loader.parsed(), counting.0.load(Ordering::Relaxed)),
        (300, 300)
    );
    let after = loader.load(&git.at(second), &kinds).unwrap();
    assert_eq!(after.loaded.objects.len(), 300);
    assert_eq!(
        (loader.parsed(), counting.0.load(Ordering::Relaxed)),
        (301, 301)
    );
}

#[test]
fn a_folder_is_validated_and_planned_without_a_commit() {
    let stand = Stand::new();
    stand.commit(&[("web.yaml", service("web", 1))]);
    stand.repository.write("api.yaml", service("api", 2));
    let tree = crate::source::WorkTree::open(&stand.repository.path, None).unwrap();
    let desired = Loader::new(Arc::new(SchemaOnly))
        .load(&tree, &kinds())
        .unwrap();
    let report = validation(&desired);
    assert_eq!((report.valid, report.files, report.objects), (true, 2, 2));
    let record = SourceRecord::default();
    let plan_with = |mirror: &Mirror, is_rewritten| {
        plan_source(
            &desired,
            mirror.objects(),
            &record,
            None,
            is_rewritten,
            WallTime(0),
        )
    };
    let plan = plan_with(&Mirror::default(), false);
    assert_eq!(plan.steps.len(), 2);
    // What the kernel says of an object is read as the loop reads it: one that was rolled back is
    // no work.
    let web = desired
        .loaded
        .objects
        .iter()
        .find(|it| it.desired.key.name == "web");
    let web = &web.unwrap().desired;
    let row = json!({"key": web.key, "labels": web.labels, "lifecycle": web.lifecycle, "origin": web.origin, "spec": web.spec,
        "quarantine": {"generation": 2, "reason": "it failed"}});
    let mut mirror = Mirror::default();
    let batch = Batch {
        index: Index(7),
        is_restart: true,
        is_current: true,
        rows: vec![Row {
            kind: RowKind::Object,
            key: web.key.to_string(),
            json: Some(row.to_string()),
        }],
    };
    mirror.take_in(batch, WallTime(1));
    let plan = plan_with(&mirror, false);
    assert_eq!((plan.steps.len(), plan.report.len()), (1, 1));
    assert_eq!(plan.report[0].why, Why::RolledBack);
    let plan = plan_with(&mirror, true);
    assert!(plan.is_blocked);
    assert_eq!(plan.held.unwrap().reason.word(), "ForcePush");
    stand.repository.write("api.yaml", "kind: Servise\n");
    let desired = Loader::new(Arc::new(SchemaOnly))
        .load(&tree, &kinds())
        .unwrap();
    assert!(!validation(&desired).valid);
}
