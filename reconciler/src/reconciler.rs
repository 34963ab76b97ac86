//! One pass of the sync loop: look at the whole, decide, carry out one thing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kelson_model::id::{Index, Revision};
use kelson_model::object::Sync;
use kelson_model::quantity::Millis;
use kelson_model::request::{Refusal, Request, SourceReport};
use kelson_model::source::{Fault, Held, SourceRecord};
use kelson_model::time::WallTime;
use kelson_reconciler_core::manifest::Kinds;
use kelson_reconciler_core::plan::Plan;
use tokio::sync::watch;

use crate::accepted::Accepted;
use crate::bound;
use crate::client::{Batch, KernelPort, PortError};
use crate::config::Config;
use crate::desired::{Desired, Loader, source_fault};
use crate::hold;
use crate::kinds;
use crate::observed::Mirror;
use crate::planning::{Circumstances, plan_revision};
use crate::source::{Beat, GitSource, SourceError, Tip};
use crate::validator::Validator;

/// Why a pass did not end.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There is a newer revision.
    Preempted,
    /// The kernel is not where the plan was made from, for so many times in a row.
    Moved(Refusal, u32),
    /// The kernel cannot be asked.
    Port(PortError),
    /// The runtime is going down.
    Stopped,
}

impl Trouble {
    /// How long to wait before the next pass.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Preempted | Self::Stopped => None,
            Self::Moved(_, times) => Some(Duration::from_millis(25 << (*times).min(8))),
            Self::Port(_) => Some(Duration::from_secs(1)),
        }
    }
}

impl From<PortError> for Trouble {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

/// What the source shows now.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Look {
    Commit(Revision),
    Unborn,
    Missing,
    Gone,
    Broken(String),
}

/// What is to be said about the source.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) observed: Option<Revision>,
    pub(crate) sync: Sync,
    pub(crate) holds: Vec<Held>,
    pub(crate) errors: Vec<Fault>,
}

