//! `.kelsonignore`: the syntax and meaning of `.gitignore`, and nothing of git's own ignore files.
//!
//! It is matched by code of this room and not by git2, because git2 looks at the `.gitignore` files
//! of the working tree when it is asked, and a commit must mean the same wherever it is read. A
//! test compares it with `git check-ignore`.

use std::sync::Arc;

use super::limits::IGNORE_PATTERNS;
use super::listing::FaultCause;
use super::object_id::BlobId;
use super::path::below;
use super::wildcard::Wildcard;

/// The name of such a file.
pub(super) const FILE_NAME: &str = ".kelsonignore";

/// Holds the patterns of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct IgnoreFile {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    wildcard: Wildcard,
    /// `!`: what matches is taken back in.
    includes: bool,
    /// A `/` at the end: only folders.
    folders_only: bool,
    /// A `/` elsewhere: the whole path below the file's folder is matched, not just the name.
    whole_path: bool,
}

/// Why a file cannot be used, and where in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadIgnore {
    /// Why.
    pub(super) reason: &'static str,
    /// Begins at 1; 0 where the whole file is at fault.
    pub(super) line: u32,
    /// Begins at 1, in characters; 0 where the whole file is at fault.
    pub(super) column: u32,
}

impl BadIgnore {
    /// The whole file is at fault.
    pub(super) fn whole(reason: &'static str) -> Self {
        Self {
            reason,
            line: 0,
            column: 0,
        }
    }

    /// The byte after these is at fault.
    fn after(reason: &'static str, good: &[u8]) -> Self {
        let number = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
        let line_start = good
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let before = String::from_utf8_lossy(good.get(line_start..).unwrap_or_default());
        Self {
            reason,
            line: number(good.iter().filter(|byte| **byte == b'\n').count()),
            column: number(before.chars().count()),
        }
    }

    /// As what is wrong with a listing.
    pub(super) fn cause(self) -> FaultCause {
        let Self {
            reason,
            line,
            column,
        } = self;
        FaultCause::BadIgnoreFile {
            reason,
            line,
            column,
        }
    }
}

impl IgnoreFile {
    /// Reads a file; the error says why and where it cannot be used.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BadIgnore> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            BadIgnore::after("it is not UTF-8", good)
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (before, line) in text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if let Some(pattern) = Pattern::parse(line) {
                if patterns.len() == IGNORE_PATTERNS {
                    return Err(BadIgnore {
                        reason: "it has more than 1000 patterns",
                        line: u32::try_from(before + 1).unwrap_or(u32::MAX),
                        column: 1,
                    });
                }
                patterns.push(pattern);
            }
        }
        Ok(Self { patterns })
    }

    /// Says whether a path is ignored, if any pattern speaks of it; the last one that does wins.
    fn verdict(&self, path: &str, is_folder: bool) -> Option<bool> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let hit = self.patterns.iter().rev().find(|pattern| {
            (is_folder || !pattern.folders_only)
                && pattern
                    .wildcard
                    .matches(if pattern.whole_path { path } else { name })
        })?;
        Some(!hit.includes)
    }
}

impl Pattern {
    fn parse(line: &str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let line = without_trailing_spaces(line);
        let (includes, line) = line
            .strip_prefix('!')
            .map_or((false, line), |rest| (true, rest));
        let (folders_only, line) = line
            .strip_suffix('/')
            .map_or((false, line), |rest| (true, rest));
        if line.is_empty() {
            return None;
        }
        let whole_path = line.contains('/');
        let line = line.strip_prefix('/').unwrap_or(line);
        Some(Self {
            wildcard: Wildcard::new(line),
            includes,
            folders_only,
            whole_path,
        })
    }
}

/// Cuts the spaces at the end, but for one that a backslash keeps.
fn without_trailing_spaces(line: &str) -> &str {
    let mut end = 0;
    let mut escaped = false;
    for (at, letter) in line.char_indices() {
        if escaped || letter != ' ' {
            end = at + letter.len_utf8();
        }
        escaped = !escaped && letter == '\\';
    }
    line.get(..end).unwrap_or(line)
}

