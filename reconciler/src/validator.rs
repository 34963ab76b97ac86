//! What a framework says about a specification beyond its schema.

use serde_json::Value;

/// Something that a framework does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A JSON pointer into the specification.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Asks the framework of a kind about a specification. The wiring puts the sandbox of schedulers
/// here.
///
/// *Assumes*: pure; it may take some time, and is called where blocking is allowed.
pub trait Validator: Send + Sync + 'static {
    /// Checks one normalised specification; no problem, or no framework that could be asked: empty.
    fn validate(&self, kind: &str, spec: &Value) -> Vec<Problem>;
}

/// Accepts what the schema accepts.
#[derive(Debug, Clone, Copy, Default)]
pub struct SchemaOnly;

impl Validator for SchemaOnly {
    fn validate(&self, _kind: &str, _spec: &Value) -> Vec<Problem> {
        Vec::new()
    }
}
