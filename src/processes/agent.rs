//! `kelson agent`: an agent as a process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use kelson_agent::{AgentConfig, AgentError, KeptOutputs, ShutdownMode, run_agent};
use kelson_model::access::Role;
use kelson_model::agent::PortRange;
use kelson_model::quantity::{Bytes, MilliCpus};
use kelson_trust::{ClientTls, Dialer, Protocol, TrustFolder};

use super::ending::{Ending, Endings};
use super::joining::join as join_cluster;
use super::log;
use super::loopback::ensure_loopback;
use super::ranges::{DEFAULT, parse_range};
use super::renewal::{Certifier, Renewal};
use crate::client::parse_addresses;
use crate::exit::{Exit, Failure};
use crate::verbs::login::parse_token;
use crate::verbs::version::VERSION;

/// Where the kernel is when nobody says otherwise.
const KERNEL: &str = "127.0.0.1:7460";

/// What may be typed behind `agent`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Agent {
    #[command(subcommand)]
    verb: Option<AgentVerb>,
    #[command(flatten)]
    run: Option<Run>,
}

/// What makes an agent, before running it.
#[derive(Debug, Subcommand)]
enum AgentVerb {
    /// Joins a cluster of several machines by a token, and runs
    Join(Join),
}

/// What may be typed behind `agent join`.
#[derive(Debug, Args)]
struct Join {
    /// A member, or several with commas between
    #[arg(value_name = "ADDRESS")]
    member: String,
    /// The line that `kelson token create --role agent` has printed
    #[arg(
        long,
        env = "KELSON_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: String,
    #[command(flatten)]
    run: Run,
}

/// What may be typed to run an agent.
#[derive(Debug, Args)]
struct Run {
    /// Where it keeps everything that survives it
    #[arg(
        long,
        env = "KELSON_DATA_DIR",
        hide_env_values = true,
        value_name = "FOLDER"
    )]
    data_dir: PathBuf,
    /// The kernel's address, or those of several members with commas between [default: as it was
    /// told when it joined, else 127.0.0.1:7460]
    #[arg(
        long,
        env = "KELSON_ADDR",
        hide_env_values = true,
        value_name = "ADDRESS"
    )]
    kernel: Option<String>,
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
/// machines, else in plain on this machine alone; and what keeps its certificate new.
fn kernel_of(data_dir: &Path, given: Option<&str>) -> Result<(Dialer, Option<Renewal>)> {
    let given = given.filter(|text| !text.is_empty());
    let given = given.map(parse_addresses).transpose()?;
    let folder = TrustFolder::of(data_dir);
    let Some((identity, bundle)) = folder.load()? else {
        let addresses = match given {
            Some(addresses) => addresses,
            None => parse_addresses(KERNEL)?,
        };
        for address in addresses.iter() {
            ensure_loopback(address.authority())?;
        }
        return Ok((Dialer::plain(addresses), None));
    };
    let addresses = match given {
        Some(addresses) => addresses,
        None => folder.addresses()?,
    };
    // The certificate says which agent this is, also where the machine was cut off as it joined.
    let known = &identity.certified().identity;
    kelson_agent::keep_id(data_dir, known.name.parse()?, &known.cluster)?;
    let client = ClientTls::new(&bundle, Some(&identity), Protocol::Http2)?;
    let renewal = Renewal {
        folder,
        certified: identity.certified().clone(),
        bundle,
        certifier: Certifier::Members(addresses.clone()),
        server: None,
        client: client.clone(),
    };
    Ok((Dialer::secure(addresses, client), Some(renewal)))
}

/// Joins a cluster, unless this data directory belongs to one already.
async fn join_as_agent(join: &Join) -> Result<()> {
    let token = parse_token(&join.token)?;
    let data_dir = &join.run.data_dir;
    let directory = kelson_agent::directory_name(data_dir)?;
    let name = join
        .run
        .name
        .clone()
        .unwrap_or_else(kelson_agent::host_name);
    let member = join.member.as_str();
    join_cluster(data_dir, member, &token, Role::Agent, &directory, &name).await
}

pub(crate) async fn run(arguments: Agent) -> Result<Exit> {
    // What somebody left open for all children is not for tasks.
    kelson_agent::keep_descriptors();
    log::start()?;
    match (arguments.verb, arguments.run) {
        (Some(AgentVerb::Join(join)), _) => {
            join_as_agent(&join).await?;
            go(join.run).await
        }
        (None, Some(run)) => go(run).await,
        (None, None) => Err(Failure::usage("which data directory? say --data-dir FOLDER").into()),
    }
}

async fn go(arguments: Run) -> Result<Exit> {
    let mut endings = Endings::watch(arguments.supervised)?;
    let (kernel, renewal) = kernel_of(&arguments.data_dir, arguments.kernel.as_deref())?;
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
    let renewing = renewal.map(|renewal| tokio::spawn(renewal.run()));
    let ended = run_agent(config, shutdown).await;
    if let Some(renewing) = renewing {
        renewing.abort();
    }
    match ended {
        Ok(()) => Ok(Exit::Done),
        Err(error @ AgentError::Dismissed(_)) => {
            Err(Failure::new(Exit::Refused, error.to_string()).into())
        }
        Err(error) => Err(error.into()),
    }
}
