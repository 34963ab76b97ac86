//! Loading: what a component must be, and how often it is compiled.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bench::{Bench, probe, request};
use kelson_kernel_core::port::{LoadFault, SchedulerHost};
use kelson_model::framework::Limits;
use kelson_model::id::Digest;
use kelson_plugin_host::{ChildCompiler, CompileLimits, Compiler, HostConfig, WasmHost};

fn load(content: &[u8]) -> LoadFault {
    let bench = Bench::new();
    bench
        .host
        .load(&Digest::of(content), content, &Limits::default())
        .unwrap_err()
}

/// A host on a folder of its own, in which the probe has been compiled.
fn host_in(folder: &Path) -> WasmHost {
    let host = WasmHost::new(HostConfig::new(folder)).unwrap();
    let (digest, content) = probe();
    host.load(digest, content, &Limits::default()).unwrap();
    host
}

fn compiled(folder: &Path, ending: &str) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect()
}

/// A second host on the same folder.
fn again(folder: &Path) -> WasmHost {
    WasmHost::new(HostConfig::new(folder)).unwrap()
}

#[test]
fn a_component_describes_itself() {
    let bench = Bench::new();
    let (digest, content) = probe();
    let description = bench
        .host
        .load(digest, content, &Limits::default())
        .unwrap();
    assert_eq!(description.name, "probe");
    assert_eq!(description.kinds.len(), 1);
}

#[test]
fn what_is_no_component_is_refused() {
    assert!(matches!(load(b"#!/bin/sh"), LoadFault::NotAComponent(_)));
    assert!(matches!(load(b""), LoadFault::NotAComponent(_)));
    let module = load(b"\0asm\x01\x00\x00\x00");
    assert!(module.to_string().contains("core module"), "{module}");
    let cut = probe().1.get(..500).unwrap();
    assert!(matches!(load(cut), LoadFault::NotAComponent(_)));
}

#[test]
fn a_component_without_the_scheduler_is_refused() {
    // The empty component.
    let fault = load(b"\0asm\x0d\x00\x01\x00");
    assert!(matches!(fault, LoadFault::MissingExport(_)), "{fault}");
}

#[test]
fn an_import_that_the_sandbox_does_not_give_is_named() {
    // (component (import "wasi:clocks/wall-clock@0.2.0" (instance)))
    let name = b"wasi:clocks/wall-clock@0.2.0";
    let mut content = b"\0asm\x0d\x00\x01\x00".to_vec();
    // A type section with one empty instance type, and an import section with one instance of it.
    content.extend(b"\x07\x03\x01\x42\x00");
    let import_length = u8::try_from(1 + 1 + 1 + name.len() + 2).unwrap();
    content.extend([0x0a, import_length, 1, 0]);
    content.push(u8::try_from(name.len()).unwrap());
    content.extend(name);
    content.extend([0x05, 0x00]);
    let fault = load(&content);
    assert_eq!(
        fault,
        LoadFault::ForbiddenImport("wasi:clocks/wall-clock@0.2.0".to_owned())
    );
}

#[test]
fn content_must_have_the_digest_that_it_is_loaded_under() {
    let bench = Bench::new();
    let other = Digest::of(b"other");
    let fault = bench
        .host
        .load(&other, &probe().1, &Limits::default())
        .unwrap_err();
    assert!(fault.to_string().contains("its digest is"), "{fault}");
}

#[test]
fn a_component_is_compiled_once_and_kept_from_others() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = &temporary.path().join("compiled");
    let first = host_in(folder);
    let files = compiled(folder, "cwasm");
    assert_eq!(files.len(), 1);
    let mode = fs::metadata(folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    drop(first);
    // Content that could not be compiled shows that the cache was used.
    let second = again(folder);
    second
        .load(&probe().0, b"not looked at", &Limits::default())
        .unwrap();
    assert!(second.turn(&request("turn clock")).is_ok());
}

