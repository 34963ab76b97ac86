//! What stands in the code of Rust files: words and paths.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::metadata::Package;
use super::rooms::{KEPT, NOT_IN_A_CORE};
use super::violation::Violation;
use super::{code, imports};

/// A Rust file of a package, tests left out.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path relative to the root.
    pub(crate) name: String,
    pub(crate) text: String,
    /// The text without comments, literals and tests.
    pub(crate) code: String,
    pub(crate) is_core: bool,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str, is_core: bool) -> Source {
        let code = code::without_tests(&code::without_comments_and_literals(text));
        Source {
            name: name.to_owned(),
            text: text.to_owned(),
            code,
            is_core,
        }
    }

    /// Reads all sources of the packages.
    pub(crate) fn read_all(root: &Path, packages: &[Package]) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        for package in packages {
            let is_core = imports::room_of(&package.name).is_some_and(|room| room.is_core);
            let mut paths = Vec::new();
            collect(&package.folder.join("src"), &mut paths)?;
            for path in paths {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let name = path
                    .strip_prefix(root)
                    .unwrap_or(&path)
                    .display()
                    .to_string();
                sources.push(Source::new(&name, &text, is_core));
            }
        }
        Ok(sources)
    }
}

/// Words and paths that may not stand in this file.
pub(crate) fn violations(source: &Source) -> Vec<Violation> {
    let Source {
        name,
        code,
        is_core,
        ..
    } = source;
    let mut found = Vec::new();
    let mut report = |lines: Vec<usize>, problem: &str| {
        found.extend(lines.into_iter().map(|line| Violation {
            place: format!("{name}:{line}"),
            problem: problem.to_owned(),
        }));
    };
    for kept in KEPT {
        if kept.folders.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        let problem = format!(
            "{} may stand in {} only",
            kept.path,
            kept.folders.join(", ")
        );
        report(code::lines_with_crate(code, kept.path), &problem);
    }
    if *is_core {
        for (word, reason) in NOT_IN_A_CORE {
            report(
                code::lines_with(code, word),
                &format!("{word} in a core: {reason}"),
            );
        }
        report(
            code::lines_with_float_literals(code),
            "a float in a core: floats differ; integers in newtypes",
        );
    }
    found.sort();
    found.dedup();
    found
}

/// All Rust files below a folder, but for files and folders of tests.
fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            if name != "tests" && name != "target" {
                collect(&path, into)?;
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            into.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn problems(name: &str, text: &str, is_core: bool) -> Vec<String> {
        violations(&Source::new(name, text, is_core))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_clock_in_a_core_is_a_violation_with_its_line() {
        let text = "use std::time::Duration;\nfn f() { std::time::SystemTime::now(); }\n";
        assert_eq!(
            problems("agent/core/src/x.rs", text, true),
            ["agent/core/src/x.rs:2: SystemTime in a core: time is an argument"]
        );
        assert_eq!(
            problems("agent/src/x.rs", text, false),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_library_outside_its_home_is_a_violation() {
        let text = "use openraft::Raft;\n";
        assert_eq!(
            problems("kernel/src/leader/round.rs", text, false),
            ["kernel/src/leader/round.rs:1: openraft may stand in kernel/src/raft only"]
        );
        assert_eq!(
            problems("kernel/src/raft/node.rs", text, false),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_word_that_may_not_stand_in_a_core_is_found() {
        for (word, _) in NOT_IN_A_CORE {
            assert_eq!(
                problems("x.rs", &format!("use {word};"), true).len(),
                1,
                "{word}"
            );
        }
    }

    #[test]
    fn a_violation_on_disk_is_found() {
        let root = std::env::temp_dir().join(format!("kelson-layers-{}", std::process::id()));
        let folder = root.join("kernel/core");
        std::fs::create_dir_all(folder.join("src/deep/tests")).unwrap();
        std::fs::write(
            folder.join("src/deep/a.rs"),
            "use std::collections::HashMap;\n",
        )
        .unwrap();
        std::fs::write(
            folder.join("src/deep/tests/b.rs"),
            "use std::collections::HashMap;\n",
        )
        .unwrap();
        let package = Package {
            name: "kelson-kernel-core".into(),
            folder,
            dependencies: Vec::new(),
        };
        let sources = Source::read_all(&root, &[package]).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(sources.len(), 1, "a test was read as a source");
        let found: Vec<_> = sources.iter().flat_map(violations).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found.first().unwrap().place, "kernel/core/src/deep/a.rs:1");
    }
}
