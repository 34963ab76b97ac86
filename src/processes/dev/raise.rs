//! Raising, keeping and ending the parts of a `dev`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use kelson_model::agent::{AgentState, PortRange};
use kelson_model::framework::Ceiling;
use kelson_model::quantity::{Bytes, MilliCpus, Millis};
use kelson_model::view::{AgentView, FrameworkView, List};
use kelson_reconciler::source::{GitSource, Tip};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::data::DataDirectory;
use super::narrate::{run_narrator, run_notes};
use super::part::{Happened, Part, ending};
use super::port::ensure_free;
use super::voice::Voice;
use crate::client::{Address, Client};
use crate::context::Context;
use crate::dev_directory::Ready;
use crate::exit::{Exit, Failure};
use crate::output::{Format, Tint, now, plain_lines};
use crate::processes::ending::Endings;
use crate::processes::kernel::Listening;
use crate::processes::ranges::{DEFAULT, parse_range};
use crate::verbs::version::VERSION;

/// How long everything may take to come up; the first start compiles the scheduler.
const RAISE: Duration = Duration::from_secs(120);
/// A part that has died this often before all was ready will not come up; an earlier one that is
/// about to end is waited for meanwhile.
const DEATHS: u32 = 8;
/// How long the kernel may take to end.
const KERNEL_ENDS: Duration = Duration::from_secs(10);

/// What may be typed behind `dev`.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// The repository
    #[arg(value_name = "REPO", default_value = ".")]
    pub(crate) repo: PathBuf,
    /// The branch that is followed [default: the one that is checked out]
    #[arg(long, value_name = "BRANCH")]
    pub(crate) branch: Option<String>,
    /// The folder of the manifests, from the top of the repository [default: kelson/ if it is
    /// there, else the top]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) path: Option<String>,
    /// Over which time deletions count together before they are held
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    pub(crate) prune_window: Millis,
    /// Where it keeps its data [default: ${XDG_STATE_HOME:-~/.local/state}/kelson/dev/HASH]
    #[arg(
        long,
        env = "KELSON_DATA_DIR",
        hide_env_values = true,
        value_name = "FOLDER"
    )]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where the API listens; port 0 picks one
    #[arg(long, default_value = "127.0.0.1:7460", value_name = "HOST:PORT")]
    pub(crate) listen: String,
    /// The cpus that tasks may use [default: all]
    #[arg(long, value_name = "CPUS")]
    pub(crate) agent_cpus: Option<MilliCpus>,
    /// The memory that tasks may use [default: all]
    #[arg(long, value_name = "BYTES")]
    pub(crate) agent_memory: Option<Bytes>,
    /// The ports that tasks may use
    #[arg(long, default_value = DEFAULT, value_parser = parse_range, value_name = "FIRST-LAST")]
    pub(crate) port_range: PortRange,
    /// How many ended tasks of each slot keep their output [default: 3]
    #[arg(long, value_name = "TASKS")]
    pub(crate) kept_outputs: Option<u32>,
    /// The most bytes that the outputs of ended tasks take together [default: 256Mi]
    #[arg(long, value_name = "BYTES")]
    pub(crate) kept_output_bytes: Option<Bytes>,
    /// What frameworks from git may ask for, each and all together, such as
    /// memory=256Mi,totalMemory=2Gi
    #[arg(long, value_name = "LIMITS")]
    pub(crate) framework_limits: Option<Ceiling>,
    /// Leave the tasks at the end; the next start takes them over
    #[arg(long)]
    pub(crate) keep_tasks: bool,
    /// Forget everything first, and end what still runs
    #[arg(long)]
    pub(crate) reset: bool,
}

