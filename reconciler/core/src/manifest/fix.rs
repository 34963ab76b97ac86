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
const MAX_ROUNDS: usize = 20;

/// A manifest with what was put right in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// All bytes of the file.
    pub bytes: Vec<u8>,
    /// What was put right, in the order of its doing; each with its replacement.
    pub mended: Vec<Fault>,
}

/// Puts right what [`Replacement::certain`] says of the faults of one file; `None` where there is
/// nothing to do.
///
/// A replacement stays only where more of the file can be read with it than without, or as much and
/// its fault is gone.
pub fn fix(path: &str, bytes: &[u8], kinds: &Kinds) -> Option<Fixed> {
    let envelope = Schema::compile(envelope_schema()).ok()?;
    let faults_of = |bytes: &[u8]| {
        let outcome = file::check(path, bytes, &envelope, kinds);
        let mut faults = outcome.all_faults();
        faults.sort();
        faults.dedup();
        faults
    };
    let mut fixed = Fixed {
        bytes: bytes.to_vec(),
        mended: Vec::new(),
    };
    let mut faults = faults_of(bytes);
    for _ in 0..MAX_ROUNDS {
        let certain: Vec<&Fault> = faults.iter().filter(|fault| is_certain(fault)).collect();
        // All at once where that works, else the first that does.
        let all = write(&fixed.bytes, &certain).map(|bytes| (bytes, certain.clone()));
        let each = certain
            .iter()
            .filter_map(|fault| Some((write(&fixed.bytes, &[fault])?, vec![*fault])));
        let better = all
            .into_iter()
            .chain(each.take(MAX_ROUNDS))
            .find_map(|(bytes, done)| {
                let left = faults_of(&bytes);
                is_better(&faults, &done, &left).then_some((bytes, done, left))
            });
        let Some((bytes, done, left)) = better else {
            break;
        };
        fixed.bytes = bytes;
        fixed.mended.extend(done.into_iter().cloned());
        faults = left;
    }
    (!fixed.mended.is_empty()).then_some(fixed)
}

/// Whether a file is better with what was done: more of it can be read, or as much, and nothing of
/// what was done is left. What can be read only now may have faults of its own.
fn is_better(before: &[Fault], done: &[&Fault], left: &[Fault]) -> bool {
    match hidden(left).cmp(&hidden(before)) {
        Ordering::Less => true,
        Ordering::Equal => done
            .iter()
            .all(|fault| layer(fault).is_none() && !left.contains(fault)),
        Ordering::Greater => false,
    }
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
