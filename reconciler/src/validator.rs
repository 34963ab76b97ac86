//! What a framework says about a specification beyond its schema.

use kelson_model::id::Digest;
use kelson_model::object::ObjectKey;
use kelson_model::spec::Spec;

/// Something that a framework does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A JSON pointer into the specification.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Asks the framework that handles an object about its specification. The wiring puts the sandbox
/// of schedulers here.
///
/// *Assumes*: pure; it may take some time, and is called where blocking is allowed.
pub trait Validator: Send + Sync + 'static {
    /// Checks the normalised specification of one object; no problem, or no framework that could be
    /// asked: empty.
    fn validate(&self, key: &ObjectKey, spec: &Spec) -> Vec<Problem>;

    /// The component that judges objects of a kind, where its verdict stands for as long as it is
    /// the same one; `None`: for as long as all kinds are the same.
    fn component(&self, _kind: &str) -> Option<Digest> {
        None
    }
}

/// Accepts what the schema accepts.
#[derive(Debug, Clone, Copy, Default)]
pub struct SchemaOnly;

impl Validator for SchemaOnly {
    fn validate(&self, _key: &ObjectKey, _spec: &Spec) -> Vec<Problem> {
        Vec::new()
    }
}
