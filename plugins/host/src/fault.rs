//! From what wasmtime says to why a call was void.

use kelson_kernel_core::port::TurnFault;
use kelson_model::quantity::Bytes;
use wasmtime::Trap;

use crate::limits;
use crate::text;

/// Why a host function ended the call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Breach {
    /// The outcome breaks the treaty.
    #[error("{0}")]
    Malformed(String),
    /// The function may not be called now.
    #[error("{function} may be called during `turn` only")]
    Misplaced {
        /// `outcome.launch`.
        function: &'static str,
    },
    /// The host has done as much for this call as it may.
    #[error("out of host work")]
    OutOfWork,
}

impl Breach {
    /// Says what breaks the treaty.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::Malformed(message.into())
    }
}

/// Says why a call ended without an answer. `denied` says whether memory was refused to it.
pub(crate) fn classify(
    error: &wasmtime::Error,
    call: &'static str,
    denied: bool,
    memory: Bytes,
) -> TurnFault {
    if let Some(breach) = error.downcast_ref::<Breach>() {
        return match breach {
            Breach::Malformed(message) => TurnFault::Malformed {
                message: text::message(message, limits::MESSAGE_BYTES),
            },
            Breach::Misplaced { .. } => TurnFault::Trapped {
                call,
                message: breach.to_string(),
            },
            Breach::OutOfWork => TurnFault::OutOfFuel { call },
        };
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => TurnFault::OutOfFuel { call },
        Some(Trap::Interrupt) => TurnFault::TimedOut { call },
        _ if denied => TurnFault::OutOfMemory { limit: memory },
        _ => TurnFault::Trapped {
            call,
            message: text::message(&error.root_cause().to_string(), limits::MESSAGE_BYTES),
        },
    }
}
