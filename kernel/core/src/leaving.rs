//! Leaving: a framework that no manifest wants any more stays in force while it has objects or
//! tasks, and goes by itself after the last of them.
//!
//! *Guarantees:* nobody's tasks lose their scheduler because its framework left git. *Flow:* its
//! object is marked as removed; after each entry, those that nothing needs any more are dropped.

use kelson_model::object::ObjectKey;

use crate::command::drop_framework;
use crate::context::Context;
use crate::object::Object;
use crate::state::State;

/// Whether a framework is only there until the last of its objects has gone.
pub(crate) fn is_leaving(state: &State, framework: &ObjectKey) -> bool {
    state.is_leaving(framework)
}

/// The objects of a kind that a framework handles, those on their way out among them.
pub(crate) fn objects_of<'a>(
    state: &'a State,
    framework: &'a ObjectKey,
    kind: &'a str,
) -> impl Iterator<Item = &'a Object> + 'a {
    let handles = move |key: &ObjectKey| {
        let handles = state.framework_for(kind, &key.namespace);
        handles.is_some_and(|handles| handles.key == *framework)
    };
    state
        .objects_of_kind(kind)
        .filter(move |(key, _)| handles(key))
        .map(|(_, object)| object.as_ref())
}

/// The objects that a framework handles.
fn objects<'a>(
    state: &'a State,
    framework: &'a ObjectKey,
) -> impl Iterator<Item = &'a Object> + 'a {
    let known = state.frameworks.get(framework);
    let described = known.and_then(|known| known.description.as_deref());
    described
        .into_iter()
        .flat_map(|described| &described.kinds)
        .flat_map(move |kind| objects_of(state, framework, &kind.kind))
}

/// What a framework that is leaving waits for.
pub(crate) fn why_it_stays(state: &State, framework: &ObjectKey) -> Option<String> {
    if !is_leaving(state, framework) {
        return None;
    }
    let mut wanted = objects(state, framework).filter(|object| !object.is_removed);
    Some(match wanted.next() {
        Some(first) => {
            let more = match wanted.count() {
                0 => String::new(),
                more => format!(" and {more} more of its objects"),
            };
            format!(
                "no manifest wants it any more; it stays in force for {}{more}: remove those objects first",
                first.key
            )
        }
        None => "no manifest wants it any more; it goes once its last tasks have ended".to_owned(),
    })
}

/// Drops the frameworks that are leaving and that nothing needs any more; says which.
pub(crate) fn let_go(state: &mut State) -> Vec<ObjectKey> {
    let is_over =
        |key: &&ObjectKey| !state.has_live_tasks_of(key) && objects(state, key).next().is_none();
    let over: Vec<ObjectKey> = state.leaving().filter(is_over).cloned().collect();
    for key in &over {
        state.drop_object(key);
        drop_framework(state, key);
    }
    over
}

/// Lets go what an entry has made superfluous, and tells it.
pub(crate) fn after_entry(state: &mut State, context: &Context) {
    for key in let_go(state) {
        let message = format!("framework {} is gone: nothing needs it any more", key.name);
        state.push_event(context.event("FrameworkGone", Some(&key), message));
    }
}