#[test]
fn a_damaged_file_of_the_cache_is_not_used() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = &temporary.path().join("compiled");
    drop(host_in(folder));
    for file in compiled(folder, "cwasm") {
        let mut code = fs::read(&file).unwrap();
        let middle = code.len() / 2;
        *code.get_mut(middle).unwrap() ^= 1;
        fs::write(&file, code).unwrap();
    }
    let second = again(folder);
    let (digest, content) = probe();
    assert!(
        second
            .load(digest, b"not a component", &Limits::default())
            .is_err()
    );
    second.load(digest, content, &Limits::default()).unwrap();
    // And it is whole again.
    let third = again(folder);
    third
        .load(digest, b"not looked at", &Limits::default())
        .unwrap();
}

/// A host whose compiler is a shell script, which notes each of its starts in `starts`. It is
/// called with `--input FILE --artifact FILE …`, so that `$2` is the component and `$4` its
/// compiled form.
fn host_with(folder: &Path, script: &str, wall: Duration) -> WasmHost {
    let starts = folder.join("starts");
    let script = format!("echo x >> {}\n{script}", starts.display());
    let compiler = ChildCompiler {
        program: PathBuf::from("/bin/sh"),
        arguments: vec!["-c".into(), script.into(), "sh".into()],
        limits: CompileLimits {
            wall,
            ..CompileLimits::default()
        },
    };
    WasmHost::new(HostConfig {
        compiler: Compiler::Child(compiler),
        ..HostConfig::new(folder.join("compiled"))
    })
    .unwrap()
}

fn starts(folder: &Path) -> usize {
    let starts = fs::read_to_string(folder.join("starts"));
    starts.map_or(0, |starts| starts.lines().count())
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn what_a_child_compiles_is_used_and_kept() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let source = folder.join("source");
    drop(host_in(&source));
    let ready = compiled(&source, "cwasm").remove(0);
    let script = format!("cp {} \"$4\"", ready.display());
    let (digest, content) = probe();
    for _ in 0..2 {
        let host = host_with(folder, &script, LONG);
        host.load(digest, content, &Limits::default()).unwrap();
        assert!(host.turn(&request("turn clock")).is_ok());
    }
    assert_eq!(starts(folder), 1);
    // Its files are gone.
    assert_eq!(compiled(&folder.join("compiled"), "part").len(), 0);
}

#[test]
fn a_component_that_cannot_be_compiled_is_tried_once() {
    for (script, words) in [
        ("echo it has no sections >&2; exit 1", "it has no sections"),
        ("kill -XCPU $$", "more than 600 s of processor time"),
        ("kill -ABRT $$", "more than 4096 MiB of memory"),
    ] {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        let (digest, content) = probe();
        for _ in 0..2 {
            let host = host_with(folder, script, LONG);
            let fault = host.load(digest, content, &Limits::default()).unwrap_err();
            assert!(fault.to_string().contains(words), "{fault}");
        }
        assert_eq!(starts(folder), 1, "{script}");
    }
}

#[test]
fn what_is_the_machines_fault_is_tried_again() {
    for (script, wall, words) in [
        ("echo no disk >&2; exit 2", LONG, "no disk"),
        (
            "echo index out of bounds >&2; exit 101",
            LONG,
            "index out of bounds",
        ),
        ("kill -KILL $$", LONG, "the compiler ended with"),
        ("exit 0", LONG, "its files"),
        (
            "exec sleep 600",
            Duration::from_millis(200),
            "took more than",
        ),
    ] {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        let (digest, content) = probe();
        let host = host_with(folder, script, wall);
        for _ in 0..2 {
            let fault = host.load(digest, content, &Limits::default()).unwrap_err();
            assert!(matches!(fault, LoadFault::NotCompiled(_)), "{fault}");
            assert!(fault.to_string().contains(words), "{fault}");
        }
        assert_eq!(starts(folder), 2, "{script}");
    }
}

#[test]
fn a_reason_of_any_length_is_cut() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let script = "head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1";
    let (digest, content) = probe();
    let host = host_with(folder, script, LONG);
    let fault = host.load(digest, content, &Limits::default()).unwrap_err();
    assert_eq!(fault, LoadFault::NotAComponent("x".repeat(1000)));
}
