//! What the tests of this crate share: the kinds, and commits made of texts.
#![expect(dead_code, reason = "each test file uses a part")]
#![expect(clippy::unwrap_used, reason = "tests")]

pub(crate) mod plans;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use kelson_model::code::ToldCode;
use kelson_model::drift::{ByHand, HandField};
use kelson_model::framework::{Description, KindDescription};
use kelson_model::id::Digest;
use kelson_model::object::{DesiredObject, ObjectKey};
use kelson_model::principal::Principal;
use kelson_model::source::Fault;
use kelson_model::time::WallTime;
use kelson_reconciler_core::manifest::{
    Kinds, Loaded, ManifestFile, ParseCache, Unreadable, load, resolve,
};
use kelson_reconciler_core::observed::ObservedObject;
use serde_json::Value;

pub(crate) fn kinds() -> Kinds {
    static KINDS: LazyLock<Kinds> = LazyLock::new(compiled);
    KINDS.clone()
}

fn compiled() -> Kinds {
    let schema = serde_json::from_str(include_str!("../fixtures/service.schema.json")).unwrap();
    let description = Description {
        name: "service".to_owned(),
        version: "0.1.0".to_owned(),
        kinds: vec![KindDescription {
            kind: "Service".to_owned(),
            schema,
            templates: vec![String::new()],
            count: Some("/instances".to_owned()),
        }],
        config_schema: None,
    };
    let (kinds, errors) = Kinds::new([("service", &description)]);
    assert!(errors.is_empty(), "{errors:?}");
    kinds
}

/// A commit: paths and bytes.
pub(crate) type Commit<'a> = &'a [(&'a str, &'a [u8])];

pub(crate) fn load_with(commit: Commit<'_>, kinds: &Kinds, cache: &mut ParseCache) -> Loaded {
    let bytes: BTreeMap<ManifestFile, Arc<[u8]>> = commit
        .iter()
        .map(|(path, bytes)| {
            let file = ManifestFile {
                path: Arc::from(*path),
                blob: Arc::from(Digest::of(bytes).hex()),
            };
            (file, Arc::from(*bytes))
        })
        .collect();
    let files: Vec<ManifestFile> = bytes.keys().cloned().collect();
    load(&files, kinds, cache, |file| {
        bytes.get(file).cloned().ok_or(Unreadable {
            message: "gone".to_owned(),
            hint: String::new(),
        })
    })
}

pub(crate) fn load_commit(commit: Commit<'_>) -> Loaded {
    load_with(commit, &kinds(), &mut ParseCache::default())
}

/// The digest of the one file that commits of these tests have besides manifests,
/// `site/index.html`.
pub(crate) fn resolved(loaded: Loaded) -> Loaded {
    resolve(loaded, &mut ParseCache::default(), |path| {
        (path == "site/index.html").then(|| Digest::of(b"<h1>hello</h1>\n"))
    })
}

pub(crate) fn service(name: &str) -> String {
    format!(
        "apiVersion: kelson/v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  run: {{command: web}}\n"
    )
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new("Service", "shop".parse().unwrap(), name)
}

/// The kernel's row after this object was accepted.
pub(crate) fn accepted(object: &DesiredObject) -> ObservedObject {
    ObservedObject {
        key: object.key.clone(),
        labels: object.labels.clone(),
        lifecycle: object.lifecycle,
        spec: object.spec.clone(),
        generation: 1,
        origin: Some(object.origin.clone()),
        revision: None,
        source: Some("dev".to_owned()),
        by_hand: None,
        written: object.written.clone(),
        changed_by: None,
        quarantined: false,
        is_word_unknown: false,
        health: kelson_model::object::Health::Healthy,
    }
}

/// Lets the kernel have another number of instances.
pub(crate) fn with_instances(live: &mut ObservedObject, instances: u32) {
    let mut spec = live.spec.value();
    *spec.pointer_mut("/instances").unwrap() = instances.into();
    live.spec = spec.into();
}

/// Sets a field by hand, as the kernel keeps it.
pub(crate) fn set_by_hand(live: &mut ObservedObject, path: &str, value: Value, by: &str) {
    let accepted = live.accepted_spec().clone();
    let mut fields = live
        .by_hand
        .take()
        .map_or_else(Vec::new, |it| it.fields.clone());
    let (parent, name) = path.rsplit_once('/').unwrap();
    let mut spec = live.spec.value();
    let parent = spec.pointer_mut(parent).unwrap();
    match value {
        Value::Null => parent.as_object_mut().unwrap().remove(name),
        value => parent
            .as_object_mut()
            .unwrap()
            .insert(name.to_owned(), value),
    };
    live.spec = spec.into();
    fields.push(HandField {
        path: format!("/spec{path}"),
        by: Principal::new(by, "cli"),
        at: WallTime(1),
    });
    live.changed_by = Some(Principal::new(by, "cli"));
    live.by_hand = (accepted != live.spec).then(|| Arc::new(ByHand { accepted, fields }));
}

pub(crate) fn accepted_all(loaded: &Loaded) -> BTreeMap<ObjectKey, ObservedObject> {
    loaded
        .objects
        .iter()
        .map(|object| (object.desired.key.clone(), accepted(&object.desired)))
        .collect()
}

pub(crate) fn codes(faults: &[Fault]) -> Vec<ToldCode> {
    faults.iter().map(|fault| fault.code.clone()).collect()
}

/// `code file:line:column` of each fault.
pub(crate) fn places(faults: &[Fault]) -> Vec<String> {
    faults
        .iter()
        .map(|fault| {
            format!(
                "{} {}:{}:{}",
                fault.code, fault.file, fault.line, fault.column
            )
        })
        .collect()
}
