//! Random entries: steps that are made into commands against the state at hand, legal ones and
//! illegal ones.

use kelson_kernel_core::command::{
    Command, CommitTurn, FailFramework, InstallFramework, RecordAgentDrift, RecordStatuses,
    RegisterAgent, SetAgentState,
};
use kelson_kernel_core::port::{Op, Operation, SeatId, StateWrite};
use kelson_kernel_core::{Entry, Reply, State, apply};
use kelson_model::agent::AgentState;
use kelson_model::framework::FaultCause;
use kelson_model::id::{AgentId, Digest, Index, TaskId, WorkloadId};
use kelson_model::object::{Health, ObjectKey, RolloutState, Sync};
use kelson_model::principal::Principal;
use kelson_model::request::{
    Accept, Confirm, DriftReportUpdate, SetField, SetNamespace, SourceReport, Stage, StopTask,
};
use kelson_model::task::{Exit, StopReason, TaskState};
use kelson_model::time::{ClusterTime, WallTime};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{
    SOURCE, component, demand, desired, install, kind, machine, ns, revision, seat, spec, status,
    with_ports,
};

/// What is drawn: a kind of command and numbers that pick its parts from what there is.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    kind: u8,
    pick: [u16; 4],
    ops: Vec<(u8, u8, u16, u16)>,
    /// Milliseconds since the step before.
    wait: u16,
    /// The client that asks, if any.
    client: Option<u8>,
}

pub(crate) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let group = prop_oneof![2 => Just(0u8), 1 => 1u8..4];
    let op = (0u8..20, group, any::<u16>(), any::<u16>());
    // Turns and statuses come more often than the rest.
    let kind = prop_oneof![
        3 => 0u8..4, 14 => Just(4), 12 => Just(5), 8 => 6u8..17, 2 => Just(10),
    ];
    let client = prop_oneof![3 => Just(None), 1 => (0u8..2).prop_map(Some)];
    let step = (
        kind,
        any::<[u16; 4]>(),
        prop::collection::vec(op, 0..6),
        0u16..20_000,
        client,
    );
    let step = step.prop_map(|(kind, pick, ops, wait, client)| Step {
        kind,
        pick,
        ops,
        wait,
        client,
    });
    prop::collection::vec(step, most / 2..most)
}

/// One of these; `None` where there is none.
fn choose<T: Clone>(items: impl Iterator<Item = T>, pick: u16) -> Option<T> {
    let items: Vec<T> = items.collect();
    let place = usize::from(pick).checked_rem(items.len())?;
    items.get(place).cloned()
}

const NAMESPACES: [&str; 2] = ["a", "b"];

fn key(pick: u16) -> ObjectKey {
    let namespace = NAMESPACES[usize::from(pick) % 2];
    let kind = if namespace == "b" { "Flock" } else { "Service" };
    ObjectKey::new(kind, ns(namespace), ["x", "y"][usize::from(pick / 2) % 2])
}

fn some_spec(pick: u16) -> Value {
    let command = ["a", "b", "c"][usize::from(pick) % 3];
    let instances = u64::from(pick / 3) % 3;
    match pick / 9 % 3 {
        0 => spec(command, instances),
        1 => with_ports(
            spec(command, instances),
            json!([{"name": "p"}, {"name": "q"}]),
        ),
        _ => with_ports(
            spec(command, instances),
            json!([{"name": "p", "port": 20_001}]),
        ),
    }
}

fn an_agent(state: &State, pick: u16) -> AgentId {
    choose(state.agents.keys().copied(), pick).unwrap_or(AgentId(7))
}

fn a_task(state: &State, pick: u16) -> TaskId {
    choose(state.tasks.ids(), pick).unwrap_or(TaskId(7))
}

fn a_workload(state: &State, pick: u16) -> WorkloadId {
    choose(state.workloads.keys().copied(), pick).unwrap_or(WorkloadId(7))
}

fn framework_of(pick: u16) -> InstallFramework {
    match pick % 4 {
        0 | 1 => install(["1", "2"][usize::from(pick % 2)]),
        // Two that bring one kind: the second waits until the first goes.
        _ => {
            let name = ["mine", "yours"][usize::from(pick % 2)];
            let mut flocks = install(["m", "n"][usize::from(pick / 4 % 2)]);
            flocks.key = ObjectKey::new("Framework", ns("b"), name);
            flocks.is_built_in = false;
            flocks.description.kinds = vec![kind("Flock", &[""])];
            flocks
        }
    }
}

