//! `cargo xtask storm`: random faults among commits, for as long as one likes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kelson_testkit::storm;

use crate::setup;

/// How long it lasts unless said otherwise, in seconds.
const SECONDS: u64 = 60;

/// Builds what is needed and lets a storm loose: `--seed N`, `--seconds S`.
pub(crate) fn run(root: &Path, args: &[&str]) -> Result<()> {
    let (mut seed, mut seconds) = (1, SECONDS);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let value = match *arg {
            "--seed" => &mut seed,
            "--seconds" => &mut seconds,
            _ => bail!("storm takes --seed N and --seconds S, not {arg}"),
        };
        *value = rest
            .next()
            .and_then(|text| text.parse().ok())
            .with_context(|| format!("{arg} needs a number"))?;
    }
    setup::ensure_tools(root)?;
    setup::build_programs(root)?;
    println!("seed {seed}, {seconds} s");
    let weather = storm::rage(seed, Duration::from_secs(seconds), |line| {
        println!("{line}")
    })?;
    println!(
        "\nstorm: {} commits, {} killed {:?}, {} stopped {:?}; {} tasks started, none twice, none lost",
        weather.commits,
        weather.killed.values().sum::<u32>(),
        weather.killed,
        weather.stopped.values().sum::<u32>(),
        weather.stopped,
        weather.starts,
    );
    Ok(())
}
