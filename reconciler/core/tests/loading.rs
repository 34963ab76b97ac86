//! Whole commits: isolation, identity, the cache, bombs, positions.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Arc;

use kelson_model::code::Code;
use kelson_model::framework::{Description, KindDescription};
use kelson_model::id::Digest;
use kelson_reconciler_core::manifest::{
    Kinds, MAX_FAULTS, MAX_FILE_BYTES, ManifestFile, ParseCache, Standing, Unreadable, advice,
    check_frameworks, fault_at, load, read_value, resolve,
};
use serde_json::json;
use support::*;

const FULL: &[u8] = include_bytes!("golden/good-full.yaml");

#[test]
fn defaults_and_quantities_have_one_form() {
    let written = "apiVersion: kelson/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  run: {command: web}\n  resources: {cpus: 0.50, memory: 1024Mi}\n  stop: {grace: 60s}\n  health: {tcp: {port: http}}\n";
    let loaded = load_commit(&[("web.yaml", written.as_bytes())]);
    assert_eq!(places(&loaded.faults), Vec::<String>::new());
    let spec = &loaded.objects[0].desired.spec.value();
    assert_eq!(
        spec["resources"],
        json!({"cpus": "0.5", "memory": "1Gi", "disk": "0"})
    );
    assert_eq!(spec["stop"], json!({"signal": "SIGTERM", "grace": "1m"}));
    assert_eq!(spec["instances"], json!(1));
    assert_eq!(spec["health"]["interval"], json!("10s"));
    assert_eq!(spec["restart"]["backoff"]["max"], json!("5m"));
    assert_eq!(spec["update"]["maxSurge"], json!(1));
    assert_eq!(loaded.objects[0].desired.key.namespace.as_str(), "default");
}

#[test]
fn a_normalised_service_is_a_task_template() {
    let text = service("web");
    let loaded = load_commit(&[("web.yaml", text.as_bytes())]);
    let spec = &loaded.objects[0].desired.spec.value();
    let template = kelson_model::template::TaskTemplate::from_spec(spec, "").unwrap();
    assert_eq!(template.run.command, "web");
    assert_eq!(
        template.resources,
        kelson_model::template::default_resources()
    );
}

#[test]
fn one_bad_file_among_a_hundred_leaves_ninety_nine() {
    let texts: Vec<(String, String)> = (0..100)
        .map(|n| {
            let mut text = service(&format!("s{n}"));
            if n == 42 {
                text.push_str("  instnaces: 2\n");
            }
            (format!("s{n}.yaml"), text)
        })
        .collect();
    let commit: Vec<(&str, &[u8])> = texts
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_bytes()))
        .collect();
    let loaded = load_commit(&commit);
    assert_eq!(loaded.objects.len(), 99);
    assert_eq!(places(&loaded.faults), ["K0102 s42.yaml:6:3"]);
    assert_eq!(loaded.bad_files.iter().collect::<Vec<_>>(), ["s42.yaml"]);
}

#[test]
fn two_files_with_one_identity_are_both_told_and_both_bad() {
    let (a, b) = (service("web"), format!("# moved\n{}", service("web")));
    let loaded = load_commit(&[
        ("a.yaml", a.as_bytes()),
        ("b.yaml", b.as_bytes()),
        ("c.yaml", service("c").as_bytes()),
    ]);
    assert_eq!(
        places(&loaded.faults),
        ["K0120 a.yaml:3:18", "K0120 b.yaml:4:18"]
    );
    assert!(
        loaded.faults[0].message.contains("b.yaml:2"),
        "{}",
        loaded.faults[0].message
    );
    assert_eq!(loaded.objects.len(), 1);
}

