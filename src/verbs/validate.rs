//! `kelson validate`: checks manifests, without a kernel; puts right what is certain with `--fix`.

use anyhow::{Result, bail};
use clap::Args;
use kelson_model::report::Validation;
use kelson_model::source::Fault;
use kelson_model::text::number;
use kelson_reconciler::source::{ManifestSource as _, WorkTree};
use kelson_reconciler::validation;
use kelson_reconciler_core::manifest::{Kinds, fix};
use kelson_reconciler_core::render::replacement;

use super::manifests::{Schedulers, Where};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::output::{Output, Palette, Tint, emit, fault, github, plain, print, sarif, say};

/// What may be typed behind `validate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Besides the common forms, -o sarif prints a log of SARIF 2.1.0, and -o \
github commands of a GitHub workflow."
)]
pub(crate) struct Validate {
    #[command(flatten)]
    place: Where,
    /// Write what is meant beyond doubt into the files, and say what was written
    #[arg(long, conflicts_with = "reference")]
    fix: bool,
}

pub(crate) fn run(arguments: &Validate, context: &Context) -> Result<Exit> {
    let schedulers = Schedulers::open()?;
    let check = || schedulers.check(arguments.place.open()?.as_ref(), []);
    let mut checked = check()?;
    if arguments.fix && !checked.desired.loaded.faults.is_empty() {
        let tree = WorkTree::open(&arguments.place.repo, arguments.place.path.as_deref())?;
        if mend(&tree, &checked.kinds)? {
            checked = check()?;
        }
    }
    let mut validation = validation(&checked.desired);
    if arguments.fix {
        let told = validation.errors.iter_mut();
        told.chain(&mut validation.warnings).for_each(left_out);
    }
    if validation.files == 0 {
        let folder = match &arguments.place.path {
            Some(path) => arguments.place.repo.join(path),
            None => arguments.place.repo.clone(),
        };
        say(&plain(&format!(
            "no manifest was found in {}",
            folder.display()
        )));
    }
    match context.common.output {
        Output::Sarif => {
            let mut text = serde_json::to_string_pretty(&sarif(&validation))?;
            text.push('\n');
            emit(&text)?;
        }
        Output::Github => emit(&github(&validation))?,
        Output::Table | Output::Json | Output::Yaml | Output::Wide => {
            let palette = context.palette();
            print(context.format(), &validation, |_| {
                page(&validation, palette)
            })?;
        }
    }
    Ok(if validation.valid {
        Exit::Done
    } else {
        Exit::No
    })
}

/// Puts right what is certain, file by file; says on stderr what was written. `false` where there
/// was nothing to do.
fn mend(tree: &WorkTree, kinds: &Kinds) -> Result<bool> {
    let mut is_any = false;
    for file in &tree.files()?.files {
        let bytes = tree.read(file)?;
        let Some(fixed) = fix(&file.path, &bytes, kinds) else {
            continue;
        };
        let path = tree.top().join(&*file.path);
        let limit = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if files::read_bounded(&path, limit).ok().as_deref() != Some(&*bytes) {
            bail!(
                Failure::usage(format!("{} changes at this moment", file.path))
                    .with_hint("nothing of it was written; try again")
            );
        }
        files::replace(&path, &fixed.bytes)?;
        is_any = true;
        for fault in &fixed.mended {
            say(&written(fault));
        }
    }
    Ok(is_any)
}

/// Takes back what is said to be written, of a fault that is still there after it was tried.
fn left_out(fault: &mut Fault) {
    let Some(replacement) = fault.replacement.as_mut().filter(|it| it.certain) else {
        return;
    };
    replacement.certain = false;
    let why = "--fix left this as it is: with what it would write, something else would be wrong";
    let parts = [fault.hint.as_str(), why];
    fault.hint = parts
        .iter()
        .copied()
        .filter(|it| !it.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
}

/// One line about what was put right.
fn written(fault: &Fault) -> String {
    let place = format!("{}:{}:{}", fault.file, fault.line, fault.column);
    let what = replacement(fault).unwrap_or_default();
    plain(&format!(
        "fixed {place}: {} {}: {what}",
        fault.code, fault.message
    ))
}

fn page(validation: &Validation, palette: Palette) -> String {
    let mut text = String::new();
    for error in &validation.errors {
        text.push_str(&fault(error, palette));
        text.push('\n');
    }
    for warning in &validation.warnings {
        text.push_str(&warned(warning, palette));
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

/// What is allowed and hardly ever meant, as it is told.
pub(crate) fn warned(warning: &Fault, palette: Palette) -> String {
    let label = palette.paint(Tint::Warn, "warning:");
    format!("{label} {}\n", fault(warning, palette))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kelson_model::code::Code;
    use kelson_model::source::Replacement;

    #[test]
    fn what_was_left_out_is_promised_no_more_and_says_why() {
        let mut fault = Fault {
            replacement: Some(Replacement {
                line: 1,
                column: 1,
                end_line: 1,
                end_column: 1,
                text: " ".to_owned(),
                certain: true,
            }),
            ..Fault::of_file(Code::Syntax, "web.yaml", "no space", "put one in")
        };
        left_out(&mut fault);
        assert!(fault.replacement.is_some_and(|it| !it.certain));
        assert!(
            fault
                .hint
                .starts_with("put one in; --fix left this as it is")
        );
    }

    #[test]
    fn the_verdict_counts_files_and_objects() {
        let validation = Validation {
            api_version: "kelson/v1".to_owned(),
            kind: "Validation".to_owned(),
            valid: true,
            files: 1,
            objects: 30,
            errors: Vec::new(),
            warnings: Vec::new(),
        };
        assert_eq!(
            page(&validation, Palette::plain()),
            "valid: 1 file, 30 objects\n"
        );
        let warned = Validation {
            warnings: vec![Fault::of_file(
                Code::Unlikely,
                "web.yaml",
                "a line",
                "two words",
            )],
            ..validation
        };
        assert_eq!(
            page(&warned, Palette::plain()),
            "warning: web.yaml: K0129 a line\n  hint: two words\n\nvalid: 1 file, 30 objects\n"
        );
    }
}
