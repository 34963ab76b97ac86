//! The reconciler's pure part: manifests, diff, plan, health, drift, prune safety.