#[test]
fn positions_are_right_in_a_later_document_and_with_crlf() {
    let text = format!("{}---\n{}  instnaces: 1\n", service("a"), service("b"));
    let loaded = load_commit(&[("x.yaml", text.as_bytes())]);
    assert_eq!(places(&loaded.faults), ["K0102 x.yaml:12:3"]);
    let crlf = text.replace('\n', "\r\n");
    let loaded = load_commit(&[("x.yaml", crlf.as_bytes())]);
    assert_eq!(places(&loaded.faults), ["K0102 x.yaml:12:3"]);
    assert_eq!(loaded.faults[0].source_line, "  instnaces: 1");
}

#[test]
fn a_field_knows_where_it_stands() {
    let text = "apiVersion: kelson/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  instances: 3\n  run: {command: web}\n";
    let loaded = load_commit(&[("web.yaml", text.as_bytes())]);
    let origin = loaded.objects[0].origin_of("/spec/instances");
    assert_eq!((origin.line, origin.column), (5, Some(14)));
    let nearest = loaded.objects[0].origin_of("/spec/resources/memory");
    assert_eq!(
        (nearest.line, nearest.column),
        (5, Some(3)),
        "what is a default stands where what holds it begins"
    );
}

#[test]
fn an_empty_tree_asks_for_nothing_and_is_not_at_fault() {
    let loaded = load_commit(&[]);
    assert!(loaded.objects.is_empty() && loaded.faults.is_empty());
    let loaded = load_commit(&[
        ("empty.yaml", b""),
        ("comment.yaml", b"# nothing\n"),
        ("marks.yaml", b"---\n---\n"),
    ]);
    assert!(loaded.objects.is_empty(), "{:?}", loaded.objects);
    assert_eq!(places(&loaded.faults), Vec::<String>::new());
}

#[test]
fn what_was_parsed_once_is_not_parsed_again() {
    let texts: Vec<(String, String)> = (0..1000)
        .map(|n| (format!("s{n}.yaml"), service(&format!("s{n}"))))
        .collect();
    let mut commit: Vec<(&str, &[u8])> = texts
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_bytes()))
        .collect();
    let kinds = kinds();
    let mut cache = ParseCache::default();
    let first = load_with(&commit, &kinds, &mut cache);
    assert_eq!(cache.parsed(), 1000);
    let again = load_with(&commit, &kinds, &mut cache);
    assert_eq!(cache.parsed(), 1000);
    assert_eq!(first.objects, again.objects);
    let changed = service("changed");
    commit[7].1 = changed.as_bytes();
    let third = load_with(&commit, &kinds, &mut cache);
    assert_eq!(cache.parsed(), 1001);
    assert_eq!(third.objects.len(), 1000);
    assert!(third.object(&key("changed")).is_some() && third.object(&key("s7")).is_none());
    let find = |loaded: &kelson_reconciler_core::manifest::Loaded| {
        let at = loaded
            .objects
            .iter()
            .position(|object| object.desired.key == key("s8"));
        Arc::clone(&loaded.objects[at.unwrap()])
    };
    assert!(Arc::ptr_eq(&find(&first), &find(&third)));
}

#[test]
fn bombs_end_at_their_budget() {
    let mut wide = String::from("a: &a [");
    wide.push_str(&"x, ".repeat(40_000));
    wide.push_str("x]\nb: [*a, *a, *a, *a]\n");
    let mut nested = String::from("a0: &a0 x\n");
    for n in 1..5000 {
        nested.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1));
    }
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let block: String = (0..500).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    let keys: String = (0..60_000).map(|n| format!("k{n}: 1\n")).collect();
    let question = "? ".repeat(10_000);
    for (text, expected) in [
        (wide, Code::Expansion),
        (nested, Code::Expansion),
        (deep, Code::TooBig),
        (block, Code::TooBig),
        (keys, Code::TooBig),
        (question, Code::TooBig),
        ("x".repeat(MAX_FILE_BYTES + 1), Code::TooBig),
    ] {
        let loaded = load_commit(&[("bomb.yaml", text.as_bytes())]);
        assert!(
            loaded.faults.iter().any(|fault| fault.code == expected),
            "{expected:?}: {:?}",
            loaded.faults.first()
        );
        assert!(loaded.objects.is_empty());
    }
}