/// Holds the ignore files that speak of one folder: its own, and those of the folders above.
#[derive(Debug, Clone, Default)]
pub(super) struct IgnoreStack {
    levels: Vec<Level>,
}

#[derive(Debug, Clone)]
struct Level {
    folder: Arc<str>,
    blob: BlobId,
    file: Arc<IgnoreFile>,
}

impl IgnoreStack {
    /// Adds the file of a deeper folder.
    pub(super) fn with(&self, folder: &str, blob: BlobId, file: Arc<IgnoreFile>) -> Self {
        let mut levels = self.levels.clone();
        levels.push(Level {
            folder: Arc::from(folder),
            blob,
            file,
        });
        Self { levels }
    }

    /// Tells whether something is ignored whose folder is not. The deepest file that speaks of it
    /// wins.
    pub(super) fn ignores(&self, path: &str, is_folder: bool) -> bool {
        self.levels
            .iter()
            .rev()
            .find_map(|level| level.file.verdict(below(path, &level.folder)?, is_folder))
            .unwrap_or(false)
    }

    /// Names the files that speak; together with a folder's path and content, it fixes what the
    /// folder lists.
    pub(super) fn names(&self) -> Vec<BlobId> {
        self.levels.iter().map(|level| level.blob).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn stack(files: &[(&str, &str)]) -> IgnoreStack {
        files
            .iter()
            .fold(IgnoreStack::default(), |stack, (folder, text)| {
                stack.with(
                    folder,
                    BlobId::from_bytes([0; 20]),
                    Arc::new(IgnoreFile::parse(text.as_bytes()).unwrap()),
                )
            })
    }

    #[test]
    fn the_last_pattern_that_speaks_wins() {
        let stack = stack(&[("", "*.yaml\n!keep.yaml\n")]);
        assert!(stack.ignores("a/b.yaml", false));
        assert!(!stack.ignores("a/keep.yaml", false));
        assert!(!stack.ignores("a/b.yml", false));
    }

    #[test]
    fn a_deeper_file_wins() {
        let stack = stack(&[("", "*.yaml\n"), ("a", "!b.yaml\n")]);
        assert!(!stack.ignores("a/b.yaml", false));
        assert!(stack.ignores("a/c.yaml", false));
        assert!(stack.ignores("b.yaml", false));
    }

    #[test]
    fn comments_and_spaces_and_line_ends_are_those_of_git() {
        let stack = stack(&[("", "\u{feff}# no\n\\#yes\r\nspaced   \nkept\\ \n\n/\n!\n")]);
        assert!(!stack.ignores("# no", false));
        assert!(stack.ignores("#yes", false));
        assert!(stack.ignores("spaced", false));
        assert!(stack.ignores("kept ", false));
        assert!(!stack.ignores("kept", false));
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let wrong = |bytes: &[u8]| {
            let wrong = IgnoreFile::parse(bytes).unwrap_err();
            (wrong.reason, wrong.line, wrong.column)
        };
        assert_eq!(wrong(b"\xff"), ("it is not UTF-8", 1, 1));
        assert_eq!(
            wrong(
                "a\n\u{e9}b"
                    .as_bytes()
                    .iter()
                    .chain(b"\xff")
                    .copied()
                    .collect::<Vec<_>>()
                    .as_slice()
            ),
            ("it is not UTF-8", 2, 3)
        );
        assert_eq!(
            wrong(
                "# no pattern\n"
                    .to_owned()
                    .repeat(5)
                    .as_bytes()
                    .iter()
                    .chain("x\n".repeat(2000).as_bytes())
                    .copied()
                    .collect::<Vec<_>>()
                    .as_slice()
            ),
            ("it has more than 1000 patterns", 1006, 1)
        );
        assert!(IgnoreFile::parse("x\n".repeat(1000).as_bytes()).is_ok());
    }
}
