//! Loads all manifests of a commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::code::Code;
use kelson_model::object::{DesiredObject, ObjectKey, Origin};
use kelson_model::source::{Fault, Related};

use super::envelope::envelope_schema;
use super::file::{self, Outcome};
use super::flaw::{Flaw, tidy};
use super::framework::FRAMEWORK;
use super::kinds::Kinds;
use super::lines::Lines;
use super::resolve::{BlobNeed, Pinned};
use super::schema::Schema;
use super::tree::{Position, Spans};
use super::waiting::{Unjudged, Waiting};

/// A manifest file of a commit: its path from the repository's root, and what names its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManifestFile {
    /// With `/` between folders.
    pub path: Arc<str>,
    /// The blob's id; equal ids mean equal bytes. Any text will do for files outside git, such as a
    /// digest.
    pub blob: Arc<str>,
}

/// Why a file has no bytes to offer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    /// What is wrong, in words.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// One object with the places of its fields.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedObject {
    /// The object, normalised.
    pub desired: DesiredObject,
    /// Where its fields stand; pointers begin at the document (`/spec/instances`).
    pub spans: Spans,
    /// The files of the same commit that it names.
    pub needs: Vec<BlobNeed>,
    pub(crate) text: Arc<str>,
}

impl LoadedObject {
    /// Where the value of a field stands.
    pub fn origin_of(&self, pointer: &str) -> Origin {
        let position = self.spans.value(pointer);
        Origin {
            file: self.desired.origin.file.clone(),
            line: position.line,
            column: Some(position.column),
        }
    }
}

/// What a commit asks for.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The objects of good files, ordered by key; no two have the same.
    pub objects: Vec<Arc<LoadedObject>>,
    /// Objects that no framework takes as things stand, and that one of this commit may take; they
    /// are wanted, and not judged yet.
    pub waiting: Vec<Waiting>,
    /// The frameworks that they wait for: those of this commit that are still to say what they
    /// handle.
    pub awaited: BTreeSet<String>,
    /// Those of `awaited` that are held, and why.
    pub held: BTreeMap<String, String>,
    /// What is known to be in `bad_files`: keys, each with its file.
    pub in_bad_files: BTreeMap<ObjectKey, String>,
    /// Everything that is wrong, ordered by file and place; at most [`super::MAX_FAULTS`].
    pub faults: Vec<Fault>,
    /// Files with a fault: none of their objects is in `objects`.
    pub bad_files: BTreeSet<String>,
    /// How many files were looked at.
    pub files: usize,
    /// All frameworks of the commit as they were read, those of bad files among them.
    pub frameworks: Vec<Arc<LoadedObject>>,
    /// What one of them may take, before it is known which of them are still to be heard.
    pub(crate) unjudged: Vec<Arc<Unjudged>>,
}

impl Loaded {
    /// All keys that the commit wants, judged or not.
    pub fn wanted(&self) -> BTreeSet<&ObjectKey> {
        let judged = self.objects.iter().map(|object| &object.desired.key);
        judged
            .chain(self.waiting.iter().map(|waiting| &waiting.key))
            .collect()
    }

    /// The object of this key.
    pub fn object(&self, key: &ObjectKey) -> Option<&LoadedObject> {
        let at = self
            .objects
            .binary_search_by(|object| object.desired.key.cmp(key))
            .ok()?;
        self.objects.get(at).map(Arc::as_ref)
    }

    /// Takes faults that were found later, by a framework or by the source: their files become bad,
    /// and their objects leave.
    pub fn refuse(&mut self, faults: Vec<Fault>) {
        if faults.is_empty() {
            return;
        }
        let bad = faults.iter().filter(|fault| !fault.file.is_empty());
        self.bad_files.extend(bad.map(|fault| fault.file.clone()));
        let objects = self
            .objects
            .iter()
            .map(|it| (&it.desired.key, &it.desired.origin.file));
        let waiting = self.waiting.iter().map(|it| (&it.key, &it.origin.file));
        let bad_files = &self.bad_files;
        let leaving = objects
            .chain(waiting)
            .filter(|(_, file)| bad_files.contains(*file));
        self.in_bad_files
            .extend(leaving.map(|(key, file)| (key.clone(), file.clone())));
        self.objects
            .retain(|object| !bad_files.contains(&object.desired.origin.file));
        self.waiting
            .retain(|waiting| !bad_files.contains(&waiting.origin.file));
        self.faults.extend(faults);
        self.faults = tidy(std::mem::take(&mut self.faults));
    }
}

/// Remembers what files came to, by path, blob and kinds, for as long as commits have them. With
/// other kinds, a file without fault stays known while the kinds of its own objects are the same.
#[derive(Debug)]
pub struct ParseCache {
    outcomes: BTreeMap<ManifestFile, Arc<Outcome>>,
    kinds: Option<Kinds>,
    envelope: Option<Schema>,
    parsed: u64,
    pub(crate) pinned: Pinned,
}

impl Default for ParseCache {
    fn default() -> Self {
        Self {
            outcomes: BTreeMap::new(),
            kinds: None,
            // The schema is ours and a test holds it valid.
            envelope: Schema::compile(envelope_schema()).ok(),
            parsed: 0,
            pinned: Pinned::new(),
        }
    }
}

impl ParseCache {
    /// How many files were parsed so far, that is, were not found in here.
    pub fn parsed(&self) -> u64 {
        self.parsed
    }
}

