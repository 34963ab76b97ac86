//! Normalises: the one place where defaults are filled in and quantities take their canonical form.
//!
//! Two manifests that mean the same have the same normal form, so that a diff of normal forms shows
//! only what matters.

use std::collections::{BTreeMap, BTreeSet};

use kelson_model::code::Code;
use kelson_model::quantity::{Bytes, MilliCpus, Millis, ParseQuantityError};
use kelson_model::spec::plain_numbers;
use serde_json::{Map, Value};

use super::flaw::{Flaw, Rewrite};
use super::pointer;
use super::surprise;
use super::tree::{Content, Meaning, Node, Position, Scalar};
use super::words;

/// Longest chain of `$ref` that is followed.
const MAX_REFS: usize = 16;
/// Most schemas that are looked at for one value.
const MAX_FACETS: usize = 64;
/// Deepest nesting of defaults inside defaults.
const MAX_DEPTH: usize = 64;
/// Most defaults that are put into one document: a schema may come from a stranger's component.
const MAX_DEFAULTS: usize = 10_000;

/// A quantity that a schema names by its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    Cpus,
    Bytes,
    Duration,
}

impl Quantity {
    fn of(schema: &Value) -> Option<Self> {
        match schema.get("format")?.as_str()? {
            "cpus" => Some(Self::Cpus),
            "bytes" => Some(Self::Bytes),
            "duration" => Some(Self::Duration),
            _ => None,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Cpus => "a number of cpus",
            Self::Bytes => "an amount of bytes with its unit",
            Self::Duration => "a length of time with its unit",
        }
    }

    /// The canonical form of a spelling; the error says what to write.
    fn canonical(self, text: &str) -> Result<String, ParseQuantityError> {
        match self {
            Self::Cpus => text.parse::<MilliCpus>().map(|it| it.to_string()),
            Self::Bytes => text.parse::<Bytes>().map(|it| it.to_string()),
            Self::Duration => text.parse::<Millis>().map(|it| it.to_string()),
        }
    }
}

/// A normalised value.
#[derive(Debug)]
pub(crate) struct Normal {
    pub(crate) value: Value,
    pub(crate) flaws: Vec<Flaw>,
    /// Pointers that have a flaw already; what a schema says of them is not told.
    pub(crate) spoiled: BTreeSet<String>,
    /// What to write for values that readers differ on, by their place: what the schema takes.
    pub(crate) respelt: BTreeMap<Position, Respelt>,
}

/// What to write for a value that readers differ on.
#[derive(Debug)]
pub(crate) struct Respelt {
    /// What the schema takes, in words.
    pub(crate) hint: String,
    /// Where only one thing can have been meant.
    pub(crate) rewrite: Option<Rewrite>,
}

/// The schema behind `$ref`s.
pub(crate) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..MAX_REFS {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|path| root.pointer(path));
        match target {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

/// Which branches of a schema's combinations are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Branches {
    /// All: for finding a field's schema.
    All,
    /// Those that surely apply: for filling in defaults. A choice counts where only one of its
    /// branches is about fields.
    Sure,
}

/// The schemas that apply to one value together: itself, and the branches of its combinations.
fn facets<'a>(root: &'a Value, schema: &'a Value, branches: Branches) -> Vec<&'a Value> {
    let mut found = Vec::new();
    together(root, schema, branches, 4, &mut found);
    found
}

fn together<'a>(
    root: &'a Value,
    schema: &'a Value,
    branches: Branches,
    depth: usize,
    found: &mut Vec<&'a Value>,
) {
    if depth == 0 || found.len() >= MAX_FACETS {
        return;
    }
    let schema = resolve(root, schema);
    found.push(schema);
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let Some(list) = schema.get(keyword).and_then(Value::as_array) else {
            continue;
        };
        let about_fields = |branch: &&Value| resolve(root, branch).get("properties").is_some();
        let all = keyword == "allOf" || branches == Branches::All;
        if all || list.iter().filter(about_fields).count() == 1 {
            for branch in list.iter().filter(|branch| all || about_fields(branch)) {
                together(root, branch, branches, depth - 1, found);
            }
        }
    }
}

