//! Writes state and then traps: nothing of the write may stay. It counts the writes that it finds.
//!
//! It behaves until the seat has a workload, so that it loads and describes itself.

use kelson_sdk::serde_json::json;
use kelson_sdk::{Cluster, Description, Kind, Scheduler, Turn};

/// A scheduler that misbehaves on purpose.
#[derive(Debug, Default)]
pub struct TrapAfterSet;

impl Scheduler for TrapAfterSet {
    fn describe() -> Description {
        Description {
            name: "trap-after-set".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kinds: vec![Kind {
                kind: "SetTrap".into(),
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
        let seen = turn.read.state("count").map_or(0, |value| value.len());
        turn.set_state("count", &vec![1; seen.saturating_add(1)]);
        if turn.read.state("count").map(|value| value.len()) != Some(seen.saturating_add(1)) {
            return Err("a write of this turn was not seen".into());
        }
        turn.note(workload.id, "about to trap");
        std::process::abort()
    }
}

kelson_sdk::export_scheduler!(TrapAfterSet);
