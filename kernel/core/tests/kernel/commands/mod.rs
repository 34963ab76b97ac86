//! One file per command.

mod accept;
mod agent_state;
mod commit_turn;
mod confirm;
mod found_cluster;
mod install_framework;
mod members;
mod record_agent_drift;
mod record_drift;
mod record_statuses;
mod register_agent;
mod report_source;
mod set_field;
mod set_namespace;
mod stage;
mod stop_task;
mod tokens;
