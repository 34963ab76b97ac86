//! Schemas: a kind's JSON Schema, compiled, and what it says about a document in our own words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jsonschema::error::ValidationErrorKind as Problem;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use kelson_model::code::Code;
use kelson_model::id::Digest;
use kelson_model::object::{Namespace, is_valid_name};
use kelson_model::quantity::{Bytes, MilliCpus, Millis};
use serde_json::Value;

use super::flaw::{Flaw, Rewrite};
use super::normal::{self, Normal, Respelt};
use super::pointer;
use super::sentence;
use super::tree::{Content, Node, Position};
use super::words;
use super::wrong_type::wrong_type;

/// Largest schema, in bytes of JSON.
const MAX_SCHEMA_BYTES: usize = 1 << 20;
/// Largest compiled pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Most problems that are told of one configuration.
const MAX_PROBLEMS: usize = 100;
/// Most flaws that are told of one document.
const MAX_FLAWS: usize = 1000;

/// A schema that can be asked.
pub(crate) struct Schema {
    pub(crate) json: Value,
    validator: Validator,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("json", &self.json)
            .finish_non_exhaustive()
    }
}

/// What became of a document.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Normalised: defaults filled in, quantities canonical. Meaningful only where there are no
    /// flaws.
    pub(crate) value: Value,
    pub(crate) flaws: Vec<Flaw>,
    /// What to write for values that readers differ on, by their place.
    pub(crate) respelt: BTreeMap<Position, Respelt>,
}

/// What a node is checked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The pointer of the node in its document.
    pub(crate) base: &'a str,
    /// Where something has been told already.
    pub(crate) quiet: &'a BTreeSet<Position>,
    /// The schema of the kind's specification, where the node is the document around it.
    pub(crate) spec: Option<&'a Value>,
}

impl Schema {
    /// Compiles; the message of an error is for the author of the framework.
    pub(crate) fn compile(json: Value) -> Result<Self, String> {
        if json.to_string().len() > MAX_SCHEMA_BYTES {
            return Err(format!(
                "the schema is larger than {MAX_SCHEMA_BYTES} bytes"
            ));
        }
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(
                PatternOptions::regex()
                    .size_limit(MAX_PATTERN_BYTES)
                    .dfa_size_limit(MAX_PATTERN_BYTES),
            )
            .should_validate_formats(true)
            .with_format("cpus", |text: &str| text.parse::<MilliCpus>().is_ok())
            .with_format("bytes", |text: &str| text.parse::<Bytes>().is_ok())
            .with_format("duration", |text: &str| text.parse::<Millis>().is_ok())
            .with_format("port-name", is_valid_name)
            .with_format("name", is_valid_name)
            .with_format("namespace", |text: &str| text.parse::<Namespace>().is_ok())
            .with_format("digest", |text: &str| text.parse::<Digest>().is_ok())
            .build(&json)
            .map_err(|error| format!("the schema is not a JSON Schema: {error}"))?;
        Ok(Self { json, validator })
    }

    /// Normalises a node and says everything that is wrong with it.
    pub(crate) fn check(&self, node: &Node, place: Place<'_>) -> Checked {
        let Place { base, quiet, spec } = place;
        let Normal {
            value,
            mut flaws,
            mut spoiled,
            respelt,
        } = normal::of_node(&self.json, node, base);
        flaws.retain(|flaw| !quiet.contains(&flaw.written()));
        reserved(node, base, "", &mut spoiled, &mut flaws);
        let view = View {
            schema: &self.json,
            node,
            base,
            spec,
        };
        for error in self.validator.iter_errors(&value) {
            if flaws.len() >= MAX_FLAWS {
                break;
            }
            view.tell(&error, &spoiled, &mut flaws);
        }
        flaws.retain(|flaw| {
            flaw.code == Code::UnknownField || !quiet.contains(&flaw.written()) || is_own(flaw.code)
        });
        Checked {
            value,
            flaws,
            respelt,
        }
    }

    /// Normalises and checks a specification that no file spells, as `set` does.
    pub(crate) fn check_value(&self, spec: &Value) -> Result<Value, Unfit> {
        let value = normal::of_value(&self.json, spec);
        if let Ok(value) = &value
            && self.validator.is_valid(value)
        {
            return Ok(value.clone());
        }
        // In the words that a manifest with it would get.
        let node = Node::of_value(spec);
        let quiet = BTreeSet::new();
        let place = Place {
            base: "/spec",
            quiet: &quiet,
            spec: None,
        };
        let checked = self.check(&node, place);
        match (checked.flaws.into_iter().next(), value) {
            (Some(flaw), _) => Err(Unfit {
                message: flaw.message,
                hint: flaw.hint,
            }),
            (None, Ok(_)) => Ok(checked.value),
            (None, Err(message)) => Err(Unfit {
                message,
                hint: String::new(),
            }),
        }
    }
}

