//! `kelson kernel`: one member of the kernel as a process, and the reconciler where it follows a
//! repository.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Subcommand};
use kelson_kernel::leader::{Duty, DutyEnd, run_leader};
use kelson_kernel::raft::RaftError;
use kelson_kernel::{
    BuiltIn, Kernel as Member, KernelConfig, KernelError, Place, api, run_attendance,
    run_components, run_record,
};
use kelson_kernel_core::port::SchedulerHost;
use kelson_model::framework::{Ceiling, Limits};
use kelson_model::object::ObjectKey;
use kelson_model::principal::Principal;
use kelson_model::quantity::Millis;
use kelson_model::report::LoopReport;
use kelson_model::spec::Spec;
use kelson_plugin_host::{HostConfig, WasmHost};
use kelson_reconciler::client::GrpcKernel;
use kelson_reconciler::{Config, Hooks, Problem, Validator, run_reconciler};
use kelson_trust::Dialer;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::compile::compiler;
use super::doors;
use super::ending::Endings;
use super::founding::{self, Init};
use super::{log, place};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::output::emit;
use crate::verbs::manifests::ask;

/// An agent whose session is silent for this long is unreachable.
const LEASE: Duration = Duration::from_secs(10);
/// How long the kernel before this one may take to let go of the data directory.
const HANDOVER: Duration = Duration::from_secs(3);
/// How often it is looked whether every loop goes on.
const LISTEN: Duration = Duration::from_secs(2);
/// How long open connections may take to end.
const FAREWELL: Duration = Duration::from_millis(300);

/// What may be typed behind `kernel`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Kernel {
    #[command(subcommand)]
    verb: Option<KernelVerb>,
    #[command(flatten)]
    run: Option<Run>,
}

/// What makes a member, instead of running it.
#[derive(Debug, Subcommand)]
enum KernelVerb {
    /// Founds a cluster of several machines, beginning with this member
    Init(Init),
}

/// What may be typed to run a member.
#[derive(Debug, Args)]
struct Run {
    /// Where it keeps its log and everything else
    #[arg(
        long,
        env = "KELSON_DATA_DIR",
        hide_env_values = true,
        value_name = "FOLDER"
    )]
    data_dir: PathBuf,
    /// Where it listens; port 0 picks one [default: as it was founded, else 127.0.0.1:7460]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// The local repository that it follows
    #[arg(long, value_name = "REPO")]
    repo: Option<PathBuf>,
    /// The branch that it follows [default: the one that is checked out]
    #[arg(long, requires = "repo", value_name = "BRANCH")]
    branch: Option<String>,
    /// The folder of the manifests, from the top of the repository
    #[arg(long, requires = "repo", value_name = "FOLDER")]
    path: Option<String>,
    /// Over which time deletions count together before they are held
    #[arg(long, default_value = "1h", requires = "repo", value_name = "DURATION")]
    prune_window: Millis,
    /// What frameworks from git may ask for, each and all together, such as
    /// memory=256Mi,totalMemory=2Gi
    #[arg(long, value_name = "LIMITS")]
    framework_limits: Option<Ceiling>,
    /// Its name, for people [default: of the machine, with the port]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Join the cluster of the member at this address, in plain: on one machine, for tests
    #[arg(long, hide = true, value_name = "HOST:PORT")]
    join: Option<String>,
    /// End at the end of stdin
    #[arg(long, hide = true)]
    supervised: bool,
}

/// What the process says on stdout, and writes to `kernel.json`, once its API answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listening {
    /// `http://127.0.0.1:7460`; `https://…` where it is encrypted.
    pub(crate) address: String,
    /// The process id.
    pub(crate) pid: u32,
}

/// What the process says on stdout later on: something that a person at a terminal should hear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// A sentence.
    pub(crate) message: String,
}

pub(crate) async fn run(arguments: Kernel) -> Result<Exit> {
    match (arguments.verb, arguments.run) {
        (Some(KernelVerb::Init(init)), _) => founding::init(init).await,
        (None, Some(run)) => serve(run).await,
        (None, None) => Err(Failure::usage("which data directory? say --data-dir FOLDER").into()),
    }
}

