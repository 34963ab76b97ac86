//! Plan: the ordered steps that close the difference between a revision and what is, and a report of everything that waits and why.
//!
//! *Guarantees*: pure; the same input gives the same plan; a plan made after its own steps were carried out is empty. Nothing is taken away while any
//! file is bad, nothing at all happens while the prune guard holds, and every object that is left as it is although it differs has a line in the report.

use std::collections::BTreeMap;

use kelson_model::id::Revision;
use kelson_model::object::{DesiredObject, DriftPolicy, ObjectKey, Origin, PrunePolicy, Sync};
use kelson_model::source::Held;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::diff::{Difference, diff};
use crate::guard;
use crate::manifest::{FRAMEWORK, Loaded, LoadedObject};
use crate::observed::{ObservedObject, content_digest};

/// What a plan is made for.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The source's name; objects of others are left alone.
    pub source: &'a str,
    /// The revision that the manifests are from; absent for a working tree.
    pub revision: Option<&'a Revision>,
    /// The revision that the kernel has accepted.
    pub applied: Option<&'a Revision>,
    /// The revision that a person has released from its hold.
    pub confirmed: Option<&'a Revision>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepKind {
    /// The object is new.
    Create,
    /// The object changes.
    Update,
    /// The object is the same and stands elsewhere in git: only its origin is recorded anew.
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
    /// What is; absent where the field is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What will be; absent where the field goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Where git says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Steps of a lower wave come first: frameworks before the objects of their kinds, and the other way round when they go.
    pub wave: u32,
    /// What it does.
    pub kind: StepKind,
    /// To which object.
    pub object: ObjectKey,
    /// The fields that change, of an update.
    #[serde(default)]
    pub fields: Vec<FieldChange>,
    /// Where the object stands in git; of a deletion, where it stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Whether the difference came about without a commit, so that the step undoes a change by hand.
    #[serde(default)]
    pub is_drift: bool,
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
    /// `lifecycle.prune: confirm`, and nobody has.
    PruneConfirm,
    /// The commit takes away too much at once.
    PruneGuard,
    /// Its kind may come with a framework that is not there yet.
    WaitsForFramework,
    /// It was changed by hand, and `lifecycle.drift` is `report`.
    DriftReported,
    /// Another source owns it.
    OtherSource,
    /// Its newest version was rolled back, and git still asks for it.
    RolledBack,
}

/// One object that is left as it is, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportLine {
    /// The object.
    pub object: ObjectKey,
    /// Why.
    pub why: Why,
    /// A sentence, and what ends the wait.
    pub message: String,
}

/// What should happen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// What is left as it is, ordered by object.
    pub report: Vec<ReportLine>,
    /// What waits for a person, if anything does.
    pub held: Option<Held>,
    /// Whether `held` stops all steps, and not only some deletions that are then not among the steps.
    pub is_blocked: bool,
    /// How many wanted objects are as they should be.
    pub unchanged: usize,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether carrying it out would change what is wished, rather than only where it is written.
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

    /// The objects to prune, in order.
    pub fn to_prune(&self) -> impl Iterator<Item = &ObjectKey> {
        self.steps
            .iter()
            .filter(|step| step.kind == StepKind::Delete)
            .map(|step| &step.object)
    }

    /// What to say about the source while this plan is not carried out: whether what is accepted is what git asks for.
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

/// Makes the plan that turns `observed` into what `loaded` asks for.
pub fn plan(
    loaded: &Loaded,
    observed: &BTreeMap<ObjectKey, ObservedObject>,
    context: Context<'_>,
) -> Plan {
    let mut plan = Plan::default();
    for object in &loaded.objects {
        want(
            object,
            observed.get(&object.desired.key),
            context,
            &mut plan,
        );
    }
    for waiting in &loaded.waiting {
        plan.report.push(line(
            &waiting.key,
            Why::WaitsForFramework,
            "no framework brings its kind yet; it waits for a new framework of this commit to say what it handles",
        ));
    }
    prune(loaded, observed, context, &mut plan);
    plan.steps
        .sort_by(|a, b| (a.wave, a.kind, &a.object).cmp(&(b.wave, b.kind, &b.object)));
    plan.report.sort();
    plan
}

/// Whether the source of this context owns the object.
pub(crate) fn is_ours(observed: &ObservedObject, context: Context<'_>) -> bool {
    observed
        .source
        .as_deref()
        .is_none_or(|source| source == context.source)
}

fn line(object: &ObjectKey, why: Why, message: impl Into<String>) -> ReportLine {
    ReportLine {
        object: object.clone(),
        why,
        message: message.into(),
    }
}

