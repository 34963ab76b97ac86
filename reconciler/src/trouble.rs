//! Why a pass does not end, and when it is tried again.

use std::time::Duration;

use kelson_model::request::Refusal;

use crate::client::PortError;

/// Why a pass did not end.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There is a newer revision.
    Preempted,
    /// The kernel is not where the plan was made from, for this many times in a row.
    Moved(Refusal, u32),
    /// The kernel cannot be asked.
    Port(PortError),
    /// The runtime is going down.
    Stopped,
}

impl Trouble {
    /// How long to wait before the next pass.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Preempted | Self::Stopped => None,
            Self::Moved(_, times) => Some(Duration::from_millis(25 << (*times).min(8))),
            Self::Port(_) => Some(Duration::from_secs(1)),
        }
    }
}

impl From<PortError> for Trouble {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

/// Does what blocks elsewhere.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Trouble::Stopped)
}
