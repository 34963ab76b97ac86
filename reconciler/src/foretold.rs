//! A source checked before any kernel has the components that its frameworks name: each is asked
//! here, and the manifests are read as they will be once it is in force, or is refused.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use kelson_model::code::Code;
use kelson_model::framework::{
    Claim, Description, FaultCause, FrameworkSpec, KindDescription, Limits, kind_objection,
    name_objection, serves,
};
use kelson_model::id::Digest;
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::source::Fault;
use kelson_model::spec::Spec;
use kelson_model::view::FrameworkRow;
use kelson_reconciler_core::manifest::{Kinds, Loaded, LoadedObject, fault_at};
use serde::Deserialize as _;

use crate::desired::{Desired, Loader};
use crate::kinds;
use crate::source::{ManifestSource, SourceError};
use crate::validator::{Problem, Validator};

/// The sandbox in which components are asked about themselves.
///
/// *Assumes*: pure; it may take some time, and is called where blocking is allowed.
pub trait Components: Send + Sync + 'static {
    /// What a component says about itself.
    ///
    /// # Errors
    /// Says in words why it cannot be used.
    fn describe(
        &self,
        component: &Digest,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Description, String>;

    /// What a component says against the specification of one object; nothing where it has not
    /// been described here.
    fn validate(&self, component: &Digest, kind: &str, spec: &Spec) -> Vec<Problem>;
}

/// A source as it will be read once its frameworks are heard.
#[derive(Debug)]
pub struct Foretold {
    /// Its objects and faults, what is wrong with its components among them.
    pub desired: Desired,
    /// The kinds that it was read with.
    pub kinds: Kinds,
}

/// Reads and checks all manifests of a source. `frameworks` are those that there are; what they
/// come to with the components of the source follows the kernel's rules: a component that cannot be
/// used is told, and its framework's object is accepted all the same, with the component before it
/// in force. Blocks.
///
/// # Errors
/// When the source as a whole cannot be read.
pub fn check_source(
    source: &dyn ManifestSource,
    frameworks: Vec<FrameworkRow>,
    components: &Arc<dyn Components>,
) -> Result<Foretold, SourceError> {
    let asked = Arc::new(Asked {
        rows: RwLock::new(frameworks.clone()),
        components: Arc::clone(components),
    });
    let mut loader = Loader::new(asked.clone());
    let (mut kinds, mut errors) = kinds::of_rows(&frameworks);
    let mut desired = loader.load(source, &kinds)?;
    let mut hearing = Hearing {
        rows: frameworks.clone(),
        heard: BTreeSet::new(),
        faults: Vec::new(),
        wanted: desired.loaded.wanted().into_iter().cloned().collect(),
        leaving: BTreeSet::new(),
    };
    hearing.mark_leaving(&desired.loaded);
    let brought = desired.loaded.frameworks.clone();
    let mut names = BTreeSet::new();
    for object in &brought {
        // A second one of the same name is told by its name.
        if names.insert(object.desired.key.name.as_str()) {
            let is_good = desired.loaded.object(&object.desired.key).is_some();
            hearing.hear(object, is_good, source, components.as_ref());
        }
    }
    hearing.let_go();
    if hearing.rows != frameworks || !hearing.heard.is_empty() {
        *asked.rows.write().unwrap_or_else(PoisonError::into_inner) = hearing.rows.clone();
        loader.forget_judgements_of(&hearing.heard);
        (kinds, errors) = kinds::of_rows(&hearing.rows);
        desired = loader.load(source, &kinds)?;
    }
    let unusable = errors.iter().filter_map(|error| {
        let object = brought
            .iter()
            .find(|it| it.desired.key.name == error.framework())?;
        Some(unusable(object, error.to_string(), ANOTHER_NAME))
    });
    desired.components = hearing.faults;
    desired.components.extend(unusable);
    Ok(Foretold { desired, kinds })
}

const ANOTHER_NAME: &str = "a kind has one framework; the component's author gives it another name";

