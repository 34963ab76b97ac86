//! Sources: where manifests come from, and what the reconciler last said about them.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::code::{Code, ToldCode};
use crate::id::{Digest, Revision};
use crate::object::{ObjectKey, Sync};
use crate::quantity::Millis;
use crate::reason::{HoldReason, KeptReason};
use crate::time::WallTime;

/// One thing that is wrong with a manifest, a commit or a request; every one has a page under
/// docs/errors.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// What kind of thing is wrong.
    pub code: ToldCode,
    /// Relative to the repository's root; empty where no file is at fault.
    pub file: String,
    /// Begins at 1; 0 where no place is at fault.
    pub line: u32,
    /// Begins at 1, in characters; 0 where no place is at fault.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// At most 200 characters of the line of the file, those around `column`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_line: String,
    /// The column of the first character of `source_line`; 0 where the line is shown from its
    /// beginning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub source_column: u32,
    /// The line of the first character behind what is wrong; 0 where only its beginning is known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub end_line: u32,
    /// The column of the first character behind what is wrong; 0 where only its beginning is known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub end_column: u32,
    /// Other places that have to do with it; at most [`Fault::MAX_RELATED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    /// What to write instead, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<Replacement>,
}

impl Fault {
    /// Whether it keeps something of its revision back, by [`Code::keeps_back`]; one of a newer
    /// kernel does.
    pub fn keeps_back(&self) -> bool {
        self.code.known().is_none_or(Code::keeps_back)
    }

    /// Most places that one fault names besides its own.
    pub const MAX_RELATED: usize = 4;

    /// A fault of a whole file, or of none where `file` is empty.
    pub fn of_file(
        code: impl Into<ToldCode>,
        file: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code: code.into(),
            file: file.into(),
            message: message.into(),
            hint: hint.into(),
            line: 0,
            column: 0,
            source_line: String::new(),
            source_column: 0,
            end_line: 0,
            end_column: 0,
            related: Vec::new(),
            replacement: None,
        }
    }
}

/// Another place that has to do with a fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Related {
    /// Relative to the repository's root.
    pub file: String,
    /// Begins at 1.
    pub line: u32,
    /// Begins at 1, in characters.
    pub column: u32,
    /// What stands there.
    pub message: String,
}

/// What to write in place of a part of the fault's file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replacement {
    /// The line of the first character that goes; begins at 1.
    pub line: u32,
    /// The column of the first character that goes; begins at 1, in characters.
    pub column: u32,
    /// The line of the first character that stays.
    pub end_line: u32,
    /// The column of the first character that stays; equal places mean that nothing goes.
    pub end_column: u32,
    /// What comes in its place; at most [`Replacement::MAX_TEXT`] bytes.
    pub text: String,
    /// Whether this is what was meant beyond doubt, so that `kelson validate --fix` writes it.
    pub certain: bool,
}

impl Replacement {
    /// Most bytes of the text.
    pub const MAX_TEXT: usize = 2000;
}

pub(crate) fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Why a revision, or a part of it, is not applied although it could be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Held {
    /// `PruneGuard`, `ForcePush`, …
    pub reason: HoldReason,
    /// The command that releases it, where one does.
    pub confirm: Option<String>,
    /// A sentence for people.
    pub message: String,
    /// The objects that would go; of many, the first.
    #[serde(default)]
    pub objects: Vec<ObjectKey>,
    /// How many more would go than are named.
    #[serde(default, skip_serializing_if = "is_none_more")]
    pub more: u64,
    /// Names what a confirmation releases: see [`Held::digest_of`]. Absent where nothing releases
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

fn is_none_more(more: &u64) -> bool {
    *more == 0
}

impl Held {
    /// Names what a confirmation of a hold releases: the kind of hold, the revision, and the
    /// objects that would go, in any order. A confirmation that was given for other objects is one
    /// of another digest.
    pub fn digest_of<'a>(
        reason: &HoldReason,
        revision: &Revision,
        objects: impl IntoIterator<Item = &'a ObjectKey>,
    ) -> Digest {
        let mut keys: Vec<String> = objects.into_iter().map(ToString::to_string).collect();
        keys.sort_unstable();
        Digest::of(format!("{reason}\n{revision}\n{}", keys.join("\n")).as_bytes())
    }
}

/// A person's word that one hold is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// The hold's reason.
    pub reason: HoldReason,
    /// What it releases, [`Held::digest`].
    pub digest: Digest,
}

/// How much one revision took away without a person's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pruned {
    /// When.
    pub at: WallTime,
    /// How many objects.
    pub objects: u32,
}