#[test]
fn the_aliases_of_all_documents_of_a_file_have_one_budget() {
    let list = format!("a: &a [{}x]\nb: *a\n", "x, ".repeat(9_999));
    let document = format!("{list}---\n");
    let few = document.repeat(5);
    let many = document.repeat(20);
    let expansions = |text: &str| {
        let loaded = load_commit(&[("x.yaml", text.as_bytes())]);
        let code = Code::Expansion;
        loaded.faults.iter().filter(|it| it.code == code).count()
    };
    assert_eq!(
        expansions(&few),
        1,
        "5 documents bring more than 50,000 values"
    );
    assert_eq!(expansions(&document.repeat(4)), 0);
    assert_eq!(expansions(&many), 16, "each further document is told");
}

#[test]
fn a_file_of_broken_documents_ends_at_the_limit_of_faults() {
    for broken in [
        "---\n{\n",
        "---\n<<<<<<< a\n",
        "---\n\"\n",
        "---\na: *b\n",
        "---\na:b\nc: d\n",
    ] {
        let text = broken.repeat(MAX_FILE_BYTES / broken.len());
        let loaded = load_commit(&[("x.yaml", text.as_bytes())]);
        // Some of them are told at one place, and once.
        assert!(
            (500..=MAX_FAULTS).contains(&loaded.faults.len()),
            "{broken:?}"
        );
        assert!(loaded.objects.is_empty());
    }
}

#[test]
fn what_comes_through_an_alias_is_told_at_both_places_by_a_framework_too() {
    let text = "apiVersion: kelson/v1\nkind: Service\nmetadata: {name: &name web}\nspec:\n  \
                run: {command: *name}\n";
    let loaded = load_commit(&[("web.yaml", text.as_bytes())]);
    let object = &loaded.objects[0];
    let (message, hint) = (String::new(), String::new());
    let fault = fault_at(object, "/spec/run/command", Code::Rejected, message, hint);
    assert_eq!((fault.line, fault.column), (5, 18));
    assert_eq!((fault.end_line, fault.end_column), (5, 23));
    let related = &fault.related[0];
    assert_eq!((related.line, related.column), (3, 18));
}

