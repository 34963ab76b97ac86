#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use super::*;
use crate::describe::Description;
use crate::rows::{Agent, AgentState, Check, Task, TaskState, Workload};
use crate::testing::{Asked, Stage, TurnBytes};
use crate::turn::{Demand, KillReason, Level, Placement};

/// Demands one task of every workload, ends every task in slot 13, and fails where a workload is
/// called 666.
#[derive(Debug, Default)]
struct Simple {
    seen: Vec<u64>,
}

impl Scheduler for Simple {
    fn describe() -> Description {
        Description {
            name: "simple".into(),
            version: "1".into(),
            ..Description::default()
        }
    }

    fn turn(&mut self, cluster: &Cluster, turn: &mut Turn<'_>) -> Result<(), String> {
        self.seen = cluster.changes().workloads.iter().copied().collect();
        for task in cluster.tasks().filter(|task| task.slot == 13) {
            turn.kill(task.id, KillReason::Removed);
        }
        let demand = cluster.workloads().map(|row| Demand {
            key: row.id,
            workload: row.id,
            generation: row.generation,
            template: 0,
            count: 1,
            placement: Placement::Pack,
            priority: 0,
        });
        turn.set_demand(demand.collect());
        for offer in turn.offers() {
            turn.launch(offer.key, 1, 0, 0, &offer);
        }
        turn.log(Level::Warn, "looked");
        match cluster.workload(666) {
            Some(_) => Err("666".into()),
            None => Ok(()),
        }
    }

    fn query(
        &self,
        cluster: &Cluster,
        read: Reads<'_>,
        verb: &str,
        arguments: &serde_json::Value,
    ) -> Result<serde_json::Value, String> {
        match verb {
            "count" => Ok(serde_json::json!({
                "tasks": cluster.tasks().count(), "name": read.name(1), "asked": arguments
            })),
            other => Err(format!("no verb {other}")),
        }
    }
}

fn workload(id: u64) -> Workload {
    Workload {
        id,
        generation: 1,
        good_generation: None,
        quarantined_generation: Some(3),
        template_id: 5,
        good_template_id: None,
        generation_since: 10,
        kind: 0,
        is_gone: false,
    }
}

fn task(id: u64, workload: u64, slot: u32) -> Task {
    Task {
        id,
        workload,
        generation: 1,
        template: 0,
        template_id: 5,
        slot,
        agent: 2,
        state: TaskState::Failed,
        health: Check::Unhealthy,
        is_ready: true,
        is_stop_asked: false,
        is_ended_by_hand: true,
        is_out_of_memory: true,
        is_agent_lost: true,
        is_port_taken: true,
        state_since: 20,
        healthy_since: Some(15),
        exit_code: Some(0),
        attempts: 3,
    }
}

fn agent(state: AgentState) -> Agent {
    Agent {
        id: 2,
        state,
        free_cpus: 1,
        free_memory: 2,
        free_disk: 3,
    }
}

fn turn(runner: &mut Runner<Simple>, stage: &mut Stage) -> Asked {
    runner.turn(stage, 100, 0, 1).unwrap();
    stage.take()
}

#[test]
fn rows_come_out_of_columns_as_they_went_in() {
    let mut stage = Stage::default();
    let mut runner = Runner::<Simple>::default();
    stage.workloads = vec![workload(1)];
    stage.tasks = vec![(task(4, 1, 0), false)];
    stage.agents = vec![agent(AgentState::Unreachable)];
    runner.restore(&stage).unwrap();
    let cluster = runner.cluster();
    assert_eq!(cluster.workload(1), Some(&workload(1)));
    assert_eq!(cluster.task(4), Some(&task(4, 1, 0)));
    assert_eq!(cluster.agent(2), Some(&agent(AgentState::Unreachable)));
    assert!(!cluster.is_reachable(2) && cluster.is_reachable(9));
}

