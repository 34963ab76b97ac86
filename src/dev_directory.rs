//! Where a `dev` keeps its data, and how a client finds the `dev` of the repository that it stands
//! in.
//!
//! A repository's own folder is `${XDG_STATE_HOME:-~/.local/state}/kelson/dev/<hash of its path>`.
//! A `dev` with another data directory leaves a note there (`elsewhere.json`), so that clients find
//! it as well.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::files;

/// What `dev` says on its first line of output, and writes to `ready.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ready {
    /// Always `ready`.
    pub(crate) event: String,
    /// `http://127.0.0.1:7460`.
    pub(crate) address: String,
    /// The process id of `dev`.
    pub(crate) pid: u32,
    /// Its data directory.
    pub(crate) data_dir: PathBuf,
    /// The repository that it follows.
    pub(crate) repository: PathBuf,
    /// The branch that it follows.
    pub(crate) branch: String,
    /// `agt_1`.
    pub(crate) agent: String,
    /// The version of the program.
    pub(crate) version: String,
}

/// What `dev` writes to `starting.json` while it holds the data directory and is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Starting {
    /// The process id of `dev`.
    pub(crate) pid: u32,
    /// Its data directory.
    pub(crate) data_dir: PathBuf,
    /// The repository that it follows.
    pub(crate) repository: PathBuf,
}

/// A `dev` that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Living {
    /// It is ready.
    Ready(Ready),
    /// It will be.
    Starting(Starting),
}

impl Living {
    fn repository(&self) -> &Path {
        match self {
            Self::Ready(ready) => &ready.repository,
            Self::Starting(starting) => &starting.repository,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Elsewhere {
    data_dir: PathBuf,
}

const READY: &str = "ready.json";
const STARTING: &str = "starting.json";
const ELSEWHERE: &str = "elsewhere.json";

/// The folder of all states: `$XDG_STATE_HOME`, else `~/.local/state`.
///
/// # Errors
/// When neither variable is set.
pub(crate) fn state_home() -> Result<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .context("neither XDG_STATE_HOME nor HOME says where to keep data; give --data-dir")
}

/// The data directory of `dev` for a repository at `repository` (canonical), below `state_home`.
pub(crate) fn of_repository(state_home: &Path, repository: &Path) -> PathBuf {
    let hash = Sha256::digest(repository.as_os_str().as_encoded_bytes());
    let name: String = hash.iter().take(8).map(|b| format!("{b:02x}")).collect();
    state_home.join("kelson/dev").join(name)
}

/// Where the ready line of a data directory stands.
pub(crate) fn ready_file(data_dir: &Path) -> PathBuf {
    data_dir.join(READY)
}

/// Where a `dev` that is not ready yet leaves its mark.
pub(crate) fn starting_file(data_dir: &Path) -> PathBuf {
    data_dir.join(STARTING)
}

/// Leaves a note in the repository's own folder that its `dev` keeps its data in `data_dir`.
///
/// # Errors
/// When the note cannot be written.
pub(crate) fn note_elsewhere(own: &Path, data_dir: &Path) -> Result<()> {
    std::fs::create_dir_all(own).with_context(|| format!("cannot make {}", own.display()))?;
    let note = Elsewhere {
        data_dir: data_dir.to_owned(),
    };
    files::replace(&own.join(ELSEWHERE), &serde_json::to_vec(&note)?)
}

/// What a `dev` with this data directory has said, if it is alive.
pub(crate) fn ready_in(data_dir: &Path) -> Option<Ready> {
    let ready: Ready = read(&ready_file(data_dir))?;
    is_alive(ready.pid).then_some(ready)
}

/// The living `dev` with this data directory.
pub(crate) fn living_in(data_dir: &Path) -> Option<Living> {
    let starting = || {
        let starting: Starting = read(&starting_file(data_dir))?;
        is_alive(starting.pid).then_some(Living::Starting(starting))
    };
    // The one is written before the other goes.
    let ready = || ready_in(data_dir).map(Living::Ready);
    ready().or_else(starting).or_else(ready)
}

/// The living `dev` whose repository holds `folder` (canonical).
pub(crate) fn living_for(state_home: &Path, folder: &Path) -> Option<Living> {
    folder.ancestors().find_map(|repository| {
        let own = of_repository(state_home, repository);
        let at_home = living_in(&own);
        let elsewhere = || {
            let note: Elsewhere = read(&own.join(ELSEWHERE))?;
            living_in(&note.data_dir)
        };
        at_home
            .or_else(elsewhere)
            .filter(|living| living.repository() == repository)
    })
}

fn read<T: DeserializeOwned>(file: &Path) -> Option<T> {
    let bytes = files::read_bounded(file, 64 << 10).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether a process with this id lives and is more than a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the name, which stands in parentheses and may hold any character.
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !matches!(rest.trim_start().chars().next(), Some('Z' | 'X') | None))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn ready(data_dir: &Path, repository: &Path, pid: u32) -> Ready {
        Ready {
            event: "ready".into(),
            address: "http://127.0.0.1:7460".into(),
            pid,
            data_dir: data_dir.to_owned(),
            repository: repository.to_owned(),
            branch: "main".into(),
            agent: "agt_1".into(),
            version: "0.1.0".into(),
        }
    }

    fn write(data_dir: &Path, ready: &Ready) {
        std::fs::create_dir_all(data_dir).unwrap();
        std::fs::write(ready_file(data_dir), serde_json::to_vec(ready).unwrap()).unwrap();
    }

    #[test]
    fn the_ready_line_has_the_documented_shape() {
        let line = serde_json::to_string(&ready(Path::new("/d"), Path::new("/r"), 4242)).unwrap();
        assert_eq!(
            line,
            r#"{"event":"ready","address":"http://127.0.0.1:7460","pid":4242,"dataDir":"/d","repository":"/r","branch":"main","agent":"agt_1","version":"0.1.0"}"#
        );
    }

    #[test]
    fn a_client_deep_in_a_repository_finds_its_dev() {
        let folder = tempfile::tempdir().unwrap();
        let (state, repository) = (folder.path().join("state"), folder.path().join("repo"));
        let own = of_repository(&state, &repository);
        write(&own, &ready(&own, &repository, std::process::id()));
        let found = living_for(&state, &repository.join("kelson/deep")).unwrap();
        assert_eq!(found.repository(), repository);
        assert_eq!(living_for(&state, &folder.path().join("other")), None);
    }

    #[test]
    fn a_dev_with_its_data_elsewhere_is_found_by_its_note() {
        let folder = tempfile::tempdir().unwrap();
        let (state, repository) = (folder.path().join("state"), folder.path().join("repo"));
        let data = folder.path().join("data");
        write(&data, &ready(&data, &repository, std::process::id()));
        note_elsewhere(&of_repository(&state, &repository), &data).unwrap();
        assert!(living_for(&state, &repository).is_some());
    }

    #[test]
    fn a_dev_that_has_died_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let own = of_repository(folder.path(), Path::new("/repo"));
        // No process has the highest id: the system's limit is below it.
        write(&own, &ready(&own, Path::new("/repo"), u32::MAX));
        assert_eq!(living_for(folder.path(), Path::new("/repo")), None);
    }
}
