//! Kinds: what may stand in a manifest, as the frameworks describe it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::framework::{Description, KindDescription};
use kelson_model::id::Digest;
use kelson_model::object::Namespace;
use serde_json::Value;

use super::framework::{FRAMEWORK, framework_schema};
use super::nearest::{Meant, nearest};
use super::other_words::of_kind;
use super::schema::{Changed, Schema, Unfit};

/// One kind that is known.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) schema: Schema,
    /// JSON pointers into the specification where task templates stand.
    pub(crate) templates: Vec<String>,
    /// Whose kind it is; `None` for `Framework` itself.
    pub(crate) framework: Option<String>,
    /// Names the content: equal for equal kinds.
    fingerprint: Digest,
}

/// A framework's description that cannot be used, wholly or in part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KindsError {
    /// The kind is taken already.
    #[error("framework {framework} brings kind {kind}, which {owner} has already")]
    Taken {
        /// The name of the framework that comes second.
        framework: String,
        /// The name of the kind that both bring.
        kind: String,
        /// The name of the framework that has it, or `Kelson`.
        owner: String,
    },
    /// The name of the kind is not upper camel case of at most 63 characters.
    #[error("framework {framework} brings kind '{kind}', which is not upper camel case")]
    Name {
        /// The name of the framework.
        framework: String,
        /// The name that it gave, cut at 63 characters.
        kind: String,
    },
    /// The kind's schema is no JSON Schema, or its defaults contradict it.
    #[error("framework {framework}, kind {kind}: {reason}")]
    Schema {
        /// The name of the framework.
        framework: String,
        /// The name of its kind.
        kind: String,
        /// What the reader of schemas says, for the framework's author.
        reason: String,
    },
    /// The schema of a framework's configuration is no JSON Schema.
    #[error("framework {framework}, its configuration: {reason}")]
    ConfigSchema {
        /// The name of the framework.
        framework: String,
        /// What the reader of schemas says, for the framework's author.
        reason: String,
    },
}

/// All kinds that manifests may have. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Kinds {
    kinds: BTreeMap<String, Arc<Kind>>,
    frameworks: BTreeSet<String>,
    configs: BTreeMap<String, Arc<Schema>>,
    standings: BTreeMap<String, Standing>,
    /// Components that are known not to come into force, with the name of their framework.
    refused: BTreeSet<(String, Digest)>,
    /// Components that are held, with the name of their framework, and why.
    held: BTreeMap<(String, Digest), String>,
    fingerprint: Digest,
}

/// How a framework stands, beside what it says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The component that its description is from.
    pub component: Option<Digest>,
    /// The namespace of its object.
    pub namespace: Namespace,
    /// The namespaces that it serves; empty: its own, or all where it came in the box.
    pub namespaces: Vec<Namespace>,
    /// Whether it came in the box.
    pub is_built_in: bool,
}

impl KindsError {
    /// The framework that it is about.
    pub fn framework(&self) -> &str {
        match self {
            Self::Taken { framework, .. }
            | Self::Name { framework, .. }
            | Self::Schema { framework, .. }
            | Self::ConfigSchema { framework, .. } => framework,
        }
    }
}

