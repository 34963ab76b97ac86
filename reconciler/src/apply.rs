//! Carrying out: blobs first, then the objects in parts, then the flip.

use std::collections::BTreeSet;
use std::sync::Arc;

use kelson_model::drift::{DriftState, Plane};
use kelson_model::id::{Digest, Index, Revision};
use kelson_model::object::{DesiredObject, ObjectKey, Sync};
use kelson_model::request::{Accept, Answer, DriftReportUpdate, Refusal, Request, Stage};
use kelson_model::source::{Fault, SourceRecord};
use kelson_model::time::WallTime;
use kelson_reconciler_core::drift::{Sight, scan};
use kelson_reconciler_core::manifest::LoadedObject;
use kelson_reconciler_core::plan::{Context, Plan, StepKind, plan};

use crate::bound;
use crate::desired::Desired;
use crate::reconciler::{Reconciler, Trouble, Verdict};
use crate::source::ManifestSource as _;
use crate::stage::parts;

/// Refusals that mean: look again. Another revision is applied, or what was staged is not there.
const LOOK_AGAIN: [&str; 2] = ["K0301", "K0306"];

/// What is flipped to.
struct Flip<'a> {
    revision: &'a Revision,
    previous: Option<Revision>,
    objects: Vec<DesiredObject>,
    prune: Vec<ObjectKey>,
    /// The confirmations that it relies on.
    released: Vec<Digest>,
    /// Whether a newer revision makes it void.
    yields: bool,
}

impl Reconciler {
    /// Carries out a plan for a revision.
    pub(super) async fn apply(
        &mut self,
        revision: &Revision,
        desired: &Arc<Desired>,
        plan: &Plan,
        record: &SourceRecord,
    ) -> Result<(), Trouble> {
        let staged: Vec<&LoadedObject> = plan
            .to_stage(&desired.loaded)
            .filter_map(|object| desired.loaded.object(&object.key))
            .collect();
        let objects: Vec<DesiredObject> =
            staged.iter().map(|object| object.desired.clone()).collect();
        let needed = desired.needed_by(staged.iter().copied());
        let missing = self.missing(needed).await?;
        if !missing.is_empty() {
            // It takes a while, and people should see what for.
            let verdict = Verdict {
                observed: Some(revision.clone()),
                sync: Sync::OutOfSync,
                holds: plan.holds.clone(),
                errors: desired.loaded.faults.clone(),
            };
            self.report(record, verdict).await?;
            self.upload(revision, desired, missing).await?;
        }
        let prune: Vec<ObjectKey> = plan.to_prune().cloned().collect();
        let pruned: BTreeSet<ObjectKey> = prune.iter().cloned().collect();
        let flip = Flip {
            revision,
            previous: record.applied.clone(),
            objects,
            prune,
            released: plan.released.clone(),
            yields: true,
        };
        if !self.flip(flip).await? {
            // The refusal is reported by the next pass.
            self.stir();
            return Ok(());
        }
        self.accepted =
            std::mem::take(&mut self.accepted).after(revision.clone(), &desired.loaded, &pruned);
        let digests = self.accepted.digests(self.mirror.objects());
        self.mirror.set_accepted(digests);
        self.stir();
        Ok(())
    }

    /// Puts accepted objects that were changed by hand back to what git asks; says whether there
    /// was any.
    pub(super) async fn enforce(&mut self, record: &SourceRecord) -> Result<bool, Trouble> {
        let (Some(applied), Some(loaded)) = (&self.accepted.revision, &self.accepted.loaded) else {
            return Ok(false);
        };
        if !self.has_drift {
            return Ok(false);
        }
        let applied = applied.clone();
        let plan = plan(
            loaded,
            self.mirror.objects(),
            Context {
                source: &self.name,
                revision: Some(&applied),
                applied: Some(&applied),
                ..Context::default()
            },
        );
        let objects: Vec<DesiredObject> = plan
            .steps
            .iter()
            .filter(|step| step.kind == StepKind::Update && step.is_drift)
            .filter_map(|step| loaded.object(&step.object))
            .map(|object| object.desired.clone())
            .collect();
        let is_refused = self
            .refused
            .as_ref()
            .is_some_and(|(refused, _)| *refused == record.observed);
        if objects.is_empty() || is_refused {
            return Ok(false);
        }
        tracing::info!(objects = objects.len(), "changes by hand are undone");
        let flip = Flip {
            revision: &applied,
            previous: record.applied.clone(),
            objects,
            prune: Vec::new(),
            released: Vec::new(),
            yields: false,
        };
        self.flip(flip).await?;
        self.stir();
        Ok(true)
    }