#[test]
fn more_faults_than_are_listed_end_with_their_number() {
    let texts: Vec<(String, String)> = (0..1200)
        .map(|n| {
            (
                format!("s{n}.yaml"),
                format!("{}  x: 1\n", service(&format!("s{n}"))),
            )
        })
        .collect();
    let commit: Vec<(&str, &[u8])> = texts
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_bytes()))
        .collect();
    let loaded = load_commit(&commit);
    assert_eq!(loaded.faults.len(), MAX_FAULTS);
    let last = loaded.faults.last().unwrap();
    assert_eq!(last.code, Code::TooManyFaults);
    assert!(last.message.contains("201"), "{}", last.message);
    assert_eq!(
        loaded.bad_files.len(),
        1200,
        "files beyond the list are bad all the same"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_bad_and_is_asked_for_again() {
    let files = [ManifestFile {
        path: Arc::from("web.yaml"),
        blob: Arc::from("1"),
    }];
    let kinds = kinds();
    let mut cache = ParseCache::default();
    let loaded = load(&files, &kinds, &mut cache, |_| {
        Err(Unreadable {
            message: "the file is a symbolic link".to_owned(),
            hint: "commit the file itself".to_owned(),
        })
    });
    assert_eq!(places(&loaded.faults), ["K0125 web.yaml:0:0"]);
    let text = service("web");
    let loaded = load(&files, &kinds, &mut cache, |_| {
        Ok(Arc::from(text.as_bytes()))
    });
    assert_eq!(loaded.objects.len(), 1);
}

#[test]
fn what_a_framework_refuses_is_told_at_its_place_and_its_file_is_bad() {
    let text = service("web");
    let mut loaded = load_commit(&[
        ("web.yaml", text.as_bytes()),
        ("b.yaml", service("b").as_bytes()),
    ]);
    let fault = fault_at(
        loaded.object(&key("web")).unwrap(),
        "/spec/run/command",
        Code::Rejected,
        "no".to_owned(),
        String::new(),
    );
    assert_eq!(fault.source_line, "  run: {command: web}");
    loaded.refuse(vec![fault]);
    assert_eq!(places(&loaded.faults), ["K0124 web.yaml:5:18"]);
    assert_eq!(loaded.objects.len(), 1);
}

#[test]
fn a_kind_of_a_framework_that_comes_with_the_commit_waits_and_is_no_fault() {
    let framework = "apiVersion: kelson/v1\nkind: Framework\nmetadata: {name: birds}\nspec: {component: {path: site/index.html}}\n";
    let flock = "apiVersion: kelson/v1\nkind: Flock\nmetadata: {name: geese}\nspec: {birds: 3}\n";
    let loaded = resolved(load_commit(&[
        ("a.yaml", framework.as_bytes()),
        ("b.yaml", flock.as_bytes()),
    ]));
    let loaded = check_frameworks(loaded, &kinds());
    assert_eq!(places(&loaded.faults), Vec::<String>::new());
    assert_eq!(loaded.objects.len(), 1);
    assert_eq!(loaded.waiting.len(), 1);
    assert_eq!(loaded.waiting[0].key.name, "geese");
    let alone = load_commit(&[("b.yaml", flock.as_bytes())]);
    assert_eq!(places(&alone.faults), ["K0115 b.yaml:2:7"]);
}

#[test]
fn files_of_the_commit_are_pinned_by_digest() {
    let text = "apiVersion: kelson/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  run:\n    command: web\n    files:\n    - {path: a, source: site/index.html}\n    - {path: b, source: ./index.html}\n    - {path: c, content: hello}\n";
    let loaded = load_commit(&[("site/web.yaml", text.as_bytes())]);
    let needed: Vec<&str> = loaded.needed_paths().into_iter().collect();
    assert_eq!(needed, ["site/index.html", "site/site/index.html"]);
    let loaded = resolved(loaded);
    assert_eq!(places(&loaded.faults), Vec::<String>::new());
    let spec = loaded.objects[0].desired.spec.value();
    let files = &spec["run"]["files"];
    let digest = json!(Digest::of(b"<h1>hello</h1>\n").to_string());
    assert_eq!(
        (&files[0]["digest"], &files[1]["digest"]),
        (&digest, &digest)
    );
    assert!(files[2].get("digest").is_none());
}

#[test]
fn an_object_with_files_is_the_same_in_memory_until_it_or_they_change() {
    let text = "apiVersion: kelson/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  run: {command: web, files: [{path: a, source: a.txt}]}\n";
    let kinds = kinds();
    let mut cache = ParseCache::default();
    let mut again = |content: &[u8]| {
        let loaded = load_with(&[("web.yaml", text.as_bytes())], &kinds, &mut cache);
        resolve(loaded, &mut cache, |_| Some(Digest::of(content)))
    };
    let (first, same, other) = (again(b"1"), again(b"1"), again(b"2"));
    assert!(Arc::ptr_eq(&first.objects[0], &same.objects[0]));
    assert_ne!(first.objects[0].desired.spec, other.objects[0].desired.spec);
}

#[test]
fn a_typed_value_is_read_as_in_a_manifest() {
    for (text, value) in [
        ("5", json!(5)),
        ("0.5", json!(0.5)),
        ("true", json!(true)),
        ("no", json!("no")),
        ("\"5\"", json!("5")),
        ("[a, 2]", json!(["a", 2])),
        ("{a: {b: c}}", json!({"a": {"b": "c"}})),
        ("null", json!(null)),
        ("", json!(null)),
        ("256Mi", json!("256Mi")),
    ] {
        assert_eq!(read_value(text), Ok(value), "{text}");
    }
    for text in ["[", "{a: 1, a: 2}", "!!int 3", "a: b: c"] {
        assert!(read_value(text).is_err(), "{text}");
    }
}

#[test]
fn blocks_of_text_are_read_however_the_file_ends() {
    let head = "apiVersion: kelson/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  run:\n    command: web\n    files:\n    - path: a\n      content: ";
    for (block, content) in [
        ("|\n        one\n        two", "one\ntwo\n"),
        ("|\n        one\n        two\n", "one\ntwo\n"),
        ("|\n        one\n\n        two\n      ", "one\n\ntwo\n"),
        ("|\n\n        one", "\none\n"),
        ("|-\n        one\n\n", "one"),
        ("|+\n        one\n\n", "one\n\n"),
        (
            ">\n        one\n        two\n\n        three",
            "one two\nthree\n",
        ),
        (
            ">-\n        one\n          two\n        three\n# end\n",
            "one\n  two\nthree",
        ),
        ("\"one\n        two\"", "one two"),
    ] {
        for text in [
            format!("{head}{block}"),
            format!("{head}{block}").replace('\n', "\r\n"),
        ] {
            let loaded = load_commit(&[("web.yaml", text.as_bytes())]);
            assert_eq!(places(&loaded.faults), Vec::<String>::new(), "{text:?}");
            let spec = loaded.objects[0].desired.spec.value();
            let found = &spec["run"]["files"][0]["content"];
            assert_eq!(found, content, "{text:?}");
        }
    }
    let tab = format!("{head}|\n        one\n\t\n  instances: 1\n");
    assert_eq!(load_commit(&[("web.yaml", tab.as_bytes())]).faults.len(), 1);
}

#[test]
fn the_order_of_files_does_not_matter() {
    let (a, b) = (service("a"), format!("{}  x: 1\n", service("b")));
    let one = load_commit(&[("a.yaml", a.as_bytes()), ("b.yaml", b.as_bytes())]);
    let other = load_commit(&[("b.yaml", b.as_bytes()), ("a.yaml", a.as_bytes())]);
    assert_eq!(one.objects, other.objects);
    assert_eq!(one.faults, other.faults);
}

#[test]
fn faults_before_a_syntax_error_are_told_with_it() {
    let text = format!("{}  instnaces: 2\n---\nkind: [\n", service("a"));
    let loaded = load_commit(&[("x.yaml", text.as_bytes())]);
    assert_eq!(codes(&loaded.faults), [Code::UnknownField, Code::Syntax]);
}

#[test]
fn a_number_has_one_form_and_one_beyond_64_bits_is_refused() {
    let with = |instances: &str| format!("{}  instances: {instances}\n", service("web"));
    let (whole, decimal) = (with("3"), with("3.0"));
    let one = load_commit(&[("web.yaml", whole.as_bytes())]);
    let other = load_commit(&[("web.yaml", decimal.as_bytes())]);
    assert_eq!(other.objects[0].desired.spec.value()["instances"], json!(3));
    assert_eq!(
        one.objects[0].desired.spec.to_string(),
        other.objects[0].desired.spec.to_string()
    );
    for bad in ["3.5", "99999999999999999999", "-1", "true", "\"3\""] {
        let text = with(bad);
        let loaded = load_commit(&[("web.yaml", text.as_bytes())]);
        assert_eq!(loaded.faults.len(), 1, "{bad}: {:?}", loaded.faults);
        assert_eq!((loaded.faults[0].line, loaded.faults[0].column), (6, 14));
    }
}

#[test]
fn the_service_in_the_box_takes_the_manifest_of_the_contract() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../plugins/service/golden/description.json"
    );
    let description: Description =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (kinds, errors) = Kinds::new([("service", &description)]);
    assert_eq!(errors, []);
    let loaded = resolved(load_with(
        &[("web.yaml", FULL)],
        &kinds,
        &mut ParseCache::default(),
    ));
    assert_eq!(places(&loaded.faults), Vec::<String>::new());
    let spec = &loaded.objects[0].desired.spec.value();
    assert!(kelson_model::template::TaskTemplate::from_spec(spec, "").is_ok());
    assert_eq!(&kinds.normalise("Service", spec).unwrap(), spec);
    let slip = String::from_utf8_lossy(FULL).replace("failures: 3", "failure: 3");
    let loaded = load_with(
        &[("web.yaml", slip.as_bytes())],
        &kinds,
        &mut ParseCache::default(),
    );
    assert_eq!(codes(&loaded.faults), [Code::UnknownField]);
    assert_eq!(loaded.faults[0].hint, "did you mean `failures`?");
}