/// One object that a plan leaves as it is, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kept {
    /// The object; it may never have been accepted.
    pub object: ObjectKey,
    /// `WaitsForFramework`, `PruneNever`, `DriftReported`, …
    pub reason: KeptReason,
    /// A sentence, and what ends the wait.
    pub message: String,
}

/// A field of earlier versions that says nothing any more: it is read, and not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten;

impl<'de> Deserialize<'de> for Forgotten {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(from).map(|_| Self)
    }
}

/// What the kernel keeps of one source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceRecord {
    /// `dev`.
    pub name: String,
    /// The branch that is followed.
    pub branch: String,
    /// The newest revision that was seen.
    pub observed: Option<Revision>,
    /// The newest revision of which anything was accepted, or that had no error.
    pub applied: Option<Revision>,
    /// Whether the two agree and nothing is at fault.
    pub sync: Sync,
    /// The first of `holds`.
    pub held: Option<Held>,
    /// Why `observed`, or a part of it, is not applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Held>,
    /// What is wrong with `observed`; at most 1,000.
    #[serde(default)]
    pub errors: Vec<Fault>,
    /// What earlier versions stored here says nothing any more.
    #[serde(default, skip_serializing)]
    pub confirmed: Forgotten,
    /// The holds of `observed` that a person has released.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<Release>,
    /// What recent revisions took away, oldest first; at most [`SourceRecord::KEPT_PRUNED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pruned: Vec<Pruned>,
    /// Over which time the prune guard counts; absent: its reconciler has not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune_window: Option<Millis>,
    /// What the plan for `observed` leaves as it is; of very many, the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// How many objects wait for a framework beside those in `kept`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waiting_more: u32,
    /// Who made `observed`, as git says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_by: Option<String>,
    /// Who made `applied`, as git says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_by: Option<String>,
}

impl SourceRecord {
    /// How many revisions that took something away are remembered one by one.
    pub const KEPT_PRUNED: usize = 100;

    /// How many objects were taken away without a person's word in the time before `now`.
    pub fn pruned_within(&self, window: Millis, now: WallTime) -> usize {
        let since = now.0.saturating_sub(window.0);
        let recent = self.pruned.iter().filter(|pruned| pruned.at.0 > since);
        recent
            .map(|pruned| usize::try_from(pruned.objects).unwrap_or(usize::MAX))
            .fold(0, usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Namespace;

    #[test]
    fn what_earlier_versions_stored_of_a_source_is_read_and_not_written_again() {
        let revision = "a".repeat(40);
        for confirmed in [format!("\"{revision}\""), "null".to_owned()] {
            let text = format!(
                r#"{{"name":"dev","branch":"main","observed":null,"applied":null,"sync":"Synced","held":null,"confirmed":{confirmed}}}"#
            );
            let read: Result<SourceRecord, _> = serde_json::from_str(&text);
            let written = read.and_then(|read| serde_json::to_string(&read));
            let is_gone = written.is_ok_and(|it| !it.contains("confirmed"));
            assert!(is_gone, "{text}");
        }
    }

    #[test]
    fn a_digest_names_the_kind_of_hold_the_revision_and_the_objects_in_any_order() {
        let key = |name: &str| ObjectKey::new("Service", Namespace::default_namespace(), name);
        let (a, b) = (key("a"), key("b"));
        let revision = |digit: &str| digit.repeat(40).parse::<Revision>();
        let (Ok(one), Ok(two)) = (revision("1"), revision("2")) else {
            unreachable!()
        };
        let digest = Held::digest_of(&HoldReason::PruneGuard, &one, [&a, &b]);
        assert_eq!(
            digest,
            Held::digest_of(&HoldReason::PruneGuard, &one, [&b, &a])
        );
        assert_ne!(
            digest,
            Held::digest_of(&HoldReason::PruneGuard, &two, [&a, &b])
        );
        assert_ne!(
            digest,
            Held::digest_of(&HoldReason::ForcePush, &one, [&a, &b])
        );
        assert_ne!(digest, Held::digest_of(&HoldReason::PruneGuard, &one, [&a]));
    }

    #[test]
    fn what_went_before_the_window_is_not_counted() {
        let pruned = |at, objects| Pruned {
            at: WallTime(at),
            objects,
        };
        let record = SourceRecord {
            pruned: vec![pruned(100, 5), pruned(1000, 2), pruned(1500, 1)],
            ..SourceRecord::default()
        };
        assert_eq!(record.pruned_within(Millis(1000), WallTime(1600)), 3);
        assert_eq!(record.pruned_within(Millis(1000), WallTime(2500)), 0);
        assert_eq!(record.pruned_within(Millis(5000), WallTime(1600)), 8);
    }
}
