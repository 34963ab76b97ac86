//! Frameworks from the repository: one that works beside one that does not.

use std::path::PathBuf;

use kelson_model::code::Code;
use kelson_testkit::manifest::service;
use kelson_testkit::{Look, programs, status};
use serde_json::Value;

use crate::cluster::{Cluster, DEADLINE, text};

/// The component of a guest package, built from source.
fn component(package: &str) -> Vec<u8> {
    let workspace = programs::workspace().unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), PathBuf::from);
    let built =
        kelson_plugins_builder::build_component(&workspace, &target.join("guests"), package);
    std::fs::read(built.unwrap()).unwrap()
}

fn framework(name: &str, namespace: &str) -> String {
    format!(
        "apiVersion: kelson/v1\nkind: Framework\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  component: {{path: frameworks/{name}.wasm}}\n  namespaces: [{namespace}]\n"
    )
}

/// The seat of a framework as `kelson frameworks` shows it.
fn seat(cluster: &Cluster, name: &str, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    cluster
        .dev
        .wait_for(what, DEADLINE, |cli| {
            let list = cli.json(&["frameworks"])?;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let of_name = items.iter().filter(|framework| framework["name"] == name);
            let seats = of_name
                .flat_map(|framework| framework["seats"].as_array().cloned().unwrap_or_default());
            Ok(seats
                .into_iter()
                .find(|seat| is_it(seat))
                .map_or_else(|| Look::NotYet(format!("{items:?}")), Look::Found))
        })
        .unwrap()
}

#[test]
fn a_framework_from_the_repository_runs_its_kind_beside_the_one_in_the_box() {
    let (cluster, _) = Cluster::with(&[("web", service("web"))]);
    cluster
        .repo
        .write("frameworks/birds.wasm", component("kelson-test-birds"))
        .unwrap();
    cluster
        .repo
        .write("kelson/birds.yaml", framework("birds", "data"))
        .unwrap();
    let flock = "apiVersion: kelson/v1\nkind: Flock\nmetadata: {name: sparrows, namespace: data}\nspec:\n  birds: 2\n  run: {command: sleep, args: [\"600\"]}\n  resources: {cpus: 0.02, memory: 16Mi}\n";
    cluster.repo.write("kelson/flock.yaml", flock).unwrap();
    let commit = cluster.repo.commit("birds").unwrap();
    cluster
        .dev
        .wait_until("two birds fly", DEADLINE, |now| {
            status::object(now, "Flock/sparrows").is_some_and(|flock| {
                flock
                    .pointer("/tasks/running")
                    .is_some_and(|running| running == 2)
            })
        })
        .unwrap();
    cluster.dev.settle(&commit).unwrap();
    let asked = ["frameworks", "query", "birds", "sing", "[1]", "-n", "data"];
    let outcome = cluster.dev.run(&asked).unwrap();
    assert_eq!(outcome.code, Some(5), "{outcome}");
    assert!(
        outcome.to_string().contains(Code::NoQueryAnswer.id()),
        "{outcome}"
    );
    // Its kind is checked like any other, with positions.
    cluster
        .repo
        .edit("kelson/flock.yaml", "birds: 2", "brids: 2")
        .unwrap();
    let outcome = cluster.dev.run(&["validate", "-o", "json"]).unwrap();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let errors = outcome.json().unwrap();
    assert_eq!(
        (
            text(&errors, "/errors/0/file"),
            &errors["errors"][0]["line"]
        ),
        ("kelson/flock.yaml", &Value::from(5))
    );
}

#[test]
fn an_upgrade_and_the_use_of_its_new_field_are_one_commit() {
    let (cluster, _) = Cluster::with(&[("web", service("web"))]);
    let write = |file: &str, content: &[u8]| cluster.repo.write(file, content).unwrap();
    write("frameworks/birds.wasm", &component("kelson-test-birds"));
    write("kelson/birds.yaml", framework("birds", "data").as_bytes());
    let flock = "apiVersion: kelson/v1\nkind: Flock\nmetadata: {name: sparrows, namespace: data}\nspec:\n  birds: 1\n  run: {command: sleep, args: [\"600\"]}\n  resources: {cpus: 0.02, memory: 16Mi}\n";
    write("kelson/flock.yaml", flock.as_bytes());
    let first = cluster.repo.commit("birds").unwrap();
    let wait = ["wait", "Flock/sparrows", "-n", "data", "--revision", "HEAD"];
    cluster.dev.ok(&wait).unwrap();
    cluster.dev.settle(&first).unwrap();
    let sings = flock.replace("birds: 1\n", "birds: 1\n  song: chirp\n");
    write("kelson/flock.yaml", sings.as_bytes());
    let outcome = cluster.dev.run(&["validate"]).unwrap();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    write("frameworks/birds.wasm", &component("kelson-test-songbirds"));
    cluster.dev.ok(&["validate"]).unwrap();
    let planned = cluster.dev.ok(&["plan"]).unwrap();
    assert!(planned.contains("spec.song (none) → chirp"), "{planned}");
    let second = cluster.repo.commit("birds sing").unwrap();
    cluster.dev.ok(&wait).unwrap();
    cluster.dev.settle(&second).unwrap();
    let get = ["get", "Flock/sparrows", "-n", "data", "-o", "json"];
    let now = cluster.dev.run(&get).unwrap().json().unwrap();
    assert_eq!(text(&now, "/spec/song"), "chirp", "{now}");
}

