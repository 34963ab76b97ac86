//! The sentences about a value of the wrong type, with what to write in its place.

use kelson_model::code::Code;
use serde_json::Value;

use super::flaw::{Flaw, Rewrite};
use super::program;
use super::syntax;
use super::tree::{Content, Meaning, Node, Scalar, cut};
use super::words;

/// Longest line of a program that is written anew, in bytes.
const MAX_LINE: usize = 400;

/// Says what is wrong with the type of the value at `path` of `root`, which `holder` is or holds;
/// `name` is its path in words.
pub(crate) fn wrong_type(
    name: &str,
    root: &Node,
    path: &str,
    holder: &Node,
    schema: &Value,
) -> Flaw {
    let wanted = words::types(schema);
    let Some(node) = root.at(path) else {
        let message = format!("{name} must be {wanted}");
        return Flaw::at_value(Code::WrongType, holder, message, format!("write {wanted}"));
    };
    let wrong = Wrong {
        name,
        root,
        node,
        schema,
        wanted,
    };
    match &node.content {
        Content::Scalar(scalar) => wrong.scalar(scalar),
        Content::Sequence(items) => {
            let (hint, instead) = wrong.list(items);
            let rewrite = instead.map(|text| Rewrite::likely(node.range(), text));
            wrong.told(hint, rewrite)
        }
        Content::Mapping(_) => {
            let hint = if wrong.wants("array") {
                "write a list: a - in front of each item".to_owned()
            } else if wrong.wants("string") {
                "write a text; one with `: ` or { in it needs quotes".to_owned()
            } else {
                format!("write {}", wrong.wanted)
            };
            wrong.told(hint, None)
        }
    }
}

struct Wrong<'a> {
    name: &'a str,
    root: &'a Node,
    node: &'a Node,
    schema: &'a Value,
    wanted: String,
}

impl Wrong<'_> {
    fn wants(&self, kind: &str) -> bool {
        match self.schema.get("type") {
            Some(Value::String(one)) => one == kind,
            Some(Value::Array(many)) => many.iter().any(|one| one == kind),
            _ => self.schema.get("properties").is_some() && kind == "object",
        }
    }

    fn told(&self, hint: impl Into<String>, rewrite: Option<Rewrite>) -> Flaw {
        let found = self.node.describe();
        let message = format!("{} is {found}, and must be {}", self.name, self.wanted);
        Flaw::at_value(Code::WrongType, self.node, message, hint).with_rewrite(rewrite)
    }

    fn certain(&self, text: impl Into<String>) -> Option<Rewrite> {
        Some(Rewrite::certain(self.node.range(), text))
    }

    fn scalar(&self, scalar: &Scalar) -> Flaw {
        let text = &scalar.text;
        let shown = cut(text);
        match scalar.meaning {
            Meaning::Null => self.told("give it a value, or leave the field out", None),
            Meaning::Number if self.wants("string") && self.is_port_name() => self.port(text),
            Meaning::Bool(_) | Meaning::Number if self.wants("string") => self.told(
                format!("texts need quotes here: write \"{shown}\""),
                self.certain(format!("\"{text}\"")),
            ),
            Meaning::Text
                if (self.wants("integer") || self.wants("number"))
                    && text.parse::<i64>().is_ok() =>
            {
                self.told(
                    format!("write {text} without quotes"),
                    self.certain(text.clone()),
                )
            }
            Meaning::Text if self.wants("boolean") && matches!(text.as_str(), "true" | "false") => {
                self.told(
                    format!("write {text} without quotes"),
                    self.certain(text.clone()),
                )
            }
            Meaning::Bool(_) | Meaning::Number | Meaning::Text if self.wants("array") => {
                let list = self.list_of(scalar);
                self.told(
                    format!("write a list: {}", cut(&list)),
                    Some(Rewrite::likely(self.node.range(), list)),
                )
            }
            Meaning::Bool(_) | Meaning::Number | Meaning::Text if self.wants("object") => {
                self.mapping(scalar)
            }
            Meaning::Bool(_) | Meaning::Number | Meaning::Text => {
                self.told(format!("write {}", words::schema(self.schema)), None)
            }
        }
    }

    /// A single value as the list that was meant.
    fn list_of(&self, scalar: &Scalar) -> String {
        let text = &scalar.text;
        let items = self.schema.get("items").unwrap_or(&Value::Null);
        let takes = |kind: &str| items.get("type").is_some_and(|it| it == kind);
        if takes("string") && self.name.ends_with(".args") {
            return program::arguments(text);
        }
        if takes("string") {
            return program::list([text.as_str()]);
        }
        let fields = takes("object")
            .then(|| fields_with(items, scalar))
            .flatten();
        format!("[{}]", fields.as_deref().unwrap_or(text))
    }

    fn is_port_name(&self) -> bool {
        self.schema.get("format").and_then(Value::as_str) == Some("port-name")
    }

    /// A number where the name of a port belongs.
    fn port(&self, number: &str) -> Flaw {
        let (message, hint, rewrite) = match port_of_number(self.root, number) {
            Some(name) => (
                "and must be the name of a port",
                format!("write {name}, the name of the port with this number"),
                self.certain(name),
            ),
            None => (
                "and must be the name of one of the task's ports",
                format!(
                    "give the port a name with `ports: [{{name: http, port: {number}}}]`, and \
                     write http here"
                ),
                None,
            ),
        };
        let message = format!("{} is {}, {message}", self.name, self.node.describe());
        Flaw::at_value(Code::WrongType, self.node, message, hint).with_rewrite(rewrite)
    }

    /// A single value where a mapping belongs: the field that would take it.
    fn mapping(&self, scalar: &Scalar) -> Flaw {
        let text = &scalar.text;
        if let Some((word, _)) = syntax::glued_key(text).filter(|_| scalar.is_plain) {
            return syntax::glued(word, self.node);
        }
        let takes_a_program = takes_a_program(self.schema) && scalar.meaning == Meaning::Text;
        let fields = if takes_a_program && text.len() <= MAX_LINE {
            Some(program::mapping(text))
        } else {
            fields_with(self.schema, scalar)
        };
        let Some(fields) = fields else {
            return self.told(format!("write {}", words::schema(self.schema)), None);
        };
        self.told(
            format!("write {fields}"),
            Some(Rewrite::likely(self.node.range(), fields)),
        )
    }

    /// What to write for a list, in words, and where that is likely, as it stands in the file.
    fn list(&self, items: &[Node]) -> (String, Option<String>) {
        let texts: Option<Vec<&str>> = items
            .iter()
            .map(|item| match &item.content {
                Content::Scalar(scalar) => Some(scalar.text.as_str()),
                Content::Sequence(_) | Content::Mapping(_) => None,
            })
            .collect();
        let line = texts.as_deref().and_then(<[&str]>::split_first);
        if self.wants("string") {
            let hint = match line {
                Some((program, rest)) if self.name.ends_with(".command") => {
                    let (command, args) = program::parts_of_list(program, rest);
                    let (command, args) = (cut(&command), cut(&args));
                    format!("write `command: {command}`, and beside it `args: {args}`")
                }
                Some(_) | None => "write one text, without [ and -".to_owned(),
            };
            return (hint, None);
        }
        if !self.wants("object") {
            return (format!("write {}", words::schema(self.schema)), None);
        }
        if let Some((program, rest)) = line.filter(|_| takes_a_program(self.schema)) {
            let text = program::mapping_of_list(program, rest);
            return (format!("write {}", cut(&text)), Some(text));
        }
        let takes_texts = self
            .schema
            .pointer("/additionalProperties/type")
            .is_some_and(|kind| kind == "string");
        let hint = match items.first().filter(|_| takes_texts).and_then(variable) {
            Some((name, value)) => {
                format!("write `{name}: \"{value}\"` for each, without the - in front")
            }
            None => "write fields below it, without the - in front".to_owned(),
        };
        (hint, None)
    }
}