fn an_op(
    state: &State,
    seat: &SeatId,
    (kind, group, first, second): (u8, u8, u16, u16),
) -> Operation {
    // Mostly its own, on an agent that is there.
    let is_strange = first % 11 == 0;
    let own = state
        .workloads
        .iter()
        .filter(|(_, key)| is_strange || key.namespace == seat.namespace);
    let workload =
        choose(own.map(|(id, _)| *id), first).unwrap_or_else(|| a_workload(state, first));
    let own = state
        .tasks
        .iter()
        .filter(|task| is_strange || task.seat() == seat);
    let task = choose(own.map(|task| task.id()), second).unwrap_or_else(|| a_task(state, second));
    let newest = state
        .object_of(workload)
        .map_or(1, |object| object.generation);
    let generation = newest.saturating_sub(u64::from(second % 7 == 0));
    let op = match kind {
        0..=3 | 9.. => Op::Launch {
            workload,
            generation,
            template: u32::from(second % 17 == 0),
            slot: u32::from(second % 4),
            agent: an_agent(state, second / 4),
        },
        4 => Op::Kill {
            task,
            reason: StopReason::ALL[usize::from(second) % 4],
        },
        5 => Op::Forget { task },
        6 => Op::SetStatus {
            workload,
            generation,
            health: Health::Progressing,
            rollout: RolloutState::Progressing,
            reason: String::new(),
            message: format!("{}", second % 3),
        },
        7 => Op::SetGoodGeneration {
            workload,
            generation,
        },
        8 => Op::Quarantine {
            workload,
            generation,
            reason: "it failed".to_owned(),
        },
    };
    Operation {
        group: u32::from(group),
        op,
    }
}

fn a_turn(state: &State, step: &Step) -> CommitTurn {
    let [first, second, third, _] = step.pick;
    let id: SeatId = choose(state.seats.keys().cloned(), first).unwrap_or_else(|| seat("a"));
    let next = state.seats.get(&id).map_or(1, |seat| seat.turn_no + 1);
    let in_force = state
        .frameworks
        .get(&id.framework)
        .and_then(|framework| framework.component.clone());
    let writes = step.ops.iter().filter(|op| op.2 % 3 == 0);
    let operations = step.ops.iter().map(|op| an_op(state, &id, *op)).collect();
    CommitTurn {
        seat: id,
        turn_no: next + u64::from(second % 13 == 0),
        component: in_force
            .filter(|_| second % 11 != 0)
            .unwrap_or_else(|| component("unknown")),
        cursor: state.index,
        operations,
        writes: writes
            .map(|(_, group, key, size)| StateWrite {
                group: u32::from(*group),
                key: format!("k{}", key % 4),
                value: (size % 5 > 0).then(|| vec![1; usize::from(size % 700)]),
            })
            .collect(),
        demand: (third % 3 > 0)
            .then(|| vec![demand(1, a_workload(state, third), 1, u32::from(third % 7))]),
        demand_changes: (third % 4 == 0)
            .then(|| demand(2, a_workload(state, second), 1, u32::from(third % 3)))
            .into_iter()
            .collect(),
        wake_at: (third % 5 == 0).then(|| ClusterTime(state.time.0 + u64::from(third))),
    }
}

fn a_status(state: &State, step: &Step) -> Command {
    let [first, second, third, _] = step.pick;
    let agent = an_agent(state, first);
    let incarnation = state
        .agents
        .get(&agent)
        .map_or(1, |agent| agent.incarnation)
        .saturating_sub(u64::from(second % 17 == 0));
    let states = [
        TaskState::Starting,
        TaskState::Running,
        TaskState::Running,
        TaskState::Stopping,
        TaskState::Finished,
        TaskState::Failed,
        TaskState::Killed,
        TaskState::Lost,
    ];
    let statuses = step.ops.iter().map(|(kind, sequence, task, _)| {
        let own = state.tasks_on(agent).map(|task| task.id());
        let task = choose(own, *task).unwrap_or_else(|| a_task(state, *task));
        let seen = state.tasks.get(task).map_or(0, |task| task.sequence());
        let mut status = status(
            task,
            seen + u64::from(*sequence),
            states[usize::from(*kind) % states.len()],
        );
        if third % 7 == 0 && status.state.is_terminal() {
            status.exit = Some(Exit {
                signal: Some(9),
                ..Exit::default()
            });
        }
        status
    });
    Command::RecordStatuses(RecordStatuses {
        agent,
        incarnation,
        statuses: statuses.collect(),
    })
}

