//! The machine behind the log: decodes entries, applies them to the state, shows the state to
//! everybody else.

use std::io::Read;

use kelson_kernel_core::form::{CLUSTER_VERSION, Decoded};
use kelson_kernel_core::{State, apply_form};
use kelson_model::id::Index;
use tokio::sync::watch;

use crate::codec;
use crate::metrics::{Metrics, Since};
use crate::raft::{Encode, Machine, MachineError, Position};

/// The state of one member. Readers get clones, which cost nothing.
pub(crate) struct KernelMachine {
    state: State,
    view: watch::Sender<State>,
    metrics: Metrics,
}

impl KernelMachine {
    /// Makes an empty machine and the receiver of its states.
    pub(crate) fn new(metrics: Metrics) -> (Self, watch::Receiver<State>) {
        let (view, receiver) = watch::channel(State::default());
        (
            Self {
                state: State::default(),
                view,
                metrics,
            },
            receiver,
        )
    }
}

impl Machine for KernelMachine {
    fn apply(&mut self, at: Position, payload: &[u8]) -> Result<Vec<u8>, MachineError> {
        let refuse = |error: codec::CodecError| MachineError::Payload {
            at,
            reason: error.to_string(),
        };
        let begun = Since::now();
        let Decoded { entry, since } = codec::decode_entry(payload).map_err(refuse)?;
        let reply = apply_form(&mut self.state, Index(at.index), &entry, since);
        self.metrics.applied(entry.command.name(), begun);
        if let Some(reason) = unknown_version(&self.state) {
            return Err(MachineError::Payload { at, reason });
        }
        codec::encode_reply(&reply, self.state.cluster_version).map_err(refuse)
    }

    fn publish(&mut self, _applied: Position) {
        self.view.send_replace(self.state.clone());
    }

    fn snapshot(&self) -> Encode {
        let state = self.state.clone();
        Box::new(move |to| codec::write_snapshot(&state, to))
    }

    fn restore(&mut self, snapshot: &mut dyn Read) -> Result<(), MachineError> {
        self.state = codec::read_snapshot(snapshot).map_err(|error| MachineError::Snapshot {
            reason: error.to_string(),
        })?;
        match unknown_version(&self.state) {
            Some(reason) => Err(MachineError::Snapshot { reason }),
            None => Ok(()),
        }
    }
}

/// Says why this program cannot be a member of the cluster of a state, where it is too old.
fn unknown_version(state: &State) -> Option<String> {
    let version = state.cluster_version;
    (version > CLUSTER_VERSION).then(|| {
        format!(
            "the cluster has version {version}, and this program knows versions up to {CLUSTER_VERSION}; \
             start a newer one"
        )
    })
}
