//! The runtimes: one thread for a verb, several for a process; and the log.

use std::future::Future;

use anyhow::{Context as _, Result};
use tokio::runtime::Builder;

use crate::exit::Exit;

/// Runs a verb that talks to a kernel; an interrupt ends it.
///
/// # Errors
/// Those of the verb.
pub(crate) fn of_verb(verb: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let exit = runtime.block_on(async {
        tokio::select! {
            exit = verb => exit,
            interrupt = tokio::signal::ctrl_c() => {
                interrupt.context("cannot take interrupts")?;
                Ok(Exit::Interrupted)
            }
        }
    });
    // Nothing that still reads a file holds up the end.
    runtime.shutdown_background();
    exit
}

/// Runs a process that takes its signals itself, with a log on stderr.
///
/// # Errors
/// Those of the process.
pub(crate) fn of_process(process: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let exit = runtime.block_on(process);
    runtime.shutdown_background();
    exit
}
