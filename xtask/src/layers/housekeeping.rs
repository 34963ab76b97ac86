//! The form of files: how long, what a `lib.rs` holds, where versions stand.

use super::code;
use super::sources::Source;
use super::violation::Violation;

/// A file is one concept; one that is longer is several.
const MAX_LINES: usize = 700;
/// What stands in a file of its own, not in a `lib.rs` or `mod.rs`.
const NOT_IN_AN_INDEX: &[&str] = &["fn", "struct", "enum", "impl", "trait"];
/// Below these folders a `lib.rs` may be a whole program: a component of one file is easier to
/// copy.
const ONE_FILE_PROGRAMS: &[&str] = &["tests/components/", "examples/"];
/// Names that say nothing about what is in a module.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "common", "misc", "manager", "base", "handler",
];

/// What is wrong with the form of a Rust file.
pub(crate) fn of_source(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let lines = source.text.lines().count();
    if lines > MAX_LINES {
        found.push(Violation {
            place: source.name.clone(),
            problem: format!("has {lines} lines; {MAX_LINES} are the most"),
        });
    }
    let mut words = source.name.rsplit('/');
    let file = words.next().unwrap_or_default();
    let stem = file.trim_end_matches(".rs");
    if let Some(empty) = std::iter::once(stem)
        .chain(words)
        .find(|word| EMPTY_NAMES.contains(word))
    {
        found.push(Violation {
            place: source.name.clone(),
            problem: format!("the name {empty} does not say what is in it"),
        });
    }
    let is_index = matches!(file, "lib.rs" | "mod.rs")
        && !ONE_FILE_PROGRAMS
            .iter()
            .any(|folder| source.name.starts_with(folder));
    if is_index {
        let items = NOT_IN_AN_INDEX
            .iter()
            .filter_map(|word| Some((*code::lines_with(&source.code, word).first()?, *word)));
        if let Some((line, word)) = items.min() {
            let problem = format!("{word} in a {file}, which holds docs, `mod` and `pub use`");
            found.push(Violation {
                place: format!("{}:{line}", source.name),
                problem,
            });
        }
    }
    found
}

/// What is wrong with a package's manifest: a version that does not stand in the root.
pub(crate) fn of_manifest(name: &str, text: &str) -> Vec<Violation> {
    let mut is_table_of_dependencies = false;
    let mut found = Vec::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
    {
        if line.starts_with('[') {
            is_table_of_dependencies = line.trim_end_matches(']').ends_with("dependencies");
        } else if is_table_of_dependencies && line.contains('=') && !line.starts_with('#') {
            let words: String = line.split_whitespace().collect();
            if !words.contains("workspace=true") {
                let problem =
                    "versions and paths stand in the root: `x.workspace = true`".to_owned();
                found.push(Violation {
                    place: format!("{name}:{number}"),
                    problem,
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(name: &str, text: &str) -> Vec<String> {
        of_source(&Source::new(name, text, false))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_file_that_is_too_long_is_a_violation() {
        assert_eq!(
            problems("a/src/x.rs", &"\n".repeat(701)),
            ["a/src/x.rs: has 701 lines; 700 are the most"]
        );
        assert_eq!(
            problems("a/src/x.rs", &"\n".repeat(700)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn code_in_an_index_is_a_violation_with_its_line() {
        assert_eq!(
            problems("a/src/lib.rs", "//! fn\nmod x;\npub fn f() {}\nstruct S;\n"),
            ["a/src/lib.rs:3: fn in a lib.rs, which holds docs, `mod` and `pub use`"]
        );
        assert_eq!(
            problems(
                "a/src/lib.rs",
                "//! struct\nmod x;\npub use x::Y;\n#[cfg(test)]\nmod t { fn f() {} }\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_empty_name_is_a_violation() {
        assert_eq!(
            problems("a/src/util.rs", ""),
            ["a/src/util.rs: the name util does not say what is in it"]
        );
        assert_eq!(problems("a/src/common/x.rs", "").len(), 1);
        assert_eq!(problems("a/src/utility_bill.rs", ""), Vec::<String>::new());
    }

    #[test]
    fn a_version_in_a_member_is_a_violation() {
        let text = "[package]\nversion = \"1\"\n[dependencies]\na.workspace = true\nb = { workspace = true }\n# c = \"1\"\nd = \"1\"\n[lib]\nname = \"x\"\n";
        let found: Vec<String> = of_manifest("a/Cargo.toml", text)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            found,
            ["a/Cargo.toml:7: versions and paths stand in the root: `x.workspace = true`"]
        );
    }
}
