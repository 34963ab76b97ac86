//! Which kinds manifests may have, by what the kernel says of its frameworks.

use std::collections::{BTreeMap, BTreeSet};

use kelson_model::framework::Description;
use kelson_model::view::FrameworkRow;
use kelson_reconciler_core::manifest::{FRAMEWORK, Kinds, Loaded, Standing};

use crate::offline::kinds_of;

/// Compiles the kinds of all frameworks that have described themselves.
pub(crate) fn of_frameworks<'a>(frameworks: impl IntoIterator<Item = &'a FrameworkRow>) -> Kinds {
    let mut described: Vec<(&str, &Description)> = Vec::new();
    let mut standings: BTreeMap<String, Standing> = BTreeMap::new();
    let mut rows: Vec<&FrameworkRow> = frameworks.into_iter().collect();
    // A name is one in the cluster; where two have it all the same, the one in the box comes first.
    rows.sort_by_key(|row| !row.built_in);
    for row in rows {
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
    kinds_of(described).standing(standings)
}

/// The frameworks of a revision whose component, as the revision pins it, is neither in force nor
/// known to be unusable: they may bring kinds yet.
pub(crate) fn awaited<'a>(
    loaded: &Loaded,
    frameworks: impl IntoIterator<Item = &'a FrameworkRow>,
) -> BTreeSet<String> {
    let rows: BTreeMap<(&str, &str), &FrameworkRow> = frameworks
        .into_iter()
        .map(|row| ((row.namespace.as_str(), row.name.as_str()), row))
        .collect();
    let objects = loaded.objects.iter().map(|object| &object.desired);
    objects
        .filter(|desired| desired.key.kind == FRAMEWORK)
        .filter(|desired| {
            let key = &desired.key;
            let Some(row) = rows.get(&(key.namespace.as_str(), key.name.as_str())) else {
                return true;
            };
            let digest = desired.spec.pointer("/digest");
            let digest = digest.as_ref().and_then(|digest| digest.as_str());
            let is = |component: &Option<kelson_model::id::Digest>| {
                component.as_ref().map(ToString::to_string).as_deref() == digest
            };
            !is(&row.component) && !is(&row.fault_of)
        })
        .map(|desired| desired.key.name.clone())
        .collect()
}
