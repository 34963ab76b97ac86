//! Tells a plan to people, as plain lines; colour is the business of who prints them.

use std::collections::BTreeMap;

use kelson_model::object::Origin;
use kelson_model::source::Fault;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::plan::{FieldChange, Plan, Step, StepKind};

/// Longest value that is written out, in characters.
const MAX_VALUE: usize = 48;
/// What is shown of two long values before the place where they part.
const LEAD: usize = 12;
/// Texts of more lines are not compared line by line.
const MAX_COMPARED: usize = 5_000;
/// Lines shown of one changed text.
const MAX_SHOWN: usize = 40;
/// Longest line of a changed text, in characters.
const MAX_LINE: usize = 160;
/// Behind a line that differs in nothing else.
const NO_END: &str = " (no line break at the end)";

/// Texts of files by their digest (`sha256:…`), as many of them as are known: what changed in a
/// file is shown, and not that its digest did.
pub type Texts = BTreeMap<String, String>;

/// What a line is about; a terminal may colour by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// `+`: an object that will be made.
    Added,
    /// `~`: an object or field that will change.
    Changed,
    /// `-`: an object that will be removed.
    Removed,
    /// `=`: an object that is left as it is, and why.
    Kept,
    /// `!`: what waits for a person.
    Held,
}

impl Mark {
    /// The sign at the beginning of the line.
    pub fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Changed => '~',
            Self::Removed => '-',
            Self::Kept => '=',
            Self::Held => '!',
        }
    }
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its kind, as the sign at its beginning says.
    pub mark: Mark,
    /// The whole line, its sign included.
    pub text: String,
}

/// The lines of a plan: the steps in their order, then what is left as it is, then what is held.
pub fn plan_lines(plan: &Plan, texts: &Texts) -> Vec<Line> {
    let mut lines = Vec::new();
    for step in &plan.steps {
        step_lines(step, texts, &mut lines);
    }
    for kept in &plan.report {
        lines.push(line(
            Mark::Kept,
            &format!("{}  {}", kept.object, kept.message),
        ));
    }
    for held in &plan.holds {
        lines.push(line(Mark::Held, &format!("held: {}", held.message)));
        if let Some(confirm) = &held.confirm {
            lines.push(line(Mark::Held, &format!("  {confirm}")));
        }
    }
    lines
}