/// A specification in which something was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Normalised, or what is wrong with the change.
    pub outcome: Result<Value, Unfit>,
    /// What was wrong with the specification before, and still is: the kind's schema may be another
    /// one than that which it was accepted by.
    pub standing: Option<Unfit>,
}

/// Why a specification is none of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unfit {
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to write instead; may be empty.
    pub hint: String,
}

impl Schema {
    /// What is wrong with a value that keeps its form and stands at `base` of its document: JSON
    /// pointers into it, and words.
    pub(crate) fn problems(&self, value: &Value, base: &str) -> Vec<(String, Unfit)> {
        let errors = || self.validator.iter_errors(value).take(MAX_PROBLEMS);
        if errors().next().is_none() {
            return Vec::new();
        }
        let (told, _) = self.told(value, base);
        if !told.is_empty() {
            return told;
        }
        // What a normal form would put right, and this value keeps.
        let told = errors().map(|error| {
            let unfit = Unfit {
                message: error.to_string(),
                hint: String::new(),
            };
            (error.instance_path().as_str().to_owned(), unfit)
        });
        told.collect()
    }

    /// What is wrong with the normal form of a value, and that form.
    fn told(&self, value: &Value, base: &str) -> (Vec<(String, Unfit)>, Value) {
        let node = Node::of_value(value);
        let quiet = BTreeSet::new();
        let place = Place {
            base,
            quiet: &quiet,
            spec: None,
        };
        let checked = self.check(&node, place);
        let flaws = checked.flaws.into_iter().take(MAX_PROBLEMS);
        let told = flaws.map(|flaw| {
            let pointer = node.pointer_to(flaw.position).unwrap_or_default();
            let Flaw { message, hint, .. } = flaw;
            (pointer, Unfit { message, hint })
        });
        (told.collect(), checked.value)
    }

    /// Judges a change of a specification by what it adds to what was wrong before.
    pub(crate) fn check_change(&self, before: &Value, after: &Value) -> Changed {
        let wrong = match self.check_value(after) {
            Ok(value) => {
                return Changed {
                    outcome: Ok(value),
                    standing: None,
                };
            }
            Err(wrong) => wrong,
        };
        let Err(standing) = self.check_value(before) else {
            return Changed {
                outcome: Err(wrong),
                standing: None,
            };
        };
        let (known, _) = self.told(before, "/spec");
        let (told, value) = self.told(after, "/spec");
        let is_new = |(pointer, unfit): &(String, Unfit)| {
            let mut known = known.iter();
            !known.any(|(place, other)| place == pointer && other.message == unfit.message)
        };
        Changed {
            outcome: match told.into_iter().find(is_new) {
                Some((_, unfit)) => Err(unfit),
                None => Ok(value),
            },
            standing: Some(standing),
        }
    }
}

/// Codes that the checks here do not share with the reading of YAML, whose flaw at a place is told
/// instead of theirs.
fn is_own(code: Code) -> bool {
    !matches!(
        code,
        Code::WrongType | Code::BadValue | Code::BadName | Code::BadQuantity | Code::ApiVersion
    )
}

/// Finds `secretRef`, which is reserved in every kind; what holds it is not looked at further.
fn reserved(
    node: &Node,
    base: &str,
    path: &str,
    spoiled: &mut BTreeSet<String>,
    flaws: &mut Vec<Flaw>,
) {
    match &node.content {
        Content::Scalar(_) => {}
        Content::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                reserved(
                    item,
                    base,
                    &pointer::join(path, &index.to_string()),
                    spoiled,
                    flaws,
                );
            }
        }
        Content::Mapping(entries) => {
            for entry in entries {
                let below = pointer::join(path, &entry.key);
                if entry.key == "secretRef" {
                    let name = pointer::dotted(&format!("{base}{below}"));
                    flaws.push(Flaw::at_key(
                        Code::Reserved,
                        node,
                        entry,
                        format!("{name} is reserved for secrets, which are not built yet"),
                        "let the program read the secret from where it is kept; never write one \
                         into a manifest",
                    ));
                    spoiled.insert(path.to_owned());
                    spoiled.insert(below);
                } else {
                    reserved(&entry.value, base, &below, spoiled, flaws);
                }
            }
        }
    }
}

