//! Takes memory until there is none: its limit must stop it.
//!
//! It behaves until the seat has a workload, so that it loads and describes itself.

use kelson_sdk::serde_json::json;
use kelson_sdk::{Cluster, Description, Kind, Scheduler, Turn};

/// A scheduler that misbehaves on purpose.
#[derive(Debug, Default)]
pub struct MemoryHog;

impl Scheduler for MemoryHog {
    fn describe() -> Description {
        Description {
            name: "memory-hog".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kinds: vec![Kind {
                kind: "Hog".into(),
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
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for _ in turn.now..u64::MAX {
            kept.push(std::hint::black_box(vec![1; 1 << 20]));
        }
        Err(format!(
            "{} MiB were not enough for {}",
            kept.len(),
            workload.id
        ))
    }
}

kelson_sdk::export_scheduler!(MemoryHog);
