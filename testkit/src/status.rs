//! Reading `kelson status -o json`.

use serde_json::Value;

/// An object by `KIND/NAME`, in any namespace.
#[must_use]
pub fn object<'s>(status: &'s Value, object: &str) -> Option<&'s Value> {
    let (kind, name) = object.split_once('/')?;
    objects(status).iter().find(|o| {
        o.get("kind").is_some_and(|k| k == kind) && o.get("name").is_some_and(|n| n == name)
    })
}

/// All objects.
#[must_use]
pub fn objects(status: &Value) -> &[Value] {
    status
        .get("objects")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// All errors of the source.
#[must_use]
pub fn errors(status: &Value) -> &[Value] {
    status
        .pointer("/source/errors")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Has the source this value in a field, such as `applied` or `sync`?
#[must_use]
pub fn source_is(status: &Value, field: &str, value: &str) -> bool {
    status
        .get("source")
        .and_then(|source| source.get(field))
        .is_some_and(|found| found == value)
}

/// Is the object synced, healthy, and in its full number?
#[must_use]
pub fn is_well(object: &Value) -> bool {
    let tasks = |count: &str| object.pointer(&format!("/tasks/{count}"));
    object.get("sync").is_some_and(|sync| sync == "Synced")
        && object
            .get("health")
            .is_some_and(|health| health == "Healthy")
        && tasks("desired").is_some()
        && tasks("healthy") == tasks("desired")
        && tasks("running") == tasks("desired")
}

/// Has the revision been applied, and is there something, all of it well?
#[must_use]
pub fn is_settled(status: &Value, revision: &str) -> bool {
    source_is(status, "applied", revision)
        && source_is(status, "sync", "Synced")
        && !objects(status).is_empty()
        && objects(status).iter().all(is_well)
}
