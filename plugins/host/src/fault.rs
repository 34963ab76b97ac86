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

/// What is known about a call that ended without an answer.
pub(crate) struct Ended<'a> {
    /// Which call.
    pub(crate) call: &'static str,
    /// The limit of its memory.
    pub(crate) memory: Bytes,
    /// Whether it was refused memory.
    pub(crate) is_denied: bool,
    /// The error that it wrote to its log last.
    pub(crate) last_words: Option<&'a str>,
}

/// Says why a call ended without an answer.
pub(crate) fn classify(error: &wasmtime::Error, ended: &Ended<'_>) -> TurnFault {
    let call = ended.call;
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
        _ if ended.is_denied => TurnFault::OutOfMemory {
            limit: ended.memory,
        },
        _ => {
            let cause = error.root_cause();
            let message = match ended.last_words {
                Some(words) => format!("{words} ({cause})"),
                None => cause.to_string(),
            };
            TurnFault::Trapped {
                call,
                message: text::message(&message, limits::MESSAGE_BYTES),
            }
        }
    }
}
