//! What a revision asks for: its manifests loaded, judged, and their files pinned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::code::Code;
use kelson_model::id::{Digest, Revision};
use kelson_model::object::{DesiredObject, ObjectKey};
use kelson_model::source::Fault;
use kelson_model::spec::Spec;
use kelson_reconciler_core::manifest::{
    FRAMEWORK, Kinds, Loaded, LoadedObject, ManifestFile, ParseCache, Unreadable, check_frameworks,
    fault_at, load, rejected, resolve, tidy,
};

use crate::source::{BlobId, Listing, ManifestSource, SourceError, TreeFault};
use crate::validator::{Problem, Validator};

/// The largest object, as JSON.
pub const MAX_OBJECT_BYTES: usize = DesiredObject::MAX_BYTES;

/// What a revision, or a folder, asks for.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// The revision; absent for a folder.
    pub revision: Option<Revision>,
    /// Its objects and faults.
    pub loaded: Loaded,
    /// Where the files that objects name stand, by their digest.
    pub files: BTreeMap<Digest, String>,
    /// Whether something could not be read that may be readable the next time.
    pub is_unsure: bool,
    /// What is wrong with components that its frameworks name, where they were asked here. Their
    /// objects are accepted all the same, and the kernel says so of them.
    pub components: Vec<Fault>,
}

#[derive(Debug)]
struct Judged {
    object: Arc<LoadedObject>,
    /// The component whose verdict it is.
    by: Option<Digest>,
    problems: Vec<Problem>,
    is_too_big: Option<usize>,
    is_too_deep: Option<usize>,
}

/// Loads revisions one after another, at the cost of what has changed between them.
///
/// *Assumes*: called where blocking is allowed.
pub struct Loader {
    validator: Arc<dyn Validator>,
    cache: ParseCache,
    names: BTreeMap<BlobId, Arc<str>>,
    digests: BTreeMap<BlobId, Digest>,
    judged: BTreeMap<ObjectKey, Judged>,
    kinds: Option<Digest>,
    /// Whether something could not be read in this load that may be readable the next time.
    is_unsure: bool,
}

impl Loader {
    /// Makes one that remembers nothing yet.
    pub fn new(validator: Arc<dyn Validator>) -> Self {
        Self {
            validator,
            cache: ParseCache::default(),
            names: BTreeMap::new(),
            digests: BTreeMap::new(),
            judged: BTreeMap::new(),
            kinds: None,
            is_unsure: false,
        }
    }

    /// How many files were parsed so far.
    pub fn parsed(&self) -> u64 {
        self.cache.parsed()
    }

    /// Forgets what frameworks have said; they are others now.
    pub fn forget_judgements(&mut self) {
        self.judged.clear();
    }

    /// Forgets what these components have said, or could not say.
    pub(crate) fn forget_judgements_of(&mut self, components: &BTreeSet<Digest>) {
        self.judged.retain(|_, judged| {
            let by = judged.by.as_ref();
            by.is_none_or(|by| !components.contains(by))
        });
    }

