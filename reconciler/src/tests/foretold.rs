//! Sources that bring components, checked before a kernel has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kelson_model::code::Code;
use kelson_model::framework::{Description, Limits};
use kelson_model::id::{Digest, Revision};
use kelson_model::source::SourceRecord;
use kelson_model::spec::Spec;
use kelson_model::time::WallTime;
use kelson_model::view::FrameworkRow;
use kelson_reconciler_core::plan::StepKind;
use serde_json::{Value, json};

use super::kernel::{framework, service_framework};
use super::stand::{Stand, service};
use crate::source::{Artifact, BlobId, Listing, ManifestSource, SourceError, TreeFile, WorkTree};
use crate::{Components, Foretold, Mirror, Problem, check_source, plan_source, validation};

/// A component is the JSON of a framework's row; it refuses what is named `ostrich`.
struct Sandbox;

impl Components for Sandbox {
    fn describe(&self, _: &Digest, bytes: &[u8], _: &Limits) -> Result<Description, String> {
        let row: FrameworkRow = serde_json::from_slice(bytes).map_err(|it| it.to_string())?;
        row.description.ok_or_else(|| "it is silent".to_owned())
    }

    fn validate(&self, _: &Digest, _: &str, spec: &Spec) -> Vec<Problem> {
        let is_bad = spec.pointer("/run/command") == Some("ostrich".into());
        let problem = Problem {
            pointer: "/run/command".to_owned(),
            message: "an ostrich cannot fly".to_owned(),
        };
        is_bad.then_some(problem).into_iter().collect()
    }
}

fn birds(name: &str) -> String {
    format!(
        "apiVersion: kelson/v1\nkind: Framework\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  component: {{path: {name}.wasm}}\n"
    )
}

fn bird(name: &str) -> String {
    service(name, 1).replace("kind: Service", "kind: Bird")
}

fn component(name: &str, kinds: &[&str], field: &str) -> String {
    let mut row = framework(name, kinds);
    for kind in row["description"]["kinds"].as_array_mut().unwrap() {
        kind["schema"]["properties"][field] = json!({"type": "string"});
    }
    row.to_string()
}

fn checked(stand: &Stand, there: &[Value]) -> Foretold {
    let rows = [service_framework()];
    let rows = rows.iter().chain(there);
    let rows = rows.map(|row| serde_json::from_value(row.clone()).unwrap());
    let components: Arc<dyn Components> = Arc::new(Sandbox);
    let tree = WorkTree::open(&stand.repository.path, None).unwrap();
    check_source(&tree, rows.collect(), &components).unwrap()
}

fn places(foretold: &Foretold) -> Vec<String> {
    let errors = foretold.desired.errors().into_iter();
    errors
        .map(|it| format!("{} {}:{}", it.code, it.file, it.line))
        .collect()
}

fn created(foretold: &Foretold) -> Vec<String> {
    let record = SourceRecord::default();
    let objects = Mirror::default();
    let plan = plan_source(
        &foretold.desired,
        objects.objects(),
        &record,
        None,
        false,
        WallTime(0),
    );
    let steps = plan.steps.into_iter();
    steps
        .filter(|step| step.kind == StepKind::Create)
        .map(|step| step.object.name)
        .collect()
}

fn names(foretold: &Foretold) -> Vec<&str> {
    let objects = foretold.desired.loaded.objects.iter();
    objects.map(|it| it.desired.key.name.as_str()).collect()
}

