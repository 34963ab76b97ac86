//! SetField: changes one field of an object by hand. It is drift until git says the same.

use std::sync::Arc;

use kelson_model::request::{Refusal, SetField};
use kelson_model::template::TaskTemplate;
use serde_json::Value;

use crate::context::Context;
use crate::object::Object;
use crate::reply::{Reply, refusal};
use crate::state::State;

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &SetField,
) -> Result<Reply, Refusal> {
    let Some(object) = state
        .objects
        .get(&command.object)
        .filter(|object| !object.is_removed)
    else {
        return Err(refusal(
            "K0302",
            format!("there is no {}", command.object),
            "see `kelson status`",
        ));
    };
    let mut object = Object::clone(object);
    let pointer = command
        .path
        .strip_prefix("/spec")
        .filter(|rest| rest.starts_with('/'))
        .ok_or_else(|| {
            refusal(
                "K0304",
                format!("'{}' is not a field of the specification", command.path),
                "name a field below /spec, such as /spec/instances",
            )
        })?;
    let mut spec = Value::clone(&object.spec);
    set_at(&mut spec, pointer, &command.value).ok_or_else(|| {
        refusal(
            "K0304",
            format!("{} has no place '{}'", command.object, command.path),
            "see `kelson get OBJECT -o yaml`",
        )
    })?;
    let pointers = state.template_pointers(&command.object);
    for pointer in &pointers {
        TaskTemplate::from_spec(&spec, pointer).map_err(|error| {
            refusal(
                "K0304",
                format!("{} would not be a task any more: {error}", command.object),
                "nothing was changed",
            )
        })?;
    }
    if object.put_spec(
        &Arc::new(spec),
        &pointers,
        context.now,
        &context.principal,
        context.wall,
    ) {
        let message = format!(
            "{} set {} of {} to {}",
            context.principal, command.path, command.object, command.value
        );
        state.push_event(context.event("ChangedByHand", Some(&command.object), message));
    }
    let generation = object.generation;
    state.put_object(object);
    Ok(context.done(Some(generation)))
}

/// Sets or (null) removes the value at a pointer whose parent exists.
fn set_at(spec: &mut Value, pointer: &str, value: &Value) -> Option<()> {
    let (parent, name) = pointer.rsplit_once('/')?;
    let name = name.replace("~1", "/").replace("~0", "~");
    match spec.pointer_mut(parent)? {
        Value::Object(fields) => {
            if value.is_null() {
                fields.remove(&name);
            } else {
                fields.insert(name, value.clone());
            }
            Some(())
        }
        Value::Array(items) => {
            let place = name.parse::<usize>().ok()?;
            let item = items.get_mut(place)?;
            if value.is_null() {
                items.remove(place);
            } else {
                *item = value.clone();
            }
            Some(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