fn a_commit(state: &State, step: &Step, number: u32) -> Vec<Command> {
    let [first, second, ..] = step.pick;
    let mut objects = Vec::new();
    let mut prune = Vec::new();
    for (_, _, what, how) in &step.ops {
        let key = key(*what);
        if objects.iter().any(|(known, _)| *known == key) || prune.contains(&key) {
            continue;
        }
        if how % 4 == 0 {
            prune.push(key);
        } else {
            objects.push((key, some_spec(*how)));
        }
    }
    let previous = state
        .sources
        .get(SOURCE)
        .and_then(|record| record.applied.clone());
    let objects: Vec<_> = objects
        .into_iter()
        .map(|(key, spec)| desired(&key, spec))
        .collect();
    let count = u32::try_from(objects.len()).unwrap();
    let stage = Command::Stage(Stage {
        source: SOURCE.to_owned(),
        revision: revision(number),
        part: u32::from(first % 19 == 0),
        objects,
        prune: Vec::new(),
    });
    let accept = Command::Accept(Accept {
        source: SOURCE.to_owned(),
        revision: revision(number),
        previous: previous.filter(|_| second % 13 != 0),
        parts: 1,
        prune,
        objects: count + u32::from(second % 17 == 0),
        going: 0,
        released: Vec::new(),
        hands: None,
    });
    vec![stage, accept]
}

/// The commands of one step.
fn commands(state: &State, step: &Step, number: u32) -> Vec<Command> {
    let [first, second, third, _] = step.pick;
    let token = format!("t{}", first % 3);
    let one = match step.kind {
        0 | 1 if step.kind == 1 || state.agents.len() > 2 => return a_commit(state, step, number),
        0 | 1 => {
            let known = state.agents.values().find(|agent| *agent.token == token);
            Command::RegisterAgent(RegisterAgent {
                agent: known.map(|agent| agent.id).filter(|_| second % 2 == 0),
                token,
                incarnation: known
                    .map_or(1, |agent| agent.incarnation + u64::from(second % 3))
                    .saturating_sub(1),
                description: machine(u64::from(third % 4) + 1, 1024),
                cluster: String::new(),
            })
        }
        2 => return a_commit(state, step, number),
        3 => {
            let agent = an_agent(state, first);
            let states = [AgentState::Ready, AgentState::Unreachable, AgentState::Gone];
            Command::SetAgentState(SetAgentState {
                agent,
                incarnation: state
                    .agents
                    .get(&agent)
                    .map_or(1, |agent| agent.incarnation),
                session: None,
                state: states[usize::from(second) % 3],
                is_leaving: false,
            })
        }
        4 => Command::CommitTurn(a_turn(state, step)),
        5 => a_status(state, step),
        6 => Command::SetField(SetField {
            object: key(first),
            path: ["/spec/instances", "/spec/run/command", "/spec/nothing/x"]
                [usize::from(second) % 3]
                .to_owned(),
            value: if third % 5 == 0 {
                Value::Null
            } else {
                json!(third % 4)
            },
        }),
        7 => Command::StopTask(StopTask {
            task: a_task(state, first),
        }),
        8 => Command::SetNamespace(SetNamespace {
            namespace: ns(NAMESPACES[usize::from(first) % 2]),
            weight: u32::from(second % 5),
        }),
        9 | 10 => Command::InstallFramework(Box::new(framework_of(first))),
        11 => Command::FailFramework(FailFramework {
            is_built_in: framework_of(first).is_built_in,
            ..FailFramework::new(
                framework_of(first).key,
                Digest::of(b"bad"),
                FaultCause::BadComponent,
                "is bad",
            )
        }),
        12 => {
            // The framework from git goes, and comes with its object.
            let mine = framework_of(2).key;
            let (stage, accept) = match &a_commit(
                state,
                &Step {
                    ops: Vec::new(),
                    ..step.clone()
                },
                number,
            )[..]
            {
                [Command::Stage(stage), Command::Accept(accept)] => (stage.clone(), accept.clone()),
                other => panic!("{other:?}"),
            };
            return if state.objects.contains_key(&mine) {
                vec![
                    Command::Stage(stage),
                    Command::Accept(Accept {
                        prune: vec![mine],
                        ..accept
                    }),
                ]
            } else {
                vec![
                    Command::Stage(Stage {
                        objects: vec![desired(&mine, json!({}))],
                        ..stage
                    }),
                    Command::Accept(Accept {
                        objects: 1,
                        ..accept
                    }),
                ]
            };
        }
        13 => Command::ReportSource(SourceReport {
            source: SOURCE.to_owned(),
            branch: "main".to_owned(),
            observed: Some(revision(u32::from(first % 3))),
            sync: Sync::OutOfSync,
            held: None,
            holds: Vec::new(),
            errors: Vec::new(),
            prune_window: None,
            ..SourceReport::default()
        }),
        14 => Command::Confirm(Confirm {
            source: String::new(),
            revision: "0000000".to_owned(),

            hold: String::new(),
        }),
        15 => {
            let task = a_task(state, first);
            let known = state.tasks.get(task);
            let agent = known.map_or(AgentId(1), |task| task.agent());
            Command::RecordAgentDrift(RecordAgentDrift {
                agent,
                incarnation: state
                    .agents
                    .get(&agent)
                    .map_or(1, |agent| agent.incarnation),
                task,
                field: "cgroup/memory.limit_in_bytes".to_owned(),
                desired: json!(1),
                live: json!(second),
                is_healed: third % 2 == 0,
            })
        }
        _ => Command::RecordDrift(DriftReportUpdate {
            source: SOURCE.to_owned(),
            items: Vec::new(),
            is_delta: false,
        }),
    };
    vec![one]
}