#[test]
fn objects_are_judged_by_the_component_that_comes_with_them() {
    let stand = Stand::new();
    let slip = bird("wren").replace("run:", "sogn: x\n  run:");
    let ostrich = bird("ostrich").replace("command: web", "command: ostrich");
    stand.commit(&[
        ("birds.yaml", birds("birds")),
        ("birds.wasm", component("birds", &["Bird"], "song")),
        ("ostrich.yaml", ostrich),
        (
            "robin.yaml",
            bird("robin").replace("run:", "song: x\n  run:"),
        ),
        ("wren.yaml", slip),
    ]);
    // An older version in the kernel changes nothing of it.
    let mut there = framework("birds", &["Bird"]);
    there["namespace"] = json!("shop");
    there["component"] = json!(Digest::of(b"version 1"));
    for there in [Vec::new(), vec![there]] {
        let foretold = checked(&stand, &there);
        assert_eq!(
            places(&foretold),
            ["K0124 ostrich.yaml:6", "K0102 wren.yaml:6"]
        );
        assert_eq!(created(&foretold), ["birds", "robin"]);
    }
}

/// A source and a sandbox that count what they are asked.
struct Counted<T> {
    of: T,
    asked: AtomicUsize,
}

impl<T> Counted<T> {
    fn new(of: T) -> Self {
        let asked = AtomicUsize::new(0);
        Self { of, asked }
    }

    fn count(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    fn taken(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }
}

impl ManifestSource for Counted<WorkTree> {
    fn revision(&self) -> Option<Revision> {
        self.of.revision()
    }

    fn files(&self) -> Result<Arc<Listing>, SourceError> {
        self.of.files()
    }

    fn read(&self, file: &TreeFile) -> Result<bytes::Bytes, SourceError> {
        self.count();
        self.of.read(file)
    }

    fn read_at(&self, path: &str) -> Result<Artifact, SourceError> {
        self.of.read_at(path)
    }

    fn blob_ids(&self, paths: &[&str]) -> Result<Vec<Option<BlobId>>, SourceError> {
        self.of.blob_ids(paths)
    }
}

impl Components for Counted<Sandbox> {
    fn describe(&self, id: &Digest, bytes: &[u8], most: &Limits) -> Result<Description, String> {
        self.of.describe(id, bytes, most)
    }