#[test]
fn the_configuration_of_a_framework_is_checked_by_its_own_schema() {
    let description = Description {
        name: "birds".to_owned(),
        version: "1".to_owned(),
        kinds: Vec::new(),
        config_schema: Some(
            json!({"type": "object", "properties": {"maxBirds": {"type": "integer"}}}),
        ),
    };
    let (kinds, errors) = Kinds::new([("birds", &description)]);
    assert_eq!(errors, []);
    let described_by = |component: &[u8]| {
        let standing = Standing {
            component: Some(Digest::of(component)),
            namespace: "default".parse().unwrap(),
            namespaces: Vec::new(),
            is_built_in: false,
        };
        let standings = [("birds".to_owned(), standing)];
        kinds.clone().standing(standings.into())
    };
    let text = "apiVersion: kelson/v1\nkind: Framework\nmetadata: {name: birds}\nspec:\n  component: {path: site/index.html}\n  config:\n    maxBirds: many\n";
    let load = || {
        resolved(load_with(
            &[("f.yaml", text.as_bytes())],
            &kinds,
            &mut ParseCache::default(),
        ))
    };
    let in_force = described_by(b"<h1>hello</h1>\n");
    let faults = check_frameworks(load(), &in_force).faults;
    assert_eq!(places(&faults), ["K0124 f.yaml:7:15"]);
    assert!(
        faults[0]
            .message
            .starts_with("spec.config.maxBirds is the text \"many\", and must be a whole number"),
        "{faults:?}"
    );
    assert!(faults[0].hint.starts_with("write a whole number"));
    let another = described_by(b"another");
    assert!(
        check_frameworks(load(), &another).faults.is_empty(),
        "the schema may be another, too"
    );
}

