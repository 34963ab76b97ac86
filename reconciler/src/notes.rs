//! Manifests that somebody has edited and not committed: mentioned once, since nothing happens
//! before the commit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::source::{GitSource, SourceError, Uncommitted};

/// At most this many paths are named.
const NAMED: usize = 3;

/// Looks at the work tree now and then, at no more than a fiftieth of the time.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    mentioned: BTreeSet<String>,
    not_before: Option<Instant>,
    looking: Option<JoinHandle<Looked>>,
}

type Looked = (Duration, Result<Vec<Uncommitted>, SourceError>);

impl Notes {
    /// Begins to look, unless that is under way or was just done.
    pub(crate) fn look(&mut self, source: &Arc<GitSource>) {
        let is_early = self.not_before.is_some_and(|then| Instant::now() < then);
        if is_early || self.looking.is_some() || source.work_dir().is_none() {
            return;
        }
        let source = Arc::clone(source);
        self.looking = Some(tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            let found = source.uncommitted();
            (start.elapsed(), found)
        }));
    }

    /// Waits for the look that is under way; for ever where none is.
    pub(crate) async fn looked(&mut self) -> Option<String> {
        let Some(looking) = &mut self.looking else {
            return std::future::pending().await;
        };
        let looked = looking.await;
        self.looking = None;
        let (took, found) = looked.ok()?;
        self.not_before = Some(Instant::now() + took * 50);
        match found {
            Ok(found) => self.note(found.into_iter().map(|it| it.path)),
            Err(error) => {
                tracing::debug!(%error, "the work tree was not compared");
                None
            }
        }
    }

    fn note(&mut self, paths: impl IntoIterator<Item = String>) -> Option<String> {
        let now: BTreeSet<String> = paths.into_iter().collect();
        let new: Vec<&String> = now.difference(&self.mentioned).collect();
        let note = (!new.is_empty()).then(|| {
            let named: Vec<&str> = new.iter().take(NAMED).map(|path| path.as_str()).collect();
            let more = match new.len().saturating_sub(named.len()) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let verb = if new.len() == 1 { "is" } else { "are" };
            format!(
                "{}{more} {verb} changed and not committed; only commits are applied",
                named.join(", ")
            )
        });
        self.mentioned = now;
        note
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_is_mentioned_once_until_it_was_committed() {
        let mut notes = Notes::default();
        let mut note = |paths: &[&str]| notes.note(paths.iter().map(|path| (*path).to_owned()));
        assert!(note(&["a.yaml"]).unwrap().starts_with("a.yaml is changed"));
        assert_eq!(note(&["a.yaml"]), None);
        assert!(
            note(&["a.yaml", "b.yaml"])
                .unwrap()
                .starts_with("b.yaml is")
        );
        assert_eq!(note(&[]), None);
        assert!(note(&["a.yaml"]).is_some());
    }

    #[test]
    fn many_files_are_not_all_named() {
        let mut notes = Notes::default();
        let note = notes.note((0..9).map(|n| format!("{n}.yaml"))).unwrap();
        assert!(note.contains("2.yaml and 6 more are changed"), "{note}");
    }
}