fn unusable(object: &LoadedObject, message: String, hint: &str) -> Fault {
    fault_at(
        object,
        "/spec/component/path",
        Code::Rejected,
        message,
        hint.to_owned(),
    )
}

/// What the frameworks come to, one after another.
///
/// Two rules of the kernel are not asked here, since only it knows: what its operator
/// allows, and whether a kind that would go has living tasks.
struct Hearing {
    rows: Vec<FrameworkRow>,
    /// The components that can be asked now.
    heard: BTreeSet<Digest>,
    faults: Vec<Fault>,
    /// What the source asks for.
    wanted: Vec<ObjectKey>,
    /// The frameworks that it has no more: each stays in force for the objects that nobody else
    /// takes, as in the kernel.
    leaving: BTreeSet<(Namespace, String)>,
}

/// Whether a framework has a kind.
fn brings(row: &FrameworkRow, kind: &str) -> bool {
    let described = row.description.iter().flat_map(|it| &it.kinds);
    described
        .into_iter()
        .any(|described| described.kind == kind)
}

/// Whether a framework serves the namespace of an object.
fn is_served(row: &FrameworkRow, key: &ObjectKey) -> bool {
    serves(
        &row.namespace,
        &row.namespaces,
        row.built_in,
        &key.namespace,
    )
}

/// What a framework has that no other may have.
fn claim(row: &FrameworkRow) -> Claim<'_> {
    Claim {
        namespace: &row.namespace,
        name: &row.name,
        is_in_force: row.component.is_some(),
        description: row.description.as_ref(),
    }
}

impl Hearing {
    /// Frameworks that the source has no more go with what else goes: not while a file is bad.
    fn mark_leaving(&mut self, loaded: &Loaded) {
        if !loaded.bad_files.is_empty() {
            return;
        }
        let is_there = |row: &&FrameworkRow| {
            let mut objects = loaded.frameworks.iter().map(|it| &it.desired.key);
            objects.any(|key| key.name == row.name && key.namespace == row.namespace)
        };
        let gone = self.rows.iter().filter(|row| !row.built_in);
        let gone = gone.filter(|row| !is_there(row));
        self.leaving = gone
            .map(|row| (row.namespace.clone(), row.name.clone()))
            .collect();
    }

    fn is_leaving(&self, row: &FrameworkRow) -> bool {
        let key = (row.namespace.clone(), row.name.clone());
        self.leaving.contains(&key)
    }

    /// Whether a framework has a kind, and objects of it that this one does not take over.
    fn keeps(&self, other: &FrameworkRow, kind: &str, by: &FrameworkRow) -> bool {
        let mut objects = self.wanted.iter().filter(|key| key.kind == kind);
        brings(other, kind)
            && (!self.is_leaving(other)
                || objects.any(|key| is_served(other, key) && !is_served(by, key)))
    }

    /// Drops the frameworks that are leaving and have no objects any more.
    fn let_go(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let is_used = |row: &FrameworkRow| {
            let mut wanted = self.wanted.iter();
            wanted.any(|key| brings(row, &key.kind) && is_served(row, key))
        };
        let stays = |row: &FrameworkRow| !self.is_leaving(row) || is_used(row);
        self.rows = rows.into_iter().filter(stays).collect();
    }

