//! One pass of the sync loop: look at the whole, decide, carry out one thing.

use std::sync::Arc;

use kelson_model::id::Revision;
use kelson_model::object::Sync;
use kelson_model::request::Request;
use kelson_model::source::{Held, Kept, SourceRecord};
use kelson_model::time::WallTime;
use kelson_reconciler_core::plan::Plan;
use tokio::sync::watch;

use crate::apply;
use crate::authors::Authors;
use crate::bound;
use crate::client::{Batch, KernelPort};
use crate::config::Config;
use crate::desired::Desired;
use crate::drifting::Drifting;
use crate::hold;
use crate::observed::Mirror;
use crate::planning::{Circumstances, plan_revision};
use crate::revisions::{Revisions, loaded};
use crate::source::{Beat, GitSource, SourceError};
use crate::submit::Submitter;
use crate::tip::{Look, Lookout};
use crate::trouble::Trouble;
use crate::validator::Validator;
use crate::verdict::{Makers, Verdict, Voice, source_fault, unreadable};

/// Everything that the sync loop knows.
pub(crate) struct Reconciler {
    git: Arc<GitSource>,
    lookout: Lookout,
    revisions: Revisions,
    mirror: Mirror,
    submitter: Submitter,
    drifting: Drifting,
    voice: Voice,
    authors: Authors,
    /// Whether something could not be read that may be readable the next time.
    is_unsure: bool,
    /// What the last pass that ended well looked at; the same again needs no pass unless something
    /// has stirred.
    settled: Option<Look>,
    is_stirred: bool,
}

impl Reconciler {
    pub(crate) fn new(
        config: &Config,
        git: Arc<GitSource>,
        port: Arc<dyn KernelPort>,
        validator: Arc<dyn Validator>,
        beats: watch::Receiver<Beat>,
    ) -> Self {
        Self {
            lookout: Lookout::new(Arc::clone(&git), beats),
            revisions: Revisions::new(Arc::clone(&git), validator),
            mirror: Mirror::default(),
            submitter: Submitter::new(&config.source, port),
            drifting: Drifting::default(),
            voice: Voice::new(&config.source, git.branch(), config.prune_window),
            authors: Authors::default(),
            is_unsure: false,
            git,
            settled: None,
            is_stirred: true,
        }
    }

    /// Takes in rows; says whether they are a reason for a pass.
    pub(crate) fn take_in(&mut self, batch: Batch, now: WallTime) -> bool {
        let was_ready = self.is_ready();
        let changes = self.mirror.take_in(batch, now);
        if changes.frameworks {
            self.revisions.forget_kinds();
        }
        self.is_stirred |= !changes.is_none();
        !changes.is_none() || !was_ready && self.is_ready()
    }

    /// Drops all rows: the watch begins again.
    pub(crate) fn forget_rows(&mut self) {
        self.mirror = Mirror::default();
        self.drifting.forget();
        self.submitter.forget_written();
        self.is_stirred = true;
    }

    /// The next pass looks at everything, whatever seems to have changed.
    pub(crate) fn stir(&mut self) {
        self.is_stirred = true;
    }

    /// Whether the rows are the whole, and as new as this loop's own last write.
    pub(crate) fn is_ready(&self) -> bool {
        self.mirror.is_current() && !self.is_behind()
    }

    /// Whether the rows do not show yet what this loop has written.
    pub(crate) fn is_behind(&self) -> bool {
        self.mirror.index() < self.submitter.written()
    }

