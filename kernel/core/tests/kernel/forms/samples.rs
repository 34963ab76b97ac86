//! One of each: commands and replies with everything that they can say, and a state with rows in
//! every table.

use std::collections::BTreeMap;

use kelson_kernel_core::command::{
    AdmitMember, Command, CommitTurn, CreateToken, DismissMember, FailFramework, FoundCluster,
    InstallFramework, RecordAgentDrift, RecordMember, RecordStatuses, RegisterAgent, RevokeToken,
    SetAgentState, SetClusterVersion, UseToken,
};
use kelson_kernel_core::port::{Demand, Op, Operation, Placement, RefusalRow, StateWrite};
use kelson_kernel_core::{Entry, Reply, State};
use kelson_model::access::Role;
use kelson_model::agent::{AgentDescription, AgentState, PortRange};
use kelson_model::code::Code;
use kelson_model::drift::{DriftItem, DriftState, FieldDrift, Plane};
use kelson_model::framework::{Ceiling, Description, FaultCause, KindDescription, Limits};
use kelson_model::id::{AgentId, Digest, Index, MemberId, TaskId, TokenId, WorkloadId};
use kelson_model::member::{MemberDescription, Supports};
use kelson_model::object::{
    DesiredObject, DriftPolicy, Health, Lifecycle, ObjectKey, Origin, PrunePolicy, RolloutState,
    Sync,
};
use kelson_model::principal::Principal;
use kelson_model::quantity::{Bytes, MilliCpus, Millis, Resources};
use kelson_model::reason::{HoldReason, KeptReason};
use kelson_model::request::{
    Accept, Confirm, DriftReportUpdate, Refusal, SetField, SetNamespace, SourceReport, Stage,
    StopTask,
};
use kelson_model::session::SessionEnd;
use kelson_model::source::{Fault, Held, Kept, Related, Replacement};
use kelson_model::task::{CheckState, Exit, ExitCause, StopReason, TaskState, TaskStatus};
use kelson_model::time::{ClusterTime, WallTime};
use serde_json::json;

use crate::world::{
    World, alone, counted, demand, framework, ns, revision, seat, service, service_in, spec,
    with_ports,
};

/// An entry with everything that its head can say.
pub(crate) fn entry(command: Command) -> Entry {
    Entry {
        principal: Principal::new("alice", "cli"),
        at: ClusterTime(70_000),
        wall: WallTime(1_700_000_000_123),
        term: 3,
        client: Some(("client-1".to_owned(), 9)),
        since: Some(ClusterTime(0)),
        command,
    }
}

fn digest() -> Digest {
    Digest::of(b"content")
}

fn origin() -> Origin {
    Origin {
        file: "kelson/web.yaml".to_owned(),
        line: 12,
        column: Some(3),
    }
}

fn desired() -> DesiredObject {
    DesiredObject {
        key: service_in("shop/checkout", "web"),
        labels: [("team".to_owned(), "shop".to_owned())].into(),
        lifecycle: Lifecycle {
            prune: PrunePolicy::Confirm,
            drift: DriftPolicy::Report,
        },
        spec: json!({"instances": 3, "ratio": 0.5, "run": {"command": "true"}}).into(),
        origin: origin(),
        written: Some(digest()),
    }
}

fn item(state: DriftState) -> DriftItem {
    DriftItem {
        object: service("web"),
        task: Some(TaskId(4)),
        plane: Plane::Placement,
        state,
        policy: DriftPolicy::Report,
        origin: Some(origin()),
        fields: vec![FieldDrift {
            path: "/spec/instances".to_owned(),
            op: "changed".to_owned(),
            desired: json!(3),
            live: json!({"a": [null, -1, 1.5]}),
            changed_by: Some(Principal::new("bob", "cli")),
        }],
        changed_by: Principal::new("alice", "cli"),
        first_seen: WallTime(1_700_000_000_000),
        healed_at: (state == DriftState::Healed).then_some(WallTime(1_700_000_000_500)),
        count: 2,
    }
}

fn held() -> Held {
    Held {
        reason: HoldReason::PruneGuard,
        confirm: Some("kelson confirm 0000000".to_owned()),
        message: "two objects would go".to_owned(),
        objects: vec![service("web"), service("db")],
        more: 3,
        digest: Some(digest()),
    }
}

fn fault() -> Fault {
    Fault {
        line: 3,
        column: 5,
        source_line: "instancs: 3".to_owned(),
        source_column: 1,
        end_line: 3,
        end_column: 13,
        related: vec![Related {
            file: "b.yaml".to_owned(),
            line: 1,
            column: 1,
            message: "the other".to_owned(),
        }],
        replacement: Some(Replacement {
            line: 3,
            column: 5,
            end_line: 3,
            end_column: 13,
            text: "instances".to_owned(),
            certain: true,
        }),
        ..Fault::of_file(
            Code::UnknownField,
            "a.yaml",
            "it is not known",
            "write instances",
        )
    }
}

