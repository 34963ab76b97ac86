//! Asking the kernel for changes: one at a time, and what its answers mean for the loop.

use std::sync::Arc;

use kelson_model::code::Code;
use kelson_model::id::{Digest, Index, Revision};
use kelson_model::object::{DesiredObject, ObjectKey};
use kelson_model::request::{Accept, Answer, Refusal, Request, Stage};

use crate::client::KernelPort;
#[cfg(doc)]
use crate::observed::Mirror;
use crate::stage::parts;
use crate::tip::Lookout;
use crate::trouble::Trouble;

/// Whether a refusal means: look again. Another revision is applied, or what was staged is not
/// there.
fn says_look_again(refusal: &Refusal) -> bool {
    matches!(
        refusal.code.known(),
        Some(Code::StalePlan | Code::NotStaged)
    )
}

/// A flip that came too late this often in a row overwrites what it finds: nobody keeps git's word
/// away by changing an object again and again.
const MOST_OVERTAKEN: u32 = 8;

/// What is flipped to.
pub(crate) struct Flip<'a> {
    pub(crate) revision: &'a Revision,
    pub(crate) previous: Option<Revision>,
    pub(crate) objects: Vec<DesiredObject>,
    pub(crate) prune: Vec<ObjectKey>,
    /// The confirmations that it relies on.
    pub(crate) released: Vec<Digest>,
    /// What of all that was changed by hand, see [`Mirror::hands`].
    pub(crate) hands: Digest,
    /// Whether a newer revision makes it void.
    pub(crate) yields: bool,
}

/// The way to the kernel, and what this loop has written so far.
pub(crate) struct Submitter {
    source: String,
    port: Arc<dyn KernelPort>,
    /// The state that the last write came to.
    written: Index,
    /// Whether the kernel may have parts of a revision that was not accepted.
    has_leftovers: bool,
    /// How often in a row the kernel was not where it was thought to be.
    moved: u32,
    /// How often in a row a flip came too late.
    overtaken: u32,
}

impl Submitter {
    pub(crate) fn new(source: &str, port: Arc<dyn KernelPort>) -> Self {
        Self {
            source: source.to_owned(),
            port,
            written: Index(0),
            has_leftovers: true,
            moved: 0,
            overtaken: 0,
        }
    }

    /// The port itself, for blobs.
    pub(crate) fn port(&self) -> &Arc<dyn KernelPort> {
        &self.port
    }

    /// The state that the last write came to.
    pub(crate) fn written(&self) -> Index {
        self.written
    }

    /// A kernel that has lost its state begins to count again.
    pub(crate) fn forget_written(&mut self) {
        self.written = Index(0);
    }

    /// Changes rows: nothing is decided before the mirror shows them.
    pub(crate) async fn change(
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
            Answer::Refused(refusal) if says_look_again(&refusal) => {
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

    /// Stages and accepts; the refusal where the kernel refuses for good.
    pub(crate) async fn flip(
        &mut self,
        flip: Flip<'_>,
        lookout: &mut Lookout,
    ) -> Result<Result<(), Refusal>, Trouble> {
        let most = Stage::MAX_OBJECTS;
        if flip.objects.len().max(flip.prune.len()) > most {
            return Ok(Err(Refusal {
                code: Code::TooMuchAtOnce.into(),
                message: format!(
                    "the revision sets {} objects and takes {} away; at most {most} each are taken",
                    flip.objects.len(),
                    flip.prune.len()
                ),
                hint: "split the change into several commits".to_owned(),
            }));
        }
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (objects, going) = (count(flip.objects.len()), count(flip.prune.len()));
        let mut parts = parts(flip.objects, flip.prune);
        if parts.is_empty() && self.has_leftovers {
            // An empty part drops what was staged of a revision that was overtaken.
            parts.push((Vec::new(), Vec::new()));
        }
        let part_count = count(parts.len());
        for (part, (objects, prune)) in (0..).zip(parts) {
            if flip.yields {
                lookout.ensure_newest(flip.revision).await?;
            }
            let stage = Request::Stage(Stage {
                source: self.source.clone(),
                revision: flip.revision.clone(),
                part,
                objects,
                prune,
            });
            self.has_leftovers = true;
            if let Err(refusal) = self.submit(stage).await? {
                return Ok(Err(refusal));
            }
        }
        if flip.yields {
            lookout.ensure_newest(flip.revision).await?;
        }
        let accept = Request::Accept(Accept {
            source: self.source.clone(),
            revision: flip.revision.clone(),
            previous: flip.previous,
            parts: part_count,
            prune: Vec::new(),
            objects,
            going,
            released: flip.released,
            hands: (self.overtaken < MOST_OVERTAKEN).then_some(flip.hands),
        });
        let done = self.change(accept).await;
        if matches!(done, Err(Trouble::Moved(..))) {
            self.overtaken = self.overtaken.saturating_add(1);
        }
        Ok(match done? {
            Ok(index) => {
                self.has_leftovers = false;
                self.overtaken = 0;
                let revision = flip.revision.short();
                tracing::info!(revision, objects, pruned = going, %index, "accepted");
                Ok(())
            }
            Err(refusal) => Err(refusal),
        })
    }
}
