//! Revisions as git has them: loaded with the kinds that there are, and how they follow each other.

use std::sync::Arc;

use kelson_model::id::Revision;
use kelson_model::source::SourceRecord;
use kelson_reconciler_core::manifest::{Kinds, Loaded};

use crate::desired::{Desired, Loader};
use crate::kinds;
use crate::observed::Mirror;
use crate::source::{GitSource, SourceError};
use crate::trouble::{Trouble, blocking};
use crate::validator::Validator;

/// Reads revisions, and remembers the last ones.
pub(crate) struct Revisions {
    git: Arc<GitSource>,
    validator: Arc<dyn Validator>,
    loader: Option<Loader>,
    kinds: Option<Arc<Kinds>>,
    desired: Option<Arc<Desired>>,
    /// The applied revision, where it is not the newest; `None` where git cannot show it.
    places: Option<(Revision, Option<Arc<Desired>>)>,
    /// The revision of another branch that was applied when this began; going on from there is no
    /// rewriting of history.
    switched_from: Option<Option<Revision>>,
    /// The last answer of git about two revisions.
    lineage: Option<(Revision, Revision, bool)>,
}

impl Revisions {
    pub(crate) fn new(git: Arc<GitSource>, validator: Arc<dyn Validator>) -> Self {
        Self {
            git,
            validator,
            loader: None,
            kinds: None,
            desired: None,
            places: None,
            switched_from: None,
            lineage: None,
        }
    }

    /// Forgets what frameworks have said; they are others now.
    pub(crate) fn forget_kinds(&mut self) {
        self.kinds = None;
        self.desired = None;
        self.places = None;
        if let Some(loader) = &mut self.loader {
            loader.forget_judgements();
        }
    }

    /// The kinds that manifests may have.
    pub(crate) fn kinds(&mut self, mirror: &Mirror) -> Arc<Kinds> {
        let kinds = self
            .kinds
            .get_or_insert_with(|| Arc::new(kinds::of_frameworks(mirror.frameworks())));
        Arc::clone(kinds)
    }

    /// Loads a revision, or gives what was loaded of it.
    pub(crate) async fn desired(
        &mut self,
        revision: &Revision,
        mirror: &Mirror,
    ) -> Result<Result<Arc<Desired>, SourceError>, Trouble> {
        if let Some(desired) = &self.desired
            && desired.revision.as_ref() == Some(revision)
            && !desired.is_unsure
            && self.kinds.is_some()
        {
            return Ok(Ok(Arc::clone(desired)));
        }
        let loaded = self.load(revision, mirror).await?.map(Arc::new);
        self.desired = loaded.as_ref().ok().cloned().or(self.desired.take());
        Ok(loaded)
    }

    /// The applied revision, for the places of what it asks; `None` where git cannot show it.
    pub(crate) async fn places(
        &mut self,
        applied: &Revision,
        mirror: &Mirror,
    ) -> Result<Option<Arc<Desired>>, Trouble> {
        if let Some(desired) = &self.desired
            && desired.revision.as_ref() == Some(applied)
        {
            return Ok(Some(Arc::clone(desired)));
        }
        if let Some((known, places)) = &self.places
            && known == applied
        {
            return Ok(places.clone());
        }
        let places = match self.load(applied, mirror).await? {
            Ok(desired) => Some(Arc::new(desired)),
            Err(error) => {
                let applied = applied.short();
                tracing::info!(%error, applied, "what is applied cannot be read from git");
                None
            }
        };
        self.places = Some((applied.clone(), places.clone()));
        Ok(places)
    }

    async fn load(
        &mut self,
        revision: &Revision,
        mirror: &Mirror,
    ) -> Result<Result<Desired, SourceError>, Trouble> {
        let kinds = self.kinds(mirror);
        let mut loader = self
            .loader
            .take()
            .unwrap_or_else(|| Loader::new(Arc::clone(&self.validator)));
        let files = self.git.at(revision.clone());
        let (loader, loaded) = blocking(move || {
            let loaded = loader.load(&files, &kinds);
            (loader, loaded)
        })
        .await?;
        self.loader = Some(loader);
        Ok(loaded)
    }

    /// Notes from which branch what is applied came, the first time that this is known.
    pub(crate) fn note_branch(&mut self, record: &SourceRecord) {
        if self.switched_from.is_none() {
            let is_other = !record.branch.is_empty() && record.branch != self.git.branch();
            self.switched_from = Some(record.applied.clone().filter(|_| is_other));
        }
    }

    /// Whether a revision does not come after the applied one; going on from another branch is no
    /// rewriting of history.
    pub(crate) async fn is_rewritten(
        &mut self,
        revision: &Revision,
        record: &SourceRecord,
    ) -> Result<bool, Trouble> {
        let Some(applied) = &record.applied else {
            return Ok(false);
        };
        let is_other_branch = self.switched_from.as_ref() == Some(&record.applied);
        if applied == revision || is_other_branch {
            return Ok(false);
        }
        if let Some((old, new, goes_on)) = &self.lineage
            && old == applied
            && new == revision
        {
            return Ok(!goes_on);
        }
        let (git, old, new) = (Arc::clone(&self.git), applied.clone(), revision.clone());
        match blocking(move || git.is_ancestor(&old, &new)).await? {
            Ok(goes_on) => {
                self.lineage = Some((applied.clone(), revision.clone(), goes_on));
                Ok(!goes_on)
            }
            Err(error) => {
                tracing::warn!(%error, "the history cannot be read");
                Ok(true)
            }
        }
    }
}

/// The manifests of a revision that was read, for places.
pub(crate) fn loaded(desired: Option<&Arc<Desired>>) -> Option<&Loaded> {
    desired.map(|desired| &desired.loaded)
}