fn turn() -> CommitTurn {
    let (workload, generation) = (WorkloadId(400), 7);
    let launch = |slot: u32, agent: u64| Op::Launch {
        workload,
        generation,
        template: 1,
        slot,
        agent: AgentId(agent),
    };
    let ops = [
        launch(0, 17),
        launch(1, 4),
        Op::Kill {
            task: TaskId(90_000),
            reason: StopReason::ScaledDown,
        },
        launch(2, 2000),
        Op::Forget { task: TaskId(5) },
        Op::SetStatus {
            workload,
            generation,
            health: Health::Degraded,
            rollout: RolloutState::RolledBack,
            reason: "RolledBack".to_owned(),
            message: "it went back".to_owned(),
        },
        Op::SetGoodGeneration {
            workload,
            generation,
        },
        Op::Quarantine {
            workload,
            generation: 8,
            reason: "it failed".to_owned(),
        },
        Op::Note {
            workload,
            text: "it went back".to_owned(),
        },
    ];
    let demand = |key: u64, priority: i32| Demand {
        key,
        workload,
        generation,
        template: 1,
        count: 12,
        placement: Placement::Pack,
        priority,
    };
    CommitTurn {
        seat: seat("shop/checkout"),
        turn_no: 44,
        component: digest(),
        cursor: Index(1001),
        operations: (0..)
            .zip(ops)
            .map(|(place, op)| Operation {
                group: place % 3,
                op,
            })
            .collect(),
        writes: vec![
            StateWrite {
                group: 1,
                key: "k".to_owned(),
                value: Some(vec![0, 255, 128]),
            },
            StateWrite {
                group: 0,
                key: "gone".to_owned(),
                value: None,
            },
            StateWrite {
                group: 0,
                key: "k".to_owned(),
                value: Some(Vec::new()),
            },
        ],
        demand: Some(vec![demand(1, 5), demand(2, -5)]),
        demand_changes: vec![demand(3, i32::MIN)],
        wake_at: Some(ClusterTime(80_000)),
    }
}

fn statuses() -> RecordStatuses {
    let running = TaskStatus {
        task: TaskId(7),
        sequence: 3,
        state: TaskState::Running,
        health: CheckState::Healthy,
        ready: true,
        pid: Some(4711),
        started_at: Some(WallTime(1_700_000_000_100)),
        healthy_for: 900,
        exit: None,
        isolation: "memory: none".to_owned(),
        message: "it runs".to_owned(),
    };
    let ended = TaskStatus {
        task: TaskId(5),
        sequence: 12,
        state: TaskState::Failed,
        health: CheckState::Unhealthy,
        ready: false,
        pid: None,
        started_at: None,
        healthy_for: 0,
        exit: Some(Exit {
            code: Some(-1),
            signal: Some(9),
            oom: true,
            by_agent: true,
            reason: "killed".to_owned(),
            cause: Some(ExitCause::PortsTaken),
            taken_ports: vec![20_001, 20_002],
        }),
        ..running.clone()
    };
    RecordStatuses {
        agent: AgentId(17),
        incarnation: 2,
        statuses: vec![running, ended],
    }
}

fn component() -> InstallFramework {
    let limits = Limits {
        memory: Bytes(32 << 20),
        operations: 500,
        state_writes: Bytes(1 << 10),
        state: Bytes(1 << 20),
    };
    InstallFramework {
        key: framework(),
        component: digest(),
        description: Description {
            name: "birds".to_owned(),
            version: "1.2".to_owned(),
            kinds: vec![KindDescription {
                kind: "Flock".to_owned(),
                schema: json!({"type": "object"}),
                templates: vec!["/lead".to_owned()],
                count: Some("/size".to_owned()),
            }],
            config_schema: Some(json!({})),
        },
        namespaces: vec![ns("data")],
        limits,
        config: "{\"max\":4}".to_owned(),
        is_built_in: false,
        ceiling: Some(Ceiling {
            each: Limits::default(),
            total_memory: Bytes(1 << 30),
            total_state: Bytes(1 << 31),
        }),
        generation: Some(3),
    }
}

fn token() -> Command {
    Command::CreateToken(CreateToken {
        role: Role::Agent,
        namespace: None,
        name: "rack-7".to_owned(),
        hash: digest(),
        ttl: Millis(3_600_000),
        uses: 3,
    })
}

