//! The catalogue of commands, and the way from each to its file.

use kelson_model::request::{self, Refusal, Request};
use serde::{Deserialize, Serialize};

use super::*;
use crate::context::Context;
use crate::form::command_form;
use crate::reply::Reply;
use crate::state::State;

/// Everything that can change the state. A member that meets one it does not know stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Command {
    /// Names the cluster; the first entry.
    FoundCluster(FoundCluster),
    /// Attaches an agent, new or known.
    RegisterAgent(RegisterAgent),
    /// Says that an agent can or cannot be reached.
    SetAgentState(SetAgentState),
    /// Records what an agent says of its tasks.
    RecordStatuses(RecordStatuses),
    /// Records what an agent sees differ on its machine.
    RecordAgentDrift(RecordAgentDrift),
    /// Makes a turn true.
    CommitTurn(CommitTurn),
    /// Puts a component in force.
    InstallFramework(Box<InstallFramework>),
    /// Says that a component could not be loaded.
    FailFramework(FailFramework),
    /// Lays objects beside the state.
    Stage(request::Stage),
    /// Flips to a staged revision.
    Accept(request::Accept),
    /// Says what the reconciler sees.
    ReportSource(request::SourceReport),
    /// Updates the drift ledger.
    RecordDrift(request::DriftReportUpdate),
    /// Changes a field by hand.
    SetField(request::SetField),
    /// Ends a task by hand.
    StopTask(request::StopTask),
    /// Releases a held revision.
    Confirm(request::Confirm),
    /// Sets a namespace's weight.
    SetNamespace(request::SetNamespace),
    /// Raises what all members know.
    #[serde(skip)]
    SetClusterVersion(SetClusterVersion),
    /// Gives a further member its id.
    #[serde(skip)]
    AdmitMember(AdmitMember),
    /// Records what a member says about itself.
    #[serde(skip)]
    RecordMember(RecordMember),
    /// Takes a member out for good.
    #[serde(skip)]
    DismissMember(DismissMember),
    /// Gives out a token.
    #[serde(skip)]
    CreateToken(CreateToken),
    /// A machine joins by a token.
    #[serde(skip)]
    UseToken(UseToken),
    /// Takes a token away.
    #[serde(skip)]
    RevokeToken(RevokeToken),
}

impl From<Request> for Command {
    fn from(request: Request) -> Self {
        match request {
            Request::Stage(stage) => Self::Stage(stage),
            Request::Accept(accept) => Self::Accept(accept),
            Request::ReportSource(report) => Self::ReportSource(report),
            Request::RecordDrift(update) => Self::RecordDrift(update),
            Request::SetField(set) => Self::SetField(set_field::of_request(set)),
            Request::StopTask(stop) => Self::StopTask(stop),
            Request::Confirm(confirm) => Self::Confirm(confirm),
            Request::SetNamespace(set) => Self::SetNamespace(set),
        }
    }
}

impl Command {
    /// What it is called, for people.
    pub fn name(&self) -> &'static str {
        command_form(self).name
    }

    /// Carries the command out; a refusal leaves behind whatever it had begun, and the caller drops
    /// that.
    pub(crate) fn apply(&self, state: &mut State, context: &Context) -> Result<Reply, Refusal> {
        match self {
            Self::FoundCluster(command) => found_cluster::apply(state, context, command),
            Self::RegisterAgent(command) => register_agent::apply(state, context, command),
            Self::SetAgentState(command) => agent_state::apply(state, context, command),
            Self::RecordStatuses(command) => record_statuses::apply(state, context, command),
            Self::RecordAgentDrift(command) => record_agent_drift::apply(state, context, command),
            Self::CommitTurn(command) => Ok(commit_turn::apply(state, context, command)),
            Self::InstallFramework(command) => install_framework::apply(state, context, command),
            Self::FailFramework(command) => install_framework::apply_fault(state, context, command),
            Self::Stage(command) => stage::apply(state, context, command),
            Self::Accept(command) => accept::apply(state, context, command),
            Self::ReportSource(command) => report_source::apply(state, context, command),
            Self::RecordDrift(command) => record_drift::apply(state, context, command),
            Self::SetField(command) => set_field::apply(state, context, command),
            Self::StopTask(command) => stop_task::apply(state, context, command),
            Self::Confirm(command) => confirm::apply(state, context, command),
            Self::SetNamespace(command) => set_namespace::apply(state, context, command),
            Self::SetClusterVersion(command) => set_cluster_version::apply(state, context, command),
            Self::AdmitMember(command) => admit_member::apply(state, context, command),
            Self::RecordMember(command) => record_member::apply(state, context, command),
            Self::DismissMember(command) => dismiss_member::apply(state, context, command),
            Self::CreateToken(command) => create_token::apply(state, context, command),
            Self::UseToken(command) => use_token::apply(state, context, command),
            Self::RevokeToken(command) => revoke_token::apply(state, context, command),
        }
    }
}
