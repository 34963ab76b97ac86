//! A specification: one JSON value, kept as text.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Number, Value};

use crate::id::Digest;

/// The specification of an object, as JSON text without spaces whose keys are sorted, so that equal
/// specifications have one text. A tree of it takes far more memory, and there are as many as there
/// are objects. A clone costs nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Spec(Arc<str>);

impl Spec {
    /// How deep a specification may be nested that is set, staged or accepted.
    pub const MAX_DEPTH: usize = 64;

    /// How deep a text may be nested that is read as a specification.
    pub const MAX_DEPTH_READ: usize = 256;

    /// Reads what [`Spec::text`] gave; `None` where it is not such a text.
    pub fn read(text: &str) -> Option<Self> {
        let spec = Self(text.into());
        if spec.depth() > Self::MAX_DEPTH_READ {
            return None;
        }
        let mut reader = spec.reader();
        let value = Value::deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        let written = value.to_string();
        (written == text).then_some(spec)
    }

    /// The JSON text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The specification as a tree, read anew with each call.
    pub fn value(&self) -> Value {
        // What is kept was written from a tree, which always can be read.
        Value::deserialize(&mut self.reader()).unwrap_or_default()
    }

    /// A reader that goes as deep as the text does: no deeper than the tree that it was written
    /// from, and those are bounded where they come in.
    fn reader(&self) -> serde_json::Deserializer<serde_json::de::StrRead<'_>> {
        let mut text = serde_json::Deserializer::from_str(&self.0);
        text.disable_recursion_limit();
        text
    }

    /// How many mappings and lists stand in one another at the deepest place.
    pub fn depth(&self) -> usize {
        let (mut depth, mut deepest) = (0_usize, 0);
        let (mut is_text, mut is_escaped) = (false, false);
        for byte in self.0.bytes() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_text = !is_text,
                b'{' | b'[' if !is_text => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        deepest
    }

    /// What stands at a JSON pointer; the rest is passed over.
    pub fn pointer(&self, pointer: &str) -> Option<Value> {
        let steps: Vec<String> = match pointer.strip_prefix('/') {
            Some(path) => path.split('/').map(unescaped).collect(),
            None if pointer.is_empty() => Vec::new(),
            None => return None,
        };
        Step(&steps).deserialize(&mut self.reader()).ok().flatten()
    }

    /// Whether both hold the very same text, so that it takes memory once.
    pub fn shares_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Names the content.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl From<&Value> for Spec {
    fn from(value: &Value) -> Self {
        Self(value.to_string().into())
    }
}

impl From<Value> for Spec {
    fn from(value: Value) -> Self {
        Self::from(&value)
    }
}