async fn serve(arguments: Run) -> Result<Exit> {
    log::start()?;
    let mut endings = Endings::watch(arguments.supervised)?;
    std::fs::create_dir_all(&arguments.data_dir)
        .with_context(|| format!("cannot make {}", arguments.data_dir.display()))?;
    let doors = doors::open(&arguments.data_dir, arguments.listen.as_deref()).await?;
    let (address, is_secure) = (doors.address, doors.renewal.is_some());
    let ceiling = arguments.framework_limits.clone().unwrap_or_default();
    let repository = arguments.repo.as_deref().map(absolute);
    let place = place::settle(
        &arguments.data_dir,
        arguments.name.clone(),
        doors.advertised,
        arguments.join.as_deref(),
    )
    .await?;
    let member = start_member(&arguments.data_dir, ceiling, repository, place).await?;
    if let Some(renewal) = &doors.renewal {
        ensure_same_cluster(&member, renewal.cluster())?;
    }
    let (farewell, said) = oneshot::channel::<()>();
    let mut parts: JoinSet<Result<&'static str>> = JoinSet::new();
    let own = member.clone();
    parts.spawn(async move {
        let shutdown = async move { drop(said.await) };
        api::serve_api(own, doors.listener, doors.trust, shutdown).await?;
        Ok("the API")
    });
    if let Some(renewal) = doors.renewal {
        parts.spawn(async move {
            renewal.run().await;
            Ok("the renewal of the certificate")
        });
    }
    spawn_member(&member, &mut parts);
    let mut duties = Duty::common();
    duties.extend(reconciler(&arguments, doors.own));
    let own = member.clone();
    parts.spawn(async move {
        let ended = run_leader(own, duties).await;
        ended.map_err(|reason| anyhow!(reason))?;
        Ok("what a leader does")
    });
    announce(&arguments.data_dir, address, is_secure)?;
    let stopped = member.member().stopped();
    let ended = tokio::select! {
        _ = endings.next() => Ok(()),
        error = stopped => Err(anyhow!("the log has stopped: {error}")),
        part = parts.join_next() => Err(match part {
            Some(Ok(Ok(name))) => anyhow!("{name} has ended by itself"),
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => anyhow!("a part of the kernel has failed: {error}"),
            None => anyhow!("all parts of the kernel have ended"),
        }),
    };
    tracing::info!("ending");
    let _is_heard = farewell.send(());
    // Watches have no end of their own, so they are not waited for without limit.
    let _is_over = tokio::time::timeout(FAREWELL, async {
        while let Some(part) = parts.join_next().await {
            if matches!(part, Ok(Ok("the API"))) {
                break;
            }
        }
    })
    .await;
    parts.shutdown().await;
    member.member().shutdown().await;
    ended.map(|()| Exit::Done)
}

/// A path that means the same to every client on this machine.
fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Refuses a data directory whose log and whose certificate are of different clusters.
fn ensure_same_cluster(member: &Member, certified: &str) -> Result<()> {
    let own = member.state().cluster.clone();
    if own == certified {
        return Ok(());
    }
    let message =
        format!("the log is of the cluster {own}, and the certificate of the cluster {certified}");
    Err(Failure::new(Exit::Refused, message).into())
}

/// Opens the member with this data directory, and waits until it leads.
///
/// # Errors
/// When the directory cannot be used.
pub(super) async fn start_member(
    data_dir: &Path,
    ceiling: Ceiling,
    repository: Option<PathBuf>,
    place: Place,
) -> Result<Member> {
    let host = WasmHost::new(HostConfig {
        compiler: compiler(),
        ..HostConfig::new(data_dir.join("components"))
    })?;
    let config = KernelConfig {
        data_dir: data_dir.to_owned(),
        lease: LEASE,
        built_in: kelson_plugins_bundle::ALL
            .iter()
            .map(|bundled| BuiltIn {
                name: bundled.name.to_owned(),
                component: bundled.component.to_vec(),
                limits: Limits::default(),
            })
            .collect(),
        ceiling,
        repository,
        place,
    };
    let host: Arc<dyn SchedulerHost> = Arc::new(host);
    let since = Instant::now();
    loop {
        match Member::start(config.clone(), host.clone()).await {
            // A kernel that was killed with `dev` lets go of its directory a moment later.
            Err(KernelError::Raft(RaftError::InUse { .. })) if since.elapsed() < HANDOVER => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            started => return Ok(started?),
        }
    }
}

/// Begins what every member does beside its API.
fn spawn_member(member: &Member, parts: &mut JoinSet<Result<&'static str>>) {
    let own = member.clone();
    parts.spawn(async move {
        run_components(own).await;
        Ok("the loading of components")
    });
    let own = member.clone();
    parts.spawn(async move {
        run_attendance(own).await;
        Ok("the look after sessions")
    });
    // It ends when it has said what this member is.
    tokio::spawn(run_record(member.clone()));
    let own = member.clone();
    parts.spawn(async move {
        run_listening(own).await;
        Ok("the listening to loops")
    });
    let own = member.clone();
    parts.spawn(async move {
        api::run_dispatch(own).await;
        Ok("the dispatch to agents")
    });
}