#[test]
fn a_scheduler_that_traps_is_explained_and_leaves_the_others_working() {
    let (cluster, _) = Cluster::with(&[("web", service("web"))]);
    cluster
        .repo
        .write("frameworks/trap.wasm", component("kelson-test-trap"))
        .unwrap();
    cluster
        .repo
        .write("kelson/trap.yaml", framework("trap", "data"))
        .unwrap();
    let object =
        "apiVersion: kelson/v1\nkind: Trap\nmetadata: {name: snare, namespace: data}\nspec: {}\n";
    cluster.repo.write("kelson/snare.yaml", object).unwrap();
    cluster.repo.commit("a trap").unwrap();
    let seat = seat(&cluster, "trap", "its seat is paused", |seat| {
        text(seat, "/state") == "paused"
    });
    assert!(text(&seat, "/fault").contains("trapped"), "{seat}");
    let why = cluster
        .dev
        .ok(&["why", "Trap/snare", "-n", "data"])
        .unwrap();
    assert!(why.contains("trapped"), "{why}");
    // What it wrote before is not lost with the turn.
    let lines = cluster
        .dev
        .ok(&["frameworks", "logs", "trap", "-n", "data"])
        .unwrap();
    assert!(lines.contains("the turn is void: trapped"), "{lines}");
    cluster.commit("web", &service("web").text("web 2"));
    cluster
        .dev
        .wait_for("web rolls out all the same", DEADLINE, |_| {
            let answers = cluster.answers("Service/web");
            Ok(if answers == ["web 2"] {
                Look::Found(())
            } else {
                Look::NotYet(format!("{answers:?}"))
            })
        })
        .unwrap();
}

#[test]
fn a_file_that_is_no_component_is_refused_and_explained() {
    let (cluster, _) = Cluster::with(&[("web", service("web"))]);
    cluster
        .repo
        .write("frameworks/junk.wasm", b"this is no component")
        .unwrap();
    cluster
        .repo
        .write(
            "kelson/junk.yaml",
            format!(
                "{}---\n{}",
                framework("junk", "data"),
                service("api").yaml()
            ),
        )
        .unwrap();
    // The fault is told, and the rest of its file is planned as it is applied.
    for verb in ["validate", "plan"] {
        let outcome = cluster.dev.run(&[verb]).unwrap();
        assert_eq!(outcome.code, Some(1), "{outcome}");
        let told = outcome.to_string();
        assert!(told.contains("the component cannot be used"), "{told}");
        let is_planned = ["+ Framework data/junk", "/api"];
        assert!(
            verb == "validate" || is_planned.iter().all(|it| told.contains(it)),
            "{told}"
        );
    }
    cluster.repo.commit("junk").unwrap();
    let now = cluster
        .dev
        .wait_until("it is refused", DEADLINE, |now| {
            status::object(now, "Framework/junk")
                .is_some_and(|junk| text(junk, "/reason") == "BadComponent")
        })
        .unwrap();
    let junk = status::object(&now, "Framework/junk").unwrap();
    assert_eq!(text(junk, "/health"), "Degraded");
    assert!(text(junk, "/message").contains("component"), "{junk}");
    assert_eq!(cluster.answers("Service/web"), ["web 1"]);
}

/// Every scheduler that misbehaves on purpose: its package, its kind, and a word of its
/// explanation.
const HOSTILE: [(&str, &str, &str); 7] = [
    ("endless-loop", "Loop", "fuel"),
    ("memory-hog", "Hog", "memory"),
    ("trap-after-set", "SetTrap", "trapped"),
    ("too-many-operations", "Flood", "operations"),
    ("illegal-launch", "Greedy", "treaty"),
    ("someone-elses-task", "Thief", "no task of this seat"),
    ("cheat", "Cheat", "which the sandbox does not give"),
];