/// One sentence about a plan: `1 to create, 2 to update, 3 unchanged`.
pub fn summary(plan: &Plan) -> String {
    let count = |kind| plan.steps.iter().filter(|step| step.kind == kind).count();
    let moved = count(StepKind::Move);
    let held = plan.steps.iter().filter(|step| step.held.is_some()).count();
    let parts: Vec<String> = [
        (count(StepKind::Create), "to create"),
        (count(StepKind::Update), "to update"),
        (count(StepKind::Delete) - held, "to delete"),
        (held, "to delete once confirmed"),
        (plan.report.len(), "left as they are"),
        (plan.unchanged.saturating_sub(moved), "unchanged"),
        (moved, "moved in git"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    if parts.is_empty() {
        "nothing is asked for, and nothing is there".to_owned()
    } else {
        parts.join(", ")
    }
}

/// A fault as people read it: place, sentence, source line with a mark, cure, what to write, other
/// places.
pub fn fault_lines(fault: &Fault) -> Vec<String> {
    let mut lines = vec![format!(
        "{}{} {}",
        fault_place(&fault.file, fault.line, fault.column),
        fault.code,
        fault.message
    )];
    if !fault.source_line.is_empty() {
        let number = fault.line.to_string();
        let gap = " ".repeat(number.len());
        let shown = shown_source(fault);
        lines.push(format!("  {number} | {}", shown.line));
        lines.push(format!("  {gap} | {}{}", shown.before, shown.mark));
    }
    if !fault.hint.is_empty() {
        lines.push(format!("  {}", fault.hint));
    }
    lines.extend(replacement_line(fault).map(|line| format!("  {line}")));
    for related in &fault.related {
        let place = fault_place(&related.file, related.line, related.column);
        lines.push(format!("  {place}{}", related.message));
    }
    lines
}

/// A place as the beginning of a line: `web.yaml:9:3: `; empty where no file is at fault.
pub fn fault_place(file: &str, line: u32, column: u32) -> String {
    match (file.is_empty(), line) {
        (true, _) => String::new(),
        (false, 0) => format!("{file}: "),
        (false, line) => format!("{file}:{line}:{column}: "),
    }
}

/// The source line of a fault, and what stands below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownSource {
    /// The line, with … where it is cut on the left.
    pub line: String,
    /// What stands before the mark, as wide as the line is there: tabs are kept, so that the mark
    /// stands below its character wherever the terminal puts it.
    pub before: String,
    /// `^` below the beginning, or below all of it where it ends on the same line.
    pub mark: String,
}

/// The source line of a fault with its mark.
pub fn shown_source(fault: &Fault) -> ShownSource {
    let cut = if fault.source_column > 1 { "… " } else { "" };
    let first = fault.source_column.max(1);
    let count = |n: u32| usize::try_from(n).unwrap_or(0);
    let skipped = count(fault.column.saturating_sub(first));
    let length = fault.source_line.chars().count();
    let wide = if fault.end_line == fault.line {
        count(fault.end_column.saturating_sub(fault.column)).min(length.saturating_sub(skipped))
    } else {
        1
    };
    let before: String = fault
        .source_line
        .chars()
        .take(skipped)
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    ShownSource {
        line: format!("{cut}{}", fault.source_line),
        before: format!("{}{before}", " ".repeat(cut.chars().count())),
        mark: "^".repeat(wide.max(1)),
    }
}

/// What to write instead, and who would write it.
pub fn replacement_line(fault: &Fault) -> Option<String> {
    let verb = if fault.replacement.as_ref()?.certain {
        "`kelson validate --fix` writes"
    } else {
        "perhaps"
    };
    Some(format!("{verb} {}", replacement(fault)?))
}

/// What to write instead, cut to a part of a line.
pub fn replacement(fault: &Fault) -> Option<String> {
    let text = fault.replacement.as_ref()?.text.as_str();
    if text.trim().is_empty() {
        let what = if text.contains('\n') {
            "a line"
        } else {
            "a space"
        };
        return Some(what.to_owned());
    }
    let text = text.trim();
    let short: String = text.chars().take(MAX_VALUE).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    Some(format!("{}{more}", short.replace('\n', "⏎")))
}

fn line(mark: Mark, text: &str) -> Line {
    Line {
        mark,
        text: format!("{} {text}", mark.sign()),
    }
}

fn step_lines(step: &Step, texts: &Texts, lines: &mut Vec<Line>) {
    let object = &step.object;
    let place = place(step.origin.as_ref());
    match step.kind {
        StepKind::Create => {
            lines.push(line(Mark::Added, &format!("{object}{place}")));
            for field in &step.fields {
                let value = field.after.as_ref().map_or_else(String::new, shown);
                lines.push(line(Mark::Added, &format!("  {} {value}", field.at)));
            }
        }
        StepKind::Delete => {
            let waits = step
                .held
                .as_ref()
                .map_or_else(String::new, |reason| format!("  waits: {reason}"));
            lines.push(line(Mark::Removed, &format!("{object}{place}{waits}")));
        }
        StepKind::Move => {}
        StepKind::Update => {
            let undone = if step.is_drift {
                "  undoes a change by hand"
            } else {
                ""
            };
            if let [field] = step.fields.as_slice()
                && text_change(field, texts).is_none()
            {
                lines.push(line(
                    Mark::Changed,
                    &format!("{object}  {}{undone}", change(field)),
                ));
                return;
            }
            lines.push(line(Mark::Changed, &format!("{object}{place}{undone}")));
            for field in &step.fields {
                field_lines(field, texts, lines);
            }
        }
    }
}

fn field_lines(field: &FieldChange, texts: &Texts, lines: &mut Vec<Line>) {
    let Some((before, after)) = text_change(field, texts) else {
        lines.push(line(Mark::Changed, &format!("  {}", change(field))));
        return;
    };
    let place = place(field.origin.as_ref());
    lines.push(line(Mark::Changed, &format!("  {}{place}", field.at)));
    let diff = TextDiff::from_lines(before, after);
    let mut count = 0_usize;
    for (at, group) in diff.grouped_ops(2).iter().enumerate() {
        if at > 0 && count < MAX_SHOWN {
            lines.push(text_line(Mark::Kept, ' ', "…"));
        }
        for op in group {
            let changes: Vec<(ChangeTag, &str)> = diff
                .iter_changes(op)
                .map(|change| (change.tag(), change.value()))
                .collect();
            let room = MAX_SHOWN.saturating_sub(count);
            count += changes.len();
            lines.extend(changed_lines(&changes).into_iter().take(room));
        }
    }
    if count > MAX_SHOWN {
        let more = format!("… {} more lines", count - MAX_SHOWN);
        lines.push(text_line(Mark::Kept, ' ', &more));
    }
}

/// The lines of one place where two texts part. A line and the one that takes its place are cut
/// around the place where they part.
fn changed_lines(changes: &[(ChangeTag, &str)]) -> Vec<Line> {
    let of = |wanted: ChangeTag| -> Vec<&str> {
        let changes = changes.iter().filter(|(tag, _)| *tag == wanted);
        changes.map(|(_, text)| *text).collect()
    };
    let (gone, come) = (of(ChangeTag::Delete), of(ChangeTag::Insert));
    let pairs = gone.iter().zip(&come);
    let (cut_gone, cut_come): (Vec<String>, Vec<String>) = pairs
        .map(|(gone, come)| {
            let (before, after) = (without_end(gone), without_end(come));
            let end = |text: &str| {
                let is_all = before == after && !text.ends_with('\n');
                if is_all { NO_END } else { "" }
            };
            let (cut_before, cut_after) = apart(before, after, MAX_LINE);
            (cut_before + end(gone), cut_after + end(come))
        })
        .unzip();
    let line = |mark: Mark, sign: char, text: &str, cut: Option<&String>| match cut {
        Some(cut) => Line {
            mark,
            text: format!("    {sign} {cut}"),
        },
        None => text_line(mark, sign, without_end(text)),
    };
    let (mut cut_gone, mut cut_come) = (cut_gone.iter(), cut_come.iter());
    changes
        .iter()
        .map(|(tag, text)| match tag {
            ChangeTag::Equal => line(Mark::Kept, ' ', text, None),
            ChangeTag::Delete => line(Mark::Removed, '-', text, cut_gone.next()),
            ChangeTag::Insert => line(Mark::Added, '+', text, cut_come.next()),
        })
        .collect()
}

fn without_end(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

/// A line of a changed text below the field that it is of.
fn text_line(mark: Mark, sign: char, text: &str) -> Line {
    Line {
        mark,
        text: format!("    {sign} {}", cut(text, MAX_LINE)),
    }
}

/// The two texts of a field that is one, or that names a file which is one; `None` where values are
/// better shown side by side.
fn text_change<'a>(field: &'a FieldChange, texts: &'a Texts) -> Option<(&'a str, &'a str)> {
    let known = |value: &'a Option<Value>| {
        let text = value.as_ref()?.as_str()?;
        let of_file = texts.get(text);
        Some((of_file.map_or(text, String::as_str), of_file.is_some()))
    };
    let ((before, is_file), (after, _)) = (known(&field.before)?, known(&field.after)?);
    let is_short = |text: &str| text.lines().count() <= MAX_COMPARED;
    let is_text = is_file || before.contains('\n') || after.contains('\n');
    (is_text && is_short(before) && is_short(after)).then_some((before, after))
}

