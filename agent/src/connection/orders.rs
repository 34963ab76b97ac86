//! The kernel's assignments, from the wire to the core.

use std::collections::{BTreeMap, BTreeSet};

use kelson_agent_core::{Batch, Order, TaskOrder};
use kelson_model::id::TaskId;
use kelson_model::template::TaskTemplate;
use kelson_proto::v1::{self, assignment};

/// Reads what the kernel orders, and remembers which tasks it has listed since a list began.
#[derive(Debug, Default)]
pub(super) struct OrderReader {
    listed: Option<BTreeSet<TaskId>>,
}

impl OrderReader {
    /// A list begins: an earlier one that has not ended is worth nothing.
    pub(super) fn begin_list(&mut self) {
        self.listed = Some(BTreeSet::new());
    }

    /// Reads assignments, of a list or by themselves.
    pub(super) fn read(&mut self, assignments: v1::Assignments) -> Batch {
        if let Some(listed) = &mut self.listed {
            listed.extend(assignments.tasks.iter().map(|one| TaskId(one.task)));
        }
        read_batch(assignments)
    }

    /// The list is whole; nothing follows from an end without a begin.
    pub(super) fn end_list(&mut self) -> Batch {
        Batch {
            listed: self.listed.take(),
            orders: Vec::new(),
        }
    }
}

/// An order that cannot be read is refused by itself and spoils no other.
fn read_batch(assignments: v1::Assignments) -> Batch {
    let orders = assignments.tasks.into_iter().filter_map(|assignment| {
        let task = TaskId(assignment.task);
        let order = match assignment.order? {
            assignment::Order::Run(spec) => read_run(task, assignment.generation, spec),
            assignment::Order::Stop(stop) => Order::Stop {
                reason: stop.reason,
            },
            assignment::Order::Forget(v1::Forget {}) => Order::Forget,
        };
        Some((task, assignment.generation, order))
    });
    Batch {
        listed: None,
        orders: orders.collect(),
    }
}

fn read_run(task: TaskId, generation: u64, spec: v1::TaskSpec) -> Order {
    let template: TaskTemplate = match serde_json::from_str(&spec.template_json) {
        Ok(template) => template,
        Err(error) => {
            let reason = format!("its template cannot be read: {error}");
            return Order::Invalid { reason };
        }
    };
    let mut ports = BTreeMap::new();
    for (name, number) in spec.ports {
        let Ok(number) = u16::try_from(number) else {
            let reason = format!("its port '{name}' is {number}");
            return Order::Invalid { reason };
        };
        ports.insert(name, number);
    }
    Order::Run(Box::new(TaskOrder {
        task,
        generation,
        name: spec.name,
        namespace: spec.namespace,
        kind: spec.kind,
        workload: spec.workload,
        template,
        ports,
        enforce_drift: spec.enforce_drift,
    }))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_order_that_cannot_be_read_spoils_no_other() {
        let run = |task, template_json: &str, port| v1::Assignment {
            task,
            generation: 1,
            order: Some(assignment::Order::Run(v1::TaskSpec {
                template_json: template_json.to_owned(),
                ports: [("http".to_owned(), port)].into_iter().collect(),
                ..v1::TaskSpec::default()
            })),
        };
        let batch = read_batch(v1::Assignments {
            tasks: vec![
                run(1, "{}", 1),
                run(2, r#"{"run":{"command":"true"}}"#, 70_000),
                run(3, r#"{"run":{"command":"true"}}"#, 80),
            ],
        });
        let kinds: Vec<&str> = batch
            .orders
            .iter()
            .map(|(_, _, order)| match order {
                Order::Run(_) => "run",
                Order::Invalid { .. } => "invalid",
                Order::Stop { .. } | Order::Forget => "other",
            })
            .collect();
        assert_eq!(kinds, ["invalid", "invalid", "run"]);
    }

    #[test]
    fn a_list_is_whole_only_between_its_begin_and_its_end() {
        let part = |task| v1::Assignments {
            tasks: vec![v1::Assignment {
                task,
                generation: 1,
                order: Some(assignment::Order::Forget(v1::Forget {})),
            }],
        };
        let mut reader = OrderReader::default();
        reader.read(part(1));
        assert_eq!(reader.end_list().listed, None);
        reader.begin_list();
        reader.read(part(2));
        reader.begin_list();
        for task in [3, 4] {
            assert_eq!(reader.read(part(task)).listed, None);
        }
        let listed = reader.end_list().listed.unwrap();
        assert_eq!(
            listed.into_iter().collect::<Vec<_>>(),
            [TaskId(3), TaskId(4)]
        );
        assert_eq!(reader.end_list().listed, None);
    }
}
