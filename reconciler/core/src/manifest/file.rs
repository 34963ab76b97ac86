//! One file: its documents checked, its faults told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::code::Code;
use kelson_model::object::{DesiredObject, ObjectKey, Origin};
use kelson_model::source::Fault;

use super::below;
use super::envelope::{self, Around};
use super::flaw::{Flaw, MAX_FAULTS, Rewrite};
use super::foreign;
use super::kinds::Kinds;
use super::lines::Lines;
use super::load::LoadedObject;
use super::normal::Respelt;
use super::resolve;
use super::schema::{Place, Schema};
use super::tree::{Node, Position, Spans};
use super::waiting::Unjudged;
use super::{written, yaml};

/// What one file came to. Depends on nothing but its path, its bytes and the kinds.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) objects: Vec<Arc<LoadedObject>>,
    pub(crate) faults: Vec<Fault>,
    /// Documents that no framework takes as things stand.
    pub(crate) unjudged: Vec<Arc<Unjudged>>,
}

impl Outcome {
    /// All that is wrong, where nothing is waited for.
    pub(crate) fn all_faults(&self) -> Vec<Fault> {
        let unjudged = self.unjudged.iter().flat_map(|it| &it.faults);
        self.faults.iter().chain(unjudged).cloned().collect()
    }
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
                faults: vec![flaw.in_file(path, &Lines::new(&shown))],
                ..Outcome::default()
            };
        }
    };
    let lines = Lines::new(text);
    if let Some(flaw) = foreign::of_text(text) {
        return Outcome {
            faults: vec![flaw.in_file(path, &lines)],
            ..Outcome::default()
        };
    }
    let read = yaml::read(text);
    let file = File {
        path,
        lines: &lines,
        text: Arc::from(text),
        quiet: read.flaws.iter().map(|flaw| flaw.position).collect(),
        envelope,
        kinds,
    };
    let mut gathered = Gathered {
        flaws: read.flaws,
        ..Gathered::default()
    };
    let mut strangers = foreign::Strangers::default();
    for document in &read.documents {
        if !strangers.take(path, document) {
            file.document(document, &mut gathered);
        }
    }
    gathered.flaws.extend(strangers.flaw());
    for flaw in &mut gathered.flaws {
        if flaw.code == Code::Surprise
            && let Some(respelt) = gathered.respelt.remove(&flaw.position)
        {
            flaw.hint = respelt.hint;
            flaw.replacement = respelt.rewrite.map(Box::new);
        }
    }
    let mut outcome = gathered.outcome;
    outcome.faults = gathered
        .flaws
        .into_iter()
        .take(MAX_FAULTS)
        .map(|flaw| flaw.in_file(path, &lines))
        .collect();
    outcome
}

/// What is known of a file while its documents are checked.
struct File<'a> {
    path: &'a str,
    lines: &'a Lines<'a>,
    text: Arc<str>,
    /// Where the reading of YAML has told something.
    quiet: BTreeSet<Position>,
    envelope: &'a Schema,
    kinds: &'a Kinds,
}

/// What the documents of a file came to so far.
#[derive(Default)]
struct Gathered {
    outcome: Outcome,
    flaws: Vec<Flaw>,
    /// How many faults are told in `outcome`.
    told: usize,
    respelt: BTreeMap<Position, Respelt>,
}

impl File<'_> {
    fn document(&self, document: &Node, gathered: &mut Gathered) {
        let kind = document.get("kind").and_then(|it| it.value.as_text());
        let known = kind.and_then(|kind| self.kinds.get(kind));
        let around = Around {
            lines: self.lines,
            quiet: &self.quiet,
            spec: known.map(|known| &known.schema.json),
        };
        let opened = envelope::open(self.envelope, document, around);
        gathered.flaws.extend(opened.flaws);
        gathered.respelt.extend(opened.respelt);
        let Some(kind) = opened.kind else {
            return;
        };
        let origin = Origin {
            file: self.path.to_owned(),
            line: document.position.line,
            column: None,
        };
        let Some(known) = known else {
            let object = opened.envelope.map(|envelope| (envelope.key, origin));
            let flaw = unknown_kind(&kind, document, self.kinds);
            self.leave_unjudged(object, None, vec![flaw], gathered);
            return;
        };
        let Some(spec) = document
            .get("spec")
            .filter(|entry| entry.value.as_mapping().is_some())
        else {
            return;
        };
        let place = Place {
            base: "/spec",
            quiet: &self.quiet,
            spec: None,
        };
        let mut checked = known.schema.check(&spec.value, place);
        below::put_below(
            &mut checked.flaws,
            &spec.value,
            &known.schema.json,
            self.lines,
        );
        gathered.respelt.extend(checked.respelt);
        if !checked.flaws.is_empty() {
            let object = opened.envelope.map(|envelope| (envelope.key, origin));
            let framework = known.framework.clone();
            self.leave_unjudged(object, framework, checked.flaws, gathered);
            return;
        }
        let Some(envelope) = opened.envelope else {
            return;
        };
        let (needs, mut bad_paths) =
            resolve::needs(self.path, &kind, &known.templates, &checked.value, document);
        gathered.flaws.append(&mut bad_paths);
        gathered.outcome.objects.push(Arc::new(LoadedObject {
            desired: DesiredObject {
                key: envelope.key,
                labels: envelope.labels,
                lifecycle: envelope.lifecycle,
                spec: checked.value.into(),
                origin,
                written: Some(written::digest(&spec.value)),
            },
            spans: Spans::of(document),
            needs,
            text: Arc::clone(&self.text),
        }));
    }

    /// Keeps what a framework says against a document apart from what is wrong whoever judges it.
    fn leave_unjudged(
        &self,
        object: Option<(ObjectKey, Origin)>,
        framework: Option<String>,
        flaws: Vec<Flaw>,
        gathered: &mut Gathered,
    ) {
        let room = MAX_FAULTS.saturating_sub(gathered.told).max(1);
        let faults: Vec<Fault> = flaws
            .into_iter()
            .take(room)
            .map(|flaw| flaw.in_file(self.path, self.lines))
            .collect();
        gathered.told += faults.len();
        gathered.outcome.unjudged.push(Arc::new(Unjudged {
            object,
            framework,
            faults,
        }));
    }
}

fn unknown_kind(kind: &str, document: &Node, kinds: &Kinds) -> Flaw {
    let known: Vec<&str> = kinds.names().collect();
    let meant = kinds.nearest(kind);
    let hint = match &meant {
        Some(meant) => format!("did you mean {}?", meant.word),
        None => format!(
            "known kinds: {}; another one needs a Framework that brings it",
            known.join(", ")
        ),
    };
    let node = document.get("kind").map_or(document, |it| &it.value);
    let rewrite = meant.map(|meant| Rewrite {
        range: node.range(),
        text: meant.word.to_owned(),
        is_certain: meant.is_certain,
    });
    let message = format!("no framework brings the kind {}", super::tree::cut(kind));
    Flaw::at_value(Code::UnknownKind, node, message, hint).with_rewrite(rewrite)
}
