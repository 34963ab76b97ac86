//! What the command line asks without changing anything: is a source valid, and what would it change?

use std::collections::BTreeMap;
use std::sync::Arc;

use kelson_model::framework::Description;
use kelson_model::object::ObjectKey;
use kelson_model::report::{API_VERSION, Validation};
use kelson_model::source::SourceRecord;
use kelson_reconciler_core::manifest::Kinds;
use kelson_reconciler_core::observed::ObservedObject;
use kelson_reconciler_core::plan::{Context, Plan, plan};

use crate::desired::{Desired, Loader};
use crate::source::{ManifestSource, SourceError};
use crate::validator::Validator;

/// Compiles the kinds of frameworks, each with its name; what of them cannot be used is logged and left out.
pub fn kinds_of<'a>(frameworks: impl IntoIterator<Item = (&'a str, &'a Description)>) -> Kinds {
    let (kinds, errors) = Kinds::new(frameworks);
    for error in errors {
        tracing::warn!(%error, "a kind of a framework cannot be used");
    }
    kinds
}

/// Loads a revision or a folder: its objects with their files pinned, and everything that is wrong. Blocks.
///
/// # Errors
/// When the source as a whole cannot be read.
pub fn load_source(
    source: &dyn ManifestSource,
    kinds: &Kinds,
    validator: Arc<dyn Validator>,
) -> Result<Desired, SourceError> {
    Loader::new(validator).load(source, kinds)
}

/// Sums up what was loaded as `kelson validate` reports it. Objects of kinds that a new framework of the same source may bring count as valid.
pub fn validation(desired: &Desired) -> Validation {
    let loaded = &desired.loaded;
    let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    Validation {
        api_version: API_VERSION.to_owned(),
        kind: "Validation".to_owned(),
        valid: loaded.faults.is_empty(),
        files: count(loaded.files),
        objects: count(loaded.objects.len() + loaded.waiting.len()),
        errors: loaded.faults.clone(),
    }
}

/// Plans what a source would change, by what the kernel has and keeps of the source called `name`.
pub fn plan_source(
    desired: &Desired,
    observed: &BTreeMap<ObjectKey, ObservedObject>,
    name: &str,
    record: &SourceRecord,
) -> Plan {
    plan(
        &desired.loaded,
        observed,
        Context {
            source: name,
            revision: desired.revision.as_ref(),
            applied: record.applied.as_ref(),
            confirmed: record.confirmed.as_ref(),
        },
    )
}
