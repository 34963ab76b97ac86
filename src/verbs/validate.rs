//! `kelson validate`: checks manifests, without a kernel.

use anyhow::Result;
use clap::Args;
use kelson_model::report::Validation;
use kelson_reconciler::validation;

use super::manifests::{Schedulers, Where};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Palette, Tint, fault, print};

/// What may be typed behind `validate`.
#[derive(Debug, Args)]
pub(crate) struct Validate {
    #[command(flatten)]
    place: Where,
}

pub(crate) fn run(arguments: &Validate, context: &Context) -> Result<Exit> {
    let source = arguments.place.open()?;
    let desired = Schedulers::open()?.check(source.as_ref())?;
    let validation = validation(&desired);
    let palette = context.palette();
    print(context.format(), &validation, |_| {
        page(&validation, palette)
    })?;
    Ok(if validation.valid {
        Exit::Done
    } else {
        Exit::No
    })
}

fn page(validation: &Validation, palette: Palette) -> String {
    let mut text = String::new();
    for error in &validation.errors {
        text.push_str(&fault(error, palette));
        text.push('\n');
    }
    let files = number(validation.files, "file");
    let objects = number(validation.objects, "object");
    if validation.valid {
        let good = palette.paint(Tint::Good, "valid");
        text.push_str(&format!("{good}: {files}, {objects}\n"));
    } else {
        let bad = palette.paint(Tint::Bad, "invalid");
        let errors = u64::try_from(validation.errors.len()).unwrap_or(u64::MAX);
        text.push_str(&format!("{bad}: {} in {files}\n", number(errors, "error")));
    }
    text
}

/// A count with its noun.
pub(crate) fn number(count: u64, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_counts_files_and_objects() {
        let validation = Validation {
            api_version: "kelson/v1".to_owned(),
            kind: "Validation".to_owned(),
            valid: true,
            files: 1,
            objects: 30,
            errors: Vec::new(),
        };
        assert_eq!(
            page(&validation, Palette::plain()),
            "valid: 1 file, 30 objects\n"
        );
    }
}
