//! Which orders of the kernel count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kelson_model::id::TaskId;

use crate::launch::TaskOrder;

/// At most this many forgotten tasks are remembered, so that a late order does not bring one back.
const REMEMBERED: usize = 4096;

/// What the kernel wants of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// It runs.
    Run(Box<TaskOrder>),
    /// It ends.
    Stop {
        /// Why, one word of the protocol.
        reason: String,
    },
    /// The kernel has recorded its end: what is left of it may be deleted.
    Forget,
    /// It should run, and cannot be read.
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
}

/// What the kernel has sent: orders about some tasks, and, at the end of a list, which tasks
/// there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// All the tasks there are, where with this batch the list of them is whole.
    pub listed: Option<BTreeSet<TaskId>>,
    /// Task, generation, order.
    pub orders: Vec<(TaskId, u64, Order)>,
}

/// What follows from a batch for one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Start it: it was never started before.
    Start(Box<TaskOrder>),
    /// It goes on, under a newer order.
    Update(Box<TaskOrder>),
    /// End it.
    Stop {
        /// The task.
        task: TaskId,
        /// Why.
        reason: String,
    },
    /// Say that it has failed: its order cannot be carried out.
    Refuse {
        /// The task.
        task: TaskId,
        /// What is wrong with the order.
        reason: String,
    },
    /// The kernel speaks of a task that this agent does not have: say that it is lost.
    Unknown {
        /// The task.
        task: TaskId,
    },
    /// Delete what is left of it; where it still runs, kill it first.
    Forget {
        /// The task.
        task: TaskId,
    },
    /// The kernel does not list it any more: end it, and once its end is acknowledged, delete
    /// what is left.
    Omitted {
        /// The task.
        task: TaskId,
    },
}

/// The orders that this agent holds.
///
/// *Guarantees*: a task is started at most once, whatever is repeated, reordered or replayed; an
/// order with an older generation than the one that is held is ignored; after a whole list
/// exactly the tasks that it names may run.
#[derive(Debug, Clone, Default)]
pub struct Assignments {
    held: BTreeMap<TaskId, u64>,
    forgotten: BTreeSet<TaskId>,
    forgotten_order: VecDeque<TaskId>,
}

impl Assignments {
    /// Nothing is held.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a task of an earlier run of the agent.
    pub fn adopt(&mut self, task: TaskId, generation: u64) {
        self.held.insert(task, generation);
    }

    /// Whether this agent holds the task.
    pub fn holds(&self, task: TaskId) -> bool {
        self.held.contains_key(&task)
    }

