//! Commands: everything that can change the state, one file each.

mod accept;
mod agent_state;
mod catalogue;
mod commit_turn;
mod confirm;
mod create_token;
mod found_cluster;
mod install_framework;
mod record_agent_drift;
mod record_drift;
mod record_statuses;
mod register_agent;
mod report_source;
mod revoke_token;
mod session;
mod set_cluster_version;
mod set_field;
mod set_namespace;
mod stage;
mod stop_task;
mod use_token;

pub use agent_state::SetAgentState;
pub use catalogue::Command;
pub use commit_turn::CommitTurn;
pub use create_token::CreateToken;
pub use found_cluster::FoundCluster;
pub use install_framework::{FailFramework, InstallFramework, framework_objection};
pub(crate) use install_framework::{drop_framework, place_objection};
pub use record_agent_drift::RecordAgentDrift;
pub use record_statuses::RecordStatuses;
pub use register_agent::RegisterAgent;
pub use revoke_token::RevokeToken;
pub use set_cluster_version::SetClusterVersion;
pub use use_token::UseToken;
