//! Asks for a hundred thousand operations: its limit must void the turn.
//!
//! It behaves until the seat has a workload, so that it loads and describes itself.

use kelson_sdk::serde_json::json;
use kelson_sdk::{Cluster, Description, Kind, Scheduler, Turn};

/// A scheduler that misbehaves on purpose.
#[derive(Debug, Default)]
pub struct TooManyOperations;

impl Scheduler for TooManyOperations {
    fn describe() -> Description {
        Description {
            name: "too-many-operations".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kinds: vec![Kind {
                kind: "Flood".into(),
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
        for task in 1..=100_000 {
            turn.forget(task);
        }
        turn.note(workload.id, "asked for a hundred thousand operations");
        Ok(())
    }
}

kelson_sdk::export_scheduler!(TooManyOperations);
