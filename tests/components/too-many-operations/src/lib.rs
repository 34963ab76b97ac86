//! Asks for a hundred thousand operations, and never looks at what a turn may say.
//!
//! It behaves until the seat has a workload, so that it loads and describes itself. Where a
//! specification has a number `says`, it says a status of that many bytes about each of
//! its workloads instead, in every turn anew.

use kelson_sdk::serde_json::{Value, json};
use kelson_sdk::{Cluster, Description, Health, Kind, Rollout, Scheduler, Status, Turn};

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
                    "properties": {
                        "run": {"type": "object", "default": {"command": "true"}},
                        "says": {"type": "integer"}
                    }
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
        let mut has_said = false;
        for row in cluster.workloads() {
            let spec = turn.read.spec(row.id, row.generation).unwrap_or_default();
            let Some(bytes) = spec.get("says").and_then(Value::as_u64) else {
                continue;
            };
            has_said = true;
            turn.set_status(
                row.id,
                Status {
                    generation: row.generation,
                    health: Health::Healthy,
                    rollout: Rollout::Complete,
                    reason: String::new(),
                    message: "x".repeat(usize::try_from(bytes).unwrap_or_default()),
                },
            );
        }
        if has_said {
            return Ok(());
        }
        for task in 1..=100_000 {
            turn.forget(task);
        }
        turn.note(workload.id, "asked for a hundred thousand operations");
        Ok(())
    }
}

kelson_sdk::export_scheduler!(TooManyOperations);