/// The schema of a field of a mapping.
fn field<'a>(facets: &[&'a Value], name: &str) -> Option<&'a Value> {
    let own = facets
        .iter()
        .find_map(|schema| schema.get("properties").and_then(|all| all.get(name)));
    own.or_else(|| {
        facets.iter().find_map(|schema| {
            schema
                .get("additionalProperties")
                .filter(|it| it.is_object())
        })
    })
}

fn items<'a>(facets: &[&'a Value]) -> Option<&'a Value> {
    facets.iter().find_map(|schema| schema.get("items"))
}

/// Normalises a node by its schema.
pub(crate) fn of_node(root: &Value, node: &Node, base: &str) -> Normal {
    let mut walk = Walk {
        base,
        filler: Filler::new(root),
        flaws: Vec::new(),
        spoiled: BTreeSet::new(),
        respelt: BTreeMap::new(),
    };
    let value = walk.node(node, Some(root), "");
    Normal {
        value,
        flaws: walk.flaws,
        spoiled: walk.spoiled,
        respelt: walk.respelt,
    }
}

/// Normalises a JSON value by its schema, as for a field that was set by hand.
///
/// # Errors
/// Says which field is not the quantity that it must be.
pub(crate) fn of_value(root: &Value, value: &Value) -> Result<Value, String> {
    let mut value = value.clone();
    plain_numbers(&mut value);
    Filler::new(root).fill(root, &mut value, MAX_DEPTH, "")?;
    Ok(value)
}

/// Normalises what a file spells.
struct Walk<'a> {
    base: &'a str,
    filler: Filler<'a>,
    flaws: Vec<Flaw>,
    spoiled: BTreeSet<String>,
    respelt: BTreeMap<Position, Respelt>,
}

impl<'a> Walk<'a> {
    fn node(&mut self, node: &Node, schema: Option<&'a Value>, path: &str) -> Value {
        let root = self.filler.root;
        let facets_for = |branches| {
            schema
                .map(|schema| facets(root, schema, branches))
                .unwrap_or_default()
        };
        let all = facets_for(Branches::All);
        match &node.content {
            Content::Scalar(scalar) => {
                let quantity = all.iter().find_map(|schema| Quantity::of(schema));
                if node.through.is_none()
                    && quantity.is_none()
                    && let Some((hint, text)) = respelt(scalar, &all)
                {
                    let rewrite = text.map(|text| Rewrite::certain(node.range(), text));
                    self.respelt
                        .insert(node.position, Respelt { hint, rewrite });
                }
                let is_amount = matches!(scalar.meaning, Meaning::Number | Meaning::Text);
                let (Some(quantity), true) = (quantity, is_amount) else {
                    return scalar.to_json();
                };
                match quantity.canonical(&scalar.text) {
                    Ok(text) => Value::String(text),
                    // A field that takes a quantity or something else: the schema will say whether
                    // the something else is right.
                    Err(_) if takes_otherwise(&all, &scalar.to_json()) => scalar.to_json(),
                    Err(error) => {
                        let name = pointer::dotted(&format!("{}{path}", self.base));
                        let found = node.describe();
                        let message = format!("{name} is {found}, and must be {}", quantity.noun());
                        let hint = match &error.instead {
                            Some(instead) if instead.is_certain => {
                                format!("write {}", instead.text)
                            }
                            Some(_) | None => hint(&error.wanted),
                        };
                        let rewrite = error.instead.map(|instead| Rewrite {
                            range: node.range(),
                            text: instead.text,
                            is_certain: instead.is_certain,
                        });
                        self.flaws.push(
                            Flaw::at_value(Code::BadQuantity, node, message, hint)
                                .with_rewrite(rewrite),
                        );
                        self.spoiled.insert(path.to_owned());
                        scalar.to_json()
                    }
                }
            }
            Content::Sequence(nodes) => {
                let item = items(&all);
                let values = nodes.iter().enumerate().map(|(index, node)| {
                    self.node(node, item, &pointer::join(path, &index.to_string()))
                });
                Value::Array(values.collect())
            }
            Content::Mapping(entries) => {
                let mut map = Map::new();
                for entry in entries {
                    let below = field(&all, &entry.key);
                    let value = self.node(&entry.value, below, &pointer::join(path, &entry.key));
                    map.insert(entry.key.clone(), value);
                }
                // A default that is not readable is the schema's fault, and is told where the
                // schema is compiled.
                let _ =
                    self.filler
                        .defaults(&facets_for(Branches::Sure), &mut map, MAX_DEPTH, path);
                Value::Object(map)
            }
        }
    }
}

