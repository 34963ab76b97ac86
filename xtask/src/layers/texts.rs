//! What stands in files as they are, tests and comments included: how wide comments are, and where
//! codes are written.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::violation::Violation;

/// Widest comment line, in columns.
const MAX_COMMENT: usize = 100;
/// Files with comments that begin with `//`.
const READ: [&str; 3] = ["rs", "wit", "proto"];
/// The one place where codes are written; all others use its enum.
const REGISTRY: &str = "model/src/code.rs";

/// What is wrong with the texts below `root`.
pub(crate) fn violations(root: &Path) -> Result<Vec<Violation>> {
    let mut paths = Vec::new();
    every(root, &mut paths)?;
    let mut found = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).display();
        found.extend(of_text(&name.to_string(), &text));
    }
    Ok(found)
}

fn of_text(name: &str, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut is_test = is_of_tests(name);
    for (index, line) in text.lines().enumerate() {
        is_test |= line.trim() == "#[cfg(test)]";
        let place = || format!("{name}:{}", index + 1);
        if let Some(wide) = too_wide(line) {
            found.push(Violation {
                place: place(),
                problem: format!("a comment line of {wide} columns; at most {MAX_COMMENT}"),
            });
        }
        if name != REGISTRY && has_code(line, is_test) {
            found.push(Violation {
                place: place(),
                problem: format!("a code as text; the enum in {REGISTRY} has them all"),
            });
        }
    }
    found
}

/// The width of a comment line that is too wide. A word that is wide by itself, such as an address,
/// and a row of a table cannot be broken.
fn too_wide(line: &str) -> Option<usize> {
    let words = line.trim_start().strip_prefix("//")?;
    let words = words.trim_start_matches(['/', '!']).trim();
    let wide = line.chars().count();
    let is_breakable = words.contains(' ') && !words.starts_with('|');
    (wide > MAX_COMMENT && is_breakable).then_some(wide)
}

/// Whether a file is for tests only. In another one, tests begin with the first `#[cfg(test)]`.
fn is_of_tests(name: &str) -> bool {
    let mut parts = name.split('/');
    parts.any(|part| part == "tests" || part.ends_with("tests.rs"))
}

/// Whether a literal of the line is a code or, where it is no test, holds one: what people see is
/// expected in tests as it is.
fn has_code(line: &str, is_test: bool) -> bool {
    let is_code = |word: &str| {
        let digits = word.strip_prefix('K').unwrap_or_default();
        digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if line.trim_start().starts_with("//") {
        return false;
    }
    line.split('"').skip(1).step_by(2).any(|literal| {
        let mut words = literal.split(|c: char| !c.is_ascii_alphanumeric());
        is_code(literal) || !is_test && words.any(is_code)
    })
}

/// All files below a folder that are read, without what is built.
fn every(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_dir() {
            if name.is_some_and(|name| name != "target" && !name.starts_with('.')) {
                every(&path, into)?;
            }
        } else if ending.is_some_and(|ending| READ.contains(&ending)) {
            into.push(path);
        }
    }
    into.sort();
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn problems(name: &str, text: &str) -> Vec<String> {
        let found = of_text(name, text);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_comment_line_has_at_most_a_hundred_columns() {
        let wide = format!("    /// {} x", "y".repeat(91));
        let widest = format!("    /// {} x", "y".repeat(90));
        assert_eq!(
            problems("x.wit", &format!("{widest}\n{wide}\n")),
            ["x.wit:2: a comment line of 101 columns; at most 100"]
        );
        let address = format!("// https://{}", "a".repeat(100));
        let row = format!("//! | {} | y |", "a".repeat(100));
        let code = format!("let x = \"{}\"; // no comment line", "y".repeat(100));
        for kept in [address, row, code] {
            assert_eq!(too_wide(&kept), None, "{kept}");
        }
    }

    #[test]
    fn a_code_is_written_in_the_registry_only() {
        let code = format!("K{}", 1234);
        let line = format!("    refused(\"{code}\");");
        assert_eq!(
            problems("a.rs", &line),
            ["a.rs:1: a code as text; the enum in model/src/code.rs has them all"]
        );
        assert_eq!(problems(REGISTRY, &line), Vec::<String>::new());
        let within = format!("say(\"{code} web.yaml:1:2\");");
        assert!(has_code(&within, false));
        assert!(!has_code(&within, true));
        assert!(!has_code(&format!("/// See \"{code}\"."), false));
        let tested = format!("say(1);\n#[cfg(test)]\nmod tests {{\n{within}\n");
        for (name, text, count) in [
            ("a.rs", &within, 1),
            ("a.rs", &tested, 0),
            ("a/tests/b.rs", &within, 0),
            ("a/b_tests.rs", &within, 0),
        ] {
            assert_eq!(problems(name, text).len(), count, "{name}");
        }
    }

    #[test]
    fn texts_on_disk_are_read_and_what_is_built_is_not() {
        let root = std::env::temp_dir().join(format!("kelson-texts-{}", std::process::id()));
        let wide = format!("// {} x\n", "y".repeat(100));
        for folder in ["wit", "proto/v1", "target", ".git"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in [
            "a.rs",
            "wit/b.wit",
            "proto/v1/c.proto",
            "target/d.rs",
            ".git/e.rs",
            "f.md",
        ] {
            std::fs::write(root.join(file), &wide).unwrap();
        }
        let found = violations(&root);
        std::fs::remove_dir_all(&root).unwrap();
        let places: Vec<String> = found.unwrap().into_iter().map(|one| one.place).collect();
        assert_eq!(places, ["a.rs:1", "proto/v1/c.proto:1", "wit/b.wit:1"]);
    }
}
