//! How a member reaches another one: an address becomes a channel.

use std::fmt;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_millis(1_000);
/// After how long without a message a busy connection is asked whether it still is one.
const PING: Duration = Duration::from_secs(2);
/// How long the answer to that may take.
const PONG: Duration = Duration::from_secs(3);
/// How many bytes of a stream may be under way before the receiver has read any.
pub(super) const STREAM_WINDOW: u32 = 4 << 20;
/// How many of a connection.
pub(super) const CONNECTION_WINDOW: u32 = 8 << 20;

/// Which of the two connections to a member: what elections depend on never waits behind entries
/// and snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Votes, signs of life, read indexes.
    Urgent,
    /// Entries and snapshots.
    Bulk,
}

/// Why there is no channel to an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{address}' cannot be dialled: {reason}")]
pub struct DialError {
    /// The address, `host:port`.
    pub address: String,
    /// What is wrong with it, or with what is needed to reach it.
    pub reason: String,
}

/// Makes channels to other members. A channel connects when it is first used, and again when the
/// connection was lost.
pub trait Dialer: fmt::Debug + Send + Sync + 'static {
    /// Gives a new channel to a member; must not block, and is called in a tokio runtime.
    ///
    /// # Errors
    /// When the address makes no sense.
    fn dial(&self, member: u64, address: &str, lane: Lane) -> Result<Channel, DialError>;
}

/// Dials without encryption.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainDialer;

impl Dialer for PlainDialer {
    fn dial(&self, _member: u64, address: &str, _lane: Lane) -> Result<Channel, DialError> {
        Ok(endpoint("http", address)?.connect_lazy())
    }
}

/// Gives an endpoint with the settings that every connection between members has: small messages
/// leave at once, and a connection that has silently died is noticed.
///
/// # Errors
/// When the address makes no sense.
pub fn endpoint(scheme: &str, address: &str) -> Result<Endpoint, DialError> {
    let endpoint =
        Endpoint::from_shared(format!("{scheme}://{address}")).map_err(|error| DialError {
            address: address.to_owned(),
            reason: error.to_string(),
        })?;
    Ok(endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .keep_alive_while_idle(false)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW))
}
