//! What is wrong, with its place and the line of the file.

use kelson_model::source::Fault;

use super::style::{Palette, Tint, plain};
use crate::exit::{Exit, Failure, failure_of};

/// Shows a fault over several lines, each with its end.
pub(crate) fn fault(fault: &Fault, palette: Palette) -> String {
    let mut place = fault.file.clone();
    for number in [fault.line, fault.column] {
        if number > 0 && !place.is_empty() {
            place.push_str(&format!(":{number}"));
        }
    }
    let mut text = String::new();
    let head = palette.paint(Tint::Bad, &fault.code);
    let message = palette.paint(Tint::Strong, &plain(&fault.message));
    if place.is_empty() {
        text.push_str(&format!("{head} {message}\n"));
    } else {
        text.push_str(&format!("{}: {head} {message}\n", plain(&place)));
    }
    if !fault.source_line.trim().is_empty() && fault.line > 0 {
        let number = fault.line.to_string();
        let blank = " ".repeat(number.len());
        let bar = palette.paint(Tint::Dim, "|");
        let line: String = fault.source_line.replace('\t', " ");
        text.push_str(&format!(
            "  {} {bar} {}\n",
            palette.paint(Tint::Dim, &number),
            plain(&line)
        ));
        if fault.column > 0 {
            let column = usize::try_from(fault.column).unwrap_or(1);
            if column <= line.chars().count() + 1 {
                let caret = palette.paint(Tint::Bad, "^");
                let before = " ".repeat(column.saturating_sub(1));
                text.push_str(&format!("  {blank} {bar} {before}{caret}\n"));
            }
        }
    }
    if !fault.hint.is_empty() {
        text.push_str(&format!(
            "  {} {}\n",
            palette.paint(Tint::Dim, "hint:"),
            plain(&fault.hint)
        ));
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

    #[test]
    fn a_fault_is_shown_with_its_place_its_line_and_a_caret() {
        let shown = fault(
            &Fault {
                code: "K0102".into(),
                file: "kelson/web.yaml".into(),
                line: 9,
                column: 3,
                message: "there is no field `instnaces` here".into(),
                hint: "did you mean `instances`?".into(),
                source_line: "  instnaces: 3".into(),
            },
            Palette::plain(),
        );
        assert_eq!(
            shown,
            "kelson/web.yaml:9:3: K0102 there is no field `instnaces` here\n  \
             9 |   instnaces: 3\n    \
             |   ^\n  \
             hint: did you mean `instances`?\n"
        );
    }

    #[test]
    fn a_fault_without_a_place_is_one_line() {
        let shown = fault(
            &Fault {
                code: "K0199".into(),
                file: String::new(),
                line: 0,
                column: 0,
                message: "there are 7 more faults".into(),
                hint: String::new(),
                source_line: String::new(),
            },
            Palette::plain(),
        );
        assert_eq!(shown, "K0199 there are 7 more faults\n");
    }

    #[test]
    fn a_failure_is_shown_with_what_was_said_around_it_and_its_hint() {
        let error = anyhow::Error::from(
            Failure::new(Exit::Refused, "there is no Service shop/x")
                .with_code("K0302")
                .with_hint("look at `kelson status -A`"),
        )
        .context("cannot set a field");
        assert_eq!(
            super::failure(&error, Palette::plain()),
            "refused: cannot set a field: K0302: there is no Service shop/x\nhint: look at `kelson status -A`\n"
        );
    }
}
