//! The channel to the kernel.

use std::time::Duration;

use kelson_trust::Dialer;
use tonic::transport::{Channel, Endpoint};

/// How often a silent connection is tried, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A channel over connections of this dialer: it connects when it is first used, and again when the
/// connection is lost, to whichever member answers.
pub(crate) fn channel(dialer: &Dialer) -> Channel {
    // Where it goes is for the dialer to say.
    Endpoint::from_static("http://members.kelson.internal")
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(dialer.clone())
}
