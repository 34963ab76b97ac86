//! Raising an agent and putting it down.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use kelson_model::agent::AgentDescription;
use kelson_model::id::AgentId;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::blob::Blobs;
use crate::config::{AgentConfig, AgentError, ShutdownMode};
use crate::connection::{Attachment, channel, run_connection};
use crate::ended::OutputLimits;
use crate::identity::{Identity, lock_directory};
use crate::isolation::Isolation;
use crate::launch::Launcher;
use crate::layout::Layout;
use crate::ports::PortGuard;
use crate::recovery::recover;
use crate::supervisor::{Notice, Supervisor};

/// A running agent.
///
/// Dropping it ends the agent and leaves its tasks to be adopted, as a crash would.
#[derive(Debug)]
pub struct Agent {
    registered: watch::Receiver<Option<AgentId>>,
    notices: mpsc::Sender<Notice>,
    supervisor: JoinHandle<()>,
    connection: JoinHandle<AgentError>,
    isolation: Isolation,
}

impl Agent {
    /// Locks the data directory, finds out what can be isolated, takes over the tasks of an
    /// earlier run, and goes looking for the kernel.
    ///
    /// The kernel need not be there: tasks run without it, and statuses wait.
    ///
    /// # Errors
    /// Where another agent has the data directory, or it cannot be used.
    pub async fn start(config: AgentConfig) -> Result<Self, AgentError> {
        let dialer = config.kernel.clone();
        let blobs = channel(&dialer);
        let prepared = tokio::task::spawn_blocking(move || Prepared::new(config, blobs)).await;
        let prepared = prepared.map_err(|_| AgentError::Ended("its preparation"))??;
        // Adoption needs the runtime, so it is not done above; it reads a few small files per task.
        let recovered = recover(&prepared.launcher).map_err(|source| AgentError::Io {
            path: prepared.launcher.layout.tasks(),
            source,
        })?;
        let (mut supervisor, notices) = Supervisor::new(
            Arc::clone(&prepared.launcher),
            prepared.description.address.clone(),
            prepared.identity.incarnation,
        );
        supervisor.adopt(recovered);
        let (registered, registered_receiver) = watch::channel(None);
        let attachment = Attachment {
            dialer,
            identity: prepared.identity,
            root: prepared.launcher.layout.root().to_owned(),
            description: prepared.description,
            layout: prepared.launcher.layout.clone(),
            supervisor: notices.clone(),
            registered,
        };
        Ok(Self {
            registered: registered_receiver,
            notices,
            supervisor: tokio::spawn(supervisor.run()),
            connection: tokio::spawn(run_connection(attachment)),
            isolation: prepared.launcher.isolation.clone(),
        })
    }

    /// Waits until the kernel has registered this agent; gives its id.
    ///
    /// # Errors
    /// Where the session has ended for good before.
    pub async fn registered(&self) -> Result<AgentId, AgentError> {
        let mut registered = self.registered.clone();
        let id = registered.wait_for(Option::is_some).await;
        id.ok()
            .and_then(|id| *id)
            .ok_or(AgentError::Ended("its session"))
    }

    /// Waits until the agent ends by itself, which it does only where it must not go on.
    pub async fn ended(&mut self) -> AgentError {
        tokio::select! {
            error = &mut self.connection => error.unwrap_or(AgentError::Ended("its session")),
            _ = &mut self.supervisor => AgentError::Ended("its supervisor"),
        }
    }

    /// Puts the agent down; with `StopTasks` it comes back when all tasks have ended and the
    /// kernel, where there is one, was told.
    pub async fn stop(mut self, mode: ShutdownMode) {
        let _ = self.notices.send(Notice::Shutdown(mode)).await;
        if !self.supervisor.is_finished() {
            let _ = (&mut self.supervisor).await;
        }
        self.connection.abort();
        if mode == ShutdownMode::StopTasks {
            self.isolation.remove();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.supervisor.abort();
        self.connection.abort();
    }
}

/// What can be done before anything runs.
struct Prepared {
    launcher: Arc<Launcher>,
    identity: Identity,
    description: AgentDescription,
}

impl Prepared {
    /// Blocks.
    fn new(mut config: AgentConfig, blobs: Channel) -> Result<Self, AgentError> {
        let lock = lock_directory(&config.data_dir)?;
        config.data_dir = absolute(&config.data_dir)?;
        config.shim_exe = absolute(&config.shim_exe)?;
        let identity = Identity::begin(&config.data_dir)?;
        let isolation = if config.use_cgroups {
            Isolation::find_out(&identity.token, &config.shim_exe)
        } else {
            Isolation::none()
        };
        let isolation = isolation.remember(&config.data_dir);
        let mut attributes = isolation.attributes();
        attributes.extend(config.attributes.clone());
        let description = AgentDescription {
            name: config.name.clone(),
            address: config.address.clone(),
            resources: crate::capacity::resources(&config),
            ports: config.ports,
            attributes,
            pid: std::process::id(),
            version: config.version.clone(),
        };
        let layout = Layout::new(config.data_dir);
        let blobs = Blobs::new(layout.blobs(), blobs);
        let ports = PortGuard {
            address: config.address,
            range: config.ports,
        };
        let outputs = OutputLimits {
            each: config.logs,
            ended: config.kept_outputs,
        };
        let shim = config.shim_exe;
        let launcher = Launcher::new(layout, isolation, blobs, shim, outputs, ports, lock);
        Ok(Self {
            launcher: Arc::new(launcher),
            identity,
            description,
        })
    }
}

fn absolute(path: &std::path::Path) -> Result<PathBuf, AgentError> {
    std::fs::canonicalize(path).map_err(|source| AgentError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Runs an agent until `shutdown` says how to end it.
///
/// # Errors
/// Where it cannot be started, or the kernel dismisses it for good; its tasks go on in both cases.
pub async fn run_agent(
    config: AgentConfig,
    shutdown: impl Future<Output = ShutdownMode>,
) -> Result<(), AgentError> {
    let mut agent = Agent::start(config).await?;
    tokio::pin!(shutdown);
    let mode = tokio::select! {
        error = agent.ended() => return Err(error),
        mode = &mut shutdown => mode,
    };
    agent.stop(mode).await;
    Ok(())
}
