//! The shape of a plan: steps, holds, and what is left as it is.

use kelson_model::id::{Digest, Revision};
use kelson_model::object::{DesiredObject, ObjectKey, Origin, Sync};
use kelson_model::reason::{HoldReason, KeptReason};
use kelson_model::source::{Held, Release};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::manifest::{Kinds, Loaded};
use crate::observed::ObservedObject;

/// What a plan is made for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The source's name; objects of others are left alone.
    pub source: &'a str,
    /// The revision that the manifests are from; absent for a working tree.
    pub revision: Option<&'a Revision>,
    /// The revision that the kernel has accepted.
    pub applied: Option<&'a Revision>,
    /// Whether history was rewritten: the revision does not come after the applied one.
    pub is_rewritten: bool,
    /// The holds of this revision that a person has released.
    pub released: &'a [Release],
    /// The kinds, to bring what was set by hand into normal form.
    pub kinds: Option<&'a Kinds>,
    /// How many objects recent revisions took away without a person's word, within the guard's
    /// window.
    pub recently_pruned: usize,
}

/// The kinds of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepKind {
    /// No object has this key yet.
    Create,
    /// Its specification, labels or lifecycle differ from what git asks.
    Update,
    /// The object means the same: only where it stands in git, or how it is spelt, is recorded
    /// anew.
    Move,
    /// No manifest wants the object any more.
    Delete,
}

/// One field that a step changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldChange {
    /// A JSON pointer into the document: `/spec/instances`.
    pub path: String,
    /// The same for people, with the names of a list's elements in place of their numbers:
    /// `spec.ports[http].port`.
    #[serde(default)]
    pub at: String,
    /// What is; absent where the field is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What will be; absent where the field goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// The place of the field in git; absent for what stands nowhere, such as a default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// What happens to one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Steps of a lower wave come first: frameworks before the objects of their kinds, and the
    /// other way round when they go.
    pub wave: u32,
    /// Whether it makes, changes, moves or removes the object.
    pub kind: StepKind,
    /// What names the object; no other step of the plan has it.
    pub object: ObjectKey,
    /// The fields that change, of an update; those that the manifest spells out, of a new object.
    #[serde(default)]
    pub fields: Vec<FieldChange>,
    /// Where the object stands in git; of a deletion, where it stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Whether the difference came about without a commit, so that the step undoes a change by
    /// hand.
    #[serde(default)]
    pub is_drift: bool,
    /// The reason of the hold that this deletion waits for; absent: nothing holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HoldReason>,
}

/// Why an object is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Why {
    /// Its file has a fault.
    BadFile,
    /// Nothing is taken away while a file of the source has a fault.
    FaultsElsewhere,
    /// `lifecycle.prune: never`.
    PruneNever,
    /// Its kind may come with a framework that is not there yet.
    WaitsForFramework,
    /// The new version of its framework comes with the same commit, and is held.
    FrameworkHeld,
    /// It was changed by hand, and `lifecycle.drift` is `report`.
    DriftReported,
    /// Another source, named in the message, has accepted an object of this key.
    OtherSource,
    /// Its newest version was rolled back, and git still asks for it.
    RolledBack,
    /// A framework that no manifest wants is in force as long as it has objects.
    InUse,
}

impl Why {
    /// As it is said of the source.
    pub fn reason(self) -> KeptReason {
        match self {
            Self::BadFile => KeptReason::BadFile,
            Self::FaultsElsewhere => KeptReason::FaultsElsewhere,
            Self::PruneNever => KeptReason::PruneNever,
            Self::WaitsForFramework => KeptReason::WaitsForFramework,
            Self::FrameworkHeld => KeptReason::FrameworkHeld,
            Self::DriftReported => KeptReason::DriftReported,
            Self::OtherSource => KeptReason::OtherSource,
            Self::RolledBack => KeptReason::RolledBack,
            Self::InUse => KeptReason::InUse,
        }
    }
}

/// One object that is left as it is, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportLine {
    /// What names the object.
    pub object: ObjectKey,
    /// The reason, for programs.
    pub why: Why,
    /// A sentence, and what ends the wait.
    pub message: String,
}

/// What closes the difference between a revision and what is, and what does not happen and why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// In order. Deletions that are held are among them, and say so.
    pub steps: Vec<Step>,
    /// What is left as it is, ordered by object.
    pub report: Vec<ReportLine>,
    /// The first of `holds`.
    pub held: Option<Held>,
    /// What waits for a person; each is released by itself.
    #[serde(default)]
    pub holds: Vec<Held>,
    /// Whether the holds stop all steps, and not only the deletions that say so.
    pub is_blocked: bool,
    /// The confirmations that the plan relies on, by the digests of what they release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<Digest>,
    /// How many wanted objects are as they should be.
    pub unchanged: usize,
}

impl Plan {
    /// Whether there is nothing to carry out; deletions that are held wait.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.held.is_some())
    }

    /// Whether the revision asks for a change of what is wished, held or not, rather than only of
    /// where it is written.
    pub fn has_changes(&self) -> bool {
        self.steps.iter().any(|step| step.kind != StepKind::Move)
    }

    /// The objects to stage, in order: what is new, changed or moved.
    pub fn to_stage<'a>(&'a self, loaded: &'a Loaded) -> impl Iterator<Item = &'a DesiredObject> {
        self.steps
            .iter()
            .filter(|step| step.kind != StepKind::Delete)
            .filter_map(|step| loaded.object(&step.object))
            .map(|object| &object.desired)
    }

    /// The objects to prune, in order, without those that are held.
    pub fn to_prune(&self) -> impl Iterator<Item = &ObjectKey> {
        self.steps
            .iter()
            .filter(|step| step.kind == StepKind::Delete && step.held.is_none())
            .map(|step| &step.object)
    }

    /// What to say about the source while this plan is not carried out: whether what is accepted is
    /// what git asks for.
    pub fn sync(&self, loaded: &Loaded) -> Sync {
        let waits = self
            .report
            .iter()
            .any(|line| line.why != Why::PruneNever && line.why != Why::OtherSource);
        if self.has_changes() || self.held.is_some() || waits || !loaded.faults.is_empty() {
            Sync::OutOfSync
        } else {
            Sync::Synced
        }
    }
}

/// Whether this source owns the object.
pub fn is_ours(observed: &ObservedObject, source: &str) -> bool {
    observed
        .source
        .as_deref()
        .is_none_or(|owner| owner == source)
}

pub(super) fn line(object: &ObjectKey, why: Why, message: impl Into<String>) -> ReportLine {
    ReportLine {
        object: object.clone(),
        why,
        message: message.into(),
    }
}
