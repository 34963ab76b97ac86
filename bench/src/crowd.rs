//! A kernel's state with a crowd of tasks, made as a member makes it: by applying commands.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use kelson_kernel_core::command::{
    Command, CommitTurn, FoundCluster, InstallFramework, RecordStatuses, RegisterAgent,
};
use kelson_kernel_core::port::{Op, Operation, SeatId};
use kelson_kernel_core::{Entry, Reply, State, apply};
use kelson_model::agent::{AgentDescription, PortRange};
use kelson_model::framework::{Description, Limits};
use kelson_model::id::{AgentId, Digest, Index, TaskId, WorkloadId};
use kelson_model::object::{DesiredObject, Lifecycle, Namespace, ObjectKey, Origin};
use kelson_model::principal::Principal;
use kelson_model::quantity::{Bytes, MilliCpus, Resources};
use kelson_model::request::{Accept, Stage};
use kelson_model::task::{CheckState, TaskState, TaskStatus};
use kelson_model::time::{ClusterTime, WallTime};
use serde_json::json;

/// Launches in one turn.
const LAUNCHES: u64 = 2000;
/// Objects that are staged at once.
const STAGED: u64 = 500;

/// The state, and how it was made.
#[derive(Debug)]
pub struct Crowd {
    /// The state.
    pub state: State,
    agents: u64,
    workloads: u64,
    component: Digest,
}

fn key(kind: &str, name: &str) -> ObjectKey {
    ObjectKey::new(kind, Namespace::default_namespace(), name)
}

fn seat() -> SeatId {
    SeatId {
        framework: key("Framework", "service"),
        namespace: Namespace::default_namespace(),
    }
}

impl Crowd {
    /// A cluster of agents of 8 cpus and 30 GB each, and of workloads without tasks, which a
    /// component serves that says this of itself.
    ///
    /// # Errors
    /// A command is refused.
    pub fn new(
        agents: u64,
        workloads: u64,
        instances: u64,
        component: Digest,
        description: Description,
    ) -> Result<Crowd> {
        let mut crowd = Crowd {
            state: State::default(),
            agents,
            workloads,
            component: component.clone(),
        };
        crowd.put(Command::FoundCluster(FoundCluster {
            cluster: "crowd".to_owned(),
        }))?;
        let framework = framework(component, description);
        crowd.put(Command::InstallFramework(Box::new(framework)))?;
        for number in 0..agents {
            crowd.put(Command::RegisterAgent(agent(number)))?;
        }
        let revision: kelson_model::id::Revision = format!("{:040x}", 1).parse()?;
        let mut parts = 0;
        for first in (0..workloads).step_by(usize::try_from(STAGED)?) {
            let objects =
                (first..workloads.min(first + STAGED)).map(|number| service(number, instances));
            crowd.put(Command::Stage(Stage {
                source: "crowd".to_owned(),
                revision: revision.clone(),
                part: parts,
                objects: objects.collect(),
                prune: Vec::new(),
            }))?;
            parts += 1;
        }
        crowd.put(Command::Accept(Accept {
            source: "crowd".to_owned(),
            revision,
            previous: None,
            parts,
            prune: Vec::new(),
            objects: u32::try_from(workloads)?,
            going: 0,
            released: Vec::new(),
            hands: None,
        }))?;
        Ok(crowd)
    }

    /// What the component may use: one instance holds all tasks.
    #[must_use]
    pub fn limits() -> Limits {
        Limits {
            memory: Bytes(2 << 30),
            ..Limits::default()
        }
    }

    /// Applies one command, as the kernel itself.
    ///
    /// # Errors
    /// It is refused.
    pub fn put(&mut self, command: Command) -> Result<()> {
        let index = Index(self.state.index.0 + 1);
        let entry = Entry {
            principal: Principal::kernel(),
            at: ClusterTime(index.0),
            wall: WallTime(1_700_000_000_000 + index.0),
            term: 1,
            client: None,
            since: None,
            command,
        };
        match apply(&mut self.state, index, &entry) {
            Reply::Refused(refusal) => bail!("{refusal}"),
            Reply::Void { reason } => bail!("a turn is void: {reason}"),
            Reply::Counted { refusals, .. } if !refusals.is_empty() => {
                bail!("the turn was refused something: {refusals:?}")
            }
            _ => Ok(()),
        }
    }