fn change(field: &FieldChange) -> String {
    let is_list = |value: &Option<Value>| value.as_ref().and_then(Value::as_array).cloned();
    let values = match (&field.before, &field.after) {
        (Some(before), Some(after)) => {
            let sorted = |value| {
                is_list(value).map(|items| {
                    let mut texts: Vec<String> = items.iter().map(Value::to_string).collect();
                    texts.sort();
                    texts
                })
            };
            let is_reordered =
                is_list(&field.before).is_some() && sorted(&field.before) == sorted(&field.after);
            if is_reordered {
                "in another order".to_owned()
            } else {
                let (before, after) = apart(&one_line(before), &one_line(after), MAX_VALUE);
                format!("{before} → {after}")
            }
        }
        (before, after) => {
            let value =
                |value: &Option<Value>| value.as_ref().map_or_else(|| "(none)".to_owned(), shown);
            format!("{} → {}", value(before), value(after))
        }
    };
    format!("{} {values}{}", field.at, place(field.origin.as_ref()))
}

fn place(origin: Option<&Origin>) -> String {
    origin.map_or_else(String::new, |origin| {
        format!("  ({}:{})", origin.file, origin.line)
    })
}

fn shown(value: &Value) -> String {
    cut(&one_line(value), MAX_VALUE)
}

