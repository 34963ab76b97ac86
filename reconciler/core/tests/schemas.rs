//! What is written from the schemas: the one for editors, and the reference.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use kelson_model::framework::{Description, KindDescription};
use kelson_reconciler_core::manifest::{Changed, Kinds, KindsError, editor_schema, reference};
use serde_json::{Value, json};
use support::kinds;

fn good() -> Value {
    json!({
        "apiVersion": "kelson/v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"run": {"command": "web"}, "resources": {"cpus": 0.5}, "health": {"tcp": {"port": "http"}}},
    })
}

#[test]
fn an_editor_accepts_a_good_manifest_and_marks_a_bad_one() {
    let schema = editor_schema(&kinds());
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&good()));
    let mut bad = good();
    bad["spec"]["instnaces"] = json!(3);
    assert!(!validator.is_valid(&bad));
    let mut bad = good();
    bad["spec"]["health"]["tpc"] = json!({});
    assert!(
        !validator.is_valid(&bad),
        "references inside of a kind's schema are followed"
    );
    let mut bad = good();
    bad["kind"] = json!("Servise");
    assert!(!validator.is_valid(&bad));
    let framework = json!({
        "apiVersion": "kelson/v1", "kind": "Framework", "metadata": {"name": "birds"}, "spec": {"component": {"path": "x"}},
    });
    assert!(validator.is_valid(&framework));
}

#[test]
fn the_reference_has_every_field_with_its_default() {
    let page = reference(&kinds());
    for expected in [
        "## Service",
        "## Framework",
        "| `metadata.lifecycle.prune` | auto or confirm or never | `auto` |",
        "| `spec.resources.memory` | an amount with a binary unit, such as 256Mi or 1Gi | `128Mi` |",
        "| `spec.health.http.port` |",
        "| `spec.run.files[].source` |",
        "| `spec.run.command` | a text that is not empty | required |",
    ] {
        assert!(page.contains(expected), "{expected} is not in\n{page}");
    }
}

fn framework(kind: &str, schema: Value) -> Description {
    Description {
        name: "birds".to_owned(),
        version: "1".to_owned(),
        kinds: vec![KindDescription {
            kind: kind.to_owned(),
            schema,
            templates: Vec::new(),
            count: None,
        }],
        config_schema: None,
    }
}

#[test]
fn a_kind_that_cannot_be_used_is_told_and_leaves_the_others() {
    let bad = framework("Flock", json!({"type": "flock"}));
    let remote = framework("Swarm", json!({"$ref": "https://example.com/schema.json"}));
    let taken = framework("Framework", json!({"type": "object"}));
    let small = framework("flock", json!({"type": "object"}));
    let good = framework("Herd", json!({"type": "object"}));
    let all = [
        ("a", &bad),
        ("b", &remote),
        ("c", &taken),
        ("d", &small),
        ("e", &good),
    ];
    let (kinds, errors) = Kinds::new(all);
    assert_eq!(kinds.names().collect::<Vec<_>>(), ["Framework", "Herd"]);
    assert!(
        matches!(
            errors.as_slice(),
            [
                KindsError::Schema { .. },
                KindsError::Schema { .. },
                KindsError::Taken { .. },
                KindsError::Name { .. },
            ]
        ),
        "{errors:?}"
    );
    assert_eq!(kinds.framework_of("Herd"), Some("e"));
    assert_eq!(kinds.find("herd"), Some("Herd"));
}

#[test]
fn defaults_that_hold_each_other_end() {
    let twin = json!({"$ref": "#/$defs/twin", "default": {}});
    let schema = json!({
        "type": "object", "properties": {"spec": twin},
        "$defs": {"twin": {"type": "object", "properties": {"a": twin, "b": twin}}},
    });
    let (kinds, errors) = Kinds::new([("e", &framework("Herd", schema))]);
    assert!(errors.is_empty());
    assert!(kinds.normalise("Herd", &json!({})).is_ok());
}