    /// Takes a batch; says what follows, in the order of the batch.
    pub fn apply(&mut self, batch: Batch) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for (task, generation, order) in batch.orders {
            if let Some(decision) = self.decide(task, generation, order) {
                decisions.push(decision);
            }
        }
        if let Some(listed) = batch.listed {
            let omitted = self.held.keys().filter(|task| !listed.contains(*task));
            decisions.extend(omitted.map(|task| Decision::Omitted { task: *task }));
        }
        decisions
    }

    fn decide(&mut self, task: TaskId, generation: u64, order: Order) -> Option<Decision> {
        let held = self.held.get(&task).copied();
        if held.is_some_and(|held| generation < held) || self.forgotten.contains(&task) {
            return None;
        }
        match (order, held) {
            (Order::Run(order), None) => {
                self.held.insert(task, generation);
                Some(Decision::Start(order))
            }
            (Order::Run(order), Some(held)) => {
                self.held.insert(task, generation);
                (generation > held).then_some(Decision::Update(order))
            }
            (Order::Invalid { reason }, None) => {
                self.held.insert(task, generation);
                Some(Decision::Refuse { task, reason })
            }
            (Order::Invalid { .. }, Some(_)) => None,
            (Order::Stop { reason }, Some(_)) => {
                self.held.insert(task, generation);
                Some(Decision::Stop { task, reason })
            }
            (Order::Stop { .. }, None) => Some(Decision::Unknown { task }),
            (Order::Forget, Some(_)) => {
                self.forget(task);
                Some(Decision::Forget { task })
            }
            (Order::Forget, None) => None,
        }
    }

    /// Drops a task whose end the kernel has recorded.
    pub fn forget(&mut self, task: TaskId) {
        self.held.remove(&task);
        if self.forgotten.insert(task) {
            self.forgotten_order.push_back(task);
        }
        if self.forgotten_order.len() > REMEMBERED
            && let Some(oldest) = self.forgotten_order.pop_front()
        {
            self.forgotten.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use kelson_model::template::TaskTemplate;
    use proptest::prelude::*;

    fn run(task: u64, generation: u64) -> (TaskId, u64, Order) {
        let template =
            TaskTemplate::from_spec(&serde_json::json!({"run": {"command": "true"}}), "").unwrap();
        let order = TaskOrder {
            task: TaskId(task),
            generation,
            name: String::new(),
            namespace: "default".to_owned(),
            kind: "Service".to_owned(),
            workload: "web".to_owned(),
            template,
            ports: BTreeMap::new(),
            enforce_drift: true,
        };
        (TaskId(task), generation, Order::Run(Box::new(order)))
    }

    fn stop(task: u64, generation: u64) -> (TaskId, u64, Order) {
        (
            TaskId(task),
            generation,
            Order::Stop {
                reason: "byHand".to_owned(),
            },
        )
    }

    fn batch(is_full: bool, orders: Vec<(TaskId, u64, Order)>) -> Batch {
        let all = orders.iter().map(|(task, ..)| *task).collect();
        Batch {
            listed: is_full.then_some(all),
            orders,
        }
    }

    #[test]
    fn a_repeated_order_starts_nothing() {
        let mut held = Assignments::new();
        assert!(matches!(
            held.apply(batch(true, vec![run(1, 1)])).as_slice(),
            [Decision::Start(_)]
        ));
        assert!(held.apply(batch(true, vec![run(1, 1)])).is_empty());
        assert!(matches!(
            held.apply(batch(false, vec![run(1, 2)])).as_slice(),
            [Decision::Update(_)]
        ));
    }

    #[test]
    fn an_older_generation_is_ignored() {
        let mut held = Assignments::new();
        held.apply(batch(true, vec![run(1, 5)]));
        assert!(held.apply(batch(false, vec![stop(1, 4)])).is_empty());
        assert!(matches!(
            held.apply(batch(false, vec![stop(1, 6)])).as_slice(),
            [Decision::Stop { .. }]
        ));
    }

    #[test]
    fn what_a_full_batch_omits_must_not_run_and_a_delta_omits_nothing() {
        let mut held = Assignments::new();
        held.adopt(TaskId(1), 1);
        held.adopt(TaskId(2), 1);
        assert!(held.apply(batch(false, vec![run(1, 1)])).is_empty());
        assert_eq!(
            held.apply(batch(true, vec![run(1, 1)])),
            [Decision::Omitted { task: TaskId(2) }]
        );
    }

    #[test]
    fn a_forgotten_task_never_comes_back() {
        let mut held = Assignments::new();
        held.apply(batch(true, vec![run(1, 1)]));
        assert_eq!(
            held.apply(batch(false, vec![(TaskId(1), 2, Order::Forget)])),
            [Decision::Forget { task: TaskId(1) }]
        );
        assert!(held.apply(batch(false, vec![run(1, 3)])).is_empty());
        assert_eq!(
            held.apply(batch(false, vec![stop(9, 1)])),
            [Decision::Unknown { task: TaskId(9) }]
        );
    }

    proptest! {
        #[test]
        fn no_task_is_started_twice(steps in prop::collection::vec((0u64..4, 0u64..4, 0u8..3, any::<bool>()), 0..60)) {
            let mut held = Assignments::new();
            let mut started = BTreeSet::new();
            for (task, generation, kind, is_full) in steps {
                let order = match kind {
                    0 => run(task, generation),
                    1 => stop(task, generation),
                    _ => (TaskId(task), generation, Order::Forget),
                };
                for decision in held.apply(batch(is_full, vec![order])) {
                    if let Decision::Start(order) = decision {
                        prop_assert!(started.insert(order.task));
                    }
                }
            }
        }
    }
}
