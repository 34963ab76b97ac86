//! Connections to other members beside those of the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tonic::transport::Channel;

use crate::raft::{DialError, Dialer, Lane};

/// One connection to each member that was called, made when it is first used; clones share them.
#[derive(Clone)]
pub(crate) struct Links {
    dialer: Arc<dyn Dialer>,
    by_member: Arc<Mutex<BTreeMap<u64, (String, Channel)>>>,
}

impl Links {
    pub(crate) fn new(dialer: Arc<dyn Dialer>) -> Self {
        Self {
            dialer,
            by_member: Arc::default(),
        }
    }

    /// The way to a member at an address; another address makes another connection.
    ///
    /// # Errors
    /// The address makes no sense.
    pub(crate) fn channel(&self, member: u64, address: &str) -> Result<Channel, DialError> {
        let mut by_member = self
            .by_member
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((known, channel)) = by_member.get(&member)
            && known == address
        {
            return Ok(channel.clone());
        }
        let channel = self.dialer.dial(member, address, Lane::Bulk)?;
        by_member.insert(member, (address.to_owned(), channel.clone()));
        Ok(channel)
    }
}
