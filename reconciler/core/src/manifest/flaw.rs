//! A fault before it knows its file.

use kelson_model::source::Fault;

use super::tree::Position;
use crate::codes::Code;

/// Most faults that are told of one commit; the last one then says how many more there are.
pub const MAX_FAULTS: usize = 1000;
/// Most characters of a source line that a fault carries.
const MAX_SOURCE_LINE: usize = 200;

/// What is wrong at a place of some file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) code: Code,
    pub(crate) position: Position,
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl Flaw {
    pub(crate) fn new(
        code: Code,
        position: Position,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code,
            position,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The fault in a file of this text.
    pub(crate) fn in_file(self, file: &str, text: &str) -> Fault {
        Fault {
            code: self.code.id().to_owned(),
            file: file.to_owned(),
            line: self.position.line,
            column: self.position.column,
            source_line: source_line(text, self.position.line),
            message: self.message,
            hint: self.hint,
        }
    }
}

/// A line of a text, without what a terminal would act on, cut at 200 characters; line 0 is empty.
pub(crate) fn source_line(text: &str, line: u32) -> String {
    let Some(index) = line.checked_sub(1).and_then(|n| usize::try_from(n).ok()) else {
        return String::new();
    };
    let line = text.split('\n').nth(index).unwrap_or_default();
    line.trim_end()
        .chars()
        .take(MAX_SOURCE_LINE)
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Orders faults by file and place, drops repetitions, and cuts at [`MAX_FAULTS`], saying how many were cut.
pub fn tidy(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort_by(|a, b| {
        let place = |fault: &Fault| (fault.line, fault.column);
        a.file
            .cmp(&b.file)
            .then_with(|| place(a).cmp(&place(b)))
            .then_with(|| a.cmp(b))
    });
    faults.dedup();
    if faults.len() > MAX_FAULTS {
        let more = faults.len() - (MAX_FAULTS - 1);
        faults.truncate(MAX_FAULTS - 1);
        faults.push(Fault {
            code: Code::TooManyFaults.id().to_owned(),
            file: String::new(),
            line: 0,
            column: 0,
            message: format!("there are {more} more faults"),
            hint: "mend the ones above first; the others are told then".to_owned(),
            source_line: String::new(),
        });
    }
    faults
}
