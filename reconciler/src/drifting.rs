//! Drift in the loop: found in the kernel's facts, recorded, and put back.
//!
//! What was accepted stands in the kernel's own objects, so that none of this needs git: it goes on
//! while a newer revision is refused or held, while the repository is away, and when git has lost
//! the applied revision. Git is asked for places only.

use kelson_model::code::Code;
use kelson_model::drift::DriftItem;
use kelson_model::id::Revision;
use kelson_model::object::{DesiredObject, DriftPolicy};
use kelson_model::request::{DriftReportUpdate, Request};
use kelson_model::source::{Fault, SourceRecord};
use kelson_model::time::WallTime;
use kelson_reconciler_core::drift::{Scan, Sight, Unlisted, scan};
use kelson_reconciler_core::manifest::{Kinds, Loaded};
use kelson_reconciler_core::observed::ObservedObject;
use kelson_reconciler_core::plan::is_ours;

use crate::bound;
use crate::observed::Mirror;
use crate::submit::{Flip, Submitter};
use crate::tip::Lookout;
use crate::trouble::Trouble;

/// What the loop remembers of drift.
#[derive(Debug, Default)]
pub(crate) struct Drifting {
    /// The version of the mirror that was last looked through, without news.
    scanned: Option<u64>,
    /// The version of the mirror of which the kernel refused to put something back.
    refused: Option<u64>,
}

impl Drifting {
    /// All rows are read anew.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether these rows were looked through already.
    pub(crate) fn has_scanned(&self, mirror: &Mirror) -> bool {
        self.scanned == Some(mirror.version())
    }

    /// Records what has drifted and what has healed, if that is news. Returns what is wrong with
    /// the record itself.
    pub(crate) async fn record(
        &mut self,
        source: &str,
        mirror: &Mirror,
        (places, kinds): (Option<&Loaded>, &Kinds),
        submitter: &mut Submitter,
        now: WallTime,
    ) -> Result<Vec<Fault>, Trouble> {
        let ledger = mirror.ledger();
        let tasks = mirror.tasks_of_interest(now);
        let Scan { news, unlisted, .. } = scan(Sight {
            source,
            places,
            kinds: Some(kinds),
            observed: mirror.objects(),
            tasks: &tasks,
            agents: &[],
            ledger: &ledger,
            now,
        });
        if news.is_empty() {
            self.scanned = Some(mirror.version());
        }
        let mut wrong = too_many(unlisted);
        for items in bound::pages(news) {
            let update = Request::RecordDrift(DriftReportUpdate {
                source: source.to_owned(),
                items,
                is_delta: true,
            });
            if let Err(refusal) = submitter.change(update).await? {
                // These rows will not be taken otherwise; the other pages may be.
                self.scanned = Some(mirror.version());
                let fault = Fault::of_file(Code::TooMuchDrift, "", refusal.message, refusal.hint);
                if !wrong.contains(&fault) {
                    wrong.push(fault);
                }
            }
        }
        Ok(wrong)
    }

    /// Puts objects that were changed by hand back to what was accepted from git; says whether
    /// there were any.
    pub(crate) async fn enforce(
        &mut self,
        source: &str,
        mirror: &Mirror,
        record: &SourceRecord,
        submitter: &mut Submitter,
        lookout: &mut Lookout,
    ) -> Result<bool, Trouble> {
        let version = mirror.version();
        let Some(applied) = record
            .applied
            .as_ref()
            .filter(|_| self.refused != Some(version))
        else {
            return Ok(false);
        };
        let objects = to_put_back(source, mirror);
        if objects.is_empty() {
            return Ok(false);
        }
        tracing::info!(objects = objects.len(), "changes by hand are undone");
        let flip = back(applied, objects, mirror);
        if submitter.flip(flip, lookout).await?.is_err() {
            self.refused = Some(version);
            return Ok(false);
        }
        Ok(true)
    }
}

fn back<'a>(applied: &'a Revision, objects: Vec<DesiredObject>, mirror: &Mirror) -> Flip<'a> {
    Flip {
        revision: applied,
        previous: Some(applied.clone()),
        hands: mirror.hands(objects.iter().map(|object| &object.key)),
        objects,
        prune: Vec::new(),
        released: Vec::new(),
        yields: false,
    }
}

fn to_put_back(source: &str, mirror: &Mirror) -> Vec<DesiredObject> {
    let is_enforced = |live: &&ObservedObject| {
        live.by_hand.is_some()
            && !live.is_word_unknown
            && live.lifecycle.drift == DriftPolicy::Enforce
            && is_ours(live, source)
    };
    let objects = mirror.objects().values().filter(is_enforced);
    objects.map(ObservedObject::as_accepted).collect()
}

/// What is not listed, by the limit that it is beyond.
fn too_many(unlisted: Unlisted) -> Vec<Fault> {
    let by_number = format!("has at most {} items", DriftItem::KEPT_OPEN);
    let by_size = format!("holds at most {} bytes", DriftItem::KEPT_OPEN_BYTES);
    let limits = [(unlisted.by_number, by_number), (unlisted.by_size, by_size)];
    let beyond = limits.into_iter().filter(|(count, _)| *count > 0);
    let fault = |(count, limit): (usize, String)| {
        let message = format!("{count} more things have drifted than are listed; the list {limit}");
        let hint = "`kelson status` shows every object that is out of sync";
        Fault::of_file(Code::TooMuchDrift, "", message, hint)
    };
    beyond.map(fault).collect()
}