/// One entry that was applied, with the states around it.
pub(crate) struct Applied {
    pub(crate) before: State,
    pub(crate) entry: Entry,
    pub(crate) reply: Reply,
    pub(crate) after: State,
}

/// Makes the steps into entries and applies them. Returns what happened, entry by entry.
pub(crate) fn run(steps: &[Step]) -> Vec<Applied> {
    let mut state = State::default();
    let mut applied: Vec<Applied> = Vec::new();
    let mut now = 1000;
    let mut sequences = [0u64; 2];
    let attach = |number: u32| {
        Command::RegisterAgent(RegisterAgent {
            agent: None,
            token: format!("t{number}"),
            incarnation: 1,
            description: machine(4, 1024),
            cluster: String::new(),
        })
    };
    let opening = vec![
        Command::InstallFramework(Box::new(install("1"))),
        attach(0),
        attach(1),
        Command::Stage(Stage {
            source: SOURCE.to_owned(),
            revision: revision(1000),
            part: 0,
            objects: (0..4)
                .map(|pick| desired(&key(pick), some_spec(pick * 10)))
                .chain([2, 3].map(|pick| desired(&framework_of(pick).key, json!({}))))
                .collect(),
            prune: Vec::new(),
        }),
        Command::Accept(Accept {
            source: SOURCE.to_owned(),
            revision: revision(1000),
            previous: None,
            parts: 1,
            prune: Vec::new(),
            objects: 6,
            going: 0,
            released: Vec::new(),
            hands: None,
        }),
        Command::InstallFramework(Box::new(framework_of(2))),
    ];
    let mut put = |state: &mut State, now: u64, client: Option<(String, u64)>, command: Command| {
        let entry = Entry {
            principal: Principal::new("alice", "cli"),
            at: ClusterTime(now),
            wall: WallTime(now),
            term: 1 + now / 100_000,
            client,
            since: Some(ClusterTime(0)),
            command,
        };
        let before = state.clone();
        let reply = apply(state, Index(before.index.0 + 1), &entry);
        applied.push(Applied {
            before,
            entry,
            reply,
            after: state.clone(),
        });
    };
    for command in opening {
        put(&mut state, now, None, command);
    }
    for (place, step) in steps.iter().enumerate() {
        now += u64::from(step.wait);
        let number = u32::try_from(place).unwrap() + 1;
        for command in commands(&state, step, number) {
            let client = step.client.map(|client| {
                let sequence = &mut sequences[usize::from(client)];
                *sequence = (*sequence + 1).saturating_sub(u64::from(step.pick[3] % 7 == 0));
                (format!("client-{client}"), *sequence)
            });
            put(&mut state, now, client, command);
        }
    }
    applied
}
