//! Who made the commits that a source is at, as git says; nobody vouches for it.

use std::sync::Arc;

use kelson_model::id::Revision;

use crate::source::GitSource;
use crate::trouble::{Trouble, blocking};

/// How many commits are remembered: the newest and the applied one.
const REMEMBERED: usize = 2;

/// The authors of the commits that were asked about last.
#[derive(Debug, Default)]
pub(crate) struct Authors {
    known: Vec<(Revision, String)>,
}

impl Authors {
    /// Who made a commit; nothing while it cannot be read.
    pub(crate) async fn of(
        &mut self,
        git: &Arc<GitSource>,
        revision: Option<&Revision>,
    ) -> Result<Option<String>, Trouble> {
        let Some(revision) = revision else {
            return Ok(None);
        };
        if let Some((_, author)) = self.known.iter().find(|(known, _)| known == revision) {
            return Ok(Some(author.clone()));
        }
        let (git, wanted) = (Arc::clone(git), revision.clone());
        let commit = match blocking(move || git.commit(&wanted)).await? {
            Ok(commit) => commit,
            Err(error) => {
                tracing::debug!(%error, "the author of a commit cannot be read");
                return Ok(None);
            }
        };
        let author = if commit.author.is_empty() {
            commit.email
        } else {
            commit.author
        };
        if self.known.len() >= REMEMBERED {
            self.known.remove(0);
        }
        self.known.push((revision.clone(), author.clone()));
        Ok(Some(author))
    }
}
