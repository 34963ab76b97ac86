//! FoundCluster: names the cluster, once.

use kelson_model::request::Refusal;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::reply::Reply;
use crate::state::State;

/// Names the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundCluster {
    /// A random name, made by the first leader.
    pub cluster: String,
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &FoundCluster,
) -> Result<Reply, Refusal> {
    state.name_cluster(&command.cluster);
    Ok(context.done(None))
}