fn announce(data_dir: &Path, address: SocketAddr, is_secure: bool) -> Result<()> {
    let scheme = if is_secure { "https" } else { "http" };
    let listening = Listening {
        address: format!("{scheme}://{address}"),
        pid: std::process::id(),
    };
    let line = serde_json::to_string(&listening)?;
    files::replace(&data_dir.join("kernel.json"), line.as_bytes())?;
    tracing::info!(address = %listening.address, "the API answers");
    // Whoever started this may not care.
    if let Err(error) = emit(&format!("{line}\n")) {
        tracing::debug!(%error, "nobody reads stdout");
    }
    Ok(())
}

/// Follows the repository while this member leads, where one is given: a client of this kernel like
/// any other, but for the sandbox that it asks.
fn reconciler(arguments: &Run, own: Dialer) -> Option<Duty> {
    let repository = arguments.repo.clone()?;
    let mut config = Config::dev(repository);
    config.branch.clone_from(&arguments.branch);
    config.subpath.clone_from(&arguments.path);
    config.prune_window = arguments.prune_window;
    Some(Duty::new("reconciler", move |tenure| {
        follow(tenure.kernel().clone(), config.clone(), own.clone())
    }))
}

async fn follow(member: Member, config: Config, own: Dialer) -> DutyEnd {
    let port = GrpcKernel::new(own, Principal::reconciler());
    let hooks = Hooks {
        validator: Arc::new(Frameworks(member.clone())),
        on_note: Arc::new(tell),
        on_beat: {
            let heart = member.hearts().start("reconciler");
            Arc::new(move |doing, limit| heart.works(doing, limit))
        },
    };
    // Before, nobody knows what a Service is, and every manifest would be wrong.
    built_in_loaded(&member).await;
    run_reconciler(config, Arc::new(port), hooks, std::future::pending())
        .await
        .map_err(|error| error.to_string())?;
    Err("it has ended by itself".to_owned())
}

/// Says something to whoever started this, who may not care.
fn tell(message: String) {
    if let Ok(line) = serde_json::to_string(&Note { message }) {
        drop(emit(&format!("{line}\n")));
    }
}

/// Tells of each loop that is late, once, and that it goes on again.
async fn run_listening(member: Member) {
    let mut told: BTreeSet<String> = BTreeSet::new();
    let mut ticks = tokio::time::interval(LISTEN);
    loop {
        ticks.tick().await;
        for said in news_of_loops(&mut told, member.hearts().late()) {
            tracing::warn!("{said}");
            tell(said);
        }
    }
}

/// What is new of the loops that are late, and of those that were when this was last asked.
fn news_of_loops(told: &mut BTreeSet<String>, late: Vec<LoopReport>) -> Vec<String> {
    let unknown = late.iter().filter(|one| !told.contains(&one.name));
    let mut news: Vec<String> = unknown.map(ToString::to_string).collect();
    let names: BTreeSet<String> = late.into_iter().map(|one| one.name).collect();
    let again = told.difference(&names);
    news.extend(again.map(|name| format!("the loop {name} goes on")));
    *told = names;
    news
}

/// Waits until every framework in the box is in force, or cannot be.
async fn built_in_loaded(member: &Member) {
    let names = member.config().built_in.iter();
    let names: Vec<String> = names.map(|framework| framework.name.clone()).collect();
    let mut states = member.watch();
    let loaded = states.wait_for(|state| {
        names.iter().all(|name| {
            state.frameworks.values().any(|framework| {
                let is_judged = framework.component.is_some() || framework.fault.is_some();
                framework.is_built_in && framework.key.name == *name && is_judged
            })
        })
    });
    if loaded.await.is_err() {
        tracing::debug!("the log has stopped");
    }
}

/// Asks the frameworks that are in force.
struct Frameworks(Member);

impl Validator for Frameworks {
    fn validate(&self, key: &ObjectKey, spec: &Spec) -> Vec<Problem> {
        let state = self.0.state();
        state
            .framework_for(&key.kind, &key.namespace)
            .and_then(|framework| framework.component.as_ref())
            .map_or_else(Vec::new, |component| {
                ask(self.0.host().as_ref(), component, &key.kind, spec)
            })
    }
}

#[cfg(test)]
mod tests {
    use kelson_model::report::LoopState;

    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_told_once_and_once_more_when_it_goes_on() {
        let late = |name: &str| LoopReport {
            name: name.to_owned(),
            state: LoopState::Late,
            doing: "writes to the disk".to_owned(),
            silent_ms: 31_000,
            limit_ms: Some(30_000),
        };
        let mut told = BTreeSet::new();
        let standing = "the loop log has been silent for 31 s; it writes to the disk";
        assert_eq!(news_of_loops(&mut told, vec![late("log")]), [standing]);
        assert!(news_of_loops(&mut told, vec![late("log")]).is_empty());
        let mut ended = late("rounds");
        ended.state = LoopState::Ended;
        assert_eq!(
            news_of_loops(&mut told, vec![ended]),
            ["the loop rounds has ended", "the loop log goes on"]
        );
    }
}
