//! `.kelsonignore` beside git's own idea of the same text.

use std::io::Write;
use std::process::{Command, Stdio};

use super::fixture::Repository;
use crate::source::BlobId;
use crate::source::ignore::{IgnoreFile, IgnoreStack};

const PATHS: &[&str] = &[
    "a",
    "b",
    "ab",
    "abc",
    "a.yaml",
    "b.yml",
    "a/b",
    "a/b/c",
    "a/b/c/d",
    "x/a",
    "x/a/b",
    "x/y/a",
    "foo",
    "foo/bar",
    "x/foo",
    "x/foo/bar",
    "x/y/foo",
    "foobar",
    "bar",
    "bar/foo",
    "doc/a.txt",
    "doc/x/a.txt",
    "doc/x/y/a.txt",
    "a b",
    "#x",
    "!x",
    "*",
    "a*",
    "[a]",
    "a]",
    "-",
    "0",
    "9z",
    "Z",
    "\\",
    "a\\b",
    "ä",
    "äb",
    "foo ",
    "x/foo /y",
    "deep/er/and/deep/er",
    "a-b",
    "a^b",
];

const PATTERNS: &[&str] = &[
    "a",
    "/a",
    "a/",
    "/a/",
    "a/b",
    "/a/b",
    "a/b/",
    "*",
    "*.yaml",
    "*.y*",
    "?",
    "??",
    "a?",
    "/?",
    "a*",
    "*a",
    "*a*",
    "a/*",
    "*/a",
    "*/a/*",
    "**",
    "**/a",
    "a/**",
    "**/a/**",
    "a/**/c",
    "a/**/d",
    "/**/a",
    "**/foo/bar",
    "foo/**",
    "**/",
    "a/**/",
    "a**",
    "**b",
    "x/**b",
    "doc/*.txt",
    "doc/**/*.txt",
    "doc/**/a.txt",
    "/doc/*/a.txt",
    "[ab]",
    "[!a]",
    "[^a]",
    "[a-c]",
    "[]]",
    "[!]]",
    "[]a]",
    "[a",
    "a]",
    "[[:alpha:]]",
    "[[:digit:]]*",
    "[![:digit:]]",
    "[[:alnum:]-]",
    "[a-]",
    "[-a]",
    "[z-a]",
    "[\\]]",
    "[\\a-\\c]",
    "[[:nope:]]",
    "\\#x",
    "#x",
    "\\!x",
    "!x",
    "\\*",
    "a\\*",
    "\\",
    "a\\",
    "\\\\",
    "a\\\\b",
    "foo ",
    "foo\\ ",
    "foo  ",
    " ",
    "/",
    "//",
    "a//b",
    "./a",
    "../a",
    "ä",
    "?b",
    "??b",
    "*/*/*",
    "/*",
    "/*/",
    "*/",
    "foo*bar",
    "foo**bar",
    "deep/er",
    "**/deep/er",
    "deep/**/er",
    "deep/**/**/er",
    "***",
    "a/***",
    "***/a",
    "a-b",
    "a[-^]b",
    "a[^-]b",
    "[*]",
    "[?]",
    "*[*]",
    "[/]",
    "x[/]a",
    "foo/",
    "**/foo/",
    "foo/*",
    "x/**/foo",
    "\\a",
    "\\ä",
];

/// Asks git, for each path, what a `.gitignore` of this text does with it; the paths do not exist,
/// so none is a folder.
fn asked_of_git(repository: &Repository, text: &str, paths: &[&str]) -> Vec<bool> {
    repository.write(".gitignore", text);
    let mut child = Command::new("git")
        .arg("-C")
        .arg(&repository.path)
        .args([
            "check-ignore",
            "--no-index",
            "--verbose",
            "--non-matching",
            "-z",
            "--stdin",
        ])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for path in paths {
        stdin.write_all(format!("{path}\0").as_bytes()).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let fields: Vec<_> = text.split('\0').collect();
    // Each answer: file, line, pattern, path.
    fields
        .chunks_exact(4)
        .map(|answer| !answer[2].is_empty() && !answer[2].starts_with('!'))
        .collect()
}

/// The same question to this room: folder by folder, as a listing asks it.
fn asked_here(text: &str, path: &str) -> bool {
    let file = IgnoreFile::parse(text.as_bytes()).unwrap();
    let stack =
        IgnoreStack::default().with("", BlobId::from_bytes([0; 20]), std::sync::Arc::new(file));
    let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
    folders
        .into_iter()
        .any(|folder| stack.ignores(folder, true))
        || stack.ignores(path, false)
}

#[test]
fn each_pattern_means_what_git_means() {
    let repository = Repository::new();
    for pattern in PATTERNS {
        let git = asked_of_git(&repository, &format!("{pattern}\n"), PATHS);
        assert_eq!(git.len(), PATHS.len());
        for (path, wanted) in PATHS.iter().zip(git) {
            assert_eq!(
                asked_here(&format!("{pattern}\n"), path),
                wanted,
                "pattern `{pattern}`, path `{path}`"
            );
        }
    }
}

#[test]
fn patterns_together_mean_what_git_means() {
    let repository = Repository::new();
    // Every pattern is taken back by another one, in both orders.
    for (at, pattern) in PATTERNS.iter().enumerate() {
        let other = PATTERNS[(at * 7 + 3) % PATTERNS.len()];
        let text = format!("{pattern}\n!{other}\nfoo/bar\r\n# a comment\n");
        for (path, wanted) in PATHS.iter().zip(asked_of_git(&repository, &text, PATHS)) {
            assert_eq!(
                asked_here(&text, path),
                wanted,
                "text {text:?}, path `{path}`"
            );
        }
    }
}