    fn validate(&self, component: &Digest, kind: &str, spec: &Spec) -> Vec<Problem> {
        self.count();
        self.of.validate(component, kind, spec)
    }
}

#[test]
fn a_file_is_parsed_and_an_object_is_judged_once_though_the_kinds_change() {
    let stand = Stand::new();
    let services = (0..100).map(|n| {
        let command = if n % 30 == 7 {
            "command: ostrich"
        } else {
            "command: web"
        };
        let text = service(&format!("s{n}"), 1).replace("command: web", command);
        (format!("s{n:02}.yaml"), text)
    });
    stand.commit(&services.collect::<Vec<_>>());
    let counted: Arc<Counted<Sandbox>> = Arc::new(Counted::new(Sandbox));
    let components: Arc<dyn Components> = counted.clone();
    let mut row: FrameworkRow = serde_json::from_value(service_framework()).unwrap();
    row.component = Some(Digest::of(b"service"));
    let ask = || {
        let tree = WorkTree::open(&stand.repository.path, None).unwrap();
        let tree = Counted::new(tree);
        let foretold = check_source(&tree, vec![row.clone()], &components).unwrap();
        (places(&foretold), tree.taken(), counted.taken())
    };
    // The faults come in the order of the files, whoever found them first.
    let expected = ["s07.yaml", "s37.yaml", "s67.yaml", "s97.yaml"];
    let expected = expected.map(|file| format!("{} {file}:6", Code::Rejected));
    assert_eq!(ask(), (expected.to_vec(), 100, 100));
    // The file of the bird has to be read again, since its kind comes with the source.
    stand.commit(&[
        ("birds.yaml", birds("birds")),
        ("birds.wasm", component("birds", &["Bird"], "song")),
        ("robin.yaml", bird("robin")),
    ]);
    assert_eq!(ask(), (expected.to_vec(), 103, 101));
}

#[test]
fn a_bad_component_is_told_and_the_rest_of_its_file_is_planned() {
    let stand = Stand::new();
    let both = format!("{}---\n{}", birds("birds"), service("web", 1));
    stand.commit(&[
        ("birds.yaml", both),
        ("birds.wasm", "no component".to_owned()),
        ("robin.yaml", bird("robin")),
        ("swans.yaml", birds("swans")),
        ("swans.wasm", "no component either".to_owned()),
    ]);
    let foretold = checked(&stand, &[]);
    // All at once: both components, and the kind that nobody brings.
    assert_eq!(
        places(&foretold),
        [
            "K0124 birds.yaml:5",
            "K0115 robin.yaml:2",
            "K0124 swans.yaml:5"
        ]
    );
    assert!(!validation(&foretold.desired).valid);
    assert_eq!(created(&foretold), ["birds", "swans", "web"]);
    // Where another version is in force, that one goes on.
    let mut there = framework("birds", &["Bird"]);
    there["namespace"] = json!("shop");
    there["component"] = json!(Digest::of(b"version 1"));
    let foretold = checked(&stand, &[there]);
    assert_eq!(
        places(&foretold),
        ["K0124 birds.yaml:5", "K0124 swans.yaml:5"]
    );
    assert_eq!(names(&foretold), ["robin", "birds", "swans", "web"]);
}

#[test]
fn a_bad_component_in_a_bad_file_is_told_with_what_else_is_wrong() {
    let stand = Stand::new();
    let both = format!(
        "{}---\n{}",
        birds("birds"),
        service("web", 1).replace("metadata", "metdata")
    );
    stand.commit(&[
        ("birds.yaml", both),
        ("birds.wasm", "no component".to_owned()),
        ("robin.yaml", bird("robin")),
    ]);
    let foretold = checked(&stand, &[]);
    let told = places(&foretold);
    assert!(told.contains(&"K0124 birds.yaml:5".to_owned()), "{told:?}");
    assert!(told.iter().all(|it| it.contains(" birds.yaml")), "{told:?}");
    assert_eq!(foretold.desired.loaded.waiting.len(), 1);
}

#[test]
fn a_kind_that_another_framework_has_is_told_until_that_one_goes() {
    let stand = Stand::new();
    let first = [
        ("crows.yaml", birds("crows")),
        ("crows.wasm", component("crows", &["Bird"], "song")),
    ];
    stand.commit(&first);
    stand.commit(&[
        ("birds.yaml", birds("birds")),
        ("birds.wasm", component("birds", &["Bird"], "song")),
        ("robin.yaml", bird("robin")),
    ]);
    let foretold = checked(&stand, &[]);
    assert_eq!(places(&foretold), ["K0124 crows.yaml:5"]);
    assert_eq!(names(&foretold), ["robin", "birds", "crows"]);
    let mut there = framework("birds", &["Bird"]);
    there["namespace"] = json!("shop");
    there["component"] = json!(Digest::of(b"version 1"));
    stand.remove(&["birds.yaml"]);
    assert_eq!(places(&checked(&stand, &[there])), Vec::<String>::new());
}

#[test]
fn a_framework_that_leaves_before_its_objects_stays_for_them() {
    let stand = Stand::new();
    stand.commit(&[("robin.yaml", bird("robin"))]);
    let mut there = framework("birds", &["Bird"]);
    there["namespace"] = json!("shop");
    there["component"] = json!(Digest::of(b"version 1"));
    // As in the kernel, which has it in force as long as it has objects.
    let foretold = checked(&stand, std::slice::from_ref(&there));
    assert_eq!(places(&foretold), Vec::<String>::new());
    assert_eq!(names(&foretold), ["robin"]);
    assert_eq!(foretold.kinds.framework_of("Bird"), Some("birds"));
    stand.commit(&[("web.yaml", service("web", 1))]);
    stand.remove(&["robin.yaml"]);
    let foretold = checked(&stand, &[there]);
    assert_eq!(foretold.kinds.framework_of("Bird"), None);
}