/// What to write for a value that readers differ on, where the schema takes one type only: in
/// words, and as it stands in the file where that is beyond doubt.
fn respelt(scalar: &Scalar, facets: &[&Value]) -> Option<(String, Option<String>)> {
    if !scalar.is_plain {
        return None;
    }
    // Who writes null means nothing, and not the text "~": which is put right by a person.
    let found = surprise::of_plain(&scalar.text).filter(|_| scalar.text != "~")?;
    let mut types = facets.iter().filter_map(|schema| {
        let kind = schema.get("type").and_then(Value::as_str)?;
        Some((*schema, kind))
    });
    let (schema, kind) = types.next()?;
    let text = match (kind, types.next()) {
        ("string", None) => Some(format!("\"{}\"", scalar.text)),
        ("boolean", None) => found.truth.map(|truth| truth.to_string()),
        ("integer" | "number", None) => found.number,
        _ => return None,
    };
    let said = text.clone().or(found.either);
    let said = said.unwrap_or_else(|| words::schema(schema));
    Some((format!("write {said}"), text))
}

/// Whether one of several choices takes this value as something else than a quantity.
fn takes_otherwise(facets: &[&Value], value: &Value) -> bool {
    facets.iter().any(|schema| {
        schema.get("format").is_none()
            && match schema.get("type").and_then(Value::as_str) {
                Some("string") => value.is_string(),
                Some("integer" | "number") => value.is_number(),
                _ => false,
            }
    })
}

fn hint(wanted: &str) -> String {
    match wanted.split_once(": write ") {
        Some((_, what)) => format!("write {what}"),
        None => format!("write {wanted}"),
    }
}

/// Puts in what no file spells.
struct Filler<'a> {
    root: &'a Value,
    left: usize,
}

impl<'a> Filler<'a> {
    fn new(root: &'a Value) -> Self {
        Self {
            root,
            left: MAX_DEFAULTS,
        }
    }

    /// Puts in the defaults of fields that are not there.
    fn defaults(
        &mut self,
        facets: &[&'a Value],
        map: &mut Map<String, Value>,
        depth: usize,
        path: &str,
    ) -> Result<(), String> {
        for schema in facets {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, below) in properties.into_iter().flatten() {
                let default = below
                    .get("default")
                    .or_else(|| resolve(self.root, below).get("default"));
                let Some(default) = default else { continue };
                if map.contains_key(name) || self.left == 0 {
                    continue;
                }
                self.left -= 1;
                let mut value = default.clone();
                plain_numbers(&mut value);
                self.fill(
                    below,
                    &mut value,
                    depth.saturating_sub(1),
                    &pointer::join(path, name),
                )?;
                map.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    /// Normalises a value and what it holds.
    fn fill(
        &mut self,
        schema: &'a Value,
        value: &mut Value,
        depth: usize,
        path: &str,
    ) -> Result<(), String> {
        if depth == 0 {
            return Ok(());
        }
        let all = facets(self.root, schema, Branches::All);
        match value {
            Value::Null | Value::Bool(_) => Ok(()),
            Value::Number(_) | Value::String(_) => {
                let Some(quantity) = all.iter().find_map(|schema| Quantity::of(schema)) else {
                    return Ok(());
                };
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                match quantity.canonical(&text) {
                    Ok(canonical) => *value = Value::String(canonical),
                    Err(_) if takes_otherwise(&all, value) => {}
                    Err(error) => {
                        let name = pointer::dotted(path);
                        let wanted = error.wanted;
                        return Err(format!("{name} is '{text}', and must be {wanted}"));
                    }
                }
                Ok(())
            }
            Value::Array(values) => {
                let Some(item) = items(&all) else {
                    return Ok(());
                };
                for (index, value) in values.iter_mut().enumerate() {
                    self.fill(
                        item,
                        value,
                        depth - 1,
                        &pointer::join(path, &index.to_string()),
                    )?;
                }
                Ok(())
            }
            Value::Object(map) => {
                for (name, value) in map.iter_mut() {
                    if let Some(below) = field(&all, name) {
                        self.fill(below, value, depth - 1, &pointer::join(path, name))?;
                    }
                }
                let sure = facets(self.root, schema, Branches::Sure);
                self.defaults(&sure, map, depth, path)
            }
        }
    }
}
