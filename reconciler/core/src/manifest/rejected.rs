//! What a framework says of a specification whose form is right.

use kelson_model::code::Code;
use kelson_model::source::Fault;

use super::load::{LoadedObject, fault_at};
use super::pointer;

/// The fault of an object that its framework does not take. `pointer` begins at the specification
/// (`/health/tcp/port`), and `message` is the framework's; the fault names the field.
pub fn rejected(object: &LoadedObject, pointer: &str, message: &str) -> Fault {
    let pointer = format!("/spec{pointer}");
    let name = pointer::dotted(&pointer);
    let kind = &object.desired.key.kind;
    fault_at(
        object,
        &pointer,
        Code::Rejected,
        format!("{name}: {message}"),
        format!(
            "the form is right, and the framework of kind {kind} does not take it: change {name}, \
             or what it has to fit"
        ),
    )
}
