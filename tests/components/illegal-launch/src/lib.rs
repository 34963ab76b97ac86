//! Launches twice what it was offered: the whole turn must be void.
//!
//! It behaves until the seat has a workload, so that it loads and describes itself.

use kelson_sdk::serde_json::json;
use kelson_sdk::{Cluster, Demand, Description, Kind, Placement, Scheduler, Turn};

/// A scheduler that misbehaves on purpose.
#[derive(Debug, Default)]
pub struct IllegalLaunch;

impl Scheduler for IllegalLaunch {
    fn describe() -> Description {
        Description {
            name: "illegal-launch".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kinds: vec![Kind {
                kind: "Greedy".into(),
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
        let demand = Demand {
            key: workload.id,
            workload: workload.id,
            generation: workload.generation,
            template: 0,
            count: 1,
            placement: Placement::Spread,
            priority: 0,
        };
        turn.set_demand(vec![demand]);
        for offer in turn.offers() {
            for slot in 0..offer.count.saturating_mul(2) {
                turn.launch(workload.id, workload.generation, 0, slot, &offer);
            }
        }
        Ok(())
    }
}

kelson_sdk::export_scheduler!(IllegalLaunch);
