//! What an act can do and see.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kelson_testkit::{Cli, Dev, Look, TestRepo, http};
use serde_json::Value;

/// How long anything may take, on a small and busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The service that most acts are about.
pub(crate) const WEB: &str = "Service/web";
/// Its manifest.
pub(crate) const WEB_FILE: &str = "kelson/web.yaml";

/// A repository made from the quickstart, and `kelson dev` on it.
pub(crate) struct Stage {
    pub(crate) repo: TestRepo,
    pub(crate) dev: Dev,
}

impl Stage {
    /// Makes the repository, still without a commit, and starts `kelson dev` on it.
    pub(crate) fn raise(root: &Path) -> Result<Stage> {
        let repo = TestRepo::init()?;
        repo.copy_from(&root.join("examples/quickstart"))?;
        if !crate::shell::has("python3") {
            repo.remove("kelson/pages.yaml")?;
            println!("   python3 is not here: the service `pages` is left out");
        }
        println!("   repository: {}", repo.path().display());
        println!("   $ kelson dev");
        let dev = Dev::builder().repo(repo.path()).start()?;
        println!("   ready at {}", dev.address());
        Ok(Stage { repo, dev })
    }

    /// Commits what is in the working tree and shows that it does.
    pub(crate) fn commit(&self, message: &str) -> Result<String> {
        let commit = self.repo.commit(message)?;
        println!("   $ git commit -am {message:?}      # {}", short(&commit));
        Ok(commit)
    }

    /// Says what was seen.
    pub(crate) fn saw(&self, what: &str) {
        println!("   ✓ {what}");
    }

    /// Waits until the revision is applied and everything is synced and healthy; returns the
    /// status.
    pub(crate) fn settle(&self, revision: &str) -> Result<Value> {
        self.dev.settle(revision)
    }

    /// Looks until `look` has found something.
    pub(crate) fn wait_for<T>(
        &self,
        what: &str,
        look: impl FnMut(&Cli) -> Result<Look<T>>,
    ) -> Result<T> {
        self.dev.wait_for(what, PATIENCE, look)
    }

    /// Fetches `/` of every running task of a service; each must answer with `expected` somewhere
    /// in it.
    pub(crate) fn fetch_all(&self, object: &str, expected: &str) -> Result<usize> {
        let tasks = self.dev.running(object)?;
        for task in &tasks {
            let url = kelson_testkit::url(task, "http")
                .with_context(|| format!("no address in {task}"))?;
            let response = http::get(&url, Duration::from_secs(5)).with_context(|| url.clone())?;
            if response.status != 200 || !response.body.contains(expected) {
                bail!(
                    "{url} answers {} {:?}, not {expected:?}",
                    response.status,
                    response.body
                );
            }
        }
        Ok(tasks.len())
    }
}

/// The start of a commit's id.
pub(crate) fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

/// A list of values of one field, sorted.
pub(crate) fn sorted_u64(items: &[Value], field: &str) -> Vec<u64> {
    let mut values: Vec<u64> = items
        .iter()
        .filter_map(|item| item.get(field)?.as_u64())
        .collect();
    values.sort_unstable();
    values
}
