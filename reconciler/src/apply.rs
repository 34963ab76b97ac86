//! Carrying out a plan: blobs first, then the objects in parts, then the flip.

use std::collections::BTreeSet;
use std::sync::Arc;

use kelson_model::id::{Digest, Revision};
use kelson_model::request::Refusal;
use kelson_reconciler_core::manifest::LoadedObject;
use kelson_reconciler_core::plan::Plan;

use crate::desired::Desired;
use crate::observed::Mirror;
use crate::source::{GitSource, ManifestSource as _};
use crate::submit::{Flip, Submitter};
use crate::tip::Lookout;
use crate::trouble::{Trouble, blocking};

/// What of a plan's files the kernel does not have.
pub(crate) async fn missing_files(
    plan: &Plan,
    desired: &Desired,
    submitter: &Submitter,
) -> Result<Vec<Digest>, Trouble> {
    let staged = plan
        .to_stage(&desired.loaded)
        .filter_map(|object| desired.loaded.object(&object.key))
        .collect::<Vec<&LoadedObject>>();
    let needed: BTreeSet<Digest> = desired.needed_by(staged);
    if needed.is_empty() {
        return Ok(Vec::new());
    }
    let needed = needed.into_iter().collect();
    Ok(submitter.port().missing_blobs(needed).await?)
}

/// Gives the kernel files of a revision.
pub(crate) async fn upload(
    git: &Arc<GitSource>,
    revision: &Revision,
    desired: &Desired,
    missing: Vec<Digest>,
    submitter: &Submitter,
    lookout: &mut Lookout,
) -> Result<(), Trouble> {
    for digest in missing {
        lookout.ensure_newest(revision).await?;
        let Some(path) = desired.files.get(&digest).cloned() else {
            continue;
        };
        let files = git.at(revision.clone());
        let artifact = match blocking(move || files.read_at(&path)).await? {
            Ok(artifact) => artifact,
            Err(error) => {
                // It was there a moment ago; the next look says what is wrong.
                tracing::info!(%error, "a file of the revision cannot be read any more");
                return Err(Trouble::Preempted);
            }
        };
        let stored = submitter.port().put_blob(artifact.bytes).await?;
        tracing::info!(%digest, is_same = stored == digest, "a file of the revision is stored");
    }
    Ok(())
}

/// Stages and accepts what a plan that nothing blocks asks for; the refusal where the kernel
/// refuses for good.
pub(crate) async fn carry_out(
    plan: &Plan,
    revision: &Revision,
    previous: Option<&Revision>,
    desired: &Desired,
    mirror: &Mirror,
    (submitter, lookout): (&mut Submitter, &mut Lookout),
) -> Result<Result<(), Refusal>, Trouble> {
    let set = plan.to_stage(&desired.loaded).map(|object| &object.key);
    let flip = Flip {
        revision,
        previous: previous.cloned(),
        objects: plan.to_stage(&desired.loaded).cloned().collect(),
        prune: plan.to_prune().cloned().collect(),
        released: plan.released.clone(),
        hands: mirror.hands(set.chain(plan.to_prune())),
        yields: true,
    };
    submitter.flip(flip, lookout).await
}
