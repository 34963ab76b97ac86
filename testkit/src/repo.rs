//! A git repository to commit to, through git's own command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// A repository with a working tree, on branch `main`. What is in a user's or a machine's git
/// configuration has no say.
#[derive(Debug)]
pub struct TestRepo {
    path: PathBuf,
    /// Removed when this is dropped, unless the repository was made somewhere else.
    _folder: Option<TempDir>,
}

impl TestRepo {
    /// Makes an empty repository (its branch is unborn) in a temporary folder.
    ///
    /// # Errors
    /// When git is missing or fails.
    pub fn init() -> Result<TestRepo> {
        let folder = tempfile::Builder::new()
            .prefix("kelson-repo-")
            .tempdir()
            .context("no temporary folder")?;
        // Through the link that /tmp is on some systems, so that paths compare equal.
        let path = folder.path().canonicalize()?;
        let repo = TestRepo {
            path,
            _folder: Some(folder),
        };
        repo.git(&["init", "--quiet", "--initial-branch=main", "."])?;
        Ok(repo)
    }

    /// Makes an empty repository at `path`, which stays when this is dropped.
    ///
    /// # Errors
    /// When git is missing or fails.
    pub fn init_at(path: impl Into<PathBuf>) -> Result<TestRepo> {
        let path = path.into();
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        let repo = TestRepo {
            path: path.canonicalize()?,
            _folder: None,
        };
        repo.git(&["init", "--quiet", "--initial-branch=main", "."])?;
        Ok(repo)
    }

    /// The working tree.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of the working tree, with the folders above it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path.join(file);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads a file of the working tree.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, file: &str) -> Result<String> {
        let path = self.path.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Replaces text that must stand exactly once in a file.
    ///
    /// # Errors
    /// When the text stands there more than once or not at all.
    pub fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let text = self.read(file)?;
        match text.matches(from).count() {
            1 => self.write(file, text.replace(from, to)),
            times => bail!("{from:?} stands {times} times in {file}"),
        }
    }

    /// Removes a file of the working tree.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, file: &str) -> Result<()> {
        std::fs::remove_file(self.path.join(file)).with_context(|| format!("cannot remove {file}"))
    }

    /// Renames a file of the working tree.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        if let Some(folder) = self.path.join(to).parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::rename(self.path.join(from), self.path.join(to))
            .with_context(|| format!("cannot rename {from}"))
    }

    /// Copies all files below `folder` into the working tree.
    ///
    /// # Errors
    /// When one cannot be read or written.
    pub fn copy_from(&self, folder: &Path) -> Result<()> {
        copy(folder, &self.path)
    }

    /// Commits everything in the working tree and returns the commit's id.
    ///
    /// # Errors
    /// When git fails.
    pub fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message])?;
        self.head()
    }

    /// Writes one file, commits, and returns the commit's id.
    ///
    /// # Errors
    /// As [`TestRepo::write`] and [`TestRepo::commit`].
    pub fn commit_file(
        &self,
        file: &str,
        content: impl AsRef<[u8]>,
        message: &str,
    ) -> Result<String> {
        self.write(file, content)?;
        self.commit(message)
    }

    /// Edits one file, commits, and returns the commit's id.
    ///
    /// # Errors
    /// As [`TestRepo::edit`] and [`TestRepo::commit`].
    pub fn commit_edit(&self, file: &str, from: &str, to: &str, message: &str) -> Result<String> {
        self.edit(file, from, to)?;
        self.commit(message)
    }

    /// The id of the commit that is checked out, 40 hex digits.
    ///
    /// # Errors
    /// When the branch is unborn.
    pub fn head(&self) -> Result<String> {
        self.resolve("HEAD")
    }

    /// The id of the commit that a name stands for.
    ///
    /// # Errors
    /// When it stands for none.
    pub fn resolve(&self, name: &str) -> Result<String> {
        Ok(self
            .git(&["rev-parse", "--verify", &format!("{name}^{{commit}}")])?
            .trim()
            .to_owned())
    }

    /// Moves the branch and the working tree back to an older commit, as a force-push does; returns
    /// its id.
    ///
    /// # Errors
    /// When git fails.
    pub fn rewind(&self, to: &str) -> Result<String> {
        self.git(&["reset", "--quiet", "--hard", to])?;
        self.head()
    }

    /// Moves a branch to a commit that need not follow the one it is at, without touching the
    /// working tree: what a forced push does at the receiving end.
    ///
    /// # Errors
    /// When git fails.
    pub fn force_push(&self, branch: &str, to: &str) -> Result<()> {
        self.git(&["update-ref", &format!("refs/heads/{branch}"), to])
            .map(drop)
    }

    /// Deletes a branch, also the one that is checked out.
    ///
    /// # Errors
    /// When git fails.
    pub fn delete_branch(&self, branch: &str) -> Result<()> {
        self.git(&["update-ref", "-d", &format!("refs/heads/{branch}")])
            .map(drop)
    }

    /// Makes a branch at the current commit and checks it out.
    ///
    /// # Errors
    /// When git fails.
    pub fn switch_to_new(&self, branch: &str) -> Result<()> {
        self.git(&["checkout", "--quiet", "-b", branch]).map(drop)
    }

    /// Runs git in the working tree and returns what it prints.
    ///
    /// # Errors
    /// When git is missing or fails; with what it said.
    pub fn git(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("git")
            .args([
                "-c",
                "commit.gpgsign=false",
                "-c",
                "gc.auto=0",
                "-c",
                "core.autocrlf=false",
            ])
            .args(args)
            .current_dir(&self.path)
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Ada")
            .env("GIT_AUTHOR_EMAIL", "ada@example.org")
            .env("GIT_COMMITTER_NAME", "Ada")
            .env("GIT_COMMITTER_EMAIL", "ada@example.org")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .context("cannot start git")?;
        if !output.status.success() {
            bail!(
                "git {}: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in
        std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?
    {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&source, &target)?;
        } else {
            std::fs::copy(&source, &target)
                .with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn commits_edits_and_rewinds_are_what_git_says() {
        let repo = TestRepo::init().unwrap();
        assert!(repo.head().is_err(), "an empty repository has no commit");
        let first = repo.commit_file("a/b.yaml", "x: 1\n", "first").unwrap();
        let second = repo.commit_edit("a/b.yaml", "1", "2", "second").unwrap();
        assert_ne!(first, second);
        assert_eq!(repo.git(&["show", "HEAD:a/b.yaml"]).unwrap(), "x: 2\n");
        assert!(
            repo.edit("a/b.yaml", "1", "2").is_err(),
            "what is not there cannot be replaced"
        );
        assert_eq!(repo.rewind(&first).unwrap(), first);
        assert_eq!(repo.read("a/b.yaml").unwrap(), "x: 1\n");
        repo.force_push("main", &second).unwrap();
        assert_eq!(repo.head().unwrap(), second);
        repo.delete_branch("main").unwrap();
        assert!(repo.head().is_err());
    }
}