#[test]
fn a_framework_serves_its_own_namespaces_and_objects_stand_in_them() {
    let description = Description {
        name: "birds".to_owned(),
        version: "1".to_owned(),
        kinds: vec![KindDescription {
            kind: "Flock".to_owned(),
            schema: json!({"type": "object"}),
            templates: Vec::new(),
            count: None,
        }],
        config_schema: None,
    };
    let standing = Standing {
        component: None,
        namespace: "data".parse().unwrap(),
        namespaces: Vec::new(),
        is_built_in: false,
    };
    let (kinds, _) = Kinds::new([("birds", &description)]);
    let kinds = kinds.standing([("birds".to_owned(), standing)].into());
    let flock = |namespace: &str| {
        format!(
            "apiVersion: kelson/v1\nkind: Flock\nmetadata:\n  name: sparrows\n  namespace: {namespace}\nspec: {{}}\n"
        )
    };
    let framework = |namespaces: &str| {
        format!(
            "apiVersion: kelson/v1\nkind: Framework\nmetadata: {{name: birds, namespace: data}}\nspec:\n  component: {{path: site/index.html}}\n  namespaces: [{namespaces}]\n"
        )
    };
    let faults = |files: &[(&str, &[u8])]| {
        let loaded = resolved(load_with(files, &kinds, &mut ParseCache::default()));
        check_frameworks(loaded, &kinds).faults
    };
    let (inside, outside) = (flock("data/north"), flock("shop"));
    let found = faults(&[
        ("inside.yaml", inside.as_bytes()),
        ("outside.yaml", outside.as_bytes()),
    ]);
    assert_eq!(places(&found), ["K0115 outside.yaml:5:14"]);
    assert_eq!(
        found[0].message,
        "no framework handles Flock in namespace shop; birds, which brings it, serves data and below"
    );
    let greedy = framework("data, shop");
    let found = faults(&[("f.yaml", greedy.as_bytes())]);
    assert_eq!(places(&found), ["K0118 f.yaml:6:22"]);
    // What the commit says of its framework counts, not how it stands.
    let narrow = framework("data/south");
    let found = faults(&[
        ("f.yaml", narrow.as_bytes()),
        ("inside.yaml", inside.as_bytes()),
    ]);
    assert_eq!(places(&found), ["K0115 inside.yaml:5:14"]);
}

