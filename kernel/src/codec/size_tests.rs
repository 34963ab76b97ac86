//! What a turn counts is never less than what its entry takes.

#![expect(clippy::unwrap_used, reason = "tests")]

use kelson_kernel_core::Entry;
use kelson_kernel_core::command::{Command, CommitTurn};
use kelson_kernel_core::port::{Demand, Op, Operation, Placement, SeatId, StateWrite};
use kelson_kernel_core::turn_size::{ENTRY_HEAD_BYTES, TURN_BYTES, outcome_bytes};
use kelson_model::id::{AgentId, Digest, Index, TaskId, WorkloadId};
use kelson_model::object::{Health, Namespace, ObjectKey, RolloutState};
use kelson_model::principal::Principal;
use kelson_model::task::StopReason;
use kelson_model::time::{ClusterTime, WallTime};

use super::encode_entry;

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
    let entry = Entry {
        principal: Principal::kernel(),
        at: ClusterTime(u64::MAX),
        wall: WallTime(u64::MAX),
        term: u64::MAX,
        client: None,
        command: Command::CommitTurn(turn.clone()),
    };
    u64::try_from(encode_entry(&entry).unwrap().len()).unwrap()
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
    Demand {
        key: u64::MAX - key,
        workload: WorkloadId(u64::MAX),
        generation: u64::MAX,
        template: u32::MAX,
        count: u32::MAX,
        placement: Placement::Spread,
        priority: i32::MIN,
    }
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
        operations: vec![
            Operation {
                group: u32::MAX,
                op,
            };
            count
        ],
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
