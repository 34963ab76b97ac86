//! What `wait` says while it waits: why it is not so yet, whenever that changes.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use kelson_model::id::Revision;
use kelson_model::report::StatusReport;
use kelson_reconciler::source::GitSource;
use tokio::time::{Instant, sleep_until};

use super::verdict::{Question, Wanted};
use crate::output::{plain, say};
use crate::verbs::target::keys;

/// Between two lines; also before the first, so that what is so at once is not explained.
const PAUSE: Duration = Duration::from_secs(1);
/// Most characters of a line.
const WIDTH: usize = 240;

/// Why it is not so yet, and what of that was said.
pub(super) struct Waiting {
    why: String,
    said: Option<String>,
    next: Instant,
}

impl Waiting {
    /// Begins to wait.
    pub(super) fn new(why: &str) -> Self {
        Self {
            why: why.to_owned(),
            said: Some(shown(why)),
            next: Instant::now() + PAUSE,
        }
    }

    /// Why it is not so yet.
    pub(super) fn why(&self) -> &str {
        &self.why
    }

    /// It waits for this now.
    pub(super) fn is_for(&mut self, why: String) {
        self.why = why;
    }

    /// Waits for something, and says meanwhile what is to be said.
    pub(super) async fn during<T>(&mut self, something: impl Future<Output = T>) -> T {
        let mut something = pin!(something);
        loop {
            let line = Some(shown(&self.why)).filter(|line| self.said.as_ref() != Some(line));
            let Some(line) = line else {
                return something.await;
            };
            tokio::select! {
                biased;
                done = &mut something => return done,
                () = sleep_until(self.next) => {
                    say(&format!("waiting: {line}"));
                    self.said = Some(line);
                    self.next = Instant::now() + PAUSE;
                }
            }
        }
    }
}

fn shown(why: &str) -> String {
    let why = plain(why);
    if why.chars().count() <= WIDTH {
        return why;
    }
    let cut: String = why.chars().take(WIDTH - 1).collect();
    format!("{cut}…")
}

/// Says of an object that is not there, although the wanted revision is in, where it perhaps is.
pub(super) fn absence(report: &StatusReport, question: &Question<'_>) -> Result<Option<String>> {
    let Some(target) = question.target.filter(|_| question.what != Wanted::Gone) else {
        return Ok(None);
    };
    let source = report.source.as_ref();
    let kept = source.into_iter().flat_map(|source| &source.kept);
    let is_kept = kept
        .map(|kept| &kept.object)
        .any(|key| target.is(&key.kind, &key.name));
    let applied = source.and_then(|source| source.applied.as_deref());
    let is_in = question.revision.is_none() || applied.is_some_and(question.is_in);
    let keys = keys(report)?;
    let is_there = keys.iter().any(|key| {
        let limit = question.limit.as_ref();
        target.is(&key.kind, &key.name) && limit.is_none_or(|limit| key.namespace == *limit)
    });
    if is_kept || is_there || !is_in {
        return Ok(None);
    }
    let missing = target.missing(question.limit.as_ref(), &keys);
    let hint = missing.hint.unwrap_or_default();
    Ok(Some(format!("{}; {hint}", missing.message)))
}

/// Says of a wanted revision that is not in where it is, if the branch that is followed is another
/// one.
pub(super) fn other_branch(
    report: &StatusReport,
    question: &Question<'_>,
    repository: Option<&GitSource>,
) -> Option<String> {
    let (repository, source) = (repository?, report.source.as_ref()?);
    let wanted: Revision = question.revision?.parse().ok()?;
    if source.applied.as_deref().is_some_and(question.is_in) {
        return None;
    }
    let branch = &source.branch;
    let tip = repository.resolve(&format!("refs/heads/{branch}")).ok()?;
    if repository.is_ancestor(&wanted, &tip).ok()? {
        return None;
    }
    let on = repository.branches_with(&wanted).ok()?;
    let on = if on.is_empty() {
        "no branch here".to_owned()
    } else {
        on.join(" and ")
    };
    Some(format!(
        "; it is on {on}, and {} follows {branch}",
        source.name
    ))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::verbs::manifests::open_repository;
    use kelson_model::object::Namespace;
    use serde_json::{Value, json};
    use std::path::Path;
    use std::process::Command;

    fn report(applied: &str) -> StatusReport {
        let source = json!({"name": "dev", "branch": "main", "observed": applied, "applied": applied, "sync": "Synced", "held": null, "errors": []});
        let web = json!({"kind": "Service", "namespace": "shop", "name": "web", "generation": 2, "revision": applied, "sync": "Synced",
            "health": "Healthy", "reason": null, "message": null, "origin": null,
            "tasks": {"desired": 1, "running": 1, "healthy": 1}, "rollout": Value::Null});
        serde_json::from_value(json!({"apiVersion": "kelson/v1", "kind": "Status", "index": 1, "source": source, "objects": [web]}))
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reason_is_said_a_second_after_the_last_one_and_once() {
        let mut waiting = Waiting::new("nothing");
        waiting.is_for("one".to_owned());
        waiting
            .during(sleep_until(Instant::now() + PAUSE / 2))
            .await;
        assert_eq!(waiting.said.as_deref(), Some("nothing"), "it is too early");
        waiting.during(sleep_until(Instant::now() + PAUSE)).await;
        assert_eq!(waiting.said.as_deref(), Some("one"));
        waiting.is_for("two".to_owned());
        waiting.during(async {}).await;
        assert_eq!(waiting.said.as_deref(), Some("one"));
        waiting.is_for("x".repeat(1000));
        waiting
            .during(sleep_until(Instant::now() + PAUSE * 2))
            .await;
        assert_eq!(waiting.said.unwrap().chars().count(), WIDTH);
    }

    #[test]
    fn what_is_nowhere_or_in_another_namespace_is_said() {
        let revision = "1".repeat(40);
        let said = |name: &str| {
            let target = name.parse().unwrap();
            let question = Question {
                target: Some(&target),
                what: Wanted::Healthy,
                revision: Some(&revision),
                limit: Some(Namespace::default_namespace()),
                is_in: &|other| other == revision,
            };
            absence(&report(&revision), &question).unwrap().unwrap()
        };
        assert!(said("web").contains("did you mean Service shop/web?"));
        assert!(said("payments").starts_with("there is no payments in namespace default; "));
    }

    #[test]
    fn a_revision_of_another_branch_says_which() {
        let folder = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let identity = ["-c", "user.name=a", "-c", "user.email=a@b"];
            let mut git = Command::new("git");
            git.current_dir(folder.path())
                .args(identity)
                .args(arguments);
            assert!(git.status().unwrap().success());
        };
        git(&["init", "-q", "-b", "main"]);
        git(&["commit", "-q", "--allow-empty", "-m", "one"]);
        git(&["checkout", "-q", "-b", "feature"]);
        git(&["commit", "-q", "--allow-empty", "-m", "two"]);
        let repository = open_repository(Path::new(folder.path()), None).unwrap();
        let revision = |spec: &str| repository.resolve(spec).unwrap().to_string();
        let main = revision("main");
        let said = |wanted: &str| {
            let question = Question {
                target: None,
                what: Wanted::Healthy,
                revision: Some(wanted),
                limit: None,
                is_in: &|_| false,
            };
            other_branch(&report(&main), &question, Some(&repository))
        };
        assert_eq!(
            said(&revision("feature")).unwrap(),
            "; it is on feature, and dev follows main"
        );
        assert_eq!(said(&main), None);
    }
}
