//! What waits for a framework of the same commit, instead of being at fault.
//!
//! What an object may say is its framework's word. Where a commit brings a framework, or another
//! component of one, that word is not spoken yet: what the frameworks there are do not take may be
//! good all the same. Such an object waits, the framework goes ahead, and once it has described
//! itself the object is judged by what it says.

use std::collections::{BTreeMap, BTreeSet};

use kelson_model::object::{ObjectKey, Origin};
use kelson_model::source::Fault;
use serde_json::Value;

use super::framework::FRAMEWORK;
use super::kinds::Kinds;
use super::load::{Loaded, LoadedObject};

/// A document that no framework takes as things stand: a fault, or a reason to wait.
#[derive(Debug)]
pub(crate) struct Unjudged {
    /// What it names, where its envelope is good.
    pub(crate) object: Option<(ObjectKey, Origin)>,
    /// The framework that does not take it; absent: none brings its kind.
    pub(crate) framework: Option<String>,
    /// What is wrong with it if nothing is waited for.
    pub(crate) faults: Vec<Fault>,
}

/// An object that cannot be judged before a framework of the same commit is there to say what its
/// kind is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What its envelope names.
    pub key: ObjectKey,
    /// Where its document begins.
    pub origin: Origin,
    /// The framework that has its kind and does not take it as it is now; absent: none has it.
    pub framework: Option<String>,
    /// What that one says against it.
    pub says: Option<String>,
}

impl Waiting {
    /// What it waits for, in one sentence.
    pub fn message(&self) -> String {
        let Some(framework) = &self.framework else {
            return "no framework brings its kind yet; it waits for a new framework of this commit to say what it handles".to_owned();
        };
        let says = self.says.as_deref().unwrap_or("it does not take it");
        format!(
            "it waits for the new version of framework {framework}, which comes with this commit; the one in force says: {says}"
        )
    }
}

impl Unjudged {
    /// Whether one of these frameworks could take it.
    pub(crate) fn may_wait_for(&self, frameworks: &BTreeSet<String>) -> bool {
        let is_any = match &self.framework {
            Some(framework) => frameworks.contains(framework),
            None => !frameworks.is_empty(),
        };
        is_any && self.object.is_some()
    }
}

impl Loaded {
    /// Decides who waits, now that the components of the commit's frameworks are pinned, and makes
    /// faults of the others.
    pub(super) fn settle(&mut self, kinds: &Kinds) {
        let awaited = self.still_to_be_heard(kinds);
        let held = awaited.iter().filter_map(|(name, pinned)| {
            let why = kinds.held(name, pinned.as_deref())?;
            Some((name.clone(), why.to_owned()))
        });
        self.held = held.collect();
        self.awaited = awaited.into_keys().collect();
        let mut faults: Vec<Fault> = Vec::new();
        for document in std::mem::take(&mut self.unjudged) {
            match &document.object {
                Some((key, origin)) if document.may_wait_for(&self.awaited) => {
                    self.waiting.push(Waiting {
                        key: key.clone(),
                        origin: origin.clone(),
                        framework: document.framework.clone(),
                        says: document.faults.first().map(|fault| fault.message.clone()),
                    });
                }
                _ => faults.extend(document.faults.iter().cloned()),
            }
        }
        let bad_files = &self.bad_files;
        self.waiting
            .retain(|waiting| !bad_files.contains(&waiting.origin.file));
        self.tidy_waiting();
        self.refuse(faults);
    }

    /// Lets objects wait that `framework` does not take, each with what it says; it is one of those
    /// that are awaited.
    pub fn defer(&mut self, framework: &str, objects: &BTreeMap<ObjectKey, String>) {
        if objects.is_empty() {
            return;
        }
        let waits = |object: &LoadedObject| objects.get(&object.desired.key);
        for object in &self.objects {
            if let Some(says) = waits(object) {
                self.waiting.push(Waiting {
                    key: object.desired.key.clone(),
                    origin: object.desired.origin.clone(),
                    framework: Some(framework.to_owned()),
                    says: Some(says.clone()),
                });
            }
        }
        self.objects.retain(|object| waits(object).is_none());
        self.tidy_waiting();
    }

    fn tidy_waiting(&mut self) {
        self.waiting
            .sort_by(|a, b| a.key.cmp(&b.key).then_with(|| a.origin.cmp(&b.origin)));
        self.waiting.dedup_by(|a, b| a.key == b.key);
    }

    /// The frameworks of the commit that may yet say something else than what is known of them. Of
    /// one in a bad file nothing is known but its name, which is enough where it is a new one.
    fn still_to_be_heard(&self, kinds: &Kinds) -> BTreeMap<String, Option<String>> {
        let objects = self.objects.iter().map(|object| &object.desired);
        let pinned: BTreeMap<&str, Option<Value>> = objects
            .filter(|desired| desired.key.kind == FRAMEWORK)
            .map(|desired| (desired.key.name.as_str(), desired.spec.pointer("/digest")))
            .collect();
        let names = self.frameworks.iter().map(|it| &it.desired.key.name);
        names
            .filter_map(|name| {
                let component = pinned.get(name.as_str());
                let digest = component.and_then(|it| it.as_ref().and_then(Value::as_str));
                let is_awaited = match component {
                    Some(_) => kinds.is_to_be_heard(name, digest),
                    None => !kinds.has_framework(name),
                };
                is_awaited.then(|| (name.clone(), digest.map(str::to_owned)))
            })
            .collect()
    }

    /// The framework that is held and that an object waits for, and why it is held. An object of no
    /// framework's kind waits for any of them.
    pub(crate) fn held_for(&self, waiting: &Waiting) -> Option<(&str, &str)> {
        let mut held = self.held.iter();
        let (framework, why) = match &waiting.framework {
            Some(framework) => self.held.get_key_value(framework)?,
            None => held
                .next()
                .filter(|_| self.held.len() == self.awaited.len())?,
        };
        Some((framework, why))
    }
}
