//! What others hand to this member because it leads.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use kelson_kernel_core::command::Command;
use kelson_model::id::AgentId;
use kelson_model::member::{MemberDescription, Supports};
use kelson_proto::v1;
use kelson_proto::v1::relayed_failure::Kind;
use kelson_proto::v1::relayed_outcome::Outcome;
use tonic::{Request, Response, Status, Streaming};

use super::{CLUSTER, UNDER_WAY};
use crate::codec;
use crate::kernel::Kernel;
use crate::members::AdmitError;
use crate::proposing::SubmitError;
use crate::raft::ProposeError;

/// The service that other members hand their entries to.
pub(crate) struct RelayService {
    kernel: Kernel,
}

impl RelayService {
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self { kernel }
    }

    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let own = self.kernel.member().cluster().to_string();
        let meant = request.metadata().get(CLUSTER);
        if meant.is_some_and(|meant| meant.as_bytes() == own.as_bytes()) {
            return Ok(());
        }
        Err(Status::failed_precondition(format!(
            "this is a member of cluster {own}"
        )))
    }
}

type Outcomes = Pin<Box<dyn Stream<Item = Result<v1::RelayedOutcome, Status>> + Send>>;

#[tonic::async_trait]
impl v1::relay_server::Relay for RelayService {
    type ProposeStream = Outcomes;

    async fn propose(
        &self,
        request: Request<Streaming<v1::RelayedEntry>>,
    ) -> Result<Response<Outcomes>, Status> {
        self.check(&request)?;
        let kernel = self.kernel.clone();
        let carry_out = move |entry: Result<v1::RelayedEntry, Status>| {
            let kernel = kernel.clone();
            async move {
                let v1::RelayedEntry { number, entry } = entry?;
                let outcome = Some(propose(&kernel, &entry).await);
                Ok(v1::RelayedOutcome { number, outcome })
            }
        };
        let entries = request.into_inner();
        Ok(Response::new(Box::pin(
            entries.map(carry_out).buffer_unordered(UNDER_WAY),
        )))
    }

    async fn hear(
        &self,
        request: Request<v1::HeardAgents>,
    ) -> Result<Response<v1::HeardReply>, Status> {
        self.check(&request)?;
        let heard = request.into_inner();
        let agents = heard.agents.iter().zip(&heard.silent_ms);
        let agents = agents
            .map(|(agent, silent)| (AgentId(*agent), Duration::from_millis(u64::from(*silent))));
        self.kernel.sessions().hear_of(heard.member, agents);
        Ok(Response::new(v1::HeardReply {}))
    }
}

/// Carries out one entry here, or says why not.
async fn propose(kernel: &Kernel, entry: &[u8]) -> Outcome {
    let fail = |kind: Kind, message: String| {
        Outcome::Failure(v1::RelayedFailure {
            kind: kind.into(),
            message,
            bytes: 0,
        })
    };
    let entry = match codec::decode_entry(entry) {
        Ok(decoded) if may_be_handed_on(&decoded.entry.command) => decoded.entry,
        Ok(_) => return fail(Kind::Refused, "only a leader proposes this".to_owned()),
        Err(error) => return fail(Kind::Refused, error.to_string()),
    };
    match kernel.propose_here(entry).await {
        Ok(committed) => Outcome::Reply(v1::RelayedReply {
            index: committed.at.index,
            reply: committed.reply,
        }),
        Err(SubmitError::Propose(error)) => {
            let message = error.to_string();
            match error {
                ProposeError::NotLeader { .. }
                | ProposeError::TermOver { .. }
                | ProposeError::NoLeaderInTime => fail(Kind::NotLeader, message),
                ProposeError::TooLarge { bytes } => Outcome::Failure(v1::RelayedFailure {
                    kind: Kind::TooLarge.into(),
                    message,
                    bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
                }),
                ProposeError::DiskFull => fail(Kind::DiskFull, message),
                ProposeError::Unknown { .. } | ProposeError::Stopped { .. } => {
                    fail(Kind::Unknown, message)
                }
            }
        }
        Err(error @ SubmitError::Codec(_)) => fail(Kind::Refused, error.to_string()),
    }
}

/// Whether a command comes from a client, an agent or a member, and not from a leader's own
/// thinking.
fn may_be_handed_on(command: &Command) -> bool {
    match command {
        Command::RegisterAgent(_)
        | Command::SetAgentState(_)
        | Command::RecordStatuses(_)
        | Command::RecordAgentDrift(_)
        | Command::Stage(_)
        | Command::Accept(_)
        | Command::ReportSource(_)
        | Command::RecordDrift(_)
        | Command::SetField(_)
        | Command::StopTask(_)
        | Command::Confirm(_)
        | Command::SetNamespace(_)
        | Command::AdmitMember(_)
        | Command::RecordMember(_)
        | Command::DismissMember(_)
        | Command::CreateToken(_)
        | Command::UseToken(_)
        | Command::RevokeToken(_) => true,
        Command::FoundCluster(_)
        | Command::CommitTurn(_)
        | Command::InstallFramework(_)
        | Command::FailFramework(_)
        | Command::SetClusterVersion(_) => false,
    }
}

/// The service that a machine asks which wants to be a member.
pub(crate) struct AdmissionService {
    kernel: Kernel,
}

impl AdmissionService {
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self { kernel }
    }
}

#[tonic::async_trait]
impl v1::admission_server::Admission for AdmissionService {
    async fn admit(
        &self,
        request: Request<v1::AdmitRequest>,
    ) -> Result<Response<v1::AdmitReply>, Status> {
        let v1::AdmitRequest {
            token,
            name,
            address,
            version,
            oldest,
            newest,
        } = request.into_inner();
        if token.is_empty() {
            return Err(Status::invalid_argument("a member names its directory"));
        }
        let description = MemberDescription {
            name,
            address,
            version,
            supports: Supports { oldest, newest },
        };
        let member = self.kernel.admit(token, description).await;
        let member = member.map_err(|error| match &error {
            AdmitError::Refused(_) => Status::failed_precondition(error.to_string()),
            AdmitError::Submit(_) => Status::unavailable(error.to_string()),
        })?;
        Ok(Response::new(v1::AdmitReply {
            member: member.0,
            cluster: self.kernel.member().cluster().to_bytes().to_vec().into(),
        }))
    }
}