impl Default for Spec {
    fn default() -> Self {
        Self::from(Value::Null)
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Serialize for Spec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

/// The place in a list that a step of a JSON pointer names: digits, without a sign or a zero before
/// them.
pub fn list_place(step: &str) -> Option<usize> {
    let is_plain = step == "0" || !step.starts_with(['0', '+']);
    is_plain.then(|| step.parse().ok()).flatten()
}

/// Gives every number of a value its one form: a float that is whole and within what a float holds
/// exactly (2^53 on either side of 0) becomes an integer, so that `2.0` is 2 and `-0.0` is 0. Equal
/// numbers have equal texts then.
///
/// It is for values that come in, and not for what is kept: that reads as it was written.
pub fn plain_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = whole(number) {
                *value = Value::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain_numbers),
        Value::Object(fields) => fields.values_mut().for_each(plain_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The integer that a float is, read off its text, in which every such float ends in `.0`.
fn whole(number: &Number) -> Option<i64> {
    const EXACT: u64 = 1 << 53;
    let text = number.is_f64().then(|| number.to_string())?;
    let whole: i64 = text.strip_suffix(".0")?.parse().ok()?;
    (whole.unsigned_abs() <= EXACT).then_some(whole)
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// The steps of a pointer that are still to go.
struct Step<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0.split_first() {
            None => Value::deserialize(deserializer).map(Some),
            Some((name, rest)) => deserializer.deserialize_any(Inside { name, rest }),
        }
    }
}

/// The value that a step leads into.
struct Inside<'a> {
    name: &'a str,
    rest: &'a [String],
}

impl<'de> Visitor<'de> for Inside<'_> {
    type Value = Option<Value>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a mapping or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if found.is_none() && key == self.name {
                found = map.next_value_seed(Step(self.rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let wanted = list_place(self.name);
        let mut found = None;
        let mut place = 0;
        loop {
            let item = if Some(place) == wanted {
                list.next_element_seed(Step(self.rest))?
            } else {
                list.next_element::<IgnoredAny>()?.map(|_| None)
            };
            match item {
                None => return Ok(found),
                Some(item) => found = item.or(found),
            }
            place += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn spec() -> Value {
        json!({
            "instances": 3, "ratio": 0.1, "run": {"args": ["-m", {"deep": [1, 2]}], "a/b": "~"},
        })
    }

    #[test]
    fn a_pointer_finds_what_it_finds_in_the_tree_and_nothing_else() {
        let (tree, text) = (spec(), Spec::from(spec()));
        for pointer in [
            "",
            "/",
            "instances",
            "/instances",
            "/instances/0",
            "/run/args/1/deep/1",
            "/run/args/2",
            "/run/args/-1",
            "/run/args/+1",
            "/run/args/01",
            "/run/args/0",
            "/run/args/00",
            "/run/a~1b",
            "/run/args",
            "/nothing/here",
        ] {
            assert_eq!(
                text.pointer(pointer).as_ref(),
                tree.pointer(pointer),
                "{pointer}"
            );
        }
    }

    #[test]
    fn it_is_written_as_the_tree_is_and_read_back_the_same() {
        let (tree, text) = (spec(), Spec::from(spec()));
        assert_eq!(serde_json::to_value(&text).unwrap(), tree);
        assert_eq!(serde_json::from_value::<Spec>(tree).unwrap(), text);
        assert_eq!(Spec::from(text.value()), text);
    }

    #[test]
    fn equal_specifications_have_one_text_in_whichever_order_their_keys_came() {
        let text = r#"{"b": 1, "a": {"d": 2, "c": [{"f": 3, "e": 4}]}}"#;
        let spec = Spec::from(serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(spec.text(), r#"{"a":{"c":[{"e":4,"f":3}],"d":2},"b":1}"#);
        assert_eq!(Spec::from(spec.value()), spec);
    }

    #[test]
    fn however_deep_it_is_it_is_read_as_it_was_written() {
        let mut tree = json!("[{\\\"[");
        for n in 0..300 {
            assert_eq!(Spec::from(&tree).depth(), n);
            tree = match n % 2 {
                0 => json!({ "in": tree }),
                _ => json!([tree]),
            };
        }
        let spec = Spec::from(&tree);
        assert_eq!(spec.value(), tree);
        assert_eq!(serde_json::to_string(&spec).unwrap(), spec.text());
        let path = "/0/in".repeat(150);
        assert_eq!(spec.pointer(&path).as_ref(), tree.pointer(&path));
        assert!(spec.pointer(&path).is_some());
    }

    #[test]
    fn numbers_that_are_equal_have_one_form() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for (text, plain) in [
            ("2.0", "2"),
            ("2.0e0", "2"),
            ("2e3", "2000"),
            ("-0.0", "0"),
            ("-7.0", "-7"),
            ("9007199254740992.0", "9007199254740992"),
            ("-9007199254740992.0", "-9007199254740992"),
            ("9007199254740994.0", "9007199254740994.0"),
            ("1e300", "1e+300"),
            ("1.5", "1.5"),
            ("18446744073709551615", "18446744073709551615"),
            (r#"[{"a": 1.0, "b": "1.0"}]"#, r#"[{"a":1,"b":"1.0"}]"#),
        ] {
            let mut value = read(text);
            plain_numbers(&mut value);
            assert_eq!(value.to_string(), plain, "{text}");
        }
    }

    #[test]
    fn what_is_kept_reads_as_it_was_written() {
        let kept = r#"{"instances":2.0}"#;
        let spec: Spec = serde_json::from_str(kept).unwrap();
        assert_eq!(spec.text(), kept);
    }

    #[test]
    fn a_number_with_many_digits_keeps_its_text() {
        for number in [
            0.1 + 0.2,
            f64::MIN_POSITIVE,
            1.797_693_134_862_315_7e308,
            9_007_199_254_740_993.0,
        ] {
            let spec = Spec::from(json!({ "number": number }));
            assert_eq!(Spec::from(spec.value()), spec);
        }
    }
}
