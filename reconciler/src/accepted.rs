//! What git asked for when the kernel last accepted it: what drift is measured by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::id::{Digest, Revision};
use kelson_model::object::{DesiredObject, ObjectKey, Origin};
use kelson_reconciler_core::manifest::{Loaded, LoadedObject};
use kelson_reconciler_core::observed::{ObservedObject, content_digest};

/// The objects of the applied revision, as they were accepted.
///
/// *Assumes*: there is one reconciler of a source. After a restart this is read again from git.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// The revision that the kernel had applied then; absent: nothing.
    pub(crate) revision: Option<Revision>,
    /// Absent where git does not have that revision any more: then nothing can be said about drift of specifications.
    pub(crate) loaded: Option<Loaded>,
    /// The kinds that it was read from git with; absent where it was accepted by this very process.
    pub(crate) read_with: Option<Digest>,
    digests: BTreeMap<ObjectKey, (Arc<LoadedObject>, Digest)>,
}

impl Accepted {
    /// What a kernel that has accepted a revision in an earlier life of this process was asked.
    pub(crate) fn read(revision: Revision, loaded: Option<Loaded>, kinds: &Digest) -> Self {
        let objects = loaded.iter().flat_map(|loaded| &loaded.objects);
        let digests = objects
            .map(|object| {
                let digest = content_digest(&object.desired);
                (object.desired.key.clone(), (Arc::clone(object), digest))
            })
            .collect();
        Self {
            revision: Some(revision),
            loaded,
            read_with: Some(kinds.clone()),
            digests,
        }
    }

    /// What is accepted after this revision: its objects, and those of bad files as they were.
    pub(crate) fn after(
        mut self,
        revision: Revision,
        loaded: &Loaded,
        pruned: &BTreeSet<ObjectKey>,
    ) -> Self {
        let mut all: BTreeMap<ObjectKey, Arc<LoadedObject>> = BTreeMap::new();
        for before in self.loaded.iter().flat_map(|before| &before.objects) {
            if !pruned.contains(&before.desired.key) && !loaded.faults.is_empty() {
                all.insert(before.desired.key.clone(), Arc::clone(before));
            }
        }
        for object in &loaded.objects {
            all.insert(object.desired.key.clone(), Arc::clone(object));
        }
        let mut digests = BTreeMap::new();
        for (key, object) in &all {
            let known = self.digests.remove(key).filter(|(before, _)| {
                Arc::ptr_eq(before, object) || before.desired == object.desired
            });
            let digest = match known {
                Some((_, digest)) => digest,
                None => content_digest(&object.desired),
            };
            digests.insert(key.clone(), (Arc::clone(object), digest));
        }
        Self {
            revision: Some(revision),
            loaded: Some(Loaded {
                objects: all.into_values().collect(),
                ..loaded.clone()
            }),
            read_with: None,
            digests,
        }
    }

    /// Names, for each object, what git asked for when it was last accepted.
    ///
    /// Where it was read from git, an object that was changed last by a commit is its own witness: a newer version of its kind's schema may
    /// read the same manifest otherwise, and that is nobody's hand.
    pub(crate) fn digests(
        &self,
        observed: &BTreeMap<ObjectKey, ObservedObject>,
    ) -> BTreeMap<ObjectKey, Digest> {
        let mut digests: BTreeMap<ObjectKey, Digest> = self
            .digests
            .iter()
            .map(|(key, (_, digest))| (key.clone(), digest.clone()))
            .collect();
        if self.read_with.is_some() {
            let by_git = observed.values().filter(|live| {
                live.changed_by
                    .as_ref()
                    .is_some_and(|principal| principal.via == "git")
            });
            for live in by_git {
                digests.insert(live.key.clone(), content_digest(&as_desired(live)));
            }
        }
        digests
    }
}

fn as_desired(live: &ObservedObject) -> DesiredObject {
    DesiredObject {
        key: live.key.clone(),
        labels: live.labels.clone(),
        lifecycle: live.lifecycle,
        spec: live.spec.clone(),
        origin: live.origin.clone().unwrap_or(Origin {
            file: String::new(),
            line: 0,
            column: None,
        }),
    }
}
