//! What ends a process: a signal, or the death of the `dev` that started it.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Why a process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// SIGINT or SIGTERM.
    Signal,
    /// Whoever started it has died, or has let go of it.
    Orphaned,
}

/// Waits for what ends a process.
pub(crate) struct Endings {
    interrupt: Signal,
    terminate: Signal,
    orphaned: Option<oneshot::Receiver<()>>,
}

impl Endings {
    /// Begins to take signals. With `is_supervised` the end of stdin is an ending as well: the
    /// other end of that pipe is held by `dev`, and the system closes it however `dev` dies.
    ///
    /// # Errors
    /// When the system does not let signals be taken.
    pub(crate) fn watch(is_supervised: bool) -> Result<Self> {
        let take = |kind| signal(kind).context("cannot take signals");
        let orphaned = if is_supervised {
            let (sender, receiver) = oneshot::channel();
            // A thread of its own: reading stdin cannot be cancelled, and nothing waits for this
            // thread at the end.
            std::thread::Builder::new()
                .name("orphaned".to_owned())
                .spawn(move || {
                    let mut stdin = std::io::stdin().lock();
                    let mut buffer = [0_u8; 64];
                    while matches!(stdin.read(&mut buffer), Ok(read) if read > 0) {}
                    // Nobody listens once the process ends for another reason.
                    let _is_heard = sender.send(());
                })
                .context("cannot watch who started this process")?;
            Some(receiver)
        } else {
            None
        };
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
            orphaned,
        })
    }

    /// Waits for the next ending.
    pub(crate) async fn next(&mut self) -> Ending {
        let orphaned = async {
            match &mut self.orphaned {
                Some(receiver) => drop(receiver.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Ending::Signal,
            _ = self.terminate.recv() => Ending::Signal,
            () = orphaned => {
                self.orphaned = None;
                Ending::Orphaned
            }
        }
    }
}
