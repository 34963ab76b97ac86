//! Which kinds manifests may have, by what the kernel says of its frameworks.

use std::collections::{BTreeMap, BTreeSet};

use kelson_model::framework::Description;
use kelson_model::object::ObjectKey;
use kelson_reconciler_core::manifest::{FRAMEWORK, Kinds, Loaded};
use kelson_reconciler_core::observed::ObservedObject;

use crate::rows::FrameworkRow;

/// Compiles the kinds of all frameworks that have described themselves. `given_up` are those that never will: nobody waits for their kinds.
pub(crate) fn of_frameworks<'a>(
    frameworks: impl IntoIterator<Item = &'a FrameworkRow>,
    given_up: &BTreeSet<String>,
) -> Kinds {
    let mut described: BTreeMap<&str, Description> = BTreeMap::new();
    for framework in frameworks {
        if let Some(description) = &framework.description {
            described.insert(&framework.name, description.clone());
        }
    }
    for name in given_up {
        described
            .entry(name.as_str())
            .or_insert_with(|| Description {
                name: name.clone(),
                version: String::new(),
                kinds: Vec::new(),
                config_schema: None,
            });
    }
    let (kinds, errors) = Kinds::new(described.iter().map(|(name, said)| (*name, said)));
    for error in errors {
        tracing::warn!(%error, "a kind of a framework cannot be used");
    }
    kinds
}

/// The frameworks of a revision that were accepted as they stand there and could not be put in force.
pub(crate) fn given_up<'a>(
    loaded: &Loaded,
    observed: &BTreeMap<ObjectKey, ObservedObject>,
    frameworks: impl IntoIterator<Item = &'a FrameworkRow>,
) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for row in frameworks {
        if row.fault.is_none() || row.description.is_some() {
            continue;
        }
        let key = ObjectKey::new(FRAMEWORK, row.namespace.clone(), &row.name);
        let Some(object) = loaded.object(&key) else {
            continue;
        };
        let digest = object.desired.spec.get("digest").and_then(|it| it.as_str());
        let is_accepted = observed
            .get(&key)
            .is_some_and(|live| live.spec == object.desired.spec);
        let is_about_another = row
            .faulty_component
            .as_ref()
            .is_some_and(|component| Some(component.to_string().as_str()) != digest);
        if is_accepted && !is_about_another {
            names.insert(row.name.clone());
        }
    }
    names
}
