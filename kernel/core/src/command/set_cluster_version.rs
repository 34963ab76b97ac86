//! SetClusterVersion: all members know what is new since a version; it may be used from here on.

use kelson_model::code::Code;
use kelson_model::request::Refusal;

use crate::context::Context;
use crate::reply::{Reply, refusal};
use crate::state::State;

/// Raises what all members know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetClusterVersion {
    /// The version, above the present one. Members that do not know it stop.
    pub version: u32,
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &SetClusterVersion,
) -> Result<Reply, Refusal> {
    let SetClusterVersion { version } = command;
    let present = state.cluster_version;
    if *version <= present {
        let message = format!("the cluster has version {present}, and {version} is not above it");
        return Err(refusal(
            Code::ClusterVersion,
            message,
            "a cluster's version only goes up",
        ));
    }
    state.raise_cluster_version(*version);
    // Where it had none yet, nothing has changed for anybody.
    if present > 0 {
        let message = format!("the cluster's version is {version}, and was {present}");
        state.push_event(context.event("ClusterVersionRaised", None, message));
    }
    Ok(context.done(None))
}