pub(crate) async fn run(arguments: Dev, context: &Context) -> Result<Exit> {
    let is_json = match context.format() {
        Format::Json => true,
        Format::Table | Format::Wide => false,
        Format::Yaml => bail!(Failure::usage("dev speaks text or json: -o text|json")),
    };
    let mut endings = Endings::watch(false)?;
    let since = now();
    let source = open_source(&arguments)?;
    let repository = source
        .path()
        .canonicalize()
        .context("the repository has no path")?;
    let directory =
        DataDirectory::take(arguments.data_dir.as_deref(), &repository, arguments.reset)?;
    ensure_free(&arguments.listen, directory.path())?;
    let voice = Arc::new(Voice::new(is_json));
    greet(&voice, &source, &repository);
    let mut raised = Raised::new(&arguments, &directory, &source, Arc::clone(&voice))?;
    let mut told: JoinSet<()> = JoinSet::new();
    told.spawn(run_notes(raised.kernel.more_lines(), Arc::clone(&voice)));
    let (address, agent) = tokio::select! {
        up = timeout(RAISE, raised.raise()) => match up {
            Ok(up) => up?,
            Err(_) => return Err(raised.give_up("not ready in time").await),
        },
        _ = endings.next() => {
            voice.tell(Tint::Warn, "Ending", "ending before it was ready", Value::Null);
            return Ok(raised.end(&mut endings, arguments.keep_tasks).await);
        }
    };
    let ready = Ready {
        event: "ready".to_owned(),
        address: format!("http://{address}"),
        pid: std::process::id(),
        data_dir: directory.path().to_owned(),
        repository,
        branch: source.branch().to_owned(),
        agent,
        version: VERSION.to_owned(),
    };
    directory.say_ready(&ready)?;
    voice.ready(&ready)?;
    if !is_json {
        voice.tell(
            Tint::Good,
            "Ready",
            &format!("ready at {}", ready.address),
            Value::Null,
        );
    }
    let client = Arc::new(Client::new(ready.address.parse()?)?);
    told.spawn(run_narrator(client, Arc::clone(&voice), since));
    tokio::select! {
        _ = endings.next() => {}
        error = raised.keep() => return Err(error),
    }
    directory.forget_ready();
    let what = if arguments.keep_tasks {
        "ending; the tasks go on, and the next start takes them over"
    } else {
        "ending: the tasks are stopped; again to leave those that have not ended by then"
    };
    voice.tell(Tint::Warn, "Ending", what, Value::Null);
    let exit = raised.end(&mut endings, arguments.keep_tasks).await;
    told.shutdown().await;
    Ok(exit)
}

fn open_source(arguments: &Dev) -> Result<GitSource> {
    let (branch, path) = (arguments.branch.as_deref(), arguments.path.as_deref());
    GitSource::open(&arguments.repo, branch, path).map_err(|error| {
        Failure::usage(error.to_string())
            .with_hint("`kelson init` makes a repository with a first service")
            .into()
    })
}

fn greet(voice: &Voice, source: &GitSource, repository: &Path) {
    let branch = source.branch();
    let at = match source.tip() {
        Ok(Tip::Commit(revision)) => format!("at {}", revision.short()),
        Ok(Tip::Unborn) => "which has no commit yet; the first one counts".to_owned(),
        Ok(Tip::Missing) => "which is not there yet; it is waited for".to_owned(),
        Err(error) => format!("which cannot be read: {error}"),
    };
    voice.tell(
        Tint::Plain,
        "Following",
        &format!(
            "following branch {branch} of {}, {at}",
            repository.display()
        ),
        json!({"repository": repository, "branch": branch}),
    );
}

/// The parts of a `dev`.
struct Raised {
    kernel: Part,
    agent: Part,
    voice: Arc<Voice>,
    kernel_arguments: Vec<OsString>,
    agent_arguments: Vec<OsString>,
    agent_data: PathBuf,
    listen: String,
    is_ready: bool,
    deaths: u32,
}

