//! What is wrong, with its place and the line of the file.

use kelson_model::source::Fault;
use kelson_reconciler_core::render::{fault_place, replacement_line, shown_source};

use super::style::{Palette, Tint};
use super::text::plain;
use crate::exit::{Exit, Failure, failure_of};

/// Shows a fault over several lines, each with its end.
pub(crate) fn fault(fault: &Fault, palette: Palette) -> String {
    let place = fault_place(&fault.file, fault.line, fault.column);
    let head = palette.paint(Tint::Bad, &plain(fault.code.id()));
    let message = palette.paint(Tint::Strong, &plain(&fault.message));
    let mut text = format!("{}{head} {message}\n", plain(&place));
    if !fault.source_line.trim().is_empty() && fault.line > 0 {
        let number = fault.line.to_string();
        let blank = " ".repeat(number.len());
        let bar = palette.paint(Tint::Dim, "|");
        let shown = shown_source(fault);
        let (line, before) = (
            shown.line.replace('\t', " "),
            shown.before.replace('\t', " "),
        );
        let number = palette.paint(Tint::Dim, &number);
        text.push_str(&format!("  {number} {bar} {}\n", plain(&line)));
        if fault.column > 0 {
            let mark = palette.paint(Tint::Bad, &shown.mark);
            // What is spelled out is wider than it was.
            let before: String = line.chars().take(before.chars().count()).collect();
            let before = " ".repeat(plain(&before).chars().count());
            text.push_str(&format!("  {blank} {bar} {before}{mark}\n"));
        }
    }
    let mut say = |label: &str, words: &str| {
        let label = palette.paint(Tint::Dim, label);
        text.push_str(&format!("  {label} {}\n", plain(words)));
    };
    if !fault.hint.is_empty() {
        say("hint:", &fault.hint);
    }
    if let Some(line) = replacement_line(fault) {
        say("fix:", &line);
    }
    for related in &fault.related {
        let place = fault_place(&related.file, related.line, related.column);
        say("see:", &format!("{place}{}", related.message));
    }
    text
}

/// Shows why a verb failed, over one line or two, each with its end.
pub(crate) fn failure(error: &anyhow::Error, palette: Palette) -> String {
    let mut words = Vec::new();
    for cause in error.chain() {
        words.push(plain(&cause.to_string()));
        if cause.downcast_ref::<Failure>().is_some() {
            break;
        }
    }
    let failure = failure_of(error);
    let label = match failure.map(|failure| failure.exit) {
        Some(Exit::TimedOut) => "timed out:",
        Some(Exit::Refused) => "refused:",
        Some(Exit::Done | Exit::No | Exit::Usage | Exit::NothingListens | Exit::Interrupted)
        | None => "error:",
    };
    let mut text = format!("{} {}\n", palette.paint(Tint::Bad, label), words.join(": "));
    if let Some(hint) = failure.and_then(|failure| failure.hint.as_deref()) {
        text.push_str(&format!(
            "{} {}\n",
            palette.paint(Tint::Dim, "hint:"),
            plain(hint)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use kelson_model::code::Code;
    use kelson_model::source::Related;

    #[test]
    fn a_fault_is_shown_with_its_place_its_line_and_a_caret() {
        let shown = fault(
            &Fault {
                line: 9,
                column: 3,
                source_line: "  instnaces: 3".into(),
                end_line: 9,
                end_column: 12,
                related: vec![Related {
                    file: "kelson/web.yaml".into(),
                    line: 4,
                    column: 1,
                    message: "spec stands here".into(),
                }],
                ..Fault::of_file(
                    Code::UnknownField,
                    "kelson/web.yaml",
                    "there is no field `instnaces` here",
                    "did you mean `instances`?",
                )
            },
            Palette::plain(),
        );
        assert_eq!(
            shown,
            "kelson/web.yaml:9:3: K0102 there is no field `instnaces` here\n  \
             9 |   instnaces: 3\n    \
             |   ^^^^^^^^^\n  \
             hint: did you mean `instances`?\n  \
             see: kelson/web.yaml:4:1: spec stands here\n"
        );
    }

    #[test]
    fn a_fault_without_a_place_is_one_line() {
        let shown = fault(
            &Fault::of_file(Code::TooManyFaults, "", "there are 7 more faults", ""),
            Palette::plain(),
        );
        assert_eq!(shown, "K0126 there are 7 more faults\n");
    }

    #[test]
    fn a_failure_is_shown_with_what_was_said_around_it_and_its_hint() {
        let error = anyhow::Error::from(
            Failure::new(Exit::Refused, "there is no Service shop/x")
                .with_code(Code::NoSuchObject)
                .with_hint("look at `kelson status -A`"),
        )
        .context("cannot set a field");
        assert_eq!(
            super::failure(&error, Palette::plain()),
            "refused: cannot set a field: K0302: there is no Service shop/x\nhint: look at `kelson status -A`\n"
        );
    }
}
