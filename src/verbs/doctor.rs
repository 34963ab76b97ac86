//! `kelson doctor`: examines the data directory of a kernel that does not run.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use kelson_kernel::examine_directory;
use kelson_model::doctor::DoctorReport;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::print;

/// What may be typed behind `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The data directory of a kernel, or of `kelson dev`
    #[arg(
        long,
        env = "KELSON_DATA_DIR",
        hide_env_values = true,
        value_name = "FOLDER"
    )]
    data_dir: PathBuf,
}

pub(crate) fn run(doctor: &Doctor, context: &Context) -> Result<Exit> {
    let report = examine_directory(&doctor.data_dir).map_err(|error| {
        Failure::usage(format!(
            "{} cannot be examined: {error}",
            doctor.data_dir.display()
        ))
        .with_hint("name the data directory of a kernel that does not run")
    })?;
    print(context.format(), &report, |_| show(&report))?;
    Ok(if report.healthy { Exit::Done } else { Exit::No })
}

fn show(report: &DoctorReport) -> String {
    let mut lines = vec![
        format!("member {} of cluster {}", report.member, report.cluster),
        format!("term {}", report.term),
    ];
    let at = |index: &Option<kelson_model::id::Index>| match index {
        Some(index) => index.0.to_string(),
        None => "nothing".to_owned(),
    };
    lines.push(format!(
        "log: entries {} to {}, agreed upon up to {}, files: {}",
        at(&report.log.first),
        at(&report.log.last),
        at(&report.log.committed),
        report.log.segments
    ));
    for snapshot in &report.snapshots {
        lines.push(format!(
            "snapshot: up to entry {}, {} bytes",
            snapshot.index.0, snapshot.bytes
        ));
    }
    let state = &report.state;
    lines.push(format!(
        "state at entry {}: {} objects, {} tasks, {} agents, {} sources",
        state.index.0, state.objects, state.tasks, state.agents, state.sources
    ));
    lines.push(format!("blobs: {}", report.blobs));
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(report.faults.iter().map(|fault| format!("fault: {fault}")));
    lines.push(match report.faults.len() {
        0 => "a kernel can start here with everything that it acknowledged".to_owned(),
        1 => "there is 1 fault".to_owned(),
        many => format!("there are {many} faults"),
    });
    lines.join("\n") + "\n"
}