#[test]
fn a_turn_sees_what_has_changed_and_the_one_after_does_not() {
    let mut stage = Stage::default();
    let mut runner = Runner::<Simple>::default();
    stage.workloads = vec![workload(1), workload(2)];
    runner.restore(&stage).unwrap();
    stage.take();
    turn(&mut runner, &mut stage);
    assert_eq!(runner.scheduler.seen, [1, 2], "everything after a restore");
    turn(&mut runner, &mut stage);
    assert_eq!(runner.scheduler.seen, [] as [u64; 0]);
    stage.tasks = vec![(task(4, 2, 0), false)];
    turn(&mut runner, &mut stage);
    assert_eq!(runner.scheduler.seen, [2]);
}

#[test]
fn a_task_that_is_gone_leaves_even_if_its_row_has_no_more_than_an_id() {
    let mut stage = Stage::default();
    let mut runner = Runner::<Simple>::default();
    stage.workloads = vec![workload(1)];
    stage.tasks = vec![(task(4, 1, 7), false), (task(5, 1, 8), false)];
    turn(&mut runner, &mut stage);
    stage.tasks = vec![(task(4, 0, 0), true), (task(99, 0, 0), true)];
    turn(&mut runner, &mut stage);
    assert_eq!(runner.cluster().tasks().count(), 1);
    assert_eq!(runner.cluster().tasks_in(1, 8).count(), 1);
    assert_eq!(runner.scheduler.seen, [1]);
}

#[test]
fn a_removed_workload_stays_while_it_has_tasks() {
    let mut stage = Stage::default();
    let mut runner = Runner::<Simple>::default();
    let gone = Workload {
        is_gone: true,
        ..workload(1)
    };
    stage.workloads = vec![gone];
    stage.tasks = vec![(task(4, 1, 7), false)];
    turn(&mut runner, &mut stage);
    assert!(runner.cluster().workload(1).is_some());
    stage.tasks = vec![(task(4, 1, 7), true)];
    turn(&mut runner, &mut stage);
    assert!(runner.cluster().workload(1).is_none());
}

#[test]
fn the_same_demand_is_not_stated_twice() {
    let mut stage = Stage::default();
    let mut runner = Runner::<Simple>::default();
    stage.workloads = vec![workload(1)];
    let asked = turn(&mut runner, &mut stage);
    assert_eq!(asked.demand.map(|rows| rows.len()), Some(1));
    assert_eq!(turn(&mut runner, &mut stage).demand, None);
    stage.workloads = vec![workload(2)];
    let asked = turn(&mut runner, &mut stage);
    assert_eq!(asked.demand.map(|rows| rows.len()), Some(2));
}

#[test]
fn a_turn_that_fails_asks_for_nothing() {
    let mut stage = Stage::default();
    let mut runner = Runner::<Simple>::default();
    stage.workloads = vec![workload(666)];
    stage.tasks = vec![(task(4, 666, 13), false)];
    assert_eq!(runner.turn(&stage, 100, 0, 1), Err("666".into()));
    let asked = stage.take();
    assert_eq!(asked.log.len(), 1, "lines are for its author in any case");
    assert_eq!(
        Asked {
            log: Vec::new(),
            ..asked
        },
        Asked::default()
    );
}

#[test]
fn what_is_asked_for_together_has_a_group_of_its_own() {
    let stage = Stage::default();
    let mut turn = Turn::new(&stage, 0, 0, 1, Vec::new(), Vec::new());
    let offer = crate::rows::Offer {
        id: 0,
        key: 0,
        agent: 0,
        count: 9,
    };
    turn.launch(1, 1, 0, 0, &offer);
    for slot in [1, 3] {
        turn.together(|turn| {
            turn.launch(1, 1, 0, slot, &offer);
            turn.launch(1, 1, 0, slot + 1, &offer);
        });
    }
    turn.launch(1, 1, 0, 5, &offer);
    assert_eq!(turn.operations(), 6);
    turn.flush(&mut Stated::default()).unwrap();
    let mut stage = stage;
    let groups: Vec<u32> = stage.take().launches.iter().map(|row| row.group).collect();
    assert_eq!(groups, [0, 1, 1, 2, 2, 0]);
}

