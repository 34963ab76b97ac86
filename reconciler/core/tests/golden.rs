//! Manifests and the faults that people see of them, side by side in `golden/`: `NAME.yaml`,
//! `NAME.faults`, and `NAME.fixed` where something can be put right beyond doubt.
//!
//! `KELSON_BLESS=1 cargo test -p kelson-reconciler-core --test golden` writes them anew; read the
//! difference before you commit it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kelson_model::code::{Area, Code, ToldCode};
use kelson_reconciler_core::manifest::fix;
use kelson_reconciler_core::render::fault_lines;
use support::{kinds, load_commit, resolved};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .collect();
    cases.sort();
    assert!(
        cases.len() > 20,
        "the golden files are not where they should be"
    );
    cases
}

/// The faults of one file, as text, and their codes.
fn faults_of(path: &Path) -> (String, BTreeSet<ToldCode>) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let bytes = std::fs::read(path).unwrap();
    let loaded = resolved(load_commit(&[(name, &bytes)]));
    let mut text = String::new();
    for fault in &loaded.faults {
        for line in fault_lines(fault) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    if loaded.faults.is_empty() {
        text = format!("good: {} objects\n", loaded.objects.len());
    }
    (
        text,
        loaded.faults.into_iter().map(|fault| fault.code).collect(),
    )
}

#[test]
fn every_manifest_has_the_faults_beside_it() {
    let bless = std::env::var_os("KELSON_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in cases() {
        let (found, _) = faults_of(&path);
        let golden = path.with_extension("faults");
        if bless {
            std::fs::write(&golden, &found).unwrap();
            continue;
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if found != expected {
            wrong.push(format!(
                "{}\n--- expected\n{expected}--- found\n{found}",
                path.display()
            ));
        }
    }
    if !wrong.is_empty() {
        panic!("{}", wrong.join("\n"));
    }
}

#[test]
fn what_is_certain_is_written_and_nothing_else_is_touched() {
    let bless = std::env::var_os("KELSON_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in cases() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let found = fix(name, &bytes, &kinds()).map(|fixed| fixed.bytes);
        let golden = path.with_extension("fixed");
        if bless {
            match found {
                Some(found) => std::fs::write(&golden, found).unwrap(),
                None => drop(std::fs::remove_file(&golden)),
            }
            continue;
        }
        let expected = std::fs::read(&golden).ok();
        if found != expected {
            let shown = |bytes: Option<Vec<u8>>| {
                String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
            };
            wrong.push(format!(
                "{}\n--- expected\n{}--- found\n{}",
                path.display(),
                shown(expected),
                shown(found)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_promised_is_written() {
    let mut broken = Vec::new();
    for path in cases() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let fixed = fix(name, &bytes, &kinds()).map_or(bytes, |fixed| fixed.bytes);
        let left = load_commit(&[(name, &fixed)]).faults;
        let promised = left.iter().filter(|fault| {
            let replacement = fault.replacement.as_ref();
            replacement.is_some_and(|replacement| replacement.certain)
        });
        broken.extend(promised.map(|fault| fault_lines(fault).join("\n")));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_code_is_met_by_a_golden_manifest_or_made_in_tests() {
    // Made in tests/loading.rs and tests/drift.rs: they need more than one small file.
    let elsewhere = [
        Code::UnreadableFile,
        Code::TooManyFaults,
        Code::Rejected,
        Code::TooMuchDrift,
        Code::Unlikely,
    ];
    let mut met: BTreeSet<ToldCode> = elsewhere.into_iter().map(ToldCode::from).collect();
    for path in cases() {
        met.extend(faults_of(&path).1);
    }
    let missing: Vec<Code> = Code::of(Area::Manifests)
        .filter(|code| !met.contains(&ToldCode::from(*code)))
        .collect();
    assert!(missing.is_empty(), "no golden manifest for {missing:?}");
}
