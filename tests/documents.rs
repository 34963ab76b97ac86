//! The documents agree with the sources: codes and pages, paths and links, the manifest reference
//! and the schemas, the commands of the README.
//!
//! `KELSON_BLESS=1 cargo test -p kelson --test documents` writes the manifest reference anew; read
//! the difference before you commit it. What the documents tell people to type is run by
//! `tests/black_box/documents.rs`.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kelson_model::code::{Area, Code};
use kelson_model::framework::Description;
use kelson_reconciler_core::manifest::{Kinds, reference};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// All files below a folder whose name ends so, without what is built.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn pages() -> BTreeSet<String> {
    files(&root().join("docs/errors"), ".md")
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "README")
        .collect()
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let codes: BTreeSet<String> = Code::ALL.iter().map(|code| code.id().to_owned()).collect();
    assert_eq!(codes, pages());
}

#[test]
fn every_error_page_has_its_parts_and_stands_in_its_part_of_the_index() {
    let index = read("docs/errors/README.md");
    let part = |area| {
        let heading = match area {
            Area::Manifests => "\n## K01: ",
            Area::Requests => "\n## K03: ",
        };
        let from = index.split(heading).nth(1).unwrap_or_default();
        from.split("\n## ").next().unwrap_or_default()
    };
    for code in Code::ALL {
        let (id, title) = (code.id(), code.title());
        let page = read(format!("docs/errors/{id}.md"));
        assert_eq!(page.lines().next(), Some(&*format!("# {id}: {title}")));
        for part in ["\n## Cause\n", "\n## Cure\n", "\n## Example\n"] {
            let part_name = part.trim();
            assert!(
                page.contains(part),
                "docs/errors/{id}.md has no {part_name}"
            );
        }
        let row = format!("| [{id}]({id}.md) | {title} |");
        let is_there = part(code.area()).lines().any(|line| line == row);
        assert!(is_there, "docs/errors/README.md has no line {row}");
    }
}

/// All documents for readers.
fn documents() -> Vec<PathBuf> {
    let mut all = files(&root().join("docs"), ".md");
    all.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    all
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = read(&document);
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(file)
            };
            let leads = target.exists()
                && (heading.is_empty()
                    || read(&target)
                        .lines()
                        .any(|line| line.starts_with('#') && anchor(line) == heading));
            if !leads {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn every_path_that_the_documents_name_is_there() {
    let tops: BTreeSet<String> = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "target" && !name.starts_with('.'))
        .collect();
    let mut missing = Vec::new();
    for document in documents() {
        let text = read(&document);
        let mut is_block = false;
        for line in text.lines() {
            if line.starts_with("```") {
                is_block = !is_block;
            }
            // Blocks are examples of what others have in their repositories.
            let quoted = line.split('`').skip(1).step_by(2).filter(|_| !is_block);
            for path in quoted {
                let is_ours = path
                    .split_once('/')
                    .is_some_and(|(top, _)| tops.contains(top));
                let is_plain = path
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
                if is_ours && is_plain && !root().join(path).exists() {
                    missing.push(format!("{}: {path}", document.display()));
                }
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_readme_names_both_commands() {
    let readme = read("README.md");
    for command in ["cargo xtask demo", "cargo xtask test"] {
        assert!(
            readme.lines().any(|line| line.starts_with(command)),
            "README.md does not name {command}"
        );
    }
}

#[test]
fn the_manifest_reference_is_what_the_schemas_say() {
    // The scheduler's own test keeps this file equal to what its component says.
    let description: Description =
        serde_json::from_str(&read("plugins/service/golden/description.json")).unwrap();
    let (kinds, errors) = Kinds::new([(description.name.as_str(), &description)]);
    assert!(errors.is_empty(), "{errors:?}");
    let page = reference(&kinds);
    if std::env::var_os("KELSON_BLESS").is_some() {
        std::fs::write(root().join("docs/reference/manifests.md"), &page).unwrap();
    }
    assert!(
        read("docs/reference/manifests.md") == page,
        "the schemas have changed; if that is meant, run this test with KELSON_BLESS=1"
    );
}
