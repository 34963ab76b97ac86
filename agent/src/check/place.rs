//! Where and how a probe is made.

use std::time::Duration;

use kelson_agent_core::{Environment, Probe, ProbeKind};
use tokio::net::TcpStream;

use super::{command, http};
use crate::layout::Layout;
use kelson_model::id::TaskId;

/// Where a probe is made.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) task: TaskId,
    pub(crate) address: String,
    pub(crate) environment: Environment,
    pub(crate) directory: String,
}

/// Probes once; the error is a sentence for people. Never takes longer than the check's timeout.
pub(crate) async fn probe(layout: &Layout, place: &Place, probe: &Probe) -> Result<(), String> {
    let timeout = Duration::from_millis(probe.pace.timeout.0);
    let attempt = async {
        match &probe.kind {
            ProbeKind::Http { port, path } => http::get(&place.address, *port, path).await,
            ProbeKind::Tcp { port } => {
                let connected = TcpStream::connect((place.address.as_str(), *port)).await;
                connected
                    .map(drop)
                    .map_err(|error| format!("port {port}: {}", error.kind()))
            }
            ProbeKind::Command { program, arguments } => {
                let directory = layout.work(place.task).join(&place.directory);
                command::run(program, arguments, &place.environment, &directory).await
            }
        }
    };
    match tokio::time::timeout(timeout, attempt).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {}", probe.pace.timeout)),
    }
}