    /// Launches tasks in turns, one more slot of each workload after another, spread over the
    /// agents; `each` is called after every turn.
    ///
    /// # Errors
    /// A turn is void, or refused something.
    pub fn launch(&mut self, tasks: u64, mut each: impl FnMut(&State)) -> Result<()> {
        let first = self.state.last_task.0;
        for begin in (first..first + tasks).step_by(usize::try_from(LAUNCHES)?) {
            let numbers = begin..(first + tasks).min(begin + LAUNCHES);
            let operations = numbers.map(|number| Operation {
                group: 0,
                op: Op::Launch {
                    workload: WorkloadId(number % self.workloads + 1),
                    generation: 1,
                    template: 0,
                    slot: u32::try_from(number / self.workloads).unwrap_or(u32::MAX),
                    agent: AgentId(number * 7919 % self.agents + 1),
                },
            });
            let turn_no = self.state.seats.get(&seat()).map_or(0, |seat| seat.turn_no);
            let turn = CommitTurn {
                seat: seat(),
                turn_no: turn_no + 1,
                component: self.component.clone(),
                cursor: self.state.index,
                operations: operations.collect(),
                writes: Vec::new(),
                demand: None,
                demand_changes: Vec::new(),
                wake_at: None,
            };
            self.put(Command::CommitTurn(turn))?;
            each(&self.state);
        }
        Ok(())
    }

    /// Lets every agent say of its share of these tasks where they stand; `each` is called after
    /// every agent.
    ///
    /// # Errors
    /// An agent is refused.
    pub fn say(
        &mut self,
        tasks: impl Iterator<Item = TaskId>,
        sequence: u64,
        state: TaskState,
        mut each: impl FnMut(&State),
    ) -> Result<()> {
        let mut by_agent: BTreeMap<AgentId, Vec<TaskStatus>> = BTreeMap::new();
        for task in tasks {
            let agent = AgentId((task.0 - 1) * 7919 % self.agents + 1);
            let is_running = state == TaskState::Running;
            by_agent.entry(agent).or_default().push(TaskStatus {
                task,
                sequence,
                state,
                health: if is_running {
                    CheckState::Healthy
                } else {
                    CheckState::Unknown
                },
                ready: is_running,
                pid: is_running.then_some(4711),
                started_at: is_running.then_some(WallTime(1_700_000_000_000)),
                healthy_for: 0,
                exit: None,
                isolation: "memory: none".to_owned(),
                message: String::new(),
            });
        }
        for (agent, statuses) in by_agent {
            self.put(Command::RecordStatuses(RecordStatuses {
                agent,
                incarnation: 1,
                statuses,
            }))?;
            each(&self.state);
        }
        Ok(())
    }
}

fn framework(component: Digest, description: Description) -> InstallFramework {
    InstallFramework {
        key: key("Framework", "service"),
        component,
        description,
        namespaces: Vec::new(),
        limits: Crowd::limits(),
        config: "null".to_owned(),
        is_built_in: true,
        ceiling: None,
        generation: None,
    }
}

fn agent(number: u64) -> RegisterAgent {
    RegisterAgent {
        agent: None,
        token: format!("{number:032x}"),
        incarnation: 1,
        description: AgentDescription {
            name: format!("machine-{number:05}"),
            address: "10.0.0.1".to_owned(),
            resources: Resources {
                cpus: MilliCpus(8000),
                memory: Bytes(30 << 30),
                disk: Bytes(100 << 30),
            },
            ports: PortRange {
                first: 20_000,
                last: 31_999,
            },
            attributes: BTreeMap::from([("zone".to_owned(), format!("z{}", number % 3))]),
            pid: 1,
            version: "0.1.0".to_owned(),
        },
        cluster: String::new(),
    }
}

fn service(number: u64, instances: u64) -> DesiredObject {
    let spec = json!({
        "instances": instances,
        "run": {"command": "serve", "args": ["--port", "${PORT_HTTP}"], "env": {}, "workdir": ".", "files": []},
        "resources": {"cpus": "0.02", "memory": "15Mi", "disk": "0"},
        "ports": [{"name": "http"}],
        "stop": {"signal": "SIGTERM", "grace": "10s"},
        "restart": {"backoff": {"initial": "1s", "factor": 1.15, "max": "5m"}},
        "update": {"maxUnavailable": 0, "maxSurge": 1, "minHealthyTime": "5s", "progressDeadline": "10m", "onFailure": "rollback"},
    });
    DesiredObject {
        key: key("Service", &format!("service-{number:05}")),
        labels: BTreeMap::new(),
        lifecycle: Lifecycle::default(),
        spec: spec.into(),
        origin: Origin {
            file: format!("services/{number:05}.yaml"),
            line: 1,
            column: None,
        },
        written: None,
    }
}
