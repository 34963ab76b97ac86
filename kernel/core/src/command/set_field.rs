//! SetField: changes one field of an object by hand. It is drift until git says the same.

use kelson_model::code::Code;
use kelson_model::drift::HandField;
use kelson_model::object::DesiredObject;
use kelson_model::request::{Refusal, SetField};
use kelson_model::spec::{Spec, list_place, plain_numbers};
use kelson_model::template::TaskTemplate;
use serde_json::Value;

use crate::context::Context;
use crate::object::Object;
use crate::reply::{Reply, refusal};
use crate::state::State;

/// What a client asks for, with the value in the form that git's values have. An entry of the log
/// holds what it was made with, and so gives the same state whenever it is applied.
pub(super) fn of_request(mut request: SetField) -> SetField {
    plain_numbers(&mut request.value);
    request
}

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
            Code::NoSuchObject,
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
                Code::UnsettableField,
                format!("'{}' is not a field of the specification", command.path),
                "name a field below /spec, such as /spec/instances",
            )
        })?;
    let before = object.spec.value();
    let mut spec = before.clone();
    set_at(&mut spec, pointer, &command.value).ok_or_else(|| {
        refusal(
            Code::UnsettableField,
            format!("{} has no place '{}'", command.object, command.path),
            "see `kelson get OBJECT -o yaml`",
        )
    })?;
    let pointers = state.template_pointers(&command.object);
    for pointer in &pointers {
        TaskTemplate::from_spec(&spec, pointer).map_err(|error| {
            refusal(
                Code::UnsettableField,
                format!("{} would not be a task any more: {error}", command.object),
                "nothing was changed",
            )
        })?;
    }
    let spec = Spec::from(spec);
    let size = spec.text().len();
    if size > DesiredObject::MAX_BYTES {
        return Err(refusal(
            Code::UnsettableField,
            format!(
                "{} would have {size} bytes; at most {} are kept of one object",
                command.object,
                DesiredObject::MAX_BYTES
            ),
            "nothing was changed",
        ));
    }
    let depth = spec.depth();
    if depth > Spec::MAX_DEPTH {
        return Err(refusal(
            Code::UnsettableField,
            format!(
                "{} would be nested {depth} deep; at most {} are taken",
                command.object,
                Spec::MAX_DEPTH
            ),
            "nothing was changed",
        ));
    }
    let accepted = object.spec.clone();
    if object.put_spec(
        &spec,
        &pointers,
        context.now,
        &context.principal,
        context.wall,
    ) {
        object.note_hand(
            &accepted,
            HandField {
                path: changed_path(&before, command).to_owned(),
                by: context.principal.clone(),
                at: context.wall,
            },
        );
        let message = format!(
            "{} set {} of {} to {}",
            context.principal,
            command.path,
            command.object,
            shown(&command.value)
        );
        state.push_event(context.event("ChangedByHand", Some(&command.object), message));
    }
    let generation = object.generation;
    state.put_object(object);
    Ok(context.done(Some(generation)))
}

/// A value in an event; of a long one, its beginning.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 200;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// What has changed: the field, or the whole list that an item was taken from, since all items
/// after it have moved.
fn changed_path<'a>(before: &Value, command: &'a SetField) -> &'a str {
    let path = command.path.as_str();
    let parent = path.rsplit_once('/').map_or(path, |(parent, _)| parent);
    let own = parent.strip_prefix("/spec").unwrap_or(parent);
    let is_item = before.pointer(own).is_some_and(Value::is_array);
    if is_item && command.value.is_null() {
        parent
    } else {
        path
    }
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
            let place = list_place(&name)?;
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
