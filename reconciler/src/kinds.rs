//! Which kinds manifests may have, by what the kernel says of its frameworks.

use std::collections::{BTreeMap, BTreeSet};

use kelson_model::framework::{Description, FaultCause};
use kelson_model::id::Digest;
use kelson_model::view::FrameworkRow;
use kelson_reconciler_core::manifest::{Kinds, KindsError, Standing};

/// Compiles the kinds of all frameworks that have described themselves; what of them cannot be
/// used is logged and left out.
pub(crate) fn of_frameworks<'a>(frameworks: impl IntoIterator<Item = &'a FrameworkRow>) -> Kinds {
    let (kinds, errors) = of_rows(frameworks);
    for error in errors {
        tracing::warn!(%error, "a kind of a framework cannot be used");
    }
    kinds
}

/// Compiles the kinds of all frameworks that have described themselves, and tells what of them
/// cannot be used. A component that is known not to come into force is waited for no more, and one
/// that is held still is.
pub fn of_rows<'a>(
    frameworks: impl IntoIterator<Item = &'a FrameworkRow>,
) -> (Kinds, Vec<KindsError>) {
    let mut described: Vec<(&str, &Description)> = Vec::new();
    let mut standings: BTreeMap<String, Standing> = BTreeMap::new();
    let mut refused: BTreeSet<(String, Digest)> = BTreeSet::new();
    let mut held: BTreeMap<(String, Digest), String> = BTreeMap::new();
    let mut rows: Vec<&FrameworkRow> = frameworks.into_iter().collect();
    // A name is one in the cluster; where two have it all the same, the one in the box comes first.
    rows.sort_by_key(|row| !row.built_in);
    for row in rows {
        if let Some(component) = &row.fault_of {
            let of = (row.name.clone(), component.clone());
            if row.fault_cause == FaultCause::Held {
                held.insert(of, row.fault.clone().unwrap_or_default());
            } else {
                refused.insert(of);
            }
        }
        let Some(description) = &row.description else {
            continue;
        };
        if standings.contains_key(&row.name) {
            continue;
        }
        described.push((&row.name, description));
        let standing = Standing {
            component: row.component.clone(),
            namespace: row.namespace.clone(),
            namespaces: row.namespaces.clone(),
            is_built_in: row.built_in,
        };
        standings.insert(row.name.clone(), standing);
    }
    described.sort_by_key(|(name, _)| *name);
    let (kinds, errors) = Kinds::new(described);
    let kinds = kinds.standing(standings).refusing(refused).holding(held);
    (kinds, errors)
}
