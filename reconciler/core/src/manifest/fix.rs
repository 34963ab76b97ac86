//! Writes what is known beyond doubt into a manifest, and leaves everything else as it is.

use std::cmp::Ordering;

use kelson_model::code::Code;
use kelson_model::source::{Fault, Replacement};

use super::envelope::envelope_schema;
use super::file;
use super::kinds::Kinds;
use super::lines::Lines;
use super::schema::Schema;
use super::tree::Position;
use super::yaml::text_of;

/// Most times that a file is looked at anew: a fault may hide another.
const MAX_LOOKS: usize = 400;
/// Most faults of one look that are tried alone.
const MAX_ALONE: usize = 20;

/// A manifest with what was put right in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// All bytes of the file.
    pub bytes: Vec<u8>,
    /// What was put right, in the order of its doing; each with its replacement.
    pub mended: Vec<Fault>,
}

/// A file on its way, and what is wrong with it.
#[derive(Debug, Clone)]
struct State {
    fixed: Fixed,
    faults: Vec<Fault>,
}

/// Puts right what [`Replacement::certain`] says of the faults of one file; `None` where there is
/// nothing to do.
///
/// Goes on from each file that it writes, until nothing certain is left. A replacement stays only
/// where its fault is gone and no more is wrong than before, besides what has come to light by it.
pub fn fix(path: &str, bytes: &[u8], kinds: &Kinds) -> Option<Fixed> {
    let envelope = Schema::compile(envelope_schema()).ok()?;
    let mut looks = 0;
    let mut faults_of = |bytes: &[u8]| {
        looks += 1;
        let outcome = file::check(path, bytes, &envelope, kinds);
        let mut faults = outcome.all_faults();
        faults.sort();
        faults.dedup();
        (looks <= MAX_LOOKS).then_some(faults)
    };
    let mut state = State {
        fixed: Fixed {
            bytes: bytes.to_vec(),
            mended: Vec::new(),
        },
        faults: faults_of(bytes)?,
    };
    while let Some(next) = state.next(&mut faults_of) {
        state = next;
    }
    (!state.fixed.mended.is_empty()).then_some(state.fixed)
}

impl State {
    /// The file with all that is certain where that works, else with the first of it that does.
    fn next(&self, look: &mut impl FnMut(&[u8]) -> Option<Vec<Fault>>) -> Option<Self> {
        let certain: Vec<&Fault> = self.faults.iter().filter(|it| is_certain(it)).collect();
        let alone = certain.iter().take(MAX_ALONE).map(|fault| vec![*fault]);
        for done in std::iter::once(certain.clone()).chain(alone) {
            let Some(bytes) = write(&self.fixed.bytes, &done) else {
                continue;
            };
            let faults = look(&bytes)?;
            if is_better(&self.faults, &done, &faults) {
                let mut mended = self.fixed.mended.clone();
                mended.extend(done.into_iter().cloned());
                let fixed = Fixed { bytes, mended };
                return Some(Self { fixed, faults });
            }
        }
        None
    }
}

/// Whether a file is better with what was done. What can be read only now may have faults of its
/// own.
fn is_better(before: &[Fault], done: &[&Fault], left: &[Fault]) -> bool {
    if is_misplaced(done, left) {
        return false;
    }
    match hidden(left).cmp(&hidden(before)) {
        Ordering::Less => true,
        // What is certain as well is put right next.
        Ordering::Greater if hidden(&doubtful(left)) > hidden(before) => false,
        Ordering::Greater if done.iter().any(|fault| layer(fault).is_some()) => false,
        _ if done.iter().any(|fault| left.contains(fault)) => false,
        // Another fault has come to light. Where lines were moved, it must be behind them: it may
        // come of that.
        Ordering::Equal if done.iter().any(|fault| layer(fault).is_some()) => {
            is_further(before, left) || moved(done).next().is_none()
        }
        Ordering::Equal | Ordering::Greater => {
            let outside = |faults: &[Fault]| {
                let is_outside = |fault: &&Fault| !done.iter().any(|it| reaches(it, fault));
                faults.iter().filter(is_outside).count()
            };
            outside(&doubtful(left)) <= outside(before)
        }
    }
}

fn doubtful(faults: &[Fault]) -> Vec<Fault> {
    let doubtful = faults.iter().filter(|fault| !is_certain(fault));
    doubtful.cloned().collect()
}

