//! What may stand in Cargo.lock. `cargo deny check` looks at more (advisories, licences) where it
//! is installed; this much is checked everywhere.

use super::rooms::BANNED;
use super::violation::Violation;

/// Where packages may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What is wrong in the text of a Cargo.lock.
pub(crate) fn violations(lock: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut name = "";
    for (number, line) in lock
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
    {
        let value = |key: &str| {
            line.strip_prefix(key)?
                .strip_prefix(" = \"")?
                .strip_suffix('"')
        };
        let mut violation = |problem| {
            found.push(Violation {
                place: format!("Cargo.lock:{number}"),
                problem,
            })
        };
        if let Some(of_package) = value("name") {
            name = of_package;
            if let Some((_, reason)) = BANNED.iter().find(|(banned, _)| *banned == name) {
                violation(format!("{name} is banned: {reason}"));
            }
        }
        if let Some(source) = value("source").filter(|source| *source != REGISTRY) {
            violation(format!("{name} comes from {source}, not from crates.io"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(lock: &str) -> Vec<String> {
        violations(lock).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_banned_package_is_a_violation() {
        let lock = "[[package]]\nname = \"libyml\"\nversion = \"0.0.5\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
        assert_eq!(
            problems(lock),
            ["Cargo.lock:2: libyml is banned: unsound; yaml_serde, under the name serde_yaml"]
        );
    }

    #[test]
    fn a_package_from_a_git_repository_is_a_violation_and_one_of_ours_is_not() {
        let lock = "[[package]]\nname = \"a\"\nsource = \"git+https://example.org/a\"\n\n[[package]]\nname = \"kelson\"\nversion = \"0.1.0\"\n";
        assert_eq!(
            problems(lock),
            ["Cargo.lock:3: a comes from git+https://example.org/a, not from crates.io"]
        );
    }
}