fn one_line(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), |text| text.replace('\n', "⏎"))
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Two values, each cut around the place where they part.
fn apart(before: &str, after: &str, most: usize) -> (String, String) {
    let fits = |text: &str| text.chars().nth(most).is_none();
    if fits(before) && fits(after) {
        return (before.to_owned(), after.to_owned());
    }
    let same = before
        .chars()
        .zip(after.chars())
        .take_while(|(one, other)| one == other)
        .count();
    let start = same.saturating_sub(LEAD);
    let window = |text: &str| {
        let rest: String = text.chars().skip(start).collect();
        let lead = if start > 0 { "…" } else { "" };
        format!("{lead}{}", cut(&rest, most))
    };
    (window(before), window(after))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// What is shown below the field of a file that has changed.
    fn changed(before: &str, after: &str) -> Vec<String> {
        let field = FieldChange {
            path: "/spec/run/files/0/digest".to_owned(),
            at: "spec.run.files[a.txt].digest".to_owned(),
            before: Some("sha256:1".into()),
            after: Some("sha256:2".into()),
            origin: None,
        };
        let texts = Texts::from([
            ("sha256:1".to_owned(), before.to_owned()),
            ("sha256:2".to_owned(), after.to_owned()),
        ]);
        let mut lines = Vec::new();
        field_lines(&field, &texts, &mut lines);
        assert_eq!(lines.remove(0).text, "~   spec.run.files[a.txt].digest");
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_file_of_one_line_is_told_as_its_text_and_not_as_its_digest() {
        assert_eq!(changed("one", "two"), ["    - one", "    + two"]);
        assert_eq!(changed("", "two"), ["    + two"]);
        assert_eq!(
            changed("one", "one\n"),
            ["    - one (no line break at the end)", "    + one"]
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_place_where_it_changed() {
        let text = |end: &str| format!("{}{end}{}", "x".repeat(1000), "y".repeat(1000));
        let lines = changed(&text("one"), &text("two"));
        assert_eq!(lines.len(), 2);
        let shown = [("-", "one"), ("+", "two")];
        for (line, (sign, word)) in lines.iter().zip(shown) {
            assert!(line.starts_with(&format!("    {sign} …xxx")), "{line}");
            assert!(line.contains(word) && line.ends_with('…'), "{line}");
            assert!(line.chars().count() <= MAX_LINE + 8, "{line}");
        }
    }

    #[test]
    fn of_a_text_that_changed_everywhere_so_much_is_shown_and_the_rest_counted() {
        let text = |word: &str| format!("{word}\n").repeat(MAX_SHOWN);
        let lines = changed(&text("one"), &text("two"));
        assert_eq!(lines.len(), MAX_SHOWN + 1);
        let more = format!("      … {MAX_SHOWN} more lines");
        assert_eq!(lines.last().unwrap(), &more);
    }
}