fn joining() -> UseToken {
    UseToken {
        token: TokenId(88),
        hash: digest(),
        role: Role::Agent,
        key: Digest::of(b"key"),
        directory: "0a1b".to_owned(),
        name: "one".to_owned(),
    }
}

/// One of each command, with all that it can say.
pub(crate) fn commands() -> Vec<Command> {
    vec![
        Command::FoundCluster(FoundCluster {
            cluster: "c1".to_owned(),
        }),
        Command::RegisterAgent(RegisterAgent {
            agent: Some(AgentId(17)),
            token: "t".to_owned(),
            incarnation: 2,
            description: AgentDescription {
                name: "machine".to_owned(),
                address: "10.0.0.1".to_owned(),
                resources: Resources {
                    cpus: MilliCpus(4000),
                    memory: Bytes(8 << 30),
                    disk: Bytes(1 << 40),
                },
                ports: PortRange {
                    first: 20_000,
                    last: 31_999,
                },
                attributes: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
                pid: 99,
                version: "0.1.0".to_owned(),
            },
            cluster: "c1".to_owned(),
        }),
        Command::SetAgentState(SetAgentState {
            agent: AgentId(17),
            incarnation: 2,
            session: Some(Index(900)),
            state: AgentState::Unreachable,
            is_leaving: true,
        }),
        Command::RecordStatuses(statuses()),
        Command::RecordAgentDrift(RecordAgentDrift {
            agent: AgentId(17),
            incarnation: 2,
            task: TaskId(7),
            field: "cgroup/memory.limit_in_bytes".to_owned(),
            desired: json!(268_435_456),
            live: json!("max"),
            is_healed: true,
        }),
        Command::CommitTurn(turn()),
        Command::InstallFramework(Box::new(component())),
        Command::FailFramework(FailFramework {
            key: framework(),
            component: digest(),
            reason: "it is none".to_owned(),
            cause: FaultCause::NotAllowed,
            is_built_in: true,
            generation: Some(3),
        }),
        Command::Stage(Stage {
            source: "dev".to_owned(),
            revision: revision(7),
            part: 1,
            objects: vec![
                desired(),
                DesiredObject {
                    written: None,
                    ..desired()
                },
            ],
            prune: vec![service("old")],
        }),
        Command::Accept(Accept {
            source: "dev".to_owned(),
            revision: revision(7),
            previous: Some(revision(6)),
            parts: 2,
            prune: vec![service("older")],
            objects: 2,
            going: 1,
            released: vec![digest()],
            hands: Some(digest()),
        }),
        Command::ReportSource(SourceReport {
            source: "dev".to_owned(),
            branch: "main".to_owned(),
            observed: Some(revision(7)),
            sync: Sync::OutOfSync,
            held: Some(held()),
            holds: vec![held()],
            errors: vec![fault()],
            prune_window: Some(Millis(60_000)),
            kept: vec![Kept {
                object: service("web"),
                reason: KeptReason::Other("NewWord".to_owned()),
                message: "it waits".to_owned(),
            }],
            waiting_more: 4,
            observed_by: Some("Alice".to_owned()),
            applied_by: Some("Bob".to_owned()),
        }),
        Command::RecordDrift(DriftReportUpdate {
            source: "dev".to_owned(),
            items: vec![item(DriftState::Open), item(DriftState::Healed)],
            is_delta: true,
        }),
        Command::SetField(SetField {
            object: service("web"),
            path: "/spec/instances".to_owned(),
            value: json!({"a": 1, "b": [true, "x"]}),
        }),
        Command::StopTask(StopTask { task: TaskId(7) }),
        Command::Confirm(Confirm {
            source: "dev".to_owned(),
            revision: "0000000".to_owned(),
            hold: "PruneGuard".to_owned(),
        }),
        Command::SetNamespace(SetNamespace {
            namespace: ns("shop/checkout"),
            weight: 3,
        }),
        Command::SetClusterVersion(SetClusterVersion { version: 1 }),
        Command::AdmitMember(AdmitMember {
            token: "directory".to_owned(),
            description: member(),
        }),
        Command::RecordMember(RecordMember {
            member: MemberId(1),
            description: MemberDescription {
                name: "first".to_owned(),
                address: "10.0.0.1:7460".to_owned(),
                ..member()
            },
        }),
        Command::DismissMember(DismissMember {
            member: MemberId(2),
        }),
        token(),
        Command::UseToken(joining()),
        Command::RevokeToken(RevokeToken { token: TokenId(88) }),
    ]
}

fn member() -> MemberDescription {
    MemberDescription {
        name: "second".to_owned(),
        address: "10.0.0.2:7460".to_owned(),
        version: "0.1.0".to_owned(),
        supports: Supports {
            oldest: 0,
            newest: 1,
        },
    }
}