#[test]
fn every_misbehaving_scheduler_is_explained_and_none_harms_another() {
    let (cluster, _) = Cluster::with(&[("web", service("web").instances(2))]);
    let before = cluster.pids("Service/web");
    for (name, kind, _) in HOSTILE {
        let package = format!("kelson-test-{name}");
        cluster
            .repo
            .write(&format!("frameworks/{name}.wasm"), component(&package))
            .unwrap();
        cluster
            .repo
            .write(&format!("kelson/{name}.yaml"), framework(name, name))
            .unwrap();
        if kind != "Cheat" {
            let object = format!(
                "apiVersion: kelson/v1\nkind: {kind}\nmetadata: {{name: bad, namespace: {name}}}\nspec: {{}}\n"
            );
            cluster
                .repo
                .write(&format!("kelson/{name}-object.yaml"), object)
                .unwrap();
        }
    }
    cluster.repo.commit("all of them").unwrap();
    for (name, _, word) in HOSTILE {
        cluster
            .dev
            .wait_for(&format!("{name} is explained"), DEADLINE, |cli| {
                let list = cli.json(&["frameworks"])?;
                let items = list["items"].as_array().cloned().unwrap_or_default();
                let own = items
                    .into_iter()
                    .find(|framework| framework["name"] == name);
                let text = own.map(|own| own.to_string()).unwrap_or_default();
                Ok(if text.contains(word) {
                    Look::Found(())
                } else {
                    Look::NotYet(text)
                })
            })
            .unwrap();
    }
    assert_eq!(cluster.pids("Service/web"), before);
    cluster.commit("web", &service("web").instances(2).text("web 2"));
    cluster
        .dev
        .wait_for("web rolls out all the same", DEADLINE, |_| {
            let answers = cluster.answers("Service/web");
            Ok(if answers == ["web 2", "web 2"] {
                Look::Found(())
            } else {
                Look::NotYet(format!("{answers:?}"))
            })
        })
        .unwrap();
}

#[test]
fn a_framework_cannot_take_what_is_another_ones() {
    let (cluster, _) = Cluster::with(&[("web", service("web"))]);
    let birds = component("kelson-test-birds");
    for name in ["birds", "crows"] {
        let file = format!("frameworks/{name}.wasm");
        cluster.repo.write(&file, &birds).unwrap();
    }
    let write = |file: &str, text: String| cluster.repo.write(file, text).unwrap();
    write("kelson/birds.yaml", framework("birds", "data"));
    cluster.repo.commit("birds").unwrap();
    let is = |name: &str, health: &str| {
        let object = format!("Framework/{name}");
        cluster
            .dev
            .wait_until(&format!("{name} is {health}"), DEADLINE, |now| {
                status::object(now, &object).is_some_and(|it| text(it, "/health") == health)
            })
            .unwrap()
    };
    is("birds", "Healthy");
    // Its kind, from another namespace.
    write("kelson/crows.yaml", framework("crows", "shop"));
    cluster.repo.commit("crows").unwrap();
    let now = is("crows", "Degraded");
    let crows = status::object(&now, "Framework/crows").unwrap();
    assert_eq!(text(crows, "/reason"), "NotAllowed");
    assert!(
        text(crows, "/message").contains("data/birds has"),
        "{crows}"
    );
    // Another's namespace is a fault of the manifest, with its place.
    write(
        "kelson/crows.yaml",
        framework("crows", "shop").replace("namespaces: [shop]", "namespaces: [shop, data]"),
    );
    let outcome = cluster.dev.run(&["validate", "-o", "json"]).unwrap();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let errors = outcome.json().unwrap();
    let told: Vec<&str> = errors["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| text(error, "/message"))
        .collect();
    assert!(
        told.iter().any(|told| told.contains("and not data")),
        "{told:?}"
    );
    // The one that has the kind goes, and the other one gets it.
    write("kelson/crows.yaml", framework("crows", "shop"));
    cluster.repo.remove("kelson/birds.yaml").unwrap();
    cluster.repo.commit("only crows").unwrap();
    is("crows", "Healthy");
}

#[test]
fn a_component_is_compiled_within_limits() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let compile = |input: &str, output: &str, memory: &str| {
        let input = file(input);
        let output = file(output);
        let kelson = programs::kelson().unwrap();
        std::process::Command::new(kelson)
            .args([
                "compile-component",
                "--input",
                &input,
                "--artifact",
                &output,
            ])
            .args(["--memory", memory, "--cpu", "600"])
            .output()
            .unwrap()
    };
    std::fs::write(file("junk"), b"\0asm\x0d\x00\x01\x00 and no more").unwrap();
    std::fs::write(file("good"), component("kelson-test-trap")).unwrap();
    let refused = compile("junk", "a", "4294967296");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(!refused.stderr.is_empty());
    let small = compile("good", "b", "60000000");
    assert!(!small.status.success(), "{small:?}");
    assert!(!folder.path().join("b").exists());
    let good = compile("good", "c", "4294967296");
    assert!(good.status.success(), "{good:?}");
    assert!(folder.path().join("c").exists());
}