    /// Looks at the whole and carries out what follows.
    #[tracing::instrument(name = "pass", skip_all, fields(source = self.voice.source, revision = tracing::field::Empty))]
    pub(crate) async fn pass(&mut self, now: WallTime) -> Result<(), Trouble> {
        let look = self.lookout.look().await?;
        if !self.is_stirred && self.settled.as_ref() == Some(&look) {
            return Ok(());
        }
        // Whatever stirs from here on is for the next pass.
        self.is_stirred = false;
        let record = self
            .mirror
            .source(&self.voice.source)
            .cloned()
            .unwrap_or_default();
        self.revisions.note_branch(&record);
        match &look {
            Look::Commit(revision) => {
                tracing::Span::current().record("revision", revision.short());
                self.follow(revision, &record, now).await?;
            }
            Look::Unborn => {
                let held = hold::unborn(self.git.branch());
                self.wait_for(None, held, &record, now).await?;
            }
            Look::Missing => {
                let held = hold::branch_missing(self.git.branch());
                let observed = record.observed.clone();
                self.wait_for(observed, held, &record, now).await?;
            }
            Look::Gone => self.wait_for_repository(&record, now).await?,
            Look::Broken(message) => {
                let hint = "the repository has to be readable; `git fsck` says more";
                let verdict = Verdict {
                    observed: record.observed.clone(),
                    errors: vec![unreadable(message.clone(), hint)],
                    ..Verdict::default()
                };
                self.stand_still(verdict, &record, now).await?;
            }
        }
        // What could not be read is read again at the next look at the references.
        self.settled = Some(look).filter(|_| !self.is_unsure);
        Ok(())
    }

    async fn wait_for_repository(
        &mut self,
        record: &SourceRecord,
        now: WallTime,
    ) -> Result<(), Trouble> {
        let held = hold::repository_missing(self.git.path());
        self.wait_for(record.observed.clone(), held, record, now)
            .await
    }

    /// There is no revision to follow: what is accepted is kept as it is.
    async fn wait_for(
        &mut self,
        observed: Option<Revision>,
        held: Held,
        record: &SourceRecord,
        now: WallTime,
    ) -> Result<(), Trouble> {
        let verdict = Verdict {
            observed,
            sync: Sync::Unknown,
            holds: vec![held],
            ..Verdict::default()
        };
        self.stand_still(verdict, record, now).await
    }

    /// Nothing new is applied: what is accepted is enforced, and why is said.
    async fn stand_still(
        &mut self,
        verdict: Verdict,
        record: &SourceRecord,
        now: WallTime,
    ) -> Result<(), Trouble> {
        self.look_for_drift(record, now).await?;
        self.enforce_or_say(verdict, record).await
    }

    async fn follow(
        &mut self,
        revision: &Revision,
        record: &SourceRecord,
        now: WallTime,
    ) -> Result<(), Trouble> {
        let desired = match self.revisions.desired(revision, &self.mirror).await? {
            Ok(desired) => {
                self.is_unsure = desired.is_unsure;
                desired
            }
            Err(SourceError::Gone { .. }) => {
                return self.wait_for_repository(record, now).await;
            }
            Err(error @ SourceError::NoManifestFolder { .. }) => {
                let held = hold::no_folder(error.to_string());
                return self
                    .wait_for(Some(revision.clone()), held, record, now)
                    .await;
            }
            Err(error) => {
                let verdict = Verdict {
                    observed: Some(revision.clone()),
                    sync: Sync::OutOfSync,
                    errors: vec![source_fault(&error)],
                    ..Verdict::default()
                };
                self.is_unsure = error.may_pass();
                return self.stand_still(verdict, record, now).await;
            }
        };
        self.look_for_drift(record, now).await?;
        let kinds = self.revisions.kinds(&self.mirror);
        let plan = plan_revision(
            &desired.loaded,
            Some(revision),
            self.mirror.objects(),
            Circumstances {
                record,
                source: &self.voice.source,
                kinds: Some(&*kinds),
                is_rewritten: self.revisions.is_rewritten(revision, record).await?,
                prune_window: self.voice.prune_window,
                now,
            },
        );
        if self.has_work(revision, &desired, &plan, record) {
            return self.apply(revision, &desired, &plan, record).await;
        }
        let sync = if plan.is_blocked {
            Sync::OutOfSync
        } else {
            plan.sync(&desired.loaded)
        };
        let (kept, waiting_more) = bound::kept(&plan);
        let verdict = Verdict {
            observed: Some(revision.clone()),
            sync,
            kept,
            waiting_more,
            holds: plan.holds,
            errors: desired.loaded.faults.clone(),
        };
        self.enforce_or_say(verdict, record).await
    }

