//! The one wasmtime engine of a host, and the clock of its guard.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Engine};

/// Makes the engine. Whatever could make two runs differ is off: threads, the freedom of NaNs,
/// relaxed SIMD.
pub(crate) fn make() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .relaxed_simd_deterministic(true)
        .cranelift_nan_canonicalization(true);
    Engine::new(&config)
}

/// The thread that moves the engine's epoch on; it ends when this is dropped.
pub(crate) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the clock of `engine`.
    pub(crate) fn spawn(engine: &Engine, tick: Duration) -> std::io::Result<Self> {
        let engine = engine.clone();
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new()
            .name("scheduler-guard".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                    engine.increment_epoch();
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the ticker is no reason to panic here.
            let _ended = thread.join();
        }
    }
}
