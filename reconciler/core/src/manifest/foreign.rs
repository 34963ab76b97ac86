//! Files that were made for other programs: each is one fault, which says what the file is.

use kelson_model::code::Code;
use kelson_model::report::API_VERSION;

use super::flaw::Flaw;
use super::tree::{Content, Node, Position, Range};

/// Largest pointer of git-lfs, in bytes.
const MAX_POINTER: usize = 1024;

/// What to do with any of them.
const CURE: &str =
    "if it does not belong here, name it in a .kelsonignore of its folder or one above";

/// A file that is no YAML of anybody: a pointer of git-lfs.
pub(crate) fn of_text(text: &str) -> Option<Flaw> {
    let is_pointer =
        text.len() <= MAX_POINTER && text.starts_with("version https://git-lfs.github.com/spec/");
    is_pointer.then(|| {
        let first = text.lines().next().unwrap_or_default().chars().count();
        let range = Range {
            start: Position::new(1, 1),
            end: Position::new(1, first + 1),
        };
        Flaw::over(
            Code::UnreadableFile,
            range,
            "the file is a pointer of git-lfs; the manifest itself is not in the repository",
            "commit the manifest itself: take its path out of .gitattributes, and add it again",
        )
    })
}

/// The documents of one file that were made for other programs.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    first: Option<Flaw>,
    more: usize,
}

impl Strangers {
    /// Takes a document that was made for another program; `false` for one of ours, and for what
    /// nobody can tell.
    pub(crate) fn take(&mut self, path: &str, document: &Node) -> bool {
        let Some((node, what)) = recognise(path, document) else {
            return false;
        };
        if self.first.is_some() {
            self.more += 1;
        } else {
            let version = document
                .get("apiVersion")
                .and_then(|it| it.value.as_text())
                .map(|version| format!(" (apiVersion {})", super::tree::cut(version)))
                .unwrap_or_default();
            self.first = Some(Flaw::at_value(
                Code::ApiVersion,
                node,
                format!("this is {what}{version}, and no manifest of Kelson"),
                format!("{CURE}; a manifest begins with `apiVersion: {API_VERSION}`"),
            ));
        }
        true
    }

    /// One fault for all of them.
    pub(crate) fn flaw(self) -> Option<Flaw> {
        let mut flaw = self.first?;
        match self.more {
            0 => {}
            1 => flaw
                .message
                .push_str("; nor is one more document of this file"),
            more => flaw
                .message
                .push_str(&format!("; nor are {more} more documents of this file")),
        }
        Some(flaw)
    }
}

/// What a document was made for, and the value that shows it.
fn recognise<'a>(path: &str, document: &'a Node) -> Option<(&'a Node, &'static str)> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let has = |key: &str| document.get(key).is_some();
    let Some(version) = document.get("apiVersion") else {
        let what = unversioned(name, document, has)?;
        return Some((document, what));
    };
    let text = version.value.as_text()?;
    if text == API_VERSION || looks_like_ours(text) {
        return None;
    }
    let group = text.split('/').next().unwrap_or_default();
    let what = if group.starts_with("kustomize.config.k8s.io") {
        "a kustomization (Kustomize)"
    } else if text == "v2" && has("name") && has("version") || name == "Chart.yaml" {
        "a Helm chart"
    } else if is_kubernetes(text, group) && has("kind") {
        "a Kubernetes manifest"
    } else {
        "made for another program"
    };
    Some((&version.value, what))
}

/// `Kelson/v1`, `kelson.dev/v1beta1`, `kelson/v2`: somebody meant us.
fn looks_like_ours(version: &str) -> bool {
    version.len() <= 63 && version.to_lowercase().starts_with("kelson")
}

fn is_kubernetes(version: &str, group: &str) -> bool {
    const GROUPS: [&str; 6] = [
        "apps",
        "autoscaling",
        "batch",
        "extensions",
        "policy",
        "core",
    ];
    let is_version =
        version.starts_with('v') && version.chars().nth(1).is_some_and(char::is_numeric);
    is_version || GROUPS.contains(&group) || version.contains('/') && group.contains('.')
}

fn unversioned(name: &str, document: &Node, has: impl Fn(&str) -> bool) -> Option<&'static str> {
    if let Content::Sequence(items) = &document.content {
        let is_play = |item: &Node| item.get("hosts").is_some() && item.get("tasks").is_some();
        return items
            .first()
            .is_some_and(is_play)
            .then_some("a playbook of Ansible");
    }
    let is_kustomization = matches!(name, "kustomization.yaml" | "kustomization.yml");
    let parts = [
        "resources",
        "bases",
        "patches",
        "namePrefix",
        "components",
        "generators",
    ];
    if is_kustomization && parts.iter().any(|part| has(part)) {
        return Some("a kustomization (Kustomize)");
    }
    let services = document.get("services").map(|entry| &entry.value);
    let is_compose = services
        .and_then(Node::as_mapping)
        .and_then(|services| services.first())
        .is_some_and(|entry| {
            let service = &entry.value;
            ["image", "build"]
                .iter()
                .any(|key| service.get(key).is_some())
        });
    if is_compose && !has("kind") {
        return Some("a file of docker-compose");
    }
    if has("jobs") && has("on") && !has("kind") {
        return Some("a workflow of GitHub Actions");
    }
    None
}