    /// Whether a plan has to be carried out: nothing blocks it, and it has steps, or the applied
    /// revision moves on without any. One with faults counts as applied where something of it is
    /// accepted, and not where nothing is to be accepted of it.
    fn has_work(
        &self,
        revision: &Revision,
        desired: &Desired,
        plan: &Plan,
        record: &SourceRecord,
    ) -> bool {
        let moves_on =
            record.applied.as_ref() != Some(revision) && desired.loaded.faults.is_empty();
        let may_go = !plan.is_blocked && !self.voice.is_refused(revision);
        may_go && (!plan.is_empty() || moves_on)
    }

    async fn apply(
        &mut self,
        revision: &Revision,
        desired: &Desired,
        plan: &Plan,
        record: &SourceRecord,
    ) -> Result<(), Trouble> {
        let missing = apply::missing_files(plan, desired, &self.submitter).await?;
        let (kept, waiting_more) = bound::kept(plan);
        let is_news = |it: &Kept| it.reason.waits() && !record.kept.contains(it);
        let has_news = kept.iter().any(is_news) || waiting_more > record.waiting_more;
        if !missing.is_empty() || has_news {
            // It takes a while, and people should see what for; and nobody should take what waits
            // for done because its revision is applied.
            let verdict = Verdict {
                observed: Some(revision.clone()),
                sync: Sync::OutOfSync,
                holds: plan.holds.clone(),
                kept,
                waiting_more,
                // Errors are told once the good files have gone ahead: with them, a revision is
                // done with.
                ..Verdict::default()
            };
            self.say(verdict, record).await?;
            let (submitter, lookout) = (&self.submitter, &mut self.lookout);
            apply::upload(&self.git, revision, desired, missing, submitter, lookout).await?;
        }
        let previous = record.applied.as_ref();
        let ways = (&mut self.submitter, &mut self.lookout);
        let done = apply::carry_out(plan, revision, previous, desired, &self.mirror, ways).await?;
        if let Err(refusal) = done {
            // The next pass says so.
            self.voice.note_refusal(revision, refusal);
        }
        self.stir();
        Ok(())
    }

    /// Records what has drifted and what has healed. The same rows are not looked through twice.
    async fn look_for_drift(
        &mut self,
        record: &SourceRecord,
        now: WallTime,
    ) -> Result<(), Trouble> {
        if self.drifting.has_scanned(&self.mirror) {
            return Ok(());
        }
        let has_changes = self
            .mirror
            .objects()
            .values()
            .any(|it| it.by_hand.is_some());
        let places = match &record.applied {
            Some(applied) if has_changes => self.revisions.places(applied, &self.mirror).await?,
            Some(_) | None => None,
        };
        let kinds = self.revisions.kinds(&self.mirror);
        let source = &self.voice.source;
        let known = (loaded(places.as_ref()), &*kinds);
        self.voice.standing = self
            .drifting
            .record(source, &self.mirror, known, &mut self.submitter, now)
            .await?;
        Ok(())
    }

    /// Puts back what was changed by hand; where nothing was, says what the source shows.
    async fn enforce_or_say(
        &mut self,
        verdict: Verdict,
        record: &SourceRecord,
    ) -> Result<(), Trouble> {
        let (source, mirror) = (&self.voice.source, &self.mirror);
        let (submitter, lookout) = (&mut self.submitter, &mut self.lookout);
        let has_enforced = self
            .drifting
            .enforce(source, mirror, record, submitter, lookout)
            .await?;
        if has_enforced {
            self.stir();
            return Ok(());
        }
        self.say(verdict, record).await
    }

    /// Says what the source shows, unless the kernel knows that already.
    async fn say(&mut self, verdict: Verdict, record: &SourceRecord) -> Result<(), Trouble> {
        let makers = Makers {
            observed: self
                .authors
                .of(&self.git, verdict.observed.as_ref())
                .await?,
            applied: self.authors.of(&self.git, record.applied.as_ref()).await?,
        };
        if let Some(report) = self.voice.report(record, verdict, makers) {
            // A refusal has been logged, and the next pass tries again.
            let _ = self.submitter.change(Request::ReportSource(report)).await?;
        }
        Ok(())
    }
}