#[test]
fn a_value_set_by_hand_takes_its_canonical_form_or_is_refused() {
    let kinds = kinds();
    let spec = json!({"run": {"command": "web"}, "resources": {"cpus": 0.50, "memory": "1024Mi"}});
    let normal = kinds.normalise("Service", &spec).unwrap();
    assert_eq!(
        normal["resources"],
        json!({"cpus": "0.5", "memory": "1Gi", "disk": "0"})
    );
    let wrong = kinds.normalise(
        "Service",
        &json!({"run": {"command": "web"}, "resources": {"memory": "256MB"}}),
    );
    assert!(wrong.unwrap_err().hint.contains("256Mi"));
    let wrong = kinds.normalise("Service", &json!({"run": {"command": 1}}));
    let wrong = wrong.unwrap_err();
    assert_eq!(
        wrong.message,
        "spec.run.command is the number 1, and must be a text"
    );
    assert_eq!(wrong.hint, "texts need quotes here: write \"1\"");
    let spec = json!({"run": {"command": "web"}, "instances": 300_000});
    let wrong = kinds.normalise("Service", &spec).unwrap_err();
    assert_eq!(
        wrong.message,
        "spec.instances is the number 300000, and must be a whole number from 0 to 100000"
    );
    let spec = json!({"run": {"command": "web"}, "instnaces": 3});
    let wrong = kinds.normalise("Service", &spec).unwrap_err();
    assert_eq!(wrong.message, "spec has no field `instnaces`");
    assert_eq!(wrong.hint, "did you mean `instances`?");
    assert!(kinds.normalise("Nothing", &json!({})).is_err());
}

#[test]
fn a_number_that_no_file_spells_has_the_form_that_a_file_gives_it() {
    let kinds = kinds();
    for (text, plain) in [("2.0", "2"), ("2.0e0", "2"), ("-0.0", "0"), ("1e3", "1000")] {
        let number: Value = serde_json::from_str(text).unwrap();
        let spec = json!({"run": {"command": "web"}, "instances": number});
        let normal = kinds.normalise("Service", &spec).unwrap();
        assert_eq!(normal["instances"].to_string(), plain, "{text}");
    }
    let schema =
        json!({"type": "object", "properties": {"n": {"type": "integer", "default": 3.0}}});
    let (kinds, _) = Kinds::new([("e", &framework("Herd", schema))]);
    let normal = kinds.normalise("Herd", &json!({})).unwrap();
    assert_eq!(normal["n"].to_string(), "3");
}

#[test]
fn a_change_is_judged_by_what_it_adds_to_what_was_wrong_before() {
    let schema = json!({"type": "object", "additionalProperties": false, "properties": {
        "count": {"type": "integer", "minimum": 0}, "size": {"type": "string", "format": "bytes"},
    }});
    let (kinds, _) = Kinds::new([("e", &framework("Herd", schema))]);
    let before = json!({"count": 1, "size": "1Gi", "newer": true});
    let change = |after: Value| kinds.judge_change("Herd", &before, &after);
    let standing = |changed: &Changed| changed.standing.clone().map(|unfit| unfit.message);
    let newer = Some("spec has no field `newer`".to_owned());
    let fine = change(json!({"count": 2.0, "size": "2048Mi", "newer": true}));
    assert_eq!(standing(&fine), newer);
    assert_eq!(
        fine.outcome.unwrap().to_string(),
        r#"{"count":2,"newer":true,"size":"2Gi"}"#
    );
    let wrong = change(json!({"count": -1, "size": "1Gi", "newer": true}));
    assert_eq!(standing(&wrong), newer);
    assert_eq!(
        wrong.outcome.unwrap_err().message,
        "spec.count is the number -1, and must be a whole number of at least 0"
    );
    let mended = change(json!({"count": 1, "size": "1Gi"}));
    assert_eq!((mended.outcome.is_ok(), mended.standing), (true, None));
    let fit = json!({"count": 1});
    let wrong = kinds.judge_change("Herd", &fit, &json!({"count": 1, "newest": 1}));
    assert_eq!((wrong.outcome.is_err(), wrong.standing), (true, None));
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        json!({"not": {"$ref": "#"}}),
        json!({"$dynamicRef": "#x", "$dynamicAnchor": "x"}),
    ] {
        let (kinds, _) = Kinds::new([("e", &framework("Herd", schema))]);
        let _ = kinds.normalise("Herd", &json!({"a": 1}));
    }
}
