//! Ends and forgets the tasks with the first thousand numbers, whoever owns them: each must be
//! refused.
//!
//! It behaves until the seat has a workload, so that it loads and describes itself.

use kelson_sdk::serde_json::json;
use kelson_sdk::{Cluster, Description, KillReason, Kind, Scheduler, Turn};

/// A scheduler that misbehaves on purpose.
#[derive(Debug, Default)]
pub struct SomeoneElsesTask;

impl Scheduler for SomeoneElsesTask {
    fn describe() -> Description {
        Description {
            name: "someone-elses-task".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kinds: vec![Kind {
                kind: "Thief".into(),
                schema: json!({
                    "type": "object",
                    "properties": {"run": {"type": "object", "default": {"command": "true"}}}
                }),
                templates: vec![String::new()],
                count: None,
            }],
            config_schema: None,
        }
    }

    fn turn(&mut self, cluster: &Cluster, turn: &mut Turn<'_>) -> Result<(), String> {
        let Some(workload) = cluster.workloads().next() else {
            return Ok(());
        };
        for task in 1..=1000 {
            turn.kill(task, KillReason::Removed);
            turn.forget(task);
        }
        turn.note(
            workload.id,
            format!("{} refusals so far", turn.refusals().len()),
        );
        Ok(())
    }
}

kelson_sdk::export_scheduler!(SomeoneElsesTask);
