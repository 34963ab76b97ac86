//! The kernel's assignments, from the wire to the core.

use std::collections::BTreeMap;

use kelson_agent_core::{Batch, Order, TaskOrder};
use kelson_model::id::{Index, TaskId};
use kelson_model::template::TaskTemplate;
use kelson_proto::v1::{self, assignment};

/// Reads a batch. An order that cannot be read is refused by itself and spoils no other.
pub(super) fn read_batch(assignments: v1::Assignments) -> Batch {
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
        index: Index(assignments.index),
        is_full: assignments.full,
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
            index: 4,
            full: true,
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
}
