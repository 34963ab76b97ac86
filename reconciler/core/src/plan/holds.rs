//! The holds of a plan: what waits for a person, and what a person has released.

use kelson_model::id::Digest;
use kelson_model::object::ObjectKey;
use kelson_model::reason::HoldReason;
use kelson_model::source::Held;

use super::shape::Context;
use crate::observed::ObservedObject;

/// The holds of a plan, as they are found.
pub(super) struct Holds<'a> {
    context: Context<'a>,
    found: Vec<Held>,
    released: Vec<Digest>,
}

impl<'a> Holds<'a> {
    pub(super) fn new(context: Context<'a>) -> Self {
        Self {
            context,
            found: Vec::new(),
            released: Vec::new(),
        }
    }

    /// Whether this holds: it does unless a person has released just that.
    pub(super) fn is_held(
        &mut self,
        reason: HoldReason,
        going: &[&ObservedObject],
        message: String,
    ) -> bool {
        let objects: Vec<ObjectKey> = going.iter().map(|live| live.key.clone()).collect();
        let digest = self
            .context
            .revision
            .map(|revision| Held::digest_of(&reason, revision, &objects));
        if let Some(digest) = &digest
            && self
                .context
                .released
                .iter()
                .any(|release| release.digest == *digest)
        {
            self.released.push(digest.clone());
            return false;
        }
        self.found.push(Held {
            reason,
            confirm: None,
            message,
            objects,
            more: 0,
            digest,
        });
        true
    }

    /// All of them, each with the command that releases it, and what was released.
    pub(super) fn end(mut self) -> (Vec<Held>, Vec<Digest>) {
        let is_only = self.found.len() == 1;
        for held in &mut self.found {
            held.confirm = self.context.revision.map(|revision| {
                if is_only {
                    format!("kelson confirm {revision}")
                } else {
                    format!("kelson confirm {revision} --hold {}", held.reason)
                }
            });
        }
        (self.found, self.released)
    }
}