/// One of each reply, with its name.
pub(crate) fn replies() -> Vec<(&'static str, Reply)> {
    let refusal = || Refusal {
        code: Code::StalePlan.into(),
        message: "it is another".to_owned(),
        hint: "plan again".to_owned(),
    };
    let done = Reply::Done {
        index: Index(300),
        generation: Some(4),
    };
    let attached = Reply::Attached {
        agent: AgentId(17),
        session: Index(300),
    };
    let over = Reply::SessionOver {
        end: SessionEnd::Superseded,
        refusal: refusal(),
    };
    let counted = Reply::Counted {
        refusals: vec![RefusalRow {
            group: 2,
            subject: 90_000,
            reason: "no room".to_owned(),
        }],
        has_changed: true,
    };
    let void = Reply::Void {
        reason: "the seat is gone".to_owned(),
    };
    let named = |reply: Reply| {
        let name = match &reply {
            Reply::Done { .. } => "Done",
            Reply::Attached { .. } => "Attached",
            Reply::SessionOver { .. } => "SessionOver",
            Reply::Counted { .. } => "Counted",
            Reply::Void { .. } => "Void",
            Reply::Refused(_) => "Refused",
            Reply::Admitted { .. } => "Admitted",
            Reply::TokenCreated { .. } => "TokenCreated",
            Reply::Joined { .. } => "Joined",
        };
        (name, reply)
    };
    [
        done,
        attached,
        over,
        counted,
        void,
        Reply::Refused(refusal()),
        Reply::Admitted {
            member: MemberId(3),
        },
        Reply::TokenCreated { token: TokenId(88) },
        Reply::Joined { id: 7 },
    ]
    .map(named)
    .into()
}

/// A state that has rows in every table.
pub(crate) fn state() -> State {
    let mut world = World::new();
    world.done(Command::SetClusterVersion(SetClusterVersion { version: 1 }));
    let agent = world.agent(4, 1024);
    let web = service("web");
    let ports = json!([{"name": "http"}]);
    let workload = world.serve(&web, with_ports(spec("a", 2), ports));
    let failed = world.launch(&web, 0, agent);
    let stopped = world.launch(&web, 1, agent);
    world.launch(&web, 2, agent);
    for (status, task) in statuses().statuses.into_iter().zip([stopped, failed]) {
        world.report(TaskStatus { task, ..status });
    }
    world.as_person("alice", Command::StopTask(StopTask { task: stopped }));
    world.serve(&service("gone"), spec("a", 0));
    world.commit(Vec::new(), vec![service("gone")]);
    let generation = world.object(&web).generation;
    let ops = [
        Op::SetGoodGeneration {
            workload,
            generation,
        },
        Op::Quarantine {
            workload,
            generation,
            reason: "it failed".to_owned(),
        },
        Op::SetStatus {
            workload,
            generation,
            health: Health::Degraded,
            rollout: RolloutState::RolledBack,
            reason: "RolledBack".to_owned(),
            message: "it went back".to_owned(),
        },
        Op::Forget { task: TaskId(999) },
    ];
    let turn = CommitTurn {
        operations: ops.map(alone).into(),
        demand: Some(vec![demand(1, workload, generation, 2)]),
        wake_at: Some(ClusterTime(world.now.0 + 5000)),
        writes: turn().writes,
        ..world.turn(&seat("default"))
    };
    counted(world.apply(Command::CommitTurn(turn)));
    world.done(Command::RecordDrift(DriftReportUpdate {
        source: "dev".to_owned(),
        items: vec![item(DriftState::Open), item(DriftState::Healed)],
        is_delta: false,
    }));
    world.set_by_hand(&web, "/spec/instances", json!(5));
    let made = Entry {
        at: world.now,
        client: None,
        ..entry(token())
    };
    let Reply::TokenCreated { token } = world.apply_entry(&made) else {
        panic!("no token")
    };
    world.apply(Command::UseToken(UseToken { token, ..joining() }));
    for command in commands() {
        match &command {
            Command::ReportSource(_)
            | Command::FailFramework(_)
            | Command::SetNamespace(_)
            | Command::AdmitMember(_)
            | Command::RecordMember(_)
            | Command::DismissMember(_) => {
                let entry = Entry {
                    at: world.now,
                    ..entry(command)
                };
                world.apply_entry(&Entry {
                    client: entry.client.map(|(name, _)| (name, world.state.index.0)),
                    ..entry
                });
            }
            _ => {}
        }
    }
    world.done(Command::Stage(Stage {
        source: "other".to_owned(),
        revision: revision(9),
        part: 0,
        objects: vec![desired()],
        prune: vec![ObjectKey::new("Service", ns("shop"), "old")],
    }));
    world.state
}
