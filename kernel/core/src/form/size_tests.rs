//! What a turn counts is never less than what its entry takes; and how little entries take.

#![expect(clippy::unwrap_used, reason = "tests")]

use kelson_model::id::{AgentId, Digest, Index, TaskId, WorkloadId};
use kelson_model::object::{
    DesiredObject, Health, Lifecycle, Namespace, ObjectKey, Origin, RolloutState,
};
use kelson_model::principal::Principal;
use kelson_model::request::Stage;
use kelson_model::spec::Spec;
use kelson_model::task::{CheckState, StopReason, TaskState, TaskStatus};
use kelson_model::time::{ClusterTime, WallTime};

use super::encode_entry;
use crate::apply::Entry;
use crate::command::{Command, CommitTurn, RecordStatuses};
use crate::port::{Demand, Op, Operation, Placement, SeatId, StateWrite};
use crate::turn_size::{ENTRY_HEAD_BYTES, TURN_BYTES, outcome_bytes};

/// The longest namespace that there can be.
fn deepest() -> Namespace {
    let part = "n".repeat(63);
    (1..=Namespace::MAX_DEPTH)
        .map(|depth| vec![part.as_str(); depth].join("/"))
        .filter_map(|path| path.parse().ok())
        .next_back()
        .unwrap()
}

/// A turn of the seat with the longest name, with every number at its longest.
fn empty() -> CommitTurn {
    let framework = ObjectKey::new(&"K".repeat(63), deepest(), &"f".repeat(63));
    CommitTurn {
        seat: SeatId {
            framework,
            namespace: deepest(),
        },
        turn_no: u64::MAX,
        component: Digest::of(b""),
        cursor: Index(u64::MAX),
        operations: Vec::new(),
        writes: Vec::new(),
        demand: None,
        demand_changes: Vec::new(),
        wake_at: Some(ClusterTime(u64::MAX)),
    }
}

fn encoded(turn: &CommitTurn) -> u64 {
    bytes_of(Command::CommitTurn(turn.clone()))
}

fn bytes_of(command: Command) -> u64 {
    let entry = Entry {
        principal: Principal::kernel(),
        at: ClusterTime(u64::MAX),
        wall: WallTime(u64::MAX),
        term: u64::MAX,
        client: None,
        since: None,
        command,
    };
    u64::try_from(encode_entry(&entry, 0).unwrap().len()).unwrap()
}

fn counted(turn: &CommitTurn) -> u64 {
    outcome_bytes(
        &turn.operations,
        &turn.writes,
        turn.demand.as_deref(),
        &turn.demand_changes,
    )
}

fn row(key: u64) -> Demand {
    let is_odd = key % 2 == 1;
    let far = if is_odd { u64::MAX / 2 } else { u64::MAX };
    let near = if is_odd { 0 } else { u32::MAX };
    Demand {
        key: far - key,
        workload: WorkloadId(far),
        generation: far,
        template: near,
        count: near,
        placement: Placement::Spread,
        priority: if is_odd { i32::MAX } else { i32::MIN },
    }
}

/// The same wish again and again, with nothing alike from one to the next.
fn strange(op: Op, count: usize) -> Vec<Operation> {
    let small = match &op {
        Op::Launch { .. } => Op::Launch {
            workload: WorkloadId(u64::MAX / 2),
            generation: u64::MAX / 2,
            template: 0,
            slot: 0,
            agent: AgentId(u64::MAX / 2),
        },
        other => other.clone(),
    };
    let ops = [(u32::MAX, op), (0, small)].into_iter().cycle();
    ops.take(count)
        .map(|(group, op)| Operation { group, op })
        .collect()
}

/// One turn for each thing that can be said, said `count` times at its longest.
fn turns(count: usize) -> Vec<CommitTurn> {
    let (workload, generation) = (WorkloadId(u64::MAX), u64::MAX);
    let text = |length: usize| "\u{e9}".repeat(length / 2);
    let healths = [
        Health::Healthy,
        Health::Progressing,
        Health::Degraded,
        Health::Suspended,
        Health::Missing,
        Health::Unknown,
    ];
    let rollouts = [
        RolloutState::Progressing,
        RolloutState::Complete,
        RolloutState::RolledBack,
        RolloutState::Paused,
    ];
    let mut ops = vec![
        Op::Launch {
            workload,
            generation,
            template: u32::MAX,
            slot: u32::MAX,
            agent: AgentId(u64::MAX),
        },
        Op::Forget {
            task: TaskId(u64::MAX),
        },
        Op::SetGoodGeneration {
            workload,
            generation,
        },
        Op::Quarantine {
            workload,
            generation,
            reason: text(1000),
        },
        Op::Note {
            workload,
            text: text(1000),
        },
        Op::Note {
            workload,
            text: String::new(),
        },
    ];
    ops.extend(StopReason::ALL.map(|reason| Op::Kill {
        task: TaskId(u64::MAX),
        reason,
    }));
    for health in healths {
        ops.extend(rollouts.map(|rollout| Op::SetStatus {
            workload,
            generation,
            health,
            rollout,
            reason: text(64),
            message: text(1000),
        }));
    }
    let said = ops.into_iter().map(|op| CommitTurn {
        operations: strange(op, count),
        ..empty()
    });
    let values = [None, Some(Vec::new()), Some(vec![255; 300])];
    let written = values.into_iter().map(|value| CommitTurn {
        writes: vec![
            StateWrite {
                group: u32::MAX,
                key: "k".repeat(256),
                value,
            };
            count
        ],
        ..empty()
    });
    let rows: Vec<Demand> = (0..u64::try_from(count).unwrap()).map(row).collect();
    let demands = [
        CommitTurn {
            demand: Some(rows.clone()),
            ..empty()
        },
        CommitTurn {
            demand_changes: rows,
            ..empty()
        },
    ];
    said.chain(written).chain(demands).collect()
}