/// Whether what hides other faults stands further behind in the file.
fn is_further(before: &[Fault], left: &[Fault]) -> bool {
    let places = |faults: &[Fault]| -> Vec<(u32, u32)> {
        let hiding = faults.iter().filter(|fault| layer(fault) == Some(0));
        hiding.map(|fault| (fault.line, fault.column)).collect()
    };
    let (before, left) = (places(before), places(left));
    before != left
        && before
            .iter()
            .zip(&left)
            .all(|(before, left)| left >= before)
}

/// The replacements that move lines to the right.
fn moved<'a>(done: &[&'a Fault]) -> impl Iterator<Item = &'a Replacement> {
    let replacements = done.iter().filter_map(|fault| fault.replacement.as_ref());
    replacements.filter(|it| it.column == 1 && it.text.starts_with(' '))
}

/// Whether lines were moved to where nobody knows a field of theirs.
fn is_misplaced(done: &[&Fault], left: &[Fault]) -> bool {
    left.iter().any(|fault| {
        fault.code.known() == Some(Code::UnknownField)
            && !is_certain(fault)
            && moved(done).any(|it| (it.line..=it.end_line).contains(&fault.line))
    })
}

/// Whether a fault may have come to light by what was done: it stands in the lines that were
/// written.
fn reaches(done: &Fault, fault: &Fault) -> bool {
    let Some(replacement) = &done.replacement else {
        return false;
    };
    // What a field that nobody knew holds was not looked at before.
    let is_below = done.code.known() == Some(Code::UnknownField)
        && fault.line > replacement.line
        && fault.column > replacement.column;
    is_below || (replacement.line..=replacement.end_line).contains(&fault.line)
}

/// What hides other faults, the deepest first: what cannot be read, what is not for us, and what
/// nobody knows.
const HIDING: [&[Code]; 3] = [
    &[
        Code::Syntax,
        Code::Tab,
        Code::DuplicateKey,
        Code::Disagreement,
        Code::NotAnObject,
    ],
    &[Code::ApiVersion],
    &[Code::UnknownKind],
];

/// Where a fault stands in [`HIDING`].
fn layer(fault: &Fault) -> Option<usize> {
    let code = fault.code.known()?;
    HIDING.iter().position(|codes| codes.contains(&code))
}

/// How many faults there are that hide others, by layer.
fn hidden(faults: &[Fault]) -> [usize; HIDING.len()] {
    let mut count = [0; HIDING.len()];
    for layer in faults.iter().filter_map(layer) {
        if let Some(count) = count.get_mut(layer) {
            *count += 1;
        }
    }
    count
}

fn is_certain(fault: &Fault) -> bool {
    fault
        .replacement
        .as_ref()
        .is_some_and(|replacement| replacement.certain)
}

/// The file with the replacements of these faults; `None` where two of them overlap, or one is
/// outside of the text.
fn write(bytes: &[u8], faults: &[&Fault]) -> Option<Vec<u8>> {
    let text = text_of(bytes).ok()?;
    let mark = bytes.len() - text.len();
    let lines = Lines::new(text);
    let mut parts = Vec::new();
    for replacement in faults.iter().filter_map(|fault| fault.replacement.as_ref()) {
        let (start, end) = range(&lines, replacement)?;
        parts.push((start, end, replacement.text.as_str()));
    }
    parts.sort_unstable();
    parts.dedup();
    let ends = line_end(text);
    let mut written = bytes.get(..mark)?.to_vec();
    let mut at = 0;
    for (start, end, new) in parts {
        written.extend_from_slice(text.get(at..start)?.as_bytes());
        written.extend_from_slice(new.replace('\n', ends).as_bytes());
        at = end;
    }
    written.extend_from_slice(text.get(at..)?.as_bytes());
    (!faults.is_empty()).then_some(written)
}

fn range(lines: &Lines<'_>, replacement: &Replacement) -> Option<(usize, usize)> {
    let start = lines.byte(Position {
        line: replacement.line,
        column: replacement.column,
    })?;
    let end = lines.byte(Position {
        line: replacement.end_line,
        column: replacement.end_column,
    })?;
    (start <= end).then_some((start, end))
}

/// How the lines of a text end.
fn line_end(text: &str) -> &'static str {
    match text.find(['\n', '\r']).and_then(|at| text.get(at..)) {
        Some(rest) if rest.starts_with("\r\n") => "\r\n",
        Some(rest) if rest.starts_with('\r') => "\r",
        Some(_) | None => "\n",
    }
}