/// Loads the files of a commit; [`super::check_frameworks`] ends what begins here.
///
/// `read` is asked for the bytes of files that `cache` does not know; at most
/// [`super::MAX_FILE_BYTES`] and one byte are needed to see that a file is too big.
///
/// Pure but for the cache: the same files and kinds give the same result in whatever order the
/// files come.
pub fn load(
    files: &[ManifestFile],
    kinds: &Kinds,
    cache: &mut ParseCache,
    mut read: impl FnMut(&ManifestFile) -> Result<Arc<[u8]>, Unreadable>,
) -> Loaded {
    let before = cache.kinds.replace(kinds.clone());
    if let Some(before) = before.filter(|before| before.fingerprint() != kinds.fingerprint()) {
        let is_same = |kind: &str| kinds.is_same(&before, kind);
        cache.outcomes.retain(|_, outcome| outcome.stands(is_same));
    }
    let mut outcomes = BTreeMap::new();
    for file in files {
        let known = cache.outcomes.get(file).cloned();
        let outcome = match (known, &cache.envelope) {
            (Some(outcome), _) => outcome,
            (None, None) => continue,
            (None, Some(envelope)) => {
                let bytes = match read(file) {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        // Not remembered: it may be readable the next time.
                        outcomes.insert(file.clone(), Arc::new(unreadable(&file.path, &error)));
                        continue;
                    }
                };
                cache.parsed += 1;
                Arc::new(file::check(&file.path, &bytes, envelope, kinds))
            }
        };
        outcomes.insert(file.clone(), outcome);
    }
    let loaded = gather(&outcomes);
    outcomes.retain(|_, outcome| !outcome.is_unreadable());
    cache.outcomes = outcomes;
    loaded
}

impl Outcome {
    /// Whether it is the same where `is_same` kinds are: of a file with faults that is not known.
    fn stands(&self, is_same: impl Fn(&str) -> bool) -> bool {
        let is_good = self.faults.is_empty() && self.unjudged.is_empty();
        is_good && self.objects.iter().all(|it| is_same(&it.desired.key.kind))
    }

    fn is_unreadable(&self) -> bool {
        self.faults
            .iter()
            .any(|fault| fault.code == Code::UnreadableFile)
    }
}

fn unreadable(path: &str, error: &Unreadable) -> Outcome {
    let flaw = Flaw::new(
        Code::UnreadableFile,
        Position::default(),
        error.message.clone(),
        error.hint.clone(),
    );
    Outcome {
        faults: vec![flaw.in_file(path, &Lines::new(""))],
        ..Outcome::default()
    }
}

fn gather(outcomes: &BTreeMap<ManifestFile, Arc<Outcome>>) -> Loaded {
    let objects = || outcomes.values().flat_map(|outcome| &outcome.objects);
    let frameworks: Vec<Arc<LoadedObject>> = objects()
        .filter(|object| object.desired.key.kind == FRAMEWORK)
        .cloned()
        .collect();
    let brought = frameworks.iter();
    let brought: BTreeSet<String> = brought.map(|it| it.desired.key.name.clone()).collect();
    let mut faults: Vec<Fault> = Vec::new();
    let mut unjudged: Vec<Arc<Unjudged>> = Vec::new();
    for outcome in outcomes.values() {
        faults.extend(outcome.faults.iter().cloned());
        for document in &outcome.unjudged {
            if document.may_wait_for(&brought) {
                unjudged.push(Arc::clone(document));
            } else {
                faults.extend(document.faults.iter().cloned());
            }
        }
    }
    let mut first: BTreeMap<&ObjectKey, &Arc<LoadedObject>> = BTreeMap::new();
    for object in objects() {
        if let Some(other) = first.get(&object.desired.key) {
            faults.push(twice(object, other));
            faults.push(twice(other, object));
        } else {
            first.insert(&object.desired.key, object);
        }
    }
    let bad_files: BTreeSet<String> = faults.iter().map(|fault| fault.file.clone()).collect();
    let in_bad_files = first
        .values()
        .map(|object| (&object.desired.key, &object.desired.origin.file))
        .filter(|(_, file)| bad_files.contains(*file))
        .map(|(key, file)| (key.clone(), file.clone()))
        .collect();
    Loaded {
        in_bad_files,
        objects: first
            .into_values()
            .filter(|object| !bad_files.contains(&object.desired.origin.file))
            .cloned()
            .collect(),
        faults: tidy(faults),
        bad_files,
        files: outcomes.len(),
        frameworks,
        unjudged,
        ..Loaded::default()
    }
}

fn twice(object: &LoadedObject, other: &LoadedObject) -> Fault {
    let place = &other.desired.origin;
    let name = other.spans.value("/metadata/name");
    let mut fault = fault_at(
        object,
        "/metadata/name",
        Code::DuplicateObject,
        format!(
            "{} stands here and at {}:{}",
            object.desired.key, place.file, place.line
        ),
        "keep one of the two, or give one another name or namespace".to_owned(),
    );
    fault.related.push(Related {
        file: place.file.clone(),
        line: name.line,
        column: name.column,
        message: "the other one stands here".to_owned(),
    });
    fault
}

/// A fault at a field of an object, such as a problem that the framework of its kind found.
/// `pointer` begins at the document (`/spec/run/command`). Where the field comes through an alias,
/// the fault is at the alias and names both places.
pub fn fault_at(
    object: &LoadedObject,
    pointer: &str,
    code: Code,
    message: String,
    hint: String,
) -> Fault {
    let (range, alias) = object.spans.range(pointer);
    let mut flaw = Flaw::over(code, alias.unwrap_or(range), message, hint);
    if alias.is_some() {
        flaw = flaw.with_related(range.start, "the value is written here");
    }
    flaw.in_file(&object.desired.origin.file, &Lines::new(&object.text))
}