#[test]
fn what_a_turn_counts_is_never_less_than_what_it_takes() {
    let head = encoded(&empty());
    for count in [1, 1000] {
        for turn in turns(count) {
            let (takes, counts) = (encoded(&turn) - head, counted(&turn));
            let first = (turn.operations.first(), turn.writes.first());
            assert!(
                takes <= counts + 64,
                "{takes} bytes for {counts} counted, {count} times {first:?}"
            );
        }
    }
}

#[test]
fn a_turn_that_says_all_it_may_fits_an_entry_with_its_head() {
    let head = encoded(&empty());
    assert!(head + 64 <= ENTRY_HEAD_BYTES, "{head} bytes");
    let sizes: std::collections::BTreeSet<u64> = turns(1).iter().map(counted).collect();
    for size in sizes {
        let most = usize::try_from(TURN_BYTES / size).unwrap();
        let full = turns(most);
        for turn in full.iter().filter(|full| counted(full) <= TURN_BYTES) {
            assert!(encoded(turn) <= TURN_BYTES + ENTRY_HEAD_BYTES);
        }
    }
}

#[test]
fn a_launch_takes_six_to_ten_bytes() {
    // Two workloads come up on two thousand agents, in the order of offers.
    let launch = |n: u64| Operation {
        group: 0,
        op: Op::Launch {
            workload: WorkloadId(400 + n / 500),
            generation: 3 + n / 500,
            template: 0,
            slot: u32::try_from(n % 500).unwrap(),
            agent: AgentId(1 + (n * 7919) % 2000),
        },
    };
    let turn = CommitTurn {
        operations: (0..1000).map(launch).collect(),
        ..empty()
    };
    let takes = encoded(&turn) - encoded(&empty());
    assert!((6_000..=10_000).contains(&takes), "{takes} bytes for 1000");
    // Of one group each, none beside the other.
    let mut grouped = turn;
    for (operation, group) in grouped.operations.iter_mut().zip(1..) {
        operation.group = group;
    }
    let takes = encoded(&grouped) - encoded(&empty());
    assert!(takes <= 10_000, "{takes} bytes for 1000");
}

#[test]
fn a_status_takes_at_most_fifteen_bytes() {
    let status = |n: u64| TaskStatus {
        task: TaskId(70_000 + n * 3),
        sequence: 3 + n % 2,
        state: TaskState::Running,
        health: CheckState::Healthy,
        ready: true,
        pid: Some(30_000 + u32::try_from(n * 17).unwrap()),
        started_at: Some(WallTime(1_700_000_000_000 + n * 40)),
        healthy_for: 5_000 + (n * 31) % 900,
        exit: None,
        isolation: "memory: none".to_owned(),
        message: String::new(),
    };
    let batch = |count: u64| {
        bytes_of(Command::RecordStatuses(RecordStatuses {
            agent: AgentId(17),
            incarnation: 4,
            statuses: (0..count).map(status).collect(),
        }))
    };
    let takes = batch(1001) - batch(1);
    assert!(takes <= 15_000, "{takes} bytes for 1000");
    let alone = batch(1) - batch(0);
    assert!(alone <= 45, "{alone} bytes for one");
}

#[test]
fn a_staged_object_takes_little_beside_its_specification() {
    let spec = Spec::from(serde_json::json!({"run": {"command": "true"}}));
    let object = |n: u64| DesiredObject {
        key: ObjectKey::new("Service", deepest(), &format!("web-{n:03}")),
        labels: [("team".to_owned(), "shop".to_owned())].into(),
        lifecycle: Lifecycle::default(),
        spec: Spec::from(serde_json::json!({"run": {"command": "true"}, "n": n})),
        origin: Origin {
            file: "kelson/web.yaml".to_owned(),
            line: u32::try_from(n * 20).unwrap(),
            column: None,
        },
        written: Some(Digest::of(b"")),
    };
    let stage = |count: u64| {
        bytes_of(Command::Stage(Stage {
            source: "dev".to_owned(),
            revision: "0".repeat(40).parse().unwrap(),
            part: 0,
            objects: (0..count).map(object).collect(),
            prune: Vec::new(),
        }))
    };
    let texts = u64::try_from(spec.text().len() + 9).unwrap();
    let takes = (stage(201) - stage(1)) / 200 - texts;
    let namespace = u64::try_from(deepest().as_str().len()).unwrap();
    // A digest of 32 bytes, a name of 8, and a path that is too long to be told by its number.
    assert!(
        takes <= 32 + 8 + namespace + 16,
        "{takes} bytes beside {texts}"
    );
}
