//! Which package depends on which.

use super::metadata::{Dependency, Kind, Package};
use super::rooms::{
    Imports, KEPT, PURE, PURE_FOR_TESTS, ROOMS, Room, SCHEDULER, SCHEDULER_PREFIXES, TEST_SUPPORT,
};
use super::violation::Violation;

/// The rule for a package, if there is one.
pub(crate) fn room_of(package: &str) -> Option<&'static Room> {
    ROOMS
        .iter()
        .find(|room| room.package == package)
        .or_else(|| {
            SCHEDULER_PREFIXES
                .iter()
                .any(|prefix| package.starts_with(prefix))
                .then_some(&SCHEDULER)
        })
}

/// All dependencies between packages that the rules forbid.
pub(crate) fn violations(packages: &[Package]) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in packages {
        let mut violation = |problem| {
            found.push(Violation {
                place: package.name.clone(),
                problem,
            })
        };
        let Some(room) = room_of(&package.name) else {
            violation("has no rule; give it a line in the table of rooms".to_owned());
            continue;
        };
        for dependency in &package.dependencies {
            let is_ours = packages.iter().any(|other| other.name == dependency.name);
            let problem = if is_ours {
                of_ours(room, dependency)
            } else {
                from_outside(room, &package.name, dependency)
            };
            problem.into_iter().for_each(&mut violation);
        }
    }
    found
}

fn of_ours(room: &Room, dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    if name == TEST_SUPPORT && dependency.kind == Kind::Dev {
        return None;
    }
    match room.imports {
        Imports::Only(allowed) if allowed.contains(&name) => None,
        Imports::Only([]) => Some(format!("imports {name}, and may import nothing of ours")),
        Imports::Only(allowed) => Some(format!(
            "imports {name}, and may import {} only",
            allowed.join(", ")
        )),
        // The binary ships: what exists for tests and for this workspace stays out of it. The demo
        // uses the test harness.
        Imports::Everything
            if room.package == "kelson"
                && matches!(name, "kelson-testkit" | "xtask" | "kelson-bench") =>
        {
            Some(format!("imports {name}, which is not for the product"))
        }
        Imports::Everything => None,
    }
}

fn from_outside(room: &Room, package: &str, dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    if room.is_core {
        let is_pure = PURE.contains(&name)
            || (dependency.kind == Kind::Dev && PURE_FOR_TESTS.contains(&name));
        if !is_pure {
            return Some(format!(
                "uses {name}: a core depends on {} only",
                PURE.join(", ")
            ));
        }
    }
    let kept = KEPT.iter().find(|kept| kept.dependency == name)?;
    (!kept.packages.contains(&package)).then(|| {
        format!(
            "uses {name}, which only {} may use",
            kept.packages.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;
    use crate::layers::metadata;

    /// Metadata of a workspace in which each package has the given dependencies; a kind stands
    /// behind a colon.
    fn problems(packages: &[(&str, &[&str])]) -> Vec<String> {
        let packages: Vec<_> = packages
            .iter()
            .map(|(name, dependencies)| {
                let dependencies: Vec<_> = dependencies
                    .iter()
                    .map(|dependency| match dependency.split_once(':') {
                        Some((name, kind)) => json!({"name": name, "kind": kind}),
                        None => json!({"name": dependency, "kind": null}),
                    })
                    .collect();
                json!({"name": name, "manifest_path": format!("/w/{name}/Cargo.toml"), "dependencies": dependencies})
            })
            .collect();
        let packages = metadata::parse(&json!({"packages": packages})).unwrap();
        violations(&packages)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_workspace_that_keeps_the_rules_has_no_violation() {
        let found = problems(&[
            ("kelson-model", &["serde", "proptest:dev"]),
            (
                "kelson-kernel-core",
                &["kelson-model", "imbl", "kelson-testkit:dev"],
            ),
            (
                "kelson-kernel",
                &["kelson-model", "kelson-kernel-core", "openraft", "tokio"],
            ),
            ("kelson-testkit", &["kelson-model"]),
            ("kelson", &["kelson-kernel", "tokio", "kelson-testkit:dev"]),
            ("xtask", &["kelson-testkit"]),
        ]);
        // The binary's tests use the test support as well, and that is a dependency of development.
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_shell_that_imports_another_shell_is_a_violation() {
        let found = problems(&[("kelson-kernel", &[]), ("kelson-agent", &["kelson-kernel"])]);
        assert_eq!(
            found,
            [
                "kelson-agent: imports kelson-kernel, and may import kelson-model, kelson-proto, kelson-trust, kelson-agent-core only"
            ]
        );
    }

    #[test]
    fn a_core_with_tokio_is_a_violation_even_in_its_tests() {
        assert_eq!(problems(&[("kelson-agent-core", &["tokio:dev"])]).len(), 1);
        assert_eq!(problems(&[("kelson-agent-core", &["tokio"])]).len(), 1);
    }

    #[test]
    fn openraft_outside_the_kernel_is_a_violation() {
        assert_eq!(
            problems(&[("kelson-reconciler", &["openraft"])]),
            ["kelson-reconciler: uses openraft, which only kelson-kernel may use"]
        );
    }

    #[test]
    fn a_scheduler_that_imports_the_model_is_a_violation() {
        let found = problems(&[
            ("kelson-model", &[]),
            ("kelson-component-loop", &["kelson-model"]),
        ]);
        assert_eq!(
            found,
            ["kelson-component-loop: imports kelson-model, and may import kelson-sdk only"]
        );
    }

    #[test]
    fn the_test_support_in_the_binary_is_a_violation() {
        let found = problems(&[("kelson-testkit", &[]), ("kelson", &["kelson-testkit"])]);
        assert_eq!(
            found,
            ["kelson: imports kelson-testkit, which is not for the product"]
        );
    }

    #[test]
    fn a_package_without_a_rule_is_a_violation() {
        assert_eq!(
            problems(&[("kelson-novelty", &[])]),
            ["kelson-novelty: has no rule; give it a line in the table of rooms"]
        );
    }
}