    /// Loads everything; what is wrong with files and objects is in the answer.
    ///
    /// # Errors
    /// When the source as a whole cannot be read.
    pub fn load(
        &mut self,
        source: &dyn ManifestSource,
        kinds: &Kinds,
    ) -> Result<Desired, SourceError> {
        if self.kinds.as_ref() != Some(kinds.fingerprint()) {
            self.kinds = Some(kinds.fingerprint().clone());
            self.judged.retain(|_, judged| judged.by.is_some());
        }
        let listing = source.files()?;
        let files = self.manifests(&listing);
        let mut failure = None;
        self.is_unsure = false;
        let mut loaded = load(&files, kinds, &mut self.cache, |file| {
            let found = listing.file(&file.path).ok_or_else(|| Unreadable {
                message: "it has left the listing".to_owned(),
                hint: String::new(),
            })?;
            match source.read(found) {
                Ok(bytes) => Ok(Arc::from(&*bytes)),
                Err(error) => {
                    let unreadable = Unreadable {
                        message: error.to_string(),
                        hint: "mend the file, or its permissions".to_owned(),
                    };
                    self.is_unsure |= error.may_pass();
                    if matches!(error, SourceError::Gone { .. }) {
                        failure = Some(error);
                    }
                    Err(unreadable)
                }
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        loaded.refuse(listing.faults.iter().map(tree_fault).collect());
        let pinned = self.pin(source, &mut loaded)?;
        let loaded = resolve(loaded, &mut self.cache, |path| pinned.get(path).cloned());
        let mut loaded = check_frameworks(loaded, kinds);
        self.judge(&mut loaded, kinds);
        let files = pinned
            .into_iter()
            .map(|(path, digest)| (digest, path))
            .collect();
        Ok(Desired {
            revision: source.revision(),
            loaded,
            files,
            is_unsure: self.is_unsure,
            components: Vec::new(),
        })
    }

    fn manifests(&mut self, listing: &Listing) -> Vec<ManifestFile> {
        let mut names = BTreeMap::new();
        let mut files = Vec::with_capacity(listing.files.len());
        for file in &listing.files {
            let name = match self.names.get(&file.blob) {
                Some(name) => Arc::clone(name),
                None => Arc::from(file.blob.to_string()),
            };
            names.insert(file.blob, Arc::clone(&name));
            files.push(ManifestFile {
                path: Arc::clone(&file.path),
                blob: name,
            });
        }
        self.names = names;
        files
    }

    /// Finds the digests of the files that objects name; a file that is there and cannot be used is
    /// a fault.
    fn pin(
        &mut self,
        source: &dyn ManifestSource,
        loaded: &mut Loaded,
    ) -> Result<BTreeMap<String, Digest>, SourceError> {
        let paths: Vec<&str> = loaded.needed_paths().into_iter().collect();
        if paths.is_empty() {
            self.digests.clear();
            return Ok(BTreeMap::new());
        }
        let ids = source.blob_ids(&paths)?;
        let mut known = BTreeMap::new();
        let mut pinned = BTreeMap::new();
        let mut refused: BTreeMap<&str, SourceError> = BTreeMap::new();
        for (path, id) in paths.iter().zip(ids) {
            if let Some((id, digest)) = id.and_then(|id| Some((id, self.digests.get(&id)?))) {
                pinned.insert((*path).to_owned(), digest.clone());
                known.insert(id, digest.clone());
                continue;
            }
            match source.read_at(path) {
                Ok(artifact) => {
                    let digest = Digest::of(&artifact.bytes);
                    pinned.insert((*path).to_owned(), digest.clone());
                    known.insert(artifact.blob, digest);
                }
                Err(error @ SourceError::Gone { .. }) => return Err(error),
                Err(SourceError::NoSuchPath { .. }) => {}
                Err(error) => {
                    self.is_unsure |= error.may_pass();
                    refused.insert(path, error);
                }
            }
        }
        let mut faults = Vec::new();
        for object in &loaded.objects {
            for need in &object.needs {
                let is_found = need.paths.iter().any(|path| pinned.contains_key(path));
                let error = need
                    .paths
                    .iter()
                    .find_map(|path| refused.get(path.as_str()));
                if let (false, Some(error)) = (is_found, error) {
                    faults.push(fault_at(
                        object,
                        &need.pointer,
                        Code::MissingFile,
                        error.to_string(),
                        cure(error).to_owned(),
                    ));
                }
            }
        }
        self.digests = known;
        loaded.refuse(faults);
        Ok(pinned)
    }

    /// Asks about every object that is not the one it was the last time, or that another component
    /// judges now. What a framework says is no last word where another component is to take its
    /// place.
    fn judge(&mut self, loaded: &mut Loaded, kinds: &Kinds) {
        let mut verdicts = self.verdicts(&loaded.objects).into_iter();
        let mut judged = BTreeMap::new();
        let mut faults = Vec::new();
        let mut waiting: BTreeMap<&str, BTreeMap<ObjectKey, String>> = BTreeMap::new();
        for object in &loaded.objects {
            let key = &object.desired.key;
            let Some(verdict) = verdicts.next() else {
                break;
            };
            let framework = kinds.framework_of(&key.kind);
            let awaited = framework.filter(|name| loaded.awaited.contains(*name));
            if let (Some(framework), Some(first)) = (awaited, verdict.problems.first()) {
                let waits = waiting.entry(framework).or_default();
                waits.insert(key.clone(), first.message.clone());
                judged.insert(key.clone(), verdict);
                continue;
            }
            for problem in &verdict.problems {
                faults.push(rejected(object, &problem.pointer, &problem.message));
            }
            if let Some(size) = verdict.is_too_big {
                faults.push(fault_at(
                    object,
                    "",
                    Code::TooBig,
                    format!("{key} has {size} bytes with its defaults; at most {MAX_OBJECT_BYTES} are kept of one object"),
                    "name large contents as files of the commit with `source:`".to_owned(),
                ));
            }
            if let Some(depth) = verdict.is_too_deep {
                faults.push(fault_at(
                    object,
                    "",
                    Code::TooBig,
                    format!(
                        "{key} is nested {depth} deep with its defaults; at most {} are taken",
                        Spec::MAX_DEPTH
                    ),
                    "nest it less deep".to_owned(),
                ));
            }
            judged.insert(key.clone(), verdict);
        }
        self.judged = judged;
        for (framework, objects) in &waiting {
            loaded.defer(framework, objects);
        }
        loaded.refuse(faults);
    }

    /// The verdicts about all objects, in their order; those that are not known are asked for on
    /// all processors.
    fn verdicts(&mut self, objects: &[Arc<LoadedObject>]) -> Vec<Judged> {
        let mut unknown: Vec<(&Arc<LoadedObject>, Option<Digest>)> = Vec::new();
        let mut by_kind: BTreeMap<&str, Option<Digest>> = BTreeMap::new();
        let mut known = Vec::with_capacity(objects.len());
        for object in objects {
            let key = &object.desired.key;
            let by = by_kind
                .entry(&key.kind)
                .or_insert_with(|| self.validator.component(&key.kind));
            let before = self.judged.remove(key).filter(|before| {
                let is_same =
                    Arc::ptr_eq(&before.object, object) || before.object.desired == object.desired;
                is_same && before.by == *by
            });
            if before.is_none() {
                unknown.push((object, by.clone()));
            }
            known.push(before.map(|before| Judged {
                object: Arc::clone(object),
                ..before
            }));
        }
        let mut asked = ask_all(self.validator.as_ref(), &unknown).into_iter();
        let verdicts = known
            .into_iter()
            .map(|known| known.or_else(|| asked.next()));
        verdicts.flatten().collect()
    }
}

/// Fewest objects for which another thread is worth its start.
const MIN_PART: usize = 16;

/// Asks about objects side by side; the answers come in the order of the questions.
fn ask_all(
    validator: &dyn Validator,
    asked: &[(&Arc<LoadedObject>, Option<Digest>)],
) -> Vec<Judged> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let part = asked.len().div_ceil(processors).max(MIN_PART);
    let judge = |part: &[(&Arc<LoadedObject>, Option<Digest>)]| {
        let verdicts = part.iter();
        let verdicts = verdicts.map(|(object, by)| verdict(validator, object, by.clone()));
        verdicts.collect::<Vec<Judged>>()
    };
    let mut parts = asked.chunks(part);
    let first = parts.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(move || judge(part))).collect();
        let mut verdicts = judge(first);
        for other in others {
            match other.join() {
                Ok(answers) => verdicts.extend(answers),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        verdicts
    })
}

fn verdict(validator: &dyn Validator, object: &Arc<LoadedObject>, by: Option<Digest>) -> Judged {
    let desired = &object.desired;
    let problems = if desired.key.kind == FRAMEWORK {
        Vec::new()
    } else {
        validator.validate(&desired.key, &desired.spec)
    };
    let size = serde_json::to_vec(desired).map_or(usize::MAX, |json| json.len());
    let depth = desired.spec.depth();
    Judged {
        object: Arc::clone(object),
        by,
        problems,
        is_too_big: (size > MAX_OBJECT_BYTES).then_some(size),
        is_too_deep: (depth > Spec::MAX_DEPTH).then_some(depth),
    }
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Loader")
            .field("parsed", &self.cache.parsed())
            .field("judged", &self.judged.len())
            .finish()
    }
}

