//! What is allowed, and is hardly ever what somebody means.

use kelson_model::code::Code;
use kelson_model::source::Fault;
use serde_json::Value;

use super::load::{LoadedObject, fault_at};
use super::pointer;
use super::program;
use super::tree::cut;

/// Deepest place in a specification that is looked at.
const MAX_DEPTH: usize = 16;
/// Most pieces of advice about one object.
const MAX_ADVICE: usize = 20;

/// What to look at in an object that has no fault: a program whose name is a whole line. Every
/// mapping with a `command` and `args` is looked at, whatever its kind calls it.
pub fn advice(object: &LoadedObject) -> Vec<Fault> {
    let mut found = Vec::new();
    let spec = object.desired.spec.value();
    lines(&spec, "/spec", MAX_DEPTH, &mut found);
    let advice = found.into_iter().map(|(pointer, line)| {
        let name = pointer::dotted(&pointer);
        let (command, args) = program::parts(line);
        fault_at(
            object,
            &pointer,
            Code::Unlikely,
            format!(
                "{name} is \"{}\", and all of it is taken for the name of one program",
                cut(line)
            ),
            // Whole, since it is there to be copied.
            format!("write `command: {command}`, and beside it `args: {args}`"),
        )
    });
    advice.take(MAX_ADVICE).collect()
}

/// Programs whose names have blanks in them, and that are no files of the same task.
fn lines<'a>(value: &'a Value, at: &str, depth: usize, found: &mut Vec<(String, &'a str)>) {
    if depth == 0 {
        return;
    }
    match value {
        Value::Object(fields) => {
            let is_file = |line: &str| {
                let files = fields.get("files").and_then(Value::as_array);
                files.into_iter().flatten().any(|file| {
                    let path = file.get("path").and_then(Value::as_str);
                    path.is_some_and(|path| path == line.trim_start_matches("./"))
                })
            };
            let has_args = fields.get("args").is_some_and(Value::is_array);
            if let Some(line) = fields.get("command").and_then(Value::as_str)
                && has_args
                && line.contains(char::is_whitespace)
                && !is_file(line)
            {
                found.push((pointer::join(at, "command"), line));
            }
            for (name, value) in fields {
                lines(value, &pointer::join(at, name), depth - 1, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                lines(
                    item,
                    &pointer::join(at, &index.to_string()),
                    depth - 1,
                    found,
                );
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
