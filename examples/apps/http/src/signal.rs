//! SIGTERM and SIGINT as a flag. The standard library has no signals, and this program has no
//! dependencies: so two lines of C's interface.

use std::sync::atomic::{AtomicBool, Ordering};

static TERMINATED: AtomicBool = AtomicBool::new(false);

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

extern "C" fn note(_signal: i32) {
    TERMINATED.store(true, Ordering::SeqCst);
}

#[expect(
    unsafe_code,
    reason = "signal(2) can only be reached through C; the handler stores one atomic, which is async-signal-safe"
)]
fn install(signal_number: i32) {
    unsafe extern "C" {
        fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    }
    // SAFETY: the handler has the type that signal(2) asks for, lives for ever, and touches nothing
    // but an atomic.
    unsafe {
        signal(signal_number, note);
    }
}

/// From now on SIGTERM and SIGINT set the flag that `is_terminated` reads.
pub(crate) fn watch() {
    install(SIGTERM);
    install(SIGINT);
}

/// Has one of them come?
pub(crate) fn is_terminated() -> bool {
    TERMINATED.load(Ordering::SeqCst)
}