impl Raised {
    fn new(
        arguments: &Dev,
        directory: &DataDirectory,
        source: &GitSource,
        voice: Arc<Voice>,
    ) -> Result<Self> {
        let program = std::env::current_exe().context("this program has no path")?;
        let data = directory.path();
        let logs = data.join("logs");
        std::fs::create_dir_all(&logs)
            .with_context(|| format!("cannot make {}", logs.display()))?;
        let mut kernel: Vec<OsString> = vec!["kernel".into(), "--supervised".into()];
        flag(&mut kernel, "--data-dir", data.join("kernel"));
        flag(&mut kernel, "--repo", source.path());
        flag(&mut kernel, "--branch", source.branch());
        if let Some(path) = source.subpath() {
            flag(&mut kernel, "--path", path);
        }
        flag(
            &mut kernel,
            "--prune-window",
            arguments.prune_window.to_string(),
        );
        if let Some(ceiling) = &arguments.framework_limits {
            flag(&mut kernel, "--framework-limits", ceiling.to_string());
        }
        let mut agent: Vec<OsString> = vec!["agent".into(), "--supervised".into()];
        flag(&mut agent, "--data-dir", data.join("agent"));
        let PortRange { first, last } = arguments.port_range;
        flag(&mut agent, "--port-range", format!("{first}-{last}"));
        if let Some(cpus) = arguments.agent_cpus {
            flag(&mut agent, "--cpus", cpus.to_string());
        }
        if let Some(memory) = arguments.agent_memory {
            flag(&mut agent, "--memory", memory.to_string());
        }
        if let Some(tasks) = arguments.kept_outputs {
            flag(&mut agent, "--kept-outputs", tasks.to_string());
        }
        if let Some(bytes) = arguments.kept_output_bytes {
            flag(&mut agent, "--kept-output-bytes", bytes.to_string());
        }
        Ok(Self {
            kernel: Part::new("kernel", &program, logs.join("kernel.log")),
            agent: Part::new("agent", &program, logs.join("agent.log")),
            voice,
            kernel_arguments: kernel,
            agent_arguments: agent,
            agent_data: data.join("agent"),
            listen: arguments.listen.clone(),
            is_ready: false,
            deaths: 0,
        })
    }

    /// Starts both and waits until they are ready; returns the kernel's address and the agent's id.
    /// Cancelling loses nothing.
    async fn raise(&mut self) -> Result<(SocketAddr, String)> {
        self.start_kernel()?;
        let mut line = self.kernel.first_line();
        let address = loop {
            let said = async {
                line.wait_for(Option::is_some)
                    .await
                    .map(|line| line.clone())
            };
            tokio::select! {
                said = said => break address_of(said?.as_deref().unwrap_or_default())?,
                happened = self.kernel.next() => self.tell(happened, true)?,
            }
        };
        // From now on it is always this one, whatever port was asked for.
        self.listen = address.to_string();
        flag(
            &mut self.agent_arguments,
            "--kernel",
            format!("http://{address}"),
        );
        self.agent.with_arguments(self.agent_arguments.clone());
        self.agent.start()?;
        let client = Client::new(Address::from(address))?;
        let agent = tokio::select! {
            agent = ready(&client) => agent,
            error = self.keep() => return Err(error),
        };
        self.is_ready = true;
        Ok((address, agent))
    }

    fn start_kernel(&mut self) -> Result<()> {
        let mut arguments = self.kernel_arguments.clone();
        flag(&mut arguments, "--listen", &self.listen);
        self.kernel.with_arguments(arguments);
        self.kernel.start()
    }

    /// Starts again what dies, for ever.
    async fn keep(&mut self) -> anyhow::Error {
        loop {
            let told = tokio::select! {
                happened = self.kernel.next() => self.tell(happened, true),
                happened = self.agent.next() => self.tell(happened, false),
            };
            if let Err(error) = told {
                return error;
            }
        }
    }

    fn tell(&mut self, happened: Happened, is_kernel: bool) -> Result<()> {
        match happened {
            Happened::Due if is_kernel => self.start_kernel(),
            Happened::Due => self.agent.start(),
            Happened::Died(status, wait) => {
                let part = if is_kernel { &self.kernel } else { &self.agent };
                self.deaths = self.deaths.saturating_add(1);
                if !self.is_ready && self.deaths >= DEATHS {
                    let what = format!(
                        "the {} does not come up: it {}",
                        part.name(),
                        ending(status)
                    );
                    return Err(Failure::usage(what).with_hint(part.last_words(5)).into());
                }
                let message = format!(
                    "the {} {}; it starts again in {:.1} s",
                    part.name(),
                    ending(status),
                    wait.as_secs_f64()
                );
                let more = json!({"part": part.name(), "code": status.code()});
                self.voice.tell(Tint::Bad, "Died", &message, more);
                self.voice.explain(&plain_lines(&part.last_words(3)));
                Ok(())
            }
        }
    }