/// Everything that the sync loop knows.
pub(crate) struct Reconciler {
    pub(super) name: String,
    pub(super) prune_window: Millis,
    pub(super) git: Arc<GitSource>,
    pub(super) port: Arc<dyn KernelPort>,
    pub(super) mirror: Mirror,
    pub(super) accepted: Accepted,
    validator: Arc<dyn Validator>,
    loader: Option<Loader>,
    kinds: Option<Arc<Kinds>>,
    /// The frameworks that the revision loaded last waits for.
    awaited: BTreeSet<String>,
    desired: Option<Arc<Desired>>,
    beats: watch::Receiver<Beat>,
    /// What the last pass that ended well looked at; the same again needs no pass unless something
    /// has stirred.
    settled: Option<Look>,
    is_stirred: bool,
    /// The state that the last write of this loop came to.
    pub(super) written: Index,
    /// The version of the mirror that was last looked through for drift, without news.
    pub(super) scanned: Option<u64>,
    /// Whether a specification was found changed by hand then.
    pub(super) has_drift: bool,
    /// Whether the kernel may have parts of a revision that was not accepted.
    pub(super) has_leftovers: bool,
    /// How often in a row the kernel was not where it was thought to be.
    pub(super) moved: u32,
    /// What the kernel refused for good, until the source shows something else.
    pub(super) refused: Option<(Option<Revision>, Fault)>,
    /// The revision of another branch that was applied when this began; going on from there is no
    /// rewriting of history.
    switched_from: Option<Option<Revision>>,
    /// The last answer of git about two revisions.
    lineage: Option<(Revision, Revision, bool)>,
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
            name: config.source.clone(),
            prune_window: config.prune_window,
            git,
            port,
            mirror: Mirror::default(),
            accepted: Accepted::default(),
            loader: None,
            validator,
            kinds: None,
            awaited: BTreeSet::new(),
            desired: None,
            beats,
            settled: None,
            is_stirred: true,
            written: Index(0),
            scanned: None,
            has_drift: false,
            has_leftovers: true,
            moved: 0,
            refused: None,
            switched_from: None,
            lineage: None,
        }
    }

    /// Takes in rows; says whether they are a reason for a pass.
    pub(crate) fn take_in(&mut self, batch: Batch, now: WallTime) -> bool {
        let was_ready = self.is_ready();
        let changes = self.mirror.take_in(batch, now);
        if changes.frameworks {
            self.kinds = None;
            if let Some(loader) = &mut self.loader {
                loader.forget_judgements();
            }
            self.desired = None;
        }
        if !changes.is_none() {
            self.is_stirred = true;
        }
        !changes.is_none() || !was_ready && self.is_ready()
    }

    /// Drops all rows: the watch begins again.
    pub(crate) fn forget_rows(&mut self) {
        self.mirror = Mirror::default();
        self.scanned = None;
        let digests = self.accepted.digests(self.mirror.objects());
        self.mirror.set_accepted(digests);
        // A kernel that has lost its state begins to count again.
        self.written = Index(0);
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
        self.mirror.index() < self.written
    }

    /// Looks at the whole and carries out what follows.
    #[tracing::instrument(name = "pass", skip_all, fields(source = self.name, revision = tracing::field::Empty))]
    pub(crate) async fn pass(&mut self, now: WallTime) -> Result<(), Trouble> {
        self.beats.mark_unchanged();
        let look = self.look().await?;
        if !self.is_stirred && self.settled.as_ref() == Some(&look) {
            return Ok(());
        }
        // Whatever stirs from here on is for the next pass.
        self.is_stirred = false;
        let record = self.record();
        if self.switched_from.is_none() {
            let is_other = !record.branch.is_empty() && record.branch != self.git.branch();
            self.switched_from = Some(record.applied.clone().filter(|_| is_other));
        }
        self.know_accepted(&record).await?;
        match &look {
            Look::Commit(revision) => {
                tracing::Span::current().record("revision", revision.short());
                self.follow(revision, &record, now).await?;
            }
            Look::Unborn => {
                let held = hold::unborn(self.git.branch());
                self.stand_still(None, held, &record, now).await?;
            }
            Look::Missing => {
                let held = hold::branch_missing(self.git.branch());
                self.stand_still(record.observed.clone(), held, &record, now)
                    .await?;
            }
            Look::Gone => {
                let held = hold::repository_missing(self.git.path());
                self.stand_still(record.observed.clone(), held, &record, now)
                    .await?;
            }
            Look::Broken(message) => {
                let fault = Fault {
                    code: "K0125".to_owned(),
                    file: String::new(),
                    line: 0,
                    column: 0,
                    message: message.clone(),
                    hint: "the repository has to be readable; `git fsck` says more".to_owned(),
                    source_line: String::new(),
                };
                self.look_for_drift(&record, now).await?;
                if !self.enforce(&record).await? {
                    let verdict = Verdict {
                        observed: record.observed.clone(),
                        errors: vec![fault],
                        ..Verdict::default()
                    };
                    self.report(&record, verdict).await?;
                }
            }
        }
        self.settled = Some(look);
        Ok(())
    }

    /// What the kernel keeps of this source; nothing yet: an empty record.
    fn record(&self) -> SourceRecord {
        self.mirror.source(&self.name).cloned().unwrap_or_default()
    }

    async fn look(&self) -> Result<Look, Trouble> {
        let git = Arc::clone(&self.git);
        let tip = blocking(move || git.tip()).await?;
        Ok(match tip {
            Ok(Tip::Commit(revision)) => Look::Commit(revision),
            Ok(Tip::Unborn) => Look::Unborn,
            Ok(Tip::Missing) => Look::Missing,
            Err(SourceError::Gone { .. } | SourceError::NotFound { .. }) => Look::Gone,
            Err(error) => Look::Broken(error.to_string()),
        })
    }

    /// There is no revision to follow: what is accepted is kept as it is.
    async fn stand_still(
        &mut self,
        observed: Option<Revision>,
        held: Held,
        record: &SourceRecord,
        now: WallTime,
    ) -> Result<(), Trouble> {
        self.look_for_drift(record, now).await?;
        if self.enforce(record).await? {
            return Ok(());
        }
        let verdict = Verdict {
            observed,
            sync: Sync::Unknown,
            holds: vec![held],
            errors: Vec::new(),
        };
        self.report(record, verdict).await
    }

    async fn follow(
        &mut self,
        revision: &Revision,
        record: &SourceRecord,
        now: WallTime,
    ) -> Result<(), Trouble> {
        let desired = match self.desired(revision).await? {
            Ok(desired) => desired,
            Err(SourceError::Gone { .. }) => {
                let held = hold::repository_missing(self.git.path());
                return self
                    .stand_still(record.observed.clone(), held, record, now)
                    .await;
            }
            Err(error @ SourceError::NoManifestFolder { .. }) => {
                let held = hold::no_folder(error.to_string());
                return self
                    .stand_still(Some(revision.clone()), held, record, now)
                    .await;
            }
            Err(error) => {
                self.look_for_drift(record, now).await?;
                if self.enforce(record).await? {
                    return Ok(());
                }
                let verdict = Verdict {
                    observed: Some(revision.clone()),
                    sync: Sync::OutOfSync,
                    holds: Vec::new(),
                    errors: vec![source_fault(&error)],
                };
                return self.report(record, verdict).await;
            }
        };
        self.look_for_drift(record, now).await?;
        let is_rewritten = self.is_rewritten(revision, record).await?;
        let plan = plan_revision(
            &desired.loaded,
            Some(revision),
            self.mirror.objects(),
            Circumstances {
                record,
                source: &self.name,
                is_rewritten,
                prune_window: self.prune_window,
                now,
            },
        );
        if plan.is_blocked || !self.has_work(revision, &desired, &plan, record) {
            if self.enforce(record).await? {
                return Ok(());
            }
            let sync = if plan.is_blocked {
                Sync::OutOfSync
            } else {
                plan.sync(&desired.loaded)
            };
            let verdict = Verdict {
                observed: Some(revision.clone()),
                sync,
                holds: plan.holds,
                errors: desired.loaded.faults.clone(),
            };
            return self.report(record, verdict).await;
        }
        self.apply(revision, &desired, &plan, record).await
    }

    /// Whether a plan that nothing blocks has to be carried out: it has steps, or the applied
    /// revision moves on without any.
    fn has_work(
        &self,
        revision: &Revision,
        desired: &Desired,
        plan: &Plan,
        record: &SourceRecord,
    ) -> bool {
        let moves_on =
            record.applied.as_ref() != Some(revision) && desired.loaded.faults.is_empty();
        let is_refused = self
            .refused
            .as_ref()
            .is_some_and(|(refused, _)| refused.as_ref() == Some(revision));
        !is_refused && (!plan.is_empty() || moves_on)
    }

    /// Whether a revision does not come after the applied one; going on from another branch is no
    /// rewriting of history.
    async fn is_rewritten(
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
        let known = self
            .lineage
            .as_ref()
            .filter(|(old, new, _)| old == applied && new == revision);
        let goes_on = match known {
            Some((_, _, goes_on)) => *goes_on,
            None => {
                let (git, old, new) = (Arc::clone(&self.git), applied.clone(), revision.clone());
                match blocking(move || git.is_ancestor(&old, &new)).await? {
                    Ok(goes_on) => {
                        self.lineage = Some((applied.clone(), revision.clone(), goes_on));
                        goes_on
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the history cannot be read");
                        false
                    }
                }
            }
        };
        Ok(!goes_on)
    }

    /// Loads a revision, or gives what was loaded of it.
    async fn desired(
        &mut self,
        revision: &Revision,
    ) -> Result<Result<Arc<Desired>, SourceError>, Trouble> {
        if let Some(desired) = &self.desired
            && desired.revision.as_ref() == Some(revision)
            && self.kinds.is_some()
        {
            return Ok(Ok(Arc::clone(desired)));
        }
        loop {
            let desired = match self.load(revision).await? {
                Ok(desired) => Arc::new(desired),
                Err(error) => return Ok(Err(error)),
            };
            self.desired = Some(Arc::clone(&desired));
            // Which frameworks it brings is known only now; what was read of it is not read again.
            let awaited = kinds::awaited(&desired.loaded, self.mirror.frameworks());
            if awaited != self.awaited {
                self.awaited = awaited;
                self.kinds = None;
                continue;
            }
            return Ok(Ok(desired));
        }
    }

    async fn load(&mut self, revision: &Revision) -> Result<Result<Desired, SourceError>, Trouble> {
        let kinds = self.kinds();
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

    fn kinds(&mut self) -> Arc<Kinds> {
        let (mirror, awaited) = (&self.mirror, &self.awaited);
        let kinds = self.kinds.get_or_insert_with(|| {
            Arc::new(kinds::of_frameworks(mirror.frameworks()).awaiting(awaited.clone()))
        });
        Arc::clone(kinds)
    }

    /// Makes sure that what the kernel has applied is known as git has it.
    async fn know_accepted(&mut self, record: &SourceRecord) -> Result<(), Trouble> {
        let kinds = self.kinds();
        let is_known = self.accepted.revision == record.applied
            && self
                .accepted
                .read_with
                .as_ref()
                .is_none_or(|read_with| read_with == kinds.fingerprint());
        if is_known {
            return Ok(());
        }
        self.accepted = match &record.applied {
            None => Accepted::default(),
            Some(applied) => {
                let loaded = match self.load(applied).await? {
                    Ok(desired) => Some(desired.loaded),
                    Err(error) => {
                        tracing::info!(%error, applied = applied.short(), "what is applied cannot be read from git");
                        None
                    }
                };
                Accepted::read(applied.clone(), loaded, kinds.fingerprint())
            }
        };
        let digests = self.accepted.digests(self.mirror.objects());
        self.mirror.set_accepted(digests);
        Ok(())
    }

    /// Fails where the branch has moved on from `revision`.
    pub(super) async fn ensure_newest(&mut self, revision: &Revision) -> Result<(), Trouble> {
        // A watcher that is gone says nothing, so that one looks.
        if !self.beats.has_changed().unwrap_or(true) {
            return Ok(());
        }
        self.beats.mark_unchanged();
        match self.look().await? {
            Look::Commit(newest) if newest == *revision => Ok(()),
            _ => Err(Trouble::Preempted),
        }
    }

    /// Says what the source shows, unless the kernel knows that already.
    pub(super) async fn report(
        &mut self,
        record: &SourceRecord,
        verdict: Verdict,
    ) -> Result<(), Trouble> {
        let mut errors = verdict.errors;
        let mut sync = verdict.sync;
        match &self.refused {
            Some((of, fault)) if *of == verdict.observed => {
                errors.push(fault.clone());
                sync = Sync::OutOfSync;
            }
            Some(_) => self.refused = None,
            None => {}
        }
        let branch = self.git.branch().to_owned();
        let mut holds = verdict.holds;
        bound::report(&mut holds, &mut errors);
        let prune_window = Some(self.prune_window);
        let is_known = record.name == self.name
            && record.branch == branch
            && record.observed == verdict.observed
            && record.sync == sync
            && record.holds == holds
            && record.prune_window == prune_window
            && record.errors == errors;
        if is_known {
            return Ok(());
        }
        let report = SourceReport {
            source: self.name.clone(),
            branch,
            observed: verdict.observed,
            sync,
            held: None,
            holds,
            errors,
            prune_window,
        };
        // A refusal has been logged, and the next pass tries again.
        let _ = self.change(Request::ReportSource(report)).await?;
        Ok(())
    }
}

/// Does what blocks elsewhere.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Trouble::Stopped)
}