#[test]
fn a_framework_with_the_name_of_another_is_at_fault_and_decides_nothing() {
    let description = Description {
        name: "birds".to_owned(),
        version: "1".to_owned(),
        kinds: vec![KindDescription {
            kind: "Flock".to_owned(),
            schema: json!({"type": "object"}),
            templates: Vec::new(),
            count: None,
        }],
        config_schema: None,
    };
    let (described, _) = Kinds::new([("birds", &description)]);
    let framework = |namespace: &str| {
        format!(
            "apiVersion: kelson/v1\nkind: Framework\nmetadata: {{name: birds, namespace: {namespace}}}\nspec:\n  component: {{path: site/index.html}}\n"
        )
    };
    let (own, another) = (framework("data"), framework("shop"));
    let flock = "apiVersion: kelson/v1\nkind: Flock\nmetadata:\n  name: sparrows\n  namespace: data\nspec: {}\n";
    let files: [(&str, &[u8]); 3] = [
        ("another.yaml", another.as_bytes()),
        ("flock.yaml", flock.as_bytes()),
        ("own.yaml", own.as_bytes()),
    ];
    let faults = |kinds: &Kinds| {
        let loaded = resolved(load_with(&files, kinds, &mut ParseCache::default()));
        check_frameworks(loaded, kinds).faults
    };
    let standing = |is_built_in: bool| {
        let standing = Standing {
            component: None,
            namespace: "data".parse().unwrap(),
            namespaces: Vec::new(),
            is_built_in,
        };
        let standings = [("birds".to_owned(), standing)];
        described.clone().standing(standings.into())
    };
    let found = faults(&standing(false));
    assert_eq!(places(&found), ["K0118 another.yaml:3:18"]);
    assert_eq!(
        found[0].message,
        "there is a framework birds already, the one of namespace data; a framework's name is one in the cluster"
    );
    // None of git has the name of one in the box, wherever it is.
    let found = faults(&standing(true));
    assert_eq!(
        places(&found),
        ["K0118 another.yaml:3:18", "K0118 own.yaml:3:18"]
    );
    assert!(found[0].message.contains("in the box"), "{:?}", found[0]);
    // Of two that are new, the first by namespace has it.
    assert_eq!(places(&faults(&described)), ["K0118 another.yaml:3:18"]);
}

#[test]
fn a_line_where_a_program_belongs_is_advice_and_no_fault() {
    let run = |run: &str| {
        let text = service("web").replace("{command: web}", run);
        let loaded = load_commit(&[("web.yaml", text.as_bytes())]);
        assert_eq!(places(&loaded.faults), Vec::<String>::new(), "{text}");
        advice(&loaded.objects[0])
    };
    let told = run("{command: sleep 100 && echo hi}");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        told[0].message,
        "spec.run.command is \"sleep 100 && echo hi\", and all of it is taken for the name of one \
         program"
    );
    assert_eq!(
        told[0].hint,
        "write `command: sh`, and beside it `args: [\"-c\", \"sleep 100 && echo hi\"]`"
    );
    let told = run("{command: python3 -m http.server}");
    assert!(told[0].hint.contains(r#"`args: ["-m", "http.server"]`"#));
    assert_eq!(run("{command: web, args: [a b]}"), []);
    assert_eq!(
        run("{command: my tool, files: [{path: my tool, content: x}]}"),
        []
    );
}
