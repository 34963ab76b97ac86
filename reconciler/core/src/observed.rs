//! What the kernel reports, as much of it as plan and drift look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use kelson_model::drift::ByHand;
use kelson_model::id::{AgentId, Digest, Revision, TaskId};
use kelson_model::object::{DesiredObject, Health, Lifecycle, ObjectKey, Origin};
use kelson_model::principal::Principal;
use kelson_model::spec::Spec;
use kelson_model::task::{CheckState, Exit, StopReason, TaskState};
use kelson_model::time::WallTime;
use serde::Deserialize;

/// One object as the kernel keeps it. Read from the kernel's rows; fields that are not known here
/// are left aside.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedObject {
    /// What names it.
    pub key: ObjectKey,
    /// `metadata.labels`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `metadata.lifecycle`.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// The specification as it is now, changes by hand included.
    pub spec: Spec,
    /// Grows with each change of the wish.
    #[serde(default)]
    pub generation: u64,
    /// Where it stood in the commit that it was last accepted from.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// The revision that it was last accepted from.
    #[serde(default)]
    pub revision: Option<Revision>,
    /// The source that owns it; absent: the only source.
    #[serde(default)]
    pub source: Option<String>,
    /// What was changed by hand since git's word was accepted; absent: nothing.
    #[serde(default)]
    pub by_hand: Option<Arc<ByHand>>,
    /// Names the specification as git had it written, where that is known.
    #[serde(default)]
    pub written: Option<Digest>,
    /// Who changed it last.
    #[serde(default)]
    pub changed_by: Option<Principal>,
    /// Whether the newest generation was rolled back and is not tried again until git changes it.
    #[serde(default)]
    pub quarantined: bool,
    /// Whether the kernel does not know what git asked for when the object was last accepted.
    #[serde(default)]
    pub is_word_unknown: bool,
    /// How well it does.
    #[serde(default)]
    pub health: Health,
}

impl ObservedObject {
    /// The specification that was accepted from git, whatever was changed by hand since.
    pub fn accepted_spec(&self) -> &Spec {
        match &self.by_hand {
            Some(by_hand) => &by_hand.accepted,
            None => &self.spec,
        }
    }

    /// The object as git's word for it was accepted.
    pub fn as_accepted(&self) -> DesiredObject {
        DesiredObject {
            key: self.key.clone(),
            labels: self.labels.clone(),
            lifecycle: self.lifecycle,
            spec: self.accepted_spec().clone(),
            origin: self.origin.clone().unwrap_or(Origin {
                file: String::new(),
                line: 0,
                column: None,
            }),
            written: self.written.clone(),
        }
    }
}

/// One task as the kernel keeps it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedTask {
    /// The task.
    pub id: TaskId,
    /// Whose task it is.
    pub workload: ObjectKey,
    /// Which of the workload's places it takes.
    #[serde(default)]
    pub slot: u32,
    /// Where it stands.
    pub state: TaskState,
    /// What its health check says.
    #[serde(default)]
    pub health: CheckState,
    /// The agent that it runs on.
    #[serde(default)]
    pub agent: Option<AgentId>,
    /// How it ended.
    #[serde(default)]
    pub exit: Option<Exit>,
    /// Why it was asked to end.
    #[serde(default)]
    pub stop_reason: Option<StopReason>,
    /// Who asked for its end, where a person did.
    #[serde(default)]
    pub stopped_by: Option<Principal>,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<WallTime>,
}