    /// Asks the component of one framework. One in a bad file is heard for what is wrong with it,
    /// and brings nothing yet.
    fn hear(
        &mut self,
        object: &LoadedObject,
        is_good: bool,
        source: &dyn ManifestSource,
        components: &dyn Components,
    ) {
        let key = &object.desired.key;
        let mut paths = object.needs.iter().flat_map(|need| &need.paths);
        let artifact = paths.find_map(|path| source.read_at(path).ok());
        // A name that another one has, and a component that is not there, are told with the
        // manifests.
        let Some(artifact) = artifact.filter(|_| !self.is_of_another(key)) else {
            return;
        };
        let (limits, namespaces) = FrameworkSpec::deserialize(object.desired.spec.value())
            .map_or_else(
                |_| (Limits::default(), Vec::new()),
                |it| (it.limits, it.namespaces),
            );
        let component = Digest::of(&artifact.bytes);
        let described = components.describe(&component, &artifact.bytes, &limits);
        if described.is_ok() {
            self.heard.insert(component.clone());
        }
        let heard = match described {
            Ok(description) => match self.taken(key, &namespaces, &description) {
                None => Ok(description),
                Some(taken) => Err((
                    FaultCause::NotAllowed,
                    unusable(object, taken, ANOTHER_NAME),
                )),
            },
            Err(reason) => Err((
                FaultCause::BadComponent,
                unusable(
                    object,
                    format!("the component cannot be used: {reason}"),
                    "build it against the treaty in wit/, as a component that imports nothing else",
                ),
            )),
        };
        if let Err((_, fault)) = &heard {
            self.faults.push(fault.clone());
        }
        if is_good {
            let mut row = self.row(key);
            row.namespaces = namespaces;
            match heard {
                Ok(description) => {
                    self.take_over(&description);
                    row.component = Some(component);
                    row.description = Some(description);
                }
                Err((cause, fault)) => {
                    row.fault = Some(fault.message);
                    row.fault_of = Some(component);
                    row.fault_cause = cause;
                }
            }
            self.rows.push(row);
        }
    }

    /// Whether the name is that of another framework.
    fn is_of_another(&self, key: &ObjectKey) -> bool {
        let mut rows = self.rows.iter();
        let in_box = rows.any(|row| row.built_in && row.name == key.name);
        let staying = self.others(key).filter(|row| !self.is_leaving(row));
        in_box || name_objection(key, staying.map(claim)).is_some()
    }

    /// A kind of a description that another framework has and does not give up.
    fn taken(
        &self,
        key: &ObjectKey,
        namespaces: &[Namespace],
        description: &Description,
    ) -> Option<String> {
        let by = FrameworkRow {
            namespaces: namespaces.to_vec(),
            ..FrameworkRow::new(key)
        };
        let taken = |kind: &KindDescription| {
            let keeping = self
                .others(key)
                .filter(|other| self.keeps(other, &kind.kind, &by));
            kind_objection(std::slice::from_ref(kind), keeping.map(claim))
        };
        description.kinds.iter().find_map(taken)
    }

    fn others(&self, key: &ObjectKey) -> impl Iterator<Item = &FrameworkRow> {
        let is_it = |row: &FrameworkRow| row.name == key.name && row.namespace == key.namespace;
        self.rows.iter().filter(move |row| !is_it(row))
    }

    /// Takes the kinds that a framework brings from those that are leaving.
    fn take_over(&mut self, by: &Description) {
        for row in &mut self.rows {
            let key = (row.namespace.clone(), row.name.clone());
            let described = row.description.as_mut();
            if let Some(described) = described.filter(|_| self.leaving.contains(&key)) {
                let is_brought = |kind: &str| by.kinds.iter().any(|it| it.kind == kind);
                described.kinds.retain(|it| !is_brought(&it.kind));
            }
        }
    }

    /// Takes the row of a framework out of the others.
    fn row(&mut self, key: &ObjectKey) -> FrameworkRow {
        let is_it = |row: &FrameworkRow| row.name == key.name && row.namespace == key.namespace;
        match self.rows.iter().position(is_it) {
            Some(at) => self.rows.remove(at),
            None => FrameworkRow::new(key),
        }
    }
}

/// Asks the framework of each kind.
struct Asked {
    rows: RwLock<Vec<FrameworkRow>>,
    components: Arc<dyn Components>,
}

impl Validator for Asked {
    fn validate(&self, key: &ObjectKey, spec: &Spec) -> Vec<Problem> {
        // Whether it serves the namespace is checked with the manifests.
        self.component(&key.kind)
            .map_or_else(Vec::new, |component| {
                self.components.validate(&component, &key.kind, spec)
            })
    }

    fn component(&self, kind: &str) -> Option<Digest> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.iter().find_map(|row| {
            let mut kinds = row.description.as_ref()?.kinds.iter();
            kinds.find(|described| described.kind == kind)?;
            row.component.clone()
        })
    }
}