impl Desired {
    /// Everything that is wrong, ordered by file and place.
    pub fn errors(&self) -> Vec<Fault> {
        let faults = self.loaded.faults.iter().chain(&self.components);
        tidy(faults.cloned().collect())
    }

    /// The digests of the files that these objects name.
    pub(crate) fn needed_by<'a>(
        &self,
        objects: impl IntoIterator<Item = &'a LoadedObject>,
    ) -> BTreeSet<Digest> {
        let needs = objects.into_iter().flat_map(|object| {
            let spec = &object.desired.spec;
            object
                .needs
                .iter()
                .filter_map(move |need| spec.pointer(&need.digest_at))
        });
        needs
            .filter_map(|digest| digest.as_str()?.parse().ok())
            .collect()
    }
}

/// What to do about a file that a manifest names and that cannot be used.
fn cure(error: &SourceError) -> &'static str {
    match error {
        SourceError::TooLarge { .. } => {
            "make it smaller: a component without its debug sections (`wasm-tools strip`), a file \
             in parts; or let the program fetch it where it runs"
        }
        SourceError::LfsPointer { .. } => "take its path out of .gitattributes, and add it again",
        _ => "name an ordinary file of the same commit",
    }
}

/// Something that stands where a manifest could stand and cannot be read as one.
fn tree_fault(fault: &TreeFault) -> Fault {
    let (line, column) = fault.cause.position();
    Fault {
        line,
        column,
        ..Fault::of_file(
            Code::UnreadableFile,
            &*fault.path,
            fault.cause.to_string(),
            fault.cause.hint(),
        )
    }
}
