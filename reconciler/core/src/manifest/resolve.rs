//! Resolves the files of a commit that manifests name: pins each by its digest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::code::Code;
use kelson_model::id::Digest;
use kelson_model::object::ObjectKey;
use kelson_model::source::Fault;
use serde_json::Value;

use super::flaw::{Flaw, Rewrite};
use super::framework::FRAMEWORK;
use super::load::{Loaded, LoadedObject, ParseCache, fault_at};
use super::pointer;
use super::tree::Node;
use super::written;

/// A file of the same commit that an object names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobNeed {
    /// Where the object names it, from the document: `/spec/run/files/0/source`.
    pub pointer: String,
    /// Where its digest belongs, from the specification: `/run/files/0/digest`.
    pub digest_at: String,
    /// Where it may stand, from the repository's root; the first that is there counts: as it is
    /// written, then beside the manifest.
    pub paths: Vec<String>,
}

/// Finds what an object names, and what it must not name.
pub(crate) fn needs(
    file: &str,
    kind: &str,
    templates: &[String],
    spec: &Value,
    document: &Node,
) -> (Vec<BlobNeed>, Vec<Flaw>) {
    let mut wanted: Vec<(String, String)> = Vec::new();
    if kind == FRAMEWORK {
        wanted.push(("/component/path".to_owned(), "/digest".to_owned()));
    }
    for template in templates {
        let files = format!("{template}/run/files");
        let count = spec
            .pointer(&files)
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        for index in 0..count {
            wanted.push((
                format!("{files}/{index}/source"),
                format!("{files}/{index}/digest"),
            ));
        }
    }
    let mut needs = Vec::new();
    let mut flaws = Vec::new();
    for (source_at, digest_at) in wanted {
        let Some(written) = spec.pointer(&source_at).and_then(Value::as_str) else {
            continue;
        };
        let pointer = format!("/spec{source_at}");
        let folder = file
            .rfind('/')
            .and_then(|end| file.get(..end))
            .unwrap_or("");
        let is_relative = written.starts_with("./") || written.starts_with("../");
        let from_root = if is_relative {
            None
        } else {
            within("", written).ok()
        };
        let beside = within(folder, written);
        let mut paths: Vec<String> = from_root.into_iter().collect();
        if let Ok(beside) = &beside
            && !paths.contains(beside)
        {
            paths.push(beside.clone());
        }
        if let (true, Err(bad)) = (paths.is_empty(), beside) {
            flaws.push(bad_path(&bad, &pointer, written, document));
        } else {
            needs.push(BlobNeed {
                pointer,
                digest_at,
                paths,
            });
        }
    }
    (needs, flaws)
}

/// Why a path names no file of the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BadPath {
    /// `/etc/passwd`.
    Absolute,
    /// `../../x`.
    Outside,
    /// `site/`, or nothing at all.
    Folder,
    /// `site\index.html`.
    Backslash,
    /// `.git/config`.
    Git,
}

/// A path below a folder with its `.` and `..` worked off.
fn within(folder: &str, written: &str) -> Result<String, BadPath> {
    if written.starts_with('/') {
        return Err(BadPath::Absolute);
    }
    if written.contains(['\\', '\0']) {
        return Err(BadPath::Backslash);
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in written.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or(BadPath::Outside)?;
            }
            ".git" => return Err(BadPath::Git),
            part => parts.push(part),
        }
    }
    let names_a_folder = written.ends_with('/')
        || written
            .rsplit('/')
            .next()
            .is_none_or(|last| matches!(last, "" | "." | ".."));
    if parts.is_empty() || names_a_folder {
        return Err(BadPath::Folder);
    }
    Ok(parts.join("/"))
}

fn bad_path(bad: &BadPath, pointer: &str, written: &str, document: &Node) -> Flaw {
    const FROM: &str = "name a file of the same commit, from the repository's root or from the \
                        manifest's folder";
    let (what, hint) = match bad {
        BadPath::Outside => ("leads out of the repository", FROM),
        BadPath::Absolute => ("begins at the root of the machine", FROM),
        BadPath::Folder => (
            "names a folder, and must name a file",
            "name each file of the folder on its own",
        ),
        BadPath::Backslash => (
            "has a backslash, which no path has here",
            "write / between the names of folders",
        ),
        BadPath::Git => ("leads into git's own folder", FROM),
    };
    let name = pointer::dotted(pointer);
    let message = format!("{name} {what}: {}", super::tree::cut(written));
    let node = document.at(pointer).unwrap_or(document);
    let rewrite = (*bad == BadPath::Backslash && !written.contains('\0'))
        .then(|| Rewrite::likely(node.range(), written.replace('\\', "/")));
    Flaw::at_value(Code::BadPath, node, message, hint).with_rewrite(rewrite)
}

/// What [`resolve`] remembers: objects as they were loaded, the digests that were found for them,
/// and what came of it.
pub(crate) type Pinned = BTreeMap<ObjectKey, (Arc<LoadedObject>, Vec<Digest>, Arc<LoadedObject>)>;