/// Whether a schema takes a program and its arguments.
fn takes_a_program(schema: &Value) -> bool {
    let is = |field: &str, kind: &str| {
        schema
            .get("properties")
            .and_then(|all| all.get(field)?.get("type"))
            .is_some_and(|it| it == kind)
    };
    is("command", "string") && is("args", "array")
}

/// The smallest mapping that has the value: `{name: http, port: 8080}`.
fn fields_with(schema: &Value, scalar: &Scalar) -> Option<String> {
    if scalar.text.len() > 60 || !scalar.is_plain {
        return None;
    }
    let properties = schema.get("properties")?.as_object()?;
    let required = || {
        schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    };
    let takes = |field: &str| {
        let kind = properties
            .get(field)
            .and_then(|it| it.get("type"))?
            .as_str()?;
        let fits = match scalar.meaning {
            Meaning::Number => kind == "integer" && is_whole(&scalar.text),
            Meaning::Text => kind == "string",
            Meaning::Null | Meaning::Bool(_) => false,
        };
        fits.then(|| field.to_owned())
    };
    let other = || properties.keys().find_map(|field| takes(field));
    let taker = match required().find_map(takes) {
        Some(field) => field,
        None if scalar.meaning == Meaning::Number && required().next().is_some() => other()?,
        None => return None,
    };
    let mut fields = Vec::new();
    for field in required().filter(|field| *field != taker) {
        let format = properties.get(field)?.get("format")?.as_str()?;
        // What a name could be; every other required field nobody can make up.
        let example = match format {
            "port-name" => "http",
            "name" => "web",
            _ => return None,
        };
        fields.push(format!("{field}: {example}"));
    }
    fields.push(format!("{taker}: {}", scalar.text));
    Some(format!("{{{}}}", fields.join(", ")))
}

/// The name and value of one item of a list of variables, as other systems have them: `A=b`, or a
/// mapping of `name` and `value`.
fn variable(item: &Node) -> Option<(String, String)> {
    let text = |node: &Node| match &node.content {
        Content::Scalar(scalar) => Some(cut(&scalar.text)),
        Content::Sequence(_) | Content::Mapping(_) => None,
    };
    match &item.content {
        Content::Scalar(scalar) => {
            let (name, value) = scalar.text.split_once('=')?;
            Some((cut(name), cut(value)))
        }
        Content::Mapping(entries) => match (item.get("name"), entries.as_slice()) {
            (Some(name), _) => {
                let value = item.get("value").and_then(|entry| text(&entry.value));
                Some((text(&name.value)?, value.unwrap_or_default()))
            }
            (None, [only]) => Some((cut(&only.key), text(&only.value)?)),
            (None, _) => None,
        },
        Content::Sequence(_) => None,
    }
}

/// The name of the port of a specification that has this number.
fn port_of_number(root: &Node, number: &str) -> Option<String> {
    let Content::Sequence(ports) = &root.get("ports")?.value.content else {
        return None;
    };
    ports.iter().find_map(|port| {
        let Content::Scalar(found) = &port.get("port")?.value.content else {
            return None;
        };
        let name = port.get("name")?.value.as_text()?;
        (found.text == number).then(|| name.to_owned())
    })
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}
