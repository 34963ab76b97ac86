//! Asking a cluster to be one of its members.

use std::time::Duration;

use kelson_model::id::MemberId;
use kelson_model::member::MemberDescription;
use kelson_proto::v1;
use kelson_proto::v1::admission_client::AdmissionClient;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use crate::raft::{ClusterId, DialError, Dialer, Lane};

/// How long a cluster is asked.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(12);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a machine has not joined a cluster.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] DialError),
    /// The cluster does not take it.
    #[error("the cluster does not admit this member: {0}")]
    Refused(String),
    /// Nobody answers there.
    #[error("{address} does not admit this member: {detail}")]
    Silent {
        /// Where it was asked.
        address: String,
        /// What went wrong last.
        detail: String,
    },
}

/// Asks the cluster of the member at `address` for an id, until it is answered. The token names
/// the data directory; under the same one the same id is given.
///
/// # Errors
/// See [`JoinError`].
pub async fn join_cluster(
    dialer: &dyn Dialer,
    address: &str,
    token: &str,
    description: &MemberDescription,
) -> Result<(MemberId, ClusterId), JoinError> {
    let deadline = Instant::now() + PATIENCE;
    let channel = dialer.dial(0, address, Lane::Bulk)?;
    loop {
        let request = v1::AdmitRequest {
            token: token.to_owned(),
            name: description.name.clone(),
            address: description.address.clone(),
            version: description.version.clone(),
            oldest: description.supports.oldest,
            newest: description.supports.newest,
        };
        let mut client = AdmissionClient::new(channel.clone());
        let detail = match timeout(ANSWER, client.admit(request)).await {
            Ok(Ok(reply)) => {
                let reply = reply.into_inner();
                match <[u8; 16]>::try_from(reply.cluster.as_ref()) {
                    Ok(cluster) => {
                        return Ok((MemberId(reply.member), ClusterId::from_bytes(cluster)));
                    }
                    Err(_) => "its name is none".to_owned(),
                }
            }
            Ok(Err(status)) => match status.code() {
                Code::FailedPrecondition | Code::InvalidArgument | Code::PermissionDenied => {
                    return Err(JoinError::Refused(status.message().to_owned()));
                }
                _ => status.message().to_owned(),
            },
            Err(_) => "no answer in time".to_owned(),
        };
        if Instant::now() + PAUSE >= deadline {
            let address = address.to_owned();
            return Err(JoinError::Silent { address, detail });
        }
        sleep(PAUSE).await;
    }
}
