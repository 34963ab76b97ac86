//! One file: its documents checked, its faults told.

use std::collections::BTreeSet;
use std::sync::Arc;

use kelson_model::object::{DesiredObject, ObjectKey, Origin};
use kelson_model::source::Fault;

use super::envelope;
use super::flaw::Flaw;
use super::kinds::Kinds;
use super::load::LoadedObject;
use super::resolve;
use super::schema::Schema;
use super::tree::{Position, Spans};
use super::{written, yaml};
use crate::codes::Code;

/// What one file came to. Depends on nothing but its path, its bytes and the kinds.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) objects: Vec<Arc<LoadedObject>>,
    pub(crate) faults: Vec<Fault>,
    /// Documents of a kind that nobody brings: a fault, or a reason to wait for a framework of the same commit.
    pub(crate) unknown: Vec<UnknownKind>,
}

#[derive(Debug, Clone)]
pub(crate) struct UnknownKind {
    /// What it names, where its envelope is good.
    pub(crate) object: Option<(ObjectKey, Origin)>,
    pub(crate) fault: Fault,
}

/// Reads and checks one file.
pub(crate) fn check(path: &str, bytes: &[u8], envelope: &Schema, kinds: &Kinds) -> Outcome {
    let text = match yaml::text_of(bytes) {
        Ok(text) => text,
        Err(flaw) => {
            let shown = String::from_utf8_lossy(
                bytes
                    .get(..yaml::MAX_FILE_BYTES.min(bytes.len()))
                    .unwrap_or_default(),
            );
            return Outcome {
                faults: vec![flaw.in_file(path, &shown)],
                ..Outcome::default()
            };
        }
    };
    let read = yaml::read(text);
    let quiet: BTreeSet<Position> = read.flaws.iter().map(|flaw| flaw.position).collect();
    let mut flaws = read.flaws;
    let mut outcome = Outcome::default();
    let shared: Arc<str> = Arc::from(text);
    for document in &read.documents {
        let opened = envelope::open(envelope, document, &quiet);
        flaws.extend(opened.flaws);
        let Some((kind, kind_position)) = opened.kind else {
            continue;
        };
        let origin = Origin {
            file: path.to_owned(),
            line: document.position.line,
            column: None,
        };
        let Some(known) = kinds.get(&kind) else {
            outcome.unknown.push(UnknownKind {
                object: opened.envelope.map(|envelope| (envelope.key, origin)),
                fault: unknown_kind(&kind, kind_position, kinds).in_file(path, text),
            });
            continue;
        };
        let Some(spec) = document
            .get("spec")
            .filter(|entry| entry.value.as_mapping().is_some())
        else {
            continue;
        };
        let checked = known.schema.check(&spec.value, "/spec", &quiet);
        let is_good = checked.flaws.is_empty();
        flaws.extend(checked.flaws);
        let (Some(envelope), true) = (opened.envelope, is_good) else {
            continue;
        };
        let (needs, mut bad_paths) =
            resolve::needs(path, &kind, &known.templates, &checked.value, document);
        flaws.append(&mut bad_paths);
        outcome.objects.push(Arc::new(LoadedObject {
            desired: DesiredObject {
                key: envelope.key,
                labels: envelope.labels,
                lifecycle: envelope.lifecycle,
                spec: checked.value,
                origin,
                written: Some(written::digest(&spec.value)),
            },
            spans: Spans::of(document),
            needs,
            text: Arc::clone(&shared),
        }));
    }
    outcome.faults = flaws
        .into_iter()
        .map(|flaw| flaw.in_file(path, text))
        .collect();
    outcome
}

fn unknown_kind(kind: &str, position: Position, kinds: &Kinds) -> Flaw {
    let known: Vec<&str> = kinds.names().collect();
    let hint = match kinds.nearest(kind) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!(
            "known kinds: {}; another one needs a Framework that brings it",
            known.join(", ")
        ),
    };
    Flaw::new(
        Code::UnknownKind,
        position,
        format!("no framework brings the kind {}", super::tree::cut(kind)),
        hint,
    )
}
