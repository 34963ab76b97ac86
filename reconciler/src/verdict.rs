//! What is said of the source: made here, cut to what one entry holds, and said once.

use kelson_model::code::Code;
use kelson_model::id::Revision;
use kelson_model::object::Sync;
use kelson_model::quantity::Millis;
use kelson_model::request::{Refusal, SourceReport};
use kelson_model::source::{Fault, Held, Kept, SourceRecord};

use crate::bound;
use crate::source::SourceError;

/// What is to be said about the source.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) observed: Option<Revision>,
    pub(crate) sync: Sync,
    pub(crate) holds: Vec<Held>,
    pub(crate) errors: Vec<Fault>,
    pub(crate) kept: Vec<Kept>,
    pub(crate) waiting_more: u32,
}

/// Who made the commits that are told, as git says.
#[derive(Debug, Default)]
pub(crate) struct Makers {
    pub(crate) observed: Option<String>,
    pub(crate) applied: Option<String>,
}

/// What is the same in all that is said of one source.
#[derive(Debug)]
pub(crate) struct Voice {
    pub(crate) source: String,
    pub(crate) branch: String,
    pub(crate) prune_window: Millis,
    /// What the kernel refused for good, until the source shows something else.
    refused: Option<(Revision, Fault)>,
    /// What is wrong whatever the source shows: what the kernel refused of the loop's own work.
    pub(crate) standing: Vec<Fault>,
}

impl Voice {
    pub(crate) fn new(source: &str, branch: &str, prune_window: Millis) -> Self {
        Self {
            source: source.to_owned(),
            branch: branch.to_owned(),
            prune_window,
            refused: None,
            standing: Vec::new(),
        }
    }

    /// Notes that the kernel refused a revision for good.
    pub(crate) fn note_refusal(&mut self, revision: &Revision, refusal: Refusal) {
        self.refused = Some((revision.clone(), refusal_fault(refusal)));
    }

    /// Whether the kernel has refused this revision for good.
    pub(crate) fn is_refused(&self, revision: &Revision) -> bool {
        self.refused.as_ref().is_some_and(|(of, _)| of == revision)
    }

    /// The report that says it, unless the kernel knows that already.
    pub(crate) fn report(
        &mut self,
        record: &SourceRecord,
        verdict: Verdict,
        makers: Makers,
    ) -> Option<SourceReport> {
        let Verdict {
            observed,
            mut sync,
            mut holds,
            mut errors,
            kept,
            waiting_more,
        } = verdict;
        match &self.refused {
            Some((of, fault)) if observed.as_ref() == Some(of) => {
                errors.push(fault.clone());
                sync = Sync::OutOfSync;
            }
            Some(_) => self.refused = None,
            None => {}
        }
        errors.extend(self.standing.iter().cloned());
        bound::report(&mut holds, &mut errors);
        let prune_window = Some(self.prune_window);
        let is_known = record.name == self.source
            && record.branch == self.branch
            && record.observed == observed
            && record.sync == sync
            && record.holds == holds
            && record.prune_window == prune_window
            && record.errors == errors
            && record.kept == kept
            && record.waiting_more == waiting_more
            && record.observed_by == makers.observed
            && record.applied_by == makers.applied;
        (!is_known).then(|| SourceReport {
            source: self.source.clone(),
            branch: self.branch.clone(),
            observed,
            sync,
            held: None,
            holds,
            errors,
            prune_window,
            kept,
            waiting_more,
            observed_by: makers.observed,
            applied_by: makers.applied,
        })
    }
}

/// A refusal of the kernel as a fault of no file.
pub(crate) fn refusal_fault(refusal: Refusal) -> Fault {
    Fault::of_file(refusal.code, "", refusal.message, refusal.hint)
}

/// A source that cannot be read as a whole, as a fault of no file.
pub(crate) fn source_fault(error: &SourceError) -> Fault {
    unreadable(
        error.to_string(),
        "the repository has to be readable as a whole; `git fsck` says more",
    )
}

/// A repository that does not even show its tip.
pub(crate) fn unreadable(message: String, hint: &str) -> Fault {
    Fault::of_file(Code::UnreadableFile, "", message, hint)
}
