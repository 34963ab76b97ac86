//! `kelson agent`: an agent as a process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use kelson_agent::{AgentConfig, AgentError, KeptOutputs, ShutdownMode, run_agent};
use kelson_model::agent::PortRange;
use kelson_model::quantity::{Bytes, MilliCpus};
use kelson_trust::{ClientTls, Dialer, Protocol, TrustFolder};

use super::ending::{Ending, Endings};
use super::log;
use super::loopback::ensure_loopback;
use super::ranges::{DEFAULT, parse_range};
use crate::client::parse_addresses;
use crate::exit::{Exit, Failure};
use crate::verbs::version::VERSION;

/// What may be typed behind `agent`.
#[derive(Debug, Args)]
pub(crate) struct Agent {
    /// Where it keeps everything that survives it
    #[arg(
        long,
        env = "KELSON_DATA_DIR",
        hide_env_values = true,
        value_name = "FOLDER"
    )]
    data_dir: PathBuf,
    /// The kernel's address, or those of several members with commas between
    #[arg(
        long,
        env = "KELSON_ADDR",
        hide_env_values = true,
        default_value = "127.0.0.1:7460",
        value_name = "ADDRESS"
    )]
    kernel: String,
    /// The machine's name, for people [default: its host name]
    #[arg(long)]
    name: Option<String>,
    /// The address that its tasks bind to and are reached at
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    address: String,
    /// The cpus that it gives [default: all]
    #[arg(long)]
    cpus: Option<MilliCpus>,
    /// The memory that it gives [default: what its cgroup may use, minus a sixteenth, at most 1
    /// GiB]
    #[arg(long)]
    memory: Option<Bytes>,
    /// The disk that it gives [default: that of the data's file system, minus a sixteenth, at most
    /// 8 GiB]
    #[arg(long)]
    disk: Option<Bytes>,
    /// The ports that it gives
    #[arg(long, default_value = DEFAULT, value_parser = parse_range, value_name = "FIRST-LAST")]
    port_range: PortRange,
    /// A label: NAME=VALUE
    #[arg(long = "attribute", value_parser = parse_attribute, value_name = "NAME=VALUE")]
    attributes: Vec<(String, String)>,
    /// How many ended tasks of each slot keep their output
    #[arg(long, default_value_t = KeptOutputs::default().tasks, value_name = "TASKS")]
    kept_outputs: u32,
    /// The most bytes that the outputs of ended tasks take together
    #[arg(long, default_value_t = Bytes(KeptOutputs::default().bytes), value_name = "BYTES")]
    kept_output_bytes: Bytes,
    /// Leave the tasks when a signal ends it; the next agent on the same data takes them over
    #[arg(long)]
    keep_tasks: bool,
    /// End, and leave the tasks, at the end of stdin
    #[arg(long, hide = true)]
    supervised: bool,
}

fn parse_attribute(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// The way to the kernel: over TLS where this data directory belongs to a cluster of several
/// machines, else in plain on this machine alone.
fn kernel_of(data_dir: &Path, text: &str) -> Result<Dialer> {
    let addresses = parse_addresses(text)?;
    match TrustFolder::of(data_dir).load()? {
        Some((identity, bundle)) => {
            let tls = ClientTls::new(&bundle, Some(&identity), Protocol::Http2)?;
            Ok(Dialer::secure(addresses, tls))
        }
        None => {
            for address in addresses.iter() {
                ensure_loopback(address.authority())?;
            }
            Ok(Dialer::plain(addresses))
        }
    }
}

pub(crate) async fn run(arguments: Agent) -> Result<Exit> {
    // What somebody left open for all children is not for tasks.
    kelson_agent::keep_descriptors();
    log::start()?;
    let mut endings = Endings::watch(arguments.supervised)?;
    let kernel = kernel_of(&arguments.data_dir, &arguments.kernel)?;
    std::fs::create_dir_all(&arguments.data_dir)
        .with_context(|| format!("cannot make {}", arguments.data_dir.display()))?;
    let mut config = AgentConfig::new(arguments.data_dir, kernel);
    if let Some(name) = arguments.name {
        config.name = name;
    }
    config.address = arguments.address;
    config.cpus = arguments.cpus;
    config.memory = arguments.memory;
    config.disk = arguments.disk;
    config.ports = arguments.port_range;
    config.attributes = arguments.attributes.into_iter().collect::<BTreeMap<_, _>>();
    config.kept_outputs = KeptOutputs {
        tasks: arguments.kept_outputs,
        bytes: arguments.kept_output_bytes.0,
    };
    config.version = VERSION.to_owned();
    let keeps = arguments.keep_tasks;
    let shutdown = async move {
        match endings.next().await {
            Ending::Signal if !keeps => ShutdownMode::StopTasks,
            Ending::Signal | Ending::Orphaned => ShutdownMode::LeaveTasks,
        }
    };
    match run_agent(config, shutdown).await {
        Ok(()) => Ok(Exit::Done),
        Err(error @ AgentError::Dismissed(_)) => {
            Err(Failure::new(Exit::Refused, error.to_string()).into())
        }
        Err(error) => Err(error.into()),
    }
}
