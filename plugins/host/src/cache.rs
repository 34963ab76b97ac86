//! What compiling came to, on disk: `<sha256>-<engine>.cwasm`, and beside it the checksum of what
//! was written; or `….bad`, why not.
//!
//! A file is used only if its checksum holds, and it is compared and used as one reading. The
//! folder is closed to other users. Nothing here is ever needed: a file that cannot be read or
//! written costs a compilation.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use kelson_kernel_core::port::LoadFault;
use kelson_model::id::Digest;
use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::limits;
use crate::trusted;

/// Bytes of a file that says why a component cannot be compiled.
const BAD_BYTES: u64 = 16 << 10;

/// What is known of a component.
pub(crate) enum Verdict {
    /// Its compiled form.
    Good(Component),
    /// Why there is none.
    Bad(LoadFault),
}

/// Why a component cannot be compiled, as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bad {
    /// The limits under which it was tried.
    terms: String,
    /// Whether it took too much; else it is no component.
    is_too_costly: bool,
    reason: String,
}

/// The folder of compiled components.
#[derive(Debug)]
pub(crate) struct CompileCache {
    folder: PathBuf,
    engine: u64,
    parts: AtomicU64,
}

impl CompileCache {
    /// Opens the folder, which is made and closed to other users.
    pub(crate) fn open(folder: &Path, engine: &Engine) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        let mut hash = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hash);
        Ok(Self {
            folder: folder.to_owned(),
            engine: hash.finish(),
            parts: AtomicU64::new(0),
        })
    }

    fn path(&self, digest: &Digest, ending: &str) -> PathBuf {
        self.folder
            .join(format!("{}-{:016x}.{ending}", digest.hex(), self.engine))
    }

    /// What compiling a component came to under these terms, if that is known.
    pub(crate) fn verdict(&self, engine: &Engine, digest: &Digest, terms: &str) -> Option<Verdict> {
        let good = self.get(engine, digest).map(Verdict::Good);
        good.or_else(|| self.bad(digest, terms).map(Verdict::Bad))
    }

    fn bad(&self, digest: &Digest, terms: &str) -> Option<LoadFault> {
        let text = read(&self.path(digest, "bad"), BAD_BYTES)?;
        let bad: Bad = serde_json::from_slice(&text).ok()?;
        match bad.is_too_costly {
            true if bad.terms == terms => Some(LoadFault::TooCostly(bad.reason)),
            // The limits are others.
            true => None,
            false => Some(LoadFault::NotAComponent(bad.reason)),
        }
    }

    /// Keeps why a component cannot be compiled, so that it is not tried at each start.
    pub(crate) fn put_bad(&self, digest: &Digest, terms: &str, fault: &LoadFault) {
        let (is_too_costly, reason) = match fault {
            LoadFault::TooCostly(reason) => (true, reason),
            LoadFault::NotAComponent(reason) => (false, reason),
            LoadFault::NotCompiled(_)
            | LoadFault::ForbiddenImport(_)
            | LoadFault::MissingExport(_)
            | LoadFault::BadDescription(_) => return,
        };
        let bad = Bad {
            terms: terms.to_owned(),
            is_too_costly,
            reason: reason.clone(),
        };
        let kept = serde_json::to_vec(&bad)
            .map_err(io::Error::other)
            .and_then(|text| self.write(&self.path(digest, "bad"), &text))
            .and_then(|()| self.forget_oldest());
        if let Err(error) = kept {
            tracing::warn!(component = %digest, %error, "the verdict on a component could not be kept; it will be compiled again");
        }
    }

    /// Two free names in the folder, for one compilation.
    pub(crate) fn scratch(&self) -> (PathBuf, PathBuf) {
        (self.part(), self.part())
    }

    fn part(&self) -> PathBuf {
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        self.folder
            .join(format!("{}-{number}.part", std::process::id()))
    }

    /// Takes the compiled form of a component, if it is there and whole.
    fn get(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let sum = read(&self.path(digest, "sum"), 64)?;
        let code = read(&self.path(digest, "cwasm"), limits::COMPILED_BYTES)?;
        if Digest::of(&code).hex().as_bytes() != sum {
            tracing::warn!(component = %digest, "a compiled component is damaged; compiling again");
            return None;
        }
        match trusted::component(engine, &code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(component = %digest, %error, "a compiled component cannot be used; compiling again");
                None
            }
        }
    }

    /// Keeps the compiled form of a component.
    pub(crate) fn put(&self, digest: &Digest, code: &[u8]) {
        let sum = Digest::of(code);
        let kept = self
            .write(&self.path(digest, "cwasm"), code)
            .and_then(|()| self.write(&self.path(digest, "sum"), sum.hex().as_bytes()))
            .and_then(|()| self.forget_oldest());
        if let Err(error) = kept {
            tracing::warn!(component = %digest, %error, "a compiled component could not be kept; it will be compiled again");
        }
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let part = self.part();
        let done = fs::write(&part, content).and_then(|()| fs::rename(&part, path));
        if done.is_err() {
            // What is left of it, if anything.
            let _removed = fs::remove_file(&part);
        }
        done
    }

    /// Removes what was written longest ago, beyond the number that is kept.
    fn forget_oldest(&self) -> io::Result<()> {
        let mut good: Vec<(SystemTime, PathBuf)> = Vec::new();
        let mut bad: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            match path.extension().and_then(|ending| ending.to_str()) {
                Some("cwasm") => good.push((entry.metadata()?.modified()?, path)),
                Some("bad") => bad.push((entry.metadata()?.modified()?, path)),
                Some(_) | None => {}
            }
        }
        for path in oldest(good) {
            fs::remove_file(path.with_extension("sum"))?;
            fs::remove_file(path)?;
        }
        for path in oldest(bad) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// The files beyond the number that is kept.
