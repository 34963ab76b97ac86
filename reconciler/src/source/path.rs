//! Paths within a repository: relative to its top, `/` between names, UTF-8, no `.` and no `..`.

use super::error::SourceError;

/// Longer ones are refused; it is the longest that Linux can open.
const LONGEST: usize = 4096;

/// Brings a path that a person wrote into the one form that is used here; the top itself is the
/// empty text.
pub(super) fn normalised(path: &str) -> Result<String, SourceError> {
    let bad = |reason| SourceError::BadPath {
        path: shortened(path),
        reason,
    };
    if path.len() > LONGEST {
        return Err(bad("it is longer than 4096 bytes"));
    }
    if path.starts_with('/') {
        return Err(bad("it is absolute"));
    }
    if path.contains('\0') {
        return Err(bad("it contains a zero byte"));
    }
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop().ok_or_else(|| bad("it leads out of it"))?;
            }
            name => names.push(name),
        }
    }
    Ok(names.join("/"))
}

/// Joins a folder, which may be the top, and a name in it.
pub(super) fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// Returns `path` as seen from `folder`, if it is below it.
pub(super) fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    if folder.is_empty() {
        return Some(path);
    }
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// The folders from the top down to `folder` and including both.
pub(super) fn folders_down_to(folder: &str) -> impl Iterator<Item = &str> {
    let inner = folder
        .match_indices('/')
        .map(|(at, _)| folder.split_at(at).0);
    std::iter::once("")
        .chain(inner)
        .chain((!folder.is_empty()).then_some(folder))
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (written, wanted) in [
            ("", ""),
            (".", ""),
            ("./a//b/", "a/b"),
            ("a/../b", "b"),
            ("a/./b/..", "a"),
            ("ä/b c", "ä/b c"),
        ] {
            assert_eq!(normalised(written).unwrap(), wanted, "{written}");
        }
    }

    #[test]
    fn a_path_cannot_leave_the_repository() {
        for written in ["/etc/passwd", "..", "a/../../b", "a\0b"] {
            assert!(
                matches!(normalised(written), Err(SourceError::BadPath { .. })),
                "{written}"
            );
        }
        assert!(matches!(
            normalised(&"a/".repeat(4000)),
            Err(SourceError::BadPath { .. })
        ));
    }

    #[test]
    fn folders_are_listed_from_the_top_down() {
        assert_eq!(folders_down_to("").collect::<Vec<_>>(), [""]);
        assert_eq!(
            folders_down_to("a/b/c").collect::<Vec<_>>(),
            ["", "a", "a/b", "a/b/c"]
        );
    }

    #[test]
    fn below_is_about_whole_names() {
        assert_eq!(below("kelson/a.yaml", "kelson"), Some("a.yaml"));
        assert_eq!(below("kelson2/a.yaml", "kelson"), None);
        assert_eq!(below("kelson", "kelson"), None);
        assert_eq!(below("a.yaml", ""), Some("a.yaml"));
    }
}
