//! Playing the acts one after another.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::stage::Stage;
use super::{acts, stay};
use crate::setup;

/// Plays the acts. `--check` ends after the last one; `--act NAME` plays the first and that one
/// only, and may be repeated.
pub(crate) fn run(root: &Path, args: &[&str]) -> Result<()> {
    let mut is_check = false;
    let mut wanted: Vec<&str> = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match *arg {
            "--check" => is_check = true,
            "--act" => wanted.push(rest.next().context("--act needs a name")?),
            _ => bail!("demo takes --check and --act NAME, not {arg}"),
        }
    }
    if let Some(unknown) = wanted
        .iter()
        .find(|name| !acts::ACTS.iter().any(|act| act.name == **name))
    {
        let names: Vec<&str> = acts::ACTS.iter().map(|act| act.name).collect();
        bail!("no act {unknown}; there are: {}", names.join(", "));
    }
    setup::ensure_tools(root)?;
    setup::build_programs(root)?;

    let started = Instant::now();
    let mut stage = Stage::raise(root)?;
    let mut played = 0;
    for (number, act) in acts::ACTS.iter().enumerate() {
        // The first act raises what the others play with.
        let is_played = if wanted.is_empty() {
            act.is_played
        } else {
            number == 0 || wanted.contains(&act.name)
        };
        if !is_played {
            continue;
        }
        let began = Instant::now();
        println!("\n── {} ─ {}", act.name, act.title);
        (act.play)(&mut stage).with_context(|| format!("the act {:?} was not seen", act.name))?;
        println!("   seen, after {:.1} s", began.elapsed().as_secs_f32());
        played += 1;
    }
    println!(
        "\ndemo: {played} acts seen in {:.1} s",
        started.elapsed().as_secs_f32()
    );
    if !is_check {
        stay::run_until_ended(&mut stage)?;
    }
    Ok(())
}
