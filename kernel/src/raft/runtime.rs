//! The runtime on which openraft and the way to other members run: what the rest of the process
//! does, for however long, never makes a heartbeat late.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads of the runtime: one for openraft's core, one for connections.
const THREADS: usize = 2;

/// The runtime of one member; it ends when this is dropped, wherever that is.
pub(crate) struct OwnRuntime {
    runtime: Mutex<Option<Runtime>>,
    handle: Handle,
}

impl OwnRuntime {
    /// Starts it.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("kelson-raft")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok(Self {
            runtime: Mutex::new(Some(runtime)),
            handle,
        })
    }

    /// Gives the way to run things on it.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends it, with all that runs on it.
    pub(crate) fn end(&self) {
        let runtime = self
            .runtime
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(runtime) = runtime {
            // Waiting for its tasks is not allowed here: one of them may be who ends it.
            runtime.shutdown_background();
        }
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        self.end();
    }
}
