//! Tenure: one term in which this member leads.

use std::ops::Deref;

use kelson_kernel_core::Reply;
use kelson_kernel_core::command::Command;

use crate::kernel::Kernel;
use crate::proposing::SubmitError;

/// A term in which this member leads, from its read barrier on; clones are the same one.
///
/// *Guarantees*: what is proposed through it is in the log in this very term, or not at all.
#[derive(Clone)]
pub struct Tenure {
    kernel: Kernel,
    term: u64,
}

impl Tenure {
    pub(crate) fn new(kernel: Kernel, term: u64) -> Self {
        Self { kernel, term }
    }

    /// The member that leads.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The term.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Proposes a command of the leader's own and waits until it is applied.
    ///
    /// # Errors
    /// See [`SubmitError`]; `TermOver` where another leader came in between.
    pub async fn propose(&self, command: Command) -> Result<Reply, SubmitError> {
        self.kernel.propose_in_term(self.term, command).await
    }
}

impl Deref for Tenure {
    type Target = Kernel;

    fn deref(&self) -> &Kernel {
        &self.kernel
    }
}
