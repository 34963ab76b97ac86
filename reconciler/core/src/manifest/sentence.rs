//! The sentences of schema faults: what is wrong, and what to do.

use kelson_model::code::Code;
use serde_json::Value;

use super::flaw::{Flaw, Rewrite};
use super::nearest::{Meant, nearest};
use super::other_words::{Elsewhere, of_metadata, of_word};
use super::pointer;
use super::syntax;
use super::tree::{Node, cut};

/// A field that is not known.
pub(crate) struct UnknownField<'a> {
    /// The whole schema.
    pub(crate) root: &'a Value,
    /// Where it stands in the document.
    pub(crate) base: &'a str,
    /// The schema of the specification below, where `root` is that of the document.
    pub(crate) spec: Option<&'a Value>,
    /// The schema of the mapping that has the field.
    pub(crate) around: &'a Value,
    /// The mapping, in words.
    pub(crate) parent: &'a str,
    pub(crate) field: &'a str,
}

impl UnknownField<'_> {
    /// What is wrong, with the field that was probably meant, or where this one belongs.
    pub(crate) fn flaw(&self, mapping: &Node) -> Flaw {
        let field = self.field;
        let shown = cut(field);
        let known: Vec<&str> = self
            .around
            .get("properties")
            .and_then(Value::as_object)
            .map(|properties| properties.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let entry = mapping.get(field);
        if let (Some(entry), Some((word, _))) = (entry, syntax::glued_key(field))
            && known.contains(&word)
            && mapping.through.is_none()
        {
            return syntax::glued_at(word, entry.key_range.start);
        }
        let mut rewrite = None;
        let hint = if let Some(meant) = self.meant(&known) {
            rewrite = entry.map(|entry| Rewrite {
                range: entry.key_range,
                text: meant.word.to_owned(),
                is_certain: meant.is_certain && mapping.get(meant.word).is_none(),
            });
            format!("did you mean `{}`?", meant.word)
        } else if let Some(instead) = self.instead() {
            instead
        } else if let Some(place) = self.place() {
            format!("`{shown}` stands at {place}")
        } else if known.is_empty() {
            "leave it out".to_owned()
        } else {
            format!("known here: {}", known.join(", "))
        };
        let message = format!("{} has no field `{shown}`", self.parent);
        match entry {
            Some(entry) => Flaw::at_key(Code::UnknownField, mapping, entry, message, hint),
            None => Flaw::at_value(Code::UnknownField, mapping, message, hint),
        }
        .with_rewrite(rewrite)
    }

    /// Where a field of this name stands, dotted.
    fn place(&self) -> Option<String> {
        elsewhere(self.root, self.base, self.field).or_else(|| {
            let spec = self.spec?;
            elsewhere(spec, "/spec", self.field)
        })
    }

    /// The field of the same mapping that was meant: another system's word for it, or a slip.
    fn meant<'a>(&self, known: &[&'a str]) -> Option<Meant<'a>> {
        match self.elsewhere() {
            Some(Elsewhere::Named(place)) => {
                let (parent, name) = match place.rsplit_once('.') {
                    Some((parent, name)) => (format!("spec.{parent}"), name),
                    None => ("spec".to_owned(), place),
                };
                // `ports[].port` is what every item has.
                let own: String = self
                    .parent
                    .chars()
                    .filter(|c| !c.is_ascii_digit())
                    .collect();
                let word = known.iter().find(|known| **known == name)?;
                (own == parent).then_some(Meant {
                    word,
                    is_certain: false,
                })
            }
            Some(Elsewhere::Otherwise(_)) => None,
            None => nearest(self.field, known.iter().copied()),
        }
    }

    /// What to do about a word of another system.
    fn instead(&self) -> Option<String> {
        if self.parent == "metadata" {
            return of_metadata(self.field).map(str::to_owned);
        }
        Some(match self.elsewhere()? {
            Elsewhere::Named(place) => format!("`{}` is spec.{place} here", self.field),
            Elsewhere::Otherwise(sentence) => sentence.to_owned(),
        })
    }

    /// What another system's word comes to in a specification that says what runs.
    fn elsewhere(&self) -> Option<Elsewhere> {
        let spec = if self.base == "/spec" {
            self.root
        } else {
            self.spec?
        };
        let has = |field: &str| spec.get("properties")?.get(field);
        has("run")?;
        let found = of_word(self.field)?;
        if let Elsewhere::Named(place) = found {
            has(place.split(['.', '[']).next()?)?;
        }
        Some(found)
    }
}

/// Where a schema has a property of this name, dotted: the shallowest place, and of several the one
/// that every object has.
fn elsewhere(root: &Value, base: &str, field: &str) -> Option<String> {
    let mut level = vec![(root, String::new(), true)];
    for _ in 0..6 {
        let mut next = Vec::new();
        let mut found: Option<(bool, String)> = None;
        for (schema, path, is_needed) in level {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, below) in properties.into_iter().flatten() {
                let path = pointer::join(&path, name);
                if name == field
                    && found
                        .as_ref()
                        .is_none_or(|(needed, _)| is_needed && !needed)
                {
                    found = Some((is_needed, pointer::dotted(&format!("{base}{path}"))));
                }
                let is_needed = is_needed && requires(schema, name);
                next.push((super::normal::resolve(root, below), path, is_needed));
            }
        }
        if let Some((_, place)) = found {
            return Some(place);
        }
        level = next;
    }
    None
}

fn requires(schema: &Value, field: &str) -> bool {
    schema
        .get("required")
        .and_then(Value::as_array)
        .is_some_and(|all| all.iter().any(|name| name == field))
}

/// The fields of `oneOf: [{required: [a]}, {required: [b]}]`, where a schema says that exactly one
/// of them must be there.
pub(crate) fn excluding_fields(choice: &Value) -> Option<Vec<String>> {
    choice
        .as_array()?
        .iter()
        .map(
            |branch| match branch.get("required")?.as_array()?.as_slice() {
                [field] if branch.get("type").is_none_or(|kind| kind == "object") => {
                    field.as_str().map(str::to_owned)
                }
                _ => None,
            },
        )
        .collect()
}

/// None or more than one of some fields.
pub(crate) fn exactly_one(name: &str, fields: &[String], found: Option<&Node>) -> (String, String) {
    let there: Vec<&str> = fields
        .iter()
        .map(String::as_str)
        .filter(|field| found.is_some_and(|node| node.get(field).is_some()))
        .collect();
    let all = fields.join(", ");
    let message = if there.is_empty() {
        format!("{name} has none of {all}, and must have exactly one")
    } else {
        format!(
            "{name} has {}, and must have exactly one of {all}",
            there.join(" and ")
        )
    };
    let hint = if there.is_empty() {
        format!("add one of {all}")
    } else {
        "keep one of them".to_owned()
    };
    (message, hint)
}

/// The option that was probably meant.
pub(crate) fn option<'a>(schema: &'a Value, found: Option<&Node>) -> Option<Meant<'a>> {
    let options = schema.get("enum")?.as_array()?;
    let text = found?.as_text()?;
    nearest(text, options.iter().filter_map(Value::as_str))
}
