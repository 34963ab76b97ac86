//! Compiled components on disk: `<sha256>-<engine>.cwasm`, and beside it the checksum of what was
//! written.
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

use kelson_model::id::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::limits;
use crate::trusted;

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

    /// Takes the compiled form of a component, if it is there and whole.
    pub(crate) fn get(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
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
    pub(crate) fn put(&self, digest: &Digest, component: &Component) {
        let kept = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|code| {
                self.write(&self.path(digest, "cwasm"), &code)?;
                let sum = Digest::of(&code);
                self.write(&self.path(digest, "sum"), sum.hex().as_bytes())
            })
            .and_then(|()| self.forget_oldest());
        if let Err(error) = kept {
            tracing::warn!(component = %digest, %error, "a compiled component could not be kept; it will be compiled again");
        }
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let part = self
            .folder
            .join(format!("{}-{number}.part", std::process::id()));
        let done = fs::write(&part, content).and_then(|()| fs::rename(&part, path));
        if done.is_err() {
            // What is left of it, if anything.
            let _removed = fs::remove_file(&part);
        }
        done
    }

    /// Removes what was written longest ago, beyond the number that is kept.
    fn forget_oldest(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|e| e == "cwasm") {
                files.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        files.sort();
        let spare = files.len().saturating_sub(limits::CACHED_COMPONENTS);
        for (_, path) in files.iter().take(spare) {
            fs::remove_file(path.with_extension("sum"))?;
            fs::remove_file(path)?;
        }
        Ok(())
    }
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
        let empty = Component::new(&engine, b"\0asm\x0d\x00\x01\x00").unwrap();
        let digest = Digest::of(b"the empty component");
        cache.put(&digest, &empty);
        assert!(!folder.path().join("000.cwasm").exists());
        assert!(!folder.path().join("000.sum").exists());
        assert!(folder.path().join("001.cwasm").exists());
        assert!(cache.get(&engine, &digest).is_some());
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let engine = crate::engine::make().unwrap();
        let cache = CompileCache::open(&folder.path().join("gone"), &engine).unwrap();
        fs::remove_dir_all(folder.path()).unwrap();
        let empty = Component::new(&engine, b"\0asm\x0d\x00\x01\x00").unwrap();
        let digest = Digest::of(b"the empty component");
        cache.put(&digest, &empty);
        assert!(cache.get(&engine, &digest).is_none());
    }
}
