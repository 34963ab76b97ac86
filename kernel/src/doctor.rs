//! The doctor: examines the data directory of a member that does not run.

use std::path::{Path, PathBuf};

use kelson_kernel_core::broken_invariants;
use kelson_model::doctor::{DoctorReport, LogFinding, SnapshotFinding, StateFinding};
use kelson_model::id::Index;
use kelson_model::report::API_VERSION;

use crate::blobs::{BlobError, Blobs};
use crate::machine::KernelMachine;
use crate::metrics::Metrics;
use crate::raft::{RaftError, examine};

/// Examines the data directory of a kernel: log, snapshots, the state that follows from them, and
/// blobs. Changes nothing. Blocks on I/O.
///
/// # Errors
/// When it is in use, or is none of a member.
pub fn examine_directory(data_dir: &Path) -> Result<DoctorReport, RaftError> {
    let home = home_of(data_dir);
    let (mut machine, view) = KernelMachine::new(Metrics::default());
    let found = examine(&home.join("raft"), &mut machine)?;
    let state = view.borrow().clone();
    let mut faults = found.faults;
    faults.extend(broken_invariants(&state));
    let blobs = examine_blobs(&home.join("blobs"), &mut faults);
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let snapshot = |(at, bytes): (crate::raft::Position, u64)| SnapshotFinding {
        index: Index(at.index),
        bytes,
    };
    Ok(DoctorReport {
        api_version: API_VERSION.to_owned(),
        kind: "DoctorReport".to_owned(),
        healthy: faults.is_empty(),
        cluster: found.cluster.to_string(),
        member: found.member,
        term: found.term,
        log: LogFinding {
            segments: count(found.segments),
            first: found.first.map(Index),
            last: found.last.map(|at| Index(at.index)),
            committed: found.committed.map(|at| Index(at.index)),
        },
        snapshots: found.snapshots.into_iter().map(snapshot).collect(),
        state: StateFinding {
            index: Index(found.applied.index),
            hash: state.hash().to_string(),
            objects: count(state.objects.len()),
            tasks: count(state.tasks.len()),
            agents: count(state.agents.len()),
            sources: count(state.sources.len()),
        },
        blobs,
        notes: found.notes,
        faults,
    })
}

/// The kernel's own directory: the data directory of `kelson dev` holds it as a part.
fn home_of(data_dir: &Path) -> PathBuf {
    let within = data_dir.join("kernel");
    match within.join("raft").is_dir() {
        true => within,
        false => data_dir.to_owned(),
    }
}

fn examine_blobs(folder: &Path, faults: &mut Vec<String>) -> u64 {
    if !folder.is_dir() {
        return 0;
    }
    let mut number = 0;
    let looked = Blobs::open(folder).and_then(|blobs| {
        for digest in blobs.list()? {
            number += 1;
            match blobs.get(&digest) {
                Ok(_) => {}
                Err(error @ (BlobError::Damaged(_) | BlobError::Io { .. })) => {
                    faults.push(error.to_string());
                }
                Err(BlobError::Missing(_) | BlobError::TooLarge) => {}
            }
        }
        Ok(())
    });
    if let Err(error) = looked {
        faults.push(error.to_string());
    }
    number
}