/// Pins every file that the objects name. `find` is asked for the digest of a path of the commit;
/// a digest that a manifest gives must be the same. An object that is the same as the last time,
/// with the same files, is the same in memory, too.
///
/// Objects with a file that is not there, or is another one, become faults of their file.
pub fn resolve(
    loaded: Loaded,
    cache: &mut ParseCache,
    find: impl FnMut(&str) -> Option<Digest>,
) -> Loaded {
    pin(loaded, &mut cache.pinned, find)
}

fn pin(
    mut loaded: Loaded,
    known: &mut Pinned,
    mut find: impl FnMut(&str) -> Option<Digest>,
) -> Loaded {
    let mut faults: Vec<Fault> = Vec::new();
    let mut kept = Pinned::new();
    for slot in &mut loaded.objects {
        if slot.needs.is_empty() {
            continue;
        }
        let digests = match digests_of(slot, &mut find) {
            Ok(digests) => digests,
            Err(mut wrong) => {
                faults.append(&mut wrong);
                continue;
            }
        };
        let key = slot.desired.key.clone();
        let pinned = match known.remove(&key) {
            Some((before, old, pinned)) if Arc::ptr_eq(&before, slot) && old == digests => pinned,
            Some(_) | None => {
                let mut object = LoadedObject::clone(slot);
                let written = object.desired.written.as_ref();
                object.desired.written = written.map(|it| written::with_files(it, &digests));
                let mut spec = object.desired.spec.value();
                for (need, digest) in slot.needs.iter().zip(&digests) {
                    put(&mut spec, &need.digest_at, digest.to_string());
                }
                object.desired.spec = spec.into();
                Arc::new(object)
            }
        };
        kept.insert(key, (Arc::clone(slot), digests, Arc::clone(&pinned)));
        *slot = pinned;
    }
    *known = kept;
    loaded.refuse(faults);
    loaded
}

/// The digests of what an object names, in the order of its needs.
fn digests_of(
    object: &LoadedObject,
    find: &mut impl FnMut(&str) -> Option<Digest>,
) -> Result<Vec<Digest>, Vec<Fault>> {
    let mut digests = Vec::with_capacity(object.needs.len());
    let mut faults = Vec::new();
    for need in &object.needs {
        let Some(digest) = need.paths.iter().find_map(|path| find(path)) else {
            faults.push(fault_at(
                object,
                &need.pointer,
                Code::MissingFile,
                format!("the commit has no file {}", need.paths.join(" or ")),
                "commit the file, or correct the path; it begins at the repository's root or at the manifest's folder"
                    .to_owned(),
            ));
            continue;
        };
        let pinned = object.desired.spec.pointer(&need.digest_at);
        if let Some(pinned) = pinned.as_ref().and_then(Value::as_str)
            && pinned != digest.to_string()
        {
            faults.push(fault_at(
                object,
                &format!("/spec{}", need.digest_at),
                Code::DigestMismatch,
                format!("the file is {digest}, and the manifest pins {pinned}"),
                "correct the digest, or leave it out: the commit pins the file".to_owned(),
            ));
            continue;
        }
        digests.push(digest);
    }
    if faults.is_empty() {
        Ok(digests)
    } else {
        Err(faults)
    }
}

impl Loaded {
    /// All files of the commit that the objects name, in order, each once.
    pub fn needed_paths(&self) -> BTreeSet<&str> {
        let needs = self.objects.iter().flat_map(|object| &object.needs);
        needs
            .flat_map(|need| &need.paths)
            .map(String::as_str)
            .collect()
    }
}

fn put(spec: &mut Value, path: &str, text: String) {
    let Some((parent, field)) = path.rsplit_once('/') else {
        return;
    };
    if let Some(Value::Object(map)) = spec.pointer_mut(parent) {
        map.insert(field.to_owned(), Value::String(text));
    }
}

#[cfg(test)]
mod tests {
    use super::{BadPath, within};

    #[test]
    fn a_path_stays_in_the_repository() {
        assert_eq!(
            within("", "site/index.html").as_deref(),
            Ok("site/index.html")
        );
        assert_eq!(
            within("apps/web", "../site/a").as_deref(),
            Ok("apps/site/a")
        );
        assert_eq!(within("apps", "./a//b").as_deref(), Ok("apps/a/b"));
        for (out, why) in [
            ("../a", BadPath::Outside),
            ("/etc/passwd", BadPath::Absolute),
            ("a/../../b", BadPath::Outside),
            ("", BadPath::Folder),
            (".", BadPath::Folder),
            ("a\\b", BadPath::Backslash),
            (".git/config", BadPath::Git),
            ("a/", BadPath::Folder),
            ("a/..", BadPath::Folder),
        ] {
            assert_eq!(within("", out), Err(why), "{out}");
        }
    }
}