fn want(
    object: &LoadedObject,
    live: Option<&ObservedObject>,
    context: Context<'_>,
    plan: &mut Plan,
) {
    let desired = &object.desired;
    let is_framework = desired.key.kind == FRAMEWORK;
    let step = |kind, fields, is_drift| Step {
        wave: if is_framework { 0 } else { 1 },
        kind,
        object: desired.key.clone(),
        fields,
        origin: Some(desired.origin.clone()),
        is_drift,
    };
    let Some(live) = live else {
        plan.steps.push(step(StepKind::Create, Vec::new(), false));
        return;
    };
    if !is_ours(live, context) {
        let owner = live.source.as_deref().unwrap_or_default();
        plan.report.push(line(
            &desired.key,
            Why::OtherSource,
            format!("the source {owner} owns it; take it out of there first"),
        ));
        return;
    }
    let differences = diff(desired, live);
    if differences.is_empty() {
        plan.unchanged += 1;
        if live.quarantined {
            plan.report.push(line(
                &desired.key,
                Why::RolledBack,
                "its newest version failed and was rolled back; it is tried again when git changes it",
            ));
        } else if live.origin.as_ref() != Some(&desired.origin) {
            plan.steps.push(step(StepKind::Move, Vec::new(), false));
        }
        return;
    }
    let is_drift = !has_git_changed(desired, live, context);
    if is_drift && desired.lifecycle.drift == DriftPolicy::Report {
        plan.report.push(line(
            &desired.key,
            Why::DriftReported,
            format!(
                "{} changed by hand; `lifecycle.drift: report` leaves it so",
                paths(&differences)
            ),
        ));
        return;
    }
    let fields = differences
        .into_iter()
        .map(|difference| FieldChange {
            origin: difference
                .desired
                .is_some()
                .then(|| object.origin_of(&difference.path)),
            path: difference.path,
            before: difference.live,
            after: difference.desired,
        })
        .collect();
    plan.steps.push(step(StepKind::Update, fields, is_drift));
}

/// Whether git asks for something else than when the object was last accepted.
pub(crate) fn has_git_changed(
    desired: &DesiredObject,
    live: &ObservedObject,
    context: Context<'_>,
) -> bool {
    match &live.accepted {
        Some(accepted) => *accepted != content_digest(desired),
        None => context.revision.is_none() || context.applied != context.revision,
    }
}

fn paths(differences: &[Difference]) -> String {
    let mut shown: Vec<String> = differences
        .iter()
        .take(3)
        .map(|difference| crate::manifest::pointer_dotted(&difference.path))
        .collect();
    if differences.len() > shown.len() {
        shown.push(format!("{} more", differences.len() - shown.len()));
    }
    shown.join(", ")
}

fn prune(
    loaded: &Loaded,
    observed: &BTreeMap<ObjectKey, ObservedObject>,
    context: Context<'_>,
    plan: &mut Plan,
) {
    let wanted = loaded.wanted();
    let ours = || observed.values().filter(|live| is_ours(live, context));
    let unwanted: Vec<&ObservedObject> =
        ours().filter(|live| !wanted.contains(&live.key)).collect();
    if unwanted.is_empty() {
        return;
    }
    if !loaded.faults.is_empty() {
        for live in unwanted {
            let file = live
                .origin
                .as_ref()
                .map(|origin| origin.file.as_str())
                .unwrap_or_default();
            plan.report.push(if loaded.bad_files.contains(file) {
                line(
                    &live.key,
                    Why::BadFile,
                    format!("{file} has a fault; the object stays as it is"),
                )
            } else {
                line(
                    &live.key,
                    Why::FaultsElsewhere,
                    "no manifest wants it, and it stays while any file of the source has a fault",
                )
            });
        }
        return;
    }
    let is_confirmed = context.revision.is_some() && context.confirmed == context.revision;
    let confirm = context
        .revision
        .map(|revision| format!("kelson confirm {revision}"));
    let mut going: Vec<&ObservedObject> = Vec::new();
    let mut asking: Vec<&ObservedObject> = Vec::new();
    for live in unwanted {
        match live.lifecycle.prune {
            PrunePolicy::Never => plan.report.push(line(
                &live.key,
                Why::PruneNever,
                "no manifest wants it; `lifecycle.prune: never` keeps it",
            )),
            PrunePolicy::Confirm if !is_confirmed => asking.push(live),
            PrunePolicy::Auto | PrunePolicy::Confirm => going.push(live),
        }
    }
    let existing = ours().count();
    let keys = |objects: &[&ObservedObject]| {
        objects
            .iter()
            .map(|live| live.key.clone())
            .collect::<Vec<_>>()
    };
    for live in &asking {
        plan.report.push(line(
            &live.key,
            Why::PruneConfirm,
            format!(
                "no manifest wants it; it goes after {}",
                confirm.as_deref().unwrap_or("a confirmation")
            ),
        ));
    }
    if !is_confirmed && guard::holds(existing, going.len()) {
        let count = going.len();
        for live in &going {
            plan.report.push(line(
                &live.key,
                Why::PruneGuard,
                format!("no manifest wants it; it waits with the whole revision, which takes away {count} of {existing} objects"),
            ));
        }
        let what = if wanted.is_empty() {
            "the revision asks for nothing at all".to_owned()
        } else {
            format!("the revision takes away {count} of {existing} objects")
        };
        going.append(&mut asking);
        plan.is_blocked = true;
        plan.held = Some(Held {
            reason: "PruneGuard".to_owned(),
            message: format!("{what}; nothing of it is applied before a person confirms"),
            confirm,
            objects: keys(&going),
        });
        return;
    }
    if !asking.is_empty() {
        plan.held = Some(Held {
            reason: "PruneConfirm".to_owned(),
            message: format!(
                "{} that no manifest wants {} for a person's word (`lifecycle.prune: confirm`); the rest is applied",
                if asking.len() == 1 {
                    "an object".to_owned()
                } else {
                    format!("{} objects", asking.len())
                },
                if asking.len() == 1 { "waits" } else { "wait" },
            ),
            confirm,
            objects: keys(&asking),
        });
    }
    for live in going {
        plan.steps.push(Step {
            wave: if live.key.kind == FRAMEWORK { 3 } else { 2 },
            kind: StepKind::Delete,
            object: live.key.clone(),
            fields: Vec::new(),
            origin: live.origin.clone(),
            is_drift: false,
        });
    }
}