impl Kinds {
    /// Compiles the kinds of frameworks, each with its name, and adds `Framework`. What cannot be
    /// used is left out and told.
    pub fn new<'a>(
        frameworks: impl IntoIterator<Item = (&'a str, &'a Description)>,
    ) -> (Self, Vec<KindsError>) {
        let mut content = String::new();
        let mut names = BTreeSet::new();
        let mut kinds = BTreeMap::new();
        let mut configs = BTreeMap::new();
        let mut errors = Vec::new();
        // The schema is ours and a test holds it valid.
        if let Ok(schema) = Schema::compile(framework_schema()) {
            kinds.insert(
                FRAMEWORK.to_owned(),
                Arc::new(Kind {
                    schema,
                    templates: Vec::new(),
                    framework: None,
                    fingerprint: Digest::of(FRAMEWORK.as_bytes()),
                }),
            );
        }
        for (name, description) in frameworks {
            names.insert(name.to_owned());
            content.push_str(name);
            if let Some(json) = &description.config_schema {
                content.push_str(&format!("\nconfig {json}"));
                match Schema::compile(json.clone()) {
                    Ok(schema) => {
                        configs.insert(name.to_owned(), Arc::new(schema));
                    }
                    Err(reason) => errors.push(KindsError::ConfigSchema {
                        framework: name.to_owned(),
                        reason,
                    }),
                }
            }
            for kind in &description.kinds {
                content.push_str(&described(kind));
                match compile(name, kind, &kinds) {
                    Ok(compiled) => {
                        kinds.insert(kind.kind.clone(), Arc::new(compiled));
                    }
                    Err(error) => errors.push(error),
                }
            }
        }
        let fingerprint = Digest::of(content.as_bytes());
        (
            Self {
                kinds,
                frameworks: names,
                configs,
                standings: BTreeMap::new(),
                refused: BTreeSet::new(),
                held: BTreeMap::new(),
                fingerprint,
            },
            errors,
        )
    }

    pub(crate) fn get(&self, kind: &str) -> Option<&Kind> {
        self.kinds.get(kind).map(Arc::as_ref)
    }

    pub(crate) fn config(&self, framework: &str) -> Option<&Schema> {
        self.configs.get(framework).map(Arc::as_ref)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Kind)> {
        self.kinds
            .iter()
            .map(|(name, kind)| (name.as_str(), kind.as_ref()))
    }

    /// The names of all kinds, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// The schema of a kind's specification.
    pub fn schema(&self, kind: &str) -> Option<&Value> {
        self.get(kind).map(|kind| &kind.schema.json)
    }

    /// Which framework brings a kind; `None` for `Framework` and for what is not known.
    pub fn framework_of(&self, kind: &str) -> Option<&str> {
        self.get(kind)?.framework.as_deref()
    }

    /// The same kinds, with how their frameworks stand, by name.
    #[must_use]
    pub fn standing(self, standings: BTreeMap<String, Standing>) -> Self {
        Self { standings, ..self }
    }

    /// The same kinds, with the components that are known not to come into force, each with the
    /// name of its framework: nothing waits for them.
    #[must_use]
    pub fn refusing(self, refused: BTreeSet<(String, Digest)>) -> Self {
        Self { refused, ..self }
    }

    /// The same kinds, with the components that are held, each with the name of its framework, and
    /// why: what waits for them says so.
    #[must_use]
    pub fn holding(self, held: BTreeMap<(String, Digest), String>) -> Self {
        Self { held, ..self }
    }

    /// Why a framework's new component is held.
    pub(crate) fn held(&self, name: &str, component: Option<&str>) -> Option<&str> {
        let mut held = self.held.iter();
        let is = |of: &(String, Digest)| of.0 == name && Some(&*of.1.to_string()) == component;
        held.find_map(|(of, why)| is(of).then_some(why.as_str()))
    }

    pub(crate) fn standing_of(&self, framework: &str) -> Option<&Standing> {
        self.standings.get(framework)
    }

    /// Whether a framework of this name is among those that were described.
    pub(crate) fn has_framework(&self, name: &str) -> bool {
        self.frameworks.contains(name)
    }

    /// Whether a framework with this component may say something else than what is known of it.
    pub(crate) fn is_to_be_heard(&self, name: &str, component: Option<&str>) -> bool {
        let is = |digest: &Digest| Some(digest.to_string().as_str()) == component;
        let in_force = match self.standing_of(name) {
            Some(standing) => standing.component.as_ref().is_some_and(is),
            None => self.has_framework(name),
        };
        let mut refused = self.refused.iter();
        !in_force && !refused.any(|(of, digest)| of == name && is(digest))
    }

    /// Names the content: equal for equal kinds.
    pub fn fingerprint(&self) -> &Digest {
        &self.fingerprint
    }

    /// Whether this kind is, here and there, the same.
    pub(crate) fn is_same(&self, other: &Self, kind: &str) -> bool {
        let fingerprint = |kinds: &Self| kinds.get(kind).map(|kind| kind.fingerprint.clone());
        let here = fingerprint(self);
        here.is_some() && here == fingerprint(other)
    }

    /// The name of a known kind in another spelling: `service` is `Service`.
    pub fn find(&self, kind: &str) -> Option<&str> {
        self.names().find(|name| name.eq_ignore_ascii_case(kind))
    }

    /// The kind that was probably meant.
    pub(crate) fn nearest(&self, kind: &str) -> Option<Meant<'_>> {
        let other = || {
            let word = of_kind(kind)?;
            self.names().find(|name| *name == word)
        };
        nearest(kind, self.names()).or_else(|| {
            other().map(|word| Meant {
                word,
                is_certain: false,
            })
        })
    }

    /// Normalises and checks a whole specification that no file spells, as after a field was set by
    /// hand.
    ///
    /// # Errors
    /// Says what is wrong, in the words that a manifest with it would get.
    pub fn normalise(&self, kind: &str, spec: &Value) -> Result<Value, Unfit> {
        match self.get(kind) {
            Some(kind) => kind.schema.check_value(spec),
            None => Err(no_kind(kind)),
        }
    }

    /// Judges a change by hand of a specification that is in force: by what it adds to what was
    /// wrong before.
    pub fn judge_change(&self, kind: &str, before: &Value, after: &Value) -> Changed {
        match self.get(kind) {
            Some(kind) => kind.schema.check_change(before, after),
            None => Changed {
                outcome: Err(no_kind(kind)),
                standing: None,
            },
        }
    }
}

fn no_kind(kind: &str) -> Unfit {
    Unfit {
        message: format!("there is no kind {kind}"),
        hint: String::new(),
    }
}

fn compile(
    framework: &str,
    described: &KindDescription,
    known: &BTreeMap<String, Arc<Kind>>,
) -> Result<Kind, KindsError> {
    let kind = described.kind.as_str();
    let is_name = kind.len() <= 63
        && kind.starts_with(|c: char| c.is_ascii_uppercase())
        && kind.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_name {
        return Err(KindsError::Name {
            framework: framework.to_owned(),
            kind: kind.chars().take(63).collect(),
        });
    }
    if let Some(owner) = known.get(kind) {
        return Err(KindsError::Taken {
            framework: framework.to_owned(),
            kind: kind.to_owned(),
            owner: owner
                .framework
                .clone()
                .unwrap_or_else(|| "Kelson".to_owned()),
        });
    }
    let schema =
        Schema::compile(described.schema.clone()).map_err(|reason| KindsError::Schema {
            framework: framework.to_owned(),
            kind: kind.to_owned(),
            reason,
        })?;
    Ok(Kind {
        schema,
        templates: described.templates.clone(),
        framework: Some(framework.to_owned()),
        fingerprint: Digest::of(format!("{framework}{}", self::described(described)).as_bytes()),
    })
}

/// All of a kind that decides what a manifest of it comes to.
fn described(kind: &KindDescription) -> String {
    format!("\n{} {} {:?}", kind.kind, kind.schema, kind.templates)
}