    /// Records what has drifted and what has healed, if that is news. The same rows are not looked
    /// through twice.
    pub(super) async fn look_for_drift(
        &mut self,
        record: &SourceRecord,
        now: WallTime,
    ) -> Result<(), Trouble> {
        let version = self.mirror.version();
        if self.scanned == Some(version) {
            return Ok(());
        }
        self.has_drift = false;
        let Some(loaded) = &self.accepted.loaded else {
            return Ok(());
        };
        let ledger = self.mirror.ledger();
        let tasks = self.mirror.tasks_of_interest(now);
        let found = scan(Sight {
            loaded,
            observed: self.mirror.objects(),
            tasks: &tasks,
            agents: &[],
            ledger: &ledger,
            context: Context {
                source: &self.name,
                revision: self.accepted.revision.as_ref(),
                applied: record.applied.as_ref(),
                ..Context::default()
            },
            now,
        });
        self.has_drift = found
            .items
            .iter()
            .any(|item| item.plane == Plane::Specification && item.state == DriftState::Open);
        if !found.is_news {
            self.scanned = Some(version);
            return Ok(());
        }
        let mut items = found.items;
        items.retain(|item| item.plane != Plane::Agent);
        bound::items(&mut items);
        if items.iter().all(|item| ledger.contains(item)) {
            self.scanned = Some(version);
            return Ok(());
        }
        let update = DriftReportUpdate {
            source: self.name.clone(),
            items,
        };
        // A refusal has been logged, and the next scan tries again.
        let _ = self.change(Request::RecordDrift(update)).await?;
        Ok(())
    }

    /// Changes rows: nothing is decided before the mirror shows them.
    pub(super) async fn change(
        &mut self,
        request: Request,
    ) -> Result<Result<Index, Refusal>, Trouble> {
        let answer = self.submit(request).await?;
        if let Ok(index) = &answer {
            self.written = self.written.max(*index);
            self.moved = 0;
        }
        Ok(answer)
    }

    /// Asks the kernel; a refusal that means to look again is trouble, any other is an answer.
    async fn submit(&mut self, request: Request) -> Result<Result<Index, Refusal>, Trouble> {
        match self.port.submit(request).await? {
            Answer::Done { index, .. } => Ok(Ok(index)),
            Answer::Refused(refusal) if LOOK_AGAIN.contains(&refusal.code.as_str()) => {
                self.moved = self.moved.saturating_add(1);
                self.has_leftovers = true;
                Err(Trouble::Moved(refusal, self.moved))
            }
            Answer::Refused(refusal) => {
                tracing::warn!(%refusal, "the kernel refused");
                Ok(Err(refusal))
            }
        }
    }

    /// Stages and accepts; false where the kernel refuses for good.
    async fn flip(&mut self, flip: Flip<'_>) -> Result<bool, Trouble> {
        let mut parts = parts(&flip.objects);
        if parts.is_empty() && self.has_leftovers {
            // An empty part drops what was staged of a revision that was overtaken.
            parts.push(Vec::new());
        }
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (part_count, object_count) = (count(parts.len()), count(flip.objects.len()));
        for (part, objects) in (0..).zip(parts) {
            if flip.yields {
                self.ensure_newest(flip.revision).await?;
            }
            let stage = Request::Stage(Stage {
                source: self.name.clone(),
                revision: flip.revision.clone(),
                part,
                objects,
            });
            self.has_leftovers = true;
            if let Err(refusal) = self.submit(stage).await? {
                return Ok(self.give_up(&flip, refusal));
            }
        }
        if flip.yields {
            self.ensure_newest(flip.revision).await?;
        }
        let accept = Request::Accept(Accept {
            source: self.name.clone(),
            revision: flip.revision.clone(),
            previous: flip.previous.clone(),
            parts: part_count,
            prune: flip.prune.clone(),
            objects: object_count,
            released: flip.released.clone(),
        });
        match self.change(accept).await? {
            Ok(index) => {
                self.has_leftovers = false;
                tracing::info!(
                    revision = flip.revision.short(),
                    objects = object_count,
                    pruned = flip.prune.len(),
                    %index,
                    "accepted"
                );
                Ok(true)
            }
            Err(refusal) => Ok(self.give_up(&flip, refusal)),
        }
    }

    fn give_up(&mut self, flip: &Flip<'_>, refusal: Refusal) -> bool {
        let fault = Fault {
            code: refusal.code,
            file: String::new(),
            line: 0,
            column: 0,
            message: refusal.message,
            hint: refusal.hint,
            source_line: String::new(),
        };
        self.refused = Some((Some(flip.revision.clone()), fault));
        false
    }

    async fn missing(&self, needed: BTreeSet<Digest>) -> Result<Vec<Digest>, Trouble> {
        if needed.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self
            .port
            .missing_blobs(needed.into_iter().collect())
            .await?)
    }

    async fn upload(
        &mut self,
        revision: &Revision,
        desired: &Arc<Desired>,
        missing: Vec<Digest>,
    ) -> Result<(), Trouble> {
        for digest in missing {
            self.ensure_newest(revision).await?;
            let Some(path) = desired.files.get(&digest).cloned() else {
                continue;
            };
            let files = self.git.at(revision.clone());
            let read = tokio::task::spawn_blocking(move || files.read_at(&path)).await;
            let artifact = match read {
                Ok(Ok(artifact)) => artifact,
                Ok(Err(error)) => {
                    // It was there a moment ago; the next look says what is wrong.
                    tracing::info!(%error, "a file of the revision cannot be read any more");
                    return Err(Trouble::Preempted);
                }
                Err(_) => return Err(Trouble::Stopped),
            };
            let stored = self.port.put_blob(artifact.bytes).await?;
            tracing::info!(%digest, is_same = stored == digest, "a file of the revision is stored");
        }
        Ok(())
    }
}
