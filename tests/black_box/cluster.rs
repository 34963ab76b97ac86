//! A cluster with a repository, as most tests begin.

use std::time::Duration;

use kelson_testkit::manifest::Service;
use kelson_testkit::{Dev, TestRepo, http};
use serde_json::Value;

/// Longer than anything takes that works.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A repository and `kelson dev` on it.
pub(crate) struct Cluster {
    pub(crate) repo: TestRepo,
    pub(crate) dev: Dev,
}

impl Cluster {
    /// On a repository without a commit.
    pub(crate) fn empty() -> Cluster {
        let repo = TestRepo::init().unwrap();
        let dev = Dev::builder().repo(repo.path()).start().unwrap();
        Cluster { repo, dev }
    }

    /// With these services (each in `kelson/NAME.yaml`), settled; also returns the commit.
    pub(crate) fn with(services: &[(&str, Service)]) -> (Cluster, String) {
        let cluster = Cluster::empty();
        for (name, service) in services {
            cluster.repo.write(&file(name), service.yaml()).unwrap();
        }
        let commit = cluster.repo.commit("the first services").unwrap();
        cluster.dev.settle(&commit).unwrap();
        (cluster, commit)
    }

    /// Commits the manifest of a service.
    pub(crate) fn commit(&self, name: &str, service: &Service) -> String {
        self.repo
            .commit_file(&file(name), service.yaml(), name)
            .unwrap()
    }

    /// What each running task of a service answers at `/`, sorted.
    pub(crate) fn answers(&self, object: &str) -> Vec<String> {
        let mut answers: Vec<String> = self
            .dev
            .running(object)
            .unwrap()
            .iter()
            .map(|task| fetch(task, "/"))
            .collect();
        answers.sort();
        answers
    }

    /// The process ids of the running tasks of a service, sorted.
    pub(crate) fn pids(&self, object: &str) -> Vec<u32> {
        let mut pids: Vec<u32> = self.dev.running(object).unwrap().iter().map(pid).collect();
        pids.sort_unstable();
        pids
    }
}

/// Where the manifest of a service stands.
pub(crate) fn file(name: &str) -> String {
    format!("kelson/{name}.yaml")
}

/// What a task answers, trimmed.
pub(crate) fn fetch(task: &Value, path: &str) -> String {
    let url = kelson_testkit::url(task, "http").unwrap();
    let response = http::get(&format!("{url}{path}"), DEADLINE).unwrap();
    assert_eq!(response.status, 200, "{url}{path}");
    response.body.trim().to_owned()
}

/// A field of text, empty where it is absent.
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The process id of a task.
pub(crate) fn pid(task: &Value) -> u32 {
    task.get("pid")
        .and_then(Value::as_u64)
        .and_then(|pid| u32::try_from(pid).ok())
        .unwrap_or_else(|| panic!("no pid in {task}"))
}
