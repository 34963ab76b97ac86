//! A framework and what it brings in one commit: what is not judged yet waits, and is no fault.
#![expect(clippy::indexing_slicing, reason = "tests")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use kelson_model::framework::{Description, KindDescription};
use kelson_model::id::Digest;
use kelson_reconciler_core::manifest::{Kinds, Loaded, ParseCache, Standing, check_frameworks};
use kelson_reconciler_core::plan::{Context, Why, plan};
use serde_json::{Value, json};

use support::{load_with, places, resolved};

const FRAMEWORK: &str = "apiVersion: kelson/v1\nkind: Framework\nmetadata: {name: birds}\nspec: {component: {path: site/index.html}}\n";
const COMPONENT: &[u8] = b"<h1>hello</h1>\n";
const GEESE: &str = "apiVersion: kelson/v1\nkind: Flock\nmetadata: {name: geese}\nspec:\n  birds: 3\n  song: honk\n";

/// The framework as it describes itself when this component is in force: its flocks take these
/// fields.
fn birds(component: &[u8], fields: Value) -> Kinds {
    let description = Description {
        name: "birds".to_owned(),
        version: "1".to_owned(),
        kinds: vec![KindDescription {
            kind: "Flock".to_owned(),
            schema: json!({"type": "object", "additionalProperties": false, "properties": fields}),
            templates: Vec::new(),
            count: None,
        }],
        config_schema: None,
    };
    let (kinds, errors) = Kinds::new([("birds", &description)]);
    assert_eq!(errors, []);
    let standing = Standing {
        component: Some(Digest::of(component)),
        namespace: "default".parse().unwrap(),
        namespaces: Vec::new(),
        is_built_in: false,
    };
    kinds.standing([("birds".to_owned(), standing)].into())
}

fn silent() -> Value {
    json!({"birds": {"type": "integer"}})
}

fn nobody() -> Kinds {
    Kinds::new([]).0
}

fn checked(files: &[(&str, &str)], kinds: &Kinds) -> Loaded {
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(path, text)| (*path, text.as_bytes()))
        .collect();
    let loaded = load_with(&files, kinds, &mut ParseCache::default());
    check_frameworks(resolved(loaded), kinds)
}

fn waiting(loaded: &Loaded) -> Vec<&str> {
    let waiting = loaded.waiting.iter();
    waiting.map(|it| it.key.name.as_str()).collect()
}

#[test]
fn a_framework_and_an_object_of_its_kind_stand_in_one_file() {
    let both = format!("{FRAMEWORK}---\n{GEESE}");
    let loaded = checked(&[("birds.yaml", &both)], &nobody());
    assert_eq!(places(&loaded.faults), Vec::<String>::new());
    assert_eq!(waiting(&loaded), ["geese"]);
    assert_eq!(loaded.objects[0].desired.key.name, "birds");
    // The bad file says what is wrong with it, and nobody else's kind is made a fault by that.
    let slip = both.replace("{name: geese}", "{nmae: geese}");
    let duck = GEESE.replace("geese", "ducks");
    let loaded = checked(&[("birds.yaml", &slip), ("ducks.yaml", &duck)], &nobody());
    let files = loaded.faults.iter().map(|it| &*it.file);
    assert!(files.clone().count() > 0 && files.clone().all(|it| it == "birds.yaml"));
    assert_eq!(waiting(&loaded), ["ducks"]);
}

