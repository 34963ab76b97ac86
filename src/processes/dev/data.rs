//! The data directory of a `dev`: locked while it runs, bound to one repository.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kelson_agent::AgentError;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::port::command_of;
use crate::dev_directory::{self, Ready, Starting, ready_file, starting_file};
use crate::exit::Failure;
use crate::files;

/// How long the agent of an earlier `dev` on the same data may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A data directory that is ours for as long as this lives.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

/// `dev.json`: which repository the data is about.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    repository: PathBuf,
}

impl DataDirectory {
    /// Takes the data directory of a repository: `given`, or its own. With `is_reset` what was in
    /// it goes first, running tasks among it.
    ///
    /// # Errors
    /// When somebody else has it, it belongs to another repository, or it cannot be written.
    pub(crate) fn take(given: Option<&Path>, repository: &Path, is_reset: bool) -> Result<Self> {
        let path = match given {
            Some(path) => path.to_owned(),
            None => dev_directory::of_repository(&dev_directory::state_home()?, repository),
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the data directory {}", path.display()))?;
        let path = path.canonicalize()?;
        let directory = Self {
            _lock: lock(&path)?,
            path,
        };
        if is_reset {
            directory.reset()?;
        }
        directory.bind(repository)?;
        directory.forget_ready();
        // Only where the repository's own folder is another one.
        if given.is_some()
            && let Ok(home) = dev_directory::state_home()
        {
            let own = dev_directory::of_repository(&home, repository);
            if own.canonicalize().ok().as_deref() != Some(&directory.path)
                && let Err(error) = dev_directory::note_elsewhere(&own, &directory.path)
            {
                tracing::debug!(%error, "clients have to be told the address");
            }
        }
        let starting = Starting {
            pid: std::process::id(),
            data_dir: directory.path.clone(),
            repository: repository.to_owned(),
        };
        let mark = starting_file(&directory.path);
        files::replace(&mark, &serde_json::to_vec(&starting)?)?;
        Ok(directory)
    }

    /// Says in `ready.json` that all is ready; it is starting no longer.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn say_ready(&self, ready: &Ready) -> Result<()> {
        files::replace(&ready_file(&self.path), &serde_json::to_vec(ready)?)?;
        self.forget_starting();
        Ok(())
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes `ready.json` away: there is nobody ready.
    pub(crate) fn forget_ready(&self) {
        // That there is none is as good.
        drop(std::fs::remove_file(ready_file(&self.path)));
    }

    fn forget_starting(&self) {
        // That there is none is as good.
        drop(std::fs::remove_file(starting_file(&self.path)));
    }

    fn bind(&self, repository: &Path) -> Result<()> {
        let file = self.path.join("dev.json");
        if let Ok(bytes) = files::read_bounded(&file, 64 << 10) {
            let binding: Binding = serde_json::from_slice(&bytes)
                .with_context(|| format!("{} cannot be read", file.display()))?;
            if binding.repository != repository {
                return Err(Failure::usage(format!(
                    "the data directory {} belongs to the repository {}",
                    self.path.display(),
                    binding.repository.display()
                ))
                .with_hint("choose another one with --data-dir, or give it up with --reset")
                .into());
            }
            return Ok(());
        }
        let binding = Binding {
            repository: repository.to_owned(),
        };
        files::replace(&file, &serde_json::to_vec(&binding)?)
    }

    /// Removes what a `dev` keeps, and nothing else.
    fn reset(&self) -> Result<()> {
        end_tasks(&self.path.join("agent"))?;
        for name in ["kernel", "agent", "logs"] {
            let folder = self.path.join(name);
            if folder.is_dir() {
                std::fs::remove_dir_all(&folder)
                    .with_context(|| format!("cannot remove {}", folder.display()))?;
            }
        }
        drop(std::fs::remove_file(self.path.join("dev.json")));
        Ok(())
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        self.forget_starting();
    }
}

fn lock(path: &Path) -> Result<File> {
    let name = path.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        .with_context(|| format!("cannot open {}", name.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut text = String::new();
        let read = (&mut file).take(32).read_to_string(&mut text);
        let pid: Option<u32> = read.ok().and_then(|_| text.trim().parse().ok());
        let who = pid.map_or_else(
            || "another kelson dev".to_owned(),
            |pid| format!("process {pid} ({})", command_of(pid)),
        );
        return Err(Failure::usage(format!(
            "the data directory {} is taken: {who} has it",
            path.display()
        ))
        .with_hint("end it, or choose another one with --data-dir")
        .into());
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

/// Ends the tasks of an agent's folder, with everything that came of them. The agent of an earlier
/// `dev` that is about to end is waited for.
fn end_tasks(agent: &Path) -> Result<()> {
    let started = Instant::now();
    loop {
        match kelson_agent::end_everything(agent) {
            Err(AgentError::Held { .. }) if started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            ended => return ended.context("its tasks cannot be ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::dev_directory::Living;
    use crate::exit::{Exit, exit_of};

    #[test]
    fn a_data_directory_is_taken_once_and_says_by_whom() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let repository = Path::new("/a/repository");
        let first = DataDirectory::take(Some(&data), repository, false).unwrap();
        let error = DataDirectory::take(Some(&data), repository, false).unwrap_err();
        assert_eq!(exit_of(&error), Exit::Usage);
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
        drop(first);
        DataDirectory::take(Some(&data), repository, false).unwrap();
    }

    #[test]
    fn a_dev_is_found_as_starting_from_the_moment_that_it_holds_its_data() {
        let folder = tempfile::tempdir().unwrap();
        let (data, repository) = (folder.path().join("data"), Path::new("/a/repository"));
        let directory = DataDirectory::take(Some(&data), repository, false).unwrap();
        let found = dev_directory::living_in(&data).unwrap();
        assert!(
            matches!(&found, Living::Starting(starting) if starting.repository == repository
                && starting.pid == std::process::id()),
            "{found:?}"
        );
        let ready = Ready {
            event: "ready".into(),
            address: "http://127.0.0.1:1".into(),
            pid: std::process::id(),
            data_dir: data.clone(),
            repository: repository.to_owned(),
            branch: "main".into(),
            agent: "agt_1".into(),
            version: "0.1.0".into(),
        };
        directory.say_ready(&ready).unwrap();
        assert_eq!(dev_directory::living_in(&data), Some(Living::Ready(ready)));
        directory.forget_ready();
        assert_eq!(dev_directory::living_in(&data), None);
        drop(directory);
        drop(DataDirectory::take(Some(&data), repository, false).unwrap());
        assert_eq!(dev_directory::living_in(&data), None, "it did not come up");
    }

    #[test]
    fn a_data_directory_belongs_to_one_repository_until_it_is_reset() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        drop(DataDirectory::take(Some(&data), Path::new("/a"), false).unwrap());
        std::fs::create_dir(data.join("kernel")).unwrap();
        std::fs::write(data.join("precious"), "x").unwrap();
        let error = DataDirectory::take(Some(&data), Path::new("/b"), false).unwrap_err();
        assert!(error.to_string().contains("/a"), "{error}");
        let directory = DataDirectory::take(Some(&data), Path::new("/b"), true).unwrap();
        assert!(!directory.path().join("kernel").exists());
        assert!(directory.path().join("precious").exists());
    }
}