fn oldest(mut files: Vec<(SystemTime, PathBuf)>) -> impl Iterator<Item = PathBuf> {
    files.sort();
    let spare = files.len().saturating_sub(limits::CACHED_COMPONENTS);
    files.into_iter().take(spare).map(|(_, path)| path)
}

fn read(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(limit + 1).read_to_end(&mut content).ok()?;
    (u64::try_from(content.len()).ok()? <= limit).then_some(content)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_was_written_longest_ago_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let engine = crate::engine::make().unwrap();
        let cache = CompileCache::open(folder.path(), &engine).unwrap();
        for number in 0..limits::CACHED_COMPONENTS {
            for ending in ["cwasm", "sum"] {
                let path = folder.path().join(format!("{number:03}.{ending}"));
                let file = fs::File::create(path).unwrap();
                let time = SystemTime::UNIX_EPOCH
                    + std::time::Duration::from_secs(u64::try_from(number).unwrap());
                file.set_modified(time).unwrap();
            }
        }
        let empty = engine
            .precompile_component(b"\0asm\x0d\x00\x01\x00")
            .unwrap();
        let digest = Digest::of(b"the empty component");
        cache.put(&digest, &empty);
        assert!(!folder.path().join("000.cwasm").exists());
        assert!(!folder.path().join("000.sum").exists());
        assert!(folder.path().join("001.cwasm").exists());
        assert!(cache.get(&engine, &digest).is_some());
    }

    #[test]
    fn a_verdict_of_cost_holds_for_the_limits_that_it_was_made_under() {
        let folder = tempfile::tempdir().unwrap();
        let engine = crate::engine::make().unwrap();
        let cache = CompileCache::open(folder.path(), &engine).unwrap();
        let digest = Digest::of(b"too large");
        let costly = LoadFault::TooCostly("more than 1 s".to_owned());
        cache.put_bad(&digest, "1 s", &costly);
        let known = |terms: &str| match cache.verdict(&engine, &digest, terms) {
            Some(Verdict::Bad(fault)) => Some(fault),
            Some(Verdict::Good(_)) | None => None,
        };
        assert_eq!(known("1 s"), Some(costly));
        assert_eq!(known("2 s"), None);
        let none = LoadFault::NotAComponent("it is a cat".to_owned());
        cache.put_bad(&digest, "1 s", &none);
        assert_eq!(known("2 s"), Some(none));
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let engine = crate::engine::make().unwrap();
        let cache = CompileCache::open(&folder.path().join("gone"), &engine).unwrap();
        fs::remove_dir_all(folder.path()).unwrap();
        let empty = engine
            .precompile_component(b"\0asm\x0d\x00\x01\x00")
            .unwrap();
        let digest = Digest::of(b"the empty component");
        cache.put(&digest, &empty);
        assert!(cache.get(&engine, &digest).is_none());
    }
}