#[test]
fn a_field_that_an_upgrade_of_the_same_commit_may_bring_waits_for_it() {
    let files = [("birds.yaml", FRAMEWORK), ("geese.yaml", GEESE)];
    let before = birds(b"another", silent());
    let loaded = checked(&files, &before);
    assert_eq!(places(&loaded.faults), Vec::<String>::new());
    assert_eq!(waiting(&loaded), ["geese"]);
    let plan = plan(&loaded, &[].into(), Context::default());
    let waits = plan.report.iter().find(|it| it.object.name == "geese");
    let waits = waits.unwrap();
    assert_eq!(waits.why, Why::WaitsForFramework);
    for word in ["framework birds", "`song`"] {
        assert!(waits.message.contains(word), "{}", waits.message);
    }
    // What the new version says counts, as soon as it says it.
    let silent_still = checked(&files, &birds(COMPONENT, silent()));
    assert_eq!(places(&silent_still.faults), ["K0102 geese.yaml:6:3"]);
    assert!(silent_still.waiting.is_empty());
    let sings = json!({"birds": {"type": "integer"}, "song": {"type": "string"}});
    let loaded = checked(&files, &birds(COMPONENT, sings));
    assert_eq!((loaded.faults.len(), loaded.waiting.len()), (0, 0));
    assert_eq!(loaded.objects.len(), 2);
}

#[test]
fn nothing_waits_for_a_component_that_does_not_come_into_force() {
    let files = [("birds.yaml", FRAMEWORK), ("geese.yaml", GEESE)];
    let refused = [("birds".to_owned(), Digest::of(COMPONENT))];
    let kinds = birds(b"another", silent()).refusing(refused.clone().into());
    let loaded = checked(&files, &kinds);
    assert_eq!(places(&loaded.faults), ["K0102 geese.yaml:6:3"]);
    let loaded = checked(&files, &nobody().refusing(refused.into()));
    assert_eq!(places(&loaded.faults), ["K0115 geese.yaml:2:7"]);
}

#[test]
fn what_waits_for_a_component_that_is_held_says_so() {
    let files = [("birds.yaml", FRAMEWORK), ("geese.yaml", GEESE)];
    let why = "it would handle kind Swan no more".to_owned();
    let held = [(("birds".to_owned(), Digest::of(COMPONENT)), why)];
    for before in [birds(b"another", silent()), nobody()] {
        let loaded = checked(&files, &before.holding(held.clone().into()));
        assert_eq!(waiting(&loaded), ["geese"]);
        let plan = plan(&loaded, &[].into(), Context::default());
        let geese = plan.report.iter().find(|it| it.object.name == "geese");
        let geese = geese.unwrap();
        assert_eq!(geese.why, Why::FrameworkHeld);
        for word in ["framework birds", "held", "kind Swan no more"] {
            assert!(geese.message.contains(word), "{}", geese.message);
        }
    }
    // Another component of it is not the one that is held.
    let other = [(("birds".to_owned(), Digest::of(b"third")), String::new())];
    let loaded = checked(&files, &birds(b"another", silent()).holding(other.into()));
    let plan = plan(&loaded, &[].into(), Context::default());
    let mut told = plan.report.iter();
    assert!(told.any(|it| it.why == Why::WaitsForFramework));
}

#[test]
fn what_is_wrong_whoever_judges_it_is_a_fault_beside_an_upgrade() {
    let before = birds(b"another", silent());
    let slip = GEESE.replace("metadata", "metdata");
    let loaded = checked(&[("birds.yaml", FRAMEWORK), ("geese.yaml", &slip)], &before);
    assert!(loaded.bad_files.contains("geese.yaml"));
    assert!(loaded.waiting.is_empty());
    // Without an upgrade all faults of a file are told at once.
    let two = format!("{GEESE}---\n{}", GEESE.replace("birds: 3", "brids: 3"));
    let loaded = checked(&[("geese.yaml", &two)], &before);
    assert!(loaded.faults.len() >= 3, "{:?}", places(&loaded.faults));
}

#[test]
fn the_same_file_is_parsed_once_whatever_it_waits_for() {
    let kinds = birds(b"another", silent());
    let mut cache = ParseCache::default();
    let files: [(&str, &[u8]); 2] = [
        ("birds.yaml", FRAMEWORK.as_bytes()),
        ("geese.yaml", GEESE.as_bytes()),
    ];
    load_with(&files, &kinds, &mut cache);
    let loaded = load_with(&files[1..], &kinds, &mut cache);
    assert_eq!(cache.parsed(), 2);
    assert_eq!(places(&loaded.faults), ["K0102 geese.yaml:6:3"]);
}