    /// Ends everything after it did not come up, and says why.
    async fn give_up(&mut self, why: &str) -> anyhow::Error {
        let words = [&self.kernel, &self.agent].map(|part| part.last_words(5));
        self.agent.let_go();
        self.kernel.let_go();
        self.agent.ended_within(KERNEL_ENDS).await;
        self.kernel.ended_within(KERNEL_ENDS).await;
        Failure::usage(why)
            .with_hint(format!(
                "the last words of the kernel: {}; of the agent: {}",
                words[0], words[1]
            ))
            .into()
    }

    fn tell_left(&self) {
        let left = kelson_agent::still_running(&self.agent_data);
        let (message, more) = (left_words(&left), json!({"tasks": left}));
        self.voice.tell(Tint::Warn, "Left", &message, more);
    }

    /// Ends the agent, with its tasks or without, then the kernel. A second signal leaves the
    /// tasks.
    async fn end(&mut self, endings: &mut Endings, keeps_tasks: bool) -> Exit {
        if keeps_tasks {
            self.agent.let_go();
        } else {
            self.agent.signal(Signal::TERM);
        }
        let is_second = tokio::select! {
            () = self.agent.ended() => false,
            _ = endings.next() => true,
        };
        if is_second {
            // The shims hold the tasks, whatever becomes of the agent.
            self.agent.signal(Signal::KILL);
            self.agent.ended().await;
            self.tell_left();
        }
        self.kernel.signal(Signal::TERM);
        self.kernel.ended_within(KERNEL_ENDS).await;
        if is_second {
            Exit::Interrupted
        } else {
            self.voice.tell(
                Tint::Plain,
                "Ended",
                "ended; the state is kept",
                Value::Null,
            );
            Exit::Done
        }
    }
}

/// Says which tasks an agent that has ended has left.
fn left_words(left: &[String]) -> String {
    const MOST: usize = 5;
    let named = left.iter().take(MOST).cloned().collect::<Vec<_>>();
    let more = match left.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match left.len() {
        0 => "ended; no task has been left".to_owned(),
        1 => format!(
            "ended; one task still runs, and the next start takes it over: {}",
            named.join(", ")
        ),
        count => format!(
            "ended; {count} tasks still run, and the next start takes them over: {}{more}",
            named.join(", ")
        ),
    }
}

fn flag(arguments: &mut Vec<OsString>, name: &str, value: impl Into<OsString>) {
    arguments.push(name.into());
    arguments.push(value.into());
}

fn address_of(line: &str) -> Result<SocketAddr> {
    let listening: Listening = serde_json::from_str(line)
        .with_context(|| format!("the kernel said something else: {line}"))?;
    listening
        .address
        .trim_start_matches("http://")
        .parse()
        .context("the kernel's address is none")
}

/// Waits until an agent is registered and the framework `service` is loaded; returns the agent's
/// id.
async fn ready(client: &Client) -> String {
    loop {
        if let (Some(agent), true) = (ready_agent(client).await, is_service_loaded(client).await) {
            return agent;
        }
        // Whatever changes next may be it; and a kernel that is away is asked again.
        let changed = async {
            let mut rows = client.watch("agent,framework", None).await.ok()?;
            // The first batch is what we have just seen.
            rows.changed().await.ok()?;
            rows.changed().await.ok()
        };
        let started = Instant::now();
        let _changed = timeout(Duration::from_millis(500), changed).await;
        if started.elapsed() < Duration::from_millis(20) {
            sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn ready_agent(client: &Client) -> Option<String> {
    let list: List<AgentView> = client.get_as("/v1/agents", &[]).await.ok()?;
    let mut agents = list.items.into_iter();
    Some(agents.find(|agent| agent.state == AgentState::Ready)?.id)
}

async fn is_service_loaded(client: &Client) -> bool {
    let Ok(list) = client
        .get_as::<List<FrameworkView>>("/v1/frameworks", &[])
        .await
    else {
        return false;
    };
    list.items.iter().any(|framework| {
        framework.kinds.iter().any(|kind| kind == "Service") && framework.fault.is_none()
    })
}