/// Turns the errors of the schema library into flaws.
struct View<'a> {
    schema: &'a Value,
    node: &'a Node,
    base: &'a str,
    spec: Option<&'a Value>,
}

impl View<'_> {
    fn tell(&self, error: &ValidationError<'_>, spoiled: &BTreeSet<String>, flaws: &mut Vec<Flaw>) {
        let path = error.instance_path().as_str();
        if is_within(path, spoiled) {
            return;
        }
        let keyword = self.schema.pointer(error.schema_path().as_str());
        let parent = parent_of(error.schema_path().as_str());
        let around = self.schema.pointer(parent).unwrap_or(&Value::Null);
        let name = self.name(path);
        let mut flaw = |code, message: String, hint: String| {
            flaws.push(Flaw::at_value(code, self.nearest(path), message, hint));
        };
        match error.kind() {
            Problem::AdditionalProperties { unexpected }
            | Problem::UnevaluatedProperties { unexpected } => {
                for field in unexpected {
                    let below = pointer::join(path, field);
                    if spoiled.contains(&below) {
                        continue;
                    }
                    let unknown = sentence::UnknownField {
                        root: self.schema,
                        base: self.base,
                        spec: self.spec,
                        around,
                        parent: &name,
                        field,
                    };
                    flaws.push(unknown.flaw(self.nearest(path)));
                }
            }
            Problem::Required { property } => {
                let field = property.as_str().unwrap_or_default();
                let missing =
                    pointer::dotted(&pointer::join(&format!("{}{path}", self.base), field));
                let about = around
                    .pointer(&pointer::join("/properties", field))
                    .and_then(words::description);
                let hint = match about {
                    Some(about) => format!("add `{field}:` here: {about}"),
                    None => format!("add `{field}:` here"),
                };
                flaw(Code::MissingField, format!("{missing} is missing"), hint);
            }
            Problem::Type { .. } => {
                flaws.push(wrong_type(
                    &name,
                    self.node,
                    path,
                    self.nearest(path),
                    around,
                ));
            }
            Problem::Constant { expected_value }
                if path == "/apiVersion" && self.base.is_empty() =>
            {
                let expected = expected_value.as_str().unwrap_or_default();
                let node = self.nearest(path);
                let is_near = node
                    .as_text()
                    .is_some_and(|text| text.eq_ignore_ascii_case(expected));
                let rewrite = Rewrite {
                    range: node.range(),
                    text: expected.to_owned(),
                    is_certain: is_near,
                };
                let found = self.found(path);
                flaws.push(
                    Flaw::at_value(
                        Code::ApiVersion,
                        node,
                        format!("the apiVersion is {found}, and only {expected_value} is known"),
                        format!("write `apiVersion: {expected}`"),
                    )
                    .with_rewrite(Some(rewrite)),
                );
            }
            Problem::Format { format } => {
                let hint = words::format(format);
                flaw(
                    Code::BadName,
                    format!("{name} is {}, and must be {hint}", self.found(path)),
                    format!("write {hint}"),
                );
            }
            Problem::PropertyNames { error: inner } => {
                let key = inner.instance().as_str().unwrap_or_default().to_owned();
                let shown = super::tree::cut(&key);
                let message = format!("\"{shown}\" is not a name that {name} may have");
                let wanted = words::schema(keyword.filter(|it| it.is_object()).unwrap_or(around));
                let hint = format!("write {wanted}");
                let parent = self.nearest(path);
                flaws.push(match parent.get(&key) {
                    Some(entry) => Flaw::at_key(Code::BadName, parent, entry, message, hint),
                    None => Flaw::at_value(Code::BadName, parent, message, hint),
                });
            }
            Problem::OneOfNotValid { context } | Problem::AnyOf { context } => {
                self.tell_choice(path, keyword, context, spoiled, flaws);
            }
            // What is no mapping has its own fault already.
            Problem::OneOfMultipleValid { .. }
                if keyword.and_then(sentence::excluding_fields).is_some()
                    && self
                        .node
                        .at(path)
                        .is_none_or(|node| node.as_mapping().is_none()) => {}
            Problem::OneOfMultipleValid { .. } => {
                let (message, hint) = match keyword.and_then(sentence::excluding_fields) {
                    Some(fields) => sentence::exactly_one(&name, &fields, self.node.at(path)),
                    None => (
                        format!("{name} can be read in more than one way"),
                        "leave out what is not needed".to_owned(),
                    ),
                };
                flaw(Code::ExactlyOne, message, hint);
            }
            Problem::Referencing(_)
            | Problem::BacktrackLimitExceeded { .. }
            | Problem::RegexEngineFailure { .. } => flaw(
                Code::BadValue,
                format!("{name} cannot be checked: {}", error.masked()),
                "this is the schema's fault; tell the framework's author".to_owned(),
            ),
            Problem::FalseSchema | Problem::Not { .. } => flaw(
                Code::BadValue,
                format!("{name} is not allowed here"),
                words::description(around).unwrap_or_else(|| "leave it out".to_owned()),
            ),
            // What is left are limits: lengths, ranges, counts, options, patterns.
            _ => {
                let wanted = words::schema(around);
                let meant = sentence::option(around, self.node.at(path));
                let hint = match &meant {
                    Some(meant) => format!("did you mean {}?", meant.word),
                    None => around
                        .get("pattern")
                        .and_then(|_| words::description(around))
                        .unwrap_or_else(|| format!("write {wanted}")),
                };
                let node = self.nearest(path);
                let rewrite = meant.map(|meant| Rewrite {
                    range: node.range(),
                    text: meant.word.to_owned(),
                    is_certain: meant.is_certain,
                });
                let message = format!("{name} is {}, and must be {wanted}", self.found(path));
                flaws.push(
                    Flaw::at_value(Code::BadValue, node, message, hint).with_rewrite(rewrite),
                );
            }
        }
    }

    /// None of several schemas fits: the one that was probably meant is told, where that can be
    /// seen.
    fn tell_choice(
        &self,
        path: &str,
        keyword: Option<&Value>,
        context: &[Vec<ValidationError<'static>>],
        spoiled: &BTreeSet<String>,
        flaws: &mut Vec<Flaw>,
    ) {
        let name = self.name(path);
        let node = self.nearest(path);
        if let Some(fields) = keyword.and_then(sentence::excluding_fields) {
            let (message, hint) = sentence::exactly_one(&name, &fields, self.node.at(path));
            flaws.push(Flaw::at_value(Code::ExactlyOne, node, message, hint));
            return;
        }
        // A branch whose type fits, and which is only wrong further down or in its limits, was
        // meant.
        let mut meant = context.iter().filter(|errors| {
            !errors.iter().any(|error| {
                error.instance_path().as_str() == path
                    && matches!(
                        error.kind(),
                        Problem::Type { .. } | Problem::Constant { .. }
                    )
            })
        });
        if let (Some(errors), None) = (meant.next(), meant.next()) {
            for error in errors {
                self.tell(error, spoiled, flaws);
            }
            return;
        }
        let choices: Vec<String> = keyword
            .and_then(Value::as_array)
            .map(|branches| branches.iter().map(words::schema).collect())
            .unwrap_or_default();
        let wanted = choices.join(", or ");
        flaws.push(Flaw::at_value(
            Code::WrongType,
            node,
            format!("{name} is {}, and must be {wanted}", self.found(path)),
            format!("write {wanted}"),
        ));
    }

    fn name(&self, path: &str) -> String {
        let name = pointer::dotted(&format!("{}{path}", self.base));
        if name.is_empty() {
            "the document".to_owned()
        } else {
            name
        }
    }

    fn found(&self, path: &str) -> String {
        self.node
            .at(path)
            .map_or_else(|| "not written".to_owned(), Node::describe)
    }

    /// The value at a pointer, or the nearest written one that holds it.
    fn nearest(&self, path: &str) -> &Node {
        let mut path = path;
        loop {
            if let Some(node) = self.node.at(path) {
                return node;
            }
            if path.is_empty() {
                return self.node;
            }
            path = parent_of(path);
        }
    }
}

fn parent_of(path: &str) -> &str {
    path.rfind('/')
        .and_then(|end| path.get(..end))
        .unwrap_or("")
}

fn is_within(path: &str, spoiled: &BTreeSet<String>) -> bool {
    let mut path = path;
    loop {
        if spoiled.contains(path) {
            return true;
        }
        if path.is_empty() {
            return false;
        }
        path = parent_of(path);
    }
}
