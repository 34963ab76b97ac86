//! The results of a run: a file of JSON, a plot, and a few lines for whoever waits.

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use kelson_model::time::WallTime;
use kelson_testkit::programs;
use serde::Serialize;
use serde_json::Value;

use crate::machine::Machine;
use crate::measure::Measure;
use crate::options::Options;
use crate::plot::Plot;

/// What a run has found. `bench/results/NAME.json` is its JSON.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The workload's name.
    pub workload: &'static str,
    /// What it does, at which size.
    pub what: String,
    /// RFC 3339.
    pub date: String,
    /// The commit that was measured; `-dirty` where files had changed since.
    pub revision: Option<String>,
    /// Whether it was scaled down.
    pub is_quick: bool,
    /// Whether the measured code was optimised.
    pub is_optimised: bool,
    /// Where.
    pub machine: Machine,
    /// The most memory that was held, in bytes, by whom `what` says.
    pub peak_memory: Option<u64>,
    /// What the goals are about.
    pub measures: Vec<Measure>,
    /// The same work, or what of it cannot be saved, without Kelson, in the same run.
    pub reference: Vec<Measure>,
    /// Where the time goes.
    pub breakdown: Vec<Measure>,
    /// What else there is to know, by the workload.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub details: Value,
    /// What to keep in mind when reading the figures.
    pub notes: Vec<String>,
}

impl Report {
    /// Begins the report of a run that ends now.
    #[must_use]
    pub fn new(workload: &'static str, what: impl Into<String>, options: Options) -> Report {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Report {
            workload,
            what: what.into(),
            date: WallTime(u64::try_from(since.as_millis()).unwrap_or_default()).to_string(),
            revision: revision(),
            is_quick: options.is_quick,
            is_optimised: !cfg!(debug_assertions),
            machine: Machine::here(),
            peak_memory: None,
            measures: Vec::new(),
            reference: Vec::new(),
            breakdown: Vec::new(),
            details: Value::Null,
            notes: Vec::new(),
        }
    }

    /// Adds what is to be kept in mind.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Writes both files, and prints the figures. A run that is quick, or not optimised, leaves the
    /// results of real ones alone.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn publish(&self, plot: &Plot) -> Result<()> {
        let folder = programs::workspace()?.join("bench/results");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let name = match (self.is_optimised, self.is_quick) {
            (true, false) => self.workload.to_owned(),
            (true, true) => format!("{}.quick", self.workload),
            (false, _) => format!("{}.dev", self.workload),
        };
        let json = format!("{:#}\n", serde_json::to_value(self)?);
        let files: [(PathBuf, String); 2] = [
            (folder.join(format!("{name}.json")), json),
            (folder.join(format!("{name}.svg")), plot.to_svg()),
        ];
        println!("{}: {}", self.workload, self.what);
        for measure in self.measures.iter().chain(&self.breakdown) {
            println!("{}", line(measure));
        }
        for measure in &self.reference {
            println!("{} (reference)", line(measure));
        }
        if let Some(peak) = self.peak_memory {
            println!("  peak memory: {} MiB", peak >> 20);
        }
        for (path, content) in &files {
            std::fs::write(path, content)
                .with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("wrote {}", path.display());
        }
        Ok(())
    }
}

fn line(measure: &Measure) -> String {
    let Measure {
        name,
        unit,
        p50,
        p99,
        max,
        ..
    } = measure;
    let mut line = format!("  {name}: p50 {p50:.3} p99 {p99:.3} max {max:.3} {unit}");
    for goal in &measure.goals {
        let word = if goal.is_reached { "reached" } else { "missed" };
        line.push_str(&format!("; goal {} <= {} {word}", goal.of, goal.at_most));
    }
    if let Some(ratio) = &measure.ratio {
        line.push_str(&format!("; {:.2} x {}", ratio.value, ratio.to));
    }
    line
}

/// The commit of the workspace; absent where it is no repository.
fn revision() -> Option<String> {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12", "--match="])
        .current_dir(programs::workspace().ok()?)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