#[test]
fn a_query_answers_in_json_and_a_bad_one_says_why() {
    let stage = Stage::default();
    let runner = Runner::<Simple>::default();
    let answer = runner.query(&stage, "count", "[1]").unwrap();
    assert_eq!(answer, r#"{"asked":[1],"name":"wkl_1","tasks":0}"#);
    assert!(
        runner
            .query(&stage, "count", "{")
            .unwrap_err()
            .contains("JSON")
    );
    assert!(
        runner
            .query(&stage, "fly", "null")
            .unwrap_err()
            .contains("fly")
    );
}

#[test]
fn a_specification_that_is_no_json_is_a_problem_not_a_trap() {
    let problems = Runner::<Simple>::validate("Simple", "{");
    assert_eq!(problems.first().expect("one").pointer, "");
    assert_eq!(Runner::<Simple>::validate("Simple", "{}"), []);
}

#[test]
fn a_demand_larger_than_a_turn_is_stated_in_parts() {
    let mut stage = Stage::default();
    let mut runner = Runner::<Simple>::default();
    stage.turn_bytes = TurnBytes(48 * 150);
    stage.workloads = (1..=400).map(workload).collect();
    let mut sizes = Vec::new();
    loop {
        let asked = turn(&mut runner, &mut stage);
        sizes.push(asked.demand.map(|rows| rows.len()));
        if asked.wake_at != Some(100) {
            break;
        }
    }
    assert_eq!(sizes, [Some(150), Some(300), Some(400)]);
    // What changes later is all that is sent.
    stage.workloads = vec![Workload {
        is_gone: true,
        ..workload(7)
    }];
    turn(&mut runner, &mut stage);
    let asked = turn(&mut runner, &mut stage);
    assert_eq!(asked.demand.map(|rows| rows.len()), Some(399));
}

/// Writes as many notes as it has room for.
#[derive(Debug, Default)]
struct Talker;

impl Scheduler for Talker {
    fn describe() -> Description {
        Simple::describe()
    }

    fn turn(&mut self, _cluster: &Cluster, turn: &mut Turn<'_>) -> Result<(), String> {
        while turn.bytes_left() >= 88 {
            turn.note(1, "x".repeat(64));
        }
        Ok(())
    }
}

/// Writes down what it starts, alone or together, and never looks at the room.
#[derive(Debug, Default)]
struct Flood;

impl Scheduler for Flood {
    fn describe() -> Description {
        Simple::describe()
    }

    fn turn(&mut self, _cluster: &Cluster, turn: &mut Turn<'_>) -> Result<(), String> {
        turn.set_state("alone", b"all is ended");
        turn.together(|turn| {
            turn.set_state("together", b"1 is ended");
            turn.kill(1, KillReason::Removed);
        });
        turn.together(|turn| {
            turn.set_state("cut", b"99 are ended");
            for task in 2..=99 {
                turn.kill(task, KillReason::Removed);
            }
        });
        Ok(())
    }
}

#[test]
fn of_a_full_turn_as_much_counts_as_in_the_sandbox() {
    let mut stage = Stage::default();
    let mut runner = Runner::<Flood>::default();
    stage.turn_bytes = TurnBytes(2000);
    runner.turn(&stage, 100, 0, 1).unwrap();
    let asked = stage.take();
    assert!(asked.is_full);
    assert_eq!(
        asked.kills.len(),
        1,
        "the other group has no room as a whole"
    );
    let pairs = ["alone", "together", "cut"].map(|key| stage.pair(key).is_some());
    assert_eq!(pairs, [false, true, false]);
    stage.turn_bytes = TurnBytes::default();
    runner.turn(&stage, 100, 0, 2).unwrap();
    let asked = stage.take();
    assert_eq!((asked.is_full, asked.kills.len()), (false, 99));
    assert!(stage.pair("alone").is_some() && stage.pair("cut").is_some());
}

#[test]
fn who_looks_at_the_room_of_a_turn_says_no_more_than_fits() {
    let mut stage = Stage::default();
    let mut runner = Runner::<Talker>::default();
    stage.turn_bytes = TurnBytes(2000);
    runner.turn(&stage, 100, 0, 1).unwrap();
    assert_eq!(stage.take().notes.len(), 22);
}
