//! Turns for ever: its fuel must end it.
//!
//! It behaves until the seat has a workload, so that it loads and describes itself.

use kelson_sdk::serde_json::json;
use kelson_sdk::{Cluster, Description, Kind, Scheduler, Turn};

/// A scheduler that misbehaves on purpose.
#[derive(Debug, Default)]
pub struct EndlessLoop;

impl Scheduler for EndlessLoop {
    fn describe() -> Description {
        Description {
            name: "endless-loop".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kinds: vec![Kind {
                kind: "Loop".into(),
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
        let mut spins = turn.seed ^ workload.id;
        loop {
            // Opaque, so that the loop is really there.
            spins = std::hint::black_box(spins.wrapping_mul(31));
        }
    }
}

kelson_sdk::export_scheduler!(EndlessLoop);
